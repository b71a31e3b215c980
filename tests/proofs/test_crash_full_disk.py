"""A disk that is full: a PUT that finds no room says so, the old version stands and is read, and freed room is used.

On a real ext4 of a few megabytes, filled to levels that run out in the midst of a pack and in the midst of a commit.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from config.errors import StorageFull
from providers.drive import Drive
from tests.proofs.crash_site import ROOM, Operation, Site, digest, tree_of
from tests.proofs.power_disk import make_file_system, mounted
from tests.seeds import is_short
from tests.serving import serving, space_path
from tests.worlds import fetch, store

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

DISK_BYTES = 80 << 20
BLOCK = 4096
#: Half a megabyte that no compression makes smaller; a commit writes some hundred kilobytes beside it.
SIZE = 500_000
LEVELS = [0, 1, 4, 16, 64, 100, 120, *range(122, 150, 2), 160, 200, 300]
LEVELS_SHORT = [0, 4, 64, 120, *range(124, 140, 2), 300]
STANDING = Operation("put", f"{ROOM}/A/Stå kvar.txt", seed=1, size=70_000)
PATH = f"{ROOM}/A/Ritning.dwg"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    image = tmp_path / "small.img"
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    make_file_system(image)
    with mounted(image, tmp_path / "small") as folder:
        yield folder
        gc.collect()  # a pack is held for as long as anything, such as an error's traceback, may refer to it


@contextlib.contextmanager
def filled(disk: Path, blocks: int) -> Iterator[None]:
    """Fill the disk to all but some blocks of 4 KiB."""
    filler = disk / "filler"
    descriptor = os.open(filler, os.O_RDWR | os.O_CREAT)
    try:
        os.fsync(descriptor)
        os.sync()  # what the file system has put off takes its room first
        free = os.statvfs(disk).f_bavail
        while (excess := os.statvfs(disk).f_bavail - blocks) > 0:
            size = os.fstat(descriptor).st_size
            with contextlib.suppress(OSError):  # its own books may need a block
                os.posix_fallocate(descriptor, size, excess * BLOCK)
            if os.statvfs(disk).f_bavail >= free:
                break
            free = os.statvfs(disk).f_bavail
        yield
    finally:
        os.close(descriptor)
        filler.unlink(missing_ok=True)


def where_it_ran_out(error: StorageFull) -> str:
    """Tell from what a refusal was caused by where there was no room."""
    return "in a commit" if isinstance(error.__cause__, DBAPIError) else "in a pack"


def put_when_full(drive: Drive, disk: Path, blocks: int, old: bytes, new: bytes) -> str:
    """PUT on a disk with so many blocks free; return what happened. What stands is read while the disk is full."""
    with filled(disk, blocks):
        try:
            store(drive, PATH, new)
            outcome, expected = "kept", new
        except StorageFull as error:
            outcome, expected = where_it_ran_out(error), old
        assert fetch(drive, PATH) == expected
        assert fetch(drive, STANDING.path) == STANDING.content()
    if outcome != "kept":
        store(drive, PATH, new)
        assert fetch(drive, PATH) == new
    return outcome


def test_a_full_disk_keeps_the_old_version(disk: Path) -> None:
    site = Site.build(disk / "site", [STANDING])
    outcomes: dict[int, str] = {}
    old = os.urandom(SIZE)
    with site.opened() as (installation, drive):
        store(drive, PATH, old)
        assert fetch(drive, PATH) == old
        assert fetch(drive, STANDING.path) == STANDING.content()
        for blocks in LEVELS_SHORT if is_short() else LEVELS:
            new = os.urandom(SIZE)
            outcomes[blocks] = put_when_full(drive, disk, blocks, old, new)
            old = new
        assert list(installation.verify()) == []
        last = tree_of(drive)
    print("\n" + "\n".join(f"{blocks * BLOCK:>9} bytes free: {told}" for blocks, told in outcomes.items()))
    assert last == {**site.tree, PATH: digest(old)}
    assert site.faults([last]) == []
    assert set(outcomes.values()) == {"in a pack", "in a commit", "kept"}


def test_clients_that_try_again_leave_nothing_on_a_full_disk(disk: Path) -> None:
    """Each refused PUT once left a pack with nothing in it, until the last block was gone."""
    site = Site.build(disk / "site", [STANDING])
    with site.opened() as (_, drive), filled(disk, 16):
        for _ in range(10):
            with pytest.raises(StorageFull):
                store(drive, PATH, os.urandom(SIZE))
        os.sync()
        assert {pack.stat().st_size > BLOCK for pack in site.data.rglob("*.pack")} == {True}
        assert os.statvfs(disk).f_bavail >= 12


def test_a_full_disk_is_told_over_webdav(disk: Path) -> None:
    # A read is journalled before its first byte leaves, in a file that each worker made, whole, when it began.
    with serving(disk / "data", **{"http.workers": 2}) as server:
        anna, path = server.dav("anna"), f"{space_path('anna')}/Ritning.dwg"
        old, new = os.urandom(SIZE), os.urandom(SIZE)
        assert anna.put(path, old).status == 201
        for blocks in (0, 64, 124):
            with filled(disk, blocks):
                for body in (new, iter([new[:300_000], new[300_000:]])):  # with a length, and in chunks
                    assert anna.put(path, body).status == 507
                    anna.close()
                    again = anna.get(path)
                    assert (again.status, again.body == old) == (200, True)
        assert anna.put(path, new).status == 204
        assert anna.get(path).body == new
        assert list(server.world.installation.verify()) == []
