"""A commit that failed, or whose answer was lost: whoever was not told sees what all others see, and tries again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any
from unittest import mock

import pytest
from sqlalchemy.exc import OperationalError

from config.database import Database
from config.writers import _Kept
from providers.installation import Installation
from providers.paths import Path, parse
from tests.drive.stage import TABLE, Subject, make_world, prepare
from tests.drive.test_operations import ACTS, outcome
from tests.worlds import World, fetch

POSTGRESQL_IN_PROOF = True


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = make_world(data_folder, engine)
    yield made
    made.installation.close()


class Lost(Exception):
    """What a driver says of a connection that was lost."""

    sqlstate = "08006"


@contextmanager
def failing(database: Database, *, is_done: bool) -> Iterator[list[None]]:
    """Let the answer to each commit of durable tables be lost, after it was done or before."""
    lost: list[None] = []

    def failed(commit: Callable[..., Any]) -> Callable[..., Any]:
        def made(*given: Any) -> None:
            if is_done:
                commit(*given)
            lost.append(None)
            raise OperationalError("COMMIT", None, Lost("database is locked"))

        return made

    if database.dialect == "sqlite":
        with mock.patch.object(_Kept, "_run", _only_of_commit(database, failed)):
            yield lost
    else:
        dialect = database.durable_engine.dialect
        with mock.patch.object(dialect, "do_commit", failed(dialect.do_commit)):
            yield lost


def _only_of_commit(database: Database, failed: Callable[..., Any]) -> Callable[..., Any]:
    run = _Kept._run

    def made(kept: _Kept, text: str) -> None:
        is_durable = kept._engine is database.durable_engine
        (failed(run) if text == "COMMIT" and is_durable else run)(kept, text)

    return made


def _shown(world: World, role: str, folder: Path) -> list[object]:
    drive = world.drive(role)
    own, items = drive.listing(folder)
    found: list[object] = [own, *items]
    for item in items:
        found += [drive.stat(item.path), drive.properties(item.path)]
        if not item.is_folder:
            found += [fetch(drive, item.path), [version.number for version in drive.versions(item.path)]]
    return found


@pytest.mark.parametrize("is_done", [False, True])
def test_what_a_lost_commit_left_is_seen_alike_by_all(world: World, is_done: bool) -> None:
    role, wrong = "manager", []
    for name, row in TABLE.items():
        path, grant_id = prepare(world, "Rum", name, role)
        folder = parse(path)
        subject = Subject(world.drive(role), folder, parse(f"{path}/Bort"), world, grant_id)
        before = _shown(world, role, folder)
        with failing(world.installation.database, is_done=is_done) as lost:
            first = outcome(ACTS[name], subject)
        here = _shown(world, role, folder)
        other = Installation.open(world.installation.folder, world.installation.settings)
        elsewhere = World(other, world.organisations, world.people, world.passwords, world.devices, world.spaces)
        there = _shown(elsewhere, role, folder)
        other.close()
        if here != there:
            wrong.append((name, "seen here", here, "there", there))
        if lost and first != "DatabaseBusy":
            wrong.append((name, first))
        if not is_done and here != before:
            wrong.append((name, "seen", here, "before", before))
        if lost and not is_done:
            again = outcome(ACTS[name], subject)
            if again != row.answers[role]:
                wrong.append((name, "again", again))
    assert wrong == []
    world.installation.tick()
    world.installation.erasures.letting_go.sweep()
    assert [str(finding) for finding in world.installation.verify()] == []
