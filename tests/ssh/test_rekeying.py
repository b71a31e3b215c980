"""Keys that are exchanged anew in the middle of a transfer, at the client's wish and at the server's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ssh.doors import Door, serving_sftp
from tests.tools import need

CONTENT = os.urandom(30_000_000)
#: The first is served by code of ours, where the faster connection is used; the second by asyncssh's alone.
CIPHERS = ("aes128-gcm@openssh.com", "aes128-ctr")
#: What is loaded into each process of the server as it starts: keys are due after a mebibyte, not a gibibyte.
_OFTEN = "import asyncssh.connection\nasyncssh.connection._DEFAULT_REKEY_BYTES = 1 << 20\n"


@pytest.fixture(scope="module", params=["auto", "stock"])
def restless(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server that wants new keys for each mebibyte that it sends."""
    folder = tmp_path_factory.mktemp("restless")
    (folder / "sitecustomize.py").write_text(_OFTEN)
    settings = {"sftp.connection": request.param, "sftp.workers": 1}
    with serving_sftp(folder, modules=[str(folder)], **settings) as found:
        yield found


def carried(door: Door, place: Path, limit: str, cipher: str) -> tuple[bool, int]:
    """Put and get the content; return whether it came back as it was, and how often keys were exchanged."""
    sent, back, path = place / "sent", place / "back", f"/Kund AB – Sandbox/{cipher} {limit}"
    sent.write_bytes(CONTENT)
    options = ["-o", "LogLevel=DEBUG1", "-o", f"RekeyLimit={limit}", "-c", cipher, *door.options("anna")]
    batch = f'put {sent} "{path}"\nget "{path}" {back}\n'
    ran = door.run(need("sftp"), *options, "-b", "-", f"anna@{door.host}", input=batch)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return back.read_bytes() == CONTENT, ran.stderr.count("SSH2_MSG_NEWKEYS received")


@pytest.mark.parametrize("cipher", CIPHERS)
def test_a_client_that_wants_new_keys_for_each_mebibyte(door: Door, tmp_path: Path, cipher: str) -> None:
    is_same, exchanges = carried(door, tmp_path, "1M", cipher)
    assert is_same and exchanges > 40


@pytest.mark.parametrize("cipher", CIPHERS)
def test_a_server_that_wants_new_keys_for_each_mebibyte(restless: Door, tmp_path: Path, cipher: str) -> None:
    is_same, exchanges = carried(restless, tmp_path, "1G", cipher)
    assert is_same and exchanges > 20


@pytest.mark.parametrize("cipher", CIPHERS)
def test_both_want_new_keys_at_once(restless: Door, tmp_path: Path, cipher: str) -> None:
    is_same, exchanges = carried(restless, tmp_path, "1M", cipher)
    assert is_same and exchanges > 40
