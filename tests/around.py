"""Operations ask through their own connection alone: whatever asks the database beside it sees other rows than they do.

Three are asked beside it all the same, which no operation changes that would ask for it: names, which stay what they
were while it lasts, and locks and whether the clock is believed, which are in tables of their own.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from config.database import Database

#: Who asks beside it. Queries of `transient_ask` are of locks, or of what no operation writes.
_MAY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("read", "ask", "write", "exclusively"), ("auth.records", "auth.directory")),
    "transient_read": ("providers.locks", "providers.steady"),
    "transient_write": ("providers.locks",),
}
_here = threading.local()


class AskedAround(AssertionError):
    """An operation asked the database around its connection."""


def watch() -> None:
    """Let every operation of this process from now on fail that asks around its connection."""
    for name, who in _MAY.items():
        setattr(Database, name, _watched(getattr(Database, name), who))
    Database.apply = _applied(Database.apply)  # type: ignore[method-assign]


def _watched(method: Callable[..., Any], who: tuple[str, ...]) -> Callable[..., Any]:
    def watched(database: Database) -> Any:
        asker = sys._getframe(1).f_globals["__name__"]
        if getattr(_here, "database", None) is database and asker not in who:
            raise AskedAround(f"{asker} called {method.__name__}")
        return method(database)

    return watched


def _applied(apply: Callable[..., Any]) -> Callable[..., Any]:
    def applied(database: Database, operation: Callable[..., Any], *given: Any, **named: Any) -> Any:
        def within(connection: Any) -> Any:
            before, _here.database = getattr(_here, "database", None), database
            try:
                return operation(connection)
            finally:
                _here.database = before

        return apply(database, within, *given, **named)

    return applied
