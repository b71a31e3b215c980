"""The HTTP front on real sockets: strictness, bodies, slowness, breaking off."""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from config.logging import ROOT
from server.http import connection, listener, parser, request, tls
from server.http.body import CHUNK_LINE_BYTES_MAX
from server.http.channel import PULSE_SECONDS, Channel, ClientGone, TooSlow
from server.http.parser import check_trailer
from server.http.pool import Pool
from server.http.request import OWNED
from tests.http.fronts import Echo, Wire, front, settings_with

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def address(echo: Echo) -> Iterator[tuple[str, int]]:
    with front(echo, settings_with(worker_threads=4)) as found:
        yield found


REFUSED = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "no host but in the target": (b"GET http://a/ HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "host with a path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "two lengths": (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    "list of lengths": (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
    "signed length": (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400),
    "hexadecimal length": (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello", 400),
    "length in other digits": (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \xb2\r\n\r\nhello", 400),
    "empty length": (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
    "length beside chunks": (
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two codings": (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
    "unknown coding": (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
    "chunks in 1.0": (b"PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "folded line": (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n", 400),
    "space before colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "space before name": (b"GET / HTTP/1.1\r\nHost: a\r\n X: b\r\n\r\n", 400),
    "underscore in a name": (b"GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n", 400),
    "NUL in a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n", 400),
    "NUL in the target": (b"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "CR in a value": (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n", 400),
    "line feeds alone": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "line feed within": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "tab for a space": (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "version 2.0": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "broken escape": (b"GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "relative target": (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "another scheme": (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "absolute target and another host": (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "user in a target": (b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "user in a target and in the host": (b"GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    "relative target of OPTIONS": (b"OPTIONS a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "asterisk of another method": (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two credentials": (
        b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YTpi\r\nAuthorization: Basic YTpj\r\n\r\n",
        400,
    ),
    "NUL in a head without end": (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c", 400),
    "connect": (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "unknown expectation": (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", 417),
    "no name": (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
    "no colon": (b"GET / HTTP/1.1\r\nHost: a\r\nrubbish\r\n\r\n", 400),
    "many fields": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 100 + b"\r\n", 431),
    "large head": (b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"b" * 33_000 + b"\r\n\r\n", 431),
    "long line": (b"GET /" + b"a" * 40_000, 414),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_head_that_two_readers_could_read_differently_is_refused(
    address: tuple[str, int], echo: Echo, name: str
) -> None:
    raw, expected = REFUSED[name]
    with Wire(address) as wire:
        wire.send(raw)
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (expected, "close")
        assert wire.is_closed()
    assert not echo.seen


BAD_CHUNKS = {
    "no digits": b"\r\n\r\n",
    "sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "bare line feed": b"5\nhello\r\n0\r\n\r\n",
    "longer than said": b"5\r\nhello!\r\n0\r\n\r\n",
    "shorter than said": b"6\r\nhello\r\n0\r\n\r\n",
    "space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "huge number": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "length in a trailer": b"5\r\nhello\r\n0\r\nContent-Length: 0\r\n\r\n",
    "coding in a trailer": b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "host in a trailer": b"5\r\nhello\r\n0\r\nHost: b\r\n\r\n",
    "request in a trailer": b"5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
    "folded trailer": b"5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n",
    "NUL in a trailer": b"5\r\nhello\r\n0\r\nX-A: \0\r\n\r\n",
    "line feed in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "carriage return in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "long extension": b"5;" + b"x" * 2000 + b"\r\nhello\r\n0\r\n\r\n",
    "trailers without end": b"5\r\nhello\r\n0\r\n" + b"X-A: b\r\n" * 30 + b"\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_malformed_chunks_are_refused_and_no_request_comes_of_what_follows(
    address: tuple[str, int], echo: Echo, name: str
) -> None:
    with Wire(address) as wire:
        wire.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + BAD_CHUNKS[name] + GET)
        assert wire.answer()[0] == 400
        assert wire.is_closed()
    assert len(echo.seen) == 1 and not echo.bodies


def test_chunks_with_extensions_and_trailers_are_read_whole(address: tuple[str, int], echo: Echo) -> None:
    with Wire(address) as wire:
        wire.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\n\r\n" + GET)
        assert wire.answer()[2] == b"hello!"
        assert wire.answer()[0] == 200
    assert "HTTP_X_T" not in echo.seen[0]


def test_a_chunk_may_come_in_pieces(address: tuple[str, int]) -> None:
    with Wire(address) as wire:
        wire.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello")
        time.sleep(0.1)
        wire.send(b"world\r\n0\r\n\r\n")
        assert wire.answer()[2] == b"helloworld"


def test_the_end_of_a_line_between_chunks_is_not_waited_for_beyond_its_limit(address: tuple[str, int]) -> None:
    with Wire(address) as wire:
        wire.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"a" * CHUNK_LINE_BYTES_MAX)
        assert wire.answer()[0] == 400


def test_field_names_that_nobody_knows_fill_no_memory() -> None:
    for number in range(3000):
        check_trailer(b"X-%d: a" % number)
    assert len(parser._variables) <= 2000


def test_unread_chunks_are_no_request_of_their_own(address: tuple[str, int], echo: Echo) -> None:
    with Wire(address) as wire:
        wire.send(b"PUT /unread HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(GET), GET) + GET.replace(b"GET /", b"GET /second"))
        assert wire.answer()[0] == 401
        assert wire.answer()[0] == 200
    assert [seen["PATH_INFO"] for seen in echo.seen] == ["/unread", "/second"]


def test_an_unread_body_of_three_megabytes_leaves_the_connection_usable(address: tuple[str, int]) -> None:
    with Wire(address) as wire:
        wire.send(b"PUT /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000))
        status, headers, _ = wire.answer()
        assert status == 401 and "connection" not in headers
        wire.send(GET)
        assert wire.answer()[0] == 200


def test_a_body_that_nobody_wants_is_waited_for_a_while_in_all(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "DRAIN_SECONDS_MAX", 1.0)
    with Wire(address) as wire:
        began = time.monotonic()
        wire.send(b"PUT /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome")
        wire.sock.settimeout(40)
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (401, "close")
        assert time.monotonic() - began < 30  # a client that is silent in a body that is wanted has 60


@contextmanager
def crowd(address: tuple[str, int], count: int, said: bytes) -> Iterator[list[Wire]]:
    """Let so many strangers say something, and stay."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(address)) for _ in range(count)]
        for wire in wires:
            wire.send(said)
        yield wires


def answered_after(address: tuple[str, int]) -> float:
    """Return after how many seconds an honest request is answered."""
    began = time.monotonic()
    with Wire(address) as wire:
        wire.send(GET)
        assert wire.answer()[0] == 200
    return time.monotonic() - began


@pytest.fixture
def narrow(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A front that has few threads."""
    monkeypatch.setattr(listener, "WORKERS_MAX", 32)
    with front(echo, settings_with(worker_threads=4)) as address:
        yield address


def test_strangers_who_drip_what_nobody_wants_are_not_waited_for_once_they_are_many(narrow: tuple[str, int]) -> None:
    unwanted = b"PUT /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome"
    with crowd(narrow, 60, unwanted) as dripping:
        assert answered_after(narrow) < 8
        assert [wire.answer()[0] for wire in dripping] == [401] * 60


def test_strangers_who_are_refused_and_stay_are_not_waited_for_once_they_are_many(narrow: tuple[str, int]) -> None:
    with crowd(narrow, 200, b"x\r\n\r\n"):
        assert answered_after(narrow) < 4  # as one lingers two seconds, 4 of 200 at once would take a hundred


def test_one_person_cannot_have_all_threads_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose clients drip or do not read: beyond a share of a crowd they are cut, and nobody else is."""
    monkeypatch.setattr(listener, "WORKERS_MAX", 32)
    echo = Echo()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[Any]:
        environ[OWNED](environ["QUERY_STRING"].encode() or b"somebody")
        return echo(environ, start_response)

    def begin(query: bytes, address: tuple[str, int]) -> Wire:
        wire = Wire(address)
        wire.send(b"PUT /slow?%s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel" % query)
        return wire

    with front(application, settings_with(worker_threads=4)) as address:
        other = begin(b"other", address)
        greedy = [begin(b"greedy", address) for _ in range(100)]
        try:
            for _ in range(5):
                with Wire(address) as wire:
                    wire.send(b"PUT /now HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
                    assert wire.answer()[2] == b"hi"
            third = begin(b"third", address)
            for wire in (other, third):
                wire.send(b"lo")
                assert wire.answer()[2] == b"hello"
            for wire in greedy:
                wire.send(b"lo")
            answers = [_answer_or_end(wire) for wire in greedy]
        finally:
            for wire in (other, third, *greedy):
                wire.sock.close()
    assert set(answers) == {200, 408}
    assert 4 <= answers.count(200) <= 16


def test_who_comes_back_once_the_line_was_gone_was_refused_for_as_long_as_what_broke_was_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three hundred uploads whose network had vanished were a crowd of one person's for five minutes."""
    monkeypatch.setattr(listener, "WORKERS_MAX", 32)
    echo = Echo()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[Any]:
        environ[OWNED](b"somebody")
        return echo(environ, start_response)

    put = b"PUT /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel"
    with front(application, settings_with(worker_threads=4)) as address, crowd(address, 40, put):
        time.sleep(3 * PULSE_SECONDS)  # who waits is asked again after one
        for _ in range(3):
            with Wire(address) as wire:
                wire.send(put)
                time.sleep(0.3)
                wire.send(b"lo")
                assert wire.answer()[2] == b"hello"


def test_routers_forgot_a_quiet_connection_before_it_was_ended(address: tuple[str, int]) -> None:
    """After a minute, some of them. The kernel says something on it twice by then."""
    with Wire(address) as wire:
        wire.send(GET)
        assert wire.answer()[0] == 200
        ours = _peer_of(wire.sock)
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 30
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) <= 30
        ours.close()


def _peer_of(client: socket.socket) -> socket.socket:
    """Return the server's end of a connection within this process, once more."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError), socket.fromfd(int(name), socket.AF_INET, socket.SOCK_STREAM) as found:
            if found.getpeername() == client.getsockname():
                return found.dup()
    raise AssertionError("the server's end is not in this process")


def _answer_or_end(wire: Wire) -> int:
    try:
        return wire.answer()[0]
    except OSError:
        return 408  # the answer was lost with the connection: nobody lingers in a crowd


@pytest.mark.parametrize("how", ["extensions", "one by one"])
def test_what_is_left_of_a_body_is_read_within_bounds_however_it_is_cut(
    echo: Echo, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(request, "DRAIN_SECONDS_MAX", 1.0)
    monkeypatch.setattr(request, "DRAIN_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(connection, "LINGER_SECONDS", 0.0)
    chunk = b"1;%s\r\nx\r\n" % (b"e" * 900) if how == "extensions" else b"1\r\nx\r\n"
    sent = 0
    with front(echo, settings_with()) as address, Wire(address) as wire:
        wire.send(b"PUT /unread HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.sock.settimeout(10)
        began = time.monotonic()
        try:
            while sent < 200 << 20 and time.monotonic() - began < 20:
                wire.send(chunk * 1000)
                sent += 1000 * len(chunk)
                if how == "one by one":
                    time.sleep(0.01)
        except OSError:
            pass
        took = time.monotonic() - began
    assert sent < 12 << 20  # with what sockets hold
    assert took < 4


def test_a_large_unread_body_ends_the_connection_after_the_answer(address: tuple[str, int]) -> None:
    with Wire(address) as wire:
        wire.send(b"PUT /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 600000000\r\n\r\n")
        status, headers, _ = wire.answer()
        assert (status, headers["connection"]) == (401, "close")


def test_who_still_sends_is_not_answered_by_a_reset(address: tuple[str, int]) -> None:
    """Windows drops an answer that it has not read yet where a reset comes after it."""
    with Wire(address) as wire:
        wire.send(b"PUT /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        assert wire.answer()[0] == 401
        for _ in range(5):
            wire.send(b"x" * 10_000)
            time.sleep(0.1)


def test_leave_to_send_is_given_at_the_first_read_alone(address: tuple[str, int]) -> None:
    with Wire(address) as wire:
        wire.send(b"PUT /unread HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert wire.answer()[0] == 401
        assert wire.is_closed()
    with Wire(address) as wire:
        wire.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert wire.answer()[0] == 100
        wire.send(b"hello")
        assert wire.answer()[2] == b"hello"


CUTS = {
    "plain": b"Content-Length: 1000\r\n\r\n" + bytes(500),
    "chunked within": b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + bytes(500),
    "chunked between": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "chunked before the end": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
}


@pytest.mark.parametrize("name", CUTS)
def test_a_body_cut_short_is_an_error_to_the_application(address: tuple[str, int], echo: Echo, name: str) -> None:
    with Wire(address) as wire:
        wire.send(b"PUT /x HTTP/1.1\r\nHost: a\r\n" + CUTS[name])
        wire.sock.shutdown(socket.SHUT_WR)
        assert wire.is_closed()
    assert [type(error) for error in echo.failures] == [ClientGone]


@pytest.mark.parametrize("path", ["short", "break"])
def test_an_answer_that_broke_off_is_not_taken_for_whole(address: tuple[str, int], path: str) -> None:
    with Wire(address) as wire:
        wire.send(f"GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        with pytest.raises(ConnectionError):
            wire.answer()


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: b", "a\nb", "a\rb"])
def test_a_header_with_the_end_of_a_line_in_it_leaves_nothing_of_its_answer(text: str) -> None:
    def splits(_: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("X-Name", text), ("Content-Length", "0")])
        return []

    with front(splits, settings_with()) as address, Wire(address) as wire:
        wire.send(GET)
        assert wire.sock.recv(65536) == b""


def test_requests_in_one_packet_are_answered_in_order(address: tuple[str, int], echo: Echo) -> None:
    with Wire(address) as wire:
        wire.send(b"".join(b"PUT /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%d" % (n, n) for n in range(5)))
        assert [wire.answer()[2] for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


def test_more_requests_than_the_buffer_holds_are_answered_all_the_same(address: tuple[str, int], echo: Echo) -> None:
    sent = [
        b"PUT /%d HTTP/1.1\r\nHost: a\r\nX-A: %s\r\nContent-Length: 4\r\n\r\n%04d" % (n, b"b" * (n % 90), n)
        for n in range(3000)
    ]
    with Wire(address) as wire:
        sender = threading.Thread(target=wire.send, args=(b"".join(sent),))
        sender.start()
        assert [wire.answer()[2] for _ in sent] == [b"%04d" % n for n in range(3000)]
        sender.join()


@pytest.mark.parametrize("length", [1, 1_500, 3_000, 20_000])
def test_who_has_sent_the_beginning_of_a_head_holds_little_memory(length: int) -> None:
    head = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a" * 24_000)
    ours, theirs = socket.socketpair()
    channel = Channel(ours, 60, Pool.__new__(Pool))
    with ours, theirs:
        at = 0
        for stop in (length, length + 1, len(head)):
            theirs.sendall(head[at:stop])
            found, at = channel.read_head(32_768), stop
            channel.rest()
            if found is None:
                assert len(channel._buffer) <= max(4096, 64 * 1024 if length > 2048 else 0)
    assert found == head.removesuffix(b"\r\n\r\n")
    assert not channel._buffer


def test_what_was_read_of_one_head_is_not_taken_for_another(address: tuple[str, int], echo: Echo) -> None:
    fields = b"Host: a\r\nX-A: b\r\nContent-Type: text/plain\r\n"
    heads = [
        b"GET /1 HTTP/1.1\r\n" + fields,
        b"GET http://A/2 HTTP/1.1\r\n" + fields,
        b"GET /3 HTTP/1.1\r\n" + fields,
        b"PUT /4 HTTP/1.1\r\n" + fields + b"Content-Length: 2\r\n",
        b"GET /5 HTTP/1.1\r\n" + fields.replace(b"X-A", b"X-B"),
        b"GET /6 HTTP/1.0\r\n" + fields.replace(b"X-A", b"X-B") + b"Connection: keep-alive\r\n",
    ]
    with Wire(address) as wire:
        for head in heads:
            wire.send(head + b"\r\n" + (b"hi" if b"Length" in head else b""))
            assert wire.answer()[0] == 200
    seen = [(e["PATH_INFO"], e["HTTP_HOST"], e.get("HTTP_X_A"), e.get("CONTENT_LENGTH")) for e in echo.seen]
    assert seen == [
        ("/1", "a", "b", None), ("/2", "A", "b", None), ("/3", "a", "b", None), ("/4", "a", "b", "2"),
        ("/5", "a", None, None), ("/6", "a", None, None),
    ]  # fmt: skip
    assert [e.get("CONTENT_TYPE") for e in echo.seen] == ["text/plain"] * 6
    assert echo.bodies == [b"", b"", b"", b"hi", b"", b""]


def test_fields_that_stood_are_refused_where_they_may_not_stand(address: tuple[str, int], echo: Echo) -> None:
    chunked = b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with Wire(address) as wire:
        wire.send(b"PUT /1 HTTP/1.1\r\n" + chunked)
        assert wire.answer()[0] == 200
        wire.send(b"PUT /2 HTTP/1.0\r\n" + chunked)
        assert wire.answer()[0] == 400
    assert len(echo.seen) == 1


def test_a_request_that_comes_byte_by_byte_is_served(address: tuple[str, int]) -> None:
    with Wire(address) as wire:
        for byte in b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi":
            wire.send(bytes((byte,)))
            time.sleep(0.001)
        assert wire.answer()[2] == b"hi"


def test_an_answer_without_length_comes_in_chunks(address: tuple[str, int]) -> None:
    with Wire(address) as wire:
        wire.send(b"GET /unsized HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        raw = b""
        while piece := wire.sock.recv(65536):
            raw += piece
    assert raw.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


def test_http_1_0_closes_unless_asked_to_stay(address: tuple[str, int]) -> None:
    with Wire(address) as wire:
        wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert wire.answer()[1]["connection"] == "keep-alive"
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        assert wire.answer()[1]["connection"] == "close"
        assert wire.is_closed()


def test_http_1_0_needs_no_host_and_knows_no_interim_answer(address: tuple[str, int], echo: Echo) -> None:
    with Wire(address) as wire:
        wire.send(b"PUT http://b/x HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi")
        assert wire.answer()[::2] == (200, b"hi")
    assert echo.seen[0]["HTTP_HOST"] == "b"


def test_what_holds_for_the_whole_server_may_be_asked(address: tuple[str, int], echo: Echo) -> None:
    with Wire(address) as wire:
        wire.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.answer()[0] == 200
    assert echo.seen[0]["PATH_INFO"] == "*"


def test_fifty_stalled_heads_take_nobodys_turn(address: tuple[str, int]) -> None:
    stalled = [Wire(address) for _ in range(50)]
    try:
        for wire in stalled:
            wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        began = time.monotonic()
        with Wire(address) as wire:
            wire.send(GET)
            assert wire.answer()[0] == 200
        assert time.monotonic() - began < 6
    finally:
        for wire in stalled:
            wire.sock.close()


def test_fifty_stalled_uploads_take_nobodys_turn(address: tuple[str, int]) -> None:
    stalled = [Wire(address) for _ in range(50)]
    try:
        for wire in stalled:
            wire.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nsome")
        began = time.monotonic()
        with Wire(address) as wire:
            wire.send(GET)
            assert wire.answer()[0] == 200
        assert time.monotonic() - began < 10
    finally:
        for wire in stalled:
            wire.sock.close()


def test_a_head_that_does_not_end_in_time_ends_the_connection(echo: Echo) -> None:
    with front(echo, settings_with(header_read_seconds_max=1)) as address, Wire(address) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHo")
        began = time.monotonic()
        assert wire.is_closed()
        assert 0.5 < time.monotonic() - began < 8


@pytest.mark.parametrize("seconds", [0.1, 0.15, 0.2])
@pytest.mark.parametrize("begins", [b"", GET], ids=["first", "after another"])
def test_a_head_that_drips_is_not_waited_for_any_longer(echo: Echo, begins: bytes, seconds: float) -> None:
    """Each byte wakes the thread that looks after deadlines, which finds the connection in another's hands."""
    with front(echo, settings_with(header_read_seconds_max=1)) as address, Wire(address) as wire:
        if begins:
            wire.send(begins)
            assert wire.answer()[0] == 200
        wire.send(b"GET / HTTP/1.1\r\nX: ")
        assert 0.5 < wire.drip(seconds) < 5


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
def test_what_a_proxy_had_connected_ahead_was_ended_before_its_idle_connections(
    echo: Echo, certificate: tuple[Path, Path], is_tls: bool
) -> None:
    """Caddy connects anew while all are busy, and asks over the first that is free: the new one stays for later."""
    context = tls.context(tls.read(*certificate)) if is_tls else None
    client = ssl.create_default_context(cafile=str(certificate[0])) if is_tls else None
    settings = settings_with(trusted_proxies=LOCAL, header_read_seconds_max=1, keep_alive_seconds_max=4)
    with front(echo, settings, context) as address, Wire(address, client) as wire, Wire(address, client) as silent:
        began = time.monotonic()
        time.sleep(2)
        wire.send(GET)
        assert wire.answer()[0] == 200
        assert silent.is_closed()
        assert 3.5 < time.monotonic() - began < 12, "it waits as long as the idle, and no longer"


def test_a_head_that_drips_through_a_proxy_is_not_waited_for_either(echo: Echo) -> None:
    settings = settings_with(trusted_proxies=LOCAL, header_read_seconds_max=1)
    with front(echo, settings) as address, Wire(address) as wire:
        wire.send(b"GET / HTTP/1.1\r\nX: ")
        assert 0.5 < wire.drip(0.15) < 5


def test_who_connects_and_says_nothing_is_not_waited_for_as_a_proxy_is(echo: Echo) -> None:
    settings = settings_with(trusted_proxies=("10.0.0.0/8",), header_read_seconds_max=1)
    with front(echo, settings) as address, Wire(address) as wire:
        began = time.monotonic()
        assert wire.is_closed()
        assert 0.5 < time.monotonic() - began < 8


def test_a_body_that_stalls_ends_in_an_error(echo: Echo) -> None:
    with front(echo, settings_with(body_idle_seconds_max=1)) as address, Wire(address) as wire:
        wire.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        assert wire.answer()[0] == 408
    assert [type(error) for error in echo.failures] == [TooSlow]


def test_a_body_that_drips_ends_in_an_error(echo: Echo) -> None:
    with front(echo, settings_with(body_idle_seconds_max=1)) as address, Wire(address) as wire:
        wire.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhello")
        assert 0.5 < wire.drip(0.1) < 6
    assert [type(error) for error in echo.failures] == [TooSlow]


def test_an_idle_connection_ends(echo: Echo) -> None:
    with front(echo, settings_with(keep_alive_seconds_max=1)) as address, Wire(address) as wire:
        wire.send(GET)
        assert wire.answer()[0] == 200
        assert wire.is_closed()


def test_those_who_only_stay_make_room(echo: Echo) -> None:
    with front(echo, settings_with(connections_max=64)) as address:
        staying = [Wire(address) for _ in range(100)]
        try:
            with Wire(address) as wire:
                wire.send(GET)
                assert wire.answer()[0] == 200
            assert staying[0].is_closed()
            staying[-1].send(GET)
            assert staying[-1].answer()[0] == 200
        finally:
            for wire in staying:
                wire.sock.close()


class _Gone(Exception):
    pass


def test_a_stream_is_cut_within_a_second_of_its_credential(address: tuple[str, int], echo: Echo) -> None:
    revoked = threading.Event()

    def pulse() -> None:
        if revoked.is_set():
            raise _Gone

    echo.pulse = pulse
    with Wire(address) as wire:
        wire.send(b"GET /large?2000000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        taken = len(wire.sock.recv(65536))
        revoked.set()
        began = time.monotonic()
        with pytest.raises(ConnectionError):
            while piece := wire.sock.recv(1 << 20):
                taken += len(piece)
                time.sleep(0.001)
            raise ConnectionError
        assert taken < 2_000_000_000
        assert time.monotonic() - began < 10


def test_an_upload_is_cut_within_a_second_of_its_credential(address: tuple[str, int], echo: Echo) -> None:
    def pulse() -> None:
        raise _Gone

    echo.pulse = pulse
    with Wire(address) as wire:
        wire.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        began = time.monotonic()
        wire.answer()
        assert time.monotonic() - began < 8
    assert [type(error) for error in echo.failures] == [_Gone]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return tls.self_signed(tmp_path / "tls", "127.0.0.1")


def _client_tls(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def test_tls_serves_large_answers_and_uploads(echo: Echo, certificate: tuple[Path, Path]) -> None:
    with front(echo, settings_with(), tls.context(tls.read(*certificate))) as address:
        with Wire(address, _client_tls(certificate[0])) as wire:
            wire.send(b"GET /large?5000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert len(wire.answer()[2]) == 5_000_000
            body = bytes(range(256)) * 4000
            wire.send(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert wire.answer()[2] == body
    assert echo.seen[0]["wsgi.url_scheme"] == "https"


def test_a_silent_client_before_its_handshake_stalls_nobody(echo: Echo, certificate: tuple[Path, Path]) -> None:
    with front(echo, settings_with(worker_threads=2), tls.context(tls.read(*certificate))) as address:
        silent = [socket.create_connection(address) for _ in range(20)]
        silent[0].send(b"\x16\x03\x01\x02\x00\x01\x00")
        began = time.monotonic()
        with Wire(address, _client_tls(certificate[0])) as wire:
            wire.send(GET)
            assert wire.answer()[0] == 200
        assert time.monotonic() - began < 6
        for sock in silent:
            sock.close()


def test_plain_http_on_a_tls_port_is_told_so(echo: Echo, certificate: tuple[Path, Path]) -> None:
    with front(echo, settings_with(), tls.context(tls.read(*certificate))) as address, Wire(address) as wire:
        wire.send(GET)
        status, _, body = wire.answer()
        assert status == 400 and b"HTTPS" in body


def test_a_self_signed_certificate_is_made_once(tmp_path: Path) -> None:
    first = tls.self_signed(tmp_path / "tls", "127.0.0.1")
    shown = tls.fingerprint(tls.read(*first))
    assert tls.fingerprint(tls.read(*tls.self_signed(tmp_path / "tls", "127.0.0.1"))) == shown
    assert first[1].stat().st_mode & 0o077 == 0
    first[1].write_bytes(tls.self_signed(tmp_path / "other", "127.0.0.1")[1].read_bytes())
    assert tls.fingerprint(tls.read(*tls.self_signed(tmp_path / "tls", "127.0.0.1"))) != shown, "its key was another's"


@pytest.mark.parametrize(
    ("host", "name"),
    [("192.0.2.9", x509.IPAddress(ip_address("192.0.2.9"))), ("box.example", x509.DNSName("box.example"))],
)
def test_a_self_signed_certificate_is_for_the_host_that_is_served(
    tmp_path: Path, host: str, name: x509.GeneralName
) -> None:
    made = x509.load_pem_x509_certificate(tls.self_signed(tmp_path, host)[0].read_bytes())
    assert name in made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_a_certificate_that_was_read_leaves_no_descriptor_with_its_key(certificate: tuple[Path, Path]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    tls.context(tls.read(*certificate))
    assert len(os.listdir("/proc/self/fd")) == before


LOCAL = ("127.0.0.0/8",)


@pytest.mark.parametrize(
    ("trusted", "family", "headers", "seen"),
    [
        ((), "x-forwarded", "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n", "127.0.0.1 http a"),
        (LOCAL, "x-forwarded", "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\nX-Forwarded-Proto: https\r\n", "1.2.3.4 https a"),
        ((*LOCAL, "1.2.3.4/32"), "x-forwarded", "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n", "6.6.6.6 http a"),
        (LOCAL, "x-forwarded", "X-Forwarded-For: nonsense\r\n", "127.0.0.1 http a"),
        (LOCAL, "x-forwarded", "X-Forwarded-Host: b:1\r\n", "127.0.0.1 http b:1"),
        (LOCAL, "x-forwarded", "X-Forwarded-Host: b/../x\r\n", "127.0.0.1 http a"),
        (LOCAL, "x-forwarded", "X-Forwarded-Proto: javascript\r\n", "127.0.0.1 http a"),
        (LOCAL, "x-forwarded", "Forwarded: for=6.6.6.6;proto=https\r\n", "127.0.0.1 http a"),
        (LOCAL, "x-forwarded", "Forwarded: for=6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4 http a"),
        (LOCAL, "forwarded", "Forwarded: for=1.2.3.4\r\nX-Forwarded-For: 6.6.6.6\r\n", "1.2.3.4 http a"),
        (LOCAL, "forwarded", "X-Forwarded-For: 6.6.6.6\r\n", "127.0.0.1 http a"),
        (LOCAL, "forwarded", 'Forwarded: for="[2001:db8::1]:4711";proto=https;host=h\r\n', "2001:db8::1 https h"),
        (LOCAL, "x-forwarded", "X-Forwarded-For: 2001:DB8:0:0::1\r\n", "2001:db8::1 http a"),
        (LOCAL, "x-forwarded", "X-Forwarded-For: ::ffff:1.2.3.4\r\n", "1.2.3.4 http a"),
        (LOCAL, "x-forwarded", "X-Forwarded-For: 6.6.6.6, ::ffff:127.0.0.1\r\n", "6.6.6.6 http a"),
        (LOCAL, "x-forwarded", f"X-Forwarded-For: fe80::1%{'zone' * 999}\r\n", "fe80::1 http a"),
        (LOCAL, "forwarded", 'Forwarded: for="[FE80::1%25eth0]:80"\r\n', "fe80::1 http a"),
        (LOCAL, "x-forwarded", "X-Forwarded-For: 1.2.3.4, \r\n", "1.2.3.4 http a"),
        (LOCAL, "forwarded", "Forwarded: for=6.6.6.6, for=1.2.3.4, , \r\n", "1.2.3.4 http a"),
        *(
            (LOCAL, "forwarded", f"Forwarded: for=6.6.6.6;host=b, {hop}\r\n", "127.0.0.1 https a")
            for hop in ("proto=https", "proto=https;for", "for=;proto=https", 'for="1.2.3.4;proto="https"')
        ),
        *(
            (LOCAL, "forwarded", f"Forwarded: for=1.2.3.4;{pair}\r\n", "1.2.3.4 http a")
            for pair in ('host="b', 'host="b\\"c"', "host=b c", 'proto="https', "hosts=b", '="')
        ),
        (("10.0.0.0/8",), "x-forwarded", "X-Forwarded-For: 1.2.3.4\r\n", "127.0.0.1 http a"),
        (("::ffff:127.0.0.1",), "x-forwarded", "X-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4 http a"),
        (("::ffff:127.0.0.0/104",), "x-forwarded", "X-Forwarded-For: 6.6.6.6, 127.0.0.9\r\n", "6.6.6.6 http a"),
    ],
)
def test_only_a_trusted_proxy_is_believed_and_only_in_the_headers_it_sets(
    echo: Echo, trusted: tuple[str, ...], family: str, headers: str, seen: str
) -> None:
    settings = settings_with(trusted_proxies=trusted, forwarded_header=family)
    with front(echo, settings) as address, Wire(address) as wire:
        wire.send(f"GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode())
        wire.answer()
    found = echo.seen[0]
    assert " ".join((found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["HTTP_HOST"])) == seen


@pytest.mark.parametrize(
    ("scheme", "changes", "told"),
    [
        ("https", {}, "max-age=31536000"),
        ("http", {}, None),
        ("https", {"strict_transport_seconds": 60}, "max-age=60"),
        ("https", {"strict_transport_seconds": 0}, None),
        ("https", {"self_signed": True}, None),
    ],
)
@pytest.mark.parametrize("path", ["/", "/short", "/unread"])
def test_browsers_that_came_over_tls_are_told_to_do_so_always(
    echo: Echo, path: str, scheme: str, changes: dict[str, Any], told: str | None
) -> None:
    with front(echo, settings_with(trusted_proxies=LOCAL, **changes)) as address, Wire(address) as wire:
        wire.send(f"HEAD {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: {scheme}\r\n\r\n".encode())
        assert wire.answer(has_body=False)[1].get("strict-transport-security") == told


@pytest.mark.parametrize(("host", "seen"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
def test_a_client_has_one_address_whatever_it_came_to(echo: Echo, host: str, seen: str) -> None:
    with front(echo, settings_with(), dual=True) as (_, port), Wire((host, port)) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert wire.answer()[0] == 200
    assert echo.seen[0]["REMOTE_ADDR"] == seen


def test_the_log_has_one_line_a_request_and_no_name_in_it(
    echo: Echo, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=f"{ROOT}.http")
    with front(echo, settings_with(trusted_proxies=LOCAL)) as address:
        for raw in (
            b"PUT /canary?canary HTTP/1.1\r\nHost: canary\r\nX-Forwarded-For: 192.0.2.77\r\n"
            b"Content-Length: 6\r\n\r\ncanary",
            b"CANARY / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic Y2FuYXJ5\r\nUser-Agent: canary\r\n\r\n",
            b"GET /canary HTTP/1.1\r\nHost: canary\r\nCanary : x\r\n\r\n",
        ):
            with Wire(address) as wire:
                wire.send(raw)
                wire.answer()
    said = capsys.readouterr().err
    found = re.findall(
        r"event=request method=(\S+) status=(\d+) in_bytes=(\d+) out_bytes=\d+ milliseconds=\d+$", said, re.MULTILINE
    )
    # A line is noted once the answer has left: the next connection's thread may come first.
    assert sorted(found) == [("PUT", "200", "6"), ("other", "200", "0")]
    assert "event=request_refused status=400" in caplog.text
    for secret in ("canary", "192.0.2.77", "y2fuyxj5"):
        assert secret not in (said + caplog.text).lower()
