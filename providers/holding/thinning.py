"""Which versions a space's thinning lets go of: never the newest, the retained, or one of which something is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, select

from config.clock import SECOND_US
from providers import tables
from providers.holding.rules import retained_until
from providers.model import SpaceInfo

_V = tables.version.c
_DAY_US = 24 * 3600 * SECOND_US


def thinnable(connection: Connection, info: SpaceInfo, now: int, zone: tzinfo) -> list[Mapping[Any, Any]]:
    """Return the versions of a space that go now. Days and months are those of `zone`."""
    if info.thinning is None or info.is_held:
        return []
    said = set(connection.execute(select(tables.comment.c.version).where(tables.comment.c.space == info.id)).scalars())
    columns = (_V.node, _V.number, _V.id, _V.at, _V.size, _V.content, _V.erased_in)
    query = select(*columns).where(_V.space == info.id).order_by(_V.node, _V.number)
    rows = connection.execute(query).mappings()
    return [
        row
        for _, versions in groupby(rows, key=lambda row: row["node"])
        for row in _going(info, list(versions), now, zone)
        if row["id"] not in said
    ]


def _going(
    info: SpaceInfo, versions: Sequence[Mapping[Any, Any]], now: int, zone: tzinfo
) -> Iterator[Mapping[Any, Any]]:
    assert info.thinning is not None
    monthly, daily = (now - days * _DAY_US for days in reversed(info.thinning))
    standing = [row for row in versions if row["erased_in"] is None]
    kept = {row["number"] for row in (*standing[-1:], *_last_of_each(standing, zone, monthly))}
    for row in standing:
        if row["at"] <= daily and row["number"] not in kept and retained_until(info, row["at"]) <= now:
            yield row


def _last_of_each(versions: Iterable[Mapping[Any, Any]], zone: tzinfo, monthly: int) -> Iterator[Mapping[Any, Any]]:
    """Yield the last version of each day, or of each month for those as old as `monthly`."""

    def span(row: Mapping[Any, Any]) -> tuple[int, ...]:
        day = datetime.fromtimestamp(row["at"] / SECOND_US, UTC).astimezone(zone)
        return (day.year, day.month) if row["at"] <= monthly else (day.year, day.month, day.day)

    last: dict[tuple[int, ...], Mapping[Any, Any]] = {}
    for row in versions:
        last[span(row)] = row
    yield from last.values()
