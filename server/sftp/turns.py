"""How long clients may hold up the loop: in each turn of it a moment, for all that one person has together.

What is left when it is over goes on in later turns: in each of them one engine's, of each person in turn. So whoever
asks for little is answered between two of these, however much others ask for, and on however many channels.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

#: A few dozen requests of the dearest kind that is answered in the loop, some hundred of the others.
MOMENT_SECONDS: Final = 0.002

Act = Callable[[], None]


class Turns:
    """The turns of one process' loop. Used from the loop alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Until when a person's moment lasts, of those who have begun one in this turn.
        self._until: dict[bytes, float] = {}
        #: What goes on in later turns, by whose it is, in the order in which these are served.
        self._waiting: OrderedDict[bytes, deque[Act]] = OrderedDict()

    def moment(self, person: bytes, loop: asyncio.AbstractEventLoop) -> float:
        """Return how many seconds are left of a person's moment in this turn; none or less: it is over."""
        now = self._clock()
        until = self._until.get(person)
        if until is None:
            if not self._until:
                loop.call_soon(self._until.clear)
            until = self._until[person] = now + MOMENT_SECONDS
        return until - now

    def later(self, person: bytes, loop: asyncio.AbstractEventLoop, act: Act) -> None:
        """Do something for a person in a later turn, with a moment of its own."""
        if not self._waiting:
            loop.call_soon(self._go_on, loop)
        self._waiting.setdefault(person, deque()).append(act)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        person, acts = next(iter(self._waiting.items()))
        act = acts.popleft()
        self._waiting.move_to_end(person)
        if not acts:
            del self._waiting[person]
        if self._waiting:
            loop.call_soon(self._go_on, loop)
        self._until.pop(person, None)
        act()
