"""A folder that is renamed while something is written in it: what is written comes along, over either protocol."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable
from http.client import HTTPConnection
from urllib.parse import quote

import pytest

from tests.ssh.doors import Door

HALF = bytes(range(256)) * 512


def over_webdav(door: Door, path: str, then: Callable[[], None]) -> bool:
    """PUT a half, let something happen, and PUT the other half."""
    web = door.server.dav("anna")
    connection = HTTPConnection(web.host, timeout=30)
    connection.putrequest("PUT", web.prefix + quote(path))
    secret = b64encode(f"anna:{door.password('anna')}".encode()).decode()
    connection.putheader("Authorization", f"Basic {secret}")
    connection.putheader("Content-Length", str(2 * len(HALF)))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 100")
    connection.send(HALF)
    then()
    connection.send(HALF)
    status = connection.getresponse().status
    connection.close()
    return status in (201, 204)


def over_sftp(door: Door, path: str, then: Callable[[], None]) -> bool:
    """Write a half, let something happen, write the other half and close."""

    async def work() -> bool:
        async with door.connect("anna", password=door.password("anna")) as connection:
            sftp = await connection.start_sftp_client()
            file = await sftp.open(path, "wb")
            await file.write(HALF)
            await asyncio.to_thread(then)
            await file.write(HALF)
            await file.close()
            return True

    return asyncio.run(work())


@pytest.mark.parametrize("stood", [False, True])
@pytest.mark.parametrize("how", [over_webdav, over_sftp])
def test_what_was_written_in_a_folder_that_was_renamed_meanwhile(
    door: Door, home: str, how: Callable[[Door, str, Callable[[], None]], bool], stood: bool
) -> None:
    web = door.server.dav("anna")
    assert web.request("MKCOL", f"{home}/a").status == 201
    if stood:
        assert web.put(f"{home}/a/x.bin", b"before").status == 201

    def rename() -> None:
        told = door.server.dav("anna").request("MOVE", f"{home}/a", Destination=web.origin + web.href(f"{home}/b"))
        assert told.status == 201

    assert how(door, f"{home}/a/x.bin", rename)
    assert web.get(f"{home}/b/x.bin").body == 2 * HALF
    assert web.request("HEAD", f"{home}/a").status == 404
