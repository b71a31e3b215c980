"""Noise beside documents: at most one file under a name, written over without a version, in no change and no event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select

from config.ids import new_id
from config.queries import Query
from config.statements import Statement
from providers import tables
from providers.catalogue.nodes import Names, Node

_N = tables.noise.c
_COLUMNS = (_N.parent, _N.lane, _N.folded, _N.name, _N.space, _N.id, _N.size, _N.created, _N.modified, _N.principal)
_IN = Query(select(*_COLUMNS).where(_N.parent == bindparam("parent")))
_NAMED = Query(select(*_COLUMNS).where(_N.parent == bindparam("parent"), _N.folded == bindparam("folded")))
_CONTENT = Query(select(_N.content).where(_N.id == bindparam("id")))
_TOTAL = Query(select(func.coalesce(func.sum(_N.size), 0).label("total")).where(_N.space == bindparam("space")))
_KEY = (_N.parent == bindparam("b_parent"), _N.lane == bindparam("b_lane"), _N.folded == bindparam("b_folded"))
_REMOVE = Statement(delete(tables.noise).where(*_KEY))
_ADD = Statement(lambda insert: insert(tables.noise))
_CLOSED = tables.closed_entry.c
_EVER = Query(
    select(_CLOSED.node)
    .where(
        _CLOSED.parent == bindparam("parent"), _CLOSED.lane == bindparam("lane"), _CLOSED.folded == bindparam("folded")
    )
    .limit(1)
)


class NoiseFile:
    """A file of noise: the node that stands for it in a tree, and who wrote it."""

    def __init__(self, names: Names, row: tuple[Any, ...]) -> None:
        parent, lane, folded, given, space, identity, size, created, modified, self.principal = row
        name = names.opened(space, parent, folded, given)
        # It came to stand by no change: that tells it from documents.
        self.node = Node(
            space, parent, lane, folded, identity, name, False, 0, 0, identity, size, created, modified, 0, False
        )


def inside(connection: Connection, names: Names, folder: Node) -> list[NoiseFile]:
    """Return all noise in a folder."""
    return [NoiseFile(names, row) for row in _IN.rows(connection, parent=folder.id)]


def named(connection: Connection, names: Names, folder: Node, name: str) -> list[NoiseFile]:
    """Return the noise under a name in a folder: one in each lane at most."""
    folded = names.folded(folder.space, folder.id, name)
    return [NoiseFile(names, row) for row in _NAMED.rows(connection, parent=folder.id, folded=folded)]


def sealed_content(connection: Connection, node: Node) -> bytes:
    """Return the content as it is sealed."""
    row = _CONTENT.first(connection, id=node.id)
    return b"" if row is None else bytes(row[0])


def total_bytes(connection: Connection, space: bytes) -> int:
    """Return how much noise a space holds."""
    row = _TOTAL.first(connection, space=space)
    return 0 if row is None else int(row[0])


def ever_a_document(connection: Connection, parent: bytes, lane: bytes, folded: bytes) -> bool:
    """Return whether anything that is kept once stood under this name."""
    return _EVER.first(connection, parent=parent, lane=lane, folded=folded) is not None


def store(connection: Connection, names: Names, row: Mapping[str, Any], seal: Any) -> Node:
    """Let a file stand, in place of any before it; return its node. `row` holds the columns but id and name."""
    remove(connection, [(row["parent"], row["lane"], row["folded"])])
    identity = new_id()
    given = names.given(row["space"], row["parent"], row["name"])
    made = {**row, "id": identity, "name": given, "content": seal(b"noise" + identity, row["content"])}
    _ADD.run(connection, **made)
    columns = tuple(made[column.name] for column in _COLUMNS)
    return NoiseFile(names, columns).node


def remove(connection: Connection, keys: Iterable[tuple[bytes, bytes, bytes]]) -> None:
    """Let the files under these (parent, lane, folded name) stand no longer."""
    for parent, lane, folded in keys:
        _REMOVE.run(connection, b_parent=parent, b_lane=lane, b_folded=folded)
