"""Where a document stands or last stood, what is a folder, and where else the content of a version stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, select

from config.ids import NOBODY
from providers import tables
from providers.audit.events import Projection
from providers.catalogue.nodes import Node
from providers.catalogue.past import as_they_went
from providers.catalogue.standing import Standing, last_standings, standings
from providers.drive.storage import Storage
from providers.drive.transaction import Transaction
from providers.errors import NotFound
from providers.holding.errors import NotADocument
from providers.holding.model import Elsewhere
from providers.model import SpaceInfo
from providers.paths import DEPTH_MAX, Path, fold

_V = tables.version.c
_BATCH = 500


def audience(tx: Transaction, info: SpaceInfo, node: bytes | None) -> dict[bytes, Projection]:
    """Return which parties learn of what is done to a document, or with None to a space as a whole.

    Of a document it is those who may see it where it stands, or stood last. To be asked before it is erased: then its
    names are gone.
    """
    if node is None:
        return tx.audience_of_space(info)
    chain = line(tx.storage, tx.connection, node)
    return tx.audience(info, chain) if chain and chain[0].id == info.id else {}


def is_folder(connection: Connection, space: bytes, node: bytes) -> bool:
    """Return whether a node of the space is a folder. Raises NotFound for none of it."""
    found = last_standings(connection, [node]).get(node)
    if found is None or found.space != space:
        raise NotFound
    return bool(found.is_folder)


def standing(storage: Storage, connection: Connection, space: bytes, path: Path) -> bytes:
    """Return the document at a path of a space, that of a lane if none is in common. Raises NotFound, NotADocument."""
    tree = storage.tree
    here = tree.root(connection, space)
    for depth, name in enumerate(path.segments, start=1):
        found = [] if here is None else tree.named(connection, here, name, NOBODY)
        if not found and here is not None and depth == len(path.segments):
            found = [node for node in tree.children(connection, here) if fold(node.name) == fold(name)]
        here = found[0] if len(found) == 1 else None
    if here is None:
        raise NotFound
    if here.is_folder:
        raise NotADocument
    return here.id


def line(storage: Storage, connection: Connection, node: bytes) -> tuple[Node, ...]:
    """Return the nodes from the root of a space down to one of it, each as it stands, or stood last."""
    held: list[Standing] = []
    here = node
    while here and len(held) <= DEPTH_MAX + 1:
        found = last_standings(connection, [here]).get(here)
        if found is None:
            break
        held.append(found)
        here = found.parent
    return tuple(as_they_went(storage.tree, connection, held[::-1]))


def paths_of(storage: Storage, connection: Connection, node: bytes) -> tuple[str, ...]:
    """Return the paths within its space that a document stood at, the newest first."""
    found = []
    for held in reversed(standings(connection, [node])[node]):
        above = [each.name for each in line(storage, connection, held.parent)[1:]]
        found.append("/" + "/".join([*above, held.opened(storage.names)]))
    return tuple(dict.fromkeys(found))


def elsewhere(
    connection: Connection, space: bytes, rows: Iterable[Mapping[Any, Any]], limit: int
) -> tuple[Elsewhere, ...]:
    """Return the other versions of the space that hold the very content of some of these: `limit` at most."""
    found = list(rows)
    contents = sorted({bytes(row["content"]) for row in found if row["size"] and row["erased_in"] is None})
    taken = {(row["node"], row["number"]) for row in found}
    others: list[Elsewhere] = []
    for start in range(0, len(contents), _BATCH):
        same = _V.content.in_(contents[start : start + _BATCH])
        query = select(_V.node, _V.number).where(_V.space == space, _V.erased_in.is_(None), same)
        for row in connection.execute(query.order_by(_V.node, _V.number)):
            if (row.node, row.number) not in taken and len(others) < limit:
                others.append(Elsewhere(row.node.hex(), row.number))
    return tuple(others)
