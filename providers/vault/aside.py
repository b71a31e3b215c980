"""Work beside the thread that has it: digests and ciphers let go of the interpreter's lock while they run."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Aside:
    """As many threads as there are cores, once they are needed. Shared by all readers and writers of a vault."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, work: Callable[..., T], *arguments: object) -> Future[T]:
        """Begin to do `work`; what it works on must not be touched until the future is done."""
        with self._guard:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="vault")
            return self._pool.submit(work, *arguments)

    def close(self) -> None:
        """End the threads."""
        with self._guard:
            if self._pool is not None:
                self._pool.shutdown(wait=True)
                self._pool = None
