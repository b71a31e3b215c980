"""What a disk may hold after its power was cut: crash states of a logged block device.

All that was flushed is there. Each write after the last flush is there, or not, or some of its sectors are: a cache may
be written back in any order, and is cut off at any sector.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.proofs.power_log import DURABLE, FLUSH, Event, events, positions

SECTOR = 512
LOST, WHOLE = 0.35, 0.35


class Recording:
    """The log of a device, and crash states of it."""

    def __init__(self, log: Path, size: int) -> None:
        self._events = events(log)
        self._places = positions(self._events)
        self._size = size

    def index(self, place: int) -> int:
        """Return how many events had happened when the log had come to `place`."""
        found = bisect_left(self._places, place)
        assert self._places[found] == place, "no event ends there"
        return found

    @property
    def count(self) -> int:
        """How many events there are."""
        return len(self._events)

    def flushes(self, start: int, stop: int) -> int:
        """Return how many flushes there are among events."""
        return sum(event.kind == FLUSH for event in self._events[start:stop])

    def cuts(self, start: int, told: Sequence[int], count: int, chance: random.Random) -> list[int]:
        """Return `count` moments to cut the power at, from event `start` on: half of them as something was told."""
        at_told = chance.choices([self.index(place) for place in told], k=count // 2)
        anywhere = chance.choices(range(start, self.count + 1), k=count - len(at_told))
        return sorted(at_told + anywhere)

    def images(self, cuts: Sequence[int], chance: random.Random) -> Iterator[tuple[int, bytearray]]:
        """Yield, for each cut in ascending order, the cut and what the disk holds after it."""
        durable = bytearray(self._size)
        cached: list[Event] = []
        done = 0
        for cut in cuts:
            for event in self._events[done:cut]:
                if event.kind == FLUSH:
                    for held in cached:
                        _put(durable, held.offset, held.data)
                    cached = []
                else:
                    cached.append(event)
            done = cut
            yield cut, _crashed(durable, cached, chance)


def _crashed(durable: bytearray, cached: Sequence[Event], chance: random.Random) -> bytearray:
    image = bytearray(durable)
    for event in cached:
        luck = chance.random()
        if event.kind == DURABLE or luck < WHOLE:
            _put(image, event.offset, event.data)
        elif luck > WHOLE + LOST:
            for start in range(0, len(event.data), SECTOR):
                if chance.random() < 0.5:
                    _put(image, event.offset + start, event.data[start : start + SECTOR])
    return image


def _put(image: bytearray, offset: int, data: bytes) -> None:
    image[offset : offset + len(data)] = data
