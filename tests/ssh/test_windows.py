"""What a client may send before it hears from us: over a long line, that bounds how fast it uploads."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncssh

from tests.ssh.doors import Door

#: A request that nobody knows: as long as a write, and answered at once.
UNKNOWN = (200_005).to_bytes(4, "big") + b"\x63" + bytes(200_004)
SENT_BYTES = 4 * len(UNKNOWN)
INIT = bytes((0, 0, 0, 5, 1, 0, 0, 0, 3))
#: Of its window a client may always use so much, once what it sent has come. OpenSSH leaves it 95 %.
SHARE_MIN = 0.8


def test_a_client_that_is_far_away_had_half_of_the_window(door: Door) -> None:
    """It was renewed by halves: an upload over 200 ms took a third longer than to OpenSSH's server."""

    async def upload() -> None:
        async with door.connect("anna", password=door.password("anna")) as connection:
            made: Any = await connection.create_session(asyncssh.SSHClientSession, subsystem="sftp", encoding=None)
            chan = made[0]
            chan.write(INIT)
            whole = chan._send_window + len(INIT)
            for _ in range(4):
                chan.write(UNKNOWN)
            assert chan._send_window < whole - SENT_BYTES
            async with asyncio.timeout(10):
                while chan._send_window < SHARE_MIN * whole:
                    await asyncio.sleep(0.01)

    asyncio.run(upload())
