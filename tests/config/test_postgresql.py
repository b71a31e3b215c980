"""What a PostgreSQL is set up with: whatever stands in the URL holds, and nothing else changes what we rely on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, literal, make_url, select, text

from config import schema
from config.database import Database, durable
from config.errors import DatabaseBusy, DatabaseRefuses, DatabaseUnreachable, DriverMissing
from tests.postgres import Server

Opened = Callable[[str], Database]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    made: list[Database] = []

    def one(url: str) -> Database:
        made.append(Database(tmp_path, url))
        return made[-1]

    yield one
    for database in made:
        database.dispose()


def test_options_in_the_url_hold(opened: Opened, postgresql_url: str) -> None:
    with opened(postgresql_url).write() as connection:
        connection.execute(text("CREATE SCHEMA mine"))
    database = opened(f"{postgresql_url}?options=-csearch_path%3Dmine")
    schema.upgrade(database)
    assert set(durable.tables) <= set(inspect(database.durable_engine).get_table_names(schema="mine"))
    assert inspect(database.durable_engine).get_table_names(schema="public") == []
    schema.check(database)


def test_writers_are_isolated_as_they_expect_however_the_database_is_set(opened: Opened, postgresql_url: str) -> None:
    """What a writer asks once it has a lock must be as of then, not as of its beginning."""
    name = postgresql_url.rsplit("/", 1)[1]
    with opened(postgresql_url).write() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"))
        connection.execute(text(f"ALTER DATABASE {name} SET client_encoding = 'LATIN1'"))
    database = opened(postgresql_url)
    asked = select(text("current_setting('transaction_isolation')"))
    with database.write() as connection:
        assert connection.execute(asked).scalar_one() == "read committed"
        assert connection.execute(select(literal("blåbär 李"))).scalar_one() == "blåbär 李"
    with database.read() as connection:
        assert connection.execute(asked).scalar_one() == "repeatable read"


def test_texts_are_texts_whatever_the_encoding_of_the_database(opened: Opened, postgresql_server: Server) -> None:
    for encoding in ("SQL_ASCII", "LATIN1"):
        name = f"in_{encoding.lower()}"
        postgresql_server.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        database = opened(postgresql_server.url(name))
        schema.upgrade(database)
        schema.check(database)


def test_a_server_that_only_follows_another_is_busy(opened: Opened, postgresql_url: str) -> None:
    """Until it takes over it can be read, and nothing can be written."""
    database = opened(f"{postgresql_url}?options=-cdefault_transaction_read_only%3Don")
    with pytest.raises(DatabaseBusy), database.write() as connection:
        connection.execute(text("CREATE TABLE one (one INTEGER)"))


@pytest.mark.parametrize(
    ("url", "where", "password"),
    [
        ("postgresql+psycopg://u:p%40ss@h/d", {"host": "h", "dbname": "d", "user": "u"}, "p@ss"),
        ("postgresql+psycopg:///d?host=/run/pg&port=5433", {"host": "/run/pg", "dbname": "d", "port": "5433"}, ""),
        (
            "postgresql+psycopg://u@/d?host=one:1&host=two:2&sslrootcert=/a%20b&target_session_attrs=read-write",
            {"host": "one,two", "port": "1,2", "dbname": "d", "user": "u", "sslrootcert": "/a b",
             "target_session_attrs": "read-write"},
            "",
        ),
    ],
)  # fmt: skip
def test_programs_of_postgresql_reach_the_same_database(
    opened: Opened, url: str, where: dict[str, str], password: str
) -> None:
    from psycopg.conninfo import conninfo_to_dict

    told, secret = opened(url).reached_by()
    assert (conninfo_to_dict(told), secret) == (where, password)


def test_why_it_cannot_be_reached_is_told_to_who_sits_at_the_machine_alone(
    opened: Opened, postgresql_url: str, free_port: Callable[[], int]
) -> None:
    url = make_url(postgresql_url)
    cases = [
        (url.set(password="wrong"), "password authentication failed"),
        (url.set(database="nowhere"), '"nowhere" does not exist'),
        (url.set(port=free_port()), "refused"),
        (url.set(host="nowhere.invalid"), "nowhere.invalid"),
    ]
    for wrong, why in cases:
        database = opened(wrong.render_as_string(hide_password=False))
        with pytest.raises(DatabaseUnreachable, match=why) as told, database.read():
            pass
        assert "wrong" not in str(told.value).replace(str(url.database), "")
        database.answer_within(8.0)
        with pytest.raises(DatabaseUnreachable, match="it is away"), database.write():
            pass


def test_a_role_with_too_few_rights_is_told_of(opened: Opened, postgresql_server: Server, postgresql_url: str) -> None:
    schema.upgrade(opened(postgresql_url))
    postgresql_server.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
    poor = make_url(postgresql_url).set(username="poor", password="poor")
    with pytest.raises(DatabaseRefuses):
        schema.check(opened(poor.render_as_string(hide_password=False)))
    empty = poor.set(database=postgresql_server.create())
    with pytest.raises(DatabaseRefuses):
        schema.upgrade(opened(empty.render_as_string(hide_password=False)))


def test_what_is_lacking_without_the_driver_is_told(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DriverMissing, match=r"\[postgresql\]"):
        opened("postgresql+psycopg://h/d")
