"""The buyer's session of SFTP in a twin world: packets to an engine, or to a worker behind a real socket.

What comes back is kept whole: every byte of every packet as it is after decryption. Requests all bear one number, so
that two answers alike are alike to the byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import paramiko

from providers.drive import Drive
from providers.installation import Installation
from server.sftp.engine import Engine
from server.sftp.engine.wire import Type
from server.ssh import methods
from server.ssh.gate import NEW, NUMBER
from server.ssh.hostkeys import HostKeys
from server.ssh.worker import SshWorker
from tests.same.hands import run_exec
from tests.sftp.client import Door
from tests.ssh.doors import exactly
from tests.worlds import settings_for

_U32 = struct.Struct(">I")
REQUEST = _U32.pack(7)
GREETING = bytes((Type.INIT,)) + _U32.pack(3)
WAIT_SECONDS_MAX = 30.0


class Session(Protocol):
    """One session. A `packet` has no length before it."""

    def ask(self, packet: bytes) -> bytes:
        """Send a request; return the answer as it came."""
        ...

    def run(self, line: str, first: bytes = b"", given: Sequence[bytes] = ()) -> bytes:
        """Run a command beside it; say `first` at once, and of `given` one each time the server says 0."""
        ...

    def lose(self) -> None:
        """Lose the connection, and wait until the server has done what it does then."""
        ...


class EngineSession:
    """With an engine, and nothing between."""

    def __init__(self, drive: Drive, clock: Callable[[], float]) -> None:
        self._drive = drive
        self._door = Door()
        self._engine = Engine(drive, self._door, clock=clock)

    def ask(self, packet: bytes) -> bytes:
        """Ask."""
        self._engine.receive(_U32.pack(len(packet)) + packet)
        self._door.run()
        answer = self._door.taken()
        assert answer, "the session ended"
        return answer

    def run(self, line: str, first: bytes = b"", given: Sequence[bytes] = ()) -> bytes:
        """Run."""
        ran = run_exec(self._drive, line, first, given)
        return b"%d %s %s" % (ran.status, ran.out, ran.err.encode())

    def lose(self) -> None:
        """Lose."""
        self._engine.lost()
        self._door.run()


class SshSession:
    """Over a socket, signed in with a password. `settled` tells whether nothing is left to do for who is gone."""

    def __init__(self, sock: socket.socket, login: str, password: str, settled: Callable[[], bool]) -> None:
        self._settled = settled
        self._transport = paramiko.Transport(sock)
        self._transport.connect(username=login, password=password)
        self._channel = self._transport.open_session()
        self._channel.settimeout(WAIT_SECONDS_MAX)
        self._channel.invoke_subsystem("sftp")

    def ask(self, packet: bytes) -> bytes:
        """Ask."""
        self._channel.sendall(_U32.pack(len(packet)) + packet)
        head = exactly(self._channel, 4)
        return head + exactly(self._channel, _U32.unpack(head)[0])

    def run(self, line: str, first: bytes = b"", given: Sequence[bytes] = ()) -> bytes:
        """Run."""
        channel, waiting = self._transport.open_session(), list(given)
        channel.settimeout(WAIT_SECONDS_MAX)
        channel.exec_command(line)
        with contextlib.suppress(OSError):  # it may have ended already
            channel.sendall(first)
        out = b""
        while piece := channel.recv(65536):
            out += piece
            if piece == b"\0" and waiting:
                channel.sendall(waiting.pop(0))
            elif given:
                channel.shutdown_write()
        status = channel.recv_exit_status()
        told = b"".join(iter(lambda: channel.recv_stderr(65536), b""))
        return b"%d %s %s" % (status, out, told.rstrip())

    def lose(self) -> None:
        """Lose."""
        self._transport.close()
        until = time.monotonic() + WAIT_SECONDS_MAX
        while not self._settled():
            assert time.monotonic() < until
            time.sleep(0.01)


class Worker:
    """A worker of SFTP in this process, and a gate that does no more than hand it sockets."""

    def __init__(self, installation: Installation) -> None:
        settings = settings_for(installation.folder, **{"sftp.enabled": True})
        methods.install()
        HostKeys(installation.folder, installation.keyring.installation().general).make_missing()
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._worker = SshWorker(installation, settings, theirs)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._worker.run(self._stop)), daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._theirs = theirs
        self._number = 0

    @contextmanager
    def open(self) -> Iterator[Worker]:
        """Serve meanwhile."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(WAIT_SECONDS_MAX)
            for each in (self._line, self._theirs, self._listener):
                each.close()

    def connect(self, login: str, password: str) -> SshSession:
        """Sign in."""
        ours = socket.create_connection(self._listener.getsockname())
        accepted, _ = self._listener.accept()
        self._number += 1
        socket.send_fds(self._line, [NUMBER.pack(NEW, self._number)], [accepted.fileno()])
        accepted.close()
        return SshSession(ours, login, password, self._is_settled)

    def _is_settled(self) -> bool:
        worker: Any = self._worker
        return not worker._visitors and worker.jobs.are_done
