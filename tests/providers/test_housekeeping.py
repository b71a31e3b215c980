"""What one fault in the housekeeping leaves undone, and how often it is told."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from sqlalchemy import func, select

from auth.roles import Role
from config.complaints import AGAIN_SECONDS, Complaints
from config.ids import id_text
from config.logging import Word, get_log
from providers import tables
from providers.errors import NotFound
from providers.installation import Installation
from tests.worlds import World, fetch, store


@pytest.fixture
def world(data_folder: FilePath) -> Iterator[World]:
    made = World.create(data_folder)
    made.person("eva", "Kund AB")
    for name in ("Ett", "Två"):
        made.space(name, "Kund AB")
        made.grant("eva", name, Role.EDITOR)
        store(made.drive("eva"), f"/{name}/a.txt", b"text")
    made.installation.tick()
    yield made
    made.installation.close()


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if f"event={event} " in record.getMessage()]


def begin_anew(world: World) -> None:
    """Let another process do the work, once the leases of the one before ran out."""
    before = world.installation
    before.close()
    world.installation = Installation.open(before.folder, before.settings)
    with world.installation.database.transient_write() as connection:
        connection.execute(tables.lease.delete())


def unsigned(installation: Installation) -> int:
    with installation.database.read() as connection:
        log = tables.log.c
        return int(connection.execute(select(func.sum(log.size - log.signed_size))).scalar_one())


def test_a_damaged_key_of_one_space_does_not_stop_the_others(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    folder = world.installation.folder
    read = {}
    for name in ("Ett", "Två"):  # each read stands in a journal of its own
        fetch(world.drive("eva"), f"/{name}/a.txt")
        read[name] = set((folder / "journal").glob("*.journal")) - set().union(*read.values())
        begin_anew(world)
    key = folder / "keystore" / f"{id_text(world.spaces['Ett'].id)}.key"
    sealed = key.read_bytes()
    key.chmod(0o600)
    key.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    begin_anew(world)
    world.installation.directory.add_organisation("Ny AB")
    for _ in range(3):
        world.installation.tick()
    assert [path.exists() for name in ("Ett", "Två") for path in read[name]] == [True, False]
    assert unsigned(world.installation) == 0
    assert len(told(caplog, "journal_not_numbered")) == 1
    key.write_bytes(sealed)
    begin_anew(world)
    assert world.kinds("Ett")[-1] == "read"
    assert list((folder / "journal").glob("*.journal")) == []


def test_a_step_that_fails_keeps_no_other_from_being_taken(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    installation = world.installation

    def fail() -> None:
        raise OSError

    for owner, name in ((installation.vault, "tick"), (installation.journal, "drain"), (installation.mailer, "step")):
        monkeypatch.setattr(owner, name, fail)
    installation.directory.add_organisation("Ny AB")
    for _ in range(5):
        installation.tick()
    assert unsigned(installation) == 0
    assert [line.split()[1][6:] for line in told(caplog, "chore_failed")] == ["vault", "journals", "mail"]
    monkeypatch.undo()
    installation.tick()
    assert len(told(caplog, "chore_failed_no_more")) == 3


def test_what_goes_on_failing_is_told_of_once_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = [0.0]
    complaints = Complaints(get_log("test"), "failed", lambda: clock[0])
    faults = iter((OSError, OSError, ValueError, ValueError, ValueError))

    def fail() -> None:
        raise next(faults)

    for number in (1, 1, 2, 2):
        complaints.attempt(Word("here"), fail)
        assert len(told(caplog, "failed")) == number
    clock[0] = AGAIN_SECONDS
    complaints.attempt(Word("here"), fail)
    complaints.attempt(Word("here"), lambda: None)
    complaints.attempt(Word("here"), lambda: None)
    assert (len(told(caplog, "failed")), len(told(caplog, "failed_no_more"))) == (3, 1)


def test_a_disk_that_takes_nothing_any_more_keeps_nothing_from_being_let_go_of(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    installation = world.installation
    with pytest.raises(NotFound):
        fetch(world.drive("eva"), "/Ett/nothing.txt")
    with installation.database.write() as connection:
        driver: Any = connection.connection.dbapi_connection
    driver.execute("PRAGMA query_only=1")
    installation.close()
    assert len(told(caplog, "not_written_out")) == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        driver.execute("SELECT 1")
