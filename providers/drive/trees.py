"""Make folders; delete, move and copy: what happens to whole nodes, with all that lies in them, as one change each.

DELETE and MOVE take along what the principal cannot see; COPY takes what it sees, each document in its newest version.
Content that crosses from one space to another is sealed anew before the transaction begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from auth.roles import Action
from config.ids import NOBODY
from providers.audit.events import Projection
from providers.catalogue import contents
from providers.catalogue.change import MODIFIED, Change, ChangeKind, Lineage
from providers.catalogue.lineage import is_linked
from providers.catalogue.nodes import Node
from providers.drive.bringing import ALONG, comes_along, stands
from providers.drive.carrying import Prepared, arriving, lands_on, prepare, readable_below
from providers.drive.guards import (
    chain_slots,
    covering,
    require_conditions,
    require_unlocked,
    require_unlocked_below,
)
from providers.drive.identity import carry_on, fill_up
from providers.drive.noise import make_way
from providers.drive.places import Container, Place
from providers.drive.properties import dead_properties, differing, properties_of
from providers.drive.rivals import require_walls
from providers.drive.session import REPLANS_MAX, Replan, Session
from providers.drive.targets import Target, has_inner_rights, require_depth, require_room, target
from providers.drive.transaction import Look, Transaction, node_facts
from providers.errors import (
    FolderNotEmpty,
    Forbidden,
    IsAFolder,
    NotAFolder,
    PreconditionFailed,
    SameResource,
    TargetExists,
)
from providers.locks import HeldLock
from providers.model import Conditions, Expected, Item
from providers.paths import Path


def make_folder(session: Session, path: Path, conditions: Conditions) -> Item:
    """Make a folder where nothing stands."""

    def work(tx: Transaction) -> Item:
        found = target(tx, path, Action.MAKE_FOLDER)
        if found.node is not None or tx.resolver.noise(path) is not None:
            raise TargetExists
        require_conditions(tx, path, conditions)
        require_unlocked(tx, found.slots(tx), conditions, path, membership=True)
        node = tx.change(found.space.id).add(found.parent.node, found.lane, path.name, is_folder=True)
        tx.finish(ChangeKind.MAKE_FOLDER, found.placed(node), "make_folder")
        return tx.item(found.placed(node))

    return session.commit([path], work)


def delete(session: Session, path: Path, conditions: Conditions, expected: Expected | None) -> None:
    """Let a node, and all in it, stand no longer. Its history is kept."""

    def work(tx: Transaction) -> list[HeldLock]:
        place = _inner(tx, path)
        tx.allow(Action.DELETE, place)
        if expected is not None:
            _require(tx, place, expected)
        require_conditions(tx, path, conditions)
        gone = _unlocked(tx, place, conditions, path)
        audience = tx.audience(place.space, place.chain)
        inner = has_inner_rights(tx, place.space.id)
        tx.change(place.space.id).close(place.node)
        if inner:
            tx.bump()
        tx.finish(ChangeKind.DELETE, place, "delete", audience=audience)
        return gone

    session.storage.locks.remove(lock.token for lock in session.commit([path], work))


def _require(look: Look, place: Place, expected: Expected) -> None:
    """Raise unless what stands there is what was expected. A folder is empty in which nothing is seen."""
    if expected is Expected.DOCUMENT:
        if place.node.is_folder:
            raise IsAFolder
    elif not place.node.is_folder:
        raise NotAFolder
    elif look.resolver.children(place):
        raise FolderNotEmpty


def _inner(look: Look, path: Path) -> Place:
    """Return the place of a node that may be taken away: not the root of a space, nor anything above."""
    place = look.place(path)
    if len(place.chain) == 1:
        raise Forbidden
    return place


def _unlocked(tx: Transaction, place: Place, conditions: Conditions, path: Path) -> list[HeldLock]:
    """Raise Locked if a lock stands against taking the place away; return the locks that go with it."""
    slots = chain_slots(place.chain)
    require_unlocked(tx, slots, conditions, path, membership=True)
    own = [lock for lock in covering(tx, slots) if lock.slot == slots[-1]]
    return own + require_unlocked_below(tx, place, conditions, path)


# --- copy


def copy(
    session: Session,
    source: Path,
    goal: Path,
    *,
    overwrite: bool,
    deep: bool,
    modified: int | None,
    conditions: Conditions,
) -> tuple[Item, bool]:
    """Copy what is seen at `source` to `goal`; return the item there, and whether the name is new."""
    for _ in range(REPLANS_MAX):
        ready = prepare(session, source, goal, deep=deep)

        def work(tx: Transaction, ready: Prepared = ready) -> tuple[Item, bool, list[HeldLock]]:
            place = tx.find(source)
            if isinstance(place, Container):
                raise Forbidden
            tx.allow(Action.LIST if place.node.is_folder else Action.READ, place)
            require_conditions(tx, source, conditions)
            found = arriving(tx, goal, place, ready.started, moves=False)
            _require_apart(place, found)
            gone = _make_way(tx, place, found, overwrite, conditions)
            change = tx.change(found.space.id)
            standing = _dated(change, _copied(tx, change, place, found, ready, deep=deep), modified)
            return (*_told(tx, found, standing, ChangeKind.COPY, "copy", {"from": str(source)}), gone)

        try:
            item, created, gone = session.commit([source, goal], work, needs=ready.needs)
        except Replan:
            continue
        ready.settle()
        session.storage.locks.remove(lock.token for lock in gone)
        return item, created
    raise PreconditionFailed


def _dated(change: Change, standing: Node, modified: int | None) -> Node:
    """Let a document show the time of modification that came with the request, if one did."""
    if modified is None or standing.is_folder or standing.modified == modified:
        return standing
    return change.set_modified(standing, modified)


def _require_apart(place: Place, found: Target) -> None:
    """Refuse a target that is the source, lies inside it, or holds it. The past is apart from all that stands."""
    if place.is_past:
        return
    above = {node.id for node in found.parent.chain}
    if place.node.id in above or (found.node is not None and found.node.id in {node.id for node in place.chain}):
        raise SameResource


def _make_way(tx: Transaction, place: Place, found: Target, overwrite: bool, conditions: Conditions) -> list[HeldLock]:
    """Check that the target may be filled; take away what stands there, unless a document replaces a document."""
    if found.node is None:
        require_unlocked(tx, found.slots(tx), conditions, found.path, membership=True)
        make_way(tx, found.path, overwrite=overwrite)
        return []
    if not overwrite:
        raise TargetExists
    if not place.node.is_folder and not found.node.is_folder:
        tx.allow(Action.REPLACE, found.place)
        require_unlocked(tx, found.slots(tx), conditions, found.path)
        return []
    tx.allow(Action.DELETE, found.place)
    gone = _unlocked(tx, found.place, conditions, found.path)
    tx.change(found.space.id).close(found.node)
    return gone


class _Name(NamedTuple):
    """Where something new comes to stand; its path has so many names, from that of the space on."""

    parent: Node
    lane: bytes
    name: str
    levels: int


def _copied(tx: Transaction, change: Change, place: Place, found: Target, ready: Prepared, *, deep: bool) -> Node:
    replaced = lands_on(place, found)
    if ready.lands_on != (replaced.id if replaced else None):
        raise Replan
    if contents.erased_of(tx.connection, ready.origins):
        raise Replan
    if ready.resealing is not None:
        change.sealed_bytes -= ready.resealing.publish(tx.connection)
    require_room(found.space, change.sealed_bytes, ready.sealed_bytes)
    change.sealed_bytes += ready.sealed_bytes
    if found.vacated is not None:
        replaced = carry_on(tx, change, found, ready.backup)
    if replaced is not None:
        return _fill(tx, change, place, replaced, ready, continues=found.vacated is not None)
    name = _Name(found.parent.node, found.lane, found.path.name, found.levels)
    return _copy_below(tx, change, place, found, name, ready, deep=deep)


def _copy_below(
    tx: Transaction, change: Change, place: Place, found: Target, name: _Name, ready: Prepared, *, deep: bool
) -> Node:
    node = place.node
    past = ready.pasts.get(node.id)
    if (past is not None) != (ready.moves and comes_along(tx, place, found)):
        raise Replan
    if past is not None:
        return _take_over(tx, change, place, stands(tx, change, node, *name[:3], past), ready)
    fresh = change.add(*name[:3], is_folder=node.is_folder, node=ready.nodes.get(node.version_id))
    if not node.is_folder:
        return _fill(tx, change, place, fresh, ready)
    _copy_properties(tx, change, place, fresh)
    if deep:
        for below in readable_below(tx, place):
            inner = _Name(fresh, NOBODY, below.path.name, name.levels + 1)
            tx.storage.path_limits.check(inner.name, inner.levels)
            _copy_below(tx, change, below, found, inner, ready, deep=True)
    return fresh


def _fill(
    tx: Transaction, change: Change, place: Place, standing: Node, ready: Prepared, *, continues: bool = False
) -> Node:
    """Give a document the content of the one at `place`, as a version of its own."""
    source = place.node
    if (source.version or standing.version) and not ready.is_same:
        new = ready.versions.get(source.version_id)
        if new is None:
            raise Replan
        standing = change.add_version(standing, new, tx.author)
    elif ready.moves:
        standing = _dated(change, standing, source.modified)  # the same bytes again, but younger
    return _take_over(tx, change, place, standing, ready, continues=continues)


def _take_over(
    tx: Transaction, change: Change, place: Place, standing: Node, ready: Prepared, *, continues: bool = False
) -> Node:
    """Give a document the properties of the one at `place`, and what moves its time of modification.

    What is copied or moved over a document leaves it no other properties: RFC 4918 9.8.4 deletes what stands there.
    But a document keeps its own where a program saves it, which knows nothing of them: where it `continues` at a name
    that it left, and where something fresh moves over it.
    """
    if ready.moves and ready.is_fresh:
        return fill_up(tx, change, standing, properties_of(tx, place.node))
    _copy_properties(tx, change, place, standing, adds=continues)
    return _dated(change, standing, place.node.modified) if ready.moves else standing


def _copy_properties(tx: Transaction, change: Change, place: Place, goal: Node, *, adds: bool = False) -> None:
    """Give a node the dead properties of the one at `place`; no others, unless it `adds` them to those that stand."""
    left = () if adds else (name for name in properties_of(tx, goal) if name != MODIFIED)
    wanted: dict[str, str | None] = {**dict.fromkeys(left), **dead_properties(tx, place)}
    for name, value in differing(tx, goal, wanted).items():
        change.set_property(goal, name, value)


def _told(
    tx: Transaction,
    found: Target,
    standing: Node,
    kind: ChangeKind,
    told: str,
    personal: dict[str, str],
    before: Mapping[bytes, Projection] | None = None,
    also: Mapping[str, str] | None = None,
) -> tuple[Item, bool]:
    """Tell of what came to stand at `found`: those who see it there, and those who saw it `before`, elsewhere."""
    place = found.placed(standing)
    facts = {**({} if standing.is_folder else node_facts(standing)), **(also or {})}
    audience = {**(before or {}), **tx.audience(place.space, place.chain)}
    tx.finish(kind, place, told, facts=facts, personal=personal, audience=audience)
    return tx.item(place), found.node is None


# --- move


def move(
    session: Session,
    source: Path,
    goal: Path,
    *,
    overwrite: bool,
    plainly: bool,
    modified: int | None,
    conditions: Conditions,
) -> tuple[Item, bool]:
    """Let what stands at `source` stand at `goal`; return the item there, and whether the name is new.

    `plainly`: as POSIX renames, only a document takes the place of a document, a folder that of an empty one. Over a
    standing document it becomes a new version of that document, and the source goes to the trash. Into another space
    it is sealed anew under a new identity, with its history for those who manage both, and the source goes to the trash
    of its own space.
    """
    for _ in range(REPLANS_MAX):
        ready = _ready_for_move(session, source, goal)

        def work(tx: Transaction, ready: Prepared | None = ready) -> tuple[Item, bool, list[HeldLock]]:
            place = _inner(tx, source)
            found = arriving(tx, goal, place, ready.started if ready else tx.at, moves=True)
            same_folder = found.parent.node.id == place.node.parent
            tx.allow(Action.RENAME if same_folder else Action.MOVE, place)
            require_conditions(tx, source, conditions)
            gone = _unlocked(tx, place, conditions, source)
            if found.node is not None and found.node.id == place.node.id:
                return (*_renamed(tx, place, found, modified), gone)
            _require_apart(place, found)
            if plainly and overwrite and found.node is not None:
                _require(tx, found.place, Expected.EMPTY_FOLDER if place.node.is_folder else Expected.DOCUMENT)
            gone += _make_way(tx, place, found, overwrite, conditions)
            if _relocates(place, found):
                return (*_relocated(tx, place, found, modified), gone)
            if ready is None:
                raise Replan
            return (*_carried(tx, place, found, ready, modified), gone)

        try:
            item, created, gone = session.commit([source, goal], work, needs=ready.needs if ready else ())
        except Replan:
            continue
        if ready is not None:
            ready.settle()
        session.storage.locks.remove(lock.token for lock in gone)
        return item, created
    raise PreconditionFailed


def _relocates(place: Place, found: Target) -> bool:
    """Return whether the node itself moves, rather than its content."""
    return place.space.id == found.space.id and lands_on(place, found) is None


def _ready_for_move(session: Session, source: Path, goal: Path) -> Prepared | None:
    with session.look() as look:
        place = _inner(look, source)
        found = arriving(look, goal, place, look.at, moves=True)
        if found.node is not None and found.node.id == place.node.id:
            return None
        if _relocates(place, found):
            return None
        same_folder = found.parent.node.id == place.node.parent
        look.allow(Action.RENAME if same_folder else Action.MOVE, place)
    return prepare(session, source, goal, deep=True, moves=True)


def _renamed(tx: Transaction, place: Place, found: Target, modified: int | None) -> tuple[Item, bool]:
    """A new spelling of the same name."""
    name = found.path.name
    if name in (place.node.name, tx.resolver.shown_name(place.tree, place.chain, None)):
        raise SameResource
    change = tx.change(place.space.id)
    standing = change.move(place.node, found.parent.node, place.node.lane, _own_name(tx, place, found))
    standing = _dated(change, standing, modified)
    item, _ = _told(tx, found, standing, ChangeKind.MOVE, "rename", {"from": str(place.path)})
    return item, True


def _relocated(tx: Transaction, place: Place, found: Target, modified: int | None) -> tuple[Item, bool]:
    require_depth(tx, place.node, found.levels, len(place.chain))
    inner = has_inner_rights(tx, place.space.id)
    audience = tx.audience(place.space, place.chain)
    change = tx.change(place.space.id)
    standing = change.move(place.node, found.parent.node, _lane_after(place, found), _own_name(tx, place, found))
    after = found.placed(_dated(change, standing, modified))
    if inner:
        tx.bump()
        require_walls(tx.storage, tx.connection, place.space)
    told = "rename" if place.node.parent == found.parent.node.id else "move"
    audience |= tx.audience(place.space, after.chain)
    tx.finish(ChangeKind.MOVE, after, told, personal={"from": str(place.path)}, audience=audience)
    return tx.item(after), found.node is None


def _own_name(tx: Transaction, place: Place, found: Target) -> str:
    """Return the name to be kept: within a foreign lane without the party that is shown with it.

    Raises TargetExists where another document of the party's has that name.
    """
    lane, node = _lane_after(place, found), place.node
    if lane in (NOBODY, tx.principal.party):
        return found.path.name
    name = tx.resolver.plain_name(found.path.name, node)
    standing = tx.storage.tree.in_lane(tx.connection, found.parent.node, lane, name)
    if standing is not None and standing.id != node.id:
        raise TargetExists
    return name


def _lane_after(place: Place, found: Target) -> bytes:
    """A document renamed within its folder keeps its lane."""
    return place.node.lane if place.node.parent == found.parent.node.id else found.lane


def _carried(tx: Transaction, place: Place, found: Target, ready: Prepared, modified: int | None) -> tuple[Item, bool]:
    """The content moves: onto a standing document, or into another space. The source goes to the trash."""
    crosses = place.space.id != found.space.id
    change = tx.change(found.space.id)
    standing = _dated(change, _copied(tx, change, place, found, ready, deep=True), modified)
    number, source = standing.version, place.node
    along = ALONG if ready.pasts else {}
    # What it holds already may have come from that very document before, and then no version was added.
    if lands_on(place, found) is not None and not is_linked(tx.connection, standing.id, number, source.id):
        kind = Lineage.CONTINUED if ready.is_fresh else Lineage.REPLACED
        change.link(kind, standing.id, number, source.id, source.version)
    source_change = tx.change(place.space.id)
    audience = tx.audience(place.space, place.chain)
    source_change.close(place.node)
    if crosses:
        if has_inner_rights(tx, place.space.id):
            tx.bump()
        tx.finish(ChangeKind.MOVE, place, "move", facts=along, audience=audience)
    personal = {"from": str(place.path)}
    return _told(tx, found, standing, ChangeKind.MOVE, "move", personal, None if crosses else audience, along)
