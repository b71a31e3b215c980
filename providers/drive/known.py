"""What was found at paths, remembered for as long as nothing can have changed it.

Every change of a space raises the number in the row of its head, every change of rights makes new sights, and a sight
runs out with the first grant that does. So what one sight found at one number is what it would find again. At another
number it is what it would find if each node on the way there still stands under its name, which one query tells.
Whoever asks has read epoch and number in the snapshot it looks through; a writer, who sees what is not committed,
remembers nothing, and what others found counts for it only until it changes something itself.
Nothing is remembered of what was not found, nor of the past.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from providers.model import Item

if TYPE_CHECKING:
    from providers.drive.places import Place

#: How many places a process remembers; about 12 MB.
PLACES_MAX = 8_192

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

    `opening` is there only once reading was permitted, and the version's MAC found right.
    """

    number: int
    place: Place
    item: Item | None = None
    opening: Opening | None = None


class Known:
    """What this process remembers for all drives. Safe to use from any number of threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._found: dict[Key, Found] = {}

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


def _forget_oldest(kept: dict[Any, Any], count: int) -> None:
    for key in list(kept)[:count]:
        kept.pop(key, None)
