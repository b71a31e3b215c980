"""Kill −9 inside a system call: strace attached to a process, and what it saw.

strace counts calls for each thread and each name by itself, from the moment it is attached; so does `calls`. A process
killed as it enters a call never finished it: what a kill in the midst of a write leaves is that state, or the same with
a part of the buffer written, which `tear` brings about.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.proofs.crash_site import unable
from tests.tools import need

#: The calls by which a process changes what lies on disk, makes it last, or answers a client.
WRITING = (
    *("write", "pwrite64", "writev", "pwritev", "pwritev2", "fsync", "fdatasync", "ftruncate", "fallocate", "sendto"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "openat"),
)
ATTACH_SECONDS_MAX = 20
_LINE = re.compile(rb"(\d+) +(\w+)\((.*)$")
_HEX = re.compile(rb"\\x([0-9a-f]{2})")
_FILE = re.compile(rb"^\d+<([^>]*)>")
_QUOTED = re.compile(rb'"([^"]*)"')
_WRITTEN = re.compile(rb'^\d+<[^>]*>, "([^"]*)", \d+(?:, (\d+)\))?')


def need_tracing() -> None:
    """Skip by name where strace is missing or may not be attached to a process of ours, and fail in CI."""
    need("strace")
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if os.geteuid() != 0 and scope.exists() and scope.read_text().strip() != "0":
        unable("attaching strace needs root, or kernel.yama.ptrace_scope = 0")


class Call(NamedTuple):
    """One call that a thread entered: the `ordinal`-th of its name in that thread, counted from 1."""

    thread: int
    name: str
    ordinal: int
    path: str
    makes: bool
    data: bytes
    offset: int | None

    @property
    def changes(self) -> bool:
        """Whether it can change anything: an `openat` does only where it may create."""
        return self.name != "openat" or self.makes

    def shown(self, top: Path) -> str:
        """Return the call in words, paths below `top` without what differs from one run to the next."""
        path = self.path.removeprefix(f"{top.parent}/").removeprefix(f"{top.name}/")
        path = re.sub(r"[0-9a-f]{32}", "<id>", re.sub(r"[0-9a-f]{16}\.pack", "<pack>", path))
        path = re.sub(r"journal/[^/]+", "journal/<journal>", re.sub(r"(pipe|socket):\[\d+\]", r"<\1>", path))
        return f"{self.name} #{self.ordinal} {path}" + (f" {len(self.data)} bytes" if self.data else "")


def calls(log: Path) -> list[Call]:
    """Return every call that the log of a `-f -y -xx` run shows as entered."""
    found: list[Call] = []
    counted: Counter[tuple[int, str]] = Counter()
    for line in log.read_bytes().splitlines():
        match = _LINE.match(line)
        if match is None:
            continue  # a signal, an end, or the rest of a call already seen
        thread, name, rest = int(match[1]), match[2].decode(), match[3]
        counted[thread, name] += 1
        path = _FILE.match(rest) or _QUOTED.search(rest)
        written = _WRITTEN.match(rest) if name in ("write", "pwrite64", "sendto") else None
        found.append(
            Call(
                thread,
                name,
                counted[thread, name],
                os.fsdecode(_plain(path[1])) if path else "",
                b"O_CREAT" in rest,
                _plain(written[1]) if written else b"",
                int(written[2]) if written and written[2] else None,
            )
        )
    return found


def _plain(text: bytes) -> bytes:
    return _HEX.sub(lambda match: bytes.fromhex(match[1].decode()), text)


@contextlib.contextmanager
def attached(pid: int, log: Path, kill: Call | None = None) -> Iterator[None]:
    """Trace a process and all its threads; kill it where any of them enters the call that `kill` tells."""
    command = [
        str(need("strace")),
        "-f",
        "-y",
        "-xx",
        "-s",
        "8000000",
        "-o",
        str(log),
        "-e",
        f"trace={','.join(f'?{name}' for name in WRITING)}",
    ]
    if kill is not None:
        command += ["-e", f"inject={kill.name}:signal=KILL:when={kill.ordinal}"]
    tracer = subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.DEVNULL)
    try:
        _await_attached(pid, tracer)
        yield
        try:
            tracer.wait(0 if _is_alive(pid) else 20)
        except subprocess.TimeoutExpired:
            pass
    finally:
        if tracer.poll() is None:
            tracer.terminate()
        tracer.wait(20)


def _await_attached(pid: int, tracer: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + ATTACH_SECONDS_MAX
    while not all(
        "TracerPid:\t0\n" not in (task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()
    ):
        assert tracer.poll() is None, "strace could not be attached"
        assert time.monotonic() < until, "strace was not attached in time"
        time.sleep(0.005)


def _is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def tear(call: Call, old_top: Path, new_top: Path) -> bool:
    """Write a part of what a killed write was about to write, in a copy of its folder; tell whether there is one.

    The kernel gives up between pages, and a short write need not end at one: half of the buffer stands for all of it.
    """
    path = Path(call.path)
    if len(call.data) < 2 or call.offset is None or not path.is_relative_to(old_top):
        return False
    file = new_top / path.relative_to(old_top)
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.pwrite(descriptor, call.data[: len(call.data) // 2], call.offset)
    finally:
        os.close(descriptor)
    return True
