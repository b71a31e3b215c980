"""Turns: one thread serves several requests, and while the disk makes sure of what one did, it serves the next.

A thread for each request has them all wait for each other's turn at the interpreter's lock, at each statement anew,
with the writer's lock in hand. Here a request that has come as far as its commit stands aside, in a greenlet of its
own; when nobody asks any more, all that stand aside are made durable together, by the same thread, and go on.

Only what holds no lock may stand aside: whoever has the next turn might want it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol

from greenlet import enable_optional_cleanup, getcurrent, greenlet

#: How long the first to stand aside waits for others who still ask.
ASIDE_SECONDS = 0.005
_OTHERS_FIRST = object()
_local = threading.local()
# When a thread ends, greenlet asks the garbage collector who refers to the thread's main greenlet. Where it hears of
# nobody, it takes the last reference for one that was forgotten on the stack, and gives it up. But the collector does
# not tell of what another thread is collecting just then, waiting for a finalizer; and what a failed request leaves
# behind refers to that greenlet, by its frames: the process was killed (SIGSEGV). Ours forget none on the stack.
enable_optional_cleanup(False)


class Together(Protocol):
    """What makes several things durable at once."""

    def make_durable(self, those: Sequence[Any]) -> None:
        """Return once each of them is durable or knows why not. What is raised is raised for each of them."""


class Turns:
    """Those whom one thread serves in turn, while it is entered. Used by that thread alone."""

    def __init__(self) -> None:
        self._hub = getcurrent()
        self._aside: list[tuple[Together, Any, greenlet]] = []
        self._durable: deque[tuple[greenlet, BaseException | None]] = deque()
        self._since = 0.0
        #: To begin a greenlet costs some 7 µs, to go on with one that has ended its work less than one.
        self._idle: list[greenlet] = []

    def __enter__(self) -> Turns:
        _local.turns = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.settle()
        finally:
            _local.turns = None
            while self._idle:
                self._idle.pop().throw()  # nobody would collect one whose frame refers to it

    def __bool__(self) -> bool:
        """Whether somebody stands aside."""
        return bool(self._aside or self._durable)

    @property
    def is_due(self) -> bool:
        """Whether those who stand aside have waited for long enough."""
        return bool(self._aside) and time.monotonic() - self._since >= ASIDE_SECONDS

    def serve(self, work: Callable[..., None], *given: Any) -> None:
        """Call `work`; return when it has returned, or stands aside. What it raises is raised here."""
        turn = self._idle.pop() if self._idle else self._begun()
        self._heed(turn.switch(work, given), turn)

    def _begun(self) -> greenlet:
        turn = greenlet(self._work, self._hub)
        turn.switch()  # what it began with, it would keep for as long as it lives
        return turn

    def _work(self) -> None:
        while True:
            work, given = self._hub.switch()
            work(*given)
            del work, given
            self._idle.append(getcurrent())

    def settle(self) -> None:
        """Make durable what all that stand aside wait for, and let each go on to its end."""
        while self:
            if not self._durable:
                self._make_durable()
            turn, error = self._durable.popleft()
            self._heed(turn.switch() if error is None else turn.throw(error), turn)

    def _make_durable(self) -> None:
        aside, self._aside = self._aside, []
        waiting: dict[Together, list[Any]] = {}
        failed: dict[Together, BaseException] = {}
        for group, mine, _ in aside:
            waiting.setdefault(group, []).append(mine)
        for group, those in waiting.items():
            try:
                group.make_durable(those)
            except BaseException as error:
                failed[group] = error
        self._durable.extend((turn, failed.get(group)) for group, _, turn in aside)
        failed.clear()  # by their frames they refer to it

    def _heed(self, wish: object, turn: greenlet) -> None:
        """Let others go on first as often as a turn wishes it, which else has ended or stands aside."""
        while wish is _OTHERS_FIRST:
            self.settle()
            wish = turn.switch()

    def _stand_aside(self, group: Together, mine: Any) -> None:
        if not self._aside:
            self._since = time.monotonic()
        self._aside.append((group, mine, getcurrent()))
        self._hub.switch()


def _mine() -> Turns | None:
    """Return the turns of which the caller has one."""
    turns: Turns | None = getattr(_local, "turns", None)
    return None if turns is None or getcurrent() is turns._hub else turns


def stand_aside(group: Together, mine: Any) -> bool:
    """Return once `group` has made `mine` durable. False, at once, if the calling thread serves nobody else meanwhile.

    The caller must hold no lock.
    """
    turns = _mine()
    if turns is None:
        return False
    turns._stand_aside(group, mine)
    return True


def let_others_go_on() -> None:
    """Let those who stand aside on this thread go on to their end; called before one waits for more than the disk."""
    turns = _mine()
    if turns:
        turns._hub.switch(_OTHERS_FIRST)
