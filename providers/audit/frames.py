"""The file of a read journal: its header, its frames, and how it is made, appended to and read back.

    header  "MRJL" ‖ format 0x01 ‖ 11 zero bytes ‖ journal id, 16 bytes
    frame   "MRJF" ‖ length of what follows the sequence, u32 ‖ sequence, u64 ‖ sealed list of events

Whole numbers are big-endian. The sequence begins at 0; the seal is bound to journal id and sequence. Zeros follow the
last frame: the file is written full of them before its first use.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from auth.errors import SealBroken
from auth.keyring import Sealer
from config.files import sync_folder
from config.ids import ID_BYTES, id_from_text, new_id

MAGIC = b"MRJL\x01" + bytes(11)
FRAME_MAGIC = b"MRJF"
HEADER_BYTES = len(MAGIC) + ID_BYTES
FRAME_HEAD_BYTES = 16
SEAL_BYTES_MAX = 64
CAPACITY_BYTES = 4 << 20
FRAME_EVENTS_MAX = 256
SUFFIX = ".journal"
DAMAGED = ".damaged"
FRAMES_MAX = 1 << 20
ASIDE = ".new"


def label(journal: bytes, sequence: int) -> bytes:
    """Return what a frame's seal is bound to."""
    return b"read journal" + journal + sequence.to_bytes(8, "big")


def is_abandoned(fd: int) -> bool:
    """Return whether no process writes this file any more. If so, it is locked until `fd` is closed."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class JournalFile:
    """A journal that this process writes."""

    def __init__(self, fd: int, identity: bytes, sealer: Sealer, capacity: int) -> None:
        self._fd = fd
        self._id = identity
        self._sealer = sealer
        self._capacity = capacity
        self._offset = HEADER_BYTES
        self._sequence = 0

    @classmethod
    def create(cls, folder: Path, sealer: Sealer, at_least: int = 0) -> JournalFile:
        """Make a journal with room for a payload of `at_least` bytes, durable, locked, and only then by its name."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        identity = new_id()
        capacity = max(CAPACITY_BYTES, HEADER_BYTES + FRAME_HEAD_BYTES + at_least + SEAL_BYTES_MAX)
        aside = folder / f"{identity.hex()}{ASIDE}"
        fd = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            _write(fd, MAGIC + identity + bytes(capacity - HEADER_BYTES), 0)
            os.fsync(fd)
            os.rename(aside, folder / f"{identity.hex()}{SUFFIX}")
            sync_folder(folder)
        except BaseException:
            aside.unlink(missing_ok=True)
            os.close(fd)
            raise
        return cls(fd, identity, sealer, capacity)

    def has_room(self, payload: bytes) -> bool:
        """Return whether a frame of the payload fits."""
        return self._offset + FRAME_HEAD_BYTES + len(payload) + SEAL_BYTES_MAX <= self._capacity

    def append(self, payload: bytes) -> None:
        """Return once a frame is durable. After an OSError the file must not be used any more."""
        sealed = self._sealer.seal(label(self._id, self._sequence), payload)
        head = FRAME_MAGIC + len(sealed).to_bytes(4, "big") + self._sequence.to_bytes(8, "big")
        _write(self._fd, head + sealed, self._offset)
        os.fdatasync(self._fd)
        self._offset += len(head) + len(sealed)
        self._sequence += 1

    def close(self) -> None:
        """Let the file go; it is drained as one of a dead process."""
        os.close(self._fd)


def _write(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def journal_id(path: Path) -> bytes | None:
    """Return the id that a journal's name says, or None if it is none."""
    return id_from_text(path.name.removesuffix(SUFFIX)) if path.name.endswith(SUFFIX) else None


def frames(fd: int, identity: bytes, sealer: Sealer, offset: int, sequence: int) -> Iterator[tuple[bytes, int]]:
    """Yield each frame's payload and the offset after it, up to the first that is not whole. `offset` 0: the first."""
    if offset == 0:
        if os.pread(fd, HEADER_BYTES, 0) != MAGIC + identity:
            return
        offset = HEADER_BYTES
    size = os.fstat(fd).st_size
    while True:
        head = os.pread(fd, FRAME_HEAD_BYTES, offset)
        length = int.from_bytes(head[4:8], "big")
        if head[:4] != FRAME_MAGIC or int.from_bytes(head[8:], "big") != sequence:
            return
        if offset + FRAME_HEAD_BYTES + length > size:
            return
        try:
            payload = sealer.open(label(identity, sequence), os.pread(fd, length, offset + FRAME_HEAD_BYTES))
        except SealBroken:
            return
        offset += FRAME_HEAD_BYTES + length
        sequence += 1
        yield payload, offset


def has_lost_frames(fd: int, offset: int, sequence: int) -> bool:
    """Return whether whole frames stand behind the one at which reading ended: then it was damaged, not torn."""
    rest = os.pread(fd, os.fstat(fd).st_size, max(offset, HEADER_BYTES))
    found = rest.find(FRAME_MAGIC)
    while found >= 0:
        if sequence < int.from_bytes(rest[found + 8 : found + FRAME_HEAD_BYTES], "big") < sequence + FRAMES_MAX:
            return True
        found = rest.find(FRAME_MAGIC, found + 1)
    return False
