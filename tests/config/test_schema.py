"""Migrating from nothing gives the tables that the code declares, on both engines; wrong schemas are told apart."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, inspect, select, update
from sqlalchemy.dialects.sqlite.base import SQLiteDialect

from config import schema
from config.database import Database, durable, transient
from config.errors import DatabaseDamaged, NotInitialised, SchemaTooNew, SchemaTooOld, SchemaUnlike, TransientDamaged

STALE = (
    'The migrations and the tables differ. Add a migration, or, for a chain that has one alone, "make first-migration".'
)
BOTH = ["sqlite", "postgresql"]
HEAD = schema.DURABLE.head()
NEXT = f"{int(HEAD) + 1:04}"
#: What runs from nothing.
FIRST = [*(f"durable {number:04}" for number in range(1, int(HEAD) + 1)), "transient 0001"]


@pytest.fixture(params=BOTH)
def bare(request: pytest.FixtureRequest, data_folder: Path) -> Iterator[Database]:
    """A database without a single table."""
    url = request.getfixturevalue("postgresql_url") if request.param == "postgresql" else None
    made = Database(data_folder, url)
    yield made
    made.dispose()


@pytest.fixture
def declared(bare: Database, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database made from the tables themselves, of the same kind as `bare`."""
    folder = tmp_path / "declared"
    folder.mkdir()
    url = None
    if bare.dialect == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        url = server.url(server.create())
    made = Database(folder, url)
    made.create_all_for_tests()
    yield made
    made.dispose()


def test_migrating_from_nothing_gives_the_declared_tables(bare: Database, declared: Database) -> None:
    schema.upgrade(bare)
    for migrated, made in (
        (bare.durable_engine, declared.durable_engine),
        (bare.transient_engine, declared.transient_engine),
    ):
        found, expected = description(migrated), description(made)
        assert expected
        assert found.keys() == expected.keys(), STALE
        for table, parts in expected.items():
            for part, value in parts.items():
                assert found[table][part] == value, f"{part} of table {table}. {STALE}"


def test_the_description_sees_what_it_is_there_to_see(bare: Database, declared: Database) -> None:
    """A comparison that finds nothing proves nothing: a lost index or column must show."""
    before = description(declared.durable_engine)
    index = next(index for index in durable.tables["entry"].indexes if index.name == "entry_by_node")
    index.drop(declared.durable_engine)
    after = description(declared.durable_engine)
    assert before["entry"]["indexes"] != after["entry"]["indexes"]
    assert before.keys() == after.keys()


def test_tables_are_clustered_on_sqlite(data_folder: Path) -> None:
    database = Database(data_folder)
    schema.upgrade(database)
    found = description(database.durable_engine)
    database.dispose()
    clustered = {name for name, table in durable.tables.items() if table.kwargs.get("sqlite_with_rowid") is False}
    assert {"entry", "closed_entry", "version", "chunk"} <= clustered
    assert {name for name, table in found.items() if not table["has_rowid"]} == clustered


def test_upgrade_twice_does_nothing_the_second_time(bare: Database) -> None:
    assert schema.upgrade(bare) == FIRST
    assert schema.upgrade(bare) == []
    schema.check(bare)


def test_machines_that_upgrade_at_once_do_it_once(bare: Database) -> None:
    """Each with a connection of its own, as processes have."""
    many = [Database(bare.folder, bare.url) for _ in range(4)]
    with ThreadPoolExecutor(len(many)) as pool:
        done = sorted(step for steps in pool.map(schema.upgrade, many) for step in steps)
    for each in many:
        each.dispose()
    assert done == FIRST
    schema.check(bare)


def test_nothing_is_there(bare: Database) -> None:
    with pytest.raises(NotInitialised):
        schema.check(bare)
    assert not list(bare.folder.glob("*.db*")), "looking must not leave files behind"


def test_written_by_a_newer_mellanrum(bare: Database) -> None:
    schema.upgrade(bare)
    _pretend(bare, "9999")
    with pytest.raises(SchemaTooNew, match=rf"durable 9999.*durable {HEAD}"):
        schema.check(bare)
    with pytest.raises(SchemaTooNew):
        schema.upgrade(bare)


@pytest.mark.parametrize(
    ("table", "loss"),
    [
        ("person.paused_at", "ALTER TABLE person DROP COLUMN paused_at"),
        ("lineage", "DROP TABLE lineage"),
        ("lock", "DROP TABLE lock"),
    ],
)
def test_the_number_is_ours_and_the_tables_are_not(bare: Database, table: str, loss: str) -> None:
    schema.upgrade(bare)
    engine = bare.transient_engine if table in transient.tables else bare.durable_engine
    with engine.begin() as connection:
        connection.exec_driver_sql(loss)
    with pytest.raises(SchemaUnlike, match=rf"0001, but has no {table}"):
        schema.check(bare)


@pytest.mark.parametrize("left", [b"", b"SQLite format 3\0"])
def test_a_file_that_is_no_database_is_called_damaged(data_folder: Path, left: bytes) -> None:
    for name, error in (("catalogue", DatabaseDamaged), ("transient", TransientDamaged)):
        made = Database(data_folder)
        schema.upgrade(made)
        made.dispose()
        standing = (data_folder / f"{name}.db").read_bytes()
        (data_folder / f"{name}.db").write_bytes(left + b"noise" * 20_000)
        found = Database(data_folder)
        with pytest.raises(DatabaseDamaged) as caught:
            schema.check(found)
        assert type(caught.value) is error
        found.dispose()
        (data_folder / f"{name}.db").write_bytes(standing)


def test_left_by_an_older_mellanrum(bare: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.upgrade(bare)
    _add_migration(tmp_path, monkeypatch)
    with pytest.raises(SchemaTooOld, match=rf"durable {HEAD}.*durable {NEXT}"):
        schema.check(bare)
    assert schema.upgrade(bare) == [f"durable {NEXT}"]
    schema.check(bare)


def test_a_migration_that_fails_leaves_the_schema_before_it(
    bare: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema.upgrade(bare)
    before = description(bare.durable_engine)
    _add_migration(tmp_path, monkeypatch, then="raise RuntimeError('power')")
    with pytest.raises(RuntimeError, match="power"):
        schema.upgrade(bare)
    assert description(bare.durable_engine) == before
    with pytest.raises(SchemaTooOld):
        schema.check(bare)


def test_transient_tables_lost_are_made_anew(data_folder: Path) -> None:
    database = Database(data_folder)
    schema.upgrade(database)
    database.dispose()
    for file in data_folder.glob("transient.db*"):
        file.unlink()
    schema.check(database)
    assert set(inspect(database.transient_engine).get_table_names()) >= set(transient.tables)
    database.dispose()


def test_a_folder_with_a_percent_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "100% of it"
    shutil.copytree(schema.MIGRATIONS, odd)
    monkeypatch.setattr(schema, "MIGRATIONS", odd)
    assert schema.DURABLE.head() == HEAD


def _add_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str = "pass") -> None:
    copy = tmp_path / "migrations"
    shutil.copytree(schema.MIGRATIONS, copy)
    (copy / "durable" / f"{NEXT}_more.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision = '{NEXT}'\ndown_revision = '{HEAD}'\nbranch_labels = depends_on = None\n"
        f"def upgrade():\n    op.create_table('more', sa.Column('one', sa.Integer))\n    {then}\n"
    )
    monkeypatch.setattr(schema, "MIGRATIONS", copy)


def _pretend(database: Database, revision: str) -> None:
    with database.write() as connection:
        place = Table(schema.DURABLE.version_table, MetaData(), autoload_with=connection)
        connection.execute(update(place).values(version_num=revision))
        assert connection.execute(select(place)).scalars().all() == [revision]


def description(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return all that matters of every table, in a form that compares."""
    looks = inspect(engine)
    ours = {chain.version_table for chain in (schema.DURABLE, schema.TRANSIENT)}
    found: dict[str, dict[str, Any]] = {}
    for name in looks.get_table_names():
        if name in ours:
            continue
        found[name] = {
            "columns": [
                (column["name"], repr(column["type"]), column["nullable"], column["default"], column.get("comment"))
                for column in looks.get_columns(name)
            ],
            "key": looks.get_pk_constraint(name),
            "foreign": sorted(looks.get_foreign_keys(name), key=repr),
            "unique": sorted(looks.get_unique_constraints(name), key=repr),
            "checks": sorted(looks.get_check_constraints(name), key=repr),
            "indexes": sorted(looks.get_indexes(name), key=repr),
            "has_rowid": looks.get_table_options(name).get("sqlite_with_rowid", True),
            "comment": looks.get_table_comment(name) if engine.dialect.supports_comments else None,
        }
    return found


def test_reflection_knows_tables_without_rowid(data_folder: Path) -> None:
    """What `description` relies on: SQLAlchemy tells a clustered table from another."""
    database = Database(data_folder)
    registry = MetaData()
    for name, with_rowid in (("plain", True), ("clustered", False)):
        Table(name, registry, Column("id", Integer, primary_key=True), sqlite_with_rowid=with_rowid)
    registry.create_all(database.durable_engine)
    assert isinstance(database.durable_engine.dialect, SQLiteDialect)
    found = description(database.durable_engine)
    database.dispose()
    assert [found["plain"]["has_rowid"], found["clustered"]["has_rowid"]] == [True, False]
