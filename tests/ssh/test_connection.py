"""Which connection serves: the faster leans on asyncssh's inside, and is for the versions it was tried with alone."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh import encryption
from asyncssh.connection import SSHServerConnectionOptions

from config.logging import ROOT
from server.ssh import fast
from server.ssh.connection import Connection
from server.ssh.worker import chosen
from tests.ssh.doors import serving_sftp
from tests.worlds import settings_for


def test_this_asyncssh_was_tried() -> None:
    assert fast.is_tested(), "run every test of SFTP with this asyncssh, then name it in TESTED"


@pytest.mark.parametrize(
    ("connection", "says"), [("auto", "event=fast_connection "), ("stock", "event=stock_connection why=chosen ")]
)
def test_which_serves(tmp_path: Path, capfd: pytest.CaptureFixture[str], connection: str, says: str) -> None:
    """The log says so, and people are let in."""
    told = {"sftp.connection": connection, "sftp.workers": 1, "process.log_level": "info"}
    with serving_sftp(tmp_path, **told) as door:
        assert door.may("vera", client_keys=[door.key("vera")])
    log = capfd.readouterr().err
    assert says in log and log.count("_connection ") == 1


def test_with_an_asyncssh_that_nobody_tried_the_stock_one_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(asyncssh, "__version__", "2.99.0")
    monkeypatch.setattr(fast, "install", lambda: pytest.fail("it reaches into an asyncssh that nobody tried"))
    caplog.set_level(logging.INFO, logger=f"{ROOT}.ssh")
    assert chosen(settings_for(tmp_path).sftp) is Connection
    assert "event=stock_connection why=untested library=asyncssh-2.99.0" in caplog.text


class _Watched(fast.FastConnection):
    """Keeps count of how often it asked whether the client is there."""

    asked = 0

    async def _make_keepalive_request(self) -> None:
        self.asked += 1
        await super()._make_keepalive_request()


class _Anybody(asyncssh.SSHServer):
    """Lets anybody in."""

    def __init__(self, lost: asyncio.Event) -> None:
        self._lost = lost

    def begin_auth(self, username: str) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()


async def _talk_then_be_silent(interval: float) -> tuple[int, int]:
    """Return how often a client was asked whether it is there: while it talked, and until it was cut off."""
    loop, lost, made = asyncio.get_running_loop(), asyncio.Event(), []
    options: Any = await SSHServerConnectionOptions.construct(
        server_factory=lambda: _Anybody(lost),
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        keepalive_interval=interval,
        keepalive_count_max=3,
    )

    def make() -> _Watched:
        made.append(_Watched(loop, options, 1, 3))
        return made[0]

    server = await loop.create_server(make, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = await asyncssh.connect("127.0.0.1", port, username="any", known_hosts=None, config=None, agent_path=None)
    for _ in range(20):
        await asyncio.sleep(interval / 8)
        client.send_debug("I am here.")
    while_talking = made[0].asked
    transport: Any = client._transport
    transport.pause_reading()
    await asyncio.wait_for(lost.wait(), 30)
    client.abort()
    server.close()
    return while_talking, made[0].asked


def test_a_client_is_asked_whether_it_is_there_only_once_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is cut off if it does not answer."""
    monkeypatch.setattr(encryption, "_enc_params", dict(encryption._enc_params))
    fast.install()
    assert asyncio.run(_talk_then_be_silent(1.0)) == (0, 3)
