"""Growing the trees and signing checkpoints: within a second of each event, by one process of however many.

A step reads the leaves that came since the last checkpoint, in one snapshot, and writes the nodes they complete, the
checkpoint and how far it reaches in one transaction. The nodes follow from the leaves alone and are never changed, so
two processes that take the same step write the same; one that dies leaves nothing half done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from auth.keyring import Keyring
from auth.tables import installation
from config.clock import SECOND_US
from config.database import Database
from config.logging import get_log
from config.queries import Query, parts_of
from config.statements import Statement
from providers import tables
from providers.audit import merkle, note
from providers.audit.epochs import epochs_of, note_reached
from providers.audit.errors import UnknownLog
from providers.audit.lease import Lease
from providers.audit.log import LogInfo, hold

#: Leaves taken into one transaction; what is left over waits for the next step of the same call.
STEP_LEAVES = 10_000
#: Of the checkpoints of one hour only the last is kept: any other follows from the tree, which is.
_THIN_US = 3600 * SECOND_US

log = get_log("audit")

_LOG = tables.log.c
_ENTRY = tables.log_entry.c
_NODE = tables.tree_node.c
_CHECKPOINT = tables.checkpoint.c
_GROWN = Query(
    select(_LOG.id, _LOG.space, _LOG.party, _LOG.uid, _LOG.size, _LOG.signed_size)
    .where(_LOG.size > _LOG.signed_size)
    .order_by(_LOG.id)
)
_LEAVES = Query(
    select(_ENTRY.leaf_hash)
    .where(_ENTRY.log == bindparam("log"), _ENTRY.number >= bindparam("start"), _ENTRY.number < bindparam("end"))
    .order_by(_ENTRY.number)
)
_LEAVES_AT = Query(
    select(_ENTRY.number, _ENTRY.leaf_hash).where(
        _ENTRY.log == bindparam("log"), _ENTRY.number.in_(bindparam("numbers", expanding=True))
    )
)
# Levels and indexes apart: SQLite looks up each pair by the key, where for a list of pairs it would scan the log.
_NODES_AT = Query(
    select(_NODE.level, _NODE.index, _NODE.hash).where(
        _NODE.log == bindparam("log"),
        _NODE.level.in_(bindparam("levels", expanding=True)),
        _NODE.index.in_(bindparam("indexes", expanding=True)),
    )
)
_GROW = Statement(lambda insert: insert(tables.tree_node).on_conflict_do_nothing())
_ISSUE = Statement(lambda insert: insert(tables.checkpoint).on_conflict_do_nothing())
_THIN = Statement(
    delete(tables.checkpoint).where(
        _CHECKPOINT.log == bindparam("of"), _CHECKPOINT.at >= bindparam("since"), _CHECKPOINT.size < bindparam("below")
    )
)
_SIGN = Statement(
    update(tables.log)
    .where(_LOG.id == bindparam("of"), _LOG.signed_size == bindparam("old"))
    .values(signed_size=bindparam("new"))
)


class TreeDamaged(Exception):
    """Leaves or nodes that a tree needs are not there."""


@dataclass(frozen=True, slots=True)
class _Growth:
    log: LogInfo
    size: int
    nodes: list[dict[str, Any]]
    note: str


def installation_id(connection: Connection) -> bytes:
    """Return the id that begins the origin of every checkpoint of this installation."""
    return bytes(connection.execute(select(installation.c.id)).scalar_one())


def nodes_at(
    connection: Connection, log_id: int, wanted: Iterable[merkle.Coordinate]
) -> dict[merkle.Coordinate, bytes]:
    """Return the stored nodes at these coordinates; those of level 0 are leaves. Raises TreeDamaged."""
    coordinates = set(wanted)
    found: dict[merkle.Coordinate, bytes] = {}
    for numbers in parts_of([index for level, index in coordinates if level == 0]):
        for number, hashed in _LEAVES_AT.rows(connection, log=log_id, numbers=numbers):
            found[0, number] = hashed
    inner = [node for node in coordinates if node[0] > 0]
    all_levels, all_indexes = sorted({level for level, _ in inner}), sorted({index for _, index in inner})
    for levels, indexes in product(parts_of(all_levels), parts_of(all_indexes)):
        for level, index, hashed in _NODES_AT.rows(connection, log=log_id, levels=levels, indexes=indexes):
            if (level, index) in coordinates:
                found[level, index] = hashed
    if len(found) != len(coordinates):
        raise TreeDamaged
    return found


class Checkpoints:
    """Keeps the trees of all logs of an installation, and their checkpoints."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._lease = Lease(database, b"audit checkpoints")

    @property
    def public_key(self) -> bytes:
        """The raw Ed25519 key, 32 bytes, that checkpoints are verified with. To be given to the parties."""
        return self._keyring.installation().signing.public_key().public_bytes_raw()

    def advance(self, now: int | None = None) -> int:
        """Take what was recorded since into the trees, and sign; return how many logs grew. 0 without the lease."""
        return self.advance_now(now) if self._lease.held() else 0

    def advance_now(self, now: int | None = None) -> int:
        """Do what `advance` does, whoever holds the lease: before an export, say.

        It takes in what stood in the logs as it began, and not all that comes meanwhile: else it would go on for as
        long as anybody works.
        """
        reached: set[int] = set()
        damaged: set[int] = set()
        goals: dict[int, int] = {}
        while True:
            with self._database.read() as connection:
                at = self._database.now_us(connection) if now is None else now
                grown = [LogInfo(*row) for row in _GROWN.rows(connection)]
                goals = goals or {info.id: info.size for info in grown}
                wanted = [info for info in grown if info.signed_size < goals.get(info.id, 0)]
                step = self._step(connection, wanted, damaged)
            if not step:
                return len(reached)
            self._commit(step, at)
            note_reached(self._database.folder, step[-1].log.uid, step[-1].size)
            reached |= {growth.log.id for growth in step}

    def _step(self, connection: Connection, grown: Sequence[LogInfo], damaged: set[int]) -> list[_Growth]:
        if not grown:
            return []
        prefix, epochs = installation_id(connection), epochs_of(connection, [info.id for info in grown])
        left = STEP_LEAVES
        step = []
        for info in grown:
            if info.id in damaged or left <= 0:
                continue
            try:
                step.append(self._growth(connection, info, (prefix, epochs[info.id]), left))
            except TreeDamaged:
                damaged.add(info.id)
                log.error("tree_damaged", log_uid=info.uid)
                continue
            left -= step[-1].size - info.signed_size
        return step

    def _growth(
        self, connection: Connection, info: LogInfo, names: tuple[bytes, tuple[note.Epoch, ...]], leaves: int
    ) -> _Growth:
        frontier = frontier_at(connection, info.id, info.signed_size)
        end = min(info.size, info.signed_size + leaves)
        nodes = []
        for (leaf_hash,) in _LEAVES.rows(connection, log=info.id, start=info.signed_size, end=end):
            for level, index, hashed in frontier.append(leaf_hash):
                nodes.append({"log": info.id, "level": level, "index": index, "hash": hashed})
        if frontier.size != end:
            raise TreeDamaged
        prefix, epochs = names
        checkpoint = note.Checkpoint(note.origin(prefix, info.uid, epochs), end, frontier.root(), epochs)
        return _Growth(info, end, nodes, note.signed(checkpoint, self._keyring.installation().signing))

    def _commit(self, step: Sequence[_Growth], at: int) -> None:
        if self._database.dialect == "sqlite":
            self._database.apply(lambda connection: self._write(connection, step, at))
            return
        # Each space's by themselves: whoever waits for one space's writers shall keep no other's waiting.
        for space in sorted({growth.log.space for growth in step}):
            self._commit_of(space, [growth for growth in step if growth.log.space == space], at)

    def _commit_of(self, space: bytes, step: Sequence[_Growth], at: int) -> None:
        def work(connection: Connection) -> None:
            hold(connection, [space])
            self._write(connection, step, at)

        self._database.apply(work, heads=[space] if space else [])

    def _write(self, connection: Connection, step: Sequence[_Growth], at: int) -> None:
        _GROW.run_many(connection, [node for growth in step for node in growth.nodes])
        rows = [{"log": growth.log.id, "size": growth.size, "at": at, "note": growth.note.encode()} for growth in step]
        _ISSUE.run_many(connection, rows)
        hour = at - at % _THIN_US
        _THIN.run_many(connection, [{"of": each.log.id, "since": hour, "below": each.size} for each in step])
        changes = [{"of": growth.log.id, "old": growth.log.signed_size, "new": growth.size} for growth in step]
        _SIGN.run_many(connection, changes)

    # --- reading

    def latest(self, connection: Connection, info: LogInfo) -> str | None:
        """Return the newest checkpoint of a log, a signed note to be given to its party; None before the first."""
        query = select(_CHECKPOINT.note).where(_CHECKPOINT.log == info.id).order_by(_CHECKPOINT.size.desc()).limit(1)
        found = connection.execute(query).scalar_one_or_none()
        return None if found is None else bytes(found).decode()

    def inclusion(self, connection: Connection, info: LogInfo, number: int, size: int) -> list[bytes]:
        """Return the proof that event `number` stands under the checkpoint of `size`. Raises UnknownLog beyond it."""
        if not 0 <= number < size <= info.signed_size:
            raise UnknownLog
        return _proof(connection, info.id, merkle.inclusion_ranges(number, size))

    def consistency(self, connection: Connection, info: LogInfo, old: int, new: int) -> list[bytes]:
        """Return the proof that the checkpoint of `new` goes on from that of `old`. Raises UnknownLog beyond it."""
        if not 0 <= old <= new <= info.signed_size:
            raise UnknownLog
        return _proof(connection, info.id, merkle.consistency_ranges(old, new))


def frontier_at(connection: Connection, log_id: int, size: int) -> merkle.Frontier:
    """Return the right edge of a log's tree at a size, from stored nodes. Raises TreeDamaged."""
    coordinates = merkle.subtrees(0, size)
    found = nodes_at(connection, log_id, coordinates)
    return merkle.Frontier(size, [found[node] for node in coordinates])


def _proof(connection: Connection, log_id: int, ranges: list[tuple[int, int]]) -> list[bytes]:
    found = nodes_at(connection, log_id, merkle.coordinates(ranges))
    return merkle.proof(ranges, lambda level, index: found[level, index])
