"""The access log: a line a request, without names, addresses or URIs of anything, in the form of `config.logging`.

Lines are gathered and written together, for the logging machinery would cost as much as a small request.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque

from config.logging import ROOT

_METHODS = frozenset(
    ("COPY", "DELETE", "GET", "HEAD", "LOCK", "MKCOL", "MOVE", "OPTIONS", "POST", "PROPFIND", "PROPPATCH", "PUT")
) | {"TRACE", "UNLOCK"}
_LINES_MAX = 10_000

_waiting: deque[tuple[float, str, str, int, int, float]] = deque(maxlen=_LINES_MAX)
_logger = logging.getLogger(f"{ROOT}.http")


def note(method: str, status: str, in_bytes: int, out_bytes: int, seconds: float) -> None:
    """Note a request that is over. Where the client left before it was answered, its status is none."""
    if _logger.isEnabledFor(logging.INFO):
        shown = method if method in _METHODS else "other"
        _waiting.append((time.time(), shown, status[:3] or "none", in_bytes, out_bytes, seconds))


def flush() -> None:
    """Write what has been noted. Called a few times a second."""
    if not _waiting:
        return
    pid = os.getpid()
    lines = []
    while _waiting:
        at, method, status, in_bytes, out_bytes, seconds = _waiting.popleft()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
        lines.append(
            f"{stamp}.{int(at % 1 * 1_000_000):06d}Z info pid={pid} log=http event=request method={method}"
            f" status={status} in_bytes={in_bytes} out_bytes={out_bytes} milliseconds={int(seconds * 1000)}\n"
        )
    try:
        sys.stderr.write("".join(lines))
        sys.stderr.flush()
    except (OSError, ValueError):
        pass  # a full disk under stderr must not stop the server
