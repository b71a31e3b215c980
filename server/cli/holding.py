"""Whoever works on a data folder holds it; re-wrapping keys waits for no one and needs it alone.

A server keeps keys in memory. Were they wrapped anew beneath it, what it makes next would be wrapped with the old root.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from server.cli.errors import InUse

FILE = "in-use.lock"


class Hold:
    """A lock on a data folder that goes with the process."""

    def __init__(self, folder: Path, how: int) -> None:
        self._fd = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise InUse(folder=folder) from None

    @classmethod
    def shared(cls, folder: Path) -> Hold:
        """Hold the folder beside others. Raises InUse while somebody needs it alone."""
        return cls(folder, fcntl.LOCK_SH)

    @classmethod
    def alone(cls, folder: Path) -> Hold:
        """Hold the folder alone. Raises InUse."""
        return cls(folder, fcntl.LOCK_EX)

    def close(self) -> None:
        """Let go."""
        os.close(self._fd)
