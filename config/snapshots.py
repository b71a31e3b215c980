"""Connections kept for reading, each snapshot begun and ended on them, and what a database's errors are called here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from config import patience
from config.errors import DatabaseBusy, DatabaseDamaged, DatabaseRefuses, DatabaseSilent, StorageFailed, StorageFull

POOL_MAX = 64
#: The option by which a connection bears the driver's own.
DRIVER = "mellanrum_driver"
#: What passes: a lock waited for, a statement that took too long, a server that only follows another.
_PASSING = ("55P03", "57014", "25006")
#: The option of a writer's connection.
WRITES = "mellanrum_write"
#: Under which a connection of SQLite has the cursors that may have rows which nobody fetched.
CURSORS = "mellanrum_cursors"
#: How a fault of the disk begins, in SQLite's words and in PostgreSQL's.
_DISK_FAULTS = ("SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "58030")
#: What a full disk is called: by PostgreSQL, and by SQLite where it cannot make room for what its processes share.
_FULL = ("53100", "54000", "SQLITE_IOERR_SHMSIZE")
#: And how damage to the database itself.
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "XX00")


class _Snapshot:
    """A connection of SQLite that is kept for reading. Its snapshots begin and end on the driver itself: SQLAlchemy's
    pool, transactions and events took several times as long as what was read.
    """

    __slots__ = ("_connection", "_driver", "_owner", "is_single")

    def __init__(self, owner: Snapshots, engine: Engine) -> None:
        self._owner = owner
        #: Whether one query is asked, which needs no transaction to see one moment.
        self.is_single = False
        connection = engine.connect()
        self._driver: Any = connection.connection.dbapi_connection
        self._connection = connection.execution_options(**{DRIVER: self._driver})

    def __enter__(self) -> Connection:
        if not self.is_single:
            self._driver.execute("BEGIN")
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        through = self._connection.in_transaction()  # somebody used SQLAlchemy's own way
        try:
            if through:
                close_cursors(self._connection)
                self._connection.rollback()
            elif not self.is_single:
                self._driver.execute("COMMIT")
        except BaseException:
            self.close()
            raise
        self._owner.give_back(self)
        if isinstance(error, DBAPIError):
            raise_told(error)

    def close(self) -> None:
        """Close the connection for good."""
        self._connection.invalidate()
        self._connection.close()


class Snapshots:
    """Gives snapshots of one engine. The connection used last is used next: what it read is still at hand."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._free: list[_Snapshot] = []

    def taken(self) -> AbstractContextManager[Connection]:
        """Return a snapshot that is not in use; it begins when it is entered."""
        return self._one(is_single=False)

    def asked(self) -> AbstractContextManager[Connection]:
        """Return a connection for one query, which sees one moment by itself: on SQLite without a transaction."""
        return self._one(is_single=True)

    def _one(self, *, is_single: bool) -> AbstractContextManager[Connection]:
        if not self._is_sqlite:
            return self._pooled()
        try:
            found = self._free.pop()
        except IndexError:
            with translated():
                found = _Snapshot(self, self._engine)
        found.is_single = is_single
        return found

    def give_back(self, snapshot: _Snapshot) -> None:
        """Keep one that is not in use any more."""
        if len(self._free) < POOL_MAX:
            self._free.append(snapshot)
        else:
            snapshot.close()

    def close(self) -> None:
        """Close those that are not in use."""
        while self._free:
            self._free.pop().close()

    @contextmanager
    def _pooled(self) -> Iterator[Connection]:
        with translated(), self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def driver_of(connection: Connection) -> Any:
    """Return the driver's connection, in a transaction, of one given out on SQLite; None of any other connection."""
    return connection.get_execution_options().get(DRIVER)


def close_cursors(connection: Connection) -> None:
    """Let nobody fetch any more what was asked through SQLAlchemy on SQLite. Half read, it would hold the connection to
    its moment; of what a write returns, it would keep the connection from committing.
    """
    cursors = connection.info[CURSORS]
    while cursors:
        cursors.pop().close()


def writes(connection: Connection) -> bool:
    """Return whether this is a writer's connection, which sees what is not committed yet."""
    return bool(connection.get_execution_options().get(WRITES, False))


def wrapped(connection: Connection, text: str, error: Exception) -> DBAPIError:
    """Return what SQLAlchemy would raise for an error of the driver, without the values it was given."""
    base = connection.dialect.loaded_dbapi.Error
    made = DBAPIError.instance(text, None, error, base, hide_parameters=True, dialect=connection.dialect)
    return cast(DBAPIError, made)


@contextmanager
def translated() -> Iterator[None]:
    """Tell a full disk, a busy and a damaged database from a fault of ours."""
    try:
        yield
    except DBAPIError as error:
        raise_told(error)
        raise


def raise_told(error: DBAPIError) -> None:
    """Raise what a full or failing disk, or a busy or damaged database is called here, if the error is one of these."""
    text = str(error.orig).lower()
    code = getattr(error.orig, "sqlstate", None) or ""
    fault = code or getattr(error.orig, "sqlite_errorname", "")
    if "disk is full" in text or fault in _FULL:
        raise StorageFull from error
    if code == "42501":
        raise DatabaseRefuses from error
    if fault.startswith(_DISK_FAULTS):
        raise StorageFailed(what=fault) from error
    if patience.is_silence(error.orig):
        raise DatabaseSilent from error
    if "database is locked" in text or code in _PASSING or code.startswith(("08", "57P")):
        raise DatabaseBusy from error
    if fault.startswith(_DAMAGE):
        raise DatabaseDamaged(why=text) from error
