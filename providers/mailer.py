"""Tells by mail of what was paused: at least once, by one process of however many, and never in anybody's way.

A mail names no space and no document. Whose device it is stands in it only where it travels within TLS.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from auth.directory import Directory
from auth.errors import KeyringError, UnknownName
from config import mail
from config.clock import iso_utc
from config.database import Database
from config.errors import MellanrumError
from config.ids import id_text
from config.logging import get_log
from config.settings.schema import MailSettings
from providers.alerts import Alert, Alerts
from providers.audit.lease import Lease

#: How often a process looks whether there is anything to tell.
LOOK_SECONDS: Final = 5.0
#: Longer than one mail may take, lest two processes send the same.
LEASE_SECONDS: Final = 300
_log = get_log("mail")


class Mailer:
    """Sends what is due, in a thread of its own."""

    def __init__(self, database: Database, alerts: Alerts, directory: Directory, settings: MailSettings) -> None:
        self._alerts = alerts
        self._directory = directory
        self._settings = settings
        self._lease = Lease(database, b"mail", seconds=LEASE_SECONDS)
        self._next_look = 0.0
        self._thread: threading.Thread | None = None

    def step(self) -> None:
        """See what is due, and begin to send it."""
        if not self._settings.host or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        if self._thread is not None and self._thread.is_alive():
            return
        due = self._alerts.to_mail()
        if due and self._lease.held():
            self._thread = threading.Thread(target=self._send_all, args=(due,), name="mail", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Wait a moment for what is under way. What is not sent by then is sent by whoever starts next."""
        if self._thread is not None:
            self._thread.join(1.0)

    def _send_all(self, due: list[Alert]) -> None:
        try:
            for alert in due:
                self._send(alert)
            self._lease.release()
        except Exception as error:
            _log.error("mail_broke", error)

    def _send(self, alert: Alert) -> None:
        taken = False
        try:
            mail.send(self._settings, id_text(alert.id), "Mellanrum: a device was paused", self._text(alert))
            taken = True
        except MellanrumError as error:
            _log.warning("mail_not_taken", error=error, alert=alert.id, count=alert.mail_tries + 1)
        self._alerts.mailed(alert, taken=taken)

    def _text(self, alert: Alert) -> str:
        identity = id_text(alert.id)
        whose = "" if self._settings.security == "none" else f"It is {self._whose(alert)}.\n"
        return (
            f"At {iso_utc(alert.at)} a device was paused: within a short time it changed {alert.rewritten}\n"
            f"documents, deleted {alert.deleted} and moved {alert.moved}, far more than it ever did.\n"
            f"Harmful programs do so; so do people who tidy up.\n{whose}\nEvery version from before is kept.\n\n"
            f"  mellanrum alert show {identity}      what it did, and where\n"
            f"  mellanrum alert put-back {identity}  the spaces as they were the moment before\n"
            f"  mellanrum alert resume {identity}    let it go on\n"
        )

    def _whose(self, alert: Alert) -> str:
        try:
            login = self._directory.person(alert.person).login
            labels = {device.id: device.label for device in self._directory.devices(alert.person)}
        except (UnknownName, KeyringError):
            return "one of somebody who has gone since"
        if not alert.is_device:
            return f"the password of {login}"
        return f"{labels.get(alert.subject, 'a device')} of {login}"
