"""The tree as it stood at a change: entries alive then, each document in the version it had then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, union_all

from config.ids import NOBODY, new_id
from config.queries import Query
from providers import tables
from providers.catalogue.nodes import Names, Node, Tree
from providers.catalogue.props import Property, properties_at, time_set
from providers.catalogue.standing import Standing, standing_at
from providers.paths import DEPTH_MAX

_LIVE = tables.entry.c
_CLOSED = tables.closed_entry.c
_BATCH = 500


def _alive(*, by_name: bool) -> Any:
    live = select(
        _LIVE.parent, _LIVE.lane, _LIVE.folded, _LIVE.name, _LIVE.space, _LIVE.node, _LIVE.is_folder,
        _LIVE.from_change, _LIVE.created,
    ).where(_LIVE.parent == bindparam("parent"), _LIVE.from_change <= bindparam("number"))  # fmt: skip
    closed = select(
        _CLOSED.parent, _CLOSED.lane, _CLOSED.folded, _CLOSED.name, _CLOSED.space, _CLOSED.node, _CLOSED.is_folder,
        _CLOSED.from_change, _CLOSED.created,
    ).where(
        _CLOSED.parent == bindparam("parent"),
        _CLOSED.from_change <= bindparam("number"),
        _CLOSED.to_change > bindparam("number"),
    )  # fmt: skip
    if by_name:
        live = live.where(_LIVE.lane.in_([bindparam("common"), bindparam("own")]), _LIVE.folded == bindparam("folded"))
        closed = closed.where(
            _CLOSED.lane.in_([bindparam("common"), bindparam("own")]), _CLOSED.folded == bindparam("folded")
        )
    return union_all(live, closed)


_BY_NAME = _alive(by_name=True)
_CHILDREN = _alive(by_name=False)
#: Times grow with numbers: one step of the index, not all changes until then.
_NUMBER_AT = Query(
    select(tables.change.c.number)
    .where(tables.change.c.space == bindparam("space"), tables.change.c.at <= bindparam("at"))
    .order_by(tables.change.c.at.desc())
    .limit(1)
)
_V = tables.version.c


def _held(entries: Any) -> Any:
    """Return a query for what the documents of some entries held as of a change: for each a step of an index."""
    nodes = select(entries.node).distinct().where(entries.node.in_(bindparam("nodes", expanding=True))).subquery().c
    inner = tables.version.alias().c
    newest = (
        select(inner.number)
        .where(inner.node == nodes.node, inner.change <= bindparam("number"))
        .order_by(inner.change.desc(), inner.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(_V.node, _V.number, _V.id, _V.size, _V.at).where(_V.node == nodes.node, _V.number == newest)


#: A document stands still, or stood: what is found by the first is not asked of the second.
_HELD = (_held(_LIVE), _held(_CLOSED))


def number_at(connection: Connection, space: bytes, at: int) -> int | None:
    """Return the number of the space's newest change at the moment `at` (µs), or None before its first."""
    row = _NUMBER_AT.first(connection, space=space, at=at)
    return None if row is None else row[0]


def as_they_went(tree: Tree, connection: Connection, standings: Sequence[Standing]) -> list[Node]:
    """Return nodes of one space as they were where they stood last, with all that they have come to since.

    An empty document has an id for its entity tag, as every one that stands.
    """
    if not standings:
        return []
    newest = PastTree(tree.names, tree.number(connection, standings[0].space) or 0)
    return [
        node if node.is_folder or node.version else node._replace(version_id=new_id())
        for node in newest.nodes_of(connection, standings)
    ]


class PastTree:
    """The tree of a space as of one change. Answers as `Tree` does."""

    def __init__(self, names: Names, number: int) -> None:
        self.names = names
        self.number = number

    def root(self, connection: Connection, space: bytes) -> Node | None:
        """Return the root of the space, or None if it did not stand yet."""
        key = {"parent": NOBODY, "common": NOBODY, "own": NOBODY, "folded": space, "number": self.number}
        return next(iter(self.nodes_of(connection, connection.execute(_BY_NAME, key).all())), None)

    def by_id(self, connection: Connection, node: bytes) -> Node | None:
        """Return the node where it stood, whether or not the folders above it did."""
        held = standing_at(connection, node, self.number)
        if held is None:
            return None
        return self.nodes_of(connection, [held])[0]

    def ancestry(self, connection: Connection, node: Node) -> tuple[Node, ...]:
        """Return the nodes from the root of the space down to `node`, itself included; none if it stood in nothing."""
        chain = [node]
        while chain[-1].parent:
            above = self.by_id(connection, chain[-1].parent)
            if above is None or len(chain) > DEPTH_MAX + 1:
                return ()
            chain.append(above)
        return tuple(reversed(chain))

    def named(self, connection: Connection, parent: Node, name: str, own_lane: bytes) -> list[Node]:
        """Return what stood under `name` in `parent`: in the common lane, then in `own_lane`."""
        folded = self.names.folded(parent.space, parent.id, name)
        rows = connection.execute(
            _BY_NAME,
            {"parent": parent.id, "common": NOBODY, "own": own_lane, "folded": folded, "number": self.number},
        ).all()
        return sorted(self.nodes_of(connection, rows), key=lambda node: node.lane)

    def in_lane(self, connection: Connection, parent: Node, lane: bytes, name: str) -> Node | None:
        """Return what stood under `name` in that very lane of `parent`."""
        return next((node for node in self.named(connection, parent, name, lane) if node.lane == lane), None)

    def lanes(self, connection: Connection, parent: Node) -> list[bytes]:
        """Return the parties that had documents in lanes of `parent`."""
        return sorted({node.lane for node in self.children(connection, parent)} - {NOBODY})

    def children(self, connection: Connection, parent: Node) -> list[Node]:
        """Return all that stood in `parent`, in every lane."""
        rows = connection.execute(_CHILDREN, {"parent": parent.id, "number": self.number}).all()
        return self.nodes_of(connection, rows)

    def listed(self, connection: Connection, parent: Node) -> Sequence[Node]:
        """Return what `children` does; of the past nothing is remembered."""
        return self.children(connection, parent)

    def nodes_of(self, connection: Connection, rows: Sequence[Any]) -> list[Node]:
        """Return the nodes that entries tell of, each with the version and the properties it had."""
        documents = [row.node for row in rows if not row.is_folder]
        held: dict[bytes, Any] = {}
        for query in _HELD:
            missing = [node for node in documents if node not in held]
            for start in range(0, len(missing), _BATCH):
                part = missing[start : start + _BATCH]
                for version in connection.execute(query, {"nodes": part, "number": self.number}):
                    held[version.node] = version
        bearing = properties_at(connection, [row.node for row in rows], self.number)
        return [self._node(row, held.get(row.node), bearing.get(row.node, {})) for row in rows]

    def _node(self, row: Any, held: Any, properties: Mapping[bytes, Property]) -> Node:
        set_then = time_set(self.names.sealer(row.space), row.node, properties) if properties else None
        written = row.created if held is None else held.at
        return Node(
            space=row.space,
            parent=row.parent,
            lane=row.lane,
            folded=row.folded,
            id=row.node,
            name=self.names.opened(row.space, row.parent, row.folded, row.name),
            is_folder=row.is_folder,
            from_change=row.from_change,
            version=0 if held is None else held.number,
            version_id=NOBODY if held is None else held.id,
            size=0 if held is None else held.size,
            created=row.created,
            modified=written if set_then is None else set_then,
            revision=self.number,
            has_properties=bool(properties),
        )
