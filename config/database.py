"""The database connection: one writer at a time, snapshots for readers, commits shared by those who wait together.

Two registries of tables. `durable` holds all that was ever acknowledged; `transient` what may be lost with the
machine's power: locks, throttles, leases. On SQLite each is a file of its own (synchronous FULL and NORMAL); on
PostgreSQL both live in one database, the second reached with synchronous_commit off.

Here, in `config.engines`, `config.snapshots` and `config.writers` alone SQL stands as text.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

from sqlalchemy import (
    BigInteger,
    Connection,
    MetaData,
    Table,
    extract,
    func,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import postgresql, sqlite

from config import patience
from config.clock import now_us
from config.engines import postgresql_engine, reached_by, sqlite_engine
from config.errors import DatabaseBusy, DatabaseSilent, StorageFailed
from config.snapshots import Snapshots, translated
from config.stamps import Stamp
from config.turns import stand_aside
from config.writers import Exclusive, FileLock, NoLock, Savepoint, Writer

#: Constraints have names, so that later migrations can speak of them on every engine.
_NAMING = {
    "ix": "%(table_name)s_by_%(column_0_name)s",
    "uq": "%(table_name)s_one_%(column_0_name)s",
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}
durable = MetaData(naming_convention=_NAMING)
transient = MetaData(naming_convention=_NAMING)

T = TypeVar("T")

BATCH_MAX = 512
RETRIES_MAX = 6

#: How long operations that share a transaction wait for what others have locked, each.
HURRIED_MS_MAX = 500
_HURRY = select(func.set_config("lock_timeout", str(HURRIED_MS_MAX), True))
_NOW = select(sql_cast(extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger))


class Syncable(Protocol):
    """Something appended to outside the database that a commit will refer to."""

    def sync(self) -> None:
        """Return once everything appended before the call would survive a loss of power."""


class Database:
    """The durable and the transient tables of one installation. Safe to use from any number of threads.

    Args:
        folder: where the SQLite files and the writers' lock file stand.
        url: empty for SQLite in `folder`, else an SQLAlchemy URL of a PostgreSQL database.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self.url = url or None
        self.dialect: Literal["sqlite", "postgresql"] = "postgresql" if self.url else "sqlite"
        #: How long PostgreSQL may take for one answer before the connection is given up. None: as long as it likes.
        self.answer_seconds_max: float | None = None
        #: Takes the heads of spaces, in the order of their ids, on PostgreSQL: for operations that share a transaction.
        self.hold: Callable[[Connection, Iterable[bytes]], object] = lambda connection, spaces: None
        if self.url:
            self.durable_engine = postgresql_engine(self.url, synchronous=True)
            self.transient_engine = postgresql_engine(self.url, synchronous=False)
            for engine in (self.durable_engine, self.transient_engine):
                patience.limit(engine, lambda: self.answer_seconds_max)
            self._durable_lock: Exclusive = NoLock()
            self._transient_lock: Exclusive = NoLock()
            #: Other after each commit of durable tables, and after each change of the locks: see `config.stamps`.
            self.stamp: Stamp | None = None
            self.locks_stamp: Stamp | None = None
        else:
            self.durable_engine = sqlite_engine(folder / "catalogue.db", synchronous="FULL")
            self.transient_engine = sqlite_engine(folder / "transient.db", synchronous="NORMAL")
            self._durable_lock = FileLock(folder / "catalogue.lock")
            self._transient_lock = FileLock(folder / "transient.lock")
            self.stamp = Stamp(folder / "catalogue.stamp")
            self.locks_stamp = Stamp(folder / "locks.stamp")
        self._commits = _GroupCommit(self)
        self._durable_snapshots = Snapshots(self.durable_engine)
        self._transient_snapshots = Snapshots(self.transient_engine)
        self._durable_writer = Writer(self.durable_engine, self._durable_lock, self.stamp)
        self._transient_writer = Writer(self.transient_engine, self._transient_lock)

    def answer_within(self, seconds: float) -> None:
        """Wait for PostgreSQL no longer than that for one answer, and less for what others have locked."""
        self.answer_seconds_max = seconds
        if self.dialect == "postgresql":  # those made before would wait for locks as long as they did
            self.durable_engine.dispose()
            self.transient_engine.dispose()

    def read(self) -> AbstractContextManager[Connection]:
        """Give a connection on which all statements see the durable tables as of one moment."""
        return self._durable_snapshots.taken()

    def ask(self) -> AbstractContextManager[Connection]:
        """Give a connection for one query of the durable tables: cheaper than a snapshot for several."""
        return self._durable_snapshots.asked()

    def write(self) -> AbstractContextManager[Connection]:
        """Give the exclusive writer's connection; commit durably on leaving, roll back on an exception.

        On PostgreSQL writers run side by side, and rows are what they lock.
        """
        return self._durable_writer.taken()

    def apply(
        self,
        operation: Callable[[Connection], T],
        needs: Iterable[Syncable] = (),
        heads: Iterable[bytes] = (),
        *,
        in_turn: bool = False,
    ) -> T:
        """Run `operation` in a transaction shared with others that wait, and return once it is durable.

        What it `needs` is synced first. An exception from it undoes it alone. It may be run more than once (after a
        deadlock), so it must do nothing but use its connection. What it leaves unfetched nobody may fetch. `heads` are
        the spaces whose heads it takes before all else. On PostgreSQL one that names none has a transaction to itself:
        what it takes would be taken before the heads of whoever came after it in a shared one. `in_turn` says that the
        caller holds no lock, so that a thread that serves several (see `config.turns`) may serve others until then.
        """
        mine = _Pending(operation, frozenset(needs), frozenset(heads))
        if not (in_turn and stand_aside(self._commits, mine)):
            self._commits.make_durable([mine])
        return mine.outcome()

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep other writers of the durable tables away while changing transient rows that they check.

        On PostgreSQL this does nothing: there, lock the row of the space's head instead.
        """
        with self._durable_lock:
            yield

    def transient_read(self) -> AbstractContextManager[Connection]:
        """Give a snapshot of the transient tables."""
        return self._transient_snapshots.taken()

    def transient_ask(self) -> AbstractContextManager[Connection]:
        """Give a connection for one query of the transient tables."""
        return self._transient_snapshots.asked()

    def transient_write(self) -> AbstractContextManager[Connection]:
        """Give the writer's connection to the transient tables; commit on leaving."""
        return self._transient_writer.taken()

    def now_us(self, connection: Connection) -> int:
        """Return the database's clock in microseconds UTC: on SQLite this machine's, else the server's."""
        if self.dialect == "sqlite":
            return now_us()
        return int(connection.execute(_NOW).scalar_one())

    def insert(self, table: Table) -> Any:
        """Return the dialect's own INSERT, which knows ON CONFLICT."""
        return sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)

    def insert_ignore(self, table: Table) -> Any:
        """Return INSERT that leaves a standing row as it is."""
        return self.insert(table).on_conflict_do_nothing()

    def upsert(self, table: Table, changed: Sequence[str] | None = None) -> Any:
        """Return INSERT that replaces the columns `changed` (all but the key by default) of a standing row."""
        statement = self.insert(table)
        keys = [column.name for column in table.primary_key]
        names = changed or [column.name for column in table.columns if column.name not in keys]
        fresh = {name: statement.excluded[name] for name in names}
        return statement.on_conflict_do_update(index_elements=keys, set_=fresh)

    def copy_to(self, file: Path) -> None:
        """Copy the durable tables of SQLite, as of one moment, into a new file, while others write on."""
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(self.folder / "catalogue.db")) as source, closing(sqlite3.connect(file)) as goal:
            source.backup(goal)  # in one step: taken in several, it would begin anew with each commit

    def reached_by(self) -> tuple[str, str]:
        """Return how a program of PostgreSQL's reaches the database, as libpq writes it, and the password, which is to
        be given to it where nobody else sees it.
        """
        return reached_by(self.durable_engine)

    def create_all_for_tests(self) -> None:
        """Create every table without migrations."""
        durable.create_all(self.durable_engine)
        transient.create_all(self.transient_engine)

    def tick(self) -> None:
        """Look whether what processes share is still the same to all. Call about twice a second."""
        for stamp in self._stamps():
            stamp.check()

    def _stamps(self) -> list[Stamp]:
        return [stamp for stamp in (self.stamp, self.locks_stamp) if stamp is not None]

    def dispose(self) -> None:
        """Close every connection."""
        self._commits.close()
        self._durable_snapshots.close()
        self._transient_snapshots.close()
        self._durable_writer.close()
        self._transient_writer.close()
        self.durable_engine.dispose()
        self.transient_engine.dispose()
        self._durable_lock.close()
        self._transient_lock.close()
        for stamp in self._stamps():
            stamp.close()


@dataclass(eq=False)
class _Pending(Generic[T]):
    operation: Callable[[Connection], T]
    needs: frozenset[Syncable]
    heads: frozenset[bytes] = frozenset()
    result: T | None = None
    error: BaseException | None = None
    #: Whether whoever waits for it shall run it alone, once the transaction that it shares has ended without it.
    is_put_off: bool = False

    def outcome(self) -> T:
        """Return what came of it, or raise that, once: by its frames an error refers to this, which lets go of it."""
        if self.error is None:
            return cast(T, self.result)
        try:
            raise self.error
        finally:
            self.error = None


@dataclass(eq=False)
class _Party:
    """What one thread waits for."""

    pending: Sequence[_Pending[Any]]
    #: What wakes who waits; None for who leads at once.
    ready: threading.Event | None = None
    done: bool = False
    since: float = field(default_factory=time.monotonic)


class _GroupCommit:
    """Operations that arrive before the writer's turn has come share it. Whoever waits longest leads them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._guard = threading.Lock()
        self._queue: list[_Party] = []
        self._led = False
        #: The threads that run operations at the moment.
        self._at_work: set[int] = set()
        self._pool: ThreadPoolExecutor | None = None

    def make_durable(self, those: Sequence[_Pending[Any]]) -> None:
        """Run each operation in some transaction and return once all are durable or have their error."""
        if threading.get_ident() in self._at_work:
            raise RuntimeError("an operation cannot wait for another: it would wait for itself")
        synced = self._synced(those)
        if self._database.dialect == "postgresql":
            for pending in synced:
                pending.is_put_off = not pending.heads
        shared = [pending for pending in synced if not pending.is_put_off]
        if shared:
            self._share(_Party(shared))
        for pending in synced:
            if pending.is_put_off:
                self._alone(pending)

    def _share(self, mine: _Party) -> None:
        """Have a party's operations run in a transaction with others."""
        with self._guard:
            if self._led:
                mine.ready = threading.Event()
                self._queue.append(mine)
            else:
                self._led = True
        if mine.ready is not None:
            mine.ready.wait()
        if not mine.done:
            self._lead(mine)

    def _lead(self, mine: _Party) -> None:
        parties = [mine]
        try:
            self._run(parties)
        finally:
            with self._guard:
                heir = self._queue.pop(0) if self._queue else None
                self._led = heir is not None
            for party in parties:
                party.done = True
                if party.ready is not None:
                    party.ready.set()
            if heir is not None and heir.ready is not None:
                heir.ready.set()

    def _run(self, parties: list[_Party]) -> None:
        batch: list[_Pending[Any]] = []
        self._at_work.add(threading.get_ident())
        is_through = False
        try:
            with self._database.write() as connection:
                if self._is_hurried:
                    connection.execute(_HURRY)
                self._join(parties)
                batch += [each for party in parties for each in party.pending]
                self._operate(connection, batch)
                is_through = True
        except BaseException as error:
            # Who has not joined yet has failed with the one who was to lead.
            batch = batch or list(parties[0].pending)
            if isinstance(error, DatabaseSilent):
                batch += self._forsaken(parties)
            for pending in batch:
                if _is_deadlock(error):
                    self._alone(pending)
                else:
                    pending.error = error
                    pending.is_put_off = not is_through and self._is_for_later(error)
        finally:
            self._at_work.discard(threading.get_ident())

    @property
    def _is_hurried(self) -> bool:
        """Whether transactions are shared by clients who wait on a PostgreSQL, where others have locked rows."""
        return self._database.dialect == "postgresql" and self._database.answer_seconds_max is not None

    def _is_for_later(self, error: BaseException) -> bool:
        """Return whether an operation that failed may be more lucky alone: nobody else waits for it then, and what it
        has locked itself is no other space's. Nothing of it was committed.
        """
        if not self._is_hurried or not isinstance(error, DatabaseBusy) or isinstance(error, DatabaseSilent):
            return False
        return _code_of(error.__cause__) != "57014"  # it was at work for too long, and would be again

    def _join(self, parties: list[_Party]) -> None:
        """Add those who have come meanwhile, as many as one transaction shall take."""
        with self._guard:
            count = sum(len(party.pending) for party in parties)
            while self._queue and count < BATCH_MAX:
                parties.append(self._queue.pop(0))
                count += len(parties[-1].pending)

    def _forsaken(self, parties: list[_Party]) -> list[_Pending[Any]]:
        """Add those who have waited so long for a database that is silent that they cannot wait for it again."""
        patience_seconds = self._database.answer_seconds_max
        if patience_seconds is None:
            return []
        latest = time.monotonic() - patience_seconds / 2
        with self._guard:
            late = [party for party in self._queue if party.since < latest]
            self._queue = [party for party in self._queue if party.since >= latest]
        parties += late
        return [pending for party in late for pending in party.pending]

    def _synced(self, those: Sequence[_Pending[Any]]) -> Sequence[_Pending[Any]]:
        """Sync what they need, side by side, and return those whose needs all were met."""
        needs = list(set().union(*(pending.needs for pending in those)))
        failed: dict[Syncable, BaseException] = {}

        def sync(need: Syncable) -> None:
            try:
                need.sync()
            except BaseException as error:
                failed[need] = error

        if len(needs) > 1:
            with self._guard:
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(8, thread_name_prefix="sync")
            list(self._pool.map(sync, needs))
        else:
            for need in needs:
                sync(need)
        for pending in those:
            for need in pending.needs & failed.keys():
                pending.error = failed[need]
        failed.clear()  # by their frames they refer to it
        return [pending for pending in those if pending.error is None]

    def _operate(self, connection: Connection, batch: Sequence[_Pending[Any]]) -> None:
        if len(batch) == 1:
            batch[0].result = batch[0].operation(connection)
            return
        busy = self._hold(connection, frozenset().union(*(pending.heads for pending in batch)))
        for pending in batch:
            found = next((busy[space] for space in pending.heads if space in busy), None)
            if found is not None:  # it would wait for the same, and all others for it
                pending.error, pending.is_put_off = found, self._is_for_later(found)
                continue
            savepoint = Savepoint(connection)
            try:
                with translated():
                    pending.result = pending.operation(connection)
                    savepoint.keep()
            except BaseException as error:
                if _is_deadlock(error) or isinstance(error, StorageFailed) or connection.invalidated:
                    raise  # the whole transaction is lost, not this operation alone
                savepoint.undo()
                pending.error, pending.is_put_off = error, self._is_for_later(error)
                if isinstance(error, DatabaseBusy):
                    busy |= dict.fromkeys(pending.heads, error)
        found = None  # an error refers by its frames to this, as to all that are busy
        busy.clear()

    def _hold(self, connection: Connection, spaces: Collection[bytes]) -> dict[bytes, DatabaseBusy]:
        """Take the heads of all who share a transaction before the first of them begins; return which are not to be
        had. Else each would take its own after what those before it took, and two processes would wait for each other.
        """
        if self._database.dialect == "sqlite" or not spaces:
            return {}
        savepoint = Savepoint(connection)
        try:
            with translated():
                self._database.hold(connection, spaces)
            savepoint.keep()
        except DatabaseBusy as error:
            if connection.invalidated:
                raise
            savepoint.undo()
            if len(spaces) == 1:
                return dict.fromkeys(spaces, error)
            found: dict[bytes, DatabaseBusy] = {}
            for space in sorted(spaces):  # one by one: those that nobody else has are to be had
                found |= self._hold(connection, [space])
            return found
        return {}

    def _alone(self, pending: _Pending[Any]) -> None:
        self._at_work.add(threading.get_ident())
        try:
            for _ in range(RETRIES_MAX):
                pending.error = None
                try:
                    with self._database.write() as connection:
                        self._operate(connection, [pending])
                    return
                except BaseException as error:
                    pending.error = error
                    if not _is_deadlock(error):
                        return
        finally:
            self._at_work.discard(threading.get_ident())

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def _is_deadlock(error: BaseException) -> bool:
    return _code_of(error) in ("40P01", "40001")


def _code_of(error: BaseException | None) -> str | None:
    """Return the SQLSTATE that PostgreSQL gave, if the error is of its making."""
    code: str | None = getattr(getattr(error, "orig", None), "sqlstate", None)
    return code
