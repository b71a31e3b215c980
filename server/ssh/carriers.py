"""The channels that carry sessions, beneath what `server.sftp.channel` makes of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from asyncssh.channel import SSHServerChannel
from asyncssh.packet import SSHPacket, UInt32

WINDOW_ADJUST: Final = 93
#: A longer packet is not made, whatever a client says that it takes.
_DATA_BYTES_MAX: Final = 128 << 10
#: The window is opened again each time so much came; OpenSSH does so every 96 KiB. By halves, as asyncssh does, half of
#: it is of no use to a client that is far away: it waits for us.
_RENEWED_BYTES: Final = 256 << 10


class Carrier(SSHServerChannel[bytes]):
    """A channel that keeps nothing of what a client says about itself, and lets it send on in time."""

    def _deliver_data(self, data: bytes, datatype: int | None) -> None:
        """Give to the session what came."""
        self._open_window()
        super()._deliver_data(data, datatype)

    def _open_window(self) -> None:
        used = self._init_recv_window - self._recv_window
        if used >= _RENEWED_BYTES:
            self._recv_window = self._init_recv_window
            self.send_packet(WINDOW_ADJUST, UInt32(used))

    def _process_env_request(self, packet: SSHPacket) -> bool:
        """Forget a variable of the client's environment: nothing here has one. Each may be as long as a packet."""
        packet.get_string()
        packet.get_string()
        packet.check_end()
        return True


class FastChannel(Carrier):
    """A channel that gives data on as it comes, and sends from the buffers it was handed."""

    def __init__(self, *arguments: Any) -> None:
        self._arrived: list[memoryview] = []
        self._pieces: deque[memoryview] = deque()
        self._is_speaking = False
        super().__init__(*arguments)

    def take(self, data: memoryview) -> bool:
        """Keep data until it is delivered, or while the session takes none; return whether it is the first."""
        self._recv_window -= len(data)
        if self._recv_paused:
            self._recv_buf.append((data, None))  # type: ignore[arg-type]
            return False
        self._arrived.append(data)
        return len(self._arrived) == 1

    def deliver(self) -> None:
        """Give to the session what came."""
        arrived, self._arrived = self._arrived, []
        self._open_window()
        session: Any = self._session
        if session is not None:
            session.pieces_received(arrived)

    def _flush_recv_buf(self, exc: Exception | None = None) -> None:
        """Go on, all at once, with what came while the session took nothing."""
        if self._recv_buf and not self._recv_paused:
            held, self._recv_buf = self._recv_buf, []
            self._arrived += [memoryview(data) for data, _ in held]
            self.deliver()
        super()._flush_recv_buf(exc)

    def write_parts(self, parts: Sequence[Any]) -> None:
        """Queue data for the client. The buffers must not change any more."""
        if self._send_state != "open":
            return
        for part in parts:
            view = memoryview(part).cast("B")
            if len(view):
                self._pieces.append(view)
                self._send_buf_len += len(view)
        connection: Any = self._conn
        if not self._is_speaking and connection is not None:
            self._is_speaking = True
            connection.speak(self)

    def speak(self) -> None:
        """Send what was queued, as far as the client's window is open."""
        self._is_speaking = False
        if self._conn is not None:
            self._flush_send_buf()

    def send_packet(self, pkttype: int, *args: bytes) -> None:
        """Send a packet of another kind; what was queued before it leaves before it."""
        if self._pieces and pkttype != WINDOW_ADJUST:
            self._flush_send_buf()
        super().send_packet(pkttype, *args)

    def _flush_send_buf(self) -> None:
        connection: Any = self._conn
        while self._pieces and self._send_window and connection is not None and self._send_chan is not None:
            most = min(self._send_window, self._send_pktsize, _DATA_BYTES_MAX)
            pieces, size = self._next(most)
            self._send_buf_len -= size
            self._send_window -= size
            connection.send_data(self._send_chan, pieces, size)
        if self._pieces:
            self._pause_resume_writing()
        else:
            super()._flush_send_buf()

    def _next(self, most: int) -> tuple[list[memoryview], int]:
        """Return what the next packet carries."""
        found, size = [], 0
        while self._pieces and size < most:
            piece = self._pieces[0]
            room = most - size
            if len(piece) > room:
                found.append(piece[:room])
                self._pieces[0] = piece[room:]
                size += room
            else:
                found.append(self._pieces.popleft())
                size += len(piece)
        return found, size

    def _close_send(self) -> None:
        self._pieces.clear()
        super()._close_send()
