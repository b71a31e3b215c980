"""What all parts of the directory stand on: sealing what was typed, telling what was done, keeping names."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unicodedata import bidirectional, category

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.exc import IntegrityError

from auth import tables
from auth.errors import KeyringError, NameTaken, UnknownKey, UnknownName, UnusableText
from auth.events import Actor, AuthEvent, Recorder
from auth.keyring import Keyring
from auth.people import Organisation, Person
from auth.rights import Grant
from auth.roles import GranteeKind, Role, Via
from config.clock import now_us
from config.database import Database
from config.ids import NOBODY
from config.logging import get_log

_log = get_log("directory")
NAMES_MAX = 20_000
TEXT_CHARACTERS_MAX = 256
_TURNING = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))
SYSTEM = Actor(NOBODY, NOBODY, NOBODY, True, "system", "", Via.CLI, NOBODY, "")


def bump(connection: Connection) -> None:
    """Let everybody's rights be asked anew. The epoch is random, so that one that was undone never comes back."""
    connection.execute(update(tables.epoch).values(value=secrets.randbits(62)))


def grant_of(row: Any) -> Grant:
    """Return the grant that a row describes."""
    return Grant(
        id=row.id,
        space=row.space,
        node=row.node,
        grantee=row.grantee,
        grantee_kind=GranteeKind(row.grantee_kind),
        role=Role(row.role),
        history=row.history,
        expires_at=row.expires_at,
    )


def checked_text(kind: str, text: str) -> str:
    """Return what a person typed as a name or label, without white space around it; raise UnusableText."""
    bare = text.strip()
    if any(map(_is_odd, bare)) or not 0 < len(bare) <= TEXT_CHARACTERS_MAX:
        raise UnusableText(kind=kind, length=TEXT_CHARACTERS_MAX)
    return bare


def _is_odd(letter: str) -> bool:
    """Return whether a character ends a line, commands a terminal, or turns the order in which others are shown."""
    return category(letter) in ("Cc", "Cs", "Zl", "Zp") or bidirectional(letter) in _TURNING


def checked_login(text: str) -> str:
    """Return what a person is to sign in with, without white space around it; raise UnusableText."""
    bare = checked_text("login", text)
    if "\\" in bare or ":" in bare:
        raise UnusableText(kind="login (without colons and backslashes)", length=TEXT_CHARACTERS_MAX)
    return bare


@contextmanager
def unique(kind: str, name: str) -> Iterator[None]:
    """Raise NameTaken where the database finds that somebody else was first."""
    try:
        yield
    except IntegrityError as error:
        raise NameTaken(kind=kind, name=name) from error


LIVE_PEOPLE = select(tables.person).where(tables.person.c.ended_at.is_(None))
ORGANISATION_OF = select(tables.person.c.organisation).where(
    tables.person.c.id == bindparam("person"), tables.person.c.ended_at.is_(None)
)


class Records:
    """The ground of the directory. Changes are events, and let rights be asked anew where they bear on them."""

    def __init__(self, database: Database, keyring: Keyring, recorder: Recorder) -> None:
        self._database = database
        self._keyring = keyring
        self._recorder = recorder
        self._guard = threading.Lock()
        self._organisation_names: dict[bytes, str] = {}
        self._person_names: dict[bytes, str] = {}
        self._supplier: bytes | None = None
        self._epoch = 0
        self._generation = 0

    def person(self, person: bytes) -> Person:
        """Return a person by id. Raises UnknownName."""
        with self._database.read() as connection:
            row = connection.execute(LIVE_PEOPLE.where(tables.person.c.id == person)).first()
        if row is None:
            raise UnknownName(kind="person", name=person.hex())
        return self._person(row)

    def observe(self, epoch: int) -> None:
        """Forget the names kept if the epoch is another: somebody may have changed them."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._forget_names()

    def _forget_names(self) -> None:
        with self._guard:
            self._generation += 1
            self._organisation_names.clear()
            self._person_names.clear()

    def _tell(
        self,
        connection: Connection,
        actor: Actor,
        kind: str,
        organisation: bytes | None,
        facts: Mapping[str, str | int] | None = None,
        personal: Mapping[str, str] | None = None,
        *,
        felt: bool = True,
        rows_digest: bytes | None = None,
        told: frozenset[bytes] = frozenset(),
    ) -> None:
        """Record an event, and let rights be asked anew unless it bears on nobody who is signed in."""
        if felt:
            bump(connection)
        plain, typed = dict(facts or {}), dict(personal or {})
        event = AuthEvent(kind, now_us(), actor, organisation, plain, typed, rows_digest, told)
        self._recorder.record_auth(connection, event)

    def _seal(self, organisation: bytes, label: bytes, data: bytes) -> bytes:
        return self._keyring.organisation(organisation).people.seal(label, data)

    def _sealed(self, organisation: bytes, label: bytes, text: str) -> bytes:
        return self._seal(organisation, label, text.encode("utf-8"))

    def _opened(self, organisation: bytes, label: bytes, sealed: bytes) -> str:
        return self._keyring.organisation(organisation).people.open(label, sealed).decode("utf-8")

    def _require(self, connection: Connection, table: Any, kind: str, identity: bytes) -> Any:
        """Return the row of something that has not ended, and keep it so until the transaction ends."""
        live = select(table).where(table.c.id == identity, table.c.ended_at.is_(None)).with_for_update()
        row = connection.execute(live).first()
        if row is None:
            raise UnknownName(kind=kind, name=identity.hex())
        return row

    def _ids(self, connection: Connection, column: Any, chosen: Any) -> list[bytes]:
        return list(connection.execute(select(column).where(chosen)).scalars())

    def _name(self, kept: dict[bytes, str], identity: bytes, table: Any, opened: Callable[[Any], Any]) -> str:
        name = kept.get(identity)
        if name is None:
            generation = self._generation
            with self._database.read() as connection:
                row = connection.execute(select(table).where(table.c.id == identity)).first()
            if row is None:
                return ""
            try:
                name = str(opened(row).name)
            except UnknownKey:  # destroyed, and the names it sealed with it
                return ""
            except KeyringError as error:  # of this organisation alone: what else is told with its name goes on
                _log.error("name_lost", error, id=identity)
                return ""
            with self._guard:
                if len(kept) >= NAMES_MAX:
                    kept.clear()
                if generation == self._generation:
                    kept[identity] = name
        return name

    def _organisation(self, row: Any) -> Organisation:
        name = self._opened(row.id, b"organisation" + row.id, row.name)
        return Organisation(row.id, name, row.is_supplier, row.second_factor, row.ended_at is not None)

    def _person(self, row: Any) -> Person:
        opened = self._opened
        return Person(
            id=row.id,
            organisation=row.organisation,
            login=opened(row.organisation, b"login" + row.id, row.login),
            name=opened(row.organisation, b"name" + row.id, row.name),
            mail="" if row.mail is None else opened(row.organisation, b"mail" + row.id, row.mail),
            is_administrator=row.is_administrator,
            has_password=row.password_hash is not None,
            has_second_factor=row.totp_secret is not None,
        )
