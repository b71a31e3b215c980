"""The live tree: look-up by name, listing, ancestry. Each is one indexed query, flat in versions and documents."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, bindparam, select

from auth import tables as auth_tables
from auth.keyring import Keyring
from config.ids import NOBODY
from config.queries import Query, parts_of
from config.snapshots import writes
from providers import tables
from providers.paths import DEPTH_MAX, fold

#: How many opened names a process remembers; about 32 MB.
NAMES_MAX = 150_000
#: How many names lately looked for a process remembers as they are sealed; about 3 MB.
FOLDED_MAX = 10_000
#: How many nodes of folders lately listed a process remembers; about 12 MB.
LISTED_MAX = 20_000


class Node(NamedTuple):
    """A folder or document where it stands. `id` of a space's root is the space's own; its `parent` is empty.

    `version` is 0 for folders and for documents that have had no content yet. Times are microseconds.
    """

    space: bytes
    parent: bytes
    lane: bytes
    folded: bytes
    id: bytes
    name: str
    is_folder: bool
    from_change: int
    version: int
    version_id: bytes
    size: int
    created: int
    modified: int
    revision: int
    has_properties: bool


#: The first fields of a node tell where it stands, and the next one which it is.
SLOT = Node._fields.index("id") + 1


class Names:
    """Seals and opens names. What was opened is remembered: the same sealed bytes always hold the same name."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._opened: dict[tuple[bytes, bytes], str] = {}
        self._folded: dict[tuple[bytes, str], bytes] = {}

    def sealer(self, space: bytes) -> Any:
        """Return what seals the names and properties of a space."""
        return self._keyring.space(space).names

    def folded(self, space: bytes, parent: bytes, name: str) -> bytes:
        """Return the sealed form by which `name` is found under `parent`."""
        sealer, plain = self._keyring.space(space).names, fold(name)
        sealed = self._folded.get((parent, plain))
        if sealed is None:
            sealed = sealer.seal_name(parent, plain)
            if len(self._folded) >= FOLDED_MAX:
                self._folded.clear()
            self._folded[(parent, plain)] = sealed
        return sealed

    def given(self, space: bytes, parent: bytes, name: str) -> bytes | None:
        """Return the sealed name as given, or None where folding leaves it as it is."""
        if fold(name) == name:
            return None
        return self._keyring.space(space).names.seal_name(parent, name)

    def opened(self, space: bytes, parent: bytes, folded: bytes, given: bytes | None) -> str:
        """Return the name as given. Raises the keyring's error if it was sealed for another place."""
        sealed = folded if given is None else given
        if not parent:
            return ""  # the root of a space has no name here: it is found by the space's id
        name = self._opened.get((parent, sealed))
        if name is None:
            name = self._keyring.space(space).names.open_name(parent, sealed)
            if len(self._opened) >= NAMES_MAX:
                for key in list(self._opened)[: NAMES_MAX // 4]:
                    self._opened.pop(key, None)
            self._opened[(parent, sealed)] = name
        return name

    def node(self, row: Any) -> Node:
        """Return the node that a row of `entry` describes."""
        parent, lane, folded, given, space, identity, *rest = row
        return Node(space, parent, lane, folded, identity, self.opened(space, parent, folded, given), *rest)


_ENTRY = tables.entry.c
COLUMNS = (
    _ENTRY.parent,
    _ENTRY.lane,
    _ENTRY.folded,
    _ENTRY.name,
    _ENTRY.space,
    _ENTRY.node,
    _ENTRY.is_folder,
    _ENTRY.from_change,
    _ENTRY.version,
    _ENTRY.version_id,
    _ENTRY.size,
    _ENTRY.created,
    _ENTRY.modified,
    _ENTRY.revision,
    _ENTRY.has_properties,
)

_BY_NODE = Query(select(*COLUMNS).where(_ENTRY.node == bindparam("node")))
_BY_NODES = Query(select(*COLUMNS).where(_ENTRY.node.in_(bindparam("nodes", expanding=True))))
_BY_NAME = Query(
    select(*COLUMNS).where(
        _ENTRY.parent == bindparam("parent"),
        _ENTRY.lane.in_([bindparam("common"), bindparam("own")]),
        _ENTRY.folded == bindparam("folded"),
    )
)
_BY_LANE = Query(
    select(*COLUMNS).where(
        _ENTRY.parent == bindparam("parent"), _ENTRY.lane == bindparam("lane"), _ENTRY.folded == bindparam("folded")
    )
)
_CHILDREN = Query(select(*COLUMNS).where(_ENTRY.parent == bindparam("parent")))
_KINDS = Query(
    select(_ENTRY.node, _ENTRY.is_folder)
    .where(_ENTRY.parent.in_(bindparam("parents", expanding=True)))
    .limit(bindparam("count", type_=BigInteger))
)
_FOLDERS = Query(select(_ENTRY.node).where(_ENTRY.parent.in_(bindparam("parents", expanding=True)), _ENTRY.is_folder))
_FOLDERS_AT_ONCE = 100
_LANES = select(_ENTRY.lane).distinct().where(_ENTRY.parent == bindparam("parent"), _ENTRY.lane != NOBODY)
_NUMBER = Query(select(tables.head.c.number).where(tables.head.c.space == bindparam("space")))
#: Both in one question; a row comes for a space that is none, too.
_NEWEST = Query(
    select(
        auth_tables.epoch.c.value,
        select(tables.head.c.number).where(tables.head.c.space == bindparam("space")).scalar_subquery().label("number"),
    )
)
_REVISION = Query(select(_ENTRY.revision).where(_ENTRY.node == bindparam("node")))
_PARENT_OF = Query(select(_ENTRY.parent).where(_ENTRY.node == bindparam("node")))


class Tree:
    """The live tree of every space, read through a connection that the caller brings."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self._guard = threading.Lock()
        self._listed: dict[tuple[bytes, int], tuple[Node, ...]] = {}
        self._listed_count = 0

    def root(self, connection: Connection, space: bytes) -> Node | None:
        """Return the node at the root of the space."""
        return self.by_id(connection, space)

    def number(self, connection: Connection, space: bytes) -> int | None:
        """Return the number of the space's newest change: the same number, the same tree."""
        row = _NUMBER.first(connection, space=space)
        return None if row is None else row[0]

    def newest(self, connection: Connection, space: bytes) -> tuple[int, int | None]:
        """Return the epoch of rights, and what `number` does."""
        [(epoch, number)] = _NEWEST.rows(connection, space=space)
        return epoch, number

    def by_id(self, connection: Connection, node: bytes) -> Node | None:
        """Return the node if it stands anywhere."""
        row = _BY_NODE.first(connection, node=node)
        return None if row is None else self.names.node(row)

    def as_now(self, connection: Connection, chain: Sequence[Node]) -> tuple[Node, ...] | None:
        """Return the nodes of a chain as they are now; None unless each stands under the name it stood under."""
        rows = _BY_NODES.rows(connection, nodes=[node.id for node in chain])
        standing = {node.id: node for node in map(self.names.node, rows)}
        found = tuple(standing[node.id] for node in chain if node.id in standing)
        return found if [node[:SLOT] for node in found] == [node[:SLOT] for node in chain] else None

    def named(self, connection: Connection, parent: Node, name: str, own_lane: bytes) -> list[Node]:
        """Return what stands under `name` in `parent`: in the common lane, then in `own_lane` (at most two nodes)."""
        folded = self.names.folded(parent.space, parent.id, name)
        rows = _BY_NAME.rows(connection, parent=parent.id, common=NOBODY, own=own_lane, folded=folded)
        return sorted((self.names.node(row) for row in rows), key=lambda node: node.lane)

    def in_lane(self, connection: Connection, parent: Node, lane: bytes, name: str) -> Node | None:
        """Return what stands under `name` in that very lane of `parent`."""
        folded = self.names.folded(parent.space, parent.id, name)
        row = _BY_LANE.first(connection, parent=parent.id, lane=lane, folded=folded)
        return None if row is None else self.names.node(row)

    def lanes(self, connection: Connection, parent: Node) -> list[bytes]:
        """Return the parties that have documents in lanes of `parent`."""
        return list(connection.execute(_LANES, {"parent": parent.id}).scalars())

    def children(self, connection: Connection, parent: Node) -> list[Node]:
        """Return all that stands in `parent`, in every lane, in no promised order."""
        node = self.names.node
        return [node(row) for row in _CHILDREN.rows(connection, parent=parent.id)]

    def listed(self, connection: Connection, parent: Node) -> Sequence[Node]:
        """Return what `children` does, remembered for as long as the folder's revision stays."""
        if writes(connection):
            return self.children(connection, parent)  # it changes children before it changes the revision
        # Asked for, since `parent` may be of a listing itself: what changes in a folder leaves that above as it is.
        row = _REVISION.first(connection, node=parent.id)
        key = (parent.id, parent.revision if row is None else row[0])
        kept = self._listed.get(key)
        if kept is None:
            kept = tuple(self.children(connection, parent))
            self._remember(key, kept)
        return kept

    def _remember(self, key: tuple[bytes, int], nodes: tuple[Node, ...]) -> None:
        if len(nodes) > LISTED_MAX:
            return
        with self._guard:
            self._forget(key)
            while self._listed_count + len(nodes) > LISTED_MAX:
                self._forget(next(iter(self._listed)))
            self._listed[key] = nodes
            self._listed_count += len(nodes)

    def _forget(self, key: tuple[bytes, int]) -> None:
        self._listed_count -= len(self._listed.pop(key, ()))

    def ancestry(self, connection: Connection, node: Node) -> tuple[Node, ...]:
        """Return the nodes from the root of the space down to `node`, itself included."""
        chain = [node]
        while chain[-1].parent:
            above = self.by_id(connection, chain[-1].parent)
            if above is None or len(chain) > DEPTH_MAX + 1:
                return ()
            chain.append(above)
        return tuple(reversed(chain))

    def ancestries(self, connection: Connection, nodes: Iterable[bytes]) -> Mapping[bytes, tuple[Node, ...]]:
        """Return what `ancestry` does for each of `nodes` that stands in its space; asks for each level at once."""
        wanted = list(nodes)
        standing: dict[bytes, Node] = {}
        pending = set(wanted)
        while pending:
            rows = [row for part in parts_of(list(pending)) for row in _BY_NODES.rows(connection, nodes=part)]
            found = [self.names.node(row) for row in rows]
            standing.update((node.id, node) for node in found)
            pending = {node.parent for node in found if node.parent} - standing.keys()
        chains = ((node, _climbed(standing, node)) for node in wanted)
        return {node: chain for node, chain in chains if chain}

    def above(self, connection: Connection, nodes: Iterable[bytes]) -> frozenset[bytes]:
        """Return those of `nodes` that stand, with all their ancestors."""
        found: set[bytes] = set()
        for start in nodes:
            here: bytes | None = start
            path: list[bytes] = []
            while here and here not in found:
                row = _PARENT_OF.first(connection, node=here)
                if row is None:
                    path.clear()
                    break
                path.append(here)
                here = row[0]
            found.update(path)
        return frozenset(found)

    def documents_below(self, connection: Connection, folder: bytes, at_most: int) -> int:
        """Count the documents in a folder, however deep; stop at about `at_most` documents, or as many folders."""
        documents, folders, pending = 0, 0, [folder]
        while pending and documents < at_most and folders < at_most:
            some, pending = pending[:_FOLDERS_AT_ONCE], pending[_FOLDERS_AT_ONCE:]
            found = _KINDS.rows(connection, parents=some, count=at_most)
            below = [node for node, is_folder in found if is_folder]
            documents += len(found) - len(below)
            folders += len(below)
            pending += below
        return documents

    def levels_below(self, connection: Connection, folder: bytes) -> int:
        """Return how many levels lie below a folder: 0 if it is empty, 1 if it holds nothing but documents."""
        levels, last, here = -1, [folder], [folder]
        while here:
            levels, last = levels + 1, here
            here = [node for part in parts_of(here) for (node,) in _FOLDERS.rows(connection, parents=part)]
        holds = any(_KINDS.rows(connection, parents=part, count=1) for part in parts_of(last))
        return levels + holds

    def below(self, connection: Connection, folder: Node) -> Iterable[Sequence[Node]]:
        """Yield the children of each folder below `folder`, its own first."""
        pending = [folder]
        while pending:
            children = self.children(connection, pending.pop())
            yield children
            pending.extend(child for child in children if child.is_folder)


def _climbed(standing: Mapping[bytes, Node], node: bytes) -> tuple[Node, ...]:
    """Return the nodes from the root of a space down to `node`; none if it does not stand there."""
    chain: list[Node] = []
    while node:
        found = standing.get(node)
        if found is None or len(chain) > DEPTH_MAX + 1:
            return ()
        chain.append(found)
        node = found.parent
    return tuple(reversed(chain))
