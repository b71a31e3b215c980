"""A small installation with a row of every kind in it, and copies of it to tamper with."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from auth.roles import GranteeKind, Role
from providers.drive import Drive
from providers.errors import DriveError
from providers.installation import Installation
from providers.model import Finding
from providers.paths import parse
from tests.worlds import World, fetch, settings_for, store

SPACE, OTHER = "Stämma", "Bokslut"


def make(folder: Path) -> None:
    """Live through a few days in a fresh installation, and close it."""
    world = World.create(folder)
    world.person("anna", "Byrån AB", administrator=True)
    world.person("eva", "Kund AB")
    world.person("ove", "Annan AB")
    for name in (SPACE, OTHER):
        world.space(name, "Kund AB", ("/Avtal", "/Gammalt", "/Slutet"))
        world.grant("anna", name, Role.MANAGER, history=True)
    world.grant("eva", SPACE, Role.EDITOR, history=True)
    _rights(world)
    anna = world.drive("anna")
    for name in (f"/Kund AB – {SPACE}", f"/Kund AB – {OTHER}"):
        _work(anna, name)
    for path in ("Gammalt/Kontor.txt", "Avtal/Hyra.txt"):
        _erased(world, anna.stat(parse(f"/Kund AB – {SPACE}/{path}")).id)
    eva = world.drive("eva")
    store(eva, f"/{SPACE}/Avtal/Evas.txt", b"Eva skrev detta")
    fetch(eva, f"/{SPACE}/Avtal/Hyra.txt")
    with pytest.raises(DriveError):
        eva.delete(parse(f"/{SPACE}"))
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces[OTHER].id, 10_000_000)
    world.installation.close()
    world.installation = Installation.open(folder, settings_for(folder))  # begins other packs
    assert all(swept.is_whole for swept in world.installation.erasures.sweep(now=True).values())
    eva = world.drive("eva")
    store(eva, f"/{SPACE}/Avtal/Sist.txt", b"det sista som sparades")
    store(eva, f"/{SPACE}/Avtal/Sist.txt", b"och det allra sista")
    world.installation.tick()
    world.installation.close()


def _rights(world: World) -> None:
    """Grants that stand, one that was revoked, and a folder that breaks with what is above it."""
    installation, space = world.installation, world.spaces[SPACE].id
    operator = installation.operator()
    gone = world.grant("ove", OTHER, Role.VIEWER, "/Gammalt")
    installation.spaces.revoke(operator, world.spaces[OTHER].id, gone.id)
    installation.spaces.break_inheritance(operator, space, parse("/Slutet"))
    customer = world.organisation("Kund AB")
    installation.spaces.grant(
        operator, space, parse("/Avtal"), customer, GranteeKind.ORGANISATION, Role.VIEWER, history=False
    )
    world.grant("ove", OTHER, Role.VIEWER, "/Avtal", expires_at=2_000_000_000_000_000)


def _erased(world: World, node: bytes) -> None:
    """The first version of a document, which two persons agreed to erase."""
    erasures, space = world.installation.erasures, world.spaces[SPACE].id
    asked = erasures.request_version(world.installation.operator(), space, node, 1, "felsänt")
    erasures.approve(world.sign_in("anna"), asked.id)


def _work(anna: Drive, space: str) -> None:
    """Versions, a copy, a move, a rename, a delete, properties set, changed and removed."""
    hyra, lokal = f"{space}/Avtal/Hyra.txt", f"{space}/Avtal/Lokal.txt"
    for number in range(3):
        store(anna, hyra, f"hyran är {number} kronor i månaden".encode())
    store(anna, lokal, b"lokalen ligger vid torget")
    store(anna, lokal, b"lokalen ligger vid havet!")
    store(anna, f"{space}/Avtal/Bort.txt", b"ska bort")
    anna.copy(parse(hyra), parse(f"{space}/Gammalt/Kopia.txt"), overwrite=False)
    anna.change_properties(parse(hyra), [("{urn:x}skick", "<x:skick xmlns:x='urn:x'>gott</x:skick>")])
    anna.change_properties(parse(hyra), [("{urn:x}skick", "<x:skick xmlns:x='urn:x'>dåligt</x:skick>")])
    kept = ("{urn:x}form", "<x:form xmlns:x='urn:x'>rund</x:form>")
    anna.change_properties(parse(lokal), [("{urn:x}färg", "<x:färg xmlns:x='urn:x'>röd</x:färg>"), kept])
    anna.change_properties(parse(lokal), [("{urn:x}färg", None)])
    anna.move(parse(lokal), parse(f"{space}/Gammalt/Lokal.txt"), overwrite=False)
    anna.move(parse(f"{space}/Gammalt/Lokal.txt"), parse(f"{space}/Gammalt/Kontor.txt"), overwrite=False)
    anna.delete(parse(f"{space}/Avtal/Bort.txt"))
    anna.make_folder(parse(f"{space}/Gammalt/Tom"))


def copied(source: Path, target: Path) -> Path:
    """Return a copy of an installation's folder, its root key beside it."""
    shutil.copytree(source, target)
    shutil.copy(settings_for(source).key_file, settings_for(target).key_file)
    return target


def verified(folder: Path) -> list[Finding]:
    """Open an installation, as `verify` does, and return all that it finds."""
    installation = Installation.open(folder, settings_for(folder), though_due=True)
    try:
        return list(installation.verify())
    finally:
        installation.close()


@contextmanager
def raw(folder: Path) -> Iterator[sqlite3.Connection]:
    """Give the catalogue as whoever holds the disk can edit it; what is done is committed."""
    with closing(sqlite3.connect(folder / "catalogue.db")) as connection:
        connection.row_factory = sqlite3.Row
        yield connection
        connection.commit()


@dataclass
class Case:
    """One folder that is tampered with again and again, put back after each time."""

    folder: Path
    kept: bytes

    @classmethod
    def of(cls, source: Path, target: Path) -> Case:
        """Make a copy to tamper with."""
        folder = copied(source, target)
        with raw(folder) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return cls(folder, (folder / "catalogue.db").read_bytes())

    def put_back(self) -> None:
        """Undo everything in the database."""
        for ending in ("", "-wal", "-shm"):
            (self.folder / f"catalogue.db{ending}").unlink(missing_ok=True)
        (self.folder / "catalogue.db").write_bytes(self.kept)

    def after(self, edit: Callable[[sqlite3.Connection], Any]) -> list[Finding]:
        """Return what `verify` finds after an edit, and put everything back."""
        try:
            with raw(self.folder) as connection:
                edit(connection)
            return verified(self.folder)
        finally:
            self.put_back()
