"""What an installation demands of those who sign in over SSH: a code besides the key, and not to take too long."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import asyncssh
import paramiko
import pytest

from tests.ssh.doors import Door, serving_sftp
from tests.tools import need

SECONDS_MAX = 5  # the least that may be set


@pytest.fixture(scope="module", params=[("auto", "second_factor"), ("stock", "always")], ids="-".join)
def strict(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    connection, with_code = request.param
    told = {"sftp.connection": connection, "sftp.key_and_code": with_code, "sftp.sign_in_seconds_max": SECONDS_MAX}
    told |= {"sftp.keep_alive_seconds": SECONDS_MAX}
    with serving_sftp(tmp_path_factory.mktemp("strict"), **told, **{"sftp.workers": 1}) as found:
        found.folder.joinpath("always").write_text(str(with_code == "always"))
        yield found


def is_for_all(door: Door) -> bool:
    return door.folder.joinpath("always").read_text() == "True"


def test_a_key_is_not_enough_where_the_installation_demands_a_code(strict: Door) -> None:
    """Of anna a second factor is demanded, of vera none. Unattended clients go on by a device password."""
    keys = {login: strict.key(login) for login in ("anna", "vera")}
    assert not strict.may("anna", client_keys=[keys["anna"]])
    assert strict.may("vera", client_keys=[keys["vera"]]) is not is_for_all(strict)
    command = [need("sftp"), *strict.options(), "-i", strict.key_file(keys["anna"]), "-o", "IdentitiesOnly=yes"]
    shown = strict.unused_code()
    listed = strict.run(*command, f"anna@{strict.host}", answers=[shown], input="ls\n")
    assert (listed.returncode, "Sandbox" in listed.stdout) == (0, True), listed.stderr
    assert strict.may("anna", password=strict.password("anna"), preferred_auth="password")


class _Slow(asyncssh.SSHClient):
    """A person who is asked, and goes to lunch."""

    def kbdint_auth_requested(self) -> str:
        return ""

    async def kbdint_challenge_received(self, *_: Any) -> None:
        await asyncio.sleep(60)


def _says_nothing(door: Door) -> None:
    with socket.create_connection((door.host, door.port)) as knocking, contextlib.suppress(ConnectionResetError):
        knocking.settimeout(30)
        while knocking.recv(65536):
            pass


def _says_little(door: Door) -> None:
    with socket.create_connection((door.host, door.port)) as knocking, contextlib.suppress(OSError):
        knocking.settimeout(0.2)
        knocking.send(b"SSH-2.0-")
        for _ in range(100):
            with contextlib.suppress(TimeoutError):
                while knocking.recv(65536):
                    pass
                return
            knocking.send(b"x")


def _is_asked(door: Door) -> None:
    async def wait() -> None:
        async with door.connect("vera", client_factory=_Slow, preferred_auth="keyboard-interactive"):
            pass

    with pytest.raises((asyncssh.Error, OSError)):
        asyncio.run(asyncio.wait_for(wait(), 30))


def _has_shown_a_key(door: Door) -> None:
    with paramiko.Transport((door.host, door.port)) as transport:
        transport.start_client(timeout=30)
        key = paramiko.Ed25519Key(filename=str(door.key_file(door.key("anna"))))
        assert transport.auth_publickey("anna", key) == ["keyboard-interactive"]
        until = time.monotonic() + 30
        while transport.is_active() and time.monotonic() < until:
            time.sleep(0.05)


@pytest.mark.parametrize("stays", [_says_nothing, _says_little, _is_asked, _has_shown_a_key])
def test_who_does_not_sign_in_in_time_is_cut(strict: Door, stays: Any) -> None:
    """However far they came."""
    began = time.monotonic()
    stays(strict)
    assert SECONDS_MAX - 0.5 < time.monotonic() - began < SECONDS_MAX + 8


def test_a_client_that_answers_nothing_any_more_is_cut(strict: Door) -> None:
    """It is asked, three times in vain, whether it is there. Gone on with, it finds the connection closed."""
    address, password = f"vera@{strict.host}", strict.password("vera")
    command = [need("ssh"), *strict.options(port="-p"), "-o", "PreferredAuthentications=password", address, "md5sum"]
    environ = strict.asking(password)
    with subprocess.Popen(
        [str(each) for each in command], env=environ, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as running:
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(3)
        running.send_signal(signal.SIGSTOP)
        time.sleep(5 * SECONDS_MAX)
        running.send_signal(signal.SIGCONT)
        try:
            assert running.wait(10) == 255
        finally:
            running.kill()
