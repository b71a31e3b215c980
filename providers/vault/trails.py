"""What a long upload has appended so far, told beside the packs in case its process is killed.

It stands with the packs, not in a catalogue, and is gone, durably, before anything can come of the upload: so what a
trail tells of belongs to no version in any catalogue, however old or new. Whoever writes one holds its lock, which goes
with the process.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from config.files import sync_folder

#: magic, format; then entries: pack, offset, length, and CRC-32 of the trail's name and these.
_HEAD = struct.pack("<4sB3x", b"MRTR", 1)
_ENTRY = struct.Struct("<QQQ")
_CRC = struct.Struct("<I")
_MODE = 0o600
_SUFFIX = ".trail"


class Trail:
    """The trail of one upload that is under way."""

    def __init__(self, folder: Path) -> None:
        """Begin one. Raises OSError."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self._name = os.urandom(16)
        self._path = folder / f"{self._name.hex()}{_SUFFIX}"
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_APPEND, _MODE)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            os.write(self._fd, _HEAD)
        except OSError:
            self.forget()
            raise

    def add(self, pack: int, offset: int, length: int) -> None:
        """Tell of records that were appended. Raises OSError."""
        os.write(self._fd, _entry(self._name, pack, offset, length))

    def remove(self) -> None:
        """Let it be gone for good, and return once it is. Harmless when repeated. Raises OSError."""
        self.forget()
        sync_folder(self._path.parent)

    def forget(self) -> None:
        """Let it be gone, with the power or without. Harmless when repeated."""
        if self._fd >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


class Abandoned:
    """A trail of which nobody goes on."""

    def __init__(self, path: Path, fd: int, size: int) -> None:
        self._path = path
        data = os.pread(fd, size, 0)
        #: Pack, offset and length of what was appended.
        self.ranges = list(_entries(bytes.fromhex(path.stem), data)) if data.startswith(_HEAD) else []

    def remove(self) -> None:
        """Let it be gone, once what it told of is written down."""
        self._path.unlink(missing_ok=True)


def abandoned(folder: Path) -> Iterator[Abandoned]:
    """Yield the trails whose processes were killed, each while nobody else can have it."""
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(fd)
            if found.st_nlink:
                yield Abandoned(path, fd, found.st_size)
        except BlockingIOError:
            continue
        finally:
            os.close(fd)


def _entry(name: bytes, *fields: int) -> bytes:
    packed = _ENTRY.pack(*fields)
    return packed + _CRC.pack(zlib.crc32(packed, zlib.crc32(name)))


def _entries(name: bytes, data: bytes) -> Iterator[tuple[int, int, int]]:
    for at in range(len(_HEAD), len(data) - _ENTRY.size - _CRC.size + 1, _ENTRY.size + _CRC.size):
        pack, offset, length = _ENTRY.unpack_from(data, at)
        if data[at : at + _ENTRY.size + _CRC.size] != _entry(name, pack, offset, length):
            return  # the power was lost before it was all written
        yield pack, offset, length
