"""What was found at paths, remembered for as long as nothing can have changed it.

Every change of a space raises the number in the row of its head, every change of rights makes new sights, and a sight
runs out with the first grant that does. So what one sight found at one number is what it would find again. At another
number it is what it would find if each node on the way there still stands under its name, which one query tells; none
where all changes between are this process's own, for what they left as it was is remembered too.
Whoever asks has read epoch and number in the snapshot it looks through; a writer, who sees what is not committed,
remembers nothing, and what others found counts for it only until it changes something itself.
Nothing is remembered of what was not found, nor of the past.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from providers.catalogue.change import Step
from providers.model import Item

if TYPE_CHECKING:
    from providers.drive.places import Place

#: How many places a process remembers; about 12 MB.
PLACES_MAX = 8_192
#: Of how many spaces a process remembers its own changes, and how many nodes of each that they altered.
SPACES_MAX = 256
ALTERED_MAX = 16_384
#: Changes are told of by several threads. So many of later ones wait for one that may be another process's.
WAITING_MAX = 16
#: For how many principals a process remembers which space they were in.
USUAL_MAX = 4_096

Key = tuple[int, tuple[str, ...]]


class Opening(NamedTuple):
    """A version that may be read: as what it is shown, its number and id, and its content (empty: none yet)."""

    place: Place
    item: Item
    number: int
    version_id: bytes
    content: bytes


@dataclass(slots=True)
class Found:
    """What stands at a path as of the space's change `number`, and what was learnt of it since.

    `opening` is there only once reading was permitted, and the version's MAC found right, or made by this process.
    """

    number: int
    place: Place
    item: Item | None = None
    opening: Opening | None = None


class Own:
    """The changes of one space from behind the number `since` up to `until`, all this process's own.

    Threads that look on while one adds to it read `until` first; what they find of changes after it makes them ask.
    """

    __slots__ = ("_altered", "_revised", "_waiting", "since", "until")

    def __init__(self, since: int) -> None:
        self.since = self.until = since
        self._altered: dict[bytes, int] = {}
        self._revised: dict[bytes, int] = {}
        self._waiting: dict[int, Step] = {}

    def add(self, step: Step) -> bool:
        """Take a change in; False if what lacks before it will not come, or too much is remembered."""
        self._waiting[step.number] = step
        while (following := self._waiting.pop(self.until + 1, None)) is not None:
            for node in following.altered:
                self._altered[node] = following.number
            for node in following.revised:
                self._revised[node] = following.number
            self.until = following.number
        return len(self._waiting) < WAITING_MAX and len(self._altered) < ALTERED_MAX

    def revisions(self, nodes: Sequence[bytes], number: int, newer: int) -> dict[bytes, int] | None:
        """Return which revision nodes have as of the change `newer`, where it is another than as of `number`.

        None unless all changes between are known, and left the nodes as they were but for that.
        """
        if not self.since <= number <= newer <= self.until:
            return None
        found = {}
        for node in nodes:
            if self._altered.get(node, 0) > number:
                return None
            revision = self._revised.get(node, 0)
            if revision > newer:
                return None
            if revision > number:
                found[node] = revision
        return found


class Known:
    """What this process remembers for all drives. Safe to use from any number of threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._found: dict[Key, Found] = {}
        self._own: dict[bytes, Own] = {}
        self._usual: dict[bytes, bytes] = {}

    def found(self, sight: int, segments: tuple[str, ...]) -> Found | None:
        """Return what the sight last found at a path, as of whichever change."""
        return self._found.get((sight, segments))

    def drop(self, sight: int, segments: tuple[str, ...]) -> None:
        """Forget what the sight found at a path: it stands there no longer."""
        self._found.pop((sight, segments), None)

    def keep(self, sight: int, found: Found) -> None:
        """Remember what a sight found."""
        if len(self._found) >= PLACES_MAX:
            with self._guard:
                _forget_oldest(self._found, PLACES_MAX // 8)
        self._found[sight, found.place.path.segments] = found

    def done(self, step: Step) -> None:
        """Remember what a change of this process's left as it was. It is committed."""
        with self._guard:
            if len(self._own) >= SPACES_MAX:
                _forget_oldest(self._own, SPACES_MAX // 8)
            own = self._own.get(step.space)
            if own is None or not own.add(step):
                fresh = self._own[step.space] = Own(step.number - 1)
                fresh.add(step)

    def revisions(self, found: Found, number: int) -> Mapping[bytes, int] | None:
        """Return which revision folders on the way have as of a newer change, where that is not what it was when found.

        None unless all changes since are this process's own, and left what was found as it was but for that. What has
        its name in the common lane is what is found by that name; in another it may have been hidden since.
        """
        place = found.place
        own = self._own.get(place.space.id)
        if own is None or any(node.lane for node in place.chain):
            return None
        return own.revisions([node.id for node in place.chain], found.number, number)

    def usual(self, principal: bytes) -> bytes | None:
        """Return the space that a principal was in last: the one it is asked for in the same question as its rights."""
        return self._usual.get(principal)

    def used(self, principal: bytes, space: bytes) -> None:
        """Remember which space a principal is in."""
        if len(self._usual) >= USUAL_MAX:
            with self._guard:
                _forget_oldest(self._usual, USUAL_MAX // 8)
        self._usual[principal] = space


def _forget_oldest(kept: dict[Any, Any], count: int) -> None:
    for key in list(kept)[:count]:
        kept.pop(key, None)
