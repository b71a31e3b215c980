"""What was deleted and stands nowhere, newest first; and the way back, with the same identity and the whole history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import bindparam, select, tuple_

from auth.roles import Action
from config.ids import NOBODY
from config.queries import Query
from providers import tables
from providers.catalogue import contents, noise
from providers.catalogue.change import ChangeKind, Lineage
from providers.catalogue.lineage import Link, carried_away
from providers.catalogue.nodes import Node
from providers.catalogue.past import PastTree, as_they_went
from providers.catalogue.standing import Made, Standing, changes_made, last_standings, standing_at, standings
from providers.drive.comparing import folder_at
from providers.drive.guards import chain_slots, free_slot, require_unlocked
from providers.drive.history import author_shown
from providers.drive.leftovers import is_leftover
from providers.drive.places import Place
from providers.drive.rivals import require_walls
from providers.drive.session import Session
from providers.drive.targets import has_inner_rights, require_depth, target
from providers.drive.transaction import Look, Transaction, node_facts
from providers.errors import FolderGone, NameTaken, NotFound, TargetExists
from providers.model import NO_CONDITIONS, Conditions, Deleted, Item, SpaceInfo
from providers.noise import is_noise_name
from providers.paths import DEPTH_MAX, Path

_C = tables.closed_entry.c
_ORDER = (_C.to_change, _C.parent, _C.lane, _C.folded)
_COLUMNS = (
    _C.node, _C.parent, _C.lane, _C.folded, _C.name, _C.space, _C.is_folder, _C.created, _C.from_change, _C.to_change,
)  # fmt: skip
#: How many entries are read at once. Those that returned, or stand elsewhere, are among them.
_BATCH = 200
_CLOSED = (
    select(*_COLUMNS).where(_C.space == bindparam("space")).order_by(*(each.desc() for each in _ORDER)).limit(_BATCH)
)
_NEWEST = Query(_CLOSED)
_NAMED = Query(
    select(*_COLUMNS)
    .where(_C.parent == bindparam("parent"), _C.folded == bindparam("folded"))
    .order_by(_C.to_change.desc())
    .limit(_BATCH)
)
_OLDER = Query(
    _CLOSED.where(
        tuple_(*_ORDER) < tuple_(bindparam("number"), bindparam("parent"), bindparam("lane"), bindparam("folded")),
        _C.to_change <= bindparam("number"),
    )
)


def trash(
    session: Session, path: Path, limit: int, after: bytes | None, *, named: str | None, everything: bool
) -> tuple[list[Deleted], bytes | None]:
    """Return at most `limit` of what was deleted in the folder at `path`, newest first, from behind the one `after`;
    and the id of the last, if there may be more.
    """
    with session.look() as look:
        can = _Trash(look, folder_at(look, path, Action.LIST))
        if named is not None:
            return can.named(named, everything=everything)[:limit], None
        found: list[Deleted] = []
        for entry in can.entries(after, everything=everything):
            found.append(entry)
            if len(found) == limit:
                return found, entry.id
        return found, None


class _Trash:
    """The trash of one folder, as one principal sees it."""

    def __init__(self, look: Look, place: Place) -> None:
        self._look = look
        self._place = place
        self._root = place.space_path
        self._chains: dict[tuple[bytes, int], tuple[Node, ...]] = {}

    def entries(self, after: bytes | None, *, everything: bool) -> Iterator[Deleted]:
        """Yield what was deleted, newest first, from behind the one with the id `after`."""
        connection, space = self._look.connection, self._place.space.id
        last = None if after is None else last_standings(connection, [after]).get(after)
        while True:
            if last is None:
                rows = _NEWEST.rows(connection, space=space)
            else:
                slot = {"parent": last.parent, "lane": last.lane, "folded": last.folded}
                rows = _OLDER.rows(connection, space=space, number=last.to_change, **slot)
            batch = [Standing(*row) for row in rows]
            yield from self._told(batch, everything=everything)
            if len(batch) < _BATCH:
                return
            last = batch[-1]

    def named(self, name: str, *, everything: bool) -> list[Deleted]:
        """Return what was deleted under a name in the folder itself, newest first."""
        folder = self._place.node
        folded = self._look.storage.names.folded(folder.space, folder.id, name)
        rows = _NAMED.rows(self._look.connection, parent=folder.id, folded=folded)
        return list(self._told([Standing(*row) for row in rows], everything=everything))

    def entry(self, node: bytes) -> tuple[Standing, tuple[Node, ...]] | None:
        """Return where a node stood last, and the nodes from the root down to it then; None if it is not in here."""
        held = last_standings(self._look.connection, [node]).get(node)
        if held is None or held.to_change is None or held.space != self._place.space.id:
            return None
        if contents.erased_among(self._look.connection, [node]):
            return None
        chain = self._chain(held)
        return (held, chain) if self._is_here(chain) else None

    def _told(self, batch: Sequence[Standing], *, everything: bool) -> Iterator[Deleted]:
        look = self._look
        ever = standings(look.connection, {each.node for each in batch})
        erased = contents.erased_among(look.connection, list(ever))
        gone = [each for each in batch if ever[each.node][-1] == each and each.node not in erased]
        stood = {each.node: ever[each.node] for each in gone}
        numbers = {each.to_change for each in gone} | {held[0].from_change for held in stood.values()}
        made = changes_made(look.connection, self._place.space.id, (number for number in numbers if number is not None))
        for held in gone:
            chain = self._chain(held)
            if not self._is_here(chain):
                continue
            went = carried_away(look.connection, held, chain[-1].version)
            if everything or not is_leftover(look, chain[-1], stood[held.node], made, went):
                yield self._deleted(held, chain, made, went)

    def _deleted(self, held: Standing, chain: tuple[Node, ...], made: Mapping[int, Made], link: Link | None) -> Deleted:
        look, node = self._look, chain[-1]
        assert held.to_change is not None
        by = made[held.to_change]
        names = [look.resolver.told_name(each) for each in chain[1:]]
        over = None
        if link is not None and link.kind == Lineage.REPLACED:
            over = _where(look, self._place.space, self._root, link.node)
        return Deleted(
            id=held.node,
            name=names[-1],
            path=Path((*self._root.segments, *names)),
            is_folder=held.is_folder,
            size=node.size,
            version=node.version,
            at=by.at,
            by=author_shown(look, self._place.space, by.principal, by.organisation),
            replaced=None if over is None else over.path,
        )

    def _chain(self, held: Standing) -> tuple[Node, ...]:
        """Return the nodes from the root down to what stood there, as it was just before it went."""
        connection, names = self._look.connection, self._look.storage.names
        assert held.to_change is not None
        number = held.to_change - 1
        key = (held.parent, number)
        if key not in self._chains:
            if len(self._chains) > _BATCH:
                self._chains.clear()
            self._chains[key] = self._above(held.parent, number)
        # The change that took it away may have given it its last version.
        node = PastTree(names, held.to_change).nodes_of(connection, [held])[0]
        return (*self._chains[key], node)

    def _above(self, folder: bytes, number: int) -> tuple[Node, ...]:
        """Return the nodes down to a folder as of a change; those in the trash then, as they stood last."""
        connection, tree = self._look.connection, PastTree(self._look.storage.names, number)
        chain: list[Node] = []
        while folder and len(chain) <= DEPTH_MAX + 1:
            held = standing_at(connection, folder, number) or last_standings(connection, [folder]).get(folder)
            if held is None:
                break
            chain += tree.nodes_of(connection, [held])
            folder = held.parent
        return tuple(reversed(chain))

    def _is_here(self, chain: tuple[Node, ...]) -> bool:
        """Return whether it was deleted in this folder, and may be seen."""
        if self._place.node.id not in {node.id for node in chain[:-1]} or chain[0].id != self._place.space.id:
            return False
        decision = self._look.sight.decide(Action.LIST, chain, self._look.at)
        return decision.allowed and decision.history


def undelete(session: Session, path: Path, node: bytes, to: Path | None) -> Item:
    """Let what was deleted in the folder at `path` stand again, with all in it: under its old name, or at `to`."""

    def work(tx: Transaction) -> Item:
        found = _Trash(tx, folder_at(tx, path, Action.RESTORE)).entry(node)
        if found is None:
            raise NotFound
        held, chain = found
        info = tx.sight.spaces[held.space]
        home = _where(tx, info, Path((tx.sight.shown[info.id],)), held.parent)
        tx.allow(Action.RESTORE, home or Place(path, info, chain[:-1], tx.storage.tree, None))
        goal, standing = _goal(tx, home, chain, held) if to is None else _chosen(tx, to, held)
        (now,) = as_they_went(tx.storage.tree, tx.connection, [held])
        require_depth(tx, now, len(goal.chain) + 1, len(chain))
        after = reopened(tx, goal, now, standing)
        tx.finish(ChangeKind.RESTORE, after, "restore", facts={} if now.is_folder else node_facts(now))
        return tx.item(after)

    return session.commit([path] if to is None else [path, to], work)


def reopened(tx: Transaction, goal: Place, now: Node, standing: Node, conditions: Conditions = NO_CONDITIONS) -> Place:
    """Let `now`, which stands nowhere, stand in the folder `goal` under the name and in the lane of `standing`."""
    inner = has_inner_rights(tx, goal.space.id)
    path = goal.path.joined(tx.resolver.told_name(standing))
    slot = free_slot(tx, goal, standing.name, standing.lane)
    require_unlocked(tx, [*chain_slots(goal.chain), slot], conditions, path, membership=True)
    after = now._replace(parent=goal.node.id, lane=standing.lane, folded=slot.folded, name=standing.name)
    change = tx.change(goal.space.id)
    change.open_all([after])
    after = after._replace(from_change=change.number, revision=change.number)
    if is_noise_name(after.name):
        noise.remove(tx.connection, [(after.parent, after.lane, after.folded)])
    if inner:
        tx.bump()
        require_walls(tx.storage, tx.connection, goal.space)
    chain = (*goal.chain, after)
    return Place(goal.path.joined(tx.resolver.shown_name(goal.tree, chain, None)), goal.space, chain, goal.tree, None)


def _where(look: Look, info: SpaceInfo, root: Path, node: bytes) -> Place | None:
    """Return where a node stands now; None if it is gone, or out of sight. The space of `info` stands at `root`."""
    tree = look.storage.tree
    found = tree.by_id(look.connection, node)
    chain = () if found is None else tree.ancestry(look.connection, found)
    if not chain or not look.sight.sees(chain, look.at):
        return None
    if chain[0].id != info.id:
        info = look.sight.spaces[chain[0].id]
        root = Path((look.sight.shown[info.id],))
    names = (look.resolver.shown_name(tree, chain[:end], None) for end in range(2, len(chain) + 1))
    return Place(Path((*root.segments, *names)), info, chain, tree, None)


def _goal(tx: Transaction, home: Place | None, chain: tuple[Node, ...], held: Standing) -> tuple[Place, Node]:
    """Return the folder it stood in, and how it stood there. Raises FolderGone, NameTaken."""
    if home is None:
        raise FolderGone
    if tx.storage.tree.in_lane(tx.connection, home.node, held.lane, chain[-1].name) is not None:
        raise NameTaken
    return home, chain[-1]


def _chosen(tx: Transaction, to: Path, held: Standing) -> tuple[Place, Node]:
    """Return the folder of a name that was chosen, and how it shall stand there."""
    found = target(tx, to, Action.RESTORE)
    if found.space.id != held.space:
        raise NotFound
    tx.allow(Action.RESTORE, found.parent)
    lane = held.lane if found.parent.node.id == held.parent else NOBODY
    if found.node is not None or tx.storage.tree.in_lane(tx.connection, found.parent.node, lane, to.name) is not None:
        raise TargetExists
    bare = PastTree(tx.storage.names, held.from_change).nodes_of(tx.connection, [held])[0]
    return found.parent, bare._replace(name=to.name, lane=lane)
