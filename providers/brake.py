"""The brake's count: how many documents each device rewrote, deleted or moved within the window, in all processes.

A process notes such acts in memory, for nothing but a look into a dictionary, and hands them to the transient tables in
batches: every BATCH of a device, sooner as its limit comes near, and otherwise once they have waited a little. New
documents are no such act, nor what happens to a document within its first minute: programs save by making files,
moving and deleting them. A document counts once a window, however often it is saved.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, bindparam, delete, func, select

from auth.rights import Principal
from config.clock import SECOND_US
from config.database import Database
from config.errors import DatabaseBusy, StorageFailed
from config.logging import get_log
from config.queries import Query
from config.settings.schema import BrakeSettings
from config.statements import Statement
from providers import tables

#: So many acts of a device a process keeps to itself at most.
BATCH = 25
#: And no longer than that.
WAIT_SECONDS = 2.0
#: A document is its program's own business for so long.
YOUNG_US = 60 * SECOND_US
#: Of a folder that is deleted, so many documents are counted at most.
COUNTED_MAX = 10_000
#: How many documents of one device a process remembers as counted.
SEEN_MAX = 20_000
DAY_US = 24 * 3600 * SECOND_US
_log = get_log("brake")

_A, _DAY, _MOST = tables.brake_act.c, tables.brake_day.c, tables.brake_baseline.c


def _written_over(table: Table, key: Sequence[str], names: Sequence[str], where: Callable[[Any], Any]) -> Statement:
    """Return an INSERT that lets `names` of a row of that key be anew, `where` what stands may give way."""

    def made(insert: Callable[[Table], Any]) -> Any:
        statement = insert(table)
        fresh = statement.excluded
        return statement.on_conflict_do_update(
            index_elements=list(key), set_={name: fresh[name] for name in names}, where=where(fresh)
        )

    return Statement(made)


_COUNT = _written_over(
    tables.brake_act,
    ("subject", "document"),
    ("space", "at", "until", "kind", "weight"),
    lambda fresh: _A.until <= fresh.at,
)
_MOST_OF_DAY = _written_over(tables.brake_day, ("subject", "day"), ("most",), lambda fresh: _DAY.most < fresh.most)
_RAISE = _written_over(tables.brake_baseline, ("subject",), ("most",), lambda fresh: _MOST.most < fresh.most)
_SO_FAR = Query(
    select(func.coalesce(func.sum(_A.weight), 0).label("total")).where(
        _A.subject == bindparam("subject"), _A.until > bindparam("at")
    )
)
_MOST_EVER = Query(select(_MOST.most).where(_MOST.subject == bindparam("subject")))
_PAST_DAYS = select(tables.brake_day).where(_DAY.day < bindparam("today"))
_BY_SPACE = select(_A.space, _A.kind, func.min(_A.at), func.sum(_A.weight)).where(
    _A.subject == bindparam("subject"), _A.until > bindparam("at")
)


class Harm(IntEnum):
    """What can happen to a document that stands, stored by number."""

    REWRITTEN = 1
    DELETED = 2
    MOVED = 3


class Act(NamedTuple):
    """One such act, on a document or a folder of `weight` documents. `at` is the change's time, in microseconds."""

    document: bytes
    space: bytes
    at: int
    kind: Harm
    weight: int


class Excess(NamedTuple):
    """Who did too much: what it came to within the window that ends at `at` (µs), and what it might have come to."""

    who: Principal
    total: int
    limit: int
    at: int


class Told(NamedTuple):
    """What a device did in one space within a window: when first, and how many documents of each kind."""

    first_at: int
    counts: dict[Harm, int]


class Brake:
    """Counts for one process. Safe to use from any number of threads."""

    def __init__(self, database: Database, settings: BrakeSettings) -> None:
        self._database = database
        self._settings = settings
        self._window_us = settings.window_seconds * SECOND_US
        self._guard = threading.Lock()
        self._seen: dict[bytes, dict[bytes, int]] = {}
        self._pending: dict[bytes, list[Act]] = {}
        #: Who does it, and since when something waits.
        self._begun: dict[bytes, tuple[Principal, float]] = {}
        self._due: dict[bytes, int] = {}

    @property
    def is_on(self) -> bool:
        """Whether anything is counted."""
        return self._settings.enabled and self._settings.documents_min > 0

    def note(self, who: Principal, acts: Sequence[Act]) -> bool:
        """Take acts into account; return whether it is time to `settle` them."""
        subject = who.device or who.id
        with self._guard:
            seen = self._seen.setdefault(subject, {})
            fresh = [act for act in acts if seen.get(act.document, 0) + self._window_us <= act.at]
            if not fresh:
                return False
            if len(seen) > SEEN_MAX:
                seen.clear()
            seen.update((act.document, act.at) for act in fresh)
            pending = self._pending.setdefault(subject, [])
            if not pending:
                self._begun[subject] = (who, time.monotonic())
            pending += fresh
            return sum(act.weight for act in pending) >= self._due.get(subject, 1)

    def waiting(self) -> list[bytes]:
        """Return whose acts have waited long enough to be settled."""
        if not self._pending:
            return []
        before = time.monotonic() - WAIT_SECONDS
        with self._guard:
            return [subject for subject in self._pending if self._begun[subject][1] <= before]

    def settle(self, subject: bytes) -> Excess | None:
        """Add what was noted to what all processes count; return what it came to if that is too much.

        What cannot be written now is written with what comes next.
        """
        with self._guard:
            acts = self._pending.pop(subject, [])
            if not acts:
                return None
            who, _ = self._begun[subject]
        try:
            total, limit, at = self._settled(subject, acts)
        except (DatabaseBusy, StorageFailed) as error:
            _log.warning("acts_not_counted", error=error, count=len(acts))
            with self._guard:
                self._pending[subject] = acts + self._pending.get(subject, [])
            return None
        with self._guard:
            self._due[subject] = max(1, min(BATCH, limit + 1 - total))
        return Excess(who, total, limit, at) if total > limit else None

    def _settled(self, subject: bytes, acts: list[Act]) -> tuple[int, int, int]:
        at = max(act.at for act in acts)
        with self._database.transient_write() as connection:
            # In one order, lest two processes wait for each other.
            _COUNT.run_many(connection, [self._row(subject, act) for act in sorted(acts)])
            ((total,),) = _SO_FAR.rows(connection, subject=subject, at=at)
            _MOST_OF_DAY.run(connection, subject=subject, day=at // DAY_US, most=int(total))
        return int(total), self._limit(subject), at

    def _row(self, subject: bytes, act: Act) -> dict[str, object]:
        return {
            "subject": subject, "document": act.document, "space": act.space, "at": act.at,
            "until": act.at + self._window_us, "kind": int(act.kind), "weight": act.weight,
        }  # fmt: skip

    def _limit(self, subject: bytes) -> int:
        with self._database.ask() as connection:
            row = _MOST_EVER.first(connection, subject=subject)
        return max(self._settings.documents_min, self._settings.factor * (0 if row is None else int(row[0])))

    # --- once it was too much

    def told(self, subject: bytes, at: int) -> dict[bytes, Told]:
        """Return what a device did in the window that ends at a moment, by space."""
        found: dict[bytes, Told] = {}
        with self._database.transient_read() as connection:
            query = _BY_SPACE.group_by(_A.space, _A.kind)
            for space, kind, first_at, total in connection.execute(query, {"subject": subject, "at": at}):
                before = found.get(space, Told(first_at, {}))
                found[space] = Told(min(before.first_at, first_at), {**before.counts, Harm(kind): int(total)})
        return found

    def forgive(self, subject: bytes) -> None:
        """Count a device's acts from nothing, and let today be no measure of what it does."""
        with self._database.transient_write() as connection:
            connection.execute(delete(tables.brake_act).where(_A.subject == subject))
            connection.execute(delete(tables.brake_day).where(_DAY.subject == subject))

    @staticmethod
    def allow(connection: Connection, subject: bytes, most: int) -> None:
        """Let a device have done as much as that in a window."""
        _RAISE.run(connection, subject=subject, most=most)

    # --- now and then

    def sweep(self, now: int) -> None:
        """Forget what is older than the window, and let the most of past days count from now on."""
        old = _A.until <= now - self._window_us
        with self._database.transient_read() as connection:
            days = connection.execute(_PAST_DAYS, {"today": now // DAY_US}).all()
            stale = connection.execute(select(_A.subject).where(old).limit(1)).first()
        if days:
            # The days go last: what was written down twice is the same.
            mosts = sorted((day.subject, day.most) for day in days)
            self._database.apply(lambda connection: [self.allow(connection, *each) for each in mosts])
        if days or stale is not None:
            with self._database.transient_write() as connection:
                connection.execute(delete(tables.brake_act).where(old))
                connection.execute(delete(tables.brake_day).where(_DAY.day < now // DAY_US))
        with self._guard:
            for subject in [each for each in self._seen if each not in self._pending]:
                if max(self._seen[subject].values(), default=0) <= now - self._window_us:
                    del self._seen[subject]
                    self._due.pop(subject, None)
                    self._begun.pop(subject, None)
