"""One operation at work: what it sees, what it may do, what it writes, and the events that tell of it.

A `Look` is one snapshot as one principal sees it. A `Transaction` is a look through the writer's connection: rights,
locks, conditions and names are all checked again here, where nobody else can change them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, select, union_all

from auth.events import Actor
from auth.rights import Kind, Principal
from auth.roles import Action
from config.clock import APART_US_MAX
from config.ids import NOBODY, id_text
from config.queries import Query
from config.snapshots import writes
from providers import tables
from providers.audit.events import Event, Projection
from providers.brake import COUNTED_MAX, YOUNG_US, Act, Harm
from providers.catalogue.change import Author, Change, ChangeKind, Step
from providers.catalogue.nodes import Node
from providers.drive.known import Found, Opening
from providers.drive.places import Container, Place, Resolver
from providers.drive.sight import GRACE, Chain
from providers.drive.storage import Storage
from providers.errors import Forbidden, Frozen, IsAFolder, NotFound, ReadOnlyPast
from providers.model import ACTIVE, Item, SpaceInfo
from providers.noise import is_noise_name
from providers.paths import Path

_FIRST = select(
    func.min(
        union_all(
            select(tables.entry.c.from_change.label("number")).where(tables.entry.c.node == bindparam("node")),
            select(tables.closed_entry.c.from_change).where(tables.closed_entry.c.node == bindparam("node")),
        )
        .subquery()
        .c.number
    )
)
_MAKER = Query(
    select(tables.change.c.principal).where(
        tables.change.c.space == bindparam("space"), tables.change.c.number == bindparam("number")
    )
)
_FIRST_CONTENT = Query(
    select(tables.version.c.at).where(tables.version.c.node == bindparam("node"), tables.version.c.number == 1)
)
_NEWEST = Query(select(tables.head.c.at).where(tables.head.c.space == bindparam("space")))

#: As of which changes a writer that holds no space looks at them.
NOTHING_HELD: Mapping[bytes, int | None] = MappingProxyType({})
#: Changes by which documents are lost from sight. Putting back and restoring are none.
_COUNTED = frozenset({ChangeKind.PUT, ChangeKind.COPY, ChangeKind.MOVE, ChangeKind.DELETE})
_SEALED = select(tables.head.c.sealed_bytes).where(tables.head.c.space == bindparam("space"))


def actor_of(storage: Storage, principal: Principal) -> Actor:
    """Return how events speak of the principal."""
    return Actor(
        principal=principal.id,
        organisation=principal.organisation,
        party=principal.party,
        is_supplier=principal.is_supplier,
        name=principal.name,
        organisation_name=storage.directory.organisation_name(principal.organisation) if principal.organisation else "",
        via=principal.via,
        device=principal.device,
        address=principal.address,
    )


class Refusal(Exception):
    """Carries a refusal out of a transaction that is undone, so that it can be recorded in one of its own."""

    def __init__(self, error: Forbidden, action: Action, place: Place) -> None:
        super().__init__()
        self.error = error
        self.action = action
        self.place = place

    def taken_out(self) -> Forbidden:
        """Return the refusal, and let go of it: raised in this one's place, it refers to this as its context."""
        error = self.error
        del self.error
        return error


class AsOf(NamedTuple):
    """As of what something was found: the sight of who found it, which runs out with their rights, and which change."""

    sight: int
    number: int


class Look:
    """The storage as one principal sees it: in a snapshot, or through a writer's connection (`writes`)."""

    def __init__(
        self,
        storage: Storage,
        connection: Connection,
        principal: Principal,
        numbers: Mapping[bytes, int | None] = NOTHING_HELD,
        epoch: int | None = None,
    ) -> None:
        self.storage = storage
        self.connection = connection
        self.writes = writes(connection)
        usual = None if self.writes else storage.known.usual(principal.id)
        if usual is not None:
            epoch, number = storage.tree.newest(connection, usual)
            numbers = {usual: number}
        self.principal = storage.authenticator.refresh(principal, connection, epoch)
        self.at = storage.database.now_us(connection)
        self.sight = storage.sights.of(connection, self.principal, self.at)
        self.resolver = Resolver(
            connection, self.sight, storage.tree, storage.directory, self.at, storage.zone, storage.known, numbers,
            writes=self.writes,
        )  # fmt: skip

    def as_of(self, space: bytes) -> AsOf | None:
        """Return what tells that another look at a space would find the same; None where nothing does."""
        number = self.resolver.number(space)
        return None if number is None else AsOf(self.sight.serial, number)

    def find(self, path: Path) -> Place | Container:
        """Return what stands at `path`, noise included; raise NotFound."""
        try:
            return self.resolver.find(path)
        except NotFound:
            if not is_noise_name(path.name):
                raise
            found = self.resolver.noise(path)
            if found is None:
                raise NotFound(is_noise=True) from None
            return found[0]

    def place(self, path: Path) -> Place:
        """Return the node at `path`; containers above spaces take no part in acts, and are forbidden."""
        found = self.resolver.find(path)
        if isinstance(found, Container):
            raise Forbidden
        return found

    def document(self, path: Path) -> Place:
        """Return the document at `path`; raise IsAFolder."""
        found = self.find(path)
        if isinstance(found, Container) or found.node.is_folder:
            raise IsAFolder
        return found

    def may(self, action: Action, chain: Chain, *, within_grace: bool = False) -> bool:
        """Return whether the action is permitted on the last node of `chain`, its maker's grace included.

        `within_grace` asks as if that had not run out yet: may what was begun in it stand?
        """
        if self.sight.decide(action, chain, self.at).allowed:
            return True
        if action not in GRACE:
            return False
        node = chain[-1]
        number = self.connection.execute(_FIRST, {"node": node.id}).scalar_one()
        maker = self.maker(node.space, number)
        first = None if within_grace else self.first_content_at(node.id)
        if first is not None:
            first = self.by_our_clock(node.space, first)
        return self.sight.decide(action, chain, self.at, creator=maker, first_content_at=first).allowed

    def maker(self, space: bytes, number: int) -> bytes | None:
        """Return who made a change of a space; None if there is none of that number."""
        row = _MAKER.first(self.connection, space=space, number=number)
        return None if row is None else row[0]

    def first_content_at(self, node: bytes) -> int | None:
        """Return when (µs) a document got its first content, if it has any."""
        row = _FIRST_CONTENT.first(self.connection, node=node)
        return None if row is None else row[0]

    def by_our_clock(self, space: bytes, at: int) -> int:
        """Return when, as our clock tells it, something happened in a space that says it was `at` (µs): where the time
        of the space is ahead, so is that.
        """
        if at <= self.at + APART_US_MAX:
            return at
        newest = _NEWEST.first(self.connection, space=space)
        return at if newest is None else at - (self.storage.paces.now(space, self.at, newest[0]) - self.at)

    def allow(self, action: Action, place: Place) -> None:
        """Raise unless the action is permitted at `place`: NotFound if it is not seen, else what forbids it."""
        if place.is_past:
            if action in (Action.LIST, Action.READ):
                decision = self.sight.decide(action, place.chain, self.at)
                if decision.allowed and decision.history:
                    return
                raise Refusal(Forbidden(), action, place)
            raise ReadOnlyPast
        if self.may(action, place.chain):
            return
        if not self.sight.sees(place.chain, self.at):
            raise NotFound
        raise Refusal(Frozen() if place.space.state != ACTIVE else Forbidden(), action, place)

    def looks_back(self, place: Place) -> bool:
        """Return whether the principal may see earlier versions of what stands at `place`."""
        return self.sight.decide(Action.HISTORY, place.chain, self.at).allowed

    def sealed_bytes(self, space: bytes) -> int:
        """Return what the records of a space take in the vault, in bytes."""
        return int(self.connection.execute(_SEALED, {"space": space}).scalar_one())

    # --- items

    def item(self, place: Place | Container) -> Item:
        """Return what adapters see of a place."""
        if isinstance(place, Container):
            return self.container(place.path, place.moment)
        return self.item_of(place.path, self._shown_name(place), place.node, is_past=place.is_past)

    def item_at(self, path: Path) -> Item:
        """Return what adapters see of what stands at `path`; raise NotFound."""
        known = self.resolver.known(path)
        if known is None:
            found = self.find(path)
            known = self.resolver.known(path)
            if known is None:
                return self.item(found)
        if known.item is None:
            known.item = self.item(known.place)
        return known.item

    def _shown_name(self, place: Place) -> str:
        """Return the name as it is kept, however the path spells it."""
        if len(place.chain) == 1:
            # The root of a space in the past may stand under the name of a day.
            return place.path.name if place.is_past else self.sight.shown[place.space.id]
        return self.resolver.shown_name(place.tree, place.chain, place.moment)

    def item_of(self, path: Path, name: str, node: Node, *, is_past: bool = False) -> Item:
        """Return what adapters see of a node shown under `name`."""
        return Item(
            path, name, node.is_folder, node.size, node.created, node.modified,
            "" if node.is_folder else self.storage.etag(node.version_id),
            node.id, node.space, node.version, node.has_properties, is_past,
        )  # fmt: skip

    def items_in(self, place: Place) -> Sequence[Item]:
        """Return what is seen in a folder, in the order of folded names."""
        if place.moment is None:
            nodes = self.storage.tree.listed(self.connection, place.node)
            whole = self.storage.listings.whole(place, nodes, self.item_of)
            if self.sight.sees_all_below(place.chain, whole.ids, whole.lanes, self.at):
                return whole.items
        path, past = place.path, place.is_past
        return [
            self.item_of(path.joined(name), name, node, is_past=past) for name, node in self.resolver.children(place)
        ]

    def container(self, path: Path, moment: int | None = None) -> Item:
        """Return what adapters see of a folder above spaces, as old as its moment or the newest space seen."""
        newest = max((info.created_at for info in self.sight.spaces.values()), default=0)
        at = newest if moment is None else min(moment, self.at)
        return Item(path, path.name, True, 0, at, at, "", NOBODY, None, 0, False, False)

    # --- events

    def audience(self, space: SpaceInfo, chain: Chain) -> dict[bytes, Projection]:
        """Return which parties learn of an act of this principal on the last node of `chain`, and how much of it.

        In a closed space customers learn nothing of one another: an act of one goes to its own stream alone.
        """
        me = self.principal
        parties = self.storage.audiences.parties(self.connection, me.epoch, space.id, chain, self.at)
        lane = next((node.lane for node in chain if node.lane), NOBODY)
        supplier = self.storage.directory.supplier_id
        if not space.is_open:
            if lane:
                parties &= {lane}
            if not me.is_supplier:
                parties &= {me.party}
        seen: dict[bytes, Projection] = {party: Projection.FULL for party in parties if party != supplier}
        if not me.is_supplier and me.party:
            seen[me.party] = Projection.FULL
        return seen

    def audience_of_space(self, space: SpaceInfo) -> dict[bytes, Projection]:
        """Return which parties learn of an act on a space as a whole: its customer, and whoever may see its root."""
        root = self.storage.tree.root(self.connection, space.id)
        seen = {} if root is None else self.audience(space, (root,))
        return seen if space.customer is None else {**seen, space.customer: Projection.FULL}

    def event(
        self,
        kind: str,
        place: Place,
        at: int,
        *,
        facts: Mapping[str, str | int] | None = None,
        personal: Mapping[str, str] | None = None,
        rows_digest: bytes | None = None,
        outcome: str = "done",
    ) -> Event:
        """Return the event that tells of an act at `place`; its path is told as within the space."""
        inner = "/".join(node.name for node in place.chain[1:])
        return Event(
            kind=kind,
            at=at,
            actor=actor_of(self.storage, self.principal),
            space=place.space.id,
            node=place.node.id,
            facts=dict(facts or {}),
            personal={"path": "/" + inner, **(personal or {})},
            rows_digest=rows_digest,
            outcome=outcome,  # type: ignore[arg-type]
        )


class Transaction(Look):
    """A look through the writer's connection, with the changes it makes: one for each space."""

    def __init__(
        self, storage: Storage, connection: Connection, principal: Principal, spaces: Iterable[bytes] = ()
    ) -> None:
        self._changes = {
            space: Change(storage.database, connection, storage.names, storage.keyring, storage.paces, space)
            for space in sorted(spaces)
        }
        held = {space: change.number - 1 for space, change in self._changes.items()}
        epoch = next((change.epoch for change in self._changes.values()), None)
        super().__init__(storage, connection, principal, held, epoch)
        #: What it leaves as it was, once it is committed.
        self.steps: list[Step] = []
        #: What it let stand, for whoever asks next.
        self.found: list[Found] = []
        #: What the brake counts of it, once it is committed.
        self.acts: list[Act] = []

    @property
    def author(self) -> Author:
        """Who signs the changes."""
        return Author(self.principal.id, self.principal.organisation, self.principal.via)

    def change(self, space: bytes) -> Change:
        """Return this transaction's change of a space, beginning it (and taking its head) if need be."""
        self.resolver.ask_anew()
        found = self._changes.get(space)
        if found is None:
            storage = self.storage
            found = self._changes[space] = Change(
                storage.database, self.connection, storage.names, storage.keyring, storage.paces, space
            )
        return found

    def finish(
        self,
        kind: ChangeKind,
        place: Place,
        told: str,
        *,
        facts: Mapping[str, str | int] | None = None,
        personal: Mapping[str, str] | None = None,
        audience: Mapping[bytes, Projection] | None = None,
    ) -> None:
        """End the change of the place's space, and record its one event for those who see the place."""
        change = self._changes.pop(place.space.id)
        if kind in _COUNTED and self.principal.kind is Kind.PERSON and self.storage.brake.is_on:
            self.acts += _acts(self, change)
        digest = change.finish(kind, self.author)
        if change.step is not None:
            self.steps.append(change.step)
        event = self.event(
            told,
            place,
            change.at,
            facts={"change": change.number, **(facts or {})},
            personal=personal,
            rows_digest=digest,
        )
        reached = self.audience(place.space, place.chain) if audience is None else audience
        self.storage.audit.record(self.connection, event, reached)

    def remember(self, place: Place, item: Item, number: int, content: bytes) -> None:
        """Let it be known, once this is committed, what stands at `place` after the change `number`, with its content.

        In a lane the same name may be another's.
        """
        if any(node.lane for node in place.chain):
            return
        found, node = Found(number, place, item), place.node
        if content and self.sight.decide(Action.READ, place.chain, self.at).allowed:
            shown = self.item_of(place.path, place.path.name, node)
            found.opening = Opening(place, shown, node.version, node.version_id, content)
        self.found.append(found)

    def bump(self) -> None:
        """Let everybody's rights be asked anew."""
        self.storage.authenticator.bump(self.connection)


def _acts(tx: Transaction, change: Change) -> Iterator[Act]:
    """Yield what the brake counts of a change."""
    for harm, node in change.harmed:
        if node.created > change.at - YOUNG_US:
            continue
        weight = 1
        if node.is_folder:
            # Where it moves to, all in it stands as before; when it is deleted, that goes with it.
            weight = 0 if harm is Harm.MOVED else tx.storage.tree.documents_below(tx.connection, node.id, COUNTED_MAX)
        if weight:
            yield Act(node.id, change.space, change.at, harm, weight)


def node_facts(node: Node) -> dict[str, Any]:
    """Return what an event says in the clear of a document's version."""
    return {"version": node.version, "size": node.size, "version_id": id_text(node.version_id)}
