"""Taking, refreshing and letting go of locks (RFC 4918 sections 6, 7, 9.10 and 9.11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Connection

from auth.errors import KeyringError, Revoked
from auth.roles import Action
from config.clock import SECOND_US, now_us
from providers.catalogue.change import ChangeKind
from providers.drive.guards import (
    chain_slots,
    covering,
    held_by,
    locks_below,
    require_conditions,
    require_unlocked,
    slots_of,
)
from providers.drive.noise import placeholder, quiet_target
from providers.drive.places import Container, Place
from providers.drive.session import Session
from providers.drive.storage import Storage
from providers.drive.targets import target
from providers.drive.transaction import Look, Transaction, node_facts
from providers.errors import Locked, LockNotFound, NotAFolder, NotFound, ParentMissing, TooManyLocks
from providers.locks import SECONDS_MAX, HeldLock, Slot, new_token, token_of
from providers.model import Conditions, Lock
from providers.noise import is_noise_name
from providers.paths import Path

#: How many shared locks may hold one name.
SHARED_MAX = 16


def shown(look: Look, held: HeldLock, root: Path) -> Lock:
    """Return a lock as the principal may know it: the token is its holder's alone, the owner for who may see them."""
    me = look.principal
    mine = held.principal == me.id
    info = look.sight.spaces.get(held.space)
    directory = look.storage.directory
    may_know = me.is_supplier or held.organisation in (me.organisation, directory.supplier_id)
    may_know = may_know or (info is not None and info.is_open)
    return Lock(
        token=held.token_text if mine else "",
        root=root,
        is_deep=held.is_deep,
        is_shared=held.is_shared,
        owner=look.storage.locks.owner(held) if mine or may_know else "",
        seconds=held.seconds if mine else max(0, (held.expires_at - now_us()) // SECOND_US),
        expires_at=held.expires_at,
        holder=directory.person_name(held.principal) if may_know else "",
    )


def locks(look: Look, path: Path) -> list[Lock]:
    """Return the locks that hold what stands at `path`, deep ones above it included."""
    slots = slots_of(look, path)
    held = covering(look, slots)
    return [shown(look, lock, _root(path, slots, lock)) for lock in held]


def _root(path: Path, slots: Sequence[Slot], held: HeldLock) -> Path:
    """Return where a lock was taken that is held on one of the slots from a space's root down to `path`."""
    up = len(slots) - 1 - slots.index(held.slot)
    return Path(path.segments[: len(path.segments) - up])


def locks_on_children(look: Look, path: Path) -> dict[str, list[Lock]]:
    """Return the locks taken on a folder's children themselves, by the names shown."""
    found = look.find(path)
    if isinstance(found, Container) or found.is_past:
        return {}
    held: dict[Slot, list[HeldLock]] = {}
    for lock in look.storage.locks.in_folder(found.node.id):
        held.setdefault(lock.slot, []).append(lock)
    if not held:
        return {}
    return {
        name: [shown(look, lock, path.joined(name)) for lock in held[Slot.of(node)]]
        for name, node in look.resolver.children(found)
        if Slot.of(node) in held
    }


def lock(
    session: Session,
    path: Path,
    *,
    is_deep: bool,
    is_shared: bool,
    owner: str,
    seconds: int,
    conditions: Conditions,
) -> tuple[Lock, bool]:
    """Take a lock; on a name where nothing stands, an empty document comes to stand first. Returns (lock, created)."""
    token = new_token()
    seconds = max(1, min(seconds, SECONDS_MAX))
    sealed = session.storage.locks.sealed_owner(token, owner)
    added: list[bytes] = []

    def take(look: Look, place: Place) -> Lock:
        slots = chain_slots(place.chain)
        _require_compatible(look, place, slots, is_deep=is_deep, is_shared=is_shared, path=path)
        me, limit = look.principal, session.storage.limits.locks_per_person_max
        if not session.storage.locks.has_room(me.id, limit):
            raise TooManyLocks(limit=limit)
        held = HeldLock(
            token=token,
            space=place.space.id,
            slot=slots[-1],
            node=place.node.id,
            principal=me.id,
            organisation=me.organisation,
            device=me.device,
            is_deep=is_deep and place.node.is_folder,
            is_shared=is_shared,
            owner=sealed,
            seconds=seconds,
            expires_at=now_us() + seconds * SECOND_US,
        )
        added[:] = [token]
        session.storage.locks.add(held)
        return shown(look, held, path)

    def work(tx: Transaction) -> tuple[Lock, bool]:
        session.storage.locks.remove(added)  # by a run that was undone: it would stand in the way of this one
        place, created = _locked_place(tx, path, conditions)
        return take(tx, place), created

    try:
        taken = _taken_at_once(session, path, conditions, take)
        return session.commit([path], work) if taken is None else (taken, False)
    except BaseException:
        session.storage.locks.remove(added)
        raise


def _taken_at_once(
    session: Session, path: Path, conditions: Conditions, take: Callable[[Look, Place], Lock]
) -> Lock | None:
    """Take a lock on what stands, on SQLite, without a transaction of the catalogue; None where that cannot be.

    What was decided in a snapshot holds if, while all writers are kept away, nothing is newer than the snapshot.
    """
    storage = session.storage
    if storage.database.dialect != "sqlite":
        return None
    with session.look() as look:
        try:
            place = look.find(path)
        except (NotFound, NotAFolder):
            return None
        if isinstance(place, Container) or place.is_past or len(place.chain) == 1:
            return None
        require_conditions(look, path, conditions)
        look.allow(Action.LOCK, place)
        seen = look.principal.epoch, look.resolver.number(place.space.id)
        with storage.database.exclusively():
            with storage.database.read() as connection:
                if storage.tree.newest(connection, place.space.id) != seen:
                    return None
            return take(look, place)


def _locked_place(tx: Transaction, path: Path, conditions: Conditions) -> tuple[Place, bool]:
    """Return the place to be locked, made if need be."""
    try:
        found = tx.find(path.parent)
    except NotFound:
        raise ParentMissing from None
    if isinstance(found, Container):
        place = tx.place(path)  # a space itself
        tx.allow(Action.LOCK, place)
        require_conditions(tx, path, conditions)
        return place, False
    goal = quiet_target(tx, path) if is_noise_name(path.name) else target(tx, path, Action.ADD)
    require_conditions(tx, path, conditions)
    if goal.node is not None:
        tx.allow(Action.LOCK, goal.place)
        tx.change(goal.space.id)
        return goal.place, False
    beside = placeholder(tx, goal)
    if beside is not None:
        return beside
    require_unlocked(tx, goal.slots(tx), conditions, path, membership=True)
    change = tx.change(goal.space.id)
    place = goal.placed(change.add(goal.parent.node, goal.lane, path.name, is_folder=False))
    tx.finish(ChangeKind.PUT, place, "add", facts=node_facts(place.node))
    return place, True


def _require_compatible(
    look: Look, place: Place, slots: list[Slot], *, is_deep: bool, is_shared: bool, path: Path
) -> None:
    """Raise Locked if an exclusive lock would stand with any other, on this name, above it, or inside it, or too many
    shared ones would hold one name: each is told of with it.
    """
    standing = covering(look, slots)
    below = locks_below(look, place) if is_deep else []
    both = standing + below
    if both and (not is_shared or any(not other.is_shared for other in both)):
        raise Locked(href=str(path))
    if len(standing) + sum(other.is_deep for other in below) >= SHARED_MAX:
        raise Locked(href=str(path))


def refresh_lock(session: Session, path: Path, tokens: Iterable[str], seconds: int) -> Lock:
    """Let one's own lock on `path` stand for `seconds` from now. Raises LockNotFound."""
    wanted = list(tokens)
    seconds = max(1, min(seconds, SECONDS_MAX))

    def work(look: Look) -> Lock:
        slots = slots_of(look, path)
        mine = next((held for held in covering(look, slots) if held_by(look, held, wanted)), None)
        if mine is None:
            raise LockNotFound
        expires_at = session.storage.locks.refresh(mine.token, seconds)
        return shown(look, mine._replace(seconds=seconds, expires_at=expires_at), _root(path, slots, mine))

    database = session.storage.database
    if database.dialect == "sqlite":
        with session.look() as look, database.exclusively():
            return work(look)
    return session.commit([path], work)


def release_lost(storage: Storage) -> int:
    """Free the locks of those whose credential was revoked, or who may no longer lock; return how many."""
    with storage.database.read() as connection:
        lost = [held.token for held in storage.locks.all() if _is_lost(storage, connection, held)]
    storage.locks.remove(lost)
    return len(lost)


def _is_lost(storage: Storage, connection: Connection, held: HeldLock) -> bool:
    try:
        look = Look(storage, connection, storage.authenticator.holder(held.principal, held.device, connection))
    except Revoked:
        return True
    except KeyringError:  # who holds it cannot be told now: so it stays
        return False
    node = storage.tree.by_id(connection, held.node)
    chain = () if node is None else storage.tree.ancestry(connection, node)
    # A lock taken in its maker's grace outlives that: freed when anybody's rights change, it would tell of them.
    return bool(chain) and not look.may(Action.LOCK, chain, within_grace=True)


def unlock(session: Session, path: Path, token: str) -> None:
    """Let a lock on `path` go: one's own, or, for those who may break locks, anybody's that one can name."""
    with session.look() as look:
        found = look.find(path)
        wanted = token_of(token)
        if isinstance(found, Container) or found.is_past:
            raise LockNotFound
        named = next((held for held in covering(look, chain_slots(found.chain)) if held.token == wanted), None)
        if named is None:
            raise LockNotFound
        if named.principal != look.principal.id and not look.may(Action.BREAK_LOCK, found.chain):
            raise LockNotFound
    session.storage.locks.remove([named.token])
