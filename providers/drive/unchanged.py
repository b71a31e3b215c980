"""What a drive can tell at once, by one question that waits for nobody: whether what is known still stands.

Only where the catalogue is a file of this machine, and only of what was found, or read, before any change of its space
or of rights. Nothing is recorded of that: what would have to be is not at hand, and `opened` goes the whole way for it.
"""

from __future__ import annotations

from sqlalchemy import bindparam, select

from auth.tables import epoch
from config.clock import now_us
from config.queries import Query
from providers import tables
from providers.drive.known import Found
from providers.drive.reading import Allowed, Reader, open_content, reader_of
from providers.drive.session import Session
from providers.errors import NotAtHand
from providers.model import Item
from providers.paths import Path

_STANDS = Query(select(epoch.c.value, tables.head.c.number).where(tables.head.c.space == bindparam("space")))


def item(session: Session, path: Path) -> Item:
    """Return what stands at `path`. Raises NotAtHand."""
    found = _found(session, path, now_us())
    if found.item is None:
        raise NotAtHand
    _require_unchanged(session, found)
    return found.item


def opened(session: Session, path: Path) -> Reader:
    """Open the content of a document: by that one question if it was read lately, else as `open_content` does."""
    try:
        return content(session, path)
    except NotAtHand:
        return open_content(session, path, None)


def content(session: Session, path: Path, bytes_max: int | None = None) -> Reader:
    """Open the content of a document, of at most `bytes_max`, that this principal has read in the last ten minutes, in
    which its event covers that it is read again. Raises NotAtHand.
    """
    storage, principal, at = session.storage, session.principal, now_us()
    found = _found(session, path, at)
    opening = found.opening
    if opening is None or (bytes_max is not None and opening.item.size > bytes_max):
        raise NotAtHand
    if not storage.journal.has(principal.device or principal.id, opening.version_id, at):
        raise NotAtHand
    _require_unchanged(session, found)
    reader = reader_of(session, found.place.space.id, opening.content) if opening.content else None
    return Reader(opening.item, reader, Allowed(principal.epoch, at))


def _found(session: Session, path: Path, at: int) -> Found:
    """Return what the principal last found at a path, as of whichever change."""
    storage, principal = session.storage, session.principal
    expires = principal.scope.expires_at
    if storage.database.dialect != "sqlite" or (expires is not None and expires <= at):
        raise NotAtHand
    sight = storage.sights.kept(principal, at)
    found = None if sight is None else storage.known.found(sight.serial, path.segments)
    if found is None:
        raise NotAtHand
    return found


def _require_unchanged(session: Session, found: Found) -> None:
    """Raise NotAtHand unless rights are as they were when it was found, and the changes since left it alone."""
    storage, space = session.storage, found.place.space.id

    def ask() -> tuple[int, int] | None:
        with storage.database.ask() as connection:
            row = _STANDS.first(connection, space=space)
        return None if row is None else (row[0], row[1])

    row = storage.standing.get(space, ask)
    if row is None or row[0] != session.principal.epoch:
        raise NotAtHand
    if row[1] != found.number and storage.known.revisions(found, row[1]) is None:
        raise NotAtHand
