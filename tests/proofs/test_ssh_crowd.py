"""A crowd at the door of SFTP: strangers who never sign in, and many who did; an honest `ls` still works.

The short form has 1,000 strangers and 100 sessions, the full one 4,000 and 1,000.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ssh.doors import Door, serving_sftp

SHORT = os.environ.get("MELLANRUM_PROOF") == "short"
STRANGERS, SESSIONS = (1000, 100) if SHORT else (4000, 1000)
LISTINGS = 20
LISTING_SECONDS_MAX = 5.0  # a second on a machine with nothing else to do
SESSION_BYTES_MAX = 2 << 20


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server that takes so many of one person."""
    settings = {"sftp.connections_per_person_max": 5000, "sftp.workers": 2}
    with serving_sftp(tmp_path_factory.mktemp("crowd"), **settings) as found:
        yield found


async def listed(door: Door, key: object, source: str) -> float:
    """Return how long an honest client takes from its first packet to its listing."""
    started = time.monotonic()
    async with door.connect("vera", client_keys=[key], local_addr=(source, 0)) as connection:
        async with connection.start_sftp_client() as sftp:
            assert "Sandbox" in await sftp.listdir("/")
    return time.monotonic() - started


def memory(door: Door) -> int:
    """Return the private bytes of all workers of SFTP."""
    total = 0
    for pid in door.workers():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean", "Private_Dirty")):
                total += int(line.split()[1]) * 1024
    return total


@pytest.mark.proof
@pytest.mark.timeout(600)
@pytest.mark.parametrize("addresses", [1, 200])
def test_strangers_keep_nobody_out(door: Door, addresses: int) -> None:
    """From one address, and from so many that the caps of one do not bite; some idle, some half way through."""
    key = door.key("vera")
    crowd: list[socket.socket] = []
    try:
        for number in range(STRANGERS):
            source = f"127.1.{number % addresses % 250}.{1 + number % addresses // 250}"
            crowd.append(socket.create_connection((door.host, door.port), 20, (source, 0)))
            if number % 2:
                crowd[-1].sendall(b"SSH-2.0-crowd\r\n")
        own = "127.1.0.1" if addresses == 1 else "127.0.0.1"
        taken = sorted(asyncio.run(listed(door, key, own)) for _ in range(LISTINGS))
        print(
            f"{STRANGERS} strangers of {addresses} addresses: ls {taken[LISTINGS // 2]:.2f} s, worst {taken[-1]:.2f} s"
        )
        assert taken[-1] < LISTING_SECONDS_MAX
    finally:
        for each in crowd:
            each.close()


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_many_sessions_cost_little(door: Door) -> None:
    key = door.key("vera")

    async def crowd() -> tuple[int, list[float]]:
        before, open_ones = memory(door), []
        for number in range(SESSIONS):
            connection = await door.connect("vera", client_keys=[key], local_addr=(f"127.2.0.{1 + number % 250}", 0))
            open_ones.append((connection, await connection.start_sftp_client()))
            await open_ones[-1][1].listdir("/")
        each = (memory(door) - before) // SESSIONS
        taken = [await listed(door, key, "127.0.0.1") for _ in range(LISTINGS)]
        for connection, sftp in open_ones:
            sftp.exit()
            connection.abort()
        return each, sorted(taken)

    each, taken = asyncio.run(crowd())
    print(f"{SESSIONS} sessions: {each // 1024} KiB each; ls {taken[LISTINGS // 2]:.2f} s, worst {taken[-1]:.2f} s")
    assert each < SESSION_BYTES_MAX
    assert taken[-1] < LISTING_SECONDS_MAX
