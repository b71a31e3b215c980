"""Whatever is asked in version 3 of SFTP is told and done as by OpenSSH's server, but for what is meant.

The short form is 2,000 requests, the full one 100,000.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from auth.roles import Role, Via
from providers.paths import parse
from server.sftp.engine.wire import Code
from tests.proofs.packet_pairs import ANSWERED, BUILDS, Meant, Pair, Request, Side, requests
from tests.proofs.twin_folders import Difference, smallest
from tests.seeds import seeds
from tests.sftp.client import Client
from tests.sftp.openssh import PipeClient
from tests.worlds import World

pytestmark = pytest.mark.proof

COUNT = 500
LINKS = "readlink symlink hardlink@openssh.com"
SETTING = "setstat lsetstat@openssh.com"
NAMING = f"open mkdir rename posix-rename@openssh.com {SETTING}"
LOOKING = "stat lstat opendir realpath expand-path@openssh.com statvfs@openssh.com"
BY_HANDLE = "close read write fstat fsetstat fsync@openssh.com fstatvfs@openssh.com copy-data"
MEANT = [
    Meant(LINKS, None, Code.OP_UNSUPPORTED, "There are no links here, and it is said so whatever stands."),
    Meant(BY_HANDLE, Code.NO_SUCH_FILE, Code.FAILURE, "A handle that does not fit is no document that is not there."),
    Meant("fsetstat", Code.BAD_MESSAGE, Code.FAILURE, "The same, where a size is set by a handle that only reads."),
    Meant("read", ANSWERED, Code.FAILURE, "The same, where no byte is read by a handle that only writes."),
    Meant("copy-data", Code.OK, Code.FAILURE, "The same, where there is nothing to be copied."),
    Meant("copy-data", Code.EOF, None, "A copy of what there is has worked, also where more was asked for."),
    Meant("fstat fstatvfs@openssh.com", Code.FAILURE, ANSWERED, "A folder that is open is told of, too."),
    Meant("open", ANSWERED, Code.FAILURE, "A folder is not opened as a document, of which nothing could be read."),
    Meant("open", Code.FAILURE, Code.NO_SUCH_FILE, "Nor is one made by OPEN where its path has a slash at its end."),
    Meant(SETTING, Code.OK, Code.NO_SUCH_FILE, "What is not there is told also where nothing is to be set."),
    Meant("rename", Code.FAILURE, Code.NO_SUCH_FILE, "A document onto a folder's path: of two faults the other."),
    Meant(f"{LOOKING} remove rmdir {NAMING}", Code.BAD_MESSAGE, None, "A request with too long a name makes sense."),
    Meant(NAMING, Code.NO_SUCH_FILE, Code.FAILURE, "The same, where the folder is not there either."),
    Meant(LOOKING, Code.NO_SUCH_FILE, ANSWERED, "Where `..` leads, the path alone tells."),
]  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A space, and who manages it."""
    made = World.create(tmp_path / "data")
    made.space("Rum", "Kund AB")
    made.person("anna", "Kund AB")
    made.grant("anna", "Rum", Role.MANAGER)
    yield made
    made.installation.close()


@pytest.mark.timeout(3600)
def test_packets(world: World, tmp_path: Path) -> None:
    """Of a sequence that differs, the smallest part that still does is shown."""
    drive, numbers = world.drive("anna", Via.SFTP), itertools.count()
    client = Client(drive)
    met: Counter[Meant] = Counter()
    told: Counter[tuple[str, bool]] = Counter()

    def run(sequence: Sequence[Request]) -> None:
        name = str(next(numbers))
        folder = tmp_path / name
        folder.mkdir()
        drive.make_folder(parse(f"/Rum/{name}"))
        openssh = PipeClient(folder)
        try:
            pair = Pair(folder, Side(openssh, str(folder)), Side(client, f"/Rum/{name}"), MEANT)
            pair.run(sequence)
        finally:
            openssh.stop()
            met.update(pair.met)
            told.update(pair.told)

    for seed in seeds(range(4), more=196):
        sequence = requests(seed, COUNT, (os.getuid(), os.getgid()))
        try:
            run(sequence)
        except Difference as difference:
            small = smallest(run, sequence[: difference.at + 1])
            raise Difference("\n".join([f"seed {seed}: {difference}", *map(str, small)])) from difference
    for kind in BUILDS:
        print(f"{kind}: {told[kind, True]} done, {told[kind, False]} refused")
    assert [each.why for each in MEANT if not met[each]] == []
    assert list(world.installation.verify()) == []
