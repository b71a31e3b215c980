"""Kill −9 inside every system call that writes, between the first byte of a PUT or MOVE and its acknowledgement.

Nothing acknowledged is lost, nothing is half visible, `verify` finds nothing, and the next PUT works.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.proofs.crash_site import ROOM, Operation, Site, quick_folder, states
from tests.proofs.crash_strace import Call, attached, calls, need_tracing, tear
from tests.seeds import is_short, seed
from tests.tools import ROOT

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]

SMALL, LARGE = 3_000, 5_000_000
WORKER_SECONDS_MAX = 60
SAMPLED = 12
STANDING = (
    Operation("put", f"{ROOM}/Stå kvar.txt", seed=1, size=2_000),
    Operation("put", f"{ROOM}/A/Litet.txt", seed=2, size=SMALL),
    Operation("put", f"{ROOM}/B/Annat.txt", seed=4, size=SMALL),
)
STANDING_LARGE = Operation("put", f"{ROOM}/A/Stort.bin", seed=3, size=LARGE)
CASES = {
    "a new small document": Operation("put", f"{ROOM}/A/Nytt.txt", seed=11, size=SMALL),
    "a small document replaced": Operation("put", f"{ROOM}/A/Litet.txt", seed=12, size=SMALL),
    "a move": Operation("move", f"{ROOM}/A/Litet.txt", f"{ROOM}/B/Flyttat.txt"),
    "a move over another": Operation("move", f"{ROOM}/A/Litet.txt", f"{ROOM}/B/Annat.txt"),
    "a move folded in": Operation("move", f"{ROOM}/A/Litet.txt", f"{ROOM}/B/Flyttat.txt"),
    "a new large document": Operation("put", f"{ROOM}/A/Nytt.bin", seed=13, size=LARGE),
    "a large document replaced": Operation("put", f"{ROOM}/A/Stort.bin", seed=14, size=LARGE),
}
#: The log of the database is folded into it at once: SQLite's checkpoint is what gets killed.
FOLDING_CASES = {"a move folded in"}
#: In the short form these are sampled.
SAMPLED_CASES = {"a move folded in", "a new large document", "a large document replaced"}


@pytest.fixture
def template(case: str) -> Iterator[Site]:
    """What stands before the case."""
    need_tracing()
    with quick_folder() as folder:
        yield Site.build(folder / "site", (*STANDING, STANDING_LARGE) if "large" in case else STANDING)


@dataclass(frozen=True)
class Run:
    """One run of the worker: how it ended, whether it acknowledged, what it called."""

    code: int
    is_acknowledged: bool
    calls: list[Call]


def run(site: Site, case: str, kill: Call | None) -> Run:
    """Let a worker do the operation of a case on the site, killed at a call or not at all."""
    log = site.folder.with_suffix(".strace")
    worker = subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).with_name("crash_worker.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    try:
        assert worker.stdin is not None and worker.stdout is not None
        worker.stdin.write(json.dumps(site.task([CASES[case]], folds=case in FOLDING_CASES)).encode() + b"\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == b"READY\n"
        with attached(worker.pid, log, kill):
            rest, _ = worker.communicate(b"go\n", timeout=WORKER_SECONDS_MAX)
    finally:
        worker.kill()
        worker.wait()
    told = rest.decode().splitlines(keepends=True)
    seen = calls(log)
    log.unlink()
    return Run(worker.returncode, "ACK 0 0\n" in told, seen)


def points(seen: Sequence[Call]) -> list[Call]:
    """Return the calls that change something, up to and including the acknowledgement's."""
    last = next(number for number, call in enumerate(seen) if call.name == "write" and call.data.startswith(b"ACK"))
    return [call for call in seen[: last + 1] if call.changes]


def faults_at(template: Site, case: str, kill: Call, folder: Path) -> dict[str, list[str]]:
    """Kill a worker at a call; return what is wrong with the site as it was left, and with the call half done."""
    site = template.copied(folder / "site")
    outcome = run(site, case, kill)
    assert outcome.code == -9, f"{kill} was not reached: exit code {outcome.code}"
    died = outcome.calls[-1]
    torn = site.copied(folder / "torn")
    before, after = states(template.tree, [CASES[case]])
    allowed = [after] if outcome.is_acknowledged else [before, after]
    found = {died.shown(site.folder): site.faults(allowed)}
    if tear(died, site.folder, torn.folder):
        found[f"{died.shown(site.folder)}, half of it"] = torn.faults(allowed)
    shutil.rmtree(folder)
    return found


def kill_everywhere(template: Site, case: str, folder: Path) -> dict[str, list[str]]:
    """Kill one operation at each of its points, or at a sample of them; return the faults by point."""
    whole = template.copied(folder / "whole")
    outcome = run(whole, case, None)
    assert outcome.code == 0 and outcome.is_acknowledged
    assert whole.faults([CASES[case].after(template.tree)]) == []
    chosen = points(outcome.calls)
    if case in SAMPLED_CASES and is_short():
        chosen = sorted(random.Random(seed(2)).sample(chosen, min(SAMPLED, len(chosen))))
    found: dict[str, list[str]] = {}
    with ThreadPoolExecutor(2) as pool:
        tried = pool.map(
            lambda numbered: faults_at(template, case, numbered[1], folder / str(numbered[0])),
            enumerate(chosen),
        )
        for each in tried:
            found.update(each)
    return found


@pytest.mark.parametrize("case", CASES)
def test_killed_inside_each_write(template: Site, case: str) -> None:
    with quick_folder() as folder:
        found = kill_everywhere(template, case, folder)
    print(f"\n{case}: killed at {len(found)} points")
    for point, faults in found.items():
        print(f"  {point}: {'; '.join(faults) or 'whole'}")
    assert len(found) >= 10
    assert {point: faults for point, faults in found.items() if faults} == {}
