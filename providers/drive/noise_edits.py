"""Writing noise at any place, in any order: held in memory, kept as noise if that is what it is, else a document.

Over SFTP a file is open for as long as its program likes, so noise may be made durable (`sync`), or its connection lost
(`keep`), while it is written: then, too, what matches its format by that time is noise.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from config.errors import MellanrumError
from config.ids import new_id
from providers.drive import noise
from providers.drive.edits import Edit, edit
from providers.drive.kept import Holding, Slot, drop, keep, kept_at
from providers.drive.reading import Reader
from providers.drive.session import Session
from providers.errors import NotFound, TargetExists
from providers.model import Conditions, Item
from providers.noise import NOISE_BYTES_MAX, ONLY_NOISE, is_noise
from providers.paths import Path, check_name


@dataclass(frozen=True, slots=True)
class Beginning:
    """What an edit of noise was begun with: what stood there, and one's own interrupted upload under that name."""

    slot: Slot
    item: Item | None
    content: bytes
    kept: bytes | None


class NoiseEdit:
    """An edit that is noise if what is written is; else, from then on, the edit of a document. As `Edit` otherwise."""

    def __init__(
        self, session: Session, path: Path, conditions: Conditions, begun: Beginning, *, is_changed: bool
    ) -> None:
        self._session = session
        self._path = path
        self._conditions = conditions
        self._slot = begun.slot
        self._kept = begun.kept
        self._held = bytearray(begun.content)
        self._document: Edit | None = None
        self._is_changed = is_changed
        self._owes_read = begun.item is not None and bool(begun.content)
        self.item = begun.item

    @property
    def is_new(self) -> bool:
        """Whether nothing stands there yet for others."""
        return self.item is None

    @property
    def folder(self) -> bytes:
        """The folder that it is written in."""
        return self._slot.parent

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to commit."""
        return self._is_changed or (self._document is not None and self._document.is_changed)

    @property
    def size(self) -> int:
        """Bytes as they stand now."""
        return len(self._held) if self._document is None else self._document.size

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes, fewer past the end. What stood there is read only by who may."""
        if self._owes_read:
            found = noise.read(self._session, self._path)
            if found is not None:
                found.close()
            self._owes_read = False
        if self._document is not None:
            return self._document.read(offset, length)
        return bytes(self._held[offset : offset + length])

    def is_light(self, offset: int, length: int) -> bool:
        """Whether to write there is but to copy bytes within memory."""
        if self._document is not None:
            return self._document.is_light(offset, length)
        return offset + length <= NOISE_BYTES_MAX

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Put bytes there; a gap before them reads as zeros."""
        stop = offset + len(data)
        if self._document is None and stop > NOISE_BYTES_MAX:
            self._become_document()
        if self._document is not None:
            self._document.write(offset, data)
            return
        self._is_changed = True
        if offset > len(self._held):
            self._held += bytes(offset - len(self._held))
        self._held[offset:stop] = data

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Put bytes at the end."""
        self.write(self.size, data)

    def truncate(self, size: int) -> None:
        """Cut off at `size`, or grow to it with zeros."""
        if self._document is None and size > NOISE_BYTES_MAX:
            self._become_document()
        if self._document is not None:
            self._document.truncate(size)
        elif size != len(self._held):
            self._is_changed = True
            del self._held[size:]
            self._held += bytes(size - len(self._held))

    def copy_from(self, reader: Reader, start: int, length: int, at: int) -> int:
        """Put bytes of another document there; return how many."""
        stop = min(start + length, reader.item.size)
        if self._document is None and at + stop - start > NOISE_BYTES_MAX:
            self._become_document()
        if self._document is not None:
            return self._document.copy_from(reader, start, length, at)
        if start < stop:
            self.write(at, reader.read(start, stop - start))
        return max(0, stop - start)

    def sync(self) -> None:
        """Make what was written durable: noise as noise, anything else for its maker to find."""
        if self._document is not None:
            self._document.sync()
        elif self._is_changed and self._keep_noise(None) is None:
            self._put_aside()

    def commit(self, *, modified: int | None = None, written: int | None = None) -> tuple[Item, bool] | None:
        """Keep the noise, or make the document's newest version; None if nothing was changed."""
        if not self.is_changed:
            self.discard()
            return None
        if self._document is None:
            kept = self._keep_noise(written if modified is None else modified)
            if kept is not None:
                return kept
            self._become_document()
        assert self._document is not None
        return self._document.commit(modified=modified, written=written)

    def keep(self, *, is_cut_off: bool = False) -> None:
        """Let go without a close: noise is noise, anything else is its maker's, for 7 days, as with `Edit`."""
        if self._document is not None:
            self._document.keep(is_cut_off=is_cut_off)
        elif not self._is_changed or not self._held:
            self.discard()
        elif is_noise(self._path.name, bytes(self._held)):
            # What may not be kept as noise is nobody's loss.
            with suppress(MellanrumError):
                self._keep_noise(None)
        elif (is_cut_off and self.item is not None and self._kept is None) or self._path.name in ONLY_NOISE:
            self.discard()
        else:
            self._put_aside()

    def discard(self) -> None:
        """Forget what was written. Harmless when repeated, and after `commit` or `keep`."""
        if self._document is not None:
            self._document.discard()
        elif self._is_changed:
            self._drop_kept()

    def unname(self) -> None:
        """The name goes, and what is written goes on without it, until it is discarded."""
        self._drop_kept()
        if self._document is None and self._path.name not in ONLY_NOISE:
            self._become_document()
        if self._document is not None:
            self._document.unname()

    # --- within

    def _keep_noise(self, modified: int | None) -> tuple[Item, bool] | None:
        content = bytes(self._held)
        if not is_noise(self._path.name, content):
            return None
        made = noise.keep(self._session, self._path, content, self._conditions, modified)
        if made is not None:
            self.discard()
            self._is_changed = False
            # From here on it is its own content that is written over.
            self._conditions = Conditions(tokens=self._conditions.tokens)
            self.item = made[0]
        return made

    def _become_document(self) -> None:
        document = edit(self._session, self._path, create=True, truncate=True, conditions=self._conditions)
        if self._held:
            document.write(0, self._held)
        self._document, self._kept = document, None

    def _put_aside(self) -> None:
        if self._path.name in ONLY_NOISE:
            check_name(self._path.name)
        storage = self._session.storage
        draft = storage.vault.draft(self._slot.space, new_id(), None)
        try:
            draft.write(0, self._held)
            keep(self._session, self._slot, draft, Holding(draft.id, None, 0, None))
        finally:
            draft.close()
        self._kept = draft.id

    def _drop_kept(self) -> None:
        if self._kept is not None:
            drop(self._session.storage, self._slot.space, self._kept)
            self._kept = None


def begin(session: Session, path: Path, *, create: bool, truncate: bool, conditions: Conditions) -> NoiseEdit | None:
    """Begin an edit of what may turn out to be noise; None where it is a document's already.

    Raises NotFound where nothing stands, as for a document.
    """
    with session.look() as look:
        found = noise.writable(look, path, conditions)
        if found is None:
            return None
        target, standing = found
        slot = Slot(target.space.id, target.parent.node.id, path.name)
        if standing is not None:
            item = look.item(standing)
            begun = Beginning(slot, item, b"" if truncate else noise.content_of(look, standing), None)
            return NoiseEdit(session, path, conditions, begun, is_changed=truncate)
        kept = kept_at(look, slot)
    if kept is None:
        if not create:
            raise NotFound(is_noise=True)
        return NoiseEdit(session, path, conditions, Beginning(slot, None, b"", None), is_changed=True)
    if conditions.if_none_match is not None:
        raise TargetExists
    content = b"" if truncate else _resumed(session, path, conditions)
    if content is None:
        return None
    return NoiseEdit(session, path, conditions, Beginning(slot, None, content, kept.id), is_changed=create)


def _resumed(session: Session, path: Path, conditions: Conditions) -> bytes | None:
    """Return what an interrupted upload holds; None if it is too much for noise."""
    found = edit(session, path, create=False, truncate=False, conditions=conditions)
    try:
        return found.read(0, found.size) if found.size <= NOISE_BYTES_MAX else None
    finally:
        found.discard()
