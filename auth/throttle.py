"""Waiting after failed sign-ins, by account and by network, decided before any slow hash.

A known device is asked nothing here: a stranger who guesses at an account does not lock its drives out.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress

from sqlalchemy import Connection, bindparam, delete, select

from auth import tables
from auth.errors import Throttled
from auth.keyring import Keyring
from config.clock import SECOND_US, now_us
from config.database import Database
from config.settings.schema import ThrottleSettings

_ROW = select(tables.throttle.c.failures, tables.throttle.c.blocked_until).where(
    tables.throttle.c.subject == bindparam("subject")
)
_FORGET = delete(tables.throttle).where(tables.throttle.c.subject == bindparam("b_subject"))


class Throttle:
    """Counts failures in a row, and tells how long to wait."""

    def __init__(self, database: Database, keyring: Keyring, settings: ThrottleSettings) -> None:
        self._database = database
        self._keyring = keyring
        self._settings = settings

    def check(self, account: str, address: str) -> None:
        """Raise Throttled while the account or the network has to wait."""
        now = now_us()
        with self._database.transient_read() as connection:
            for subject in self._subjects(account, address):
                row = connection.execute(_ROW, {"subject": subject}).first()
                if row is not None and row.blocked_until > now:
                    raise Throttled(retry_after=1 + (row.blocked_until - now) // SECOND_US)

    def failed(self, account: str, address: str) -> None:
        """Count a failure against both."""
        account_key, network_key = self._subjects(account, address)
        with self._database.transient_write() as connection:
            self._count(connection, account_key, self._settings.account_failures_free)
            self._count(connection, network_key, self._settings.network_failures_free)

    def succeeded(self, account: str, address: str) -> None:
        """Forget the failures of the account; the network's stay, lest one good account launder guesses at others."""
        account_key, _ = self._subjects(account, address)
        with self._database.transient_read() as connection:
            if connection.execute(_ROW, {"subject": account_key}).first() is None:
                return
        with self._database.transient_write() as connection:
            connection.execute(_FORGET, {"b_subject": account_key})

    def release(self, account: str) -> None:
        """Let an account try again at once: an administrator's act."""
        with self._database.transient_write() as connection:
            connection.execute(_FORGET, {"b_subject": self._key(b"account", account)})

    def _count(self, connection: Connection, subject: bytes, free: int) -> None:
        row = connection.execute(_ROW, {"subject": subject}).first()
        failures = 1 if row is None else row.failures + 1
        now = now_us()
        over = failures - free
        wait = 0
        if failures >= self._settings.account_failures_max and free == self._settings.account_failures_free:
            wait = 100 * 365 * 86400
        elif over > 0:
            wait = min(self._settings.wait_seconds_max, self._settings.wait_seconds_first << min(over - 1, 20))
        values = {"subject": subject, "failures": failures, "last_at": now, "blocked_until": now + wait * SECOND_US}
        connection.execute(self._database.upsert(tables.throttle), values)

    def _subjects(self, account: str, address: str) -> tuple[bytes, bytes]:
        return self._key(b"account", account), self._key(b"network", self._network(address))

    def _key(self, kind: bytes, text: str) -> bytes:
        digests = self._keyring.installation().digests
        return hmac.digest(digests, kind + b"\0" + text.encode("utf-8"), hashlib.sha256)

    def _network(self, address: str) -> str:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return address
        bits = self._settings.network_ipv4_bits if parsed.version == 4 else self._settings.network_ipv6_bits
        return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))
