"""What differs in a folder between two moments, as far as one may see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from auth.roles import Action
from config.ids import NOBODY
from providers.catalogue import contents
from providers.catalogue.change import MODIFIED
from providers.catalogue.moments import Lies, Pair, Side, Where, walk
from providers.catalogue.nodes import Node, Tree
from providers.catalogue.past import PastTree, number_at
from providers.catalogue.props import Property, properties_ever
from providers.drive.places import Place
from providers.drive.session import Session
from providers.drive.transaction import Look
from providers.errors import NotAFolder, NotFound, VersionErased
from providers.model import Difference, Differs
from providers.paths import Path

#: How many versions are remembered while two moments are compared.
_ROWS_MAX = 1000


def compare(session: Session, path: Path, before_us: int, after_us: int | None) -> Iterator[Difference]:
    """Yield what differs in the folder at `path` between two moments; without `after_us`, until now."""
    with session.look() as look:
        place = folder_at(look, path, Action.LIST)
        sides(look, place, before_us, after_us)

    def found() -> Iterator[Difference]:
        with session.look() as look:
            place = folder_at(look, path, Action.LIST)
            before, after = sides(look, place, before_us, after_us)
            telling = Telling(look, place, before, after)
            for pair in walk(before, after, place.node):
                difference = telling.difference(pair)
                if difference is not None:
                    yield difference

    return found()


def folder_at(look: Look, path: Path, action: Action) -> Place:
    """Return the folder at `path`, in which one may do `action` and look back. Raises NotAFolder, and what forbids."""
    place = look.place(path)
    look.allow(action, place)
    look.allow(Action.HISTORY, place)
    if not place.node.is_folder:
        raise NotAFolder
    return place


def sides(look: Look, place: Place, before_us: int, after_us: int | None) -> tuple[Side, Side]:
    """Return the two moments of a folder. Raises NotFound for one that is to come, or at which it did not stand."""
    before = _side(look, place, before_us)
    if after_us is None:
        return before, Side(look.connection, look.storage.tree, place.chain)
    return before, _side(look, place, after_us)


def _side(look: Look, place: Place, moment_us: int) -> Side:
    space = place.space.id
    is_to_come = look.by_our_clock(space, moment_us) > look.at
    number = None if is_to_come else number_at(look.connection, space, moment_us)
    if number is None:
        raise NotFound
    tree = PastTree(look.storage.names, number)
    node = tree.by_id(look.connection, place.node.id)
    chain = () if node is None else tree.ancestry(look.connection, node)
    if not chain:
        raise NotFound
    return Side(look.connection, tree, chain)


class Held:
    """What documents held: versions read once, though several ask, and compared by what is known of their bytes."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._rows: dict[bytes, Mapping[str, Any]] = {}

    def row(self, node: Node) -> Mapping[str, Any] | None:
        """Return the version that a document bears, its MAC checked; None if it bears none. Raises VersionErased."""
        if not node.version:
            return None
        found = self._rows.get(node.version_id)
        if found is None:
            if len(self._rows) >= _ROWS_MAX:
                self._rows.clear()
            keyring = self._look.storage.keyring
            found = contents.version(self._look.connection, keyring, node.space, node.id, node.version)
            self._rows[node.version_id] = found
        return found

    def are_same(self, one: Node, other: Node) -> bool:
        """Return whether a document holds the same bytes as two of its versions; not if one of them was erased."""
        if one.size != other.size:
            return False
        if one.version_id == other.version_id or not (one.version or other.version):
            return True
        try:
            rows = self.row(one), self.row(other)
        except VersionErased:
            return False
        if not one.size:
            return True  # nothing is the same, whether it was saved as such or never was anything
        keyring = self._look.storage.keyring
        return len({contents.sha256_of(keyring, row) for row in rows if row is not None}) == 1


class Telling:
    """Turns pairs into what one principal is told of them, with paths as below the folder that is compared."""

    def __init__(self, look: Look, place: Place, before: Side, after: Side) -> None:
        self._look = look
        self._trees = (before.tree, after.tree)
        self._place = place
        self._root = place.space_path
        me = look.principal
        self._lanes = None if me.is_supplier or place.space.is_open else {NOBODY, me.party}
        self.held = Held(look)

    def difference(self, pair: Pair) -> Difference | None:
        """Return what differs; None where nothing does, or nothing of it is seen."""
        before = pair.before if pair.where_before.lies is not Lies.NOWHERE else None
        after = pair.after if pair.where_after.lies is not Lies.NOWHERE else None
        if not pair.was_inside and not pair.is_inside:
            return None
        if before is not None and after is not None and self._alike(before, after):
            return None
        if before is not None and not self._seen(pair, pair.where_before, before, is_past=True):
            before = None
        if after is not None and not self._seen(pair, pair.where_after, after, is_past=False):
            after = None
        was_inside, is_inside = before is not None and pair.was_inside, after is not None and pair.is_inside
        if not was_inside and not is_inside:
            return None
        return self._told(pair, before, after)

    def _alike(self, before: Node, after: Node) -> bool:
        if position(before) != position(after) or before.modified != after.modified:
            return False
        if not self.held.are_same(before, after):
            return False
        if not before.has_properties and not after.has_properties:
            return True
        ever = properties_ever(self._look.connection, [after.id]).get(after.id, ())
        time = self._look.storage.names.sealer(after.space).seal_name(after.id, MODIFIED)
        dead = [each for each in ever if each.key != time]  # the time was compared as it is shown
        then, now = ({each.key: each.value for each in dead if _holds(each, tree)} for tree in self._trees)
        return then == now

    def _told(self, pair: Pair, before: Node | None, after: Node | None) -> Difference:
        was = None if before is None else self._path(pair.where_before, before)
        path = was if after is None else self._path(pair.where_after, after)
        assert path is not None
        folder = pair.node.is_folder
        return Difference(
            what=self._what(before, after),
            path=path,
            was=None if was == path or after is None else was,
            id=pair.node.id,
            is_folder=folder,
            size_before=None if before is None or folder else before.size,
            size_after=None if after is None or folder else after.size,
            version_before=None if before is None or folder else before.version,
            version_after=None if after is None or folder else after.version,
        )

    def _what(self, before: Node | None, after: Node | None) -> Differs:
        if before is None:
            return Differs.ADDED
        if after is None:
            return Differs.REMOVED
        if before.parent != after.parent:
            return Differs.MOVED
        if position(before) != position(after):
            return Differs.RENAMED
        return Differs.TOUCHED if self.held.are_same(before, after) else Differs.CHANGED

    def _path(self, where: Where, node: Node) -> Path:
        names = [self._look.resolver.told_name(each) for each in (*where.chain[1:], node)]
        if where.lies is Lies.INSIDE:
            depth = next(at for at, each in enumerate(where.chain) if each.id == self._place.node.id)
            return Path((*self._place.path.segments, *names[depth:]))
        return Path((*self._root.segments, *names))

    def _seen(self, pair: Pair, where: Where, node: Node, *, is_past: bool) -> bool:
        """Return whether a node is seen at its moment: where nothing breaks inheritance, as the folder is."""
        lies_outside = Lies.OUTSIDE in (where.lies, pair.where_after.lies)
        if not lies_outside and not self._look.principal.rights.breaks:
            return self._lanes is None or node.lane in self._lanes
        chain = (*where.chain, node)
        if is_past:
            return self._look.resolver.seen_then(chain)
        return self._look.sight.sees(chain, self._look.at)


def _holds(found: Property, tree: Tree | PastTree) -> bool:
    return found.held_at(tree.number) if isinstance(tree, PastTree) else found.to_change is None


def position(node: Node) -> tuple[bytes, bytes, str]:
    """Return where a node stands, and how it is spelt there."""
    return node.parent, node.lane, node.name
