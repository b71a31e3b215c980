"""An upload that is gone on with while the connection on which it was begun is there still, as after a network cut."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import asyncssh
import pytest

from tests.ssh.doors import Door

DATA = random.Random(4).randbytes(3_000_000)


def test_openssh_resumes_what_a_connection_that_is_gone_holds(door: Door, home: str, tmp_path: Path) -> None:
    """Of several connections some go to other processes than the first."""
    (tmp_path / "big.bin").write_bytes(DATA)

    async def work() -> None:
        async with door.connect("anna", password=door.password("anna")) as connection:
            sftp = await connection.start_sftp_client()
            file = await sftp.open(f"{home}/big.bin", "wb")
            await file.write(DATA[:1_000_000])
            await file.fsync()
            told = await asyncio.to_thread(door.sftp, "anna", f'reput {tmp_path}/big.bin "{home}/big.bin"')
            assert told.returncode == 0, told.stderr
            with pytest.raises(asyncssh.SFTPError):
                await file.write(b"more")
                await file.fsync()
            with pytest.raises(asyncssh.SFTPError):
                await file.close()

    asyncio.run(work())
    web = door.server.dav("anna")
    assert web.get(f"{home}/big.bin").body == DATA
    door.sftp("anna", f'get "{home}/big.bin" {tmp_path}/back.bin')
    assert (tmp_path / "back.bin").read_bytes() == DATA
