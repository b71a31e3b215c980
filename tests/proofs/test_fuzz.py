"""Thousands of requests that nobody should send, by everybody there is: no 5xx, no wait, one answer each, flat memory.

Of links it is asked only that nothing that looks like one gets in: there is no way yet to sign in by a link over HTTP,
so a request with such a token must be answered as a stranger's.
"""

from __future__ import annotations

import collections
import os
import random
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from config.clock import now_us
from tests.proofs.fuzz_requests import Made, request
from tests.seeds import is_short, seeded
from tests.serving import SPACE, Dav, Served, serving, space_path
from tests.strict_wire import NoAnswer, Reply, StrictWire
from tests.worlds import World

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]

REQUESTS = 1_500 if is_short() else 10_000
SEEDS = seeded([20261122])
CLIENTS = 4
SECONDS_MAX = 40
PARTS = 6
#: How often a client finds the space itself locked by a request, and unlocks it, before it gives up.
LOCKED_MAX = 20
#: How many requests each client sends in a part, so that all together are no fewer.
EACH = -(-REQUESTS // (PARTS * CLIENTS))
#: How much a worker may grow in the second half, in bytes: what is remembered of paths and documents is bounded, but
#: each request is about others, so it still fills; most of all in the short form.
GROWTH_MAX = (40 if is_short() else 16) * 1024 * 1024
SENTINEL = b"GET /healthz HTTP/1.1\r\nHost: files.example\r\n\r\n"


def basic(login: str, password: str) -> str:
    return "Basic " + b64encode(f"{login}:{password}".encode()).decode()


class Role(NamedTuple):
    """Somebody who asks. `gets_in`: whether what they sign in with is good."""

    name: str
    authorizations: list[str | None]
    home: str
    gets_in: bool


def roles(world: World) -> list[Role]:
    """Return everybody, with every way in which they sign in, or half do."""
    directory, passwords = world.installation.directory, world.passwords
    anna = world.people["anna"].id
    _, expired = directory.add_device(anna, "expired", expires_at=now_us() + 1)
    revoked, gone = directory.add_device(anna, "revoked")
    directory.revoke_device(revoked.id)
    half = [
        basic("anna", "wrong"), basic("anna", ""), basic("", passwords["anna"]), basic("anna", expired),
        basic("anna", gone), basic("vera", passwords["anna"]), basic("anna", passwords["anna"][:-1]),
        basic("anna", passwords["anna"].upper()), basic("anna\0", passwords["anna"]), "Basic", "Basic !!!",
        "Basic Og==", f"Bearer {passwords['anna']}", 'Digest username="anna"', basic("anna", passwords["anna"]) + "=",
        "Negotiate YII=",
    ]  # fmt: skip
    link = "0" * 32
    editors, viewers = (f"/dav{quote(space_path(login))}" for login in ("anna", "vera"))
    return [
        Role("stranger", [None], editors, gets_in=False),
        Role("half signed in", half, editors, gets_in=False),
        Role("link", [basic(link, ""), basic("", link), basic("link", link), f"Bearer {link}"], editors, gets_in=False),
        Role("viewer", [basic("vera", passwords["vera"])], viewers, gets_in=True),
        Role("editor", [basic("anna", passwords["anna"])], editors, gets_in=True),
    ]


class Tally:
    """What was answered, and what should not have been. Several clients add to it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self.answers: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self.faults: list[str] = []
        self.slowest_seconds = 0.0

    def add(self, role: str, method: str, what: str, seconds: float) -> None:
        with self._guard:
            self.answers[role, method, what] += 1
            self.slowest_seconds = max(self.slowest_seconds, seconds)

    def fault(self, why: str, made: Made, role: Role) -> None:
        with self._guard:
            self.faults.append(f"{role.name}: {why}: {made.raw[:1500]!r}")


class Client:
    """Sends requests over one connection for as long as the server keeps it, then over the next."""

    def __init__(self, server: Served, tally: Tally, seed: int) -> None:
        host, _, port = server.http_url.split("/")[2].partition(":")
        self._address = (host, int(port))
        self._server = server
        self._tally = tally
        self._seed, self._count, self._folder = seed, 0, ""
        self._chance = random.Random(seed)
        self._roles = roles(server.world)
        self._homes = [f"/dav{quote(space_path(login))}" for login in ("anna", "vera")]
        self._homes += [
            "/dav",
            f"/dav/~{server.world.spaces[SPACE].id.hex()}",
            f"/dav/~{'0' * 32}",
            "/link/" + "0" * 32,
        ]
        self._wire: StrictWire | None = None

    def run(self, count: int) -> None:
        """Send `count` requests, whatever becomes of each."""
        for number in range(count):
            if number % 25 == 0:
                self._set_up(f"{self._seed}-{number + self._count}")
            role = self._chance.choices(self._roles, weights=[1, 3, 1, 4, 6])[0]
            homes = [*[f"{role.home}/{self._folder}"] * 10, role.home, *self._homes]
            made = request(self._chance, homes, self._chance.choice(role.authorizations))
            try:
                self._exchange(made, role)
            except AssertionError as error:
                self._tally.fault(str(error), made, role)
                self._close()
        self._count += count
        self._close()

    def _set_up(self, name: str) -> None:
        """Go on in a fresh folder in which something stands: in the last one, most is gone or locked by now. The space
        itself may be locked too, by a request of anna's.
        """
        anna, self._folder = self._server.dav("anna"), name
        for path in ("", "/dir"):
            self._make(anna, "MKCOL", f"/{name}{path}")
        for path in ("/dir/inner", "/doc", "/other.txt"):
            self._make(anna, "PUT", f"/{name}{path}", b"hello" * 100)
        anna.close()

    @staticmethod
    def _make(anna: Dav, method: str, path: str, body: bytes | None = None) -> None:
        space = space_path("anna")
        for _ in range(LOCKED_MAX):
            reply = anna.request(method, space + path, body)
            if reply.status != 423:
                break
            for lock in anna.propfind(space).xml().iter("{DAV:}locktoken"):
                anna.request("UNLOCK", space, Lock_Token=f"<{lock.findtext('{DAV:}href')}>")
        assert reply.status == 201

    def _exchange(self, made: Made, role: Role) -> None:
        if self._wire is None:
            self._wire = StrictWire(self._address, SECONDS_MAX)
        wire, began = self._wire, time.monotonic()
        wire.begin()
        wire.send(made.raw)
        if made.is_misframed:
            self._end_misframed(wire, made, role, began)
            return
        reply = wire.answer(made.method)
        self._judge(reply, made, role, began)
        if reply.ends:
            assert wire.rest() == b"", "something came after the last answer"
            self._close()
            return
        wire.begin()
        wire.send(SENTINEL)
        sentinel = wire.answer()
        assert (sentinel.status, sentinel.body) == (200, b"ok\n"), f"another answer than the next request's: {sentinel}"

    def _end_misframed(self, wire: StrictWire, made: Made, role: Role, began: float) -> None:
        """Say that nothing more comes. There may be no answer; of what is left over, one refusal may come."""
        wire.half_close()
        try:
            reply = wire.answer(made.method)
        except NoAnswer as error:
            assert "the time was up" not in str(error), error
            self._tally.add(role.name, made.method, "none", time.monotonic() - began)
        else:
            self._judge(reply, made, role, began)
            if not reply.ends:
                self._refused_or_nothing(wire)
            assert wire.rest() == b"", "something came after the last answer"
        self._close()

    def _refused_or_nothing(self, wire: StrictWire) -> None:
        try:
            second = wire.answer()
        except NoAnswer as error:
            assert "the time was up" not in str(error), error
        else:
            assert 400 <= second.status < 500 and second.ends, f"a second answer: {second}"

    def _judge(self, reply: Reply, made: Made, role: Role, began: float) -> None:
        self._tally.add(role.name, made.method, str(reply.status), time.monotonic() - began)
        assert reply.status < 500 or reply.status == 507, f"answered {reply.status}"
        assert b"Traceback" not in reply.body, "a traceback"
        if not role.gets_in and reply.status < 300:
            is_open = made.method == "OPTIONS" or (b"Microsoft Office" in made.raw and made.method == "HEAD")
            outside = not made.raw.split(b" ", 2)[1].removeprefix(b"http://files.example").startswith(b"/dav")
            assert is_open or outside, f"let in: {reply}"

    def _close(self) -> None:
        if self._wire is not None:
            self._wire.sock.close()
            self._wire = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    throttle = {"throttle.network_failures_free": 10_000, "throttle.account_failures_free": 100}
    with serving(tmp_path / "data", **throttle) as found:
        yield found


def resident_bytes(server: Served) -> dict[int, int]:
    """Return how much of each worker is in memory."""
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    return {pid: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page_bytes for pid in server.workers()}


def show(tally: Tally, held: list[dict[int, int]], seconds: float, seed: int) -> None:
    """Print statuses by method, and by role."""
    total = sum(tally.answers.values())
    print(f"\n{total} requests, seed {seed}, {seconds:.0f} s, slowest answer {tally.slowest_seconds:.2f} s")
    for pid in held[0]:
        print("worker, MB after each part:", " ".join(f"{each.get(pid, 0) / 1e6:.1f}" for each in held))
    for title, column in (("method", 1), ("role", 0)):
        table: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        for key, count in tally.answers.items():
            row = key[column] if column == 0 or key[column] in _KNOWN else "other"
            table[row][key[2]] += count
        statuses = sorted({status for row in table.values() for status in row})
        print(f"\n| {title} | " + " | ".join(statuses) + " |\n|---|" + "---:|" * len(statuses))
        for row in sorted(table):
            print(f"| {row} | " + " | ".join(str(table[row][status] or "") for status in statuses) + " |")


_KNOWN = {"COPY", "DELETE", "GET", "HEAD", "LOCK", "MKCOL", "MOVE", "OPTIONS", "PATCH", "POST", "PROPFIND", "PROPPATCH",
          "PUT", "REPORT", "TRACE", "UNLOCK"}  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_ten_thousand_fuzzed_requests(server: Served, seed: int) -> None:
    tally, began = Tally(), time.monotonic()
    clients = [Client(server, tally, seed + number) for number in range(CLIENTS)]

    def run() -> None:
        threads = [threading.Thread(target=client.run, args=(EACH,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    workers, held = server.workers(), []
    for _ in range(PARTS):
        run()
        held.append(resident_bytes(server))
    show(tally, held, time.monotonic() - began, seed)
    assert server.workers() == workers, "\n".join(["a worker died", *tally.faults[:20]])
    assert not tally.faults, "\n".join([f"{len(tally.faults)} faults", *tally.faults[:20]])
    assert sum(tally.answers.values()) >= REQUESTS
    assert all(held[-1][pid] - held[PARTS // 2 - 1][pid] < GROWTH_MAX for pid in workers)
    reply = server.dav("anna").propfind(space_path("anna"), depth="1")
    assert reply.status == 207
