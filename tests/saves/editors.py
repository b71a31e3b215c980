"""Editors, as somebody uses them who saves a file."""

from __future__ import annotations

import os
import pty
import select
import time
from collections.abc import Mapping
from pathlib import Path

from tests.tools import need

SETTLING_SECONDS_MAX = 20.0


def vim(file: Path, new: Path, *commands: str) -> list[str]:
    """Return the command that lets vim replace a file's text by that of another, and save it."""
    # Below /tmp it makes no backup unless it is told to.
    read = f"read {new}"
    told = ["set backupskip=", *commands, "%delete _", read, "1delete _", "wq"]
    return [str(need("vim")), "-u", "NONE", "-i", "NONE", "-es", *(w for each in told for w in ("-c", each)), str(file)]


def nano(file: Path, typed: bytes, environ: Mapping[str, str]) -> None:
    """Type into nano, save by Ctrl-O, leave by Ctrl-X."""
    program = str(need("nano"))
    child, terminal = pty.fork()
    if child == 0:
        os.execve(program, [program, "--ignorercfiles", str(file)], {**environ, "TERM": "xterm"})
    try:
        _until_quiet(terminal)
        for keys in (typed, b"\x0f", b"\r", b"\x18"):
            os.write(terminal, keys)
            _until_quiet(terminal)
    finally:
        os.close(terminal)
        assert os.waitpid(child, 0)[1] == 0


def _until_quiet(terminal: int) -> None:
    """Read what a program draws until it has stopped."""
    until = time.monotonic() + SETTLING_SECONDS_MAX
    while time.monotonic() < until and select.select([terminal], [], [], 0.4)[0]:
        try:
            if not os.read(terminal, 65536):
                return
        except OSError:
            return
