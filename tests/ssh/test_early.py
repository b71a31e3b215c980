"""While a session begins, what nothing is answered to is acknowledged at once: a client may wait for that."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import Any

from tests.ssh.doors import Door

#: The kernel acknowledges after 40 ms what nothing is answered to.
DELAYED_SECONDS = 0.035
TIMES = 5
_UNACKED_AT = 24  # tcpi_unacked in struct tcp_info


def seconds_until_acknowledged(sock: Any) -> float:
    began = time.monotonic()
    while time.monotonic() - began < 5:
        (left,) = struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64), _UNACKED_AT)
        if not left:
            return time.monotonic() - began
    raise AssertionError("never acknowledged")


def test_what_nothing_is_answered_to_is_acknowledged_at_once(door: Door) -> None:
    async def speak() -> float:
        async with door.connect("anna", password=door.password("anna")) as connection:
            connection.send_debug("nothing is answered to this")
            await asyncio.sleep(0)
            return seconds_until_acknowledged(connection.get_extra_info("socket"))

    # A busy machine may hold up some, the kernel each of them.
    assert min(asyncio.run(speak()) for _ in range(TIMES)) < DELAYED_SECONDS
