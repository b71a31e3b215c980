"""Stamps: a few bytes in memory that all processes of an installation share, and that tell them of a change.

What was read while a stamp was as it is now need not be read again. The bytes are a mapped file beside SQLite's own,
which are mapped like it; on PostgreSQL, where processes may run on many machines, there are none.

Who changes something says so before: from then on nobody relies on what is known, until the change is whole and the
stamp another. A process that is killed in between leaves it so, and all ask until somebody's next change is whole.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from config.errors import StorageFailed
from config.files import full_or_failed

K = TypeVar("K")
V = TypeVar("V")

#: How many answers are kept at once.
ANSWERS_MAX = 4_096
_WORD_BYTES = 8
#: What stands there while a change is under way.
_UNSETTLED = 0


class Stamp:
    """One number, other after each `renew` by whichever process. Safe to use from any number of threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._map: mmap.mmap | None = None
        self._word: memoryview | None = None
        self._file: tuple[int, int] | None = None

    def value(self) -> int | None:
        """Return the number as it is at this very moment; None while a change is under way, and if the file is missing
        and cannot be made.
        """
        word = self._word
        if word is None:
            try:
                word = self._opened()
            except StorageFailed:
                return None
        number: int = word[0]
        return None if number == _UNSETTLED else number

    def prepare(self) -> None:
        """Open the file, so that neither `unsettle` nor `renew` can fail. Raises StorageFailed."""
        if self._word is None:
            self._opened()

    def unsettle(self) -> None:
        """Let nobody rely on anything until `renew`. For who changes alone: one at a time, of all processes."""
        word = self._opened() if self._word is None else self._word
        word[0] = _UNSETTLED

    def renew(self) -> None:
        """Take another number. It is random, so that whoever renews at the same time need not be waited for."""
        word = self._opened() if self._word is None else self._word
        word[0] = _fresh()

    def check(self) -> None:
        """Let go of a file that stands there no longer: who has opened it since has another, and renews that one."""
        try:
            found = os.stat(self._path)
        except OSError:
            return  # nobody can have another
        with self._guard:
            if self._word is not None and self._file != (found.st_dev, found.st_ino):
                self._word = self._map = None  # not closed: another thread may be looking

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
                self._map, self._file = _mapped(self._path)
                self._word = memoryview(self._map).cast("Q")
            return self._word


class Answers(Generic[K, V]):
    """Answers to questions that are asked again and again, each kept for as long as the stamp stays. Without a stamp
    everything is asked each time. Safe to use from any number of threads.
    """

    def __init__(self, stamp: Stamp | None) -> None:
        self._stamp = stamp
        self._kept: tuple[int, dict[K, V]] = (_UNSETTLED, {})

    def get(self, key: K, ask: Callable[[], V]) -> V:
        """Return what was answered for `key`, or what `ask` returns now."""
        # The stamp is looked at before anything is asked: what is kept for it is as new, or newer.
        stamp = None if self._stamp is None else self._stamp.value()
        if stamp is None:
            return ask()
        kept = self._kept
        if kept[0] != stamp:
            kept = self._kept = (stamp, {})
        answers = kept[1]
        if key in answers:
            return answers[key]
        answer = ask()
        if len(answers) < ANSWERS_MAX:
            answers[key] = answer
        return answer


def _fresh() -> int:
    return int.from_bytes(os.urandom(_WORD_BYTES), "big") | 1


def _mapped(path: Path) -> tuple[mmap.mmap, tuple[int, int]]:
    """Map the file, made where it is missing; tell which it is, by device and inode.

    It has its block before it is mapped: a full disk is told of here.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            found = os.fstat(fd)
            if found.st_size < _WORD_BYTES:
                os.pwrite(fd, _fresh().to_bytes(_WORD_BYTES, "little"), 0)
            return mmap.mmap(fd, _WORD_BYTES), (found.st_dev, found.st_ino)
        finally:
            os.close(fd)
    except OSError as error:
        raise full_or_failed(error) from error
