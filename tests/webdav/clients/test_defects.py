"""Faults of stock WebDAV servers that are none of ours: D1 to D13 of what real clients demand."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable

import pytest

from tests.serving import Dav, Served, serving
from tests.webdav.clients.traces import Step, asks, replay, sets
from tests.webdav.conftest import Home, head_of, wire_to

TRACES: dict[str, list[Step]] = {
    "D2 a destination is split before it is decoded": [
        Step("PUT", "a", 201, body=b"x"),
        Step("MOVE", "a", 201, {"Destination": "{base}/b%3Bc.txt"}, told={"location": "{path}/b%3Bc.txt"}),
        Step("MOVE", "b;c.txt", 201, {"Destination": "{base}/q%3Fx%23y.txt"}),
        Step("COPY", "q?x#y.txt", 201, {"Destination": "{base}/plain;no-params"}),
        Step("PROPFIND", "", 207, {"Depth": "1"}, holds="{path}/q%3Fx%23y.txt<"),
        Step("GET", "plain;no-params", 200, holds="x"),
        Step("GET", "q", 404),
        Step("GET", "plain", 404),
    ],
    "D3 a bare folder is copied bare": [
        Step("MKCOL", "d", 201),
        Step("PUT", "d/a", 201, body=b"x"),
        Step("COPY", "d", 201, {"Destination": "{base}/bare", "Depth": "0"}),
        Step("GET", "bare/a", 404),
        Step("COPY", "d", 201, {"Destination": "{base}/deep", "Depth": "infinity"}),
        Step("GET", "deep/a", 200, holds="x"),
        Step("COPY", "d", 204, {"Destination": "{base}/deep", "Depth": "0", "Overwrite": "T"}),
        Step("GET", "deep/a", 404),
        Step("GET", "d/a", 200),
    ],
    "D5 one entity tag in both places": [
        Step("PUT", "a", 201, body=b"x", told={"etag": '"[^"]+"'}, keep={"etag": "etag"}),
        Step("HEAD", "a", 200, told={"etag": "{etag}"}),
        Step("PROPFIND", "a", 207, {"Depth": "0"}, asks("{DAV:}getetag"), shows={"{DAV:}getetag": "{etag}"}),
        Step("PUT", "a", 204, {"If_Match": "{etag}"}, b"y"),
    ],
    "D6 the same second is not modified": [
        Step("PUT", "a", 201, body=b"x", keep={"date": "last-modified"}),
        Step("GET", "a", 304, {"If_Modified_Since": "{date}"}),
        Step("GET", "a", 200, {"If_Modified_Since": "Fri, 14 Jul 2017 02:40:00 GMT"}),
    ],
    "D7 HEAD is as GET, and no DAV method redirects": [
        Step("MKCOL", "d", 201),
        *(Step(method, "d", 301, told={"location": "{path}/d/"}) for method in ("GET", "HEAD")),
        *(Step(method, "d/", 200) for method in ("GET", "HEAD")),
        *(Step("PROPFIND", name, 207, {"Depth": "1"}) for name in ("d", "d/")),
        Step("PROPPATCH", "d", 207, body=sets({"{urn:x}p": "1"})),
        Step("COPY", "d", 201, {"Destination": "{base}/e"}),
        Step("MOVE", "e", 201, {"Destination": "{base}/f"}),
        Step("DELETE", "f", 204),
    ],
    "D12 X-OC-Mtime is taken, and never a reason to refuse": [
        Step(
            "PUT",
            "a",
            201,
            {"X_OC_Mtime": "1500000000"},
            told={"x-oc-mtime": "accepted", "last-modified": ".*02:40:00.*"},
        ),
        Step("PUT", "b", 201, {"X_OC_Mtime": "1500000000.5"}, told={"x-oc-mtime": "accepted"}),
        *(
            Step("PUT", f"c{n}", 201, {"X_OC_Mtime": text}, told={"x-oc-mtime": ""})
            for n, text in enumerate(("-1", "x", ""))
        ),
    ],
}


@pytest.mark.parametrize("line", TRACES)
def test_defect(home: Home, line: str) -> None:
    replay(home, TRACES[line])


CUTS = {
    "plain": (("Content-Length: 100000",), b"new" * 1000),
    "plain at once": (("Content-Length: 100000",), b""),
    "chunked within": (("Transfer-Encoding: chunked",), b"186a0\r\n" + b"new" * 1000),
    "chunked between": (("Transfer-Encoding: chunked",), b"3\r\nnew\r\n"),
    "chunked before the end": (("Transfer-Encoding: chunked",), b"3\r\nnew\r\n0\r\n"),
    "chunked garbage": (("Transfer-Encoding: chunked",), b"3\r\nnew\r\nzz\r\n"),
}


@pytest.mark.parametrize("name", CUTS, ids=lambda name: f"D1 {name}")
def test_d1_an_upload_cut_short_leaves_the_old_version_and_no_new_name(server: Served, home: Home, name: str) -> None:
    fields, body = CUTS[name]
    before = home.dav.put(home / "old", b"old")
    for path in (home / "old", home / "new"):
        with wire_to(server) as wire:
            wire.send(head_of(server, "PUT", path, *fields) + body)
            wire.sock.shutdown(socket.SHUT_WR)
            while wire.sock.recv(65536):
                pass
    got = home.dav.get(home / "old")
    assert (got.body, got.headers["etag"]) == (b"old", before.headers["etag"])
    assert home.dav.get(home / "new").status == 404
    assert len(home.dav.propfind(home.path, depth="1").properties()) == 2


def test_d4_an_etag_is_of_the_content_and_final(home: Home) -> None:
    etags = [home.dav.put(home / "a", content).headers["etag"] for content in (b"one", b"two", b"six", b"ten")]
    assert len(set(etags)) == 4
    home.dav.request("PROPPATCH", home / "a", sets({"{DAV:}getlastmodified": "Fri, 14 Jul 2017 02:40:00 GMT"}).encode())
    assert home.dav.request("HEAD", home / "a").headers["etag"] == etags[-1]
    assert home.dav.put(home / "a", b"ten").headers["etag"] == etags[-1]  # the same bytes are no new version
    time.sleep(1.1)
    assert home.dav.request("HEAD", home / "a").headers["etag"] == etags[-1]


def test_d5_a_tag_without_quotes_is_accepted(home: Home) -> None:
    etag = home.dav.put(home / "a", b"x").headers["etag"]
    assert home.dav.put(home / "a", b"y", If_Match=etag.strip('"')).status == 204
    assert home.dav.put(home / "a", b"z", If_Match=etag.strip('"')).status == 412


WAYS = {
    "D8 absolute": ("{origin}{href}", 201),
    "D8 with userinfo (lftp)": ("http://u:p%40x@{host}{href}", 201),
    "D8 behind a TLS proxy": ("https://{host}{href}", 201),
    "D8 an absolute path": ("{href}", 201),
    "D8 a public origin": ("https://files.example.org{href}", 201),
    "D8 a public origin with its port": ("https://files.example.org:443{href}", 201),
    "D8 a public origin in capitals": ("HTTPS://Files.Example.ORG{href}", 201),
    "D8 another scheme's port": ("http://files.example.org{href}", 403),
    "D8 another server": ("https://elsewhere.example.org{href}", 403),
    "D8 a server that looks like ours": ("https://files.example.org.evil{href}", 403),
    "D8 a server as userinfo": ("https://files.example.org@evil{href}", 403),
    "D8 outside the drive": ("{origin}/elsewhere", 403),
}


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Served:  # type: ignore[misc]
    """A server that knows by which address the world knows it."""
    folder = tmp_path_factory.mktemp("proxied") / "data"
    with serving(folder, **{"http.public_origins": ("https://files.example.org",), "http.workers": 1}) as found:
        yield found


@pytest.mark.parametrize("way", WAYS)
def test_d8_every_way_to_write_a_destination(proxied: Served, way: str) -> None:
    text, status = WAYS[way]
    dav = proxied.dav("anna")
    space = "/Kund AB – Sandbox"
    dav.put(f"{space}/a", b"x")
    dav.request("DELETE", f"{space}/b")
    there = text.format(origin=dav.origin, host=dav.host, href=dav.href(f"{space}/b"))
    assert dav.request("MOVE", f"{space}/a", Destination=there).status == status
    assert dav.get(f"{space}/b").status == (200 if status == 201 else 404)


@pytest.mark.parametrize(
    ("name", "status"),
    [("%E9", 400), ("%00", 403), ("a" * 300, 414), ("%C3%A5" * 200, 414), ("%2e%2e", 403), ("a%2Fb", 403)],
    ids=["D9 no UTF-8", "D9 NUL", "D9 long", "D9 long in bytes", "D9 up", "D9 slash"],
)
def test_d9_an_impossible_name_is_refused_and_the_connection_stays(home: Home, name: str, status: int) -> None:
    for method in ("GET", "PUT", "PROPFIND", "MKCOL", "DELETE", "LOCK", "MOVE"):
        headers = {"Depth": "0", "Destination": f"{home.dav.origin}/dav/x"}
        assert home.dav.raw(method, f"{home.dav.href(home.path)}/{name}", headers=headers).status == status, method
        moved = {"Destination": f"{home.dav.origin}{home.dav.href(home.path)}/{name}"}
        assert home.dav.raw("COPY", home.dav.href(home.path), headers=moved).status == status


def test_d10_who_is_refused_sends_no_body(server: Served, home: Home) -> None:
    secret = home.dav._authorization
    for fields, statuses in (
        ("", [401]),
        ("Authorization: Basic bm9ib2R5Ondyb25n\r\n", [401]),
        (f"Authorization: Basic {secret}\r\nContent-Range: bytes 0-4/5\r\n", [400]),
        (f"Authorization: Basic {secret}\r\n", [100, 201]),
    ):
        with wire_to(server) as wire:
            head = (
                f"PUT {home.dav.href(home / 'a')} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
            )
            wire.send(f"{head}{fields}\r\n".encode())
            assert wire.answer()[0] == statuses[0]
            if statuses[0] == 100:
                wire.send(b"hello")
                assert wire.answer()[0] == statuses[1]


def test_d11_win32_times_are_times(home: Home) -> None:
    moment = "Fri, 14 Jul 2017 02:40:00 GMT"
    home.dav.put(home / "a", b"x")
    reply = home.dav.request(
        "PROPPATCH", home / "a", sets({"{urn:schemas-microsoft-com:}Win32LastModifiedTime": moment}).encode()
    )
    assert b"200 OK" in reply.body
    assert home.dav.request("HEAD", home / "a").headers["last-modified"] == moment


@pytest.mark.parametrize("domain", ["FIRM\\", "firm.example\\", ".\\", "\\"], ids=lambda each: f"D13 {each}")
def test_d13_a_domain_is_taken_off(server: Served, client: Callable[[str | None], Dav], domain: str) -> None:
    secret = server.world.passwords["anna"]
    given = base64.b64encode(f"{domain}anna:{secret}".encode()).decode()
    headers = {"Authorization": f"Basic {given}", "Depth": "0"}
    assert client(None).raw("PROPFIND", "/dav/", headers=headers).status == 207
