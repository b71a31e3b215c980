"""What is measured. Each work takes a server and a size, and returns the seconds of each of its measures."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench.client import Connection, Target, Unexpected, download, expect, together, upload
from tests.bench.servers import Server, cpu_seconds, memory_peak_mb, ready_memory

MADE = (200, 201, 204)
MEMORY = "memory"
#: How often small documents are fetched once nothing is left to do from the first time.
OVER = 10
PROPFIND = (
    b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:resourcetype/><D:getcontentlength/>'
    b"<D:getlastmodified/><D:getetag/><D:displayname/></D:prop></D:propfind>"
)
LOCK = (
    b'<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)


@dataclass(frozen=True)
class Sizes:
    """How much of each; `shown` is what the tables say."""

    large_bytes: int
    small_count: int
    small_bytes: int
    listings: Mapping[int, int]  # children: how often a round lists them
    pairs: int
    rounds: int
    large_rounds: int
    crowd: int  # how many send and fetch a large document at once, for the memory that takes


FULL = Sizes(1 << 30, 1000, 10 << 10, {1000: 20, 10_000: 5}, 300, 5, 3, 8)
QUICK = Sizes(64 << 20, 200, 10 << 10, {1000: 5}, 50, 3, 2, 8)


@dataclass(frozen=True)
class Sample:
    """One measure in one round: seconds, and the processor seconds of the server's processes, for so many units."""

    seconds: float
    cpu: float
    units: float


Samples = dict[str, Sample]


def timed(server: Server, units: float, work: Callable[[], float], *, room: int = 0) -> Sample:
    """Do the work, which returns its seconds, after everything written before has reached the disk.

    `room` is how many bytes of files it will write: they all write into memory that the machine has.
    """
    ready_memory(room)
    before = cpu_seconds(server.process.pid)
    seconds = work()
    return Sample(seconds, cpu_seconds(server.process.pid) - before, units)


def large(server: Server, sizes: Sizes, round_number: int, source: Path) -> Samples:
    """PUT a large document that no server has seen, and GET it."""
    if round_number >= sizes.large_rounds:
        return {}
    path, units = f"/large-{round_number}.bin", sizes.large_bytes / 1e6
    target = server.target
    put = timed(server, units, lambda: upload(target, path, source, MADE), room=sizes.large_bytes)
    began = time.perf_counter()
    server.settle()
    synced = Sample(put.seconds + time.perf_counter() - began, put.cpu, units)
    get = timed(server, units, lambda: download(target, path, sizes.large_bytes))
    with Connection(target) as client:
        expect(client.exchange(target.request("DELETE", path)), (200, 204))
    return {"PUT large": put, "PUT large, then synced": synced, "GET large": get}


def small(server: Server, sizes: Sizes, round_number: int, source: Path) -> Samples:
    """PUT and GET many small documents, each with content of its own."""
    target, count, folder = server.target, sizes.small_count, f"/small-{round_number}"
    with Connection(target) as client:
        for each in (folder, f"{folder}-alone"):
            expect(client.exchange(target.request("MKCOL", f"{each}/")), MADE)

    def puts(below: str) -> list[bytes]:
        seed = hashlib.sha256(f"{server.name} {below}".encode()).digest()
        bodies = [hashlib.shake_128(seed + n.to_bytes(4, "big")).digest(sizes.small_bytes) for n in range(count)]
        return [target.request("PUT", f"{below}/document-{n:04}.bin", body) for n, body in enumerate(bodies)]

    gets = [target.request("GET", f"{folder}/document-{n:04}.bin") for n in range(count)]
    many, alone = puts(folder), puts(f"{folder}-alone")
    room = 4 * count * sizes.small_bytes  # with its records, and tables
    samples = {
        "PUT small, 8 clients": timed(server, count, lambda: together(target, many, MADE, 8), room=room),
        "PUT small, 1 client": timed(server, count, lambda: together(target, alone, MADE, 1), room=room),
        "GET small, first, 8 clients": timed(server, count, lambda: together(target, gets, (200,), 8)),
        "GET small, again, 8 clients": timed(server, count, lambda: together(target, gets, (200,), 8)),
        "GET small, over and over, 8 clients": timed(
            server, OVER * count, lambda: together(target, gets * OVER, (200,), 8)
        ),
        "GET small, over and over, 1 client": timed(
            server, OVER * count, lambda: together(target, gets * OVER, (200,), 1)
        ),
    }
    with Connection(target) as client:
        for each in (folder, f"{folder}-alone"):
            expect(client.exchange(target.request("DELETE", f"{each}/")), (200, 204))
    return samples


def listings(server: Server, sizes: Sizes, round_number: int, source: Path) -> Samples:
    """PROPFIND of folders, five properties, by one client."""
    if not server.lists_and_locks:
        return {}
    samples = {}
    for children, times in sizes.listings.items():
        request = server.target.request("PROPFIND", f"/listed-{children}/", PROPFIND, {"Depth": "1"})
        with Connection(server.target) as client:
            answer = expect(client.exchange(request), (207,))
            if answer.body.count(b"document-") < children:
                raise Unexpected(f"{server.name} lists fewer than {children}")
        samples[f"PROPFIND {children}"] = timed(
            server, times, lambda request=request, times=times: together(server.target, [request] * times, (207,), 1)
        )
    return samples


def locks(server: Server, sizes: Sizes, round_number: int, source: Path) -> Samples:
    """LOCK and UNLOCK one document, again and again, by one client."""
    if not server.lists_and_locks:
        return {}
    path = f"/listed-{min(sizes.listings)}/document-00000.txt"

    def pairs() -> float:
        with Connection(server.target) as client:
            began = time.perf_counter()
            for _ in range(sizes.pairs):
                _lock_and_unlock(client, server.target, path)
            return time.perf_counter() - began

    return {"LOCK + UNLOCK": timed(server, sizes.pairs, pairs)}


def _lock_and_unlock(client: Connection, target: Target, path: str) -> None:
    headers = {"Timeout": "Second-60", "Depth": "0", "Content-Type": "application/xml"}
    locked = expect(client.exchange(target.request("LOCK", path, LOCK, headers)), (200, 201))
    token = locked.header("Lock-Token")
    expect(client.exchange(target.request("UNLOCK", path, headers={"Lock-Token": token})), (200, 204))


def memory(server: Server, sizes: Sizes, round_number: int, source: Path) -> Samples:
    """PUT and GET large documents by many clients at once; the most memory that a process of the server held."""
    if round_number:
        return {}
    target, paths = server.target, [f"/crowd-{number}.bin" for number in range(sizes.crowd)]

    def at_once(work: Callable[[str], float]) -> None:
        with ThreadPoolExecutor(len(paths)) as pool:
            list(pool.map(work, paths))

    at_once(lambda path: upload(target, path, source, MADE))
    at_once(lambda path: download(target, path, sizes.large_bytes))
    with Connection(target) as client:
        for path in paths:
            expect(client.exchange(target.request("DELETE", path)), (200, 204))
    return {MEMORY: Sample(memory_peak_mb(server), 0.0, 1.0)}


Work = Callable[[Server, Sizes, int, Path], Samples]
WORKS: tuple[Work, ...] = (large, small, listings, locks, memory)
