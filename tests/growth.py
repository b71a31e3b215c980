"""How the time that something takes grows with what it is given."""

from __future__ import annotations

import time
from collections.abc import Callable

#: What takes less is not worth comparing: the noise of the machine is larger.
_SECONDS_COMPARED = 0.02
#: Of so many tries the quickest tells what the work takes: others were held up by what runs beside, never hurried.
_TRIES = 4


def growth(work: Callable[[int], object], first: int, last: int) -> float:
    """Return how many times as long twice as much takes: 2 is linear, 4 quadratic.

    `work(count)` is tried from `first` on with twice as much each time, until that takes long enough to be compared, or
    would be more than `last`. What never takes that long counts as linear.
    """
    count, before = first, _seconds(work, first)
    while count * 2 <= last:
        count *= 2
        seconds = _seconds(work, count)
        if seconds > _SECONDS_COMPARED:
            return _least(work, count, seconds) / _least(work, count // 2, before)
        before = seconds
    return 2.0


def _least(work: Callable[[int], object], count: int, seconds: float) -> float:
    return min(seconds, *(_seconds(work, count) for _ in range(_TRIES - 1)))


def _seconds(work: Callable[[int], object], count: int) -> float:
    start = time.thread_time()
    work(count)
    return time.thread_time() - start
