"""A folder, or a whole space, back to a moment, as one change: the answer to ransomware, and to a bad afternoon."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from auth.roles import Action
from config.clock import iso_second, iso_utc, now_us
from config.database import Syncable
from config.ids import new_id
from providers.catalogue import contents, noise
from providers.catalogue.change import Change, ChangeKind, NewVersion
from providers.catalogue.nodes import Node
from providers.drive.breaking import told
from providers.drive.comparing import folder_at, sides
from providers.drive.places import Place
from providers.drive.rivals import require_walls
from providers.drive.session import REPLANS_MAX, Replan, Session
from providers.drive.targets import has_inner_rights, require_room
from providers.drive.transaction import Look, Transaction
from providers.drive.undoing import Step, Undoing, undoing
from providers.drive.uploads import writer_for
from providers.errors import LockStands, PreconditionFailed
from providers.locks import HeldLock, Slot
from providers.model import PutBack
from providers.noise import is_noise_name
from providers.paths import Path
from providers.vault.vault import VersionRecord

_Key = tuple[bytes, int, bytes | None]


@dataclass
class _Ready:
    """What was made ready before the transaction: versions by document, number and origin, their records in packs."""

    plan: Undoing
    versions: dict[_Key, NewVersion] = field(default_factory=dict)
    sealed_bytes: int = 0
    needs: frozenset[Syncable] = frozenset()


def put_back(session: Session, path: Path, moment_us: int, *, dry_run: bool) -> PutBack:
    """Put the folder at `path` back to a moment; return what that undid, or with `dry_run` would undo."""
    for _ in range(REPLANS_MAX):
        with session.look() as look:
            place, plan = _planned(look, path, moment_us)
        if dry_run or plan.is_empty:
            return _told(plan, moment_us)
        ready = _prepared(session, place, plan)

        def work(tx: Transaction, ready: _Ready = ready) -> tuple[Undoing, list[HeldLock]]:
            return _done(tx, path, moment_us, ready)

        try:
            plan, gone = session.commit([path], work, needs=ready.needs)
        except Replan:
            continue
        session.storage.locks.remove(lock.token for lock in gone)
        return _told(plan, moment_us)
    raise PreconditionFailed


def _planned(look: Look, path: Path, moment_us: int) -> tuple[Place, Undoing]:
    place = folder_at(look, path, Action.PUT_BACK)
    before, after = sides(look, place, moment_us, None)
    return place, undoing(look, place, before, after)


def _told(plan: Undoing, moment_us: int) -> PutBack:
    return PutBack(moment_us, dict(plan.counts), tuple(plan.differences), plan.left)


def _prepared(session: Session, place: Place, plan: Undoing) -> _Ready:
    """Leave the records of all versions about to be in packs."""
    ready, fields = _Ready(plan), []
    nothing = None
    for step in plan.steps:
        if not step.is_new:
            continue
        if step.row is not None:
            row = step.row
            content, size, sha256 = row["content"], row["size"], contents.sha256_of(session.storage.keyring, row)
        else:
            nothing = nothing or writer_for(session, place.space.id, 0).finish()
            content, size, sha256 = nothing.content, 0, nothing.sha256
        new = NewVersion(new_id(), content, size, sha256, _origin(step))
        ready.versions[_key(step)] = new
        then, number = step.then, step.now.version + 1
        fields.append(VersionRecord(then.id, new.id, number, then.parent, then.name, content, size, now_us()))
    records, needs = session.storage.vault.version_records(place.space.id, fields)
    ready.sealed_bytes = sum(record.length for record in records)
    ready.needs = needs if nothing is None else needs | nothing.needs
    return ready


def _origin(step: Step) -> bytes | None:
    return None if step.row is None else bytes(step.row["id"])


def _key(step: Step) -> _Key:
    return step.then.id, step.now.version + 1, _origin(step)


def _done(tx: Transaction, path: Path, moment_us: int, ready: _Ready) -> tuple[Undoing, list[HeldLock]]:
    """Do it, checked again where nobody else can change anything; return what was done, and the locks that went."""
    place = folder_at(tx, path, Action.PUT_BACK)
    plan = ready.plan
    number = tx.storage.tree.number(tx.connection, place.space.id)
    if (plan.number, plan.epoch) != (number, tx.principal.epoch):
        place, plan = _planned(tx, path, moment_us)
        if plan.is_empty:
            return plan, []
    closing = [step.now for step in plan.steps if step.moves and step.stands]
    closing += [*plan.going, *(now for now, _ in plan.homing)]
    gone = _unlocked(tx, place, plan, closing)
    inner = has_inner_rights(tx, place.space.id)
    change = tx.change(place.space.id)
    _write(tx, change, place, plan, ready, closing, moment_us)
    if inner:
        tx.bump()
        require_walls(tx.storage, tx.connection, place.space)
    facts = {"moment": moment_us, "nodes": len(plan.steps) + len(plan.going) + len(plan.homing)}
    tx.finish(ChangeKind.PUT_BACK, place, "put_back", facts=facts)
    return plan, gone


def _write(
    tx: Transaction, change: Change, place: Place, plan: Undoing, ready: _Ready, closing: list[Node], moment_us: int
) -> None:
    made: list[tuple[Node, NewVersion]] = []
    standing = [_placed(now, then) for now, then in plan.homing]
    settled: list[Node] = []
    for step in plan.steps:
        after = _placed(step.now, step.then)._replace(
            modified=step.then.modified, has_properties=step.has_properties or step.now.has_properties
        )
        if step.is_new:
            new = ready.versions.get(_key(step))
            if new is None:
                raise Replan
            made.append((step.now, new))
            after = after._replace(version=step.now.version + 1, version_id=new.id, size=new.size)
        (standing if step.moves else settled).append(after)
    require_room(place.space, change.sealed_bytes, ready.sealed_bytes)
    change.sealed_bytes += ready.sealed_bytes
    change.close_all(closing)
    change.add_versions(made, tx.author)
    change.comment([new.id for _, new in made], f"as of {iso_utc(moment_us)}")
    change.exchange_properties(plan.ended, plan.begun)
    change.open_all(standing)
    change.settle_all(settled)
    noisy = [node for node in standing if is_noise_name(node.name)]
    noise.remove(tx.connection, [(node.parent, node.lane, node.folded) for node in noisy])


def _placed(now: Node, then: Node) -> Node:
    """Return a node as it is now, where it stood then."""
    return now._replace(parent=then.parent, lane=then.lane, folded=then.folded, name=then.name)


def _unlocked(tx: Transaction, place: Place, plan: Undoing, closing: Iterable[Node]) -> list[HeldLock]:
    """Raise LockStands if somebody else holds anything that this touches; return one's own locks on what goes.

    A lock counts on what gets another content, time or name; on all in a folder that leaves its name; on a folder in
    which names come or go; and, if it is deep, anywhere above what is touched.
    """
    held = tx.storage.locks.inside(place.space.id)
    leaving = {Slot.of(node) for node in closing}
    others = [lock for lock in held if lock.principal != tx.principal.id]
    if others:
        hinders = _hindering(tx, plan, closing)
        standing = next((lock for lock in others if hinders(lock)), None)
        if standing is not None:
            lock = told(tx, place, standing)
            until = iso_second(lock.expires_at)
            raise LockStands(href=str(lock.root), path=lock.root, holder=lock.holder or "Somebody", until=until)
    return [lock for lock in held if lock.principal == tx.principal.id and lock.slot in leaving]


def _hindering(tx: Transaction, plan: Undoing, closing: Iterable[Node]) -> Callable[[HeldLock], bool]:
    """Return a test for locks that stand in the way of a plan."""
    above: dict[bytes, Node | None] = {}

    def chain_of(identity: bytes) -> Iterator[Node]:
        while identity:
            if identity not in above:
                above[identity] = tx.storage.tree.by_id(tx.connection, identity)
            node = above[identity]
            if node is None:
                return
            yield node
            identity = node.parent

    moving = [node for step in plan.steps if step.moves for node in (step.then, step.now)[: 1 + step.stands]]
    moving += [*plan.going, *(node for pair in plan.homing for node in pair)]
    staying = [step.now for step in plan.steps if not step.moves]
    changing = {node.parent for node in moving}
    touched = {Slot.of(node) for node in (*moving, *staying)}
    deep: set[Slot] = set()
    for identity in {node.parent for node in (*moving, *staying)}:
        chain = list(chain_of(identity))
        deep.update(Slot.of(node) for node in chain)
        if identity in changing and chain:
            touched.add(Slot.of(chain[0]))
    leaves = {node.id for node in closing}

    def hinders(lock: HeldLock) -> bool:
        if lock.slot in touched or (lock.is_deep and lock.slot in deep):
            return True
        return any(node.id in leaves for node in chain_of(lock.slot.parent))

    return hinders
