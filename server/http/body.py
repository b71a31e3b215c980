"""A request's body as the application reads it: exactly as long as it was said to be, or an error."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator

from server.http.channel import Channel, ClientGone, TooSlow
from server.http.parser import Refused, check_trailer

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,12})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\Z")
CHUNK_LINE_BYTES_MAX = 1024
TRAILERS_MAX = 20
PIECE_BYTES = 64 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Body:
    """`wsgi.input`. A client that awaits 100-continue gets it at the first read, so never before it may send.

    Every read raises ClientGone if the connection ends first, TooSlow, or Refused if the chunks are malformed.
    """

    def __init__(self, channel: Channel, length: int | None, *, awaits_continue: bool) -> None:
        self._channel = channel
        self._awaits_continue = awaits_continue and length != 0
        self._is_chunked = length is None
        self._in_chunk = 0
        self._left = length or 0
        self._is_whole = length == 0
        self._failed = False

    @property
    def is_whole(self) -> bool:
        """Whether all of the body has been read."""
        return self._is_whole

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill as much of `buffer` as one receive gives; return how many bytes, 0 at the body's end."""
        view = memoryview(buffer)
        if self._is_whole or not view:
            return 0
        if self._awaits_continue:
            self._awaits_continue = False
            self._channel.send(b"", CONTINUE)
        try:
            return self._read_chunked(view) if self._is_chunked else self._read_plain(view)
        except BaseException:
            self._failed = True
            raise

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes (all that is left if negative), fewer only at the body's end."""
        pieces = []
        left = size if size >= 0 else None
        while not self._is_whole and (left is None or left > 0):
            piece = bytearray(min(left or PIECE_BYTES, PIECE_BYTES, PIECE_BYTES if self._is_chunked else self._left))
            count = self.readinto(piece)
            if not count:
                break
            pieces.append(bytes(piece[:count]))
            left = None if left is None else left - count
        return b"".join(pieces)

    def readline(self, size: int = -1) -> bytes:
        """Return the next line with its end, at most `size` bytes of it."""
        line = bytearray()
        while size < 0 or len(line) < size:
            piece = self.read(1)
            line += piece
            if not piece or piece == b"\n":
                break
        return bytes(line)

    def readlines(self, hint: int = -1) -> list[bytes]:
        """Return all lines that are left."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines that are left."""
        while line := self.readline():
            yield line

    def drain(self, bytes_max: int, seconds_max: float) -> bool:
        """Read and forget what is left, within bounds. Return whether the connection can go on after it.

        It can not after False: then the rest of the body would be taken for a request.
        """
        if self._is_whole:
            return True
        if self._failed or self._awaits_continue or (not self._is_chunked and self._left > bytes_max):
            return False
        channel, until = self._channel, time.monotonic() + seconds_max
        bytes_max += channel.bytes_in  # all that comes counts, the lines around chunks too
        channel.hurry(seconds_max)
        scratch = memoryview(bytearray(PIECE_BYTES))
        try:
            while not self._is_whole and channel.bytes_in < bytes_max and time.monotonic() < until:
                self.readinto(scratch)
        except (ClientGone, TooSlow, Refused):
            return False
        finally:
            self._channel.hurry(math.inf)
        return self._is_whole

    def _read_plain(self, view: memoryview) -> int:
        count = self._channel.read_into(view[: self._left])
        if count == 0:
            raise ClientGone
        self._left -= count
        self._is_whole = self._left == 0
        return count

    def _read_chunked(self, view: memoryview) -> int:
        if not self._in_chunk:
            self._begin_chunk()
            if self._is_whole:
                return 0
        count = self._channel.read_into(view[: self._in_chunk])
        if count == 0:
            raise ClientGone
        self._in_chunk -= count
        if not self._in_chunk and self._channel.read_line(2) != b"":
            raise Refused("400 Bad Request")
        return count

    def _begin_chunk(self) -> None:
        found = _CHUNK_SIZE.match(self._channel.read_line(CHUNK_LINE_BYTES_MAX))
        if found is None:
            raise Refused("400 Bad Request")
        self._in_chunk = int(found[1], 16)
        if self._in_chunk == 0:
            for _ in range(TRAILERS_MAX):
                line = self._channel.read_line(CHUNK_LINE_BYTES_MAX)
                if not line:
                    self._is_whole = True
                    return
                check_trailer(line)
            raise Refused("400 Bad Request")
