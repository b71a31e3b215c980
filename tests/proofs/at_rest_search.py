"""Searching a folder for strings in every guise in which a program may have left them.

A needle is looked for in all its encodings, at every offset of every file, of every cell of every SQLite database, and
of whatever unpacks (zstd, zlib, gzip, bzip2, xz) from any offset of those, and so on inwards.
"""

from __future__ import annotations

import base64
import bz2
import hashlib
import json
import lzma
import re
import shutil
import sqlite3
import tempfile
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

import zstandard

from config.logging import escape as log_escape

UNPACKED_BYTES_MAX = 16 << 20
DEPTH_MAX = 3
_SQLITE = b"SQLite format 3\0"
_PACKED = re.compile(rb"\x28\xb5\x2f\xfd|\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08|BZh[1-9]1AY|\xfd7zXZ\0")
_EMPTY = re.compile(rb"\0{64,}")
#: A guise shorter than this is no evidence.
FORM_BYTES_MIN = 6


class Secret(str):
    """A random secret of many bits: nobody can make its digest by guessing, so digests of it may be kept."""

    __slots__ = ()


def texts(needle: str) -> set[str]:
    """Return a text in the cases and normal forms it may have been brought to."""
    cased = {needle, needle.lower(), needle.upper(), needle.casefold(), needle.title()}
    return {unicodedata.normalize(form, text) for text in cased for form in ("NFC", "NFD", "NFKC", "NFKD")}


def guises(needle: str | bytes) -> set[bytes]:
    """Return every byte string by which the needle would be recognised."""
    plain: set[bytes] = set()
    found: set[bytes] = set()
    if isinstance(needle, str):
        for text in texts(needle):
            plain |= {text.encode("utf-8"), text.encode("utf-16-le"), text.encode("utf-16-be")}
            plain.add(text.encode("latin-1", "replace"))
            for form in (quote(text), quote(text, safe=""), quote(text).lower(), json.dumps(text)[1:-1]):
                found.add(form.encode())
            for form in (escape(text), log_escape(text), repr(text)[1:-1], ascii(text)[1:-1]):
                found.add(form.encode())
    else:
        plain.add(needle)
    for raw in plain:
        found |= {raw, raw[::-1], raw.hex().encode(), raw.hex().upper().encode()}
        found |= set(_base64(raw))
        if not isinstance(needle, Secret):
            found |= set(_digests(raw))
    return {form for form in found if len(form) >= FORM_BYTES_MIN}


def _base64(raw: bytes) -> Iterator[bytes]:
    """Yield what stands within Base64 and Base32 of anything that holds `raw`, however it is aligned."""
    for lead in range(3):
        middle = base64.b64encode(bytes(lead) + raw)[(0, 2, 3)[lead] :].rstrip(b"=")
        middle = middle[: len(middle) - 1]  # the last digit depends on what follows
        yield from (middle, middle.replace(b"+", b"-").replace(b"/", b"_"))
    yield base64.b32encode(raw).rstrip(b"=")[:-1]


def _digests(raw: bytes) -> Iterator[bytes]:
    """Yield digests that anybody can make: of a guessable text they are as good as the text."""
    for name in ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s"):
        found = hashlib.new(name, raw).digest()
        yield found[:16]
        yield found.hex().encode()
    for size in (16, 32):  # short ones serve as ids
        yield hashlib.blake2b(raw, digest_size=size).digest()
        yield hashlib.shake_128(raw).digest(size)
    yield base64.b64encode(hashlib.sha256(raw).digest())


class Search:
    """Looks for needles, each under a label that findings name."""

    def __init__(self, needles: dict[str, str | bytes]) -> None:
        #: Forms, with their labels, by their first bytes.
        self._forms: dict[bytes, list[tuple[bytes, str]]] = {}
        for label, needle in needles.items():
            for form in guises(needle):
                self._forms.setdefault(form[:FORM_BYTES_MIN], []).append((form, label))

    def folder(self, folder: Path) -> list[str]:
        """Return where something was found below a folder: in a file's name, its bytes, or inside those."""
        found = []
        for path in sorted(folder.rglob("*")):
            shown = str(path.relative_to(folder))
            found += self.within(shown.encode(), f"name of {shown}")
            if path.is_file():
                data = path.read_bytes()
                found += self.within(data, shown)
                if data.startswith(_SQLITE):
                    found += [hit for cell, name in cells(path) for hit in self.within(cell, f"{shown} {name}")]
        return found

    def within(self, data: bytes, where: str, depth: int = 0) -> list[str]:
        """Return what was found in some bytes, and in what unpacks from any place in them."""
        found = [f"{label} in {where}" for label in sorted(set(self._hits(data)))]
        if depth < DEPTH_MAX:
            for place in _PACKED.finditer(data):
                unpacked = unpack(data[place.start() :])
                if unpacked:
                    found += self.within(unpacked, f"{where}, unpacked at {place.start()}", depth + 1)
        return found

    def _hits(self, data: bytes) -> Iterator[str]:
        starts = self._forms
        for piece in _EMPTY.split(data):
            for at in range(len(piece) - FORM_BYTES_MIN + 1):
                found = starts.get(piece[at : at + FORM_BYTES_MIN])
                if found is not None:
                    yield from (label for form, label in found if piece.startswith(form, at))


def _bounded(decompress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def attempt(data: bytes) -> bytes:
        try:
            return decompress(data)
        except (zlib.error, OSError, lzma.LZMAError, zstandard.ZstdError, EOFError, ValueError, MemoryError):
            return b""

    return attempt


@_bounded
def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


@_bounded
def _deflated(data: bytes) -> bytes:
    return zlib.decompressobj(47).decompress(data, UNPACKED_BYTES_MAX)


@_bounded
def _bzip(data: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, UNPACKED_BYTES_MAX)


@_bounded
def _xz(data: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(data, UNPACKED_BYTES_MAX)


def unpack(data: bytes) -> bytes:
    """Return what a packed stream at the beginning of `data` holds, as far as it goes; empty if it is none."""
    kinds = {b"\x28\xb5": _zstd, b"BZ": _bzip, b"\xfd7": _xz}
    return kinds.get(data[:2], _deflated)(data)


def cells(path: Path) -> Iterator[tuple[bytes, str]]:
    """Yield every value in an SQLite database, what its WAL holds included, with its place; of a copy."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for ending in ("", "-wal"):
            if Path(f"{path}{ending}").exists():
                shutil.copy(f"{path}{ending}", f"{copy}{ending}")
        with closing(sqlite3.connect(copy)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                rows = connection.execute(f'SELECT * FROM "{table}"')
                columns = [column[0] for column in rows.description]
                for row in rows:
                    for column, value in zip(columns, row, strict=True):
                        if isinstance(value, str | bytes):
                            yield value.encode() if isinstance(value, str) else value, f"{table}.{column}"
