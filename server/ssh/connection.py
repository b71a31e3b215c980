"""asyncssh's connection with what it leaves to its user: counting failures, strict key exchange, back pressure.

This is the stock connection: its ways with packets are asyncssh's own. `server.ssh.fast` has the other one.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncssh
from asyncssh.connection import SSHServerConnection, SSHServerConnectionOptions

from server.quickack import acknowledge
from server.ssh import algorithms

#: How often something comes at most until a session has begun. On the way there OpenSSH's client sends what is not
#: answered and goes on at once: its NEWKEYS, its environment.
_EARLY: Final = 32


class Connection(SSHServerConnection):
    """One connection from a client. `number` is the gate's."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: SSHServerConnectionOptions, number: int, tries_max: int
    ) -> None:
        super().__init__(loop, options)
        self.number = number
        self._tries_left = tries_max
        self._early = _EARLY

    def connection_made(self, transport: Any) -> None:
        """Begin. Whoever waits for room is told each time that all has left: a channel asks `unsent` itself."""
        transport.set_write_buffer_limits(0)
        super().connection_made(transport)

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """Take what came."""
        super().data_received(data, datatype)
        self.acknowledge_early()

    def acknowledge_early(self) -> None:
        """Let the client know at once that what it sent has come, until a session has begun."""
        if self._early and self._transport is not None:
            self._early -= 1
            acknowledge(self._transport.get_extra_info("socket"))

    async def reload_config(self) -> None:
        """Do nothing: no option of ours depends on who signs in, and asyncssh would make all of them anew."""

    def send_userauth_failure(self, partial_success: bool) -> None:
        """Tell a client that its proof failed, or is not enough; cut it off after too many."""
        if not partial_success:
            self._tries_left -= 1
            if self._tries_left < 0:
                self.disconnect(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "Too many failures to sign in.")
                return
        super().send_userauth_failure(partial_success)
        # paramiko asks for the service anew with each method, which OpenSSH permits and asyncssh does not.
        self._next_service = b"ssh-userauth"

    def _send_kexinit(self) -> None:
        self._enc_algs = algorithms.without_slow_ciphers(list(self._enc_algs), self._client_version)
        super()._send_kexinit()

    @property
    def is_open_to_injection(self) -> bool:
        """Whether the cipher agreed on does not withstand CVE-2023-48795 with this client."""
        cipher = str(self.get_extra_info("recv_cipher"))
        return not self._strict_kex and not algorithms.is_safe_without_strict_kex(cipher)

    def channel(self) -> Any:
        """Return a channel of our own for a session, None to let asyncssh make it."""
        return None

    # --- back pressure

    def unsent(self) -> int:
        """Return how many bytes wait in the transport."""
        transport = self._transport
        return 0 if transport is None else int(transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Let whoever waits for the transport go on."""
        owner: Any = self.get_owner()
        if owner is not None:
            owner.drained()
