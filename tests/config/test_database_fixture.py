"""The fixtures that all other tests stand on."""

from __future__ import annotations

import pytest
from sqlalchemy import inspect, select

from auth.tables import epoch
from config.database import Database, durable, transient


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
