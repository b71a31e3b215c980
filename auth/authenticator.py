"""One authenticator for every front door: from what was shown to a principal, and whether it still holds.

A principal is made only after every proof has been seen. What was decided holds for one epoch of rights: each use of a
principal asks for the epoch, which is one indexed look-up, and loads anew only when it has changed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from sqlalchemy import Connection, bindparam, select, update

from auth import credentials, tables
from auth.directory import Directory, bump, grant_of
from auth.errors import Revoked, SignInRefused
from auth.events import Actor, AuthEvent, Recorder
from auth.keyring import Keyring
from auth.rights import NO_RIGHTS, Grant, Kind, Principal, Rights, Scope, Standing
from auth.roles import Role, Via
from auth.throttle import Throttle
from config.clock import SECOND_US, now_us
from config.database import Database
from config.ids import NOBODY
from config.settings.schema import ThrottleSettings

CACHED_MAX = 10_000
LAST_USED_US = 60 * SECOND_US
SIGN_IN_EVENT_US = 600 * SECOND_US

_EPOCH = select(tables.epoch.c.value)
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
_DEVICE_BY_ID = select(tables.device).where(tables.device.c.id == bindparam("device"))
_GROUPS = select(tables.membership.c.group_id).where(tables.membership.c.person == bindparam("person"))
_GRANTS = select(tables.grants).where(
    tables.grants.c.grantee.in_(bindparam("grantees", expanding=True)), tables.grants.c.to_change.is_(None)
)
_BREAKS = select(tables.grants.c.node).where(
    tables.grants.c.space.in_(bindparam("spaces", expanding=True)),
    tables.grants.c.role == int(Role.BREAK),
    tables.grants.c.to_change.is_(None),
)


@dataclass(frozen=True, slots=True)
class _Cached:
    principal: Principal
    until: int | None


class Authenticator:
    """Signs people and devices in. Safe to use from any number of threads."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        directory: Directory,
        recorder: Recorder,
        settings: ThrottleSettings | None = None,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._directory = directory
        self._recorder = recorder
        self._settings = settings or ThrottleSettings()
        self.throttle = Throttle(database, keyring, self._settings)
        self._guard = threading.Lock()
        self._signed_in: dict[bytes, _Cached] = {}
        self._loaded: dict[tuple[bytes, bytes, Via], Principal] = {}
        self._noted: dict[tuple[str, bytes], int] = {}

    # --- signing in

    def basic(self, login: str, password: str, *, via: Via, address: str) -> Principal:
        """Sign in by a name and a password: a device's, or, where no second factor is demanded, the person's own.

        `DOMAIN\\user` is taken for `user`. Raises SignInRefused, Throttled.
        """
        login = login.rpartition("\\")[2]
        key = self._cache_key(login, password, address)
        cached = self._signed_in.get(key)
        if cached is not None and (cached.until is None or cached.until > now_us()):
            with self._database.read() as connection:
                if cached.principal.epoch == self.epoch(connection):
                    found = replace(cached.principal, address=address, via=via)
                    self._note_use(found)
                    return found
        if credentials.is_device_password(password):
            principal, until = self._by_device(login, password, via, address), None
        else:
            principal = self._by_own_password(login, password, via, address)
            until = now_us() + self._settings.password_cache_seconds * SECOND_US
        self._remember(key, _Cached(principal, until))
        self._note_use(principal)
        return principal

    def password_then_code(self, login: str, password: str, code: str | None, *, via: Via, address: str) -> Principal:
        """Sign in by the person's own password and, where they have one or it is demanded, the second factor.

        Without a code the principal stands HALF, and may do nothing. A recovery code counts as a code, once.
        Raises SignInRefused, Throttled.
        """
        row = self._password_row(login, password, address)
        demanded = row.totp_secret is not None or _demands_second_factor(row)
        standing = Standing.FULL
        if demanded:
            if code is None:
                standing = Standing.HALF
            elif not self._code_fits(row, code):
                self._refuse(login, address)
        self.throttle.succeeded(login.casefold(), address)
        with self._database.read() as connection:
            return replace(self._load(connection, row, None, via, address), standing=standing)

    def _by_device(self, login: str, password: str, via: Via, address: str) -> Principal:
        lookup = self._keyring.installation().lookup(b"login", login)
        with self._database.read() as connection:
            device = connection.execute(_DEVICE, {"digest": credentials.device_digest(password)}).first()
            row = None
            if device is not None and _stands(device):
                row = connection.execute(_BY_ID, {"person": device.person}).first()
            if row is not None and hmac.compare_digest(row.login_lookup, lookup):
                return self._load(connection, row, device, via, address)
        # 140 random bits are not guessed: a device password that fails is old or mistyped, and only the network waits.
        self.throttle.check("", address)
        self._refuse("", address)

    def _by_own_password(self, login: str, password: str, via: Via, address: str) -> Principal:
        row = self._password_row(login, password, address)
        if row.totp_secret is not None or _demands_second_factor(row):
            self._refuse(login, address)
        self.throttle.succeeded(login.casefold(), address)
        with self._database.read() as connection:
            return self._load(connection, row, None, via, address)

    def _password_row(self, login: str, password: str, address: str) -> Any:
        """Return the person's row if the password fits; a name that is unknown costs as much as a wrong password."""
        self.throttle.check(login.casefold(), address)
        if not login or not password:
            self._refuse(login, address)
        with self._database.read() as connection:
            lookup = self._keyring.installation().lookup(b"login", login)
            row = connection.execute(_BY_LOGIN, {"lookup": lookup}).first()
        phc = None
        if row is not None and row.password_hash is not None:
            people = self._keyring.organisation(row.organisation).people
            phc = people.open(b"password" + row.id, row.password_hash)
        if not credentials.password_fits(password, phc) or row is None:
            self._refuse(login, address)
        return row

    def _code_fits(self, row: Any, code: str) -> bool:
        """Take a code of the second factor, or a recovery code: each once."""
        if row.totp_secret is not None:
            secret = self._keyring.organisation(row.organisation).people.open(b"totp" + row.id, row.totp_secret)
            step = credentials.totp_step(secret.decode("ascii"), code, int(time.time()))
            if step is not None and self._database.apply(lambda c: self._take_step(c, row.id, step)):
                return True
        return self._database.apply(lambda c: self._take_recovery_code(c, row.id, code))

    def _take_step(self, connection: Connection, person: bytes, step: int) -> bool:
        chosen = (tables.person.c.id == person) & (tables.person.c.totp_last_step < step)
        return connection.execute(update(tables.person).where(chosen).values(totp_last_step=step)).rowcount == 1

    def _take_recovery_code(self, connection: Connection, person: bytes, code: str) -> bool:
        codes = tables.recovery_code.c
        unused = (
            (codes.person == person) & (codes.digest == credentials.recovery_digest(code)) & codes.used_at.is_(None)
        )
        return connection.execute(update(tables.recovery_code).where(unused).values(used_at=now_us())).rowcount == 1

    def _refuse(self, login: str, address: str) -> NoReturn:
        self.throttle.failed(login.casefold(), address)
        actor = Actor(NOBODY, NOBODY, NOBODY, False, login, "", Via.WEB, NOBODY, address)
        event = AuthEvent("sign_in_refused", now_us(), actor, None, {}, {"login": login})
        self._database.apply(lambda connection: self._recorder.record_auth(connection, event))
        raise SignInRefused

    # --- holding

    def epoch(self, connection: Connection) -> int:
        """Return the epoch of rights: what was decided under another must be asked anew."""
        return int(connection.execute(_EPOCH).scalar_one())

    def bump(self, connection: Connection) -> None:
        """Let everybody's rights be asked anew."""
        bump(connection)

    def refresh(self, principal: Principal, connection: Connection) -> Principal:
        """Return the principal as of now, through `connection`. Raises Revoked if what it signed in with is no more."""
        if principal.scope.expires_at is not None and principal.scope.expires_at <= now_us():
            raise Revoked
        epoch = self.epoch(connection)
        if principal.epoch == epoch:
            return principal
        if principal.kind is Kind.OPERATOR:
            return replace(principal, epoch=epoch)
        key = (principal.id, principal.device, principal.via)
        loaded = self._loaded.get(key)
        if loaded is None or loaded.epoch != epoch:
            loaded = self._reloaded(principal, connection)
            with self._guard:
                if len(self._loaded) >= CACHED_MAX:
                    self._loaded.clear()
                self._loaded[key] = loaded
        return replace(loaded, address=principal.address, standing=principal.standing)

    def _reloaded(self, principal: Principal, connection: Connection) -> Principal:
        row = connection.execute(_BY_ID, {"person": principal.id}).first()
        device = None
        if principal.device:
            device = connection.execute(_DEVICE_BY_ID, {"device": principal.device}).first()
            if device is None or not _stands(device):
                raise Revoked
        if row is None:
            raise Revoked
        return self._load(connection, row, device, principal.via, principal.address)

    def operator(self, os_user: str) -> Principal:
        """Return whoever works at the machine itself, by the command line."""
        supplier = self._directory.supplier_id
        with self._database.read() as connection:
            epoch = self.epoch(connection)
        name = f"operator:{os_user}"
        identity = hashlib.blake2b(name.encode("utf-8"), digest_size=16).digest()
        return Principal(
            identity, Kind.OPERATOR, supplier, supplier, True, True, name, name, NOBODY, Scope(), Standing.FULL,
            frozenset(), NO_RIGHTS, epoch, "", Via.CLI,
        )  # fmt: skip

    def last_used(self, device: bytes) -> int | None:
        """Return when a device was last used, to the minute, in microseconds."""
        with self._database.transient_read() as connection:
            chosen = select(tables.last_used.c.at).where(tables.last_used.c.device == device)
            at: int | None = connection.execute(chosen).scalar_one_or_none()
            return at

    # --- beneath

    def _load(self, connection: Connection, row: Any, device: Any, via: Via, address: str) -> Principal:
        groups = frozenset(connection.execute(_GROUPS, {"person": row.id}).scalars())
        opened = self._keyring.organisation(row.organisation).people.open
        return Principal(
            id=row.id,
            kind=Kind.PERSON,
            organisation=row.organisation,
            party=row.organisation,
            is_supplier=row.is_supplier,
            is_administrator=row.is_administrator,
            login=opened(b"login" + row.id, row.login).decode("utf-8"),
            name=opened(b"name" + row.id, row.name).decode("utf-8"),
            device=NOBODY if device is None else device.id,
            scope=Scope() if device is None else _scope(device),
            standing=Standing.FULL,
            groups=groups,
            rights=self._rights(connection, [row.id, row.organisation, *groups]),
            epoch=self.epoch(connection),
            address=address,
            via=via,
        )

    def _rights(self, connection: Connection, grantees: list[bytes]) -> Rights:
        found: dict[bytes, tuple[Grant, ...]] = {}
        spaces: set[bytes] = set()
        for row in connection.execute(_GRANTS, {"grantees": grantees}):
            grant = grant_of(row)
            found[grant.node] = (*found.get(grant.node, ()), grant)
            spaces.add(grant.space)
        breaks = frozenset(connection.execute(_BREAKS, {"spaces": list(spaces)}).scalars()) if spaces else frozenset()
        return Rights(found, breaks)

    def _cache_key(self, login: str, password: str, address: str) -> bytes:
        text = "\0".join((login, password, address)).encode("utf-8", "surrogatepass")
        return hmac.digest(self._keyring.installation().digests, b"sign-in\0" + text, hashlib.sha256)

    def _remember(self, key: bytes, cached: _Cached) -> None:
        with self._guard:
            if len(self._signed_in) >= CACHED_MAX:
                self._signed_in.clear()
            self._signed_in[key] = cached

    def _note_use(self, principal: Principal) -> None:
        """Tell, once in a while, that somebody signed in, and when a device was last used."""
        now = now_us()
        subject = principal.device or principal.id
        if self._noted.get(("event", subject), 0) + SIGN_IN_EVENT_US <= now:
            self._noted[("event", subject)] = now
            name = self._directory.organisation_name(principal.organisation)
            actor = Actor(
                principal.id, principal.organisation, principal.party, principal.is_supplier, principal.name, name,
                principal.via, principal.device, principal.address,
            )  # fmt: skip
            event = AuthEvent("sign_in", now, actor, principal.organisation, {"via": principal.via.name.lower()}, {})
            self._database.apply(lambda connection: self._recorder.record_auth(connection, event))
        if principal.device and self._noted.get(("used", subject), 0) + LAST_USED_US <= now:
            self._noted[("used", subject)] = now
            sealed = self._keyring.installation().general.seal(b"address" + subject, principal.address.encode("utf-8"))
            row = {"device": subject, "at": now, "sealed_address": sealed}
            with self._database.transient_write() as connection:
                connection.execute(self._database.upsert(tables.last_used), row)


def _stands(device: Any) -> bool:
    return device.revoked_at is None and (device.expires_at is None or device.expires_at > now_us())


def _scope(device: Any) -> Scope:
    spaces = None if device.spaces is None else frozenset(bytes.fromhex(each) for each in json.loads(device.spaces))
    protocols = None if device.protocols is None else frozenset(Via[each] for each in json.loads(device.protocols))
    return Scope(spaces, device.read_only, protocols, device.expires_at)


def _demands_second_factor(row: Any) -> bool:
    """The supplier's people and all administrators need one by default; of others an organisation may demand it."""
    return bool(row.second_factor or row.is_administrator)
