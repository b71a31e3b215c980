"""A clock that jumps ahead and is put right: nothing goes for good by it meanwhile, and all that is due does after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest
from sqlalchemy import select

from auth.roles import Via
from config.clock import SECOND_US, now_us
from config.database import Database
from providers import tables
from providers.holding.errors import PerhapsRetained, Retained
from providers.model import Thinning
from providers.paths import parse
from providers.steady import GAP_US_MAX, NOTED_US, SETTLED_US, Seen, Steady
from tests.clocks import HOUR_SECONDS, YEAR_SECONDS, MachineClock
from tests.hold.test_letting_go import reopened
from tests.hold.worlds import OURS, SPACE, erased, findings, make, packed, record_of, versions
from tests.worlds import World

DOCUMENT = f"{OURS}/Avtal/Köp.txt"
DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS


@pytest.fixture
def world(tmp_path: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = make(tmp_path / "data", **engine)
    yield made
    made.installation.close()


class Clock(MachineClock):
    """The clock of the machine and of the database, as the processes of a server watch it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, world: World) -> None:
        super().__init__(monkeypatch)
        monkeypatch.setattr(Database, "now_us", lambda database, connection: now_us())
        self._world = world

    def go_on(self, seconds: int) -> None:
        """Let time pass while a server runs."""
        until = self.ahead_seconds + seconds
        while self.ahead_seconds < until:
            self.ahead_seconds = min(self.ahead_seconds + HOUR_SECONDS, until)
            self._world.installation.storage.steady.look()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, world: World) -> Clock:
    return Clock(monkeypatch, world)


def tidied(world: World) -> None:
    """Let a process do what processes do now and then."""
    reopened(world)
    world.installation.tick()
    world.installation.tidy()


def interrupted(world: World, path: str) -> None:
    edit = world.drive("mia", Via.SFTP).edit(parse(path), create=True, truncate=False)
    edit.write(0, b"halv")
    edit.keep(is_cut_off=True)


JUMPS = (DAY_SECONDS, 30 * DAY_SECONDS, 10 * YEAR_SECONDS)


@pytest.mark.parametrize("jump_seconds", JUMPS)
def test_a_clock_that_was_ahead_for_hours_took_what_was_not_due_for_years(
    world: World, clock: Clock, jump_seconds: int
) -> None:
    """Versions were thinned, what was erased left the packs without grace, and interrupted uploads were dropped."""
    space, operator = world.spaces[SPACE].id, world.installation.operator()
    thinned = versions(world.drive("mia"), DOCUMENT, b"ett", b"tu", b"tre")
    world.installation.spaces.set_thinning(operator, space, Thinning(1, 10_000))
    gone = versions(world.drive("mia"), f"{OURS}/Bort.txt", b"ska bort", b"stannar")
    record = record_of(world, gone, 1)
    done = erased(world, gone, 1)
    interrupted(world, f"{OURS}/Halv.bin")
    right = clock.ahead_seconds
    clock.ahead_seconds += jump_seconds
    for _ in range(3):
        tidied(world)
        clock.go_on(5 * HOUR_SECONDS)
    clock.ahead_seconds = right + 15 * HOUR_SECONDS
    tidied(world)
    assert standing(world, thinned) == [1, 2, 3]
    assert record in packed(world)
    assert world.installation.erasures.get(done.id).swept_at is None
    assert [item.name for item in world.drive("mia", Via.SFTP).drafts(parse(OURS))] == ["Halv.bin"]
    clock.go_on(10 * DAY_SECONDS)
    tidied(world)
    assert standing(world, thinned) == [3]
    assert record not in packed(world)
    assert world.installation.erasures.get(done.id).swept_at is not None
    assert world.drive("mia", Via.SFTP).drafts(parse(OURS)) == []
    assert findings(world) == []


def standing(world: World, node: bytes) -> list[int]:
    table = tables.version.c
    query = select(table.number).where(table.node == node, table.erased_in.is_(None)).order_by(table.number)
    with world.installation.database.read() as connection:
        return list(connection.execute(query).scalars())


def test_what_was_erased_in_a_space_whose_time_is_ahead_stayed_in_the_packs_for_years(
    world: World, clock: Clock
) -> None:
    """A change was made while the clock was ahead: the times of the space's changes have gone on from there since."""
    clock.ahead_seconds = 10 * YEAR_SECONDS
    node = versions(world.drive("mia"), DOCUMENT, b"ett", b"tu", b"tre")
    early, record = erased(world, node, 1), record_of(world, node, 2)
    clock.ahead_seconds = HOUR_SECONDS
    late = erased(world, node, 2)
    tidied(world)
    assert record in packed(world), "its grace is not over"
    assert world.installation.erasures.get(late.id).swept_at is None
    clock.go_on(3 * DAY_SECONDS)
    tidied(world)
    assert all(world.installation.erasures.get(done.id).swept_at is not None for done in (early, late))
    assert findings(world) == []


def test_a_machine_that_was_switched_off_for_a_month_does_its_chores_a_day_later(world: World, clock: Clock) -> None:
    node = versions(world.drive("mia"), DOCUMENT, b"ett", b"tu")
    done = erased(world, node, 1)
    clock.go_on(HOUR_SECONDS)
    clock.ahead_seconds += 30 * DAY_SECONDS
    tidied(world)
    assert world.installation.erasures.get(done.id).swept_at is None
    clock.go_on(DAY_SECONDS)
    tidied(world)
    assert world.installation.erasures.get(done.id).swept_at is not None


def test_a_machine_that_is_switched_off_every_night_does_its_chores(world: World, clock: Clock) -> None:
    done = erased(world, versions(world.drive("mia"), DOCUMENT, b"ett", b"tu"), 1)
    for _ in range(3):
        clock.go_on(8 * HOUR_SECONDS)
        clock.ahead_seconds += 16 * HOUR_SECONDS
    tidied(world)
    assert world.installation.erasures.get(done.id).swept_at is not None


def test_what_must_be_kept_for_years_could_be_erased_at_once_by_a_clock_that_was_ahead(
    world: World, clock: Clock
) -> None:
    node = versions(world.drive("mia"), DOCUMENT, b"ett", b"tu")
    world.installation.spaces.set_retention(world.installation.operator(), world.spaces[SPACE].id, YEAR_SECONDS)
    with pytest.raises(Retained):
        erased(world, node, 1)
    clock.ahead_seconds = 2 * YEAR_SECONDS
    with pytest.raises(PerhapsRetained):
        erased(world, node, 1)
    clock.go_on(DAY_SECONDS)
    with pytest.raises(PerhapsRetained):
        erased(world, node, 1)
    clock.go_on(DAY_SECONDS)
    erased(world, node, 1)


# --- what is made of what the clock says

HOUR_US = HOUR_SECONDS * SECOND_US


def noted(world: World) -> Seen | None:
    """Return what was noted of the clock."""
    with world.installation.database.transient_read() as connection:
        row = connection.execute(select(tables.clock.c.at, tables.clock.c.since, tables.clock.c.sure)).first()
    return None if row is None else Seen(*row)


def test_an_installation_that_was_put_back_believes_its_clock_a_day_later(world: World, clock: Clock) -> None:
    steady = world.installation.storage.steady
    with world.installation.database.transient_write() as connection:
        connection.execute(tables.clock.delete())
    assert steady.seen().sure == 0
    assert noted(world) is None
    first = steady.look().at
    clock.go_on(DAY_SECONDS - HOUR_SECONDS)
    seen = steady.seen()
    assert (seen.sure, seen.since, seen.settles_at) == (0, first, first + SETTLED_US)
    clock.go_on(HOUR_SECONDS)
    seen = steady.seen()
    assert (seen.sure, seen.settles_at) == (seen.at, None)


@pytest.mark.parametrize("jump_us", [GAP_US_MAX + HOUR_US, -2 * HOUR_US])
def test_a_clock_that_jumped_is_believed_a_day_later(world: World, clock: Clock, jump_us: int) -> None:
    steady = world.installation.storage.steady
    before = steady.look()
    assert before.settles_at is None
    clock.ahead_seconds += jump_us // SECOND_US
    for _ in range(2):
        seen = steady.look()
        assert seen.sure <= min(before.at, seen.at)
        assert seen.since > before.at or jump_us < 0
    clock.go_on(DAY_SECONDS + HOUR_SECONDS)
    assert steady.seen().settles_at is None


def test_a_clock_is_noted_now_and_then(world: World, clock: Clock) -> None:
    steady, first = world.installation.storage.steady, noted(world)
    steady.look()
    assert noted(world) == first
    clock.ahead_seconds += NOTED_US // SECOND_US
    assert noted(world) == first
    assert Steady(world.installation.database).look() == noted(world) != first
