"""Verifying all logs of an installation from its database and keys, and against checkpoints that others kept.

Every event is opened and its leaf made anew, every node of the trees and every checkpoint computed again, every
stream compared with the log it tells of. What is damaged is named by log and number; the rest is verified all the same.
Memory stays bounded: a batch of events and a frontier.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table, bindparam, exists, func, select

from auth.errors import KeyUnreadable, SealBroken, UnknownKey
from auth.keyring import Keyring
from config.database import Database
from config.ids import NOBODY
from providers import tables
from providers.audit import merkle, note
from providers.audit.checkpoints import installation_id
from providers.audit.epochs import epochs_of
from providers.audit.errors import BadNote
from providers.audit.events import EPOCH_OPENED
from providers.audit.leaf import Body
from providers.audit.lineage import belongs, openings, parting
from providers.audit.log import BATCH, AuditLog, LogInfo, projected, stored

_NODE = tables.tree_node.c
_CHECKPOINT = tables.checkpoint.c
_NODES_BETWEEN = select(_NODE.index, _NODE.hash).where(
    _NODE.log == bindparam("log"),
    _NODE.level == bindparam("of_level"),
    _NODE.index.between(bindparam("first"), bindparam("last")),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was recorded. `log` is a uid in hex; `number` the event, where one can be named."""

    log: str
    number: int | None
    what: str

    @property
    def where(self) -> str:
        """The place, in words."""
        return f"audit log {self.log}" + ("" if self.number is None else f", event {self.number}")


def verify_logs(database: Database, keyring: Keyring, kept_checkpoints: Iterable[str] = ()) -> Iterator[Finding]:
    """Yield what is wrong with the audit logs, in one snapshot; nothing, if all is as it was recorded.

    `kept_checkpoints` are signed notes that parties kept: they expose what was rewritten by whoever holds the keys,
    and a database put back to an earlier state.
    """
    audit = AuditLog(database, keyring)
    with database.read() as connection:
        yield from _Verification(connection, audit).run(kept_checkpoints)


class _Verification:
    """What one round knows across logs."""

    def __init__(self, connection: Connection, audit: AuditLog) -> None:
        self.connection = connection
        self.audit = audit
        self.public = audit.keyring.installation().signing.public_key().public_bytes_raw()
        self.logs = audit.logs(connection)
        self.told: Counter[int] = Counter()  # events of each stream that supplier's logs tell of

    def run(self, kept: Iterable[str]) -> Iterator[Finding]:
        yield from self._strays()
        by_origin: dict[str, list[note.Checkpoint]] = defaultdict(list)
        for text in kept:
            try:
                found = note.opened(text, self.public)
            except BadNote:
                yield Finding("-", None, "a kept checkpoint is not signed with this installation's key")
                continue
            by_origin[found.log].append(found)
        prefix = installation_id(self.connection) if self.logs else b""
        epochs = epochs_of(self.connection, [info.id for info in self.logs])
        for info in self.logs:  # a space's own log comes before the streams that tell of it
            origin = note.origin(prefix, info.uid)
            yield from _LogCheck(self, info, (origin, epochs[info.id]), by_origin.pop(origin, [])).run()
        for origin in by_origin:
            yield Finding(origin.rpartition("/")[2], None, "the log of a kept checkpoint is not there any more")

    def _strays(self) -> Iterator[Finding]:
        for table, what in (
            (tables.log_entry, "events"),
            (tables.tree_node, "nodes of a tree"),
            (tables.checkpoint, "checkpoints"),
            (tables.log_epoch, "epochs"),
        ):
            for number in self._logs_missing(table):
                yield Finding(f"#{number}", None, f"{what} stand without their log")

    def _logs_missing(self, table: Table) -> list[int]:
        known = exists().where(tables.log.c.id == table.c.log)
        return list(self.connection.execute(select(table.c.log).where(~known).distinct()).scalars())


class _LogCheck:
    """One log, from its first event to its last."""

    def __init__(
        self,
        verification: _Verification,
        info: LogInfo,
        names: tuple[str, tuple[note.Epoch, ...]],
        kept: list[note.Checkpoint],
    ) -> None:
        self.all = verification
        self.connection = verification.connection
        self.info = info
        self.origin, self.epochs = names
        self.opened = openings(self.epochs)
        self.kept = kept
        self.uids = verification.audit.uids(self.connection, info.space)
        self.frontier: merkle.Frontier | None = merkle.Frontier()  # None once an event is missing
        self.due: dict[int, list[tuple[str, bytes]]] = defaultdict(list)
        self.good = 0
        self.can_open = True

    def run(self) -> Iterator[Finding]:
        info = self.info
        if info.uid != self.all.audit.uid(info.space, info.party):
            yield self._finding("the log belongs to another space or party")
        yield from self._key()
        yield from self._checkpoints()
        self._begins()
        rows = stored(self.connection, info.id, 0, info.size)
        number = 0
        while batch := list(islice(rows, BATCH)):
            nodes: dict[merkle.Coordinate, bytes] = {}
            for row in batch:
                if row.number != number:
                    yield self._gone(number, row.number)
                number = row.number + 1
                yield from self._event(row, nodes)
            yield from self._nodes(nodes)
        if number < info.size:
            yield self._gone(number, info.size)
        yield from self._extent()

    def _finding(self, what: str, number: int | None = None) -> Finding:
        return Finding(self.info.uid.hex(), number, what)

    def _gone(self, start: int, end: int) -> Finding:
        self.frontier = None
        span = "" if end == start + 1 else f" (and all up to {end - 1})"
        return self._finding(f"the event was deleted{span}", start)

    def _key(self) -> Iterator[Finding]:
        try:
            self.all.audit.sealer(self.info.space)
        except UnknownKey:
            self.can_open = False
            ended = select(tables.space.c.ended_at).where(tables.space.c.id == self.info.space)
            if self.connection.execute(ended).scalar_one_or_none() is None:
                yield self._finding("the key of its space is not in the keystore: its events cannot be opened")
        except KeyUnreadable:
            self.can_open = False
            yield self._finding("the key of its space cannot be read: its events cannot be opened")

    # --- events

    def _event(self, row: Any, nodes: dict[merkle.Coordinate, bytes]) -> Iterator[Finding]:
        hashed = row.leaf_hash
        if self.can_open:
            try:
                hashed, body = self._opened(row)
            except (SealBroken, ValueError, KeyError, TypeError):
                yield self._finding(_unopened(row), row.number)
            else:
                yield from self._compared(row, hashed, body)
        if self.frontier is None:
            return
        nodes.update({(level, index): found for level, index, found in self.frontier.append(hashed)})
        expected = self.due.pop(self.frontier.size, [])
        for named, root in expected:
            if root != self.frontier.root():
                span = f"events {self.good} to {row.number}"
                yield self._finding(f"something in {span} is not what {named} was signed for", self.good)
                return
        if expected:
            self.good = self.frontier.size

    def _opened(self, row: Any) -> tuple[bytes, Body]:
        if (self.info.party == NOBODY) != (row.source_log is None):
            raise ValueError("a stream tells of events of another log, the supplier's of its own")
        body = self.all.audit.open_body(self.info, row, self.uids)
        return merkle.leaf_hash(projected(self.info, row, body, self.uids).leaf), body

    def _compared(self, row: Any, hashed: bytes, body: Body) -> Iterator[Finding]:
        if hashed != row.leaf_hash:
            yield self._finding("the event is not what its hash was made of", row.number)
        if body.at != row.at:
            yield self._finding("the time of the event was changed", row.number)
        if (body.fields["kind"] == EPOCH_OPENED) != (row.number in self.opened):
            yield self._finding("an epoch of the log begins there, or ought to", row.number)
        elif self.opened.get(row.number, body.at) != body.at:
            yield self._finding("the epoch that begins there was opened at another time", row.number)
        if row.source_log is None:
            self.all.told.update(stream for stream, _ in body.streams)
        elif (self.info.id, row.number) not in body.streams:
            yield self._finding("the supplier's log knows nothing of this event in this stream", row.number)

    # --- trees and checkpoints

    def _nodes(self, computed: dict[merkle.Coordinate, bytes]) -> Iterator[Finding]:
        signed = self.info.signed_size
        wanted = [(level, index) for level, index in computed if (index + 1) << level <= signed]
        standing: dict[merkle.Coordinate, bytes] = {}
        for level in sorted({level for level, _ in wanted}):
            indexes = [index for at, index in wanted if at == level]
            asked = {"log": self.info.id, "of_level": level, "first": min(indexes), "last": max(indexes)}
            rows = self.connection.execute(_NODES_BETWEEN, asked)
            standing.update({(level, index): bytes(hashed) for index, hashed in rows})
        for level, index in wanted:
            if standing.get((level, index)) != computed[level, index]:
                what = "missing" if (level, index) not in standing else "wrong"
                yield self._finding(f"the node of the tree at level {level} is {what}", index << level)

    def _checkpoints(self) -> Iterator[Finding]:
        query = select(_CHECKPOINT.size, _CHECKPOINT.note).where(_CHECKPOINT.log == self.info.id)
        newest = 0
        for row in self.connection.execute(query.order_by(_CHECKPOINT.size)):
            newest = row.size
            try:
                found = note.opened(bytes(row.note).decode(), self.all.public)
            except (BadNote, UnicodeDecodeError):
                yield self._finding(f"the checkpoint of {row.size} events is not signed with the installation's key")
                continue
            if (found.log, found.size) != (self.origin, row.size):
                yield self._finding(f"the checkpoint of {row.size} events is one of another log or size")
                continue
            if not belongs(found, self.epochs):
                yield self._finding(
                    f"the checkpoint of {row.size} events is of an epoch that the log did not have then"
                )
            yield from self._expect("the checkpoint", found)
        if newest != self.info.signed_size:
            yield self._finding(f"the newest checkpoint covers {newest} events, and should {self.info.signed_size}")
        for found in self.kept:
            yield from self._expect_kept(found)

    def _begins(self) -> None:
        """Expect what each epoch goes on from."""
        for epoch in self.epochs:
            self.due[epoch.size].append(("the epoch that begins after it", epoch.root))

    def _expect_kept(self, kept: note.Checkpoint) -> Iterator[Finding]:
        found = parting(kept, self.epochs)
        if found.shared is None:
            yield from self._expect("a kept checkpoint", kept)
            return
        for size, root in found.due:
            self.due[size].append((f"a kept checkpoint of {size}", root))
        if found.back is None:
            yield self._finding("a kept checkpoint tells of an epoch that the log does not tell of", found.shared)
        elif found.lost(kept):
            what = f"a kept checkpoint covers {found.lost(kept)} events that are gone since the log was put back"
            yield self._finding(what, found.shared)

    def _expect(self, named: str, found: note.Checkpoint) -> Iterator[Finding]:
        if found.size > self.info.size:
            have = self.info.size
            yield self._finding(f"{named} covers {found.size} events, of which only {have} are there", have)
        elif found.size:
            self.due[found.size].append((f"{named} of {found.size}", found.root))

    def _extent(self) -> Iterator[Finding]:
        info = self.info
        beyond = select(func.min(tables.log_entry.c.number)).where(
            tables.log_entry.c.log == info.id, tables.log_entry.c.number >= info.size
        )
        first = self.connection.execute(beyond).scalar_one_or_none()
        if first is not None:
            yield self._finding("the event stands beyond the log's end", first)
        count = select(func.count()).select_from(tables.tree_node).where(_NODE.log == info.id)
        standing = self.connection.execute(count).scalar_one()
        if self.frontier is not None and standing > info.signed_size - info.signed_size.bit_count():
            yield self._finding("the tree has nodes that belong to no event")
        if info.party != NOBODY and self.can_open and info.size != self.all.told[info.id]:
            told = self.all.told[info.id]
            yield self._finding(f"the supplier's log tells of {told} events in this stream, which has {info.size}")


def _unopened(row: Any) -> str:
    if row.sealed is None:
        return "the event is missing in the supplier's log" if row.source_log is not None else "the event was emptied"
    return "the event was changed, or put in another's place"
