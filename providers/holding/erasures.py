"""Erasures as their keepers ask for them, approve them and look at them: two persons, unless one is settled to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo
from functools import partial
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from auth import tables as auth_tables
from auth.errors import KeyringError, UnknownName
from auth.events import AuthEvent
from auth.rights import Principal
from config.ids import new_id
from config.logging import get_log
from config.settings.schema import HistorySettings
from config.snapshots import writes
from providers import tables
from providers.audit.events import Event, Projection
from providers.audit.log import hold
from providers.catalogue import contents
from providers.catalogue.change import ChangeKind
from providers.drive.sight import space_info
from providers.drive.storage import Storage
from providers.drive.transaction import Transaction, actor_of
from providers.errors import NotFound
from providers.holding import rules, subjects
from providers.holding.erasing import Contents, Gone, Which, erase, forget_comments, forget_names
from providers.holding.errors import ErasedBefore, NotADocument, NotPending, SecondPersonNeeded, SupplierStays
from providers.holding.letting_go import LettingGo
from providers.holding.model import Elsewhere, Erasure, Kind, State, Words, erasure, subject_of
from providers.holding.sweeping import Sweeper, Swept, whenever
from providers.holding.thinning import thinnable
from providers.model import SpaceInfo
from providers.paths import Path

_log = get_log("erasures")

_E = tables.erasure.c
_FIELDS: Mapping[str, Any] = {"space": None, "customer": None, "node": None, "number": None}
#: How many places where erased content still stands a report names.
ELSEWHERE_MAX = 1000


class Erasures:
    """All erasures of an installation. Nothing in them gives sight of a content."""

    def __init__(self, storage: Storage, settings: HistorySettings) -> None:
        self._storage = storage
        self._settings = settings
        self.letting_go = LettingGo(storage)
        self.sweeper = Sweeper(storage, self.letting_go)

    # --- asking

    def request_version(self, actor: Principal, space: bytes, node: bytes, number: int, reason: str) -> Erasure:
        """Ask that one version, by its document's own number, be erased. Raises what would keep it from going."""
        return self._request(actor, Kind.VERSION, reason, space=space, node=node, number=number)

    def request_document(self, actor: Principal, space: bytes, node: bytes, reason: str) -> Erasure:
        """Ask that a document be erased: its versions, properties and names."""
        return self._request(actor, Kind.DOCUMENT, reason, space=space, node=node)

    def request_space(self, actor: Principal, space: bytes, reason: str) -> Erasure:
        """Ask that a space be erased by destroying its key."""
        return self._request(actor, Kind.SPACE, reason, space=space)

    def request_customer(self, actor: Principal, customer: bytes, reason: str) -> Erasure:
        """Ask that all of a customer be erased: its spaces, and what is known of its people."""
        return self._request(actor, Kind.CUSTOMER, reason, customer=customer)

    def _request(self, actor: Principal, kind: Kind, reason: str, **what: Any) -> Erasure:
        rules.require_keeper(actor)
        identity, named = new_id(), {**_FIELDS, **what}
        storage = self._storage

        def work(connection: Connection) -> Erasure:
            tx = Transaction(storage, connection, actor)
            rules.require_keeper(tx.principal)
            paths = self._checked(tx, kind, named)
            words = Words(reason, actor.name, actor.id.hex(), subject_of(kind, **named), paths=paths)
            row = self._row(identity, kind, tx.at, words, named)
            connection.execute(insert(tables.erasure), row)
            made = erasure(storage.keyring, row)
            personal = {"path": paths[0]} if paths else {}
            self._tell(tx, "erasure_requested", made, {"reason": reason, **personal})
            return made

        return storage.database.apply(work, heads=filter(None, [what.get("space")]))

    def _row(self, identity: bytes, kind: Kind, at: int, words: Words, named: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": identity, "kind": int(kind), "state": int(State.REQUESTED), **named, "requested_at": at,
            "done_at": None, "change": None, "swept_at": None, "words": words.sealed(self._storage.keyring, identity),
        }  # fmt: skip

    def _checked(self, tx: Transaction, kind: Kind, named: Mapping[str, Any]) -> tuple[str, ...]:
        """Raise what keeps this from being erased; return the paths that a document stood at, newest first."""
        sure = self._storage.steady.seen().sure
        if kind is Kind.CUSTOMER:
            if named["customer"] == self._storage.directory.supplier_id:
                raise SupplierStays
            for info in self._spaces_of(tx, named["customer"]):
                rules.require_all_over(tx.connection, info, tx.at, sure)
            return ()
        info = self._info(tx, named["space"])
        if kind is Kind.SPACE:
            rules.require_all_over(tx.connection, info, tx.at, sure)
            return ()
        self._versions(tx, info, named["node"], named["number"])
        return subjects.paths_of(self._storage, tx.connection, named["node"])

    def _versions(
        self, tx: Transaction, info: SpaceInfo, node: bytes, number: int | None
    ) -> Sequence[Mapping[Any, Any]]:
        """Return the rows of a document's versions, or of one, that may go; raise what keeps one from going."""
        if subjects.is_folder(tx.connection, info.id, node):
            raise NotADocument
        every = [row for row in contents.versions(tx.connection, node) if row["space"] == info.id]
        found = [row for row in every if number is None or row["number"] == number]
        if number is not None and not found:
            raise NotFound
        left = [row for row in found if row["erased_in"] is None]
        if found and not left:
            raise ErasedBefore
        if number is not None:
            rules.require_older(tx.connection, node, number)
        rules.require_over(info, left, tx.at, self._storage.steady.seen().sure)
        return left

    # --- agreeing

    def approve(self, actor: Principal, identity: bytes) -> Erasure:
        """Do what was asked for. Raises SecondPersonNeeded, NotPending, and what keeps it from going now."""
        rules.require_keeper(actor)
        found = self.get(identity)
        if found.kind in (Kind.SPACE, Kind.CUSTOMER):
            self._storage.database.apply(lambda connection: self._end(connection, actor, found))
        else:
            self._erase(actor, found)
        self.finish(self.get(identity))
        if found.kind not in (Kind.SPACE, Kind.CUSTOMER) and found.space is not None:
            self.sweeper.review(found.space)
        return self.get(identity)

    def cancel(self, actor: Principal, identity: bytes) -> Erasure:
        """Let what was asked for not be done. Raises NotPending."""
        rules.require_keeper(actor)
        asked = self.get(identity)

        def work(connection: Connection) -> None:
            hold(connection, [] if asked.space is None else [asked.space])
            tx = Transaction(self._storage, connection, actor)
            rules.require_keeper(tx.principal)
            found = self._pending(connection, identity)
            connection.execute(update(tables.erasure).where(_E.id == identity).values(state=int(State.CANCELLED)))
            self._tell(tx, "erasure_cancelled", found, {})

        self._storage.database.apply(work)
        return self.get(identity)

    def _pending(self, connection: Connection, identity: bytes) -> Erasure:
        found = self._get(connection, identity)
        if found.state is not State.REQUESTED:
            raise NotPending
        return found

    def _agreed(self, tx: Transaction, identity: bytes) -> Erasure:
        """Return what was asked for, if this principal may approve it and nothing keeps it from going."""
        rules.require_keeper(tx.principal)
        found = self._pending(tx.connection, identity)
        if self._settings.erasure_persons > 1 and found.words.asked_id == tx.principal.id.hex():
            raise SecondPersonNeeded
        fields = {name: getattr(found, name) for name in _FIELDS}
        self._checked(tx, found.kind, fields)
        return found

    def _erase(self, actor: Principal, asked: Erasure) -> None:
        assert asked.space is not None
        assert asked.node is not None
        space, node, storage = asked.space, asked.node, self._storage
        known = Contents(storage, space)
        with storage.database.read() as connection:
            standing = [row for row in contents.versions(connection, node) if asked.number in (None, row["number"])]
            elsewhere = subjects.elsewhere(connection, space, standing, ELSEWHERE_MAX)
        known.learn(standing)

        def work(connection: Connection) -> None:
            tx = Transaction(storage, connection, actor, [space])
            found = self._agreed(tx, asked.id)
            info = self._info(tx, space)
            rows = self._versions(tx, info, node, found.number)
            which = [Which(row["node"], row["number"]) for row in rows]
            whole = [node] if found.kind is Kind.DOCUMENT else []
            audience = subjects.audience(tx, info, node)
            gone = erase(storage, connection, tx.change(space), which, whole, known, tx.at)
            if gone.said:
                forget_comments(storage, connection, space, which)
            self._done(tx, found, gone, audience, elsewhere)

        storage.database.apply(work, heads=[space])

    def _done(
        self,
        tx: Transaction,
        found: Erasure,
        gone: Gone,
        audience: dict[bytes, Projection],
        elsewhere: tuple[Elsewhere, ...] = (),
    ) -> None:
        """End the change of an erasure: its event, and what is known of it from now on."""
        assert found.space is not None
        thins = found.kind is Kind.THINNING
        change = tx.change(found.space)
        digest = change.finish(ChangeKind.THIN if thins else ChangeKind.ERASE, tx.author)
        count, size = len(gone.versions), sum(row["size"] for row in gone.versions)
        # Thinning goes through documents of all: how many there are is not for each party that may see the space.
        told = {"thinned_versions": count, "thinned_bytes": size} if thins else {"versions": count, "size": size}
        facts: dict[str, str | int] = {"change": change.number, "erasure": found.id.hex(), **told}
        if found.number is not None:
            facts["version"] = found.number
        event = Event(
            "thinned" if thins else "erased", change.at, actor_of(self._storage, tx.principal), found.space,
            found.node or found.space, facts, {"requested_by": found.words.asked_by}, digest,
        )  # fmt: skip
        self._storage.audit.record(tx.connection, event, audience)
        words = replace(found.words, approved_by=tx.principal.name, elsewhere=elsewhere)
        self._settle(tx, found, words, tx.at, change.number)

    def _settle(self, tx: Transaction, found: Erasure, words: Words, at: int, change: int | None) -> None:
        values = {
            "state": int(State.DONE), "done_at": at, "change": change,
            "words": words.sealed(self._storage.keyring, found.id),
        }  # fmt: skip
        tx.connection.execute(update(tables.erasure).where(_E.id == found.id).values(**values))

    # --- thinning

    def thinnable(self, space: bytes, zone: tzinfo, *, anyway: bool = False) -> list[Mapping[Any, Any]]:
        """Return the rows of the versions that a space's thinning lets go of now: as of what is surely come, or
        `anyway` of what the clock says.
        """
        sure = self._storage.steady.seen().sure
        with self._storage.database.read() as connection:
            row = connection.execute(select(tables.space).where(tables.space.c.id == space)).mappings().one()
            info = space_info(self._storage.keyring, row)
            return thinnable(connection, info, self._storage.database.now_us(connection) if anyway else sure, zone)

    def thin(self, actor: Principal, space: bytes, zone: tzinfo, *, anyway: bool = False) -> Erasure | None:
        """Let go of what `thinnable` says, as one change; return what was done, None if nothing."""
        rules.require_keeper(actor)
        storage, identity = self._storage, new_id()
        sure, going = storage.steady.seen().sure, self.thinnable(space, zone, anyway=anyway)
        if not going:
            return None
        known = Contents(storage, space)
        known.learn(going)

        def work(connection: Connection) -> bool:
            tx = Transaction(storage, connection, actor, [space])
            rules.require_keeper(tx.principal)
            info = self._info(tx, space)
            found = thinnable(connection, info, tx.at if anyway else sure, zone)
            if not found:
                return False
            subject = subject_of(Kind.THINNING, space, None, None, None)
            words = Words("thinning", tx.principal.name, tx.principal.id.hex(), subject)
            row = self._row(identity, Kind.THINNING, tx.at, words, {**_FIELDS, "space": space})
            connection.execute(insert(tables.erasure), row)
            which = [Which(each["node"], each["number"]) for each in found]
            gone = erase(storage, connection, tx.change(space), which, [], known, tx.at)
            self._done(tx, erasure(storage.keyring, row), gone, tx.audience_of_space(info))
            return True

        if not storage.database.apply(work, heads=[space]):
            return None
        self.sweeper.review(space)
        return self.get(identity)

    def thin_all(self, actor: Principal, zone: tzinfo) -> None:
        """Thin every space for which that is settled."""
        with self._storage.database.read() as connection:
            table = tables.space.c
            chosen = table.thin_all_days.is_not(None) & table.ended_at.is_(None) & table.is_held.is_(False)
            spaces = list(connection.execute(select(table.id).where(chosen)).scalars())
        for space in spaces:
            try:
                self.thin(actor, space, zone)
            except KeyringError as error:  # of this space alone
                _log.error("not_thinned", error, space=space)

    # --- spaces and customers

    def _end(self, connection: Connection, actor: Principal, asked: Erasure) -> None:
        """Let spaces be no longer, for good; their keys go next."""
        table = tables.space.c
        chosen = table.id == asked.space if asked.space is not None else table.customer == asked.customer
        standing = connection.execute(select(table.id).where(chosen, table.ended_at.is_(None))).scalars().all()
        tx = Transaction(self._storage, connection, actor, standing)
        found = self._agreed(tx, asked.id)
        infos = self._spaces_of(tx, found.customer) if found.space is None else [self._info(tx, found.space)]
        for info in infos:
            self._end_one(tx, info, found)
        kind = "customer_erased" if found.kind is Kind.CUSTOMER else "space_erased"
        facts: dict[str, str | int] = {"erasure": found.id.hex(), "spaces": len(infos)}
        if found.space is not None:
            facts["space"] = found.space.hex()
        personal = {"reason": found.words.reason, "requested_by": found.words.asked_by}
        whose = found.customer if found.space is None else infos[0].customer
        event = AuthEvent(kind, tx.at, actor_of(self._storage, tx.principal), whose, facts, personal)
        tx.bump()
        self._storage.audit.record_auth(connection, event)
        self._settle(tx, found, replace(found.words, approved_by=tx.principal.name), tx.at, None)

    def _end_one(self, tx: Transaction, info: SpaceInfo, found: Erasure) -> None:
        change = tx.change(info.id)
        chosen = tables.space.c.id == info.id
        standing = tx.connection.execute(select(tables.space).where(chosen)).mappings().one()
        tx.connection.execute(update(tables.space).where(chosen).values(ended_at=change.at))
        change.note_space({**standing, "ended_at": change.at})
        digest = change.finish(ChangeKind.SPACE, tx.author)
        facts: dict[str, str | int] = {"change": change.number, "erasure": found.id.hex()}
        event = Event(
            "space_erased", change.at, actor_of(self._storage, tx.principal), info.id, info.id, facts, {}, digest
        )
        self._storage.audit.record(tx.connection, event, tx.audience_of_space(info))

    def finish(self, found: Erasure) -> None:
        """Do what follows an erasure: names leave the log, keys and packs go. Harmless when repeated."""
        if found.state is not State.DONE or found.swept_at is not None:
            return
        if found.kind is Kind.DOCUMENT and found.words.paths:
            self._forget_names(found)
        if found.kind in (Kind.SPACE, Kind.CUSTOMER):
            self._destroy(found)

    def _forget_names(self, found: Erasure) -> None:
        assert found.space is not None
        assert found.node is not None
        forget_names(self._storage, found.space, found.node, found.words.paths)
        words = replace(found.words, paths=()).sealed(self._storage.keyring, found.id)
        forgotten = update(tables.erasure).where(_E.id == found.id).values(words=words)
        self._storage.database.apply(lambda connection: connection.execute(forgotten))

    def _destroy(self, found: Erasure) -> None:
        storage = self._storage
        with storage.database.read() as connection:
            spaces = [found.space] if found.space is not None else self._ended_of(connection, found.customer)
        for space in spaces:
            assert space is not None
            storage.keyring.destroy(space)
            storage.vault.destroy_space(space)
        if found.kind is Kind.CUSTOMER:
            assert found.customer is not None
            try:
                storage.directory.end_organisation(found.customer)
            except UnknownName:
                pass  # ended before
            storage.keyring.destroy(found.customer)

        def work(connection: Connection) -> None:
            hold(connection, filter(None, spaces))
            for space in spaces:
                for table in _SEALED_BESIDE:
                    connection.execute(delete(table).where(table.c.space == space))
            at = storage.database.now_us(connection)
            connection.execute(update(tables.erasure).where(_E.id == found.id).values(swept_at=at))

        storage.database.apply(work)

    def _ended_of(self, connection: Connection, customer: bytes | None) -> list[bytes]:
        table = tables.space.c
        chosen = (table.customer == customer) & table.ended_at.is_not(None)
        return list(connection.execute(select(table.id).where(chosen)).scalars())

    # --- looking, and going on

    def standing(self, space: bytes, path: Path) -> bytes:
        """Return the document that stands at a path of a space, in whichever lane. Raises NotFound, NotADocument."""
        with self._storage.database.read() as connection:
            return subjects.standing(self._storage, connection, space, path)

    def all(self) -> list[Erasure]:
        """Return every erasure that was asked for, oldest first."""
        with self._storage.database.read() as connection:
            rows = connection.execute(select(tables.erasure).order_by(_E.requested_at)).mappings()
            return [erasure(self._storage.keyring, row) for row in rows]

    def get(self, identity: bytes) -> Erasure:
        """Return one erasure. Raises NotFound."""
        with self._storage.database.read() as connection:
            return self._get(connection, identity)

    def _get(self, connection: Connection, identity: bytes) -> Erasure:
        query = select(tables.erasure).where(_E.id == identity)
        if writes(connection):
            query = query.with_for_update()  # two who approve at once
        row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound
        found = erasure(self._storage.keyring, row)
        if found.words.subject != found.subject:
            raise NotFound  # somebody wrote another thing into the row than was asked for
        return found

    def sweep(self, *, now: bool = False, wait_seconds: float = 0.0) -> dict[bytes, Swept]:
        """Let what was erased leave the packs, once its grace is over, or `now`; return what was done, by space."""
        seen = self._storage.steady.look()
        over = whenever if now else partial(seen.over, seconds=self._settings.condemned_seconds)
        for found in self.all():
            self.finish(found)
        return {space: self.sweeper.sweep(space, over, wait_seconds=wait_seconds) for space in self.sweeper.due(over)}

    # --- within

    def _info(self, tx: Transaction, space: bytes | None) -> SpaceInfo:
        row = tx.connection.execute(select(tables.space).where(tables.space.c.id == space)).mappings().first()
        if row is None or row["ended_at"] is not None:
            raise NotFound
        return space_info(self._storage.keyring, row)

    def _spaces_of(self, tx: Transaction, customer: bytes | None) -> list[SpaceInfo]:
        org = auth_tables.organisation.c
        if tx.connection.execute(select(org.id).where(org.id == customer)).first() is None:
            raise NotFound
        chosen = (tables.space.c.customer == customer) & tables.space.c.ended_at.is_(None)
        rows = tx.connection.execute(select(tables.space).where(chosen).order_by(tables.space.c.id)).mappings().all()
        return [space_info(self._storage.keyring, row) for row in rows]

    def _tell(self, tx: Transaction, kind: str, found: Erasure, personal: dict[str, str]) -> None:
        """Record what was asked for or cancelled: in the space's log, or for a customer in the installation's."""
        actor = actor_of(self._storage, tx.principal)
        facts: dict[str, str | int] = {"erasure": found.id.hex(), "kind": found.kind.name.lower()}
        if found.number is not None:
            facts["version"] = found.number
        if found.space is None:
            self._storage.audit.record_auth(
                tx.connection, AuthEvent(kind, tx.at, actor, found.customer, facts, personal)
            )
            return
        event = Event(kind, tx.at, actor, found.space, found.node or found.space, facts, personal)
        audience = subjects.audience(tx, self._info(tx, found.space), found.node)
        self._storage.audit.record(tx.connection, event, audience)


#: What else of a space holds sealed words or contents in the database, and is in no change.
_SEALED_BESIDE: tuple[Table, ...] = (
    tables.draft,
    tables.draft_chunk,
    tables.noise,
    tables.checksum,
    tables.let_go,
)
