"""The vault: puts contents into packs, durably once synced, and reads ranges of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from config.database import Syncable
from providers.vault.appended import Appended, Extent
from providers.vault.aside import Aside
from providers.vault.chunker import chunker_for
from providers.vault.drafts import Draft
from providers.vault.errors import DraftInUse
from providers.vault.garbage import Doomed, Leftover, cids_of, copy_kept, leftover
from providers.vault.manifests import chunker_of
from providers.vault.memory import MemoryStore
from providers.vault.opened import Opened
from providers.vault.reader import ContentReader, Leaves, Locate, Location
from providers.vault.records import Entry, Kind, PackScan
from providers.vault.scrub import Damage, rebuild, scrub
from providers.vault.sealing import Sealing, SpaceKeys
from providers.vault.shelf import Shelf
from providers.vault.store import Claim, PackWriter, Store
from providers.vault.trails import Abandoned
from providers.vault.versions import VersionRecord, pack_version, version
from providers.vault.writer import HELD_BYTES, Assembly, ChunkRecord, ContentWriter, Known, Sealed

__all__ = [
    "HELD_BYTES",
    "Appended",
    "ChunkRecord",
    "ContentReader",
    "ContentWriter",
    "Damage",
    "Doomed",
    "Draft",
    "Entry",
    "Extent",
    "Leftover",
    "Location",
    "Sealed",
    "Vault",
    "VersionRecord",
    "chunker_of",
]

#: How much is appended at once where many records are.
_APPENDED_BYTES: Final = 1 << 20
#: Spaces whose derived keys are kept at hand.
_SPACES_MAX: Final = 1024


class Keyring(Protocol):
    """Hands out the keys of spaces."""

    def space(self, space: bytes) -> SpaceKeys:
        """Return the keys of a space. Raises if they were destroyed."""


class Vault:
    """Contents of all spaces, sealed in a store. Safe to use from many threads."""

    def __init__(self, store: Store, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring
        self._shelf = Shelf(store)
        self._aside = Aside()
        self._leaves = Leaves()
        self._opened = Opened()
        self._guard = threading.Lock()
        self._sealings: OrderedDict[bytes, Sealing] = OrderedDict()

    @classmethod
    def in_memory(cls, keyring: Keyring) -> Vault:
        """Return a vault that is gone with the process."""
        return cls(MemoryStore(), keyring)

    def writer(self, space: bytes, *, declared: int | None, chunker: int | None = None, known: Known) -> ContentWriter:
        """Return a writer of one content.

        Args:
            space: where it belongs: 16 bytes.
            declared: how many bytes will come, if a client said so. A hint: what comes is what counts.
            chunker: that of the document's version before (`chunker_of`), kept while it suits the size.
            known: returns which of these cids the catalogue has and will keep; asked about once a MiB.
        """
        sealing = self._sealing(space)
        chosen = chunker_for(declared, chunker)
        return ContentWriter(Assembly(sealing, self._shelf, known, chosen), sealing, self._aside, chosen, declared)

    def reader(self, space: bytes, content: bytes, locate: Locate, *, anew: bool = False) -> ContentReader:
        """Return a reader of the content that `Sealed.content` refers to. Raises DamagedContent.

        `locate` returns where each of up to 1,024 cids lies; cids it leaves out are missing. What it said of a small
        content is remembered, and so is a small content itself; `anew` asks, and reads, all the same.
        """
        leaves, opened = (None, None) if anew else (self._leaves, self._opened)
        return ContentReader(self._store, self._sealing(space), content, locate, self._aside, leaves, opened)

    def remember(self, space: bytes, sealed: Sealed) -> None:
        """Remember where the one chunk of a content lies that was committed: mostly it is read soon."""
        self._leaves.remember(space, sealed.content, {r.cid: Location(*r[1:]) for r in sealed.records})

    def version_record(self, space: bytes, fields: VersionRecord) -> tuple[ChunkRecord, frozenset[Syncable]]:
        """Append the record that a version leaves of itself; return where it lies and what must be synced."""
        sealing = self._sealing(space)
        plain = pack_version(fields)
        cid = sealing.cid(Kind.VERSION, plain)
        record = sealing.seal(Kind.VERSION, cid, plain)
        pack, offset = self._shelf.append(space, record)
        return ChunkRecord(cid, pack.id, offset, len(record)), frozenset((pack,))

    def version_records(
        self, space: bytes, many: Sequence[VersionRecord]
    ) -> tuple[list[ChunkRecord], frozenset[Syncable]]:
        """Append the records of many versions, a MiB at a time; return where they lie and what must be synced."""
        sealing, found, needs = self._sealing(space), [], set()
        waiting: list[tuple[bytes, bytes]] = []

        def append() -> None:
            pack, offset = self._shelf.append(space, b"".join(record for _, record in waiting))
            needs.add(pack)
            for cid, record in waiting:
                found.append(ChunkRecord(cid, pack.id, offset, len(record)))
                offset += len(record)
            waiting.clear()

        size = 0
        for fields in many:
            plain = pack_version(fields)
            cid = sealing.cid(Kind.VERSION, plain)
            waiting.append((cid, bytes(sealing.seal(Kind.VERSION, cid, plain))))
            size += len(waiting[-1][1])
            if size >= _APPENDED_BYTES:
                append()
                size = 0
        if waiting:
            append()
        return found, frozenset(needs)

    def draft(self, space: bytes, draft: bytes, base: ContentReader | None) -> Draft:
        """Return the draft with this id (16 bytes): resumed as it was last synced, or new, over `base`.

        Raises UnknownDraft if it was begun over another base.
        """
        return Draft(self._store, self._sealing(space), self._shelf, draft, base)

    def draft_copy(self, space: bytes, source: bytes, draft: bytes, base: ContentReader | None) -> Draft:
        """Return a new draft that holds what another did when it was last synced, also while somebody has that open.

        `base` is what that was begun over. Raises DraftInUse if it was synced meanwhile, UnknownDraft.
        """
        made = Draft(self._store, self._sealing(space), self._shelf, draft, base)
        made.take(source)
        return made

    def draft_base_seen(self, space: bytes, draft: bytes) -> bytes | None:
        """Return what `draft_base` does, also of a draft that somebody has open."""
        return Draft.peeked(self._store, self._sealing(space), draft)

    def draft_base(self, space: bytes, draft: bytes) -> bytes | None:
        """Return the content a synced draft was begun over (empty: none), or None if there is no such draft."""
        return Draft.base_of(self._store, self._sealing(space), draft)

    def drafts(self, space: bytes) -> Iterable[bytes]:
        """Return the ids of the space's drafts that outlive this process."""
        return self._store.drafts(space)

    def has_draft(self, space: bytes, draft: bytes) -> bool:
        """Return whether there is a draft of this id, whole or not."""
        try:
            self._store.peek_draft(space, draft, 1)
        except FileNotFoundError:
            return False
        return True

    def is_open(self, space: bytes, draft: bytes) -> bool:
        """Return whether somebody has a draft open."""
        try:
            self._store.open_draft(space, draft).close()
        except FileNotFoundError:
            return False
        except DraftInUse:
            return True
        return False

    def remove_draft(self, space: bytes, draft: bytes) -> None:
        """Remove a draft that nobody has open."""
        self._store.remove_draft(space, draft)

    def remove_abandoned(self, space: bytes, draft: bytes, is_known: Callable[[], bool]) -> bool:
        """Remove a draft that nobody has open, unless `is_known` while nobody can open it; return whether it was."""
        try:
            file = self._store.open_draft(space, draft)
        except (FileNotFoundError, DraftInUse):
            return False
        try:
            if is_known():
                return False
            self._store.remove_draft(space, draft)
            return True
        finally:
            file.close()

    def draft_bases(self, space: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield each of the space's drafts with the content it was begun over, also of those that somebody has open."""
        sealing = self._sealing(space)
        for draft in self._store.drafts(space):
            base = Draft.peeked(self._store, sealing, draft)
            if base:
                yield draft, base

    def cids_of(self, space: bytes, content: bytes, locate: Locate, walked: set[bytes]) -> Iterator[bytes]:
        """Yield the cids of all records that a content consists of. Raises DamagedContent.

        Of manifests among `walked` nothing below is yielded again; those met are added.
        """
        return cids_of(self._store, self._sealing(space), content, locate, walked)

    def packs(self, space: bytes) -> list[int]:
        """Return the ids of all packs of a space."""
        return [pack for pack, _ in self._store.packs(space)]

    def leftover(self, space: bytes, pack: int, doomed: Doomed) -> Leftover | None:
        """Return what of a pack goes and what stays, wherever the catalogue says it lies; None if nothing goes."""
        return leftover(self._store, self._sealing(space), pack, doomed)

    def claim(self, space: bytes, pack: int) -> Claim | None:
        """Claim a pack, to write it anew; None while it is in use, and then its writers are asked to let go of it."""
        return self._store.claim(space, pack)

    def let_go(self) -> list[Extent]:
        """Take what writers have let go since this was asked last: records that nothing was made of, nor ever will be.

        Their packs cannot be claimed while what is returned is held.
        """
        found = []
        while self._shelf.let_go:
            found.append(self._shelf.let_go.popleft())
        return found

    def abandoned_trails(self, space: bytes) -> Iterator[Abandoned]:
        """Yield what uploads appended whose process was killed. Remove each once what it tells of is written down."""
        return self._store.abandoned_trails(space)

    def entries(self, space: bytes, pack: int) -> PackScan:
        """Return what records a pack holds, by walking through it. Raises FileNotFoundError, DamagedContent."""
        return self._store.scan(space, pack, trust_footer=False)

    def version_at(self, space: bytes, pack: int, entry: Entry) -> VersionRecord:
        """Return what the record of a version says. Raises DamagedContent."""
        record = self._store.read(space, pack, entry.offset, entry.length)
        return version(self._sealing(space).open(record, Kind.VERSION, entry.cid))

    def void(self, space: bytes, pack: int, ranges: Sequence[tuple[int, int]]) -> None:
        """Give back the room of ranges (offset, length) of a claimed pack, in place. Raises GapsUnsupported."""
        self._store.void(space, pack, ranges)

    def open_pack(self, space: bytes) -> PackWriter:
        """Begin a pack beside those that uploads go to. Close it."""
        return self._store.open_pack(space)

    def copy_kept(self, space: bytes, found: Leftover, goal: PackWriter) -> dict[int, int]:
        """Append what stays of a pack to another; return the new offset of each record by its old one."""
        return copy_kept(self._store, space, found, goal)

    def remove_pack(self, space: bytes, pack: int) -> None:
        """Remove a pack for good. Who has it open reads on."""
        self._store.remove_pack(space, pack)

    def retire_pack(self, space: bytes, pack: int) -> None:
        """Remove a pack that the catalogue referred to until now. Raises GapsHeldOff while a backup is made."""
        self._store.retire_pack(space, pack)

    def scrub(self, space: bytes) -> Iterator[Damage]:
        """Yield all that is damaged in the packs of a space. Reads everything, changes nothing."""
        return scrub(self._store, self._sealing(space))

    def rebuild(self, space: bytes) -> Iterator[ChunkRecord | VersionRecord]:
        """Yield where every chunk and manifest lies and every version, from packs alone."""
        return rebuild(self._store, self._sealing(space))

    def destroy_space(self, space: bytes) -> None:
        """Remove all that is stored of a space. Its key should be destroyed first."""
        self._shelf.forget(space)
        self._opened.forget(space)
        with self._guard:
            self._sealings.pop(space, None)
        self._store.destroy_space(space)

    def tick(self) -> None:
        """End packs that have been idle, and forget what was read a while ago. Call now and then."""
        self._shelf.close_idle()
        self._opened.sweep()

    def close(self) -> None:
        """End all packs. Nothing can be written afterwards."""
        self._shelf.close()
        self._aside.close()

    def _sealing(self, space: bytes) -> Sealing:
        # The keyring is asked each time, so that a destroyed key is gone at once.
        keys = self._keyring.space(space)
        with self._guard:
            found = self._sealings.get(space)
            if found is not None and found.keys is keys:
                self._sealings.move_to_end(space)
                return found
        made = Sealing(space, keys)
        self._opened.forget(space)
        with self._guard:
            self._sealings[space] = made
            while len(self._sealings) > _SPACES_MAX:
                self._sealings.popitem(last=False)
        return made
