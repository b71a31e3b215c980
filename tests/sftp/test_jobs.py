"""What may block runs in threads, and is answered in the loop. What is done in the loop itself takes no more of it than
its share, and none where a disk is slow.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from providers.errors import NotAtHand
from server.sftp.jobs import AT_ONCE_SECONDS_MAX, Asked, Jobs


class Clock:
    """Goes on by what a job takes."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(clock: Clock) -> Iterator[Jobs]:
    made = Jobs(1, clock)
    yield made
    made.close()


def _seconds_in_one_go(jobs: Jobs, clock: Clock, each: float, other: float = 0.0) -> float:
    """Do jobs at once as long as they may be, and something else for `other` seconds after each."""
    began = clock.now

    def job() -> None:
        clock.now += each

    for _ in range(10_000):
        try:
            jobs.at_once(job)
        except NotAtHand:
            break
        clock.now += other
    return clock.now - began


def test_many_quick_jobs_in_one_go_end_where_others_are_held_up(jobs: Jobs, clock: Clock) -> None:
    assert _seconds_in_one_go(jobs, clock, 0.0001) < 1.5 * AT_ONCE_SECONDS_MAX
    clock.now += AT_ONCE_SECONDS_MAX
    assert _seconds_in_one_go(jobs, clock, 0.0001, other=0.00005) < 3.5 * AT_ONCE_SECONDS_MAX


def test_who_asks_one_thing_after_another_waits_for_no_thread(jobs: Jobs, clock: Clock) -> None:
    assert _seconds_in_one_go(jobs, clock, 0.0001, other=0.00011) > 2


def test_a_slow_disk_is_left_to_the_threads_for_a_while(jobs: Jobs, clock: Clock) -> None:
    assert _seconds_in_one_go(jobs, clock, 0.03) == pytest.approx(0.03)
    clock.now += 0.3
    assert _seconds_in_one_go(jobs, clock, 0.0001) == 0
    clock.now += 0.5
    assert _seconds_in_one_go(jobs, clock, 0.0001) > 0


def test_what_a_job_raises_is_raised_and_counted(jobs: Jobs, clock: Clock) -> None:
    def job() -> None:
        clock.now += 0.03
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        jobs.at_once(job)
    assert _seconds_in_one_go(jobs, clock, 0.0001) == 0


# --- elsewhere


class Held:
    """Something that a job returns."""


def _all_done(jobs: Jobs, *work: Any) -> list[tuple[Any, Any]]:
    """Run jobs elsewhere; return what came of each, in the order in which they were done."""

    async def run() -> list[tuple[Any, Any]]:
        loop, over, found = asyncio.get_running_loop(), asyncio.Event(), []

        def done(result: Any, error: BaseException | None) -> None:
            assert asyncio.get_running_loop() is loop
            found.append((result, error))
            if len(found) == len(work):
                over.set()

        for job in work:
            jobs.submit(Asked(loop, job, done))
        await asyncio.wait_for(over.wait(), 20)
        return found

    return asyncio.run(run())


def test_one_after_another_is_done_in_one_thread_and_many_in_no_more_than_allowed() -> None:
    jobs = Jobs(3)
    assert len({_all_done(jobs, threading.get_ident)[0][0] for _ in range(20)}) == 1
    together = threading.Barrier(3)
    threads = [found[0] for found in _all_done(jobs, *[lambda: (together.wait(20), threading.get_ident())[1]] * 9)]
    assert len(set(threads)) == 3
    assert threading.get_ident() not in threads
    jobs.close()


def test_what_a_job_raises_elsewhere_is_told_and_the_thread_goes_on(jobs: Jobs) -> None:
    found = _all_done(jobs, lambda: 1 // 0, lambda: 7)
    assert [type(error) for _, error in found] == [ZeroDivisionError, type(None)]
    assert found[1][0] == 7


def test_a_thread_that_waits_keeps_nothing_of_what_it_did(jobs: Jobs) -> None:
    kept = []
    _all_done(jobs, lambda: kept.append(weakref.ref(made := Held())) or made)
    _all_done(jobs, lambda: None)
    gc.collect()
    assert kept[0]() is None


def test_after_the_end_nothing_is_begun_and_the_threads_go(jobs: Jobs) -> None:
    begun, may_end = threading.Event(), threading.Event()
    loop, ran = asyncio.new_event_loop(), []
    jobs.submit(Asked(loop, lambda: (begun.set(), may_end.wait(20)), lambda *_: None))
    assert begun.wait(20)
    jobs.submit(Asked(loop, lambda: ran.append(1), lambda *_: None))
    jobs.close()
    loop.close()
    may_end.set()
    for thread in jobs._threads:
        thread.join(20)
        assert not thread.is_alive()
    assert not ran


def test_long_jobs_leave_threads_to_others_and_to_other_people() -> None:
    loop, may_end = asyncio.new_event_loop(), threading.Event()
    made, under_way, ended = Jobs(8), [], []

    def long(owner: str) -> None:
        under_way.append(owner)
        assert may_end.wait(20)

    def ask(owner: str) -> None:
        made.submit_long(Asked(loop, lambda: long(owner), lambda *_: ended.append(owner)), owner.encode())

    async def sequence() -> None:
        for owner in "aaaaaaaaaabbc":
            ask(owner)
        while len(under_way) < 4:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert sorted(under_way) == ["a", "a", "b", "b"]
        quick = asyncio.Event()
        made.submit(Asked(loop, lambda: None, lambda *_: quick.set()))
        await asyncio.wait_for(quick.wait(), 10)
        may_end.set()
        while len(ended) < 13:
            await asyncio.sleep(0.01)

    try:
        loop.run_until_complete(asyncio.wait_for(sequence(), 30))
        assert sorted(ended) == sorted("aaaaaaaaaabbc")
        assert ended.index("c") < 8
        assert not made._long_under_way
        assert not made._waiting
    finally:
        may_end.set()
        made.close()
        loop.close()
