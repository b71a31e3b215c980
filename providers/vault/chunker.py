"""Where a content is cut into chunks: by FastCDC, keyed per space, so that equal stretches give equal chunks.

FastCDC (Xia et al., USENIX ATC 2016) with normalised chunking, level 1, from pyfastcdc. Its boundaries are pinned by
golden vectors in the tests: another chunker would cost deduplication, never readability.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from pyfastcdc import FastCDC

if TYPE_CHECKING:
    from collections.abc import Iterator

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20


class _Class(NamedTuple):
    """How contents of about one size are cut, in bytes.

    `average` is that of a chunk; the smallest is a quarter, the largest fourfold. The class is chosen for contents of
    `chosen_from` and more, up to where the next one's begin. A document keeps it from `kept_from` on and below
    `kept_below`: else one that grows and shrinks around a limit would be stored anew each time.
    """

    average: int
    chosen_from: int
    kept_from: int
    kept_below: int


#: By id, as stored; for small contents first. A class is kept until the size has left its own 16-fold; but upwards the
#: small ones are left sooner, since little is stored again then. Below 64 KiB finer cuts would make two or three rows
#: of one and take time at each save, for little; above 4 MiB, rows by the thousand.
_CLASSES: Final = {
    5: _Class(16 * _KIB, 0, 0, 64 * _KIB),
    4: _Class(8 * _KIB, 64 * _KIB, 4 * _KIB, 16 * _MIB),
    1: _Class(16 * _KIB, 4 * _MIB, 256 * _KIB, 512 * _MIB),
    2: _Class(64 * _KIB, 32 * _MIB, 2 * _MIB, 4096 * _MIB),
    3: _Class(256 * _KIB, 256 * _MIB, 16 * _MIB, 1 << 63),
    6: _Class(64 * _KIB, 1 << 63, 2 * _MIB, 1 << 63),
}
AVERAGE_BYTES: Final = {chunker: each.average for chunker, each in sorted(_CLASSES.items())}
#: Of what comes without a length, as over SFTP, it turns out only on the way that it is large.
UNKNOWN_LENGTH: Final = 6
#: Chunks of these classes that begin there or behind are larger: from which byte of the content on, and their average.
GROWN: Final = {6: (64 * _MIB, 256 * _KIB)}


def chunker_for(declared: int | None, previous: int | None = None) -> int:
    """Return the id of the chunker for a content of `declared` bytes (None: unknown).

    `previous` is the chunker of the document's version before, kept while the size allows it: a document that grows
    past a limit shares no chunk with its past.
    """
    if previous in _CLASSES:
        _, _, kept_from, kept_below = _CLASSES[previous]
        if declared is None or kept_from <= declared < kept_below:
            return previous
    if declared is None:
        return UNKNOWN_LENGTH
    return [chunker for chunker, each in _CLASSES.items() if each.chosen_from <= declared][-1]


def largest(chunker: int) -> int:
    """Return how many bytes a chunk of this chunker has at most."""
    return 4 * (GROWN[chunker][1] if chunker in GROWN else AVERAGE_BYTES[chunker])


@lru_cache(maxsize=256)
def _cutter(average: int, seed: int) -> FastCDC:
    return FastCDC(average, seed=seed)


def boundary(data: memoryview, chunker: int, seed: int, at: int = 0) -> Iterator[int]:
    """Yield the lengths of the chunks that `data` consists of, as if it ended the content. It begins `at` that byte.

    The last one, unless it is the largest there may be, is only final if the content ends there. All others hold
    whatever follows. A cut is decided by where its chunk begins, by the bytes of that, and the one byte after.
    """
    average, done = AVERAGE_BYTES[chunker], 0
    if chunker in GROWN:
        grows_at, grown = GROWN[chunker]
        if at < grows_at:
            for chunk in _cutter(average, seed).cut_buf(data):
                done += chunk.length
                yield chunk.length
                if at + done >= grows_at:
                    break
        average = grown
    if done < len(data):
        for chunk in _cutter(average, seed).cut_buf(data[done:]):
            yield chunk.length
