"""One authenticator for every front door: from what was shown to a principal, and whether it still holds.

A principal is made only after every proof has been seen, from rows that still say what was proven. What was decided
holds for one epoch of rights: each use of a principal asks for the epoch, which is one indexed look-up, and loads anew
only when it has changed. All refusals look alike, and cost alike whether there is such a login or not.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

from sqlalchemy import Connection, bindparam, update

from auth import credentials, tables
from auth.devices import key_digest
from auth.directory import Directory, bump
from auth.errors import Revoked, SignInRefused, Throttled, UnknownKey
from auth.events import Actor, Recorder
from auth.keyring import Keyring
from auth.loading import Loader, credential_of, demands_second_factor, require_unpaused, scope_of, stands
from auth.notes import Notes
from auth.people import Person
from auth.rights import Grant, Kind, Principal, Rights, Scope, Standing
from auth.roles import GranteeKind, Role, Via
from auth.throttle import Attempt, Throttle, Tries
from config.clock import SECOND_US, now_us
from config.database import Database
from config.ids import NOBODY
from config.settings.schema import ThrottleSettings
from config.stamps import Answers

CACHED_MAX = 10_000
#: A step that is further ahead was taken by a clock that has been put right since, and keeps nobody out for years. That
#: much, since a clock may be wrong by a time zone: none that goes back as far lets a code be used again.
STEPS_AHEAD_MAX = 86_400 // credentials.STEP_SECONDS
LOGIN_CHARACTERS_MAX = 256
#: Passwords that are being hashed are waited for by others who show the same; by so many locks.
FLIGHTS = 64
_FOREVER = 1 << 62
#: Of whom a code is demanded besides a public key: of nobody, of those whose password would not be enough, of all.
KeyAndCode = Literal["never", "second_factor", "always"]

_TAKE_STEP = (
    update(tables.person)
    .where(
        tables.person.c.id == bindparam("chosen"),
        (tables.person.c.totp_last_step < bindparam("step")) | (tables.person.c.totp_last_step > bindparam("latest")),
    )
    .values(totp_last_step=bindparam("step"))
)
_TAKE_RECOVERY_CODE = (
    update(tables.recovery_code)
    .where(
        tables.recovery_code.c.person == bindparam("chosen"),
        tables.recovery_code.c.digest == bindparam("shown"),
        tables.recovery_code.c.used_at.is_(None),
    )
    .values(used_at=bindparam("now"))
)


@dataclass(frozen=True, slots=True)
class _Cached:
    """`until` is when what was shown runs out (µs); `hashed_until` when it must be hashed again, in seconds of a clock
    that only goes on.
    """

    principal: Principal
    until: int
    hashed_until: float = math.inf


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
        self._settings = settings or ThrottleSettings()
        self._loader = Loader(keyring)
        self.throttle = Throttle(database, keyring, self._settings)
        self._notes = Notes(database, keyring, directory, recorder, self._loader, self.throttle)
        self._guard = threading.Lock()
        self._flights = [threading.Lock() for _ in range(FLIGHTS)]
        self._cache_key = secrets.token_bytes(32)
        self._signed_in: dict[bytes, _Cached] = {}
        self._epochs: Answers[None, int] = Answers(database.stamp)

    # --- signing in

    def basic(self, login: str, password: str, *, via: Via, address: str) -> Principal:
        """Sign in by a name and a password: a device's, or, where no second factor is demanded, the person's own.

        `DOMAIN\\user` is taken for `user`. Raises SignInRefused, Throttled, Paused.
        """
        login = login.rpartition("\\")[2]
        key = self._key_of(login, password, via, address)
        found = self._remembered(key) or self._proven_anew(key, login, password, via, address)
        self._notes.signed_in(found)
        return found

    def _proven_anew(self, key: bytes, login: str, password: str, via: Via, address: str) -> Principal:
        if not _is_usable(login, password):
            self._refuse(None, via, address)
        if credentials.is_device_form(password):
            return self._by_device(key, login, password, via, address)
        with self._flights[key[0] % FLIGHTS]:
            return self._remembered(key) or self._by_own_password(key, login, password, via, address)

    def password_then_code(self, login: str, password: str, code: str | None, *, via: Via, address: str) -> Principal:
        """Sign in by the person's own password and, where it is demanded or they have one, the second factor.

        Without a code the principal stands HALF, and may do nothing; `complete` takes the code later. A recovery code
        counts as a code, once. Raises SignInRefused, Throttled.
        """
        if not _is_usable(login, password) or credentials.is_device_form(password):
            self._refuse(None, via, address)
        attempt = self._begin(login, via, address)
        row = self._proven_password(attempt, login, password, via, address)
        if not demands_second_factor(row):
            return self._completed(attempt, row, via, address)
        if code is None:
            self.throttle.halfway(attempt)
            return self._proven(row, via, address, Standing.HALF)
        return self._with_code(attempt, row, code, via, address)

    def complete(self, principal: Principal, code: str) -> Principal:
        """Let a principal that stands HALF, by a password or a public key, show its code, or a recovery code.

        Raises SignInRefused, Throttled, Revoked.
        """
        with self._database.read() as connection:
            row = self._loader.by_id(connection, principal.id)
            key = self._loader.device(connection, principal.device) if principal.device else None
        if row is None or principal.standing is not Standing.HALF:
            raise Revoked
        if principal.device != NOBODY:
            if key is None or not stands(key):
                raise Revoked
        elif credential_of(row) != principal.credential:
            raise Revoked
        attempt = self._begin(principal.login, principal.via, principal.address)
        return self._with_code(attempt, row, code, principal.via, principal.address, key)

    def knows_key(self, login: str, public_key: bytes, *, via: Via) -> bool:
        """Return whether a login may sign in by a public key. Proves nothing of who asks: clients ask before they sign.

        A login that is nobody's costs as much as one without that key.
        """
        with self._database.read() as connection:
            return self._key_row(connection, login, public_key, via) is not None

    def by_key(self, login: str, public_key: bytes, *, with_code: KeyAndCode, via: Via, address: str) -> Principal:
        """Sign in by a public key, by which a signature over this session has been verified.

        Where a code is due besides, the principal stands HALF; `complete` takes the code. Raises SignInRefused.
        """
        with self._database.read() as connection:
            epoch = self.epoch(connection)
            found = self._key_row(connection, login, public_key, via)
            if found is not None:
                row, key = found
                is_due = (
                    with_code == "always"
                    or (with_code == "second_factor" and demands_second_factor(row))
                    or self._loader.key_needs_code(connection, key.id)
                )
                standing = Standing.HALF if is_due else Standing.FULL
                made = self._made(connection, row, key, epoch, via, address, standing)
        if found is None:
            self._refuse(None, via, address)
        if made.standing is Standing.FULL:
            self._notes.signed_in(made)
        return made

    def _key_row(self, connection: Connection, login: str, public_key: bytes, via: Via) -> tuple[Any, Any] | None:
        """Return the rows of the person and of the key, if it is theirs and good now."""
        row = self._loader.by_login(connection, self._account(login.rpartition("\\")[2]))
        digest = key_digest(self._keyring, NOBODY if row is None else row.id, public_key)
        key = self._loader.device_of(connection, digest)
        if row is None or key is None or not stands(key) or not self._is_for(key, via):
            return None
        return row, key

    def operator(self, os_user: str, spaces: Iterable[bytes] = ()) -> Principal:
        """Return whoever works at the machine itself, by the command line, with the operator's role in `spaces`.

        No folder that breaks inheritance keeps the operator out: that role shows no contents.
        """
        supplier = self._directory.supplier_id
        with self._database.read() as connection:
            epoch = self.epoch(connection)
        name = f"operator:{os_user}"
        # Keyed, for this id stands in the clear beside changes, and users' names are easily guessed.
        key = self._keyring.installation().digests
        identity = hashlib.blake2b(name.encode("utf-8"), key=key, digest_size=16, person=b"operator").digest()
        return Principal(
            identity, Kind.OPERATOR, supplier, supplier, True, True, name, name, NOBODY, Scope(), Standing.FULL,
            frozenset(), _operators_rights(identity, spaces), epoch, "", Via.CLI,
        )  # fmt: skip

    def release(self, person: Person, *, actor: Actor) -> bool:
        """Let somebody whose sign-ins failed too often try again at once; return whether any had failed."""
        account = self._account(person.login)
        if not self.throttle.tries([account]):
            return False
        self._directory.note_release(person, actor=actor)
        self.throttle.release(account)
        return True

    def tries(self, people: Iterable[Person]) -> dict[bytes, Tries]:
        """Return how the sign-ins of people stand, by their ids; of whom none failed, nothing."""
        accounts = {self._account(person.login): person.id for person in people}
        return {accounts[account]: found for account, found in self.throttle.tries(accounts).items()}

    def last_used(self, device: bytes) -> int | None:
        """Return when a device was last used, to the minute, in microseconds."""
        return self._notes.last_used(device)

    # --- holding

    def epoch(self, connection: Connection) -> int:
        """Return the epoch of rights: what was decided under another must be asked anew."""
        value = self._loader.epoch(connection)
        self._directory.observe(value)
        return value

    def current_epoch(self) -> int:
        """Return the epoch of rights as of now, for whoever holds no connection."""
        return self._epochs.get(None, self._asked_epoch)

    def _asked_epoch(self) -> int:
        with self._database.ask() as connection:
            return self.epoch(connection)

    def bump(self, connection: Connection) -> None:
        """Let everybody's rights be asked anew."""
        bump(connection)

    def refresh(self, principal: Principal, connection: Connection, epoch: int | None = None) -> Principal:
        """Return the principal as of now, through `connection`. Raises Revoked if what it signed in with is no more,
        or is paused. `epoch` is that of rights, where it was read through this connection, before all else.
        """
        if principal.scope.expires_at is not None and principal.scope.expires_at <= now_us():
            raise Revoked
        if epoch is None:
            epoch = self.epoch(connection)
        else:
            self._directory.observe(epoch)
        if principal.epoch == epoch:
            return principal
        if principal.kind is Kind.OPERATOR:
            return replace(principal, epoch=epoch)
        row = self._loader.by_id(connection, principal.id)
        device = None
        if principal.device:
            device = self._loader.device(connection, principal.device)
            if device is None or not stands(device):
                raise Revoked
        if row is None or (device is None and credential_of(row) != principal.credential):
            raise Revoked
        require_unpaused(row, device)
        try:
            return self._loader.principal(
                connection, row, device, epoch,
                via=principal.via, address=principal.address, standing=principal.standing,
            )  # fmt: skip
        except UnknownKey as error:
            raise Revoked from error

    def holder(self, person: bytes, device: bytes, connection: Connection) -> Principal:
        """Return who holds something by a device (empty: by an own password) as of now. Raises Revoked, Paused."""
        row = self._loader.by_id(connection, person)
        found = self._loader.device(connection, device) if device else None
        if row is None or (device and (found is None or not stands(found))):
            raise Revoked
        require_unpaused(row, found)
        return self._loader.principal(connection, row, found, self.epoch(connection), via=Via.WEBDAV, address="")

    # --- devices

    def _by_device(self, key: bytes, login: str, password: str, via: Via, address: str) -> Principal:
        row = None
        if credentials.is_device_password(password):
            with self._database.read() as connection:
                epoch = self.epoch(connection)
                device = self._loader.device_of(connection, credentials.device_digest(password))
                row = None if device is None else self._loader.by_id(connection, device.person)
                if row is not None and stands(device) and self._fits(row, device, login, via):
                    made = self._made(connection, row, device, epoch, via, address)
                    self._remember(key, _Cached(made, device.expires_at or _FOREVER))
                    return made
        try:
            self.throttle.device_failed(address)
        except Throttled:
            self._notes.refused("sign_in_throttled", row, via, address)
            raise
        self._refuse(row, via, address)

    def _fits(self, row: Any, device: Any, login: str, via: Via) -> bool:
        return hmac.compare_digest(row.login_lookup, self._account(login)) and self._is_for(device, via)

    @staticmethod
    def _is_for(device: Any, via: Via) -> bool:
        protocols = scope_of(device).protocols
        return protocols is None or via in protocols

    # --- passwords

    def _by_own_password(self, key: bytes, login: str, password: str, via: Via, address: str) -> Principal:
        attempt = self._begin(login, via, address)
        row = self._proven_password(attempt, login, password, via, address)
        if demands_second_factor(row):
            self._fail(attempt, row, via, address)
        made = self._proven(row, via, address, Standing.FULL)
        self.throttle.succeeded(attempt)
        self._remember(key, _Cached(made, _FOREVER, time.monotonic() + self._settings.password_cache_seconds))
        return made

    def _proven_password(self, attempt: Attempt, login: str, password: str, via: Via, address: str) -> Any:
        """Return the person's row if the password fits; a name that is unknown costs as much as a wrong password.

        No connection is held while hashing.
        """
        with self._database.read() as connection:
            row = self._loader.by_login(connection, self._account(login))
        phc = None
        if row is not None and row.password_hash is not None:
            try:
                phc = self._loader.opened(row, b"password", row.password_hash)
            except UnknownKey:
                row = None
        if not credentials.password_fits(password, phc) or row is None:
            self._fail(attempt, row, via, address)
        return row

    def _with_code(self, attempt: Attempt, row: Any, code: str, via: Via, address: str, key: Any = None) -> Principal:
        if not self._code_fits(row, code, via, address):
            self._fail(attempt, row, via, address)
        return self._completed(attempt, row, via, address, key)

    def _completed(self, attempt: Attempt, row: Any, via: Via, address: str, key: Any = None) -> Principal:
        made = self._proven(row, via, address, Standing.FULL, key)
        self.throttle.succeeded(attempt)
        self._notes.signed_in(made)
        return made

    def _code_fits(self, row: Any, code: str, via: Via, address: str) -> bool:
        """Take a code of the second factor, or a recovery code: each once, whoever else shows it at the same time."""
        if row.totp_secret is not None:
            secret = self._loader.opened(row, b"totp", row.totp_secret).decode("ascii")
            step = credentials.totp_step(secret, code, now_us() // SECOND_US)
            taken = {"chosen": row.id, "step": step, "latest": (step or 0) + STEPS_AHEAD_MAX}
            if step is not None and self._took(_TAKE_STEP, taken):
                return True
        shown = {"chosen": row.id, "shown": credentials.recovery_digest(code), "now": now_us()}
        if not self._took(_TAKE_RECOVERY_CODE, shown):
            return False
        self._notes.used_recovery_code(row, via, address)
        return True

    def _took(self, statement: Any, values: dict[str, object]) -> bool:
        return self._database.apply(lambda connection: connection.execute(statement, values).rowcount == 1)

    def _proven(self, row: Any, via: Via, address: str, standing: Standing, key: Any = None) -> Principal:
        """Make a principal of a row whose credentials were proven; not if they have changed while that was done."""
        with self._database.read() as connection:
            epoch = self.epoch(connection)
            now = self._loader.by_id(connection, row.id)
            key = None if key is None else self._loader.device(connection, key.id)
            if now is None or credential_of(now) != credential_of(row) or (key is not None and not stands(key)):
                self._refuse(row, via, address)
            return self._made(connection, now, key, epoch, via, address, standing)

    # --- beneath

    def _made(
        self,
        connection: Connection,
        row: Any,
        device: Any,
        epoch: int,
        via: Via,
        address: str,
        standing: Standing = Standing.FULL,
    ) -> Principal:
        require_unpaused(row, device)
        try:
            return self._loader.principal(connection, row, device, epoch, via=via, address=address, standing=standing)
        except UnknownKey:  # the organisation's key was destroyed, and its people with it
            self._refuse(None, via, address)

    def _begin(self, login: str, via: Via, address: str) -> Attempt:
        try:
            return self.throttle.begin(self._account(login), address)
        except Throttled:
            self._notes.refused("sign_in_throttled", None, via, address)
            raise

    def _fail(self, attempt: Attempt, row: Any, via: Via, address: str) -> NoReturn:
        self.throttle.failed(attempt)
        self._refuse(row, via, address)

    def _refuse(self, row: Any, via: Via, address: str) -> NoReturn:
        self._notes.refused("sign_in_refused", row, via, address)
        raise SignInRefused

    def _account(self, login: str) -> bytes:
        return self._keyring.installation().lookup(b"login", login)

    def _key_of(self, login: str, password: str, via: Via, address: str) -> bytes:
        text = f"{via.value}\0{login}\0{password}\0{address}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._cache_key, digest_size=32).digest()

    def _remembered(self, key: bytes) -> Principal | None:
        cached = self._signed_in.get(key)
        if cached is None or cached.until <= now_us() or cached.hashed_until <= time.monotonic():
            return None
        return cached.principal if cached.principal.epoch == self.current_epoch() else None

    def _remember(self, key: bytes, cached: _Cached) -> None:
        with self._guard:
            if len(self._signed_in) >= CACHED_MAX:
                self._signed_in.clear()
            self._signed_in[key] = cached


def _operators_rights(operator: bytes, spaces: Iterable[bytes]) -> Rights:
    """Return grants that nobody gave and that stand nowhere: they hold for one principal, as long as it works."""
    made = {
        space: (Grant(operator, space, space, operator, GranteeKind.PERSON, Role.OPERATOR, True, None),)
        for space in spaces
    }
    return Rights(made, frozenset())


def _is_usable(login: str, password: str) -> bool:
    """Return whether the texts can be a login and a password at all: neither empty, endless, nor with control codes."""
    if not (0 < len(login) <= LOGIN_CHARACTERS_MAX and 0 < len(password) <= credentials.PASSWORD_CHARACTERS_MAX):
        return False
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in login + password):
        return False
    return not any(0xD800 <= ord(letter) <= 0xDFFF for letter in login + password)
