"""Those who hold connections and give nothing, all at once, in front of a server that others want to use.

Silent ones, heads that never end, uploads that drip, handshakes that never begin: an honest client's request is served
as if they were not there. The server's own patience is set far beyond its defaults, so that they stay.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from auth.roles import Role
from tests.seeds import is_short
from tests.serving import SPACE, Served, serving, space_path

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

IDLE, SLOW, DRIPPING, SILENT = 1000, 100, 100, 100
#: Who drips: so many people, each as many uploads as the others; and strangers, whose body nobody wants.
DRIPPERS, STRANGERS = [f"drip{number}" for number in range(10)], 50
SECONDS = 10 if is_short() else 60
DRIP_SECONDS = 1.0
#: What an honest request may take, for 99 of 100, in seconds.
P99_SECONDS_MAX = 1.0
HONEST_PAUSE_SECONDS = 0.02
SETTLE_SECONDS = 3.0
PATIENCE = {
    "http.header_read_seconds_max": 600,
    "http.body_idle_seconds_max": 600,
    "http.keep_alive_seconds_max": 600,
}
_ESTABLISHED = 1
#: Who is there from the first to the last.
CROWD = IDLE + SLOW + DRIPPING + SILENT


class Crowd:
    """Everybody who holds a connection, kept alive by one thread that drips a byte a second to those who drip."""

    def __init__(self, server: Served, tls: ssl.SSLContext | None) -> None:
        host, _, port = server.http_url.split("/")[2].partition(":")
        self._address, self._tls = (host, int(port)), tls
        self._passwords = server.world.passwords
        self._standing: list[socket.socket] = []
        self._lasting = 0
        self._drips: list[tuple[socket.socket, bytes]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep_on)

    def __enter__(self) -> Crowd:
        for _ in range(SILENT):  # before TLS, and on a plain port before their first byte
            self._standing.append(socket.create_connection(self._address, timeout=60))
        for number in range(IDLE):
            sock = self._connect()
            if number % 2:  # half of them have asked for something already
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
                assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        for _ in range(SLOW):
            sock = self._connect()
            sock.sendall(b"GET /dav/ HTTP/1.1\r\nHost: h\r\nX-Slow: ")
            self._drips.append((sock, b"x"))
        for number in range(DRIPPING):
            self._drip(f"drip-{number}", DRIPPERS[number % len(DRIPPERS)])
        self._lasting = len(self._standing)
        for number in range(STRANGERS):
            self._drip(f"strange-{number}", None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for sock in self._standing:
            sock.close()

    def _drip(self, name: str, login: str | None) -> None:
        """Begin an upload that takes half an hour, as a person or as nobody."""
        sock, credentials = self._connect(), ""
        if login is not None:
            secret = b64encode(f"{login}:{self._passwords[login]}".encode()).decode()
            credentials = f"Authorization: Basic {secret}\r\n"
        path = f"/dav{quote(space_path('eva'))}/{name}"
        head = f"PUT {path} HTTP/1.1\r\nHost: h\r\n{credentials}Content-Length: 1000000\r\n\r\n"
        sock.sendall(head.encode() + b"x" * 1000)
        self._drips.append((sock, b"x" * 600))

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(self._address, timeout=60)
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_hostname="127.0.0.1")
        self._standing.append(sock)
        return sock

    def _keep_on(self) -> None:
        while not self._stop.wait(DRIP_SECONDS):
            for sock, drop in self._drips:
                with contextlib.suppress(OSError):
                    sock.sendall(drop)

    def still_connected(self) -> int:
        """Return how many connections the server has not ended; strangers who drip it may end."""
        return sum(_tcp_state(sock) == _ESTABLISHED for sock in self._standing[: self._lasting])


def _tcp_state(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def honest(server: Served) -> Iterator[Callable[[], int]]:
    """Yield what an honest client does: on a connection it keeps, on a fresh one, and a write that is made durable."""
    anna, home = server.dav("anna"), space_path("anna")
    assert anna.put(f"{home}/doc", b"hello" * 1000).status in (201, 204)

    def on_a_fresh_one() -> int:
        fresh = server.dav("anna")
        try:
            return fresh.get(f"{home}/doc").status
        finally:
            fresh.close()

    yield lambda: anna.get(f"{home}/doc").status
    yield lambda: anna.propfind(home, depth="1").status
    yield on_a_fresh_one
    yield lambda: anna.put(f"{home}/written", b"x" * 2000).status


def measured(server: Served, seconds: float) -> list[float]:
    """Do each of what an honest client does in turn, for a while; return how long each took, in order of time."""
    acts, took = list(honest(server)), []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for act in acts:
            began = time.monotonic()
            assert act() in (200, 201, 204, 207)
            took.append(time.monotonic() - began)
            time.sleep(HONEST_PAUSE_SECONDS)
    return sorted(took)


def shown(name: str, took: list[float]) -> float:
    """Print a line of figures; return the 99th percentile."""
    p99 = took[min(len(took) - 1, len(took) * 99 // 100)]
    figures = [took[len(took) // 2], took[len(took) * 9 // 10], p99, took[-1]]
    print(f"| {name} | {len(took)} | " + " | ".join(f"{each * 1000:.0f}" for each in figures) + " |")
    return p99


@pytest.mark.parametrize("speaks_tls", [False, True], ids=["plain", "tls"])
def test_an_honest_request_is_served_beside_a_crowd(tmp_path: Path, speaks_tls: bool) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard > 0 else 8192, hard))
    try:
        with serving(tmp_path / "data", **PATIENCE, **{"http.self_signed": speaks_tls}) as server:
            for login in DRIPPERS:
                server.world.person(login, "Kund AB")
                server.world.grant(login, SPACE, Role.EDITOR)
            tls = ssl.create_default_context(cafile=str(server.certificate)) if server.certificate else None
            print(f"\n{'TLS' if speaks_tls else 'plain'}, milliseconds:\n| | requests | median | p90 | p99 | most |")
            print("|---|---:|---:|---:|---:|---:|")
            shown("alone", measured(server, SECONDS / 2))
            with Crowd(server, tls) as crowd:
                time.sleep(SETTLE_SECONDS)
                standing = crowd.still_connected()
                took = measured(server, SECONDS)
                standing_at_end = crowd.still_connected()
            p99 = shown(f"beside {standing}", took)
            shown("alone again", measured(server, SECONDS / 2))
            assert len(server.workers()) == 2
        # All of them, from the first measuring to the last.
        assert (standing, standing_at_end) == (CROWD, CROWD), "those who were to be in the way had gone"
        assert p99 < P99_SECONDS_MAX
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
