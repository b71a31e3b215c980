"""A document being written, in whatever order the bytes come. It becomes one version at its commit.

Bytes that come in their order are cut and sealed as they come, as in an upload. With the first that do not, what was
sealed becomes the base of a draft, which takes bytes at any place and is cut anew only around what was changed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from config.ids import new_id
from providers.catalogue import held
from providers.catalogue.contents import ChunkIndex
from providers.catalogue.held import require_own
from providers.drive.appending import grown
from providers.drive.beginnings import Beginning, beginning, slot_of
from providers.drive.checkpoints import Checkpoints
from providers.drive.kept import Holding, Slot, drop, drop_abandoned_of, end, keep, unname
from providers.drive.reading import Reader, note_reading, reader_of, require_still_allowed
from providers.drive.session import Session
from providers.drive.taking_over import resumed, take_over
from providers.drive.uploads import Arrival, Copied, Outgrown, Plan, Upheld, content_of, finished, writer_for
from providers.drive.written import Written
from providers.errors import MostlyUnwritten, NotFound, QuotaExceeded, TargetExists, UploadIncomplete, UploadTakenOver
from providers.model import Conditions, Item
from providers.paths import Path
from providers.vault.vault import HELD_BYTES, ContentReader, ContentWriter, Draft, Location, Sealed, chunker_of

_COPY_BYTES = 1 << 20
#: So many bytes are copied from another document before somebody else has a turn.
COPY_BYTES_MAX = 64 << 20
#: Zeros that nobody wrote, and that come of growing a document, cost nothing to ask for and much to store.
ZEROS_BYTES_MAX = 1 << 30
#: What is kept may be resumed from elsewhere. Who goes on writing to it here is told after so long at most.
OWN_SECONDS = 0.5


class Edit:
    """What is written of one document. Nobody else sees any of it before `commit` returns.

    One thread at a time. `item` is what stood there when it was begun, None if nothing did.
    """

    def __init__(
        self, session: Session, begun: Beginning, draft: Draft | None, *, is_changed: bool, is_own: bool = True
    ) -> None:
        self.item = begun.item
        self.is_changed = is_changed
        self._session = session
        self._begun = begun
        self._draft = draft
        self._writer: ContentWriter | None = None
        self._streamed = 0
        #: How much was written to the draft since it was last made durable.
        self._drafted = 0
        self._written = Written(self.size)
        #: Bytes that stood there, or were written, some of them more than once.
        self._given = self.size
        #: What was sealed before the draft took over, and whether the catalogue knows it.
        self._lead: Sealed | None = None
        self._is_published = False
        #: The version that the lead is a copy of, and that may be erased until this is one itself.
        self._copied: Copied | None = None
        #: How much was streamed, and how many records the catalogue knew, when it was last made durable.
        self._safe_bytes = self._safe_records = 0
        self._checkpoints = Checkpoints()
        self._is_nameless = False
        #: A part of the stream was lost.
        self._is_torn = False
        #: Under what it is kept from its first time on, and whether anything is.
        self._upload = new_id() if draft is None or begun.kept is None else begun.kept.upload
        self._holds = draft is not None and begun.kept is not None
        #: How much of it the catalogue knows, and counts.
        self._published_bytes = 0 if draft is None or begun.kept is None else begun.kept.sealed_bytes
        #: The interrupted upload that this one resumes, or supersedes once it is committed.
        self._kept = None if begun.kept is None else begun.kept.id
        #: Whether what is kept is this one's alone to go on with: who only looks takes it over before they write.
        self._is_own = is_own
        self._own_until = 0.0
        #: Whether somebody else has resumed it since, or dropped it.
        self._is_taken = False
        self._owes_read = draft is not None and begun.standing is not None and draft.base_bytes > 0
        #: As which the reading of what the document held was noted.
        self._reading: Reader | None = None
        #: Where that begins which was appended, as long as nothing else was changed; None: something was.
        self._appended_at = None if self._holds or (is_changed and self.item is not None) else self.size

    @property
    def is_new(self) -> bool:
        """Whether nothing stood there when it was begun."""
        return self.item is None

    @property
    def folder(self) -> bytes:
        """The folder that it is written in."""
        return self._begun.found.parent.node.id

    @property
    def size(self) -> int:
        """Bytes as they stand now."""
        return self._draft.size if self._draft is not None else self._streamed

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes, fewer past the end. Reading what the document held is a read, with its event."""
        if self._owes_read and self.item is not None and self._begun.found.node is not None:
            self._reading = note_reading(self._session, self.item, self._begun.found.node.version_id)
            self._owes_read = False
        elif self._reading is not None:
            require_still_allowed(self._session, self._reading)
        return self._as_draft().read(offset, length) if self.size else b""

    def is_light(self, offset: int, length: int) -> bool:
        """Whether to write there is but to copy bytes within memory, as long as the document is small."""
        return self._is_next(offset) and offset + length <= HELD_BYTES

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Put bytes there; a gap before them reads as zeros. Raises QuotaExceeded, UploadTakenOver."""
        self._appended_at = None
        self._put(offset, data)

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Put bytes at the end. Of who does nothing else they come behind what others have appended meanwhile."""
        self._put(self.size, data)

    def _put(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self._require_own()
        self._require_room(offset + len(data))
        self.is_changed = True
        self._given += len(data)
        self._written.add(offset, offset + len(data))
        if self._is_next(offset):
            self._stream(data)
            return
        self._as_draft().write(offset, data)
        self._drafted += len(data)
        if self._written.whole >= self.size and self._is_due(self._drafted):
            self._keep()
            self._drafted = 0

    def truncate(self, size: int) -> None:
        """Cut off at `size`, or grow to it with zeros. Raises QuotaExceeded."""
        if size == self.size:
            return
        self._require_own()
        self._require_room(size)
        self.is_changed, self._appended_at = True, None
        self._written.cut(size)
        if size == 0 and self._draft is None:
            self._forget_stream()
        else:
            self._as_draft().truncate(size)

    def copy_from(self, reader: Reader, start: int, length: int, at: int) -> int:
        """Put bytes of another document there, at most COPY_BYTES_MAX; return how many.

        The whole of one into nothing is no work at all, however much it is.
        """
        self._appended_at = None
        whole = start == 0 and at == 0 and length >= reader.item.size > 0
        if whole and self.size == 0 and self._draft is None and reader.item.space == self._begun.space:
            self._require_room(reader.item.size)
            self._lead = content_of(self._session, self._begun.space, reader.item)
            if self._lead is not None:
                self._copied = Copied(reader.item.id, reader.item.version)
                self._is_published, self._streamed, self.is_changed = True, reader.item.size, True
                self._written.add(0, reader.item.size)
                self._given += reader.item.size
                return reader.item.size
        stop = min(start + min(length, COPY_BYTES_MAX), reader.item.size)
        copied = 0
        while start + copied < stop:
            data = reader.read(start + copied, min(_COPY_BYTES, stop - start - copied))
            self.write(at + copied, data)
            copied += len(data)
        return copied

    def sync(self) -> None:
        """Make what was written durable, for its maker to find. It stays unseen by others."""
        if self._is_nameless:
            self._as_draft().sync()
        elif self.is_changed:
            self._keep()

    def commit(self, *, modified: int | None = None, written: int | None = None) -> tuple[Item, bool] | None:
        """Make it the newest version; return the item, and whether it is new. None if nothing was changed.

        `modified` is shown as its time of modification, in microseconds, or else when it was last `written` to. If it
        is refused, the edit may be kept.
        """
        if not self.is_changed:
            self.discard()
            return None
        if self._is_torn or self._is_taken:
            raise UploadTakenOver if self._is_taken else UploadIncomplete
        if self.size - self._given > ZEROS_BYTES_MAX:
            raise MostlyUnwritten(limit_bytes=ZEROS_BYTES_MAX)
        begun, plan = self._begun, None
        if self._writer is not None and self._streamed:
            sealed, plan = finished(self._session, self._writer, begun.found, self._streamed)
            self._lead, self._writer = self._rest_of(sealed), None
        sealed = self._sealed()
        if self._holds:
            drop_abandoned_of(self._session.storage, begun.space)
        try:
            made = self._arrive(sealed, plan, modified, written)
        except BaseException:
            sealed.let_go(but=self._lead)
            raise
        self.discard()
        return made

    def keep(self, *, is_cut_off: bool = False) -> None:
        """Let go without a version: what was written is its maker's, for 7 days, wherever nothing else has its name.

        Whoever resumes a document that is new goes on at its end. So what lies behind a gap is let go, and so is what
        was cut off of a document that stands, unless it was made durable: nobody would look for half of it.
        """
        size = min(self.size, self._written.whole) if self.is_new else self.size
        is_half = is_cut_off and not self.is_new and self._kept is None
        if not self.is_changed or self._is_torn or self._is_taken or not size or is_half:
            self.discard()
            return
        try:
            if size < self.size:
                self._as_draft().truncate(size)
            self._keep()
        except UploadTakenOver:  # it goes on elsewhere
            self.discard()
            return
        except BaseException:
            self.discard()
            raise
        self._as_draft().close()
        self._draft = None

    def discard(self) -> None:
        """Forget what was written. Harmless when repeated, and after `commit` or `keep`."""
        storage, space = self._session.storage, self._begun.space
        self._forget_stream()
        draft, self._draft = self._draft, None
        if self.is_changed or self._is_nameless:
            if self._holds:
                end(storage, space, self._upload)
                self._holds = False
            if self._kept is not None:
                drop(storage, space, self._kept, self._kept_as)
                self._kept = None
        if draft is not None and draft.id == self._kept:
            draft.close()
        elif draft is not None:
            draft.discard()

    def unname(self) -> None:
        """The name goes, and what is written goes on without it, until it is discarded."""
        self._is_nameless = True
        if self._kept is not None:
            unname(self._session.storage, self._kept, self._kept_as)

    # --- within

    def _arrive(
        self, sealed: Sealed, plan: Plan | None, modified: int | None, written: int | None
    ) -> tuple[Item, bool]:
        """Let what was written arrive; behind what stands there by now, if it was appended to what that begins with."""

        def arrival(*, appends: bool) -> Arrival:
            begun, kept = self._begun, self._kept if self._holds else None
            return Arrival(
                self._session, sealed, begun.conditions, modified, begun.found, started=begun.at, written=written,
                plan=plan, copied=self._copied, upload=None if kept is None else Upheld(self._upload, kept),
                is_held=True, appends=appends,
            )  # fmt: skip

        start = self._appended_at
        if start is None:
            return arrival(appends=False).commit()
        try:
            return arrival(appends=True).commit()
        except Outgrown as outgrown:
            now = grown(self._session, outgrown.path, self._begun)
        if now is None:
            return arrival(appends=False).commit()
        made = self._append_to(now, start, modified, written)
        sealed.let_go(but=self._lead)
        return made

    def _append_to(self, now: Beginning, at: int, modified: int | None, written: int | None) -> tuple[Item, bool]:
        """Let what was written from a place on arrive behind what stands by now."""
        assert now.item is not None
        behind, own = over(self._session, now), self._as_draft()
        try:
            while data := own.read(at, _COPY_BYTES):
                behind.append(data)
                at += len(data)
            made = behind.commit(modified=modified, written=written)
        except BaseException:
            behind.discard()
            raise
        return made or (now.item, False)

    def _is_next(self, offset: int) -> bool:
        """Whether what is written there goes on where the stream ends."""
        return self._draft is None and self._lead is None and offset == self._streamed

    def _stream(self, data: bytes | bytearray | memoryview) -> None:
        if self._writer is None:
            begun = self._begun
            self._writer = writer_for(self._session, begun.space, None, begun.previous, begun.is_apart)
        try:
            self._writer.write(data)
            self._streamed += len(data)
            is_due = self._is_due(self._streamed - self._safe_bytes)
            sealed = self._writer.so_far() if is_due else None
        except BaseException:
            self._is_torn = True
            self._forget_stream()
            raise
        if sealed is not None:
            self._make_safe(sealed)

    def _is_due(self, held: int) -> bool:
        """Whether so many bytes that could be lost are to be made durable now, for their maker to find."""
        return self.is_new and not self._is_nameless and self._checkpoints.is_due(held)

    def _make_safe(self, sealed: Sealed) -> None:
        """Make what was streamed so far durable, for its maker to find should this process be killed."""
        vault, space = self._session.storage.vault, self._begun.space
        # What was held before stands as long as its row does.
        fresh = replace(self._rest_of(sealed), relied=sealed.relied)
        total = self._published_bytes + fresh.sealed_bytes
        draft = vault.draft(space, new_id(), vault.reader(space, sealed.content, self._index.locate))
        try:
            keep(self._session, self._slot, draft, self._holding(fresh, total))
        finally:
            draft.close()
        self._kept, self._published_bytes, self._holds = draft.id, total, True
        self._safe_bytes, self._safe_records = self._streamed, len(sealed.records)

    def _holding(self, fresh: Sealed | None, total: int) -> Holding:
        return Holding(self._upload, fresh, total, self._kept if self._holds else None)

    def _rest_of(self, sealed: Sealed) -> Sealed:
        """Return what was streamed without the records that are known already: on those it relies."""
        known, rest = sealed.records[: self._safe_records], sealed.records[self._safe_records :]
        relied = (*sealed.relied, *(record.cid for record in known))
        return replace(sealed, records=rest, relied=relied, sealed_bytes=sum(record.length for record in rest))

    @property
    def _slot(self) -> Slot:
        return slot_of(self._begun.found)

    @property
    def _kept_as(self) -> bytes:
        """Under which number what is kept is found, if it is this one's, or was as this began."""
        kept = self._begun.kept
        return self._upload if self._holds or kept is None else kept.upload

    def _require_own(self) -> None:
        """See, now and then, that what is kept of this is its own still. Raises UploadTakenOver, Locked."""
        if not self._holds:
            return
        now, kept = time.monotonic(), self._begun.kept
        if now < self._own_until and not self._is_taken:
            return
        if not self._is_own and kept is not None:
            self._upload = take_over(self._session.storage, self._slot, kept, self._as_draft()).upload
            self._is_own = True
        self._own_until, draft = now + OWN_SECONDS, self._kept
        if draft is not None and not self._is_taken:
            try:
                with self._session.storage.database.ask() as connection:
                    require_own(connection, self._upload, draft)
            except UploadTakenOver:
                self._is_taken = True
        if self._is_taken:
            raise UploadTakenOver

    def _require_room(self, size: int) -> None:
        room = self._begun.room
        if room is not None and size > room and size > self.size:
            raise QuotaExceeded

    def _forget_stream(self) -> None:
        if self._writer is not None:
            self._writer.discard()
            self._writer = None
        if self._lead is not None:
            self._lead.let_go()
        self._streamed = self._safe_bytes = self._safe_records = 0
        self._lead = self._copied = None

    def _settle(self) -> None:
        """End the stream: what came so far is a content of its own."""
        if self._writer is not None:
            self._lead = self._rest_of(self._writer.finish())
            self._writer = None

    def _as_draft(self) -> Draft:
        if self._draft is None:
            self._settle()
            lead, vault = self._lead, self._session.storage.vault
            base = None if lead is None else vault.reader(self._begun.space, lead.content, self._locate)
            self._draft = vault.draft(self._begun.space, new_id(), base)
        return self._draft

    def _locate(self, cids: list[bytes]) -> Mapping[bytes, Location]:
        """Find what this edit brought, which the catalogue does not know yet, and all else."""
        own = {record.cid: record for record in (() if self._lead is None else self._lead.records)}
        found = {cid: Location(*own[cid][1:]) for cid in cids if cid in own}
        others = [cid for cid in cids if cid not in own]
        return {**self._index.locate(others), **found} if others else found

    def _known(self, cids: list[bytes]) -> set[bytes]:
        own = {record.cid for record in (() if self._lead is None else self._lead.records)}
        if self._holds:
            with self._session.storage.database.ask() as connection:
                own |= {record.cid for record in held.own(connection, self._begun.space, self._upload, cids)}
        return self._index.known(cids) | own.intersection(cids)

    @property
    def _index(self) -> ChunkIndex:
        return ChunkIndex(self._session.storage.database, self._begun.space, self._begun.is_apart)

    def _sealed(self) -> Sealed:
        """Return all that was written as one content, with all it brings to the vault."""
        if self._draft is None:
            self._settle()
            if self._lead is not None:
                return self._lead
            return writer_for(self._session, self._begun.space, 0, self._begun.previous).finish()
        previous = self._begun.previous
        sealed = self._draft.splice(self._known, None if previous is None else chunker_of(previous))
        lead = self._lead
        if lead is None or self._is_published:
            return sealed
        own = {record.cid for record in lead.records}
        return replace(
            sealed,
            records=(*lead.records, *sealed.records),
            relied=(*lead.relied, *(cid for cid in sealed.relied if cid not in own)),
            sealed_bytes=lead.sealed_bytes + sealed.sealed_bytes,
            needs=lead.needs | sealed.needs,
            appended=(*lead.appended, *sealed.appended),
        )

    def _keep(self) -> None:
        draft = self._as_draft()
        fresh = None if self._is_published else self._lead
        total = self._published_bytes + (0 if fresh is None else fresh.sealed_bytes)
        keep(self._session, self._slot, draft, self._holding(fresh, total), self._copied)
        self._holds = True
        self._kept, self._is_published, self._published_bytes = draft.id, True, total


def edit(
    session: Session, path: Path, *, create: bool, truncate: bool, conditions: Conditions, writes: bool = True
) -> Edit:
    """Begin to write what stands at `path`, or resume an interrupted upload there; with `create`, a new document.

    Raises NotFound where there is neither, and what `put` would refuse.
    """
    with session.look() as look:
        begun = beginning(look, path, conditions)
    kept = begun.kept
    if begun.item is None and kept is None and not create:
        raise NotFound
    if kept is not None and conditions.if_none_match is not None:
        raise TargetExists
    storage = session.storage
    if begun.item is None:
        draft = None
        if kept is not None and not truncate:
            found = resumed(storage, slot_of(begun.found), kept, writes=writes)
            if found is not None:
                kept, draft = found
                # What is held counts already.
                room = None if begun.room is None else begun.room + kept.sealed_bytes
                begun = replace(begun, kept=kept, room=room)
        # Who only looks into an interrupted upload changes nothing.
        return Edit(session, begun, draft, is_changed=create, is_own=writes or draft is None)
    if truncate or begun.standing is None:
        # Cutting a document to nothing is a change even if no byte follows, and of its time if it held none before.
        return Edit(session, begun, None, is_changed=truncate)
    return over(session, begun)


def over(session: Session, begun: Beginning) -> Edit:
    """Begin to write over the content that stands."""
    assert begun.standing is not None
    base: ContentReader = reader_of(session, begun.space, begun.standing)
    return Edit(session, begun, session.storage.vault.draft(begun.space, new_id(), base), is_changed=False)
