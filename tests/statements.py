"""What a database is asked meanwhile, as its driver is told it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from config.database import Database


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """Collect what is asked of the database meanwhile."""
    seen: list[str] = []

    def note(statement: str) -> None:
        if statement not in ("BEGIN", "COMMIT", "ROLLBACK"):
            seen.append(statement)

    def executed(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        note(statement)

    def taken(raw: Any, *_: Any) -> None:
        raw.set_trace_callback(note)  # what the driver itself is told: queries go past SQLAlchemy there

    def given_back(raw: Any, *_: Any) -> None:
        raw.set_trace_callback(None)

    is_sqlite = database.dialect == "sqlite"
    listeners = {"checkout": taken, "checkin": given_back} if is_sqlite else {"before_cursor_execute": executed}
    engines = {database.durable_engine, database.transient_engine}
    for kept in (database._durable_snapshots, database._transient_snapshots):
        kept.close()  # so that each connection is taken out anew, and seen
    for engine in engines:
        for name, listener in listeners.items():
            event.listen(engine, name, listener)
    yield seen
    for engine in engines:
        for name, listener in listeners.items():
            event.remove(engine, name, listener)
