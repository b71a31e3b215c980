"""The PROXY protocol: who is believed, what is malformed, and that nobody is left waiting."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

import pytest

from server.http import tls
from server.http.channel import ClientGone
from server.http.proxy_header import LINE_BYTES_MAX, REST_BYTES_MAX, SIGNATURE, ProxyHeader
from tests.http.fronts import Echo, Wire, front, settings_with

LOCAL = ("127.0.0.0/8",)
GET = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def binary(command: int, family: int, rest: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + bytes((command, family)) + (len(rest) if length is None else length).to_bytes(2, "big") + rest


V4 = socket.inet_aton("1.2.3.4") + socket.inet_aton("5.6.7.8") + (4711).to_bytes(2, "big") + (443).to_bytes(2, "big")
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") * 2 + (4711).to_bytes(2, "big") + (443).to_bytes(2, "big")
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:1.2.3.4") * 2 + V6[-4:]
FIELDS = b"\x04\x00\x03abc\x20\x00\x05\x01\0\0\0\0"

GOOD = {
    "v1 over IPv4": (b"PROXY TCP4 1.2.3.4 5.6.7.8 4711 443\r\n", "1.2.3.4"),
    "v1 over IPv6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n", "2001:db8::1"),
    "v1 longest": (
        b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
        ":".join(["ffff"] * 8),
    ),
    "v1 longest of all": (b"PROXY UNKNOWN " + b"x" * (LINE_BYTES_MAX - 16) + b"\r\n", "127.0.0.1"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v1 unknown with words": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
    "v2 over IPv4": (binary(0x21, 0x11, V4), "1.2.3.4"),
    "v2 over IPv6": (binary(0x21, 0x21, V6), "2001:db8::1"),
    "v2 over IPv4 mapped into IPv6": (binary(0x21, 0x21, MAPPED), "1.2.3.4"),
    "v2 with fields": (binary(0x21, 0x11, V4 + FIELDS), "1.2.3.4"),
    "v2 longest": (binary(0x21, 0x11, V4 + bytes(REST_BYTES_MAX - len(V4))), "1.2.3.4"),
    "v2 local": (binary(0x20, 0x00, b""), "127.0.0.1"),
    "v2 local with an address": (binary(0x20, 0x11, V4), "127.0.0.1"),
    "v2 unspecified": (binary(0x21, 0x00, FIELDS), "127.0.0.1"),
    "v2 unix": (binary(0x21, 0x31, bytes(216)), "127.0.0.1"),
}
MALFORMED = {
    "none": GET,
    "hello of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20),
    "v1 in lower case": b"proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    "v1 of another family": b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
    "v1 no address": b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
    "v1 no destination": b"PROXY TCP4 1.2.3.4 x 1 2\r\n",
    "v1 scope": b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
    "v1 port": b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n",
    "v1 signed port": b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
    "v1 two spaces": b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
    "v1 more words": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
    "v1 line feed alone": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n" + GET,
    "v1 without end": b"PROXY UNKNOWN " + b"x" * 200,
    "v1 too long": b"PROXY UNKNOWN " + b"x" * (LINE_BYTES_MAX - 15) + b"\r\n",
    "v1 udp": b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
    "v2 version": binary(0x31, 0x11, V4),
    "v2 command": binary(0x22, 0x11, V4),
    "v2 family": binary(0x21, 0x41, V4),
    "v2 datagrams": binary(0x21, 0x12, V4),
    "v2 too short": binary(0x21, 0x21, V4),
    "v2 too long": binary(0x21, 0x11, b"", REST_BYTES_MAX + 1),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_trusted_balancer_says_who_the_client_is(name: str) -> None:
    header, address_seen = GOOD[name]
    echo = Echo()
    with front(echo, settings_with(proxy_protocol_from=LOCAL)) as address, Wire(address) as wire:
        wire.send(header + GET)
        assert wire.answer()[0] == 200
    assert echo.seen[0]["REMOTE_ADDR"] == address_seen


def test_a_balancer_whose_network_was_written_as_mapped_addresses_was_refused() -> None:
    echo = Echo()
    with front(echo, settings_with(proxy_protocol_from=("::ffff:127.0.0.0/104",))) as address, Wire(address) as wire:
        wire.send(GOOD["v1 over IPv4"][0] + GET)
        assert wire.answer()[0] == 200
    assert echo.seen[0]["REMOTE_ADDR"] == GOOD["v1 over IPv4"][1]


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_header_ends_the_connection_without_an_answer(name: str) -> None:
    echo = Echo()
    with front(echo, settings_with(proxy_protocol_from=LOCAL)) as address, Wire(address) as wire:
        wire.send(MALFORMED[name] + GET)
        assert wire.is_closed()
    assert not echo.seen


@pytest.mark.parametrize("trusted", [(), ("10.0.0.0/8",)])
@pytest.mark.parametrize("header", [GOOD["v1 over IPv4"][0], GOOD["v2 over IPv4"][0]])
def test_nobody_else_is_believed_nor_made_to_send_one(trusted: tuple[str, ...], header: bytes) -> None:
    echo = Echo()
    with front(echo, settings_with(proxy_protocol_from=trusted)) as address:
        with Wire(address) as wire:
            wire.send(header + GET)
            assert wire.answer()[0] == 400
            assert wire.is_closed()
        assert not echo.seen
        with Wire(address) as wire:
            wire.send(GET)
            assert wire.answer()[0] == 200
    assert echo.seen[0]["REMOTE_ADDR"] == "127.0.0.1"


def test_a_header_that_does_not_end_in_time_ends_the_connection_and_is_in_nobodys_way() -> None:
    settings = settings_with(proxy_protocol_from=LOCAL, header_read_seconds_max=2, worker_threads=2)
    with front(Echo(), settings) as address:
        slow = [Wire(address) for _ in range(20)]
        for wire in slow:
            wire.send(SIGNATURE[:5])
        with Wire(address) as wire:
            wire.send(GOOD["v2 over IPv4"][0] + GET)
            assert wire.answer()[0] == 200
        began = time.monotonic()
        assert all(wire.is_closed() for wire in slow)
        assert time.monotonic() - began < 12
        for wire in slow:
            wire.sock.close()


def test_who_hangs_up_within_the_header_is_gone_and_not_read_on_and_on() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(SIGNATURE[:5])
        theirs.close()
        with pytest.raises(ClientGone):
            ProxyHeader().is_whole(ours)


def test_nor_does_one_that_drips() -> None:
    settings = settings_with(proxy_protocol_from=LOCAL, header_read_seconds_max=1)
    with front(Echo(), settings) as address, Wire(address) as wire:
        wire.send(b"PROXY UNKNOWN ")
        assert 0.5 < wire.drip(0.15) < 5


@pytest.mark.parametrize("name", ["v1 over IPv4", "v2 over IPv6"])
def test_the_header_comes_before_tls_even_byte_by_byte(tmp_path: Path, name: str) -> None:
    header, address_seen = GOOD[name]
    made = tls.self_signed(tmp_path / "tls", "127.0.0.1")
    client = ssl.create_default_context(cafile=str(made[0]))
    echo = Echo()
    settings = settings_with(proxy_protocol_from=LOCAL)
    with front(echo, settings, tls.context(tls.read(*made))) as address:
        with socket.create_connection(address, timeout=15) as plain:
            for byte in header:
                plain.send(bytes((byte,)))
                time.sleep(0.001)
            with client.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
                sock.sendall(GET)
                assert sock.recv(12) == b"HTTP/1.1 200"
    assert (echo.seen[0]["REMOTE_ADDR"], echo.seen[0]["wsgi.url_scheme"]) == (address_seen, "https")
