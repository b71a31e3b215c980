"""Interrupted uploads: drafts that nobody closed, kept for their maker alone, who sees them and may resume them.

A row tells whose draft lies under which name; the draft itself, and over which content it was begun, stand in the
vault. The row comes after the draft is durable, so a row without a draft is one whose space was restored from a backup.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, update

from config.ids import NOBODY
from config.queries import Query
from providers import tables
from providers.catalogue import held
from providers.catalogue.contents import all_known, require_standing
from providers.drive.places import Container
from providers.drive.session import Session
from providers.drive.storage import Storage
from providers.drive.transaction import Look
from providers.drive.uploads import Copied
from providers.errors import NotFound, QuotaExceeded, UploadIncomplete, UploadTakenOver
from providers.model import Item
from providers.paths import Path, fold
from providers.vault.vault import Draft, Sealed

_D = tables.draft.c
_HERE = select(tables.draft).where(
    _D.parent == bindparam("parent"), _D.principal == bindparam("principal"), _D.expires_at > bindparam("now")
)
_NAMED = Query(
    _HERE.with_only_columns(_D.id, _D.upload, _D.size, _D.modified, _D.sealed_bytes).where(
        _D.folded == bindparam("folded")
    )
)
_OLDER = select(_D.id, _D.upload).where(
    _D.parent == bindparam("parent"), _D.principal == bindparam("principal"), _D.folded == bindparam("folded")
)
_STALE = select(_D.id, _D.space).where(_D.expires_at <= bindparam("now"))
_KNOWN = select(_D.id, _D.upload).where(_D.id == bindparam("id"))
_SPACES = select(tables.space.c.id).where(tables.space.c.ended_at.is_(None))
#: The head's row, locked: as in every change, it comes before all else.
_ROOM = (
    select(tables.head.c.sealed_bytes, tables.space.c.quota_bytes)
    .join_from(tables.head, tables.space, tables.head.c.space == tables.space.c.id)
    .where(tables.head.c.space == bindparam("space"))
    .with_for_update(of=tables.head)
)
_COUNT = update(tables.head).where(tables.head.c.space == bindparam("b_space")).values(sealed_bytes=bindparam("b_used"))
_HIDE = (
    update(tables.draft)
    .where(_D.id == bindparam("b_id"), _D.upload == bindparam("b_upload"))
    .values(parent=bindparam("b_parent"))
)
_DROP = delete(tables.draft).where(_D.id == bindparam("b_id"))


@dataclass(frozen=True, slots=True)
class Slot:
    """Under which name of which folder somebody uploads."""

    space: bytes
    parent: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An interrupted upload. `sealed_bytes` are those in packs already, which `upload` holds and the quota counts."""

    id: bytes
    upload: bytes
    size: int
    modified: int
    sealed_bytes: int


class Holding(NamedTuple):
    """What an upload holds that is about to be kept: `sealed_bytes` in all, and of these `lead` for the first time.

    `before` is the draft as which it was kept before; None: it was not.
    """

    upload: bytes
    lead: Sealed | None
    sealed_bytes: int
    before: bytes | None


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


def keep(session: Session, slot: Slot, draft: Draft, holding: Holding, copied: Copied | None = None) -> None:
    """Make a draft durable, and let its maker find it under its name, in the place of an older one.

    `copied` is the version whose content it was begun over, if that is of another document. What is held counts in the
    quota at once. Raises QuotaExceeded, UploadTakenOver if it was resumed or dropped meanwhile, VersionErased if that
    version was erased.
    """
    storage, lead = session.storage, holding.lead
    draft.sync()
    row = {
        "id": draft.id,
        "space": slot.space,
        "parent": slot.parent,
        "folded": storage.names.folded(slot.space, slot.parent, slot.name),
        "name": storage.keyring.space(slot.space).names.seal(b"draft" + draft.id, slot.name.encode("utf-8")),
        "principal": session.principal.id,
        "size": draft.size,
        "upload": holding.upload,
        "sealed_bytes": holding.sealed_bytes,
    }

    def work(connection: Connection) -> list[bytes]:
        used, quota = connection.execute(_ROOM, {"space": slot.space}).one()
        if holding.before is not None:
            before = connection.execute(_KNOWN, {"id": holding.before}).first()
            if before is None or before.upload != holding.upload:
                raise UploadTakenOver
        if lead is not None:
            used += _held(connection, slot.space, holding.upload, lead)
            if quota is not None and lead.sealed_bytes and used > quota:
                raise QuotaExceeded
        if copied is not None:
            require_standing(connection, *copied)
        older = [found for found in connection.execute(_OLDER, row).all() if found.id != draft.id]
        for found in older:
            connection.execute(_DROP, {"b_id": found.id})
            if found.upload != holding.upload:
                used -= _ended(storage, connection, slot.space, found)
        connection.execute(_COUNT, {"b_space": slot.space, "b_used": max(0, used)})
        now = storage.database.now_us(connection)
        times = {"modified": now, "expires_at": now + storage.kept_us}
        connection.execute(storage.database.upsert(tables.draft), row | times)
        return [found.id for found in older]

    older = storage.database.apply(work, () if lead is None else lead.needs, [slot.space])
    if lead is not None:
        lead.settle()
    for gone in older:
        storage.vault.remove_draft(slot.space, gone)


def _held(connection: Connection, space: bytes, upload: bytes, lead: Sealed) -> int:
    """Let an upload hold records; return how many bytes that is. Raises UploadIncomplete."""
    own = {record.cid for record in held.own(connection, space, upload, lead.relied)}
    if not all_known(connection, space, [cid for cid in lead.relied if cid not in own]):
        raise UploadIncomplete
    held.hold(connection, space, upload, lead.records)
    return lead.sealed_bytes


def _ended(storage: Storage, connection: Connection, space: bytes, row: Any) -> int:
    """Let go of what a draft's upload holds; return how many bytes count no longer.

    A draft that is gone was ended before: it may have become a version, of a catalogue that is newer than this one. Its
    file goes for good before that is acknowledged.
    """
    return held.end(connection, space, row.upload, lets_go=storage.vault.has_draft(space, row.id))


def unname(storage: Storage, draft: bytes, upload: bytes) -> None:
    """Let an upload that is going on be found under its name no longer, but run out, should it never end."""
    hidden = {"b_id": draft, "b_upload": upload, "b_parent": NOBODY}
    storage.database.apply(lambda connection: connection.execute(_HIDE, hidden))


def drop(storage: Storage, space: bytes, draft: bytes, upload: bytes | None = None) -> bool:
    """Forget an interrupted upload, and its bytes, which count no longer; return False if it was forgotten before.

    With `upload` only as long as nobody else has resumed it.
    """
    others = False

    def work(connection: Connection) -> bool:
        nonlocal others
        used, _ = connection.execute(_ROOM, {"space": space}).one()
        row = connection.execute(_KNOWN, {"id": draft}).first()
        others = row is not None and upload is not None and row.upload != upload
        if row is None or others:
            return False
        connection.execute(_DROP, {"b_id": draft})
        used -= _ended(storage, connection, space, row)
        connection.execute(_COUNT, {"b_space": space, "b_used": max(0, used)})
        return True

    was_known = storage.database.apply(work, heads=[space])
    if not others:
        storage.vault.remove_draft(space, draft)
    return was_known


def end(storage: Storage, space: bytes, upload: bytes) -> None:
    """Let go of what an upload holds that ends here and now. What became a version is not among it any more."""

    def work(connection: Connection) -> None:
        used, _ = connection.execute(_ROOM, {"space": space}).one()
        used -= held.end(connection, space, upload, lets_go=True)
        connection.execute(_COUNT, {"b_space": space, "b_used": max(0, used)})

    storage.database.apply(work, heads=[space])


def drop_at(session: Session, path: Path) -> None:
    """Forget the principal's own interrupted upload at a path. Raises NotFound."""
    with session.look() as look:
        found = next((item for item in kept_below(look, path.parent) if fold(item.name) == fold(path.name)), None)
        if found is None or found.space is None:
            raise NotFound
    if not drop(session.storage, found.space, found.id):
        raise NotFound


def drop_stale(storage: Storage) -> int:
    """Forget the interrupted uploads that nobody resumed in time; return how many."""
    sure = storage.steady.seen().sure
    with storage.database.read() as connection:
        stale = connection.execute(_STALE, {"now": sure}).all()
    # Who has one open goes on, whatever the clock says; it runs out once they are gone.
    gone = [row for row in stale if not storage.vault.is_open(row.space, row.id)]
    for row in gone:
        drop(storage, row.space, row.id)
    return len(gone)


def drop_abandoned(storage: Storage) -> int:
    """Remove drafts that a process that was killed left, and that no row tells of: nobody will; return how many.

    Whoever writes to a draft holds it, and holds it until its row stands.
    """
    with storage.database.read() as connection:
        spaces = list(connection.execute(_SPACES).scalars())
    return sum(drop_abandoned_of(storage, space) for space in spaces)


def drop_abandoned_of(storage: Storage, space: bytes) -> int:
    """Remove the drafts of a space that no row tells of, durably; return how many.

    Before what an upload holds becomes a version, too: an older catalogue may have the row of a draft that was left,
    and would let go with it of what that version has.
    """
    with storage.database.read() as connection:
        known = set(connection.execute(select(_D.id).where(_D.space == space)).scalars())
    left = [draft for draft in storage.vault.drafts(space) if draft not in known]
    return sum(storage.vault.remove_abandoned(space, draft, partial(_is_known, storage, draft)) for draft in left)


def _is_known(storage: Storage, draft: bytes) -> bool:
    with storage.database.read() as connection:
        return connection.execute(_KNOWN, {"id": draft}).first() is not None
