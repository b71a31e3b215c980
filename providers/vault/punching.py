"""Giving back the room of bytes in the middle of a file, as fallocate(2) does; Python's own knows no modes."""

from __future__ import annotations

import ctypes
import os
from typing import Final

#: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE of linux/falloc.h
_PUNCH: Final = 0x02 | 0x01


def punch(fd: int, offset: int, length: int) -> None:
    """Let bytes read as zeros that take no room. Raises OSError, EOPNOTSUPP where the file system knows no holes."""
    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "fallocate64", None) or libc.fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if call(fd, _PUNCH, offset, length) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
