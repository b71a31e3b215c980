"""Device passwords: what a mounted drive or a script signs in with, in the bounds that were set for it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, insert, select, update

from auth import credentials, tables
from auth.errors import UnknownName
from auth.events import Actor
from auth.people import Device
from auth.records import ORGANISATION_OF, SYSTEM, Records, checked_text
from auth.roles import Via
from config.clock import now_us
from config.ids import new_id


class Devices(Records):
    """The part of the directory that keeps device passwords."""

    def add_device(
        self,
        person: bytes,
        label: str,
        *,
        spaces: Iterable[bytes] | None = None,
        read_only: bool = False,
        protocols: Iterable[Via] | None = None,
        expires_at: int | None = None,
        actor: Actor = SYSTEM,
    ) -> tuple[Device, str]:
        """Make a device password; return what is kept of it, and the password, to be shown once."""
        label = checked_text("label", label)
        found = self.person(person)
        password = credentials.new_device_password()
        made = Device(
            new_id(),
            person,
            label,
            None if spaces is None else frozenset(spaces),
            read_only,
            None if protocols is None else frozenset(protocols),
            now_us(),
            expires_at,
            None,
        )
        row = {
            "id": made.id, "person": person, "secret_digest": credentials.device_digest(password),
            "label": self._sealed(found.organisation, b"device" + made.id, label),
            "spaces": None if made.spaces is None else json.dumps(sorted(space.hex() for space in made.spaces)),
            "read_only": read_only,
            "protocols": None if made.protocols is None else json.dumps(sorted(via.name for via in made.protocols)),
            "created_at": made.created_at, "expires_at": expires_at, "revoked_at": None,
        }  # fmt: skip

        def work(connection: Connection) -> None:
            self._require(connection, tables.person, "person", person)
            connection.execute(insert(tables.device), row)
            facts = {"device": made.id.hex(), "person": person.hex()}
            self._tell(connection, actor, "device_added", found.organisation, facts, {"label": label}, felt=False)

        self._database.apply(work)
        return made, password

    def revoke_device(self, device: bytes, *, actor: Actor = SYSTEM) -> None:
        """Let a device password be good for nothing, at once."""

        def work(connection: Connection) -> None:
            owner = select(tables.device.c.person).where(tables.device.c.id == device)
            person = connection.execute(owner).scalar_one_or_none()
            if person is None:
                raise UnknownName(kind="device", name=device.hex())
            live = (tables.device.c.id == device) & tables.device.c.revoked_at.is_(None)
            connection.execute(update(tables.device).where(live).values(revoked_at=now_us()))
            organisation = connection.execute(ORGANISATION_OF, {"person": person}).scalar_one_or_none()
            self._tell(connection, actor, "device_revoked", organisation, {"device": device.hex()})

        self._database.apply(work)

    def devices(self, person: bytes) -> list[Device]:
        """Return the device passwords of a person, oldest first, revoked ones included."""
        organisation = self.person(person).organisation
        with self._database.read() as connection:
            rows = connection.execute(select(tables.device).where(tables.device.c.person == person)).all()
        found = [self._device(row, organisation) for row in rows]
        return sorted(found, key=lambda each: each.created_at)

    def _device(self, row: Any, organisation: bytes) -> Device:
        return Device(
            id=row.id,
            person=row.person,
            label=self._opened(organisation, b"device" + row.id, row.label),
            spaces=None if row.spaces is None else frozenset(bytes.fromhex(each) for each in json.loads(row.spaces)),
            read_only=row.read_only,
            protocols=None if row.protocols is None else frozenset(Via[each] for each in json.loads(row.protocols)),
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
        )
