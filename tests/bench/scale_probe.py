"""One kind of work at a drive, measured by a process that has just begun.

    python -P tests/bench/scale_probe.py FOLDER WORK TIMES SEED [--statements]

Prints JSON: for opening the installation and signing in, and then for each time in turn, the seconds elapsed and the
processor seconds of the process; with `--statements` how many statements SQLite was asked for, instead of the latter.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path as FilePath

sys.path.insert(0, str(FilePath(__file__).resolve().parent.parent.parent))

from sqlalchemy import Engine, event

from auth.roles import Via
from providers.drive import Drive
from providers.installation import Installation
from providers.paths import HISTORY, Path, parse
from tests.bench import bulk
from tests.worlds import ADDRESS, settings_for, store

HEAD_BYTES = 64 << 10
#: What the maker of a world leaves beside it, for whoever asks.
FACTS = "facts.json"


def listing(drive: Drive, folder: Path, document: Path) -> None:
    """List a folder."""
    assert len(drive.listing(folder)[1]) > 1


def opening(drive: Drive, folder: Path, document: Path) -> None:
    """Open a document and read its beginning."""
    with drive.read(document) as reader:
        assert reader.read(0, HEAD_BYTES)


def saving(drive: Drive, folder: Path, document: Path) -> None:
    """Save a new version of a document."""
    store(drive, document, random.randbytes(bulk.CONTENT_BYTES))


def history(drive: Drive, folder: Path, document: Path) -> None:
    """Look at the newest versions of a document: the page that is given to whoever does not ask for more."""
    assert drive.history(document)[0]


def all_history(drive: Drive, folder: Path, document: Path) -> None:
    """Look at all versions of a document, with their sums."""
    assert drive.versions(document)


def past_listing(drive: Drive, folder: Path, document: Path) -> None:
    """List a folder as it stood half a day ago, when every version was made already."""
    assert len(drive.listing(_then(folder))[1]) > 1


def past_opening(drive: Drive, folder: Path, document: Path) -> None:
    """Open a document as it stood half a day ago."""
    opening(drive, folder, _then(document))


def _then(path: Path) -> Path:
    moment = datetime.fromtimestamp(time.time() - 12 * 3600, UTC).strftime("%Y-%m-%dT%H%M%SZ")
    return Path((path.segments[0], HISTORY, moment, *path.segments[1:]))


WORKS: dict[str, Callable[[Drive, Path, Path], None]] = {
    work.__name__.replace("_", " "): work
    for work in (listing, opening, saving, history, all_history, past_listing, past_opening)
}


def places(shape: bulk.Shape, times: int, seed: int) -> list[tuple[Path, Path]]:
    """Return so many folders, none twice while there are others, each with a document of it; drawn by `seed`."""
    drawn = random.Random(seed)
    numbers = [
        number
        for _ in range(times // shape.folders + 1)
        for number in drawn.sample(range(shape.folders), k=shape.folders)
    ]
    folders = [parse(f"/{bulk.SPACE}/{shape.folder(number)}") for number in numbers[:times]]
    return [(folder, folder.joined(shape.document(drawn.randrange(shape.documents)))) for folder in folders]


def main() -> None:
    """Do what the command line says."""
    folder, work, times, seed = FilePath(sys.argv[1]), WORKS[sys.argv[2]], int(sys.argv[3]), int(sys.argv[4])
    facts = json.loads((folder.parent / FACTS).read_text())
    asked = [0]
    counts = "--statements" in sys.argv

    def second() -> float:
        return asked[0] if counts else time.process_time()

    began, before = time.perf_counter(), second()
    if counts:
        _count(asked)
    installation = Installation.open(folder, settings_for(folder, **bulk.SETTINGS))
    principal = installation.authenticator.basic(bulk.LOGIN, facts["password"], via=Via.WEBDAV, address=ADDRESS)
    drive = installation.drive(principal)
    taken = [(time.perf_counter() - began, second() - before)]
    for each in places(bulk.Shape(*facts["shape"]), times, seed):
        began, before = time.perf_counter(), second()
        work(drive, *each)
        taken.append((time.perf_counter() - began, second() - before))
    installation.close()
    print(json.dumps(taken))


def _count(asked: list[int]) -> None:
    """Count the statements of all connections to SQLite made from now on."""

    def note(_statement: str) -> None:
        asked[0] += 1

    event.listen(Engine, "connect", lambda raw, _record: raw.set_trace_callback(note))


if __name__ == "__main__":
    main()
