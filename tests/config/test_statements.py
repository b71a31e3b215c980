"""A statement writes what SQLAlchemy would, on either database, and its errors are those of SQLAlchemy."""

from __future__ import annotations

import resource
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from config.database import Database
from config.errors import DatabaseBusy, StorageFull
from config.statements import Statement

_TABLE = Table(
    "written",
    MetaData(),
    Column("id", LargeBinary, primary_key=True),
    Column("number", Integer),
    Column("is_set", Boolean),
    Column("word", String),
)
_COLUMNS = _TABLE.c
INSERT = Statement(insert(_TABLE))


def row(number: int, word: str | None = "word", *, is_set: bool = False) -> dict[str, Any]:
    return {"id": bytes([number]) * 16, "number": number, "is_set": is_set, "word": word}


@pytest.fixture
def empty(database: Database) -> Database:
    _TABLE.create(database.durable_engine)
    return database


def standing(database: Database) -> list[tuple[int, bool, str | None]]:
    with database.read() as connection:
        found = connection.execute(select(_COLUMNS.number, _COLUMNS.is_set, _COLUMNS.word).order_by(_COLUMNS.number))
        return [tuple(each) for each in found]


def test_rows_are_inserted_one_by_one_and_together(empty: Database) -> None:
    with empty.write() as connection:
        assert INSERT.run(connection, **row(1, is_set=True)) == 1
        INSERT.run_many(connection, [row(2, None), row(3)])
        INSERT.run_many(connection, [])
        INSERT.run(connection, id=b"few", number=4)
    assert standing(empty) == [(1, True, "word"), (2, False, None), (3, False, "word"), (4, None, None)]


def test_what_an_update_sets_goes_to_its_names(empty: Database) -> None:
    change = Statement(
        update(_TABLE)
        .where(_COLUMNS.number > bindparam("above"), _COLUMNS.number < 4)
        .values(word=bindparam("b_word"), is_set=bindparam("b_set"), number=_COLUMNS.number + 10)
    )
    with empty.write() as connection:
        INSERT.run_many(connection, [row(1), row(2), row(3), row(4)])
        assert change.run(connection, b_set=True, above=1, b_word="new") == 2
    assert standing(empty) == [(1, False, "word"), (4, False, "word"), (12, True, "new"), (13, True, "new")]


def test_an_update_returns_what_it_wrote(empty: Database) -> None:
    grow = Statement(
        update(_TABLE)
        .where(_COLUMNS.number.in_(bindparam("numbers", expanding=True)))
        .values(number=_COLUMNS.number + 10)
        .returning(_COLUMNS.number - 10, _COLUMNS.word)
    )
    with empty.write() as connection:
        INSERT.run_many(connection, [row(1, "one"), row(2), row(3, "three")])
        assert sorted(grow.returned(connection, numbers=[1, 3])) == [(1, "one"), (3, "three")]
        assert grow.returned(connection, numbers=[1]) == []
    assert [number for number, _, _ in standing(empty)] == [2, 11, 13]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 2, 70])
def test_lists_may_have_any_length(empty: Database, count: int) -> None:
    chosen = Statement(delete(_TABLE).where(_COLUMNS.id.in_(bindparam("ids", expanding=True))))
    ids = [bytes([n]) * 16 for n in range(count)]
    for _ in range(2):
        with empty.write() as connection:
            INSERT.run_many(connection, [row(0), row(1), row(2)])
            assert chosen.run(connection, ids=ids) == min(count, 3)
            Statement(delete(_TABLE)).run(connection)


def test_an_insert_may_say_what_becomes_of_a_standing_row(empty: Database) -> None:
    kept = Statement(lambda insert: insert(_TABLE).on_conflict_do_nothing())

    def replacing(insert: Any) -> Any:
        made = insert(_TABLE)
        return made.on_conflict_do_update(
            index_elements=["id"], set_={"word": made.excluded.word}, where=_COLUMNS.is_set.is_(True)
        )

    replaced = Statement(replacing)
    with empty.write() as connection:
        INSERT.run_many(connection, [row(1, "old"), row(2, "old", is_set=True)])
        assert kept.run(connection, **row(1, "new")) == 0
        replaced.run_many(connection, [row(1, "new"), row(2, "new"), row(3, "new")])
    assert [(number, word) for number, _, word in standing(empty)] == [(1, "old"), (2, "new"), (3, "new")]


def test_an_error_is_the_one_of_sqlalchemy_and_tells_no_values(empty: Database) -> None:
    with pytest.raises(IntegrityError) as raised, empty.write() as connection:
        INSERT.run_many(connection, [row(1, "secret"), row(1, "secret")])
    if empty.dialect == "sqlite":
        assert "secret" not in str(raised.value)
    assert standing(empty) == []
    nowhere = Statement(insert(Table("nowhere", MetaData(), Column("id", Integer))))
    with pytest.raises(DBAPIError), empty.write() as connection:
        nowhere.run(connection, id=1)


def test_a_savepoint_takes_back_what_was_written_in_it(empty: Database) -> None:
    def one(number: int, *, fails: bool) -> Any:
        def work(connection: Connection) -> None:
            INSERT.run(connection, **row(number))
            if fails:
                raise ValueError

        return work

    with empty.write() as connection:
        for number, fails in [(1, False), (2, True), (3, False)]:
            savepoint = connection.begin_nested()
            try:
                one(number, fails=fails)(connection)
                savepoint.commit()
            except ValueError:
                savepoint.rollback()
    assert [number for number, _, _ in standing(empty)] == [1, 3]


def test_a_disk_that_was_full_at_the_start_was_told_as_a_fault_of_the_database(tmp_path: Path) -> None:
    made, fresh = Database(tmp_path), Database(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        _TABLE.create(made.durable_engine)
        made.dispose()  # the last one takes along what processes share
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        with pytest.raises(StorageFull), fresh.read() as connection:
            connection.execute(select(_TABLE)).all()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        fresh.dispose()


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    database = Database(tmp_path)
    try:
        _TABLE.create(database.durable_engine)
        with pytest.raises(StorageFull), database.write() as connection:
            driver: Any = connection.connection.dbapi_connection
            pages = driver.execute("PRAGMA page_count").fetchone()[0]
            driver.execute(f"PRAGMA max_page_count={pages}")
            INSERT.run_many(connection, [row(number, "long " * 10_000) for number in range(9)])
    finally:
        database.dispose()


def test_a_busy_database_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.engines.BUSY_MS_MAX", 1)
    database, other = Database(tmp_path), Database(tmp_path)
    try:
        _TABLE.create(database.durable_engine)
        with other.write() as holding, pytest.raises(DatabaseBusy):
            INSERT.run(holding, **row(1))
            with database.read() as connection:
                INSERT.run(connection, **row(2))
    finally:
        database.dispose()
        other.dispose()


def test_only_plain_values_are_taken(empty: Database) -> None:
    told = Statement(insert(Table("told", MetaData(), Column("words", JSON))))
    with pytest.raises(TypeError), empty.write() as connection:
        told.run(connection, words={})


@pytest.mark.parametrize("value", [b"\0bytes", True, False, None])
def test_the_driver_need_not_ask_what_a_value_is(value: object, tmp_path: Path) -> None:
    """It asked so by exceptions, for each value anew: a twentieth of what a lock and its release cost."""
    assert (type(value), sqlite3.PrepareProtocol) in sqlite3.adapters
    database = Database(tmp_path)
    with database.transient_engine.connect() as connection:
        ((found, kind),) = connection.exec_driver_sql("SELECT ?, typeof(?)", (value, value)).all()
    database.dispose()
    assert (found, kind) == (value, {bytes: "blob", bool: "integer"}.get(type(value), "null"))
