"""Bytes on their way in: cut, sealed, appended to packs, listed in a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, NamedTuple

from config.database import Syncable
from providers.vault.appended import Appended
from providers.vault.aside import Aside
from providers.vault.chunker import boundary, largest
from providers.vault.errors import ContentTooLarge
from providers.vault.manifests import (
    CONTENT_BYTES_MAX,
    EMPTY,
    Chunk,
    Content,
    LeafRef,
    Shape,
    ends_leaf,
    pack_leaf,
    pack_root,
)
from providers.vault.records import OVERHEAD_BYTES, Kind
from providers.vault.sealing import Buffer, Compression, Sealing
from providers.vault.shelf import Shelf
from providers.vault.store import PackWriter
from providers.vault.versions import VersionRecord, pack_version

#: How much is cut, looked up and appended at a time.
BATCH_BYTES: Final = 1 << 20
#: How much a writer that was told of no length takes at first without doing anything with it, and how long its buffer
#: is before it grows.
HELD_BYTES: Final = 64 << 10
_FIRST_BYTES: Final = 16 << 10
#: Below this, handing a digest to another thread costs more than it saves.
_HASH_ASIDE_BYTES: Final = 256 << 10
#: Room left in a small content's buffer for its manifest.
_SLACK_BYTES: Final = 4 << 10

Recorded = Callable[[bytes, int], VersionRecord]
Known = Callable[[list[bytes]], set[bytes]]


class ChunkRecord(NamedTuple):
    """Where a record lies: `length` is that of the whole record, header and tag included."""

    cid: bytes
    pack: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """A content that stands in packs. It is part of nothing until a catalogue commits it.

    Attributes:
        content: what the catalogue keeps of it; equal for equal contents of one chunker.
        size: its bytes.
        sha256: of the whole content, 32 bytes.
        chunker: id of how it was cut; 0 if empty.
        records: what was appended, for the catalogue to know.
        relied: cids that the catalogue had already; the commit must check that it still has them.
        sealed_bytes: length of all `records`.
        needs: what must be synced before the commit.
        version: where the record of the version lies that the content was finished for, if for one.
        appended: what keeps `records` from being let go. Whoever commits them settles it.
    """

    content: bytes
    size: int
    sha256: bytes
    chunker: int
    records: tuple[ChunkRecord, ...]
    relied: tuple[bytes, ...]
    sealed_bytes: int
    needs: frozenset[Syncable]
    version: ChunkRecord | None = None
    appended: tuple[Appended, ...] = ()

    def settle(self) -> None:
        """Tell that a catalogue has the records."""
        for each in self.appended:
            each.settle()

    def let_go(self, but: Sealed | None = None) -> None:
        """Tell that nobody will commit the records, except for those of another content."""
        for each in self.appended:
            if but is None or each not in but.appended:
                each.let_go()


class Assembly:
    """Puts together one content from chunks in their order. One thread at a time."""

    def __init__(self, sealing: Sealing, shelf: Shelf, known: Known, chunker: int) -> None:
        self._sealing = sealing
        self._shelf = shelf
        self._known = known
        self._chunker = chunker
        self._memory = Compression()
        self._out = bytearray()
        self._used = 0
        self._waiting: list[tuple[bytes, int, int]] = []
        self._records: list[ChunkRecord] = []
        self._relied: list[bytes] = []
        #: Every cid met so far, and whether this content brings it.
        self._is_new: dict[bytes, bool] = {}
        self._needs: set[PackWriter] = set()
        self._appended = shelf.appended(sealing.space)
        self._chunks: list[Chunk] = []
        self._leaves: list[LeafRef] = []
        self._size = 0

    @property
    def size(self) -> int:
        """How many bytes of the content were taken so far."""
        return self._size

    def add(self, pieces: Sequence[memoryview]) -> None:
        """Take the next chunks; about `BATCH_BYTES` at a time."""
        cids = self._deposit(Kind.CHUNK, pieces)
        for cid, piece in zip(cids, pieces, strict=True):
            self._list(Chunk(cid, len(piece)))

    def reuse(self, chunk: Chunk) -> None:
        """Take as the next chunk one that another content of this space has."""
        if chunk.cid not in self._is_new:
            self._is_new[chunk.cid] = False
            self._relied.append(chunk.cid)
        self._list(chunk)

    def let_go(self) -> None:
        """Tell that nothing will be made of what was appended. Nothing may be added afterwards."""
        self._appended.let_go()

    def so_far(self) -> Sealed:
        """Return what was taken so far as a content of its own, without a digest. More may be added afterwards."""
        chunks, leaves = list(self._chunks), list(self._leaves)
        found = self.finish(b"")
        self._chunks, self._leaves = chunks, leaves
        return found

    def finish(self, sha256: bytes, recorded: Recorded | None = None) -> Sealed:
        """Return the content, and with `recorded` the version's record beside it. Nothing may be added afterwards."""
        content = self._finished()
        packed, version = content.pack(), None
        if recorded is not None:
            self._note(recorded(packed, content.size))
        self._flush()
        if recorded is not None:
            version = self._records.pop()
        return Sealed(
            content=packed,
            size=content.size,
            sha256=sha256,
            chunker=content.chunker,
            records=tuple(self._records),
            relied=tuple(self._relied),
            sealed_bytes=sum(record.length for record in self._records),
            needs=frozenset((*self._needs, self._appended) if self._appended.is_traced else self._needs),
            version=version,
            appended=(self._appended,),
        )

    def _note(self, version: VersionRecord) -> None:
        plain = pack_version(version)
        cid = self._sealing.cid(Kind.VERSION, plain)
        out = self._room(len(plain) + OVERHEAD_BYTES)
        length = self._sealing.seal_into(out[self._used :], Kind.VERSION, cid, plain, self._memory)
        self._waiting.append((cid, self._used, length))
        self._used += length

    def _finished(self) -> Content:
        if not self._size:
            return EMPTY
        if not self._leaves and len(self._chunks) == 1:
            return Content(Shape.CHUNK, self._chunker, self._size, self._chunks[0].cid)
        if self._chunks:
            self._end_leaf()
        if len(self._leaves) == 1:
            return Content(Shape.LEAF, self._chunker, self._size, self._leaves[0].cid)
        is_old = not any(self._is_new[leaf.cid] for leaf in self._leaves)
        (cid,) = self._deposit(Kind.ROOT, [memoryview(pack_root(self._leaves))], ask=is_old)
        return Content(Shape.ROOT, self._chunker, self._size, cid)

    def _list(self, chunk: Chunk) -> None:
        self._size += chunk.length
        self._chunks.append(chunk)
        if ends_leaf(len(self._chunks), chunk.cid):
            self._end_leaf()

    def _end_leaf(self) -> None:
        chunks, self._chunks = self._chunks, []
        # A leaf that lists a new chunk is new itself: no need to ask.
        is_old = not any(self._is_new[chunk.cid] for chunk in chunks)
        (cid,) = self._deposit(Kind.LEAF, [memoryview(pack_leaf(chunks))], ask=is_old)
        self._leaves.append(LeafRef(cid, sum(chunk.length for chunk in chunks), len(chunks)))

    def _deposit(self, kind: Kind, pieces: Sequence[memoryview], *, ask: bool = True) -> list[bytes]:
        """Seal what neither this content nor the catalogue has yet; return the cid of each piece."""
        cids = [self._sealing.cid(kind, piece) for piece in pieces]
        fresh = {cid: piece for cid, piece in zip(cids, pieces, strict=True) if cid not in self._is_new}
        if not fresh:
            return cids
        known = self._known(list(fresh)) if ask else set()
        needed = sum(len(piece) + OVERHEAD_BYTES for cid, piece in fresh.items() if cid not in known)
        out = self._room(needed)
        for cid, piece in fresh.items():
            self._is_new[cid] = cid not in known
            if cid in known:
                self._relied.append(cid)
                continue
            length = self._sealing.seal_into(out[self._used :], kind, cid, piece, self._memory)
            self._waiting.append((cid, self._used, length))
            self._used += length
        if self._used >= BATCH_BYTES // 2:
            self._flush()
        return cids

    def _room(self, needed: int) -> memoryview:
        if self._used + needed > len(self._out):
            self._flush()
            if needed > len(self._out):
                self._out = bytearray(needed + _SLACK_BYTES)
        return memoryview(self._out)

    def _flush(self) -> None:
        if not self._used:
            return
        pack, start = self._shelf.append(self._sealing.space, memoryview(self._out)[: self._used])
        self._needs.add(pack)
        self._appended.add(pack, start, self._used)
        self._records += [ChunkRecord(cid, pack.id, start + offset, length) for cid, offset, length in self._waiting]
        self._waiting.clear()
        self._used = 0


class ContentWriter:
    """Takes a content from its beginning to its end. One thread at a time; memory stays below about 4 MiB."""

    def __init__(self, assembly: Assembly, sealing: Sealing, aside: Aside, chunker: int, declared: int | None) -> None:
        self._assembly: Assembly | None = assembly
        self._seed = sealing.seed
        self._aside = aside
        self._chunker = chunker
        self._capacity = BATCH_BYTES + largest(chunker)
        self._buffer = bytearray(min(self._capacity, _FIRST_BYTES if declared is None else max(declared, 1)))
        self._used = 0
        self._hashed = 0
        self._size = 0
        self._digest = hashlib.sha256()

    def write(self, data: Buffer) -> None:
        """Take the next bytes. Raises StorageFull, StorageFailed, ContentTooLarge; discard the writer then."""
        view = memoryview(data).cast("B")
        self._size += len(view)
        if self._size > CONTENT_BYTES_MAX:
            raise ContentTooLarge(limit_bytes=CONTENT_BYTES_MAX)
        while view:
            room = len(self._buffer) - self._used
            if not room:
                self._make_room()
                continue
            taken = min(room, len(view))
            self._buffer[self._used : self._used + taken] = view[:taken]
            self._used += taken
            view = view[taken:]

    def so_far(self) -> Sealed:
        """Return what came so far, all but a last chunk whose end is not known yet, as a content of its own.

        More may be written. Raises StorageFull, StorageFailed; discard the writer then.
        """
        assembly = self._live()
        self._drain(is_end=False)
        return assembly.so_far()

    def finish(self, recorded: Recorded | None = None) -> Sealed:
        """Return the content, once all its bytes were taken. It has yet to be synced and committed.

        `recorded` makes the record of the version it will be, from the reference to the content and its size.
        """
        assembly = self._live()
        self._drain(is_end=True)
        self._assembly = None
        self._buffer = bytearray()
        return assembly.finish(self._digest.digest(), recorded)

    def discard(self) -> None:
        """Forget the content. What was appended to packs already is let go. Harmless when repeated."""
        if self._assembly is not None:
            self._assembly.let_go()
        self._assembly = None
        self._buffer = bytearray()

    def _live(self) -> Assembly:
        if self._assembly is None:
            raise ValueError("the writer was finished or discarded")
        return self._assembly

    def _make_room(self) -> None:
        if len(self._buffer) < self._capacity:
            grown = bytearray(min(self._capacity, 2 * len(self._buffer)))
            grown[: self._used] = self._buffer
            self._buffer = grown
        else:
            self._drain(is_end=False)

    def _drain(self, *, is_end: bool) -> None:
        """Cut and add what the buffer holds; unless the content ends here, its last chunk waits for what follows."""
        view = memoryview(self._buffer)[: self._used]
        hashing = self._hash(view[self._hashed :])
        pieces, at = [], 0
        for length in boundary(view, self._chunker, self._seed, self._live().size):
            if at + length == self._used and not is_end:
                break
            pieces.append(view[at : at + length])
            at += length
        try:
            if pieces:
                self._live().add(pieces)
        finally:
            if hashing is not None:
                hashing.result()
        left = self._used - at
        self._buffer[:left] = view[at:]
        self._used = self._hashed = left

    def _hash(self, view: memoryview) -> Future[None] | None:
        if len(view) >= _HASH_ASIDE_BYTES:
            return self._aside.submit(self._digest.update, view)
        self._digest.update(view)
        return None
