"""Which locks stand is known from memory for as long as none changes, in whichever worker, and none runs out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from auth.roles import Role
from config.clock import SECOND_US, now_us
from config.errors import MellanrumError
from providers import locks
from providers.drive import Drive, locking
from providers.errors import Locked
from providers.installation import Installation
from providers.model import NO_CONDITIONS, Conditions
from providers.paths import parse
from tests.worlds import World, settings_for, store

PLACE, BESIDE = parse("/Stämma/Mapp/a.txt"), parse("/Stämma/Mapp/b.txt")


@pytest.fixture
def world(tmp_path: FilePath) -> Iterator[World]:
    made = World.create(tmp_path / "data")
    for login in ("eva", "olle"):
        made.person(login, "Kund AB")
    made.space("Stämma", "Kund AB", folders=("/Mapp",))
    for login in ("eva", "olle"):
        made.grant(login, "Stämma", Role.EDITOR)
    for place in (PLACE, BESIDE):
        store(made.drive("eva"), place, b"first")
    yield made
    made.installation.close()


@pytest.fixture
def elsewhere(world: World) -> Iterator[World]:
    """The same installation in another worker."""
    found = Installation.open(world.installation.folder, settings_for(world.installation.folder))
    yield World(found, world.organisations, world.people, world.passwords, world.devices, world.spaces)
    found.close()


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one with each question about locks that this worker asks the database."""
    found: list[None] = []
    database = world.installation.database
    ask = database.transient_ask
    monkeypatch.setattr(database, "transient_ask", lambda: (found.append(None), ask())[1])
    return found


def lock(drive: Drive, seconds: int = 60) -> str:
    return drive.lock(PLACE, is_deep=False, is_shared=False, owner="", seconds=seconds)[0].token


def save(drive: Drive, text: str, conditions: Conditions = NO_CONDITIONS) -> str:
    try:
        upload = drive.put(PLACE, declared=None, conditions=conditions)
        upload.write(text.encode())
        upload.commit()
    except MellanrumError as error:
        return type(error).__name__
    return "saved"


def test_while_none_changes_nobody_asks(world: World, asked: list[None]) -> None:
    drive = world.drive("eva")
    for number in range(2):
        assert save(drive, f"to learn {number}") == "saved"
    asked.clear()
    for number in range(3):
        assert save(drive, f"{number}") == "saved"
    assert asked == []


def test_a_lock_taken_elsewhere_is_met_at_once(world: World, elsewhere: World, asked: list[None]) -> None:
    eva, olle = world.drive("eva"), elsewhere.drive("olle")
    for number in range(3):
        assert save(eva, f"{number}") == "saved"
        token = lock(olle)
        assert [save(eva, "kept off") for _ in range(3)] == ["Locked"] * 3
        assert save(olle, f"its holder's {number}", Conditions(tokens=frozenset({token}))) == "saved"
        asked.clear()
        assert save(eva, "kept off") == "Locked"
        assert asked == []
        olle.unlock(PLACE, token)
        assert [save(eva, f"free again {number} {again}") for again in range(3)] == ["saved"] * 3


def test_a_lock_taken_elsewhere_while_the_bytes_come_is_met_at_the_commit(world: World, elsewhere: World) -> None:
    eva = world.drive("eva")
    for number in range(3):
        assert save(eva, f"{number}") == "saved"
    upload = eva.put(PLACE, declared=None)
    upload.write(b"too late")
    lock(elsewhere.drive("olle"))
    with pytest.raises(Locked):
        upload.commit()


def test_a_lock_known_from_memory_runs_out_and_is_refreshed(
    world: World, elsewhere: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    eva, olle = world.drive("eva"), elsewhere.drive("olle")
    token = lock(olle, seconds=10)
    told, shift = locks.now_us, [0]
    monkeypatch.setattr(locks, "now_us", lambda: told() + shift[0] * SECOND_US)
    assert [save(eva, "kept off") for _ in range(3)] == ["Locked"] * 3
    shift[0] = 8
    olle.refresh_lock(PLACE, [token], 10)
    shift[0] = 15
    assert [save(eva, "kept off") for _ in range(3)] == ["Locked"] * 3
    shift[0] = 19
    assert save(eva, "it ran out") == "saved"


@pytest.mark.parametrize("remembered", [64, 0])
def test_a_lock_that_a_clock_took_which_was_ahead_keeps_nobody_off(
    world: World, monkeypatch: pytest.MonkeyPatch, remembered: int
) -> None:
    monkeypatch.setattr(locks, "REMEMBERED_MAX", remembered)
    eva, olle = world.drive("eva"), world.drive("olle")
    with pytest.MonkeyPatch.context() as wrong:
        wrong.setattr(locking, "now_us", lambda: now_us() + 30 * 24 * 3600 * SECOND_US)
        lock(olle)
    assert [save(eva, "nobody is kept off") for _ in range(3)] == ["saved"] * 3
    assert (olle.locks(PLACE), world.installation.locks.all()) == ([], [])
    monkeypatch.setattr(locks, "now_us", lambda: now_us() + 30 * 24 * 3600 * SECOND_US)
    assert len(world.installation.locks.all()) == 1
    monkeypatch.setattr(locks, "now_us", now_us)
    world.installation.locks.forget_lapsed()
    monkeypatch.setattr(locks, "now_us", lambda: now_us() + 30 * 24 * 3600 * SECOND_US)
    assert world.installation.locks.all() == []  # nor does it once the time comes


def test_many_locks_are_asked_for_one_by_one(
    world: World, elsewhere: World, monkeypatch: pytest.MonkeyPatch, asked: list[None]
) -> None:
    monkeypatch.setattr(locks, "REMEMBERED_MAX", 1)
    eva, olle = world.drive("eva"), elsewhere.drive("olle")
    olle.lock(BESIDE, is_deep=False, is_shared=False, owner="", seconds=60)
    lock(olle)
    for _ in range(3):
        asked.clear()
        assert save(eva, "kept off") == "Locked"
        assert asked
    assert world.installation.locks._known.by_slot is None


def test_who_looks_between_a_change_and_its_stamp_learns_of_it_afterwards(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the change was committed is not taken for what stands after it."""
    kept = world.installation.locks
    stamp, read = kept._stamp, kept._asked
    assert stamp is not None
    slots = [locks.Slot(b"p", b"", b"f")]
    stamp.renew()
    kept.on(slots)

    def while_it_changes(value: int) -> object:
        found = read(value)
        stamp.renew()
        return found

    monkeypatch.setattr(kept, "_asked", while_it_changes)
    kept.on(slots)
    monkeypatch.setattr(kept, "_asked", read)
    assert kept._remembered() is None


def test_who_was_killed_between_a_change_and_its_stamp_is_made_up_for_by_whoever_stands_in(
    world: World, elsewhere: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    eva, olle = world.drive("eva"), elsewhere.drive("olle")
    token = lock(olle)
    assert [save(eva, "kept off") for _ in range(3)] == ["Locked"] * 3
    stamp = elsewhere.installation.locks._stamp
    with monkeypatch.context() as killed:
        killed.setattr(stamp, "renew", lambda: None)
        olle.unlock(PLACE, token)
    assert save(eva, "does not know yet") == "Locked"
    again = Installation.open(world.installation.folder, settings_for(world.installation.folder))
    assert save(again.drive(olle.principal), "as the worker that stands in begins") == "saved"
    again.close()
    assert save(eva, "free") == "saved"
