"""GET and HEAD: a document whole or in ranges, streamed; a word about it for a folder."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from config.clock import SECOND_US
from providers.errors import IsAFolder, NotAtHand
from providers.model import NO_CONDITIONS, Conditions, Item
from server.webdav import live
from server.webdav.conditions import entity_tags
from server.webdav.dates import http_date, read_date
from server.webdav.exchange import GUARD, Answer, Exchange
from server.webdav.ranges import Range, Unsatisfiable, parse_ranges
from server.webdav.urls import href_of

if TYPE_CHECKING:
    from providers.drive.reading import Reader

FOLDER_TEXT = b"This is a folder in Mellanrum. Mount this address as a network drive (WebDAV) to see what is in it.\n"
#: What is no larger leaves in one piece, with the head of the answer before it.
SMALL_BYTES = 64 * 1024
#: What may come to it that nothing is sent.
_CONDITIONAL = (
    "HTTP_IF",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_MATCH",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_RANGE",
)


def get(exchange: Exchange) -> Answer:
    """Answer 200, 206, 304, 412 or 416. Opening a document is an event, so nothing is opened that is not sent."""
    item = None
    if exchange.method == "HEAD" or not exchange.environ.keys().isdisjoint(_CONDITIONAL):
        item = _looked_at(exchange)
        if item.is_folder:
            return _folder(exchange, item)
        if (answer := _without_content(exchange, item)) is not None:
            return answer
        if exchange.method == "HEAD":
            return Answer("200 OK", _headers(item), (), item.size)
    try:
        reader = exchange.drive.read(exchange.path)
    except IsAFolder:
        return _folder(exchange, exchange.drive.stat(exchange.path))
    try:
        if item is not None and reader.item.etag != item.etag:  # it was saved in between
            exchange.drive.stat(exchange.path, conditions=_demanded(exchange))
            if (answer := _without_content(exchange, reader.item)) is not None:
                reader.close()
                return answer
        return _answer(exchange, reader.item, reader)
    except BaseException:
        reader.close()
        raise


def _looked_at(exchange: Exchange) -> Item:
    """Return what stands there, if what is demanded of it holds; if nothing is, what is known to stand yet will do."""
    demanded = _demanded(exchange)
    if demanded == NO_CONDITIONS:
        with suppress(NotAtHand):
            return exchange.drive.stat(exchange.path, at_hand=True)
    return exchange.drive.stat(exchange.path, conditions=demanded)


def _folder(exchange: Exchange, item: Item) -> Answer:
    """Answer for a folder; without a slash, 301 to where it has one.

    lftp takes what does not redirect for a document, and then puts what belongs into the folder beside it.
    """
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Last-Modified", http_date(item.modified // SECOND_US))]
    if exchange.ends_in_slash or item.path.is_root:
        return Answer("200 OK", [*headers, *GUARD], (FOLDER_TEXT,))
    headers.append(("Location", href_of(exchange.path, is_folder=True)))
    return Answer("301 Moved Permanently", [*headers, *GUARD], (FOLDER_TEXT,))


def _demanded(exchange: Exchange) -> Conditions:
    """Return what must hold for anything to be sent, which comes first (RFC 9110 13.2.2); a drive asks for it."""
    asked = exchange.conditions
    return replace(exchange.states, if_match=asked.if_match, unmodified_since=asked.unmodified_since)


def _validators(item: Item) -> list[tuple[str, str]]:
    return [("ETag", item.etag), ("Last-Modified", http_date(item.modified // SECOND_US)), *GUARD]


def _headers(item: Item) -> list[tuple[str, str]]:
    return [("Content-Type", live.media_type(item.name)), ("Accept-Ranges", "bytes"), *_validators(item)]


def _without_content(exchange: Exchange, item: Item) -> Answer | None:
    """Return 304 or 416, where nothing of the document is to be sent, else None."""
    if not _is_wanted(exchange, item):
        return Answer("304 Not Modified", _validators(item))
    try:
        _ranges(exchange, item)
    except Unsatisfiable:
        headers = [("Content-Range", f"bytes */{item.size}"), *_validators(item)]
        return Answer("416 Range Not Satisfiable", headers)
    return None


def _is_wanted(exchange: Exchange, item: Item) -> bool:
    """Return False for 304: the client has it. A date counts for nothing beside tags (RFC 9110 13.1.3)."""
    known = entity_tags(exchange.header("HTTP_IF_NONE_MATCH"))
    if known is not None:
        return "*" not in known and item.etag not in [tag.removeprefix("W/") for tag in known]
    since = read_date(exchange.header("HTTP_IF_MODIFIED_SINCE") or "")
    return since is None or item.modified // SECOND_US > since


def _answer(exchange: Exchange, item: Item, reader: Reader) -> Answer:
    headers, ranges = _headers(item), _ranges(exchange, item)
    if ranges is None and item.size <= SMALL_BYTES:
        exchange.watch(reader)
        content = reader.read(0, item.size)
        reader.close()
        return Answer("200 OK", headers, (content,), item.size)
    if ranges is None:
        return Answer("200 OK", headers, _stream(exchange, reader, [(b"", (0, item.size))], b""), item.size)
    if len(ranges) == 1:
        start, stop = ranges[0]
        headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{item.size}"))
        return Answer("206 Partial Content", headers, _stream(exchange, reader, [(b"", ranges[0])], b""), stop - start)
    return _multipart(exchange, item, reader, ranges, headers)


def _ranges(exchange: Exchange, item: Item) -> list[Range] | None:
    asked = exchange.header("HTTP_RANGE")
    if asked is None or exchange.method == "HEAD":
        return None
    if not item.size:
        return None  # players ask for `bytes=0-` of whatever they open: an empty document is no error
    condition = (exchange.header("HTTP_IF_RANGE") or "").strip()
    if condition and condition != item.etag and read_date(condition) != item.modified // SECOND_US:
        return None
    return parse_ranges(asked, item.size, exchange.settings.limits.ranges_max)


def _multipart(
    exchange: Exchange, item: Item, reader: Reader, ranges: list[Range], headers: list[tuple[str, str]]
) -> Answer:
    boundary = secrets.token_hex(16)
    parts = []
    for start, stop in ranges:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: {live.media_type(item.name)}\r\n"
            f"Content-Range: bytes {start}-{stop - 1}/{item.size}\r\n\r\n"
        )
        parts.append((head.encode("ascii"), (start, stop)))
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    length = sum(len(head) + stop - start for head, (start, stop) in parts) + len(tail)
    headers = [pair for pair in headers if pair[0] != "Content-Type"]
    headers.append(("Content-Type", f"multipart/byteranges; boundary={boundary}"))
    return Answer("206 Partial Content", headers, _stream(exchange, reader, parts, tail), length)


def _stream(
    exchange: Exchange, reader: Reader, parts: list[tuple[bytes, Range]], tail: bytes
) -> Iterator[bytes | memoryview]:
    """Return the pieces. The first is read at once, so that damage is an error and not a broken answer."""
    pieces = _pieces(exchange, reader, parts, tail)
    return Stream(pieces, next(pieces, b""), reader)


class Stream:
    """An iterator with its first piece at hand, which closes the document when it is closed itself."""

    def __init__(self, pieces: Iterator[bytes | memoryview], first: bytes | memoryview, reader: Reader) -> None:
        self._pieces = pieces
        self._first: bytes | memoryview | None = first
        self._reader = reader

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return self

    def __next__(self) -> bytes | memoryview:
        first, self._first = self._first, None
        return first if first is not None else next(self._pieces)

    def close(self) -> None:
        """Let the document go."""
        self._reader.close()


def _pieces(
    exchange: Exchange, reader: Reader, parts: list[tuple[bytes, Range]], tail: bytes
) -> Iterator[bytes | memoryview]:
    exchange.watch(reader)
    for head, (start, stop) in parts:
        if head:
            yield head
        yield from reader.chunks(start, stop)
    if tail:
        yield tail
