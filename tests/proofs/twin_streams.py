"""One seed and one clock for two worlds: what a person's act draws at random does not move by what others draw.

Each draw is keyed by who acts, in which step, and which code draws; so a world with one actor more gives all others
the very bytes that they got without it.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
from collections import Counter
from types import FrameType

import pytest

import config.clock
import config.database

#: Frames of these say nothing about who wants the bytes.
_PASSED_OVER = ("/secrets.py", "/random.py", "/uuid.py", "/config/ids.py", "/twin_streams.py")
_SITE_FRAMES = 2
#: In the middle of a second, so that no microseconds added to it show in a date.
BEGINNING_US = 1_790_000_000_500_000


class Fate:
    """The randomness and the time of one world."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._drawn: Counter[str] = Counter()
        self._scene = "house/0"
        self.now_us = BEGINNING_US

    def act(self, actor: str, step: int, at_us: int) -> None:
        """Let all that happens from now on be this actor's, at this moment (microseconds since the beginning)."""
        self._scene = f"{actor}/{step}"
        self.now_us = BEGINNING_US + at_us

    def urandom(self, count: int) -> bytes:
        """Return the next bytes for whoever asks."""
        place = f"{self._seed}/{self._scene}/{_site(sys._getframe(1))}"
        self._drawn[place] += 1
        return hashlib.shake_256(f"{place}/{self._drawn[place]}".encode()).digest(count)

    def time_ns(self) -> int:
        """Return the time, as `time.time_ns` would."""
        return self.now_us * 1000


def _site(frame: FrameType | None) -> str:
    """Name the code that draws: the innermost functions that are the house's or a library's."""
    names: list[str] = []
    while frame is not None and len(names) < _SITE_FRAMES:
        code = frame.f_code
        if not code.co_filename.endswith(_PASSED_OVER):
            names.append(f"{code.co_filename}:{code.co_name}")
        frame = frame.f_back
    return "<".join(names)


def govern(fate: Fate, patch: pytest.MonkeyPatch) -> None:
    """Let this process draw from `fate`, and read its clock. Nothing is synced: no power is cut."""
    engine = config.database.sqlite_engine
    patch.setattr(config.database, "sqlite_engine", lambda path, synchronous: engine(path, "OFF"))
    patch.setattr(os, "fsync", lambda fd: None)
    patch.setattr(os, "fdatasync", lambda fd: None)
    patch.setattr(os, "urandom", fate.urandom)
    patch.setattr(random, "_urandom", fate.urandom)
    patch.setattr(config.clock, "time", fate)
