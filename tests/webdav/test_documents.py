"""PUT, GET and HEAD over the wire: nothing half stored, nothing answered twice as known, faults of stock servers."""

from __future__ import annotations

import email.message
import email.parser
import gzip
import hashlib
import re
from collections.abc import Callable, Iterator

import pytest

from tests.serving import SPACE, Dav, Served, wait_for_read
from tests.webdav.conftest import Home


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


@pytest.mark.parametrize("algorithm", ["MD5", "SHA1", "SHA256", "sha256"])
def test_a_checksum_that_does_not_fit_commits_nothing(home: Home, algorithm: str) -> None:
    right = hashlib.new(algorithm, b"x", usedforsecurity=False).hexdigest()
    assert home.dav.put(home / "a", b"y", OC_Checksum=f"{algorithm}:{right}").status == 400
    assert home.dav.get(home / "a").status == 404
    assert home.dav.put(home / "a", b"x", OC_Checksum=f"{algorithm}:{right}").status == 201


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
        ({"If_Match": '"other"', "If_None_Match": etag}, 412),
        ({"If_Match": etag, "If_Unmodified_Since": "Fri, 14 Jul 2017 02:40:00 GMT"}, 200),
        ({"If_Unmodified_Since": "Fri, 14 Jul 2017 02:40:00 GMT"}, 412),
        ({"If_Unmodified_Since": date}, 200),
    ):
        for method in ("GET", "HEAD"):
            got = home.dav.request(method, home / "a", **headers)
            assert got.status == status, (method, headers)
            assert status != 304 or (got.headers["etag"] == etag and not got.body)


def test_a_tag_that_a_proxy_made_weak_let_one_save_and_not_read(home: Home) -> None:
    etag = home.dav.put(home / "a", b"x").headers["etag"]
    for method, status in (("GET", 200), ("HEAD", 200), ("PUT", 204)):
        assert home.dav.request(method, home / "a", If_Match=f'"other", W/{etag}').status == status, method
        assert home.dav.request(method, home / "a", If_Match='W/"other"').status == 412, method


def test_conditional_puts(home: Home) -> None:
    assert home.dav.put(home / "a", b"x", If_Match="*").status == 412
    assert home.dav.put(home / "a", b"x", If_Match='"some"').status == 412
    assert home.dav.get(home / "a").status == 404
    etag = home.dav.put(home / "a", b"x", If_None_Match="*").headers["etag"]
    assert home.dav.put(home / "a", b"y", If_None_Match="*").status == 412
    assert home.dav.put(home / "a", b"y", If_Match='"other"').status == 412
    assert home.dav.put(home / "a", b"y", If=f'(["other"]) (Not [{etag}])').status == 412
    assert home.dav.get(home / "a").body == b"x"
    second = home.dav.put(home / "a", b"y", If_Match=etag.strip('"')).headers["etag"]
    assert home.dav.put(home / "a", b"w", If_Match=f"W/{etag}").status == 412
    assert home.dav.put(home / "a", b"w", If_Match=f"W/{second}").status == 204
    assert home.dav.put(home / "a", b"z", If="not a list").status == 400


def test_an_if_header_counts_for_what_is_only_read(home: Home) -> None:
    etag = home.dav.put(home / "a", b"x").headers["etag"]
    token = home.dav.lock(home / "a", Depth="0").headers["lock-token"]
    tag = f"<{home.dav.origin}{home.dav.href(home / 'a')}>"
    for condition, holds in (
        (f"({token} [{etag}])", True),
        (f"{tag} ({token})", True),
        ('(["other"]) (Not <DAV:no-lock>)', True),
        ('(["other"])', False),
        (f'({token} ["other"])', False),
        (f"(Not [{etag}])", False),
        ("(<urn:uuid:00000000-0000-4000-8000-000000000000>)", True),
        (f"(<urn:uuid:00000000-0000-4000-8000-000000000000> [{etag}])", True),
        ('(<urn:uuid:00000000-0000-4000-8000-000000000000> ["other"])', False),
        (f"(Not {token})", True),
        (f"<http://elsewhere.example/a> ([{etag}])", False),
    ):
        for method, status in (("GET", 200), ("HEAD", 200), ("PROPFIND", 207)):
            got = home.dav.request(method, home / "a", Depth="0", If=condition)
            assert got.status == (status if holds else 412), (method, condition)
    for method in ("GET", "HEAD", "PROPFIND"):
        assert home.dav.request(method, home / "a", Depth="0", If="(((").status == 400
        assert home.dav.request(method, home / "none", Depth="0", If='(["other"])').status == 404


def test_a_date_does_not_count_beside_the_tag_of_the_version(home: Home) -> None:
    """RFC 9110 13.1.4: whoever names the version knows better than by the second."""
    etag = home.dav.put(home / "a", b"x").headers["etag"]
    before = "Sun, 06 Nov 1994 08:49:37 GMT"
    assert home.dav.put(home / "a", b"y", If_Unmodified_Since=before).status == 412
    assert home.dav.put(home / "a", b"y", If_Match=etag, If_Unmodified_Since=before).status == 204
    assert home.dav.request("DELETE", home / "a", If_Match='"other"', If_Unmodified_Since=before).status == 412
    assert home.dav.request("DELETE", home / "a", If_Match="*", If_Unmodified_Since=before).status == 204


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


def test_what_was_asked_to_go_on_behind_its_end_was_read_by_the_log(server: Served, home: Home) -> None:
    """So ask programs that are told to resume a download which is whole."""
    home.dav.put(home / "a", b"whole")
    home.dav.put(home / "b", b"read")
    assert home.dav.get(home / "a", Range="bytes=5-").status == 416
    assert home.dav.get(home / "b", Range="bytes=2-").status == 206
    assert wait_for_read(server.world, "b", SPACE) == {"b"}


def test_no_range_of_an_empty_document_is_an_error(home: Home) -> None:
    home.dav.put(home / "a", b"")
    for spec in ("0-", "0-0", "-1", "5-"):
        got = home.dav.get(home / "a", Range=f"bytes={spec}")
        assert (got.status, got.headers["content-length"], got.body) == (200, "0", b""), spec


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
    assert home.dav.request("PROPFIND", home.path, Depth="0").status == 207
    # Nothing takes the place of the drive itself. A folder that is named without its slash moves all the same.
    assert home.dav.request("MOVE", home.path, Destination="/dav/").status == 403
    assert home.dav.request("MOVE", home.path, Destination=home.dav.href(f"{home.path}-away")).status == 201


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
    told = home.dav.put(home / "new/", b"x")
    assert told.status == 405 and b"A folder stands" not in told.body


@pytest.mark.parametrize("method", ["DELETE", "MOVE"])
def test_a_document_that_was_taken_for_a_folder_went_all_the_same(home: Home, method: str) -> None:
    """Apache and our own SFTP leave what is spelled as a folder, and is none, where it stands."""
    home.dav.put(home / "a", b"x")
    home.dav.request("MKCOL", home / "d")
    asked = {"Destination": home.dav.href(home / "b")} if method == "MOVE" else {}
    assert home.dav.request(method, home / "a/", **asked).status == (409 if method == "MOVE" else 404)
    assert home.dav.get(home / "a").body == b"x" and home.dav.get(home / "b").status == 404
    assert home.dav.request(method, home / "none/", **asked).status == 404
    assert home.dav.request(method, home / "d/", **asked).status in (201, 204)


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


@pytest.mark.parametrize("method", ["PUT", "PROPFIND", "PROPPATCH", "LOCK"])
def test_a_compressed_body_is_refused_as_such(home: Home, method: str) -> None:
    """It was no XML that is accepted, or none that the method takes: nobody guessed that gzip was in the way."""
    home.dav.put(home / "a", b"x")
    plain = b'<propfind xmlns="DAV:"><allprop/></propfind>'
    for coding in ("gzip", "GZIP", "deflate", "identity, gzip"):
        refused = home.dav.request(method, home / "a", gzip.compress(plain), Depth="0", Content_Encoding=coding)
        assert (refused.status, b"compressed" in refused.body) == (415, True), (coding, refused)
    assert home.dav.get(home / "a").body == b"x"
    for coding in ("identity", " Identity ", ""):
        assert home.dav.put(home / "b", b"y", Content_Encoding=coding).status in (201, 204), coding
        assert home.dav.propfind(home / "a", plain.decode(), Content_Encoding=coding).status == 207, coding
    assert home.dav.propfind(home / "a", Content_Encoding="gzip").status == 207  # there is no body
