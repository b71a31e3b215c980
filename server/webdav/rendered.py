"""What the members of a folder came to as XML, remembered while the drive gives the same members.

Programs list the same folders over and over. The drive decides each time anew what is seen; only the text is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from providers.model import Item

#: How much text a process remembers, and how much of it one listing may take.
BYTES_MAX = 32 << 20
LISTING_BYTES_MAX = BYTES_MAX // 2


class _Kept(NamedTuple):
    members: Sequence[Item]  # held, so that no others take their place in memory
    pieces: Sequence[bytes]
    size: int


class Rendered:
    """Texts by members (the very ones, not equal ones) and by what was asked. Safe to use from many threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: dict[tuple[int, Hashable], _Kept] = {}
        self._size = 0

    def get(self, members: Sequence[Item], asked: Hashable) -> Sequence[bytes] | None:
        """Return the text, None if it is not remembered."""
        kept = self._kept.get((id(members), asked))
        return None if kept is None else kept.pieces

    def keep(self, members: Sequence[Item], asked: Hashable, pieces: Sequence[bytes]) -> None:
        """Remember a text, and forget the oldest where it gets too much."""
        size = sum(map(len, pieces))
        if not isinstance(members, tuple) or size > LISTING_BYTES_MAX:
            return  # members of a list are never the same again
        with self._guard:
            self._forget((id(members), asked))
            while self._size + size > BYTES_MAX:
                self._forget(next(iter(self._kept)))
            self._kept[(id(members), asked)] = _Kept(members, pieces, size)
            self._size += size

    def _forget(self, key: tuple[int, Hashable]) -> None:
        kept = self._kept.pop(key, None)
        self._size -= 0 if kept is None else kept.size
