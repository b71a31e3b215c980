"""davfs2, cadaver, gvfs, LibreOffice, rclone, lftp, WinSCP, curl: C1 to C9 of what real clients demand, replayed.

The programs themselves, where Debian has them, run against the server in tests of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from tests.serving import SPACE, Dav, Served
from tests.webdav.clients.traces import FIRST, LOCK, SECOND, Step, asks, replay, sets
from tests.webdav.conftest import Home, wire_to

OC, ME = "{http://owncloud.org/ns}checksums", "{ME:}sha1hex"
EXECUTABLE = "{http://apache.org/dav/props/}executable"
CONTENT = b"what rclone sends"
SHA1, MD5 = (hashlib.new(name, CONTENT, usedforsecurity=False).hexdigest() for name in ("sha1", "md5"))
RCLONE = "rclone/v1.60.1-DEV"

TRACES: dict[str, list[Step]] = {
    "C1 davfs2 creates": [
        Step("LOCK", "a", 201, {"Depth": "0", "Timeout": "Second-1800"}, LOCK, keep={"token": "lock-token"}),
        Step("HEAD", "a", 200, keep={"etag": "etag"}),
        Step("PUT", "a", 204, {"If_Match": "{etag}", "If": "<{base}/a> ({token})"}, b"x"),
        Step("UNLOCK", "a", 204, {"Lock_Token": "{token}"}),
        Step("GET", "a", 200, holds="x", keep={"etag": "etag", "date": "last-modified"}),
        Step("GET", "a", 304, {"If_None_Match": "{etag}", "If_Modified_Since": "{date}"}),
    ],
    "C1 davfs2 makes executable": [
        Step("PUT", "a", 201, body=b"x"),
        Step("PROPPATCH", "a", 207, body=sets({EXECUTABLE: "T"}), holds="200 OK"),
        Step("PROPFIND", "a", 207, {"Depth": "0"}, asks(EXECUTABLE, "{DAV:}getetag"), shows={EXECUTABLE: "T"}),
        Step("PROPPATCH", "a", 207, body=sets({EXECUTABLE: "F"}), holds="200 OK"),
        Step("PROPFIND", "a", 207, {"Depth": "0"}, asks(EXECUTABLE), shows={EXECUTABLE: "F"}),
    ],
    "webdavclient3 saves under a lock, whose token it sends with every request": [
        Step("MKCOL", "d", 201),
        Step("PUT", "d/a", 201, body=b"x"),
        Step("LOCK", "d/a", 200, {"Timeout": "Second-30"}, LOCK, keep={"token": "lock-token"}),
        Step("PUT", "d/a", 423, body=b"y"),
        Step("HEAD", "d/", 200, {"If": "({token})"}),
        Step("PUT", "d/a", 204, {"If": "({token})"}, b"y"),
        Step("HEAD", "d/b", 404, {"If": "({token})"}),
        Step("PROPFIND", "d/", 207, {"If": "({token})", "Depth": "1"}),
        Step("UNLOCK", "d/a", 204, {"Lock_Token": "{token}"}),
        Step("GET", "d/a", 200, {"If": "({token})"}, holds="y"),
    ],
    "C2 cadaver probes": [
        Step("PROPFIND", "b/", 404, {"Depth": "0"}),
        Step("PUT", "a", 201, body=b"x"),
        Step("COPY", "a", 201, {"Destination": "{base}/b", "Overwrite": "F"}),
        Step("PROPPATCH", "a", 207, body=sets({"{urn:x}p": "1"})),
        Step(
            "PROPFIND",
            "a",
            207,
            {"Depth": "0"},
            '<propfind xmlns="DAV:"><propname/></propfind>',
            shows={"{urn:x}p": None, "{DAV:}getetag": None, "{DAV:}resourcetype": None},
            lacks=">1<",
        ),
    ],
    "C3 gvfs": [
        Step("PUT", "a", 201, {"Overwrite": "T"}, b"x", keep={"etag": "etag"}),
        Step("PUT", "a", 204, {"If_Match": "{etag}", "Overwrite": "T"}, b"y"),
        Step("PUT", "a", 412, {"If_Match": "{etag}", "Overwrite": "T"}, b"z"),
        Step("MOVE", "a", 201, {"Destination": "{base}/b", "Overwrite": "F"}),
        Step("PUT", "a", 201, {"Overwrite": "T"}, b"x"),
        Step("MOVE", "a", 412, {"Destination": "{base}/b", "Overwrite": "F"}),
    ],
    "C4 LibreOffice": [
        Step("MKCOL", "d", 201),
        Step("HEAD", "d/", 200),
        Step("PUT", "a.odt", 201, body=b"x"),
        Step("LOCK", "a.odt", 200, {"Depth": "0", "Timeout": "Second-180"}, LOCK, keep={"token": "lock-token"}),
        Step("HEAD", "a.odt", 200),
        Step("PUT", "a.odt", 204, {"If": "({token})"}, b"y"),
        Step("UNLOCK", "a.odt", 204, {"Lock_Token": "{token}"}),
    ],
    "C5 rclone uploads and compares": [
        Step("PUT", "a", 400, {"OC_Checksum": f"SHA1:{SHA1}"}, b"what rclone did not send"),
        Step("GET", "a", 404),
        Step(
            "PUT",
            "a",
            201,
            {"OC_Checksum": f"SHA1:{SHA1}", "X_OC_Mtime": "1500000000"},
            CONTENT,
            told={"x-oc-mtime": "accepted"},
        ),
        Step(
            "PROPFIND",
            "a",
            207,
            {"Depth": "0"},
            asks("{DAV:}getlastmodified", OC),
            shows={"{DAV:}getlastmodified": FIRST},
            holds=f'checksum xmlns:x="http://owncloud.org/ns">SHA1:{SHA1} MD5:{MD5}<',
        ),
        Step("PUT", "a", 400, {"OC_Checksum": f"MD5:{MD5}"}, b"other"),
        Step("GET", "a", 200, holds=CONTENT.decode()),
        Step("PUT", "a", 204, body=b"by another client"),
        Step("PROPFIND", "a", 207, {"Depth": "0"}, asks(OC), lacks=SHA1, holds="SHA1:"),
    ],
    "C5 rclone sets times": [
        Step("PUT", "a", 201, body=CONTENT),
        Step("PROPPATCH", "a", 207, body=sets({"{DAV:}lastmodified": "1500000060"}), holds="200 OK"),
        Step("HEAD", "a", 200, told={"last-modified": SECOND}),
        Step(
            "COPY", "a", 201, {"Destination": "{base}/b", "X_OC_Mtime": "1500000000"}, told={"x-oc-mtime": "accepted"}
        ),
        Step("HEAD", "b", 200, told={"last-modified": FIRST}),
        Step(
            "MOVE",
            "b",
            201,
            {"Destination": "{base}/c", "X_OC_Mtime": "1500000060.25"},
            told={"x-oc-mtime": "accepted"},
        ),
        Step("HEAD", "c", 200, told={"last-modified": SECOND}),
        Step(
            "MOVE", "c", 204, {"Destination": "{base}/a", "X_OC_Mtime": "1500000000"}, told={"x-oc-mtime": "accepted"}
        ),
        Step("HEAD", "a", 200, told={"last-modified": FIRST}),
        Step("MOVE", "a", 201, {"Destination": "{base}/d", "X_OC_Mtime": "soon"}, told={"x-oc-mtime": ""}),
        Step("HEAD", "d", 200, told={"last-modified": FIRST}),
    ],
    "C5 rclone as at Fastmail": [
        Step("PUT", "a", 201, {"X_OC_Mtime": "1500000000"}, CONTENT),
        Step(
            "PROPFIND", "a", 207, {"Depth": "0", "User_Agent": RCLONE}, shows={ME: SHA1, "{DAV:}getlastmodified": FIRST}
        ),
        Step("PROPFIND", "a", 207, {"Depth": "0"}, shows={ME: None}),
        Step("PROPFIND", "a", 207, {"Depth": "0"}, asks(ME), shows={ME: SHA1}),
    ],
    "C6 lftp": [
        Step(
            "PUT", "a", 201, {"X_OC_Mtime": "1500000000"}, b"x", told={"x-oc-mtime": "accepted", "last-modified": FIRST}
        ),
    ],
    "C7 WinSCP": [
        Step("PUT", "a", 201, body=b"x"),
        Step("PROPPATCH", "a", 207, body=sets({"{DAV:}getlastmodified": FIRST}), holds="200 OK"),
        Step(
            "PROPFIND", "a", 207, {"Depth": "0"}, asks("{DAV:}getlastmodified"), shows={"{DAV:}getlastmodified": FIRST}
        ),
    ],
    "C8 curl": [
        Step("PUT", "a", 201, body=[b"in ", b"chunks"]),
        Step("GET", "a", 200, holds="in chunks"),
        Step("PUT", "a", 400, {"Content_Range": "bytes 3-8/9"}, b"pieces"),
        Step("PUT", "a-chunking-4711-2-0", 400, {"OC_Chunked": "1"}, b"pieces"),
        Step("GET", "a-chunking-4711-2-0", 404),
        Step("GET", "a", 200, holds="in chunks"),
    ],
}


@pytest.mark.parametrize("line", TRACES)
def test_client(home: Home, line: str) -> None:
    replay(home, TRACES[line])


def test_c3_an_empty_put_may_lack_a_length(server: Served, home: Home) -> None:
    with wire_to(server) as wire:
        head = (
            f"PUT {home.dav.href(home / 'a')} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {home.dav._authorization}\r\n"
        )
        wire.send(f"{head}Overwrite: T\r\n\r\n".encode())
        assert wire.answer()[0] == 201
    assert home.dav.get(home / "a").body == b""


@pytest.mark.parametrize("method", ["PROPFIND", "LOCK", "PUT"], ids=lambda method: f"C4 {method}")
def test_c4_every_body_may_be_announced(server: Served, home: Home, method: str) -> None:
    home.dav.put(home / "a", b"x")
    body = {"PROPFIND": asks("{DAV:}getetag"), "LOCK": LOCK, "PUT": "y"}[method].encode()
    status = {"PROPFIND": 207, "LOCK": 200, "PUT": 204}[method]
    with wire_to(server) as wire:
        wire.send(
            f"{method} {home.dav.href(home / 'a')} HTTP/1.1\r\nHost: x\r\nDepth: 0\r\n"
            f"Authorization: Basic {home.dav._authorization}\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert wire.answer()[0] == 100
        wire.send(body)
        assert wire.answer()[0] == status


def test_c5_a_listing_has_the_checksums_of_what_may_be_read(home: Home, client: Callable[[str | None], Dav]) -> None:
    contents = {f"{number}.txt": b"%d" % number * 1000 for number in range(5)} | {"empty": b""}
    for name, content in contents.items():
        home.dav.put(home / name, content)
    home.dav.request("MKCOL", home / "folder")
    for _ in range(2):  # made at first, known at last
        found = home.dav.propfind(home.path, asks(OC, "{DAV:}resourcetype"), depth="1").properties()
        texts = {href.rpartition("/")[2]: "".join(each[OC].itertext()) for href, each in found.items() if OC in each}
        assert texts == {
            name: f"SHA1:{hashlib.sha1(content, usedforsecurity=False).hexdigest()} "
            f"MD5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}"
            for name, content in contents.items()
        }


def test_c5_checksums_are_not_kept_for_what_they_are_not_of(home: Home) -> None:
    home.dav.put(home / "a", CONTENT, OC_Checksum=f"SHA1:{SHA1}")
    url = f"{home.dav.origin}{home.dav.href(home / 'b')}"
    assert home.dav.request("COPY", home / "a", Destination=url).status == 201
    for name in ("a", "b"):
        (found,) = home.dav.propfind(home / name, asks(OC)).properties().values()
        assert "".join(found[OC].itertext()) == f"SHA1:{SHA1} MD5:{MD5}"
    reply = home.dav.request("PROPPATCH", home / "a", sets({OC: "SHA1:0", ME: "0"}).encode())
    assert reply.status == 207 and b"403 Forbidden" in reply.body


def test_c9_probes_are_no_events(server: Served, home: Home) -> None:
    before = server.world.kinds(SPACE)
    for name in ("desktop.ini", "Thumbs.db", "AutoRun.inf", ".hidden", "._x", ".DS_Store", "folder.jpg"):
        assert home.dav.propfind(home / name).status == 404
    assert server.world.kinds(SPACE) == before
