"""A clock that was ahead when something was stored, and was put right: in that space time goes on all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest
from sqlalchemy import func, select

from auth.errors import Paused
from auth.roles import Role
from config.clock import APART_US_MAX, SECOND_US
from providers import tables
from providers.catalogue.pace import Paces
from providers.drive import Drive, braking
from providers.errors import Forbidden
from providers.paths import parse
from tests.clocks import YEAR_SECONDS
from tests.worlds import World, fetch, managed_room, store

ROOM = parse("/Kund AB – Rum")
FILE = ROOM.joined("a.txt")
LIMIT = 20


class Clocks:
    """This machine's two clocks: what it takes for the time, which may jump, and one that only goes on."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jumped_seconds = 0
        self.gone_on_seconds = 0.0
        storage = world.installation.storage
        told = storage.database.now_us
        ahead = lambda: int((self.jumped_seconds + self.gone_on_seconds) * SECOND_US)  # noqa: E731
        monkeypatch.setattr(storage.database, "now_us", lambda connection: told(connection) + ahead())
        monkeypatch.setattr(storage, "paces", Paces(lambda: self.gone_on_seconds))

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self.gone_on_seconds += seconds


@pytest.fixture
def world(data_folder: FilePath) -> Iterator[World]:
    made = managed_room(data_folder, {"brake.documents_min": LIMIT, "brake.window_seconds": 600})
    yield made
    made.installation.close()


@pytest.fixture
def clocks(world: World, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """The clocks, in a room in which the newest change is of ten years ahead of what the clock says by now."""
    made = Clocks(world, monkeypatch)
    made.jumped_seconds = 10 * YEAR_SECONDS
    store(world.drive("mia"), ROOM.joined("first.txt"), b"ahead")
    made.jumped_seconds = 0
    return made


def newest(world: World) -> int:
    with world.installation.database.read() as connection:
        return int(connection.execute(select(func.max(tables.head.c.at))).scalar_one())


def test_an_uploader_could_replace_and_delete_for_years(world: World, clocks: Clocks) -> None:
    world.person("uma", "Kund AB")
    world.grant("uma", "Rum", Role.UPLOADER)
    uma = world.drive("uma")
    own = parse("/Rum/own.txt")
    store(uma, own, b"1")
    clocks.go_on(10)
    store(uma, own, b"2")
    clocks.go_on(30)
    with pytest.raises(Forbidden):
        store(uma, own, b"3")
    with pytest.raises(Forbidden):
        uma.delete(own)


def test_what_stood_for_weeks_was_hidden_in_the_trash(world: World, clocks: Clocks) -> None:
    mia = world.drive("mia")
    store(mia, FILE, b"the work of weeks")
    clocks.go_on(40 * 86_400)
    mia.delete(FILE)
    assert [found.name for found in mia.trash(ROOM)[0]] == ["a.txt"]
    assert list(world.installation.verify()) == []


def test_time_goes_on_in_a_process_that_nobody_asks_for_the_space(
    world: World, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    mia = world.drive("mia")
    store(mia, FILE, b"the work of weeks")
    monkeypatch.setattr(world.installation.storage, "paces", Paces(lambda: clocks.gone_on_seconds))
    world.installation.tick()
    clocks.go_on(40 * 86_400)
    mia.delete(FILE)
    assert [found.name for found in mia.trash(ROOM)[0]] == ["a.txt"]


def test_what_took_a_name_weeks_later_was_joined_to_what_left_it(world: World, clocks: Clocks) -> None:
    mia = world.drive("mia")
    before = store(mia, FILE, b"one")
    mia.delete(FILE)
    clocks.go_on(5)
    soon = store(mia, FILE, b"one, saved again")
    assert soon.id == before.id
    mia.delete(FILE)
    clocks.go_on(40 * 86_400)
    assert store(mia, FILE, b"another").id != before.id


def rewrite(drive: Drive, count: int) -> None:
    for number in range(count):
        store(drive, ROOM.joined(f"{number}.txt"), b"x")


def test_the_brake_counted_nothing_that_was_made_since(world: World, clocks: Clocks) -> None:
    mia = world.drive("mia")
    for number in range(LIMIT + 5):
        store(mia, ROOM.joined(f"{number}.txt"), b"%d" % number)
    clocks.go_on(3600)
    with pytest.raises(Paused):
        rewrite(mia, LIMIT + 5)
        braking.settle_waiting(world.installation.storage)
        rewrite(mia, 1)


def test_a_folder_is_put_back_to_a_moment_that_is_yet_to_come(world: World, clocks: Clocks) -> None:
    mia = world.drive("mia")
    store(mia, FILE, b"good")
    moment = newest(world)
    clocks.go_on(3600)
    store(mia, FILE, b"bad")
    assert newest(world) > moment
    mia.put_back(ROOM, moment)
    assert fetch(mia, FILE) == b"good"


# --- the pace itself

SPACE = b"s" * 16


def test_the_clock_catches_up() -> None:
    seconds = [0.0]
    paces = Paces(lambda: seconds[0])
    hour = 3600 * SECOND_US
    assert paces.now(SPACE, 0, hour) == hour
    seconds[0] = 1800.0
    assert paces.now(SPACE, hour // 2, hour) == hour + hour // 4
    seconds[0] = 7200.0
    assert paces.now(SPACE, 2 * hour, 2 * hour) == 2 * hour
    assert paces.now(SPACE, 2 * hour - APART_US_MAX, 2 * hour) == 2 * hour - APART_US_MAX


def test_another_process_may_have_counted_further() -> None:
    seconds = [0.0]
    paces = Paces(lambda: seconds[0])
    year = YEAR_SECONDS * SECOND_US
    assert paces.now(SPACE, 0, year) == year
    assert paces.now(SPACE, 0, 2 * year) == 2 * year
    seconds[0] = 2.0
    assert paces.now(SPACE, 0, year) == 2 * year + SECOND_US


def test_a_clock_that_is_ahead_again_counts_for_itself() -> None:
    seconds = [0.0]
    paces = Paces(lambda: seconds[0])
    year = YEAR_SECONDS * SECOND_US
    paces.now(SPACE, 0, year)
    seconds[0] = 100.0
    assert paces.now(SPACE, year, year) == year
    assert paces.now(SPACE, 0, year) == year
