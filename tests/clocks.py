"""A machine's clock that a test sets: what all of the program takes for the time."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from config import clock

HOUR_SECONDS = 3600
YEAR_SECONDS = 365 * 86_400


class MachineClock:
    """By how much the clock of this process is ahead. Begins right."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_seconds = 0
        monkeypatch.setattr(clock, "time", SimpleNamespace(time_ns=self.time_ns))

    def time_ns(self) -> int:
        """Return the time, as `time.time_ns` would."""
        return time.time_ns() + self.ahead_seconds * 1_000_000_000
