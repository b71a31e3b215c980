"""Ports for servers that tests start."""

from __future__ import annotations

import socket


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port on which nothing listens. It is kept for this run: nobody else is given it meanwhile.

    A socket stays bound to it that does not listen. Servers bind beside it, for all of them set SO_REUSEADDR. A port
    that was let go could be given to whoever connects or asks for a free one before the server is there.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind((host, 0))
    port: int = kept.getsockname()[1]
    kept.detach()  # it goes with the process
    return port
