"""What uploads appended to packs and nothing came of: written down once they have ended, and given back by the sweep.

Nothing goes because it is unknown. A catalogue that is put back from an older backup knows little of what newer packs
hold, and must not take it for refuse: so only that goes of which the catalogue itself says that it was let go. Nor does
anything else move: what goes becomes a gap where it lies, so that whoever finds the rest where it lay, in whichever
catalogue, finds it there.

- A row of `let_go` is written once nobody can commit these records any more, with the head's row locked: whether a
  transaction that would have done so came to its end is settled then. Records that are let go are never referred to:
  uploads find by the catalogue alone what they may rely on, and it does not have these.
- The sweep claims the pack, and asks all the same whether a chunk or a version stands there. What does stays.
- From then on the row says that it is doomed. Whoever comes after an interruption lets it become a gap again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from config.logging import Word, get_log
from providers import tables
from providers.catalogue import held
from providers.catalogue.contents import places
from providers.drive.storage import Storage
from providers.vault.errors import DamagedContent, GapsHeldOff, GapsUnsupported
from providers.vault.records import Kind
from providers.vault.vault import Entry, Extent, Leftover

log = get_log("letting_go")

_LET_GO = tables.let_go
_L = tables.let_go.c
_V = tables.version.c
_SPACES = select(_L.space).distinct().order_by(_L.space)
_STANDING_SPACES = select(tables.space.c.id).where(tables.space.c.ended_at.is_(None)).order_by(tables.space.c.id)
_PACKS = select(_L.pack).where(_L.space == bindparam("space")).distinct().order_by(_L.pack)
_ROWS = select(_LET_GO).where(_L.space == bindparam("space"), _L.pack == bindparam("pack")).order_by(_L.offset)
_WAITING = select(func.coalesce(func.sum(_L.length), 0))
_FORGET = delete(_LET_GO).where(_L.space == bindparam("b_space"), _L.pack == bindparam("b_pack"))
#: As in every change, the head's row comes before all else.
_HEAD = select(tables.head.c.number).where(tables.head.c.space == bindparam("space")).with_for_update()
_VERSION = select(_V.id).where(_V.node == bindparam("node"), _V.number == bindparam("number"))


#: All others may be of a kind that is newer than this, and stay.
BY_CID = frozenset({Kind.CHUNK, Kind.LEAF, Kind.ROOT})


#: A server heeds within half a second that a pack is asked for.
ASK_AGAIN_SECONDS = 0.25


class Range(NamedTuple):
    """Bytes of a pack."""

    offset: int
    length: int

    def holds(self, entry: Entry) -> bool:
        """Return whether a record lies in them, wholly."""
        return self.offset <= entry.offset and entry.offset + entry.length <= self.offset + self.length


@dataclass
class GivenBack:
    """What a sweep did in one space: packs with new gaps or removed, bytes; packs in use, damaged, or without gaps."""

    packs: int = 0
    freed_bytes: int = 0
    waiting: list[int] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)


class LettingGo:
    """Writes down what is let go, and gives its room back. Any number may be at it: each pack is claimed by one."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._guard = threading.Lock()
        self._told: list[Extent] = []

    def note(self) -> int:
        """Write down what this process's uploads let go; return how many bytes. Call now and then, and at the end."""
        with self._guard:
            self._told += self._storage.vault.let_go()
            noted = 0
            while self._told:
                space = self._told[-1].space
                mine = [each for each in self._told if each.space == space]
                self._write_down(space, [(each.pack.id, each.offset, each.length) for each in mine])
                noted += sum(each.length for each in mine)
                self._told = [each for each in self._told if each.space != space]
            return noted

    def _note_killed(self) -> None:
        """Write down what uploads left whose process was killed."""
        with self._storage.database.read() as connection:
            spaces = list(connection.execute(_STANDING_SPACES).scalars())
        for space in spaces:
            for trail in self._storage.vault.abandoned_trails(space):
                self._write_down(space, trail.ranges)
                trail.remove()

    def _write_down(self, space: bytes, ranges: Iterable[tuple[int, int, int]]) -> None:
        told = list(ranges)
        if not told:
            return

        def work(connection: Connection) -> None:
            if connection.execute(_HEAD, {"space": space}).first() is not None:
                held.let_go(connection, space, told)

        self._storage.database.apply(work, heads=[space])

    def waiting_bytes(self) -> int:
        """Return how many bytes are written down as let go and take room still."""
        with self._storage.database.read() as connection:
            return int(connection.execute(_WAITING).scalar_one())

    def sweep(self, *, wait_seconds: float = 0.0) -> dict[bytes, GivenBack]:
        """Give back the room of what was let go, of all packs that nobody writes to; return what was done, by space.

        Who writes to one is asked to let go of it, and waited for so long.
        """
        until = time.monotonic() + wait_seconds
        self.note()
        self._note_killed()
        with self._storage.database.read() as connection:
            spaces = list(connection.execute(_SPACES).scalars())
        return {space: self._space(space, until) for space in spaces}

    def _space(self, space: bytes, until: float) -> GivenBack:
        done = GivenBack()
        with self._storage.database.read() as connection:
            packs = list(connection.execute(_PACKS, {"space": space}).scalars())
        while self._pass(space, packs, done) and time.monotonic() < until:
            packs = done.waiting
            time.sleep(ASK_AGAIN_SECONDS)
        return done

    def _pass(self, space: bytes, packs: Sequence[int], done: GivenBack) -> bool:
        """Give back the room of those of some packs that can be had; return whether others may be had in a moment."""
        done.waiting = []
        for number, pack in enumerate(packs):
            try:
                self._pack(space, pack, done)
            except (GapsUnsupported, GapsHeldOff) as error:
                log.info("no_gaps", space=space, why=Word(type(error).__name__))
                done.waiting += packs[number:]
                return False
            except DamagedContent:
                done.damaged.append(pack)
        return bool(done.waiting)

    # --- a pack

    def _pack(self, space: bytes, pack: int, done: GivenBack) -> None:
        try:
            claim = self._storage.vault.claim(space, pack)
        except FileNotFoundError:
            self._forget(space, pack)  # with the whole space, or with the power before it was synced
            return
        if claim is None:
            done.waiting.append(pack)
            return
        try:
            if self._is_given_back(space, pack, done):
                self._forget(space, pack)
        finally:
            claim.release()

    def _is_given_back(self, space: bytes, pack: int, done: GivenBack) -> bool:
        """Give back the room of what was let go of a claimed pack; return False if damage leaves open what that is."""
        vault = self._storage.vault
        rows = self._rows(space, pack)
        begun = [Range(row.offset, row.length) for row in rows if row.is_doomed]
        if begun:
            vault.void(space, pack, begun)
        told = [Range(row.offset, row.length) for row in rows if not row.is_doomed]
        found = vault.entries(space, pack)
        if found.damage:
            done.damaged.append(pack)
            return not told
        goes = self._doom(space, pack, _within(found.records, told)) if told else []
        if len(goes) == len(found.records):
            vault.remove_pack(space, pack)
        elif goes:
            vault.void(space, pack, _merged(goes))
        if goes or begun:
            done.packs += 1
        done.freed_bytes += sum(entry.length for entry in goes) + sum(each.length for each in begun)
        return True

    def _doom(self, space: bytes, pack: int, entries: Sequence[Entry]) -> list[Entry]:
        """Return those of some records to which nothing refers, once it is written down that they are to go."""
        database = self._storage.database
        # Whatever transaction may have meant to refer to one has ended once the head's row is ours.
        database.apply(lambda connection: connection.execute(_HEAD, {"space": space}).first(), heads=[space])
        with database.read() as connection:
            standing = self._standing(connection, space, pack, entries)
        goes = [entry for entry in entries if entry.offset not in standing]
        rows = [
            {"space": space, "pack": pack, "offset": each.offset, "length": each.length, "is_doomed": True}
            for each in _merged(goes)
        ]

        def work(connection: Connection) -> None:
            connection.execute(_FORGET, {"b_space": space, "b_pack": pack})
            if rows:
                connection.execute(insert(_LET_GO), rows)

        database.apply(work, heads=[space])
        return goes

    def _standing(self, connection: Connection, space: bytes, pack: int, entries: Sequence[Entry]) -> set[int]:
        """Return the offsets of those records that the catalogue has where they lie."""
        standing: set[int] = set()
        by_cid: dict[bytes, list[int]] = {}
        for entry in entries:
            if entry.kind in BY_CID:
                by_cid.setdefault(entry.cid, []).append(entry.offset)
            elif entry.kind != Kind.VERSION or self._is_version(connection, space, pack, entry):
                standing.add(entry.offset)
        cids = list(by_cid)
        for cid, where, offset, _ in chain(places(connection, space, cids), held.places(connection, space, cids)):
            if where == pack and offset in by_cid[cid]:
                standing.add(offset)
        return standing

    def _is_version(self, connection: Connection, space: bytes, pack: int, entry: Entry) -> bool:
        try:
            said = self._storage.vault.version_at(space, pack, entry)
        except DamagedContent:
            return True  # of what, cannot be told
        found = connection.execute(_VERSION, {"node": said.node, "number": said.number}).scalar_one_or_none()
        return found == said.version_id

    def _rows(self, space: bytes, pack: int) -> Sequence[Any]:
        with self._storage.database.read() as connection:
            return connection.execute(_ROWS, {"space": space, "pack": pack}).all()

    def _forget(self, space: bytes, pack: int) -> None:
        values = {"b_space": space, "b_pack": pack}
        self._storage.database.apply(lambda connection: connection.execute(_FORGET, values), heads=[space])


def carry(connection: Connection, space: bytes, found: Leftover, new: int | None, moved: dict[int, int]) -> None:
    """Let what is written down as let go of a pack be found where it was copied to."""
    rows = connection.execute(_ROWS, {"space": space, "pack": found.pack}).all()
    if not rows:
        return
    connection.execute(_FORGET, {"b_space": space, "b_pack": found.pack})
    carried = []
    for row in rows:
        kept = [each for each in found.kept if row.offset <= each.offset < row.offset + row.length]
        if kept:
            length = sum(each.length for each in kept)
            at = {"pack": new, "offset": moved[kept[0].offset], "length": length}
            carried.append({"space": space, "is_doomed": False} | at)
    if carried:
        connection.execute(insert(_LET_GO), carried)


def _within(entries: Iterable[Entry], ranges: Sequence[Range]) -> list[Entry]:
    """Return the records that lie in ranges; both are given in the order of offsets."""
    found, following = [], iter(ranges)
    current = next(following, None)
    for entry in entries:
        while current is not None and current.offset + current.length <= entry.offset:
            current = next(following, None)
        if current is not None and current.holds(entry):
            found.append(entry)
    return found


def _merged(entries: Iterable[Entry]) -> list[Range]:
    """Return the ranges that records fill, which are given in the order of their offsets."""
    found: list[Range] = []
    for entry in entries:
        last = found[-1] if found else None
        if last is not None and last.offset + last.length == entry.offset:
            found[-1] = Range(last.offset, last.length + entry.length)
        else:
            found.append(Range(entry.offset, entry.length))
    return found
