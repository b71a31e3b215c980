"""Office and the locks it takes: O1 to O3 of what real clients demand.

O5 (Microsoft 365 opens no https address with Basic directly) lies in Office itself: the README says to map a drive.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.serving import Dav
from tests.webdav.clients.traces import LOCK, Step, replay
from tests.webdav.conftest import Home

AGENTS = (
    "Microsoft Office Word 2014",
    "Microsoft Office Excel 2014 (16.0.5278) Windows NT 10.0",
    "Microsoft Office Existence Discovery",
    "Microsoft Office Protocol Discovery",
)
TARGETS = ("/dav/", "/dav/Sandbox/", "/dav/Sandbox/a.docx", "/dav/none/at/all.docx", "/dav/%E9")

TRACES: dict[str, list[Step]] = {
    "O2 the document says that it can be written": [
        Step("PUT", "a.docx", 201, body=b"x"),
        Step("OPTIONS", "a.docx", 200, told={"ms-author-via": "DAV", "dav": ".*2.*", "allow": ".*LOCK.*"}),
    ],
    "O3 a refresh returns the same lock": [
        Step("PUT", "a.docx", 201, body=b"x"),
        Step("LOCK", "a.docx", 200, {"Timeout": "Second-3600"}, LOCK, keep={"token": "lock-token"}),
        Step("LOCK", "a.docx", 200, {"If": "({token})", "Timeout": "Second-3600"}),
        Step("LOCK", "a.docx", 423, {"Timeout": "Second-3600"}, LOCK),
        Step("UNLOCK", "a.docx", 204, {"Lock_Token": "{token}"}),
        Step("PUT", "a.docx", 204, body=b"y"),
    ],
    "O3 a LOCK without a body opens a document": [
        Step("PUT", "a.docx", 201, body=b"x"),
        Step("LOCK", "a.docx", 200, {"Timeout": "Second-3600"}, LOCK, keep={"token": "lock-token"}),
        Step("LOCK", "a.docx", 200, {"Timeout": "Second-3600"}, holds="lockdiscovery"),
        Step("LOCK", "a.docx", 200, {"Lock_Token": "{token}"}, holds="lockdiscovery"),
    ],
}


@pytest.mark.parametrize("line", TRACES)
def test_office(home: Home, line: str) -> None:
    kept = replay(home, TRACES[line])
    if line.startswith("O3"):
        (found,) = home.dav.propfind(home / "a.docx").properties().values()
        tokens = [each.text for each in found["{DAV:}lockdiscovery"].iterfind(".//{DAV:}locktoken/{DAV:}href")]
        assert tokens in ([], [kept["token"].strip("<>")])


@pytest.mark.parametrize("agent", AGENTS)
def test_o1_opening_from_the_drive_pops_up_no_login_box(client: Callable[[str | None], Dav], agent: str) -> None:
    replies = []
    for authorization in (None, "Basic bm9ib2R5Ondyb25n", "Negotiate TlRMTVNT"):
        headers = {"User-Agent": agent} | ({"Authorization": authorization} if authorization else {})
        for method in ("OPTIONS", "HEAD"):
            for target in TARGETS:
                reply = client(None).raw(method, target, headers=headers)
                assert reply.status == 200 and "www-authenticate" not in reply.headers and not reply.body
                replies.append((method, {**reply.headers, "date": ""}))
    for method in ("OPTIONS", "HEAD"):  # nothing tells what stands there
        assert len({str(sorted(headers.items())) for found, headers in replies if found == method}) == 1


def test_o1_no_more_than_that_is_answered(home: Home, client: Callable[[str | None], Dav]) -> None:
    home.dav.put(home / "a.docx", b"x")
    agent = {"User-Agent": AGENTS[0]}
    for method in ("GET", "PROPFIND", "LOCK", "PUT"):
        assert client(None).raw(method, home.dav.href(home / "a.docx"), headers=agent).status == 401
    assert home.dav.request("HEAD", home / "a.docx", User_Agent=AGENTS[0]).headers["content-length"] == "1"
