"""A client that costs little, so that the server is what is timed: raw sockets and requests made beforehand."""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ANSWER_SECONDS_MAX = 120.0
FIRST_BYTES = 1 << 16
LARGE_BYTES = 1 << 20
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class Unexpected(Exception):
    """A server answered other than the measurement presumes."""


class Answer(NamedTuple):
    """A status, the headers as they came, and the body."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        """Return a header's text, empty where there is none."""
        found = re.search(rb"\r\n" + name.encode() + rb": *([^\r]*)", self.head, re.IGNORECASE)
        return found[1].decode("latin-1") if found else ""


@dataclass(frozen=True)
class Target:
    """Where a server answers, and what every request to it says."""

    host: str
    port: int
    prefix: str
    authorization: str = ""
    certificate: Path | None = None

    @property
    def url(self) -> str:
        """Return the URL of the folder that is measured, without a slash at its end."""
        return f"{'https' if self.certificate else 'http'}://{self.host}:{self.port}{self.prefix}"

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, length: int = 0
    ) -> bytes:
        """Return the bytes of a request; `path` is percent-encoded already and stands below `prefix`.

        `length` is that of a body which follows by itself.
        """
        lines = [f"{method} {self.prefix}{path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        if self.authorization:
            lines.append(f"Authorization: {self.authorization}")
        lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
        if body or method == "PUT":
            lines.append(f"Content-Length: {length or len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    """One kept-alive connection; requests on it come one after another."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.socket: socket.socket | None = None
        self._buffer = bytearray(FIRST_BYTES)
        self._held = 0
        self._begin = self._stop = 0

    def open(self) -> socket.socket:
        """Connect where not connected."""
        if self.socket is None:
            made = socket.create_connection((self.target.host, self.target.port), ANSWER_SECONDS_MAX)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.target.certificate:
                made = ssl.create_default_context(cafile=str(self.target.certificate)).wrap_socket(
                    made, server_hostname=self.target.host
                )
            self.socket, self._held, self._stop = made, 0, 0
        return self.socket

    def exchange(self, request: bytes) -> Answer:
        """Send a request and return what was answered."""
        self.open().sendall(request)
        while not self.received():
            pass
        return self.take()

    def received(self) -> bool:
        """Read what has arrived; tell whether the answer is whole."""
        if self._held == len(self._buffer):
            self._buffer.extend(bytes(len(self._buffer)))
        with memoryview(self._buffer) as view:
            count = self.open().recv_into(view[self._held :])
        if not count:
            raise Unexpected(f"the connection ended after {bytes(self._buffer[: min(self._held, 200)])!r}")
        self._held += count
        if not self._stop:
            self._find_end()
        if 0 < self._stop <= self._held:
            return True
        # What TLS has opened already, the poll does not tell of.
        return isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0 and self.received()

    def _find_end(self) -> None:
        end = self._buffer.find(b"\r\n\r\n", 0, self._held)
        if end < 0:
            return
        self._begin = end + 4
        if found := _LENGTH.search(self._buffer, 0, end + 2):
            self._stop = self._begin + int(found[1])
        elif _CHUNKED.search(self._buffer, 0, end + 2):
            is_whole = self._buffer.endswith(b"0\r\n\r\n", 0, self._held)
            self._stop = self._held if is_whole else 0
        else:
            self._stop = self._begin

    def status(self) -> int:
        """Return the status of the answer, which is whole, and forget the answer."""
        found = int(self._buffer[9:12])
        if _CLOSES.search(self._buffer, 0, self._begin):
            self.close()
        self._held = self._stop = 0
        return found

    def take(self) -> Answer:
        """Return the answer, which is whole."""
        head, body = bytes(self._buffer[: self._begin - 2]), bytes(self._buffer[self._begin : self._stop])
        return Answer(self.status(), head, body)

    def close(self) -> None:
        """Let the connection go."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def expect(answer: Answer, statuses: Iterable[int]) -> Answer:
    """Return the answer, if its status is one of these; raises Unexpected."""
    if answer.status not in statuses:
        raise Unexpected(f"{answer.status} instead of {list(statuses)}: {answer.head[:200]!r} {answer.body[:300]!r}")
    return answer


def together(target: Target, requests: Sequence[bytes], statuses: Collection[int], connections: int) -> float:
    """Send all requests over so many connections, one at a time on each; return the seconds they took together.

    One thread serves all connections: threads of one process would wait for each other.
    """
    waiting = iter(requests)
    poll = select.epoll()
    opened: dict[int, Connection] = {}
    try:
        for _ in range(min(connections, len(requests))):
            made = Connection(target)
            opened[made.open().fileno()] = made
            poll.register(made.open().fileno(), select.EPOLLIN)
        began = time.perf_counter()
        for each in opened.values():
            each.open().sendall(next(waiting))
        open_count = len(requests)
        while open_count:
            ready = poll.poll(ANSWER_SECONDS_MAX)
            if not ready:
                raise Unexpected(f"{open_count} answers are missing")
            for descriptor, _ in ready:
                each = opened[descriptor]
                if not each.received():
                    continue
                if (status := each.status()) not in statuses:
                    raise Unexpected(f"{status} instead of {list(statuses)}")
                open_count -= 1
                if each.socket is None:
                    del opened[descriptor]  # its closing took it out of the poll
                    opened[each.open().fileno()] = each
                    poll.register(each.open().fileno(), select.EPOLLIN)
                if (request := next(waiting, None)) is not None:
                    each.open().sendall(request)
        return time.perf_counter() - began
    finally:
        poll.close()
        for each in opened.values():
            each.close()


def upload(target: Target, path: str, source: Path, statuses: Collection[int]) -> float:
    """PUT one large document from a file; return the seconds from the first byte to the answer."""
    size = source.stat().st_size
    with Connection(target) as client, source.open("rb") as file:
        sock = client.open()
        began = time.perf_counter()
        sock.sendall(target.request("PUT", path, length=size))
        if target.certificate:
            room = memoryview(bytearray(LARGE_BYTES))
            while count := file.readinto(room):
                sock.sendall(room[:count])
        else:
            sock.sendfile(file)
        while not client.received():
            pass
        expect(client.take(), statuses)
        return time.perf_counter() - began


def download(target: Target, path: str, size: int) -> float:
    """GET one large document, to nowhere; return the seconds from the request to the last byte."""
    with Connection(target) as client:
        sock = client.open()
        room = memoryview(bytearray(LARGE_BYTES))
        began = time.perf_counter()
        sock.sendall(target.request("GET", path))
        count = sock.recv_into(room)
        head, _, begun = bytes(room[:count]).partition(b"\r\n\r\n")
        found = _LENGTH.search(head + b"\r\n")
        if head[9:12] != b"200" or found is None or int(found[1]) != size:
            raise Unexpected(f"{head[:200]!r} instead of {size} bytes")
        left = size - len(begun)
        while left > 0:
            count = sock.recv_into(room)
            if not count:
                raise Unexpected(f"the answer ended {left} bytes too early")
            left -= count
        return time.perf_counter() - began
