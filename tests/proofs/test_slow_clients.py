"""Honest clients that take their time, with the settings as delivered: a person who compares a fingerprint, and a phone
whose line is gone for a minute. Nobody may be cut off for that.
"""

from __future__ import annotations

import os
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import SPACE
from tests.ssh.doors import Door, serving_sftp
from tests.tools import need

pytestmark = [pytest.mark.proof, pytest.mark.timeout(400)]

COMPARING_SECONDS = 25
#: A minute without a line, and some of the next, until TCP tries again.
AWAY_SECONDS = 75
CONTENT = os.urandom(32 << 20)
#: What a client asks for before its line is gone.
BEGUN_BYTES = 1 << 20


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with serving_sftp(tmp_path) as found:
        yield found


def test_who_compared_the_fingerprint_was_cut_off_before_the_password(door: Door) -> None:
    environ = door.asking("yes", door.password("vera"))
    slow = door.folder / "slow"
    slow.write_text(f'#!/bin/sh\nsleep {COMPARING_SECONDS}\nexec {environ["SSH_ASKPASS"]} "$@"\n')
    slow.chmod(0o700)
    options = ["-F", "none", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=ask"]
    options += ["-o", "PreferredAuthentications=password", "-P", str(door.port)]
    ran = door.run(need("sftp"), *options, f"vera@{door.host}", input="ls\n", env=environ | {"SSH_ASKPASS": str(slow)})
    assert ran.returncode == 0 and SPACE in ran.stdout, ran.stderr


def _begin(door: Door, line: str, more: str = "") -> socket.socket:
    """Ask for something as `olle`, and leave small buffers between the server and us."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    made.settimeout(60)
    host, _, port = door.server.http_url.split("/")[2].partition(":")
    made.connect((host, int(port)))
    proof = b64encode(f"olle:{door.password('olle')}".encode()).decode()
    made.sendall(f"{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {proof}\r\n{more}\r\n".encode())
    return made


def _taken(sock: socket.socket, count: int) -> bytes:
    held = b""
    while len(held) < count and (piece := sock.recv(1 << 20)):
        held += piece
    return held


def test_a_minute_without_a_line_ended_uploads_and_downloads_that_webdav_cannot_resume(door: Door) -> None:
    assert door.server.dav("olle").put(f"/{SPACE}/there", CONTENT).status == 201
    getting = _begin(door, f"GET /dav/{SPACE}/there")
    putting = _begin(door, f"PUT /dav/{SPACE}/new", f"Content-Length: {len(CONTENT)}\r\n")
    with getting, putting:
        came = _taken(getting, BEGUN_BYTES)
        putting.sendall(CONTENT[:BEGUN_BYTES])
        time.sleep(AWAY_SECONDS)
        putting.sendall(CONTENT[BEGUN_BYTES:])
        assert putting.recv(4096).startswith(b"HTTP/1.1 201 ")
        head, _, body = came.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body + _taken(getting, len(CONTENT) - len(body)) == CONTENT
    assert door.server.dav("olle").get(f"/{SPACE}/new").body == CONTENT
