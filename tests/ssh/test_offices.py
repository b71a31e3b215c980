"""Many who come by one address at the same moment, as an office does after an outage, over a line of 200 ms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from tests.ssh.doors import SPACE, Door

PEOPLE = 50
#: One way. Signing in takes some ten times as long, so that all of them are strangers at once.
AWAY_SECONDS = 0.1


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    later = partial(asyncio.get_running_loop().call_later, AWAY_SECONDS)
    with suppress(OSError):
        while data := await reader.read(65536):
            later(writer.write, data)
    later(writer.close)


@asynccontextmanager
async def far_away(door: Door) -> AsyncIterator[int]:
    """Give a port at which the door is seen from afar."""

    async def arrive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(door.host, door.port)
        await asyncio.gather(_carry(reader, ours), _carry(theirs, writer))

    server = await asyncio.start_server(arrive, "127.0.0.1", 0, backlog=PEOPLE)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.sleep(3 * AWAY_SECONDS)  # the last words arrive


def test_of_an_office_that_came_back_all_at_once_most_were_kept_out(door: Door) -> None:
    """The eldest of one address was cut for the eleventh, and so on, and nobody behind it knew why."""

    async def come(port: int) -> bool:
        options = {"password": door.password("vera"), "port": port}
        async with door.connect("vera", **options) as connection, connection.start_sftp_client() as sftp:
            return bool(await sftp.isdir(SPACE))

    async def office() -> list[bool | BaseException]:
        async with far_away(door) as port, asyncio.timeout(60):
            return await asyncio.gather(*(come(port) for _ in range(PEOPLE)), return_exceptions=True)

    assert asyncio.run(office()) == [True] * PEOPLE
