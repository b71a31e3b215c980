"""What a connection had read is let go as it ends, at once: the collector of garbage comes round much later."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.connection import SSHServerConnectionOptions

from auth.roles import Role, Via
from config.settings.schema import SftpSettings
from providers.drive import Drive
from server.sftp import channel
from server.sftp.crowd import Crowd
from server.sftp.jobs import Jobs
from server.ssh.connection import Connection
from server.ssh.signin import Threads
from server.ssh.visitor import Visitor
from tests.ssh.meeting import QUICK
from tests.worlds import World

CONTENT = bytes(3 << 20)


class _House:
    """What visitors need of the process that they are in. Everybody is let in, as one person."""

    def __init__(self, drive: Drive) -> None:
        self.settings = SftpSettings()
        self.threads = Threads()
        self.jobs = Jobs(2)
        self.crowd = Crowd()
        self.authenticator: Any = None
        self._drive = drive
        self.made: list[weakref.ref[Any]] = []

    def drive(self, principal: Any) -> Drive:
        return self._drive

    def arrived(self, visitor: Visitor) -> None:
        assert visitor.connection is not None
        self.made += [weakref.ref(visitor), weakref.ref(visitor.connection)]

    def asking(self, visitor: Visitor) -> None:
        pass

    def signed_in(self, visitor: Visitor) -> None:
        pass

    def gone(self, visitor: Visitor) -> None:
        pass

    def close(self) -> None:
        self.threads.close()
        self.jobs.close()


class _Anybody(Visitor):
    def begin_auth(self, username: str) -> bool:
        return False

    def auth_completed(self) -> None:
        house: Any = self._house
        self.drive = house.drive(None)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[_House]:
    world = World.create(tmp_path / "data")
    world.space("Rum", "Kund AB")
    world.person("anna", "Kund AB")
    world.grant("anna", "Rum", Role.MANAGER)
    made = _House(world.drive("anna", Via.SFTP))
    yield made
    made.close()
    world.installation.close()


async def _read_and_go(
    house: _House, kind: type[Connection], engines: list[weakref.ref[Any]], *, abruptly: bool
) -> None:
    loop = asyncio.get_running_loop()
    options: Any = await SSHServerConnectionOptions.construct(
        server_factory=lambda: _Anybody(house),
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
    )
    server = await loop.create_server(lambda: kind(loop, options, 1, 3), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = await asyncssh.connect(
        "127.0.0.1", port, username="any", known_hosts=None, config=None, agent_path=None, encryption_algs=QUICK
    )
    for _ in range(2):
        sftp = await client.start_sftp_client()
        async with sftp.open("/Rum/a", "wb") as file:
            await file.write(CONTENT)
        file = await sftp.open("/Rum/a", "rb")
        assert await file.read() == CONTENT
    if abruptly:
        client.abort()
    else:
        client.close()
    # The server's end hears of it a little later.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while any(each() is not None for each in (*house.made, *engines)):
                await asyncio.sleep(0.01)
    server.close()


@pytest.mark.parametrize("abruptly", [True, False])
def test_what_a_connection_had_read_stayed_until_garbage_was_collected(
    house: _House, kind: type[Connection], abruptly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[weakref.ref[Any]] = []

    class Watched(channel.Engine):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            engines.append(weakref.ref(self))

    monkeypatch.setattr(channel, "Engine", Watched)
    gc.collect()
    gc.disable()
    try:
        asyncio.run(_read_and_go(house, kind, engines, abruptly=abruptly))
        assert len(engines) == 2 and [each() for each in engines] == [None, None]
        assert [each() for each in house.made] == [None, None]
    finally:
        gc.enable()
