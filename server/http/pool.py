"""Worker threads: a fixed number that work, and as many more as at the moment only wait for slow clients.

Threads that run Python at once share one lock, so few are best; a thread that waits for a client runs nothing. So a
client that drips its upload takes nobody's turn.
"""

from __future__ import annotations

import collections
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from cheroot.workers.threadpool import ThreadPool


class Pool(ThreadPool):
    """Grows while workers wait for clients and connections wait for workers; shrinks when that is over."""

    _threads: list[Any]
    _queue: queue.Queue[Any]
    _pending_shutdowns: collections.deque[Any]
    _spawn_worker: Callable[[], Any]
    _clear_dead_threads: Callable[[], None]

    def __init__(self, server: Any, workers: int, workers_max: int) -> None:
        super().__init__(server, min=workers, max=max(workers, workers_max))
        self._guard = threading.Lock()
        self._waiting = 0
        #: Of whose clients workers wait, and since when each has been silent.
        self._waiting_for: dict[bytes, list[float]] = {}
        self._crowd = max(workers, workers_max) // 4

    @property
    def is_short(self) -> bool:
        """Whether a connection waits for a worker, and all of them work."""
        return bool(self._queue.queue) and not self.idle

    def begin_waiting(self, owner: bytes, since: float) -> bool:
        """Count a worker that waits, or waits on, for a client that has been silent `since` then (monotonic seconds).

        False: it must not, for there is a crowd, and `owner`, whose request it is (empty: nobody's known), has a fair
        share of it without this one. The longest silent go first: who comes back once a line was gone finds room.
        """
        with self._guard:
            if owner and self.is_crowded and not self._has_room(self._waiting_for.get(owner, ()), since):
                return False
            self._waiting += 1
            self._waiting_for.setdefault(owner, []).append(since)
        self.server.lead.pass_on()
        self.grow_if_needed()
        return True

    def _has_room(self, others: Sequence[float], since: float) -> bool:
        share = self._crowd // 2
        return len(others) < 3 * share and sum(each > since for each in others) < share

    def end_waiting(self, owner: bytes, since: float) -> None:
        """Count a worker that goes on."""
        with self._guard:
            self._waiting -= 1
            self._waiting_for[owner].remove(since)
            if not self._waiting_for[owner]:
                del self._waiting_for[owner]

    @property
    def is_crowded(self) -> bool:
        """Whether so many workers wait for clients that none should wait out of politeness, nor for one person's."""
        return self._waiting > self._crowd

    def grow(self, amount: int) -> None:
        """Start `amount` more workers, within the maximum; unlike cheroot's, without waiting for them."""
        self._threads.extend(self._spawn_worker() for _ in range(min(amount, self.max - len(self._threads))))

    def grow_if_needed(self) -> None:
        """Start a worker for each that waits for its client, if somebody waits for a worker."""
        if self._queue.qsize() and self.server.ready:
            with self._guard:
                wanted = self.min + self._waiting
                if len(self._threads) < wanted:
                    self.grow(wanted - len(self._threads))

    def settle(self) -> None:
        """Grow, or let go what is idle above the usual number."""
        self.grow_if_needed()
        with self._guard:
            self._clear_dead_threads()
            surplus = len(self._threads) - len(self._pending_shutdowns) - self.min - self._waiting
            if surplus > 0 and not self._queue.qsize():
                self.shrink(surplus)

    def stop(self, timeout: float | None = 5) -> None:
        """Let requests under way end within `timeout` seconds, then cut the rest."""
        until = time.monotonic() + (timeout or 0)
        while time.monotonic() < until and (self.qsize or any(thread.conn is not None for thread in self._threads)):
            time.sleep(0.02)
            self.server.lead.look()
        for thread in list(self._threads):
            self._force_close(thread.conn)
        super().stop(1)

    @staticmethod
    def _force_close(conn: Any) -> None:
        if conn is not None:
            conn.cut()
