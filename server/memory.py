"""What the C library keeps of memory that was freed. All of this is glibc's; elsewhere it does nothing."""

from __future__ import annotations

import ctypes

#: For a process that serves. glibc gives threads pools of their own (arenas), up to eight for each processor, and what
#: is freed in one is no use to another. Threads that take turns at the interpreter's lock seldom meet in the allocator.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "2"}
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Give the system what is free, in pieces as it may lie. Takes milliseconds, and lets other threads run meanwhile.

    Without it, a process keeps for good what a crowd once took: only what lies free at the end of a pool is given back.
    """
    if _trim is not None:
        _trim(ctypes.c_size_t(0))
