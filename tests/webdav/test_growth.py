"""What a client can write into a header or a body takes a time that grows with its length, however it is made."""

from __future__ import annotations

import io
import ipaddress
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest

from config.errors import MellanrumError
from config.settings import Settings
from providers.paths import Path
from server.http.parser import Refused, check_trailer, parse_head, refuse_early
from server.http.proxies import apply_forwarded
from server.webdav import locking, put, trees
from server.webdav.conditions import bare_token, conditions_of, entity_tags
from server.webdav.dates import read_date
from server.webdav.exchange import Exchange
from server.webdav.propfind import propfind
from server.webdav.ranges import Unsatisfiable, parse_ranges
from server.webdav.signin import credentials
from server.webdav.urls import Origins, path_of
from server.webdav.xml import read_xml
from tests.growth import growth

LENGTH_MAX = Settings().limits.header_bytes_max
PROXIES = (ipaddress.ip_network("127.0.0.0/8"),)


def exchange(text: str, *fields: str) -> Exchange:
    """Return a request in which each of some header fields says `text`, and whose body does."""
    environ = {"REQUEST_METHOD": "PUT", "HTTP_HOST": "files.example", **dict.fromkeys(fields, text)}
    environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    given: dict[str, Any] = {**environ, "wsgi.input": io.BytesIO(text.encode("latin-1"))}
    return Exchange(given, Settings(), cast("Any", None), Path(), ends_in_slash=False)


def forwarded(text: str, *, standard: bool) -> None:
    fields = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST")
    environ = {"REMOTE_ADDR": "127.0.0.1", **dict.fromkeys(fields, text)}
    apply_forwarded(environ, PROXIES, standard=standard)


def head(text: str) -> None:
    raw = f"GET / HTTP/1.1\r\n{text}".encode("latin-1")
    refuse_early(raw)
    parse_head(raw, fields_max=100)


def target(text: str) -> None:
    parse_head(f"GET {text} HTTP/1.1\r\nHost: x".encode("latin-1"), fields_max=100)


def origins(host: str = "files.example") -> Origins:
    return Origins({"HTTP_HOST": host}, ("https://public.example",))


PARSERS: dict[str, Callable[[str], object]] = {
    "If": lambda text: conditions_of(exchange(text, "HTTP_IF").environ, origins()),
    "If-Match": entity_tags,
    "Lock-Token": bare_token,
    "dates": read_date,
    "Range": lambda text: parse_ranges(text, 10**6, 8),
    "Forwarded": lambda text: forwarded(text, standard=True),
    "X-Forwarded": lambda text: forwarded(text, standard=False),
    "Timeout": lambda text: locking._timeout(exchange(text, "HTTP_TIMEOUT")),
    "Overwrite": lambda text: trees._overwrite(exchange(text, "HTTP_OVERWRITE")),
    "Destination": lambda text: trees._goal(exchange(text, "HTTP_DESTINATION")),
    "Depth": lambda text: propfind(exchange(text, "HTTP_DEPTH")),
    "Authorization": lambda text: credentials({"HTTP_AUTHORIZATION": text}),
    "OC-Checksum": lambda text: put._checksum(exchange(text, "HTTP_OC_CHECKSUM")),
    "X-OC-Mtime": lambda text: exchange(text, "HTTP_X_OC_MTIME").modified,
    "X-Expected-Entity-Length": lambda text: put._expected(exchange(text, "HTTP_X_EXPECTED_ENTITY_LENGTH")),
    "Host": lambda text: origins(text).path_in("http://files.example/dav/a"),
    "head": head,
    "target": target,
    "trailer": lambda text: check_trailer(text.encode("latin-1")),
    "path": path_of,
    "XML": lambda text: read_xml(exchange(text)),
}
#: How what is repeated begins.
STARTS = {
    "If": ("", "(", "[", "([", '(["', "(<", "</dav/", "(Not "),
    "If-Match": ("", '"', 'W/"', "a"),
    "dates": ("", "Sun, ", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 "),
    "Range": ("", "bytes=", "bytes=0-", "bytes=0-1,"),
    "Forwarded": ("", "for=", 'for="', "for=1.1.1.1;", "for"),
    "X-Forwarded": ("", "127.0.0.1", "[", "https"),
    "Timeout": ("", "Second-", "Infinite"),
    "Destination": ("", "http://", "http://files.example", "http://files.example/dav/", "/dav/"),
    "Authorization": ("", "Basic ", "Basic YTpi"),
    "OC-Checksum": ("", "SHA1:"),
    "Host": ("", "files.example:"),
    "head": ("", "Host: x\r\nA: ", "Host: x\r\nTransfer-Encoding: ", "Host: ", "Host: x\r\nIf: "),
    "target": ("/", "http://", "http://x", "/dav/"),
    "trailer": ("", "A: "),
    "path": ("/dav/",),
    "XML": ("", "<a>", "<a ", "<?xml ", "<!--", "<a>&", "<a b='", "<![CDATA[", "<!DOCTYPE a ["),
}
REPEATED = (
    *" \ta0(<[\"'=,;:/%.@-&\\",
    *("\r\n", "\r\nA:", "W/", "Not ", "(<a>)", '(["a"])', "<a>", "a=", '""', '"a",', "a, ", "%41", "%2f", "../", "0-,"),
    *("0-1,", "for=a;", "1.1.1.1,", "127.0.0.1, ", "for=127.0.0.1,", "Second-1,", "/dav/", "\xe9", "\xe9/", "a\t "),
)
ENDS = ("", "x", '"', "]", ")", ">")


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_repeated_takes_time_by_its_length(name: str) -> None:
    parse = PARSERS[name]
    for start in STARTS.get(name, ("",)):
        for repeated in REPEATED:
            for end in ENDS:

                def work(count: int, parts: tuple[str, str, str] = (start, repeated, end)) -> None:
                    with suppress(MellanrumError, Refused, Unsatisfiable):
                        parse(parts[0] + parts[1] * count + parts[2])

                times = growth(work, 512, LENGTH_MAX // len(repeated))
                assert times < 3.2, (start, repeated, end)
