"""No request gets in hidden in another, bare or behind nginx as deploy/ sets it up.

Hidden in each are a DELETE of a document and a PUT of another, with good credentials: whoever sees a request in them
destroys the one and makes the other.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests.http.smuggling import DONE, cases
from tests.ports import free_port
from tests.proxies import shipped_nginx
from tests.serving import Served, serving, space_path
from tests.strict_wire import Reply, StrictWire

CASES = dict(cases())
SENTINEL = b"GET /healthz HTTP/1.1\r\nHost: files.example\r\n\r\n"
SECONDS_MAX = 40
#: Nginx answers a request without a version as one of HTTP 0.9, which has no heads.
OLD = {"head, no version"}
METHODS = ("PUT", "GET", "PROPFIND", "OPTIONS", "POST")


class Door(NamedTuple):
    """Where requests go: to the server itself, or through nginx."""

    server: Served
    address: tuple[str, int]
    tls: ssl.SSLContext | None = None

    def wire(self) -> StrictWire:
        """Return a new connection."""
        return StrictWire(self.address, SECONDS_MAX, self.tls)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One worker, so that whatever is left over of a request meets the next."""
    trusted = {"http.trusted_proxies": ["127.0.0.1/32"], "http.workers": 1}
    with serving(tmp_path_factory.mktemp("smuggled") / "data", **trusted) as found:
        yield found


@pytest.fixture(scope="module")
def bare(server: Served) -> Door:
    """The server itself."""
    host, _, port = server.http_url.split("/")[2].partition(":")
    return Door(server, (host, int(port)))


@pytest.fixture(scope="module")
def behind_nginx(bare: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The server through nginx, which keeps its connections to us."""
    upstream = "{}:{}".format(*bare.address)
    with shipped_nginx(tmp_path_factory.mktemp("nginx"), upstream, port=free_port()) as proxy:
        client = ssl.create_default_context(cafile=str(proxy.authority))
        yield Door(bare.server, ("localhost", int(proxy.origin.rpartition(":")[2])), client)


def begin(server: Served, method: str, name: str, *, signed_in: bool = True) -> bytes:
    """Return a request up to where its last fields and the empty line would stand."""
    path = f"/dav{quote(space_path('anna'))}/{name}"
    secret = b64encode(f"anna:{server.world.passwords['anna']}".encode()).decode()
    credentials = f"Authorization: Basic {secret}\r\n" if signed_in else ""
    return f"{method} {path} HTTP/1.1\r\nHost: files.example\r\n{credentials}".encode()


def hidden(server: Served) -> bytes:
    """Return two requests that would leave their mark."""
    planted = begin(server, "PUT", "planted") + b"Content-Length: 3\r\n\r\nbad"
    return begin(server, "DELETE", "treasure") + b"\r\n" + planted


def carried_out(server: Served) -> int:
    """Return how many of the hidden requests were carried out, and put things right again."""
    anna, home = server.dav("anna"), space_path("anna")
    try:
        is_gone = anna.get(f"{home}/treasure").body != b"gold"
        is_planted = anna.get(f"{home}/planted").status != 404
        anna.put(f"{home}/treasure", b"gold")
        anna.request("DELETE", f"{home}/planted")
    finally:
        anna.close()
    return is_gone + is_planted


@pytest.fixture(autouse=True, scope="module")
def _treasure(server: Served) -> None:
    server.dav("anna").put(f"{space_path('anna')}/treasure", b"gold")


def exchange(door: Door, raw: bytes, method: str) -> list[Reply]:
    """Send bytes and a request after them; return the answers to the bytes."""
    with door.wire() as wire:
        wire.send(raw)
        replies = [wire.answer(method)]
        wire.send(SENTINEL)
        while not replies[-1].ends:
            reply = wire.answer()
            if (reply.status, reply.body) == (200, b"ok\n"):
                return replies
            replies.append(reply)
        assert wire.rest() == b"", "something came after the last answer"
        return replies


@pytest.mark.parametrize("name", CASES)
def test_one_answer_and_nothing_that_was_hidden(bare: Door, name: str) -> None:
    case = CASES[name]
    raw = case.make(begin(bare.server, "PUT", "outer"), hidden(bare.server))
    (reply,) = exchange(bare, raw, "PUT")
    if case.outcome == DONE:
        assert reply.status in (201, 204)
    else:
        assert (reply.status, reply.ends) == (400, True)
    assert carried_out(bare.server) == 0


@pytest.mark.parametrize("name", sorted(CASES.keys() - OLD))
def test_nothing_is_carried_out_that_nginx_did_not_see(behind_nginx: Door, name: str) -> None:
    """Nginx understands some of what we refuse. What it then takes for the next request is one, answered as one."""
    case, server = CASES[name], behind_nginx.server
    replies = exchange(behind_nginx, case.make(begin(server, "PUT", "outer"), hidden(server)), "PUT")
    assert len(replies) == 1 or case.outcome != DONE
    assert all(reply.status < 500 or reply.status == 501 for reply in replies)
    with behind_nginx.wire() as wire:
        for _ in range(3):  # nothing was left on the connections that nginx keeps to us
            wire.begin()
            wire.send(SENTINEL)
            assert wire.answer().body == b"ok\n", "an answer to what was left over"
    assert carried_out(server) == sum(reply.status in (201, 204) for reply in replies[1:])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("signed_in", [True, False])
@pytest.mark.parametrize("through", ["bare", "behind_nginx"])
def test_a_body_that_nobody_reads_is_no_request(
    request: pytest.FixtureRequest, through: str, method: str, signed_in: bool
) -> None:
    door: Door = request.getfixturevalue(through)
    for name, make in ((name, case.make) for name, case in CASES.items() if case.outcome == DONE):
        path = "none" if method == "GET" else "outer"
        raw = make(begin(door.server, method, path, signed_in=signed_in), hidden(door.server))
        (reply,) = exchange(door, raw, method)
        assert reply.status < 500, name
        if not signed_in:
            assert reply.status == (200 if method == "OPTIONS" else 401), name
    assert carried_out(door.server) == 0
