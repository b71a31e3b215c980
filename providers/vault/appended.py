"""What one writer appended to packs: its own until a catalogue has it, let go once nobody can commit it any more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from config.files import full_or_failed
from config.logging import get_log
from providers.vault.store import PackWriter
from providers.vault.trails import Trail

log = get_log("vault")

#: What an upload appended leaves a trail once it is more than this: less is not worth it.
TRAIL_BYTES: Final = 8 << 20


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

    def __init__(self, space: bytes, let_go: LetGo, begin: Callable[[bytes], Trail | None]) -> None:
        self._space = space
        self._let_go = let_go
        self._begin = begin
        self._extents: list[Extent] = []
        self._size = 0
        self._trail: Trail | None = None

    def add(self, pack: PackWriter, offset: int, length: int) -> None:
        """Take in records that were appended."""
        last = self._extents[-1] if self._extents else None
        if last is not None and last.pack is pack and last.offset + last.length == offset:
            self._extents[-1] = last._replace(length=last.length + length)
        else:
            self._extents.append(Extent(self._space, pack, offset, length))
        self._size += length
        if self._size > TRAIL_BYTES:
            self._trace(pack, offset, length)

    def _trace(self, pack: PackWriter, offset: int, length: int) -> None:
        try:
            if self._trail is not None:
                self._trail.add(pack.id, offset, length)
                return
            trail = self._trail = self._begin(self._space)
            if trail is not None:
                for each in self._extents:
                    trail.add(each.pack.id, each.offset, each.length)
        except OSError as error:
            log.warning("no_trail", space=self._space, why=error.errno)  # should it be killed, its room is lost

    @property
    def is_traced(self) -> bool:
        """Whether `sync` has anything to do before a commit."""
        return self._trail is not None

    def sync(self) -> None:
        """Let no trail tell any longer of what may be part of a version from now on, durably. Raises StorageFailed."""
        trail, self._trail, self._size = self._trail, None, 0
        if trail is not None:
            try:
                trail.remove()
            except OSError as error:
                raise full_or_failed(error) from error

    def settle(self) -> None:
        """Forget what was appended so far: a catalogue has it, or it is written down that it was let go."""
        self._extents.clear()
        self._size = 0

    def let_go(self) -> None:
        """Tell that nobody will commit what was appended so far. Harmless when repeated, and after `settle`."""
        extents, self._extents = self._extents, []
        self._let_go.extend(extents)
        trail, self._trail = self._trail, None
        if trail is not None:
            trail.forget()

    def __del__(self) -> None:
        self.let_go()
