"""What counts in a space's quota: each byte that is known of, once, whatever became of what it was sent for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest
from sqlalchemy import select

from auth.roles import Role
from providers import tables
from providers.drive import checkpoints
from providers.errors import QuotaExceeded
from providers.paths import parse
from tests.clocks import YEAR_SECONDS, MachineClock
from tests.worlds import World, fetch, store

POSTGRESQL_IN_PROOF = True

FOLDER = parse("/Rum/Mapp")
NEW = FOLDER.joined("ny")


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(data_folder, **engine)
    made.person("eva", "Kund AB")
    made.space("Rum", "Kund AB", ("/Mapp",))
    made.grant("eva", "Rum", Role.EDITOR)
    yield made
    made.installation.close()


def give_room(world: World, size: int) -> None:
    """Let so many more bytes find room."""
    spaces, space = world.installation.spaces, world.spaces["Rum"].id
    spaces.set_quota(world.installation.operator(), space, used(world) + size)


def used(world: World) -> int:
    """Return how many bytes count in the quota of the space."""
    with world.installation.database.read() as connection:
        table = tables.head.c
        found: int = connection.execute(
            select(table.sealed_bytes).where(table.space == world.spaces["Rum"].id)
        ).scalar_one()
        return found


def test_interrupted_uploads_that_were_dropped_brought_in_more_than_the_quota(world: World) -> None:
    """What they had sealed was known, and to store the same again cost nothing."""
    give_room(world, 1_000_000)
    eva, stored = world.drive("eva"), 0
    with pytest.raises(QuotaExceeded):
        for number in range(6):
            data = os.urandom(300_000)
            edit = eva.edit(NEW, create=True, truncate=True)
            edit.write(0, data)
            edit.keep()
            eva.drop_draft(NEW)
            store(eva, FOLDER.joined(f"nytt {number}"), data, declared=None)
            stored += 1
    assert stored <= 3


@pytest.mark.parametrize("checkpoint", [100_000, 1 << 30])
def test_an_upload_counts_once_however_often_it_is_interrupted(
    world: World, monkeypatch: pytest.MonkeyPatch, checkpoint: int
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_BYTES", checkpoint)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0)
    eva, before, pieces = world.drive("eva"), used(world), [os.urandom(300_000) for _ in range(5)]
    give_room(world, 2_000_000)
    at = 0
    for number, piece in enumerate(pieces):
        edit = eva.edit(NEW, create=True, truncate=False)
        assert edit.size == at
        edit.write(at, piece)
        at += len(piece)
        if number < 4:
            edit.keep()
            assert used(world) - before < at + 40_000
        else:
            edit.commit()
    assert fetch(eva, NEW) == b"".join(pieces)
    # What came first was cut as what is small, and then anew: both stay in the packs.
    assert 1_500_000 < used(world) - before < 1_900_000


def test_a_stream_that_was_made_durable_on_the_way_counted_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_BYTES", 2 << 20)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0)
    eva, before = world.drive("eva"), used(world)
    for end in ("commit", "draft"):
        place, data = FOLDER.joined(end), os.urandom(9 << 20)
        edit = eva.edit(place, create=True, truncate=True)
        for at in range(0, len(data), 1 << 20):
            edit.write(at, data[at : at + (1 << 20)])
        if end == "draft":
            edit.write(0, data[:100])
        edit.commit()
        assert fetch(eva, place) == data
        assert len(data) < used(world) - before < len(data) + 300_000
        before = used(world)


def test_an_upload_without_a_length_is_not_written_to_the_disk_beyond_the_quota(world: World) -> None:
    give_room(world, 1_000_000)
    eva = world.drive("eva")
    upload = eva.put(NEW, declared=None)
    with pytest.raises(QuotaExceeded):
        for _ in range(100):
            upload.write(os.urandom(200_000))
    upload.discard()
    packs = world.installation.folder / "vault"
    assert sum(path.stat().st_size for path in packs.rglob("*.pack")) < 1_100_000
    for _ in range(2):
        store(eva, NEW, b"x" * 1_000_000, declared=None)  # as much as stands there finds room again


def test_room_set_aside_by_a_clock_that_was_ahead_is_free_once_it_is_right(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an upload leaves it whose process was killed."""
    machine = MachineClock(monkeypatch)
    reservations, space = world.installation.storage.reservations, world.spaces["Rum"].id
    machine.ahead_seconds = 10 * YEAR_SECONDS
    reservations.take(space, 1000)
    assert reservations.total(space) == 1000
    machine.ahead_seconds = 0
    assert reservations.total(space) == 0
    reservations.take(space, 10)
    machine.ahead_seconds = 10 * YEAR_SECONDS
    assert reservations.total(space) == 0
