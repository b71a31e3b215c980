"""XML in within limits, fragments out with their namespaces, sheets of properties."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from config.settings import Settings
from providers.model import Item, Lock, Quota
from providers.paths import Path
from server.webdav import live
from server.webdav.exchange import Exchange
from server.webdav.refusals import BadRequest, RequestError, TooLarge
from server.webdav.sheets import CLOSING, OPENING, Beside, Wanted, _small_sheet, responses
from server.webdav.urls import href_of
from server.webdav.xml import fragment, of_body, read_xml


def exchange_with(body: bytes, **headers: str) -> Exchange:
    environ: dict[str, Any] = {"REQUEST_METHOD": "PROPFIND", "wsgi.input": io.BytesIO(body), **headers}
    if "HTTP_TRANSFER_ENCODING" not in headers:
        environ["CONTENT_LENGTH"] = str(len(body))
    return Exchange(environ, Settings(), cast("Any", None), Path(), ends_in_slash=False)


def test_no_body_is_no_root() -> None:
    assert read_xml(exchange_with(b"")) is None


def nested(levels: int) -> bytes:
    return b"<a>" * levels + b"</a>" * levels


def test_limits_hold_and_no_further() -> None:
    assert read_xml(exchange_with(nested(32))) is not None
    assert read_xml(exchange_with(b"<a>" + b"<b/>" * 999 + b"</a>")) is not None
    for body in (nested(33), b"<a>" + b"<b/>" * 1000 + b"</a>", b"<a>" + b"x" * 65_536 + b"</a>"):
        with pytest.raises(TooLarge):
            read_xml(exchange_with(body))
    with pytest.raises(TooLarge):
        read_xml(exchange_with(b"<a>" + b"x" * 65_536 + b"</a>", HTTP_TRANSFER_ENCODING="chunked"))


def named(count: int, namespace: str) -> bytes:
    """Return a PROPFIND that asks for many names of one namespace."""
    inner = "".join(f"<x:n{number}/>" for number in range(count))
    return f'<D:propfind xmlns:D="DAV:" xmlns:x="{namespace}"><D:prop>{inner}</D:prop></D:propfind>'.encode()


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refused(body: bytes, kind: type[RequestError]) -> None:
    with pytest.raises(kind):
        read_xml(exchange_with(body))


def test_a_long_namespace_made_much_of_a_short_body() -> None:
    assert read_xml(exchange_with(named(30, "u" * 1024))) is not None
    refused(named(1, "u" * 1025), BadRequest)
    refused(named(1, "u" * 1025).decode().encode("utf-16"), BadRequest)
    refused(b'<a><b xmlns="' + b"u" * 1025 + b'"/></a>', BadRequest)
    refused(named(100, "u" * 1000), TooLarge)  # a body of two kilobytes, names of a hundred
    attributes = "".join(f' x:n{number:x}=""' for number in range(3000)).encode()
    body = b'<a xmlns:x="' + b"u" * 20_000 + b'"' + attributes + b"/>"
    assert peak_bytes(lambda: refused(body, BadRequest)) < 4 << 20


def test_what_long_names_come_to_is_not_remembered() -> None:
    made = []

    @of_body
    def count(root: Any) -> int:
        made.append(root)
        return len(root)

    for namespace, times in (("urn:x", 1), ("u" * 1000, 2)):
        made.clear()
        for _ in range(2):
            assert count(exchange_with(named(20, namespace))) == 1
        assert len(made) == times


def test_sheets_of_many_names_are_not_remembered() -> None:
    _small_sheet.cache_clear()
    names = tuple(f"{{urn:x}}{'n' * 100}{number}" for number in range(100))
    for wanted in (Wanted(names=names), Wanted(names=names[:10])):
        list(responses([item("a")], lambda each: "/", wanted, Beside()))
    assert _small_sheet.cache_info().currsize == 1


HOSTILE = {
    "not closed": b"<a>",
    "no XML": b"hello",
    "entity": b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
    "outside entity": b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
    "document type": b'<!DOCTYPE a SYSTEM "http://example.org/a.dtd"><a/>',
    "unknown entity": b"<a>&nbsp;</a>",
    "empty prefix": b'<a xmlns:b=""/>',
    "undeclared prefix": b"<b:a/>",
    "unknown encoding": b'<?xml version="1.0" encoding="rot13"?><a/>',
    "control character": b"<a>\x01</a>",
    "no UTF-8": b"<a>\xff</a>",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        read_xml(exchange_with(HOSTILE[name]))


FRAGMENTS = [
    "<a>text</a>",
    '<x:a xmlns:x="urn:x" y="1"/>',
    '<x:a xmlns:x="urn:x" xmlns:y="urn:y"><y:b y:c="d&quot;&amp;">t&lt;&amp;&gt;</y:b>tail<c/></x:a>',
    '<a xml:lang="sv">å 😀</a>',
    '<x:a xmlns:x="urn:&amp;&lt;x">&#13;&#10;</x:a>',
    '<a b="&#10;&#9;x"/>',
    '<x:a xmlns:x="urn:&#10;&#9;&#13;x" x:b="c"/>',
    '<a xmlns="DAV:"><href>/dav/</href></a>',
]


@pytest.mark.parametrize("text", FRAGMENTS)
def test_a_fragment_means_the_same_wherever_it_stands(text: str) -> None:
    element = ElementTree.fromstring(text)
    around = f'<r xmlns:D="DAV:" xmlns:n0="urn:other"><D:prop>{fragment(element)}</D:prop></r>'
    again = ElementTree.fromstring(around)[0][0]
    assert ElementTree.canonicalize(ElementTree.tostring(again)) == ElementTree.canonicalize(
        ElementTree.tostring(element)
    )


def test_a_fragment_keeps_the_language_of_around() -> None:
    element = ElementTree.fromstring("<a><b/></a>")
    assert fragment(element, "sv") == '<a xml:lang="sv"><b/></a>'
    assert fragment(ElementTree.fromstring('<a xml:lang="en"/>'), "sv") == '<a xml:lang="en"/>'


def item(name: str, *, is_folder: bool = False, has_properties: bool = False) -> Item:
    return Item(
        path=Path(("s", name)),
        name=name,
        is_folder=is_folder,
        size=0 if is_folder else 5,
        created=784111777_000000,
        modified=784111778_999999,
        etag="" if is_folder else '"e1"',
        id=b"i" * 16,
        space=b"s" * 16,
        version=1,
        has_properties=has_properties,
        is_past=False,
    )


def answered(items: list[Item], wanted: Wanted, beside: Beside | None = None) -> dict[str, dict[str, set[str]]]:
    """Return, by href, the Clark names by status."""
    text = OPENING + "".join(responses(items, lambda each: href_of(each.path), wanted, beside or Beside())) + CLOSING
    found: dict[str, dict[str, set[str]]] = {}
    for response in ElementTree.fromstring(text.encode()):
        stats: dict[str, set[str]] = {}
        for stat in response.findall("{DAV:}propstat"):
            status = stat.findtext("{DAV:}status", "").split()[1]
            assert status not in stats
            stats[status] = {each.tag for each in stat.iterfind("{DAV:}prop/*")}
        found[response.findtext("{DAV:}href", "")] = stats
    return found


ETAG, LENGTH, DISPLAY = "{DAV:}getetag", "{DAV:}getcontentlength", "{DAV:}displayname"


def test_only_what_was_asked_for_is_answered() -> None:
    wanted = Wanted(names=(DISPLAY, LENGTH, ETAG, "{urn:100%s}dead"))
    found = answered([item("a&b"), item("dir", is_folder=True)], wanted)
    assert found["/dav/s/a%26b"] == {"200": {DISPLAY, LENGTH, ETAG}, "404": {"{urn:100%s}dead"}}
    assert found["/dav/s/dir"] == {"200": {DISPLAY}, "404": {LENGTH, ETAG, "{urn:100%s}dead"}}


def test_a_name_in_a_namespace_with_the_end_of_a_line_was_answered_as_another() -> None:
    name = "{urn:a\nb\tc}dead"
    assert answered([item("a")], Wanted(names=(name,)))["/dav/s/a"] == {"200": set(), "404": {name}}
    beside = Beside(dead=lambda _: {name: fragment(ElementTree.Element(name))})
    for wanted in (Wanted(names=(name,)), Wanted(every=True), Wanted(names_only=True)):
        assert name in answered([item("a", has_properties=True)], wanted, beside)["/dav/s/a"]["200"]


def test_dead_properties_differ_from_item_to_item() -> None:
    beside = Beside(dead=lambda each: {"{urn:x}a": '<n0:a xmlns:n0="urn:x">50%s</n0:a>'} if each.name == "a" else {})
    items = [item("a", has_properties=True), item("b", has_properties=True)]
    assert answered(items, Wanted(names=("{urn:x}a",)), beside) == {
        "/dav/s/a": {"200": {"{urn:x}a"}},
        "/dav/s/b": {"200": set(), "404": {"{urn:x}a"}},
    }
    assert "{urn:x}a" in answered(items, Wanted(every=True), beside)["/dav/s/a"]["200"]
    assert "{urn:x}a" in answered(items, Wanted(names_only=True), beside)["/dav/s/a"]["200"]


def test_what_is_too_much_to_tell_is_neither_there_nor_missing() -> None:
    beside = Beside(dead=lambda each: None if each.name == "a" else {"{urn:x}a": "<a/>"})
    items = [item("a", has_properties=True), item("b", has_properties=True), item("c")]
    found = answered(items, Wanted(names=(ETAG, "{urn:x}a")), beside)
    assert found["/dav/s/a"] == {"200": {ETAG}, "507": {"{urn:x}a"}}
    assert found["/dav/s/c"] == {"200": {ETAG}, "404": {"{urn:x}a"}}
    assert set(answered(items, Wanted(every=True), beside)["/dav/s/a"]) == {"200"}
    assert set(answered(items, Wanted(names_only=True), beside)["/dav/s/a"]) == {"200"}
    asked = Wanted(names=(live.CREATED,), as_set=True)
    assert answered(items, asked, beside)["/dav/s/a"] == {"200": {live.CREATED}}


def test_allprop_leaves_out_what_is_given_by_name_only_unless_included() -> None:
    plain = answered([item("d", is_folder=True)], Wanted(every=True))["/dav/s/d"]["200"]
    assert live.QUOTA_USED not in plain and live.WIN32_MODIFIED not in plain and live.LOCKDISCOVERY in plain
    beside = Beside(elsewhere=lambda name, each: live.quota_text(name, Quota(1, 2)))
    wanted = Wanted(names=(live.QUOTA_USED, live.QUOTA_AVAILABLE, live.WIN32_MODIFIED), every=True)
    assert set(wanted.names) < answered([item("d", is_folder=True)], wanted, beside)["/dav/s/d"]["200"]


def test_an_etag_property_is_the_header_byte_for_byte() -> None:
    text = "".join(responses([item("a")], lambda each: "/", Wanted(names=(ETAG,)), Beside()))
    assert '<D:getetag>"e1"</D:getetag>' in text


def test_an_entry_stays_small_for_explorer() -> None:
    names = ("displayname", "creationdate", "getcontentlength", "getlastmodified", "resourcetype")
    wanted = Wanted(names=tuple(f"{{DAV:}}{name}" for name in names))
    assert len("".join(responses([item("report 2026.docx")], lambda each: "/dav/Space/x", wanted, Beside()))) <= 480


def test_a_hidden_token_and_owner_are_not_shown() -> None:
    lock = Lock("", Path(("s",)), True, False, "", 60, 0, "")
    text = live.active_locks([lock])
    assert "locktoken" not in text and "owner" not in text
    ElementTree.fromstring(f'<r xmlns:D="DAV:">{text}</r>')
