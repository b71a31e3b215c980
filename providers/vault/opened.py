"""Small contents lately read, opened: to read and open one again costs more than all else that is asked about it.

They are forgotten with the keys of their space, and some time after they were last read: what is erased shall not stay
in memory either.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

#: Longer contents are not kept, and of all together no more bytes in one process.
CONTENT_BYTES_MAX: Final = 64 << 10
KEPT_BYTES_MAX: Final = 16 << 20
#: What is counted for each beside its bytes: contents of one byte are no cheaper to remember.
ENTRY_BYTES: Final = 512
KEPT_SECONDS: Final = 60.0

_Key = tuple[bytes, bytes]


class Opened:
    """What a process keeps of the contents of all spaces. Safe to use from any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._bytes = 0
        #: The bytes, and when they were last read; the one read longest ago first.
        self._kept: OrderedDict[_Key, tuple[bytes, float]] = OrderedDict()

    def get(self, space: bytes, content: bytes) -> bytes | None:
        """Return the bytes of a content, if they are kept."""
        key = space, content
        with self._guard:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept[key] = found[0], self._clock()
            self._kept.move_to_end(key)
        return found[0]

    def keep(self, space: bytes, content: bytes, plain: bytes) -> None:
        """Keep the bytes of a content, if they are few. All were checked against their seals."""
        if len(plain) > CONTENT_BYTES_MAX:
            return
        key = space, content
        with self._guard:
            self._forget(key)
            self._kept[key] = plain, self._clock()
            self._bytes += ENTRY_BYTES + len(plain)
            while self._bytes > KEPT_BYTES_MAX:
                self._forget(next(iter(self._kept)))

    def forget(self, space: bytes) -> None:
        """Forget all of a space."""
        with self._guard:
            for key in [key for key in self._kept if key[0] == space]:
                self._forget(key)

    def sweep(self) -> None:
        """Forget what nobody has read for a while."""
        with self._guard:
            until = self._clock() - KEPT_SECONDS
            while self._kept and next(iter(self._kept.values()))[1] < until:
                self._forget(next(iter(self._kept)))

    def _forget(self, key: _Key) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._bytes -= ENTRY_BYTES + len(found[0])
