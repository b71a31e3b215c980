"""Times as headers and properties write them, cached by the second, and as they are read from there."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_HTTP: Final = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d:\d\d:\d\d) GMT", re.ASCII)


@lru_cache(maxsize=65_536)
def http_date(second: int) -> str:
    """Return `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 5.6.7) for seconds since 1970 UTC."""
    at = time.gmtime(second)
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    return f"{day}, {at.tm_mday:02d} {month} {at.tm_year:04d} {at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"


@lru_cache(maxsize=65_536)
def iso_date(second: int) -> str:
    """Return `1994-11-06T08:49:37Z` (RFC 3339) for seconds since 1970 UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def read_date(text: str) -> int | None:
    """Return a date of RFC 9110 5.6.7, in any of its three forms, in seconds since 1970 UTC; None if it is none."""
    if not text:
        return None
    try:
        found = parsedate_to_datetime(text)
        # The form of C's asctime names no zone: UTC is meant, wherever this machine stands.
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def iso_of_http(text: str) -> str | None:
    """Return, as `iso_date` writes it, a time as `http_date` does; None for any other text, or no such time."""
    found = _HTTP.fullmatch(text)
    if found is None or found[2] not in _MONTHS:
        return None
    moment = f"{found[3]}-{_MONTHS.index(found[2]) + 1:02d}-{found[1]}T{found[4]}"
    try:
        datetime.fromisoformat(moment)
    except ValueError:
        return None
    return f"{moment}Z"
