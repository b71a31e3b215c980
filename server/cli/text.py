"""How values read: tables, times, sizes, ids, yes and no."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from config.clock import SECOND_US, iso_second, now_us
from providers.steady import Seen
from server.cli.errors import Misused

DAY_SECONDS = 24 * 3600
SPANS = {"y": 366 * DAY_SECONDS, "m": 31 * DAY_SECONDS, "w": 7 * DAY_SECONDS, "d": DAY_SECONDS, "h": 3600}
#: As for `installation.quota_default_bytes`.
SIZE_MAX = 2**60
UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a table, columns aligned as a terminal shows them."""
    texts = [[one_line(str(cell)) for cell in row] for row in rows]
    if not texts:
        yield "(none)"
        return
    every = [[heading.upper() for heading in headings], *texts]
    widths = [max(_width(row[column]) for row in every) for column in range(len(headings))]
    for row in every:
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def facts(pairs: Iterable[tuple[str, object]]) -> Iterator[str]:
    """Yield one thing's facts, a line each."""
    listed = [(name, one_line(str(value))) for name, value in pairs]
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        yield f"{name + ':':<{width + 1}} {value}".rstrip()


def one_line(text: str) -> str:
    """Return the text with nothing in it that could begin a line or move a terminal's cursor."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


def counted(count: int, one: str, several: str = "") -> str:
    """Return how many there are of a thing, which is one, or several (by default with an s): `1 key`, `2 keys`."""
    return f"{count} {one if count == 1 else several or f'{one}s'}"


def cell(text: str) -> str:
    """Return the text for a cell of a CSV file that a spreadsheet opens: never as a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _width(text: str) -> int:
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def yes(value: bool) -> str:
    """Return yes or no."""
    return "yes" if value else "no"


def moment(at_us: int | None) -> str:
    """Return a time for people, to the second, in UTC."""
    return "" if at_us is None else iso_second(at_us).replace("T", " ")


def clock_doubt(seen: Seen, otherwise: str = "") -> list[str]:
    """Return what there is to say of a clock that is not believed yet, and what does `otherwise`; nothing of others."""
    if seen.settles_at is None:
        return []
    why = "The clock has jumped, or was not seen for long"
    return [f"{why}: by it nothing goes for good before {moment(seen.settles_at)}. {otherwise}".rstrip()]


def is_over(end_us: int | None) -> bool:
    """Return whether what ends at a time has ended; None: it never does."""
    return end_us is not None and end_us <= now_us()


def size(count: int | None) -> str:
    """Return a number of bytes for people; None: no limit."""
    if count is None:
        return "no limit"
    for unit, least in UNITS:
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count} B"


def parse_size(text: str, command: str) -> int | None:
    """Return the bytes that `500`, `20 MiB` or `3G` mean; None for `none`. Raises Misused."""
    if text.strip().casefold() in ("none", "0"):
        return None
    units = {unit[:count].casefold(): factor for unit, factor in UNITS for count in (1, 3)} | {"": 1, "b": 1}
    digits = text.strip().rstrip("BbiIKkMmGgTt ")
    unit = text.strip()[len(digits) :].strip().casefold()
    if not digits.isdecimal() or unit not in units or len(digits) > 18:
        raise Misused(problem=f"{text} is no size: write 500 MiB, 20 GiB or none.", command=command)
    found = int(digits) * units[unit]
    if found > SIZE_MAX:
        raise Misused(problem=f"{text} is too large: at most 1048576 TiB, or none.", command=command)
    return found


def parse_count(text: str, command: str) -> int:
    """Return how many a text asks for. Raises Misused."""
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text)):
        raise Misused(problem=f"{text} is no number of lines: write 1 or more.", command=command)
    return int(text)


def span(seconds: int | None) -> str:
    """Return a length of time for people, as `parse_span` reads it where it is of whole years, else in days or seconds;
    None: none.
    """
    if seconds is None:
        return "none"
    if seconds and seconds % SPANS["y"] == 0:
        return f"{seconds // SPANS['y']}y"
    return f"{seconds // DAY_SECONDS} days" if seconds % DAY_SECONDS == 0 else f"{seconds} seconds"


def parse_span(text: str, command: str) -> int | None:
    """Return the seconds of `10y`, `6m`, `2w`, `30d` or `12h`; None for `none`. Raises Misused.

    A year counts 366 days and a month 31, so that what is promised is never too short.
    """
    given = text.strip().casefold()
    if given in ("none", "off"):
        return None
    if len(given) > 7 or not given[:-1].isdecimal() or given[-1] not in SPANS or not int(given[:-1]):
        raise Misused(problem=f"{text} is no length of time: write 10y, 6m, 30d, 12h or none.", command=command)
    return int(given[:-1]) * SPANS[given[-1]]


def parse_end(text: str | None, zone: tzinfo, command: str) -> int | None:
    """Return when something is to end that begins now, as `parse_moment` reads it. Raises Misused for what is past."""
    if text is None:
        return None
    found = parse_moment(text, zone, command)
    if found <= now_us():
        raise Misused(problem=f"{text} is past: it would hold for nobody. Give a date to come.", command=command)
    return found


def parse_moment(text: str, zone: tzinfo, command: str) -> int:
    """Return the microseconds of a date (its end, in the installation's zone) or a time. Raises Misused."""
    try:
        if len(text) == len("2026-10-31"):
            end = datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(0), zone)
            return int(end.timestamp()) * SECOND_US
        found = datetime.fromisoformat(text)
        aware = found if found.tzinfo is not None else found.replace(tzinfo=zone)
        return int(aware.astimezone(UTC).timestamp() * SECOND_US)
    except ValueError:
        raise Misused(problem=f"{text} is no date: write 2026-10-31 or 2026-10-31T12:00Z.", command=command) from None
    except OverflowError:
        raise Misused(
            problem=f"{text} is beyond what can be reckoned with: take a nearer date.", command=command
        ) from None
