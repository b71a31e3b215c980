"""From rows to principals: what a person's account, device and grants amount to as of one epoch of rights."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select

from auth import tables
from auth.directory import grant_of
from auth.errors import Paused
from auth.keyring import Keyring
from auth.rights import NO_RIGHTS, Grant, Kind, Principal, Rights, Scope, Standing
from auth.roles import Role, Via
from config.clock import now_us
from config.ids import NOBODY
from config.queries import Query

RIGHTS_MAX = 10_000

_EPOCH = Query(select(tables.epoch.c.value))
_LIVE_PERSON = (
    select(
        tables.person,
        tables.organisation.c.is_supplier,
        tables.organisation.c.second_factor,
    )
    .join(tables.organisation, tables.organisation.c.id == tables.person.c.organisation)
    .where(tables.person.c.ended_at.is_(None), tables.organisation.c.ended_at.is_(None))
)
_BY_LOGIN = _LIVE_PERSON.where(tables.person.c.login_lookup == bindparam("lookup"))
_BY_ID = _LIVE_PERSON.where(tables.person.c.id == bindparam("person"))
_DEVICE = select(tables.device).where(tables.device.c.secret_digest == bindparam("digest"))
_NEEDS_CODE = select(tables.ssh_key.c.needs_code).where(tables.ssh_key.c.device == bindparam("device"))
_DEVICE_BY_ID = select(tables.device).where(tables.device.c.id == bindparam("device"))
_GROUPS = (
    select(tables.membership.c.group_id)
    .join(tables.group, tables.group.c.id == tables.membership.c.group_id)
    .where(tables.membership.c.person == bindparam("person"), tables.group.c.ended_at.is_(None))
)
_GRANTS = select(tables.grants).where(
    tables.grants.c.grantee.in_(bindparam("grantees", expanding=True)), tables.grants.c.to_change.is_(None)
)
_BREAKS = select(tables.grants.c.node).where(
    tables.grants.c.space.in_(bindparam("spaces", expanding=True)),
    tables.grants.c.role == int(Role.BREAK),
    tables.grants.c.to_change.is_(None),
)


@dataclass(frozen=True, slots=True)
class _Loaded:
    epoch: int
    groups: frozenset[bytes]
    rights: Rights


class Loader:
    """Loads principals. Rights of a person are kept for one epoch, and shared by all who sign in as that person."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._guard = threading.Lock()
        self._kept: dict[bytes, _Loaded] = {}

    def epoch(self, connection: Connection) -> int:
        """Return the epoch of rights. Ask before anything that is to hold for it, or what is loaded may be older."""
        [(value,)] = _EPOCH.rows(connection)
        return int(value)

    def by_login(self, connection: Connection, lookup: bytes) -> Any:
        """Return the row of the person of that login, unless they or their organisation have ended."""
        return connection.execute(_BY_LOGIN, {"lookup": lookup}).first()

    def by_id(self, connection: Connection, person: bytes) -> Any:
        """Return the row of a person, unless they or their organisation have ended."""
        return connection.execute(_BY_ID, {"person": person}).first()

    def device_of(self, connection: Connection, digest: bytes) -> Any:
        """Return the row of a device password, good or not."""
        return connection.execute(_DEVICE, {"digest": digest}).first()

    def key_needs_code(self, connection: Connection, device: bytes) -> bool:
        """Return whether a public key is good only together with a code."""
        return bool(connection.execute(_NEEDS_CODE, {"device": device}).scalar())

    def device(self, connection: Connection, device: bytes) -> Any:
        """Return the row of a device, good or not."""
        return connection.execute(_DEVICE_BY_ID, {"device": device}).first()

    def opened(self, row: Any, label: bytes, sealed: bytes) -> bytes:
        """Open what is sealed of a person."""
        return self._keyring.organisation(row.organisation).people.open(label + row.id, sealed)

    def principal(
        self,
        connection: Connection,
        row: Any,
        device: Any,
        epoch: int,
        *,
        via: Via,
        address: str,
        standing: Standing = Standing.FULL,
    ) -> Principal:
        """Return who signed in. `device` None: by the account's own credentials."""
        loaded = self._rights(connection, row, epoch)
        return Principal(
            id=row.id,
            kind=Kind.PERSON,
            organisation=row.organisation,
            party=row.organisation,
            is_supplier=row.is_supplier,
            is_administrator=row.is_administrator,
            login=self.opened(row, b"login", row.login).decode("utf-8"),
            name=self.opened(row, b"name", row.name).decode("utf-8"),
            device=NOBODY if device is None else device.id,
            scope=Scope() if device is None else scope_of(device),
            standing=standing,
            groups=loaded.groups,
            rights=loaded.rights if standing is Standing.FULL else NO_RIGHTS,
            epoch=epoch,
            address=address,
            via=via,
            credential=NOBODY if device is not None else credential_of(row),
        )

    def _rights(self, connection: Connection, row: Any, epoch: int) -> _Loaded:
        kept = self._kept.get(row.id)
        if kept is not None and kept.epoch == epoch:
            return kept
        groups = frozenset(connection.execute(_GROUPS, {"person": row.id}).scalars())
        found: dict[bytes, tuple[Grant, ...]] = {}
        spaces: set[bytes] = set()
        for each in connection.execute(_GRANTS, {"grantees": [row.id, row.organisation, *groups]}):
            grant = grant_of(each)
            found[grant.node] = (*found.get(grant.node, ()), grant)
            spaces.add(grant.space)
        breaks = frozenset(connection.execute(_BREAKS, {"spaces": list(spaces)}).scalars()) if spaces else frozenset()
        loaded = _Loaded(epoch, groups, Rights(found, breaks))
        with self._guard:
            if len(self._kept) >= RIGHTS_MAX:
                self._kept.clear()
            self._kept[row.id] = loaded
        return loaded


def stands(device: Any) -> bool:
    """Return whether a device password is good now, or would be if it were not paused."""
    return device.revoked_at is None and (device.expires_at is None or device.expires_at > now_us())


def require_unpaused(row: Any, device: Any) -> None:
    """Raise Paused where the brake has paused the device or, without one, the account's own credentials."""
    if (row if device is None else device).paused_at is not None:
        raise Paused


def scope_of(device: Any) -> Scope:
    """Return the bounds of a device password."""
    spaces = None if device.spaces is None else frozenset(bytes.fromhex(each) for each in json.loads(device.spaces))
    protocols = None if device.protocols is None else frozenset(Via[each] for each in json.loads(device.protocols))
    return Scope(spaces, device.read_only, protocols, device.expires_at)


def demands_second_factor(row: Any) -> bool:
    """Return whether a password alone is not enough for a person.

    By default it is not for the supplier's people and for all administrators; of others an organisation may demand
    more. Whoever has enrolled a second factor is asked for it.
    """
    return bool(row.second_factor or row.is_administrator or row.totp_secret is not None)


def credential_of(row: Any) -> bytes:
    """Return what changes with a person's password, second factor, or being asked for one. 16 bytes."""
    parts = (row.password_hash or b"", row.totp_secret or b"", b"1" if demands_second_factor(row) else b"0")
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()[:16]
