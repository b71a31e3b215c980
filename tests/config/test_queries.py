"""A query gives the same rows as SQLAlchemy does, on either database."""

from __future__ import annotations

import pytest
from sqlalchemy import Boolean, Column, Integer, LargeBinary, MetaData, String, Table, bindparam, select, tuple_
from sqlalchemy.exc import DBAPIError

from config.database import Database
from config.queries import SHAPES_MAX, Query, parts_of

_TABLE = Table(
    "queried",
    MetaData(),
    Column("id", LargeBinary, primary_key=True),
    Column("number", Integer),
    Column("is_set", Boolean),
    Column("word", String),
)
_COLUMNS = _TABLE.c
ROWS = [(bytes([n]) * 16, n, n % 2 == 0, None if n == 3 else f"word {n}") for n in range(5)]

#: As many as a document's leaf lists chunks at most.
LONGEST = 1024


@pytest.fixture
def filled(database: Database) -> Database:
    _TABLE.create(database.durable_engine)
    with database.write() as connection:
        connection.execute(_TABLE.insert(), [dict(zip(_COLUMNS.keys(), row, strict=True)) for row in ROWS])
    return database


def test_rows_have_the_types_of_their_columns(filled: Database) -> None:
    everything = Query(select(_TABLE).order_by(_COLUMNS.number))
    with filled.read() as connection:
        rows = everything.rows(connection)
        assert rows == ROWS
        assert [type(cell) for cell in rows[0]] == [bytes, int, bool, str]
        assert everything.mappings(connection)[1]["word"] == "word 1"


def test_values_go_to_their_names(filled: Database) -> None:
    between = Query(
        select(_COLUMNS.number)
        .where(_COLUMNS.number > bindparam("above"), _COLUMNS.number < bindparam("below"), _COLUMNS.number != 2)
        .order_by(_COLUMNS.number)
    )
    with filled.read() as connection:
        assert between.rows(connection, below=4, above=0) == [(1,), (3,)]
        assert between.first(connection, below=1, above=0) is None


@pytest.mark.parametrize("count", [0, 1, 2, 5, 2, 100])
def test_lists_may_have_any_length(filled: Database, count: int) -> None:
    chosen = Query(
        select(_COLUMNS.number).where(
            _COLUMNS.number >= bindparam("least"), _COLUMNS.id.in_(bindparam("ids", expanding=True))
        )
    )
    ids = [bytes([n]) * 16 for n in range(count)]
    with filled.read() as connection:
        for _ in range(2):
            found = {number for (number,) in chosen.rows(connection, ids=ids, least=1)}
            assert found == set(range(1, min(count, 5)))


def test_lists_of_tuples(filled: Database) -> None:
    pairs = Query(
        select(_COLUMNS.number).where(tuple_(_COLUMNS.id, _COLUMNS.number).in_(bindparam("pairs", expanding=True)))
    )
    with filled.read() as connection:
        assert pairs.rows(connection, pairs=[(b"\x01" * 16, 1), (b"\x02" * 16, 3)]) == [(1,)]
        assert pairs.rows(connection, pairs=[]) == []


def test_rows_are_of_the_connections_own_moment(filled: Database) -> None:
    count = Query(select(_COLUMNS.id))
    with filled.read() as early:
        assert len(count.rows(early)) == 5
        with filled.write() as connection:
            connection.execute(_TABLE.insert(), {"id": b"new", "number": 9, "is_set": True, "word": ""})
            assert len(count.rows(connection)) == 6
        assert len(count.rows(early)) == 5


def test_an_error_is_the_one_of_sqlalchemy(database: Database) -> None:
    missing = Query(select(Table("nowhere", MetaData(), Column("id", Integer)).c.id))
    with pytest.raises(DBAPIError), database.read() as connection:
        missing.rows(connection)


def test_lists_have_few_lengths() -> None:
    lengths = set()
    for count in range(LONGEST + 1):
        values = [at.to_bytes(4, "big") for at in range(count)]
        parts = list(parts_of(values))
        assert list(dict.fromkeys(value for part in parts for value in part)) == values
        assert sum(map(len, parts)) <= 1.25 * count
        lengths |= {len(part) for part in parts}
    assert len(lengths) < SHAPES_MAX / 2
