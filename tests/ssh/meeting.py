"""A server's end of a connection and the client's, in one process, to be looked at and meddled with."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncssh
from asyncssh.connection import SSHServerConnectionOptions

from server.ssh.connection import Connection

KEXINIT = 20
#: asyncssh's clients prefer ChaCha20, of which the faster connection makes nothing faster.
QUICK = ["aes128-gcm@openssh.com"]


class _Anybody(asyncssh.SSHServer):
    """Lets anybody in."""

    def begin_auth(self, username: str) -> bool:
        return False

    def drained(self) -> None:
        """Nobody waits."""


class Met:
    """A server in this process, somebody who is signed in there, and the server's end of their connection.

    `options` are the server's.
    """

    def __init__(self, kind: type[Connection], **options: Any) -> None:
        self._kind = kind
        self._options = options
        self.here: Any = None
        self.client: Any = None

    async def __aenter__(self) -> Met:
        loop = asyncio.get_running_loop()
        options: Any = await SSHServerConnectionOptions.construct(
            server_factory=_Anybody, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")], **self._options
        )

        def make() -> Connection:
            self.here = self._kind(loop, options, 1, 3)
            return self.here

        self._server = await loop.create_server(make, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.client = await asyncssh.connect(
            "127.0.0.1", port, username="any", known_hosts=None, config=None, agent_path=None, encryption_algs=QUICK
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.client.abort()
        self._server.close()
        await asyncio.sleep(0.05)

    def begin_exchange(self) -> None:
        """Let the client begin an exchange of keys, and never go on with it."""
        self.pass_over(KEXINIT)
        self.client._send_kexinit()
        self.client._kex_complete = True

    def pass_over(self, kind: int) -> None:
        """Let the client take no notice of packets of a kind."""
        self.client._packet_handlers = {**type(self.client)._packet_handlers, kind: lambda *_: True}
