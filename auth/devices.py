"""Device passwords and public keys: what a mounted drive or a script signs in with, in the bounds set for it.

A public key is a device that shows a signature where others show a password: label, bounds, expiry, revocation and last
use are the same. Its digest is keyed and of its person's own, so that nobody can tell from the tables whose a known key
is, and one key may serve several accounts.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from auth import credentials, tables
from auth.errors import KeyringError, UnknownName
from auth.events import Actor
from auth.keyring import Keyring
from auth.people import Device
from auth.records import ORGANISATION_OF, SYSTEM, Records, checked_text, unique
from auth.roles import Via
from config.clock import now_us
from config.ids import new_id

_DEVICES = select(tables.device, tables.ssh_key.c.public_key, tables.ssh_key.c.needs_code).outerjoin(
    tables.ssh_key, tables.ssh_key.c.device == tables.device.c.id
)
_LABEL = (
    select(tables.device.c.label, tables.person.c.organisation)
    .join(tables.person, tables.person.c.id == tables.device.c.person)
    .where(tables.device.c.id == bindparam("device"))
)


def key_digest(keyring: Keyring, person: bytes, public_key: bytes) -> bytes:
    """Return the digest by which a person's public key is looked up."""
    return hmac.digest(keyring.installation().digests, b"ssh key" + person + public_key, hashlib.sha256)


def bounds_digest(row: Any, needs_code: bool | None) -> bytes:
    """Return the digest of a row of `device`: by what secret, for whom and within which bounds it is good. The event of
    its making carries it, so that `verify` finds whoever changed the row. `needs_code` is None of a password.
    """
    said = [row.id.hex(), row.person.hex(), row.secret_digest.hex(), row.spaces, bool(row.read_only), row.protocols]
    told = json.dumps([*said, row.created_at, row.expires_at, needs_code], separators=(",", ":"))
    return hashlib.sha256(told.encode("ascii")).digest()


class Devices(Records):
    """The part of the directory that keeps device passwords and public keys."""

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
        password = credentials.new_device_password()
        made = _bounded(new_id(), person, label, spaces, read_only, protocols, expires_at)
        return self._add(made, credentials.device_digest(password), "device_added", actor), password

    def add_key(
        self,
        person: bytes,
        label: str,
        public_key: bytes,
        *,
        spaces: Iterable[bytes] | None = None,
        read_only: bool = False,
        expires_at: int | None = None,
        needs_code: bool = False,
        actor: Actor = SYSTEM,
    ) -> Device:
        """Let a person sign in over SFTP by a public key (the blob of RFC 4253 6.6). Raises NameTaken if they do."""
        bounded = _bounded(new_id(), person, label, spaces, read_only, [Via.SFTP], expires_at)
        made = replace(bounded, public_key=public_key, needs_code=needs_code)
        digest = key_digest(self._keyring, person, public_key)
        with unique("sshkey", credentials.key_fingerprint(public_key)):
            return self._add(made, digest, "ssh_key_added", actor)

    def _add(self, made: Device, digest: bytes, kind: str, actor: Actor) -> Device:
        person = made.person
        organisation = self.person(person).organisation
        row = {
            "id": made.id, "person": person, "secret_digest": digest,
            "label": self._sealed(organisation, b"device" + made.id, made.label),
            "spaces": None if made.spaces is None else json.dumps(sorted(space.hex() for space in made.spaces)),
            "read_only": made.read_only,
            "protocols": None if made.protocols is None else json.dumps(sorted(via.name for via in made.protocols)),
            "created_at": made.created_at, "expires_at": made.expires_at, "revoked_at": None, "paused_at": None,
        }  # fmt: skip

        def work(connection: Connection) -> None:
            self._require(connection, tables.person, "person", person)
            if made.public_key is not None:
                self._forget_revoked_key(connection, digest)
            connection.execute(insert(tables.device), row)
            if made.public_key is not None:
                sealed = self._seal(organisation, b"public key" + made.id, made.public_key)
                key = {"device": made.id, "public_key": sealed, "needs_code": made.needs_code}
                connection.execute(insert(tables.ssh_key), key)
            facts = {"device": made.id.hex(), "person": person.hex()}
            standing = connection.execute(select(tables.device).where(tables.device.c.id == made.id)).one()
            stands = bounds_digest(standing, made.needs_code if made.public_key is not None else None)
            told = {"label": made.label}
            self._tell(connection, actor, kind, organisation, facts, told, felt=False, rows_digest=stands)

        self._database.apply(work)
        return made

    def _forget_revoked_key(self, connection: Connection, digest: bytes) -> None:
        """Let a key be added again that was revoked: the old row gives up its digest for a random one."""
        gone = (tables.device.c.secret_digest == digest) & tables.device.c.revoked_at.is_not(None)
        connection.execute(update(tables.device).where(gone).values(secret_digest=secrets.token_bytes(32)))

    def revoke_device(self, device: bytes, *, actor: Actor = SYSTEM) -> None:
        """Let a device password, or a public key, be good for nothing, at once."""

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
        """Return the device passwords and keys of a person, oldest first, revoked ones included."""
        organisation = self.person(person).organisation
        with self._database.read() as connection:
            rows = connection.execute(_DEVICES.where(tables.device.c.person == person)).all()
        found = [self._device(row, organisation) for row in rows]
        return sorted(found, key=lambda each: each.created_at)

    def device_label(self, device: bytes) -> str:
        """Return what a device is called, or nothing for an id that is none. One revoked, or whose person left,
        keeps its label.
        """
        with self._database.read() as connection:
            row = connection.execute(_LABEL, {"device": device}).first()
        try:
            return "" if row is None else self._opened(row.organisation, b"device" + device, row.label)
        except KeyringError:  # destroyed, or damaged: what else is told with the label goes on
            return ""

    def _device(self, row: Any, organisation: bytes) -> Device:
        people = self._keyring.organisation(organisation).people
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
            paused_at=row.paused_at,
            public_key=None if row.public_key is None else people.open(b"public key" + row.id, row.public_key),
            needs_code=bool(row.needs_code),
        )


def _bounded(
    identity: bytes,
    person: bytes,
    label: str,
    spaces: Iterable[bytes] | None,
    read_only: bool,
    protocols: Iterable[Via] | None,
    expires_at: int | None,
) -> Device:
    return Device(
        identity,
        person,
        checked_text("label", label),
        None if spaces is None else frozenset(spaces),
        read_only,
        None if protocols is None else frozenset(protocols),
        now_us(),
        expires_at,
        None,
    )
