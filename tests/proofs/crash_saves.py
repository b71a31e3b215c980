"""How programs save, step by step over either protocol, in a process that is killed; and what must be true afterwards.

A step is what one request does, a save some steps. The tree of the site is known after each, so what stands after a
kill is either what the last acknowledged step left, or what the next one leaves.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from auth.roles import Role, Via
from config.clock import now_us
from config.errors import MellanrumError
from providers.drive import Drive
from providers.installation import Installation
from providers.paths import parse
from server.webdav.app import WebDav
from tests.proofs.crash_site import LOGIN, Tree, difference, digest, tree_of
from tests.proofs.history_doors import Dav, Sftp
from tests.sftp.client import Client
from tests.worlds import ADDRESS, World, fetch, settings_for, store

X = "/Rum/A/Avtal.docx"
#: Long enough for a machine under load: what is proved here is that a save can go on, not how soon.
SETTINGS: dict[str, Any] = {"history.identity_window_seconds": 300}
Step = tuple[str, ...]


def content(seed: int, size: int = 3_000) -> bytes:
    """Return bytes of which the first half compresses."""
    made = random.Random(seed)
    return b"%d rader av samma slag\n" % seed * (size // 50) + made.randbytes(size // 2)


OLD, NEW = content(1), content(2)
_TEMPORARY, _BESIDE = "/Rum/A/~WRD0000.tmp", "/Rum/A/~WRL0001.tmp"
#: By program; `put` puts the new content, `over` moves over what stands, `touch` sets a time of modification.
SAVES: dict[str, tuple[Step, ...]] = {
    "Word": (("put", _TEMPORARY), ("move", X, _BESIDE), ("move", _TEMPORARY, X), ("delete", _BESIDE)),
    "Excel": (("put", "/Rum/A/5EE27100"), ("delete", X), ("move", "/Rum/A/5EE27100", X)),
    "vim": (("move", X, f"{X}~"), ("put", X), ("delete", f"{X}~")),
    "LibreOffice": (("put", "/Rum/A/lu1234.tmp"), ("over", "/Rum/A/lu1234.tmp", X)),
    "WinSCP": (("put", f"{X}.filepart"), ("delete", X), ("move", f"{X}.filepart", X), ("touch", X)),
}


def after(step: Step, tree: Tree) -> Tree:
    """Return the tree as a step leaves it."""
    changed = dict(tree)
    if step[0] == "put":
        changed[step[1]] = digest(NEW)
    elif step[0] in ("move", "over"):
        changed[step[2]] = changed.pop(step[1])
    elif step[0] == "delete":
        del changed[step[1]]
    else:
        assert step[0] == "touch"
    return changed


def _names(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


def over_webdav(application: WebDav, password: str) -> Callable[[Step], str]:
    """Return what makes a step one request of WebDAV; it returns `done`, or the status."""
    client = Dav(application, LOGIN, password)
    touched = (
        b'<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:lastmodified>1000000000'
        b"</D:lastmodified></D:prop></D:set></D:propertyupdate>"
    )

    def act(step: Step) -> str:
        path = _names(step[1])
        if step[0] == "put":
            return client.outcome("PUT", path, NEW)[0]
        if step[0] == "delete":
            return client.outcome("DELETE", path)[0]
        if step[0] == "touch":
            return client.outcome("PROPPATCH", path, touched)[0]
        overwrite = "T" if step[0] == "over" else "F"
        return client.outcome("MOVE", path, Destination=Dav.href(_names(step[2])), Overwrite=overwrite)[0]

    return act


def over_sftp(drive: Drive) -> Callable[[Step], str]:
    """Return what makes a step the packets of SFTP; it returns `done`, or the code."""
    client = Sftp(Client(drive))

    def act(step: Step) -> str:
        path = _names(step[1])
        if step[0] == "put":
            return client.outcome("put", path, NEW)
        if step[0] == "delete":
            return client.outcome("remove", path)
        if step[0] == "touch":
            return client.outcome("touch", path, 1_000_000_000)
        return client.outcome("posix_rename" if step[0] == "over" else "rename", path, _names(step[2]))

    return act


def by_drive(drive: Drive) -> Callable[[Step], str]:
    """Return what goes back through the drive itself; it returns `done`, or the class of the error."""

    def act(step: Step) -> str:
        try:
            GOING_BACK[step[0]](drive, step)
        except MellanrumError as error:
            return type(error).__name__
        return "done"

    return act


#: How one goes back: by the name of the step, whose second word is the path and whose third, if any, the moment.
GOING_BACK: dict[str, Callable[[Drive, Step], object]] = {
    "restore": lambda drive, step: drive.restore(parse(step[1]), 1),
    "undelete": lambda drive, step: drive.undelete(parse("/Rum/A"), deleted(drive)),
    "put back": lambda drive, step: drive.put_back(parse(step[1]), int(step[2])),
}


def deleted(drive: Drive) -> bytes:
    """Return the id of what was deleted last."""
    return drive.trash(parse("/Rum/A"), everything=True)[0][0].id


def worked_on(drive: Drive) -> None:
    """Let a folder become something else: documents changed, added, gone, moved out and in."""
    store(drive, X, NEW)
    drive.delete(parse("/Rum/A/Inre"))
    store(drive, "/Rum/A/Inre", content(5))
    store(drive, "/Rum/A/Nytt.txt", content(6))
    drive.move(parse("/Rum/A/Kvar.txt"), parse("/Rum/B/Bort.txt"), overwrite=False)
    drive.move(parse("/Rum/B/Annat.txt"), parse("/Rum/A/Hit.txt"), overwrite=False)


#: What happens before one goes back.
MEANWHILE: dict[str, Callable[[Drive], object]] = {
    "restore": lambda drive: store(drive, X, NEW),
    "undelete": lambda drive: drive.delete(parse(X)),
    "put back": worked_on,
}


@dataclass(frozen=True)
class SavesSite:
    """An installation in a folder that may be copied and killed, in which `eva` manages the space `Rum`.

    `first` is what stood at `moment`: X with one version, and others beside it; `old` what stands before a save.
    """

    folder: Path
    password: str
    identity: bytes
    moment: int
    first: Tree
    old: Tree

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @classmethod
    def build(cls, folder: Path, more: Callable[[Drive], None] = lambda drive: None) -> SavesSite:
        """Make it, and let `more` be done to it before the save."""
        folder.mkdir(parents=True)
        world = World.create(folder / "data", **SETTINGS)
        try:
            world.person(LOGIN, "Kund AB")
            world.space("Rum", "Kund AB", ("/A", "/A/Inre", "/B"))
            world.grant(LOGIN, "Rum", Role.MANAGER, history=True)
            drive = world.drive(LOGIN)
            store(drive, X, OLD)
            store(drive, "/Rum/A/Inre/Bilaga.txt", content(3))
            store(drive, "/Rum/A/Kvar.txt", content(7))
            store(drive, "/Rum/B/Annat.txt", content(4))
            identity = drive.stat(parse(X)).id
            moment, first = now_us(), tree_of(drive)
            more(drive)
            return cls(folder, world.passwords[LOGIN], identity, moment, first, tree_of(drive))
        finally:
            world.installation.close()

    def copied(self, folder: Path) -> SavesSite:
        """Return a copy of it as it lies on disk now."""
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder)

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[Installation, Drive]]:
        """Open it as a process that starts would; give it, and the drive of its person."""
        found = Installation.open(self.data, settings_for(self.data, **SETTINGS))
        try:
            yield found, sign_in(found, self.password, Via.WEBDAV)
        finally:
            found.close()


def sign_in(installation: Installation, password: str, via: Via) -> Drive:
    """Return the drive of the site's person."""
    return installation.drive(installation.authenticator.basic(LOGIN, password, via=via, address=ADDRESS))


def hands(installation: Installation, password: str, protocol: str) -> Callable[[Step], str]:
    """Return what does a step over a protocol."""
    if protocol == "WebDAV":
        return over_webdav(WebDav(installation, installation.settings), password)
    if protocol == "SFTP":
        return over_sftp(sign_in(installation, password, Via.SFTP))
    return by_drive(sign_in(installation, password, Via.WEBDAV))


def work(data: str, password: str, protocol: str, steps: tuple[Step, ...], pipe: Connection) -> None:
    """Open the installation, and once told to, take the steps; tell of each. This is the process that is killed."""
    folder = Path(data)
    installation = Installation.open(folder, settings_for(folder, **SETTINGS))
    act = hands(installation, password, protocol)
    pipe.send_bytes(b"READY")
    pipe.recv_bytes()
    for number, step in enumerate(steps):
        outcome = act(step)
        pipe.send_bytes(f"ACK {number} {outcome}".encode())
    pipe.recv_bytes()


def faults_after(site: SavesSite, protocol: str, steps: tuple[Step, ...], states: list[Tree], acked: int) -> list[str]:
    """Return what is wrong with a site whose process was killed once `acked` steps were acknowledged.

    What stands must be one of two trees; from there the save goes on, and must end as it would have.
    """
    allowed = states[acked : acked + 2]
    with site.opened() as (installation, drive):
        found = [f"{each.where}: {each.what}" for each in installation.verify()]
        standing = tree_of(drive)
        if standing not in allowed:
            return found + difference(standing, allowed)
        # What was not acknowledged is asked for again, unless it can be seen to be done.
        is_done = len(allowed) == 2 and standing == allowed[1] and standing != allowed[0]
        act = hands(installation, site.password, protocol)
        for step in steps[acked + is_done :]:
            outcome = act(step)
            if outcome != "done":
                found.append(f"{step}: {outcome}")
        if tree_of(drive) != states[-1]:
            found += difference(tree_of(drive), states[-1:])
        found += [f"afterwards {each.where}: {each.what}" for each in installation.verify()]
        return found


def faults_of_document(site: SavesSite, versions: list[bytes]) -> list[str]:
    """Return what is wrong with X once it was saved: it must be the same document, with these versions."""
    with site.opened() as (_, drive):
        found = []
        if drive.stat(parse(X)).id != site.identity:
            found.append("X is another document")
        listed = [each.sha256 for each in drive.versions(parse(X))]
        expected = [digest(each).split()[-1] for each in versions]
        if listed != expected:
            found.append(f"{len(listed)} versions, or others than {len(expected)}")
        if fetch(drive, X) != versions[-1]:
            found.append("X does not hold what was saved")
        return found
