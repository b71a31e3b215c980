"""An interrupted upload that is gone on with has one writer: whoever resumed it last.

A connection that broke is often given up long after its client has come again. So who resumes takes the upload over at
once, also from an opening of their own that is there still: in one transaction it gets another number, under which
alone it is kept or becomes a version from then on. Where its draft is open, they get a copy as it was last made
durable; what came there after that was never promised to anybody.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from config.ids import new_id
from providers import tables
from providers.audit.log import hold
from providers.catalogue import held
from providers.catalogue.contents import ChunkIndex
from providers.drive.kept import Kept, Slot
from providers.drive.storage import Storage
from providers.errors import Locked
from providers.vault.errors import DraftInUse
from providers.vault.vault import ContentReader, Draft

_D = tables.draft.c
_ROW = select(tables.draft).where(_D.id == bindparam("id"), _D.upload == bindparam("upload"))
_RENUMBER = update(tables.draft).where(_D.id == bindparam("b_id")).values(upload=bindparam("b_upload"))
_DROP = delete(tables.draft).where(_D.id == bindparam("b_id"))


def resumed(storage: Storage, slot: Slot, kept: Kept, *, writes: bool) -> tuple[Kept, Draft] | None:
    """Open an interrupted upload where it stopped, taken over if its maker `writes`; None if its bytes are gone.

    Raises Locked where somebody has it open and this one only looks, or goes on with it at this very moment.
    """
    space, vault = slot.space, storage.vault
    try:
        content = vault.draft_base(space, kept.id)
        if content is None:
            return None
        draft = vault.draft(space, kept.id, _base(storage, space, content))
    except DraftInUse:
        if not writes:
            raise Locked from None
        found = _copied(storage, space, kept)
        if found is None:
            return None
        draft = found
    if not writes:
        return kept, draft
    try:
        return take_over(storage, slot, kept, draft), draft
    except BaseException:
        if draft.id == kept.id:
            draft.close()
        else:
            draft.discard()
        raise


def take_over(storage: Storage, slot: Slot, kept: Kept, draft: Draft) -> Kept:
    """Let an upload be that of this draft alone, from now on. Raises Locked if it was gone on with since it was found.

    The draft is its own, or a copy of it, which takes its place.
    """
    space, mine = slot.space, replace(kept, id=draft.id, upload=new_id())
    if mine.id != kept.id:
        draft.sync()

    def work(connection: Connection) -> bool:
        hold(connection, [space])
        row = connection.execute(_ROW, {"id": kept.id, "upload": kept.upload}).first()
        if row is None or row.modified != kept.modified:
            return False
        held.pass_on(connection, space, kept.upload, mine.upload)
        if mine.id == kept.id:
            connection.execute(_RENUMBER, {"b_id": mine.id, "b_upload": mine.upload})
            return True
        connection.execute(_DROP, {"b_id": kept.id})
        name = storage.keyring.space(space).names.seal(b"draft" + mine.id, slot.name.encode("utf-8"))
        changed = {"id": mine.id, "upload": mine.upload, "name": name, "size": draft.size}
        connection.execute(insert(tables.draft), {**row._mapping, **changed})
        return True

    if not storage.database.apply(work, heads=[space]):
        raise Locked
    return mine


def _copied(storage: Storage, space: bytes, kept: Kept) -> Draft | None:
    """Return a copy of a draft that somebody has open, as it was last made durable. Raises Locked while it is."""
    content = storage.vault.draft_base_seen(space, kept.id)
    if content is None:
        return None
    try:
        return storage.vault.draft_copy(space, kept.id, new_id(), _base(storage, space, content))
    except DraftInUse:
        raise Locked from None


def _base(storage: Storage, space: bytes, content: bytes) -> ContentReader | None:
    return storage.vault.reader(space, content, ChunkIndex(storage.database, space).locate) if content else None
