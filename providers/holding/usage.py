"""What a space takes, what its versions cost, and when its quota would be used up."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CTE, Connection, Select, func, select

from config.clock import SECOND_US
from providers import tables
from providers.model import SpaceInfo, Usage

_V = tables.version.c
_ENTRY = tables.entry
_DAY_US = 24 * 3600 * SECOND_US
#: Further ahead than a hundred years nothing is foretold.
_AHEAD_DAYS_MAX = 36_525


def usage_of(connection: Connection, info: SpaceInfo, now: int) -> Usage:
    """Return what a space takes now. `now` is in microseconds."""
    standing = _standing(info.id)
    documents = select(standing.c.node).where(standing.c.is_folder.is_(False))
    kept = (_V.space == info.id) & _V.erased_in.is_(None)
    every = _one(connection, select(func.sum(_V.size)).where(kept))
    of_standing = _one(connection, select(func.sum(_V.size)).where(kept, _V.node.in_(documents)))
    current = _one(connection, select(func.sum(standing.c.size)))
    head = connection.execute(select(tables.head.c.sealed_bytes).where(tables.head.c.space == info.id)).scalar_one()
    drafts = _one(connection, select(func.sum(tables.draft.c.size)).where(tables.draft.c.space == info.id))
    ratio = head / every if every else 1.0
    growth = [_per_day(connection, info, now, days, ratio) for days in (30, 90)]
    return Usage(
        current=current,
        earlier=of_standing - current,
        trash=every - of_standing,
        drafts=drafts,
        sealed=head,
        quota=info.quota_bytes,
        per_day_30=growth[0],
        per_day_90=growth[1],
        full_at=_full_at(info.quota_bytes, head, growth[0] or growth[1], now),
    )


def _one(connection: Connection, query: Select[Any]) -> int:
    return int(connection.execute(query).scalar_one() or 0)


def _standing(space: bytes) -> CTE:
    """Return what can be reached from the root of a space: children of folders that were deleted cannot."""
    columns = (_ENTRY.c.node, _ENTRY.c.is_folder, _ENTRY.c.size)
    reached = select(*columns).where(_ENTRY.c.node == space).cte("reached", recursive=True)
    below = select(*columns).join(reached, _ENTRY.c.parent == reached.c.node)
    return reached.union_all(below)


def _per_day(connection: Connection, info: SpaceInfo, now: int, days: int, ratio: float) -> int:
    """Return by how many sealed bytes a day a space grew in so many days, or since it was made if that is less."""
    since = max(now - days * _DAY_US, info.created_at)
    first = select(func.min(tables.change.c.number)).where(
        tables.change.c.space == info.id, tables.change.c.at >= since
    )
    number = connection.execute(first).scalar_one()
    if number is None:
        return 0
    grown = select(func.sum(_V.size)).where(_V.space == info.id, _V.change >= number, _V.erased_in.is_(None))
    return round(_one(connection, grown) * ratio / max(1.0, (now - since) / _DAY_US))


def _full_at(quota: int | None, sealed: int, per_day: int, now: int) -> int | None:
    if quota is None:
        return None
    if sealed >= quota:
        return now
    days = (quota - sealed) / per_day if per_day else _AHEAD_DAYS_MAX + 1
    return None if days > _AHEAD_DAYS_MAX else now + round(days * _DAY_US)
