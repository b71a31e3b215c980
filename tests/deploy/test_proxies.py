"""Debian's nginx and Caddy in front, by the files that are shipped."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.deploy.conftest import SHIPPED, Behind
from tests.handshakes import GROUPS, agreed, all_agreed_until_1_2, groups_agreed
from tests.http.fronts import Echo, Wire, front, settings_with
from tests.proxies import Proxy
from tests.seeds import is_short
from tests.serving import Dav, space_path

HOME = space_path("anna")
MIB = 1024 * 1024
NAME = "Lönelista Xq7"


def wire(proxy: Proxy, host: str = "127.0.0.1") -> Wire:
    """Return a connection through TLS, on which nothing has been sent."""
    port = int(proxy.origin.rpartition(":")[2])
    return Wire((host, port), ssl.create_default_context(cafile=str(proxy.authority)))


def head_of(dav: Dav, method: str, path: str, *fields: str) -> bytes:
    lines = [f"{method} {dav.href(path)} HTTP/1.1", f"Host: {dav.host}", *fields]
    if dav._authorization:
        lines.append(f"Authorization: Basic {dav._authorization}")
    return "\r\n".join([*lines, "", ""]).encode()


def test_signing_in_putting_and_getting(behind: Behind) -> None:
    stranger, anna = behind.dav(), behind.dav("anna")
    assert stranger.get(HOME).status == 401
    assert anna.put(f"{HOME}/{NAME}", b"hello").status == 201
    got = anna.get(f"{HOME}/{NAME}")
    assert (got.status, got.body) == (200, b"hello")
    assert behind.server.dav("anna").get(f"{HOME}/{NAME}").body == b"hello"
    options = stranger.raw("OPTIONS", "/")
    assert (options.status, options.headers["dav"]) == (200, "1, 2, 3")


def test_a_destination_is_ours_under_the_public_name_and_under_no_other(behind: Behind) -> None:
    anna = behind.dav("anna")
    anna.put(f"{HOME}/moved from", b"x")
    foreign = f"https://elsewhere.example{anna.href(f'{HOME}/moved to')}"
    spoofed = {"X-Forwarded-Host": "elsewhere.example", "Forwarded": "for=192.0.2.1;host=elsewhere.example;proto=https"}
    refused = anna.raw("MOVE", anna.href(f"{HOME}/moved from"), headers={"Destination": foreign, **spoofed})
    assert refused.status == 403
    own = f"{anna.origin}{anna.href(f'{HOME}/moved to')}"
    assert anna.request("MOVE", f"{HOME}/moved from", Destination=own, Overwrite="F").status == 201
    assert anna.get(f"{HOME}/moved to").body == b"x"
    assert anna.get(f"{HOME}/moved from").status == 404


def test_a_chunked_upload_is_whole(behind: Behind) -> None:
    pieces = [hashlib.shake_128(bytes([number])).digest(70_000) for number in range(30)]
    anna = behind.dav("anna")
    assert anna.put(f"{HOME}/chunked", iter(pieces)).status == 201
    assert anna.get(f"{HOME}/chunked").body == b"".join(pieces)


def test_a_client_that_asks_before_it_sends_is_let_send(behind: Behind) -> None:
    with wire(behind.proxy) as connection:
        connection.send(
            head_of(behind.dav("anna"), "PUT", f"{HOME}/asked", "Expect: 100-continue", "Content-Length: 5")
        )
        assert connection.answer()[0] == 100
        connection.send(b"hello")
        # Caddy says so for itself, and again for the server behind it.
        while (status := connection.answer()[0]) == 100:
            pass
        assert status == 201
    assert behind.dav("anna").get(f"{HOME}/asked").body == b"hello"


def test_a_stranger_who_asks_before_sending_is_refused(behind: Behind) -> None:
    with wire(behind.proxy) as connection:
        connection.send(head_of(behind.dav(), "PUT", f"{HOME}/never", "Expect: 100-continue", "Content-Length: 5"))
        status = connection.answer()[0]
        if status == 100:  # nginx answers for itself; what then comes must be refused all the same
            connection.send(b"hello")
            status = connection.answer()[0]
        assert status == 401
    assert behind.dav("anna").get(f"{HOME}/never").status == 404


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_an_upload_cut_short_leaves_nothing(behind: Behind, is_chunked: bool) -> None:
    anna = behind.dav("anna")
    old, new = f"{HOME}/cut old {is_chunked}", f"{HOME}/cut new {is_chunked}"
    etag = anna.put(old, b"old").headers["etag"]
    field = "Transfer-Encoding: chunked" if is_chunked else "Content-Length: 9000000"
    part = b"x" * 3_000_000
    for path in (old, new):
        with wire(behind.proxy) as connection:
            connection.send(head_of(anna, "PUT", path, field))
            connection.send(b"2dc6c0\r\n" + part + b"\r\n" if is_chunked else part)
            time.sleep(0.3)
    time.sleep(1)
    got = anna.get(old)
    assert (got.body, got.headers["etag"]) == (b"old", etag)
    assert anna.get(new).status == 404


def megabytes(count: int) -> Iterator[bytes]:
    """Yield blocks of a mebibyte, no two alike."""
    block = os.urandom(MIB - 8)
    for number in range(count):
        yield number.to_bytes(8, "big") + block


def upload_and_download(behind: Behind, count: int) -> None:
    """Stream `count` MiB up, and down again by a client that dawdles; the proxy must keep next to nothing of it."""
    anna, proxy = behind.dav("anna"), behind.proxy
    sent, most = hashlib.sha256(), 0

    def body() -> Iterator[bytes]:
        nonlocal most
        for number, block in enumerate(megabytes(count)):
            sent.update(block)
            if number % 16 == 0:
                most = max(most, proxy.buffered_bytes())
            yield block

    path = f"{HOME}/large {count}"
    assert anna.put(path, body(), Content_Length=str(count * MIB)).status == 201
    anna.close()  # a connection that idles while gigabytes come down is let go by the proxy
    received = hashlib.sha256()
    tls = ssl.create_default_context(cafile=str(proxy.authority))
    connection = http.client.HTTPSConnection(anna.host, timeout=60, context=tls)
    connection.request("GET", anna.href(path), headers={"Authorization": f"Basic {anna._authorization}"})
    answer = connection.getresponse()
    while block := answer.read(MIB):
        received.update(block)
        if answer.length and answer.length % (64 * MIB) == 0:
            time.sleep(0.3)
            most = max(most, proxy.buffered_bytes())
    connection.close()
    assert received.digest() == sent.digest()
    assert most == 0
    assert proxy.memory_bytes() < 150 * MIB
    assert anna.request("DELETE", path).status == 204


@pytest.mark.timeout(300)
def test_two_hundred_megabytes_pass_unbuffered(behind: Behind) -> None:
    upload_and_download(behind, 200)


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_five_gibibytes_pass_unbuffered(behind: Behind) -> None:
    upload_and_download(behind, 1024 if is_short() else 5 * 1024)


@pytest.fixture(params=SHIPPED)
def echoed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Proxy, Echo]]:
    """A proxy in front of our listener, and what the listener makes of requests."""
    echo = Echo()
    with front(echo, settings_with(trusted_proxies=("127.0.0.1/32",))) as (host, port):
        with SHIPPED[request.param](tmp_path, f"{host}:{port}") as proxy:
            yield proxy, echo


def test_what_a_client_says_of_itself_is_not_believed(echoed: tuple[Proxy, Echo]) -> None:
    proxy, echo = echoed
    fields = (
        "X-Forwarded-For: 192.0.2.66",
        "X-Forwarded-Host: elsewhere.example",
        "X-Forwarded-Proto: http",
        'Forwarded: for=192.0.2.66;host="elsewhere.example";proto=http',
    )
    with wire(proxy) as connection:
        connection.send("\r\n".join(["GET /x HTTP/1.1", f"Host: {proxy.origin[8:]}", *fields, "", ""]).encode())
        assert connection.answer()[0] == 200
    seen = echo.seen[-1]
    assert (seen["REMOTE_ADDR"], seen["HTTP_HOST"]) == ("127.0.0.1", proxy.origin[8:])
    assert seen["wsgi.url_scheme"] == "https"


def test_clients_come_over_ipv6_too(echoed: tuple[Proxy, Echo]) -> None:
    proxy, echo = echoed
    with wire(proxy, "::1") as connection:
        connection.send(f"GET /x HTTP/1.1\r\nHost: {proxy.origin[8:]}\r\n\r\n".encode())
        assert connection.answer()[0] == 200
    assert echo.seen[-1]["REMOTE_ADDR"] == "::1"


def test_tls_is_as_mozilla_recommends(echoed: tuple[Proxy, Echo]) -> None:
    target = echoed[0].origin.removeprefix("https://")
    assert not [version for version in ("-tls1", "-tls1_1") if agreed(target, version, "-cipher", "ALL:@SECLEVEL=0")]
    suites = all_agreed_until_1_2(target)
    assert suites
    assert not [suite for suite in suites if not re.fullmatch("ECDHE-[A-Z]+-(AES(128|256)-GCM|CHACHA20)-.+", suite)]
    groups = groups_agreed(target)
    assert "X25519" in groups and set(groups) <= set(GROUPS)


TARGETS = ("/dav/a%2Fb", "/dav/%41%20%C3%A5", "/dav//a", "/dav/a;b%3Fc", "/dav/a+b~'()", "/dav/%2e%2e/x", "/dav/a/")


def test_targets_come_as_they_were_sent_over_kept_connections(echoed: tuple[Proxy, Echo]) -> None:
    proxy, echo = echoed
    with wire(proxy) as connection:
        for target in TARGETS:
            connection.send(f"GET {target} HTTP/1.1\r\nHost: {proxy.origin[8:]}\r\n\r\n".encode())
            assert connection.answer()[0] == 200, target
    assert [each["mellanrum.target"].decode() for each in echo.seen] == list(TARGETS)
    assert len({each["REMOTE_PORT"] for each in echo.seen}) == 1
    assert {each["SERVER_PROTOCOL"] for each in echo.seen} == {"HTTP/1.1"}


def test_a_proxy_connected_anew_for_most_of_what_came_at_once(echoed: tuple[Proxy, Echo]) -> None:
    proxy, echo = echoed
    head = f"PUT /x HTTP/1.1\r\nHost: {proxy.origin[8:]}\r\nContent-Length: 1\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(wire(proxy)) for _ in range(8)]
        for times in (1, 2, 3):
            for client in clients:
                client.send(head)
            while len(echo.seen) < times * len(clients):
                time.sleep(0.01)  # all are under way, each on a connection of its own
            for client in clients:
                client.send(b"x")
            assert [client.answer()[0] for client in clients] == [200] * len(clients)
    assert len({each["REMOTE_PORT"] for each in echo.seen}) == len(clients)


def test_a_long_destination_passes(echoed: tuple[Proxy, Echo]) -> None:
    proxy, echo = echoed
    target = "/dav" + "/folder" * 3500
    with wire(proxy) as connection:
        connection.send(f"MOVE /x HTTP/1.1\r\nHost: {proxy.origin[8:]}\r\nDestination: {target}\r\n\r\n".encode())
        assert connection.answer()[0] == 200
    assert echo.seen[-1]["HTTP_DESTINATION"] == target


def hang_up(listening: socket.socket, answer: bytes) -> None:
    """Take connections, read what comes at once, answer, and close them."""
    while True:
        try:
            taken, _ = listening.accept()
        except OSError:
            return
        with taken:
            taken.recv(65536)
            taken.sendall(answer)


@pytest.mark.parametrize("shipped", SHIPPED)
def test_logs_hold_no_names_whatever_goes_wrong(tmp_path: Path, shipped: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        broken = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"
        thread = threading.Thread(target=hang_up, args=(listening, broken))
        thread.start()
        try:
            with SHIPPED[shipped](tmp_path, f"127.0.0.1:{listening.getsockname()[1]}") as proxy:
                _go_wrong(proxy, listening)
                time.sleep(0.5)
                logs = proxy.logs()
        finally:
            listening.close()
            thread.join()
    assert not [text for text in (NAME, quote(NAME), "Xq7", "hemligt", "aGVtbGlndA") if text in logs], logs
    if shipped == "nginx":
        assert " GET 200 " in logs and " GET 502 " in logs and " PUT " in logs


def _go_wrong(proxy: Proxy, listening: socket.socket) -> None:
    """Have an answer break off, a client leave, a request make no sense, and the server be gone."""
    dav = Dav(f"{proxy.origin}/dav/", "hemligt", "hemligt", proxy.authority)
    with pytest.raises(http.client.HTTPException):
        dav.get(f"/{NAME}")
    with wire(proxy) as connection:
        connection.send(head_of(dav, "PUT", f"/{NAME}", "Content-Length: 1000000"))
        connection.send(b"x" * 1000)
    with wire(proxy) as connection:
        connection.send(f"GET /{quote(NAME)} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".encode())
        connection.answer()
    # A thread that waits in accept() holds the socket open.
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    assert dav.get(f"/{NAME}").status == 502
    dav.close()
