"""Where a content is cut into chunks: by FastCDC, keyed per space, so that equal stretches give equal chunks.

FastCDC (Xia et al., USENIX ATC 2016) with normalised chunking, level 1, from pyfastcdc. Its boundaries are pinned by
golden vectors in the tests: another chunker would cost deduplication, never readability.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pyfastcdc import FastCDC

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIB: Final = 1 << 20
#: Chunker ids as stored, and the average chunk of each in bytes. The smallest is a quarter, the largest fourfold.
AVERAGE_BYTES: Final = {1: 16 << 10, 2: 64 << 10, 3: 256 << 10}
#: What each class is chosen for: contents of at least, and of less than, so many bytes.
_RANGE: Final = {1: (0, 32 * _MIB), 2: (32 * _MIB, 256 * _MIB), 3: (256 * _MIB, 1 << 63)}
#: A document keeps its class until its size has left the class's range by this factor.
_LEAVES_BY: Final = 16
UNKNOWN_LENGTH: Final = 2
CHUNK_BYTES_MAX: Final = 4 * AVERAGE_BYTES[3]


def chunker_for(declared: int | None, previous: int | None = None) -> int:
    """Return the id of the chunker for a content of `declared` bytes (None: unknown).

    `previous` is the chunker of the document's version before, kept while the size does not leave its class 16-fold:
    a document that grows past a limit would otherwise share no chunk with its past.
    """
    if previous in _RANGE:
        if declared is None:
            return previous
        low, high = _RANGE[previous]
        if low <= declared * _LEAVES_BY and declared < high * _LEAVES_BY:
            return previous
    if declared is None:
        return UNKNOWN_LENGTH
    return next(chunker for chunker, (low, high) in _RANGE.items() if low <= declared < high)


def largest(chunker: int) -> int:
    """Return how many bytes a chunk of this chunker has at most."""
    return 4 * AVERAGE_BYTES[chunker]


@lru_cache(maxsize=256)
def _cutter(chunker: int, seed: int) -> FastCDC:
    return FastCDC(AVERAGE_BYTES[chunker], seed=seed)


def boundary(data: memoryview, chunker: int, seed: int) -> Iterator[int]:
    """Yield the lengths of the chunks that `data` consists of, as if it ended the content.

    The last one, unless it is the largest there may be, is only final if the content ends there. All others hold
    whatever follows. A cut is decided by the bytes of its chunk and the one byte after.
    """
    for chunk in _cutter(chunker, seed).cut_buf(data):
        yield chunk.length
