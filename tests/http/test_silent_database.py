"""A PostgreSQL that stops answering with its connections open: nobody waits over ten seconds, and nothing is torn."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.ports import free_port
from tests.serving import Dav, Served, populate, serving, space_path, start
from tests.worlds import World

HERE = space_path("anna")
ANSWER_SECONDS = 10.0
#: What this machine may be late by in noticing, with other tests beside.
LATE_SECONDS = 5.0


@pytest.fixture(scope="module")
def database() -> Iterator[postgres.Server]:
    """A server of this module's own, for no other test must be frozen with it."""
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="module")
def served(database: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    overrides = {"installation.database_url": database.url(database.create()), "http.workers": 1}
    with serving(tmp_path_factory.mktemp("silent") / "data", **overrides) as server:
        yield server


@pytest.fixture
def frozen(database: postgres.Server) -> Iterator[postgres.Server]:
    yield database
    database.freeze(frozen=False)


def test_requests_are_told_within_ten_seconds_and_served_again_afterwards(
    served: Served, frozen: postgres.Server
) -> None:
    anna = served.dav("anna")
    assert anna.put(f"{HERE}/Före.txt", b"before").status == 201
    frozen.freeze(frozen=True)
    acts = [
        lambda dav: dav.get(f"{HERE}/Före.txt"),
        lambda dav: dav.propfind(HERE),
        lambda dav: dav.put(f"{HERE}/Under.txt", b"while frozen"),
        lambda dav: dav.request("MKCOL", f"{HERE}/Mapp"),
    ]
    told: list[tuple[int, str | None, float]] = []
    said: list[bytes] = []

    def ask(number: int) -> None:
        with_own: Dav = served.dav("anna")
        began = time.monotonic()
        reply = acts[number](with_own)
        said.append(reply.body)
        told.append((reply.status, reply.headers.get("retry-after"), time.monotonic() - began))
        with_own.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [(status, after) for status, after, _ in told] == [(503, "2")] * len(acts)
    assert all(each.startswith(b"The database ") for each in said), "what nobody knows must not be promised"
    assert max(seconds for _, _, seconds in told) < ANSWER_SECONDS + LATE_SECONDS
    frozen.freeze(frozen=False)
    assert anna.get(f"{HERE}/Före.txt").body == b"before"
    assert anna.get(f"{HERE}/Under.txt").status in (200, 404)
    assert anna.put(f"{HERE}/Under.txt", b"after").status in (201, 204)
    assert anna.get(f"{HERE}/Under.txt").body == b"after"


class Way:
    """A way to the database that is not there until it is opened."""

    def __init__(self, port: int, database: postgres.Server) -> None:
        self._port, self._database = port, database
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Let whoever comes through, from now on."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._begin(self._serve, self._listener)

    def close(self) -> None:
        """Let nobody through any more; those who came are gone already."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _begin(self, work: Callable[..., None], *with_these: socket.socket) -> None:
        self._threads.append(threading.Thread(target=work, args=with_these))
        self._threads[-1].start()

    def _serve(self, listener: socket.socket) -> None:
        with listener, contextlib.suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", self._database.port))
                self._begin(self._carry, here, there)
                self._begin(self._carry, there, here)

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with one, contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


def test_a_database_that_went_away_while_the_server_started_ended_it_for_good(
    database: postgres.Server, tmp_path: Path
) -> None:
    direct = database.url(database.create())
    world = World.create(tmp_path / "data", **{"installation.database_url": direct})
    port = free_port()
    way = Way(port, database)
    later = threading.Timer(4.0, way.open)
    later.start()
    try:
        populate(world)
        through = direct.replace(f":{database.port}/", f":{port}/")
        overrides = {"installation.database_url": through, "http.workers": 1}
        server = start(tmp_path / "data", world, **overrides)
        try:
            assert not later.is_alive(), "it answered while its database did not"
            assert server.dav("anna").propfind("/").status == 207
        finally:
            assert server.stop() == 0
    finally:
        later.cancel()
        way.close()
        world.installation.close()
