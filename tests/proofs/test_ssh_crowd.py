"""A crowd at the door of SFTP: strangers who never sign in, and many who did; an honest `ls` still works.

The full form has 4,000 strangers and 1,000 sessions at once, the short one 1,500 and 300. The honest user is Debian's
`sftp`: from its start to its end it connects, signs in by a key, lists a folder and leaves. Another lists in a session
that is open all the time.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.seeds import is_short
from tests.ssh import strangers
from tests.ssh.doors import SPACE, Door, serving_sftp

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

STRANGERS, SESSIONS = (1500, 300) if is_short() else (4000, 1000)
LISTINGS, LISTINGS_WITHIN = (40, 200) if is_short() else (200, 1000)
#: The honest user's slowest of a hundred: a second, or on a machine that is slow with nobody at the door, thrice that.
LISTING_SECONDS_MAX, LISTING_TIMES_MAX = 1.0, 3
SESSION_BYTES_MAX = 320 << 10
REVOKED_SECONDS_MAX = 3.0  # one, on a machine with nothing else to do
#: What it takes to keep up the full crowd, of whom many are cut as others come.
STRANGERS_PER_SECOND = 200


@pytest.fixture
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Door]:
    """A server that takes so many of one person; with `request.param`, all strangers too."""
    settings: dict[str, Any] = {"sftp.connections_per_person_max": 5000, "sftp.workers": 2}
    if request.param == "all are held":
        settings |= {"sftp.strangers_max": 2 * STRANGERS, "sftp.strangers_per_address_max": 2 * STRANGERS}
        settings |= {"sftp.connections_max": 3 * STRANGERS}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with serving_sftp(tmp_path, **settings) as found:
        yield found
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def listed(door: Door) -> float:
    """Return how long an honest client takes from its start to its end."""
    started = time.monotonic()
    ran = door.sftp("vera", f"ls {SPACE}")
    assert ran.returncode == 0, ran.stderr
    return time.monotonic() - started


async def listed_within(sftp: asyncssh.SFTPClient, count: int) -> list[float]:
    """Return how long each listing takes in a session that is open."""
    taken = []
    for _ in range(count):
        started = time.monotonic()
        await sftp.listdir(SPACE)
        taken.append(time.monotonic() - started)
    return taken


def slowest_of_a_hundred(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=100, method="inclusive")[98]


def memory(door: Door) -> tuple[int, int]:
    """Return the private and the resident bytes of all workers of SFTP."""
    private = resident = 0
    for pid in door.workers():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean", "Private_Dirty")):
                private += int(line.split()[1]) * 1024
            elif line.startswith("Rss"):
                resident += int(line.split()[1]) * 1024
    return private, resident


@contextmanager
def crowd_of_strangers(door: Door, addresses: int) -> Iterator[None]:
    """Keep up the crowd; all of it has knocked once before this is entered."""
    command = [sys.executable, "-P", strangers.__file__, door.host, door.port, STRANGERS, addresses]
    running = subprocess.Popen(
        [str(each) for each in (*command, STRANGERS_PER_SECOND)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert running.stdin is not None and running.stdout is not None
    try:
        assert running.stdout.readline() == b"begun\n"
        yield
    finally:
        running.stdin.close()
        print(f"the strangers knocked {running.stdout.readline().decode().strip()} times", end="; ")
        running.stdout.close()
        assert running.wait(60) == 0


async def sessions(door: Door, key: asyncssh.SSHKey) -> list[tuple[Any, asyncssh.SFTPClient]]:
    """Sign in so many times, and list."""
    made = []
    for number in range(SESSIONS):
        connection = await door.connect("vera", client_keys=[key], local_addr=(f"127.2.0.{1 + number % 250}", 0))
        sftp = await connection.start_sftp_client()
        await sftp.listdir(SPACE)
        made.append((connection, sftp))
    return made


async def revoked_within(door: Door) -> float:
    """Return how long one who is signed in among the others stays, once the key was taken back."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    identity = door.admit("vera", key.public_data)
    async with door.connect("vera", client_keys=[key]) as connection, connection.start_sftp_client() as sftp:
        await sftp.listdir(SPACE)
        door.world.installation.directory.revoke_device(identity)
        started = time.monotonic()
        await asyncio.wait_for(connection.wait_closed(), 60)
        return time.monotonic() - started


@pytest.mark.parametrize("door", ["as delivered"] if is_short() else ["as delivered", "all are held"], indirect=True)
@pytest.mark.parametrize("addresses", [500] if is_short() else [1, 500])
def test_a_crowd_keeps_nobody_out_and_costs_little(door: Door, addresses: int) -> None:
    """Strangers of one address, and of so many that the caps of one address do not bite."""
    key = door.key("vera")
    door.own_key("vera")

    async def crowd() -> None:
        quiet = [await asyncio.to_thread(listed, door) for _ in range(10)]
        before = memory(door)
        made = await sessions(door, key)
        after = memory(door)
        private, resident = ((now - then) // SESSIONS for now, then in zip(after, before, strict=True))
        with crowd_of_strangers(door, addresses):
            taken = [await asyncio.to_thread(listed, door) for _ in range(LISTINGS)]
            within = await listed_within(made[0][1], LISTINGS_WITHIN)
            gone = await revoked_within(door)
        for connection, _ in made:
            connection.abort()
        worst, worst_within = slowest_of_a_hundred(taken), slowest_of_a_hundred(within)
        print(
            f"{STRANGERS} strangers of {addresses} addresses, {SESSIONS} sessions of {private >> 10} KiB each "
            f"(resident {resident >> 10}); ls by sftp p50 {statistics.median(taken):.3f} s, p99 {worst:.3f} s "
            f"(nobody there: {max(quiet):.3f}); ls within p50 {statistics.median(within) * 1000:.1f} ms, "
            f"p99 {worst_within * 1000:.1f} ms; cut {gone:.2f} s after revocation"
        )
        assert private < SESSION_BYTES_MAX
        assert worst < max(LISTING_SECONDS_MAX, LISTING_TIMES_MAX * max(quiet))
        assert worst_within < LISTING_SECONDS_MAX
        assert gone < REVOKED_SECONDS_MAX

    asyncio.run(crowd())
