"""What systemd is told of the supervisor's state: one datagram each, as sd_notify(3) has it."""

from __future__ import annotations

import os
import socket

from config.logging import get_log

READY, STOPPING = "READY=1", "STOPPING=1"
_log = get_log("supervisor")


def tell(state: str) -> None:
    """Tell systemd, where it asked to be told (`Type=notify`); else do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = f"\0{address[1:]}"  # of the abstract names of Linux
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(state.encode("ascii"), address)
    except OSError as error:
        _log.warning("systemd_not_told", error=error)
