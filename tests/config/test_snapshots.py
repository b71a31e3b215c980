"""Snapshots: whichever way they are read, all of one is of one moment, and the next is of a later one."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from auth.tables import epoch
from config.database import Database
from config.queries import Query

_CHOSEN = select(epoch.c.value)
_QUERY = Query(_CHOSEN)
_TWICE = select(epoch.c.value, epoch.c.one)


@pytest.fixture
def counted(database: Database) -> Database:
    with database.write() as connection:
        connection.execute(database.insert(epoch).values(one=1, value=1))
    return database


def _advance(database: Database) -> None:
    with database.write() as connection:
        connection.execute(update(epoch).values(value=epoch.c.value + 1))


def _read(database: Database) -> int:
    with database.read() as connection:
        return int(_QUERY.rows(connection)[0][0])


def test_all_of_a_snapshot_is_of_one_moment_however_it_is_read(counted: Database) -> None:
    for number in (1, 2):
        with counted.read() as connection:
            before = _QUERY.rows(connection)
            _advance(counted)
            assert connection.execute(_CHOSEN).all() == before == _QUERY.rows(connection) == [(number,)]
    with counted.read() as connection:
        assert connection.execute(_CHOSEN).scalar_one() == 3
        _advance(counted)
        assert _QUERY.rows(connection) == [(3,)]
    assert _read(counted) == 4


def test_a_snapshot_within_another_is_one_of_its_own(counted: Database) -> None:
    with counted.read() as outer:
        assert _QUERY.rows(outer) == [(1,)]
        _advance(counted)
        with counted.read() as inner:
            assert _QUERY.rows(inner) == [(2,)]
        assert _QUERY.rows(outer) == [(1,)]


@pytest.mark.parametrize("is_half_read", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_a_snapshot_that_was_left_held_the_next_ones_to_its_moment(
    counted: Database, is_half_read: bool, fails: bool
) -> None:
    """For as long as somebody had rows of it that nobody fetched."""
    kept = []
    for snapshot in (counted.read, counted.ask):
        with suppress(ZeroDivisionError), snapshot() as connection:
            if is_half_read:
                kept.append(connection.execute(select(epoch.c.value, epoch.c.one).union_all(_TWICE)))
                kept[-1].fetchone()
            if fails:
                raise ZeroDivisionError
        before = _read(counted)
        for number in (before + 1, before + 2):
            _advance(counted)
            assert _read(counted) == number
    kept.clear()


def test_an_error_of_the_database_is_still_told_as_one(counted: Database) -> None:
    with pytest.raises(DBAPIError):
        with counted.read() as connection:
            connection.exec_driver_sql("SELECT nothing FROM nowhere")
    assert _read(counted) == 1


def test_nothing_is_written_by_a_snapshot(counted: Database) -> None:
    for _ in range(2):
        with counted.read() as connection:
            try:
                connection.execute(update(epoch).values(value=99))
            except DBAPIError:  # PostgreSQL refuses; on SQLite it is undone
                connection.rollback()
    assert _read(counted) == 1


def test_many_threads_read_at_once_what_was_last_acknowledged(counted: Database) -> None:
    seen: list[bool] = []
    written = [1]

    def read() -> None:
        for _ in range(100):
            least = written[0]
            seen.append(_read(counted) >= least)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(2, 12):
        _advance(counted)
        written[0] = number
    for thread in threads:
        thread.join()
    assert len(seen) == 800
    assert all(seen)
