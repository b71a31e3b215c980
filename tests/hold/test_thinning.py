"""Thinning lets go of old versions where that is settled, and of nothing elsewhere. What a space takes, and will."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath

import pytest
from sqlalchemy import select, update

from config.clock import SECOND_US, now_us
from providers import tables
from providers.holding.thinning import thinnable
from providers.model import Thinning
from providers.paths import parse
from tests.hold.worlds import OURS, SPACE, findings, make, versions
from tests.worlds import World, fetch, store

DOCUMENT = f"{OURS}/Avtal/Köp.txt"
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
DAY_US = 24 * 3600 * SECOND_US
#: When each version was stored, and whether it stays: all of 30 days, daily up to 100, then monthly.
STORED: tuple[tuple[timedelta, bool], ...] = (
    (timedelta(days=200, hours=3), False),
    (timedelta(days=199), False),
    (timedelta(days=198), True),  # the last of its month
    (timedelta(days=160), True),
    (timedelta(days=60, hours=5), False),
    (timedelta(days=60, hours=2), True),  # the last of its day
    (timedelta(days=59), True),
    (timedelta(days=20, hours=2), True),
    (timedelta(days=20, hours=1), True),
    (timedelta(hours=1), True),
)


@pytest.fixture
def world(tmp_path: FilePath) -> Iterator[World]:
    made = make(tmp_path / "data")
    yield made
    made.installation.close()


def us(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND_US


def aged(world: World, path: str = DOCUMENT) -> bytes:
    """Make versions, and let them look as old as `STORED` says, for who asks what would go."""
    node = versions(world.drive("mia"), path, *(b"version %d" % number for number in range(len(STORED))))
    with world.installation.database.write() as connection:
        for number, (age, _) in enumerate(STORED, start=1):
            chosen = (tables.version.c.node == node) & (tables.version.c.number == number)
            connection.execute(update(tables.version).where(chosen).values(at=us(NOW - age)))
    return node


def going(world: World) -> list[int]:
    with world.installation.database.read() as connection:
        info = world.installation.spaces.get(world.spaces[SPACE].id)
        return [row["number"] for row in thinnable(connection, info, us(NOW), UTC)]


def settle(world: World, thinning: Thinning | None) -> None:
    world.installation.spaces.set_thinning(world.installation.operator(), world.spaces[SPACE].id, thinning)


def test_which_versions_go(world: World) -> None:
    aged(world)
    assert going(world) == []
    settle(world, Thinning(30, 100))
    assert going(world) == [number for number, (_, stays) in enumerate(STORED, start=1) if not stays]
    settle(world, None)
    assert going(world) == []


def test_nothing_goes_of_what_is_held_or_retained(world: World) -> None:
    aged(world)
    settle(world, Thinning(30, 100))
    spaces, operator, space = world.installation.spaces, world.installation.operator(), world.spaces[SPACE].id
    spaces.set_retention(operator, space, 100 * 24 * 3600)
    assert going(world) == [1, 2]
    spaces.set_retention(operator, space, 3650 * 24 * 3600)
    assert going(world) == []
    spaces.set_retention(operator, space, None)
    spaces.set_hold(operator, space, True)
    assert going(world) == []


def test_the_newest_stays_however_old_it_is(world: World) -> None:
    node = aged(world)
    with world.installation.database.write() as connection:
        connection.execute(
            update(tables.version).where(tables.version.c.node == node).values(at=us(NOW) - 999 * DAY_US)
        )
    settle(world, Thinning(1, 1))
    assert going(world) == list(range(1, len(STORED)))


def test_what_something_is_said_of_stays(world: World) -> None:
    aged(world)
    settle(world, Thinning(30, 100))
    with world.installation.database.write() as connection:
        row = connection.execute(select(tables.version).where(tables.version.c.number == 1)).mappings().one()
        said = {"version": row["id"], "change": 1, "space": row["space"], "text": b"sealed"}
        connection.execute(tables.comment.insert().values(**said))
    assert 1 not in going(world)
    assert 2 in going(world)


def test_thinning_is_one_change_and_verifies(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mia, erasures = world.drive("mia"), world.installation.erasures
    database = world.installation.database
    node = versions(mia, DOCUMENT, b"ett", b"tu", b"tre")
    other = versions(mia, f"{OURS}/Annan.txt", b"ett!", b"tu!")
    assert findings(world) == []
    operator, space = world.installation.operator(), world.spaces[SPACE].id
    assert erasures.thin(operator, space, UTC) is None
    settle(world, Thinning(1, 10_000))
    assert erasures.thin(operator, space, UTC) is None
    later = now_us() + 3 * DAY_US
    monkeypatch.setattr(database, "now_us", lambda connection: later)
    assert erasures.thin(operator, space, UTC) is None, "the clock has jumped"
    world.installation.storage.steady.begin()
    done = erasures.thin(operator, space, UTC)
    assert done is not None
    assert world.kinds(SPACE).count("thinned") == 1
    with database.read() as connection:
        query = select(tables.version.c.node, tables.version.c.number).where(tables.version.c.erased_in == done.change)
        assert {tuple(row) for row in connection.execute(query)} == {(node, 1), (node, 2), (other, 1)}
    assert findings(world) == []
    assert erasures.sweep(now=True, wait_seconds=20)[space].is_whole
    assert fetch(mia, DOCUMENT) == b"tre"
    assert findings(world) == []
    assert erasures.thin(operator, space, UTC) is None


def test_what_a_space_takes(world: World) -> None:
    mia, spaces, space = world.drive("mia"), world.installation.spaces, world.spaces[SPACE].id
    versions(mia, DOCUMENT, b"x" * 100, b"y" * 40)
    store(mia, f"{OURS}/Avtal/Bort.txt", b"z" * 7)
    mia.delete(parse(f"{OURS}/Avtal/Bort.txt"))
    mia.make_folder(parse(f"{OURS}/Mapp"))
    store(mia, f"{OURS}/Mapp/Med.txt", b"z" * 11)
    mia.delete(parse(f"{OURS}/Mapp"))
    found = spaces.usage(space)
    assert (found.current, found.earlier, found.trash, found.drafts) == (40, 100, 18, 0)
    quota = mia.quota(parse(OURS))
    assert quota is not None
    assert found.sealed == quota.used
    assert (found.quota, found.full_at) == (None, None)


def test_when_a_space_will_be_full(world: World) -> None:
    mia, spaces, space = world.drive("mia"), world.installation.spaces, world.spaces[SPACE].id
    store(mia, DOCUMENT, os.urandom(100_000))
    spaces.set_quota(world.installation.operator(), space, 1_000_000)
    found = spaces.usage(space)
    assert found.per_day_30 == found.per_day_90 == found.sealed, "all of it came within the one day it stands"
    assert found.full_at is not None
    days = (found.full_at - found_at(world)) / DAY_US
    assert days == pytest.approx((1_000_000 - found.sealed) / found.sealed, abs=0.01)
    spaces.set_quota(world.installation.operator(), space, 50_000)
    full = spaces.usage(space).full_at
    assert full is not None
    assert full <= found_at(world)


def found_at(world: World) -> int:
    with world.installation.database.read() as connection:
        return world.installation.database.now_us(connection)
