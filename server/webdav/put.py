"""PUT: bytes go to an upload, which becomes a version only when the body has come whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from config.clock import SECOND_US
from providers.errors import IsAFolder, UploadIncomplete
from server.webdav.dates import http_date
from server.webdav.exchange import MTIME_ACCEPTED, Answer, Exchange, done
from server.webdav.refusals import BadRequest, FolderName

if TYPE_CHECKING:
    from providers.drive.noise import NoiseUpload
    from providers.drive.uploads import Upload

BLOCK_BYTES = 1024 * 1024
_ALGORITHMS = frozenset({"md5", "sha1", "sha256"})
#: Buffers that no request has at the moment, and how many of them are kept.
_spare: list[memoryview] = []
_SPARE_MAX = 16


def put(exchange: Exchange) -> Answer:
    """Answer 201 for a new document, 204 for a new version of one, with its ETag and Last-Modified."""
    # Each of ownCloud's chunks of old would become a document.
    if exchange.header("HTTP_CONTENT_RANGE") is not None or exchange.header("HTTP_OC_CHUNKED") is not None:
        raise BadRequest(why="a part of a document cannot be put")
    exchange.require_plain()
    if exchange.path.is_root:
        raise IsAFolder
    if exchange.ends_in_slash:
        raise FolderName
    modified = exchange.modified
    expected = _expected(exchange)
    upload = exchange.drive.put(exchange.path, declared=expected, conditions=exchange.conditions, modified=modified)
    try:
        exchange.watch()
        with _block(expected) as block:
            _receive(exchange, upload, expected, block)
        item, created = upload.commit()
    except BaseException:
        upload.discard()
        raise
    headers = [("ETag", item.etag), ("Last-Modified", http_date(item.modified // SECOND_US))]
    if modified is not None:
        headers.append(MTIME_ACCEPTED)
    return done(exchange.path, created, headers)


def _expected(exchange: Exchange) -> int | None:
    """Return how long the body will be in bytes, by Content-Length or by Finder's word for it; None if unknown.

    Raises BadRequest where they differ.
    """
    declared = exchange.declared
    text = exchange.header("HTTP_X_EXPECTED_ENTITY_LENGTH")
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 19):
        return declared
    promised = int(text)
    if declared not in (None, promised):
        raise BadRequest(why="it tells two lengths, and they differ")
    return promised


def _receive(exchange: Exchange, upload: Upload | NoiseUpload, expected: int | None, block: memoryview) -> None:
    """Hand the body to the upload, by way of `block`.

    Raises UploadIncomplete, BadRequest, and what the connection raises when cut.
    """
    body = exchange.environ["wsgi.input"]
    algorithm, wanted = _checksum(exchange)
    digest = hashlib.sha256() if algorithm == "sha256" else None
    if algorithm in ("md5", "sha1"):
        upload.sum_up()
    received = 0
    while True:
        held = 0
        while held < len(block) and (count := body.readinto(block[held:])):
            held += count
        if not held:
            break
        received += held
        if expected is not None and received > expected:
            raise BadRequest(why="its body is longer than it was said to be")
        if digest is not None:
            digest.update(block[:held])
        upload.write(block[:held])
        if held < len(block):
            break
    if expected is not None and received != expected:
        if exchange.declared is None:
            raise BadRequest(why="its body is shorter than it was said to be")
        raise UploadIncomplete
    if algorithm:
        found = getattr(upload.sums, algorithm) if digest is None else digest.digest()
        if found.hex() != wanted:
            raise BadRequest(why="its body does not have the checksum that came with it")


@contextmanager
def _block(expected: int | None) -> Iterator[memoryview]:
    """Give a buffer to one request: a thread serves others while one of its requests waits for its client."""
    if expected is not None and expected < BLOCK_BYTES:
        yield memoryview(bytearray(max(1, expected)))
        return
    try:
        block = _spare.pop()
    except IndexError:
        block = memoryview(bytearray(BLOCK_BYTES))
    try:
        yield block
    finally:
        if len(_spare) < _SPARE_MAX:
            _spare.append(block)


def _checksum(exchange: Exchange) -> tuple[str, str]:
    """Return the algorithm and the digest of OC-Checksum `SHA1:…`; twice nothing if there is none that we know."""
    algorithm, _, wanted = (exchange.header("HTTP_OC_CHECKSUM") or "").partition(":")
    name = algorithm.strip().lower()
    return (name, wanted.strip().lower()) if name in _ALGORITHMS else ("", "")
