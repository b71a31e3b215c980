"""Logs what goes wrong again and again: when it begins, once an hour for as long as it goes on, and when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from config.logging import Log, Word

AGAIN_SECONDS: Final = 3600.0


class Complaints:
    """What goes wrong at the moment, by where, of one part of the program. What is done in one place, one thread does.

    `seconds` is a clock that only goes on.
    """

    def __init__(self, log: Log, event: str, seconds: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._event = event
        self._seconds = seconds
        self._standing: dict[bytes | Word, tuple[type[Exception], float]] = {}

    def attempt(self, where: bytes | Word, work: Callable[[], object]) -> None:
        """Do some work, and log what is raised by it unless that was logged lately. `where` is an id, or a word."""
        try:
            work()
        except Exception as error:
            kind, again = self._standing.get(where, (None, 0.0))
            if kind is not type(error) or self._seconds() >= again:
                self._standing[where] = (type(error), self._seconds() + AGAIN_SECONDS)
                self._log.error(self._event, error, where=where)
        else:
            if self._standing.pop(where, None) is not None:
                self._log.info(f"{self._event}_no_more", where=where)
