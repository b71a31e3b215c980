"""Reading a document in blocks: one hop fetches a block, and the one after it is fetched while it is being served.

What the machine has in memory is fetched without a hop: two threads that take turns at the interpreter's lock cost more
than the second core gives, when the client wants that core too. Nor is it fetched ahead: nobody waits for it, and what
was opened a moment ago is still in the processor's cache when it is sealed for the client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from providers.errors import NotAtHand

if TYPE_CHECKING:
    from providers.drive.reading import Reader

#: The first block is small, for who reads here and there; each that follows in order is twice as long, up to this.
FIRST_BYTES: Final = 256 << 10
BLOCK_BYTES: Final = 1 << 20
#: Of one document: the block before (for requests that overtake one another), the one being served, the one ahead.
_KEPT: Final = 3


class Block(NamedTuple):
    """A stretch of the document."""

    start: int
    data: memoryview

    @property
    def stop(self) -> int:
        """Where it ends."""
        return self.start + len(self.data)


class Blocks:
    """What is at hand of one version's bytes. One fetch at a time is under way."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.size = reader.item.size
        self._blocks: list[Block] = []
        #: The block that the last request was served from.
        self._served = 0
        self._next_bytes = FIRST_BYTES
        self.is_fetching = False
        #: Whether the block that was last asked for was in memory.
        self.is_near = False
        #: What goes on once the block that is being fetched ahead has come.
        self.waiting: Callable[[], None] | None = None

    def fetch(self, start: int, length: int) -> Block:
        """Read a block from the storage. Run elsewhere."""
        data = self.reader.read(start, length) if length < BLOCK_BYTES else self.reader.read_on(start)
        if not data:
            raise EOFError("a version is shorter than it says")
        return Block(start, memoryview(data))

    def at_hand(self, start: int, length: int) -> Block:
        """Read a block, if reading goes on and waits for nobody. Raises NotAtHand."""
        if length < BLOCK_BYTES:
            raise NotAtHand
        return Block(start, self.reader.at_hand(start))

    def keep(self, block: Block) -> None:
        """Let a block that was fetched be at hand."""
        self._blocks = [*self._blocks[-(_KEPT - 1) :], block]
        self._served = 0

    def slices(self, offset: int, length: int) -> list[memoryview] | None:
        """Return the bytes there, uncopied; None if a block must be fetched first. Past the end: an empty list."""
        stop = min(offset + length, self.size)
        if self._blocks:
            start, data = self._blocks[self._served]
            if start <= offset < stop <= start + len(data):
                return [data[offset - start : stop - start]]
        found: list[memoryview] = []
        while offset < stop:
            block = self._holding(offset)
            if block is None:
                return None
            piece = block.data[offset - block.start : stop - block.start]
            found.append(piece)
            offset += len(piece)
        return found

    def missing(self, offset: int, length: int) -> tuple[int, int]:
        """Return which block (start, length) to fetch so that `slices` has what it lacked."""
        stop = min(offset + length, self.size)
        while (block := self._holding(offset)) is not None:
            offset = block.stop
        goes_on = any(block.stop == offset for block in self._blocks)
        self._next_bytes = min(2 * self._next_bytes, BLOCK_BYTES) if goes_on else FIRST_BYTES
        return offset, max(min(self._next_bytes, self.size - offset), stop - offset)

    def ahead(self, offset: int) -> tuple[int, int] | None:
        """Return which block to fetch while `offset` is served: the one after the newest, if reading goes on there and
        may have to wait for the disk.
        """
        if self.is_fetching or self.is_near or not self._blocks:
            return None
        newest = self._blocks[-1]
        if not newest.start <= offset < newest.stop or newest.stop >= self.size:
            return None
        if newest.start and not any(block.stop == newest.start for block in self._blocks):
            return None
        self._next_bytes = min(2 * self._next_bytes, BLOCK_BYTES)
        return newest.stop, min(self._next_bytes, self.size - newest.stop)

    def let_go(self) -> None:
        """Forget what is at hand; it can be fetched again."""
        self._blocks = []
        self._served = 0
        self._next_bytes = FIRST_BYTES
        self.reader.rest()

    @property
    def held_bytes(self) -> int:
        """Bytes at hand."""
        return sum(len(block.data) for block in self._blocks)

    def _holding(self, offset: int) -> Block | None:
        for index in range(len(self._blocks) - 1, -1, -1):
            block = self._blocks[index]
            if block.start <= offset < block.stop:
                self._served = index
                return block
        return None
