"""A store in memory, for tests and for what need not outlive the process. It keeps every promise but durability."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence

from providers.vault.errors import DraftInUse, StorageClosed, damaged
from providers.vault.records import Entry, PackScan, entries_of, footer, gap_head, pack_head, read_footer, scan, walk
from providers.vault.store import new_pack_id
from providers.vault.trails import Abandoned


class MemoryPack:
    """A pack being written."""

    def __init__(self, data: bytearray, space: bytes, pack: int) -> None:
        self.id = pack
        self._space = space
        self._data = data
        self._guard = threading.Lock()
        self._entries: list[Entry] = []
        self._closed = False
        self.wanted = False
        self.size = len(data)

    @property
    def is_usable(self) -> bool:
        """Whether it takes more."""
        return not self._closed

    def append(self, records: bytes | bytearray | memoryview) -> int:
        """Append whole records; return the offset of the first."""
        with self._guard:
            if self._closed:
                raise StorageClosed
            offset = self.size
            self._entries += entries_of(records, offset)
            self._data += records
            self.size = len(self._data)
            return offset

    def sync(self) -> None:
        """Do nothing: memory outlives nothing."""

    def is_wanted(self) -> bool:
        """Whether somebody waits to claim it."""
        return self.wanted

    def close(self) -> None:
        """Add the footer."""
        with self._guard:
            if not self._closed:
                self._closed = True
                self._data += footer(self._space, self.id, self._entries)


class MemoryClaim:
    """A pack that nobody else may claim."""

    def __init__(self, claimed: set[tuple[bytes, int]], which: tuple[bytes, int]) -> None:
        self._claimed = claimed
        self._which = which

    def release(self) -> None:
        """Let go of it."""
        self._claimed.discard(self._which)


class MemoryDraft:
    """The bytes of one draft."""

    def __init__(self, data: bytearray, in_use: set[int]) -> None:
        if id(data) in in_use:
            raise DraftInUse
        self._data = data
        self._in_use = in_use
        in_use.add(id(data))

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes there."""
        return bytes(self._data[offset : offset + length])

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` there."""
        if len(self._data) < offset:
            self._data += bytes(offset - len(self._data))
        self._data[offset : offset + len(data)] = data

    def size(self) -> int:
        """Return how many bytes there are."""
        return len(self._data)

    def sync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Let others open it."""
        self._in_use.discard(id(self._data))


class MemoryStore:
    """A store in memory."""

    def __init__(self) -> None:
        self._packs: dict[bytes, dict[int, bytearray]] = {}
        self._drafts: dict[bytes, dict[bytes, bytearray]] = {}
        self._in_use: set[int] = set()
        self._writers: weakref.WeakValueDictionary[tuple[bytes, int], MemoryPack] = weakref.WeakValueDictionary()
        self._claimed: set[tuple[bytes, int]] = set()

    def open_pack(self, space: bytes) -> MemoryPack:
        """Begin a new pack."""
        pack = new_pack_id()
        data = bytearray(pack_head(space, pack))
        self._packs.setdefault(space, {})[pack] = data
        made = self._writers[space, pack] = MemoryPack(data, space, pack)
        return made

    def read(self, space: bytes, pack: int, offset: int, length: int) -> bytes:
        """Return exactly these bytes."""
        data = self._pack(space, pack, offset)
        if offset + length > len(data):
            raise damaged("a pack ends too early", pack, offset)
        return bytes(data[offset : offset + length])

    def read_into(self, space: bytes, pack: int, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes there."""
        buffer[:] = self.read(space, pack, offset, len(buffer))

    def read_at_hand(self, space: bytes, pack: int, offset: int, buffer: memoryview) -> bool:
        """Fill `buffer` with the bytes there."""
        self.read_into(space, pack, offset, buffer)
        return True

    def packs(self, space: bytes) -> Iterator[tuple[int, int]]:
        """Yield (id, bytes) of every pack of a space."""
        for pack, data in list(self._packs.get(space, {}).items()):
            yield pack, len(data)

    def scan(self, space: bytes, pack: int, *, trust_footer: bool = True) -> PackScan:
        """Return what records a pack holds."""
        size = len(self._pack(space, pack, 0))
        return (scan if trust_footer else walk)(space, pack, size, lambda at, count: self.read(space, pack, at, count))

    def claim(self, space: bytes, pack: int) -> MemoryClaim | None:
        """Claim a pack that no writer holds; ask whoever writes it to end."""
        if pack not in self._packs.get(space, {}):
            raise FileNotFoundError
        writer = self._writers.get((space, pack))
        if writer is not None:
            writer.wanted = True
        if writer is not None or (space, pack) in self._claimed:
            return None
        self._claimed.add((space, pack))
        return MemoryClaim(self._claimed, (space, pack))

    def void(self, space: bytes, pack: int, ranges: Sequence[tuple[int, int]]) -> None:
        """Let ranges become gaps."""
        data = self._pack(space, pack, 0)
        listed = read_footer(space, pack, len(data), lambda at, count: bytes(data[at : at + count]))
        if listed is not None:
            del data[listed[1] :]
        for offset, length in ranges:
            data[offset : offset + length] = gap_head(space, pack, length).ljust(length, b"\0")

    def remove_pack(self, space: bytes, pack: int) -> None:
        """Remove a pack."""
        self._packs.get(space, {}).pop(pack, None)

    def retire_pack(self, space: bytes, pack: int) -> None:
        """Remove a pack that a catalogue referred to until now."""
        self.remove_pack(space, pack)

    def destroy_space(self, space: bytes) -> None:
        """Remove all packs and drafts of a space."""
        self._packs.pop(space, None)
        self._drafts.pop(space, None)

    def begin_trail(self, space: bytes) -> None:
        """Tell nothing: nothing outlives the process."""

    def abandoned_trails(self, space: bytes) -> Iterator[Abandoned]:
        """Yield nothing."""
        yield from ()

    def create_draft(self, space: bytes, draft: bytes) -> MemoryDraft:
        """Make the bytes of a new draft."""
        drafts = self._drafts.setdefault(space, {})
        if draft in drafts:
            raise FileExistsError
        return MemoryDraft(drafts.setdefault(draft, bytearray()), self._in_use)

    def open_draft(self, space: bytes, draft: bytes) -> MemoryDraft:
        """Open the bytes of a draft."""
        try:
            return MemoryDraft(self._drafts[space][draft], self._in_use)
        except KeyError:
            raise FileNotFoundError from None

    def view_draft(self, space: bytes, draft: bytes) -> MemoryDraft:
        """Open the bytes of a draft to be read alone."""
        try:
            return MemoryDraft(self._drafts[space][draft], set())
        except KeyError:
            raise FileNotFoundError from None

    def peek_draft(self, space: bytes, draft: bytes, length: int) -> bytes:
        """Return the first bytes of a draft."""
        try:
            return bytes(self._drafts[space][draft][:length])
        except KeyError:
            raise FileNotFoundError from None

    def remove_draft(self, space: bytes, draft: bytes) -> None:
        """Remove the bytes of a draft."""
        self._drafts.get(space, {}).pop(draft, None)

    def drafts(self, space: bytes) -> Iterator[bytes]:
        """Yield the ids of all drafts of a space."""
        yield from list(self._drafts.get(space, {}))

    def _pack(self, space: bytes, pack: int, offset: int) -> bytearray:
        try:
            return self._packs[space][pack]
        except KeyError:
            raise damaged("a pack is missing", pack, offset) from None
