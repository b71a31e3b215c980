"""How a drive runs an operation: in a snapshot or a shared transaction, its refusal recorded where it was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection

from auth.rights import Principal
from config.database import Syncable
from providers.audit.events import Event
from providers.drive import braking
from providers.drive.places import Container
from providers.drive.storage import Storage
from providers.drive.transaction import Look, Refusal, Transaction, actor_of
from providers.errors import DriveError, NotFound
from providers.paths import Path

T = TypeVar("T")
REPLANS_MAX = 20


class Replan(Exception):
    """What was prepared before the transaction no longer fits what stands; prepare it anew."""


class Session:
    """One principal at work on one installation."""

    def __init__(self, storage: Storage, principal: Principal) -> None:
        self.storage = storage
        self.principal = principal

    @contextmanager
    def look(self) -> Iterator[Look]:
        """Give a snapshot; note what was not found, record what was refused."""
        try:
            with self.storage.database.read() as connection:
                yield Look(self.storage, connection, self.principal)
        except Refusal as refusal:
            self._record(refusal)
            raise refusal.taken_out() from None
        except NotFound as absent:
            self._unseen(absent)
            raise

    def commit(
        self,
        paths: Iterable[Path],
        work: Callable[[Transaction], T],
        *,
        needs: Iterable[Syncable] = (),
        space: bytes | None = None,
    ) -> T:
        """Run `work` in a transaction and return once it is durable. `paths` tell which spaces it may change, unless
        it is known to change one `space` alone.
        """
        spaces = self._spaces(paths) if space is None else frozenset((space,))
        begun: list[Transaction] = []

        def operation(connection: Connection) -> T:
            begun[:] = [Transaction(self.storage, connection, self.principal, spaces)]
            return work(begun[0])

        try:
            made = self.storage.database.apply(operation, needs, spaces, in_turn=True)
        except Refusal as refusal:
            self._record(refusal)
            raise refusal.taken_out() from None
        except NotFound as absent:
            self._unseen(absent)
            raise
        self._learn(begun[0])
        braking.note(self.storage, begun[0])
        return made

    def _learn(self, committed: Transaction) -> None:
        """Remember what a transaction let stand, and what it left alone."""
        known = self.storage.known
        for step in committed.steps:
            known.done(step)
        for found in committed.found:
            known.keep(committed.sight.serial, found)

    def _spaces(self, paths: Iterable[Path]) -> frozenset[bytes]:
        """Return the spaces to hold. On SQLite none need be: its writer is alone."""
        if self.storage.database.dialect == "sqlite":
            return frozenset()
        found: set[bytes] = set()
        with self.storage.database.read() as connection:
            look = Look(self.storage, connection, self.principal)
            for path in paths:
                for above in (path, path.parent):
                    try:
                        place = look.find(above)
                    except DriveError:
                        continue
                    if not isinstance(place, Container):
                        found.add(place.space.id)
        return frozenset(found)

    def _record(self, refusal: Refusal) -> None:
        """Record that an act on something seen was refused, in the log of its space."""
        place = refusal.place

        def work(connection: Connection) -> None:
            look = Look(self.storage, connection, self.principal)
            event: Event = look.event(
                "refused", place, look.at, facts={"action": str(refusal.action)}, outcome="refused"
            )
            self.storage.audit.record(connection, event, look.audience(place.space, place.chain))

        self.storage.database.apply(work, heads=[place.space.id])

    def _unseen(self, absent: NotFound) -> None:
        """Note it, but where an operating system only looks whether it left something there."""
        if absent.facts.get("is_noise"):
            return
        self.storage.audit.note_unseen(actor_of(self.storage, self.principal))
