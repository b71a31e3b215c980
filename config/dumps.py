"""What a process holds stays in it: neither a core dump nor another program of the same user gets to see its memory."""

from __future__ import annotations

import ctypes

#: prctl(2).
_PR_SET_DUMPABLE = 4
_prctl = getattr(ctypes.CDLL(None), "prctl", None)


def stay_out_of_dumps() -> None:
    """Have the kernel write no core dump of this process, whatever becomes of it, and let none but root attach to it or
    read its memory. For a process that may hold a key, before it does; what it executes begins anew. Linux alone.

    A limit on the size of core dumps (RLIMIT_CORE) would not hold where they are piped to a program (core(5)).
    """
    if _prctl is not None:
        _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
