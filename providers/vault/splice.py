"""Turning a draft into a content: chunks of the base where nothing changed, new ones around what did.

A cut is decided by where its chunk begins, by its bytes and the one after. So a chunk of the base stands again in the
new content if the content was cut at its beginning, and none of these bytes changed; and once it stands, so do those
that follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from providers.vault.chunker import boundary, chunker_for, largest
from providers.vault.manifests import Chunk
from providers.vault.sealing import Sealing
from providers.vault.shelf import Shelf
from providers.vault.writer import BATCH_BYTES, Assembly, Known, Sealed

if TYPE_CHECKING:
    from providers.vault.drafts import Draft

#: A run of unchanged chunks is digested once it is so long.
_RUN_BYTES: Final = 16 << 20


def splice(draft: Draft, sealing: Sealing, shelf: Shelf, known: Known, previous: int | None) -> Sealed:
    """Return the draft as a content, sealed."""
    base = draft.base
    if previous is None and base is not None:
        previous = base.chunker or None
    chunker = chunker_for(draft.size, previous)
    return _Splice(draft, sealing, Assembly(sealing, shelf, known, chunker), chunker).content()


class _Splice:
    """Goes through a draft once, from its beginning to its end."""

    def __init__(self, draft: Draft, sealing: Sealing, assembly: Assembly, chunker: int) -> None:
        self._draft = draft
        self._seed = sealing.seed
        self._assembly = assembly
        self._chunker = chunker
        self._digest = hashlib.sha256()
        self._digested = 0
        self._at = 0
        base = draft.base
        self._base: Iterator[Chunk] = iter(base.listed()) if base is not None and base.chunker == chunker else iter(())
        self._next: Chunk | None = next(self._base, None)
        self._next_at = 0

    def content(self) -> Sealed:
        """Return the content."""
        while self._at < self._draft.size:
            if self._meets():
                self._reuse()
            else:
                self._cut_anew()
        self._catch_up()
        return self._assembly.finish(self._digest.digest())

    def _meets(self) -> bool:
        """Return whether a chunk of the base stands, unchanged, where the content was cut last."""
        while self._next is not None and self._next_at < self._at:
            self._next_at += self._next.length
            self._next = next(self._base, None)
        if self._next is None or self._next_at != self._at:
            return False
        draft, end = self._draft, self._at + self._next.length
        assert draft.base is not None
        if end < draft.base_bytes:
            return not draft.is_changed(self._at, end + 1)
        # The base's last chunk was cut by its end: it stands again only if this is the end still.
        return end == draft.base_bytes == draft.base.size == draft.size and not draft.is_changed(self._at, end)

    def _reuse(self) -> None:
        assert self._next is not None
        self._assembly.reuse(self._next)
        self._at += self._next.length
        if self._at - self._digested >= _RUN_BYTES:
            self._catch_up()

    def _catch_up(self) -> None:
        """Digest unchanged bytes that were passed over."""
        if self._digested < self._at:
            for piece in self._draft.pieces(self._digested, self._at):
                self._digest.update(piece)
            self._digested = self._at

    def _cut_anew(self) -> None:
        """Cut from here on, until chunks of the base are met again or the content ends."""
        self._catch_up()
        wanted = 2 * largest(self._chunker)
        while self._at < self._draft.size:
            window = memoryview(self._draft.read(self._at, wanted))
            if self._add_from(window):
                return
            wanted = BATCH_BYTES + largest(self._chunker)

    def _add_from(self, window: memoryview) -> bool:
        """Add the chunks of one window; return whether the base was met."""
        is_end = self._at + len(window) == self._draft.size
        pieces, used, is_met = [], 0, False
        for length in boundary(window, self._chunker, self._seed, self._at):
            if used + length == len(window) and not is_end:
                break
            pieces.append(window[used : used + length])
            used += length
            self._at += length
            if self._meets():
                is_met = True
                break
        self._assembly.add(pieces)
        self._digest.update(window[:used])
        self._digested = self._at
        return is_met
