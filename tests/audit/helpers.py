"""What the audit tests share: keys, people, and an installation's row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from auth.events import Actor
from auth.keyring import Keyring, RootKey
from auth.keystore import MemoryKeystore
from auth.roles import Via
from auth.tables import installation
from config.database import Database
from config.ids import new_id
from providers.audit.checkpoints import Checkpoints
from providers.audit.events import Event, Projection
from providers.audit.log import AuditLog, LogInfo

AT = 1_800_000_000_000_000
SUPPLIER, CUSTOMER, RIVAL = (bytes([number]) * 16 for number in (1, 2, 3))


def actor(name: str = "Berit Öst", organisation: bytes = CUSTOMER, **changed: Any) -> Actor:
    fields: dict[str, Any] = {
        "principal": name.encode("utf-8").ljust(16, b"\0")[:16],
        "organisation": organisation,
        "party": organisation,
        "is_supplier": organisation == SUPPLIER,
        "name": name,
        "organisation_name": {SUPPLIER: "Byrån AB", CUSTOMER: "Kund & Co"}.get(organisation, "Rival Ltd"),
        "via": Via.WEBDAV,
        "device": b"D" * 16,
        "address": "192.0.2.7",
    }
    return Actor(**{**fields, **changed})


@dataclass
class World:
    """One installation's audit log, with a space."""

    database: Database
    keyring: Keyring
    audit: AuditLog
    checkpoints: Checkpoints
    space: bytes
    count: int = field(default=0)

    @classmethod
    def made(cls, database: Database) -> World:
        keyring = Keyring(RootKey(b"r" * 32), MemoryKeystore())
        keyring.begin()
        space = new_id()
        keyring.create(space)
        with database.write() as connection:
            connection.execute(installation.insert().values(one=1, id=new_id(), supplier=SUPPLIER, created_at=AT))
        return cls(database, keyring, AuditLog(database, keyring), Checkpoints(database, keyring), space)

    def event(self, kind: str = "write", **changed: Any) -> Event:
        self.count += 1
        fields: dict[str, Any] = {
            "kind": kind,
            "at": AT + self.count,
            "actor": actor(),
            "space": self.space,
            "node": b"n" * 16,
            "facts": {"change": self.count, "version": 1},
            "personal": {"path": f"/Bokslut/År {self.count}.pdf"},
            "rows_digest": b"r" * 32,
        }
        return Event(**{**fields, **changed})

    def record(self, count: int = 1, audience: dict[bytes, Projection] | None = None, **changed: Any) -> None:
        parties = {CUSTOMER: Projection.FULL} if audience is None else audience
        for _ in range(count):
            with self.database.write() as connection:
                self.audit.record(connection, self.event(**changed), parties)

    def log(self, party: bytes = b"", space: bytes | None = None) -> LogInfo:
        with self.database.read() as connection:
            return self.audit.find(connection, self.space if space is None else space, party)

    def entries(self, party: bytes = b"", space: bytes | None = None) -> list[Any]:
        with self.database.read() as connection:
            info = self.audit.find(connection, self.space if space is None else space, party)
            return list(self.audit.entries(connection, info))

    def checkpoint(self, party: bytes = b"") -> str:
        with self.database.read() as connection:
            found = self.checkpoints.latest(connection, self.audit.find(connection, self.space, party))
        assert found is not None
        return found

    @property
    def public_key(self) -> bytes:
        return self.checkpoints.public_key
