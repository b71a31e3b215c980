"""What was found at paths, remembered for as long as nothing can have changed it.

Every change of a space raises the number in the row of its head, every change of rights makes new sights, and a sight
runs out with the first grant that does. So what one sight found at one number is what it would find again. Whoever asks
has read epoch and number in the snapshot it looks through; a writer, who sees what is not committed, remembers nothing.
Nothing is remembered of what was not found, nor of the past.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

from providers.drive.places import Place
from providers.model import Item

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

    def keep(self, sight: int, number: int, place: Place) -> Found:
        """Remember what a sight found at a path as of a change of its space."""
        if len(self._found) >= PLACES_MAX:
            with self._guard:
                _forget_oldest(self._found, PLACES_MAX // 8)
        found = self._found[sight, place.path.segments] = Found(number, place)
        return found


def _forget_oldest(kept: dict[Any, Any], count: int) -> None:
    for key in list(kept)[:count]:
        kept.pop(key, None)
