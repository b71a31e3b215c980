"""Bytes on one socket. The socket never blocks; who must wait, waits here, in slices, with an eye on the clock.

A *pulse* is called at most once a second while bytes move or are waited for; what it raises ends the exchange. That is
how a revoked credential cuts a stream.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Protocol

from server.http.parser import HEAD_END, Refused, refuse_early
from server.quickack import acknowledge

BUFFER_BYTES = 64 * 1024
#: What a connection keeps that has sent the beginning of a head and waits without a thread.
RESTING_BYTES = 4 * 1024
JOIN_BYTES_MAX = 64 * 1024
PULSE_SECONDS = 1.0
#: What is on its way comes within this: the thread is not yet counted among those that wait for a client.
FORBEARANCE_MILLISECONDS = 1
#: A body may be slow, not still: beside the idle time allowed once, this many bytes must come or go a second.
RATE_BYTES_MIN = 500

_NOTHING = memoryview(b"")
#: Since when a client counts as silent that has its answer.
_FIRST_TO_GO = 0.0


class ClientGone(ConnectionAbortedError):
    """The client closed the connection before its request was whole, or took no more of the answer."""


class TooSlow(TimeoutError):
    """The client sent or took nothing, or next to nothing, for longer than the settings allow."""


class Waiting(Protocol):
    """Counts the threads that wait for clients, and says when one more must not."""

    def begin_waiting(self, owner: bytes, since: float) -> bool:
        """Count one that waits for a client of `owner`, silent `since` then; False if it must not."""
        ...

    def end_waiting(self, owner: bytes, since: float) -> None:
        """Count one that goes on."""
        ...


class Channel:
    """One client's socket: buffered reading, unbuffered writing, patience measured.

    Args:
        sock: connected; made non-blocking here.
        idle_seconds: how long a client may send or take nothing in the middle of a request.
        waiting: told when a thread begins to wait for this client, and when it goes on.
    """

    __slots__ = (
        "_buffer", "_end", "_idle_seconds", "_is_tls", "_latest", "_next_pulse", "_poll", "_start", "_view", "_waited",
        "_waiting", "bytes_in", "bytes_out", "owner", "pulse", "sock",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, idle_seconds: float, waiting: Waiting) -> None:
        self.sock = sock
        #: Whose request is being served, once that is known: who signed in.
        self.owner = b""
        self.pulse: Callable[[], None] | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self._idle_seconds = idle_seconds
        self._waiting = waiting
        self._is_tls = isinstance(sock, ssl.SSLSocket)
        self._buffer = bytearray()
        self._view = _NOTHING
        self._start = self._end = 0
        self._next_pulse = 0.0
        self._waited = 0.0
        self._latest = math.inf
        self._poll: select.poll | None = None
        sock.setblocking(False)

    # Reading

    def read_head(self, limit: int) -> bytes | None:
        """Return the next head without its empty line, or None if it is not whole yet. Never waits.

        Raises Refused if it is longer than `limit` bytes or cannot become a head, ClientGone at the end of input.
        """
        self._make_room()
        scanned = 0  # of what is held, which may come to lie elsewhere in the buffer
        while True:
            held = self._end - self._start
            if held:
                end = self._buffer.find(HEAD_END, self._start + scanned, self._end)
                if end >= 0:
                    return self._take_head(end, limit)
                if held > limit:
                    has_line = self._buffer.find(b"\r\n", self._start, self._end) >= 0
                    raise Refused("431 Request Header Fields Too Large" if has_line else "414 URI Too Long")
                scanned = max(0, held - 3)
            count = self._receive(self._room() if self._end else self._view)
            if count is None:
                if held:
                    refuse_early(self._buffer[self._start : self._end])
                    acknowledge(self.sock)
                return None
            if count == 0:
                raise ClientGone
            self._end += count

    def _take_head(self, end: int, limit: int) -> bytes:
        head = bytes(self._view[self._start : end])
        self._start = end + len(HEAD_END)
        if len(head) > limit:
            raise Refused("431 Request Header Fields Too Large")
        return head

    def skip_empty_line(self) -> None:
        """Forget one empty line before a head (RFC 9112 2.2)."""
        if self._buffer.startswith(b"\r\n", self._start, self._end):
            self._start += 2

    def read_into(self, view: memoryview) -> int:
        """Fill `view` with at least one byte, waiting if need be; return how many. 0 at the end of input."""
        held = self._end - self._start
        if held:
            count = min(held, len(view))
            view[:count] = self._view[self._start : self._start + count]
            self._start += count
            return count
        while True:
            received = self._receive(view)
            if received is not None:
                if self.pulse is not None:
                    self._beat()
                return received
            self._wait(select.POLLIN)

    def read_line(self, limit: int) -> bytes:
        """Return the next line without CRLF, waiting if need be. Raises Refused if it is longer, or ends otherwise."""
        self._make_room()
        while True:
            end = self._buffer.find(b"\n", self._start, self._end)
            if end >= 0:
                line = bytes(self._view[self._start : end])
                self._start = end + 1
                if line[-1:] != b"\r" or len(line) > limit:
                    raise Refused("400 Bad Request")
                return line[:-1]
            if self._end - self._start > limit:
                raise Refused("400 Bad Request")
            count = self._receive(self._room())
            if count is None:
                self._wait(select.POLLIN)
            elif count == 0:
                raise ClientGone
            else:
                self._end += count

    def begin(self) -> None:
        """Start the clock of patience for a request."""
        self._waited = 0.0
        self._latest = math.inf
        self.owner = b""
        self.bytes_in, self.bytes_out = self._end - self._start, 0
        self._next_pulse = 0.0

    def hurry(self, seconds: float) -> None:
        """From now on, wait no longer than this in all, whatever comes."""
        self._latest = time.monotonic() + seconds

    @property
    def has_input(self) -> bool:
        """Whether bytes are held that nobody has read; the socket does not tell of those."""
        return self._end > self._start or (self._is_tls and self.sock.pending() > 0)  # type: ignore[attr-defined]

    # Writing

    def send(self, head: bytes, body: bytes | memoryview) -> None:
        """Send both, waiting for the client to take them. Small ones leave together."""
        if head and len(body) <= JOIN_BYTES_MAX:
            self._send_all(b"".join((head, body)))
            return
        if head:
            self._send_all(head, socket.MSG_MORE)
        self._send_all(body)

    def _send_all(self, data: bytes | memoryview, flags: int = 0) -> None:
        while data:
            try:
                count = self.sock.send(data) if self._is_tls else self.sock.send(data, flags)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(select.POLLOUT)
                continue
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN)
                continue
            except (OSError, ValueError) as error:
                raise ClientGone from error
            self.bytes_out += count
            if self.pulse is not None:
                self._beat()
            if count == len(data):
                return
            data = memoryview(data)[count:]

    # The end

    def shut(self, linger_seconds: float = 0.0) -> None:
        """Say goodbye; with `linger_seconds`, take in what still comes, so that the answer is not lost to a reset."""
        try:
            if self._is_tls:
                self.sock.unwrap()  # type: ignore[attr-defined]
        except (OSError, ValueError):
            pass
        try:
            self.sock.shutdown(socket.SHUT_WR)
            until = time.monotonic() + linger_seconds
            while linger_seconds and (left := until - time.monotonic()) > 0:
                if not self._patient_poll(select.POLLIN, left, _FIRST_TO_GO) or not self.sock.recv(JOIN_BYTES_MAX):
                    break
        except (OSError, ValueError):
            pass

    def cut(self) -> None:
        """End the connection from another thread; whoever reads, writes or waits on it is woken by an error.

        The descriptor stays until its own thread closes it, so that it cannot become another's in between.
        """
        try:
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        """Let the socket go."""
        try:
            self.sock.close()
        except OSError:
            pass
        self.rest()

    # Within

    def _receive(self, view: memoryview) -> int | None:
        try:
            count = self.sock.recv_into(view)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except ssl.SSLWantWriteError:
            self._wait(select.POLLOUT)
            return None
        except (OSError, ValueError) as error:
            raise ClientGone from error
        self.bytes_in += count
        return count

    def _wait(self, event: int) -> None:
        """Wait until the socket is ready. Raises TooSlow, or what the pulse raises."""
        if event == select.POLLIN:
            acknowledge(self.sock)
        if self._poller(event).poll(FORBEARANCE_MILLISECONDS):
            return
        started = time.monotonic()
        moved = self.bytes_in + self.bytes_out
        allowed = min(self._idle_seconds, self._idle_seconds + moved / RATE_BYTES_MIN - self._waited)
        allowed = min(allowed, self._latest - started)
        while True:
            waited = time.monotonic() - started
            if waited >= allowed:
                raise TooSlow
            if self._patient_poll(event, min(PULSE_SECONDS, allowed - waited), started):
                break
            self._beat()
        self._waited += time.monotonic() - started

    def _patient_poll(self, event: int, seconds: float, since: float) -> bool:
        owner = self.owner
        if not self._waiting.begin_waiting(owner, since):
            raise TooSlow
        try:
            return bool(self._poller(event).poll(max(1, int(seconds * 1000))))
        finally:
            self._waiting.end_waiting(owner, since)

    def _poller(self, event: int) -> select.poll:
        if self._poll is None:
            self._poll = select.poll()
        self._poll.register(self.sock.fileno(), event)
        return self._poll

    def _beat(self) -> None:
        if self.pulse is None:
            return  # waited for, but not watched
        now = time.monotonic()
        if now >= self._next_pulse:
            if self._next_pulse:
                self.pulse()
            self._next_pulse = now + PULSE_SECONDS

    def _make_room(self) -> None:
        if not self._buffer:
            self._buffer = bytearray(BUFFER_BYTES)
            self._view = memoryview(self._buffer)
            self._start = self._end = 0
        elif self._start == self._end:
            self._start = self._end = 0

    def _room(self) -> memoryview:
        """Return where to receive into. Heads and lines are bounded well below the buffer, so there is room."""
        if self._end > len(self._buffer) // 2 and self._start:
            held = bytes(self._view[self._start : self._end])
            self._view[: len(held)] = held
            self._start, self._end = 0, len(held)
        if self._end == len(self._buffer):
            grown = bytearray(2 * len(self._buffer))
            grown[: self._end] = self._buffer
            self._buffer, self._view = grown, memoryview(grown)
        return self._view[self._end :]

    def rest(self) -> None:
        """Give the buffer back: an idle connection holds none, and one that holds a little keeps a little one."""
        held = self._view[self._start : self._end]
        if not held:
            self._buffer, self._view = bytearray(), _NOTHING
        elif len(held) <= RESTING_BYTES // 2 < len(self._buffer):
            self._buffer = bytearray(RESTING_BYTES)
            self._view = memoryview(self._buffer)
            self._view[: len(held)] = held
        else:
            return
        self._start, self._end = 0, len(held)
