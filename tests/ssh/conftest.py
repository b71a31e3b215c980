"""A door for all tests of this folder, once with the faster connection and once with asyncssh's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from asyncssh import encryption

from server.ssh import fast
from server.ssh.connection import Connection
from tests.ssh.doors import Door, mounted, serving_sftp

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
    with mounted(door, "anna", home, tmp_path / "mount") as place:
        yield place


@pytest.fixture(params=[fast.FastConnection, Connection], ids=["fast", "stock"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Connection]:
    """Each kind of connection, for a server in this process."""
    monkeypatch.setattr(encryption, "_enc_params", dict(encryption._enc_params))
    fast.install()
    found: type[Connection] = request.param
    return found
