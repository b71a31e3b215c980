"""Waiting after failed sign-ins, by account and by network, decided before any slow hash.

An attempt is counted against its account before the password is looked at, and taken off again if it was right: so no
number of attempts at the same time gets past the limit. A network from which an account has signed in before has a
count of its own, so that strangers cannot lock its people out; both counts together stay within the limit.
Device passwords are asked nothing here: nobody guesses 140 random bits.

Where the disk takes nothing, no attempt can be counted, and none is let through: else a full disk would be as many
guesses as anybody likes. What comes after the count keeps nobody out.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, select, update

from auth import tables
from auth.errors import AccountLocked, SignInUncounted, Throttled
from auth.keyring import Keyring
from config.addresses import parsed
from config.clock import APART_US_MAX, SECOND_US, now_us
from config.database import Database
from config.errors import StorageFailed
from config.logging import get_log
from config.settings.schema import ThrottleSettings

#: How long a network from which an account has signed in is known.
KNOWN_US = 30 * 86_400 * SECOND_US
#: After so long without a failure a network's count begins anew.
NETWORK_MEMORY_US = 3600 * SECOND_US
#: Of the failures that an account may have in a row, one in so many is kept for the networks it is known from.
KNOWN_SHARE = 5

log = get_log("auth")
_TABLE = tables.throttle
_ROW = select(_TABLE).where(_TABLE.c.subject == bindparam("subject"))
_FAILED = select(_TABLE).where(_TABLE.c.failures > 0)
_FORGET = delete(_TABLE).where(_TABLE.c.subject.in_(bindparam("subjects", expanding=True)))
_STALE = delete(_TABLE).where(_TABLE.c.last_at < bindparam("before"), _TABLE.c.blocked_until < bindparam("before"))
_GIVE_BACK = (
    update(_TABLE)
    .where(_TABLE.c.subject == bindparam("counted"), _TABLE.c.failures > 0)
    .values(failures=_TABLE.c.failures - 1)
)
_BLOCK = (
    update(_TABLE)
    .where(_TABLE.c.subject == bindparam("counted"))
    .values(blocked_until=bindparam("until"), last_at=bindparam("now"))
)
_AGAIN = (
    update(_TABLE)
    .where(
        _TABLE.c.subject == bindparam("told"),
        (_TABLE.c.last_at <= bindparam("before")) | (_TABLE.c.last_at > bindparam("latest")),
    )
    .values(last_at=bindparam("now"))
)
#: What a clock noted that was ahead: the failures count, but nobody waits for a moment that is years away.
_AHEAD = tuple(
    update(_TABLE).where(column > bindparam("latest")).values({column.name: bindparam("now")})
    for column in (_TABLE.c.last_at, _TABLE.c.blocked_until)
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to sign in, counted already. `place` is the account as seen from the network."""

    strangers: bytes
    known: bytes
    network: bytes
    place: bytes
    is_known: bool

    @property
    def counted(self) -> bytes:
        """The subject that the attempt counts against."""
        return self.known if self.is_known else self.strangers


@dataclass(frozen=True, slots=True)
class Tries:
    """How an account stands: failures in a row, until when it waits (µs; 0: it does not), and whether it takes no
    password any longer, from networks it is known from or from all others.
    """

    failures: int
    waits_until: int
    is_locked: bool


class Throttle:
    """Counts failures in a row, and tells how long to wait. Accounts are keyed digests of what was given as login."""

    def __init__(self, database: Database, keyring: Keyring, settings: ThrottleSettings) -> None:
        self._database = database
        self._keyring = keyring
        self._settings = settings

    def begin(self, account: bytes, address: str) -> Attempt:
        """Count an attempt to sign in by something that can be guessed.

        Raises Throttled if it has to wait, AccountLocked if waiting does not help, SignInUncounted on a full disk.
        """
        try:
            return self._begin(account, address)
        except StorageFailed as error:
            log.warning("attempt_not_counted", error=error)
            raise SignInUncounted from error

    def _begin(self, account: bytes, address: str) -> Attempt:
        network = self._network(address)
        strangers, known, place = (self._key(kind, account) for kind in (b"account", b"known", b"place" + network))
        now = now_us()
        with self._database.transient_write() as connection:
            seen = connection.execute(_ROW, {"subject": place}).first()
            is_known = seen is not None and seen.last_at > now - KNOWN_US
            attempt = Attempt(strangers, known, self._key(b"network", network), place, is_known)
            self._require_free(connection, attempt.counted, now, self._failures_max(is_known=is_known))
            if not is_known:
                self._require_free(connection, attempt.network, now)
            failures = connection.execute(self._counting(attempt.counted, now)).scalar_one()
        if failures > self._failures_max(is_known=is_known):
            raise AccountLocked(retry_after=self._settings.wait_seconds_max)
        return attempt

    def failed(self, attempt: Attempt) -> None:
        """Let the account, and the network, wait from now on if they have failed too often."""
        now = now_us()

        def work(connection: Connection) -> None:
            row = connection.execute(_ROW, {"subject": attempt.counted}).first()
            failures = 1 if row is None else row.failures
            self._block(connection, attempt.counted, failures - self._settings.account_failures_free, now)
            failures = connection.execute(self._counting(attempt.network, now, NETWORK_MEMORY_US)).scalar_one()
            self._block(connection, attempt.network, failures - self._settings.network_failures_free, now)

        self._write_if_there_is_room(work)

    def halfway(self, attempt: Attempt) -> None:
        """Take the attempt off the count, and no more: the password was right, but a second factor is due."""
        self._write_if_there_is_room(lambda connection: connection.execute(_GIVE_BACK, {"counted": attempt.counted}))

    def succeeded(self, attempt: Attempt) -> None:
        """Begin the account's counts anew, and know the network. The network's own count stays, lest one good account
        launder guesses at others.
        """

        def work(connection: Connection) -> None:
            connection.execute(_FORGET, {"subjects": [attempt.strangers, attempt.known]})
            place = {"subject": attempt.place, "failures": 0, "last_at": now_us(), "blocked_until": 0}
            connection.execute(self._database.upsert(_TABLE), place)

        self._write_if_there_is_room(work)

    def device_failed(self, address: str) -> None:
        """Count a device password that is none; raise Throttled if the network has shown too many.

        It never makes passwords of people wait: a drive that was revoked goes on asking.
        """
        subject = self._key(b"devices", self._network(address))
        now = now_us()

        def work(connection: Connection) -> None:
            self._require_free(connection, subject, now)
            failures = connection.execute(self._counting(subject, now, NETWORK_MEMORY_US)).scalar_one()
            self._block(connection, subject, failures - self._settings.network_failures_free, now)

        self._write_if_there_is_room(work)

    def _write_if_there_is_room(self, work: Callable[[Connection], object]) -> None:
        try:
            with self._database.transient_write() as connection:
                work(connection)
        except StorageFailed as error:
            log.warning("attempt_not_counted", error=error)

    def release(self, account: bytes) -> None:
        """Let an account try again at once: an administrator's act, or a new password."""
        with self._database.transient_write() as connection:
            connection.execute(_FORGET, {"subjects": list(self._subjects(account))})

    def tries(self, accounts: Iterable[bytes]) -> dict[bytes, Tries]:
        """Return how accounts stand of which an attempt failed since the last that did not."""
        with self._database.transient_read() as connection:
            rows = {row.subject: row for row in connection.execute(_FAILED)}
        found = {}
        for account in accounts:
            counts = [(rows.get(key), is_known) for key, is_known in self._subjects(account).items()]
            seen = [
                (row, row.failures >= self._failures_max(is_known=known)) for row, known in counts if row is not None
            ]
            if seen:
                failures, until = sum(row.failures for row, _ in seen), max(row.blocked_until for row, _ in seen)
                found[account] = Tries(failures, until if until > now_us() else 0, any(full for _, full in seen))
        return found

    def sweep(self) -> int:
        """Forget what nobody has been about for a month; return how much. For who keeps the installation in order.

        After a clock that was ahead was put right, no wait is longer than the longest there is.
        """
        now = now_us()
        longest = (0, self._settings.wait_seconds_max * SECOND_US)
        with self._database.transient_write() as connection:
            for statement, ahead in zip(_AHEAD, longest, strict=True):
                connection.execute(statement, {"latest": now + ahead + APART_US_MAX, "now": now})
            return int(connection.execute(_STALE, {"before": now - KNOWN_US}).rowcount)

    def once(self, about: bytes, period_us: int) -> bool:
        """Return whether something happens for the first time in a period, for all processes together."""
        subject, now = self._key(b"once", about), now_us()
        row = {"subject": subject, "failures": 0, "last_at": now, "blocked_until": 0}
        with self._database.transient_write() as connection:
            fresh = self._database.insert_ignore(_TABLE).returning(_TABLE.c.subject)
            if connection.execute(fresh, row).first() is not None:
                return True
            again = {"told": subject, "before": now - period_us, "latest": now + APART_US_MAX, "now": now}
            found = connection.execute(_AGAIN, again)
            return found.rowcount == 1

    def _subjects(self, account: bytes) -> dict[bytes, bool]:
        """Return what an account is counted under, and whether that is for networks it is known from."""
        return {self._key(b"account", account): False, self._key(b"known", account): True}

    def _failures_max(self, *, is_known: bool) -> int:
        reserved = self._settings.account_failures_max // KNOWN_SHARE
        return reserved if is_known else self._settings.account_failures_max - reserved

    def _require_free(self, connection: Connection, subject: bytes, now: int, failures_max: int | None = None) -> None:
        row = connection.execute(_ROW, {"subject": subject}).first()
        if row is not None and row.blocked_until > now:
            if failures_max is not None and row.failures >= failures_max:
                raise AccountLocked(retry_after=self._settings.wait_seconds_max)
            waits = (row.blocked_until - now) // SECOND_US
            raise Throttled(retry_after=1 + min(waits, self._settings.wait_seconds_max))

    def _counting(self, subject: bytes, now: int, memory_us: int | None = None) -> Any:
        """Return a statement that counts one more failure and returns how many there are."""
        row = {"subject": subject, "failures": 1, "last_at": now, "blocked_until": 0}
        more: Any = _TABLE.c.failures + 1
        if memory_us is not None:
            more = case((_TABLE.c.last_at < now - memory_us, 1), else_=more)
        statement = self._database.insert(_TABLE).values(row)
        changed = {"failures": more, "last_at": now}
        return statement.on_conflict_do_update(index_elements=["subject"], set_=changed).returning(_TABLE.c.failures)

    def _block(self, connection: Connection, subject: bytes, over: int, now: int) -> None:
        if over <= 0:
            return
        settings = self._settings
        wait = min(settings.wait_seconds_max, settings.wait_seconds_first << min(over - 1, 20))
        connection.execute(_BLOCK, {"counted": subject, "until": now + wait * SECOND_US, "now": now})

    def _key(self, kind: bytes, subject: bytes) -> bytes:
        digests = self._keyring.installation().digests
        return hmac.digest(digests, b"throttle " + kind + b"\0" + subject, hashlib.sha256)

    def _network(self, address: str) -> bytes:
        found = parsed(address)
        if found is None:
            return address.encode("utf-8", "replace")
        bits = self._settings.network_ipv4_bits if found.version == 4 else self._settings.network_ipv6_bits
        return ipaddress.ip_network((found, bits), strict=False).network_address.packed
