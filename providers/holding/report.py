"""What an erasure took and when, and what copies made before may still hold of it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from auth import tables as auth_tables
from providers import tables
from providers.drive.storage import Storage
from providers.holding.model import Erasure, Kind

_V = tables.version.c


@dataclass(frozen=True, slots=True)
class GoneVersion:
    """A version that was erased: of which document (16 bytes), which number of its own, bytes, when stored (µs)."""

    document: bytes
    number: int
    size: int
    at: int


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to say of an erasure. Times are microseconds; None: not yet, or never.

    Attributes:
        versions: each version that went, of documents; empty for whole spaces, whose versions are but counted.
        count: how many versions went.
        size: their bytes, as they were before sealing.
        stored_from: a copy of the data folder or database may hold something of it if it was made at this moment
            or later, but
        stored_until: before this one; None: it still may, for its bytes have not left the packs.
        key_from: a copy of the keystore may hold the key of an erased space if it was made at this moment or later,
        key_until: but before this one.
    """

    versions: tuple[GoneVersion, ...]
    count: int
    size: int
    stored_from: int | None
    stored_until: int | None
    key_from: int | None = None
    key_until: int | None = None


def report_of(storage: Storage, found: Erasure) -> Report:
    """Return what an erasure took; of one that is not done, what it would take now of versions."""
    with storage.database.read() as connection:
        if found.kind in (Kind.SPACE, Kind.CUSTOMER):
            return _of_spaces(connection, found)
        chosen = (_V.space == found.space) & (_V.erased_in == found.change)
        if found.change is None:
            chosen = (_V.node == found.node) & _V.erased_in.is_(None)
            if found.number is not None:
                chosen &= _V.number == found.number
        query = select(_V.node, _V.number, _V.size, _V.at).where(chosen).order_by(_V.node, _V.number)
        versions = tuple(GoneVersion(*row) for row in connection.execute(query))
    first = min((each.at for each in versions), default=None)
    return Report(versions, len(versions), sum(each.size for each in versions), first, found.swept_at)


def _of_spaces(connection: Connection, found: Erasure) -> Report:
    table = tables.space.c
    whose = table.id == found.space if found.space is not None else table.customer == found.customer
    spaces = {row.id: row.created_at for row in connection.execute(select(table.id, table.created_at).where(whose))}
    total = select(func.count(), func.coalesce(func.sum(_V.size), 0)).where(
        _V.space.in_(list(spaces)), _V.erased_in.is_(None)
    )
    count, size = connection.execute(total).one()
    since = min(spaces.values(), default=None)
    if found.customer is not None:
        org = auth_tables.organisation.c
        made = connection.execute(select(org.created_at).where(org.id == found.customer)).scalar_one_or_none()
        since = min([each for each in (since, made) if each is not None], default=None)
    return Report((), int(count), int(size), since, found.swept_at, since, found.swept_at)
