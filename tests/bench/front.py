"""What the doors themselves cost: processor time of one small request in server/http and server/webdav, alone.

    python -P tests/bench/front.py [--count N] [--profile METHOD]

A connection is served on a pair of sockets by this thread, with a drive and an authenticator that do nothing. The
lowest of many batches is shown, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path as File
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(File(__file__).resolve().parent.parent.parent))

from config.settings import Settings
from providers.model import Conditions, Item, Lock
from providers.paths import Path
from server.http.connection import Connection
from server.http.dispatcher import Dispatcher
from server.http.listener import Listener
from server.webdav.app import WebDav
from tests.bench.works import LOCK, PROPFIND

BATCH = 100
BODY = bytes(range(256)) * 40
HEADERS = (
    "Host: files.example.com:8443\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
    "Authorization: Basic YW5uYTptcmRldi1hYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODk=\r\n"
)
_AT = 1_700_000_000_000_000


class StillReader:
    """A document of 10 KiB that is at hand."""

    def __init__(self, item: Item) -> None:
        self.item = item

    def read(self, offset: int, length: int) -> bytes:
        """Return it."""
        return BODY

    def close(self) -> None:
        """Nothing to let go."""


class StillUpload:
    """Takes bytes and forgets them."""

    def __init__(self, item: Item) -> None:
        self._item = item

    def write(self, data: object) -> None:
        """Forget them."""

    def discard(self) -> None:
        """Nothing to forget."""

    def commit(self) -> tuple[Item, bool]:
        """Tell that it is new."""
        return self._item, True


class StillDrive:
    """Answers as a drive would, without doing anything."""

    def __init__(self, members: int = 0) -> None:
        self._members = members

    def _item(self, path: Path, is_folder: bool = False) -> Item:
        etag = "" if is_folder else '"00112233445566778899aabbccddeeff"'
        return Item(path, path.name, is_folder, len(BODY), _AT, _AT, etag, bytes(16), bytes(16), 1, False, False)

    def read(self, path: Path) -> StillReader:
        """Open it."""
        return StillReader(self._item(path))

    def put(self, path: Path, **_: object) -> StillUpload:
        """Begin."""
        return StillUpload(self._item(path))

    def lock(self, path: Path, *, conditions: Conditions, **_: object) -> tuple[Lock, bool]:
        """Take one."""
        return Lock("opaquelocktoken:0", path, False, False, "", 60, _AT, "anna"), False

    def unlock(self, path: Path, token: str) -> None:
        """Let it go."""

    def stat(self, path: Path, **_: object) -> Item:
        """Show it."""
        return self._item(path)

    def listing(self, path: Path) -> tuple[Item, list[Item]]:
        """List it."""
        names = (f"document-{number:05}.txt" for number in range(self._members))
        return self._item(path, True), [self._item(path.joined(name)) for name in names]

    def still_valid(self, reader: object) -> None:
        """It is."""


class Keeper:
    """An installation that knows everybody."""

    def __init__(self) -> None:
        self._drive = StillDrive()

    @property
    def authenticator(self) -> Keeper:
        """Whom to ask who that is."""
        return self

    def basic(self, login: str, password: str, **_: object) -> SimpleNamespace:
        """Believe it."""
        return SimpleNamespace(id=bytes(16))

    def drive(self, principal: object) -> StillDrive:
        """Return the drive."""
        return self._drive


def sockets() -> float:
    """Return what the measurement itself costs: a request sent and received, an answer sent and received."""
    ours, theirs = socket.socketpair()
    room = memoryview(bytearray(1 << 18))
    request = requests()["GET"]

    def exchange() -> None:
        ours.send(request)
        theirs.recv_into(room)
        theirs.send(BODY)
        ours.recv_into(room)

    return microseconds(exchange, 2000)


class OneConnection:
    """A connection on a pair of sockets, served by whoever asks. Somebody always waits, so nobody polls."""

    def __init__(self, application: Any) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self._listener = Listener(sock, application, Settings(), None)
        self._listener.ready = True
        self._listener.requests.get = None
        self.client, served = socket.socketpair()
        for each in (self.client, served):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
        self.connection = Connection(self._listener, served, ("127.0.0.1", 1))
        self._listener.requests.put(None)
        self._room = memoryview(bytearray(1 << 18))

    def exchange(self, request: bytes) -> bytes:
        """Serve one request and return its answer."""
        self.client.send(request)
        self.connection.communicate()
        return bytes(self._room[: self.client.recv_into(self._room)])

    def close(self) -> None:
        """Let its sockets go."""
        self.connection.close()
        for each in (self.client, self._listener.socket):
            each.close()


def requests() -> dict[str, bytes]:
    """Return the requests that are measured, by method."""

    def one(method: str, more: str = "", body: bytes = b"") -> bytes:
        if body:
            more += f"Content-Length: {len(body)}\r\n"
        target = "/dav/Sandbox/folder/document-00001.txt"
        return f"{method} {target} HTTP/1.1\r\n{HEADERS}{more}\r\n".encode() + body

    xml = "Content-Type: application/xml\r\nDepth: 0\r\n"
    return {
        "GET": one("GET"),
        "HEAD": one("HEAD"),
        "PUT": one("PUT", "Content-Type: application/octet-stream\r\n", BODY),
        "LOCK": one("LOCK", xml + "Timeout: Second-60\r\n", LOCK),
        "UNLOCK": one("UNLOCK", "Lock-Token: <opaquelocktoken:0>\r\n"),
        "PROPFIND 0": one("PROPFIND", xml, PROPFIND),
    }


def calls(work: Callable[[], object]) -> float:
    """Return how many functions one call calls."""
    profile = cProfile.Profile()
    profile.runcall(lambda: [work() for _ in range(BATCH)])
    return sum(entry.callcount for entry in profile.getstats()) / BATCH


def microseconds(work: Callable[[], object], count: int) -> float:
    """Return the processor time of one call, as the fastest batch shows it."""
    best = float("inf")
    for _ in range(max(1, count // BATCH)):
        began = time.thread_time_ns()
        for _ in range(BATCH):
            work()
        best = min(best, (time.thread_time_ns() - began) / BATCH / 1000)
    return best


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="What the doors cost.")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--profile", default="")
    options = parser.parse_args()
    if not options.profile:
        print(f"{'sockets alone':14}{sockets():8.1f} µs")
    one = OneConnection(Dispatcher(WebDav(Keeper(), Settings())))
    for name, request in requests().items():
        answer = one.exchange(request)
        if not answer.startswith(b"HTTP/1.1 2"):
            sys.exit(f"{name} was answered {answer[9:12].decode()}: nothing to measure.")
        if options.profile:
            if name == options.profile:
                profile = cProfile.Profile()
                profile.runcall(lambda request=request: [one.exchange(request) for _ in range(1000)])
                pstats.Stats(profile).sort_stats("tottime").print_stats(45)
            continue
        cost = microseconds(lambda request=request: one.exchange(request), options.count)
        called = calls(lambda request=request: one.exchange(request))
        print(f"{name:14}{cost:8.1f} µs{called:8.0f} calls")


if __name__ == "__main__":
    main()
