"""Files that are there whole or not at all, and what it is called when the system refuses one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from config.errors import StorageFailed, StorageFull

#: EFBIG is a limit on one file (setrlimit): to the one who uploads, no room is no room.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: What a disk alone is to blame for: none of it, or it fails, or after it failed the system lets nobody write there.
OF_THE_DISK = _FULL | {errno.EIO, errno.EROFS}


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file under its name once it is durable, so that two processes that begin at once cannot mix theirs."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def sync_folder(folder: Path) -> None:
    """Return once the names in a folder are durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def full_or_failed(error: OSError) -> StorageFailed:
    """Return the error that a person should read for what the system said."""
    if error.errno in _FULL:
        return StorageFull()
    return StorageFailed(what=errno.errorcode.get(error.errno or 0, "unknown"))
