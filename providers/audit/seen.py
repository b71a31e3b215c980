"""Which reads are part of a durable event, as the processes of one server tell each other.

Whoever asks for a version that it read through another process a moment ago would leave that event once more in this
one's journal, for `drain` to find that it is the same. A file of slots beside the journals spares that:

    slot    time of the event in µs, u64 big-endian ‖ BLAKE2b-128, keyed, of time ‖ reader ‖ version ‖ server

Which slot, another keyed digest says. Nothing relies on the file: what is overwritten, torn or lost there is written
once more, as ever. It is told only what is durable, and what an earlier server told is nothing to this one: a journal
that was put back in between may not hold it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

SLOTS: Final = 1 << 16
_TIME_BYTES: Final = 8
_MARK_BYTES: Final = 16
_SLOT_BYTES: Final = _TIME_BYTES + _MARK_BYTES


class Seen:
    """The file, as one process uses it. Safe to use from any number of threads. `key` returns that of its digests."""

    def __init__(self, path: Path, key: Callable[[], bytes]) -> None:
        #: Names, at random, the server that this process is of.
        self.server = b""
        self._path = path
        self._key = key
        self._guard = threading.Lock()
        self._fd: int | None = None

    def at(self, reader: bytes, version: bytes) -> int | None:
        """Return when (µs) the event was that the last read of a version is part of, None where it is not known."""
        fd = self._opened()
        if fd is None:
            return None
        try:
            slot = os.pread(fd, _SLOT_BYTES, self._offset(reader, version))
        except OSError:
            return None
        time = slot[:_TIME_BYTES]
        if len(slot) < _SLOT_BYTES or slot[_TIME_BYTES:] != self._mark(time, reader, version):
            return None
        return int.from_bytes(time, "big")

    def tell(self, reader: bytes, version: bytes, at: int) -> None:
        """Tell of a read whose event is durable."""
        fd = self._opened()
        if fd is not None:
            time = at.to_bytes(_TIME_BYTES, "big")
            with contextlib.suppress(OSError):
                os.pwrite(fd, time + self._mark(time, reader, version), self._offset(reader, version))

    def close(self) -> None:
        """Let go of the file."""
        with self._guard:
            fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _opened(self) -> int | None:
        if self._fd is None:
            with self._guard, contextlib.suppress(OSError):
                if self._fd is None:
                    self._fd = _open(self._path)
        return self._fd

    def _offset(self, reader: bytes, version: bytes) -> int:
        digest = hashlib.blake2b(reader + version, key=self._key(), digest_size=4, person=b"read slot").digest()
        return int.from_bytes(digest, "big") % SLOTS * _SLOT_BYTES

    def _mark(self, time: bytes, reader: bytes, version: bytes) -> bytes:
        told = time + reader + version + self.server
        return hashlib.blake2b(told, key=self._key(), digest_size=_MARK_BYTES, person=b"read seen").digest()


def _open(path: Path) -> int:
    """Open the file, made where it is missing: with all its blocks, which else had to be found one by one."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not os.fstat(fd).st_size:
        with contextlib.suppress(OSError):
            os.pwrite(fd, bytes(SLOTS * _SLOT_BYTES), 0)
    return fd
