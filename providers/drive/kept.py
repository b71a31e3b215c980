"""Interrupted uploads: drafts that nobody closed, kept for their maker alone, who sees them and may resume them.

A row tells whose draft lies under which name; the draft itself, and over which content it was begun, stand in the
vault. The row comes after the draft is durable, so a row without a draft is one whose space was restored from a backup.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from config.clock import now_us
from config.queries import Query
from providers import tables
from providers.catalogue.contents import ChunkIndex, all_known, publish, require_standing
from providers.drive.places import Container
from providers.drive.session import Session
from providers.drive.storage import Storage
from providers.drive.transaction import Look
from providers.drive.uploads import Copied
from providers.errors import Locked, NotFound, QuotaExceeded, UploadIncomplete
from providers.model import Item
from providers.paths import Path, fold
from providers.vault.errors import DraftInUse
from providers.vault.vault import Draft, Sealed

_D = tables.draft.c
_HERE = select(tables.draft).where(
    _D.parent == bindparam("parent"), _D.principal == bindparam("principal"), _D.expires_at > bindparam("now")
)
_NAMED = Query(
    _HERE.with_only_columns(_D.id, _D.size, _D.modified, _D.sealed_bytes).where(_D.folded == bindparam("folded"))
)
_OLDER = select(_D.id).where(
    _D.parent == bindparam("parent"), _D.principal == bindparam("principal"), _D.folded == bindparam("folded")
)
_STALE = select(_D.id, _D.space).where(_D.expires_at <= bindparam("now"))
_KNOWN = select(_D.id).where(_D.id == bindparam("id"))
_SPACES = select(tables.space.c.id).where(tables.space.c.ended_at.is_(None))
#: The head's row, locked: as in every change, it comes before all else.
_ROOM = (
    select(tables.head.c.sealed_bytes, tables.space.c.quota_bytes)
    .join_from(tables.head, tables.space, tables.head.c.space == tables.space.c.id)
    .where(tables.head.c.space == bindparam("space"))
    .with_for_update(of=tables.head)
)
_COUNT = update(tables.head).where(tables.head.c.space == bindparam("b_space")).values(sealed_bytes=bindparam("b_used"))
_DROP = delete(tables.draft).where(_D.id == bindparam("b_id"))


@dataclass(frozen=True, slots=True)
class Slot:
    """Under which name of which folder somebody uploads."""

    space: bytes
    parent: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An interrupted upload. `sealed_bytes` are those in packs already, which count in the quota."""

    id: bytes
    size: int
    modified: int
    sealed_bytes: int


def kept_at(look: Look, slot: Slot) -> Kept | None:
    """Return the principal's own interrupted upload under a name, if there is one."""
    folded = look.storage.names.folded(slot.space, slot.parent, slot.name)
    row = _NAMED.first(look.connection, **_whose(look, slot.parent), folded=folded)
    return None if row is None else Kept(*row)


def kept_below(look: Look, path: Path) -> list[Item]:
    """Return the principal's own interrupted uploads in a folder, under names where nothing else is seen."""
    found = look.find(path)
    if isinstance(found, Container) or found.is_past or not found.node.is_folder:
        return []
    rows = look.connection.execute(_HERE, _whose(look, found.node.id)).all()
    if not rows:
        return []
    taken = {fold(name) for name, _ in look.resolver.children(found)}
    sealer = look.storage.keyring.space(found.space.id).names
    items = []
    for row in rows:
        name = sealer.open(b"draft" + row.id, row.name).decode("utf-8")
        if fold(name) not in taken:
            items.append(_item(path.joined(name), found.space.id, row))
    return items


def _whose(look: Look, parent: bytes) -> dict[str, Any]:
    return {"parent": parent, "principal": look.principal.id, "now": look.at}


def _item(path: Path, space: bytes, row: Any) -> Item:
    return Item(path, path.name, False, row.size, row.modified, row.modified, "", row.id, space, 0, False, False)


def keep(
    session: Session, slot: Slot, draft: Draft, lead: Sealed | None, sealed_bytes: int, copied: Copied | None = None
) -> None:
    """Make a draft durable, and let its maker find it under its name, in the place of an older one.

    `lead` are records that it is the first to rely on, `copied` the version whose content it was begun over, if that
    is of another document. What the catalogue gets to know counts in the quota at once, or else whoever drops the draft
    could store the same again for nothing. Raises QuotaExceeded, and VersionErased if that version was erased.
    """
    storage = session.storage
    draft.sync()
    now = now_us()
    row = {
        "id": draft.id,
        "space": slot.space,
        "parent": slot.parent,
        "folded": storage.names.folded(slot.space, slot.parent, slot.name),
        "name": storage.keyring.space(slot.space).names.seal(b"draft" + draft.id, slot.name.encode("utf-8")),
        "principal": session.principal.id,
        "size": draft.size,
        "modified": now,
        "sealed_bytes": sealed_bytes,
        "expires_at": now + storage.kept_us,
    }

    def work(connection: Connection) -> list[bytes]:
        if lead is not None:
            _publish(connection, slot.space, lead)
        if copied is not None:
            require_standing(connection, *copied)
        older = [found for found in connection.execute(_OLDER, row).scalars() if found != draft.id]
        for found in older:
            connection.execute(_DROP, {"b_id": found})
        connection.execute(storage.database.upsert(tables.draft), row)
        return older

    older = storage.database.apply(work, () if lead is None else lead.needs, slot.space)
    if lead is not None:
        lead.settle()
    for gone in older:
        storage.vault.remove_draft(slot.space, gone)


def _publish(connection: Connection, space: bytes, lead: Sealed) -> None:
    """Let the catalogue know of records, and count them. Raises QuotaExceeded, UploadIncomplete."""
    used, quota = connection.execute(_ROOM, {"space": space}).one()
    if not all_known(connection, space, lead.relied):
        raise UploadIncomplete
    used += lead.sealed_bytes - publish(connection, space, lead.records)
    if quota is not None and lead.sealed_bytes and used > quota:
        raise QuotaExceeded
    connection.execute(_COUNT, {"b_space": space, "b_used": used})


def resumed(storage: Storage, space: bytes, kept: Kept) -> Draft | None:
    """Open an interrupted upload where it stopped; None if its bytes are gone. Raises Locked while it is going on."""
    try:
        content = storage.vault.draft_base(space, kept.id)
        if content is None:
            return None
        base = storage.vault.reader(space, content, ChunkIndex(storage.database, space).locate) if content else None
        return storage.vault.draft(space, kept.id, base)
    except DraftInUse:
        raise Locked from None


def unname(storage: Storage, space: bytes, draft: bytes) -> None:
    """Let an upload that is going on be found under its name no longer."""
    storage.database.apply(lambda connection: connection.execute(_DROP, {"b_id": draft}), order=space)


def drop(storage: Storage, space: bytes, draft: bytes) -> None:
    """Forget an interrupted upload, and its bytes."""
    unname(storage, space, draft)
    storage.vault.remove_draft(space, draft)


def drop_at(session: Session, path: Path) -> None:
    """Forget the principal's own interrupted upload at a path. Raises NotFound."""
    with session.look() as look:
        found = next((item for item in kept_below(look, path.parent) if fold(item.name) == fold(path.name)), None)
        if found is None or found.space is None:
            raise NotFound
    drop(session.storage, found.space, found.id)


def drop_stale(storage: Storage) -> int:
    """Forget the interrupted uploads that nobody resumed in time; return how many."""
    with storage.database.read() as connection:
        stale = connection.execute(_STALE, {"now": now_us()}).all()
    for row in stale:
        drop(storage, row.space, row.id)
    return len(stale)


def drop_abandoned(storage: Storage) -> int:
    """Remove drafts that a process that was killed left, and that no row tells of: nobody will; return how many.

    Whoever writes to a draft holds it, and holds it until its row stands.
    """
    with storage.database.read() as connection:
        spaces = list(connection.execute(_SPACES).scalars())
        known = set(connection.execute(select(_D.id)).scalars())
    count = 0
    for space in spaces:
        for draft in storage.vault.drafts(space):
            if draft not in known:
                count += storage.vault.remove_abandoned(space, draft, partial(_is_known, storage, draft))
    return count


def _is_known(storage: Storage, draft: bytes) -> bool:
    with storage.database.read() as connection:
        return connection.execute(_KNOWN, {"id": draft}).first() is not None
