"""Locks of RFC 4918, shared by all processes. A lock belongs to a name in a folder: (parent, lane, folded name).

They live in the transient tables: a lock lost with the machine's power is a lock that has run out. Mostly none stands,
or few: while the stamp of the locks stays, a process knows from memory which. The stamp is renewed after a change is
committed and before anybody is told of it; who takes a lock keeps writers away meanwhile. So a writer that finds the
stamp as it was knows all locks that anybody relies on.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, and_, bindparam, delete, func, or_, select, tuple_, update

from auth.keyring import Keyring, Sealer
from config.clock import APART_US_MAX, SECOND_US, now_us
from config.database import Database
from config.queries import Query
from config.statements import Statement
from providers import tables
from providers.catalogue.nodes import Node
from providers.errors import LockNotFound

SECONDS_MAX = 3600
#: A lock that runs longer than from now on any may was taken by a clock that was ahead, and stands no more.
AHEAD_US_MAX = SECONDS_MAX * SECOND_US + APART_US_MAX
#: How long a lock that ran out is remembered, so that who held it may go on where nobody came between (a laptop slept).
LAPSED_US = 7 * 24 * 3600 * SECOND_US
#: Of how many locks in all a process remembers which they are.
REMEMBERED_MAX = 64
TOKEN_PREFIX = "urn:uuid:"  # noqa: S105 (a scheme, no secret)


class Slot(NamedTuple):
    """A name in a folder, whether or not anything stands there."""

    parent: bytes
    lane: bytes
    folded: bytes

    @classmethod
    def of(cls, node: Node) -> Slot:
        """Return the slot that a node fills."""
        return cls(node.parent, node.lane, node.folded)


class HeldLock(NamedTuple):
    """A lock that has not run out. `expires_at` is in microseconds; `owner` is what the client said, as XML, sealed."""

    token: bytes
    space: bytes
    slot: Slot
    node: bytes
    principal: bytes
    organisation: bytes
    device: bytes
    is_deep: bool
    is_shared: bool
    owner: bytes
    seconds: int
    expires_at: int

    @property
    def token_text(self) -> str:
        """The token as clients write it."""
        return TOKEN_PREFIX + str(uuid.UUID(bytes=self.token))


_LOCK = tables.lock
_COLUMNS = _LOCK.c
_STANDS = and_(_COLUMNS.expires_at > bindparam("now"), _COLUMNS.expires_at <= bindparam("latest"))
_ON_SLOTS = Query(
    select(_LOCK).where(
        tuple_(_COLUMNS.parent, _COLUMNS.lane, _COLUMNS.folded).in_(bindparam("slots", expanding=True)),
        _STANDS,
    )
)
_LAPSED = Query(select(_LOCK).where(_COLUMNS.token == bindparam("token"), _COLUMNS.expires_at <= bindparam("now")))
_IN_SPACE = Query(select(_LOCK).where(_COLUMNS.space == bindparam("space"), _STANDS))
_STANDING = Query(select(_LOCK).where(_STANDS))
_FIRST = Query(select(_LOCK).where(_STANDS).limit(bindparam("count", type_=BigInteger)))
_IN_FOLDER = Query(select(_LOCK).where(_COLUMNS.parent == bindparam("parent"), _STANDS))
_OF_PERSON = Query(select(func.count()).select_from(_LOCK).where(_COLUMNS.principal == bindparam("principal")))
_ADD = Statement(lambda insert: insert(_LOCK).on_conflict_do_nothing())
_REFRESH = Statement(
    update(_LOCK)
    .where(_COLUMNS.token == bindparam("b_token"), _STANDS)
    .values(seconds=bindparam("b_seconds"), expires_at=bindparam("b_expires_at"))
)
_HAND_OVER = Statement(update(_LOCK).where(_COLUMNS.node == bindparam("b_node")).values(node=bindparam("b_heir")))
_REMOVE = Statement(delete(_LOCK).where(_COLUMNS.token.in_(bindparam("tokens", expanding=True))))


class _Known(NamedTuple):
    """The locks that stood by their slots while the stamp was this one; None until they were asked for, or too many."""

    stamp: int | None
    by_slot: Mapping[Slot, Sequence[HeldLock]] | None
    are_many: bool = False


class Locks:
    """The locks of one installation."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._stamp = database.locks_stamp
        self._known = _Known(None, None)

    def on(self, slots: Sequence[Slot]) -> list[HeldLock]:
        """Return the locks that were taken on these very slots."""
        by_slot = self._remembered()
        if by_slot is not None:
            if not by_slot:
                return []
            now, latest = _moment().values()
            return [lock for slot in slots for lock in by_slot.get(slot, ()) if now < lock.expires_at <= latest]
        with self._database.transient_ask() as connection:
            return _held(_ON_SLOTS.rows(connection, slots=slots, **_moment()))

    def _remembered(self) -> Mapping[Slot, Sequence[HeldLock]] | None:
        """Return all locks that stand, if none changed since they were asked for; None where that is not known.

        They are asked for when the stamp is met a second time: who takes and frees locks need not read those of others.
        """
        if self._stamp is None:
            return None
        known = self._known
        if known.stamp is None and self._stamp.value() is not None:
            self._stamp.renew()  # this process may stand in for one that was killed between a change and its stamp
        stamp = self._stamp.value()  # before anything is read: that is as new, or newer
        if stamp is None:
            return None
        if stamp != known.stamp:
            self._known = _Known(stamp, None)
            return None
        if known.by_slot is None and not known.are_many:
            known = self._known = self._asked(stamp)
        return known.by_slot

    def _asked(self, stamp: int) -> _Known:
        with self._database.transient_ask() as connection:
            found = _held(_FIRST.rows(connection, **_moment(), count=REMEMBERED_MAX + 1))
        if len(found) > REMEMBERED_MAX:
            return _Known(stamp, None, are_many=True)
        by_slot: dict[Slot, list[HeldLock]] = {}
        for lock in found:
            by_slot.setdefault(lock.slot, []).append(lock)
        return _Known(stamp, by_slot)

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        """Give the writer's connection; all processes learn that something changed before this one goes on."""
        stamp = self._stamp
        if stamp is not None:
            stamp.prepare()
        try:
            with self._database.transient_write() as connection:
                yield connection
        finally:
            if stamp is not None:
                stamp.renew()

    def inside(self, space: bytes) -> list[HeldLock]:
        """Return all locks of a space."""
        with self._database.transient_ask() as connection:
            return _held(_IN_SPACE.rows(connection, space=space, **_moment()))

    def in_folder(self, parent: bytes) -> list[HeldLock]:
        """Return the locks on names directly in a folder."""
        with self._database.transient_ask() as connection:
            return _held(_IN_FOLDER.rows(connection, parent=parent, **_moment()))

    def lapsed(self, token: bytes) -> HeldLock | None:
        """Return a lock that ran out within LAPSED_US; None for one that stands, was let go, or never was."""
        with self._database.transient_ask() as connection:
            return next(iter(_held(_LAPSED.rows(connection, token=token, now=now_us()))), None)

    def forget_lapsed(self) -> None:
        """Forget the locks that ran out too long ago, and those that a clock took which was ahead."""
        now, latest = _moment().values()
        long_gone = or_(_COLUMNS.expires_at <= now - LAPSED_US, _COLUMNS.expires_at > latest)
        with self._database.transient_ask() as connection:
            stale = connection.execute(select(_COLUMNS.token).where(long_gone)).first()
        if stale is not None:
            with self._changing() as connection:
                connection.execute(delete(_LOCK).where(long_gone))

    def add(self, lock: HeldLock) -> None:
        """Keep a lock. The caller has seen, and keeps others from changing, that nothing stands against it."""
        row = {**lock._asdict(), **lock.slot._asdict()}
        del row["slot"]
        with self._changing() as connection:
            _ADD.run(connection, **row)

    def has_room(self, principal: bytes, locks_max: int) -> bool:
        """Return whether a person may take one more lock. Those that ran out are forgotten of whoever has that many."""
        with self._database.transient_ask() as connection:
            if _OF_PERSON.rows(connection, principal=principal)[0][0] < locks_max:
                return True
        lapsed = (_COLUMNS.principal == principal) & (_COLUMNS.expires_at <= now_us())
        with self._changing() as connection:
            connection.execute(delete(_LOCK).where(lapsed))
            return bool(_OF_PERSON.rows(connection, principal=principal)[0][0] < locks_max)

    def refresh(self, token: bytes, seconds: int) -> int:
        """Let the lock stand for `seconds` from now; return when it will run out, in microseconds.

        The caller keeps others from taking locks meanwhile. Raises LockNotFound if it stands no more.
        """
        moment = _moment()
        expires_at = moment["now"] + seconds * SECOND_US
        with self._changing() as connection:
            if not _REFRESH.run(connection, b_token=token, b_seconds=seconds, b_expires_at=expires_at, **moment):
                raise LockNotFound
        return expires_at

    def hand_over(self, node: bytes, heir: bytes) -> None:
        """Let the locks taken when `node` stood be those of the node that stands in its place."""
        with self._changing() as connection:
            _HAND_OVER.run(connection, b_node=node, b_heir=heir)

    def remove(self, tokens: Iterable[bytes]) -> None:
        """Let the locks go."""
        wanted = list(tokens)
        if wanted:
            with self._changing() as connection:
                _REMOVE.run(connection, tokens=wanted)

    def all(self) -> list[HeldLock]:
        """Return every lock that has not run out."""
        with self._database.transient_ask() as connection:
            return _held(_STANDING.rows(connection, **_moment()))

    def sealed_owner(self, token: bytes, owner: str) -> bytes:
        """Return what a client said of the owner of a lock, as it is kept."""
        return self._sealer.seal(b"lock" + token, owner.encode("utf-8"))

    def owner(self, lock: HeldLock) -> str:
        """Return what the client said of the lock's owner, as XML."""
        return self._sealer.open(b"lock" + lock.token, lock.owner).decode("utf-8")

    @property
    def _sealer(self) -> Sealer:
        return self._keyring.installation().general


def _moment() -> dict[str, int]:
    """Return between which times, in microseconds, a lock runs out that stands now."""
    now = now_us()
    return {"now": now, "latest": now + AHEAD_US_MAX}


def _held(rows: Iterable[tuple[Any, ...]]) -> list[HeldLock]:
    """Return the locks of rows, whose columns stand in the order of the table."""
    return [HeldLock(row[0], row[1], Slot(*row[2:5]), *row[5:]) for row in rows]


def new_token() -> bytes:
    """Return a fresh lock token: the 16 bytes of a random UUID."""
    return uuid.uuid4().bytes


def token_of(text: str) -> bytes | None:
    """Return the token that a client wrote, with or without angle brackets; None if it is none of ours."""
    bare = text.strip().removeprefix("<").removesuffix(">")
    if not bare.startswith(TOKEN_PREFIX):
        return None
    try:
        return uuid.UUID(bare.removeprefix(TOKEN_PREFIX)).bytes
    except ValueError:
        return None
