"""From a stream of bytes to packets: each with its length before it, handed on without copies where it lies whole."""

from __future__ import annotations

from collections import deque
from typing import Final

from server.sftp.engine.door import Buffer

_LENGTH_BYTES: Final = 4
_PIECES_MAX: Final = 512


class PacketTooLong(Exception):
    """The client announced a packet that nobody keeps in memory."""


class Framing:
    """Holds what arrives until it is asked for, a packet at a time: what is not begun yet costs no more than its bytes.

    `held_bytes` is how many those are.
    """

    def __init__(self, packet_bytes_max: int) -> None:
        self._packet_bytes_max = packet_bytes_max
        self._pieces: deque[memoryview] = deque()
        self._loose = 0
        self._wanted: int | None = None
        self.held_bytes = 0

    def feed(self, data: Buffer) -> None:
        """Take bytes."""
        view = memoryview(data).cast("B")
        if len(view):
            self._pieces.append(view)
            self.held_bytes += len(view)
            self._loose += 1
            if self._loose > _PIECES_MAX:
                self._join_loose()

    def packet(self) -> memoryview | None:
        """Return the next packet, None if it is not whole yet. Raises PacketTooLong."""
        if self._wanted is None:
            if self.held_bytes < _LENGTH_BYTES:
                return None
            self._wanted = int.from_bytes(self._take(_LENGTH_BYTES), "big")
            if self._wanted > self._packet_bytes_max:
                raise PacketTooLong
        if self.held_bytes < self._wanted:
            return None
        wanted, self._wanted = self._wanted, None
        return self._take(wanted)

    def clear(self) -> None:
        """Forget all that came."""
        self._pieces.clear()
        self._wanted = None
        self.held_bytes = 0

    def _join_loose(self) -> None:
        """Put the newest pieces together: crumbs cost far more than the bytes in them."""
        newest = [self._pieces.pop() for _ in range(min(self._loose, len(self._pieces)))]
        self._pieces.append(memoryview(b"".join(reversed(newest))))
        self._loose = 0

    def _take(self, count: int) -> memoryview:
        self.held_bytes -= count
        if not count:
            return memoryview(b"")
        first = self._pieces[0]
        if len(first) > count:
            self._pieces[0] = first[count:]
            return first[:count]
        self._pieces.popleft()
        if len(first) == count:
            return first
        parts, missing = [first], count - len(first)
        while missing:
            piece = self._pieces.popleft()
            if len(piece) > missing:
                self._pieces.appendleft(piece[missing:])
                piece = piece[:missing]
            parts.append(piece)
            missing -= len(piece)
        return memoryview(b"".join(parts))
