"""Telling which locks stand in a folder, and breaking them: for those who look after a space while others are away."""

from __future__ import annotations

from auth.roles import Action
from providers.drive.guards import locks_below
from providers.drive.locking import shown
from providers.drive.places import Container, Place
from providers.drive.session import Session
from providers.drive.transaction import Look, Transaction
from providers.errors import LockNotFound
from providers.locks import HeldLock, Slot
from providers.model import Lock
from providers.paths import Path


def locks_inside(look: Look, path: Path) -> list[Lock]:
    """Return the locks on what stands at `path` and on what is seen below it, by path."""
    found = look.find(path)
    if isinstance(found, Container) or found.is_past:
        return []
    placed = [(held, _place_of(look, found, held)) for held in _taken(look, found, below=True)]
    seen = [(held, place) for held, place in placed if look.sight.sees(place.chain, look.at)]
    return sorted((shown(look, held, place.path) for held, place in seen), key=lambda lock: lock.root.segments)


def told(look: Look, place: Place, held: HeldLock) -> Lock:
    """Return a lock in the space of `place` as the principal may know it, with its path as far as that is seen."""
    at = _place_of(look, place, held)
    hidden = next((n for n in range(len(at.chain)) if look.sight.sees(at.chain[: len(at.chain) - n], look.at)), 0)
    return shown(look, held, Path(at.path.segments[: len(at.path.segments) - hidden]))


def break_locks(session: Session, path: Path, *, below: bool) -> list[Lock]:
    """Free the locks on what stands at `path`, whoever holds them, and with `below` on all below it; one event each.

    Those below that the principal may not break are as if they were not there. Raises LockNotFound if there is none.
    """

    def work(tx: Transaction) -> list[tuple[HeldLock, Lock]]:
        place = tx.place(path)
        tx.allow(Action.BREAK_LOCK, place)
        broken = []
        for held in _taken(tx, place, below=below):
            at = _place_of(tx, place, held)
            if not tx.may(Action.BREAK_LOCK, at.chain):
                continue
            lock = shown(tx, held, at.path)
            event = tx.event("break_lock", at, tx.at, personal={"holder": lock.holder} if lock.holder else {})
            tx.storage.audit.record(tx.connection, event, tx.audience(at.space, at.chain))
            broken.append((held, lock))
        if not broken:
            raise LockNotFound
        return broken

    broken = session.commit([path], work)
    session.storage.locks.remove([held.token for held, _ in broken])
    return [lock for _, lock in broken]


def _taken(look: Look, place: Place, *, below: bool) -> list[HeldLock]:
    own = look.storage.locks.on([Slot.of(place.node)])
    return own + locks_below(look, place) if below else own


def _place_of(look: Look, place: Place, held: HeldLock) -> Place:
    """Return what a lock in the space of `place` is on; the folder around it where nothing stands by its name."""
    tree, connection = look.storage.tree, look.connection
    node = tree.by_id(connection, held.node)
    if node is None or Slot.of(node) != held.slot:
        above = tree.by_id(connection, held.slot.parent)
        inside = () if above is None else tree.listed(connection, above)
        node = next((each for each in inside if Slot.of(each) == held.slot), above)
    chain = () if node is None else tree.ancestry(connection, node)
    if not chain:
        return Place(place.space_path, place.space, place.chain[:1], place.tree, None)
    names = tuple(look.resolver.shown_name(tree, chain[: last + 1], None) for last in range(1, len(chain)))
    return Place(Path((*place.space_path.segments, *names)), place.space, chain, place.tree, None)
