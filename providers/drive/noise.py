"""Noise through the drive: accepted and served by whoever may add, but no version, no change, no event.

Every function here is asked only for names that noise may have, and answers None (or False) where a document stands
under the name or nothing does, so that the operation goes on as for any document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from auth.roles import Action
from providers.catalogue import checksums
from providers.catalogue import noise as files
from providers.catalogue.nodes import Node
from providers.catalogue.noise import NoiseFile
from providers.drive.guards import chain_slots, require_conditions, require_unlocked
from providers.drive.places import Place
from providers.drive.reading import Reader
from providers.drive.session import REPLANS_MAX, Session
from providers.drive.targets import Target, target
from providers.drive.transaction import Look, Refusal, Transaction
from providers.drive.uploads import Step, Upload
from providers.errors import (
    Forbidden,
    NotAFolder,
    PreconditionFailed,
    QuotaExceeded,
    TargetExists,
    UploadIncomplete,
)
from providers.model import Checksums, Conditions, Expected, Item
from providers.noise import NOISE_BYTES_MAX, is_noise, is_noise_name
from providers.paths import Path, fold

#: Stores content at a path, with the time it shows, over what stands there or not; what is first is done in the same
#: transaction.
Store = Callable[[Path, bytes, int, bool, Step], tuple[Item, bool]]


class _WrittenMeanwhile(Exception):
    """What was about to be carried is not what was read."""


class _Held:
    """Content in memory, read as a version's is."""

    def __init__(self, content: bytes) -> None:
        self._content = memoryview(content)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._content[offset : offset + length])

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[memoryview]:
        yield self._content[start:stop]

    def read_on(self, offset: int) -> memoryview:
        return self._content[offset:]

    def at_hand(self, offset: int) -> memoryview:
        return self._content[offset:]

    def rest(self) -> None:
        """There are no buffers to let go of."""


def beside(look: Look, folder: Place, items: Sequence[Item]) -> Sequence[Item]:
    """Return what is seen in a folder with the noise in it, in the order of folded names; the very same without any."""
    if folder.is_past:
        return items
    found = [
        file.node
        for file in files.inside(look.connection, look.storage.names, folder.node)
        if look.resolver.sees_noise(folder, file.node)
    ]
    if not found:
        return items
    taken = {fold(item.name) for item in items}
    noise = [
        look.item_of(folder.path.joined(node.name), node.name, node) for node in found if fold(node.name) not in taken
    ]
    return sorted([*items, *noise], key=lambda item: fold(item.name))


def read(session: Session, path: Path) -> Reader | None:
    """Open noise. No event: it is none of anybody's documents."""
    with session.look() as look:
        found = look.resolver.noise(path)
        if found is None:
            return None
        place, _ = found
        if not look.sight.decide(Action.READ, place.chain, look.at).allowed:
            raise Forbidden
        return Reader(look.item(place), _Held(content_of(look, place)))


def content_of(look: Look, place: Place) -> bytes:
    """Return what noise holds."""
    sealer = look.storage.keyring.space(place.space.id).names
    return sealer.open(b"noise" + place.node.id, files.sealed_content(look.connection, place.node))


class NoiseUpload:
    """An upload that is noise if what comes is; else, from then on, the upload of a document."""

    def __init__(
        self,
        session: Session,
        path: Path,
        declared: int | None,
        conditions: Conditions,
        modified: int | None,
        begin: Callable[[], Upload],
    ) -> None:
        self._session = session
        self._path = path
        self._declared = declared
        self._conditions = conditions
        self._modified = modified
        self._begin = begin
        self._held = bytearray()
        self._summing: checksums.Summing | None = None
        self._document: Upload | None = None

    def sum_up(self) -> None:
        """As for a document."""
        self._summing = checksums.Summing()

    @property
    def sums(self) -> Checksums | None:
        """As for a document."""
        return None if self._summing is None else self._summing.sums

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        if self._summing is not None:
            self._summing.update(data)
        if self._document is None and len(self._held) + len(data) > NOISE_BYTES_MAX:
            self._document = self._as_document()
        if self._document is None:
            self._held += data
        else:
            self._document.write(data)

    def _as_document(self) -> Upload:
        document = self._begin()
        document.write(self._held)
        return document

    def discard(self) -> None:
        """Forget what came. Harmless after `commit`."""
        if self._document is not None:
            self._document.discard()

    def commit(self, first: Step | None = None) -> tuple[Item, bool]:
        """Keep the noise, or make the document's newest version; return the item, and whether its name is new.

        `first`: as for a document.
        """
        if self._document is None:
            content = bytes(self._held)
            if self._declared not in (None, len(content)):
                raise UploadIncomplete
            kept = None
            if is_noise(self._path.name, content):
                kept = keep(self._session, self._path, content, self._conditions, self._modified, first)
            if kept is not None:
                return kept
            self._document = self._as_document()
        return self._document.commit(first)


def put(
    session: Session,
    path: Path,
    declared: int | None,
    conditions: Conditions,
    modified: int | None,
    begin: Callable[[], Upload],
) -> NoiseUpload | None:
    """Begin an upload of what may turn out to be noise; `begin` begins that of a document instead."""
    with session.look() as look:
        if writable(look, path, conditions) is None:
            return None
    return NoiseUpload(session, path, declared, conditions, modified, begin)


def writable(look: Look, path: Path, conditions: Conditions) -> tuple[Target, Place | None] | None:
    """Return where noise may be written, and the noise that stands there; None where it is a document's name."""
    found = quiet_target(look, path)
    if found.node is not None or _was_a_document(look, found):
        return None
    standing = _require_writable(look, found, conditions)
    return found, None if standing is None else found.placed(standing.node)


def quiet_target(look: Look, path: Path) -> Target:
    """Return where noise is about to stand. A refusal is no event: clients try again and again."""
    try:
        return target(look, path, Action.ADD, is_noise=True)
    except Refusal as refusal:
        raise refusal.taken_out() from None


def _was_a_document(look: Look, found: Target) -> bool:
    slot = found.slots(look)[-1]
    return files.ever_a_document(look.connection, slot.parent, slot.lane, slot.folded)


def _require_writable(look: Look, found: Target, conditions: Conditions) -> NoiseFile | None:
    """Return the noise that stands there and may be written over; raise what stands against it."""
    standing = look.resolver.noise(found.path)
    if standing is not None and standing[1].principal != look.principal.id:
        _allow(look, Action.REPLACE, standing[0])
    require_conditions(look, found.path, conditions, may_lapse=True)
    require_unlocked(look, found.slots(look), conditions, found.path, membership=standing is None)
    return None if standing is None else standing[1]


def _allow(look: Look, action: Action, place: Place) -> None:
    if not look.sight.decide(action, place.chain, look.at).allowed:
        raise Forbidden


def keep(
    session: Session,
    path: Path,
    content: bytes,
    conditions: Conditions,
    modified: int | None,
    first: Step | None = None,
) -> tuple[Item, bool] | None:
    """Let noise stand at a path; return its item, and whether it is new. None where a document has come to stand."""

    def work(tx: Transaction) -> tuple[Item, bool] | None:
        found = quiet_target(tx, path)
        if found.node is not None:
            return None
        if first is not None:
            first(tx)
        standing = _require_writable(tx, found, conditions)
        return tx.item(found.placed(_stored(tx, found, content, modified, standing))), standing is None

    return session.commit([path], work)


def _stored(tx: Transaction, found: Target, content: bytes, modified: int | None, standing: NoiseFile | None) -> Node:
    space = found.space
    if space.quota_bytes is not None and files.total_bytes(tx.connection, space.id) + len(content) > space.quota_bytes:
        raise QuotaExceeded
    slot = found.slots(tx)[-1]
    row: dict[str, Any] = {
        "parent": slot.parent, "lane": slot.lane, "folded": slot.folded, "name": found.path.name, "space": space.id,
        "principal": tx.principal.id if standing is None else standing.principal, "size": len(content),
        "created": tx.at if standing is None else standing.node.created,
        "modified": tx.at if modified is None else modified, "content": content,
    }  # fmt: skip
    return files.store(tx.connection, tx.storage.names, row, tx.storage.keyring.space(space.id).names.seal)


def placeholder(tx: Transaction, found: Target) -> tuple[Place, bool] | None:
    """Return what a lock may be taken on where no document stands, and whether it was made for that, empty."""
    if not is_noise_name(found.path.name) or found.node is not None or _was_a_document(tx, found):
        return None
    standing = tx.resolver.noise(found.path)
    if standing is None:
        return found.placed(_stored(tx, found, b"", None, None)), True
    place, file = standing
    if file.principal != tx.principal.id:
        _allow(tx, Action.LOCK, place)
    return place, False


def delete(session: Session, path: Path, conditions: Conditions, expected: Expected | None = None) -> bool:
    """Take noise away; return whether there was any. Raises NotAFolder where a folder is `expected`."""
    with session.look() as look:
        if look.resolver.noise(path) is None:
            return False
    if expected is Expected.EMPTY_FOLDER:
        raise NotAFolder

    def work(tx: Transaction) -> bool:
        found = tx.resolver.noise(path)
        if found is None:
            return False
        _require_removable(tx, found, conditions)
        gone[:] = _remove(tx, found[0])
        return True

    gone: list[bytes] = []
    removed = session.commit([path], work)
    session.storage.locks.remove(gone)
    return removed


def _require_removable(look: Look, found: tuple[Place, NoiseFile], conditions: Conditions) -> None:
    place, file = found
    if file.principal != look.principal.id:
        _allow(look, Action.DELETE, place)
    require_conditions(look, place.path, conditions)
    require_unlocked(look, chain_slots(place.chain), conditions, place.path, membership=True)


def _remove(tx: Transaction, place: Place) -> list[bytes]:
    """Let noise stand no longer; return the locks that go with it, once that is committed."""
    slot = chain_slots(place.chain)[-1]
    files.remove(tx.connection, [(slot.parent, slot.lane, slot.folded)])
    return [held.token for held in tx.storage.locks.on([slot])]


def carry(
    session: Session, source: Path, goal: Path, conditions: Conditions, *, overwrite: bool, moves: bool, store: Store
) -> tuple[Item, bool] | None:
    """Copy or move noise: what it is at its new name, `store` decides, as for an upload. None if it is none.

    It leaves its old name in the transaction in which it comes to stand under the new one, or else neither is.
    """
    for _ in range(REPLANS_MAX):
        try:
            return _carried(session, source, goal, conditions, overwrite=overwrite, moves=moves, store=store)
        except _WrittenMeanwhile:
            continue
    raise PreconditionFailed


def _carried(
    session: Session, source: Path, goal: Path, conditions: Conditions, *, overwrite: bool, moves: bool, store: Store
) -> tuple[Item, bool] | None:
    same = source.parent == goal.parent and fold(source.name) == fold(goal.name)
    with session.look() as look:
        found = look.resolver.noise(source)
        if found is None:
            return None
        place, _ = found
        if not moves:
            _allow(look, Action.READ, place)
        require_conditions(look, source, conditions)
        if moves and not same:
            _require_removable(look, found, conditions)
        content = content_of(look, place)

    def leave(tx: Transaction) -> None:
        now = tx.resolver.noise(source)
        if now is None or now[0].node.id != place.node.id:
            raise _WrittenMeanwhile
        if moves and not same:
            _require_removable(tx, now, conditions)
            gone[:] = _remove(tx, now[0])

    gone: list[bytes] = []
    kept, created = store(goal, content, place.node.modified, overwrite or (same and moves), leave)
    session.storage.locks.remove(gone)
    return kept, created or (same and moves)


def make_way(tx: Transaction, goal: Path, *, overwrite: bool) -> None:
    """Let noise go in the transaction in which something that is kept comes to stand under its name.

    Raises TargetExists if it may not be replaced, Forbidden if it is not one's own to take away.
    """
    found = tx.resolver.noise(goal) if is_noise_name(goal.name) else None
    if found is None:
        return
    if not overwrite:
        raise TargetExists
    place, file = found
    if file.principal != tx.principal.id:
        _allow(tx, Action.DELETE, place)
    slot = chain_slots(place.chain)[-1]
    files.remove(tx.connection, [(slot.parent, slot.lane, slot.folded)])


def touch(session: Session, path: Path, modified: int | None, conditions: Conditions) -> Item | None:
    """Let noise show another time. It keeps no properties: what is set besides is let go."""
    with session.look() as look:
        if look.resolver.noise(path) is None:
            return None

    def work(tx: Transaction) -> Item:
        found = tx.resolver.noise(path)
        if found is None:
            raise PreconditionFailed
        goal = quiet_target(tx, path)
        standing = _require_writable(tx, goal, conditions)
        if modified is None:
            return tx.item(found[0])
        return tx.item(goal.placed(_stored(tx, goal, content_of(tx, found[0]), modified, standing)))

    return session.commit([path], work)
