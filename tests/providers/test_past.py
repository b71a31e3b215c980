"""What `.history` takes for a moment."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from config.clock import SECOND_US
from providers.drive.places import parse_moment

STOCKHOLM = ZoneInfo("Europe/Stockholm")


def at(*fields: int, us: int = 0) -> int:
    return int(datetime(*fields, tzinfo=UTC).timestamp()) * SECOND_US + us  # type: ignore[misc]


def test_a_day_ends_in_the_zone_of_the_installation() -> None:
    assert parse_moment("2026-10-31", STOCKHOLM) == at(2026, 10, 31, 23) - 1
    assert parse_moment("2026-06-30", STOCKHOLM) == at(2026, 6, 30, 22) - 1


def test_the_day_when_clocks_go_back_has_25_hours() -> None:
    day = parse_moment("2026-10-25", STOCKHOLM)
    before = parse_moment("2026-10-24", STOCKHOLM)
    assert day is not None and before is not None
    assert day - before == 25 * 3600 * SECOND_US


def test_a_moment_is_exact_to_the_microsecond() -> None:
    assert parse_moment("2026-10-31T120000Z", STOCKHOLM) == at(2026, 10, 31, 12)
    assert parse_moment("2026-10-31T120000.5Z", STOCKHOLM) == at(2026, 10, 31, 12, us=500_000)
    assert parse_moment("2026-10-31t120000.000001z", STOCKHOLM) == at(2026, 10, 31, 12, us=1)


@pytest.mark.parametrize("text", ["2026-13-01", "2026-02-30", "9999-12-31", "x", "2026-10-31T250000Z", "2026-10-31 "])
def test_what_is_no_moment(text: str) -> None:
    assert parse_moment(text, STOCKHOLM) is None
