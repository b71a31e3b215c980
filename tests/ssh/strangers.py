"""Strangers at the door of SFTP, run as a program of its own: so many connections that never sign in, kept up.

    python -P strangers.py HOST PORT COUNT ADDRESSES PER_SECOND

Half say nothing, half greet and stop there. What the server ends is begun anew, at most so many a second. Prints a line
once all were begun; ends when its input does, with how many connections it has made in all.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import time

GREETING = b"SSH-2.0-crowd\r\n"
STEP_SECONDS = 0.02


class Strangers:
    """The crowd. `made` counts all connections, those that were ended included."""

    def __init__(self, host: str, port: int, count: int, addresses: int) -> None:
        self._to = host, port
        self._count = count
        self._addresses = addresses
        self._selector = selectors.DefaultSelector()
        self._open = self.made = 0

    def run(self, per_second: float) -> None:
        """Keep up the crowd until there is nothing more to read."""
        self._selector.register(sys.stdin, selectors.EVENT_READ, "input")
        started, has_told = time.monotonic(), False
        while True:
            for key, _ in self._selector.select(STEP_SECONDS):
                if key.data == "input":
                    return
                self._hear(key.fileobj)  # type: ignore[arg-type]
            due = int((time.monotonic() - started) * per_second)
            while self._open < self._count and self.made < due:
                self._begin()
            if not has_told and self.made >= self._count:
                print("begun", flush=True)
                has_told = True

    def _begin(self) -> None:
        number = self.made % self._addresses
        self.made += 1
        try:
            made = socket.create_connection(self._to, 20, (f"127.1.{number // 250}.{1 + number % 250}", 0))
        except OSError:
            return
        made.setblocking(False)
        if self.made % 2:
            made.send(GREETING)
        self._selector.register(made, selectors.EVENT_READ, None)
        self._open += 1

    def _hear(self, each: socket.socket) -> None:
        try:
            if each.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._selector.unregister(each)
        each.close()
        self._open -= 1


if __name__ == "__main__":
    os.nice(1)  # it stands for others' machines
    crowd = Strangers(sys.argv[1], *map(int, sys.argv[2:5]))
    crowd.run(float(sys.argv[5]))
    print(crowd.made, flush=True)
