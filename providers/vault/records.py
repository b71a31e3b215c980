"""The stored forms that need no key: headers of records and packs, footers, and walking through a pack.

All numbers are little-endian. docs/FORMAT.md is the reference; a format is never changed, only joined by a newer one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

CID_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
SPACE_BYTES = 16
#: No record is larger, so a damaged length never makes a reader allocate more.
RECORD_BYTES_MAX = 64 << 20

RECORD_MAGIC = b"MRRC"
RECORD_FORMAT = 1
#: magic, format, kind, codec, reserved, nonce, sealed bytes (tag included), raw bytes, cid; then CRC-32 of all these.
#: Runs that content decides are kept below 16 bytes, so that two installations share nothing recognisable.
_HEAD = struct.Struct("<4sBBBB12sII32s")
_CRC = struct.Struct("<I")
_HEAD_AND_CRC = struct.Struct(_HEAD.format + "I")
HEAD_BYTES = _HEAD.size + _CRC.size
OVERHEAD_BYTES = HEAD_BYTES + TAG_BYTES

_PACK = struct.Struct("<4sB3x16sQ")
PACK_MAGIC = b"MRPK"
PACK_FORMAT = 1
PACK_HEAD_BYTES = _PACK.size

#: magic, format, number of entries; then CRC-32 of the pack's head and these.
_FOOTER = struct.Struct("<4sB3xI")
_FOOTER_HEAD_BYTES = _FOOTER.size + _CRC.size
_ENTRY = struct.Struct("<32sBIQ")
_TRAILER = struct.Struct("<I4s")
FOOTER_MAGIC = b"MRFT"
TRAILER_MAGIC = b"MRFE"
FOOTER_FORMAT = 1
TRAILER_BYTES = _TRAILER.size

#: magic, format, length of the whole gap; then CRC-32 of the pack's head and these. Zeros follow.
_GAP = struct.Struct("<4sB3xQ")
GAP_MAGIC = b"MRGP"
GAP_FORMAT = 1
GAP_HEAD_BYTES = _GAP.size + _CRC.size


class Kind(IntEnum):
    """What a record holds."""

    CHUNK = 1
    LEAF = 2
    ROOT = 3
    VERSION = 4


class Codec(IntEnum):
    """How the bytes of a record were packed before they were sealed."""

    NONE = 0
    ZSTD = 1


class Head(NamedTuple):
    """The header of a record. `sealed_bytes` counts the 16-byte tag; `raw_bytes` is the length once opened."""

    kind: int
    codec: int
    nonce: bytes
    sealed_bytes: int
    raw_bytes: int
    cid: bytes

    @property
    def record_bytes(self) -> int:
        """Length of the whole record."""
        return HEAD_BYTES + self.sealed_bytes


class Entry(NamedTuple):
    """Where one record lies in its pack."""

    cid: bytes
    kind: int
    length: int
    offset: int


@dataclass(frozen=True, slots=True)
class PackScan:
    """What a pack holds. `torn_at` is where an unfinished append begins; `damage` is where bytes were changed."""

    records: tuple[Entry, ...]
    torn_at: int | None = None
    damage: tuple[tuple[int, str], ...] = ()
    has_footer: bool = False


def pack_record_head(head: Head) -> bytes:
    """Return the 64 bytes that stand before the sealed bytes."""
    fields = _HEAD.pack(
        RECORD_MAGIC,
        RECORD_FORMAT,
        head.kind,
        head.codec,
        0,
        head.nonce,
        head.sealed_bytes,
        head.raw_bytes,
        head.cid,
    )
    return fields + _CRC.pack(zlib.crc32(fields))


def record_head(data: bytes | bytearray | memoryview, offset: int = 0) -> Head | None:
    """Return the header that stands at `offset`, or None if none does."""
    if len(data) - offset < HEAD_BYTES:
        return None
    magic, form, kind, codec, reserved, nonce, sealed, raw, cid, crc = _HEAD_AND_CRC.unpack_from(data, offset)
    if magic != RECORD_MAGIC or form != RECORD_FORMAT or reserved or sealed < TAG_BYTES:
        return None
    if crc != zlib.crc32(data[offset : offset + _HEAD.size]) or HEAD_BYTES + sealed > RECORD_BYTES_MAX:
        return None
    return Head(kind, codec, nonce, sealed, raw, cid)


def entries_of(data: bytes | bytearray | memoryview, offset: int) -> Iterator[Entry]:
    """Yield the whole records that `data` consists of; the first will stand at `offset` of its pack.

    Raises ValueError if it does not consist of whole records: nothing else may be appended to a pack.
    """
    at, end = 0, len(data)
    while at < end:
        head = record_head(data, at)
        length = 0 if head is None else HEAD_BYTES + head.sealed_bytes
        if head is None or at + length > end:
            raise ValueError("only whole records are appended to a pack")
        yield Entry(head.cid, head.kind, length, offset + at)
        at += length


def pack_head(space: bytes, pack: int) -> bytes:
    """Return the 32 bytes a pack begins with."""
    return _PACK.pack(PACK_MAGIC, PACK_FORMAT, space, pack)


def is_pack_head(data: bytes, space: bytes, pack: int) -> bool:
    """Return whether `data` is the beginning of this very pack."""
    return data[:PACK_HEAD_BYTES] == pack_head(space, pack)


def footer(space: bytes, pack: int, entries: list[Entry]) -> bytes:
    """Return what a pack that is closed in good order ends with: its records, then a checksum, length and magic."""
    start = zlib.crc32(pack_head(space, pack))
    fields = _FOOTER.pack(FOOTER_MAGIC, FOOTER_FORMAT, len(entries))
    body = b"".join([fields, _CRC.pack(zlib.crc32(fields, start)), *(_ENTRY.pack(*entry) for entry in entries)])
    length = len(body) + _CRC.size + _TRAILER.size
    return body + _CRC.pack(zlib.crc32(body, start)) + _TRAILER.pack(length, TRAILER_MAGIC)


def _footer_length(space: bytes, pack: int, data: bytes) -> int | None:
    """Return how long the footer is that begins with `data`, or None if no footer of this pack does."""
    if len(data) < _FOOTER_HEAD_BYTES:
        return None
    magic, form, count = _FOOTER.unpack_from(data)
    crc = zlib.crc32(data[: _FOOTER.size], zlib.crc32(pack_head(space, pack)))
    if magic != FOOTER_MAGIC or form != FOOTER_FORMAT or _CRC.unpack_from(data, _FOOTER.size)[0] != crc:
        return None
    return int(_FOOTER_HEAD_BYTES + count * _ENTRY.size + _CRC.size + _TRAILER.size)


def footer_bytes(tail: bytes) -> int | None:
    """Return how long the footer is that ends in these `TRAILER_BYTES` bytes, or None if none does."""
    if len(tail) != TRAILER_BYTES:
        return None
    length, magic = _TRAILER.unpack(tail)
    return length if magic == TRAILER_MAGIC else None


def footer_entries(space: bytes, pack: int, data: bytes) -> list[Entry] | None:
    """Return the records that a whole footer lists, or None if it is damaged or another pack's."""
    if _footer_length(space, pack, data) != len(data) or footer_bytes(data[-TRAILER_BYTES:]) != len(data):
        return None
    end = len(data) - _TRAILER.size - _CRC.size
    if _CRC.unpack_from(data, end)[0] != zlib.crc32(data[:end], zlib.crc32(pack_head(space, pack))):
        return None
    return [Entry(*_ENTRY.unpack_from(data, at)) for at in range(_FOOTER_HEAD_BYTES, end, _ENTRY.size)]


def gap_head(space: bytes, pack: int, length: int) -> bytes:
    """Return what a gap of `length` bytes begins with, where records were let go."""
    fields = _GAP.pack(GAP_MAGIC, GAP_FORMAT, length)
    return fields + _CRC.pack(zlib.crc32(fields, zlib.crc32(pack_head(space, pack))))


def _gap_bytes(space: bytes, pack: int, data: bytes) -> int | None:
    """Return how long the gap is that begins with `data`, or None if no gap of this pack does."""
    if len(data) < GAP_HEAD_BYTES:
        return None
    _, _, length = _GAP.unpack_from(data)
    return int(length) if length and data[:GAP_HEAD_BYTES] == gap_head(space, pack, length) else None


Read = Callable[[int, int], bytes]

#: What is read behind damage to find the next record: little first, for a pack may be damaged in a million places.
_WINDOW_BYTES = 4 << 10
_WINDOW_BYTES_MAX = 1 << 20


def read_footer(space: bytes, pack: int, size: int, read: Read) -> tuple[list[Entry], int] | None:
    """Return the records a pack's footer lists and where the footer begins; None without a whole footer."""
    if size < PACK_HEAD_BYTES + TRAILER_BYTES:
        return None
    length = footer_bytes(read(size - TRAILER_BYTES, TRAILER_BYTES))
    if length is None or not TRAILER_BYTES < length <= size - PACK_HEAD_BYTES:
        return None
    entries = footer_entries(space, pack, read(size - length, length))
    if entries is None or any(entry.offset + entry.length > size - length for entry in entries):
        return None
    return entries, size - length


def scan(space: bytes, pack: int, size: int, read: Read) -> PackScan:
    """Return a pack's records by its footer where it has one, by walking through its headers otherwise."""
    found = read_footer(space, pack, size, read)
    if found is not None and is_pack_head(read(0, PACK_HEAD_BYTES), space, pack):
        return PackScan(tuple(found[0]), has_footer=True)
    return walk(space, pack, size, read)


def walk(space: bytes, pack: int, size: int, read: Read) -> PackScan:
    """Return a pack's records by walking from header to header, past damage, up to a torn tail or the footer."""
    listed = read_footer(space, pack, size, read)
    end = size if listed is None else listed[1]
    if size < PACK_HEAD_BYTES:
        return PackScan((), torn_at=0)
    damage: list[tuple[int, str]] = []
    if not is_pack_head(read(0, PACK_HEAD_BYTES), space, pack):
        damage.append((0, "the head of the pack"))
    records: list[Entry] = []
    at, torn = PACK_HEAD_BYTES, None
    while at < end and torn is None:
        data = read(at, min(HEAD_BYTES, end - at))
        head = record_head(data)
        if head is not None and at + head.record_bytes <= end:
            records.append(Entry(head.cid, head.kind, head.record_bytes, at))
            at += head.record_bytes
            continue
        gap = _gap_bytes(space, pack, data)
        if gap is not None and at + gap <= end:
            at += gap
            continue
        following = _next_record(at + 1, end, read)
        if following is None and listed is None and _is_torn(space, pack, data, at, end, read):
            torn = at
        else:
            damage.append((at, _what(data)))
            at = end if following is None else following
    return PackScan(tuple(records), torn, tuple(damage), listed is not None)


def _what(data: bytes) -> str:
    return "the footer of the pack" if data[:4] == FOOTER_MAGIC else "the header of a record"


def _is_torn(space: bytes, pack: int, data: bytes, at: int, end: int, read: Read) -> bool:
    """Tell an append that a crash cut short from bytes that were changed: too short to be whole, or never filled."""
    if len(data) < _FOOTER_HEAD_BYTES or record_head(data) is not None:
        return True
    footer_length = _footer_length(space, pack, data)
    if footer_length is not None:
        return at + footer_length > end
    if len(data) < HEAD_BYTES:
        return data[:4] != FOOTER_MAGIC
    while at < end:
        piece = read(at, min(_WINDOW_BYTES_MAX, end - at))
        if piece.strip(b"\0"):
            return False
        at += len(piece)
    return True


def _next_record(at: int, end: int, read: Read) -> int | None:
    """Return where the next whole record begins at or after `at`."""
    window_bytes = _WINDOW_BYTES
    while end - at >= HEAD_BYTES:
        window = read(at, min(window_bytes, end - at))
        found = window.find(RECORD_MAGIC)
        while 0 <= found <= len(window) - HEAD_BYTES:
            head = record_head(window, found)
            if head is not None and at + found + head.record_bytes <= end:
                return at + found
            found = window.find(RECORD_MAGIC, found + 1)
        at += len(window) - HEAD_BYTES + 1
        window_bytes = min(2 * window_bytes, _WINDOW_BYTES_MAX)
    return None
