"""PUT: bytes go to an upload, which becomes a version only when the body has come whole."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from config.clock import SECOND_US
from providers.errors import IsAFolder, UploadIncomplete
from server.webdav.dates import http_date
from server.webdav.exchange import MTIME_ACCEPTED, Answer, Exchange, done
from server.webdav.refusals import BadRequest, UnsupportedBody

if TYPE_CHECKING:
    from providers.drive.noise import NoiseUpload
    from providers.drive.uploads import Upload

BLOCK_BYTES = 1024 * 1024
_ALGORITHMS = frozenset({"md5", "sha1", "sha256"})
_local = threading.local()


def put(exchange: Exchange) -> Answer:
    """Answer 201 for a new document, 204 for a new version of one, with its ETag and Last-Modified."""
    if exchange.header("HTTP_CONTENT_RANGE") is not None:
        raise BadRequest(why="a part of a document cannot be put")
    if (exchange.header("HTTP_CONTENT_ENCODING") or "identity").lower() != "identity":
        raise UnsupportedBody
    if exchange.path.is_root or exchange.ends_in_slash:
        raise IsAFolder
    modified = exchange.modified
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
        headers.append(MTIME_ACCEPTED)
    return done(exchange.path, created, headers)


def _expected(exchange: Exchange) -> int | None:
    """Return how long the body will be in bytes, by Content-Length or by Finder's word for it; None if unknown."""
    declared = exchange.declared
    promised = exchange.header("HTTP_X_EXPECTED_ENTITY_LENGTH")
    if declared is None and promised is not None and promised.isascii() and promised.isdigit() and len(promised) < 19:
        return int(promised)
    return declared


def _receive(exchange: Exchange, upload: Upload | NoiseUpload, expected: int | None) -> None:
    """Hand the body to the upload. Raises UploadIncomplete, BadRequest, and what the connection raises when cut."""
    body = exchange.environ["wsgi.input"]
    algorithm, wanted = _checksum(exchange)
    digest = hashlib.sha256() if algorithm == "sha256" else None
    if algorithm in ("md5", "sha1"):
        upload.sum_up()
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
    if algorithm:
        found = getattr(upload.sums, algorithm) if digest is None else digest.digest()
        if found.hex() != wanted:
            raise BadRequest(why="its body does not have the checksum that came with it")


def _block() -> memoryview:
    """Return this thread's buffer."""
    block: memoryview | None = getattr(_local, "block", None)
    if block is None:
        block = _local.block = memoryview(bytearray(BLOCK_BYTES))
    return block


def _checksum(exchange: Exchange) -> tuple[str, str]:
    """Return the algorithm and the digest of OC-Checksum `SHA1:…`; twice nothing if there is none that we know."""
    algorithm, _, wanted = (exchange.header("HTTP_OC_CHECKSUM") or "").partition(":")
    name = algorithm.strip().lower()
    return (name, wanted.strip().lower()) if name in _ALGORITHMS else ("", "")
