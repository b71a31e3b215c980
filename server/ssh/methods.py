"""asyncssh's handlers of sign-in methods, made to ask our state of signing in instead of being content with one.

asyncssh knows no partial success on a server's side (RFC 4252 section 5.1), takes SHA-1 signatures by RSA keys, and
sends passwords through SASLprep, which changes some. The guard `conn.auth is self` keeps the handler of a request that
was given up from answering for the next.
"""

from __future__ import annotations

from typing import Any

from asyncssh import auth
from asyncssh.packet import PacketDecodeError, SSHPacket, String

from server.ssh import algorithms
from server.ssh.signin import Method, as_text

_SIGNATURES = frozenset(name.encode("ascii") for name in algorithms.SIGNATURES)


class _Guarded:
    """Success means that the sign-in is whole; else a proof was seen, and another is due."""

    _method_name: Method
    _conn: Any

    async def send_success(self) -> None:
        """Ask whether that was all."""
        visitor = self._conn.get_owner()
        if self._conn.auth is not self or visitor is None:
            return
        is_whole = await visitor.signin.proven(self._method_name)
        if self._conn.auth is not self:
            return
        if is_whole:
            await self._conn.send_userauth_success()
        else:
            self._conn.send_userauth_failure(not visitor.signin.takes("publickey"))


class _PublicKey(_Guarded, auth._ServerPublicKeyAuth):
    _method_name = "publickey"

    async def _start(self, packet: SSHPacket) -> None:
        """Answer whether a key is known, or take a signature by it, of an algorithm that is none of SHA-1."""
        is_signed = packet.get_boolean()
        algorithm, key_data = packet.get_string(), packet.get_string()
        message = packet.get_consumed_payload() if is_signed else b""
        signature = packet.get_string() if is_signed else b""
        packet.check_end()
        if (
            algorithm not in _SIGNATURES
            or (is_signed and _algorithm_of(signature) != algorithm)
            or not await self._conn.validate_public_key(self._username, key_data, message, signature)
        ):
            self.send_failure()
        elif is_signed:
            await self.send_success()
        else:
            self.send_packet(auth.MSG_USERAUTH_PK_OK, String(algorithm), String(key_data))


class _Password(_Guarded, auth._ServerPasswordAuth):
    _method_name = "password"

    async def _start(self, packet: SSHPacket) -> None:
        """Take a password as it was typed; passwords are not changed here."""
        is_change = packet.get_boolean()
        password = as_text(packet.get_string())
        if is_change:
            packet.get_string()
        packet.check_end()
        if is_change or password is None or not await self._conn.validate_password(self._username, password):
            self.send_failure()
        else:
            await self.send_success()


class _Interactive(_Guarded, auth._ServerKbdIntAuth):
    _method_name = "keyboard-interactive"


def _algorithm_of(signature: bytes) -> bytes:
    try:
        return SSHPacket(signature).get_string()
    except PacketDecodeError:
        return b""


def install() -> None:
    """Let asyncssh use these in this process."""
    for handler in (_PublicKey, _Password, _Interactive):
        auth._server_auth_handlers[handler._method_name.encode("ascii")] = handler
