"""PUT: bytes go to an upload, which becomes a version only when the body has come whole."""

from __future__ import annotations

import hashlib
import math
import threading
from typing import TYPE_CHECKING, Any

from config.clock import SECOND_US
from providers.errors import IsAFolder, UploadIncomplete
from server.webdav.dates import http_date
from server.webdav.exchange import Answer, Exchange
from server.webdav.refusals import BadRequest, UnsupportedBody

if TYPE_CHECKING:
    from providers.drive.uploads import Upload

BLOCK_BYTES = 1024 * 1024
_MTIME_SECONDS_MAX = 253_402_300_799
_ALGORITHMS = {"md5": "md5", "sha1": "sha1", "sha256": "sha256"}
_local = threading.local()


def put(exchange: Exchange) -> Answer:
    """Answer 201 for a new document, 204 for a new version of one, with its ETag and Last-Modified."""
    if exchange.header("HTTP_CONTENT_RANGE") is not None:
        raise BadRequest(why="a part of a document cannot be put")
    if (exchange.header("HTTP_CONTENT_ENCODING") or "identity").lower() != "identity":
        raise UnsupportedBody
    if exchange.path.is_root or exchange.ends_in_slash:
        raise IsAFolder
    modified = _modified(exchange)
    expected = _expected(exchange)
    upload = exchange.drive.put(exchange.path, declared=expected, conditions=exchange.conditions, modified=modified)
    try:
        exchange.watch()
        _receive(exchange, upload, expected)
        item, created = upload.commit()
    except BaseException:
        upload.discard()
        raise
    headers = [("ETag", item.etag), ("Last-Modified", http_date(item.modified // SECOND_US))]
    if modified is not None:
        headers.append(("X-OC-Mtime", "accepted"))
    return Answer("201 Created" if created else "204 No Content", headers)


def _expected(exchange: Exchange) -> int | None:
    """Return how long the body will be in bytes, by Content-Length or by Finder's word for it; None if unknown."""
    declared = exchange.declared
    promised = exchange.header("HTTP_X_EXPECTED_ENTITY_LENGTH")
    if declared is None and promised is not None and promised.isascii() and promised.isdigit() and len(promised) < 19:
        return int(promised)
    return declared


def _receive(exchange: Exchange, upload: Upload, expected: int | None) -> None:
    """Hand the body to the upload. Raises UploadIncomplete, BadRequest, and what the connection raises when cut."""
    body = exchange.environ["wsgi.input"]
    digest, wanted = _checksum(exchange)
    block = _block()
    received = 0
    while True:
        held = 0
        while held < BLOCK_BYTES and (count := body.readinto(block[held:])):
            held += count
        if not held:
            break
        received += held
        if expected is not None and received > expected:
            raise BadRequest(why="its body is longer than it was said to be")
        if digest is not None:
            digest.update(block[:held])
        upload.write(block[:held])
        if held < BLOCK_BYTES:
            break
    if expected is not None and received != expected:
        if exchange.declared is None:
            raise BadRequest(why="its body is shorter than it was said to be")
        raise UploadIncomplete
    if digest is not None and digest.hexdigest() != wanted:
        raise BadRequest(why="its body does not have the checksum that came with it")


def _block() -> memoryview:
    """Return this thread's buffer."""
    block: memoryview | None = getattr(_local, "block", None)
    if block is None:
        block = _local.block = memoryview(bytearray(BLOCK_BYTES))
    return block


def _checksum(exchange: Exchange) -> tuple[Any, str]:
    """Return a digest to feed and what it must come to, for OC-Checksum `SHA1:…`; (None, "") if there is none."""
    algorithm, _, wanted = (exchange.header("HTTP_OC_CHECKSUM") or "").partition(":")
    name = _ALGORITHMS.get(algorithm.strip().lower())
    if name is None:
        return None, ""
    return hashlib.new(name, usedforsecurity=False), wanted.strip().lower()


def _modified(exchange: Exchange) -> int | None:
    """Return X-OC-Mtime (seconds, perhaps with a fraction) in µs; None where it is absent or makes no sense."""
    try:
        seconds = float(exchange.header("HTTP_X_OC_MTIME") or "nan")
    except ValueError:
        return None
    if math.isnan(seconds) or not 0 <= seconds <= _MTIME_SECONDS_MAX:
        return None
    return int(seconds * SECOND_US)
