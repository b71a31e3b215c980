"""Time as the house keeps it: int64 microseconds since 1970-01-01 UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime

SECOND_US = 1_000_000
#: So much the clocks of several machines may be apart. What is noted of a later moment was noted by a clock that was
#: ahead, and has been put right.
APART_US_MAX = 60 * SECOND_US


def now_us() -> int:
    """Return this machine's time in microseconds UTC."""
    return time.time_ns() // 1000


def iso_utc(at_us: int) -> str:
    """Return the moment as RFC 3339 with microseconds, `2026-10-31T12:00:00.000000Z`."""
    whole, rest = divmod(at_us, SECOND_US)
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:06d}Z"


def iso_second(at_us: int) -> str:
    """Return the moment as RFC 3339, to the second that it lies in, `2026-10-31T12:00:00Z`."""
    return f"{iso_utc(at_us)[:19]}Z"
