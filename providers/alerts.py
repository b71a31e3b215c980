"""Alerts: what the brake has paused, and what became of it since. Rows stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from config.clock import APART_US_MAX, SECOND_US, now_us
from config.database import Database
from config.errors import MellanrumError
from providers import tables

#: Mail that was not taken is tried again after a minute, then each time twice as late, so often.
MAIL_TRIES_MAX = 12
MAIL_WAIT_US = 60 * SECOND_US
MAIL_WAIT_US_MAX = 6 * 3600 * SECOND_US
_A, _S = tables.alert.c, tables.alert_space.c
_CLOSE = update(tables.alert).where(_A.id == bindparam("chosen"), _A.resumed_at.is_(None))


class NoSuchAlert(MellanrumError):
    """There is no alert {name}. Nothing was changed. "mellanrum alert list --all" shows all."""

    exit_code = 23


@dataclass(frozen=True, slots=True)
class InSpace:
    """What an alert is about in one space. `before` is the moment before the first act, in microseconds."""

    space: bytes
    before: int
    documents: int
    put_back_at: int | None


@dataclass(frozen=True, slots=True)
class Alert:
    """A device, or an account by its own credentials, that was paused. Times are microseconds UTC."""

    id: bytes
    at: int
    subject: bytes
    is_device: bool
    person: bytes
    organisation: bytes
    rewritten: int
    deleted: int
    moved: int
    limit: int
    resumed_at: int | None
    mailed_at: int | None
    mail_tries: int
    spaces: tuple[InSpace, ...]

    @property
    def documents(self) -> int:
        """How many documents it is about, as far as they were counted."""
        return self.rewritten + self.deleted + self.moved

    @property
    def is_open(self) -> bool:
        """Whether what was paused still is."""
        return self.resumed_at is None


class Alerts:
    """The alerts of one installation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, *, resumed: bool) -> list[Alert]:
        """Return the alerts that are open, or with `resumed` every one, oldest first."""
        query = select(tables.alert).order_by(_A.at)
        return self._found(query if resumed else query.where(_A.resumed_at.is_(None)))

    def get(self, identity: bytes | None, name: str) -> Alert:
        """Return one alert. Raises NoSuchAlert, which says `name`."""
        found = [] if identity is None else self._found(select(tables.alert).where(_A.id == identity))
        if not found:
            raise NoSuchAlert(name=name)
        return found[0]

    def note_put_back(self, alert: bytes, space: bytes) -> None:
        """Note that a space was put back to the moment before."""
        chosen = update(tables.alert_space).where(_S.alert == alert, _S.space == space)
        self._database.apply(lambda connection: connection.execute(chosen.values(put_back_at=now_us())))

    # --- mail

    def to_mail(self) -> list[Alert]:
        """Return the alerts that nobody has been told of by mail, and that are due."""
        now = now_us()
        # What is to be mailed later than it can be was put off by a clock that was ahead.
        is_due = (_A.mail_due_at <= now) | (_A.mail_due_at > now + MAIL_WAIT_US_MAX + APART_US_MAX)
        chosen = (_A.mailed_at.is_(None), _A.mail_tries < MAIL_TRIES_MAX, is_due)
        return self._found(select(tables.alert).where(*chosen).order_by(_A.at))

    def mailed(self, alert: Alert, *, taken: bool) -> None:
        """Note that a mail server took it, or when to try again."""
        wait = min(MAIL_WAIT_US << alert.mail_tries, MAIL_WAIT_US_MAX)
        values = {"mailed_at": now_us()} if taken else {"mail_due_at": now_us() + wait}
        chosen = update(tables.alert).where(_A.id == alert.id)
        tried = chosen.values(mail_tries=_A.mail_tries + 1, **values)
        self._database.apply(lambda connection: connection.execute(tried))

    def _found(self, query: Any) -> list[Alert]:
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            return [_alert(row, _spaces(connection, row.id)) for row in rows]


def close(connection: Connection, alert: bytes) -> None:
    """Let an alert be open no longer."""
    connection.execute(_CLOSE.values(resumed_at=now_us()), {"chosen": alert})


def _spaces(connection: Connection, alert: bytes) -> Sequence[Any]:
    return connection.execute(select(tables.alert_space).where(_S.alert == alert).order_by(_S.space)).all()


def _alert(row: Any, spaces: Sequence[Any]) -> Alert:
    return Alert(
        row.id, row.at, row.subject, row.is_device, row.person, row.organisation, row.rewritten, row.deleted, row.moved,
        row.limit, row.resumed_at, row.mailed_at, row.mail_tries,
        tuple(InSpace(each.space, each.before, each.documents, each.put_back_at) for each in spaces),
    )  # fmt: skip
