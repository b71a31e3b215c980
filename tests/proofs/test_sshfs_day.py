"""A working day on a mount by sshfs, and 100,000 random operations: no difference to a folder on a disk.

The short form is a tenth of a day and 2,000 operations by each kind of client, the full one a day and 100,000 by each.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from operator import eq
from pathlib import Path

import paramiko
import pytest

from config.clock import SECOND_US
from providers.drive import Drive
from providers.paths import parse
from tests.proofs import day_work
from tests.proofs.test_ssh_crowd import memory
from tests.proofs.twin_folders import HIDDEN, Difference, Files, Hand, Raw, Step, Twins, Wired, smallest, steps
from tests.saves.stage import Stage, staged
from tests.seeds import is_short, seeds
from tests.ssh.doors import mounted
from tests.worlds import fetch

pytestmark = pytest.mark.proof

OPERATIONS = 1000
SEEDS = seeds(range(2), more=98)
#: Whatever was set by a client; the rest was now.
LONG_AGO = 1_600_000_000
SETTLING_SECONDS_MAX = 60.0
#: What the workers' memory may have grown by in a day.
GROWTH_BYTES_MAX = 96 << 20
#: Where git keeps what it knows of a file system: times and numbers of files, and that this one has no symbolic links
#: and no names that differ in case alone. `ls-files` tells what else is in the index.
OWN = re.compile(r"(^|/)\.git/(index|config)$")
#: Names that programs make on their way.
LITTER = re.compile(r"\.lock$|tmp_|-journal$|\.sw[a-z]$|~$|^4913$|^\.fuse_hidden|^sed......$|^\..*\.......$")

Tree = dict[str, tuple[str, int, str, int]]


def local_tree(folder: Path) -> Tree:
    """Return what a folder holds: by path, the kind, the size, the digest, and the time where a client has set it."""
    found: Tree = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if HIDDEN in name:
            continue
        status, is_folder = path.stat(), path.is_dir()
        is_own = bool(OWN.search(name))
        content = b"" if is_folder or is_own else path.read_bytes()
        found[name] = _told(is_folder, 0 if is_own else status.st_size, content, int(status.st_mtime))
    return found


def drive_tree(drive: Drive, path: str, below: str = "") -> Tree:
    """Return the same of a folder of the drive, as it stands for others."""
    found: Tree = {}
    for item in drive.listing(parse(f"{path}/{below}".rstrip("/")))[1]:
        name = f"{below}/{item.name}".lstrip("/")
        is_own = bool(OWN.search(name))
        content = b"" if item.is_folder or is_own else fetch(drive, f"{path}/{name}")
        found[name] = _told(item.is_folder, 0 if is_own else item.size, content, item.modified // SECOND_US)
        if item.is_folder:
            found |= drive_tree(drive, path, name)
    return found


def _told(is_folder: bool, size: int, content: bytes, modified: int) -> tuple[str, int, str, int]:
    kind = "folder" if is_folder else "document"
    return kind, 0 if is_folder else size, hashlib.sha256(content).hexdigest(), modified


def differences(ours: Tree, theirs: Tree) -> list[str]:
    """Return in what two trees differ. A time counts where a client has set it here."""
    found = [f"{name} is only {'here' if name in ours else 'there'}" for name in ours.keys() ^ theirs.keys()]
    for name in ours.keys() & theirs.keys():
        (*mine, here), (*others, there) = ours[name], theirs[name]
        is_late = here < LONG_AGO or (there < LONG_AGO and mine[0] == "document")
        if mine != others or (is_late and here != there):
            found.append(f"{name}: {ours[name]} here, {theirs[name]} there")
    return sorted(found)


@contextmanager
def stderr_in(file: Path) -> Iterator[None]:
    """Let what is started meanwhile write its log to a file."""
    before = os.dup(2)
    with file.open("wb") as log:
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server, whose log stands in a file beside its data. Whatever was done: it ends whole, and logged no fault."""
    folder = tmp_path_factory.mktemp("day")
    with stderr_in(folder / "log"):
        serving = staged(folder)
        found = serving.__enter__()
    yield found
    folded = (folder / "log").read_text()
    found.forget()
    assert found.door.server.stop() == 0
    assert list(found.door.world.installation.verify()) == []
    serving.__exit__(None, None, None)
    assert folded == "", folded[-4000:]


@pytest.fixture(scope="module")
def mount(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The space as a file system, by sshfs."""
    with mounted(stage.door, "anna", stage.root, tmp_path_factory.mktemp("sshfs") / "mount") as place:
        yield place


# --- a working day


class Day:
    """Two workers, who do the same: one in a local folder, one on the mount."""

    def __init__(self, stage: Stage, home: str, workers: list[day_work.Worker]) -> None:
        self.stage, self.home, self.workers = stage, home, workers

    def faults(self) -> list[str]:
        """Return what differs: for others, once the last close has been carried out, and through the mount."""
        ours = local_tree(self.workers[0].place)
        until = time.monotonic() + SETTLING_SECONDS_MAX
        while (found := differences(ours, drive_tree(self.stage.drive(), self.home))) and time.monotonic() < until:
            time.sleep(0.5)
        return found + differences(ours, local_tree(self.workers[1].place)) + self.litter()

    def versions(self, path: str) -> list[str]:
        """Return the digests of a document's versions."""
        return [each.sha256 for each in self.stage.drive().versions(parse(f"{self.home}/{path}"))]

    def litter(self) -> list[str]:
        """Return what of names that programs make on their way lies in the trash."""
        names = self.stage.in_trash().get(self.home, [])
        return [f"{name} in the trash" for name in names if LITTER.search(name)]


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both bring along."""
    folder = tmp_path_factory.mktemp("brought")
    day_work.bring(folder)
    return folder


@pytest.fixture
def day(stage: Stage, mount: Path, brought: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """A part of a day, in a folder of its own; in the end no memory is lost."""
    home = stage.home()
    places = (tmp_path_factory.mktemp("here"), mount / Path(home).name)
    before = memory(stage.door)[0]
    workers = [
        day_work.Worker(each, brought, tmp_path_factory.mktemp("home"), 1 if is_short() else 10) for each in places
    ]
    yield Day(stage, home, workers)
    after = memory(stage.door)[0]
    print(f"private memory of the workers: {before >> 20} MiB before, {after >> 20} MiB after")
    assert after - before < GROWTH_BYTES_MAX


#: How many versions some documents have after a part: one for each save, or each time the last program closes it.
VERSIONS: dict[str, Callable[[day_work.Worker], dict[str, Collection[int]]]] = {
    "git": lambda worker: {"repository/.git/info/exclude": {1}, "repository/.git/index": day_work.indexes(worker)},
    "make": lambda worker: {"program/main.c": {1}, "program/all.h": {2}, "program/program": {2}},
    "SQLite": lambda worker: {"ledger.db": {day_work.LEDGERS}},
    "tar": lambda worker: {"taken in/tree/many/1/1.dat": {1}, "out.tar": {1}},
    "editors": lambda worker: {f"{by}.txt": {2 + worker.part(10)} for by in ("vim", "nano", "sed")},
    "rsync and cp": lambda worker: {"large.bin": {1 + worker.part(10)}, "moved/1/1.dat": {1}},
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", day_work.PARTS)
def test_a_part_of_a_day(day: Day, part: str) -> None:
    """The programs say the same, the trees are the same, one version for each save, and nothing left lying about."""
    told, taken = [], []
    for worker in day.workers:
        started = time.monotonic()
        told.append(day_work.PARTS[part](worker))
        taken.append(time.monotonic() - started)
    print(f"{part}: {taken[0]:.1f} s in a local folder, {taken[1]:.1f} s on the mount")
    assert told[0] == told[1]
    assert day.faults() == []
    expected = VERSIONS[part](day.workers[1])
    versions = {path: day.versions(path) for path in expected}
    print({path: len(found) for path, found in versions.items()})
    assert {path: len(found) for path, found in versions.items() if len(found) not in expected[path]} == {}
    assert [path for path, found in versions.items() if any(map(eq, found, found[1:]))] == []


# --- random operations


@contextmanager
def wired(stage: Stage) -> Iterator[Wired]:
    """A session of SFTP, with nothing between."""
    with paramiko.Transport((stage.door.host, stage.door.port)) as transport:
        transport.connect(username="anna", password=stage.door.password("anna"))
        channel = transport.open_session()
        channel.invoke_subsystem("sftp")
        yield Wired(channel)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("by", ["a mount", "packets"])
def test_random_operations(stage: Stage, mount: Path, tmp_path: Path, by: str) -> None:
    """Of a sequence that differs, the smallest part that still does is shown."""
    counts: Counter[str] = Counter()
    numbers, started = itertools.count(), time.monotonic()
    with wired(stage) as client:

        def run(sequence: Sequence[Step], every: int = 250) -> None:
            home, folder = stage.home(), tmp_path / str(next(numbers))
            folder.mkdir()
            theirs: Hand = Raw(client, home) if by == "packets" else Files(mount / Path(home).name)
            Twins(theirs, folder, counts).run(sequence, every)

        for seed in SEEDS:
            sequence = steps(seed, OPERATIONS, Raw.kinds if by == "packets" else Files.kinds)
            try:
                run(sequence)
            except Difference as difference:
                small = smallest(lambda some: run(some, 1), sequence[: difference.at + 1])
                raise Difference("\n".join([f"seed {seed}: {difference}", *map(str, small)])) from difference
    print(f"by {by}: {counts.total()} operations in {time.monotonic() - started:.0f} s: {dict(counts)}")
