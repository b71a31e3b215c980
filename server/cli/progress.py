"""A bar for long work: on stderr, on a terminal alone, drawn at most ten times a second."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TextIO

WIDTH = 30
DRAWN_EVERY_SECONDS = 0.1
UNKNOWN = "…"


class Progress:
    """Shows how far work has come. `total` None: unknown."""

    def __init__(self, what: str, total: int | None, stream: TextIO) -> None:
        self.done = 0
        self._what = what
        self._total = total
        self._stream = stream
        self._shown = stream.isatty()
        self._drawn_at = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def step(self, count: int = 1) -> None:
        """Say that so much more is done."""
        self.reach(self._what, self.done + count)

    def reach(self, what: str, done: int) -> None:
        """Say what is under way, and how much of it is done."""
        self._what, self.done = what, done
        now = time.monotonic()
        if self._shown and now - self._drawn_at >= DRAWN_EVERY_SECONDS:
            self._drawn_at = now
            self._stream.write(f"\r\x1b[K{line(what, done, self._total)}")
            self._stream.flush()


def line(what: str, done: int, total: int | None) -> str:
    """Return the bar as text."""
    if not total:
        return f"{what} {UNKNOWN} {done}"
    filled = WIDTH * min(done, total) // total
    return f"{what} [{'#' * filled}{'.' * (WIDTH - filled)}] {done} of {total}"
