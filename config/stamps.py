"""Stamps: a few bytes in memory that all processes of an installation share, and that tell them of a change.

What was read while a stamp was as it is now need not be read again. The bytes are a mapped file beside SQLite's own,
which are mapped like it; on PostgreSQL, where processes may run on many machines, there are none.
"""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path

from config.errors import StorageFull

_WORD_BYTES = 8


class Stamp:
    """One number, other after each `renew` by whichever process. Safe to use from any number of threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._map: mmap.mmap | None = None
        self._word: memoryview | None = None

    def value(self) -> int | None:
        """Return the number as it is at this very moment; None if the file is missing and cannot be made."""
        word = self._word
        if word is None:
            try:
                word = self._opened()
            except StorageFull:
                return None
        number: int = word[0]
        return number

    def prepare(self) -> None:
        """Open the file, so that `renew` cannot fail. Raises StorageFull."""
        if self._word is None:
            self._opened()

    def renew(self) -> None:
        """Take another number. It is random, so that whoever renews at the same time need not be waited for."""
        word = self._opened() if self._word is None else self._word
        word[0] = int.from_bytes(os.urandom(_WORD_BYTES), "big")

    def close(self) -> None:
        """Let go of the file."""
        with self._guard:
            word, mapped, self._word, self._map = self._word, self._map, None, None
            if word is not None and mapped is not None:
                word.release()
                mapped.close()

    def _opened(self) -> memoryview:
        with self._guard:
            if self._word is None:
                self._map = _mapped(self._path)
                self._word = memoryview(self._map).cast("Q")
            return self._word


def _mapped(path: Path) -> mmap.mmap:
    """Map the file, made where it is missing. It has its block before it is mapped: a full disk is told of here."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < _WORD_BYTES:
                os.pwrite(fd, bytes(_WORD_BYTES), 0)
            return mmap.mmap(fd, _WORD_BYTES)
        finally:
            os.close(fd)
    except OSError as error:
        raise StorageFull from error
