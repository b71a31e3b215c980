"""A content being changed at random places: sealed blocks over the version it began with.

Blocks are 64 KiB, sealed under a key of the draft's own, each write with a new nonce into a slot of the file that the
last synced state does not use. So a crash leaves the draft exactly as it was last synced, however much was half
written since. A draft that stays small and is never synced never touches the disk.
"""

from __future__ import annotations

import hmac
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from providers.vault import draft_states
from providers.vault.draft_states import AREA_BYTES, AREAS, HELD_BYTES, WITH_HELD, WITHOUT_HELD, State
from providers.vault.errors import ContentTooLarge, DamagedContent, DraftInUse, UnknownDraft, damaged
from providers.vault.manifests import CONTENT_BYTES_MAX
from providers.vault.reader import PIECE_BYTES, ContentReader
from providers.vault.records import NONCE_BYTES, TAG_BYTES
from providers.vault.sealing import Buffer, Sealing
from providers.vault.shelf import Shelf
from providers.vault.splice import splice
from providers.vault.store import DraftFile, Store
from providers.vault.writer import Known, Sealed

BLOCK_BYTES: Final = 64 << 10
#: Blocks changed and not yet sealed, kept in memory: 2 MiB.
_BLOCKS_MAX: Final = 32
#: So many truncations are remembered until the slots they made void are cleared.
_CUTS_MAX: Final = 64

_MAGIC: Final = b"MRDF"
_HEAD = struct.Struct("<4sB3xH")
#: The head with the sealed key, then two places for the state, written in turns; then slots.
_SLOTS: Final = 3 * AREA_BYTES
#: block, nonce, number of the write: the nonce between two numbers that another installation may well have too.
_SLOT_HEAD = struct.Struct("<Q12sQ")
_SLOT_BYTES: Final = _SLOT_HEAD.size + BLOCK_BYTES + TAG_BYTES
_MARK = struct.Struct("<QQ")


class _Blocks:
    """The file of a draft: blocks in slots, and the state. Only what was synced is ever resumed."""

    def __init__(self, file: DraftFile, draft: bytes, key: bytes, form: int) -> None:
        self.file = file
        self._draft = draft
        self._form = form
        self._label = draft_states.label(draft, form)
        self._key = key
        self._cipher = AESGCM(key)
        self.slots: dict[int, int] = {}
        #: Of each block, what only this draft's key makes of it and its last write; and all of these as one.
        self._marks: dict[int, int] = {}
        self._held = 0
        self._free: list[int] = []
        self._void: list[int] = []
        #: Slots of writes that no sync came after. Their numbers are given again, so their heads must not stay.
        self._stale: set[int] = set()
        #: The state found on resuming may be in the system's memory alone, and the one before on the disk.
        self._is_unsure = False
        self._count = 0
        self.written = 0

    @classmethod
    def create(cls, store: Store, sealing: Sealing, draft: bytes) -> _Blocks:
        """Make the file of a new draft."""
        key = AESGCM.generate_key(256)
        sealed = sealing.keys.drafts.seal(b"draft" + draft, key)
        file = store.create_draft(sealing.space, draft)
        head = _HEAD.pack(_MAGIC, WITH_HELD, len(sealed)) + sealed
        file.write(0, head + os.urandom(_SLOTS - len(head)))
        return cls(file, draft, key, WITH_HELD)

    @classmethod
    def resume(cls, store: Store, sealing: Sealing, draft: bytes) -> tuple[_Blocks, State] | None:
        """Open the file of a draft as it was last synced; None if there is none, or it was never synced."""
        try:
            file = store.open_draft(sealing.space, draft)
        except FileNotFoundError:
            return None
        try:
            return cls._found(file, sealing, draft)
        except UnknownDraft:
            file.close()
            return None
        except BaseException:
            file.close()
            raise

    @classmethod
    def viewed(cls, store: Store, sealing: Sealing, draft: bytes) -> tuple[_Blocks, State]:
        """Return what `resume` does, to be read alone, also while somebody has it open. Raises UnknownDraft."""
        try:
            file = store.view_draft(sealing.space, draft)
        except FileNotFoundError:
            raise UnknownDraft from None
        try:
            return cls._found(file, sealing, draft)
        except BaseException:
            file.close()
            raise

    @classmethod
    def _found(cls, file: DraftFile, sealing: Sealing, draft: bytes) -> tuple[_Blocks, State]:
        head = file.read(0, AREA_BYTES)
        if len(head) < AREA_BYTES:
            raise UnknownDraft
        blocks = cls(file, draft, *_key_of(sealing, draft, head))
        state = draft_states.newest(file, blocks._cipher, blocks._label)
        if state is None:
            raise UnknownDraft
        blocks._find_slots(state)
        if blocks.held != state.held:
            # A head that was being written when the power was lost may be half of what it was, and half new.
            blocks._find_slots(state, only_whole=True)
        if blocks.held != state.held:
            raise damaged("which blocks a draft has") if blocks.is_as(state) else DraftInUse
        return blocks, state

    @property
    def held(self) -> bytes:
        """What tells which blocks there are, by their last writes; nothing in the first format."""
        return b"" if self._form == WITHOUT_HELD else self._held.to_bytes(HELD_BYTES, "big")

    def is_as(self, state: State) -> bool:
        """Whether this is still the state that was last synced. Until the next one is, none of its slots is written."""
        newest = draft_states.newest(self.file, self._cipher, self._label)
        return newest is not None and newest.number == state.number

    def read(self, block: int) -> bytearray:
        """Return a block. Raises DamagedContent."""
        return self._opened(self.slots[block], block)

    def _opened(self, slot: int, block: int) -> bytearray:
        at = _SLOTS + slot * _SLOT_BYTES
        data = self.file.read(at, _SLOT_BYTES)
        plain = bytearray(BLOCK_BYTES)
        if len(data) != _SLOT_BYTES:
            raise damaged("a block of a draft", None, at)
        head, sealed = data[: _SLOT_HEAD.size], memoryview(data)[_SLOT_HEAD.size :]
        found, nonce, _ = _SLOT_HEAD.unpack(head)
        if found != block:
            raise damaged("a block of a draft", None, at)
        try:
            self._cipher.decrypt_into(nonce, sealed, self._draft + head, plain)
        except InvalidTag:
            raise damaged("a block of a draft", None, at) from None
        return plain

    def write(self, block: int, plain: Buffer) -> None:
        """Seal a block into a slot that the last synced state does not use."""
        if self._is_unsure:
            self.file.sync()
            self._is_unsure = False
        self.written += 1
        nonce = os.urandom(NONCE_BYTES)
        head = _SLOT_HEAD.pack(block, nonce, self.written)
        out = bytearray(_SLOT_BYTES)
        out[: len(head)] = head
        self._cipher.encrypt_into(nonce, plain, self._draft + head, memoryview(out)[len(head) :])
        slot = self._free.pop() if self._free else self._count
        self._count = max(self._count, slot + 1)
        self.file.write(_SLOTS + slot * _SLOT_BYTES, out)
        self._stale.discard(slot)
        self.drop(block)
        self._hold(block, slot, self.written)

    def _hold(self, block: int, slot: int, written: int) -> None:
        """Let a block be in a slot, as of a write."""
        self._held ^= self._marks.pop(block, 0)
        mark = int.from_bytes(hmac.digest(self._key, _MARK.pack(block, written), "sha256"), "big")
        self.slots[block], self._marks[block] = slot, mark
        self._held ^= mark

    def drop(self, block: int) -> None:
        """Forget a block. Its slot is used again once a sync has made the state without it durable."""
        slot = self.slots.pop(block, None)
        if slot is not None:
            self._held ^= self._marks.pop(block)
            self._void.append(slot)

    def sync(self, state: State) -> None:
        """Make blocks, then the state durable."""
        self._clear(self._stale)
        self._stale.clear()
        self.file.sync()
        sealed = draft_states.sealed(state, self._cipher, os.urandom(NONCE_BYTES), self._label)
        self.file.write(AREAS[state.number % 2], sealed)
        self.file.sync()
        self._free += self._void
        self._void.clear()

    def clear_free(self) -> None:
        """Wipe the heads of unused slots, durably, so that no cut has to be remembered for them."""
        self._clear(self._free)
        self.file.sync()

    def _clear(self, slots: Iterable[int]) -> None:
        for slot in slots:
            self.file.write(_SLOTS + slot * _SLOT_BYTES, bytes(_SLOT_HEAD.size))

    def _find_slots(self, state: State, *, only_whole: bool = False) -> None:
        """Find the blocks of a state by the heads of slots, or by those alone whose block matches its seal."""
        newest: dict[int, int] = {}
        self.slots.clear()
        self._marks.clear()
        self._held = 0
        self._count = max(self.file.size() - _SLOTS, 0) // _SLOT_BYTES
        for slot in range(self._count):
            block, _, written = _SLOT_HEAD.unpack(self.file.read(_SLOTS + slot * _SLOT_BYTES, _SLOT_HEAD.size))
            was_cut = any(written <= before and block * BLOCK_BYTES >= size for before, size in state.cuts)
            if written > state.written or (only_whole and self._is_torn(slot, block)):
                self._stale.add(slot)
            elif not was_cut and written > newest.get(block, 0):
                newest[block] = written
                self._hold(block, slot, written)
        self._free = sorted(set(range(self._count)) - set(self.slots.values()), reverse=True)
        self.written = state.written
        self._is_unsure = True

    def _is_torn(self, slot: int, block: int) -> bool:
        try:
            self._opened(slot, block)
        except DamagedContent:
            return True
        return False


def _key_of(sealing: Sealing, draft: bytes, head: bytes) -> tuple[bytes, int]:
    """Return a draft's key, and its format, from the head of its file. Raises DamagedContent, SealBroken."""
    magic, form, length = _HEAD.unpack_from(head)
    if magic != _MAGIC or form not in (WITHOUT_HELD, WITH_HELD):
        raise damaged("the head of a draft")
    return sealing.keys.drafts.open(b"draft" + draft, head[_HEAD.size : _HEAD.size + length]), form


class _Beginning:
    """The first bytes of a draft that somebody else may be writing."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


class Draft:
    """One content being changed. Safe to use from many threads, one at a time within."""

    def __init__(self, store: Store, sealing: Sealing, shelf: Shelf, draft: bytes, base: ContentReader | None) -> None:
        self.id = draft
        self.base = base
        self._store = store
        self._sealing = sealing
        self._shelf = shelf
        self._guard = threading.RLock()
        self._dirty: OrderedDict[int, bytearray] = OrderedDict()
        self._blocks: _Blocks | None = None
        self._state = State(size=0 if base is None else base.size, base=b"" if base is None else base.content)
        self._state.base_bytes = self._state.size
        resumed = _Blocks.resume(store, sealing, draft)
        if resumed is not None:
            self._blocks, state = resumed
            if state.base != self._state.base:
                self._blocks.file.close()
                raise UnknownDraft
            self._state = state

    @staticmethod
    def base_of(store: Store, sealing: Sealing, draft: bytes) -> bytes | None:
        """Return the content a synced draft was begun over."""
        resumed = _Blocks.resume(store, sealing, draft)
        if resumed is None:
            return None
        resumed[0].file.close()
        return resumed[1].base

    @staticmethod
    def peeked(store: Store, sealing: Sealing, draft: bytes) -> bytes | None:
        """Return what `base_of` does, also of a draft that somebody has open, as it was last synced."""
        try:
            data = store.peek_draft(sealing.space, draft, _SLOTS)
        except FileNotFoundError:
            return None
        if len(data) < _SLOTS:
            return None
        key, form = _key_of(sealing, draft, data)
        state = draft_states.newest(_Beginning(data), AESGCM(key), draft_states.label(draft, form))
        return None if state is None else state.base

    @property
    def size(self) -> int:
        """Bytes of the content as it stands now."""
        return self._state.size

    @property
    def base_bytes(self) -> int:
        """How many bytes of the base, from its beginning, show through where no block was changed."""
        return self._state.base_bytes

    def is_changed(self, start: int, stop: int) -> bool:
        """Return whether any block between `start` and `stop` differs, or may differ, from the base."""
        held = self._blocks.slots if self._blocks is not None else {}
        return any(
            block in self._dirty or block in held for block in range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES))
        )

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes there, fewer past the end. Raises DamagedContent."""
        with self._guard:
            stop = min(offset + length, self.size)
            parts: list[Buffer] = []
            while offset < stop:
                block, within = divmod(offset, BLOCK_BYTES)
                end = min(stop, (block + 1) * BLOCK_BYTES)
                plain = self._changed(block)
                if plain is None:
                    parts.append(self._from_base(offset, end))
                else:
                    parts.append(memoryview(plain)[within : within + end - offset])
                offset = end
            return b"".join(parts)

    def pieces(self, start: int, stop: int) -> Iterator[memoryview]:
        """Yield the bytes from `start` to `stop` in pieces of at most 1 MiB, each good until the next."""
        if self.base is not None and stop <= self.base_bytes and not self.is_changed(start, stop):
            yield from self.base.chunks(start, stop)
            return
        for at in range(start, stop, PIECE_BYTES):
            yield memoryview(self.read(at, min(PIECE_BYTES, stop - at)))

    def write(self, offset: int, data: Buffer) -> None:
        """Put `data` at `offset`; what lies between the end and a later offset reads as zeros.

        Raises ContentTooLarge, StorageFull, StorageFailed.
        """
        view = memoryview(data).cast("B")
        if offset + len(view) > CONTENT_BYTES_MAX:
            raise ContentTooLarge(limit_bytes=CONTENT_BYTES_MAX)
        with self._guard:
            end = offset + len(view)
            while view:
                block, within = divmod(offset, BLOCK_BYTES)
                taken = min(BLOCK_BYTES - within, len(view))
                if taken == BLOCK_BYTES:
                    self._file().write(block, view[:taken])
                    self._dirty.pop(block, None)
                else:
                    self._loaded(block)[within : within + taken] = view[:taken]
                view, offset = view[taken:], offset + taken
            self._state.size = max(self.size, end)

    def truncate(self, size: int) -> None:
        """Cut the content off at `size`, or let it grow to it with zeros."""
        if size > CONTENT_BYTES_MAX:
            raise ContentTooLarge(limit_bytes=CONTENT_BYTES_MAX)
        with self._guard:
            state = self._state
            if size < state.size:
                self._cut(size)
                state.base_bytes = min(state.base_bytes, size)
            state.size = size

    def sync(self) -> None:
        """Make the draft as it stands durable; `Vault.draft` will resume it so. Raises StorageFull, StorageFailed."""
        with self._guard:
            blocks = self._file()
            for block in list(self._dirty):
                self._put_away(block)
            self._sync_state(blocks)
            if len(self._state.cuts) > _CUTS_MAX:
                blocks.clear_free()
                self._state.cuts = ()
                self._sync_state(blocks)

    def take(self, source: bytes) -> None:
        """Hold, as a new draft, what another over the same base did when it was last synced; it stays as it is.

        Raises DraftInUse if it was synced meanwhile, UnknownDraft. This one is gone then.
        """
        blocks, state = _Blocks.viewed(self._store, self._sealing, source)
        try:
            if state.base != self._state.base:
                raise UnknownDraft
            for block in sorted(blocks.slots):
                self._file().write(block, blocks.read(block))
            if not blocks.is_as(state):
                raise DraftInUse
            self._state = replace(self._state, size=state.size, base_bytes=state.base_bytes)
        except BaseException as error:
            self.discard()
            if isinstance(error, DamagedContent) and not blocks.is_as(state):
                raise DraftInUse from None
            raise
        finally:
            blocks.file.close()

    def splice(self, known: Known, chunker: int | None = None) -> Sealed:
        """Return the draft as a content, sealed. It has yet to be synced and committed; the draft stays.

        Only what was changed, and what surrounds it until chunks meet those of the base again, is cut and sealed
        anew; the result equals that of a `ContentWriter` given all bytes with the same chunker. All is read once, for
        the digest. `chunker` is that of the version before, if that is not the base.
        """
        with self._guard:
            return splice(self, self._sealing, self._shelf, known, chunker)

    def discard(self) -> None:
        """Remove the draft for good. Harmless when repeated."""
        with self._guard:
            self.close()
            self._store.remove_draft(self._sealing.space, self.id)

    def close(self) -> None:
        """Let go of the draft. What was synced can be resumed. Harmless when repeated."""
        with self._guard:
            self._dirty.clear()
            if self._blocks is not None:
                self._blocks.file.close()
                self._blocks = None

    def _file(self) -> _Blocks:
        if self._blocks is None:
            try:
                self._blocks = _Blocks.create(self._store, self._sealing, self.id)
            except FileExistsError:
                # Of a draft that was never synced, and so never was.
                self._store.remove_draft(self._sealing.space, self.id)
                self._blocks = _Blocks.create(self._store, self._sealing, self.id)
        return self._blocks

    def _changed(self, block: int) -> bytearray | None:
        found = self._dirty.get(block)
        if found is None and self._blocks is not None and block in self._blocks.slots:
            return self._blocks.read(block)
        return found

    def _from_base(self, start: int, stop: int) -> bytes:
        shown = min(stop, self.base_bytes)
        if self.base is None or start >= shown:
            return bytes(stop - start)
        return self.base.read(start, shown - start) + bytes(stop - shown)

    def _loaded(self, block: int) -> bytearray:
        """Return a block in memory, to be changed."""
        found = self._dirty.get(block)
        if found is None:
            found = self._changed(block)
            if found is None:
                start = block * BLOCK_BYTES
                found = bytearray(self._from_base(start, start + BLOCK_BYTES))
            while len(self._dirty) >= _BLOCKS_MAX:
                self._put_away(next(iter(self._dirty)))
            self._dirty[block] = found
        return found

    def _put_away(self, block: int) -> None:
        self._file().write(block, self._dirty[block])
        del self._dirty[block]

    def _cut(self, size: int) -> None:
        block, within = divmod(size, BLOCK_BYTES)
        if within and self._changed(block) is not None:
            self._loaded(block)[within:] = bytes(BLOCK_BYTES - within)
        first = block + 1 if within else block
        for gone in [held for held in self._dirty if held >= first]:
            del self._dirty[gone]
        if self._blocks is None:
            return
        for gone in [held for held in self._blocks.slots if held >= first]:
            self._blocks.drop(gone)
        kept = tuple(cut for cut in self._state.cuts if cut[1] < size)
        self._state.cuts = (*kept, (self._blocks.written, first * BLOCK_BYTES))

    def _sync_state(self, blocks: _Blocks) -> None:
        self._state.written = blocks.written
        state = replace(self._state, number=self._state.number + 1, held=blocks.held)
        blocks.sync(state)
        self._state = state
