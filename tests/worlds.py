"""Installations for tests: a supplier, customers, people with devices, and drives of theirs. Everything is real.

Their tables are copies of what the migrations made once, for migrating took most of the time that a world took.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Any
from unittest import mock

from auth.rights import Principal
from auth.roles import GranteeKind, Role, Via
from config import schema
from config.clock import SECOND_US
from config.database import Database
from config.schema import upgrade
from config.settings import Settings, load
from providers.audit.drain import held_off
from providers.drive import Drive
from providers.installation import Installation
from providers.model import SpaceInfo
from providers.paths import Path, parse

ADDRESS = "192.0.2.7"


def settings_for(folder: FilePath, **overrides: Any) -> Settings:
    """Return the settings of an installation in `folder`, other than the defaults where `overrides` say so."""
    return load(data_folder=folder, overrides=overrides, environ={})


@functools.cache
def migrated() -> tempfile.TemporaryDirectory[str]:
    """Return a folder with both SQLite files as the migrations make them. Made once, they go with the process."""
    folder = tempfile.TemporaryDirectory(prefix="mellanrum-migrated-")
    made = Database(FilePath(folder.name))
    upgrade(made)
    made.dispose()
    return folder


def give_tables(database: Database) -> None:
    """Do what `schema.upgrade` does to a database without a table, or on PostgreSQL to a copy that has them."""
    if database.dialect == "sqlite":
        for file in FilePath(migrated().name).glob("*.db"):
            shutil.copy(file, database.folder)
        return
    with database.read() as connection:
        is_bare = schema.DURABLE.found(connection) is None
    if is_bare:
        upgrade(database)


@dataclass
class World:
    """One installation, and what is needed to speak of its people and spaces by name."""

    installation: Installation
    organisations: dict[str, bytes] = field(default_factory=dict)
    people: dict[str, Any] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    devices: dict[str, bytes] = field(default_factory=dict)
    spaces: dict[str, SpaceInfo] = field(default_factory=dict)

    @classmethod
    def create(cls, folder: FilePath, supplier: str = "Byrån AB", **overrides: Any) -> World:
        """Make a fresh installation in `folder`, with the supplier's organisation."""
        with mock.patch.object(schema, "upgrade", give_tables):
            made = cls(Installation.create(folder, settings_for(folder, **overrides), supplier_name=supplier))
        made.organisations[supplier] = made.installation.directory.supplier_id
        return made

    def organisation(self, name: str) -> bytes:
        """Return the customer of that name, added if need be."""
        if name not in self.organisations:
            self.organisations[name] = self.installation.directory.add_organisation(name).id
        return self.organisations[name]

    def person(self, login: str, organisation: str, **options: Any) -> Any:
        """Add a person with one device."""
        directory = self.installation.directory
        made = directory.add_person(self.organisation(organisation), login, f"{login.title()} Lund", **options)
        self.people[login] = made
        device, self.passwords[login] = directory.add_device(made.id, "laptop")
        self.devices[login] = device.id
        return made

    def space(self, name: str, customer: str | None = None, folders: tuple[str, ...] = (), **options: Any) -> SpaceInfo:
        """Make a space with folders."""
        made = self.installation.spaces.create(
            self.installation.operator(),
            name,
            customer=None if customer is None else self.organisation(customer),
            template=tuple(parse(folder) for folder in folders),
            **options,
        )
        self.spaces[name] = made
        return made

    def grant(
        self,
        login: str,
        space: str,
        role: Role,
        path: str = "/",
        *,
        history: bool = False,
        expires_at: int | None = None,
    ) -> Any:
        """Give a person a role somewhere in a space."""
        return self.installation.spaces.grant(
            self.installation.operator(),
            self.spaces[space].id,
            parse(path),
            self.people[login].id,
            GranteeKind.PERSON,
            role,
            history=history,
            expires_at=expires_at,
        )

    def sign_in(self, login: str, via: Via = Via.WEBDAV) -> Principal:
        """Return the person, signed in by their device."""
        return self.installation.authenticator.basic(login, self.passwords[login], via=via, address=ADDRESS)

    def drive(self, login: str, via: Via = Via.WEBDAV) -> Drive:
        """Return the person's drive."""
        return self.installation.drive(self.sign_in(login, via))

    def kinds(self, space: str, start: int = 0) -> list[str]:
        """Return the kinds of the events in the supplier's log of a space, from a number on.

        Every reading that was answered is among them: a process of a server that is about to number them is waited for,
        and what it began before this was asked does not count.
        """
        audit, database = self.installation.audit, self.installation.database
        with held_off(self.installation.folder / "journal"):
            pass
        self.installation.tick()
        with held_off(self.installation.folder / "journal"), database.read() as connection:
            log = audit.find(connection, self.spaces[space].id)
            return [entry.event["kind"] for entry in audit.entries(connection, log, start)]


def managed_room(folder: FilePath, engine: dict[str, str], folders: tuple[str, ...] = ()) -> World:
    """Return a customer's space `Rum`, of which two of the supplier's people, mia and max, are managers; kim is its."""
    made = World.create(folder, **engine)
    for login in ("mia", "max"):
        made.person(login, "Byrån AB")
    made.person("kim", "Kund AB")
    made.space("Rum", "Kund AB", folders)
    for login in ("mia", "max"):
        made.grant(login, "Rum", Role.MANAGER, history=True)
    return made


def store(drive: Drive, path: str | Path, content: bytes, **options: Any) -> Any:
    """Put a document, whole; its length is told before, unless `declared` is None."""
    place = parse(path) if isinstance(path, str) else path
    upload = drive.put(place, **{"declared": len(content), **options})
    try:
        upload.write(content)
        return upload.commit()[0]
    finally:
        upload.discard()


def moment(at: int) -> str:
    """Return the name of the folder of `.history` that shows how all stood at a moment (µs)."""
    whole = datetime.fromtimestamp(at // SECOND_US, UTC).strftime("%Y-%m-%dT%H%M%S")
    return f"{whole}.{at % SECOND_US:06}Z"


def fetch(drive: Drive, path: str | Path) -> bytes:
    """Read a document, whole."""
    with drive.read(parse(path) if isinstance(path, str) else path) as reader:
        return b"".join(bytes(piece) for piece in reader.chunks())
