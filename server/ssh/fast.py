"""The faster connection: asyncssh's own but for the two packets of which there are millions, data and windows.

Once somebody has signed in and AES-GCM was agreed on, packets are taken straight from the buffer that the kernel fills
and given to the channel; answers are gathered and leave once for each turn of the loop. Whatever else comes (key
exchange, requests, closing, anything odd) goes through asyncssh's code, which keeps all its checks: the packet is put
back as it came, its nonce with it. Against the stock connection this spares an empty packet before each one sent, a
cipher made anew for each packet, formatting logs that nobody reads, and several copies.

All of this leans on what asyncssh keeps to itself: `TESTED` names the versions with which every test of SFTP passed;
with any other the stock connection serves.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import Sequence
from typing import Any, Final

import asyncssh
from asyncssh import encryption
from asyncssh.misc import MACError, ProtocolError
from asyncssh.packet import String, UInt32
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.ssh.carriers import WINDOW_ADJUST, FastChannel
from server.ssh.connection import KEX_LAST, Connection

TESTED: Final = frozenset({"2.24.1"})
CIPHERS: Final = (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com")

_BUFFER_BYTES: Final = 1 << 20
#: So much is taken at once of what asyncssh has to take apart: what a turn has no time for is copied.
_STOCK_BYTES: Final = 128 << 10
_STRANGER_BYTES: Final = 16 << 10
#: After so many packets it is looked how long the turn has lasted. That many long ones never come at once; one that
#: asyncssh took apart counts for all of them: it may be a command to be split, or proofs to be signed.
_LOOK_PACKETS: Final = 64
_TAG_BYTES: Final = 16
_BLOCK_BYTES: Final = 16
_DATA: Final = 94
_HEAD = struct.Struct(">BBII")  # padding, type, channel, and the length of data or the window's growth
_LENGTH = struct.Struct(">I")
#: Padding is random by RFC 4253 section 6 to hide lengths from ciphers in CBC; in GCM it may be anything.
_PADDING: Final = bytes(2 * _BLOCK_BYTES)
#: Where the kernel puts what comes, for whichever connection: each takes it in the same turn of the loop. With one of
#: its own, whoever knocked cost a megabyte.
_RECEIVED: Final = memoryview(bytearray(_BUFFER_BYTES))
#: As much leaves at once at most: a reply of the longest kind and a half, few enough to stay in a processor's cache.
_SENT_BYTES: Final = 384 << 10


def is_tested() -> bool:
    """Return whether the asyncssh that is installed is one of those that this was tested with."""
    return asyncssh.__version__ in TESTED


def install() -> None:
    """Let asyncssh use our AES-GCM in this process."""
    for name in CIPHERS:
        parameters = encryption._enc_params[name][1:]
        encryption._enc_params[name] = (Gcm, *parameters)


class Gcm(encryption.Encryption):
    """AES-GCM as RFC 5647 has it, with one cipher for each key and the nonce's counter at hand."""

    def __init__(self, key: bytes, iv: bytes) -> None:
        self.cipher = AESGCM(key)
        self._fixed = iv[:4]
        self.counter = int.from_bytes(iv[4:], "big")

    @classmethod
    def new(
        cls, cipher_name: str, key: bytes, iv: bytes, mac_alg: bytes = b"", mac_key: bytes = b"", etm: bool = False
    ) -> Gcm:
        """Return one for a key."""
        return cls(key, iv)

    needs_mac = encryption.GCMEncryption.needs_mac
    get_mac_params = encryption.GCMEncryption.get_mac_params

    def nonce(self) -> bytes:
        """Return the next packet's nonce."""
        made = self._fixed + self.counter.to_bytes(8, "big")
        self.counter = (self.counter + 1) & 0xFFFFFFFFFFFFFFFF
        return made

    def put_back(self) -> None:
        """Let the last nonce be the next again: its packet is looked at anew."""
        self.counter = (self.counter - 1) & 0xFFFFFFFFFFFFFFFF

    def encrypt_packet(self, seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        """Return a packet sealed, and no code beside it."""
        return header + self.cipher.encrypt(self.nonce(), packet, header), b""

    def decrypt_header(self, seq: int, first_block: bytes, header_len: int) -> tuple[bytes, bytes]:
        """Return the header, which stands in the clear."""
        return first_block, first_block[:header_len]

    def decrypt_packet(self, seq: int, first: bytes, rest: bytes, header_len: int, mac: bytes) -> bytes | None:
        """Return a packet opened, None if it was tampered with."""
        try:
            return self.cipher.decrypt(self.nonce(), first[header_len:] + rest + mac, first[:header_len])
        except InvalidTag:
            return None


class _Outbox:
    """Where packets are sealed side by side, to leave together: memory for whichever connection speaks now."""

    def __init__(self) -> None:
        self.room = memoryview(bytearray(_SENT_BYTES))
        self.used = 0
        self.owner: FastConnection | None = None

    def take(self, owner: FastConnection, size: int) -> memoryview:
        """Return room for `size` more bytes of a connection. What does not fit, or is another's, leaves before."""
        if self.owner is not owner or self.used + size > _SENT_BYTES:
            if self.owner is not None:
                self.owner.let_out()
            self.owner = owner
        at = self.used
        self.used = at + size
        return self.room[at : self.used]

    def waiting(self, owner: FastConnection) -> int:
        """Return how many bytes of a connection have not left."""
        return self.used if self.owner is owner else 0

    def empty(self) -> memoryview:
        """Return what is there, good until something is put there again."""
        found, self.used, self.owner = self.room[: self.used], 0, None
        return found


_outbox = _Outbox()


class FastConnection(Connection, asyncio.BufferedProtocol):
    """One connection from a client."""

    carrier = FastChannel

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        #: What came and was not taken yet: mostly the beginning of a packet.
        self._left: bytes | memoryview = b""
        self._start = 0
        self._is_quick = False
        self._will_flush = False
        #: Channels for which something came that was not given to them yet.
        self._heard: list[FastChannel] = []
        #: Channels that have something to send when this turn of the loop ends.
        self._speaking: list[FastChannel] = []
        self._heard_at = 0.0

    # --- receiving

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the kernel may put what comes next: after what is left."""
        if not self._is_quick:  # then nothing is left
            return _RECEIVED[: _STOCK_BYTES if self._auth_complete else _STRANGER_BYTES]
        held = len(self._left)
        _RECEIVED[:held] = self._left
        return _RECEIVED[held:]

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came. What it is answered with at once leaves at once, and not one turn of the loop later."""
        self._left = _RECEIVED[: len(self._left) + nbytes]
        self._will_flush = True
        self._take_left()
        self._flush()
        self.regulate()
        self.acknowledge_early()

    def _take_left(self) -> None:
        """Take what is whole, and keep the rest in memory of its own: the buffer is for all connections."""
        self._start = 0
        if self._is_quick:
            self._take_for_a_turn(self._take_all)
        if not self._is_quick:
            self._to_stock()
        self._left = bytes(self._left[self._start :])

    def _take_all(self, until: float) -> None:
        taken = 0
        try:
            while self._is_quick and self._transport and self._recv_handler == self._recv_pkthdr:
                count = self._take()
                if not count:
                    break
                taken += count
                if taken >= _LOOK_PACKETS:
                    taken = 0
                    self._deliver()
                    if self._loop.time() > until:
                        self._go_on_later()
                        break
        finally:
            self._deliver()

    def _to_stock(self) -> None:
        """Hand what came to asyncssh, and be quick from then on if nothing of a packet is left with it."""
        data = bytes(self._left[self._start :])
        self._start = len(self._left)
        super(Connection, self).data_received(data)  # it is acknowledged once the answer has left
        self._is_quick = (
            self._auth_complete
            and not self._inpbuf
            and self._recv_handler == self._recv_pkthdr
            and self._may_be_quick()
        )

    def _may_be_quick(self) -> bool:
        """Return whether ciphers are ours. Amid an exchange of keys nothing has a place that could be taken quickly."""
        return (
            not self._is_exchanging
            and isinstance(self._recv_encryption, Gcm)
            and isinstance(self._send_encryption, Gcm)
        )

    def _take(self) -> int:
        """Take one packet; return for how many it counts, 0 where none was whole."""
        view, start = self._left, self._start
        if len(view) - start < _BLOCK_BYTES:
            return 0
        (length,) = _LENGTH.unpack_from(view, start)
        if length > self._max_recv_pktlen:
            raise ProtocolError("Max packet size exceeded")
        stop = start + 4 + length + _TAG_BYTES
        if stop > len(view):
            return 0
        gcm = self._recv_encryption
        assert isinstance(gcm, Gcm)
        try:
            plain = gcm.cipher.decrypt(gcm.nonce(), view[start + 4 : stop], view[start : start + 4])
        except InvalidTag:
            raise MACError("MAC verification failed") from None
        self._start = stop
        if self._is_common(plain):
            self._recv_seq = (self._recv_seq + 1) & 0xFFFFFFFF
            return 1
        gcm.put_back()
        self._deliver()
        self._inpbuf = bytes(view[start:stop])
        while self._inpbuf and self._recv_handler():
            pass
        self._is_quick = self._may_be_quick()
        return _LOOK_PACKETS

    def _is_common(self, plain: bytes) -> bool:
        """Return whether the packet was one of the two kinds, with nothing odd about it, and was taken."""
        if len(plain) < _HEAD.size:
            return False
        padding, kind, number, size = _HEAD.unpack_from(plain)
        if kind not in (_DATA, WINDOW_ADJUST):
            return False
        channel: Any = self._channels.get(number)
        if type(channel) is not FastChannel or channel._recv_state != "open" or not self._kex_complete:
            return False
        end = _HEAD.size + (size if kind == _DATA else 0)
        if end + padding != len(plain):
            return False
        if kind == WINDOW_ADJUST:
            channel._send_window += size
            channel._flush_send_buf()
            return True
        if channel._send_state != "open" or not 0 < size <= channel._recv_window:
            return False
        self._auth_final = True
        if channel.take(memoryview(plain)[_HEAD.size : end]):
            self._heard.append(channel)
        return True

    def _deliver(self) -> None:
        """Give to sessions what came for them, all at once: before anything else is taken from the client."""
        while self._heard:
            self._heard.pop(0).deliver()

    def _has_left(self) -> bool:
        return bool(self._left or self._inpbuf)

    def _reset_keepalive_timer(self) -> None:
        """Take note that something came. A timer set anew for each packet took longer than to open the packet."""
        if self._keepalive_timer is None:
            super()._reset_keepalive_timer()
        self._keepalive_count = 0
        self._heard_at = self._loop.time()

    def _keepalive_timer_callback(self) -> None:
        """Ask whether the client is still there, once it has said nothing for so long."""
        remaining = self._heard_at + self._keepalive_interval - self._loop.time()
        if remaining > 0:
            self._keepalive_timer = self._loop.call_later(remaining, self._keepalive_timer_callback)
        else:
            super()._keepalive_timer_callback()

    # --- sending

    def unsent(self) -> int:
        """Return how many bytes wait in the transport, or to be given to it."""
        return super().unsent() + _outbox.waiting(self)

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """Send a packet."""
        gcm = self._send_encryption
        if pkttype > KEX_LAST and isinstance(gcm, Gcm) and self._may_send_now():
            payload = b"".join(args)
            padding = _padding(2 + len(payload))
            self._seal(gcm, b"".join((bytes((padding, pkttype)), payload, _PADDING[:padding])))
        else:
            super().send_packet(pkttype, *args, handler=handler)

    def send_data(self, channel: int, pieces: Sequence[Any], size: int) -> None:
        """Send one packet of data on a channel."""
        gcm = self._send_encryption
        if isinstance(gcm, Gcm) and self._may_send_now():
            padding = _padding(_HEAD.size + size)
            head = _HEAD.pack(padding, _DATA, channel, size)
            self._seal(gcm, b"".join((head, *pieces, _PADDING[:padding])))
        else:
            super().send_packet(_DATA, UInt32(channel), String(b"".join(pieces)))

    def _may_send_now(self) -> bool:
        """Return whether no key exchange is under way or due. What it holds up, asyncssh keeps and sends later."""
        return (
            self._auth_complete
            and self._kex_complete
            and not self._deferred_packets
            and self._rekey_bytes_sent < self._rekey_bytes
            and not (self._rekey_seconds and time.monotonic() >= self._rekey_time)
        )

    def _seal(self, gcm: Gcm, plain: bytes) -> None:
        size = len(plain)
        self._send_seq = (self._send_seq + 1) & 0xFFFFFFFF
        self._rekey_bytes_sent += size
        if 4 + size + _TAG_BYTES > _SENT_BYTES:
            head = _LENGTH.pack(size)
            self._send(head + gcm.cipher.encrypt(gcm.nonce(), plain, head))
            return
        room = _outbox.take(self, 4 + size + _TAG_BYTES)
        _LENGTH.pack_into(room, 0, size)
        gcm.cipher.encrypt_into(gcm.nonce(), plain, room[:4], room[4:])
        self._flush_soon()

    def _send(self, data: bytes) -> None:
        """Gather what leaves at the end of this turn of the loop."""
        if not self._transport:
            return
        if len(data) > _SENT_BYTES:
            self.let_out()
            super()._send(data)
            return
        _outbox.take(self, len(data))[:] = data
        self._flush_soon()

    def speak(self, channel: FastChannel) -> None:
        """Let a channel send what it was given once this turn of the loop ends, in as few packets as hold it."""
        self._speaking.append(channel)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._will_flush:
            self._will_flush = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        speaking, self._speaking = self._speaking, []
        try:
            for channel in speaking:
                channel.speak()
            self.let_out()
        finally:
            self._will_flush = False
        # What the kernel did not take, the transport tells of once it has left.
        if self._transport and self.unsent() == 0:
            self.resume_writing()

    def let_out(self) -> None:
        """Give what was gathered to the kernel, and what it does not take to the transport."""
        if not _outbox.waiting(self):
            return
        leaving, sent = _outbox.empty(), 0
        transport: Any = self._transport
        if transport is None:
            return
        if not transport.get_write_buffer_size() and not transport.is_closing():
            try:
                sent = os.write(transport.get_extra_info("socket").fileno(), leaving)
            except OSError:
                sent = 0  # no room, or the transport finds out the same
        if sent < len(leaving):
            super()._send(bytes(leaving[sent:]))

    def _cleanup(self, exc: Exception | None) -> None:
        super()._cleanup(exc)
        self._left = b""
        self._heard.clear()
        self._speaking.clear()

    def _force_close(self, exc: Exception | None) -> None:
        """Let the last words leave, then close."""
        self._flush()
        super()._force_close(exc)


def _padding(size: int) -> int:
    """Return how many bytes fill what is sealed up to whole blocks: four at least (RFC 4253 section 6)."""
    padding = -size % _BLOCK_BYTES
    return padding if padding >= 4 else padding + _BLOCK_BYTES
