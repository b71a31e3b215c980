"""What connects to the databases, and how each connection is set up."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, create_engine, event, make_url

from config import patience
from config.errors import DriverMissing
from config.snapshots import CURSORS, POOL_MAX

BUSY_MS_MAX = 20_000
CACHE_KIB = 8 * 1024

# Of each value that is no number or text the driver asks what it shall be for SQLite: of what is registered it is told
# at once, of all else by an exception that is raised and dropped, which takes two thousand instructions.
sqlite3.register_adapter(bytes, bytes.__bytes__)
sqlite3.register_adapter(bool, int)
sqlite3.register_adapter(type(None), lambda nothing: nothing)


def sqlite_engine(path: Path, synchronous: str) -> Engine:
    """Return what connects to a file of SQLite."""
    engine = create_engine(
        f"sqlite:///{path}", pool_size=POOL_MAX, max_overflow=-1, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _prepare(raw: Any, record: Any) -> None:
        record.info[CURSORS] = WeakSet()
        raw.isolation_level = None  # transactions are begun below, where we see them
        for pragma in (
            f"busy_timeout={BUSY_MS_MAX}",
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            f"cache_size=-{CACHE_KIB}",
            "temp_store=MEMORY",
            "foreign_keys=ON",
        ):
            raw.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        if not driver.in_transaction:  # those of snapshots and writers have begun
            # It takes no lock before the first statement, so nothing can go wrong that wants translating.
            driver.execute("BEGIN").close()

    @event.listens_for(engine, "after_cursor_execute")
    def _note(connection: Connection, cursor: Any, *_: object) -> None:
        if cursor.description is not None:
            connection.info[CURSORS].add(cursor)

    return engine


def postgresql_engine(url: str, *, synchronous: bool) -> Engine:
    """Return what connects to a PostgreSQL, by an SQLAlchemy URL."""
    # What the URL says comes first; what the database or the role was set up with must not change what we rely on.
    given = make_url(url).query.get("options", ())
    words = [given] if isinstance(given, str) else [*given]
    words += ["-c timezone=UTC", "-c client_encoding=UTF8", "-c default_transaction_isolation=read\\ committed"]
    words += ["-c statement_timeout=20000", "-c lock_timeout=20000"]
    if not synchronous:
        words.append("-c synchronous_commit=off")
    try:
        return create_engine(
            url,
            pool_size=POOL_MAX,
            max_overflow=-1,
            pool_pre_ping=False,
            connect_args={"options": " ".join(words), "connect_timeout": int(patience.ANSWER_SECONDS_MAX)},
        )
    except ModuleNotFoundError as error:
        raise DriverMissing from error


def reached_by(engine: Engine) -> tuple[str, str]:
    """Return how libpq is told to reach the PostgreSQL of an engine, without the password, and the password."""
    _, given = engine.dialect.create_connect_args(engine.url)
    password = str(given.pop("password", ""))
    told = {name: value for name, value in given.items() if isinstance(value, str | int)}  # not the driver's own
    driver: Any = engine.dialect.loaded_dbapi
    return driver.conninfo.make_conninfo(**told), password
