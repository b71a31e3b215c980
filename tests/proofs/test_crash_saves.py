"""Kill −9 in any system call of each step of a save, or of going back: each request whole or absent, and it goes on.

The document exists under one of the states that the steps pass through, and ends as the same document with one version
more, whenever the process died.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.proofs.crash_saves import (
    GOING_BACK,
    MEANWHILE,
    NEW,
    OLD,
    SAVES,
    SavesSite,
    Step,
    X,
    after,
    faults_after,
    faults_of_document,
    work,
)
from tests.proofs.crash_site import Tree, quick_folder
from tests.proofs.crash_strace import Call, attached, calls, need_tracing
from tests.seeds import is_short, seed

pytestmark = [pytest.mark.proof, pytest.mark.timeout(7200)]

SAMPLED = 4
SECONDS_MAX = 60
_starting = multiprocessing.get_context("forkserver")
_starting.set_forkserver_preload(["tests.proofs.crash_saves"])


@dataclass(frozen=True)
class Run:
    """How a process ended, how many steps it acknowledged, what it called."""

    code: int | None
    outcomes: list[str]
    calls: list[Call]


def run(site: SavesSite, protocol: str, steps: tuple[Step, ...], kill: Call | None) -> Run:
    """Let a process take the steps on a site, killed at a call or not at all."""
    log = site.folder.with_suffix(".strace")
    ours, theirs = _starting.Pipe()
    process = _starting.Process(target=work, args=(str(site.data), site.password, protocol, steps, theirs))
    process.start()
    theirs.close()
    outcomes: list[str] = []
    try:
        assert ours.poll(SECONDS_MAX) and ours.recv_bytes() == b"READY"
        assert process.pid is not None
        with attached(process.pid, log, kill):
            ours.send_bytes(b"go")
            try:
                while len(outcomes) < len(steps) and ours.poll(SECONDS_MAX):
                    outcomes.append(ours.recv_bytes().decode())
                ours.send_bytes(b"end")
            except (EOFError, OSError):
                pass
            process.join(SECONDS_MAX)
    finally:
        process.kill()
        process.join()
        ours.close()
    seen = calls(log)
    log.unlink()
    return Run(process.exitcode, outcomes, seen)


def points(seen: Sequence[Call]) -> list[Call]:
    """Return the calls that change something, up to and including the last acknowledgement's."""
    last = max(number for number, call in enumerate(seen) if call.name == "write" and b"ACK " in call.data)
    return [call for call in seen[: last + 1] if call.changes]


@dataclass(frozen=True)
class Case:
    """What is done to a site, over which protocol, and what the site is by then."""

    site: SavesSite
    protocol: str
    steps: tuple[Step, ...]
    states: list[Tree]
    versions: list[bytes]

    def faults_at(self, kill: Call, folder: Path) -> dict[str, list[str]]:
        """Kill a process at a call; return what is wrong with the site as it was left, and as it goes on."""
        site = self.site.copied(folder / "site")
        outcome = run(site, self.protocol, self.steps, kill)
        assert outcome.code == -9, f"{kill} was not reached: exit code {outcome.code}"
        died = f"after {len(outcome.outcomes)} steps, {outcome.calls[-1].shown(site.folder)}"
        try:
            found = [each for each in outcome.outcomes if not each.endswith(" done")]
            found += faults_after(site, self.protocol, self.steps, self.states, len(outcome.outcomes))
            found += faults_of_document(site, self.versions)
        except Exception as error:  # whatever it is, the site did not come back
            found = [f"{type(error).__name__}: {error}"]
        shutil.rmtree(folder)
        return {died: found}

    def kill_everywhere(self, folder: Path, fixed: int) -> dict[str, list[str]]:
        """Kill at each call, or at a sample of them; return the faults by point."""
        whole = self.site.copied(folder / "whole")
        outcome = run(whole, self.protocol, self.steps, None)
        assert outcome.code == 0 and [each.split()[-1] for each in outcome.outcomes] == ["done"] * len(self.steps)
        assert faults_after(whole, self.protocol, self.steps, self.states, len(self.steps)) == []
        assert faults_of_document(whole, self.versions) == []
        chosen = points(outcome.calls)
        assert len(chosen) >= SAMPLED
        if is_short():
            chosen = sorted(random.Random(seed(fixed)).sample(chosen, SAMPLED))
        found: dict[str, list[str]] = {}
        with ThreadPoolExecutor(2) as pool:
            tried = pool.map(lambda at: self.faults_at(at[1], folder / str(at[0])), enumerate(chosen))
            for number, each in enumerate(tried):
                found.update({f"{number}. {point}": faults for point, faults in each.items()})
        return found


def must_be_whole(case: Case, name: str, fixed: int) -> None:
    """Kill, tell, and fail where anything is wrong."""
    with quick_folder() as folder:
        found = case.kill_everywhere(folder, fixed)
    print(f"\n{name} over {case.protocol}: killed at {len(found)} points")
    for point, faults in found.items():
        print(f"  {point}: {'; '.join(faults) or 'whole'}")
    assert {point: faults for point, faults in found.items() if faults} == {}


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    need_tracing()
    with quick_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def site(ground: Path) -> SavesSite:
    return SavesSite.build(ground / "saves")


@pytest.mark.parametrize("protocol", ["WebDAV", "SFTP"])
@pytest.mark.parametrize("program", SAVES)
def test_killed_in_a_save(site: SavesSite, program: str, protocol: str) -> None:
    steps, states = SAVES[program], [site.old]
    for step in steps:
        states.append(after(step, states[-1]))
    fixed = list(SAVES).index(program) * 2 + (protocol == "SFTP")
    must_be_whole(Case(site, protocol, steps, states, [OLD, NEW]), program, fixed)


@pytest.mark.parametrize("act", GOING_BACK)
def test_killed_going_back(ground: Path, act: str) -> None:
    site = SavesSite.build(ground / act, lambda drive: MEANWHILE[act](drive))
    steps: tuple[Step, ...] = (((act, X, ""), (act, "/Rum/A", str(site.moment)))[act == "put back"],)
    versions = [OLD] if act == "undelete" else [OLD, NEW, OLD]
    must_be_whole(Case(site, "the drive", steps, [site.old, site.first], versions), act, len(act))
