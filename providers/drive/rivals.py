"""The wall between rivals: in a closed space no customer may write where another customer reads.

Uploaders write into lanes of their own and meet nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from auth.roles import GranteeKind, Role
from providers.drive.storage import Storage
from providers.errors import RivalsWouldMeet
from providers.model import SpaceInfo


@dataclass(frozen=True, slots=True)
class _Standing:
    """A grant that reaches customers, with the nodes from the root down to its own."""

    path: tuple[bytes, ...]
    customers: frozenset[bytes]
    writes: bool


def require_walls(storage: Storage, connection: Connection, space: SpaceInfo) -> None:
    """Raise RivalsWouldMeet if, by the grants as they stand now, one customer may write where another reads."""
    if space.is_open:
        return
    directory, at = storage.directory, storage.database.now_us(connection)
    standing: list[_Standing] = []
    breaks: set[bytes] = set()
    grants = directory.grants_of_space(connection, space.id)
    reached = directory.parties_reached(connection, grants)
    if len(frozenset().union(*reached.values()) - {directory.supplier_id}) < 2:
        return  # one customer has no rival, however many people it has
    for grant in grants:
        if grant.role is Role.BREAK:
            breaks.add(grant.node)
            continue
        customers = reached[grant.id] - {directory.supplier_id}
        expired = grant.expires_at is not None and grant.expires_at <= at
        if grant.role is Role.UPLOADER or not customers or expired:
            continue
        node = storage.tree.by_id(connection, grant.node)
        if node is None:
            continue
        path = tuple(step.id for step in storage.tree.ancestry(connection, node))
        standing.append(_Standing(path, customers, grant.role >= Role.CONTRIBUTOR))
    for writer in standing:
        if writer.writes:
            _require_alone(writer, standing, breaks)


def require_walls_around(storage: Storage, connection: Connection, group: bytes) -> None:
    """Raise RivalsWouldMeet if, by whom a group reaches now, the wall would fall in any space it was let into."""
    spaces = storage.sights.space_infos(connection, storage.authenticator.epoch(connection))
    for space in storage.directory.spaces_of(connection, GranteeKind.GROUP, group):
        if space in spaces:
            require_walls(storage, connection, spaces[space])


def customers_let_in_by(storage: Storage, connection: Connection, group: bytes) -> frozenset[bytes]:
    """Return the customers of whose spaces, as a whole, something is granted to a group."""
    spaces = storage.sights.space_infos(connection, storage.authenticator.epoch(connection))
    found: set[bytes] = set()
    for space in storage.directory.spaces_of(connection, GranteeKind.GROUP, group):
        customer = spaces[space].customer if space in spaces else None
        granted = storage.directory.grants_of_space(connection, space) if customer is not None else []
        if customer is not None and any(grant.grantee == group and grant.node == space for grant in granted):
            found.add(customer)
    return frozenset(found)


def _require_alone(writer: _Standing, standing: Iterable[_Standing], breaks: set[bytes]) -> None:
    if len(writer.customers) > 1:
        raise RivalsWouldMeet
    for other in standing:
        if other.customers != writer.customers and _meet(writer.path, other.path, breaks):
            raise RivalsWouldMeet


def _meet(one: tuple[bytes, ...], other: tuple[bytes, ...], breaks: set[bytes]) -> bool:
    """Return whether grants on two nodes hold on a common node: one above the other, no break in between."""
    shorter, longer = sorted((one, other), key=len)
    if longer[: len(shorter)] != shorter:
        return False
    return not breaks.intersection(longer[len(shorter) :])
