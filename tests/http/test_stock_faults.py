"""The faults that WsgiDAV and cheroot have as they come, shown there, and shown to be gone here.

Each trial does the same to both servers and returns what it saw; the table says what that is on each. A row whose fault
has gone from the stock libraries fails too: then what overrides it may go.
"""

from __future__ import annotations

import http.client
import os
import queue
import re
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from wsgidav.lock_man import lock_storage

from server.http import tls
from tests.http.fronts import ends_in_tls, heeding_ends
from tests.http.stock import Target, of_ours, stock
from tests.serving import Reply, serving, start

#: How patient the stock server over TLS is with a silent client; ten seconds by itself.
STALL_SECONDS = 6
LOCK = {
    "principal": "anna",
    "type": "write",
    "scope": "exclusive",
    "depth": "0",
    "owner": b"",
    "timeout": 60,
    "root": "/x",
}
CLOSE = b"Connection: close\r\n"


class Row(NamedTuple):
    """A trial, and what it sees on the stock server and on ours."""

    trial: Callable[[Target], object]
    stock: object
    ours: object


def put(target: Target, name: str, content: bytes) -> str:
    """Put a document; return its ETag."""
    reply = target.dav().put(f"{target.home}/{name}", content)
    assert reply.status in (201, 204)
    return reply.headers.get("etag", "")


def content(target: Target, name: str) -> bytes | int:
    """Return what a document holds, or the status that there is instead."""
    reply = target.dav().get(f"{target.home}/{name}")
    return reply.body if reply.status == 200 else reply.status


def propfind(target: Target, name: str, inner: str, depth: str = "0") -> Reply:
    body = f'<?xml version="1.0"?><D:propfind xmlns:D="DAV:">{inner}</D:propfind>'
    return target.dav().propfind(f"{target.home}/{name}", body, depth)


# --- data


def cut(target: Target, name: str) -> None:
    """Begin to put a thousand bytes, send five, and go."""
    with target.connect() as sock:
        sock.sendall(target.begin("PUT", name) + b"Content-Length: 1000\r\n\r\nfives")
        time.sleep(0.5)


def upload_cut_short(target: Target) -> object:
    cut(target, "cut")
    time.sleep(0.5)
    return content(target, "cut")


def upload_cut_short_over_a_document(target: Target) -> object:
    put(target, "over", b"what stood there")
    cut(target, "over")
    time.sleep(0.5)
    return content(target, "over")


def upload_that_fails(target: Target) -> object:
    put(target, "failing", b"what stood there")
    target.said(target.begin("PUT", "failing") + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n")
    return content(target, "failing")


def destination_with_a_question_mark(target: Target) -> object:
    put(target, "asked", b"x")
    dav = target.dav()
    dav.request("MOVE", f"{target.home}/asked", Destination=f"{dav.origin}{dav.href(target.home)}/q%3Fx.txt")
    return content(target, "q?x.txt")


def if_match_where_nothing_stands(target: Target) -> object:
    return target.dav().put(f"{target.home}/missing", b"x", If_Match='"x"').status


def condition_on_another_resource(target: Target) -> object:
    put(target, "one", b"1")
    put(target, "other", b"2")
    dav = target.dav()
    return dav.put(f"{target.home}/one", b"x", If=f'<{dav.origin}{dav.href(target.home)}/other> (["wrong"])').status


def two_versions_within_a_second(target: Target) -> object:
    """Tell whether two contents of one length can have one ETag. They must fall into one second, so try a few times."""
    dav = target.dav()
    for _ in range(5):
        tags = set()
        for body in (b"first!", b"second"):
            dav.put(f"{target.home}/tagged", body)
            tags.add(dav.request("HEAD", f"{target.home}/tagged").headers["etag"])
        if len(tags) == 1:
            return True
    return False


# --- denial of service


def memory_of_a_body_that_nobody_wants(target: Target) -> object:
    """Tell whether a stranger's upload of 128 MiB is held in memory."""
    before, size = target.peak_bytes(), 128 * 1024 * 1024
    with target.connect() as sock:
        sock.settimeout(20)
        try:
            sock.sendall(target.begin("PUT", "unwanted", signed_in=False) + b"Content-Length: %d\r\n\r\n" % size)
            for _ in range(128):
                sock.sendall(bytes(size // 128))
            sock.recv(100)
        except OSError:
            pass
    return target.peak_bytes() - before > size // 2


def answers_to_a_body_that_nobody_wants(target: Target) -> object:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
    body = b"%x;a= /dav HTTP/1.1\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
    said = target.said(target.begin("PUT", "unwanted", signed_in=False) + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    return len(re.findall(rb"HTTP/1\.1 [2-5]", said)) > 1


def time_of_one_large_chunk(target: Target) -> object:
    """Tell whether a chunk four times as long costs far more than four times as much, however fast the machine is."""

    def cpu_seconds(size: int) -> float:
        before = target.cpu_seconds()
        raw = target.begin("PUT", f"chunk-{size}") + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert b" 201 " in target.said(raw + b"%x\r\n%s\r\n0\r\n\r\n" % (size, bytes(size)), 60)
        return target.cpu_seconds() - before

    return cpu_seconds(32_000_000) > 8 * max(cpu_seconds(8_000_000), 0.02)


def idle_after_chunks(target: Target) -> object:
    """Tell whether somebody is answered beside twenty who have put something in chunks and are idle now."""
    raw = target.begin("PUT", "chunked") + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    idle = [target.connect() for _ in range(20)]
    try:
        for sock in idle:
            sock.sendall(raw)
            sock.recv(65536)
        return target.answers_within(5)
    finally:
        for sock in idle:
            sock.close()


def many_that_stall(target: Target, sent: bytes) -> object:
    """Tell whether somebody is answered beside fifty who stall."""
    stalled = [target.connect() for _ in range(50)]
    try:
        for sock in stalled:
            sock.sendall(sent)
        time.sleep(0.3)
        return target.answers_within(5)
    finally:
        for sock in stalled:
            sock.close()


def fifty_stalled_heads(target: Target) -> object:
    return many_that_stall(target, b"GET / HTTP/1.1\r\nX-Slow: ")


def fifty_stalled_uploads(target: Target) -> object:
    return many_that_stall(target, target.begin("PUT", "stalled") + b"Content-Length: 1000\r\n\r\nsome")


def status_of(said: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 ([0-9]{3})", said)
    return int(found[1]) if found else 0


def head_of_a_megabyte(target: Target) -> object:
    return status_of(target.said(target.begin("OPTIONS", "") + CLOSE + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n", 5))


def thousand_fields(target: Target) -> object:
    return status_of(target.said(target.begin("OPTIONS", "") + CLOSE + b"X: y\r\n" * 1000 + b"\r\n", 5))


def xml_of_two_megabytes(target: Target) -> object:
    return propfind(target, "", f"<D:prop><!--{'x' * 2_000_000}--><D:getetag/></D:prop>").status


def leave_to_send_for_a_stranger(target: Target) -> object:
    raw = target.begin("PUT", "unasked", signed_in=False) + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    return status_of(target.said(raw))


def framed(*fields: bytes, body: bytes = b"hello") -> Callable[[Target], object]:
    """A PUT with these fields; the trial returns its status, 2xx as 200."""

    def trial(target: Target) -> object:
        raw = target.begin("PUT", "framed") + CLOSE + b"".join(fields) + b"\r\n" + body
        status = status_of(target.said(raw, 5))
        return 200 if 200 <= status < 300 else status

    return trial


# --- standards


def names_of_properties(target: Target) -> object:
    """Tell whether `propname` names properties and gives no value."""
    put(target, "named", b"x")
    reply = propfind(target, "named", "<D:propname/>")
    if reply.status != 207:
        return False
    props = reply.xml().findall(".//{DAV:}prop/*")
    return len(props) > 3 and not any(each.text or len(each) for each in props)


def included_property(target: Target) -> object:
    put(target, "included", b"x")
    wanted = '<D:allprop/><D:include><W:Win32LastModifiedTime xmlns:W="urn:schemas-microsoft-com:"/></D:include>'
    reply = propfind(target, "included", wanted)
    return reply.status == 207 and b"Win32LastModifiedTime" in reply.body


def etag_property_is_the_header(target: Target) -> object:
    put(target, "tag", b"x")
    found = propfind(target, "tag", "<D:prop><D:getetag/></D:prop>").xml().findtext(".//{DAV:}getetag")
    return found == target.dav().request("HEAD", f"{target.home}/tag").headers["etag"]


def not_modified_since_just_then(target: Target) -> object:
    put(target, "dated", b"x")
    dav = target.dav()
    when = dav.get(f"{target.home}/dated").headers["last-modified"]
    return dav.get(f"{target.home}/dated", If_Modified_Since=when).status


def two_ranges(target: Target) -> object:
    put(target, "ranged", b"0123456789")
    reply = target.dav().get(f"{target.home}/ranged", Range="bytes=0-1,8-9")
    return (reply.status, b"01" in reply.body and b"89" in reply.body)


def listing_of_everything(target: Target) -> object:
    return propfind(target, "", "<D:prop><D:getetag/></D:prop>", "infinity").status


def listing_beside_a_control_character(target: Target) -> object:
    target.said(target.begin("MKCOL", "odd") + b"\r\n")
    raw = target.begin("PUT", "odd/x").replace(b"/odd/x ", b"/odd/a%01b ") + b"Content-Length: 1\r\n\r\nx"
    target.said(raw)
    reply = propfind(target, "odd", "<D:prop><D:displayname/></D:prop>", "1")
    try:
        return reply.status == 207 and len(reply.xml()) > 0
    except Exception:
        return False


def path_that_is_no_text(target: Target) -> object:
    return 400 <= status_of(target.said(target.begin("GET", "x").replace(b"/x ", b"/%ff ", 1) + b"\r\n")) < 500


def malformed_credentials(target: Target) -> object:
    raw = target.begin("GET", "x", signed_in=False) + b"Authorization: Basic !!!\r\n\r\n"
    return status_of(target.said(raw))


def connections_that_may_stay(target: Target) -> object:
    """Tell whether twenty clients keep their connections."""
    standing = [http.client.HTTPConnection(*target.address, timeout=20) for _ in range(20)]
    try:
        for connection in standing:
            connection.request("OPTIONS", "/")
            connection.getresponse().read()
        return all(connection.sock is not None for connection in standing)
    finally:
        for connection in standing:
            connection.close()


ROWS: dict[str, Row] = {
    "an upload cut short is committed": Row(upload_cut_short, b"fives", 404),
    "an upload cut short destroys the document": Row(upload_cut_short_over_a_document, b"fives", b"what stood there"),
    "an upload that fails leaves nothing": Row(upload_that_fails, b"", b"what stood there"),
    "a destination is decoded before it is taken apart": Row(destination_with_a_question_mark, 404, b"x"),
    "If-Match on nothing makes a document": Row(if_match_where_nothing_stands, 201, 412),
    "a condition on another resource is not looked at": Row(condition_on_another_resource, 204, 412),
    "two versions within a second have one ETag": Row(two_versions_within_a_second, True, False),
    "a body that nobody wants is read in one piece": Row(memory_of_a_body_that_nobody_wants, True, False),
    "a body that nobody wants becomes a request": Row(answers_to_a_body_that_nobody_wants, True, False),
    "one large chunk is read in quadratic time": Row(time_of_one_large_chunk, True, False),
    "who has put something in chunks keeps a thread busy": Row(idle_after_chunks, False, True),
    "fifty stalled heads are an outage": Row(fifty_stalled_heads, False, True),
    "fifty stalled uploads are an outage": Row(fifty_stalled_uploads, False, True),
    "heads have no limit": Row(head_of_a_megabyte, 200, 431),
    "fields have no limit": Row(thousand_fields, 200, 431),
    "XML has no limit": Row(xml_of_two_megabytes, 207, 413),
    "a stranger is given leave to send": Row(leave_to_send_for_a_stranger, 100, 401),
    "a length beside a coding": Row(
        framed(b"Content-Length: 10\r\nTransfer-Encoding: chunked\r\n", body=b"5\r\nhello\r\n0\r\n\r\n"), 200, 400
    ),
    "two lengths": Row(framed(b"Content-Length: 5\r\nContent-Length: 5\r\n"), 200, 400),
    "a space before the colon": Row(framed(b"Content-Length : 5\r\n"), 200, 400),
    "a length with a sign": Row(framed(b"Content-Length: +5\r\n"), 200, 400),
    "a length with an underscore": Row(framed(b"Content-Length: 0_5\r\n"), 200, 400),
    "a chunk with a prefix": Row(
        framed(b"Transfer-Encoding: chunked\r\n", body=b"0x5\r\nhello\r\n0\r\n\r\n"), 200, 400
    ),
    "a chunk with a sign": Row(framed(b"Transfer-Encoding: chunked\r\n", body=b"+5\r\nhello\r\n0\r\n\r\n"), 200, 400),
    "propname is broken": Row(names_of_properties, False, True),
    "include is not heeded": Row(included_property, False, True),
    "the ETag property is not the header": Row(etag_property_is_the_header, False, True),
    "If-Modified-Since does not hold for the same second": Row(not_modified_since_just_then, 200, 304),
    "of several ranges only the last is given": Row(two_ranges, (206, False), (206, True)),
    "everything may be listed": Row(listing_of_everything, 207, 403),
    "a control character in a name breaks the listing": Row(listing_beside_a_control_character, False, True),
    "a path that is no text ends the connection": Row(path_that_is_no_text, False, True),
    "malformed credentials are a fault of the server's": Row(malformed_credentials, 500, 401),
    "ten connections may stay": Row(connections_that_may_stay, False, True),
}


@pytest.fixture(scope="module")
def our_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with serving(tmp_path_factory.mktemp("ours") / "data") as server:
        yield of_ours(server)


@pytest.fixture(scope="module")
def stock_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with stock(tmp_path_factory.mktemp("theirs")) as target:
        yield target


@pytest.fixture
def ours(our_server: Target) -> Iterator[Target]:
    """Our server; the clients of one trial are not in the way of the next."""
    yield our_server
    our_server.close()


@pytest.fixture
def theirs(stock_server: Target) -> Iterator[Target]:
    """The stock server, likewise."""
    yield stock_server
    stock_server.close()


@pytest.mark.parametrize("name", ROWS)
def test_the_stock_server_has_the_fault(theirs: Target, name: str) -> None:
    assert ROWS[name].trial(theirs) == ROWS[name].stock


@pytest.mark.parametrize("name", ROWS)
def test_ours_does_not(ours: Target, name: str) -> None:
    assert ROWS[name].trial(ours) == ROWS[name].ours


# --- what takes a server of its own


def test_an_interrupt_commits_no_part_of_an_upload(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    with stock(folder) as target, target.connect() as sock:
        sock.sendall(target.begin("PUT", "part") + b"Content-Length: 1000\r\n\r\nfives")
        time.sleep(1)
        os.kill(target.pids[0], signal.SIGINT)
        assert sock.recv(100).startswith(b"HTTP/1.1 201")
    assert (folder / "part").read_bytes() == b"fives"
    with serving(tmp_path / "ours", **{"process.drain_seconds": 1}) as server:
        target = of_ours(server)
        with target.connect() as sock:
            sock.sendall(target.begin("PUT", "part") + b"Content-Length: 1000\r\n\r\nfives")
            time.sleep(1)
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(60) == 0
            assert sock.recv(100) == b""
        again = start(server.world.installation.folder, server.world)
        target = of_ours(again)
        try:
            assert content(target, "part") == 404
        finally:
            target.close()
            again.stop()


@pytest.fixture(scope="module")
def both_over_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, Target]]:
    folder = tmp_path_factory.mktemp("tls")
    certificate = tls.self_signed(folder / "tls", "127.0.0.1")
    with stock(folder / "theirs", tls=certificate, timeout=STALL_SECONDS) as theirs:
        with serving(folder / "ours", **{"http.self_signed": True}) as server:
            yield theirs, of_ours(server)


def test_a_silent_client_before_its_handshake_stalls_nobody(both_over_tls: tuple[Target, Target]) -> None:
    def answers_beside_a_silent_one(target: Target) -> bool:
        client = ssl.create_default_context(cafile=str(target.certificate))
        with target.connect():
            time.sleep(0.3)
            return target.answers_within(STALL_SECONDS / 2, client)

    theirs, ours = both_over_tls
    assert not answers_beside_a_silent_one(theirs)
    assert answers_beside_a_silent_one(ours)


def test_the_end_of_a_connection_is_said_in_tls_too(both_over_tls: tuple[Target, Target]) -> None:
    def ends_cleanly(target: Target) -> bool:
        client = heeding_ends(target.certificate)
        with client.wrap_socket(target.connect(), server_hostname="127.0.0.1", suppress_ragged_eofs=False) as sock:
            sock.sendall(b"OPTIONS / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            return ends_in_tls(sock)

    theirs, ours = both_over_tls
    assert not ends_cleanly(theirs)
    assert ends_cleanly(ours)


def at_once(work: Callable[[], object], count: int) -> list[object]:
    """Do the same in several threads at once; return what each got, or the error it met."""
    ready, got = threading.Barrier(count), []

    def run() -> None:
        ready.wait()
        try:
            got.append(work())
        except Exception as error:
            got.append(type(error))

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_who_asks_for_a_lock_that_has_just_expired_meets_no_error(
    ours: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two who find the same lock expired both want to delete it: the stock storage denies that to one by an error."""
    storage = lock_storage.LockStorageDict()
    storage.open()
    token = storage.create("/x", dict(LOCK))["token"]
    storage._dict[token]["expire"] = 1
    both, shown = threading.Barrier(2), lock_storage.lock_string

    def meet(lock: object) -> object:  # called between the look and the deletion
        with suppress(threading.BrokenBarrierError):
            both.wait(5)
        return shown(lock)

    monkeypatch.setattr(lock_storage, "lock_string", meet)
    assert ValueError in at_once(lambda: storage.get(token), 2)
    body = (
        '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>'
        "</D:lockinfo>"
    )
    path = f"{ours.home}/expiring"
    assert ours.dav().request("LOCK", path, body, Timeout="Second-1").status == 201
    time.sleep(2)
    clients = queue.SimpleQueue[Any]()
    for _ in range(6):
        clients.put(ours.dav())
    got = at_once(lambda: clients.get().request("LOCK", path, body).status, 6)
    assert sorted(got, key=str) in ([200, *[423] * 5], [201, *[423] * 5])
