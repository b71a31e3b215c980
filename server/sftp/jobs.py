"""What engines ask to be done: in the loop itself what waits for nobody, in threads what may block."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakSet

from providers.errors import NotAtHand
from server.sftp.crowd import Drafts
from server.sftp.turns import Turns

if TYPE_CHECKING:
    from server.sftp.engine import Engine
    from server.sftp.engine.door import Done, Job

#: What is done at once holds up whoever else is served by the loop: for about so long in one go, and half of the time.
AT_ONCE_SECONDS_MAX: Final = 0.002
#: A disk that let it take longer is left alone for many times as long.
_SLOW_SECONDS: Final = 0.005
_SLOW_COSTS: Final = 20.0


class Asked(NamedTuple):
    """A job, and who gets what it returns or raises."""

    loop: asyncio.AbstractEventLoop
    job: Job
    done: Done


class Jobs:
    """Runs what may block, for all channels of a process."""

    def __init__(self, threads: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._threads_max = threads
        self._threads: list[threading.Thread] = []
        self._asked: SimpleQueue[Asked | None] = SimpleQueue()
        #: What is done in the loop itself, without waiting for anything.
        self.turns = Turns()
        self.drafts = Drafts()
        self._under_way = 0
        #: Long jobs that wait for their turn, by whose they are, in the order in which these are served.
        self._waiting: OrderedDict[bytes, deque[Asked]] = OrderedDict()
        self._long_under_way: Counter[bytes] = Counter()
        self._clock = clock
        #: How long jobs may still be done at once, as of when.
        self._left, self._as_of = AT_ONCE_SECONDS_MAX, clock()
        #: Whoever has something under way is kept by that, and with nothing else left is gone.
        self._lingering: WeakSet[Engine] = WeakSet()

    def linger(self, engine: Engine) -> None:
        """Know of an engine whose channel is gone, and that may still put uploads aside."""
        self._lingering.add(engine)

    @property
    def are_done(self) -> bool:
        """Whether nothing is left to do for those who are gone."""
        return all(each.is_idle for each in self._lingering)

    def at_once(self, job: Job) -> Any:
        """Run a job in the loop. Raises NotAtHand if such jobs have taken more than their share of it."""
        began = self._clock()
        self._left = min(AT_ONCE_SECONDS_MAX, self._left + began - self._as_of)
        self._as_of = began
        if self._left <= 0:
            raise NotAtHand
        try:
            return job()
        finally:
            self._as_of = self._clock()
            took = self._as_of - began
            self._left -= took if took < _SLOW_SECONDS else took * _SLOW_COSTS

    def submit(self, asked: Asked) -> None:
        """Run a job in a thread, then what is done with its result in the loop. Called in the loop."""
        self._under_way += 1
        if len(self._threads) < min(self._under_way, self._threads_max):
            self._threads.append(threading.Thread(target=self._work, name="storage", daemon=True))
            self._threads[-1].start()
        self._asked.put(asked)

    def submit_long(self, asked: Asked, owner: bytes) -> None:
        """Run a job of somebody's that may take its time: such have half of the threads, each person a quarter."""
        self._waiting.setdefault(owner, deque()).append(asked)
        self._begin_long()

    def _begin_long(self) -> None:
        """Begin what long jobs may be begun, one of each person in turn."""
        all_max, each_max = max(1, self._threads_max // 2), max(1, self._threads_max // 4)
        for owner in list(self._waiting):
            if self._long_under_way.total() >= all_max:
                return
            if self._long_under_way[owner] >= each_max:
                continue
            asked = self._waiting[owner].popleft()
            self._waiting.move_to_end(owner)
            if not self._waiting[owner]:
                del self._waiting[owner]
            self._long_under_way[owner] += 1
            self.submit(asked._replace(done=partial(self._long_over, owner, asked.done)))

    def _long_over(self, owner: bytes, done: Done, result: Any, error: BaseException | None) -> None:
        self._long_under_way[owner] -= 1
        if not self._long_under_way[owner]:
            del self._long_under_way[owner]
        self._begin_long()
        done(result, error)

    def _work(self) -> None:
        """Run jobs as they come. What a pool of the standard library does besides cost as much as the hop itself."""
        while (asked := self._asked.get()) is not None:
            self._run(asked)
            del asked

    def _run(self, asked: Asked) -> None:
        try:
            result, error = asked.job(), None
        except BaseException as raised:
            result, error = None, raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            asked.loop.call_soon_threadsafe(self._over, asked.done, result, error)
        error = None  # by its frames, of which this is one, it would refer to itself

    def _over(self, done: Done, result: Any, error: BaseException | None) -> None:
        self._under_way -= 1
        done(result, error)

    def close(self) -> None:
        """Begin no more."""
        with contextlib.suppress(Empty):
            while True:
                self._asked.get_nowait()
        for _ in self._threads:
            self._asked.put(None)
