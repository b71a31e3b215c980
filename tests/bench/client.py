"""A client that costs little, so that the server is what is timed: raw sockets for small requests, curl for large."""

from __future__ import annotations

import re
import selectors
import socket
import ssl
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ANSWER_SECONDS_MAX = 120.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


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

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
        """Return the bytes of a request; `path` is percent-encoded already and stands below `prefix`."""
        lines = [f"{method} {self.prefix}{path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        if self.authorization:
            lines.append(f"Authorization: {self.authorization}")
        lines += [f"{name}: {text}" for name, text in (headers or {}).items()]
        if body or method == "PUT":
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Connection:
    """One kept-alive connection; requests on it come one after another."""

    target: Target
    socket: socket.socket | None = None
    _rest: bytearray = field(default_factory=bytearray)

    def open(self) -> socket.socket:
        """Connect where not connected."""
        if self.socket is None:
            made = socket.create_connection((self.target.host, self.target.port), ANSWER_SECONDS_MAX)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.target.certificate:
                made = ssl.create_default_context(cafile=str(self.target.certificate)).wrap_socket(
                    made, server_hostname=self.target.host
                )
            self.socket, self._rest = made, bytearray()
        return self.socket

    def exchange(self, request: bytes) -> Answer:
        """Send a request and return what was answered."""
        self.open().sendall(request)
        while (answer := self.received()) is None:
            pass
        return answer

    def received(self) -> Answer | None:
        """Read what has arrived; return the answer once it is whole."""
        piece = self.open().recv(1 << 18)
        if not piece:
            raise Unexpected(f"the connection ended after {bytes(self._rest[:200])!r}")
        self._rest += piece
        end = self._rest.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._rest[: end + 2])
        status, begin = int(head[9:12]), end + 4
        if found := _LENGTH.search(head):
            stop = begin + int(found[1])
        elif _CHUNKED.search(head):
            if not self._rest.endswith(b"0\r\n\r\n"):
                return None
            stop = len(self._rest)
        else:
            stop = begin
        if len(self._rest) < stop:
            return None
        body = bytes(self._rest[begin:stop])
        del self._rest[:stop]
        if b"\r\nconnection: close" in head.lower():
            self.close()
        return Answer(status, head, body)

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


def together(target: Target, requests: list[bytes], statuses: Iterable[int], connections: int) -> float:
    """Send all requests over so many connections, one at a time on each; return the seconds they took together.

    One thread and one selector serve all connections: threads of one process would wait for each other.
    """
    waiting = deque(requests)
    selector = selectors.DefaultSelector()
    opened = [Connection(target) for _ in range(min(connections, len(requests)))]
    try:
        for each in opened:
            selector.register(each.open(), selectors.EVENT_READ, each)
        began = time.perf_counter()
        for each in opened:
            each.open().sendall(waiting.popleft())
        open_count = len(requests)
        while open_count:
            ready = selector.select(ANSWER_SECONDS_MAX)
            if not ready:
                raise Unexpected(f"{open_count} answers are missing")
            for key, _ in ready:
                answer = key.data.received()
                if answer is None:
                    continue
                expect(answer, statuses)
                open_count -= 1
                if key.data.socket is None:
                    selector.unregister(key.fileobj)
                    selector.register(key.data.open(), selectors.EVENT_READ, key.data)
                if waiting:
                    key.data.open().sendall(waiting.popleft())
        return time.perf_counter() - began
    finally:
        selector.close()
        for each in opened:
            each.close()


def curl(target: Target, path: str, statuses: Iterable[int], *, upload: Path | None = None) -> float:
    """Transfer one large document by curl, to nowhere or from a file; return the seconds curl measured."""
    lines = [f'url = "{target.url}{path}"', "silent", "show-error", 'output = "/dev/null"', 'header = "Expect:"']
    lines.append('write-out = "%{http_code} %{time_total}"')
    if target.authorization:
        lines.append(f'header = "Authorization: {target.authorization}"')
    if target.certificate:
        lines.append(f'cacert = "{target.certificate}"')
    if upload:
        lines.append(f'upload-file = "{upload}"')
    done = subprocess.run(
        ["curl", "--disable", "--config", "-"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=600,
        env={"PATH": "/usr/bin:/bin"},
    )
    status, _, seconds = done.stdout.partition(" ")
    if done.returncode or int(status) not in set(statuses):
        raise Unexpected(f"curl ended with {done.returncode}, status {status}: {done.stderr}")
    return float(seconds)
