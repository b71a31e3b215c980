"""Who may write: one at a time on SQLite, by a lock between processes and a connection kept for it."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from config.files import full_or_failed
from config.snapshots import DRIVER, WRITES, close_cursors, driver_of, raise_told, translated, wrapped
from config.stamps import Stamp


class Exclusive(Protocol):
    """Keeps others away while it is entered."""

    def __enter__(self) -> object: ...
    def __exit__(self, *exc: object) -> None: ...
    def close(self) -> None:
        """Let go of what it holds."""


class NoLock:
    """Keeps nobody away: on PostgreSQL writers run side by side, and rows are what they lock."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None

    def close(self) -> None:
        """Do nothing."""
        return None


class FileLock:
    """A lock between threads and processes alike: fair enough to queue in, gone with the process that held it.

    SQLite's own busy handler starves all writers but one; a blocking flock does not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._fd: int | None = None

    def __enter__(self) -> FileLock:
        self._threads.acquire()
        try:
            if self._fd is None:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError as error:
            self._threads.release()
            raise full_or_failed(error) from error
        except BaseException:
            self._threads.release()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            fcntl.flock(cast(int, self._fd), fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        """Forget the file."""
        with self._threads:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None


class Writer:
    """Gives the writer's connection, in a transaction: committed on leaving, rolled back on an exception.

    Args:
        stamp: what tells all processes of each commit; None where nobody wants to know.
    """

    def __init__(self, engine: Engine, lock: Exclusive, stamp: Stamp | None = None) -> None:
        self._engine = engine
        self._lock = lock
        self._kept = _Kept(engine, lock, stamp) if engine.dialect.name == "sqlite" else None

    def taken(self) -> AbstractContextManager[Connection]:
        """Return the transaction; it begins when it is entered."""
        return self._pooled() if self._kept is None else self._kept

    def close(self) -> None:
        """Close the connection that was kept."""
        if self._kept is not None and self._kept.is_open:  # else the lock would be made only for this
            with self._lock:
                self._kept.close()

    @contextmanager
    def _pooled(self) -> Iterator[Connection]:
        with translated(), self._engine.connect() as connection:
            with connection.execution_options(**{WRITES: True}).begin():
                yield connection


class Savepoint:
    """What follows in a writer's transaction can be undone by itself."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver = driver_of(connection)
        self._nested = None
        if self._driver is None:
            self._nested = connection.begin_nested()
        else:
            self._driver.execute("SAVEPOINT operation")

    def keep(self) -> None:
        """Let it stand, with the rest of the transaction. Raises what the database says."""
        if self._nested is not None:
            self._nested.commit()
            return
        close_cursors(self._connection)
        self._driver.execute("RELEASE operation")

    def undo(self) -> None:
        """Undo it. Raises if a failed statement took the whole transaction along."""
        if self._nested is not None:
            self._nested.rollback()
            return
        close_cursors(self._connection)
        self._driver.execute("ROLLBACK TO operation")
        self._driver.execute("RELEASE operation")


class _Kept:
    """SQLite's one writer. Its transactions begin and end on the driver itself, on a connection kept for them."""

    def __init__(self, engine: Engine, lock: Exclusive, stamp: Stamp | None) -> None:
        self._engine = engine
        self._lock = lock
        self._stamp = stamp
        self._connection: Connection | None = None
        self._driver: Any = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection to close."""
        return self._connection is not None

    def __enter__(self) -> Connection:
        self._lock.__enter__()
        try:
            if self._stamp is not None:
                self._stamp.prepare()
            with translated():
                return self._begun()
        except BaseException:
            self._lock.__exit__()
            raise

    def _begun(self) -> Connection:
        try:
            if self._connection is None:
                connection = self._engine.connect()
                self._driver = connection.connection.dbapi_connection
                self._connection = connection.execution_options(**{DRIVER: self._driver, WRITES: True})
            self._run("BEGIN IMMEDIATE")
        except DBAPIError:
            self.close()
            raise
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with translated():
                self._end("COMMIT" if error is None else "ROLLBACK")
        finally:
            self._lock.__exit__()
        if isinstance(error, DBAPIError):
            raise_told(error)

    def _end(self, how: str) -> None:
        connection = cast(Connection, self._connection)
        through = connection.in_transaction()  # somebody used SQLAlchemy's own way
        try:
            close_cursors(connection)
            # A statement that failed may have taken the transaction along: then there is nothing to roll back, and
            # nothing that could be committed, which the database says.
            if how == "COMMIT":
                self._commit()
            elif self._driver.in_transaction:
                self._run(how)
            if through:
                connection.rollback()  # what SQLAlchemy holds for a transaction has been ended already
        except BaseException:
            self.close()
            raise

    def _commit(self) -> None:
        """Commit. While others may or may not see it yet, nobody relies on what was before."""
        stamp = self._stamp
        if stamp is not None:
            stamp.unsettle()
        try:
            self._run("COMMIT")
        finally:
            if stamp is not None:
                stamp.renew()

    def _run(self, text: str) -> None:
        try:
            self._driver.execute(text)
        except self._engine.dialect.loaded_dbapi.Error as error:
            raise wrapped(cast(Connection, self._connection), text, error) from error

    def close(self) -> None:
        """Close the connection for good; what it began is undone."""
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            connection.invalidate()
            connection.close()
