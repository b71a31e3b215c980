"""What time it is in a space whose newest change is yet to come, since a clock was ahead when that was made.

The times of a space's changes only rise. Where they are ahead of the clock they go on all the same, at half its pace,
so that it catches up: if each were but a microsecond after the last, nothing would be older than anything else until
then, perhaps for years, and whatever depends on how long something stood would go wrong. A process remembers since when
it counts; one that begins goes on from the newest change, within a minute of its beginning at the latest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import select

from config.clock import APART_US_MAX, SECOND_US
from config.database import Database
from providers import tables

#: Of how many spaces a process counts the time.
COUNTED_MAX = 10_000


class _Counted(NamedTuple):
    """It was `at` (µs) in a space when a clock that only goes on said `since` (seconds)."""

    at: int
    since: float


class Paces:
    """The time of the spaces that are ahead. Safe to use from any number of threads."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._guard = threading.Lock()
        self._counted: dict[bytes, _Counted] = {}

    def now(self, space: bytes, ours: int, newest: int) -> int:
        """Return what time it is in a space (µs), not before its `newest` change; `ours` where that is not ahead."""
        if newest <= ours + APART_US_MAX:
            if self._counted:
                self._counted.pop(space, None)
            return ours
        with self._guard:
            counted, since = self._counted.get(space), self._seconds()
            reached = 0 if counted is None else counted.at + int((since - counted.since) * SECOND_US) // 2
            if counted is None or reached < newest:
                if len(self._counted) >= COUNTED_MAX:
                    self._counted.clear()
                self._counted[space] = _Counted(newest, since)
            return max(newest, reached)

    def look(self, database: Database) -> None:
        """Begin to count for every space that is ahead, whether or not anybody works there in this process."""
        head = tables.head.c
        with database.read() as connection:
            ours = database.now_us(connection)
            ahead = connection.execute(select(head.space, head.at).where(head.at > ours + APART_US_MAX)).all()
        for space, newest in ahead:
            self.now(space, ours, newest)
