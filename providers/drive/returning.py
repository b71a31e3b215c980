"""Copying a document out of `.history` to a name where nothing stands: if it stands nowhere, it comes back itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auth.roles import Action
from config.clock import iso_utc
from providers.catalogue import contents
from providers.catalogue.change import ChangeKind
from providers.catalogue.nodes import Node
from providers.catalogue.past import as_they_went
from providers.catalogue.standing import last_standings
from providers.drive.comparing import Held
from providers.drive.guards import require_conditions
from providers.drive.places import Container, Place
from providers.drive.restoring import Again, again, brought_back
from providers.drive.session import REPLANS_MAX, Replan, Session
from providers.drive.targets import target
from providers.drive.transaction import Look, Transaction, node_facts
from providers.drive.trash import reopened
from providers.errors import PreconditionFailed
from providers.model import Conditions, Item
from providers.paths import Path


@dataclass(frozen=True, slots=True)
class _Return:
    """A document that stands nowhere, on its way to a free name in `goal`.

    `then` is as it was at the moment it is taken from, `now` as it was when it went; `row` is the version that it shall
    hold, None where it holds that already.
    """

    goal: Place
    lane: bytes
    then: Place
    now: Node
    row: Mapping[str, Any] | None


def come_back(
    session: Session, source: Path, goal: Path, modified: int | None, conditions: Conditions
) -> tuple[Item, bool] | None:
    """Let the document of the past at `source` stand at `goal`, with its history, as it was at that moment.

    None where this is no such case, and a copy is to be made: it still stands, or something stands at `goal`, or one
    may add there but not restore.
    """
    for _ in range(REPLANS_MAX):
        with session.look() as look:
            found = _asked(look, source, goal)
        if found is None:
            return None
        ready = None if found.row is None else again(session.storage, found.now, found.row)

        def work(tx: Transaction, ready: Again | None = ready) -> Item:
            found = _asked(tx, source, goal)
            if found is None:
                raise Replan
            require_conditions(tx, source, conditions)
            after = reopened(tx, found.goal, found.now, found.now._replace(name=goal.name, lane=found.lane), conditions)
            if found.row is not None:
                if ready is None or ready.new.origin != found.row["id"]:
                    raise Replan
                assert found.then.moment is not None
                after = brought_back(tx, after, ready, f"as of {iso_utc(found.then.moment)}")
            wanted = found.then.node.modified if modified is None else modified
            if after.node.modified != wanted:
                after = after.bearing(tx.change(after.space.id).set_modified(after.node, wanted))
            tx.finish(ChangeKind.RESTORE, after, "restore", facts=node_facts(after.node))
            return tx.item(after)

        try:
            return session.commit([goal], work, needs=() if ready is None else ready.needs), True
        except Replan:
            continue
    raise PreconditionFailed


def _asked(look: Look, source: Path, goal: Path) -> _Return | None:
    place = look.find(source)
    if isinstance(place, Container) or not place.is_past or place.node.is_folder or not place.node.version:
        return None
    look.allow(Action.READ, place)
    found = target(look, goal, Action.ADD)
    node, connection = place.node, look.connection
    if found.node is not None or found.space.id != node.space or look.resolver.noise(goal) is not None:
        return None
    if look.storage.tree.by_id(connection, node.id) is not None or contents.erased_among(connection, [node.id]):
        return None
    chain = found.parent.chain
    if not look.may(Action.RESTORE, chain) or not look.may(Action.HISTORY, chain):
        return None
    (now,) = as_they_went(look.storage.tree, connection, list(last_standings(connection, [node.id]).values()))
    held = Held(look)
    row = None if held.are_same(node, now) else held.row(node)
    lane = now.lane if now.parent == found.parent.node.id else found.lane
    if lane != found.lane and look.storage.tree.in_lane(connection, found.parent.node, lane, goal.name) is not None:
        lane = found.lane
    return _Return(found.parent, lane, place, now, row)
