"""A channel as a thread sees it: reading waits for the client, writing waits while it takes nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from server.sftp.engine.door import Buffer

BUFFERED_BYTES_MAX = 1 << 20
WAIT_SECONDS_MAX = 3600.0


class Gone(Exception):
    """The channel is gone: nobody can be told anything."""


class CutOff(Exception):
    """What the client sends ends in the middle, or makes no sense, or one side stands still for too long.

    The channel is there still, and must be closed.
    """


class Pipe:
    """Bytes both ways, between the loop and one thread. `unsent` tells what has not left."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chan: Any, unsent: Callable[[], int]) -> None:
        self._loop = loop
        self._chan = chan
        self._unsent = unsent
        self._changed = threading.Condition()
        self._buffer = bytearray()
        self._is_paused = self._is_ended = self._is_lost = False
        self._on_the_way = 0
        self._may_write = True

    # --- called in the loop

    def feed(self, data: Buffer) -> None:
        """Take bytes from the client."""
        with self._changed:
            self._buffer += data
            if len(self._buffer) > BUFFERED_BYTES_MAX and not self._is_paused:
                self._is_paused = True
                self._chan.pause_reading()
            self._changed.notify_all()

    def feed_end(self) -> None:
        """The client sends no more."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def lost(self) -> None:
        """The channel is gone."""
        with self._changed:
            self._is_lost = True
            self._changed.notify_all()

    def drained(self) -> None:
        """The client takes more."""
        if not self._may_write:
            with self._changed:
                self._may_write = True
                self._changed.notify_all()

    def _send(self, data: bytes) -> None:
        with self._changed:
            self._on_the_way -= len(data)
            self._changed.notify_all()
            if self._is_lost:
                return
            self._chan.write(data)
            self._may_write = self._unsent() <= BUFFERED_BYTES_MAX

    def _resume_reading(self) -> None:
        if not self._is_lost:
            self._chan.resume_reading()

    # --- called in the thread

    def read(self, most: int) -> bytes:
        """Return from 1 to `most` bytes, none at the end. Raises Gone, CutOff."""
        with self._changed:
            self._wait_for_input(lambda: bool(self._buffer) or self._is_ended)
            found = bytes(self._buffer[:most])
            del self._buffer[:most]
            self._go_on()
            return found

    def line(self, most: int) -> bytes | None:
        """Return a line without its end, None at the end. Raises Gone, and CutOff for one longer than `most` bytes or
        without an end.
        """
        with self._changed:
            self._wait_for_input(lambda: b"\n" in self._buffer or self._is_ended or len(self._buffer) > most)
            if not self._buffer:
                return None
            found, newline, _ = bytes(self._buffer[: most + 1]).partition(b"\n")
            if not newline:
                raise CutOff
            del self._buffer[: len(found) + len(newline)]
            self._go_on()
            return found

    def write(self, data: bytes) -> None:
        """Send bytes, waiting while the client takes none. Raises Gone, CutOff."""
        with self._changed:
            self._wait_for_room()
            self._on_the_way += len(data)
        self._loop.call_soon_threadsafe(self._send, data)

    def then(self, last: Callable[[], None]) -> None:
        """Let the loop do something once all that was written has been queued."""
        self._loop.call_soon_threadsafe(last)

    def _wait_for_input(self, has_come: Callable[[], bool]) -> None:
        """Wait for what the client says. What it said before it went counts still: some say all, and go."""
        self._wait(has_come)
        if not has_come():
            raise Gone

    def _wait_for_room(self) -> None:
        self._wait(lambda: self._may_write and self._on_the_way < BUFFERED_BYTES_MAX)
        if self._is_lost:
            raise Gone

    def _wait(self, condition: Callable[[], bool]) -> None:
        if not self._changed.wait_for(lambda: self._is_lost or condition(), WAIT_SECONDS_MAX):
            raise CutOff

    def _go_on(self) -> None:
        if self._is_paused and len(self._buffer) < BUFFERED_BYTES_MAX // 2:
            self._is_paused = False
            self._loop.call_soon_threadsafe(self._resume_reading)
