"""Power cuts, replayed from a block device that logs every write and flush, torn and reordered writes included.

Every operation acknowledged before the cut is there byte for byte, the one under way is there whole or not at all,
`verify` finds nothing, and the next PUT works. With a sync left out, or the acknowledgement moved before the commit,
the same run turns red. Where a machine cannot mount, this is skipped by name; in CI that is a failure.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.proofs.crash_site import ROOM, Operation, Site, Tree, quick_folder, states
from tests.proofs.power_disk import logged_device, make_file_system, mounted, sync
from tests.proofs.power_log import place_now
from tests.proofs.power_replay import Recording
from tests.seeds import is_short, seeded
from tests.tools import ROOT

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1800)]

DISK_BYTES = 64 << 20
OPERATIONS = 60
SEED = 7
CUTS, CUTS_SHORT, CUTS_RED = 120, 20, 12
SESSION_SECONDS_MAX = 120


def workload(count: int, chance: random.Random) -> list[Operation]:
    """Return a day's work: new documents, new versions, some of them large, moves and deletes."""
    standing: list[str] = []
    made: list[Operation] = []
    for number in range(count):
        act = chance.choices(["new", "again", "move", "delete"], [50, 25, 20, 5])[0]
        if act == "new" or len(standing) < 3:
            path = f"{ROOM}/{chance.choice('AB')}/Handling {number}.txt"
            standing.append(path)
            made.append(Operation("put", path, seed=number, size=_size(chance)))
            continue
        path = chance.choice(standing)
        if act == "again":
            made.append(Operation("put", path, seed=number, size=_size(chance)))
        elif act == "move":
            standing.remove(path)
            target = f"{ROOM}/{chance.choice('AB')}/Flyttad {number}.txt"
            standing.append(target)
            made.append(Operation("move", path, target))
        else:
            standing.remove(path)
            made.append(Operation("delete", path))
    return made


def _size(chance: random.Random) -> int:
    return chance.choice([200, 3_000, 20_000, 70_000]) if chance.random() < 0.9 else 900_000


@dataclass(frozen=True)
class Day:
    """A day's work as it was recorded: the log, where it began, and the place of each acknowledgement."""

    site: Site
    recording: Recording
    began: int
    told: list[int]
    trees: list[Tree]

    def allowed(self, cut: int) -> list[Tree]:
        """Return what may stand if the power went at event `cut`: what was told of, and what was then under way."""
        told = sum(self.recording.index(place) <= cut for place in self.told)
        return self.trees[told : told + 2]


def record(folder: Path, seed: int, fault: str = "") -> Day:
    """Work for a day on a logged disk: three processes, the second just ends, the third folds each commit."""
    operations = workload(OPERATIONS, random.Random(seed))
    third = OPERATIONS // 3
    with logged_device(folder, DISK_BYTES) as (device, log):
        make_file_system(device)
        with mounted(device, folder / "disk") as disk:
            site = Site.build(disk / "site")
            sync(disk)
            began = place_now(log)
            told: list[int] = []
            for number in range(3):
                part = operations[number * third : (number + 1) * third]
                told += _session(
                    site.task(part, log=str(log), fault=fault, close=number != 1, folds=number == 2),
                )
    recording = Recording(log, DISK_BYTES)
    log.unlink()
    return Day(site, recording, recording.index(began), told, states(site.tree, operations))


def _session(task: dict[str, object]) -> list[int]:
    """Run one process; return the place that the log had come to as it told of each operation."""
    done = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("crash_worker.py"))],
        input=f"{json.dumps(task)}\ngo\n",
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        timeout=SESSION_SECONDS_MAX,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0] == "READY" and lines[-1] == "DONE", lines
    told = [line.split() for line in lines[1:-1]]
    assert [(word, int(number)) for word, number, _ in told] == [("ACK", number) for number in range(len(told))]
    return [int(place) for _, _, place in told]


def cut(day: Day, folder: Path, count: int, seed: int) -> list[tuple[int, list[str]]]:
    """Cut the power `count` times; return the cuts after which something was wrong, and what."""
    chance = random.Random(seed + 4)
    image_file, found = folder / "crash.img", []
    cuts = day.recording.cuts(day.began, day.told, count, chance)
    for moment, image in day.recording.images(cuts, chance):
        image_file.write_bytes(image)
        allowed = day.allowed(moment)
        try:
            with mounted(image_file, folder / "crashed") as disk:
                faults = day.site.moved(disk / "site").faults(allowed)
        except AssertionError as error:
            faults = [f"it does not mount: {error}"]
        if faults:
            found.append((moment, faults))
    flushes = day.recording.flushes(day.began, day.recording.count)
    print(
        f"\n{len(cuts)} cuts among {day.recording.count - day.began} events ({flushes} flushes), {len(day.told)}",
        end="",
    )
    print(f" acknowledged operations: {len(cuts) - len(found)} whole, {len(found)} not")
    for moment, faults in found[:3]:
        print(f"  cut at event {moment}: {'; '.join(faults)[:300]}")
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    with quick_folder() as made:
        yield made


@pytest.mark.parametrize("seed", seeded([SEED], more=2))
def test_no_power_cut_loses_what_was_acknowledged(folder: Path, seed: int) -> None:
    day = record(folder, seed)
    assert len(day.told) == OPERATIONS
    assert cut(day, folder, CUTS_SHORT if is_short() else CUTS, seed) == []


@pytest.mark.parametrize("fault", ["no-pack-sync", "no-database-sync"])
def test_with_one_sync_left_out_it_turns_red(folder: Path, fault: str) -> None:
    assert cut(record(folder, SEED, fault), folder, CUTS_RED, SEED) != []


def test_with_the_acknowledgement_before_the_commit_it_turns_red(folder: Path) -> None:
    assert cut(record(folder, SEED, "acknowledged-early"), folder, CUTS_RED, SEED) != []
