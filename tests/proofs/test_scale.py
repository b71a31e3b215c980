"""Nothing gets slower by history or by number: 20,000 documents with 50 versions each, and a million with one.

Listing a folder, opening and saving cost what they cost among 20,000 documents with one version: by the statements
asked, and by the processor time of a process that has just begun and of a real server, over WebDAV and over SFTP. So do
the past, and the page of a document's history that is given to whoever does not ask for more; all of it has a line for
each version, each of which costs a small part. A folder of 10,000 documents is put back in seconds. In short, a small
part of it all, with room for what a busy machine does to small figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.clock import now_us
from providers.paths import parse
from tests.bench import bulk, scale
from tests.seeds import is_short
from tests.worlds import World, fetch

pytestmark = [pytest.mark.proof, pytest.mark.timeout(7200)]

SIZES = scale.QUICK if is_short() else scale.FULL
RATIO_MAX = 2.5 if is_short() else scale.RATIO_MAX
#: What a line of a document's history may cost, of what a history of one line costs.
LINE_MAX = 0.15
#: By how many the median of statements may differ: a pack ends now and then, a page is asked for again.
STATEMENTS_MORE_MAX = 2
PUT_BACK = 500 if is_short() else 10_000
PUT_BACK_CPU_SECONDS_MAX = 2.0 if is_short() else 10.0

ROUNDS_MAX = 3


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    with scale.made(tmp_path_factory.mktemp("scale"), SIZES, print) as found:
        yield found


def _over(measured: scale.Measured, which: str) -> dict[str, float]:
    """Print the ratios by processor time and by the clock; return those by processor time that are too large."""
    cpu, wall = (scale.ratios(measured, which, kind) for kind in (1, 0))
    for work, by_world in cpu.items():
        for world, ratio in by_world.items():
            base = next(iter(measured[work].values())).of(which, 1)
            print(f"{work}, {which}: {world} {ratio:.2f} (elapsed {wall[work][world]:.2f}) × {base * 1e3:.2f} ms")
    return {
        f"{work}: {world}": ratio
        for work, by_world in cpu.items()
        for world, ratio in by_world.items()
        if ratio > _allowed(work, which, SIZES.shapes[world])
    }


def _allowed(work: str, which: str, shape: bulk.Shape) -> float:
    if work == "all history" and which == "later":
        return RATIO_MAX + LINE_MAX * (shape.versions - 1)
    return RATIO_MAX


def test_no_act_asks_more_statements(worlds: dict[str, World]) -> None:
    for work, by_world in scale.statements(worlds, 20).items():
        medians = {name: asked[1] for name, asked in by_world.items()}
        print(work, medians)
        assert max(medians.values()) <= next(iter(medians.values())) + STATEMENTS_MORE_MAX, work


def _over_each_time(measure: Callable[[], scale.Measured], *whiches: str) -> dict[str, float]:
    """Measure again while anything is over: what is by more than chance is so each time. Return the least of those."""
    over: dict[str, float] | None = None
    for _ in range(ROUNDS_MAX):
        measured = measure()
        found = {f"{which}, {what}": ratio for which in whiches for what, ratio in _over(measured, which).items()}
        over = found if over is None else {what: min(over[what], found[what]) for what in over.keys() & found.keys()}
        if not over:
            break
    return over or {}


def test_a_process_that_has_just_begun_is_as_fast(worlds: dict[str, World]) -> None:
    assert _over_each_time(lambda: scale.probed(worlds, SIZES), "first", "later") == {}


def test_a_server_spends_as_little_on_each_request(worlds: dict[str, World]) -> None:
    # Its processor time is told by hundredths of a second, its own ticks among it.
    assert _over_each_time(lambda: scale.served(worlds, SIZES), "later") == {}


def test_a_folder_is_put_back_to_yesterday_in_seconds(tmp_path: Path) -> None:
    shape = bulk.Shape(1, PUT_BACK, 2, 50)
    world = bulk.make(tmp_path / "data", shape)
    bulk.rewrite(world, shape.saves_a_change)
    drive, folder = world.drive(bulk.LOGIN), parse(f"/{bulk.SPACE}/{shape.folder(0)}")
    document, before = folder.joined(shape.document(7)), now_us() - bulk.DAY_US // 2
    with drive.read_version(document, shape.versions) as reader:
        wanted = reader.read(0, bulk.CONTENT_BYTES)
    assert fetch(drive, document) != wanted
    for dry_run in (True, False):
        began, cpu = time.perf_counter(), time.process_time()
        done = drive.put_back(folder, before, dry_run=dry_run)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(
            f"{PUT_BACK:,} documents, {'dry run' if dry_run else 'put back'}: {cpu:.2f} s CPU, {seconds:.2f} s elapsed"
        )
        assert sum(done.counts.values()) == PUT_BACK
        assert cpu < PUT_BACK_CPU_SECONDS_MAX
    assert fetch(drive, document) == wanted
    world.installation.close()
