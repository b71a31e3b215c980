"""A store in a folder: one file a pack, under a folder for each space. Nothing is readable for others.

<folder>/<space>/packs/<pack>.pack
<folder>/<space>/drafts/<draft>.draft
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from config.errors import MellanrumError
from config.files import full_or_failed, sync_folder
from config.logging import get_log
from providers.vault.errors import (
    DamagedContent,
    DraftInUse,
    GapsHeldOff,
    GapsUnsupported,
    StorageClosed,
    damaged,
    translated,
)
from providers.vault.punching import punch
from providers.vault.records import (
    GAP_HEAD_BYTES,
    Entry,
    PackScan,
    entries_of,
    footer,
    gap_head,
    pack_head,
    read_footer,
    scan,
    walk,
)
from providers.vault.store import new_pack_id
from providers.vault.trails import Abandoned, Trail, abandoned

log = get_log("vault")

_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
#: Beside a pack that somebody waits to claim.
_WANTED = ".wanted"


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it where they are missing, each for the owner alone."""
    if not folder.is_dir():
        _make_folders(folder.parent)
        folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)


def _write_all(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


class LocalPack:
    """A pack being written to a file of this process's own."""

    def __init__(self, path: Path, space: bytes, pack: int, root: Path) -> None:
        self.id = pack
        self._path = path
        self._space = space
        self._guard = threading.Lock()
        self._syncing = threading.Lock()
        self._entries: list[Entry] = []
        self._synced = 0
        self._closed = False
        #: Why nothing more can be appended; why nothing more can be promised to last.
        self._full: MellanrumError | None = None
        self._lost: MellanrumError | None = None
        # All of them, though some may be old: another writer may have made one a moment ago, and not synced it yet.
        self._folders = [path.parent, path.parent.parent, root, root.parent]
        head = pack_head(space, pack)
        with translated():
            _make_folders(path.parent)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_SH)
                _write_all(self._fd, memoryview(head), 0)
                # The lock outlives `close`: whoever may yet refer to a record of this pack holds this object.
                self._held = weakref.finalize(self, os.close, os.dup(self._fd))
            except OSError:
                os.close(self._fd)
                path.unlink(missing_ok=True)
                raise
        self._size = len(head)

    @property
    def size(self) -> int:
        """Bytes appended so far."""
        return self._size

    @property
    def is_usable(self) -> bool:
        """Whether it takes more."""
        return not self._closed and self._full is None

    def append(self, records: bytes | bytearray | memoryview) -> int:
        """Append whole records; return the offset of the first."""
        with self._guard:
            if self._full is not None:
                raise self._full
            if self._closed:
                raise StorageClosed
            offset = self._size
            entries = list(entries_of(records, offset))
            try:
                _write_all(self._fd, memoryview(records), offset)
            except OSError as error:
                raise self._abandon(error) from error
            self._entries += entries
            self._size = offset + len(records)
            return offset

    def _abandon(self, error: OSError) -> MellanrumError:
        """Take nothing more after a fault; cut off what was half written. What was appended before stands."""
        self._full = self._full or full_or_failed(error)
        log.error("pack_abandoned", error, space=self._space, pack=self.id, offset_bytes=self._size)
        try:
            os.ftruncate(self._fd, self._size)
            if not self._entries:
                # Whoever tries again on a full disk would leave one of these each time, until the last block is gone.
                self._path.unlink(missing_ok=True)
                self._held()  # nobody can refer to a record of it, and what is open still takes room
        except OSError:
            pass  # a torn tail is known for what it is when read
        return self._full

    def sync(self) -> None:
        """Make all that was appended before durable."""
        wanted = self._size
        if self._synced >= wanted:
            return
        with self._syncing:
            # Whoever held the lock may have synced ours along with its own.
            if self._synced < wanted:
                self._sync_now()

    def _sync_now(self) -> None:
        if self._lost is not None:
            raise self._lost
        if self._fd < 0:
            raise StorageClosed
        reached = self._size
        try:
            os.fdatasync(self._fd)
            while self._folders:
                sync_folder(self._folders[-1])
                self._folders.pop()
        except OSError as error:
            self._lost = full_or_failed(error)
            with self._guard:
                self._abandon(error)
            raise self._lost from error
        self._synced = reached

    def close(self) -> None:
        """Sync, add the footer, let go."""
        with self._syncing:
            if self._fd < 0:
                return
            with self._guard:
                was_usable, self._closed = self.is_usable, True
            try:
                if was_usable:
                    self._end_with_footer()
                if self._synced < self._size or was_usable:
                    self._sync_now()
            finally:
                os.close(self._fd)
                self._fd = -1

    def is_wanted(self) -> bool:
        """Whether somebody waits to claim it."""
        return self._path.with_suffix(_WANTED).exists()

    def _end_with_footer(self) -> None:
        try:
            _write_all(self._fd, memoryview(footer(self._space, self.id, self._entries)), self._size)
        except OSError:
            # Records are found without a footer too.
            log.warning("pack_without_footer", space=self._space, pack=self.id)
            os.ftruncate(self._fd, self._size)


class LocalClaim:
    """A lock on the file of a pack that goes with the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LocalDraft:
    """The file of one draft: open once at a time, but to be read alone."""

    def __init__(self, path: Path, flags: int) -> None:
        self._fd = os.open(path, os.O_CLOEXEC | flags, _FILE_MODE)
        self._lost: MellanrumError | None = None
        if not flags & os.O_RDWR:
            return
        # Of a new one nobody knows but who clears away what was abandoned, and that takes no time.
        waits = 0 if flags & os.O_CREAT else fcntl.LOCK_NB
        try:
            # It goes with the process, however that ends.
            fcntl.flock(self._fd, fcntl.LOCK_EX | waits)
        except BlockingIOError:
            self.close()
            raise DraftInUse from None

    @property
    def is_there(self) -> bool:
        """Whether it has its name: what was made a moment ago may have been cleared away before it was locked."""
        return os.fstat(self._fd).st_nlink > 0

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes there."""
        return os.pread(self._fd, length, offset)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` there."""
        with translated():
            _write_all(self._fd, memoryview(data), offset)

    def size(self) -> int:
        """Return how many bytes there are."""
        return os.fstat(self._fd).st_size

    def sync(self) -> None:
        """Make what was written durable. After a fault, never tried again: see `PackWriter.sync`."""
        if self._lost is not None:
            raise self._lost
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._lost = full_or_failed(error)
            raise self._lost from error

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _void(fd: int, space: bytes, pack: int, ranges: Sequence[tuple[int, int]]) -> None:
    size = os.fstat(fd).st_size
    listed = read_footer(space, pack, size, lambda at, count: os.pread(fd, count, at))
    punch(fd, size, 1)  # behind the end: nothing, but refused where holes are unknown
    if listed is not None:
        # It lists what is about to go. Without one, records are found by walking.
        os.ftruncate(fd, listed[1])
        os.fdatasync(fd)
    for offset, length in ranges:
        _write_all(fd, memoryview(gap_head(space, pack, length)), offset)
    os.fdatasync(fd)  # a walk steps over the zeros from the first of them on
    for offset, length in ranges:
        punch(fd, offset + GAP_HEAD_BYTES, length - GAP_HEAD_BYTES)
    os.fdatasync(fd)


@contextmanager
def _gaps(folder: Path, operation: int) -> Iterator[None]:
    """Hold the lock of a store's gaps. Raises GapsHeldOff."""
    fd = os.open(folder / "gaps.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
    try:
        fcntl.flock(fd, operation)
        yield
    except BlockingIOError:
        raise GapsHeldOff from None
    finally:
        os.close(fd)


@contextmanager
def gaps_held_off(folder: Path) -> Iterator[None]:
    """Let no gaps be made in the packs of a store meanwhile: a copy of a file that gets one has half of a record.

    Nor does a pack go that a catalogue referred to.
    """
    if not folder.is_dir():
        yield
        return
    with _gaps(folder, fcntl.LOCK_SH):
        yield


class LocalStore:
    """A store in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open_pack(self, space: bytes) -> LocalPack:
        """Begin a new pack."""
        while True:
            pack = new_pack_id()
            try:
                return LocalPack(self._pack(space, pack), space, pack, self._folder)
            except FileExistsError:
                continue

    def read(self, space: bytes, pack: int, offset: int, length: int) -> bytes:
        """Return exactly these bytes."""
        buffer = bytearray(length)
        self.read_into(space, pack, offset, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, space: bytes, pack: int, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes there."""
        try:
            fd = os.open(self._pack_name(space, pack), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise damaged("a pack is missing", pack, offset) from None
        try:
            while buffer:
                count = os.preadv(fd, [buffer], offset)
                if count == 0:
                    raise damaged("a pack ends too early", pack, offset)
                buffer, offset = buffer[count:], offset + count
        except OSError:
            log.error("pack_unreadable", space=space, pack=pack, offset_bytes=offset)
            raise damaged("the disk cannot read a pack", pack, offset) from None
        finally:
            os.close(fd)

    def read_at_hand(self, space: bytes, pack: int, offset: int, buffer: memoryview) -> bool:
        """Fill `buffer` with the bytes there if they are in memory."""
        try:
            fd = os.open(self._pack_name(space, pack), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return os.preadv(fd, [buffer], offset, os.RWF_NOWAIT) == len(buffer)
        except OSError:
            return False  # on the disk, or of a file system that cannot tell
        finally:
            os.close(fd)

    def packs(self, space: bytes) -> Iterator[tuple[int, int]]:
        """Yield (id, bytes) of every pack of a space."""
        for path in sorted((self._space(space) / "packs").glob("*.pack")):
            try:
                yield int(path.stem, 16), path.stat().st_size
            except (FileNotFoundError, ValueError):
                continue

    def scan(self, space: bytes, pack: int, *, trust_footer: bool = True) -> PackScan:
        """Return what records a pack holds."""
        path = self._pack(space, pack)
        size = path.stat().st_size

        def read(offset: int, length: int) -> bytes:
            return self.read(space, pack, offset, length)

        try:
            return (scan if trust_footer else walk)(space, pack, size, read)
        except DamagedContent:
            path.stat()  # a sweep may have removed it meanwhile
            raise

    def claim(self, space: bytes, pack: int) -> LocalClaim | None:
        """Claim a pack that no writer holds; ask whoever writes it to end."""
        path = self._pack(space, pack)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            path.with_suffix(_WANTED).touch(mode=_FILE_MODE)
            return None
        path.with_suffix(_WANTED).unlink(missing_ok=True)
        return LocalClaim(fd)

    def void(self, space: bytes, pack: int, ranges: Sequence[tuple[int, int]]) -> None:
        """Let ranges become gaps, durably, in an order that may be cut short anywhere and begun again.

        Raises GapsHeldOff while a backup is made.
        """
        with _gaps(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            self._void(space, pack, ranges)

    def _void(self, space: bytes, pack: int, ranges: Sequence[tuple[int, int]]) -> None:
        try:
            fd = os.open(self._pack(space, pack), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            _void(fd, space, pack, ranges)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise GapsUnsupported from error
            raise full_or_failed(error) from error
        finally:
            os.close(fd)

    def remove_pack(self, space: bytes, pack: int) -> None:
        """Remove a pack, durably."""
        path = self._pack(space, pack)
        path.with_suffix(_WANTED).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_folder(path.parent)

    def retire_pack(self, space: bytes, pack: int) -> None:
        """Remove a pack that a catalogue referred to until now. Raises GapsHeldOff while a backup is made."""
        with _gaps(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            self.remove_pack(space, pack)

    def destroy_space(self, space: bytes) -> None:
        """Remove all packs and drafts of a space."""
        folder = self._space(space)
        if folder.is_dir():
            shutil.rmtree(folder)
            sync_folder(self._folder)

    def begin_trail(self, space: bytes) -> Trail:
        """Begin to tell what a long upload appends."""
        return Trail(self._space(space) / "trails")

    def abandoned_trails(self, space: bytes) -> Iterator[Abandoned]:
        """Yield the trails of uploads whose process was killed."""
        return abandoned(self._space(space) / "trails")

    def create_draft(self, space: bytes, draft: bytes) -> LocalDraft:
        """Make the file of a new draft."""
        path = self._draft(space, draft)
        with translated():
            _make_folders(path.parent)
            made = LocalDraft(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            while not made.is_there:
                made.close()
                made = LocalDraft(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            for folder in (path.parent, path.parent.parent, self._folder, self._folder.parent):
                sync_folder(folder)
        return made

    def open_draft(self, space: bytes, draft: bytes) -> LocalDraft:
        """Open the file of a draft."""
        return LocalDraft(self._draft(space, draft), os.O_RDWR)

    def view_draft(self, space: bytes, draft: bytes) -> LocalDraft:
        """Open the file of a draft to be read alone."""
        return LocalDraft(self._draft(space, draft), os.O_RDONLY)

    def peek_draft(self, space: bytes, draft: bytes, length: int) -> bytes:
        """Return the first bytes of a draft."""
        with self._draft(space, draft).open("rb") as file:
            return file.read(length)

    def remove_draft(self, space: bytes, draft: bytes) -> None:
        """Remove the file of a draft, durably."""
        path = self._draft(space, draft)
        try:
            path.unlink()
        except FileNotFoundError:
            return
        sync_folder(path.parent)

    def drafts(self, space: bytes) -> Iterator[bytes]:
        """Yield the ids of all drafts of a space."""
        for path in sorted((self._space(space) / "drafts").glob("*.draft")):
            yield bytes.fromhex(path.stem)

    def _space(self, space: bytes) -> Path:
        return self._folder / space.hex()

    def _pack(self, space: bytes, pack: int) -> Path:
        return Path(self._pack_name(space, pack))

    def _pack_name(self, space: bytes, pack: int) -> str:
        return f"{self._folder}/{space.hex()}/packs/{pack:016x}.pack"  # every read asks: Paths took ten times as long

    def _draft(self, space: bytes, draft: bytes) -> Path:
        return self._space(space) / "drafts" / f"{draft.hex()}.draft"
