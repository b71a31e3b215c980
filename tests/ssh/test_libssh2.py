"""libssh2, with which curl, PHP and others speak SSH: what it says, and what it leaves unsaid."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from providers.paths import parse
from tests.ssh.doors import Door, exactly, serving_sftp
from tests.tools import miss, need
from tests.worlds import fetch

CONTENT = os.urandom(10_000_000)


@pytest.fixture(scope="module")
def old_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server that libssh2 before 1.11 (Debian 12 has 1.10) can agree with on how to seal."""
    with serving_sftp(tmp_path_factory.mktemp("old"), **{"sftp.legacy_algorithms": True}) as found:
        yield found


def curl(door: Door, *words: object) -> bytes:
    program = need("curl")
    if " scp " not in door.run(program, "--version").stdout:
        miss("curl with scp")
    told = ["-sS", "--insecure", "--user", f"olle:{door.password('olle')}", "--max-time", "60"]
    ran = door.run(program, *told, *words, text=False)
    assert ran.returncode == 0, ran.stderr
    return bytes(ran.stdout)


@pytest.mark.parametrize("scheme", ["sftp", "scp"])
def test_curl(old_door: Door, tmp_path: Path, scheme: str) -> None:
    address = f"{scheme}://{old_door.host}:{old_door.port}/Sandbox/{scheme}.bin"
    (tmp_path / "in.bin").write_bytes(CONTENT)
    curl(old_door, "-T", tmp_path / "in.bin", address)
    assert fetch(old_door.world.drive("olle"), f"/Sandbox/{scheme}.bin") == CONTENT
    assert curl(old_door, address) == CONTENT


def test_what_was_sent_by_scp_was_lost_where_the_client_said_nothing_after_it(door: Door, home: str) -> None:
    """PHP's `ssh2_scp_send`: all bytes, the end, and the channel is closed, without waiting for any answer."""
    transport = paramiko.Transport((door.host, door.port))
    try:
        transport.connect(username="anna", password=door.password("anna"))
        channel = transport.open_session(timeout=20)
        channel.settimeout(20)
        channel.exec_command(f"scp -pt '{home}/sent.bin'")
        assert exactly(channel, 1) == b"\0"
        channel.sendall(f"C0644 {len(CONTENT)} sent.bin\n".encode())
        assert exactly(channel, 1) == b"\0"
        channel.sendall(CONTENT)
        channel.close()
        drive, path = door.world.drive("anna"), parse(home)
        for _ in range(100):
            if drive.listing(path)[1]:
                break
            time.sleep(0.1)
        assert fetch(drive, f"{home}/sent.bin") == CONTENT
    finally:
        transport.close()
