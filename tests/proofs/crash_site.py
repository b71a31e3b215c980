"""One installation whose documents are known byte by byte, and what must be true of it after any crash.

A site is a folder with a data folder and its root key beside it. Operations say what a client asked for; a tree is what
a client sees: the digest of each document by its path, `FOLDER` for a folder. After a crash, the tree that stands must
be one of those allowed, `verify` must find nothing, and the next PUT must work.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from auth.roles import Role, Via
from providers.drive import Drive
from providers.installation import Installation
from providers.paths import parse
from tests.tools import is_ci
from tests.worlds import ADDRESS, World, fetch, settings_for, store

ROOM = "/Rum"
FOLDER = "folder"
LOGIN = "eva"
Tree = dict[str, str]


@dataclass(frozen=True)
class Operation:
    """What a client asks for: `put` of `size` bytes that `seed` tells, `move` to `target`, or `delete`."""

    act: str
    path: str
    target: str = ""
    seed: int = 0
    size: int = 0

    def content(self) -> bytes:
        """Return the bytes of a put; the first half compresses, the second does not."""
        made = random.Random(self.seed)
        half = self.size // 2
        line = b"%d rader av samma slag, %d\n" % (self.seed, made.randrange(1 << 30))
        return (line * (half // len(line) + 1))[:half] + made.randbytes(self.size - half)

    def run(self, drive: Drive) -> None:
        """Do it, and return once it is acknowledged."""
        if self.act == "put":
            store(drive, self.path, self.content())
        elif self.act == "move":
            drive.move(parse(self.path), parse(self.target), overwrite=True)
        else:
            assert self.act == "delete"
            drive.delete(parse(self.path))

    def after(self, tree: Tree) -> Tree:
        """Return the tree as it is once this is done."""
        changed = dict(tree)
        if self.act == "put":
            changed[self.path] = digest(self.content())
        else:
            moved = changed.pop(self.path)
            if self.act == "move":
                changed[self.target] = moved
        return changed


def digest(content: bytes) -> str:
    """Return how a tree shows a content: its size and SHA-256."""
    return f"{len(content)} bytes {hashlib.sha256(content).hexdigest()}"


def states(before: Tree, operations: Iterable[Operation]) -> list[Tree]:
    """Return the tree after none, one, two ... of the operations."""
    found = [before]
    for operation in operations:
        found.append(operation.after(found[-1]))
    return found


@dataclass(frozen=True)
class Site:
    """An installation in a folder that may be copied, killed and cut off. `eva` edits the space `Rum`."""

    folder: Path
    password: str
    tree: Tree = field(default_factory=dict)

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    @classmethod
    def build(cls, folder: Path, operations: Sequence[Operation] = ()) -> Site:
        """Make an installation in `folder`, with one space, two folders in it, and what the operations leave."""
        folder.mkdir(parents=True, exist_ok=True)
        world = World.create(folder / "data")
        try:
            world.person(LOGIN, "Kund AB")
            world.space("Rum", "Kund AB", ("/A", "/B"))
            world.grant(LOGIN, "Rum", Role.EDITOR, history=True)
            drive = world.drive(LOGIN)
            for operation in operations:
                operation.run(drive)
        finally:
            world.installation.close()
        empty = {ROOM: FOLDER, f"{ROOM}/A": FOLDER, f"{ROOM}/B": FOLDER}
        return cls(folder, world.passwords[LOGIN], states(empty, operations)[-1])

    def moved(self, folder: Path) -> Site:
        """Return the same site standing in another folder."""
        return Site(folder, self.password, self.tree)

    def copied(self, folder: Path) -> Site:
        """Return a copy of the site as it lies on disk now."""
        shutil.copytree(self.folder, folder)
        return self.moved(folder)

    def task(self, operations: Sequence[Operation], **more: Any) -> dict[str, Any]:
        """Return what crash_worker.py is to do, as it reads it."""
        doing = [asdict(operation) for operation in operations]
        return {"data": str(self.data), "password": self.password, "operations": doing, **more}

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[Installation, Drive]]:
        """Open the installation as a process that starts would, and give its person's drive."""
        found = Installation.open(self.data, settings_for(self.data))
        try:
            yield found, sign_in(found, self.password)
        finally:
            found.close()

    def faults(self, allowed: Sequence[Tree], *, next_put: bool = True) -> list[str]:
        """Return what is wrong after a crash: `allowed` are the trees that may stand. Empty if all is well."""
        try:
            with self.opened() as (installation, drive):
                found = [f"{each.where}: {each.what}" for each in installation.verify()]
                standing = tree_of(drive)
                if standing not in allowed:
                    found += difference(standing, allowed)
                if next_put:
                    found += _next_put(drive)
                    found += [f"afterwards {each.where}: {each.what}" for each in installation.verify()]
                return found
        except Exception as error:  # whatever it is, the site did not come back
            return [f"{type(error).__name__}: {error}"]


def sign_in(installation: Installation, password: str) -> Drive:
    """Return the drive of the site's person."""
    return installation.drive(
        installation.authenticator.basic(LOGIN, password, via=Via.WEBDAV, address=ADDRESS),
    )


def tree_of(drive: Drive, path: str = ROOM) -> Tree:
    """Return all that the person sees at and below `path`, every document read to its end."""
    found: Tree = {path: FOLDER}
    for item in drive.listing(parse(path))[1]:
        below = f"{path}/{item.name}"
        if item.is_folder:
            found.update(tree_of(drive, below))
            continue
        content = fetch(drive, below)
        found[below] = digest(content) if len(content) == item.size else f"{len(content)} of {item.size} bytes"
    return found


def difference(standing: Tree, allowed: Sequence[Tree]) -> list[str]:
    """Return in words how a tree differs from the one of the allowed that it is nearest to."""

    def apart(expected: Tree) -> list[str]:
        paths = sorted(standing.keys() | expected.keys())
        return [
            f"{path} is {standing.get(path, 'missing')}, should be {expected.get(path, 'missing')}"
            for path in paths
            if standing.get(path) != expected.get(path)
        ]

    return min((apart(expected) for expected in allowed), key=len)


def _next_put(drive: Drive) -> list[str]:
    """PUT a new document, and a new version of it, and read it back."""
    path = f"{ROOM}/Efteråt.txt"
    for content in (b"det som kom sedan", os.urandom(100_000)):
        store(drive, path, content)
        if fetch(drive, path) != content:
            return ["the next PUT was not kept"]
    return []


@contextlib.contextmanager
def quick_folder() -> Iterator[Path]:
    """Give a folder in memory where the machine has one: what is killed or replayed there needs no disk's patience."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="mellanrum-", dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def need_root() -> None:
    """Skip by name where we may not mount or have nothing to mount from, and fail in CI."""
    if os.geteuid() != 0:
        unable("mounting needs root")
    for device in ("/dev/loop-control", "/dev/fuse"):
        if not Path(device).exists():
            unable(f"{device} is missing on this machine")


def unable(reason: str) -> None:
    """Skip a proof that this machine cannot do; in CI, fail."""
    if is_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
