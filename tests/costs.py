"""What a test run cost, printed at its end: elapsed time, processor time, and the files that took most of it.

Processor time is that of the process that runs the tests and of every process below it that lives or was waited for.
With pytest-xdist each worker counts its own, and the run adds them up.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FILES_SHOWN = 10
_TICKS = os.sysconf("SC_CLK_TCK")


def spent(stat: str) -> float:
    """Return the processor seconds that a process's `stat` tells of, those of the children it waited for included."""
    # after the name, which may have spaces: the state, then numbers; utime, stime, cutime, cstime from the twelfth
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / _TICKS


def cpu_seconds(pid: int | str = "self") -> float:
    """Return the processor seconds of a process, of the children it waited for, and of all that live below it."""
    try:
        own = spent(Path(f"/proc/{pid}/stat").read_text())
        children = [each.read_text().split() for each in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has ended meanwhile: whoever waits for it has its time
        return 0.0
    return own + sum(cpu_seconds(child) for each in children for child in each)


class Costs:
    """A pytest plugin that keeps account of the files of tests, and at the end of a run prints what they cost."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seen: float | None = None
        self._files: Counter[str] = Counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        """Count a file up to its last test, what its fixtures take to end included."""
        if self._seen is None:
            self._seen = cpu_seconds()  # collecting was no file's
        result = yield
        if nextitem is None or nextitem.path != item.path:
            now = cpu_seconds()
            self._files[item.nodeid.partition("::")[0]] += now - self._seen
            self._seen = now
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand over what was counted, if this is a worker."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["costs"] = dict(self._files)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker counted, unless it crashed."""
        self._files.update(getattr(node, "workeroutput", {}).get("costs", {}))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print what it cost."""
        spent, seconds = cpu_seconds(), time.monotonic() - self._began
        terminalreporter.section("what it cost")
        terminalreporter.line(f"{spent:8.1f} s of processors in {seconds:.0f} s, of which")
        for name, cpu in self._files.most_common(FILES_SHOWN):
            terminalreporter.line(f"{cpu:8.1f} s  {name}")
