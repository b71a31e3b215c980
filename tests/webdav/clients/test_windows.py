"""Explorer's mapped drive (the MiniRedirector), replayed: W1 to W15 of what real clients demand.

No Windows was at hand. W3 (Basic only over TLS) and the limits of W4 lie in Windows itself: the README tells of them.
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections.abc import Callable
from urllib.parse import quote
from xml.etree.ElementTree import canonicalize, tostring

import pytest

from auth.roles import Via
from providers.paths import parse
from tests.serving import Dav, Served
from tests.webdav.clients.traces import (
    EXPLORER_READS,
    EXPLORER_SETS,
    LOCK,
    NO_TOKEN,
    SECOND,
    WIN32,
    Step,
    asks,
    explorer_copies,
    replay,
    sets,
)
from tests.webdav.conftest import Home, wire_to
from tests.worlds import store

EXPLORER = "Microsoft-WebDAV-MiniRedir/10.0.19045"
MODIFIED, ATTRIBUTES = f"{WIN32}LastModifiedTime", f"{WIN32}FileAttributes"
TIMES = (f"{WIN32}CreationTime", f"{WIN32}LastAccessTime", MODIFIED)
READ_BACK = Step("PROPFIND", "a.docx", 207, {"Depth": "0"}, asks(*EXPLORER_READS), shows=EXPLORER_READS)

TRACES: dict[str, list[Step]] = {
    "W2 folders answer without a slash": [
        Step("MKCOL", "d", 201),
        Step("PROPFIND", "d", 207, {"Depth": "0"}),
        Step("MOVE", "d", 201, {"Destination": "{base}/e", "Overwrite": "F"}),
        Step("PROPFIND", "e/", 207, {"Depth": "0"}),
        Step("PROPFIND", "e", 207, {"Depth": "1"}),
        Step("DELETE", "e", 204),
    ],
    "W5 copying a file in": [
        *explorer_copies("a.docx", b"content"),
        READ_BACK,
        Step("GET", "a.docx", 200, holds="content"),
    ],
    "W6 what a lock forbids is told within a 207": [
        Step("PUT", "a", 201, body=b"x"),
        Step("LOCK", "a", 200, body=LOCK, keep={"token": "lock-token"}),
        Step("PROPPATCH", "a", 207, body=sets({"{urn:x}p": "1"}), holds="423 Locked"),
        Step("PROPPATCH", "a", 207, body=sets({"{DAV:}getetag": "1"}), holds="403 Forbidden"),
        Step("PROPPATCH", "a", 207, body=sets({MODIFIED: "no date"}), holds="403 Forbidden"),
        Step("UNLOCK", "a", 204, {"Lock_Token": "{token}"}),
        Step("PROPPATCH", "a", 207, {"If": f"({NO_TOKEN})"}, EXPLORER_SETS, holds="412 Precondition Failed"),
    ],
    "W7 the token in Lock-Token": explorer_copies("a.docx", b"content", token="Lock-Token"),
    "W7 Win32 properties by who holds the lock": [
        Step("PUT", "a.docx", 201, body=b"x"),
        Step("LOCK", "a.docx", 200, body=LOCK, keep={"token": "lock-token"}),
        Step("PROPPATCH", "a.docx", 207, body=EXPLORER_SETS, holds="200 OK", lacks="423"),
        Step(
            "PROPPATCH", "a.docx", 207, body=sets({f"{WIN32}FileAttributes": "1", "{urn:x}p": "1"}), holds="423 Locked"
        ),
        READ_BACK,
    ],
    "W7 any property with the token in Lock-Token": [
        Step("PUT", "a.docx", 201, body=b"x"),
        Step("LOCK", "a.docx", 200, body=LOCK, keep={"token": "lock-token"}),
        Step("PROPPATCH", "a.docx", 207, body=sets({"{urn:x}p": "1"}), holds="423 Locked"),
        Step("PROPPATCH", "a.docx", 207, {"Lock_Token": "{token}"}, sets({"{urn:x}p": "1"}), holds="200 OK"),
    ],
    "W8 the time is the real one after others wrote": [
        *explorer_copies("a.docx", b"content"),
        Step("PROPPATCH", "a.docx", 207, body=sets({"{DAV:}getlastmodified": SECOND})),
        Step("PROPFIND", "a.docx", 207, {"Depth": "0"}, asks(MODIFIED), shows={MODIFIED: SECOND}),
        Step("PUT", "a.docx", 204, body=b"other", keep={"now": "last-modified"}),
        Step("PROPFIND", "a.docx", 207, {"Depth": "0"}, asks(MODIFIED), shows={MODIFIED: "{now}"}),
    ],
    "W8 creation time and attributes survive MOVE": [
        *explorer_copies("b.docx", b"content"),
        Step("MOVE", "b.docx", 201, {"Destination": "{base}/a.docx", "Overwrite": "F"}),
        READ_BACK,
        Step("MKCOL", "d", 201),
        Step("MOVE", "a.docx", 201, {"Destination": "{base}/d/c.docx"}),
        Step("MOVE", "d/c.docx", 201, {"Destination": "{base}/a.docx"}),
        READ_BACK,
    ],
    "W9 rename": [
        Step("PUT", "a", 201, body=b"x"),
        Step("PUT", "b", 201, body=b"y"),
        Step("MOVE", "a", 412, {"Destination": "{base}/b", "Overwrite": "F"}),
        Step("GET", "b", 200, holds="y"),
        Step("MOVE", "a", 201, {"Destination": "{base}/c", "Overwrite": "F"}, told={"location": "{path}/c"}),
        Step("MOVE", "c", 201, {"Destination": "{base}/C", "Overwrite": "F"}),
        Step("PROPFIND", "", 207, {"Depth": "1"}, asks("{DAV:}displayname"), holds="{path}/C<"),
        Step("MOVE", "C", 204, {"Destination": "{base}/b", "Overwrite": "T"}),
    ],
    "W11 one entry whatever the case": [
        Step("PUT", "Bokslut.xlsx", 201, body=b"x"),
        Step("PROPFIND", "BOKSLUT.XLSX", 207, {"Depth": "0"}, asks("{DAV:}displayname"), holds="Bokslut.xlsx"),
        Step("PUT", "bokslut.XLSX", 204, body=b"y"),
        Step("MKCOL", "BOKSLUT.xlsx", 405),
        Step("GET", "Bokslut.xlsx", 200, holds="y"),
    ],
    "W12 quota for the others": [
        Step("PUT", "a", 201, body=b"x" * 1000),
        Step(
            "PROPFIND", "", 207, {"Depth": "0"}, asks("{DAV:}quota-used-bytes"), holds="quota-used-bytes>", lacks="404"
        ),
        Step("PROPFIND", "a", 207, {"Depth": "0"}, asks("{DAV:}quota-used-bytes"), holds="404"),
    ],
    "W13 every element has a prefix": [
        Step("PUT", "a", 201, body=b"x"),
        Step("PROPFIND", "", 207, {"Depth": "1"}, lacks='xmlns="', holds='<D:multistatus xmlns:D="DAV:"'),
        Step("PROPFIND", "", 207, {"Depth": "1"}, asks("{urn:x}p", ATTRIBUTES), lacks='xmlns="', holds=":p xmlns:"),
        Step("LOCK", "a", 200, body=LOCK, lacks='xmlns="', holds="<D:prop "),
        Step("PROPPATCH", "a", 207, body=EXPLORER_SETS, lacks='xmlns="', holds="<D:multistatus "),
    ],
    "W15 UNLOCK with a bare token": [
        Step("PUT", "a", 201, body=b"x"),
        Step("LOCK", "a", 200, body=LOCK, keep={"token": "lock-token"}),
    ],
}


@pytest.mark.parametrize("line", TRACES)
def test_explorer(home: Home, line: str) -> None:
    kept = replay(home, TRACES[line])
    if line.startswith("W15"):
        assert home.dav.request("UNLOCK", home / "a", Lock_Token=kept["token"].strip("<>")).status == 204


@pytest.mark.parametrize("target", ["/", "/dav", "/dav/", "/dav/none", "/dav/Sandbox/a/b%20c", "*"])
def test_w1_options_on_every_ancestor_asks_for_nothing(client: Callable[[str | None], Dav], target: str) -> None:
    agents = {"User-Agent": EXPLORER, "Translate": "f"}
    replies = [client(login).raw("OPTIONS", target, headers=agents) for login in (None, "anna", "nils")]
    for reply in replies:
        assert reply.status == 200 and "1, 2" in reply.headers["dav"] and reply.headers["ms-author-via"] == "DAV"
        assert {**reply.headers, "date": ""} == {**replies[0].headers, "date": ""}


#: The longest entry, in bytes with an href of 69, of documents that others brought and of those that Explorer did: in
#: the listing for which it sends no body, and where all that it may want is asked for by name.
ENTRY_BYTES = {("unasked", False): 369, ("unasked", True): 424, ("by name", False): 604, ("by name", True): 652}
ALL_BY_NAME = asks(
    "{DAV:}creationdate", "{DAV:}getcontentlength", "{DAV:}getlastmodified", "{DAV:}resourcetype", *TIMES, ATTRIBUTES
)  # fmt: skip


@pytest.mark.parametrize("copied", [False, True], ids=["W4 plain", "W4 with what Explorer set"])
def test_w4_a_listing_is_short(home: Home, copied: bool) -> None:
    folder = Home(home.dav, f"{home.path.rpartition('/')[0]}/Rapporter {int(copied)}")
    assert home.dav.request("MKCOL", folder.path).status == 201
    names = [f"Kvartal {number:03}.docx" for number in range(20)]
    for name in names:
        if copied:
            replay(folder, explorer_copies(name, b"content"))
        else:
            home.dav.put(folder / name, b"content")
    # No body, as Explorer sends it: for all others that means every property.
    unasked = home.dav.propfind(folder.path, depth="1", User_Agent=EXPLORER, Translate="f")
    by_name = home.dav.propfind(folder.path, ALL_BY_NAME, depth="1", User_Agent=EXPLORER)
    first = home.dav.href(folder / names[0])
    assert len(first) == 69
    for asked, reply in (("unasked", unasked), ("by name", by_name)):
        entries = re.findall(rb"<D:response>.*?</D:response>", reply.body)
        assert len(entries) == 21
        assert max(map(len, entries)) <= ENTRY_BYTES[asked, copied], max(entries, key=len)
        document = reply.properties()[first]
        assert {"{DAV:}getcontentlength", "{DAV:}getlastmodified", "{DAV:}creationdate"} <= document.keys()
        assert (ATTRIBUTES in document) is copied
        made = document["{DAV:}creationdate"].text or ""
        # When it was made, Explorer learns from what it set, in one property or the other.
        assert made.startswith("2017-07-14T02:40:00") is (copied and asked == "unasked")
        assert (f"{WIN32}CreationTime" in document) is (copied and asked == "by name")


def test_w4_namespaces_are_declared_once(home: Home) -> None:
    replay(home, explorer_copies("a.docx", b"content"))
    for body in ("", ALL_BY_NAME, '<propfind xmlns="DAV:"><propname/></propfind>'):
        text = home.dav.propfind(home / "a.docx", body, depth="0").body
        assert text.count(b"xmlns:Z=") == text.count(b"urn:schemas-microsoft-com:") == 1


@pytest.mark.parametrize("inner", ["", "a &lt;b&gt; n0:c", "<z:a/>", "a<z:b>c</z:b>d", "<z:a/><y:b xmlns:y='urn:y'/>"])
@pytest.mark.parametrize("namespace", ["urn:schemas-microsoft-com:", "DAV:", "urn:x"])
def test_w4_what_is_told_shorter_is_the_same(home: Home, namespace: str, inner: str) -> None:
    home.dav.put(home / "a.docx", b"x")
    given = f'<z:p xmlns:z="{namespace}">{inner}</z:p>'
    body = f'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>{given}</D:prop></D:set></D:propertyupdate>'
    assert b"200 OK" in home.dav.request("PROPPATCH", home / "a.docx", body.encode()).body
    for asked in ("", asks(f"{{{namespace}}}p")):
        (found,) = home.dav.propfind(home / "a.docx", asked, depth="0").properties().values()
        told = tostring(found[f"{{{namespace}}}p"], "unicode")
        assert canonicalize(told, rewrite_prefixes=True) == canonicalize(given, rewrite_prefixes=True)


@pytest.mark.parametrize("text", ["no time", "Fri, 14 Nov", "Fri, 14 Nil 2017 02:40:00 GMT", ""])
def test_w4_what_is_no_time_is_not_told_as_one(home: Home, text: str) -> None:
    home.dav.put(home / "a.docx", b"x")
    home.dav.request("PROPPATCH", home / "a.docx", sets({f"{WIN32}CreationTime": text}).encode())
    (told,) = home.dav.propfind(home / "a.docx", depth="0", User_Agent=EXPLORER).properties().values()
    (real,) = home.dav.propfind(home / "a.docx", asks("{DAV:}creationdate"), depth="0").properties().values()
    assert told["{DAV:}creationdate"].text == real["{DAV:}creationdate"].text


def test_w8_the_time_follows_a_write_through_another_door(server: Served, home: Home) -> None:
    replay(home, [*explorer_copies("a.docx", b"content"), READ_BACK])
    space, name = home.path.strip("/").split("/")
    store(server.world.drive("anna", Via.SFTP), parse(f"/{space}/{name}/a.docx"), b"from elsewhere")
    (found,) = home.dav.propfind(home / "a.docx", asks(MODIFIED, "{DAV:}getlastmodified")).properties().values()
    shown = timegm(time.strptime(found[MODIFIED].text or "", "%a, %d %b %Y %H:%M:%S GMT"))
    assert found[MODIFIED].text == found["{DAV:}getlastmodified"].text and abs(shown - time.time()) < 600


NAMES = [
    "with space", "åäö", "a\u030a\u0308o", "+ # % & ; ? [ ] '", "~$doc", "a,b=c@d", "😀", "%41", "%2F", "&amp;", "{}^`",
    "a;b.txt", "q?x.txt",
]  # fmt: skip
#: What Windows cannot make itself. All are kept as they are, and found however they are spelled.
UNUSUAL = ["<b>", "a:b", 'say "x"', "a|b", "a*b", "back\\slash", "dot.", "space ", "CON", "NUL.txt"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: f"W10 {name!a}")
def test_w10_every_name_makes_the_round_trip(home: Home, name: str) -> None:
    _round_trip(home, name)


@pytest.mark.parametrize("name", UNUSUAL, ids=lambda name: f"W11 {name!a}")
def test_w11_names_that_windows_cannot_make_are_kept_as_they_are(home: Home, name: str) -> None:
    _round_trip(home, name)
    assert home.dav.get(home / name.swapcase()).status == 200


def _round_trip(home: Home, name: str) -> None:
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


def test_w13_dates_have_no_more_than_three_digits_of_a_second(home: Home) -> None:
    home.dav.put(home / "a", b"x")
    home.dav.put(home / "b", b"x", X_OC_Mtime="1500000000.123456")
    for found in home.dav.propfind(home.path, depth="1").properties().values():
        text = found["{DAV:}creationdate"].text or ""
        assert len(text.partition(".")[2].rstrip("Z")) <= 3 and text.endswith("Z")


def test_w14_an_upload_without_credentials_leaves_the_connection_usable(server: Served, home: Home) -> None:
    path, secret = home.dav.href(home / "a"), home.dav._authorization
    with wire_to(server) as wire:
        for authorization, status in (("", 401), (f"Authorization: Basic {secret}\r\n", 201)):
            head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n{authorization}\r\n"
            wire.send(head.encode() + bytes(3_000_000))
            assert wire.answer()[0] == status
    assert home.dav.request("HEAD", home / "a").headers["content-length"] == "3000000"


def test_w3_basic_is_what_a_refusal_asks_for(client: Callable[[str | None], Dav]) -> None:
    refused = client(None).raw("PROPFIND", "/dav/", headers={"User-Agent": EXPLORER})
    assert refused.status == 401 and refused.headers["www-authenticate"].startswith("Basic ")
