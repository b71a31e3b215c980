"""A listener in this process with an application of a few lines, and a client that sends exactly what it is told."""

from __future__ import annotations

import dataclasses
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from config.settings import Settings
from server.http.listener import Application, Listener
from server.http.request import WATCH

DAV_LIKE = "PUT"


class Echo:
    """Answers with the body it got; notes what it saw. Paths choose another behaviour."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.failures: list[BaseException] = []
        self.pulse: Callable[[], None] | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[Any]:
        self.seen.append(environ)
        path = environ["PATH_INFO"]
        if self.pulse is not None:
            environ[WATCH](self.pulse)
        if path == "/unread":
            start_response("401 Unauthorized", [("Content-Length", "2")])
            return [b"no"]
        if path == "/short":
            start_response("200 OK", [("Content-Length", "10")])
            return [b"five!"]
        if path == "/break":
            return self._break(start_response)
        if path == "/large":
            size = int(environ["QUERY_STRING"])
            start_response("200 OK", [("Content-Length", str(size))])
            return [memoryview(bytes(min(1 << 20, size - at))) for at in range(0, size, 1 << 20)]
        if path == "/unsized":
            start_response("200 OK", [])
            return [b"one", b"", b"two"]
        try:
            body = environ["wsgi.input"].read()
        except BaseException as error:
            self.failures.append(error)
            raise
        self.bodies.append(body)
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def _break(self, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "10")])
        yield b"five!"
        raise RuntimeError("broken on purpose")


def ends_in_tls(sock: ssl.SSLSocket) -> bool:
    """Read to the end, and tell whether it was said by a close_notify."""
    try:
        while sock.recv(65536):
            pass
    except (ssl.SSLError, ConnectionError):
        return False
    return True


def heeding_ends(certificate: Path) -> ssl.SSLContext:
    """Return a client's context to which an end without a close_notify is a failure; Debian's Python overlooks it."""
    client = ssl.create_default_context(cafile=str(certificate))
    client.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return client


def settings_with(**changes: Any) -> Settings:
    """Return settings that differ from the defaults in `http` fields."""
    standing = Settings()
    limits = {name: changes.pop(name) for name in list(changes) if hasattr(standing.limits, name)}
    return dataclasses.replace(
        standing,
        http=dataclasses.replace(standing.http, **changes),
        limits=dataclasses.replace(standing.limits, **limits),
        process=dataclasses.replace(standing.process, drain_seconds=1),
    )


@contextmanager
def front(
    application: Application, settings: Settings, tls: ssl.SSLContext | None = None, *, dual: bool = False
) -> Iterator[tuple[str, int]]:
    """Serve `application`; give the address. `dual`: for IPv6 and IPv4 alike, as `::` in the settings."""
    if dual:
        sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
    else:
        sock = socket.create_server(("127.0.0.1", 0), backlog=512)
    listener = Listener(sock, application, settings, tls)
    listener.prepare()
    thread = threading.Thread(target=listener.serve)
    thread.start()
    try:
        yield sock.getsockname()[:2]
    finally:
        listener.stop()
        thread.join()


class Wire:
    """A client's end of a connection."""

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext | None = None) -> None:
        sock = socket.create_connection(address, timeout=15)
        self.sock = sock if tls is None else tls.wrap_socket(sock, server_hostname="localhost")
        self._held = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, raw: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(raw)

    def answer(self, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers by lower-case name, and body of the next answer."""
        while b"\r\n\r\n" not in self._held:
            self._receive()
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        status = int(lines[0].split()[1])
        if status < 200 or not has_body:
            return status, headers, b""
        length = int(headers.get("content-length", 0))
        while len(self._held) < length:
            self._receive()
        body, self._held = self._held[:length], self._held[length:]
        return status, headers, body

    def is_closed(self) -> bool:
        """Return whether the server ends the connection (waiting for it)."""
        try:
            return self.sock.recv(65536) == b""
        except (ConnectionError, ssl.SSLError):
            return True

    def drip(self, seconds: float, most: float = 8) -> float:
        """Send a byte every so many seconds until the server ends the connection; return after how many it did."""
        began = time.monotonic()
        self.sock.settimeout(seconds)
        while (took := time.monotonic() - began) < most:
            try:
                self.send(b"x")
                if self.is_closed():
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        return took

    def _receive(self) -> None:
        piece = self.sock.recv(65536)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self._held += piece
