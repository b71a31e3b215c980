"""Acknowledging at once what a client may wait to see acknowledged before it says more.

A client whose system gathers small packets (Nagle's algorithm, RFC 1122 4.2.3.4; on unless a program turns it off)
holds back the second of two until the first is acknowledged, and our kernel waits for up to 40 ms for an answer to
acknowledge it with (4.2.3.2). Where none comes before the second, both wait for nothing: head and body of a request,
say, or what ends a key exchange and what follows it.
"""

from __future__ import annotations

import socket
from contextlib import suppress


def acknowledge(sock: socket.socket) -> None:
    """Let the kernel acknowledge what has come. It goes back to its own ways by itself."""
    with suppress(OSError, AttributeError):  # the client has gone, or this system knows no such option
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
