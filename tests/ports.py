"""Ports for servers that tests start."""

from __future__ import annotations

import socket
import threading

_guard = threading.Lock()
_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port on which nothing listens, and which this run was not given before."""
    with _guard:
        while True:
            with socket.socket() as probe:
                probe.bind((host, 0))
                port: int = probe.getsockname()[1]
            if port not in _given:
                _given.add(port)
                return port
