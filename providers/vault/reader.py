"""Bytes on their way out: located, read in runs of neighbouring records, opened, checked."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

from providers.vault import manifests
from providers.vault.aside import Aside
from providers.vault.errors import DamagedContent, damaged
from providers.vault.manifests import Chunk, LeafRef, Shape
from providers.vault.opened import CONTENT_BYTES_MAX, Opened
from providers.vault.records import Kind
from providers.vault.sealing import Sealing
from providers.vault.store import Store

#: The most that is read, opened and handed out at once.
PIECE_BYTES: Final = 1 << 20
#: How many chunks of contents lately read a process remembers the places of; about 10 MB.
PLACES_MAX: Final = 32_768


class Location(NamedTuple):
    """Where a record lies; `length` is that of the whole record."""

    pack: int
    offset: int
    length: int


Locate = Callable[[list[bytes]], Mapping[bytes, Location]]


class _Leaf(NamedTuple):
    """The chunks of one leaf: where each begins in the content, and where its record lies."""

    chunks: list[Chunk]
    starts: list[int]
    places: Mapping[bytes, Location]


class Leaves:
    """Remembers the leaves of contents lately read that have no more than one.

    A content never changes. Where its chunks lie may: whoever finds them elsewhere than remembered looks again. Safe
    to use from any number of threads.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: dict[tuple[bytes, bytes], _Leaf] = {}
        self._chunks = 0

    def get(self, space: bytes, content: bytes) -> _Leaf | None:
        """Return the leaf of a content, if it is remembered."""
        return self._kept.get((space, content))

    def keep(self, space: bytes, content: bytes, leaf: _Leaf) -> None:
        """Remember the leaf of a content."""
        with self._guard:
            self._forget((space, content))
            while self._chunks + len(leaf.chunks) > PLACES_MAX:
                self._forget(next(iter(self._kept)))
            self._kept[space, content] = leaf
            self._chunks += len(leaf.chunks)

    def remember(self, space: bytes, content: bytes, places: Mapping[bytes, Location]) -> None:
        """Remember a content that is but one chunk, if that is among `places`."""
        what = manifests.content(content)
        if what.shape is Shape.CHUNK and what.cid in places:
            self.keep(space, content, _Leaf([Chunk(what.cid, what.size)], [0, what.size], {what.cid: places[what.cid]}))

    def forget(self, space: bytes, content: bytes) -> None:
        """Look for the content anew next time."""
        with self._guard:
            self._forget((space, content))

    def _forget(self, key: tuple[bytes, bytes]) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._chunks -= len(kept.chunks)


def manifest_of(store: Store, sealing: Sealing, locate: Locate, kind: Kind, cid: bytes) -> bytes:
    """Return a manifest, looked for once more where it lies no longer where it lay. Raises DamagedContent."""
    place = locate([cid]).get(cid)
    while place is not None:
        try:
            record = store.read(sealing.space, place.pack, place.offset, place.length)
            return sealing.open(record, kind, cid)
        except DamagedContent as error:
            anew = locate([cid]).get(cid)
            if anew == place:
                raise damaged(str(error.facts["what"]), place.pack, place.offset) from None
            place = anew
    raise damaged("a manifest is missing from the catalogue")


class _Window:
    """A stretch of the content, opened, and the buffers it was made in."""

    def __init__(self, sealed: bytearray | None = None) -> None:
        self.start = 0
        self.size = 0
        self.plain = bytearray()
        self.sealed = bytearray() if sealed is None else sealed

    def room(self, size: int) -> memoryview:
        """Return where that many sealed bytes are to stand."""
        if len(self.sealed) < size:
            self.sealed = bytearray(size)
        return memoryview(self.sealed)[:size]

    def view(self, start: int, stop: int) -> memoryview:
        """Return what the window has of a stretch of the content."""
        return memoryview(self.plain)[max(start - self.start, 0) : min(stop - self.start, self.size)]

    def holds(self, offset: int) -> bool:
        """Return whether the window has the byte at `offset`."""
        return self.start <= offset < self.start + self.size


class ContentReader:
    """Reads one content, each byte checked against its seal. Safe to use from many threads, one at a time within."""

    def __init__(
        self,
        store: Store,
        sealing: Sealing,
        content: bytes,
        locate: Locate,
        aside: Aside,
        leaves: Leaves | None = None,
        opened: Opened | None = None,
    ) -> None:
        self.content = content
        self._opened = opened
        self._aside = aside
        self._leaves_kept = leaves
        self._what = manifests.content(content)
        self._store = store
        self._sealing = sealing
        self._locate = locate
        self._guard = threading.Lock()
        self._window = _Window()
        self._leaves: list[LeafRef] | None = None
        self._leaf_starts: list[int] = []
        self._leaf: _Leaf | None = None

    @property
    def size(self) -> int:
        """Bytes of the whole content."""
        return self._what.size

    @property
    def chunker(self) -> int:
        """Id of how the content was cut; 0 if it is empty."""
        return self._what.chunker

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes there, fewer past the end. Raises DamagedContent."""
        stop = min(offset + length, self.size)
        opened, space = self._opened, self._sealing.space
        if opened is None or offset or not stop == self.size <= CONTENT_BYTES_MAX:
            return self._read(offset, stop)
        found = opened.get(space, self.content)
        if found is None:
            found = self._read(0, self.size)
            opened.keep(space, self.content, found)
        return found

    def _read(self, offset: int, stop: int) -> bytes:
        parts: list[bytes] = []
        with self._guard:
            while offset < stop:
                window = self._window
                if not window.holds(offset):
                    # Reading on where the last read ended, more will follow.
                    goes_on = offset > 0 and offset == window.start + window.size
                    self._fill(window, offset, self.size if goes_on else stop)
                view = window.view(offset, stop)
                parts.append(bytes(view))
                offset += len(view)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_on(self, offset: int) -> memoryview:
        """Return some bytes from `offset` on: as many, up to 1 MiB, as are opened in one go. Raises DamagedContent.

        They are the caller's own, and not copied once more.
        """
        if offset >= self.size:
            return memoryview(b"")
        with self._guard, self._fresh() as window:
            self._fill(window, offset, self.size)
            return window.view(offset, self.size)

    def at_hand(self, offset: int) -> memoryview | None:
        """Return what `read_on` does if that waits for nobody: neither for the catalogue, nor the disk, nor a thread
        that reads. Else None, also for what is damaged.
        """
        leaf = self._leaf
        if leaf is None or not leaf.starts[0] <= offset < leaf.starts[-1] or not self._guard.acquire(blocking=False):
            return None
        try:
            with self._fresh() as window:
                which, place = self._run(leaf, offset, self.size)
                room = window.room(place.length)
                if not self._store.read_at_hand(self._sealing.space, place.pack, place.offset, room):
                    return None
                self._open(leaf, which, window)
                return window.view(offset, self.size)
        except DamagedContent:
            return None
        finally:
            self._guard.release()

    @contextmanager
    def _fresh(self) -> Iterator[_Window]:
        """Lend a window whose bytes are the caller's to keep, made with the room for sealed ones that is there."""
        window = _Window(self._window.sealed)
        try:
            yield window
        finally:
            self._window.sealed = window.sealed

    def rest(self) -> None:
        """Let go of buffers: a window is some 2 MiB. Reading goes on as before."""
        with self._guard:
            self._window = _Window()

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[memoryview]:
        """Yield the bytes from `start` to `stop` in pieces of at most 1 MiB, each good until the next is asked for.

        Raises DamagedContent before anything damaged would be yielded.
        """
        end = self.size if stop is None else min(stop, self.size)
        if start >= end:
            return
        here, there = _Window(), _Window()
        self._fill_alone(here, start, end)
        while True:
            following = min(here.start + here.size, end)
            # While one piece is sent, the next is read and opened.
            ahead = self._aside.submit(self._fill_alone, there, following, end) if following < end else None
            view = here.view(start, end)
            yield view
            try:
                view.release()  # who kept it gets an error, not other bytes
            except BufferError:
                here = _Window()
            if ahead is None:
                return
            ahead.result()
            here, there, start = there, here, following

    def _fill_alone(self, window: _Window, offset: int, stop: int) -> None:
        with self._guard:
            self._fill(window, offset, stop)

    def listed(self) -> Iterator[Chunk]:
        """Yield the chunks of the content in order."""
        at = 0
        while at < self.size:
            with self._guard:
                leaf = self._leaf_at(at)
            yield from leaf.chunks
            at = leaf.starts[-1]

    def _fill(self, window: _Window, offset: int, stop: int) -> None:
        """Open what stands at `offset`; where it does not lie where it lay before, look for it anew."""
        leaf = self._leaf_at(offset)
        while True:
            try:
                return self._fill_from(leaf, window, offset, stop)
            except DamagedContent:
                if self._leaves_kept is not None:
                    self._leaves_kept.forget(self._sealing.space, self.content)
                self._leaf, self._leaves_kept = None, None
                anew = self._leaf_at(offset)
                if anew.places == leaf.places:
                    raise  # it lies where it lay, and is damaged there
                leaf = anew

    def _fill_from(self, leaf: _Leaf, window: _Window, offset: int, stop: int) -> None:
        """Open the chunk at `offset`, and its neighbours up to `stop`."""
        which, place = self._run(leaf, offset, stop)
        self._store.read_into(self._sealing.space, place.pack, place.offset, window.room(place.length))
        self._open(leaf, which, window)

    def _run(self, leaf: _Leaf, offset: int, stop: int) -> tuple[range, Location]:
        """Return which chunks lie side by side in one pack from `offset` on, up to `stop`, and where they lie."""
        first = bisect_right(leaf.starts, offset) - 1
        begin = leaf.starts[first]
        place = self._place(leaf, first)
        last, sealed = first + 1, place.length
        while last < len(leaf.chunks) and leaf.starts[last] < stop and leaf.starts[last + 1] - begin <= PIECE_BYTES:
            following = self._place(leaf, last)
            if following.pack != place.pack or following.offset != place.offset + sealed:
                break
            sealed += following.length
            last += 1
        return range(first, last), place._replace(length=sealed)

    def _open(self, leaf: _Leaf, which: range, window: _Window) -> None:
        """Open records that stand in the window's room into its bytes."""
        begin = leaf.starts[which.start]
        size = leaf.starts[which.stop] - begin
        window.size = 0
        if len(window.plain) < size:
            window.plain = bytearray(size)
        records, plain = memoryview(window.sealed), memoryview(window.plain)
        opened, read = 0, 0
        for cid, length in leaf.chunks[which.start : which.stop]:
            place = leaf.places[cid]
            out, record = plain[opened : opened + length], records[read : read + place.length]
            try:
                self._sealing.open_into(out, record, Kind.CHUNK, cid, length)
            except DamagedContent as error:
                raise damaged(str(error.facts["what"]), place.pack, place.offset) from None
            opened += length
            read += place.length
        window.start, window.size = begin, size

    @staticmethod
    def _place(leaf: _Leaf, index: int) -> Location:
        try:
            return leaf.places[leaf.chunks[index].cid]
        except KeyError:
            raise damaged("a chunk is missing from the catalogue") from None

    def _leaf_at(self, offset: int) -> _Leaf:
        """Return the leaf that has the byte at `offset`; the last one used is kept."""
        if self._leaf is not None and self._leaf.starts[0] <= offset < self._leaf.starts[-1]:
            return self._leaf
        what, kept = self._what, self._leaves_kept
        if what.shape is Shape.ROOT:
            kept = None
        found = None if kept is None else kept.get(self._sealing.space, self.content)
        if found is not None:
            self._leaf = found
            return found
        leaf = self._leaf_anew(offset)
        if kept is not None:
            kept.keep(self._sealing.space, self.content, leaf)
        self._leaf = leaf
        return leaf

    def _leaf_anew(self, offset: int) -> _Leaf:
        what = self._what
        if what.shape is Shape.CHUNK:
            begin, chunks = 0, [Chunk(what.cid, what.size)]
        elif what.shape is Shape.LEAF:
            begin, chunks = 0, manifests.leaf(self._manifest(Kind.LEAF, what.cid), what.size)
        else:
            begin, chunks = self._leaf_of_root(offset)
        starts = [begin + start for start in manifests.starts([chunk.length for chunk in chunks])]
        return _Leaf(chunks, starts, self._locate(list({chunk.cid for chunk in chunks})))

    def _leaf_of_root(self, offset: int) -> tuple[int, list[Chunk]]:
        if self._leaves is None:
            self._leaves = manifests.root(self._manifest(Kind.ROOT, self._what.cid), self._what.size)
            self._leaf_starts = manifests.starts([leaf.size for leaf in self._leaves])
        index = bisect_right(self._leaf_starts, offset) - 1
        found = self._leaves[index]
        chunks = manifests.leaf(self._manifest(Kind.LEAF, found.cid), found.size)
        if len(chunks) != found.chunks:
            raise damaged("a manifest lists more or fewer chunks than its root says")
        return self._leaf_starts[index], chunks

    def _manifest(self, kind: Kind, cid: bytes) -> bytes:
        return manifest_of(self._store, self._sealing, self._locate, kind, cid)
