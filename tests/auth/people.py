"""A supplier, a customer and their people, for tests: a real database, keyring, directory and authenticator."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pyotp
from sqlalchemy import Connection, insert, select, update

from auth import tables
from auth.authenticator import Authenticator
from auth.directory import Directory, bump
from auth.events import AuthEvent
from auth.keyring import Keyring, RootKey
from auth.keystore import MemoryKeystore
from auth.people import Organisation, Person
from auth.roles import GranteeKind, Role, Via
from config.database import Database
from config.ids import new_id
from config.settings.schema import ThrottleSettings

ADDRESS, ELSEWHERE = "192.0.2.7", "203.0.113.9"
PASSWORD = "en riktigt lång ramsa"


@dataclass
class Heard:
    """A recorder that keeps events in memory."""

    events: list[AuthEvent] = field(default_factory=list)

    def record_auth(self, connection: Connection, event: AuthEvent) -> None:
        self.events.append(event)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


class House:
    """One installation's people."""

    def __init__(self, database: Database, **throttle: Any) -> None:
        self.database = database
        self.keyring = Keyring(RootKey(b"r" * 32), MemoryKeystore())
        self.keyring.begin()
        with database.write() as connection:
            row = {"one": 1, "id": new_id(), "supplier": None, "created_at": 1}
            connection.execute(insert(tables.installation), row)
            connection.execute(insert(tables.epoch), {"one": 1, "value": 1})
        self.heard = Heard()
        self.settings = ThrottleSettings(**throttle)
        self.directory, self.authenticator = self.process()
        self.supplier = self.directory.add_organisation("Byrån AB", supplier=True)
        self.customer = self.directory.add_organisation("Köparen KB")
        self.anna = self.person("anna")
        self.device, self.secret = self.directory.add_device(self.anna.id, "Annas dator")

    def process(self) -> tuple[Directory, Authenticator]:
        """Return what another process on the same database would have."""
        keyring = Keyring(RootKey(b"r" * 32), self.keyring.keystore)
        directory = Directory(self.database, keyring, self.heard)
        return directory, Authenticator(self.database, keyring, directory, self.heard, self.settings)

    def person(self, login: str, organisation: Organisation | None = None, **options: Any) -> Person:
        belongs = organisation or self.customer
        return self.directory.add_person(belongs.id, login, f"{login.title()} Lund", **options)

    def basic(self, login: str, password: str, address: str = ADDRESS, via: Via = Via.WEBDAV) -> Any:
        return self.authenticator.basic(login, password, via=via, address=address)

    def steps(self, login: str, password: str, code: str | None = None, address: str = ADDRESS) -> Any:
        return self.authenticator.password_then_code(login, password, code, via=Via.WEB, address=address)

    def refreshed(self, principal: Any) -> Any:
        with self.database.read() as connection:
            return self.authenticator.refresh(principal, connection)

    def grant(self, grantee: bytes, kind: GranteeKind, role: Role, space: bytes, node: bytes, **options: Any) -> bytes:
        """Write a grant as the catalogue does, and let rights be asked anew."""
        row = {
            "id": new_id(), "space": space, "node": node, "grantee": grantee, "grantee_kind": int(kind),
            "role": int(role), "history": False, "expires_at": None, "from_change": 1, "to_change": None, **options,
        }  # fmt: skip
        with self.database.write() as connection:
            connection.execute(insert(tables.grants), row)
            bump(connection)
        return bytes(row["id"])

    def close_grant(self, grant: bytes) -> None:
        with self.database.write() as connection:
            connection.execute(update(tables.grants).where(tables.grants.c.id == grant).values(to_change=2))
            bump(connection)

    def epoch(self) -> int:
        with self.database.read() as connection:
            return int(connection.execute(select(tables.epoch.c.value)).scalar_one())


def code_of(secret: str, steps: int = 0) -> str:
    """Return the code of now, or of some steps away."""
    return pyotp.TOTP(secret).at(int(time.time()) + 30 * steps)
