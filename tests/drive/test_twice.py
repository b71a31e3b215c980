"""What an operation's first run left behind, which was undone: after the second all is as after one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import Connection

from config.database import Database
from config.writers import Savepoint
from providers.installation import Installation
from providers.paths import parse
from tests.drive.stage import TABLE, Subject, make_world, prepare
from tests.drive.test_operations import ACTS, outcome
from tests.worlds import World

POSTGRESQL_IN_PROOF = True


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = make_world(data_folder, engine)
    yield made
    made.installation.close()


@contextmanager
def run_twice(database: Database) -> Iterator[None]:
    """Let each operation run to its end, be undone, and run again, as after a deadlock."""
    apply = database.apply

    def twice(operation: Callable[[Connection], Any], *given: Any, **named: Any) -> Any:
        def both(connection: Connection) -> Any:
            savepoint = Savepoint(connection)
            try:
                operation(connection)
            finally:
                savepoint.undo()
            return operation(connection)

        return apply(both, *given, **named)

    with mock.patch.object(database, "apply", twice):
        yield


@pytest.mark.parametrize("role", ["uploader", "manager"])
def test_a_run_that_was_undone_stood_in_the_way_of_the_next(world: World, role: str) -> None:
    """Of a lock it left its own."""
    wrong, folders = [], []
    for name, row in TABLE.items():
        path, grant_id = prepare(world, "Rum", name, role)
        folders.append(parse(path))
        subject = Subject(world.drive(role), parse(path), parse(f"{path}/Bort"), world, grant_id)
        before = len(world.kinds("Rum"))
        with run_twice(world.installation.database):
            found = outcome(ACTS[name], subject)
        told, expected = world.kinds("Rum", before), row.answers[role]
        events = {"ok": [row.event], "Forbidden": ["refused"]}.get(expected, [])
        if (found, told or ["-"]) != (expected, events or ["-"]):
            wrong.append((name, found, told, "expected", expected, events))
    assert wrong == []
    remembered = [world.drive(role).listing(folder) for folder in folders]
    world.installation.close()
    world.installation = Installation.open(world.installation.folder, world.installation.settings)
    assert remembered == [world.drive(role).listing(folder) for folder in folders]
