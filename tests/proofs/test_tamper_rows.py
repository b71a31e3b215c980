"""Whoever edits the database behind the server's back is found out: `verify` says where."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.audit.errors import EpochDue
from providers.audit.verify import verify_logs
from providers.installation import Installation
from providers.model import Finding
from tests.proofs.tamper_crimes import CRIMES
from tests.proofs.tamper_edits import IDLE, TABLES, Edit, Target, changes, sample, targets
from tests.proofs.tamper_world import SPACE, Case, make, raw, verified
from tests.worlds import World, settings_for, store

ROWS_TRIED = 4


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with a row of every kind."""
    folder = tmp_path_factory.mktemp("lived") / "data"
    make(folder)
    return folder


@pytest.fixture(scope="module")
def case(lived: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """A copy of it to tamper with, put back after each edit."""
    yield Case.of(lived, tmp_path_factory.mktemp("case") / "data")


def _named(findings: list[Finding], target: Target) -> bool:
    """Return whether a finding names the row: its document, change, log or event, or the space it is of."""
    row = dict(target.row)
    if target.table == "log_entry":
        words = {f", event {row['number']}"}
    elif target.table in ("log", "tree_node", "checkpoint"):
        words = {"audit log "}
    else:
        words = {row[key].hex() for key in ("space", "node", "id") if row.get(key)}
        words |= {f"change {row[key]}" for key in ("change", "from_change") if key in row}
    return any(word in finding.where for finding in findings for word in words)


def test_what_nobody_touched_is_whole(case: Case) -> None:
    assert case.after(lambda connection: None) == []


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_rows_to_tamper_with(case: Case, table: str) -> None:
    with raw(case.folder) as connection:
        assert len(targets(connection, table)) > 1


def _unseen_deletes(case: Case, table: str, count: int) -> list[dict[str, object]]:
    with raw(case.folder) as connection:
        chosen = sample(targets(connection, table), count)
    return [dict(target.row) for target in chosen if not _named(case.after(target.delete), target)]


@pytest.mark.parametrize("table", TABLES)
def test_a_deleted_row_is_named(case: Case, table: str) -> None:
    assert _unseen_deletes(case, table, ROWS_TRIED) == []


@pytest.mark.proof
@pytest.mark.timeout(900)
@pytest.mark.parametrize("table", TABLES)
def test_every_deleted_row_is_named(case: Case, table: str) -> None:
    assert _unseen_deletes(case, table, 10_000) == []


@pytest.mark.parametrize("table", TABLES)
def test_a_changed_column_is_found(case: Case, table: str) -> None:
    with raw(case.folder) as connection:
        found = targets(connection, table)
    edits = list(changes(found))
    assert len(edits) >= 2
    unseen = [column for column, edit in edits if case.after(edit) == []]
    assert unseen == []


def test_only_idle_columns_are_left_out(case: Case) -> None:
    with raw(case.folder) as connection:
        known = {(table, name) for table in TABLES for name in targets(connection, table)[0].row.keys()}  # noqa: SIM118
    assert IDLE.keys() <= known


# --- swaps


#: Table, columns swapped between two rows, and which rows.
SWAPS = [
    ("version", ("content", "size", "digest"), "number = 1"),
    ("version", ("mac",), "number = 1"),
    ("version", ("principal", "organisation"), "TRUE"),
    ("version", ("at",), "number > 1"),
    ("entry", ("folded", "name"), "parent != x''"),
    ("entry", ("node", "version", "version_id", "size", "modified"), "version > 0"),
    ("entry", ("parent",), "parent != x''"),
    ("closed_entry", ("node",), "TRUE"),
    ("closed_entry", ("from_change", "to_change"), "TRUE"),
    ("property", ("value",), "to_change IS NULL"),
    ("grants", ("grantee",), "role > 0"),
    ("grants", ("role",), "role > 0"),
    ("grants", ("node",), "role > 0"),
    ("change", ("rows_digest",), "TRUE"),
    ("change", ("principal", "organisation"), "TRUE"),
    ("change", ("at",), "TRUE"),
    ("space", ("name",), "TRUE"),
    ("head", ("number", "at"), "TRUE"),
    ("log_entry", ("body",), "body IS NOT NULL"),
    ("log_entry", ("leaf_hash",), "body IS NOT NULL"),
    ("log_entry", ("body", "leaf_hash", "at"), "body IS NOT NULL"),
    ("log_entry", ("leaf_hash", "at", "source_number"), "body IS NULL"),
    ("checkpoint", ("note",), "TRUE"),
    ("log", ("party",), "space = (SELECT MIN(id) FROM space)"),
    ("chunk", ("pack", "offset", "length"), "TRUE"),
]


def _swap(case: Case, table: str, columns: tuple[str, ...], where: str) -> Edit:
    with raw(case.folder) as connection:
        found = targets(connection, table, where)
    one = found[0]
    two = next(row for row in reversed(found) if all(row.row[column] != one.row[column] for column in columns))

    def edit(connection: sqlite3.Connection) -> None:
        one.delete(connection)
        two.delete(connection)
        one.insert(connection, **{column: two.row[column] for column in columns})
        two.insert(connection, **{column: one.row[column] for column in columns})

    return edit


@pytest.mark.parametrize(("table", "columns", "where"), SWAPS, ids=lambda value: str(value))
def test_swapped_rows_are_found(case: Case, table: str, columns: tuple[str, ...], where: str) -> None:
    assert case.after(_swap(case, table, columns, where)) != []


# --- crimes


@pytest.mark.parametrize("crime", CRIMES, ids=lambda crime: crime.__name__)
def test_a_crime_is_found(case: Case, crime: Edit) -> None:
    findings = case.after(crime)
    assert findings != []
    assert all(finding.where.startswith(("space ", "audit log ")) and finding.what for finding in findings)


# --- the whole database rolled back


def test_a_database_rolled_back_is_whole_but_for_a_checkpoint_kept(lived: Path, tmp_path: Path) -> None:
    folder = Case.of(lived, tmp_path / "data").folder
    early = (folder / "catalogue.db").read_bytes()
    world = World(Installation.open(folder, settings_for(folder)))
    directory = world.installation.directory
    _, world.passwords["eva"] = directory.add_device(directory.find_person("eva").id, "ny")
    store(world.drive("eva"), f"/{SPACE}/Avtal/Efteråt.txt", b"detta ska ingen minnas")
    world.installation.tick()
    kept = []
    with world.installation.database.read() as connection:
        for log in world.installation.audit.logs(connection):
            kept.append(world.installation.checkpoints.latest(connection, log) or "")
    world.installation.close()
    shutil.rmtree(folder / "journal")
    for ending in ("-wal", "-shm"):
        (folder / f"catalogue.db{ending}").unlink(missing_ok=True)
    (folder / "catalogue.db").write_bytes(early)
    with pytest.raises(EpochDue):
        Installation.open(folder, settings_for(folder))
    (folder / "log.reached").unlink()
    assert verified(folder) == []  # nothing tells it from a day when that was all
    installation = Installation.open(folder, settings_for(folder))
    try:
        exposed = [str(f.what) for f in verify_logs(installation.database, installation.keyring, kept)]
        own = list(verify_logs(installation.database, installation.keyring, kept[:0]))
    finally:
        installation.close()
    assert own == []
    assert any("kept checkpoint" in what and "only" in what for what in exposed)
