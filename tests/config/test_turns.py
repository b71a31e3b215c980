"""Turns: those who wait for the disk stand aside, are made durable together, and go on to their end."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from greenlet import getcurrent
from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, select

from config import turns
from config.database import Database
from config.errors import DatabaseBusy
from config.turns import Turns, let_others_go_on, stand_aside

_TABLE = Table("turned", MetaData(), Column("number", Integer, primary_key=True))
#: What one request left behind in a cycle, frames and all, is collected by another thread, which waits meanwhile for a
#: finalizer; so long that the thread which served the request ends, and what greenlet kept of it is let go of.
_ENDING_WHILE_COLLECTED = """
import gc, threading, time
import greenlet
from config.turns import Turns

class Slow:
    def __del__(self):
        collecting.set()
        assert ended.wait(20)
        time.sleep(0.2)

def request():
    try:
        raise LookupError
    except LookupError as error:
        left = [error, Slow()]
        left.append(left)

def serve():
    with Turns() as mine:
        mine.serve(request)

def lead():
    serve()
    served.set()
    assert collecting.wait(20)

def collect():
    assert served.wait(20)
    gc.collect()

gc.disable()
before = greenlet._greenlet.get_total_main_greenlets()
for _ in range(5):  # what was freed may happen to look whole
    served, collecting, ended = threading.Event(), threading.Event(), threading.Event()
    leading, collector = threading.Thread(target=lead), threading.Thread(target=collect)
    leading.start()
    collector.start()
    leading.join()
    ended.set()
    while collector.is_alive():
        time.sleep(0.01)
gc.collect()
print("kept:", greenlet._greenlet.get_total_main_greenlets() - before)
"""


class Disk:
    """Makes things durable, and keeps what it was given at a time."""

    def __init__(self) -> None:
        self.seen: list[list[Any]] = []

    def make_durable(self, those: Sequence[Any]) -> None:
        self.seen.append(list(those))


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def said() -> list[str]:
    return []


def request(said: list[str], disk: Disk, name: str, times: int = 1) -> Callable[[], None]:
    """Return what says when it begins and each time that the disk has it."""

    def work() -> None:
        said.append(f"{name} begins")
        for time in range(times):
            assert stand_aside(disk, f"{name}{time}")
            said.append(f"{name} has {time}")

    return work


def test_all_who_stand_aside_are_made_durable_together(said: list[str], disk: Disk) -> None:
    with Turns() as mine:
        for name in "abc":
            mine.serve(request(said, disk, name))
        assert mine and said == ["a begins", "b begins", "c begins"]
        mine.settle()
        assert not mine
    assert said[3:] == ["a has 0", "b has 0", "c has 0"]
    assert disk.seen == [["a0", "b0", "c0"]]


def test_who_stands_aside_again_goes_on_to_its_end(said: list[str], disk: Disk) -> None:
    other = Disk()
    with Turns() as mine:
        mine.serve(request(said, disk, "a", times=3))
        mine.serve(request(said, other, "b"))
        mine.settle()
    assert said == ["a begins", "b begins", "a has 0", "b has 0", "a has 1", "a has 2"]
    assert [disk.seen, other.seen] == [[["a0"], ["a1"], ["a2"]], [["b0"]]]


def test_nobody_is_left_standing_aside(said: list[str], disk: Disk) -> None:
    with Turns() as mine:
        mine.serve(request(said, disk, "a"))
    assert said == ["a begins", "a has 0"]


def test_who_waits_for_more_than_the_disk_lets_others_go_first(said: list[str], disk: Disk) -> None:
    def slow() -> None:
        let_others_go_on()
        said.append("slow waits")

    def slow_afterwards() -> None:
        assert stand_aside(disk, "s")
        let_others_go_on()
        said.append("slow waits again")

    with Turns() as mine:
        mine.serve(request(said, disk, "a"))
        mine.serve(slow)
        assert said == ["a begins", "a has 0", "slow waits"]
        mine.serve(slow_afterwards)
        mine.serve(request(said, disk, "b"))
        mine.serve(request(said, disk, "c", times=2))
        mine.settle()
    assert said[3:] == ["b begins", "c begins", "b has 0", "c has 0", "c has 1", "slow waits again"]


def test_who_has_waited_for_long_is_due(said: list[str], disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    with Turns() as mine:
        assert not mine.is_due
        monkeypatch.setattr(turns, "ASIDE_SECONDS", 60)
        mine.serve(request(said, disk, "a"))
        assert not mine.is_due
        monkeypatch.setattr(turns, "ASIDE_SECONDS", 0)
        assert mine.is_due


def test_what_a_request_raises_is_raised_where_it_is_served(said: list[str], disk: Disk) -> None:
    def failing() -> None:
        assert stand_aside(disk, "f")
        raise LookupError

    with Turns() as mine:
        mine.serve(failing)
        mine.serve(request(said, disk, "a"))
        with pytest.raises(LookupError):
            mine.settle()
        mine.settle()
    assert said == ["a begins", "a has 0"]


def test_nobody_goes_on_as_if_durable_when_all_has_failed(said: list[str], disk: Disk) -> None:
    class Broken:
        def make_durable(self, those: Sequence[Any]) -> None:
            raise MemoryError

    def work() -> None:
        with pytest.raises(MemoryError):
            stand_aside(broken, "w")
        said.append("w has failed")

    broken = Broken()
    with Turns() as mine:
        mine.serve(work)
        mine.serve(request(said, disk, "a"))
        mine.serve(work)
    assert said == ["a begins", "w has failed", "a has 0", "w has failed"]


def test_a_thread_that_serves_one_alone_waits_by_itself(said: list[str], disk: Disk) -> None:
    assert not stand_aside(disk, "nobody")
    let_others_go_on()
    with Turns() as mine:
        assert not stand_aside(disk, "whoever serves")
        mine.serve(request(said, disk, "a"))
        elsewhere: list[bool] = []
        thread = threading.Thread(target=lambda: elsewhere.append(stand_aside(disk, "another thread")))
        thread.start()
        thread.join()
        assert elsewhere == [False]
    assert not stand_aside(disk, "nobody")
    assert disk.seen == [["a0"]]


def test_nothing_is_kept_of_a_turn_that_is_over(disk: Disk) -> None:
    class Thing:
        """Something that may be referred to weakly."""

    seen: list[weakref.ref[Any]] = []

    def work(thing: Thing) -> None:
        seen.append(weakref.ref(thing))
        assert stand_aside(disk, thing)
        seen.append(weakref.ref(getcurrent()))

    with Turns() as mine:
        for _ in range(3):
            mine.serve(work, Thing())
        mine.settle()
        disk.seen.clear()
        assert [each() is None for each in seen] == [True] * 3 + [False] * 3
    assert all(each() is None for each in seen)


def test_a_thread_that_served_ends_while_another_collects_what_it_left() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", _ENDING_WHILE_COLLECTED],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "kept: 0\n"), done.stderr


def test_what_was_busy_in_a_shared_transaction_stayed_with_its_frames(database: Database) -> None:
    seen: list[weakref.ref[BaseException]] = []

    def operation(connection: Connection) -> None:
        raise DatabaseBusy

    def work() -> None:
        try:
            database.apply(operation, heads=[b"space"], in_turn=True)
        except DatabaseBusy as error:
            seen.append(weakref.ref(error))

    gc.disable()
    try:
        with Turns() as mine:
            for _ in range(3):
                mine.serve(work)
        assert [each() for each in seen] == [None] * 3
    finally:
        gc.enable()


def test_operations_of_one_thread_share_a_transaction(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    _TABLE.create(database.durable_engine)
    begun: list[Database] = []
    write = Database.write
    monkeypatch.setattr(Database, "write", lambda self: begun.append(self) or write(self))
    ended: dict[int, str] = {}
    connections: list[Connection] = []

    def insertion(number: int) -> Callable[[], None]:
        def operation(connection: Connection) -> int:
            connections.append(connection)
            connection.execute(insert(_TABLE), {"number": number})
            if number == 2:
                raise LookupError
            return number

        def work() -> None:
            try:
                ended[number] = str(database.apply(operation, heads=[b"space"], in_turn=True))
            except LookupError:
                ended[number] = "refused"
            with database.read() as connection:
                found = connection.execute(select(_TABLE.c.number).where(_TABLE.c.number == number)).first()
            ended[number] += f", {'stands' if found else 'does not stand'}"

        return work

    with Turns() as mine:
        for number in (1, 2, 3):
            mine.serve(insertion(number))
        assert not connections
        mine.settle()
    assert len(connections) == 3 and len({id(each) for each in connections}) == 1
    assert len(begun) == 1  # SQLite's writer has one connection for all its transactions
    assert ended == {1: "1, stands", 2: "refused, does not stand", 3: "3, stands"}
