"""PUT, GET and HEAD over the wire: nothing half stored, nothing answered twice as known, faults of stock servers."""

from __future__ import annotations

import email.message
import email.parser
import hashlib
import re
import socket
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from tests.serving import Dav, Served
from tests.webdav.conftest import Home, wire_to


def head_of(server: Served, method: str, path: str, *fields: str) -> bytes:
    dav = server.dav("anna")
    lines = [f"{method} {dav.href(path)} HTTP/1.1", "Host: x", f"Authorization: Basic {dav._authorization}", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


def test_what_was_put_comes_back(home: Home) -> None:
    content = bytes(range(256)) * 9000
    made = home.dav.put(home / "a.pdf", content)
    assert made.status == 201
    assert re.fullmatch(r'"[0-9a-zA-Z_-]+"', made.headers["etag"])
    got = home.dav.get(home / "a.pdf")
    assert (got.status, got.body) == (200, content)
    assert got.headers["etag"] == made.headers["etag"]
    assert got.headers["last-modified"] == made.headers["last-modified"]
    assert got.headers["content-type"] == "application/pdf"
    assert got.headers["x-content-type-options"] == "nosniff" and "sandbox" in got.headers["content-security-policy"]
    assert home.dav.put(home / "a.pdf", b"other").status == 204
    assert home.dav.get(home / "a.pdf").body == b"other"


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 1_048_576, 1_048_577, 5_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_every_size_comes_back(home: Home, size: int, chunked: bool) -> None:
    content = hashlib.shake_128(b"x").digest(size)

    def pieces() -> Iterator[bytes]:
        for start in range(0, size, 100_000):
            yield content[start : start + 100_000]

    assert home.dav.put(home / "a", pieces() if chunked else content).status == 201
    assert home.dav.get(home / "a").body == content


def test_an_empty_put_may_lack_a_length(server: Served, home: Home) -> None:
    with wire_to(server) as wire:
        wire.send(head_of(server, "PUT", home / "a"))
        assert wire.answer()[0] == 201
    assert home.dav.get(home / "a").body == b""


CUTS = {
    "plain": (("Content-Length: 100000",), b"new" * 1000),
    "plain at once": (("Content-Length: 100000",), b""),
    "chunked within": (("Transfer-Encoding: chunked",), b"186a0\r\n" + b"new" * 1000),
    "chunked between": (("Transfer-Encoding: chunked",), b"3\r\nnew\r\n"),
    "chunked before the end": (("Transfer-Encoding: chunked",), b"3\r\nnew\r\n0\r\n"),
    "chunked garbage": (("Transfer-Encoding: chunked",), b"3\r\nnew\r\nzz\r\n"),
}


@pytest.mark.parametrize("name", CUTS)
def test_an_upload_cut_short_leaves_the_old_version_and_no_new_name(server: Served, home: Home, name: str) -> None:
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


def test_a_part_cannot_be_put(home: Home) -> None:
    home.dav.put(home / "a", b"whole")
    assert home.dav.put(home / "a", b"part", Content_Range="bytes 0-3/5").status == 400
    assert home.dav.get(home / "a").body == b"whole"


def test_an_expected_length_that_is_not_met_commits_nothing(home: Home) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"four"

    for length in ("3", "5"):
        assert home.dav.put(home / "a", pieces(), X_Expected_Entity_Length=length).status == 400
    assert home.dav.get(home / "a").status == 404
    assert home.dav.put(home / "a", pieces(), X_Expected_Entity_Length="4").status == 201


def test_a_checksum_that_does_not_fit_commits_nothing(home: Home) -> None:
    right = hashlib.sha1(b"x", usedforsecurity=False).hexdigest()
    assert home.dav.put(home / "a", b"y", OC_Checksum=f"SHA1:{right}").status == 400
    assert home.dav.get(home / "a").status == 404
    assert home.dav.put(home / "a", b"x", OC_Checksum=f"SHA1:{right}").status == 201


@pytest.mark.parametrize(
    ("text", "accepted"), [("1500000000", True), ("1500000000.5", True), ("-1", False), ("soon", False)]
)
def test_a_time_that_came_with_an_upload_is_kept_if_it_is_one(home: Home, text: str, accepted: bool) -> None:
    made = home.dav.put(home / "a", b"x", X_OC_Mtime=text)
    assert made.status == 201
    assert (made.headers.get("x-oc-mtime") == "accepted") is accepted
    assert (made.headers["last-modified"] == "Fri, 14 Jul 2017 02:40:00 GMT") is accepted


def test_etags_differ_within_a_second_and_are_not_moved_by_time(home: Home) -> None:
    first = home.dav.put(home / "a", b"one").headers["etag"]
    second = home.dav.put(home / "a", b"two").headers["etag"]
    assert first != second
    home.dav.proppatch(
        home / "a",
        '<D:set><D:prop><Z:Win32LastModifiedTime xmlns:Z="urn:schemas-microsoft-com:">'
        "Fri, 14 Jul 2017 02:40:00 GMT</Z:Win32LastModifiedTime></D:prop></D:set>",
    )
    got = home.dav.get(home / "a")
    assert got.headers["etag"] == second and got.headers["last-modified"] == "Fri, 14 Jul 2017 02:40:00 GMT"


def test_the_etag_property_is_the_header(home: Home) -> None:
    etag = home.dav.put(home / "a", b"x").headers["etag"]
    found = home.dav.propfind(home / "a").properties()[home.dav.href(home / "a")]
    assert found["{DAV:}getetag"].text == etag


def test_conditional_gets(home: Home) -> None:
    made = home.dav.put(home / "a", b"x")
    etag, date = made.headers["etag"], made.headers["last-modified"]
    for headers, status in (
        ({"If_None_Match": etag}, 304),
        ({"If_None_Match": f"W/{etag}"}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"other"'}, 200),
        ({"If_None_Match": '"other"', "If_Modified_Since": date}, 200),
        ({"If_Modified_Since": date}, 304),
        ({"If_Modified_Since": "Fri, 14 Jul 2017 02:40:00 GMT"}, 200),
        ({"If_Modified_Since": "nonsense"}, 200),
        ({"If_Match": etag}, 200),
        ({"If_Match": etag.strip('"')}, 200),
        ({"If_Match": '"other"'}, 412),
        ({"If_Unmodified_Since": "Fri, 14 Jul 2017 02:40:00 GMT"}, 412),
        ({"If_Unmodified_Since": date}, 200),
    ):
        for method in ("GET", "HEAD"):
            got = home.dav.request(method, home / "a", **headers)
            assert got.status == status, (method, headers)
            assert status != 304 or (got.headers["etag"] == etag and not got.body)


def test_conditional_puts(home: Home) -> None:
    assert home.dav.put(home / "a", b"x", If_Match="*").status == 412
    assert home.dav.put(home / "a", b"x", If_Match='"some"').status == 412
    assert home.dav.get(home / "a").status == 404
    etag = home.dav.put(home / "a", b"x", If_None_Match="*").headers["etag"]
    assert home.dav.put(home / "a", b"y", If_None_Match="*").status == 412
    assert home.dav.put(home / "a", b"y", If_Match='"other"').status == 412
    assert home.dav.put(home / "a", b"y", If=f'(["other"]) (Not [{etag}])').status == 412
    assert home.dav.get(home / "a").body == b"x"
    assert home.dav.put(home / "a", b"y", If_Match=etag.strip('"')).status == 204
    assert home.dav.put(home / "a", b"z", If="not a list").status == 400


def test_a_tagged_condition_on_another_resource_counts(home: Home) -> None:
    etag = home.dav.put(home / "other", b"x").headers["etag"]
    tag = f"<{home.dav.origin}{home.dav.href(home / 'other')}>"
    assert home.dav.put(home / "a", b"y", If=f'{tag} (["wrong"])').status == 412
    assert home.dav.put(home / "a", b"y", If=f"{tag} ([{etag}])").status == 201


def test_ranges_over_the_wire(home: Home) -> None:
    content = hashlib.shake_128(b"r").digest(3_000_000)
    made = home.dav.put(home / "a", content)
    for spec, start, stop in (("0-0", 0, 1), ("1000000-2000000", 1_000_000, 2_000_001), ("-5", 2_999_995, 3_000_000)):
        got = home.dav.get(home / "a", Range=f"bytes={spec}")
        assert (got.status, got.body) == (206, content[start:stop])
        assert got.headers["content-range"] == f"bytes {start}-{stop - 1}/3000000"
    beyond = home.dav.get(home / "a", Range="bytes=3000000-")
    assert (beyond.status, beyond.headers["content-range"]) == (416, "bytes */3000000")
    for condition, status in (
        (made.headers["etag"], 206),
        (made.headers["last-modified"], 206),
        ('"other"', 200),
        ("Fri, 14 Jul 2017 02:40:00 GMT", 200),
    ):
        assert home.dav.get(home / "a", Range="bytes=0-4", If_Range=condition).status == status, condition


def test_several_ranges_come_as_parts(home: Home) -> None:
    content = hashlib.shake_128(b"r").digest(200_000)
    home.dav.put(home / "a.txt", content)
    got = home.dav.get(home / "a.txt", Range="bytes=100000-100009,0-4,5-9")
    assert got.status == 206
    raw = f"Content-Type: {got.headers['content-type']}\r\n\r\n".encode() + got.body
    message = email.parser.BytesParser(_class=email.message.EmailMessage).parsebytes(raw)
    parts = [(part["Content-Range"], part.get_payload(decode=True)) for part in message.iter_parts()]
    assert [place for place, _ in parts] == ["bytes 100000-100009/200000", "bytes 0-9/200000"]
    assert content[100_000:100_010] in got.body and content[:10] in got.body


def test_head_is_get_without_a_body(home: Home) -> None:
    home.dav.put(home / "a", b"hello")
    head, get = home.dav.request("HEAD", home / "a"), home.dav.get(home / "a")
    assert head.status == 200 and not head.body
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


def test_a_folder_answers_head_and_get_alike_and_redirects_no_other_method(home: Home) -> None:
    home.dav.put(home / "secret-name", b"x")
    for path, status in ((home.path, 301), (f"{home.path}/", 200), ("/", 200), ("", 200)):
        head, get = home.dav.request("HEAD", path), home.dav.get(path)
        assert head.status == get.status == status
        assert get.headers.get("location") == (home.dav.href(f"{path}/") if status == 301 else None)
        assert b"secret-name" not in get.body
        assert {**head.headers, "date": ""} == {**get.headers, "date": ""}
    for method in ("PROPFIND", "MOVE"):
        assert home.dav.request(method, home.path, Depth="0", Destination="/dav/").status < 300 or method == "MOVE"


ODD_TARGETS = {
    "no UTF-8": ("%E9", {400}),
    "NUL": ("%00", {400, 403}),
    "control character": ("%0a", {400, 403}),
    "long name": ("a" * 300, {414}),
    "long name in UTF-8": ("%C3%A5" * 150, {414}),
    "encoded slash": ("a%2Fb", {403}),
    "up": ("..", {403}),
    "encoded up": ("%2e%2e", {403}),
    "surrogate": ("%ED%A0%80", {400}),
    "deep": ("a/" * 120, {403}),
}


@pytest.mark.parametrize("method", ["GET", "PUT", "PROPFIND", "MKCOL", "DELETE", "LOCK", "PROPPATCH"])
@pytest.mark.parametrize("name", ODD_TARGETS)
def test_odd_targets_are_refused_cleanly(anna: Dav, name: str, method: str) -> None:
    inner, expected = ODD_TARGETS[name]
    assert anna.raw(method, f"/dav/{inner}", headers={"Depth": "0"}).status in expected


def test_put_on_a_folder_or_with_a_slash_or_without_a_parent(home: Home) -> None:
    home.dav.request("MKCOL", home / "d")
    home.dav.put(home / "f", b"x")
    assert home.dav.put(home / "d", b"x").status == 405
    assert home.dav.put(home / "d/", b"x").status == 405
    assert home.dav.put(home / "none/a", b"x").status == 409
    assert home.dav.put(home / "f/a", b"x").status == 409
    assert home.dav.put("/a", b"x").status == 403


NAMES = [
    "with space", "åäö", "a\u030a\u0308o", "+ # % & ; ? [ ] '", "~$doc", "a,b=c@d", "😀", "%41", "%2F", '<>:"|*\\',
    "dot.", "space ", "CON", "a;b.txt", "q?x.txt", "&amp;", "{}^`",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_name_makes_the_round_trip(home: Home, name: str) -> None:
    content = name.encode()
    assert home.dav.put(home / name, content).status == 201
    hrefs = [href for href in home.dav.propfind(home.path, depth="1").properties() if not href.endswith("/")]
    assert len(hrefs) == 1
    assert home.dav.raw("GET", hrefs[0]).body == content
    away = f"{home.dav.origin}{home.dav.href(home / 'moved')}"
    assert home.dav.raw("MOVE", hrefs[0], headers={"Destination": away, "Overwrite": "F"}).status == 201
    back = home.dav.origin + quote(home.dav.prefix + home / name, safe="/")
    assert home.dav.request("MOVE", home / "moved", Destination=back, Overwrite="F").status == 201
    assert [href for href in home.dav.propfind(home.path, depth="1").properties() if href in hrefs] == hrefs


def test_an_upload_without_credentials_is_refused_before_it_is_sent(server: Served, home: Home) -> None:
    with wire_to(server) as wire:
        wire.send(
            f"PUT {home.dav.href(home / 'a')} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
            "Expect: 100-continue\r\n\r\n".encode()
        )
        assert wire.answer()[0] == 401
    with wire_to(server) as wire:
        wire.send(head_of(server, "PUT", home / "none/a", "Content-Length: 5", "Expect: 100-continue"))
        assert wire.answer()[0] == 409
    with wire_to(server) as wire:
        wire.send(head_of(server, "PUT", home / "a", "Content-Length: 5", "Expect: 100-continue"))
        assert wire.answer()[0] == 100
        wire.send(b"hello")
        assert wire.answer()[0] == 201


def test_explorer_copies_a_file_in(home: Home) -> None:
    path = home / "copied.docx"
    assert home.dav.propfind(path).status == 404
    assert home.dav.put(path, b"").status == 201
    locked = home.dav.lock(path, Timeout="Second-3600")
    assert locked.status == 200
    token = locked.headers["lock-token"]
    times = "".join(
        f"<Z:{name}>{text}</Z:{name}>"
        for name, text in (
            ("Win32CreationTime", "Fri, 14 Jul 2017 02:40:00 GMT"),
            ("Win32LastAccessTime", "Fri, 14 Jul 2017 02:41:00 GMT"),
            ("Win32LastModifiedTime", "Fri, 14 Jul 2017 02:42:00 GMT"),
            ("Win32FileAttributes", "00000020"),
        )
    )
    change = f'<D:set><D:prop xmlns:Z="urn:schemas-microsoft-com:">{times}</D:prop></D:set>'
    assert home.dav.proppatch(path, change).status == 207
    assert home.dav.request("HEAD", path).status == 200
    assert home.dav.put(path, b"content", Lock_Token=token).status == 204
    after = home.dav.proppatch(path, change)
    assert after.status == 207 and b"200 OK" in after.body and b"HTTP/1.1 4" not in after.body
    assert home.dav.request("UNLOCK", path, Lock_Token=token.strip("<>")).status == 204
    asked = "".join(f"<Z:{name}/>" for name in ("Win32LastModifiedTime", "Win32FileAttributes", "Win32CreationTime"))
    inner = f'<D:prop xmlns:Z="urn:schemas-microsoft-com:">{asked}<D:getlastmodified/></D:prop>'
    body = f'<D:propfind xmlns:D="DAV:">{inner}</D:propfind>'
    (found,) = home.dav.propfind(path, body).properties().values()
    assert {name.rpartition("}")[2]: each.text for name, each in found.items()} == {
        "Win32LastModifiedTime": "Fri, 14 Jul 2017 02:42:00 GMT",
        "getlastmodified": "Fri, 14 Jul 2017 02:42:00 GMT",
        "Win32FileAttributes": "00000020",
        "Win32CreationTime": "Fri, 14 Jul 2017 02:40:00 GMT",
    }


def test_finder_makes_a_file(home: Home) -> None:
    path = home / "finder.txt"
    assert home.dav.propfind(path).status == 404
    made = home.dav.put(path, b"")
    assert made.status == 201 and {"etag", "last-modified"} <= made.headers.keys()
    token = home.dav.lock(path, Depth="0", Timeout="Second-600").headers["lock-token"]

    def pieces() -> Iterator[bytes]:
        yield b"con"
        yield b"tent"

    written = home.dav.put(path, pieces(), If=f"({token})", X_Expected_Entity_Length="7")
    assert written.status == 204 and {"etag", "last-modified"} <= written.headers.keys()
    refreshed = home.dav.request("LOCK", path, If=f"({token})", Timeout="Second-600")
    assert refreshed.status == 200 and token.strip("<>").encode() in refreshed.body
    assert home.dav.request("UNLOCK", path, Lock_Token=token).status == 204


def test_davfs2_makes_a_file(home: Home) -> None:
    path = home / "davfs2"
    locked = home.dav.lock(path, Depth="0", Timeout="Second-1800", owner="<D:href>me</D:href>")
    assert locked.status == 201
    etag = home.dav.request("HEAD", path).headers["etag"]
    tag = f"<{home.dav.origin}{home.dav.href(path)}>"
    lock = locked.headers["lock-token"]
    assert home.dav.put(path, b"x", If_Match=etag, If=f"{tag} ({lock})").status == 204
    assert home.dav.request("UNLOCK", path, Lock_Token=lock).status == 204


def test_gone_and_foreign_and_hidden_are_one(home: Home, client: Callable[[str | None], Dav]) -> None:
    home.dav.put(home / "a", b"x")
    nils = client("nils")
    for method in ("GET", "HEAD", "PROPFIND", "PROPPATCH", "DELETE", "PUT", "MKCOL", "LOCK", "MOVE", "COPY", "UNLOCK"):
        replies = []
        for space in ("Sandbox", "Nothing"):
            path = home / "a"
            reply = nils.request(
                method,
                path.replace("Kund AB – Sandbox", space),
                b"<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><D:x/></D:prop></D:set></D:propertyupdate>"
                if method == "PROPPATCH"
                else None,
                Destination="/dav/elsewhere/b",
                Lock_Token="<urn:uuid:00000000-0000-4000-8000-000000000000>",
                Depth="0",
            )
            headers = {name: text for name, text in reply.headers.items() if name != "date"}
            replies.append((reply.status, headers, reply.body))
        assert replies[0] == replies[1], method
        assert 400 <= replies[0][0] < 500, method
