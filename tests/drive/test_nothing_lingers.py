"""What is refused goes with its answer: nothing waits for the garbage collector, with all that a request held.

An error refers to the frames it came through. Where one of these refers to the error, both stay until somebody collects
them: an upload with the packs it wrote to, megabytes of what was read, a connection's thread.
"""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest

from auth.roles import Role
from config.turns import Turns
from providers.errors import Forbidden, IsAFolder, NotFound, TargetExists
from providers.paths import parse
from server.sftp.jobs import Asked, Jobs
from tests.worlds import World, store

HOME = "/Kund AB – Avtal"


@pytest.fixture
def world(tmp_path: FilePath) -> Iterator[World]:
    made = World.create(tmp_path / "data")
    made.person("mia", "Byrån AB")
    made.person("kim", "Kund AB")
    made.space("Avtal", "Kund AB")
    made.grant("mia", "Avtal", Role.EDITOR)
    made.grant("kim", "Avtal", Role.VIEWER)
    store(made.drive("mia"), f"{HOME}/a.txt", b"a")
    gc.collect()
    gc.disable()
    yield made
    gc.enable()
    made.installation.close()


def _absent(world: World) -> None:
    world.drive("mia").stat(parse(f"{HOME}/none"))


def _forbidden(world: World) -> None:
    world.drive("kim").delete(parse("/Avtal/a.txt"))


def _forbidden_at_once(world: World) -> None:
    world.drive("kim").put(parse("/Avtal/a.txt"), declared=1)


def _standing(world: World) -> None:
    world.drive("mia").make_folder(parse(f"{HOME}/a.txt"))


def _a_folder(world: World) -> None:
    world.drive("mia").read(parse(HOME))


REFUSED = [_absent, _forbidden, _forbidden_at_once, _standing, _a_folder]


def _refused(work: Callable[[], Any]) -> weakref.ref[BaseException]:
    try:
        work()
    except (Forbidden, IsAFolder, NotFound, TargetExists) as error:
        return weakref.ref(error)
    raise AssertionError("it was let")


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_stayed_with_all_its_frames(world: World, what: Callable[[World], None]) -> None:
    assert _refused(lambda: what(world))() is None


@pytest.mark.parametrize("what", REFUSED)
def test_so_did_one_of_several_requests_that_take_turns(world: World, what: Callable[[World], None]) -> None:
    seen: list[weakref.ref[BaseException]] = []
    with Turns() as turns:
        for _ in range(3):
            turns.serve(lambda: seen.append(_refused(lambda: what(world))))
    assert [each() for each in seen] == [None] * 3


@pytest.mark.parametrize("what", REFUSED)
def test_so_did_one_in_a_thread_of_sftp(world: World, what: Callable[[World], None]) -> None:
    seen: list[weakref.ref[BaseException]] = []

    async def ask() -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def done(result: Any, error: BaseException | None) -> None:
            over.set()
            assert error is not None
            seen.append(weakref.ref(error))

        jobs = Jobs(1)
        jobs.submit(Asked(loop, lambda: what(world), done))
        await asyncio.wait_for(over.wait(), 20)
        jobs.close()

    asyncio.run(ask())
    limit = time.monotonic() + 10
    while seen[0]() is not None and time.monotonic() < limit:
        time.sleep(0.01)  # the thread is about to wait for the next
    assert [each() for each in seen] == [None]


def test_what_is_looked_for_is_what_would_linger(world: World) -> None:
    """These tests would see it."""

    def keeping() -> None:
        try:
            _absent(world)
        except NotFound as error:
            kept = error
            raise
        assert kept

    assert isinstance(_refused(keeping)(), NotFound)
