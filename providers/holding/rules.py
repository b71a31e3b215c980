"""What keeps something from being erased: a hold, a retention, being the newest. Asked at request and at act."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, func, select

from auth.rights import Kind, Principal
from config.clock import SECOND_US, iso_utc
from providers import tables
from providers.holding.errors import Held, NewestVersion, NotAKeeper, PerhapsRetained, Retained
from providers.model import SpaceInfo

_V = tables.version.c


def require_keeper(principal: Principal) -> None:
    """Raise NotAKeeper unless this is the operator or an administrator of the supplier."""
    if principal.kind is not Kind.OPERATOR and not (principal.is_supplier and principal.is_administrator):
        raise NotAKeeper


def require_free(info: SpaceInfo) -> None:
    """Raise Held while the space is held."""
    if info.is_held:
        raise Held(space=info.name)


def retained_until(info: SpaceInfo, at: int) -> int:
    """Return until when (µs) what was stored `at` must be kept."""
    return at + (info.retention_seconds or 0) * SECOND_US


def require_over(info: SpaceInfo, found: Iterable[Mapping[Any, Any]], now: int, sure: int) -> None:
    """Raise Held or Retained unless all these versions may go; PerhapsRetained if it is `now`, but not for `sure`, that
    they may: see `providers.steady`.
    """
    require_free(info)
    for row in found:
        until = retained_until(info, row["at"])
        if info.retention_seconds and until > now:
            raise Retained(number=row["number"], until=iso_utc(until)[:19])
        if info.retention_seconds and until > sure:
            raise PerhapsRetained(number=row["number"], until=iso_utc(until)[:19])


def require_all_over(connection: Connection, info: SpaceInfo, now: int, sure: int) -> None:
    """Raise what `require_over` does unless the whole space may go."""
    newest = select(func.max(_V.at).label("at"), func.max(_V.number).label("number")).where(
        _V.space == info.id, _V.erased_in.is_(None)
    )
    found = connection.execute(newest).mappings().one()
    require_over(info, [] if found["at"] is None else [found], now, sure)


def require_older(connection: Connection, node: bytes, number: int) -> None:
    """Raise NewestVersion unless the document has a newer version than this."""
    if connection.execute(select(func.max(_V.number)).where(_V.node == node)).scalar_one() == number:
        raise NewestVersion(number=number)
