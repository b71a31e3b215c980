"""A lock is refreshed while it stands, and no other is taken in the same moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path as FilePath

import pytest

from auth.roles import Role
from config.clock import SECOND_US
from providers import locks
from providers.errors import Locked, LockNotFound
from providers.locks import Locks, token_of
from providers.model import Lock
from providers.paths import parse
from tests.worlds import World, store

PLACE = parse("/Rum/a.txt")


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(data_folder, **engine)
    made.space("Rum", "Kund AB")
    for login in ("eva", "olle"):
        made.person(login, "Kund AB")
        made.grant(login, "Rum", Role.EDITOR)
    store(made.drive("eva"), PLACE, b"text")
    yield made
    made.installation.close()


def locked(world: World, login: str) -> Lock:
    return world.drive(login).lock(PLACE, is_deep=False, is_shared=False, owner="", seconds=60)[0]


def let_come_between(patch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let something happen after the lock was found, and before it is prolonged."""
    refresh = Locks.refresh

    def late(self: Locks, token: bytes, seconds: int) -> int:
        happens()
        return refresh(self, token, seconds)

    patch.setattr(Locks, "refresh", late)


def test_a_lock_that_ran_out_meanwhile_is_not_refreshed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token, now = locked(world, "eva").token, locks.now_us
    let_come_between(monkeypatch, lambda: monkeypatch.setattr(locks, "now_us", lambda: now() + 61 * SECOND_US))
    with pytest.raises(LockNotFound):
        world.drive("eva").refresh_lock(PLACE, [token], 600)
    locked(world, "olle")


def test_a_lock_that_was_broken_meanwhile_is_not_refreshed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token = locked(world, "eva").token
    let_come_between(monkeypatch, lambda: world.installation.locks.remove([token_of(token) or b""]))
    with pytest.raises(LockNotFound):
        world.drive("eva").refresh_lock(PLACE, [token], 600)
    assert world.installation.locks.all() == []


def test_while_one_is_refreshed_no_other_is_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token, eva, olle = locked(world, "eva").token, world.drive("eva"), world.drive("olle")
    with ThreadPoolExecutor(1) as pool:
        taking: list[Future[object]] = []

        def begin() -> None:
            other = pool.submit(olle.lock, PLACE, is_deep=False, is_shared=False, owner="", seconds=60)
            with pytest.raises(TimeoutError):
                other.result(0.5)
            taking.append(other)

        let_come_between(monkeypatch, begin)
        refreshed = eva.refresh_lock(PLACE, [token], 600)
        with pytest.raises(Locked):
            taking[0].result()
    assert (refreshed.token, refreshed.seconds, refreshed.root) == (token, 600, PLACE)
    assert eva.locks(PLACE) == [refreshed]
