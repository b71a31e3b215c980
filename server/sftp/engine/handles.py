"""What a client holds open: documents, and folders being listed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.sftp.engine.errors import NoSuchHandle, TooManyOpen, WrongHandle

if TYPE_CHECKING:
    from providers.model import Item
    from server.sftp.engine.documents import Document
    from server.sftp.engine.listing import Page

_NAME = struct.Struct(">I")


@dataclass(slots=True, eq=False)
class FileHandle:
    """One opening of a document. `edits` tells that it takes part in the document's draft."""

    document: Document
    readable: bool
    writable: bool
    appends: bool
    edits: bool


@dataclass(slots=True, eq=False)
class FolderHandle:
    """One listing under way: the next answer, None at the end, and what packs those that follow.

    While the client looks at one answer the next is packed beside; `waiting` goes on once it is. `error`: what was met
    meanwhile. `told` counts those of `listed` that were told of, from -2 on for the folder itself and the one above it.
    `is_stale`: rights have changed since it was listed.
    """

    item: Item
    page: Page | None
    pages: Iterator[Page]
    listed: Sequence[Item]
    told: int = -2
    is_packing: bool = False
    is_stale: bool = False
    waiting: Callable[[], None] | None = None
    error: BaseException | None = None


Handle = FileHandle | FolderHandle


class Handles:
    """All handles of one channel, by their names on the wire."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._open: dict[bytes, Handle] = {}
        self._last = 0

    def require_room(self) -> None:
        """Raise TooManyOpen unless one more may be opened."""
        if len(self._open) >= self._count_max:
            raise TooManyOpen

    def add(self, handle: Handle) -> bytes:
        """Keep a handle; return its name."""
        while True:
            self._last = (self._last + 1) & 0xFFFFFFFF
            name = _NAME.pack(self._last)
            if name not in self._open:
                self._open[name] = handle
                return name

    def take(self, name: bytes) -> Handle:
        """Forget a handle and return it. Raises NoSuchHandle."""
        found = self._open.pop(name, None)
        if found is None:
            raise NoSuchHandle
        return found

    def any(self, name: bytes) -> Handle:
        """Return a handle. Raises NoSuchHandle."""
        found = self._open.get(name)
        if found is None:
            raise NoSuchHandle
        return found

    def rights_changed(self) -> None:
        """Let what folders show be looked at anew before more of it is told."""
        for handle in self._open.values():
            if isinstance(handle, FolderHandle):
                handle.is_stale = True

    def file(self, name: bytes) -> FileHandle:
        """Return the handle of a document. Raises NoSuchHandle, WrongHandle."""
        found = self.any(name)
        if not isinstance(found, FileHandle):
            raise WrongHandle
        return found

    def folder(self, name: bytes) -> FolderHandle:
        """Return the handle of a folder. Raises NoSuchHandle, WrongHandle."""
        found = self.any(name)
        if not isinstance(found, FolderHandle):
            raise WrongHandle
        return found
