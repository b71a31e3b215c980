"""Recording events and reading them back: the supplier's log of each space, and a stream for each party."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, update

from auth.errors import SealBroken
from auth.events import Actor, AuthEvent
from auth.keyring import Keyring, Sealer
from config.clock import SECOND_US, now_us
from config.database import Database
from config.ids import NOBODY
from config.queries import Query, parts_of
from config.statements import Statement
from providers import tables
from providers.audit.errors import EntryDamaged, UnknownLog
from providers.audit.events import Event, Projection
from providers.audit.leaf import ACTOR_PERSON, Body, Personal, leaf, streams_digest
from providers.audit.merkle import leaf_hash

BATCH = 500
UNSEEN_MAX = 10_000
_MINUTE_US = 60 * SECOND_US

_LOG = tables.log.c
_ENTRY = tables.log_entry.c
_LOCKED = Query(
    select(_LOG.id)
    .where(_LOG.space == bindparam("space"), _LOG.party.in_(bindparam("parties", expanding=True)))
    .order_by(_LOG.id)
    .with_for_update()
)
_HEADS = Query(
    select(tables.head.c.space)
    .where(tables.head.c.space.in_(bindparam("spaces", expanding=True)))
    .order_by(tables.head.c.space)
    .with_for_update()
)
_BODY = (
    select(_ENTRY.number).where(_ENTRY.log == bindparam("log"), _ENTRY.number == bindparam("number")).with_for_update()
)
_GROW = Statement(
    update(tables.log)
    .where(_LOG.space == bindparam("b_space"), _LOG.party.in_(bindparam("b_parties", expanding=True)))
    .values(size=_LOG.size + bindparam("b_count"))
    .returning(_LOG.id, _LOG.party, _LOG.uid, _LOG.size)
)
_NUMBERED = Statement(insert(tables.log_entry))
_MAKE = Statement(lambda insert: insert(tables.log).on_conflict_do_nothing())
_SOURCE = tables.log_entry.alias("source")
_STORED = (
    select(
        *(_ENTRY.number, _ENTRY.at, _ENTRY.leaf_hash, _ENTRY.source_log, _ENTRY.source_number, _ENTRY.projection),
        func.coalesce(_ENTRY.body, _SOURCE.c.body).label("sealed"),
    )
    .select_from(
        tables.log_entry.outerjoin(
            _SOURCE, (_SOURCE.c.log == _ENTRY.source_log) & (_SOURCE.c.number == _ENTRY.source_number)
        )
    )
    .where(_ENTRY.log == bindparam("log"), _ENTRY.number >= bindparam("start"), _ENTRY.number < bindparam("end"))
    .order_by(_ENTRY.number)
)


@dataclass(frozen=True, slots=True)
class LogInfo:
    """One log. `space` is empty for the installation's, `party` for the supplier's; `uid` names it in checkpoints."""

    id: int
    space: bytes
    party: bytes
    uid: bytes
    size: int
    signed_size: int


class _Growing(NamedTuple):
    """A log that takes events, of which the next gets the number `size`."""

    id: int
    party: bytes
    uid: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as the reader of its log may see it. `leaf` is what the tree hashes; personal fields with openings."""

    log: int
    number: int
    leaf: bytes
    leaf_hash: bytes
    personal: Mapping[str, Personal]

    @property
    def event(self) -> dict[str, Any]:
        """The event as it stands in the leaf: kind, at, outcome, space, node, facts, actor, commitments."""
        found: dict[str, Any] = json.loads(self.leaf)["event"]
        return found


def body_label(uid: bytes, number: int) -> bytes:
    """Return what binds a sealed body to its log and number."""
    return b"audit body" + uid + number.to_bytes(8, "big")


def hold(connection: Connection, spaces: Iterable[bytes]) -> int:
    """Take the heads of spaces, on PostgreSQL, where writers run side by side; return how many there are.

    Changes take them first, and rows of logs last: so whoever writes to these does. Else two wait for each other.
    """
    wanted = sorted(filter(None, spaces))  # no head is that of the installation
    if connection.dialect.name == "sqlite" or not wanted:
        return 0
    return len({space for part in parts_of(wanted) for (space,) in _HEADS.rows(connection, spaces=part)})


class AuditLog:
    """The logs of one installation. Implements `auth.events.Recorder`. Safe to use from any number of threads."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self.database = database
        self.keyring = keyring
        self._guard = threading.Lock()
        self._unseen: dict[tuple[bytes, int], tuple[Actor, int]] = {}

    # --- writing

    def record(self, connection: Connection, event: Event, audience: Mapping[bytes, Projection]) -> None:
        """Record an event in the supplier's log of its space, and in the stream of each party of `audience`.

        Runs inside the transaction of the act, which makes it durable. Raises UnknownKind.
        """
        self.record_bodies(connection, [Body.of(event)], audience)

    def record_auth(self, connection: Connection, event: AuthEvent) -> None:
        """Record an event without a space, in the installation's log and in the streams of those whom it is told to."""
        made = Event(
            event.kind, event.at, event.actor, facts=event.facts, personal=event.personal, rows_digest=event.rows_digest
        )
        if event.kind.endswith(("refused", "throttled")):
            made = replace(made, outcome="refused")
        audience = dict.fromkeys(event.told | {event.organisation or NOBODY}, Projection.FULL)
        audience.pop(NOBODY, None)
        self.record_bodies(connection, [Body.of(made)], audience)

    def record_bodies(
        self, connection: Connection, bodies: Sequence[Body], audience: Mapping[bytes, Projection]
    ) -> None:
        """Number events into their logs, in their order. What `record` does, for events that already have their salts:
        of one space (or of none), for the same parties. Raises UnknownKey before anything is written.
        """
        self.sealer(bodies[0].space)
        parties = [NOBODY, *(party for party in audience if party)]
        logs = self._grown(connection, bodies[0].space, parties, len(bodies))
        rows: list[dict[str, Any]] = []
        for body in bodies:
            rows += self._rows(body, logs, audience)
            logs = [log._replace(size=log.size + 1) for log in logs]
        _NUMBERED.run_many(connection, rows)

    def _rows(self, body: Body, logs: Sequence[_Growing], audience: Mapping[bytes, Projection]) -> list[dict[str, Any]]:
        """Return the entries of an event: the supplier's with its body, and one for each party."""
        wanted = {party: body.narrowed(projection, party) for party, projection in audience.items() if party}
        own = next(log for log in logs if log.party == NOBODY)
        streams = [log for log in logs if log.party != NOBODY]
        body = body.sent_to([(log.id, log.size) for log in streams])
        digest = streams_digest([(log.uid.hex(), log.size) for log in streams])
        sealed = self.sealer(body.space).seal(body_label(own.uid, own.size), body.to_bytes())
        first = _row(body, own, body.event_json(Projection.FULL, digest), Projection.FULL)
        rows = [{**first, "body": sealed, "source_log": None, "source_number": None}]
        seen = {projection: body.event_json(projection) for projection in set(wanted.values())}
        for log in streams:
            projection = wanted[log.party]
            made = _row(body, log, seen[projection], projection)
            rows.append({**made, "body": None, "source_log": own.id, "source_number": own.size})
        return rows

    def _grown(self, connection: Connection, space: bytes, parties: Sequence[bytes], count: int) -> list[_Growing]:
        """Let each log take so many events, made where it is missing; return them in the order of their ids."""
        if not hold(connection, [space]) and self.database.dialect == "postgresql":
            _LOCKED.rows(connection, space=space, parties=parties)  # in one order, lest two wait for each other
        found = _GROW.returned(connection, b_space=space, b_parties=parties, b_count=count)
        if len(found) < len(parties):
            missing = sorted(set(parties) - {party for _, party, _, _ in found})
            fresh = {"space": space, "size": 0, "signed_size": 0}
            # The supplier's first, and alone: who has counted in it has the others to himself. Else two who make logs
            # at once could each wait for one of the other's.
            for some in filter(None, (missing[:1], missing[1:])):
                _MAKE.run_many(connection, [{**fresh, "party": party, "uid": self.uid(space, party)} for party in some])
                found += _GROW.returned(connection, b_space=space, b_parties=some, b_count=count)
        return [_Growing(id, party, uid, size - count) for id, party, uid, size in sorted(found)]

    def uid(self, space: bytes, party: bytes) -> bytes:
        """Return the uid of a log: a keyed digest of whose it is, so that no log can be given to another party."""
        key = self.keyring.installation().digests
        return hashlib.blake2b(space + b"/" + party, key=key, digest_size=16, person=b"mellanrum log").digest()

    def sealer(self, space: bytes) -> Sealer:
        """Return what seals the bodies of a space's events, or of the installation's. Raises UnknownKey."""
        return self.keyring.space(space).audit if space else self.keyring.installation().audit

    # --- probes

    def note_unseen(self, actor: Actor) -> None:
        """Count that something was asked for which is not there, or must seem so. `flush_unseen` records the counts."""
        minute = now_us() // _MINUTE_US
        with self._guard:
            key = (actor.principal, minute)
            if key not in self._unseen and len(self._unseen) >= UNSEEN_MAX:
                return
            self._unseen[key] = (actor, self._unseen.get(key, (actor, 0))[1] + 1)

    def flush_unseen(self, *, everything: bool = False) -> int:
        """Record the counts of minutes that are over (or `everything`) in the installation's log; return how many."""
        current = now_us() // _MINUTE_US
        with self._guard:
            due = {key: found for key, found in self._unseen.items() if everything or key[1] != current}
            for key in due:
                del self._unseen[key]
        if not due:
            return 0

        def work(connection: Connection) -> None:
            for (_, minute), (actor, count) in due.items():
                event = Event("unseen", minute * _MINUTE_US, actor, facts={"count": count}, outcome="refused")
                self.record(connection, event, {})

        try:
            self.database.apply(work)
        except BaseException:
            with self._guard:
                for key, (actor, count) in due.items():
                    self._unseen[key] = (actor, count + self._unseen.get(key, (actor, 0))[1])
            raise
        return len(due)

    # --- reading

    def logs(self, connection: Connection, space: bytes | None = None) -> list[LogInfo]:
        """Return all logs, or those of a space (empty: the installation's): supplier's first, then the streams."""
        query = select(_LOG.id, _LOG.space, _LOG.party, _LOG.uid, _LOG.size, _LOG.signed_size)
        if space is not None:
            query = query.where(_LOG.space == space)
        return [LogInfo(*row) for row in connection.execute(query.order_by(_LOG.space, _LOG.party))]

    def find(self, connection: Connection, space: bytes, party: bytes = NOBODY) -> LogInfo:
        """Return one log. Raises UnknownLog; a party's stream begins with the first event it may see."""
        for found in self.logs(connection, space):
            if found.party == party:
                return found
        raise UnknownLog

    def entries(
        self, connection: Connection, log: LogInfo, start: int = 0, count: int | None = None
    ) -> Iterator[Entry]:
        """Yield events of a log by number, as its reader may see them, a batch at a time.

        Raises EntryDamaged for one that cannot be opened or is not what its hash says, UnknownKey for an erased space.
        """
        uids = self.uids(connection, log.space)
        end = log.size if count is None else min(log.size, start + count)
        expected = start
        for row in stored(connection, log.id, start, end):
            try:
                if row.number != expected:
                    raise ValueError("an event is missing")
                body = self.open_body(log, row, uids)
                found = projected(log, row, body, uids)
            except (SealBroken, ValueError, KeyError, TypeError):
                raise EntryDamaged(log=log.uid.hex(), number=expected) from None
            if leaf_hash(found.leaf) != row.leaf_hash:
                raise EntryDamaged(log=log.uid.hex(), number=row.number)
            yield found
            expected += 1
        if expected < end:
            raise EntryDamaged(log=log.uid.hex(), number=expected)

    def uids(self, connection: Connection, space: bytes) -> dict[int, bytes]:
        """Return the uid of each log of a space by its id."""
        rows = connection.execute(select(_LOG.id, _LOG.uid).where(_LOG.space == space))
        return {row.id: row.uid for row in rows}

    def open_body(self, log: LogInfo, row: Any, uids: Mapping[int, bytes]) -> Body:
        """Open the body of a row of `stored`. Raises SealBroken, ValueError, KeyError; UnknownKey."""
        source, number = (log.id, row.number) if row.source_log is None else (row.source_log, row.source_number)
        if row.sealed is None:
            raise ValueError("the event's source is missing")
        return Body.from_bytes(self.sealer(log.space).open(body_label(uids[source], number), row.sealed))

    # --- erasure

    def forget(
        self, connection: Connection, which: Callable[[Body], Collection[str]], space: bytes | None = None
    ) -> int:
        """Erase openings for good, in all logs or those of one space; return how many events lost some.

        `which` names the personal fields of an event to erase; `of_person` makes one. Leaves, trees, checkpoints and
        their proofs stay as they are. Spaces whose key was destroyed are passed over: nothing in them opens any more.
        """
        changed = 0
        for log in self.logs(connection, space):
            if log.party == NOBODY:
                changed += self._forget_in(connection, log, which)
        return changed

    def _forget_in(self, connection: Connection, log: LogInfo, which: Callable[[Body], Collection[str]]) -> int:
        if log.space and log.space not in self.keyring.keystore.list():
            return 0
        changed = 0
        sealer = self.sealer(log.space)
        for row in stored(connection, log.id, 0, log.size):
            if not self._erasable(log, row, which)[1]:
                continue
            # Whoever erases something else of it at this moment was first: what they wrote is what this goes on from.
            connection.execute(_BODY, {"log": log.id, "number": row.number}).first()
            (row,) = stored(connection, log.id, row.number, row.number + 1)
            body, names = self._erasable(log, row, which)
            sealed = sealer.seal(body_label(log.uid, row.number), body.without(names).to_bytes())
            connection.execute(
                update(tables.log_entry).where(_ENTRY.log == log.id, _ENTRY.number == row.number).values(body=sealed)
            )
            changed += 1
        return changed

    def _erasable(
        self, log: LogInfo, row: Any, which: Callable[[Body], Collection[str]]
    ) -> tuple[Body, Collection[str]]:
        """Return the body of an event, and which of the fields that `which` names are not erased yet."""
        try:
            body = self.open_body(log, row, {log.id: log.uid})
        except (SealBroken, ValueError, KeyError):
            raise EntryDamaged(log=log.uid.hex(), number=row.number) from None
        return body, [name for name in which(body) if name in body.personal and body.personal[name].salt is not None]


def of_person(person: bytes, *, fields: Collection[str] = ()) -> Callable[[Body], Collection[str]]:
    """Return, for `forget`, what tells of a person: all of the actor they were, and `fields` of what they did.

    An event about the person, done by another, says so by the fact "person"; of it, all that was typed is erased.
    """
    text = person.hex()

    def which(body: Body) -> Collection[str]:
        actor = body.personal.get(ACTOR_PERSON)
        names: set[str] = set()
        if actor is not None and actor.value == text:
            names |= {name for name in body.personal if name.startswith("actor.")} | set(fields)
        if body.fields["facts"].get("person") == text:
            names |= {name for name in body.personal if not name.startswith("actor.")}
        return names

    return which


def stored(connection: Connection, log: int, start: int, end: int) -> Iterator[Any]:
    """Yield rows of a log with their sealed bodies, by number, a batch at a time."""
    while start < end:
        rows = list(connection.execute(_STORED, {"log": log, "start": start, "end": min(end, start + BATCH)}))
        yield from rows
        start += BATCH


def _row(body: Body, log: _Growing, event_json: bytes, projection: Projection) -> dict[str, Any]:
    return {
        "log": log.id,
        "number": log.size,
        "at": body.at,
        "leaf_hash": leaf_hash(leaf(event_json, log.uid, log.size)),
        "projection": int(projection),
    }


def projected(log: LogInfo, row: Any, body: Body, uids: Mapping[int, bytes]) -> Entry:
    """Return a stored event as the reader of its log may see it."""
    projection = Projection(row.projection)
    digest = None
    if row.source_log is None:
        digest = streams_digest([(uids[stream].hex(), number) for stream, number in body.streams])
    made = leaf(body.event_json(projection, digest), log.uid, row.number)
    shown = body.shown(projection, is_own=row.source_log is None)
    return Entry(log.id, row.number, made, row.leaf_hash, shown)
