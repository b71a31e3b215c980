"""A door for all tests of this folder, once with the faster connection and once with asyncssh's own."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ssh.doors import Door, serving_sftp
from tests.tools import need

_numbers = itertools.count()


@pytest.fixture(scope="session", params=["auto", "stock"])
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server that answers over SFTP."""
    with serving_sftp(tmp_path_factory.mktemp("door"), **{"sftp.connection": request.param}) as found:
        yield found


@pytest.fixture
def home(door: Door) -> str:
    """The path of an empty folder, as the editor sees it."""
    path = f"/Kund AB – Sandbox/home {next(_numbers)}"
    assert door.sftp("anna", f'mkdir "{path}"').returncode == 0
    return path


@pytest.fixture
def mount(door: Door, home: str, tmp_path: Path) -> Iterator[Path]:
    """The editor's empty folder, as a file system by sshfs."""
    sshfs = need("sshfs")
    if not Path("/dev/fuse").exists() or os.geteuid() != 0:
        pytest.skip("there is no /dev/fuse to mount with")
    place = tmp_path / "mount"
    place.mkdir()
    options = door.options("anna", port="-p")
    ran = door.run(sshfs, *_pairs(options), "-o", "reconnect", f"anna@{door.host}:{home}", place)
    assert ran.returncode == 0, ran.stderr
    yield place
    subprocess.run([str(need("fusermount3")), "-u", str(place)], timeout=60)


def _pairs(options: list[str]) -> list[str]:
    """sshfs knows no -F, -i: it takes all as -o."""
    named = {"-i": "IdentityFile=", "-p": "port="}
    made: list[str] = []
    for name, value in zip(options[::2], options[1::2], strict=False):
        if name == "-o":
            made += ["-o", value]
        elif name in named:
            made += ["-o", f"{named[name]}{value}"]
    return made
