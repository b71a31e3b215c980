"""The properties of nodes as of a change, as they are sealed: by interval, like entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, or_, select

from config.queries import Query
from providers import tables
from providers.catalogue.change import MODIFIED

_P = tables.property.c
_BATCH = 500
_ALL = Query(
    select(_P.node, _P.key, _P.value, _P.from_change, _P.to_change).where(
        _P.node.in_(bindparam("nodes", expanding=True))
    )
)
_AT = Query(
    select(_P.node, _P.key, _P.value, _P.from_change, _P.to_change).where(
        _P.node.in_(bindparam("nodes", expanding=True)),
        _P.from_change <= bindparam("number"),
        or_(_P.to_change.is_(None), _P.to_change > bindparam("number")),
    )
)


class Property(NamedTuple):
    """A property that held `value` during [from_change, to_change); `to_change` is None while it does."""

    node: bytes
    key: bytes
    value: bytes
    from_change: int
    to_change: int | None

    def held_at(self, number: int) -> bool:
        """Return whether it held as of a change."""
        return self.from_change <= number and (self.to_change is None or number < self.to_change)


def properties_ever(connection: Connection, nodes: Iterable[bytes]) -> Mapping[bytes, Sequence[Property]]:
    """Return all properties that each of `nodes` ever had; those without any are missing."""
    found: dict[bytes, list[Property]] = {}
    wanted = list(nodes)
    for start in range(0, len(wanted), _BATCH):
        for row in _ALL.rows(connection, nodes=wanted[start : start + _BATCH]):
            found.setdefault(row[0], []).append(Property(*row))
    return found


def properties_at(
    connection: Connection, nodes: Iterable[bytes], number: int
) -> Mapping[bytes, Mapping[bytes, Property]]:
    """Return the properties of each of `nodes` as of a change, by key; those without any are missing."""
    found: dict[bytes, dict[bytes, Property]] = {}
    wanted = list(nodes)
    for start in range(0, len(wanted), _BATCH):
        for row in _AT.rows(connection, nodes=wanted[start : start + _BATCH], number=number):
            each = Property(*row)
            found.setdefault(each.node, {})[each.key] = each
    return found


def opened(sealer: Any, found: Property) -> tuple[str, str]:
    """Return the name and the value of a property."""
    value = sealer.open(b"property" + found.node + found.key, found.value)
    return sealer.open_name(found.node, found.key), value.decode("utf-8")


def time_set(sealer: Any, node: bytes, properties: Mapping[bytes, Property]) -> int | None:
    """Return the time of modification (µs) among `properties` of a node that a client set; None if none did."""
    found = properties.get(sealer.seal_name(node, MODIFIED)) if properties else None
    return None if found is None else int(opened(sealer, found)[1])
