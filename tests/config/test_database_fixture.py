"""The fixtures that all other tests stand on."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert, inspect, select

from auth.tables import epoch
from config.database import Database, durable, transient
from providers.tables import log
from tests import postgres
from tests.postgres import Server


def test_a_fresh_database_has_every_table_and_no_row(database: Database) -> None:
    for engine, registry in ((database.durable_engine, durable), (database.transient_engine, transient)):
        assert set(registry.tables) <= set(inspect(engine).get_table_names())
    with database.read() as connection:
        assert connection.execute(select(epoch)).all() == []


@pytest.mark.parametrize("turn", [1, 2])
def test_what_one_test_wrote_no_other_sees(database: Database, turn: int) -> None:
    with database.write() as connection:
        connection.execute(database.insert(epoch).values(one=1, value=turn))
    with database.read() as connection:
        assert connection.execute(select(epoch.c.value)).scalars().all() == [turn]


def test_a_database_that_was_emptied_is_as_a_fresh_one(
    postgresql_server: Server, postgresql_template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers begin anew too, and foreign keys stand in nobody's way."""
    monkeypatch.setattr(postgresql_server, "_spare", [])  # another's may be on its last loan
    with postgresql_server.lent(postgresql_template) as name:
        assert _wrote(postgresql_server, name) == 1
    with postgresql_server.lent(postgresql_template) as again:
        assert again == name
        assert _wrote(postgresql_server, again) == 1


def test_a_database_is_dropped_after_its_last_loan(
    postgresql_server: Server, postgresql_template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that were deleted stay in its files."""
    monkeypatch.setattr(postgresql_server, "_spare", [])
    monkeypatch.setattr(postgres, "LOANS_MAX", 2)
    names = []
    for _ in range(3):
        with postgresql_server.lent(postgresql_template) as name:
            names.append(name)
    assert names[0] == names[1] != names[2]


def test_a_database_in_which_a_test_made_a_table_is_not_lent_again(
    postgresql_server: Server, postgresql_template: str
) -> None:
    with postgresql_server.lent(postgresql_template) as name:
        database = Database(Path(), postgresql_server.url(name))
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE written (id INTEGER)")
        database.dispose()
    with postgresql_server.lent(postgresql_template) as other:
        assert other != name


def test_a_database_that_is_still_open_is_not_lent_again(
    postgresql_server: Server, postgresql_template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "CLOSING_SECONDS_MAX", 0.1)
    with postgresql_server.lent(postgresql_template) as name:
        forgotten = Database(Path(), postgresql_server.url(name))
        with forgotten.read():
            pass
    with postgresql_server.lent(postgresql_template) as other:
        assert other != name
    forgotten.dispose()


def _wrote(server: Server, name: str) -> int:
    """Write to a database on the server; return the number that a log got there."""
    database = Database(Path(), server.url(name))
    with database.write() as connection:
        connection.execute(database.insert(epoch).values(one=1, value=1))
        row = {"space": b"", "party": b"", "uid": b"1", "size": 0, "signed_size": 0}
        number = connection.execute(insert(log).values(**row)).inserted_primary_key
    database.dispose()
    return int(number[0]) if number else 0
