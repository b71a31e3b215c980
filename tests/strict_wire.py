"""A client's end of a connection: bytes go out as they are, answers must come exactly as RFC 9112 has them."""

from __future__ import annotations

import re
import socket
import ssl
import time
from typing import NamedTuple

_STATUS = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) [\x20-\x7e]*\Z")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\x20-\x7e\x80-\xff]*)\Z")
_CHUNK = re.compile(rb"[0-9a-f]{1,8}\Z")
_ONCE = {"content-length", "transfer-encoding", "date", "content-type", "etag", "connection", "location"}
_BODILESS = (204, 304)
HEAD_BYTES_MAX = 16 * 1024


class Malformed(AssertionError):
    """An answer is not as it must be."""


class NoAnswer(AssertionError):
    """The connection ended, or the time was up, before an answer was whole."""


class Reply(NamedTuple):
    """One final answer. Headers by lower-case name; `ends`: the server will close."""

    status: int
    headers: dict[str, str]
    body: bytes
    ends: bool


class StrictWire:
    """One connection. Every wait ends at a deadline of `seconds_max` from the last `begin`."""

    def __init__(self, address: tuple[str, int], seconds_max: float, tls: ssl.SSLContext | None = None) -> None:
        self._seconds_max = seconds_max
        self.begin()
        sock = socket.create_connection(address, timeout=seconds_max)
        self.sock: socket.socket = sock if tls is None else tls.wrap_socket(sock, server_hostname="localhost")
        self._held = b""

    def __enter__(self) -> StrictWire:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def begin(self) -> None:
        """Start the clock for one request."""
        self._until = time.monotonic() + self._seconds_max

    def send(self, raw: bytes) -> None:
        """Send bytes as they are. A server that has answered already may take no more of them."""
        self._patience()
        try:
            self.sock.sendall(raw)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def half_close(self) -> None:
        """Say that nothing more will be sent."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def answer(self, method: str = "GET") -> Reply:
        """Return the final answer to a request of this method; 100 Continue may come before it.

        Raises Malformed, NoAnswer.
        """
        while True:
            status, headers = self._head()
            if status != 100:
                break
            if headers:
                raise Malformed("headers on an interim answer")
        if status < 200:
            raise Malformed(f"an interim answer that nobody asked for: {status}")
        is_bodiless = status in _BODILESS or method == "HEAD"
        if status in _BODILESS and {"content-length", "transfer-encoding"} & headers.keys():
            raise Malformed(f"a length on a {status}")
        body = b"" if is_bodiless else self._body(headers)
        return Reply(status, headers, body, headers.get("connection", "").lower() == "close")

    def rest(self) -> bytes:
        """Return what still comes until the server ends the connection. Raises NoAnswer if it does not."""
        pieces = [self._held]
        self._held = b""
        while piece := self._receive():
            pieces.append(piece)
        return b"".join(pieces)

    def _head(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self._held:
            if len(self._held) > HEAD_BYTES_MAX:
                raise Malformed("a head without end")
            self._more()
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        found = _STATUS.match(lines[0])
        if found is None:
            raise Malformed(f"a status line {lines[0][:100]!r}")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            field = _FIELD.match(line)
            if field is None:
                raise Malformed(f"a field {line[:100]!r}")
            name = field[1].decode("ascii").lower()
            if name in headers and name in _ONCE:
                raise Malformed(f"{name} twice")
            headers[name] = field[2].decode("latin-1")
        return int(found[1]), headers

    def _body(self, headers: dict[str, str]) -> bytes:
        if "transfer-encoding" in headers:
            if headers["transfer-encoding"] != "chunked" or "content-length" in headers:
                raise Malformed("a coding that is none, or beside a length")
            return self._chunks()
        text = headers.get("content-length", "")
        if not text.isdigit():
            raise Malformed(f"a body of unknown length: {text!r}")
        return self._exactly(int(text))

    def _chunks(self) -> bytes:
        pieces = []
        while True:
            line = self._line()
            if not _CHUNK.match(line):
                raise Malformed(f"a chunk of length {line[:40]!r}")
            piece = self._exactly(int(line, 16))
            if self._line() != b"":
                raise Malformed("a chunk longer than it said")
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)

    def _line(self) -> bytes:
        while b"\r\n" not in self._held:
            self._more()
        line, _, self._held = self._held.partition(b"\r\n")
        return line

    def _exactly(self, count: int) -> bytes:
        while len(self._held) < count:
            self._more()
        found, self._held = self._held[:count], self._held[count:]
        return found

    def _more(self) -> None:
        piece = self._receive()
        if not piece:
            raise NoAnswer(f"the connection ended after {self._held[:200]!r}")
        self._held += piece

    def _receive(self) -> bytes:
        self._patience()
        try:
            return self.sock.recv(65536)
        except TimeoutError as error:
            raise NoAnswer(f"the time was up after {self._held[:200]!r}") from error
        except (ConnectionResetError, ssl.SSLError):
            return b""

    def _patience(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise NoAnswer(f"the time was up after {self._held[:200]!r}")
        self.sock.settimeout(left)
