"""What a content consists of: a reference, and the leaves and root that list its chunks.

A leaf lists up to 1,024 chunks by cid and length; a root lists leaves by cid, bytes and chunks. Leaves end where a cid
says so, so that a change in one place leaves the other leaves as they are. Both are stored as records, like chunks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, NamedTuple

from providers.vault.errors import damaged
from providers.vault.records import CID_BYTES

LEAF_CHUNKS_MIN: Final = 128
LEAF_CHUNKS_MAX: Final = 1024
#: A leaf ends after a chunk whose cid begins with this byte: once in 256.
_LEAF_END: Final = 0
#: 2^40 bytes in the smallest leaves there can be.
ROOT_LEAVES_MAX: Final = 1 << 20
CONTENT_BYTES_MAX: Final = 1 << 40

_FORMAT: Final = 1
_HEAD = struct.Struct("<B3xI")
_CHUNK = struct.Struct("<32sI")
_LEAF = struct.Struct("<32sQI")
_CONTENT = struct.Struct("<BBQ32s")


class Shape(IntEnum):
    """How many levels stand between a content's reference and its chunks."""

    EMPTY = 0
    CHUNK = 1
    LEAF = 2
    ROOT = 3


@dataclass(frozen=True, slots=True)
class Content:
    """The reference to a content: what a catalogue keeps of it, encoded by `pack`."""

    shape: Shape
    chunker: int
    size: int
    cid: bytes

    def pack(self) -> bytes:
        """Return the reference as stored: 2 bytes if empty, else 42."""
        if self.shape is Shape.EMPTY:
            return bytes((Shape.EMPTY, 0))
        return _CONTENT.pack(self.shape, self.chunker, self.size, self.cid)


EMPTY: Final = Content(Shape.EMPTY, 0, 0, b"")


@lru_cache(maxsize=4096)
def content(data: bytes) -> Content:
    """Return the reference that `data` encodes. Raises DamagedContent."""
    if data == EMPTY.pack():
        return EMPTY
    if len(data) != _CONTENT.size:
        raise damaged("the reference to a content has no known form")
    shape, chunker, size, cid = _CONTENT.unpack(data)
    if shape not in (Shape.CHUNK, Shape.LEAF, Shape.ROOT) or not 0 < size <= CONTENT_BYTES_MAX:
        raise damaged("the reference to a content has no known form")
    return Content(Shape(shape), chunker, size, cid)


def chunker_of(data: bytes) -> int | None:
    """Return the id of the chunker that made a content, for the next version of its document; None if empty."""
    return content(data).chunker or None


class Chunk(NamedTuple):
    """One chunk of a content."""

    cid: bytes
    length: int


class LeafRef(NamedTuple):
    """One leaf in a root: its cid, and how many bytes and chunks it stands for."""

    cid: bytes
    size: int
    chunks: int


def ends_leaf(count: int, cid: bytes) -> bool:
    """Return whether a leaf of `count` chunks, the last of which is `cid`, is complete."""
    return count >= LEAF_CHUNKS_MAX or (count >= LEAF_CHUNKS_MIN and cid[0] == _LEAF_END)


def pack_leaf(chunks: Sequence[Chunk]) -> bytes:
    """Return a leaf as it is sealed."""
    return _HEAD.pack(_FORMAT, len(chunks)) + b"".join(_CHUNK.pack(*chunk) for chunk in chunks)


def pack_root(leaves: Sequence[LeafRef]) -> bytes:
    """Return a root as it is sealed."""
    return _HEAD.pack(_FORMAT, len(leaves)) + b"".join(_LEAF.pack(*leaf) for leaf in leaves)


def _rows(data: bytes, row: struct.Struct, most: int) -> Iterator[tuple[Any, ...]]:
    if len(data) < _HEAD.size or data[0] != _FORMAT:
        raise damaged("a manifest has no known form")
    (_, count) = _HEAD.unpack_from(data)
    if not 0 < count <= most or len(data) != _HEAD.size + count * row.size:
        raise damaged("a manifest has no known form")
    return row.iter_unpack(memoryview(data)[_HEAD.size :])


def leaf(data: bytes, size: int) -> list[Chunk]:
    """Return the chunks a leaf lists. Raises DamagedContent unless they make up `size` bytes."""
    chunks = list(map(Chunk._make, _rows(data, _CHUNK, LEAF_CHUNKS_MAX)))
    lengths = [length for _, length in chunks]
    if sum(lengths) != size or 0 in lengths:
        raise damaged("a manifest lists more or fewer bytes than its content has")
    return chunks


def root(data: bytes, size: int) -> list[LeafRef]:
    """Return the leaves a root lists. Raises DamagedContent unless they make up `size` bytes."""
    leaves = [LeafRef(*row) for row in _rows(data, _LEAF, ROOT_LEAVES_MAX)]
    if sum(found.size for found in leaves) != size or any(found.size == 0 for found in leaves):
        raise damaged("a manifest lists more or fewer bytes than its content has")
    return leaves


def starts(lengths: Sequence[int]) -> list[int]:
    """Return where each of the pieces begins, and where the last one ends."""
    return [0, *accumulate(lengths)]


assert _CHUNK.size == CID_BYTES + 4
