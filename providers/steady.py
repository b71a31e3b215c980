"""Which moment has surely come: by this goes what goes for good by the clock.

A clock may jump ahead, by a day or by ten years, and be put right later: a battery is dead, a time server errs. What
was destroyed by it meanwhile nobody gives back. So every process notes now and then what the clock says. One that went
on from note to note for a day is believed. One that jumped is not, until it has gone on for a day since; so long the
moment before the jump is the one that has surely come. To be switched off for long looks no different, and costs the
same day.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, select

from config.clock import APART_US_MAX, SECOND_US
from config.database import Database
from providers import tables

#: Between two notes no more goes by, or the clock has jumped. Some machines are switched off overnight.
GAP_US_MAX: Final = 20 * 3600 * SECOND_US
#: For so long a clock that has jumped goes on before it is believed.
SETTLED_US: Final = 24 * 3600 * SECOND_US
#: How often it is noted.
NOTED_US: Final = 600 * SECOND_US
_CLOCK = tables.clock


class Seen(NamedTuple):
    """What the clock says (`at`), since when it went on without a jump, and which moment has surely come; all in µs."""

    at: int
    since: int
    sure: int

    @property
    def settles_at(self) -> int | None:
        """When the clock will be believed; None: it is."""
        return None if self.sure == self.at else self.since + SETTLED_US

    def over(self, column: ColumnElement[Any], seconds: int) -> ColumnElement[bool]:
        """Return the condition that so many seconds have surely gone by since a moment.

        One that is yet to come was noted before the last jump, by a clock that was ahead.
        """
        before = self.sure - seconds * SECOND_US
        over = column <= before
        return over | (column > self.at + APART_US_MAX) if self.since <= before else over


class Steady:
    """The clock of an installation's database, watched by all its processes together."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self) -> None:
        """Believe the clock as it is, of an installation in which nothing is stored yet."""
        with self._database.transient_read() as connection:
            at = self._database.now_us(connection)
        self._note(Seen(at, at - SETTLED_US, at))

    def look(self) -> Seen:
        """Note what the clock says, and return what that amounts to. Call now and then."""
        last, seen = self._read()
        if last is None or abs(seen.at - last.at) >= NOTED_US:
            self._note(seen)
        return seen

    def seen(self) -> Seen:
        """Return what `look` does, and note nothing."""
        return self._read()[1]

    def _read(self) -> tuple[Seen | None, Seen]:
        with self._database.transient_read() as connection:
            row = connection.execute(select(_CLOCK.c.at, _CLOCK.c.since, _CLOCK.c.sure)).first()
            last = None if row is None else Seen(*row)
            return last, _seen(last, self._database.now_us(connection))

    def _note(self, seen: Seen) -> None:
        with self._database.transient_write() as connection:
            connection.execute(self._database.upsert(_CLOCK), {"one": 1, **seen._asdict()})


def _seen(last: Seen | None, at: int) -> Seen:
    """Return what it amounts to that the clock says `at`, after what was noted last."""
    if last is None:
        return Seen(at, at, 0)
    since = last.since if last.at - APART_US_MAX <= at <= last.at + GAP_US_MAX else at
    return Seen(at, since, at if at - since >= SETTLED_US else min(last.sure, at))
