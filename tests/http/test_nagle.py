"""Clients whose system gathers small packets: the second waits for the first to be acknowledged, at once here."""

from __future__ import annotations

import socket
import time

import pytest

from tests.http.fronts import Echo, Wire, front, settings_with

#: The kernel acknowledges after 40 ms what nothing is answered to.
DELAYED_SECONDS = 0.035
ROUNDS = 12


def gathers(wire: Wire) -> bool:
    return wire.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0


@pytest.mark.parametrize("cut", ["between head and body", "in the head", "in the body"])
def test_a_request_in_two_packets_is_answered_at_once(cut: str) -> None:
    head, body = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 300\r\n\r\n", b"x" * 300
    at = {"between head and body": len(head), "in the head": 20, "in the body": len(head) + 100}[cut]
    took = []
    with front(Echo(), settings_with()) as address, Wire(address) as wire:
        assert gathers(wire)
        for _ in range(ROUNDS):
            began = time.monotonic()
            wire.send((head + body)[:at])
            wire.send((head + body)[at:])
            assert wire.answer()[2] == body
            took.append(time.monotonic() - began)
    # The first few are acknowledged at once by any kernel; a busy machine may hold up some.
    assert sorted(took)[ROUNDS // 2] < DELAYED_SECONDS, took
