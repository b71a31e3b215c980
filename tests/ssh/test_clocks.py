"""How long a server that is told to stop waits for uploads is not told by a clock that somebody sets meanwhile."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from server.ssh.worker import SshWorker
from tests.clocks import HOUR_SECONDS, YEAR_SECONDS, MachineClock
from tests.worlds import World, settings_for

DRAIN_SECONDS = 1


class Busy:
    """A visitor with something under way, until it is cut."""

    def __init__(self) -> None:
        self.is_idle = False
        self.was_cut = 0

    def cut(self, why: str) -> None:
        self.is_idle = True
        self.was_cut += 1


@pytest.mark.parametrize("jump_seconds", [-HOUR_SECONDS, 10 * YEAR_SECONDS])
def test_draining_took_as_long_as_the_clock_said(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch, jump_seconds: int
) -> None:
    machine = MachineClock(monkeypatch)
    world = World.create(data_folder)
    ours, theirs = socket.socketpair()
    busy: Any = Busy()

    async def drain() -> float:
        settings = settings_for(data_folder, **{"process.drain_seconds": DRAIN_SECONDS})
        worker = SshWorker(world.installation, settings, theirs)
        worker._visitors[1] = busy
        asyncio.get_running_loop().call_later(0.2, setattr, machine, "ahead_seconds", jump_seconds)
        began = time.monotonic()
        await asyncio.wait_for(worker._drain(), 30)
        return time.monotonic() - began

    try:
        assert asyncio.run(drain()) >= DRAIN_SECONDS
        assert busy.was_cut
    finally:
        ours.close()
        theirs.close()
        world.installation.close()
