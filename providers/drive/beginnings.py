"""What is found where somebody begins to write a document."""

from __future__ import annotations

from dataclasses import dataclass

from auth.roles import Action
from providers.drive.identity import continuing
from providers.drive.kept import Kept, Slot, kept_at
from providers.drive.targets import Target, is_apart, room_for, target
from providers.drive.transaction import Look
from providers.drive.uploads import check_replaceable, standing_content
from providers.model import Conditions, Item
from providers.paths import Path


@dataclass(frozen=True, slots=True)
class Beginning:
    """What an edit was begun with: what stood there, the room there was, an upload of the same name cut off before.

    `room` is how many bytes the document may come to have; None: any number. `standing` is the content that stands
    there, `previous` that which the new one follows: they differ where a document comes back to its name. `is_apart` as
    in `ChunkIndex`.
    """

    found: Target
    item: Item | None
    conditions: Conditions
    standing: bytes | None
    previous: bytes | None
    kept: Kept | None
    room: int | None
    at: int
    is_apart: bool

    @property
    def space(self) -> bytes:
        """The space it lies in."""
        return self.found.space.id


def slot_of(found: Target) -> Slot:
    """Return under which name of which folder an upload to there is kept."""
    return Slot(found.space.id, found.parent.node.id, found.path.name)


def beginning(look: Look, path: Path, conditions: Conditions) -> Beginning:
    """Look where a document is about to be written. Raises what `put` would refuse."""
    found = target(look, path, Action.ADD)
    check_replaceable(look, found, conditions)
    item = None if found.node is None else look.item(found.place)
    standing = standing_content(look, found.node)
    found = continuing(look, found, look.at)
    slot = slot_of(found)
    room = None
    if found.space.quota_bytes is not None:
        used = look.sealed_bytes(found.space.id) + look.storage.reservations.total(found.space.id)
        room = room_for(found.space, used, found.lands_on)
    return Beginning(
        found,
        item,
        conditions,
        standing,
        standing_content(look, found.vacated.node) if found.vacated is not None else standing,
        kept_at(look, slot) if item is None else None,
        room,
        look.at,
        is_apart(look, found.space),
    )
