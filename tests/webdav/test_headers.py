"""If headers, entity tags, destinations, ranges, dates and credentials: tables of what they mean."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest

from providers.errors import BadName, NameTooLong
from providers.model import ConditionList, ConditionTerm
from providers.paths import Path
from server.webdav.conditions import NEVER, bare_token, conditions_of, entity_tags, parse_if
from server.webdav.dates import http_date, iso_date, iso_of_http, read_date
from server.webdav.ranges import Unsatisfiable, parse_ranges
from server.webdav.refusals import BadRequest
from server.webdav.signin import credentials
from server.webdav.urls import Origins, href_of, path_of
from tests.growth import growth

HOME = {"HTTP_HOST": "files.example:8080", "REQUEST_METHOD": "PUT"}


def origins(*public: str, host: str = "files.example:8080") -> Origins:
    return Origins({"HTTP_HOST": host}, public)


def token(value: str, negated: bool = False) -> ConditionTerm:
    return ConditionTerm(negated, True, value)


def tag(value: str, negated: bool = False) -> ConditionTerm:
    return ConditionTerm(negated, False, value)


A, B = "urn:uuid:aaaa", "urn:uuid:bbbb"

IF = {
    f"(<{A}>)": [(None, [token(A)])],
    f"(<{A}>) (<{B}>)": [(None, [token(A)]), (None, [token(B)])],
    f'(<{A}> ["e1"])(["e2"])': [(None, [token(A), tag('"e1"')]), (None, [tag('"e2"')])],
    f"(Not <{A}> not<{B}>)": [(None, [token(A, True), token(B, True)])],
    "(<DAV:no-lock>)": [(None, [token("DAV:no-lock")])],
    '(Not ["e"] [W/"w"])': [(None, [tag('"e"', True), tag('W/"w"')])],
    "([bare])": [(None, [tag('"bare"')])],
    '([ W/"q" ][ bare ])': [(None, [tag('W/"q"'), tag('"bare"')])],
    '(["a b"])': [(None, [tag('"a b"')])],
    '([""])': [(None, [tag('""')])],
    '(["with ]) inside"])': [(None, [tag('"with ]) inside"')])],
    f"</dav/a> (<{A}>)": [(("a",), [token(A)])],
    f"<http://files.example:8080/dav/a%20b/c> (<{A}>) (<{B}>)": [
        (("a b", "c"), [token(A)]),
        (("a b", "c"), [token(B)]),
    ],
    f'</dav/a> (<{A}>) </dav/b> (["e"])': [(("a",), [token(A)]), (("b",), [tag('"e"')])],
    f"<http://elsewhere.example/dav/a> (<{A}>)": [(None, [token(A), NEVER])],
    f"</dav/a%2Fb> (<{A}>)": [(None, [token(A), NEVER])],
}


@pytest.mark.parametrize("text", IF)
def test_if_header(text: str) -> None:
    expected = tuple(ConditionList(None if path is None else Path(path), tuple(terms)) for path, terms in IF[text])
    assert parse_if(text, origins()) == expected


BAD_IF = [
    "", "()", "(", "(<a>", "<a>)", "<a>", "(<a>) <a>", "(<a>) </dav/b> (<c>)", "(Not)", "(Not Not <a>)", "((<a>))",
    "(<a>) x", "(a)", "(<a b>)", "(<a>)]", '(["e")', "</dav/a> </dav/b> (<c>)", "(<a>),(<b>)", "Not (<a>)",
    "([])", "([ ])", "([a b])", "</dav/a> (<a>) </dav/b>", "(<a> Not)",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_IF)
def test_an_if_header_outside_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_if(text, origins())


def test_a_long_malformed_if_header_is_refused_at_once() -> None:
    for text in ("(" * 30_000, "(<a>" * 7_000, "[" * 30_000, "(" + " " * 30_000, "(Not " * 6_000, "(<" + "a" * 30_000):
        with pytest.raises(BadRequest):
            parse_if(text, origins())


def test_all_tokens_count_as_submitted_even_negated_ones() -> None:
    found = conditions_of({**HOME, "HTTP_IF": f"(<{A}>) (Not <{B}>)"}, origins())
    assert found.tokens == {A, B}


@pytest.mark.parametrize(("method", "expected"), [("PUT", {A}), ("PROPPATCH", {A}), ("DELETE", set())])
def test_lock_token_header_counts_where_word_sends_it(method: str, expected: set[str]) -> None:
    environ = {**HOME, "REQUEST_METHOD": method, "HTTP_LOCK_TOKEN": f"<{A}>"}
    assert conditions_of(environ, origins()).tokens == expected


def test_bare_token() -> None:
    assert bare_token(f" <{A}> ") == bare_token(A) == A


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("*", ("*",)),
        ('"a"', ('"a"',)),
        ('"a", W/"b" ,"c,d"', ('"a"', 'W/"b"', '"c,d"')),
        ("bare", ('"bare"',)),
        ('"a", , "b",', ('"a"', '"b"')),
        (' ,"a"', ('"a"',)),
        (",", ()),
        ("", ()),
    ],
)
def test_entity_tags(text: str | None, expected: tuple[str, ...] | None) -> None:
    assert entity_tags(text) == expected


@pytest.mark.parametrize("text", ['"a', '"a" "b"', "a b"])
def test_malformed_entity_tags_are_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        entity_tags(text)


DESTINATIONS: dict[str, tuple[str, ...] | None] = {
    "/dav/a": ("a",),
    "/dav/a;b.txt": ("a;b.txt",),
    "http://files.example:8080/dav/q%3Fx.txt": ("q?x.txt",),
    "http://files.example:8080/dav/a%3Bb.txt": ("a;b.txt",),
    "http://files.example:8080/dav/a%23b": ("a#b",),
    "http://files.example:8080/dav/%2541": ("%41",),
    "http://files.example:8080/dav/%252F": ("%2F",),
    "http://files.example:8080/dav/a+b%20c": ("a+b c",),
    "http://u:p@files.example:8080/dav/a": ("a",),
    "http://u@x:p@files.example:8080/dav/a": ("a",),
    "https://files.example:8080/dav/a": ("a",),
    "HTTP://FILES.example:8080/dav/a": ("a",),
    "http://files.example:8080/dav/a?query": ("a",),
    "http://files.example:8080/dav/": (),
    "https://public.example/dav/a": ("a",),
    "https://public.example:443/dav/a": ("a",),
    "http://other.example/dav/a": None,
    "http://files.example:8081/dav/a": None,
    "//other.example/dav/a": None,
    "ftp://files.example:8080/dav/a": None,
    "http://files.example:8080/other": None,
    "http://files.example:8080.evil.example/dav/a": None,
    "nonsense": None,
}


@pytest.mark.parametrize("url", DESTINATIONS)
def test_destination(url: str) -> None:
    expected = DESTINATIONS[url]
    assert origins("https://public.example").path_in(url) == (None if expected is None else Path(expected))


@pytest.mark.parametrize("host", ["files.example", "files.example:443"])
def test_a_port_left_out_is_the_schemes_own(host: str) -> None:
    assert origins(host=host).path_in("https://files.example/dav/a") == Path(("a",))
    assert origins(host=host).path_in("https://files.example:443/dav/a") == Path(("a",))


@pytest.mark.parametrize("inner", ["%E9", "%2f", "a%2Fb", "%zz", "%00", "..", "%2e%2e/a"])
def test_targets_that_name_nothing_are_refused(inner: str) -> None:
    with pytest.raises(BadName):
        path_of(f"/dav/{inner}")


def test_a_long_name_is_refused_as_such() -> None:
    with pytest.raises(NameTooLong):
        path_of("/dav/" + "a" * 300)


@pytest.mark.parametrize("target", ["/davx", "/", "/da", "/DAV/a"])
def test_only_what_lies_below_the_prefix_is_a_path(target: str) -> None:
    assert path_of(target) is None


NAMES = ["a b", "å", "a\u030a", "+#%&;?[]'~$,=@", "😀", "%41", "%2F", '<>:"|*\\', "x.", "x ", "&lt;", "`{}^"]


@pytest.mark.parametrize("name", NAMES)
def test_hrefs_lead_back_to_their_names_and_are_safe_in_xml(name: str) -> None:
    href = href_of(Path(("top", name)))
    assert path_of(href) == Path(("top", name))
    assert href.isascii() and not set(href) & set('<>&" #?;')


RANGES: dict[str, list[tuple[int, int]] | None] = {
    "bytes=0-9": [(0, 10)],
    "bytes=90-": [(90, 100)],
    "bytes=-10": [(90, 100)],
    "bytes=-1000": [(0, 100)],
    "bytes=50-1000": [(50, 100)],
    "bytes= 0-0 , 2-2": [(0, 1), (2, 3)],
    "bytes=0-4,5-9": [(0, 10)],
    "bytes=5-9,0-6": [(0, 10)],
    "bytes=80-89,0-9": [(80, 90), (0, 10)],
    "bytes=0-9,20-29,5-25": [(0, 30)],
    "bytes=0-9,200-300": [(0, 10)],
    "bytes=9-0": None,
    "bytes=": None,
    "bytes=a-b": None,
    "bytes=--1": None,
    "bytes=0-9;": None,
    "lines=0-9": None,
    "0-9": None,
    "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 16, 2)): [(n, n + 1) for n in range(0, 16, 2)],
    "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 18, 2)): None,
    "bytes=" + ",".join("0-" for _ in range(5000)): None,
    "bytes=30-39,80-89,0-9,35-49,85-99": [(30, 50), (80, 100), (0, 10)],
}


@pytest.mark.parametrize("text", RANGES)
def test_ranges(text: str) -> None:
    assert parse_ranges(text, 100, 8) == RANGES[text]


def test_thousands_of_ranges_take_time_by_their_number() -> None:
    def ask(count: int) -> None:
        text = "bytes=" + ",".join(f"{2 * n}-{2 * n}" for n in range(count))
        assert parse_ranges(text, 10**6, 8) is None
        assert len(parse_ranges(text, 10**6, count) or ()) == count

    assert growth(ask, 250, 8000) < 3.2


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=-0", "bytes=100-200,300-"])
def test_ranges_outside_cannot_be_satisfied(text: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_ranges(text, 100, 8)


def test_dates() -> None:
    assert http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert read_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777
    assert iso_date(784111777) == "1994-11-06T08:49:37Z"
    assert iso_of_http("Sun, 06 Nov 1994 08:49:37 GMT") == "1994-11-06T08:49:37Z"
    for text in (
        "yesterday",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:61:99 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
    ):
        assert iso_of_http(text) is None
    assert [read_date(text) for text in ("", "yesterday", "Sun, 99 Nov 1994 08:49:37 GMT", "0")] == [None] * 4


def test_a_date_that_names_no_zone_is_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-5")
    time.tzset()
    try:
        for text in ("Sun Nov  6 08:49:37 1994", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 -0000"):
            assert read_date(text) == 784111777, text
    finally:
        monkeypatch.undo()
        time.tzset()


def basic(text: str | bytes) -> dict[str, Any]:
    raw = text.encode() if isinstance(text, str) else text
    return {"HTTP_AUTHORIZATION": "Basic " + base64.b64encode(raw).decode()}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (basic("anna:secret"), ("anna", "secret")),
        (basic("anna:se:cr:et"), ("anna", "se:cr:et")),
        (basic("åsa:lösen"), ("åsa", "lösen")),
        (basic("åsa:lösen".encode("latin-1")), ("åsa", "lösen")),
        (basic("anna"), None),
        (basic(":secret"), None),
        (basic("an\0na:secret"), None),
        (basic("an\nna:secret"), None),
        (basic("a:" + "x" * 5000), None),
        ({"HTTP_AUTHORIZATION": "Basic !!!"}, None),
        ({"HTTP_AUTHORIZATION": "Basic \xe9"}, None),
        ({"HTTP_AUTHORIZATION": "Basic"}, None),
        ({"HTTP_AUTHORIZATION": "Bearer abc"}, None),
        ({}, None),
    ],
)
def test_basic_credentials(environ: dict[str, Any], expected: tuple[str, str] | None) -> None:
    assert credentials(environ) == expected
