"""Are people, groups and what they sign in with as the installation's log says? Rows written behind the server's back
are found: somebody made an administrator or a member, an account or a device that ended and stands again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, select

from auth import tables
from auth.devices import bounds_digest
from auth.errors import KeyringError, UnknownKey
from config.ids import NOBODY, id_text
from providers.audit.errors import EntryDamaged
from providers.drive.storage import Storage
from providers.model import Finding


def verify_people(storage: Storage, connection: Connection) -> Iterator[Finding]:
    """Yield what of the directory does not fit the log, and what is sealed under a key that does not open."""
    yield from _People(storage, connection).findings()


class _People:
    """What the log tells of people, groups and devices, and what stands."""

    def __init__(self, storage: Storage, connection: Connection) -> None:
        self._storage = storage
        self._connection = connection
        self._organisations = {"organisation_added": 0, "organisation_ended": 0}
        self._administrators: dict[str, bool] = {}
        self._ended: set[str] = set()
        self._groups: dict[str, bool] = {}
        self._members: set[tuple[str, str]] = set()
        self._devices: dict[str, tuple[str, str | None]] = {}
        self._revoked: set[str] = set()

    def findings(self) -> Iterator[Finding]:
        """Yield what does not fit."""
        for event in self._events():
            self._take(event["kind"], event["facts"], event.get("rows_digest"))
        yield from self._organisation_rows()
        gone = self._gone()
        yield from self._person_rows(gone)
        yield from self._device_rows(gone)
        yield from self._group_rows(gone)

    def _events(self) -> Iterator[dict[str, Any]]:
        """Yield the events of the installation's log. What cannot be opened, `verify_logs` tells of."""
        audit, start = self._storage.audit, 0
        info = next((log for log in audit.logs(self._connection, NOBODY) if log.party == NOBODY), None)
        while info is not None and start < info.size:
            try:
                for entry in audit.entries(self._connection, info, start):
                    start = entry.number + 1
                    yield entry.event
            except EntryDamaged:
                start += 1

    def _take(self, kind: str, facts: dict[str, Any], digest: str | None) -> None:
        person, device, group = (str(facts.get(name, "")) for name in ("person", "device", "group"))
        if kind in self._organisations:
            self._organisations[kind] += 1
        elif kind in ("person_added", "person_changed") and "administrator" in facts:
            self._administrators[person] = bool(facts["administrator"])
        elif kind == "person_ended":
            self._ended.add(person)
        elif kind in ("device_added", "ssh_key_added"):
            self._devices[device] = (person, digest)
        elif kind == "device_revoked":
            self._revoked.add(device)
        elif kind in ("group_added", "group_ended"):
            self._groups[group] = kind == "group_added"
        elif kind == "member_added":
            self._members.add((group, person))
        elif kind == "member_removed":
            self._members.discard((group, person))

    def _rows(self, table: Any) -> list[Any]:
        return list(self._connection.execute(select(table)))

    # --- what stands

    def _organisation_rows(self) -> Iterator[Finding]:
        rows = self._rows(tables.organisation)
        ended = sum(row.ended_at is not None for row in rows)
        standing = {"organisation_added": len(rows), "organisation_ended": ended}
        for kind, told in self._organisations.items():
            if standing[kind] != told:
                did = kind.removeprefix("organisation_")
                yield Finding(
                    "organisations", f"the log tells of {told} that were {did}, and {standing[kind]} stand so"
                )
        for row in rows:
            where = f"organisation {id_text(row.id)}"
            try:
                self._storage.keyring.organisation(row.id)
            except UnknownKey:
                if row.ended_at is None:
                    yield Finding(where, "its key is not in the keystore: what is known of its people cannot be opened")
            except KeyringError as error:
                yield Finding(where, str(error))

    def _gone(self) -> set[str]:
        """Return who cannot sign in any more: those whose account ended, and the people of what has ended."""
        whose = select(tables.person.c.id).join(tables.organisation).where(tables.organisation.c.ended_at.is_not(None))
        return self._ended | {person.hex() for person in self._connection.execute(whose).scalars()}

    def _person_rows(self, gone: set[str]) -> Iterator[Finding]:
        for row in self._rows(tables.person):
            person = row.id.hex()
            where = f"person {id_text(row.id)}"
            told = self._administrators.pop(person, None)
            if told is None:
                yield Finding(where, "the log has no event of their account")
            elif told != row.is_administrator:
                yield Finding(where, f"the log says that they are {'' if told else 'no '}administrator")
            if (row.ended_at is not None) != (person in gone):
                yield Finding(where, f"the log says that the account {'has' if person in gone else 'has not'} ended")
        for person in self._administrators:
            yield Finding(f"person {person}", "their row is missing")

    def _device_rows(self, gone: set[str]) -> Iterator[Finding]:
        needs_code = {row.device: row.needs_code for row in self._rows(tables.ssh_key)}
        for row in self._rows(tables.device):
            device = row.id.hex()
            where = f"device {id_text(row.id)}"
            person, digest = self._devices.pop(device, (None, None))
            if person is None:
                yield Finding(where, "the log has no event of it")
                continue
            is_revoked = device in self._revoked or person in gone
            if row.person.hex() != person:
                yield Finding(where, f"the log says that it is one of person {person}")
            if (row.revoked_at is not None) != is_revoked:
                yield Finding(where, f"the log says that it was {'' if is_revoked else 'not '}revoked")
            if digest is not None and not is_revoked and digest != bounds_digest(row, needs_code.get(row.id)).hex():
                yield Finding(where, "its secret, or what it is good for, is not what was recorded")
        for device in self._devices:
            yield Finding(f"device {device}", "its row is missing")

    def _group_rows(self, gone: set[str]) -> Iterator[Finding]:
        for row in self._rows(tables.group):
            where = f"group {id_text(row.id)}"
            told = self._groups.pop(row.id.hex(), None)
            if told is None:
                yield Finding(where, "the log has no event of it")
            elif told != (row.ended_at is None):
                yield Finding(where, f"the log says that it {'stands' if told else 'was ended'}")
        for group in self._groups:
            yield Finding(f"group {group}", "its row is missing")
        standing = {(row.group_id.hex(), row.person.hex()) for row in self._rows(tables.membership)}
        over = {row.id.hex() for row in self._rows(tables.group) if row.ended_at is not None}
        told_of = {(group, person) for group, person in self._members if person not in gone and group not in over}
        for group, person in sorted(standing - told_of):
            yield Finding(f"group {group}", f"the log says that person {person} is not in it")
        for group, person in sorted(told_of - standing):
            yield Finding(f"group {group}", f"the log says that person {person} is in it")
