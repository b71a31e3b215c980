"""The wall between rivals: in a closed space no customer may write where another customer reads.

Uploaders write into lanes of their own and meet nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from auth.roles import Role
from providers.drive.transaction import Look
from providers.errors import RivalsWouldMeet
from providers.model import SpaceInfo


@dataclass(frozen=True, slots=True)
class _Standing:
    """A grant that reaches customers, with the nodes from the root down to its own."""

    path: tuple[bytes, ...]
    customers: frozenset[bytes]
    writes: bool


def require_walls(look: Look, space: SpaceInfo) -> None:
    """Raise RivalsWouldMeet if, by the grants as they stand now, one customer may write where another reads."""
    if space.is_open:
        return
    directory = look.storage.directory
    standing: list[_Standing] = []
    breaks: set[bytes] = set()
    grants = directory.grants_of_space(look.connection, space.id)
    reached = directory.parties_reached(look.connection, grants)
    if len(frozenset().union(*reached.values()) - {directory.supplier_id}) < 2:
        return  # one customer has no rival, however many people it has
    for grant in grants:
        if grant.role is Role.BREAK:
            breaks.add(grant.node)
            continue
        customers = reached[grant.id] - {directory.supplier_id}
        expired = grant.expires_at is not None and grant.expires_at <= look.at
        if grant.role is Role.UPLOADER or not customers or expired:
            continue
        node = look.storage.tree.by_id(look.connection, grant.node)
        if node is None:
            continue
        path = tuple(step.id for step in look.storage.tree.ancestry(look.connection, node))
        standing.append(_Standing(path, customers, grant.role >= Role.CONTRIBUTOR))
    for writer in standing:
        if writer.writes:
            _require_alone(writer, standing, breaks)


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
