"""What is done in the loop itself takes no more of it than its share, and none where a disk is slow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from providers.errors import NotAtHand
from server.sftp.channel import AT_ONCE_SECONDS_MAX, Jobs


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
