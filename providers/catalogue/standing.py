"""Where nodes stand and stood: all their entries, live and closed, by time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from config.queries import Query
from providers import tables
from providers.catalogue.nodes import Names

_LIVE = tables.entry.c
_CLOSED = tables.closed_entry.c
_OTHER = tables.closed_entry.alias().c
_COLUMNS = ("node", "parent", "lane", "folded", "name", "space", "is_folder", "created", "from_change")
#: How many nodes are asked for at once: half of what one statement of SQLite takes.
BATCH = 400
_OF_LIVE = Query(select(*(_LIVE[name] for name in _COLUMNS)).where(_LIVE.node.in_(bindparam("nodes", expanding=True))))
_OF_CLOSED = Query(
    select(*(_CLOSED[name] for name in _COLUMNS), _CLOSED.to_change).where(
        _CLOSED.node.in_(bindparam("nodes", expanding=True))
    )
)
_LIVE_AT = select(*(_LIVE[name] for name in _COLUMNS)).where(_LIVE.node == bindparam("node"))
_CLOSED_AT = (
    select(*(_CLOSED[name] for name in _COLUMNS), _CLOSED.to_change)
    .where(_CLOSED.node == bindparam("node"), _CLOSED.from_change <= bindparam("number"))
    .order_by(_CLOSED.from_change.desc())
    .limit(1)
)
_STOOD, _STANDS = Query(_CLOSED_AT), Query(_LIVE_AT.where(_LIVE.from_change <= bindparam("number")))
#: Those that reach into some changes, and the one before, under whose name the earliest of them may have been made.
_BETWEEN = Query(
    select(*(_CLOSED[name] for name in _COLUMNS), _CLOSED.to_change)
    .where(
        _CLOSED.node == bindparam("node"),
        _CLOSED.from_change <= bindparam("high"),
        _CLOSED.from_change
        >= func.coalesce(
            select(func.max(_OTHER.from_change))
            .where(_OTHER.node == bindparam("node"), _OTHER.from_change <= bindparam("low"))
            .scalar_subquery(),
            0,
        ),
    )
    .order_by(_CLOSED.from_change)
)
_CHANGE = tables.change.c
_CHANGES = Query(
    select(_CHANGE.number, _CHANGE.at, _CHANGE.principal, _CHANGE.organisation).where(
        _CHANGE.space == bindparam("space"), _CHANGE.number.in_(bindparam("numbers", expanding=True))
    )
)


class Standing(NamedTuple):
    """A node under a name during [from_change, to_change); `to_change` is None while it stands.

    `name` is sealed as given, None where it is the folded one.
    """

    node: bytes
    parent: bytes
    lane: bytes
    folded: bytes
    name: bytes | None
    space: bytes
    is_folder: bool
    created: int
    from_change: int
    to_change: int | None = None

    def opened(self, names: Names) -> str:
        """Return the name as given."""
        return names.opened(self.space, self.parent, self.folded, self.name)

    def held_at(self, number: int) -> bool:
        """Return whether it stood so as of a change."""
        return self.from_change <= number and (self.to_change is None or number < self.to_change)


class Made(NamedTuple):
    """When a change was made, in microseconds, and by whom."""

    at: int
    principal: bytes
    organisation: bytes


def standings(connection: Connection, nodes: Iterable[bytes]) -> Mapping[bytes, Sequence[Standing]]:
    """Return, for each of `nodes`, where it stood, oldest first."""
    found: dict[bytes, list[Standing]] = {node: [] for node in nodes}
    wanted = list(found)
    for start in range(0, len(wanted), BATCH):
        part = wanted[start : start + BATCH]
        for row in (*_OF_CLOSED.rows(connection, nodes=part), *_OF_LIVE.rows(connection, nodes=part)):
            found[row[0]].append(Standing(*row))
    for held in found.values():
        held.sort(key=lambda standing: standing.from_change)
    return found


def standings_between(connection: Connection, node: bytes, low: int, high: int) -> list[Standing]:
    """Return where a node stood, oldest first, as of the changes from `low` to `high`, or last before."""
    held = [Standing(*row) for row in _BETWEEN.rows(connection, node=node, low=low, high=high)]
    return [*held, *(Standing(*row) for row in _STANDS.rows(connection, node=node, number=high))]


def standing_at(connection: Connection, node: bytes, number: int) -> Standing | None:
    """Return where a node stood as of a change, whether or not the folders above it stood."""
    row = _STANDS.first(connection, node=node, number=number) or _STOOD.first(connection, node=node, number=number)
    held = None if row is None else Standing(*row)
    return held if held is not None and held.held_at(number) else None


def last_standings(connection: Connection, nodes: Iterable[bytes]) -> dict[bytes, Standing]:
    """Return where each of `nodes` stands, or stood last; what never stood is missing."""
    return {node: held[-1] for node, held in standings(connection, nodes).items() if held}


def changes_made(connection: Connection, space: bytes, numbers: Iterable[int]) -> dict[int, Made]:
    """Return of some changes of a space when and by whom they were made, by number."""
    return {row[0]: Made(*row[1:]) for row in _CHANGES.rows(connection, space=space, numbers=sorted(set(numbers)))}
