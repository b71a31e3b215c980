"""A network that breaks where it is told to: a proxy in front of the door of SFTP that counts what a client sends."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tests.ssh.doors import Door

How = Literal["ended", "reset", "client killed", "worker killed"]
#: How long after the last byte a worker is killed, at most: it may be anywhere with it.
KILLED_WITHIN_SECONDS = 0.05


@dataclass
class Break:
    """What happens once a client has sent `at` bytes. `client`: the process to be killed, set once it runs."""

    at: int
    how: How
    client: subprocess.Popen[str] | None = None


class Proxy:
    """Forwards connections; `sent` counts what the last one's client sent. One at a time is broken."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.sent = 0
        self.broken = threading.Event()
        self._break: Break | None = None
        self._random = random.Random(4)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._listener.close()

    def break_next(self, at: int, how: How) -> Break:
        """Break the next connection."""
        self.broken.clear()
        self._break = Break(at, how)
        return self._break

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            planned, self._break = self._break, None
            self.sent = 0
            threading.Thread(target=self._carry, args=(client, planned), daemon=True).start()

    def _carry(self, client: socket.socket, planned: Break | None) -> None:
        with client, socket.create_connection((self._door.host, self._door.port), 20) as server:
            with contextlib.suppress(OSError):
                while True:
                    ready, _, _ = select.select([client, server], [], [], 60)
                    if not ready:
                        return
                    if server in ready:
                        data = server.recv(65536)
                        client.sendall(data)
                        if not data:
                            return
                    if client in ready and not self._forward(client, server, planned):
                        return

    def _forward(self, client: socket.socket, server: socket.socket, planned: Break | None) -> bool:
        left = 65536 if planned is None else min(65536, planned.at - self.sent)
        data = client.recv(left)
        server.sendall(data)
        self.sent += len(data)
        if planned is None or self.sent < planned.at:
            return bool(data)
        self._happen(planned, client, server)
        self.broken.set()
        return False

    def _happen(self, planned: Break, client: socket.socket, server: socket.socket) -> None:
        if planned.how == "ended":
            # Closed with answers unread, it would be reset.
            server.shutdown(socket.SHUT_WR)
            while server.recv(65536):
                pass
        elif planned.how == "reset":
            for each in (client, server):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif planned.how == "client killed":
            assert planned.client is not None
            planned.client.kill()
            planned.client.wait()
        elif planned.how == "worker killed":
            pid = serving(self._door, server.getsockname()[1])
            time.sleep(self._random.random() * KILLED_WITHIN_SECONDS)
            self._door.server.kill(pid)
            until(lambda: not Path(f"/proc/{pid}/fd").exists() or not os.listdir(f"/proc/{pid}/fd"))


def serving(door: Door, port: int) -> int:
    """Return the worker that holds the connection from a port of this machine."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        ends = f"{_hex(door.port)} {_hex(port)} "
        inodes = {
            f"socket:[{fields[9]}]"
            for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
            if f"{fields[1][-4:]} {fields[2][-4:]} " == ends
        }
        for pid in door.workers():
            with contextlib.suppress(OSError):
                if any(os.readlink(each) in inodes for each in Path(f"/proc/{pid}/fd").iterdir()):
                    return pid
        time.sleep(0.02)
    raise AssertionError("no worker has the connection")


def _hex(port: int) -> str:
    return f"{port:04X}"


@contextmanager
def cutting(door: Door, folder: Path) -> Iterator[tuple[Proxy, Door]]:
    """Return a proxy, and the door as it is seen through it."""
    proxy = Proxy(door)
    folder.mkdir()
    server = replace(door.server, sftp_url=f"sftp://127.0.0.1:{proxy.port}")
    try:
        yield proxy, Door(server, folder, door.keys)
    finally:
        proxy.close()


def until(found: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Wait for something to be so; return whether it came to be."""
    limit = time.monotonic() + seconds
    while not found():
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True
