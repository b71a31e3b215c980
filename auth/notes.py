"""What is noted of signing in: events, within bounds that no stranger can push, and when a device was last used."""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy import bindparam, select, update

from auth import tables
from auth.directory import Directory
from auth.events import Actor, AuthEvent, Recorder
from auth.keyring import Keyring
from auth.loading import Loader
from auth.rights import Principal
from auth.roles import Via
from auth.throttle import Throttle
from config.clock import APART_US_MAX, SECOND_US, now_us
from config.database import Database
from config.errors import DatabaseBusy, StorageFailed
from config.ids import NOBODY
from config.logging import get_log

LAST_USED_US = 60 * SECOND_US
SIGN_IN_US = 600 * SECOND_US
MINUTE_US = 60 * SECOND_US
#: How many refusals one process tells of in a minute; further ones are counted in the next that is told.
REFUSALS_MAX = 60
KEPT_MAX = 20_000

_LAST_USED = select(tables.last_used).where(tables.last_used.c.device == bindparam("device"))
_USED_AGAIN = (
    update(tables.last_used)
    .where(
        tables.last_used.c.device == bindparam("used"),
        (tables.last_used.c.at <= bindparam("before")) | (tables.last_used.c.at > bindparam("latest")),
    )
    .values(at=bindparam("now"), sealed_address=bindparam("sealed"))
)
log = get_log("auth")


class Notes:
    """Tells of signing in. What it cannot write, for want of room or time, keeps nobody from signing in."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        directory: Directory,
        recorder: Recorder,
        loader: Loader,
        throttle: Throttle,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._directory = directory
        self._recorder = recorder
        self._loader = loader
        self._throttle = throttle
        self._guard = threading.Lock()
        self._used: dict[bytes, int] = {}
        self._told: dict[bytes, int] = {}
        self._minute = (0, 0)  # which minute, how many refusals were told in it
        self._untold = 0

    def signed_in(self, principal: Principal) -> None:
        """Note that somebody signed in: for the log once in ten minutes, for the device once a minute."""
        now = now_us()
        subject = principal.device or principal.id + principal.address.encode("utf-8", "replace")
        if _is_due(self._told.get(subject, 0), SIGN_IN_US, now):
            self._mark(self._told, subject, now)
            self._tell(principal, subject, now)
        if principal.device and _is_due(self._used.get(principal.device, 0), LAST_USED_US, now):
            self._mark(self._used, principal.device, now)
            self._use(principal.device, principal.address, now)

    def refused(self, kind: str, row: Any, via: Via, address: str) -> None:
        """Note that a sign-in was refused. `row` is the person's, if the login is anybody's."""
        now = now_us()
        with self._guard:
            minute, told = self._minute
            told = told if minute == now // MINUTE_US else 0
            if told >= REFUSALS_MAX:
                self._untold += 1
                return
            self._minute = (now // MINUTE_US, told + 1)
            untold, self._untold = self._untold, 0
        facts: dict[str, str | int] = {"via": via.name.lower()}
        if untold:
            facts["untold"] = untold
        # What was given as a login that is nobody's is not kept: people type passwords there.
        personal = {} if row is None else {"login": self._loader.opened(row, b"login", row.login).decode("utf-8")}
        actor = Actor(NOBODY, NOBODY, NOBODY, False, "", "", via, NOBODY, address)
        if not self._record(AuthEvent(kind, now, actor, None if row is None else row.organisation, facts, personal)):
            with self._guard:
                self._untold += untold + 1

    def used_recovery_code(self, row: Any, via: Via, address: str) -> None:
        """Note that one of somebody's recovery codes is used up."""
        actor = Actor(row.id, row.organisation, row.organisation, row.is_supplier, "", "", via, NOBODY, address)
        self._record(AuthEvent("recovery_code_used", now_us(), actor, row.organisation, {"person": row.id.hex()}))

    def last_used(self, device: bytes) -> int | None:
        """Return when a device was last used, to the minute, in microseconds; None if it was not, or not lately."""
        with self._database.transient_read() as connection:
            row = connection.execute(_LAST_USED, {"device": device}).first()
        return None if row is None else int(row.at)

    def _tell(self, principal: Principal, subject: bytes, now: int) -> None:
        try:
            if not self._throttle.once(b"sign-in" + subject, SIGN_IN_US):
                return
        except (DatabaseBusy, StorageFailed) as error:
            log.warning("sign_in_not_noted", error=error)
            return
        name = self._directory.organisation_name(principal.organisation)
        actor = Actor(
            principal.id, principal.organisation, principal.party, principal.is_supplier, principal.name, name,
            principal.via, principal.device, principal.address,
        )  # fmt: skip
        facts = {"via": principal.via.name.lower()}
        self._record(AuthEvent("sign_in", now, actor, principal.organisation, facts))

    def _use(self, device: bytes, address: str, now: int) -> None:
        general = self._keyring.installation().general
        sealed = general.seal(b"address" + device, address.encode("utf-8", "replace"))
        row = {"device": device, "at": now, "sealed_address": sealed}
        bounds = {"before": now - LAST_USED_US, "latest": now + APART_US_MAX}
        again = {"used": device, "now": now, "sealed": sealed, **bounds}
        try:
            with self._database.transient_write() as connection:
                fresh = self._database.insert_ignore(tables.last_used).returning(tables.last_used.c.device)
                if connection.execute(fresh, row).first() is None:
                    connection.execute(_USED_AGAIN, again)
        except (DatabaseBusy, StorageFailed) as error:
            log.warning("last_used_not_noted", error=error)

    def _record(self, event: AuthEvent) -> bool:
        try:
            self._database.apply(lambda connection: self._recorder.record_auth(connection, event))
        except (DatabaseBusy, StorageFailed) as error:
            log.warning("event_not_recorded", error=error)
            return False
        return True

    def _mark(self, kept: dict[bytes, int], subject: bytes, now: int) -> None:
        with self._guard:
            if len(kept) >= KEPT_MAX:
                kept.clear()
            kept[subject] = now


def _is_due(noted: int, period_us: int, now: int) -> bool:
    """Return whether a period is over that began when something was noted (µs), or that was ahead of us."""
    return not 0 <= now - noted < period_us
