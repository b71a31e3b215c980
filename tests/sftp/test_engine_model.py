"""Random operations on a drive over SFTP, and the same on a local folder: no difference, in answers or in bytes."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path as FilePath

import pytest

from server.sftp.engine.wire import APPEND, CREAT, EXCL, READ, TRUNC, WRITE, Code, Type, string
from tests.seeds import seeded, seeds
from tests.sftp.client import Client, Refused, sized
from tests.worlds import World

NAMES = ("a", "b", "c", "d")
OPENINGS = (READ, READ, READ | WRITE, WRITE, WRITE | CREAT | TRUNC, READ | WRITE | CREAT, WRITE | CREAT,
            WRITE | APPEND | CREAT, WRITE | CREAT | EXCL, READ | WRITE | CREAT | TRUNC)  # fmt: skip
OPEN_MAX = 6
SIZE_MAX = 400_000


class Both:
    """One client and one local folder, done the same to."""

    def __init__(self, client: Client, folder: FilePath, seed: int) -> None:
        self.client = client
        self.folder = folder
        self.chance = random.Random(seed)
        self.open: list[tuple[bytes, int, int]] = []
        self.log: list[str] = []

    def path(self) -> str:
        chance = self.chance
        return "/".join(chance.choice(NAMES) for _ in range(chance.choice((1, 1, 1, 2, 2, 3))))

    def spelled(self) -> str:
        """Return a path, at times spelled as a folder's."""
        return self.path() + self.chance.choice(("", "", "", "/"))

    def local(self, path: str) -> str:
        return f"{self.folder}/{path}"

    def step(self) -> None:
        acts = (
            (self.open_one, 4), (self.write, 8), (self.read, 6), (self.truncate, 1), (self.close_one, 3),
            (self.rename, 1), (self.posix_rename, 2), (self.remove, 1), (self.make_folder, 1), (self.remove_folder, 1),
            (self.look, 3), (self.list, 1), (self.truncate_path, 1), (self.sync, 0.3),
        )  # fmt: skip
        act = self.chance.choices([act for act, _ in acts], [weight for _, weight in acts])[0]
        self.log.append(f"{act.__name__} open={[(fd, flags) for _, fd, flags in self.open]}")
        act()

    def same(self, theirs: Callable[[], object], ours: Callable[[], object], *told: object) -> tuple[object, object]:
        """Do both; both succeed, or neither."""
        self.log[-1] += f" {told}"
        try:
            expected: object = ours()
        except OSError as error:
            expected = error
        try:
            found: object = theirs()
        except Refused as refused:
            found = refused
        failed = isinstance(expected, OSError)
        assert failed == isinstance(found, Refused), (expected, found, self.log[-40:])
        if failed and expected.errno in (errno.ENOENT, errno.ENOTDIR):  # type: ignore[attr-defined]
            assert found.code == Code.NO_SUCH_FILE, (expected, found, self.log[-40:])  # type: ignore[attr-defined]
        return found, expected

    # --- open documents

    def open_one(self) -> None:
        if len(self.open) >= OPEN_MAX:
            return
        path, flags = self.spelled(), self.chance.choice(OPENINGS)
        local = self.local(path)
        if os.path.isdir(local):
            return
        both = flags & (READ | WRITE)
        theirs = os.O_RDWR if both == READ | WRITE else os.O_WRONLY if both == WRITE else os.O_RDONLY
        for mine, other in ((APPEND, os.O_APPEND), (CREAT, os.O_CREAT), (TRUNC, os.O_TRUNC), (EXCL, os.O_EXCL)):
            theirs |= other if flags & mine else 0
        handle, fd = self.same(
            lambda: self.client.open("/Rum/" + path, flags), lambda: os.open(local, theirs), path, flags
        )
        if isinstance(fd, int):
            self.log[-1] += f" fd={fd}"
            self.open.append((handle, fd, flags))  # type: ignore[arg-type]

    def some(self, needed: int) -> tuple[bytes, int] | None:
        fitting = [(handle, fd) for handle, fd, flags in self.open if flags & needed]
        return self.chance.choice(fitting) if fitting else None

    def write(self) -> None:
        found = self.some(WRITE)
        if found is None:
            return
        handle, fd = found
        size = os.fstat(fd).st_size
        at = self.chance.choice((0, size, self.chance.randrange(size + 1), self.chance.randrange(SIZE_MAX)))
        data = self.chance.randbytes(self.chance.choice((0, 1, 100, 5000, 70_000)))
        os.lseek(fd, at, os.SEEK_SET)
        os.write(fd, data)
        self.log[-1] += f" {fd} {at} {len(data)}"
        self.client.write(handle, at, data)

    def read(self) -> None:
        found = self.some(READ)
        if found is None:
            return
        handle, fd = found
        at, length = self.chance.randrange(os.fstat(fd).st_size + 100), self.chance.choice((1, 1000, 100_000))
        self.log[-1] += f" {fd} {at} {length}"
        assert self.client.read(handle, at, length) == os.pread(fd, length, at), self.log[-40:]
        assert self.client.fstat(handle).size == os.fstat(fd).st_size

    def truncate(self) -> None:
        found = self.some(WRITE)
        if found is None:
            return
        handle, fd = found
        size = self.chance.randrange(SIZE_MAX // 4)
        self.log[-1] += f" {fd} {size}"
        os.ftruncate(fd, size)
        self.client.fsetstat(handle, sized(size))

    def sync(self) -> None:
        found = self.some(WRITE)
        if found is not None:
            self.client.extended("fsync@openssh.com", string(found[0]))

    def close_one(self) -> None:
        if self.open:
            handle, fd, _ = self.open.pop(self.chance.randrange(len(self.open)))
            self.log[-1] += f" {fd}"
            os.close(fd)
            self.client.close(handle)

    # --- names

    def rename(self) -> None:
        source, goal = self.spelled(), self.spelled()

        def ours() -> None:
            if os.path.exists(self.local(goal)) and os.path.exists(self.local(source)):
                raise FileExistsError
            os.rename(self.local(source), self.local(goal))

        self.same(lambda: self.client.path_request(Type.RENAME, "/Rum/" + source, "/Rum/" + goal), ours, source, goal)

    def posix_rename(self) -> None:
        source, goal = self.spelled(), self.spelled()
        body = string(f"/Rum/{source}".encode()) + string(f"/Rum/{goal}".encode())
        self.same(
            lambda: self.client.extended("posix-rename@openssh.com", body),
            lambda: os.rename(self.local(source), self.local(goal)),
            source,
            goal,
        )

    def remove(self) -> None:
        path = self.spelled()
        self.same(
            lambda: self.client.path_request(Type.REMOVE, "/Rum/" + path), lambda: os.unlink(self.local(path)), path
        )

    def make_folder(self) -> None:
        path = self.spelled()
        self.same(
            lambda: self.client.path_request(Type.MKDIR, "/Rum/" + path, tail=bytes(4)),
            lambda: os.mkdir(self.local(path)),
            path,
        )

    def remove_folder(self) -> None:
        path = self.spelled()
        self.same(
            lambda: self.client.path_request(Type.RMDIR, "/Rum/" + path), lambda: os.rmdir(self.local(path)), path
        )

    def truncate_path(self) -> None:
        path, size = self.spelled(), self.chance.randrange(SIZE_MAX // 4)
        if not os.path.isdir(self.local(path)):
            self.same(
                lambda: self.client.setstat("/Rum/" + path, sized(size)),
                lambda: os.truncate(self.local(path), size),
                path,
                size,
            )

    def look(self) -> None:
        path = self.spelled()
        found, expected = self.same(lambda: self.client.stat("/Rum/" + path), lambda: os.stat(self.local(path)), path)
        if isinstance(expected, os.stat_result):
            is_folder = found.mode == 0o040755  # type: ignore[attr-defined]
            assert is_folder == os.path.isdir(self.local(path)), self.log[-40:]
            assert is_folder or found.size == expected.st_size, (found, expected, self.log[-40:])  # type: ignore[attr-defined]

    def list(self) -> None:
        folders = [self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())]
        local = self.chance.choice(folders)
        path = str(local.relative_to(self.folder))
        found = self.client.names(f"/Rum/{path}")
        assert set(found) == {".", "..", *os.listdir(local)}, self.log[-40:]
        for name in os.listdir(local):
            if not (local / name).is_dir():
                assert found[name][1].size == (local / name).stat().st_size, self.log[-40:]

    def compare(self) -> None:
        """Close everything; then both hold the same."""
        while self.open:
            self.log.append("close")
            self.close_one()
        for local in self.folder.rglob("*"):
            path = f"/Rum/{local.relative_to(self.folder)}"
            if local.is_dir():
                assert set(self.client.names(path)) == {".", "..", *os.listdir(local)}
            else:
                assert self.client.get(path) == local.read_bytes(), (path, self.log[-40:])
        assert set(self.client.names("/Rum")) == {".", "..", *os.listdir(self.folder)}


def compared(client: Client, folder: FilePath, count: int, seed: int) -> None:
    both = Both(client, folder, seed)
    for number in range(count):
        both.step()
        if number % 500 == 499:
            both.compare()
    both.compare()


@pytest.fixture
def emptied(world: World, connect: Callable[..., Client], tmp_path: FilePath) -> tuple[Client, FilePath]:
    client = connect()
    client.path_request(Type.RMDIR, "/Rum/Avtal")
    folder = tmp_path / "local"
    folder.mkdir()
    return client, folder


@pytest.mark.parametrize("seed", seeded([5, 6, 7, 8]))
def test_500_random_operations_equal_a_local_folder(emptied: tuple[Client, FilePath], world: World, seed: int) -> None:
    compared(*emptied, 500, seed)
    assert list(world.installation.vault.drafts(world.spaces["Rum"].id)) == []


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_100_000_random_operations_equal_a_local_folder(emptied: tuple[Client, FilePath], world: World) -> None:
    for seed in seeds(range(100, 102), more=48):
        compared(*emptied, 2000, seed)
    assert list(world.installation.verify()) == []
