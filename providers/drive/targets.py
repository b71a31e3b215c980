"""Where a name is about to stand: its folder, its lane, and what stands there already."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from auth.roles import Action
from config.ids import NOBODY
from providers.catalogue import noise
from providers.catalogue.nodes import Node
from providers.drive.following import followed
from providers.drive.guards import chain_slots
from providers.drive.places import Container, Place
from providers.drive.transaction import AsOf, Look, Refusal
from providers.errors import BadName, Forbidden, NotAFolder, NotFound, ParentMissing, QuotaExceeded, ReadOnlyPast
from providers.locks import Slot
from providers.model import SpaceInfo
from providers.noise import ONLY_NOISE, is_noise_name
from providers.paths import HISTORY, Path, check_name, fold


@dataclass(frozen=True, slots=True)
class Vacated:
    """The document that held a name lately, and continues there with what arrives: see `providers.drive.identity`.

    `node` is as it will stand, with its newest version, whose row is `row`; `standing` is where it stands now under
    another name, if it does.
    """

    node: Node
    row: Mapping[str, Any] | None
    standing: Node | None


@dataclass(frozen=True, slots=True)
class Target:
    """A name in a folder, and the node that stands there, if any is seen; or the one that continues there."""

    path: Path
    parent: Place
    lane: bytes
    node: Node | None
    vacated: Vacated | None = None
    as_of: AsOf | None = None

    def stands(self, look: Look) -> bool:
        """Whether `look` would find the very same, for nothing that it was found by can have changed since."""
        return self.as_of is not None and self.as_of == look.as_of(self.space.id)

    @property
    def lands_on(self) -> Node | None:
        """The node of which content that arrives becomes a version."""
        return self.node if self.vacated is None else self.vacated.node

    @property
    def levels(self) -> int:
        """How many names its path has, from that of the space on."""
        return len(self.parent.chain) + 1

    @property
    def space(self) -> SpaceInfo:
        """The space it lies in."""
        return self.parent.space

    @property
    def place(self) -> Place:
        """The place of the node that stands there."""
        assert self.node is not None
        return self.placed(self.node)

    def placed(self, node: Node) -> Place:
        """Return the place of `node` under this name."""
        return Place(self.path, self.parent.space, (*self.parent.chain, node), self.parent.tree, None)

    def slots(self, look: Look) -> list[Slot]:
        """Return the slots from the space's root down to this name."""
        folded = look.storage.names.folded(self.space.id, self.parent.node.id, self.path.name)
        own = Slot(self.parent.node.id, self.lane, folded) if self.node is None else Slot.of(self.node)
        return [*chain_slots(self.parent.chain), own]


def target(look: Look, path: Path, action: Action, *, within: Place | None = None, is_noise: bool = False) -> Target:
    """Return where `path` is about to stand; where nothing is seen there yet, `action` must be permitted on the folder,
    which is `within` if that was found already.

    `is_noise`: what is about to stand there is, and may have a name that nothing else has.
    Raises ParentMissing, NotAFolder, Forbidden (through Refusal), ReadOnlyPast, and BadName or NameTooLong for a name
    that is new and beyond the limits that are set.
    """
    if path.name in ONLY_NOISE and not is_noise:
        check_name(path.name)
    parent = _parent(look, path) if within is None else within
    standing = parent.tree.named(look.connection, parent.node, path.name, look.principal.party)
    node = look.resolver.child(parent.tree, parent.chain, path.name, None, standing)
    if node is not None:
        return Target(path, parent, node.lane, node, None, look.as_of(parent.space.id))
    if len(parent.chain) == 1 and fold(path.name) == HISTORY:
        raise ReadOnlyPast
    look.allow(action, parent)
    lane = _free_lane(look, parent, {node.lane for node in standing})
    found = Target(path, parent, lane, None, None, look.as_of(parent.space.id))
    try:
        look.storage.path_limits.check(path.name, found.levels)
    except BadName:
        if not _stood(look, found):
            raise
    return found


def target_again(look: Look, before: Target, action: Action) -> Target:
    """Return `target` for a name that was found `before`; where its folder stands under that path no more, wherever it
    stands by now.

    Whoever writes a file on a disk does not notice that its folder is moved: what is written comes along.
    """
    path = before.path
    try:
        return target(look, path, action, within=_parent(look, path))
    except (ParentMissing, NotAFolder):
        found = _in_folder(look, before, action)
        if found is None:
            raise
        return found


def target_held(look: Look, before: Target, action: Action) -> Target:
    """Return `target` for what somebody has held open since it was found `before`: of the document that stood there,
    else of its folder, wherever that stands by now; by its path where neither is seen any more.

    As with a file on a disk, the names may have come to be somebody else's meanwhile.
    """
    path, node = before.path, before.node
    if node is not None and node.version:  # what was empty may be another's who stays when it takes back a name
        with suppress(NotFound):
            place = followed(look, path, node.id)
            found = target(look, place.path, action)
            if found.node is not None and found.node.id == place.node.id:
                return found
    return _in_folder(look, before, action) or target(look, path, action)


def _in_folder(look: Look, before: Target, action: Action) -> Target | None:
    """Return `target` in the folder in which a name was found `before`, wherever that stands by now; None where it is
    not seen any more.
    """
    try:
        parent = followed(look, before.path.parent, before.parent.node.id)
    except NotFound:
        return None
    return target(look, parent.path.joined(before.path.name), action, within=parent)


def _parent(look: Look, path: Path) -> Place:
    try:
        above = look.find(path.parent)
    except NotFound:
        raise ParentMissing from None
    if isinstance(above, Container):
        raise Forbidden
    if not above.node.is_folder:
        raise NotAFolder
    if above.is_past:
        raise ReadOnlyPast
    return above


def _free_lane(look: Look, parent: Place, taken: set[bytes]) -> bytes:
    """Return the lane for a new name that stands in those `taken` unseen: the common one for those who may do more than
    upload, else the party's own.

    A name that something unseen holds in the common lane goes to the party's own, so that nothing tells of it.
    """
    own = look.principal.party
    lane = NOBODY if look.sight.decide(Action.MAKE_FOLDER, parent.chain, look.at).allowed else own
    if lane in taken:
        lane = own
    if lane in taken or (lane == own and not own):
        raise Refusal(Forbidden(), Action.ADD, parent)
    return lane


def _stood(look: Look, found: Target) -> bool:
    """Whether the name is no new one: something stood under it, or noise does. It may come back whatever is set since.

    A program that saves by renaming lets a document's name go, and takes it again.
    """
    slot = found.slots(look)[-1]
    if noise.ever_a_document(look.connection, slot.parent, slot.lane, slot.folded):
        return True
    return look.resolver.noise(found.path) is not None


def require_depth(look: Look, node: Node, levels: int, before: int) -> None:
    """Raise BadName if what lies in a folder would lie too deep once its path has so many names, instead of `before`.

    What comes to lie no deeper than it did may, whatever is set since.
    """
    if node.is_folder and levels > before:
        look.storage.path_limits.check_depth(levels + look.storage.tree.levels_below(look.connection, node.id))


def give_way(look: Look, found: Target) -> None:
    """Let noise go, in the transaction in which something that is kept takes its name."""
    if is_noise_name(found.path.name):
        slot = found.slots(look)[-1]
        noise.remove(look.connection, [(slot.parent, slot.lane, slot.folded)])


def require_room(info: SpaceInfo, used: int, more: int, reserved: int = 0) -> None:
    """Raise QuotaExceeded if `more` sealed bytes would not fit beside `used` and what drafts have `reserved`."""
    if info.quota_bytes is not None and more > 0 and used + reserved + more > info.quota_bytes:
        raise QuotaExceeded


def room_for(info: SpaceInfo, used: int, replaced: Node | None) -> int | None:
    """Return how many bytes a document may come to have beside `used`; None: any number.

    As many as it has now always find room.
    """
    if info.quota_bytes is None:
        return None
    return max(info.quota_bytes - used, 0) + (0 if replaced is None else replaced.size)


def is_apart(look: Look, info: SpaceInfo) -> bool:
    """Return whether the principal is a customer in a closed space that is another's, or has others in it."""
    me = look.principal
    if info.is_open or me.is_supplier:
        return False
    by_node, _ = look.storage.audiences.readers(look.connection, me.epoch, info.id)
    own = {me.party, look.storage.directory.supplier_id}
    return me.party != info.customer or any(reach.parties - own for reaches in by_node.values() for reach in reaches)


def has_inner_rights(look: Look, space: bytes) -> bool:
    """Return whether rights stand anywhere but on the root of the space, so that moves change who sees what."""
    by_node, breaks = look.storage.audiences.readers(look.connection, look.principal.epoch, space)
    return bool(breaks) or any(node != space for node in by_node)
