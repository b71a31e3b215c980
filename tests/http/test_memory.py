"""Memory that is free goes back to the system."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from server import memory, serving
from tests.serving import serving as a_server

#: Frees 200 MB all but a fiftieth, each piece of which lies between free ones; prints what went back to the system.
_IN_PIECES = """
import os
from server import memory

def resident_bytes():
    with open("/proc/self/statm") as read:
        return int(read.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

pieces = [bytes(2000) for _ in range(100_000)]
kept = pieces[::50]
del pieces
before = resident_bytes()
memory.give_back()
print(before - resident_bytes())
"""


def test_what_a_crowd_took_stayed_with_the_process() -> None:
    ran = subprocess.run([sys.executable, "-c", _IN_PIECES], capture_output=True, text=True, timeout=60, check=True)
    assert int(ran.stdout) > 100_000_000


def test_a_worker_gives_memory_back_every_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, given = threading.Event(), []

    def give_back() -> None:
        given.append(None)
        if len(given) == 3:
            stop.set()

    ticks: list[None] = []
    monkeypatch.setattr(serving, "TICK_SECONDS", 0.001)
    monkeypatch.setattr(serving, "TRIM_SECONDS", 0.02)
    monkeypatch.setattr(memory, "give_back", give_back)
    serving._tick(SimpleNamespace(tick=lambda: ticks.append(None)), stop)  # type: ignore[arg-type]
    assert len(given) == 3 and len(ticks) > 6


@pytest.mark.parametrize(("theirs", "found"), [(None, "2"), ("5", "5")])
def test_workers_have_few_pools_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str | None, found: str
) -> None:
    if theirs is not None:
        monkeypatch.setenv("MALLOC_ARENA_MAX", theirs)
    with a_server(tmp_path / "data", **{"sftp.enabled": True}) as server:
        for worker in server.workers():
            given = Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
            assert f"MALLOC_ARENA_MAX={found}".encode() in given
    assert os.environ.get("MALLOC_ARENA_MAX") == theirs
