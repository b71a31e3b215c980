"""macOS Finder (WebDAVFS), replayed: M1 to M12 of what real clients demand. No macOS was at hand."""

from __future__ import annotations

import struct
import time
import unicodedata
from collections.abc import Callable

import pytest

from auth.errors import Throttled
from auth.roles import Role
from config.errors import DatabaseBusy, StorageFull
from providers import errors
from server.webdav.errors import answer_to
from tests.serving import SPACE, Dav, Served
from tests.webdav.clients.traces import LOCK, NO_TOKEN, Step, asks, replay, sets
from tests.webdav.conftest import Home
from tests.worlds import World

FINDER_LOCK = {"Depth": "0", "Timeout": "Second-600"}
QUOTA = ("{DAV:}quota-available-bytes", "{DAV:}quota-used-bytes")

TRACES: dict[str, list[Step]] = {
    "M4 a new file": [
        Step("PROPFIND", "a.txt", 404, {"Depth": "0"}),
        Step("PUT", "a.txt", 201, told={"etag": '".+"', "last-modified": ".+ GMT"}),
        Step("LOCK", "a.txt", 200, FINDER_LOCK, LOCK, keep={"token": "lock-token"}),
        Step(
            "PUT",
            "a.txt",
            204,
            {"If": "({token})", "X_Expected_Entity_Length": "7"},
            [b"con", b"tent"],
            told={"etag": '".+"', "last-modified": ".+ GMT"},
        ),
        Step("UNLOCK", "a.txt", 204, {"Lock_Token": "{token}"}),
        Step("GET", "a.txt", 200, holds="content"),
    ],
    "M4 a body of another length than was told": [
        Step("PUT", "a.txt", 201, body=b"old"),
        Step("PUT", "a.txt", 400, {"X_Expected_Entity_Length": "8"}, [b"con", b"tent"]),
        Step("PUT", "a.txt", 400, {"X_Expected_Entity_Length": "6"}, [b"con", b"tent"]),
        Step("PUT", "b.txt", 400, {"X_Expected_Entity_Length": "6"}, [b"con", b"tent"]),
        Step("PUT", "b.txt", 400, {"X_Expected_Entity_Length": "6"}, b"content"),
        Step("PUT", "b.txt", 400, {"X_Expected_Entity_Length": "8"}, b"content"),
        Step("GET", "a.txt", 200, holds="old"),
        Step("GET", "b.txt", 404),
    ],
    "M5 PUT tells ETag and Last-Modified": [
        Step("PUT", "a", 201, body=b"x", told={"etag": '"[^"]+"', "last-modified": ".+ GMT"}, keep={"one": "etag"}),
        Step("HEAD", "a", 200, told={"etag": "{one}"}),
        Step("PUT", "a", 204, body=b"y", told={"etag": '"[^"]+"', "last-modified": ".+ GMT"}, keep={"two": "etag"}),
        Step("PUT", "a", 412, {"If_Match": "{one}"}, b"z"),
        Step("PUT", "a", 204, {"If_Match": "{two}"}, b"z"),
    ],
    "M6 a lock is refreshed": [
        Step("PUT", "a", 201, body=b"x"),
        Step("LOCK", "a", 200, FINDER_LOCK, LOCK, keep={"token": "lock-token"}),
        Step("LOCK", "a", 200, {"If": "({token})", "Timeout": "Second-600"}, holds="lockdiscovery"),
        Step("LOCK", "a", 200, {"If": "({token})", "Timeout": "Second-600"}, holds="Second-"),
        Step("UNLOCK", "a", 204, {"Lock_Token": "{token}"}),
        Step("LOCK", "a", 412, {"If": "({token})", "Timeout": "Second-600"}),
    ],
    "M7 reopening": [
        Step("PUT", "a", 201, body=b"hello", keep={"date": "last-modified", "etag": "etag"}),
        Step("GET", "a", 304, {"If_Modified_Since": "{date}"}),
        Step("GET", "a", 206, {"Range": "bytes=1-2", "If_Range": "{date}"}, holds="el"),
        Step("GET", "a", 206, {"Range": "bytes=1-2", "If_Range": "{etag}"}, holds="el"),
        Step("GET", "a", 200, {"Range": "bytes=1-2", "If_Range": "Fri, 14 Jul 2017 02:40:00 GMT"}, holds="hello"),
        Step("GET", "a", 200, {"Range": "bytes=1-2", "If_Range": "W/{etag}"}, holds="hello"),
    ],
    "M8 MOVE replaces without being told to": [
        Step("PUT", "a", 201, body=b"new"),
        Step("PUT", "b", 201, body=b"old"),
        Step("MOVE", "a", 204, {"Destination": "{base}/b"}),
        Step("GET", "b", 200, holds="new"),
        Step("GET", "a", 404),
    ],
    "M8 rmdir": [
        Step("MKCOL", "d", 201),
        Step("PROPFIND", "d", 207, {"Depth": "1"}, asks("{DAV:}resourcetype"), holds="<D:collection/>"),
        Step("DELETE", "d", 204),
        Step("PROPFIND", "d", 404, {"Depth": "0"}),
    ],
}


@pytest.mark.parametrize("line", TRACES)
def test_finder(home: Home, line: str) -> None:
    replay(home, TRACES[line])


def test_m1_the_mount_is_writable(client: Callable[[str | None], Dav]) -> None:
    for login in (None, "anna"):
        reply = client(login).raw("OPTIONS", "/dav/")
        assert "2" in [token.strip() for token in reply.headers["dav"].split(",")]
        assert not reply.headers.get("server", "").startswith("Microsoft-IIS")


def errno_of(method: str, status: int) -> str:
    """Return what WebDAVFS makes of a status (webdavd, `translate_status_to_error`)."""
    if status in (423, 424) or (status == 207 and method in ("DELETE", "LOCK")):
        return "EBUSY"
    table = {401: "EPERM", 402: "EPERM", 403: "EPERM", 404: "ENOENT", 405: "EPERM", 409: "ENOENT", 410: "ENOENT"}
    table |= {413: "EFBIG", 414: "ENAMETOOLONG", 507: "ENOSPC"}
    if status in table:
        return table[status]
    return "EINVAL" if status < 500 else "ENOENT"


#: What an error must come to on a Mac, for every method but those named beside it.
ERRNO: dict[type[errors.DriveError] | type[StorageFull] | type[DatabaseBusy] | type[Throttled], str] = {
    errors.NotFound: "ENOENT",
    errors.Forbidden: "EPERM",
    errors.Frozen: "EPERM",
    errors.ReadOnlyPast: "EPERM",
    errors.Locked: "EBUSY",
    errors.PreconditionFailed: "EINVAL",
    errors.TargetExists: "EINVAL",
    errors.ParentMissing: "ENOENT",
    errors.NotAFolder: "ENOENT",
    errors.IsAFolder: "EPERM",
    errors.SameResource: "EPERM",
    errors.BadName: "EPERM",
    errors.NameTooLong: "ENAMETOOLONG",
    errors.QuotaExceeded: "ENOSPC",
    StorageFull: "ENOSPC",
    DatabaseBusy: "EBUSY",
    Throttled: "EINVAL",
}


@pytest.mark.parametrize("kind", ERRNO, ids=lambda kind: f"M2 {kind.__name__}")
def test_m2_a_status_becomes_the_right_errno(kind: type[errors.DriveError]) -> None:
    for method in ("GET", "PUT", "PROPFIND", "DELETE", "LOCK", "MOVE"):
        answer = answer_to(kind(why="x", limit=255), method, "/dav/a")
        status = int(answer.status[:3])
        assert errno_of(method, status) == ERRNO[kind], (method, status)
        assert status < 500 or status == 507


def test_m2_a_full_space_is_full(server: Served, client: Callable[[str | None], Dav]) -> None:
    world: World = server.world
    world.person("full", "Full AB")
    world.space("Trång", "Full AB", quota_bytes=100_000)
    world.grant("full", "Trång", Role.EDITOR)
    dav = client("full")
    assert dav.put("/Trång/a", b"x" * 1000).status == 201
    assert dav.put("/Trång/a", bytes(range(256)) * 4000).status == 507
    assert dav.put("/Trång/b", bytes(range(256)) * 4000).status == 507
    assert dav.get("/Trång/a").body == b"x" * 1000 and dav.get("/Trång/b").status == 404


def test_m3_only_what_was_asked_for_is_answered(home: Home) -> None:
    home.dav.put(home / "a", b"x")
    home.dav.lock(home / "a", Depth="0", owner="<D:href>me</D:href>")
    home.dav.request("PROPPATCH", home / "a", sets({"{urn:x}p": "1"}).encode())
    reply = home.dav.propfind(home.path, asks("{DAV:}getlastmodified", "{DAV:}resourcetype"), depth="1")
    responses = reply.xml().findall("{DAV:}response")
    hrefs = [each for each in reply.xml().iter() if each.tag.endswith("}href")]
    assert len(hrefs) == len(responses) == 2
    assert {each.tag for prop in reply.xml().iter("{DAV:}prop") for each in prop} == {
        "{DAV:}getlastmodified",
        "{DAV:}resourcetype",
    }


def test_m6_a_lock_that_ran_out_lets_its_holder_go_on(home: Home, client: Callable[[str | None], Dav]) -> None:
    def expired(name: str, seconds: str = "Second-1") -> str:
        home.dav.put(home / name, b"before")
        token = home.dav.lock(home / name, Depth="0", Timeout=seconds).headers["lock-token"]
        return token

    tokens = {name: expired(name) for name in ("calm", "changed", "locked", "gone", "mine", "freed")}
    home.dav.request("UNLOCK", home / "freed", Lock_Token=tokens["freed"])
    time.sleep(1.2)
    other = client("olle")
    base = home.path.replace("Kund AB – ", "")
    assert other.put(f"{base}/changed", b"theirs").status == 204
    assert other.lock(f"{base}/locked", Depth="0").status == 200
    assert other.request("DELETE", f"{base}/gone").status == 204
    assert home.dav.put(home / "mine", b"my own, meanwhile").status == 204
    answers = {name: home.dav.put(home / name, b"after", If=f"({token})").status for name, token in tokens.items()}
    assert answers == {"calm": 204, "changed": 412, "locked": 423, "gone": 412, "mine": 204, "freed": 412}
    assert other.put(f"{base}/calm", b"x", If=f"({tokens['calm']})").status == 412
    assert home.dav.put(home / "calm", b"x", If=f"({NO_TOKEN})").status == 412


def test_m10_a_chmod_makes_no_version(server: Served, home: Home) -> None:
    steps = [
        Step("PUT", "a", 201, body=b"x", keep={"etag": "etag"}),
        Step("LOCK", "a", 200, FINDER_LOCK, LOCK, keep={"token": "lock-token"}),
        Step("GET", "a", 200, holds="x"),
        Step("UNLOCK", "a", 204, {"Lock_Token": "{token}"}),
        Step("HEAD", "a", 200, told={"etag": "{etag}"}),
    ]
    before = len(server.world.kinds(SPACE))
    replay(home, steps)
    assert [kind for kind in server.world.kinds(SPACE)[before:] if kind != "read"] == ["add"]


def test_m9_quota_on_the_root_of_the_drive(server: Served, client: Callable[[str | None], Dav]) -> None:
    world = server.world
    world.person("kvot", "Kvot AB")
    world.space("Mätt", "Kvot AB", quota_bytes=1_000_000)
    world.grant("kvot", "Mätt", Role.EDITOR)
    dav = client("kvot")
    assert dav.put("/Mätt/a", b"x" * 1000).status == 201
    for path in ("/", "/Mätt"):
        (found,) = dav.propfind(path, asks(*QUOTA)).properties().values()
        used, available = (int(found[name].text or "") for name in reversed(QUOTA))
        assert used > 0 and used + available == 1_000_000


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_m11_a_name_is_found_in_either_form_and_kept_as_given(home: Home, stored: str) -> None:
    other = "NFD" if stored == "NFC" else "NFC"
    text = "Årsredovisning på é ö.pdf"
    name, spelled = unicodedata.normalize(stored, text), unicodedata.normalize(other, text)  # type: ignore[arg-type]
    assert home.dav.put(home / name, b"one").status == 201
    assert home.dav.put(home / spelled, b"two").status == 204
    assert home.dav.get(home / name).body == home.dav.get(home / spelled).body == b"two"
    hrefs = [href for href in home.dav.propfind(home.path, depth="1").properties() if not href.endswith("/")]
    assert hrefs == [home.dav.href(home / name)]
    assert home.dav.request("MKCOL", home / spelled).status == 405
    assert home.dav.request("DELETE", home / spelled).status == 204
    assert home.dav.get(home / name).status == 404


#: AppleDouble as macOS writes it: Finder information and a resource fork.
DOUBLE = (
    struct.pack(">II16sHIIIIII", 0x00051607, 0x00020000, b"Mac OS X", 2, 9, 50, 32, 2, 82, 8) + bytes(32) + b"resource"
)


def test_m12_what_macos_leaves_is_served_and_kept_out_of_everything(server: Served, home: Home) -> None:
    home.dav.put(home / "a.txt", b"x")
    before = server.world.kinds(SPACE)
    replay(
        home,
        [
            Step("PROPFIND", "._a.txt", 404, {"Depth": "0"}),
            Step("PUT", "._a.txt", 201, told={"etag": '".+"', "last-modified": ".+ GMT"}),
            Step("LOCK", "._a.txt", 200, FINDER_LOCK, LOCK, keep={"token": "lock-token"}),
            Step("PUT", "._a.txt", 423, body=DOUBLE),
            Step("PUT", "._a.txt", 204, {"If": "({token})"}, [DOUBLE[:20], DOUBLE[20:]], keep={"etag": "etag"}),
            Step("UNLOCK", "._a.txt", 204, {"Lock_Token": "{token}"}),
            Step("GET", "._a.txt", 200, told={"etag": "{etag}", "content-length": str(len(DOUBLE))}, holds="resource"),
            Step("GET", "._a.txt", 206, {"Range": "bytes=0-3"}),
            Step("GET", "._a.txt", 304, {"If_None_Match": "{etag}"}),
            Step("PUT", "._a.txt", 412, {"If_None_Match": "*"}, DOUBLE),
            Step("PROPFIND", "", 207, {"Depth": "1"}, asks("{DAV:}getcontentlength"), holds="{path}/._a.txt<"),
            Step("PROPPATCH", "._a.txt", 207, body=sets({"{urn:x}p": "1"}), holds="200 OK"),
            Step("MOVE", "._a.txt", 201, {"Destination": "{base}/._b.txt"}),
            Step("GET", "._a.txt", 404),
            Step("COPY", "._b.txt", 201, {"Destination": "{base}/._c.txt"}),
            Step("DELETE", "._b.txt", 204),
            Step("LOCK", ".DS_Store", 201, FINDER_LOCK, LOCK, keep={"token": "lock-token"}),
            Step("UNLOCK", ".DS_Store", 204, {"Lock_Token": "{token}"}),
            Step("MKCOL", ".DS_Store", 405),
        ],
    )
    assert server.world.kinds(SPACE) == before


def test_m12_nobody_hides_a_document_behind_a_dot(server: Served, home: Home) -> None:
    for number, content in enumerate((b"%PDF-1.7 secret", DOUBLE + bytes(70_000))):
        before = len(server.world.kinds(SPACE))
        assert home.dav.put(home / f"._{number}", content, OC_Checksum="").status == 201
        assert home.dav.get(home / f"._{number}").body == content
        assert "add" in server.world.kinds(SPACE)[before:]
