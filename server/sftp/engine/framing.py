"""From a stream of bytes to packets: each with its length before it, handed on without copies where it lies whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from server.sftp.engine.door import Buffer

_LENGTH_BYTES: Final = 4
_PIECES_MAX: Final = 512


class PacketTooLong(Exception):
    """The client announced a packet that nobody keeps in memory."""


class Framing:
    """Collects what arrives until a packet is whole."""

    def __init__(self, packet_bytes_max: int) -> None:
        self._packet_bytes_max = packet_bytes_max
        self._pieces: deque[memoryview] = deque()
        self._held = 0
        self._wanted: int | None = None

    def packets(self, data: Buffer) -> Iterator[memoryview]:
        """Take bytes; yield the packets that are whole by now. Raises PacketTooLong."""
        view = memoryview(data).cast("B")
        if len(view):
            self._pieces.append(view)
            self._held += len(view)
            if len(self._pieces) > _PIECES_MAX:
                # Crumbs cost far more than the bytes in them.
                self._pieces = deque([memoryview(b"".join(self._pieces))])
        while True:
            if self._wanted is None:
                if self._held < _LENGTH_BYTES:
                    return
                self._wanted = int.from_bytes(self._take(_LENGTH_BYTES), "big")
                if self._wanted > self._packet_bytes_max:
                    raise PacketTooLong
            if self._held < self._wanted:
                return
            wanted, self._wanted = self._wanted, None
            yield self._take(wanted)

    def _take(self, count: int) -> memoryview:
        self._held -= count
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
