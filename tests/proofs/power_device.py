"""A block device in memory that logs every write and flush: a script for nbdkit's Python plugin.

Parameters: `size` in bytes, `log` the file to log to, `beside` the folder of power_log.py, all that it imports of ours.
"""

from __future__ import annotations

import os
import sys

import nbdkit  # nbdkit's own, there only inside it

API_VERSION = 2
_given: dict[str, str] = {}
_disk = bytearray()
_log = -1


def thread_model() -> int:
    """One request at a time, so that the log's order is the device's."""
    found: int = nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS
    return found


def config(key: str, value: str) -> None:
    """Take a parameter."""
    _given[key] = value


def config_complete() -> None:
    """Make the disk, empty."""
    global _disk, _log
    sys.path.insert(0, _given["beside"])
    _disk = bytearray(int(_given["size"]))
    _log = os.open(_given["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def open(readonly: bool) -> int:
    """Every connection sees the one disk."""
    return 1


def get_size(handle: int) -> int:
    """The disk's size in bytes."""
    return len(_disk)


def can_flush(handle: int) -> bool:
    """There is a cache to flush."""
    return True


def can_fua(handle: int) -> int:
    """Writes may be durable by themselves."""
    native: int = nbdkit.FUA_NATIVE
    return native


def pread(handle: int, buffer: bytearray, offset: int, flags: int) -> None:
    """Read what was written, flushed or not."""
    buffer[:] = _disk[offset : offset + len(buffer)]


def pwrite(handle: int, buffer: bytearray, offset: int, flags: int) -> None:
    """Write, and log it before it is answered."""
    from power_log import DURABLE, WRITE

    data = bytes(buffer)
    _disk[offset : offset + len(data)] = data
    _note(DURABLE if flags & nbdkit.FLAG_FUA else WRITE, offset, data)


def flush(handle: int, flags: int) -> None:
    """Log that all writes before are durable, and only then answer."""
    from power_log import FLUSH

    _note(FLUSH)


def _note(kind: int, offset: int = 0, data: bytes = b"") -> None:
    from power_log import packed

    record = packed(kind, offset, data)
    assert os.write(_log, record) == len(record)
