"""One connection from a client as asyncssh sees it: signing in, then channels, each with an engine or a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import asyncssh

from auth.rights import Principal
from config.addresses import plain
from config.logging import get_log
from config.settings.schema import SftpSettings
from server.sftp.channel import Channel
from server.sftp.crowd import Crowd
from server.sftp.jobs import Jobs
from server.ssh.connection import Connection
from server.ssh.signin import Authenticator, Challenge, SignIn, Threads

if TYPE_CHECKING:
    from providers.drive import Drive

_log = get_log("ssh")


class House(Protocol):
    """What a visitor needs of the process it is in."""

    settings: SftpSettings
    threads: Threads
    jobs: Jobs
    crowd: Crowd

    @property
    def authenticator(self) -> Authenticator:
        """Whom to ask who that is."""
        ...

    def drive(self, principal: Principal) -> Drive:
        """Return what the principal may see and do."""
        ...

    def arrived(self, visitor: Visitor) -> None:
        """Somebody connected."""

    def asking(self, visitor: Visitor) -> None:
        """Somebody asks to sign in, for the first time."""

    def signed_in(self, visitor: Visitor) -> None:
        """Somebody signed in."""

    def gone(self, visitor: Visitor) -> None:
        """Somebody is gone."""


class Visitor(asyncssh.SSHServer):
    """Whoever is at the other end. `principal` and `drive` are there once they have signed in, and never before."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.connection: Connection | None = None
        self.principal: Principal | None = None
        self.drive: Drive | None = None
        #: The gate's, by which it is told what becomes of this one.
        self.number = 0
        self._channels: set[Channel] = set()
        self._has_asked = False

    # --- coming and going

    def connection_made(self, conn: Any) -> None:
        """Begin."""
        self.connection, self.number = conn, conn.number
        peer = conn.get_extra_info("peername")
        self.address = plain(str(peer[0])) if peer else ""
        house = self._house
        with_code: Any = house.settings.key_and_code
        self.signin = SignIn(house.authenticator, house.threads, with_code, self.address, conn.send_auth_banner)
        house.arrived(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End. The channels have been told already."""
        self.principal = self.drive = self.connection = None
        self._channels.clear()
        self._house.gone(self)

    def cut(self, why: str) -> None:
        """End the connection from our side."""
        if self.connection is not None:
            self.connection.disconnect(asyncssh.DISC_BY_APPLICATION, why)

    def has_run_out(self, now: int) -> bool:
        """Whether the credential that this one signed in with is past its time."""
        expires = None if self.principal is None else self.principal.scope.expires_at
        return expires is not None and expires <= now

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way that would be lost."""
        return all(channel.is_idle for channel in self._channels)

    def drained(self) -> None:
        """Let channels send more."""
        for channel in list(self._channels):
            channel.drained()

    # --- signing in

    def begin_auth(self, username: str) -> bool:
        """Always ask for proof: a falsy answer would sign the user in."""
        assert self.connection is not None
        if self.connection.is_open_to_injection:
            self.cut("This client must be updated: it does not know strict key exchange.")
        if not self._has_asked:
            self._has_asked = True
            self._house.asking(self)
        self.signin.begin(username)
        return True

    def public_key_auth_supported(self) -> bool:
        """Whether a key is of use now."""
        return self.signin.takes("publickey")

    def password_auth_supported(self) -> bool:
        """Whether a password is of use now."""
        return self.signin.takes("password")

    def kbdint_auth_supported(self) -> bool:
        """Whether questions are of use now."""
        return self.signin.takes("keyboard-interactive")

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Return whether a key is known; no proof of anything."""
        return await self.signin.offer_key(key.public_data)

    async def validate_password(self, username: str, password: str) -> bool:
        """Return whether a password is right and enough."""
        return await self.signin.password(password)

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Challenge:
        """Return the first question."""
        return self.signin.challenge()

    async def validate_kbdint_response(self, username: str, responses: Any) -> Challenge:
        """Return the next question, or whether all is right."""
        return await self.signin.answer(list(responses))

    def auth_completed(self) -> None:
        """Take who signed in. The one place from which a connection has a principal."""
        principal = self.signin.take()
        if principal is None:
            _log.error("signed_in_without_proof")
            self.cut("You could not be signed in.")
            return
        self.drive = self._house.drive(principal)
        self.principal = principal
        self._house.signed_in(self)

    # --- channels

    def session_requested(self) -> Any:
        """Return a channel for a session, unless there are too many."""
        if self.drive is None or len(self._channels) >= self._house.settings.channels_max:
            return False
        channel = Channel(self.drive, self._house.jobs, self._unsent, self._channels.discard, self._enter)
        self._channels.add(channel)
        assert self.connection is not None
        return self.connection.channel(), channel

    def refuse(self, *_: Any, **__: Any) -> bool:
        """Forward nothing, to nowhere: no port, no socket, no tunnel."""
        return False

    connection_requested = server_requested = refuse
    unix_connection_requested = unix_server_requested = refuse
    tun_requested = tap_requested = refuse

    def _unsent(self) -> int:
        return 0 if self.connection is None else self.connection.unsent()

    def _enter(self) -> Callable[[], None] | None:
        assert self.drive is not None
        return self._house.crowd.enter(self.drive.principal.id, self.number)
