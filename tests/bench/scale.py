"""`make bench`, the rows of scale: long histories and many documents, beside as many documents with one version.

Each installation is made in bulk (`tests.bench.bulk`). What is measured, interleaved: a process that has just begun and
opens a drive (`tests.bench.scale_probe`), its first act and the median of those that follow; and a real server's
processor time for each request over WebDAV and over SFTP. Folders hold as many documents everywhere, and each act
chooses another folder and document.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path as FilePath
from statistics import median
from typing import Any

import asyncssh

from providers.installation import Installation
from tests.bench import bulk, scale_probe
from tests.bench.servers import cpu_seconds
from tests.serving import Served, start
from tests.worlds import World, settings_for

#: A measure may be so many times the one with few documents and one version.
RATIO_MAX = 1.5
_SAVES_A_CHANGE = 50
PROBE = FilePath(scale_probe.__file__)
ROOT = PROBE.parent.parent.parent


@dataclass(frozen=True)
class Sizes:
    """What is compared: names and shapes, the first of which all are measured by; and how often.

    `firsts` processes begin besides for each act, only to do it once: what is first varies most.
    """

    shapes: Mapping[str, bulk.Shape]
    times: int
    rounds: int
    firsts: int


def _sizes(few: int, many: int, versions: int, a_folder: int, *often: int) -> Sizes:
    """Return shapes of `few` documents, of as many with `versions`, and of `many`; as many documents in each folder."""
    shapes = {
        f"{few:,} × 1": bulk.Shape(few // a_folder, a_folder, 1, _SAVES_A_CHANGE),
        f"{few:,} × {versions}": bulk.Shape(few // a_folder, a_folder, versions, _SAVES_A_CHANGE),
        f"{many:,} × 1": bulk.Shape(many // a_folder, a_folder, 1, _SAVES_A_CHANGE),
    }
    return Sizes(shapes, *often)


#: No act comes to a folder twice: what was listed once is remembered.
FULL = _sizes(20_000, 1_000_000, 50, 200, 100, 3, 6)
QUICK = _sizes(400, 4_000, 50, 20, 20, 1, 2)


@dataclass
class Measure:
    """Seconds that one kind of act took in one installation: the first of each process, and those that followed."""

    first: list[tuple[float, float]] = field(default_factory=list)
    later: list[tuple[float, float]] = field(default_factory=list)

    def of(self, which: str, kind: int) -> float:
        """Return the median of `first` or `later`; kind 0: elapsed, 1: of the processor."""
        return median(each[kind] for each in getattr(self, which))


#: By the name of the act, then by that of the installation.
Measured = dict[str, dict[str, Measure]]


@contextmanager
def made(folder: FilePath, sizes: Sizes, show: Callable[[str], None] = lambda line: None) -> Iterator[dict[str, World]]:
    """Make the installations, each in a folder of its own with what its probe must know beside it.

    One that stands there whole, of the same shape, is opened instead: a million documents take minutes to make.
    """
    worlds: dict[str, World] = {}
    try:
        for number, (name, shape) in enumerate(sizes.shapes.items()):
            worlds[name] = _opened(folder / str(number), shape) or _made(folder / str(number), shape, show, name)
        yield worlds
    finally:
        for world in worlds.values():
            world.installation.close()


def _made(place: FilePath, shape: bulk.Shape, show: Callable[[str], None], name: str) -> World:
    show(f"making {name}")
    place.mkdir(parents=True)
    world = bulk.make(place / "data", shape)
    facts = {"password": world.passwords[bulk.LOGIN], "shape": astuple(shape)}
    (place / scale_probe.FACTS).write_text(json.dumps(facts))
    return world


def _opened(place: FilePath, shape: bulk.Shape) -> World | None:
    if not (place / scale_probe.FACTS).exists():
        return None
    facts = json.loads((place / scale_probe.FACTS).read_text())
    if bulk.Shape(*facts["shape"]) != shape:
        return None
    installation = Installation.open(place / "data", settings_for(place / "data"))
    return World(installation, passwords={bulk.LOGIN: facts["password"]})


# --- a process that has just begun


def probed(worlds: Mapping[str, World], sizes: Sizes) -> Measured:
    """Measure each act in each installation, by processes that have just begun, in rounds."""
    found: Measured = {work: {name: Measure() for name in worlds} for work in scale_probe.WORKS}
    for number in range(sizes.rounds):
        for work, by_world in found.items():
            for name, measure in by_world.items():
                _opened, first, *later = probe(worlds[name], work, sizes.times, number)
                measure.first.append(first)
                measure.later += later
    for number in range(sizes.firsts):
        for work, by_world in found.items():
            for name, measure in by_world.items():
                measure.first.append(probe(worlds[name], work, 1, 100 + number)[1])
    return found


def probe(world: World, work: str, times: int, seed: int, *more: str) -> list[tuple[float, float]]:
    """Run one probe; return what it says of opening the installation, and then of each act."""
    command = [sys.executable, "-P", str(PROBE), str(world.installation.folder), work, str(times), str(seed), *more]
    done = subprocess.run(command, capture_output=True, cwd="/", text=True)
    if done.returncode:
        raise RuntimeError(f"{work}: {done.stderr[-2000:]}")
    return [tuple(each) for each in json.loads(done.stdout)]


def statements(worlds: Mapping[str, World], times: int) -> dict[str, dict[str, tuple[int, float]]]:
    """Return how many statements the first act and, by the median, those that follow ask of each installation."""
    found: dict[str, dict[str, tuple[int, float]]] = {}
    for work in scale_probe.WORKS:
        for name, world in worlds.items():
            _opened, first, *later = probe(world, work, times, 0, "--statements")
            found.setdefault(work, {})[name] = (int(first[1]), median(each[1] for each in later))
    return found


# --- a real server

Asked = Callable[[Served, bulk.Shape, int, int], None]


def _webdav(method: str) -> Asked:
    def ask(server: Served, shape: bulk.Shape, times: int, seed: int) -> None:
        client = server.dav(bulk.LOGIN)
        for folder, document in scale_probe.places(shape, times, seed):
            if method == "PROPFIND":
                reply = client.propfind("/" + "/".join(folder.segments) + "/", depth="1")
                assert reply.status == 207, reply
            elif method == "GET":
                wanted = f"bytes=0-{scale_probe.HEAD_BYTES - 1}"
                assert client.get("/" + "/".join(document.segments), Range=wanted).status in (200, 206)
            else:
                content = os.urandom(bulk.CONTENT_BYTES)
                assert client.put("/" + "/".join(document.segments), content).status in (201, 204)

    return ask


def _sftp(method: str) -> Asked:
    async def work(server: Served, shape: bulk.Shape, times: int, seed: int) -> None:
        host, _, port = server.sftp_url.removeprefix("sftp://").rpartition(":")
        options: dict[str, Any] = {
            "known_hosts": None, "config": None, "agent_path": None, "client_keys": None,
            "username": bulk.LOGIN, "password": server.world.passwords[bulk.LOGIN],
        }  # fmt: skip
        async with asyncssh.connect(host, int(port), **options) as connection:
            async with connection.start_sftp_client() as client:
                for folder, document in scale_probe.places(shape, times, seed):
                    path = "/" + "/".join(document.segments)
                    if method == "list":
                        assert len(await client.readdir("/" + "/".join(folder.segments))) > 2
                    elif method == "open":
                        async with client.open(path, "rb") as file:
                            assert await file.read(scale_probe.HEAD_BYTES)
                    else:
                        async with client.open(path, "wb") as file:
                            await file.write(os.urandom(bulk.CONTENT_BYTES))

    return lambda server, shape, times, seed: asyncio.run(work(server, shape, times, seed))


REQUESTS: dict[str, Asked] = {
    "WebDAV PROPFIND": _webdav("PROPFIND"),
    "WebDAV GET": _webdav("GET"),
    "WebDAV PUT": _webdav("PUT"),
    "SFTP ls": _sftp("list"),
    "SFTP get": _sftp("open"),
    "SFTP put": _sftp("save"),
}


#: By which the system tells processor time, in seconds: what took less may show as nothing.
_TICK = 1 / os.sysconf("SC_CLK_TCK")
SERVED: dict[str, Any] = {"http.workers": 1, "sftp.enabled": True, "sftp.workers": 1}


def served(worlds: Mapping[str, World], sizes: Sizes) -> Measured:
    """Measure a server's time for each request, as the mean of a round's: `later` alone."""
    found: Measured = {name: {world: Measure() for world in worlds} for name in REQUESTS}
    running = {
        name: start(world.installation.folder, world, **bulk.SETTINGS, **SERVED) for name, world in worlds.items()
    }
    try:
        for number in range(sizes.rounds):
            for name, ask in REQUESTS.items():
                for world, server in running.items():
                    began, before = time.perf_counter(), cpu_seconds(server.process.pid)
                    ask(server, sizes.shapes[world], sizes.times, 1000 + number)
                    taken = time.perf_counter() - began, max(_TICK, cpu_seconds(server.process.pid) - before)
                    found[name][world].later.append((taken[0] / sizes.times, taken[1] / sizes.times))
    finally:
        for server in running.values():
            server.stop()
    return found


def ratios(measured: Measured, which: str, kind: int) -> dict[str, dict[str, float]]:
    """Return, by act and installation, how many times the first installation's measure it took."""
    found = {}
    for work, by_world in measured.items():
        (_, base), *others = by_world.items()
        found[work] = {name: each.of(which, kind) / base.of(which, kind) for name, each in others}
    return found


def table(folder: FilePath, sizes: Sizes, show: Callable[[str], None]) -> str:
    """Measure all of it, and return the rows as Markdown."""
    with made(folder, sizes, show) as worlds:
        show("processes that have just begun")
        fresh = probed(worlds, sizes)
        show("real servers")
        asked = served(worlds, sizes)
        lines = [f"### Scale: documents × versions, processor ms each; × as much as {next(iter(worlds))}", ""]
        lines += [_row(["", *worlds, f"all within {RATIO_MAX} ×"]), _row(["---", *["---:"] * len(worlds), "---"])]
        for which in ("first", "later"):
            lines += [_line(f"drive, {work}, {which}", by, which) for work, by in fresh.items()]
        lines += [_line(f"{name}, a request", by, "later") for name, by in asked.items()]
    return "\n".join(lines)


def _line(name: str, by_world: Mapping[str, Measure], which: str) -> str:
    base, *others = (measure.of(which, 1) for measure in by_world.values())
    cells = [f"{base * 1e3:.2f}", *(f"{each * 1e3:.2f} ({each / base:.2f} ×)" for each in others)]
    return _row([name, *cells, "✓" if all(each <= RATIO_MAX * base for each in others) else "✗"])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
