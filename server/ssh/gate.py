"""The gate: one thread that accepts connections and hands each to the worker that has fewest.

Listening sockets shared by several processes spread by hash, so that of eight clients most may meet on one of two
workers; a connection costs a worker one core at most, so it is the count that should be even. Being one, the gate also
holds the caps: of strangers, altogether and of one address, it cuts the eldest, since whoever means to sign in does so
at once (the address that has most goes first, and who has come as far as asking to sign in counts as just come); of
connections altogether it takes no more.

Gate and worker speak in packets on a pair of sockets: the gate sends a connection with its number, or `K` and a number
to cut it; the worker sends `R` and zero once it serves, `P` and number for one that asks to sign in, `A`, number and
person for one that signed in, `C` and number for one that is gone.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import selectors
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from config.addresses import parsed
from config.logging import get_log
from config.settings import Settings

NUMBER = struct.Struct(">cQ")
NEW, CUT, READY, ASKING, SIGNED_IN, GONE = b"N", b"K", b"R", b"P", b"A", b"C"
MESSAGE_BYTES_MAX: Final = 64
_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_SECONDS: Final = 0.1
_log = get_log("gate")


@dataclass
class _Worker:
    line: socket.socket
    numbers: set[int] = field(default_factory=set)
    #: Whom it was not told to cut yet, for its end of the line is full.
    uncut: deque[int] = field(default_factory=deque)
    #: Whether it serves. One that takes the place of another takes a while to begin.
    is_ready: bool = False


@dataclass
class _Known:
    worker: _Worker
    network: bytes
    person: bytes | None = None


class Gate:
    """Accepts on `listener` until closed. `attach` may be called from any thread."""

    def __init__(self, listener: socket.socket, settings: Settings) -> None:
        self._listener = listener
        self._settings = settings.sftp
        self._ipv6_bits = settings.throttle.network_ipv6_bits
        self._guard = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Worker] = []
        self._known: dict[int, _Known] = {}
        self._strangers: dict[bytes, dict[int, None]] = {}
        self._strangers_count = 0
        self._of_person: dict[bytes, int] = {}
        self._next = 0
        self._is_accepting = False
        self._waiting: tuple[socket.socket, bytes] | None = None
        self._wake_here, self._wake_there = socket.socketpair()
        self._is_closed = False
        listener.setblocking(False)
        self._selector.register(self._wake_here, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)
        self._thread.start()

    def attach(self) -> socket.socket:
        """Return the worker's end of a new line. It counts as gone once that is closed."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with self._guard:
            worker = _Worker(ours)
            self._workers.append(worker)
            self._selector.register(ours, selectors.EVENT_READ, worker)
            self._hand_over_waiting()
        self._wake_there.send(b"\0")
        return theirs

    def close(self) -> None:
        """Accept no more. Workers keep what they have."""
        with self._guard:
            self._is_closed = True
        self._wake_there.send(b"\0")
        self._thread.join()
        self._listener.close()

    # --- in the thread

    def _run(self) -> None:
        while True:
            is_behind = self._waiting is not None or any(each.uncut for each in self._workers)
            ready = self._selector.select(_PAUSE_SECONDS if is_behind else None)
            with self._guard:
                if self._is_closed:
                    break
                for each in self._workers:
                    self._cut_on(each)
                self._hand_over_waiting()
                for key, _ in ready:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data is None:
                        self._wake_here.recv(4096)
                    else:
                        self._hear(key.data)
        with self._guard:
            self._selector.close()
            for worker in self._workers:
                worker.line.close()
            if self._waiting is not None:
                self._waiting[0].close()
            self._wake_here.close()
            self._wake_there.close()

    def _accept_if_any(self) -> None:
        """Accept while there is somebody to hand a connection to; else they wait in the kernel."""
        wanted = bool(self._workers) and self._waiting is None
        if wanted and not self._is_accepting:
            self._selector.register(self._listener, selectors.EVENT_READ, None)
        elif not wanted and self._is_accepting:
            self._selector.unregister(self._listener)
        self._is_accepting = wanted

    def _accept(self) -> None:
        try:
            connection, address = self._listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF_DESCRIPTORS:
                _log.error("cannot_accept", error)
                threading.Event().wait(_PAUSE_SECONDS)
            return
        if len(self._known) >= self._settings.connections_max:
            _log.warning("too_many_connections", connections=len(self._known))
            connection.close()
            return
        network = self._network(str(address[0]))
        self._make_room(network)
        self._waiting = connection, network
        self._hand_over_waiting()

    def _hand_over_waiting(self) -> None:
        """Hand over what was accepted last. Where nobody takes it, workers being behind or dead, nothing more is
        accepted until somebody does.
        """
        if self._waiting is not None and self._hand_over(*self._waiting):
            self._waiting[0].close()
            self._waiting = None
        self._accept_if_any()

    def _hand_over(self, connection: socket.socket, network: bytes) -> bool:
        for worker in sorted(self._workers, key=lambda each: (not each.is_ready, len(each.numbers))):
            if not self._cut_on(worker):
                continue
            self._next += 1
            try:
                socket.send_fds(worker.line, [NUMBER.pack(NEW, self._next)], [connection.fileno()])
            except BlockingIOError:
                continue  # it does not read; another may
            except OSError:
                self._lose(worker)
                continue
            worker.numbers.add(self._next)
            self._known[self._next] = _Known(worker, network)
            self._strangers.setdefault(network, {})[self._next] = None
            self._strangers_count += 1
            return True
        return False

    def _make_room(self, network: bytes) -> None:
        """Cut the eldest stranger, of the same address or of the one that has most, if there are too many."""
        while len(here := self._strangers.get(network, {})) >= self._settings.strangers_per_address_max:
            self._cut_stranger(here)
        while self._strangers_count >= self._settings.strangers_max:
            self._cut_stranger(max(self._strangers.values(), key=len))

    def _cut_stranger(self, of_address: dict[int, None]) -> None:
        _log.warning("stranger_cut", of_its_address=len(of_address), of_all=self._strangers_count)
        self._cut(next(iter(of_address)))

    def _cut(self, number: int) -> None:
        known = self._known[number]
        if known.person is None:
            self._no_stranger(number, known)
        known.worker.uncut.append(number)
        self._cut_on(known.worker)

    @staticmethod
    def _cut_on(worker: _Worker) -> bool:
        """Tell a worker whom to cut; False if it is behind. Nobody more is handed to it then: who comes faster than it
        cuts would fill it, with strangers that are not counted as such.
        """
        with contextlib.suppress(OSError):
            while worker.uncut:
                worker.line.send(NUMBER.pack(CUT, worker.uncut[0]))
                worker.uncut.popleft()
        return not worker.uncut

    def _no_stranger(self, number: int, known: _Known) -> None:
        here = self._strangers.get(known.network, {})
        if number in here:
            del here[number]
            self._strangers_count -= 1
            if not here:
                del self._strangers[known.network]

    def _hear(self, worker: _Worker) -> None:
        """Take what a worker has to say."""
        try:
            message = worker.line.recv(MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if len(message) < NUMBER.size:
            self._lose(worker)
            return
        what, number = NUMBER.unpack_from(message)
        worker.is_ready |= what == READY
        known = self._known.get(number)
        if known is None:
            return
        if what == GONE:
            self._forget(number, known)
        elif what == ASKING and number in self._strangers.get(known.network, ()):
            here = self._strangers.pop(known.network)
            here[number] = here.pop(number)
            self._strangers[known.network] = here
        elif what == SIGNED_IN and known.person is None:
            self._no_stranger(number, known)
            known.person = message[NUMBER.size :]
            count = self._of_person.get(known.person, 0) + 1
            self._of_person[known.person] = count
            if count > self._settings.connections_per_person_max:
                _log.warning("person_cut", person=known.person, of_person=count)
                self._cut(number)

    def _forget(self, number: int, known: _Known) -> None:
        self._no_stranger(number, known)
        known.worker.numbers.discard(number)
        del self._known[number]
        if known.person is not None:
            left = self._of_person.get(known.person, 0) - 1
            if left > 0:
                self._of_person[known.person] = left
            else:
                self._of_person.pop(known.person, None)

    def _lose(self, worker: _Worker) -> None:
        """A worker is gone, and with it its connections."""
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        self._selector.unregister(worker.line)
        worker.line.close()
        for number in list(worker.numbers):
            self._forget(number, self._known[number])
        self._accept_if_any()

    def _network(self, address: str) -> bytes:
        found = parsed(address)
        if isinstance(found, ipaddress.IPv6Address):
            return ipaddress.ip_network((found, self._ipv6_bits), strict=False).network_address.packed
        return found.packed if found is not None else b""
