"""How long the proofs are, and which seeds chance has in the tests.

Fixed seeds come again the same, so that CI is the same twice; what they never try, they never will. So the full form
tries others beside them: those of the day, or of `MELLANRUM_SEED`. At the end of a run that failed stands what
repeats it.

    MELLANRUM_PROOF=full   the long form; anything else is the short one, which CI runs
    MELLANRUM_SEED=7       a seed beside the fixed ones, in either form; without it the full one takes the date
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from typing import Any

import pytest

from config.clock import iso_utc, now_us

PROOF, SEED = "MELLANRUM_PROOF", "MELLANRUM_SEED"
#: What tests are told from outside, and no installation is.
VARIABLES = frozenset({PROOF, SEED})
#: How far the seeds of one day lie apart: further than those of two days in a century.
APART = 1_000_000


def is_short() -> bool:
    """Tell whether this is the short form of the proofs."""
    return os.environ.get(PROOF) != "full"


def drawn() -> int | None:
    """Return the seed beside the fixed ones, None where nothing but these is tried."""
    told = os.environ.get(SEED)
    if told:
        return int(told)
    return None if is_short() else int(iso_utc(now_us())[:10].replace("-", ""))


def seed(fixed: int) -> int:
    """Return the one seed of what is tried once: the drawn one, if there is any."""
    found = drawn()
    return fixed if found is None else found


def seeds(fixed: Iterable[int], more: int = 1) -> list[int]:
    """Return the fixed seeds, and those beside them: `more` in the full form, in the short one none but a named one.

    The named one comes first among these, so that it repeats any of them by itself.
    """
    first, count = drawn(), 1 if is_short() else more
    return [*fixed, *([] if first is None else [first + number * APART for number in range(count)])]


def seeded(fixed: Iterable[int], more: int = 1) -> list[Any]:
    """Return the same as values of a parameter. Those beside the fixed ones are the proofs'."""
    known = list(fixed)
    beside = seeds(known, more)[len(known) :]
    return [*known, *(pytest.param(each, marks=pytest.mark.proof) for each in beside)]


class Again:
    """A pytest plugin: one seed for a whole run and all its processes, and how to repeat what failed with it."""

    def pytest_configure(self) -> None:
        """Hold the seed: the day may end before the run does."""
        if (found := drawn()) is not None:
            os.environ[SEED] = str(found)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print a command for each proof that failed."""
        found = drawn()
        failed = [each for kind in ("failed", "error") for each in terminalreporter.stats.get(kind, [])]
        proofs = dict.fromkeys(each.nodeid for each in failed if "proof" in getattr(each, "keywords", ()))
        if found is None or not proofs:
            return
        form = "short" if is_short() else "full"
        terminalreporter.section("to repeat it")
        for name in proofs:
            terminalreporter.line(f"{PROOF}={form} {SEED}={found} .venv/bin/pytest -s -m proof {shlex.quote(name)}")
