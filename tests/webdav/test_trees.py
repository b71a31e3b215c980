"""Folders, copies, moves, properties and locks over the wire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest

from tests.serving import Dav
from tests.webdav.conftest import Home

UNKNOWN = "urn:uuid:00000000-0000-4000-8000-000000000000"


def names_in(home: Home, path: str) -> set[str]:
    base = home.dav.href(path).rstrip("/") + "/"
    found = home.dav.propfind(path, depth="1").properties()
    return {unquote(href[len(base) :]) for href in found if href.startswith(base) and href != base}


def url(home: Home, name: str) -> str:
    return f"{home.dav.origin}{home.dav.href(home / name)}"


def test_mkcol(home: Home) -> None:
    assert home.dav.request("MKCOL", home / "d").status == 201
    assert home.dav.request("MKCOL", home / "d").status == 405
    assert home.dav.request("MKCOL", home / "d/").status == 405
    assert home.dav.request("MKCOL", home / "none/d").status == 409
    assert home.dav.request("MKCOL", home / "e", b"<x/>", Content_Type="text/xml").status == 415
    assert home.dav.request("MKCOL", "/").status == 405
    assert home.dav.request("MKCOL", "/new").status == 403


def test_destinations_elsewhere_or_broken(home: Home) -> None:
    home.dav.put(home / "a", b"x")
    for destination, status in (
        ("http://elsewhere.example/dav/x", 403),
        (f"{home.dav.origin}/other", 403),
        (f"{home.dav.origin}/dav/%E9", 400),
        (f"{home.dav.origin}/dav/%00", 403),
    ):
        assert home.dav.request("COPY", home / "a", Destination=destination).status == status
    assert home.dav.request("COPY", home / "a").status == 400


def test_copy_and_move_say_whether_the_name_is_new(home: Home) -> None:
    for method in ("COPY", "MOVE"):
        home.dav.put(home / "a", b"new")
        home.dav.put(home / "b", b"old")
        assert home.dav.request(method, home / "a", Destination=url(home, "b"), Overwrite="F").status == 412
        assert home.dav.get(home / "b").body == b"old"
        assert home.dav.request(method, home / "a", Destination=url(home, "b")).status == 204
        assert home.dav.get(home / "b").body == b"new"
        home.dav.put(home / "a", b"new")
        assert home.dav.request(method, home / "a", Destination=url(home, f"c{method}")).status == 201
        assert (
            home.dav.request(
                method, home / "a" if method == "COPY" else home / "b", Destination=url(home, "no/c")
            ).status
            == 409
        )
    assert home.dav.request("COPY", home / "none", Destination=url(home, "x")).status == 404


def test_a_folder_cannot_go_into_itself(home: Home) -> None:
    home.dav.request("MKCOL", home / "d")
    for method in ("COPY", "MOVE"):
        assert home.dav.request(method, home / "d", Destination=url(home, "d/e")).status == 403
        assert home.dav.request(method, home / "d", Destination=url(home, "d")).status == 403


def test_delete(home: Home) -> None:
    home.dav.request("MKCOL", home / "d")
    home.dav.put(home / "d/a", b"x")
    assert home.dav.request("DELETE", home / "d", Depth="0").status == 400
    assert home.dav.request("DELETE", home / "d").status == 204
    assert home.dav.request("DELETE", home / "d").status == 404


def test_infinity_is_refused_by_its_precondition(home: Home) -> None:
    for headers in ({"Depth": "infinity"}, {}):
        refused = home.dav.request("PROPFIND", home.path, **headers)
        assert refused.status == 403 and refused.xml()[0].tag == "{DAV:}propfind-finite-depth"
    assert home.dav.request("PROPFIND", home.path, Depth="2").status == 400
    home.dav.put(home / "a", b"x")
    assert home.dav.request("PROPFIND", home / "a", Depth="infinity").status == 207


def test_older_programs_of_microsoft_ask_for_members_without_the_folder(home: Home) -> None:
    home.dav.put(home / "a", b"x")
    home.dav.request("MKCOL", home / "d")
    base = home.dav.href(home.path) + "/"
    for depth in ("1,noroot", "1, NoRoot"):
        found = home.dav.propfind(home.path, depth=depth)
        assert (found.status, set(found.properties())) == (207, {f"{base}a", f"{base}d/"})
    assert home.dav.propfind(home / "d", depth="1,noroot").properties() == {}
    assert home.dav.propfind(home / "a", depth="1,noroot").properties() == {}
    assert home.dav.propfind(home / "none", depth="1,noroot").status == 404
    assert home.dav.propfind(home.path, depth="infinity,noroot").status == 403
    for depth in ("0,noroot", "1,", "1,root", ",noroot", "1,noroot,noroot"):
        assert home.dav.propfind(home.path, depth=depth).status == 400, depth


def test_propfind_kinds(home: Home) -> None:
    home.dav.put(home / "a", b"hello")
    home.dav.proppatch(home / "a", '<D:set><D:prop><x:p xmlns:x="urn:x">v</x:p></D:prop></D:set>')
    frame = '<D:propfind xmlns:D="DAV:">{}</D:propfind>'.format
    (every,) = home.dav.propfind(home / "a").properties().values()
    assert every["{DAV:}getcontentlength"].text == "5" and every["{urn:x}p"].text == "v"
    (named,) = home.dav.propfind(home / "a", frame("<D:propname/>")).properties().values()
    assert set(named) == set(every) and not any(each.text for each in named.values())
    (asked,) = home.dav.propfind(home / "a", frame("<D:prop><D:getetag/><D:none/></D:prop>")).properties().values()
    assert set(asked) == {"{DAV:}getetag"}
    included = frame("<D:allprop/><D:include><D:quota-used-bytes/></D:include>")
    found = home.dav.propfind(home.path, included).properties()
    assert "{DAV:}quota-used-bytes" in found[home.dav.href(home.path) + "/"]
    for body in ("<x", frame(""), frame("<D:prop/><D:allprop/>"), "<D:other xmlns:D='DAV:'/>"):
        assert home.dav.propfind(home / "a", body).status == 400


def test_listing_has_folders_and_documents_with_their_names(home: Home) -> None:
    home.dav.request("MKCOL", home / "d å")
    home.dav.put(home / "b&<c>", b"x")
    found = home.dav.propfind(home.path, depth="1").properties()
    shown = {each["{DAV:}displayname"].text for each in found.values()}
    assert shown == {home.path.rpartition("/")[2], "d å", "b&<c>"}
    kinds = {href: each["{DAV:}resourcetype"].find("{DAV:}collection") is not None for href, each in found.items()}
    assert all(href.endswith("/") is is_folder for href, is_folder in kinds.items()) and len(kinds) == 3


def test_dead_properties_keep_namespaces_languages_and_move_along(home: Home) -> None:
    home.dav.put(home / "a", b"x")
    value = '<x:p xmlns:x="urn:x" xml:lang="sv">å<y:q xmlns:y="urn:y" z="1"/></x:p><plain xmlns="">n</plain>'
    set_ = home.dav.proppatch(home / "a", f"<D:set><D:prop>{value}</D:prop></D:set>")
    assert set_.status == 207 and b"200 OK" in set_.body
    assert home.dav.request("MOVE", home / "a", Destination=url(home, "b")).status == 201
    (found,) = home.dav.propfind(home / "b").properties().values()
    element = found["{urn:x}p"]
    assert element.text == "å" and element[0].tag == "{urn:y}q" and element[0].attrib == {"z": "1"}
    assert element.attrib["{http://www.w3.org/XML/1998/namespace}lang"] == "sv"
    assert found["plain"].text == "n"
    removed = home.dav.proppatch(home / "b", '<D:remove><D:prop><x:p xmlns:x="urn:x"/></D:prop></D:remove>')
    assert removed.status == 207
    (found,) = home.dav.propfind(home / "b").properties().values()
    assert "{urn:x}p" not in found and "plain" in found


def test_a_property_of_xmls_own_namespace_made_a_listing_unreadable(home: Home) -> None:
    home.dav.put(home / "a", b"x")
    set_ = home.dav.proppatch(home / "a", "<D:set><D:prop><xml:mark>1</xml:mark></D:prop></D:set>")
    assert b"200 OK" in set_.body and set_.xml().find(".//{http://www.w3.org/XML/1998/namespace}mark") is not None
    for asked in ("<D:propname/>", "<D:allprop/>", "<D:prop><xml:mark/><xml:none/></D:prop>"):
        listed = home.dav.propfind(home.path, f'<D:propfind xmlns:D="DAV:">{asked}</D:propfind>', depth="1")
        found = listed.properties()[home.dav.href(home / "a")]
        assert "{http://www.w3.org/XML/1998/namespace}mark" in found


def test_a_protected_property_refuses_all(home: Home) -> None:
    home.dav.put(home / "a", b"x")
    for name in ("getetag", "resourcetype", "lockdiscovery", "quota-used-bytes", "getcontentlength", "creationdate"):
        reply = home.dav.proppatch(home / "a", f"<D:set><D:prop><D:{name}>1</D:{name}><x/></D:prop></D:set>")
        statuses = {
            stat.find("{DAV:}prop")[0].tag: stat.findtext("{DAV:}status").split()[1]  # type: ignore[index,union-attr]
            for stat in reply.xml()[0].findall("{DAV:}propstat")
        }
        assert statuses == {f"{{DAV:}}{name}": "403", "x": "424"}
        assert b"cannot-modify-protected-property" in reply.body
    (found,) = home.dav.propfind(home / "a").properties().values()
    assert "x" not in found


def test_a_failed_precondition_leaves_all_properties_as_they_were(home: Home) -> None:
    """It is told within a 207, as Explorer needs it."""
    etag = home.dav.put(home / "a", b"x").headers["etag"]
    set_ = "<D:set><D:prop><x/></D:prop></D:set>"
    for failing in ({"If_Match": '"other"'}, {"If_None_Match": "*"}, {"If": f"(Not [{etag}])"}):
        reply = home.dav.proppatch(home / "a", set_, **failing)
        assert (reply.status, reply.body.count(b"HTTP/1.1 412")) == (207, 1)
    assert "x" not in home.dav.propfind(home / "a").properties()[home.dav.href(home / "a")]
    assert home.dav.proppatch(home / "a", set_, If_Match=etag, If=f"([{etag}])").body.count(b"HTTP/1.1 200") == 1


def test_an_exclusive_lock_keeps_others_out_of_a_document(home: Home) -> None:
    home.dav.put(home / "a", b"x")
    locked = home.dav.lock(home / "a", Timeout="Infinite, Second-4100000000", owner="<D:href>me</D:href>")
    assert locked.status == 200
    token = locked.headers["lock-token"]
    active = locked.xml().find(".//{DAV:}activelock")
    assert active is not None
    assert active.findtext("{DAV:}timeout") == "Second-3600" and active.findtext("{DAV:}depth") == "0"
    assert active.findtext("{DAV:}owner/{DAV:}href") == "me"
    assert active.findtext("{DAV:}locktoken/{DAV:}href") == token.strip("<>")
    assert active.findtext("{DAV:}lockroot/{DAV:}href") == home.dav.href(home / "a")
    refused = home.dav.put(home / "a", b"y")
    assert refused.status == 423
    assert refused.xml().findtext("{DAV:}lock-token-submitted/{DAV:}href") == home.dav.href(home / "a")
    for method, headers in (("DELETE", {}), ("MOVE", {"Destination": url(home, "b")})):
        assert home.dav.request(method, home / "a", **headers).status == 423
    patched = home.dav.proppatch(home / "a", "<D:set><D:prop><x/></D:prop></D:set>")
    assert patched.status == 207 and b"423 Locked" in patched.body
    again = home.dav.lock(home / "a")
    assert again.status == 423 and again.xml()[0].tag == "{DAV:}no-conflicting-lock"
    assert home.dav.put(home / "a", b"y", If=f"({token})").status == 204
    assert home.dav.put(home / "a", b"z", If=f"(<{UNKNOWN}>)").status == 412
    assert home.dav.request("UNLOCK", home / "a", Lock_Token=f"<{UNKNOWN}>").status == 409
    assert home.dav.request("UNLOCK", home / "a").status == 400
    assert home.dav.request("UNLOCK", home / "a", Lock_Token=token).status == 204
    assert home.dav.put(home / "a", b"z").status == 204


def test_shared_locks_stand_together(home: Home) -> None:
    home.dav.put(home / "a", b"x")
    first, second = home.dav.lock(home / "a", shared=True), home.dav.lock(home / "a", shared=True)
    assert first.status == second.status == 200
    assert home.dav.lock(home / "a").status == 423
    (found,) = home.dav.propfind(home / "a").properties().values()
    assert len(found["{DAV:}lockdiscovery"]) == 2
    for each in (first, second):
        assert home.dav.request("UNLOCK", home / "a", Lock_Token=each.headers["lock-token"]).status == 204


def test_members_do_not_repeat_whose_the_lock_above_them_is(home: Home) -> None:
    home.dav.request("MKCOL", home / "d")
    home.dav.put(home / "d/a", b"x")
    owner = "o" * 4000
    assert home.dav.lock(home / "d", shared=True, owner=owner, Depth="infinity").status == 200
    assert home.dav.lock(home / "d/a", shared=True, owner="its own").status == 200
    listed = home.dav.propfind(home / "d", depth="1")
    assert listed.body.count(owner.encode()) == 1
    own, member = (each["{DAV:}lockdiscovery"] for each in listed.properties().values())
    assert [each.findtext("{DAV:}owner") for each in own] == [owner]
    assert sorted(str(each.findtext("{DAV:}owner")) for each in member) == ["None", "its own"]
    assert {each.findtext("{DAV:}lockroot/{DAV:}href") for each in own} < {
        each.findtext("{DAV:}lockroot/{DAV:}href") for each in member
    }
    assert owner.encode() in home.dav.propfind(home / "d/a").body


def test_a_deep_lock_covers_what_lies_below(home: Home) -> None:
    home.dav.request("MKCOL", home / "d")
    home.dav.put(home / "d/a", b"x")
    token = home.dav.lock(home / "d", Depth="infinity").headers["lock-token"]
    assert home.dav.put(home / "d/a", b"y").status == 423
    assert home.dav.put(home / "d/b", b"y").status == 423
    assert home.dav.put(home / "d/b", b"y", If=f"<{url(home, 'd')}/> ({token})").status == 201
    found = home.dav.propfind(home / "d", depth="1").properties()
    assert all(len(each["{DAV:}lockdiscovery"]) == 1 for each in found.values())
    assert home.dav.request("UNLOCK", home / "d/a", Lock_Token=token).status == 204
    assert home.dav.put(home / "d/a", b"y").status == 204


def test_a_lock_is_refreshed_with_its_token_or_as_the_only_one(home: Home) -> None:
    token = home.dav.lock(home / "new", Timeout="Second-60").headers["lock-token"]
    for headers in ({"If": f"({token})"}, {"Lock_Token": token}, {}):
        refreshed = home.dav.request("LOCK", home / "new", Timeout="Second-600", **headers)
        assert refreshed.status == 200
        assert refreshed.xml().findtext(".//{DAV:}locktoken/{DAV:}href") == token.strip("<>")
        assert refreshed.xml().findtext(".//{DAV:}timeout") in ("Second-600", "Second-599")
    unknown = {"If": f"(<{UNKNOWN}>)"}
    assert home.dav.request("LOCK", home / "new", **unknown).status == 412
    home.dav.request("UNLOCK", home / "new", Lock_Token=token)
    assert home.dav.request("LOCK", home / "new").status == 400


@pytest.mark.parametrize("body", [b"<x", b"<D:lockinfo xmlns:D='DAV:'/>", b"<other/>"])
def test_malformed_lock_requests(home: Home, body: bytes) -> None:
    assert home.dav.request("LOCK", home / "a", body).status == 400
    assert home.dav.get(home / "a").status == 404


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("Second-180", 180),
        ("Second-0", 1),
        ("Infinite, Second-4100000000", 3600),
        ("Second-4100000000", 3600),
        ("Extend, Second-60", 60),
        ("soon", 3600),
    ],
)
def test_a_lock_lasts_as_long_as_asked_for_and_an_hour_at_most(home: Home, asked: str, seconds: int) -> None:
    taken = home.dav.lock(home / "a", Timeout=asked)
    unit, _, left = (taken.xml().findtext(".//{DAV:}timeout") or "").partition("-")
    assert unit == "Second" and seconds - 5 <= int(left) <= seconds


@pytest.mark.parametrize("depth", ["1", "2", "-", "0, 1"])
def test_a_lock_has_no_other_depth_than_none_or_all(home: Home, depth: str) -> None:
    assert home.dav.lock(home.path, Depth=depth).status == 400
    assert home.dav.put(home / "a", b"x").status == 201


def test_locks_hold_over_all_processes(home: Home, client: Callable[[str | None], Dav]) -> None:
    home.dav.lock(home / "a")
    for _ in range(8):  # new connections reach either worker
        assert client("anna").put(home / "a", b"x").status == 423


def test_viewers_may_look_and_no_more(home: Home, client: Callable[[str | None], Dav]) -> None:
    home.dav.put(home / "a", b"x")
    vera, base = client("vera"), home.path.replace("Kund AB – ", "")
    assert vera.get(f"{base}/a").body == b"x"
    for method, headers in (
        ("PUT", {}),
        ("DELETE", {}),
        ("MKCOL", {}),
        ("LOCK", {}),
        ("MOVE", {"Destination": vera.href(f"{base}/b")}),
        ("COPY", {"Destination": vera.href(f"{base}/b")}),
    ):
        path = f"{base}/new" if method in ("MKCOL",) else f"{base}/a"
        body = None
        if method == "LOCK":
            assert vera.lock(path).status == 403
            continue
        assert vera.request(method, path, body, **headers).status == 403, method
    patched = vera.proppatch(f"{base}/a", "<D:set><D:prop><x/></D:prop></D:set>")
    assert patched.status == 207 and b"403 Forbidden" in patched.body
    assert home.dav.get(home / "a").body == b"x"


def test_the_past_is_read_only(home: Home) -> None:
    home.dav.put(home / "a", b"x")
    space = home.path.split("/")[1]
    days = home.dav.propfind(f"/{space}/.history", depth="1")
    assert days.status == 207
    assert home.dav.put(f"/{space}/.history/a", b"x").status == 403
    assert home.dav.request("DELETE", f"/{space}/.history").status in (403, 404)


def test_a_lock_holds_nothing_in_the_past(home: Home) -> None:
    home.dav.put(home / "a", b"x")
    space, _, inner = home.path.strip("/").partition("/")
    past = f"/{space}/.history/{datetime.now(UTC).strftime('%Y-%m-%dT%H%M%S.%fZ')}/{inner}".rstrip("/") + "/a"
    taken = home.dav.lock(home / "a").headers["lock-token"]
    (found,) = home.dav.propfind(past, depth="0").properties().values()
    assert len(found["{DAV:}lockdiscovery"]) == 0
    assert home.dav.request("UNLOCK", past, Lock_Token=taken).status == 409
    assert home.dav.put(home / "a", b"y").status == 423
    assert home.dav.request("UNLOCK", home / "a", Lock_Token=taken).status == 204


def test_a_document_is_copied_out_of_the_past_to_where_it_was_deleted(home: Home) -> None:
    home.dav.request("MKCOL", home / "inner")
    home.dav.put(home / "inner/a%20b.txt", b"first")
    space, _, inner = home.path.strip("/").partition("/")
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
    past = f"/{space}/.history/{stamp}/{inner}".rstrip("/") + "/inner/a%20b.txt"
    before = home.dav.get(home / "inner/a%20b.txt").headers["etag"]
    assert home.dav.get(past).headers["etag"] == before
    home.dav.put(home / "inner/a%20b.txt", b"second")
    assert home.dav.request("DELETE", home / "inner/a%20b.txt").status == 204
    assert home.dav.get(past).body == b"first"
    (listed,) = home.dav.propfind(past, depth="0").properties().values()
    assert listed["{DAV:}getetag"].text == before
    assert home.dav.request("COPY", past, Destination=url(home, "inner/a%20b.txt")).status == 201
    assert home.dav.get(home / "inner/a%20b.txt").body == b"first"
    assert home.dav.request("COPY", past, Destination=url(home, "inner/a%20b.txt")).status == 204


def test_quota_is_shown_when_asked_for(home: Home) -> None:
    body = '<D:propfind xmlns:D="DAV:"><D:prop><D:quota-used-bytes/><D:quota-available-bytes/></D:prop></D:propfind>'
    home.dav.put(home / "a", b"x" * 1000)
    (found,) = home.dav.propfind(home.path, body).properties().values()
    assert int(found["{DAV:}quota-used-bytes"].text or "") > 0
