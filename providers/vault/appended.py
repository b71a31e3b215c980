"""What one writer appended to packs: its own until a catalogue has it, let go once nobody can commit it any more."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from providers.vault.store import PackWriter


class Extent(NamedTuple):
    """A run of whole records in one pack of a space. Whoever holds it keeps the pack from being claimed."""

    space: bytes
    pack: PackWriter
    offset: int
    length: int


#: What was let go and is not written down yet. Only appended to and taken from, so that it needs no lock: what a
#: writer leaves may be told in any thread, wherever the interpreter lets go of the writer.
LetGo = deque[Extent]


class Appended:
    """The records that a writer appended and that no catalogue has yet. Whoever may yet commit them holds this object.

    Once nobody does, they are let go: whatever way an upload ended, it made nothing of them, and nobody else can. Who
    knows that it ended says so at once, for an exception that is held by itself may hold this object for long.
    """

    def __init__(self, space: bytes, let_go: LetGo) -> None:
        self._space = space
        self._let_go = let_go
        self._extents: list[Extent] = []

    def add(self, pack: PackWriter, offset: int, length: int) -> None:
        """Take in records that were appended."""
        last = self._extents[-1] if self._extents else None
        if last is not None and last.pack is pack and last.offset + last.length == offset:
            self._extents[-1] = last._replace(length=last.length + length)
        else:
            self._extents.append(Extent(self._space, pack, offset, length))

    def settle(self) -> None:
        """Forget what was appended so far: a catalogue has it, or it is written down that it was let go."""
        self._extents.clear()

    def let_go(self) -> None:
        """Tell that nobody will commit what was appended so far. Harmless when repeated, and after `settle`."""
        extents, self._extents = self._extents, []
        self._let_go.extend(extents)

    def __del__(self) -> None:
        self.let_go()
