"""Kill −9 in the system calls of a worker that serves a PUT or a MOVE: what it answered stands, nothing is half.

The server's own supervisor starts the next worker, which goes on as if nothing had been.
"""

from __future__ import annotations

import http.client
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest

from tests.proofs.crash_site import quick_folder
from tests.proofs.crash_strace import Call, attached, calls, need_tracing
from tests.seeds import is_short, seed
from tests.serving import Dav, Served, populate, space_path, start
from tests.worlds import World

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]

SIZES = {
    "PUT of a new document": 3_000,
    "PUT over a document": 3_000,
    "large PUT over a document": 1_500_000,
    "MOVE": 3_000,
}
SAMPLED = 4
#: The supervisor waits longer after each death; a fresh one does not.
DEATHS_EACH = 4
RESTART_SECONDS_MAX = 30
SPACE = space_path("anna")


class Struck(NamedTuple):
    """What came of a request: its status or None, and the call in which the worker died, if it did."""

    status: int | None
    seen: list[Call]
    died: Call | None


@pytest.fixture
def world() -> Iterator[World]:
    need_tracing()
    with quick_folder() as folder:
        made = World.create(folder / "data")
        populate(made)
        yield made
        made.installation.close()


def strike(server: Served, request: Callable[[], int], kill: Call | None) -> Struck:
    """Make a request while its worker is traced, and killed where `kill` says."""
    (pid,) = server.workers()
    log = server.world.installation.folder.with_name("worker.strace")
    if kill is not None:
        server.loses(pid)
    with attached(pid, log, kill):
        try:
            status: int | None = request()
        except (OSError, http.client.HTTPException):
            status = None
    seen = calls(log)
    is_dead = b"+++ killed by SIGKILL +++" in log.read_bytes()
    log.unlink()
    return Struck(status, seen, seen[-1] if is_dead else None)


def awaited(client: Dav, path: str) -> tuple[int, bytes]:
    """GET from whichever worker stands next."""
    until = time.monotonic() + RESTART_SECONDS_MAX
    while True:
        try:
            reply = client.get(path)
            return reply.status, reply.body
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < until, "no worker took the dead one's place"
            time.sleep(0.05)


class Case:
    """One request made again and again: each time a document stands, and is to be replaced, added or moved."""

    def __init__(self, name: str, server: Served, number: int) -> None:
        self._moves = name == "MOVE"
        self._client = server.dav("anna")
        self._old, self._new = os.urandom(SIZES[name]), os.urandom(SIZES[name])
        fresh = f"{SPACE}/{name} {number}.txt"
        self._path = fresh if name == "PUT of a new document" or self._moves else f"{SPACE}/Samma.txt"
        self._goal = f"{SPACE}/Flyttad {number}.txt"
        self._is_new = name == "PUT of a new document"
        awaited(self._client, f"{SPACE}/Finns inte.txt")
        if not self._is_new:
            assert self._client.put(self._path, self._old).status in (201, 204)

    def request(self) -> int:
        """Make the request and return its status."""
        if not self._moves:
            return self._client.put(self._path, self._new).status
        target = self._client.origin + self._client.href(self._goal)
        return self._client.request("MOVE", self._path, Destination=target).status

    def faults(self, status: int | None) -> list[str]:
        """Return what is wrong with what stands, given what was answered."""
        if status is not None and status not in (201, 204):
            return [f"answered {status}"]
        standing = awaited(self._client, self._path)
        if self._moves:
            both = [standing, awaited(self._client, self._goal)]
            moved, unmoved = [404, (200, self._old)], [(200, self._old), 404]
            found: list[object] = [each if each[0] == 200 else each[0] for each in both]
            allowed = [moved] if status else [moved, unmoved]
            return [] if found in allowed else [f"moved in part: {[each[0] for each in both]}"]
        old = (404, standing[1]) if self._is_new else (200, self._old)
        allowed_puts = [(200, self._new)] if status else [(200, self._new), old]
        return [] if standing in allowed_puts else [f"{standing[0]}, {len(standing[1])} bytes, neither old nor new"]

    def next_put(self) -> list[str]:
        """PUT again, and read it."""
        content = os.urandom(5_000)
        status = self._client.put(self._path, content).status
        kept = self._client.get(self._path).body == content
        return [] if status in (201, 204) and kept else [f"the next PUT was answered {status}"]


def points(seen: Sequence[Call]) -> list[Call]:
    """Return the calls of the thread that answered, the answer's own included, that change something."""
    answer = next(call for call in seen if call.name == "sendto" and call.data.startswith(b"HTTP/1.1 2"))
    mine = [call for call in seen[: seen.index(answer) + 1] if call.thread == answer.thread]
    return [call for call in mine if call.changes]


def serve(world: World) -> Served:
    """Start the server with one worker, so that we know whom to kill."""
    return start(world.installation.folder, world, **{"http.workers": 1})


def chosen_points(name: str, world: World) -> list[Call]:
    """Return where to kill: all calls between first byte and answer, or a sample of them."""
    for number in (-1, 0):  # the first makes folders that every later one finds
        server = serve(world)
        try:
            case = Case(name, server, number)
            struck = strike(server, case.request, None)
            assert struck.status in (201, 204) and struck.died is None
            assert case.faults(struck.status) == []
        finally:
            server.stop()
    found = points(struck.seen)
    assert len(found) >= SAMPLED
    return sorted(random.Random(seed(5)).sample(found, SAMPLED)) if is_short() else found


def kill_in_turn(name: str, world: World, kills: Sequence[tuple[int, Call]]) -> dict[str, list[str]]:
    """Kill a few workers of one server, one after another; return the faults by point."""
    found: dict[str, list[str]] = {}
    server = serve(world)
    try:
        for number, kill in kills:
            case = Case(name, server, number)
            struck = strike(server, case.request, kill)
            faults = case.faults(struck.status) + case.next_put()
            died = struck.died.shown(world.installation.folder) if struck.died else f"not reached: {kill.name}"
            found[f"{number}. {died}, {'answered' if struck.status else 'unanswered'}"] = faults
    finally:
        server.stop()
    return found


@pytest.mark.parametrize("name", SIZES)
def test_a_worker_killed_in_a_request(world: World, name: str) -> None:
    kills = list(enumerate(chosen_points(name, world), 1))
    found: dict[str, list[str]] = {}
    for first in range(0, len(kills), DEATHS_EACH):
        found.update(kill_in_turn(name, world, kills[first : first + DEATHS_EACH]))
    print(f"\n{name}: killed at {sum('not reached' not in point for point in found)} points")
    for point, faults in found.items():
        print(f"  {point}: {'; '.join(faults) or 'whole'}")
    assert {point: faults for point, faults in found.items() if faults} == {}
    assert list(world.installation.verify()) == []
    assert sum("not reached" not in point for point in found) >= len(kills) // 3
