"""asyncssh's connection with what it leaves to its user: strict key exchange, back pressure, what a client may cost.

This is the stock connection: its ways with packets are asyncssh's own. `server.ssh.fast` has the other one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import sys
import termios
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Final

import asyncssh
from asyncssh.connection import SSHServerConnection, SSHServerConnectionOptions
from asyncssh.misc import DisconnectError
from asyncssh.packet import SSHPacket, String

from server.quickack import acknowledge
from server.ssh import algorithms
from server.ssh.carriers import Carrier

#: How often something comes at most until a session has begun. On the way there OpenSSH's client sends what is not
#: answered and goes on at once: its NEWKEYS, its environment.
_EARLY: Final = 32
#: Packets that a stranger may send, whatever they are, and those for each time that they may try to sign in: an honest
#: client agrees on keys with less than ten, and needs three or four for a try.
_STRANGER_PACKETS_MAX: Final = 64
_TRY_PACKETS_MAX: Final = 8
#: A stranger's longest packet: what RFC 4253 section 6.1 wants to be taken.
_STRANGER_PACKET_BYTES_MAX: Final = 35_000
#: What came is taken for so long in one turn of the loop. The rest is taken in the next, when others had theirs.
TURN_SECONDS: Final = 0.004
#: With so much that a client has not taken, nothing more is taken from it: answers to what is no part of a channel are
#: held up by nothing else. It is twice what engines let come together, so that no honest client sees it.
UNSENT_BYTES_MAX: Final = 2 << 20
#: An agreement on new keys may take so long, counted from when a client has begun it or agreed to it, or has last taken
#: anything of what lies before our half of it.
EXCHANGE_SECONDS: Final = 30.0
#: What is held up by one: engines begin nothing beyond a megabyte of it, so that an honest client never sees the end.
_DEFERRED_BYTES_MAX: Final = 16 << 20
_DEFERRED_COST_BYTES: Final = 200
_KEXINIT: Final = 20
_NEWKEYS: Final = 21
#: Of a client's KEXINIT: its cookie, and where from its end it says whether a packet that was guessed follows.
_COOKIE_BYTES: Final = 16
_GUESSES_AT: Final = -5
KEX_LAST: Final = 49


class Connection(SSHServerConnection):
    """One connection from a client. `number` is the gate's."""

    #: Of which kind its channels are.
    carrier: type[Carrier] = Carrier

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: SSHServerConnectionOptions, number: int, tries_max: int
    ) -> None:
        super().__init__(loop, options)
        self.number = number
        self._tries_left = tries_max
        self._rsa_signature = algorithms.RSA_SIGNATURE
        #: The host keys that the client may ask us to prove still.
        self._unproven = dict(self._all_server_host_keys)
        self._early = _EARLY
        self._stranger_packets_left = _STRANGER_PACKETS_MAX + tries_max * _TRY_PACKETS_MAX
        self._packet_bytes_max, self._max_recv_pktlen = self._max_recv_pktlen, _STRANGER_PACKET_BYTES_MAX
        #: Whether what has come will be gone on with in the next turn of the loop.
        self._has_more = False
        self._is_held_up = False
        self._deferred_bytes = 0
        #: Whether the client has begun to agree on keys, and uses the old ones still.
        self._is_exchanging = False
        self._exchange_timer: asyncio.TimerHandle | None = None

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

    # --- host keys

    def _is_wrong_guess(self, peer_host_key_algs: Sequence[bytes]) -> bool:
        """Whether the client has sent the first packet of an exchange that it guessed, as Dropbear does, and wrongly.

        Only what both sides name first is guessed right (RFC 4253 7); asyncssh goes by what is agreed on.
        """
        kexinit = SSHPacket(self._client_kexinit)
        kexinit.get_bytes(1 + _COOKIE_BYTES)
        theirs = kexinit.get_namelist()[:1], list(peer_host_key_algs[:1])
        ours = list(self._kex_algs[:1]), list((self._server_host_key_algs or ())[:1])
        return bool(self._client_kexinit[_GUESSES_AT]) and theirs != ours

    def choose_server_host_key(self, peer_host_key_algs: Sequence[bytes]) -> bool:
        """Choose the host key, as a pair of this connection's own. Of RSA, asyncssh notes which signature was agreed on
        in the one pair of all connections: who had not got theirs yet when another came got one of the other's kind.
        """
        self._ignore_first_kex = self._is_wrong_guess(peer_host_key_algs)
        for algorithm in peer_host_key_algs:
            pair = self._server_host_keys.get(algorithm)
            if pair is not None:
                if _is_rsa(pair):
                    self._rsa_signature = algorithm
                self._server_host_key = self._signing(pair)
                return True
        return False

    def _signing(self, shared: asyncssh.SSHKeyPair) -> asyncssh.SSHKeyPair:
        """Return a pair that signs as was agreed on."""
        own = copy(shared)
        if _is_rsa(own):
            own.set_sig_algorithm(self._rsa_signature)
        return own

    def _process_hostkeys_prove_00_at_openssh_dot_com_global_request(self, packet: SSHPacket) -> None:
        """Prove that we have the host keys that a client asks about, those of the next rotation among them, each once:
        a packet has room for six hundred names, and RSA takes a millisecond or two for each. By an RSA key that was not
        agreed on, asyncssh signs with SHA-1 besides, which clients refuse.
        """
        proven, proofs = String("hostkeys-prove-00@openssh.com") + String(self._session_id), []
        while packet:
            blob = packet.get_string()
            pair = self._unproven.pop(blob, None)
            if pair is None:
                self._report_global_response(False)
                return
            proofs.append(String(self._signing(pair).sign(proven + String(blob))))
        self._report_global_response(b"".join(proofs))

    @property
    def is_open_to_injection(self) -> bool:
        """Whether the cipher agreed on does not withstand CVE-2023-48795 with this client."""
        cipher = str(self.get_extra_info("recv_cipher"))
        return not self._strict_kex and not algorithms.is_safe_without_strict_kex(cipher)

    def channel(self) -> Carrier:
        """Return a fresh channel for a session."""
        self._update_recv_pktlen(self._max_pktsize)
        return self.carrier(
            self, self._loop, False, False, False, 0, 1024, None, "strict", self._window, self._max_pktsize
        )

    # --- what a client may cost

    async def send_userauth_success(self) -> None:
        """Let a client in; from now on its packets may be as long as any."""
        self._max_recv_pktlen = self._packet_bytes_max
        await super().send_userauth_success()

    def _recv_data(self) -> None:
        """Take what is whole, for as long as a turn may last."""
        self._take_for_a_turn(self._take_by_handlers)
        self.regulate()

    def _take_by_handlers(self, until: float) -> None:
        """Let asyncssh take what came, and show it no more than the packet it is at: with each it copies twice all that
        it sees behind.
        """
        came, at = memoryview(self._inpbuf), 0
        self._inpbuf = b""
        try:
            while self._transport:
                stop = max(at, at + self._wanted() - len(self._inpbuf))
                self._inpbuf += came[at:stop]
                at = min(stop, len(came))
                if not (self._inpbuf and self._recv_handler()):
                    break
                if self._loop.time() > until:
                    self._go_on_later()
                    break
        finally:
            if self._transport:
                self._inpbuf += came[at:]

    def _wanted(self) -> int:
        """Return how many bytes asyncssh can do with now."""
        if self._recv_handler == self._recv_pkthdr:
            return self._recv_blocksize
        if self._recv_handler == self._recv_packet:
            return 4 + self._pktlen + self._recv_macsize - self._recv_blocksize
        return sys.maxsize

    def _take_for_a_turn(self, take: Callable[[float], None]) -> None:
        """Call `take` with when the turn is over, and end the connection by what it raises."""
        self._reset_keepalive_timer()
        try:
            take(self._loop.time() + TURN_SECONDS)
        except DisconnectError as error:
            self._send_disconnect(error.code, error.reason, error.lang)
            self._force_close(error)
        except Exception:
            self.internal_error()

    def _reset_keepalive_timer(self) -> None:
        """Take whatever comes for a sign of life, as OpenSSH does: on a slow line our question, or what it is answered
        with, may wait for minutes behind what goes the same way.
        """
        self._keepalive_count = 0
        super()._reset_keepalive_timer()

    def _go_on_later(self) -> None:
        if not self._has_more:
            self._has_more = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._has_more = False
        self._take_left()
        self.regulate()

    def _take_left(self) -> None:
        """Take what has come and was not taken."""
        self._recv_data()

    def _finish_recv_packet(self, pkttype: int, seq: int, _task: Any = None, is_async: bool = False) -> None:
        """Finish with a packet, and go on with those that waited for it. A stranger's are counted."""
        if pkttype in (_KEXINIT, _NEWKEYS):
            self._exchange(pkttype == _KEXINIT)
        elif self._is_exchanging and pkttype > KEX_LAST:
            self.cut("Something else came amid an exchange of keys.")
        super()._finish_recv_packet(pkttype, seq, _task, is_async)
        if not self._auth_complete and self._transport:
            self._stranger_packets_left -= 1
            if self._stranger_packets_left < 0:
                self.cut("Too much was said without signing in.")
        if is_async and self._has_left():
            self._go_on_later()

    def regulate(self) -> None:
        """Take nothing from the kernel while there is enough to do with what came, or to send."""
        if self._transport is None:
            return
        is_held_up = (
            self._has_more or self.in_transport() > UNSENT_BYTES_MAX or (self._has_left() and self._waits_for_task())
        )
        if is_held_up is not self._is_held_up:
            self._is_held_up = is_held_up
            if is_held_up:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _has_left(self) -> bool:
        """Return whether there is anything that came and was not taken."""
        return bool(self._inpbuf)

    def _waits_for_task(self) -> bool:
        """Return whether a packet is looked at elsewhere (a password, say), and the next waits for that."""
        return self._recv_handler not in (self._recv_pkthdr, self._recv_packet, self._recv_version)

    def cut(self, why: str) -> None:
        """End the connection with somebody who does not heed the protocol, or its bounds."""
        if self._transport is not None:
            self.disconnect(asyncssh.DISC_PROTOCOL_ERROR, why)

    def _cleanup(self, exc: Exception | None) -> None:
        self._exchange(False)
        super()._cleanup(exc)
        self._deferred_packets.clear()
        self._deferred_bytes = 0
        self._recv_handler = _deaf  # a method of its own would keep the connection

    # --- the exchange of keys

    def _exchange(self, is_under_way: bool) -> None:
        """Take note that the client begins an exchange of keys, or is done with it (RFC 4253 section 7.1)."""
        self._is_exchanging = is_under_way
        if self._exchange_timer is not None:
            self._exchange_timer.cancel()
            self._exchange_timer = None
        if is_under_way and self._auth_complete and self._transport:  # signing in has bounds of its own
            self._await_exchange()

    def _await_exchange(self) -> None:
        self._exchange_timer = self._loop.call_later(EXCHANGE_SECONDS, self._exchange_is_late, self._untaken())

    def _untaken(self) -> int:
        """Return how many bytes have not reached the client. On a slow line most of them are in the kernel."""
        held = bytes(4)
        if self._transport is not None:
            with contextlib.suppress(OSError, ValueError):
                held = fcntl.ioctl(self._transport.get_extra_info("socket"), termios.TIOCOUTQ, held)
        return self.in_transport() + int.from_bytes(held, sys.byteorder)

    def _exchange_is_late(self, before: int) -> None:
        if 0 < self._untaken() < before:
            self._await_exchange()
        else:
            self.cut("Agreeing on new keys took too long.")

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """Send a packet, or keep it until an exchange of keys is over. Nothing is kept once the client is gone."""
        if self._transport is None:
            return
        deferred = len(self._deferred_packets)
        super().send_packet(pkttype, *args, handler=handler)
        if len(self._deferred_packets) > deferred:
            self._deferred_bytes += _DEFERRED_COST_BYTES + sum(map(len, args))
            if self._deferred_bytes > _DEFERRED_BYTES_MAX:
                self._deferred_bytes = 0
                self._loop.call_soon(self.cut, "Too much waits for an exchange of keys.")

    def _send_deferred_packets(self) -> None:
        self._deferred_bytes = 0
        if self._deferred_packets:
            super()._send_deferred_packets()
            self._loop.call_soon(self.resume_writing)

    # --- back pressure

    def in_transport(self) -> int:
        """Return how many bytes wait in the transport."""
        transport = self._transport
        return 0 if transport is None else int(transport.get_write_buffer_size())

    def unsent(self) -> int:
        """Return how many bytes wait in the transport, or for an exchange of keys."""
        return self.in_transport() + self._deferred_bytes

    def resume_writing(self) -> None:
        """Let whoever waits for the transport go on."""
        self.regulate()
        owner: Any = self.get_owner()
        if owner is not None:
            owner.drained()


def _is_rsa(pair: asyncssh.SSHKeyPair) -> bool:
    return algorithms.RSA_SIGNATURE in pair.sig_algorithms


def _deaf() -> bool:
    return False
