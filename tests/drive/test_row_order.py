"""Whoever writes on PostgreSQL takes rows in one order: every operation of the drive, and every command that writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from providers.paths import parse
from tests.drive.stage import TABLE, Subject, make_world, prepare
from tests.drive.test_operations import ACTS, outcome
from tests.postgres import Server
from tests.row_locks import left_out, watched
from tests.worlds import World


@pytest.fixture
def world(data_folder: FilePath, postgresql_server: Server, postgresql_template: str) -> Iterator[World]:
    with postgresql_server.lent(postgresql_template) as name:
        made = make_world(data_folder, {"installation.database_url": postgresql_server.url(name)})
        yield made
        made.installation.close()


def test_every_table_has_its_place() -> None:
    assert left_out() == set()


@pytest.mark.timeout(360)  # it does all there is, one after the other
@pytest.mark.parametrize("role", ["uploader", "manager"])
def test_every_operation_of_the_drive_takes_rows_in_order(world: World, role: str) -> None:
    wrong = {}
    with watched() as seen:
        for name in TABLE:
            path, grant_id = prepare(world, "Rum", name, role)
            subject = Subject(world.drive(role), parse(path), parse(f"{path}/Bort"), world, grant_id)
            outcome(ACTS[name], subject)
            world.installation.tick()
            if seen:
                wrong[name] = list(seen)
                seen.clear()
    assert wrong == {}
