"""A world in which something can be erased: a space with a supplier's administrator, an editor, and some documents."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path as FilePath
from typing import Any

from auth.rights import Principal
from auth.roles import Role, Via
from providers.drive import Drive
from providers.paths import parse
from tests.worlds import ADDRESS, World, store

SPACE = "Bokslut"
#: Where the supplier's people see it, and where the customer's do.
OURS, THEIRS = f"/Kund AB – {SPACE}", f"/{SPACE}"
PASSWORD = "en mycket lång och trygg fras 7"


def make(folder: FilePath, **overrides: Any) -> World:
    """Make an installation with a space of a customer's, an editor there, and an administrator of the supplier."""
    world = World.create(folder, **overrides)
    world.person("agnes", "Byrån AB", administrator=True)
    world.person("mia", "Byrån AB")
    world.person("eva", "Kund AB")
    world.space(SPACE, "Kund AB", ("/Avtal",))
    world.grant("mia", SPACE, Role.MANAGER, history=True)
    world.grant("eva", SPACE, Role.EDITOR, history=True)
    return world


def administrator(world: World) -> Principal:
    """Return the supplier's administrator, signed in."""
    return world.installation.authenticator.basic("agnes", world.passwords["agnes"], via=Via.CLI, address=ADDRESS)


def versions(drive: Drive, path: str, *contents: bytes) -> bytes:
    """Store contents one after another under a path; return the document's id."""
    for content in contents:
        item = store(drive, path, content)
    identity: bytes = item.id
    return identity


def erased(world: World, node: bytes, number: int | None = None, reason: str = "felsänt") -> Any:
    """Have a version, or a whole document, erased by two persons."""
    erasures, operator = world.installation.erasures, world.installation.operator()
    space = world.spaces[SPACE].id
    if number is None:
        asked = erasures.request_document(operator, space, node, reason)
    else:
        asked = erasures.request_version(operator, space, node, number, reason)
    return erasures.approve(administrator(world), asked.id)


class Shared:
    """Lets the next two operations on the catalogue share one transaction: that of an act, and whichever comes then."""

    def __init__(self, world: World) -> None:
        self._commits, self._pool = world.installation.database._commits, ThreadPoolExecutor(2)
        holds = threading.Event()

        def hold(_: object) -> None:
            holds.set()
            self._wait(2)

        self._pool.submit(world.installation.database.apply, hold, heads=[b"first"])
        assert holds.wait(30)

    def _wait(self, count: int) -> None:
        until = time.monotonic() + 30
        while len(self._commits._queue) < count:
            assert time.monotonic() < until
            time.sleep(0.01)

    def first(self, act: Callable[[], Any]) -> Future[Any]:
        """Let an act, which has one operation, go first; return what will be its result once another has come."""
        ended = self._pool.submit(act)
        self._wait(1)
        return ended


def findings(world: World) -> list[str]:
    """Return all that `verify` finds."""
    world.installation.tick()
    return [f"{found.where}: {found.what}" for found in world.installation.verify()]


def packed(world: World) -> bytes:
    """Return all bytes that stand in the packs of the space."""
    folder = world.installation.folder / "vault" / world.spaces[SPACE].id.hex() / "packs"
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.pack")))


def record_of(world: World, node: bytes, number: int) -> bytes:
    """Return the sealed record that a small version's content consists of."""
    from providers.catalogue import contents

    installation = world.installation
    with installation.database.read() as connection:
        row = contents.version(connection, installation.keyring, world.spaces[SPACE].id, node, number)
    cid = row["content"][-32:]
    place = contents.ChunkIndex(installation.database, world.spaces[SPACE].id).locate([cid])[cid]
    folder = installation.folder / "vault" / world.spaces[SPACE].id.hex() / "packs"
    data = (folder / f"{place.pack:016x}.pack").read_bytes()
    return data[place.offset : place.offset + place.length]


def path(text: str) -> Any:
    """Return the path."""
    return parse(re.sub("^//", "/", text))
