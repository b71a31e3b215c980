"""Writers: what is acknowledged stands, what fails is undone by itself, and nobody is held to an old moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, insert, select, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from config.database import Database
from config.errors import DatabaseBusy, StorageFailed, StorageFull
from config.queries import Query
from config.statements import Statement
from config.writers import FileLock
from tests.around import AskedAround

_TABLE = Table("kept", MetaData(), Column("number", Integer, primary_key=True), Column("word", String))
_INSERT = Statement(insert(_TABLE))
_NUMBERS = Query(select(_TABLE.c.number).order_by(_TABLE.c.number))

Work = Callable[[Connection], None]


class Refused(Exception):
    """What an operation raises that is not permitted."""


@pytest.fixture
def empty(database: Database) -> Database:
    _TABLE.create(database.durable_engine)
    return database


def numbers(database: Database) -> list[int]:
    with database.read() as connection:
        return [number for (number,) in _NUMBERS.rows(connection)]


def writing(number: int, word: str = "word", *, plainly: bool = False) -> Work:
    def work(connection: Connection) -> None:
        if plainly:
            connection.execute(insert(_TABLE), {"number": number, "word": word})
        else:
            _INSERT.run(connection, number=number, word=word)

    return work


def together(database: Database, works: list[Work], heads: Sequence[bytes] = ()) -> list[BaseException | None]:
    """Apply all of `works` in one transaction: they wait while another is under way. Return how each ended.

    Each takes a head of its own, or those that `heads` tells by letters.
    """
    ended: list[BaseException | None] = [None] * len(works)
    holds, waiting = threading.Event(), threading.Event()

    def hold(connection: Connection) -> None:
        holds.set()
        assert waiting.wait(30)

    def run(index: int) -> None:
        try:
            mine = heads[index] if heads else bytes([index])
            database.apply(works[index], heads=[bytes([letter]) for letter in mine])
        except BaseException as error:
            ended[index] = error

    first = threading.Thread(target=database.apply, args=(hold,), kwargs={"heads": [b"first"]})
    first.start()
    assert holds.wait(30)
    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for number, thread in enumerate(threads):
        thread.start()
        while len(database._commits._queue) <= number:  # in the order of `works`, however busy the machine
            time.sleep(0.001)
    waiting.set()
    for thread in (first, *threads):
        thread.join(60)
    return ended


@pytest.mark.parametrize("plainly", [False, True])
def test_an_exception_undoes_one_operation_of_several(empty: Database, plainly: bool) -> None:
    def failing(connection: Connection) -> None:
        writing(2, plainly=plainly)(connection)
        raise Refused

    ended = together(empty, [writing(1, plainly=plainly), failing, writing(3, plainly=plainly), writing(1)])
    assert [type(error).__name__ for error in ended] == ["NoneType", "Refused", "NoneType", "IntegrityError"]
    assert numbers(empty) == [1, 3]


def test_rows_that_nobody_fetched_kept_a_process_from_writing(data_folder: Path) -> None:
    """As soon as another had written, for as long as somebody held them."""
    ours, theirs = Database(data_folder), Database(data_folder)
    _TABLE.create(ours.durable_engine)
    for number in (1, 2):
        ours.apply(writing(number))
    held = ours.apply(lambda connection: connection.execute(select(_TABLE.c.number)))
    theirs.apply(writing(3))
    ours.apply(writing(4))
    ours.apply(writing(5, plainly=True))
    with pytest.raises(ProgrammingError):
        held.all()
    ours.apply(writing(6))
    assert numbers(theirs) == [1, 2, 3, 4, 5, 6]
    for each in (ours, theirs):
        each.dispose()


@pytest.mark.parametrize("alone", [True, False])
def test_rows_told_of_what_was_written_and_not_fetched_kept_all_from_committing(empty: Database, alone: bool) -> None:
    left: list[Any] = []

    def leaving(connection: Connection) -> None:
        rows = [{"number": number, "word": "word"} for number in (1, 2, 3)]
        left.append(connection.execute(insert(_TABLE).values(rows).returning(_TABLE.c.number)))

    if alone:
        empty.apply(leaving)
    else:
        assert together(empty, [leaving, writing(4)]) == [None, None]
    empty.apply(writing(5))
    assert numbers(empty) == [1, 2, 3, *([] if alone else [4]), 5]


@pytest.mark.parametrize("plainly", [False, True])
def test_an_exception_undoes_a_transaction_and_the_next_one_stands(empty: Database, plainly: bool) -> None:
    with pytest.raises(Refused), empty.write() as connection:
        writing(1, plainly=plainly)(connection)
        raise Refused
    empty.apply(writing(2, plainly=plainly))
    empty.apply(writing(3))
    assert numbers(empty) == [2, 3]


@pytest.mark.parametrize("alone", [True, False])
def test_a_cursor_left_half_read_holds_nobody_to_its_moment(tmp_path: Path, alone: bool) -> None:
    database, other = Database(tmp_path), Database(tmp_path)
    left: list[Any] = []

    def failing(connection: Connection) -> None:
        found = connection.execute(select(_TABLE))
        left.append((found, found.fetchone()))
        raise Refused

    try:
        _TABLE.create(database.durable_engine)
        for number in range(200):
            database.apply(writing(number))
        if alone:
            with pytest.raises(Refused):
                database.apply(failing)
        else:
            assert isinstance(together(database, [writing(500), failing])[1], Refused)
        other.apply(writing(1000))
        database.apply(writing(1001))
        assert numbers(database)[-2:] == [1000, 1001]
    finally:
        database.dispose()
        other.dispose()


@pytest.fixture
def on_postgresql(tmp_path: Path, postgresql_url: str) -> Iterator[Database]:
    database = Database(tmp_path, postgresql_url)
    _TABLE.create(database.durable_engine)
    yield database
    database.dispose()


def killing(connection: Connection) -> None:
    connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def test_who_shared_a_connection_that_was_lost_has_another_where_clients_wait(on_postgresql: Database) -> None:
    on_postgresql.answer_within(8.0)
    ended = together(on_postgresql, [writing(1), killing, writing(3), writing(4, plainly=True)])
    assert [type(error).__name__ for error in ended] == ["NoneType", "DatabaseBusy", "NoneType", "NoneType"]
    assert numbers(on_postgresql) == [1, 3, 4]


def test_a_connection_that_is_lost_takes_all_along_and_each_is_told_so(on_postgresql: Database) -> None:
    """Nobody's is a fault of ours, and the next ones find another connection."""
    ended = together(on_postgresql, [writing(1), killing, writing(3), writing(4, plainly=True)])
    assert [isinstance(error, DatabaseBusy) for error in ended] == [True] * 4, ended
    assert numbers(on_postgresql) == []
    on_postgresql.apply(writing(5))
    assert numbers(on_postgresql) == [5]


def test_what_waits_for_a_row_holds_up_nothing_else_for_long(on_postgresql: Database) -> None:
    """Somebody else has locked a row of one space. All that want it are told soon, and the others are served."""
    on_postgresql.apply(writing(1))
    on_postgresql.answer_within(answer_seconds := 2.0)

    def wanting(connection: Connection) -> None:
        connection.execute(select(_TABLE).where(_TABLE.c.number == 1).with_for_update())

    with on_postgresql.write() as connection:
        wanting(connection)
        began = time.monotonic()
        ended = together(on_postgresql, [writing(2), *[wanting] * 8, writing(3)], [b"a", *[b"b"] * 8, b"c"])
        took = time.monotonic() - began
    assert [type(error).__name__ for error in ended] == ["NoneType", *["DatabaseBusy"] * 8, "NoneType"]
    assert numbers(on_postgresql) == [1, 2, 3]
    assert took < 2 * answer_seconds


def holding(connection: Connection, heads: Iterable[bytes]) -> None:
    """Take rows as heads of spaces are taken."""
    wanted = select(_TABLE).where(_TABLE.c.number.in_([head[0] for head in heads]))
    connection.execute(wanted.order_by(_TABLE.c.number).with_for_update())


def test_who_shares_a_transaction_takes_nothing_before_the_heads_of_all(on_postgresql: Database) -> None:
    """Else the first would have what it takes after its own while the second waits for its: two processes waited for
    each other so until the database ended one.
    """
    for number in (1, 3, 9):
        on_postgresql.apply(writing(number))
    on_postgresql.hold = holding
    ended: list[BaseException | None] = []
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")

    def run() -> None:
        works = [lambda connection: holding(connection, [b"\x09"]), lambda connection: holding(connection, [b"\x03"])]
        ended.extend(together(on_postgresql, works, [b"\x01", b"\x03"]))

    shared = threading.Thread(target=run)
    with on_postgresql.write() as connection:
        holding(connection, [b"\x03"])
        shared.start()
        while not connection.execute(waiting).scalar_one():
            time.sleep(0.01)
        connection.execute(select(_TABLE).where(_TABLE.c.number == 9).with_for_update(nowait=True))
    shared.join(60)
    assert ended == [None, None]


def test_who_names_no_head_has_a_transaction_to_himself(on_postgresql: Database) -> None:
    begun, ending = threading.Event(), threading.Event()

    def shared(connection: Connection) -> None:
        begun.set()
        assert ending.wait(30)

    first = threading.Thread(target=on_postgresql.apply, args=(shared,), kwargs={"heads": [b"one"]})
    first.start()
    assert begun.wait(30)
    on_postgresql.apply(writing(1))
    assert numbers(on_postgresql) == [1]
    ending.set()
    first.join(60)


def test_who_waits_behind_one_that_gets_no_answer_does_not_wait_as_long_again(on_postgresql: Database) -> None:
    on_postgresql.answer_within(answer_seconds := 2.0)
    ended: list[BaseException] = []
    begun = threading.Event()

    def sleeping(connection: Connection) -> None:
        begun.set()
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_sleep(30)"))

    def run() -> None:
        try:
            on_postgresql.apply(sleeping, heads=[b"one"])
        except BaseException as error:
            ended.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
        assert begun.wait(10)
    for thread in threads:
        thread.join(60)
    assert [type(error).__name__ for error in ended] == ["DatabaseSilent"] * len(threads)
    assert time.monotonic() - began < 1.75 * answer_seconds


def test_what_a_full_disk_took_along_is_acknowledged_to_nobody(tmp_path: Path) -> None:
    database = Database(tmp_path)

    def limiting(connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        pages = driver.execute("PRAGMA page_count").fetchone()[0]
        driver.execute(f"PRAGMA max_page_count={pages}")
        writing(1)(connection)

    def filling(connection: Connection) -> None:
        _INSERT.run_many(connection, [{"number": number, "word": "long " * 10_000} for number in range(10, 20)])

    try:
        _TABLE.create(database.durable_engine)
        ended = together(database, [limiting, filling, writing(3)])
        assert [isinstance(error, StorageFull) for error in ended] == [True, True, True]
        assert numbers(database) == []
        database.apply(writing(4))
        assert numbers(database) == [4]
    finally:
        database.dispose()


def test_a_commit_that_fails_is_acknowledged_to_nobody(tmp_path: Path) -> None:
    database = Database(tmp_path)

    def leaving(connection: Connection) -> None:
        writing(1)(connection)
        driver: Any = connection.connection.dbapi_connection
        driver.rollback()  # as a statement does that takes the transaction along

    try:
        _TABLE.create(database.durable_engine)
        with pytest.raises(OperationalError, match="no transaction is active"):
            database.apply(leaving)
        database.apply(writing(2))
        assert numbers(database) == [2]
    finally:
        database.dispose()


#: Another process's writer, killed once others may see what it committed, before it could say so.
_KILLED = """
import os, signal, sys
from pathlib import Path
from config.database import Database
from config.stamps import Stamp
database = Database(Path(sys.argv[1]))
Stamp.renew = lambda self: os.kill(os.getpid(), signal.SIGKILL)
with database.write() as connection:
    connection.exec_driver_sql("INSERT INTO kept VALUES (7, 'seven')")
"""


def _stamp(database: Database) -> int | None:
    assert database.stamp is not None
    return database.stamp.value()


def test_no_process_relies_on_what_it_knew_once_a_commit_may_be_seen(tmp_path: Path) -> None:
    database, other = Database(tmp_path), Database(tmp_path)
    try:
        _TABLE.create(database.durable_engine)
        before = _stamp(other)
        assert before is not None
        during: list[int | None] = []
        with database.write() as connection:
            writing(1)(connection)
            during.append(_stamp(other))
            driver: Any = connection.connection.dbapi_connection
            driver.set_trace_callback(lambda text: during.append(_stamp(other)) if text == "COMMIT" else None)
        driver.set_trace_callback(None)
        after = _stamp(other)
        assert during == [before, None]
        assert after not in (None, before)
        with pytest.raises(Refused), database.write() as connection:
            writing(2)(connection)
            raise Refused
        assert _stamp(other) == after
    finally:
        database.dispose()
        other.dispose()


def test_who_is_killed_between_a_commit_and_its_stamp_leaves_nobody_behind(tmp_path: Path) -> None:
    database = Database(tmp_path)
    try:
        _TABLE.create(database.durable_engine)
        assert _stamp(database) is not None
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        killed = subprocess.run(
            [sys.executable, "-P", "-c", _KILLED, str(tmp_path)], check=False, cwd=Path.cwd(), env=environment
        )
        assert killed.returncode == -signal.SIGKILL
        assert numbers(database) == [7]
        assert _stamp(database) is None
        database.apply(writing(8))
        assert _stamp(database) is not None
    finally:
        database.dispose()


def test_a_commit_that_fails_lets_nobody_rely_on_what_was_before(tmp_path: Path) -> None:
    database = Database(tmp_path)

    def leaving(connection: Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        driver.rollback()

    try:
        _TABLE.create(database.durable_engine)
        before = _stamp(database)
        with pytest.raises(OperationalError):
            database.apply(leaving)
        assert _stamp(database) not in (None, before)
    finally:
        database.dispose()


def test_without_room_for_the_stamp_nothing_is_written(tmp_path: Path) -> None:
    database = Database(tmp_path)
    try:
        _TABLE.create(database.durable_engine)
        (tmp_path / "catalogue.stamp").mkdir()
        with pytest.raises(StorageFailed):
            database.apply(writing(1))
        assert numbers(database) == []
        (tmp_path / "catalogue.stamp").rmdir()
        database.apply(writing(2))
        assert numbers(database) == [2]
    finally:
        database.dispose()


@pytest.mark.parametrize("in_turn", [False, True])
def test_an_operation_that_would_wait_for_itself_fails_at_once(empty: Database, in_turn: bool) -> None:
    def nested(connection: Connection) -> None:
        writing(1)(connection)
        empty.apply(writing(2), in_turn=in_turn)

    with pytest.raises(RuntimeError, match="wait for itself"):
        empty.apply(nested)
    empty.apply(writing(3))
    assert numbers(empty) == [3]


def test_an_operation_asked_around_its_connection_and_saw_other_rows_than_its_own(empty: Database) -> None:
    """A rule that the tests hold, in whatever they run."""

    def asking(connection: Connection) -> None:
        writing(1)(connection)
        assert numbers(empty) == [1]

    with pytest.raises(AskedAround, match="read"):
        empty.apply(asking)
    assert numbers(empty) == []


def test_a_disk_that_became_read_only_is_told_as_such(tmp_path: Path) -> None:
    database = Database(tmp_path)
    try:
        _TABLE.create(database.durable_engine)
        with database.write() as connection:
            driver: Any = connection.connection.dbapi_connection
        driver.execute("PRAGMA query_only=1")
        with pytest.raises(StorageFailed, match="SQLITE_READONLY") as told:
            database.apply(writing(1))
        assert not isinstance(told.value, StorageFull)
        assert numbers(database) == []
    finally:
        database.dispose()


def test_a_lock_that_cannot_be_made_is_a_fault_of_the_disk_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "missing" / "lock")
    for _ in range(2):
        with pytest.raises(StorageFailed, match="ENOENT"):
            lock.__enter__()


def test_to_let_go_of_a_database_nothing_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    database = Database(folder)
    folder.rmdir()
    database.dispose()
    assert not folder.exists()
