"""What an interrupted upload has in packs: its own until a version is made of it, and relied on by nobody else.

It counts in the quota from when it is held. It is adopted by the space with the version that has it; what is not is let
go. All of it with the head's row locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, bindparam, delete, select, update

from config.queries import Query, parts_of
from config.statements import Statement
from providers import tables
from providers.errors import UploadTakenOver
from providers.vault.vault import ChunkRecord

_H = tables.draft_chunk.c
_PLACES = Query(
    select(_H.cid, _H.pack, _H.offset, _H.length).where(
        _H.space == bindparam("space"), _H.cid.in_(bindparam("cids", expanding=True))
    )
)
_OWN = Query(
    select(_H.cid, _H.pack, _H.offset, _H.length).where(
        _H.space == bindparam("space"),
        _H.cid.in_(bindparam("cids", expanding=True)),
        _H.upload == bindparam("upload"),
    )
)
_ALL = (
    select(_H.pack, _H.offset, _H.length)
    .where(_H.upload == bindparam("upload"), _H.space == bindparam("space"))
    .order_by(_H.pack, _H.offset)
)
_HOLD = Statement(lambda insert: insert(tables.draft_chunk).on_conflict_do_nothing())
_LET_GO = Statement(lambda insert: insert(tables.let_go).on_conflict_do_nothing())
_ADOPTED = Statement(
    delete(tables.draft_chunk).where(
        _H.space == bindparam("b_space"), _H.cid == bindparam("b_cid"), _H.upload == bindparam("b_upload")
    )
)
_KEPT_AS = Query(
    select(tables.draft.c.id).where(
        tables.draft.c.id == bindparam("draft"), tables.draft.c.upload == bindparam("upload")
    )
)
_PASS_ON = (
    update(tables.draft_chunk)
    .where(_H.upload == bindparam("b_upload"), _H.space == bindparam("b_space"))
    .values(upload=bindparam("b_to"))
)
_FORGET = delete(tables.draft_chunk).where(_H.upload == bindparam("b_upload"), _H.space == bindparam("b_space"))


def places(connection: Connection, space: bytes, cids: Sequence[bytes]) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield where each of some chunks lies that interrupted uploads hold: cid, pack, offset, length."""
    for part in parts_of(cids):
        yield from _PLACES.rows(connection, space=space, cids=part)


def own(connection: Connection, space: bytes, upload: bytes, cids: Iterable[bytes]) -> list[ChunkRecord]:
    """Return those of some chunks that an upload holds."""
    found = (
        row for part in parts_of(list(cids)) for row in _OWN.rows(connection, space=space, cids=part, upload=upload)
    )
    return [ChunkRecord(*row) for row in found]


def hold(connection: Connection, space: bytes, upload: bytes, records: Iterable[ChunkRecord]) -> None:
    """Let an upload hold records that it appended."""
    _HOLD.run_many(
        connection,
        [
            {"space": space, "cid": r.cid, "upload": upload, "pack": r.pack, "offset": r.offset, "length": r.length}
            for r in records
        ],
    )


def require_own(connection: Connection, upload: bytes, draft: bytes) -> None:
    """Raise UploadTakenOver unless an upload is kept as this draft still: nobody has resumed it, or dropped it."""
    if _KEPT_AS.first(connection, upload=upload, draft=draft) is None:
        raise UploadTakenOver


def pass_on(connection: Connection, space: bytes, upload: bytes, to: bytes) -> None:
    """Let another upload hold what this one does."""
    connection.execute(_PASS_ON, {"b_upload": upload, "b_space": space, "b_to": to})


def adopted(connection: Connection, space: bytes, upload: bytes, records: Iterable[ChunkRecord]) -> None:
    """Let an upload hold no longer what its space has now."""
    _ADOPTED.run_many(connection, [{"b_space": space, "b_cid": r.cid, "b_upload": upload} for r in records])


def let_go(connection: Connection, space: bytes, records: Iterable[tuple[int, int, int]]) -> None:
    """Write down that records are let go: pack, offset and length of each, in this order."""
    runs: list[list[int]] = []
    for pack, offset, length in records:
        if runs and runs[-1][0] == pack and runs[-1][1] + runs[-1][2] == offset:
            runs[-1][2] += length
        else:
            runs.append([pack, offset, length])
    _LET_GO.run_many(
        connection,
        [
            {"space": space, "pack": pack, "offset": offset, "length": length, "is_doomed": False}
            for pack, offset, length in runs
        ],
    )


def end(connection: Connection, space: bytes, upload: bytes, *, lets_go: bool) -> int:
    """Let an upload hold nothing any longer; return how many bytes count no longer.

    With `lets_go` the sweep will take them. Without it they stay, for what may be a newer catalogue's.
    """
    found = [(row.pack, row.offset, row.length) for row in connection.execute(_ALL, {"upload": upload, "space": space})]
    if found:
        if lets_go:
            let_go(connection, space, found)
        connection.execute(_FORGET, {"b_upload": upload, "b_space": space})
    return sum(length for _, _, length in found)
