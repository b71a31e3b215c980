"""Garbage: condemned chunks, and the records of erased versions, leave their packs.

A sweep asks first which condemned chunks a version or draft refers to after all, and takes those back. Then each pack
that holds what is doomed is written anew without it, its places are changed in one transaction, and the old pack goes.
A row of `repack` stands from before the new pack is written until the old one is gone: whoever comes after an
interruption removes whichever of the two nothing refers to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Table, bindparam, delete, func, null, select, update

from config.errors import MellanrumError
from config.ids import id_text
from config.statements import Statement
from providers import tables
from providers.audit.log import hold
from providers.catalogue import held
from providers.catalogue.contents import ChunkIndex, Locate, located, places
from providers.drive.storage import Storage
from providers.holding.errors import NothingWouldStay
from providers.holding.letting_go import BY_CID, LettingGo, carry
from providers.holding.model import State
from providers.vault.errors import DamagedContent, GapsHeldOff
from providers.vault.records import Kind
from providers.vault.vault import Doomed, Leftover

_CHUNK = tables.chunk.c
_V = tables.version.c
_E = tables.erasure.c
_D = tables.draft.c
_R = tables.repack.c
#: Which moments, those of a column, lie so far back that what was condemned or erased then leaves the packs.
Over = Callable[[Column[int]], ColumnElement[bool]]
#: How often a sweep begins again because of what was stored meanwhile.
ROUNDS_MAX = 8
#: How often a pack is asked for that somebody writes to.
ASKS_PER_SECOND = 4


def _moving(table: Table) -> Statement:
    """Return what lets records that a table tells of lie elsewhere, if they still lie where they did."""
    columns = table.c
    return Statement(
        update(table)
        .where(
            columns.space == bindparam("b_space"),
            columns.cid == bindparam("b_cid"),
            columns.pack == bindparam("b_pack"),
            columns.offset == bindparam("b_offset"),
        )
        .values(pack=bindparam("b_new_pack"), offset=bindparam("b_new_offset"))
    )


_MOVE = _moving(tables.chunk)
_MOVE_HELD = _moving(tables.draft_chunk)
_DROP = Statement(
    delete(tables.chunk).where(
        _CHUNK.space == bindparam("b_space"),
        _CHUNK.cid == bindparam("b_cid"),
        _CHUNK.pack == bindparam("b_pack"),
        _CHUNK.offset == bindparam("b_offset"),
        _CHUNK.condemned_at.is_not(None),
    )
)
_CONDEMNED = select(_CHUNK.cid, _CHUNK.condemned_at).where(
    _CHUNK.space == bindparam("space"), _CHUNK.condemned_at.is_not(None)
)
_LOST = delete(tables.chunk).where(
    _CHUNK.space == bindparam("b_space"), _CHUNK.cid == bindparam("b_cid"), _CHUNK.condemned_at == bindparam("b_at")
)
_SWEPT = (
    update(tables.erasure)
    .where(_E.space == bindparam("b_space"), _E.change == bindparam("b_change"), _E.swept_at.is_(None))
    .values(swept_at=bindparam("b_at"))
)
_ERASED_SINCE = select(_V.number).where(_V.space == bindparam("space"), _V.erased_in > bindparam("number")).limit(1)
_AT = select(_CHUNK.condemned_at).where(
    _CHUNK.space == bindparam("space"),
    _CHUNK.cid == bindparam("cid"),
    _CHUNK.pack == bindparam("pack"),
    _CHUNK.offset == bindparam("offset"),
)


class _InUse(Exception):
    """An earlier try to write the pack anew has not ended."""


class _Again(Exception):
    """Something came to rely on what was doomed."""


@dataclass
class Swept:
    """What a sweep did: packs written anew, bytes that left, packs in use that it must come back for, damaged ones.

    `relied_on` is how many chunks stay because interrupted uploads rely on them, until these end one way or the other.
    """

    packs: int = 0
    freed_bytes: int = 0
    waiting: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)
    relied_on: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all that was doomed is gone."""
        return not self.waiting and not self.damaged and not self.relied_on


class _Going(NamedTuple):
    """What a round found doomed: since when each chunk was condemned, and the changes whose erasures it sweeps.

    What came to be so meanwhile is the next sweep's: nobody has asked yet whether anything refers to it.
    """

    condemned: Mapping[bytes, int]
    changes: frozenset[int]
    versions: frozenset[tuple[bytes, int]]

    @property
    def cids(self) -> frozenset[bytes]:
        """The chunks that were condemned."""
        return frozenset(self.condemned)


class Sweeper:
    """Sweeps spaces. Any number may be at it: each pack is claimed by one."""

    def __init__(self, storage: Storage, letting_go: LettingGo) -> None:
        self._storage = storage
        self._letting_go = letting_go

    def due(self, over: Over) -> list[bytes]:
        """Return the spaces in which something has not left the packs yet that was erased so far back."""
        query = select(_E.space).distinct().where(*_unswept(over))
        with self._storage.database.read() as connection:
            return [space for space in connection.execute(query).scalars() if space is not None]

    def review(self, space: bytes) -> int:
        """Take back the condemned chunks that a version refers to; return how many."""
        for _ in range(ROUNDS_MAX):
            with suppress(_Again):
                referred, _, number = self._referred(space, self._going(space, whenever).cids)
                return self._take_back(space, referred, number)
        return 0  # the sweep asks as well

    def sweep(self, space: bytes, over: Over, *, wait_seconds: float = 0.0) -> Swept:
        """Let what was condemned so far back leave the packs; wait so long for packs that are in use.

        Raises NothingWouldStay; DamagedContent if it cannot be told what is referred to.
        """
        self._letting_go.note()  # what is not written down keeps its pack
        self._recover(space)
        for _ in range(ROUNDS_MAX):
            going = self._going(space, over)
            try:
                swept = self._round(space, going, time.monotonic() + wait_seconds)
            except _Again:
                continue
            if swept.is_whole:
                self._mark(space, going)
            return swept
        return Swept(waiting=self._storage.vault.packs(space))

    # --- what goes

    def _going(self, space: bytes, over: Over) -> _Going:
        erasures = select(_E.change).where(_E.space == space, *_unswept(over))
        with self._storage.database.read() as connection:
            condemned = connection.execute(_CONDEMNED.where(over(_CHUNK.condemned_at)), {"space": space})
            found = {row.cid: row.condemned_at for row in condemned}
            changes = frozenset(connection.execute(erasures).scalars())
            erased = select(_V.node, _V.number).where(_V.space == space, _V.erased_in.in_(changes))
            return _Going(found, changes, frozenset((row.node, row.number) for row in connection.execute(erased)))

    def _referred(self, space: bytes, cids: frozenset[bytes]) -> tuple[set[bytes], set[bytes], int]:
        """Return those of `cids` that versions refer to, those that drafts alone do, and as of which change.

        Raises _Again if a version was erased, or a draft ended, and was swept before it could be looked through.
        """
        storage = self._storage
        standing = select(_V.content).distinct().where(_V.space == space, _V.erased_in.is_(None))
        with storage.database.read() as connection:
            number = storage.tree.number(connection, space) or 0
            contents = set(connection.execute(standing).scalars())
            versions = connection.execute(select(func.count()).where(_V.space == space)).scalar_one()
            full = connection.execute(
                select(func.count()).where(_V.space == space, _V.erased_in.is_(None), _V.size > 0)
            ).scalar_one()
        try:
            referred, count = self._among(space, contents, cids)
        except DamagedContent:
            with storage.database.read() as connection:
                _require_none_erased(connection, space, number)
            raise
        by_drafts = set[bytes]()
        for draft, base in storage.vault.draft_bases(space):
            try:
                found, more = self._among(space, [base], cids)
            except DamagedContent:
                if storage.vault.draft_base_seen(space, draft) == base:
                    raise
                raise _Again from None
            by_drafts |= found - self._held(space, draft, found)
            count += more
        if cids and not count and (full or not versions):
            raise NothingWouldStay(space=id_text(space))
        return referred, by_drafts - referred, number

    def _held(self, space: bytes, draft: bytes, cids: set[bytes]) -> set[bytes]:
        """Return those of some chunks of which a draft's upload has copies of its own."""
        with self._storage.database.read() as connection:
            upload = connection.execute(select(_D.upload).where(_D.id == draft)).scalar_one_or_none()
            return set() if upload is None else {each.cid for each in held.own(connection, space, upload, cids)}

    def _among(
        self, space: bytes, contents: Iterable[bytes], cids: frozenset[bytes], locate: Locate | None = None
    ) -> tuple[set[bytes], int]:
        locate, walked = locate or ChunkIndex(self._storage.database, space).locate, set[bytes]()
        referred, count = set[bytes](), 0
        for content in contents:
            for cid in self._storage.vault.cids_of(space, content, locate, walked):
                count += 1
                if cid in cids:
                    referred.add(cid)
        return referred, count

    def _take_back(self, space: bytes, cids: set[bytes], number: int) -> int:
        """Take chunks back to which versions referred as of a change; raise _Again if one was erased since."""
        if not cids:
            return 0
        taken = (
            update(tables.chunk)
            .where(_CHUNK.space == space, _CHUNK.cid == bindparam("b_cid"), _CHUNK.condemned_at.is_not(None))
            .values(condemned_at=null())
        )

        def work(connection: Connection) -> None:
            hold(connection, [space])
            _require_none_erased(connection, space, number)
            connection.execute(taken, [{"b_cid": cid} for cid in sorted(cids)])

        self._storage.database.apply(work, heads=[space])
        return len(cids)

    def _round(self, space: bytes, going: _Going, until: float) -> Swept:
        referred, by_drafts, number = self._referred(space, going.cids)
        self._take_back(space, referred, number)
        # What a draft alone relies on is not taken back: it would be so for good, whatever became of the draft.
        doomed = self._sparing(space, Doomed(going.cids - referred - by_drafts, going.versions))
        swept = Swept(relied_on=len(by_drafts))
        if not doomed.cids and not doomed.versions:
            return swept
        pending = self._storage.vault.packs(space)
        while pending:
            swept.waiting = [pack for pack in pending if not self._one(space, pack, doomed, number, swept)]
            pending = swept.waiting if time.monotonic() < until else []
            if pending:
                self._storage.vault.tick()  # if it is this process that writes to one
                self._letting_go.note()
                time.sleep(1 / ASKS_PER_SECOND)
        return swept

    def _sparing(self, space: bytes, doomed: Doomed) -> Doomed:
        with self._storage.database.read() as connection:
            found = held.places(connection, space, sorted(doomed.cids))
            return replace(doomed, spared=frozenset((pack, offset) for _, pack, offset, _ in found))

    # --- a pack

    def _one(self, space: bytes, pack: int, doomed: Doomed, number: int, swept: Swept) -> bool:
        """Write one pack anew if it holds anything doomed; return False if it is in use."""
        vault = self._storage.vault
        if vault.leftover(space, pack, doomed) is None:
            return True
        try:
            claim = vault.claim(space, pack)
        except FileNotFoundError:
            return True
        if claim is None:
            return False
        try:
            found = vault.leftover(space, pack, doomed)  # it may have grown until it was claimed
            if found is not None and found.is_damaged:
                swept.damaged.append(pack)
            elif found is not None:
                found = self._with_old_copies(space, found)
                swept.freed_bytes += self._repack(space, found, doomed, number)
                swept.packs += 1
                return self._retire(space, pack)
        except _InUse:
            return False
        finally:
            claim.release()
        return True

    def _with_old_copies(self, space: bytes, found: Leftover) -> Leftover:
        """Let go, too, of what lies elsewhere by now: of what was condemned, and stored again before it was swept.

        Nobody can come to refer to a record of a claimed pack but by the catalogue, which does not lead here. An older
        one that was put back may lead to packs that are gone: then this may be the only copy.
        """
        packs = set(self._storage.vault.packs(space))
        cids = sorted({each.cid for each in found.kept if each.kind in BY_CID})
        with self._storage.database.read() as connection:
            known = places(connection, space, cids)
            standing = {cid: (pack, offset) for cid, pack, offset, _ in known if pack in packs}
            in_use = {(pack, offset) for _, pack, offset, _ in held.places(connection, space, cids)}
        in_use.update(standing.values())
        old = {
            each.offset
            for each in found.kept
            if each.kind in BY_CID and each.cid in standing and (found.pack, each.offset) not in in_use
        }
        gone = sorted((*found.gone, *(each for each in found.kept if each.offset in old)), key=lambda each: each.offset)
        return replace(found, gone=tuple(gone), kept=tuple(each for each in found.kept if each.offset not in old))

    def _repack(self, space: bytes, found: Leftover, doomed: Doomed, number: int) -> int:
        storage = self._storage
        goal = storage.vault.open_pack(space) if found.kept else None
        new = None if goal is None else goal.id
        self._begin(space, found.pack, new)
        try:
            moved = {} if goal is None else storage.vault.copy_kept(space, found, goal)
            if goal is not None:
                goal.close()
        except MellanrumError:  # no room, or what should stay is damaged
            if goal is not None:
                with suppress(MellanrumError):
                    goal.close()
            self._undo(space, found.pack, new)
            raise

        def work(connection: Connection) -> int:
            return self._publish(connection, space, found, new, moved, doomed, number)

        try:
            freed = storage.database.apply(work, heads=[space])
        except _Again:
            self._undo(space, found.pack, new)
            raise
        return freed

    def _retire(self, space: bytes, old: int) -> bool:
        """Remove a pack that was written anew; return False if a backup is made, which may need it."""
        try:
            self._storage.vault.retire_pack(space, old)
        except GapsHeldOff:
            return False
        self._forget(space, old)
        return True

    def _begin(self, space: bytes, old: int, new: int | None) -> None:
        """Let it be known that a pack is written anew. Raises _InUse if somebody's earlier try has not ended."""
        row = {"space": space, "old": old, "new": new, "is_done": False}
        begin = self._storage.database.insert_ignore(tables.repack)

        def work(connection: Connection) -> bool:
            # An INSERT does not count its rows unasked.
            return connection.execute(begin, row, execution_options={"preserve_rowcount": True}).rowcount == 1

        if not self._storage.database.apply(work, heads=[space]):
            if new is not None:
                self._storage.vault.remove_pack(space, new)
            raise _InUse

    def _undo(self, space: bytes, old: int, new: int | None) -> None:
        if new is not None:
            self._storage.vault.remove_pack(space, new)
        self._forget(space, old, _R.new.is_not_distinct_from(new))

    def _publish(
        self,
        connection: Connection,
        space: bytes,
        found: Leftover,
        new: int | None,
        moved: dict[int, int],
        doomed: Doomed,
        number: int,
    ) -> int:
        """Let the catalogue find what stays in the new pack, and nothing of what goes; return the bytes that go."""
        head = select(tables.head.c.number, tables.head.c.sealed_bytes).where(tables.head.c.space == space)
        row = connection.execute(head.with_for_update()).one()
        if row.number != number:
            since = select(_V.content).distinct().where(_V.space == space, _V.change > number, _V.erased_in.is_(None))
            # What came in this very transaction is found through it alone.
            locate = partial(located, connection, space)
            if self._among(space, set(connection.execute(since).scalars()), doomed.cids, locate)[0]:
                raise _Again
        freed = 0
        offsets = {entry.offset for entry in found.gone}
        cids = sorted({entry.cid for entry in found.gone if entry.kind != Kind.VERSION})
        if any(pack == found.pack and at in offsets for _, pack, at, _ in held.places(connection, space, cids)):
            raise _Again
        for entry in found.gone:
            if entry.kind == Kind.VERSION:
                freed += entry.length
                continue
            place = {"space": space, "cid": entry.cid, "pack": found.pack, "offset": entry.offset}
            here = connection.execute(_AT, place).first()
            if here is not None and here.condemned_at is None:
                raise _Again
            freed += 0 if here is None else entry.length
        keys = {"b_space": space, "b_pack": found.pack}
        gone = [{**keys, "b_cid": each.cid, "b_offset": each.offset} for each in found.gone]
        _DROP.run_many(connection, gone)
        goes_to = [
            {**keys, "b_cid": e.cid, "b_offset": e.offset, "b_new_pack": new, "b_new_offset": moved[e.offset]}
            for e in found.kept
        ]
        _MOVE.run_many(connection, goes_to)
        _MOVE_HELD.run_many(connection, goes_to)
        carry(connection, space, found, new, moved)
        left = max(0, row.sealed_bytes - freed)
        connection.execute(update(tables.head).where(tables.head.c.space == space).values(sealed_bytes=left))
        connection.execute(update(tables.repack).where(_R.space == space, _R.old == found.pack).values(is_done=True))
        return freed

    # --- the end, and after an interruption

    def _recover(self, space: bytes) -> None:
        """Remove, of each pack that was being written anew, whichever form nothing refers to."""
        with self._storage.database.read() as connection:
            begun = connection.execute(select(tables.repack).where(_R.space == space)).all()
        packs = self._storage.vault.packs(space)
        for row in begun:
            if row.is_done:
                self._retire(space, row.old)
            elif row.old in packs and self._was_left(space, row):  # else, for an older catalogue, it is the only copy
                self._undo(space, row.old, row.new)

    def _was_left(self, space: bytes, row: Any) -> bool:
        """Return whether nobody is at it any more who began to write a pack anew, and it has not come to an end."""
        with suppress(FileNotFoundError):
            claim = self._storage.vault.claim(space, row.old if row.new is None else row.new)
            if claim is None:
                return False
            claim.release()
        # Asked again, now that nobody is: when it was read, somebody may have been about to end it.
        begun = select(_R.old).where(_R.space == space, _R.old == row.old, _R.new.is_not_distinct_from(row.new))
        with self._storage.database.read() as connection:
            return connection.execute(begun.where(_R.is_done.is_(False))).first() is not None

    def _forget(self, space: bytes, old: int, *which: ColumnElement[bool]) -> None:
        gone = delete(tables.repack).where(_R.space == space, _R.old == old, *which)
        self._storage.database.apply(lambda connection: connection.execute(gone), heads=[space])

    def _mark(self, space: bytes, going: _Going) -> None:
        """Record that what a round found doomed has left the packs, and forget what of it lay in none."""

        def work(connection: Connection) -> None:
            hold(connection, [space])
            at = self._storage.database.now_us(connection)
            erased = [{"b_space": space, "b_change": change, "b_at": at} for change in sorted(going.changes)]
            lost = [
                {"b_space": space, "b_cid": cid, "b_at": at}
                for cid, at in connection.execute(_CONDEMNED, {"space": space})
                if going.condemned.get(cid) == at
            ]
            if lost:
                connection.execute(_LOST, lost)
            if erased:
                connection.execute(_SWEPT, erased)

        self._storage.database.apply(work, heads=[space])


def _require_none_erased(connection: Connection, space: bytes, number: int) -> None:
    """Raise _Again if a version was erased since a change."""
    if connection.execute(_ERASED_SINCE, {"space": space, "number": number}).first() is not None:
        raise _Again


def _unswept(over: Over) -> Iterator[Any]:
    yield _E.state == State.DONE
    yield _E.swept_at.is_(None)
    yield _E.change.is_not(None)
    yield over(_E.done_at)


def whenever(column: Column[int]) -> ColumnElement[bool]:
    """Return the condition that something was condemned or erased, be it a moment ago."""
    return column.is_not(None)
