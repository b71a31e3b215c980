"""What may stand in the way of an act besides rights: locks (RFC 4918 section 7) and preconditions (10.4, RFC 9110 13).

A token counts only for the principal that took the lock: a foreign token and one that never was are the same. Where a
protocol knows no tokens, the locks of others alone stand in the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from auth.roles import Via
from config.clock import SECOND_US
from config.ids import NOBODY
from providers.catalogue.contents import version
from providers.catalogue.nodes import Node
from providers.drive.places import Container, Place
from providers.drive.transaction import Look
from providers.errors import Locked, NotAFolder, NotFound, ParentMissing, PreconditionFailed, TargetExists
from providers.locks import HeldLock, Slot, token_of
from providers.model import ConditionList, Conditions
from providers.paths import Path

#: Doors whose protocol has no words for a token: what one has locked oneself, one may change there.
_WITHOUT_TOKENS = frozenset({Via.SFTP})


def slots_of(look: Look, path: Path) -> list[Slot]:
    """Return the slots from the space's root down to `path`, whose last name need not stand; none above spaces, and
    none in the past, which no lock holds.
    """
    try:
        found = look.find(path)
    except (NotFound, NotAFolder):
        try:
            parent = look.resolver.parent_of(path)
        except (ParentMissing, NotAFolder):
            return []
        return [*chain_slots(parent.chain), free_slot(look, parent, path.name)]
    return [] if isinstance(found, Container) or found.is_past else chain_slots(found.chain)


def chain_slots(chain: Sequence[Node]) -> list[Slot]:
    """Return the slots that the nodes of a chain fill."""
    return [Slot.of(node) for node in chain]


def free_slot(look: Look, parent: Place, name: str, lane: bytes = NOBODY) -> Slot:
    """Return the slot that a new name would fill."""
    return Slot(parent.node.id, lane, look.storage.names.folded(parent.space.id, parent.node.id, name))


def covering(look: Look, slots: Sequence[Slot]) -> list[HeldLock]:
    """Return the locks that hold the last of `slots`: its own, and deep ones above it."""
    if not slots:
        return []
    own = slots[-1]
    return [lock for lock in look.storage.locks.on(slots) if lock.slot == own or lock.is_deep]


def held_by(look: Look, lock: HeldLock, tokens: Iterable[str]) -> bool:
    """Return whether the principal took this lock and has submitted its token."""
    return lock.principal == look.principal.id and lock.token in {token_of(text) for text in tokens}


def require_unlocked(
    look: Look, slots: Sequence[Slot], conditions: Conditions, path: Path, *, membership: bool = False
) -> None:
    """Raise Locked, naming `path`, unless every lock on the last slot is the principal's own, its token submitted
    where there are such.

    `membership` tells that the name comes or goes, so that a lock on the folder itself counts too.
    """
    if not slots:
        return
    held = look.storage.locks.on(slots)
    own = slots[-1]
    folder = slots[-2] if membership and len(slots) > 1 else None
    _require(look, [k for k in held if k.slot in (own, folder) or k.is_deep], conditions, path)


def require_unlocked_below(look: Look, place: Place, conditions: Conditions, path: Path) -> list[HeldLock]:
    """Raise Locked, naming `path` alone, unless all locks inside a folder are one's own. Return the locks inside."""
    inside = locks_below(look, place)
    _require(look, inside, conditions, path)
    return inside


def locks_below(look: Look, place: Place) -> list[HeldLock]:
    """Return the locks on what lies below a folder, however deep."""
    if not place.node.is_folder:
        return []
    beneath: dict[bytes, bool] = {place.node.id: True, NOBODY: False}

    def is_below(node: bytes) -> bool:
        if node not in beneath:
            found = look.storage.tree.by_id(look.connection, node)
            beneath[node] = found is not None and is_below(found.parent)
        return beneath[node]

    return [lock for lock in look.storage.locks.inside(place.space.id) if is_below(lock.slot.parent)]


def _require(look: Look, locks: Iterable[HeldLock], conditions: Conditions, path: Path) -> None:
    by_slot: dict[Slot, list[HeldLock]] = {}
    for lock in locks:
        by_slot.setdefault(lock.slot, []).append(lock)
    for standing in by_slot.values():
        if not any(_lets_pass(look, lock, conditions) for lock in standing):
            raise Locked(href=str(path))


def _lets_pass(look: Look, lock: HeldLock, conditions: Conditions) -> bool:
    if look.principal.via in _WITHOUT_TOKENS:
        return lock.principal == look.principal.id
    return held_by(look, lock, conditions.tokens)


def require_conditions(look: Look, path: Path, conditions: Conditions, *, may_lapse: bool = False) -> None:
    """Raise PreconditionFailed unless all that the client demanded holds.

    `may_lapse`: the token of a lock that ran out holds as well, for who took it, if nobody changed the document since.
    """
    demanded = (conditions.if_match, conditions.if_none_match, conditions.unmodified_since)
    if demanded == (None, None, None) and not conditions.lists:
        return
    etag, modified = _state(look, path)
    if conditions.if_match is not None and not _matches(etag, conditions.if_match):
        raise PreconditionFailed
    if conditions.if_none_match is not None and _matches(etag, conditions.if_none_match):
        raise TargetExists if "*" in conditions.if_none_match else PreconditionFailed
    since = conditions.unmodified_since
    if since is not None and (modified is None or modified // SECOND_US > since // SECOND_US):
        raise PreconditionFailed
    if conditions.lists and not any(_list_holds(look, path, found, may_lapse=may_lapse) for found in conditions.lists):
        raise PreconditionFailed


def _state(look: Look, path: Path) -> tuple[str | None, int | None]:
    """Return the entity tag (empty for folders, None where nothing stands) and the time of modification."""
    try:
        found = look.find(path)
    except (NotFound, NotAFolder):
        return None, None
    item = look.item(found)
    return item.etag, item.modified


def _matches(etag: str | None, wanted: Sequence[str]) -> bool:
    if etag is None:
        return False
    return "*" in wanted or (etag != "" and any(_bare(etag) == _bare(text) for text in wanted))


def _bare(etag: str) -> str:
    return etag.strip().removeprefix("W/").strip('"')


def _list_holds(look: Look, own: Path, demanded: ConditionList, *, may_lapse: bool) -> bool:
    path = own if demanded.path is None else demanded.path
    etag, _ = _state(look, path)
    locks = covering(look, slots_of(look, path)) if any(term.is_token for term in demanded.terms) else []
    for term in demanded.terms:
        if term.is_token:
            holds = any(held_by(look, lock, (term.value,)) for lock in locks)
            holds = holds or (may_lapse and not term.negated and _lapsed_quietly(look, path, term.value))
        else:
            holds = etag is not None and etag != "" and _bare(etag) == _bare(term.value)
        if holds == term.negated:
            return False
    return True


def _lapsed_quietly(look: Look, path: Path, text: str) -> bool:
    """Return whether one's own lock on the document ran out, and nobody else has changed it since.

    A computer that slept goes on with the token it had. Whether another has locked meanwhile is asked apart from this.
    """
    token = token_of(text)
    lock = None if token is None else look.storage.locks.lapsed(token)
    if lock is None or lock.principal != look.principal.id:
        return False
    try:
        found = look.find(path)
    except (NotFound, NotAFolder):
        return False
    if isinstance(found, Container) or found.node.id != lock.node or Slot.of(found.node) != lock.slot:
        return False
    if not found.node.version:
        return True
    newest = version(look.connection, look.storage.keyring, found.space.id, found.node.id, found.node.version)
    return bool(newest["at"] <= lock.expires_at or newest["principal"] == look.principal.id)
