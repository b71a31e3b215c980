"""Undoing what the rule of names joined: what stands at a name keeps it as a document of its own, from one version on.

The document of before has its earlier content on top again, and goes to the trash, or to a name beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auth.roles import Action
from config.database import Syncable
from config.ids import new_id
from providers.catalogue import contents
from providers.catalogue.change import MODIFIED, Change, ChangeKind, Lineage, NewVersion
from providers.catalogue.lineage import Line, Past, links_of, own_number
from providers.catalogue.nodes import Node
from providers.drive.granting import grant_alike
from providers.drive.guards import chain_slots, require_unlocked
from providers.drive.places import Place
from providers.drive.properties import properties_of
from providers.drive.restoring import Again, again
from providers.drive.session import REPLANS_MAX, Replan, Session
from providers.drive.targets import Target, require_room, target
from providers.drive.transaction import Look, Transaction, node_facts
from providers.errors import IsAFolder, NotFound, NotJoined, PreconditionFailed, TargetExists
from providers.model import NO_CONDITIONS, Item
from providers.paths import Path
from providers.vault.vault import VersionRecord

Row = Mapping[Any, Any]


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where a history is cut: the versions that go with the name, and the newest of those that stay."""

    place: Place
    number: int
    taken: Sequence[Row]
    kept: Row


@dataclass(frozen=True, slots=True)
class _Ready:
    """The new document's id and versions, and the version that the old one gets; their records stand in packs."""

    node: bytes
    versions: tuple[NewVersion, ...]
    top: Again
    sealed_bytes: int
    needs: frozenset[Syncable]


def split(session: Session, path: Path, number: int, to: str | None) -> Item:
    """Cut the history of the document at `path` before version `number`; return what stands at `path` then."""
    for _ in range(REPLANS_MAX):
        with session.look() as look:
            cut = _cut(look, path, number)
        ready = _prepared(session, cut)

        def work(tx: Transaction, ready: _Ready = ready) -> Item:
            cut = _cut(tx, path, number)
            if [new.origin for new in ready.versions] != [row["id"] for row in cut.taken]:
                raise Replan
            if (ready.top.number, ready.top.new.origin) != (cut.place.node.version + 1, cut.kept["id"]):
                raise Replan
            after = _done(tx, cut, ready, to)
            tx.finish(ChangeKind.SPLIT, after, "split", facts=node_facts(after.node))
            return tx.item(after)

        try:
            return session.commit([path], work, needs=ready.needs)
        except Replan:
            continue
    raise PreconditionFailed


def _cut(look: Look, path: Path, number: int) -> _Cut:
    """Return where to cut. Raises NotFound for no version, NotJoined where the rule joined nothing."""
    place = look.place(path)
    look.allow(Action.RESTORE, place)
    look.allow(Action.HISTORY, place)
    if place.node.is_folder:
        raise IsAFolder
    shown = [*Past(look.connection, place.node.id).all()][::-1]
    readable = [each for each in shown if each.row.erased_in is None]
    taken = [each.row for each in readable if each.number >= number]
    kept = [each.row for each in readable if each.number < number]
    if not any(each.number == number for each in shown):
        raise NotFound
    node, own = own_number(look.connection, place.node.id, number)
    joined = any(link.kind == Lineage.CONTINUED for link in links_of(look.connection, node, own, own))
    if node != place.node.id or not joined or not (kept and taken):
        raise NotJoined
    return _Cut(place, own, [_read(look, row) for row in taken], _read(look, kept[-1]))


def _read(look: Look, row: Line) -> Row:
    """Return a version's row, its MAC checked."""
    return contents.version(look.connection, look.storage.keyring, row.space, row.node, row.number)


def _prepared(session: Session, cut: _Cut) -> _Ready:
    storage, node, identity = session.storage, cut.place.node, new_id()
    versions = tuple(contents.repeated(storage.keyring, row) for row in cut.taken)
    fields = [
        VersionRecord(identity, new.id, index, node.parent, node.name, new.content, new.size, row["at"])
        for index, (new, row) in enumerate(zip(versions, cut.taken, strict=True), start=1)
    ]
    records, needs = storage.vault.version_records(node.space, fields)
    top = again(storage, node, cut.kept)
    sealed = top.record_bytes + sum(record.length for record in records)
    return _Ready(identity, versions, top, sealed, needs | top.needs)


def _done(tx: Transaction, cut: _Cut, ready: _Ready, to: str | None) -> Place:
    """Let both documents stand as they shall; return the place of the new one."""
    place, node = cut.place, cut.place.node
    require_unlocked(tx, chain_slots(place.chain), NO_CONDITIONS, place.path, membership=True)
    beside = None if to is None else target(tx, place.path.parent.joined(to), Action.RESTORE)
    if beside is not None and (beside.node is not None or _is_taken(tx, node, beside)):
        raise TargetExists
    change = tx.change(node.space)
    require_room(place.space, change.sealed_bytes, ready.sealed_bytes)
    change.sealed_bytes += ready.sealed_bytes
    held = {name: value for name, value in properties_of(tx, node).items() if name != MODIFIED}
    before = change.add_version(node, ready.top.new, tx.author)
    change.comment([ready.top.new.id], "set apart")
    if beside is None:
        change.close(before)
    else:
        require_unlocked(tx, beside.slots(tx), NO_CONDITIONS, beside.path, membership=True)
        change.move(before, beside.parent.node, node.lane, to or "")
    after = _stands(tx, change, node, ready, cut)
    change.link(Lineage.SPLIT, after.id, 1, node.id, cut.number)
    for name, value in held.items():
        change.set_property(after, name, value)
    if held:
        after = after._replace(has_properties=True)
    if grant_alike(tx, change, node, after):
        tx.bump()
    return place.bearing(after)


def _is_taken(tx: Transaction, node: Node, beside: Target) -> bool:
    """Return whether something unseen has the name already, in the document's lane."""
    return tx.storage.tree.in_lane(tx.connection, beside.parent.node, node.lane, beside.path.name) is not None


def _stands(tx: Transaction, change: Change, node: Node, ready: _Ready, cut: _Cut) -> Node:
    """Let a new document stand where `node` stood, with versions by whom and when they were made."""
    newest, row = ready.versions[-1], cut.taken[-1]
    fresh = node._replace(
        id=ready.node, version=len(ready.versions), version_id=newest.id, size=newest.size, created=cut.taken[0]["at"],
        modified=row["at"], from_change=change.number, revision=change.number, has_properties=False,
    )  # fmt: skip
    change.open_all([fresh])
    change.add_copies(fresh, list(zip(ready.versions, cut.taken, strict=True)))
    return fresh
