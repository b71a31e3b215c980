"""Which of what was deleted was but a step of a program that saved: the trash tells of it only when asked for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest

from providers.drive import Drive
from providers.paths import Path, parse
from tests.worlds import World, managed_room, store

ROOM = parse("/Kund AB – Rum")
JOURNAL = ROOM.joined("ledger.db-journal")
OLDER = ROOM.joined("ledger.old")
#: More commits than a program's journal is asked about at once.
COMMITS = 230

Age = Callable[[float], None]


@pytest.fixture
def world(data_folder: FilePath) -> Iterator[World]:
    made = managed_room(data_folder, {})
    yield made
    made.installation.close()


def trash(drive: Drive, **options: bool) -> list[str]:
    return [found.name for found in drive.trash(ROOM, **options)[0]]


def commit(drive: Drive, age: Age, content: bytes, seconds: float = 1.0, path: Path = JOURNAL) -> bytes:
    """Make a journal, and take it away again."""
    node: bytes = store(drive, path, content).id
    age(seconds)
    drive.delete(path)
    return node


def test_a_journal_made_anew_for_each_commit_of_a_day_is_a_leftover(world: World, age: Age) -> None:
    """It is one document for more than the window, since the name is taken again soon; but it never stood for long."""
    mia = world.drive("mia")
    nodes = {commit(mia, age, b"pages %d" % number) for number in range(COMMITS)}
    assert len(nodes) == 1
    assert trash(mia) == [] and trash(mia, everything=True) == [JOURNAL.name]


@pytest.mark.parametrize(("which", "commits"), [(0, 5), (4, 5), (20, COMMITS)])
def test_what_stood_for_the_window_once_is_missed(world: World, age: Age, which: int, commits: int) -> None:
    mia = world.drive("mia")
    for number in range(commits):
        commit(mia, age, b"%d" % number, 15.0 if number == which else 1.0)
    assert trash(mia) == [JOURNAL.name]


def test_a_stay_goes_on_through_a_rename(world: World, age: Age) -> None:
    """Twice eight seconds under two names are one stay of sixteen; eight, away, and eight are not."""
    mia = world.drive("mia")
    commit(mia, age, b"away", 8)
    commit(mia, age, b"and back", 8)
    assert trash(mia) == []
    store(mia, JOURNAL, b"renamed")
    age(8)
    mia.move(JOURNAL, OLDER, overwrite=False)
    age(8)
    mia.delete(OLDER)
    assert trash(mia) == [OLDER.name]


def test_what_another_wrote_meanwhile_is_missed(world: World, age: Age) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    store(mia, JOURNAL, b"mia's")
    store(max_, JOURNAL, b"max's")
    mia.delete(JOURNAL)
    assert trash(mia) == [JOURNAL.name]


@pytest.mark.parametrize(
    "stays", [("mia max", "mia mia"), ("mia mia", "max max", "mia mia")], ids=["took away", "brought back"]
)
def test_what_another_took_away_or_brought_back_once_is_missed(world: World, stays: tuple[str, ...]) -> None:
    """Each stay is told by who brought it and who took it away."""
    node = b""
    for begins, ends in map(str.split, stays):
        if node:
            world.drive(begins).undelete(ROOM, node)
        else:
            node = store(world.drive(begins), JOURNAL, b"one").id
        world.drive(ends).delete(JOURNAL)
    assert trash(world.drive("mia")) == [JOURNAL.name]


def test_a_folder_that_came_and_went_again_and_again_is_a_leftover(world: World, age: Age) -> None:
    mia, place = world.drive("mia"), ROOM.joined("build.lock")
    for _ in range(3):
        node = mia.make_folder(place).id
        mia.delete(place)
        mia.undelete(ROOM, node)
        age(14)
        mia.delete(place)
        age(60)
    assert trash(mia) == []
    mia.undelete(ROOM, node)
    age(16)
    mia.delete(place)
    assert trash(mia) == [place.name]
