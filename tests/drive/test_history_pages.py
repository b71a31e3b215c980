"""A history in pages: the same as the whole, and no dearer for the number of versions, renames or other documents."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from sqlalchemy import Engine, event

from auth.roles import Via
from providers.drive import Drive
from providers.errors import NotFound
from providers.installation import Installation
from providers.model import Came, Version
from providers.paths import Path, parse
from tests.bench import bulk
from tests.worlds import ADDRESS, World, managed_room, moment, settings_for, store

ROOM = parse("/Kund AB – Rum")
A, B, ASIDE = (ROOM.joined(name) for name in ("a.txt", "b.txt", "a.txt~"))
#: An instruction of SQLite's machine each, for all that an act asks.
STEPS_RATIO_MAX = 1.2


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = managed_room(data_folder, engine, ("/Mapp", "/Annan"))
    yield made
    made.installation.close()


def paged(drive: Drive, path: Path, limit: int, **options: Any) -> list[Version]:
    """Walk all pages; none is empty, larger than asked for, or offered in vain."""
    found: list[Version] = []
    before: int | None = None
    while True:
        page, following = drive.history(path, limit=limit, before=before, sums=True, **options)
        assert len(page) == limit or following is None
        assert page
        assert [each.number for each in page] == sorted((each.number for each in page), reverse=True)
        found += page
        if following is None:
            return found
        assert following == page[-1].number
        before = following


def eventful(drive: Drive) -> list[bytes]:
    """Give a document a past of every kind; return its contents, oldest first."""
    store(drive, A, b"one")
    drive.comment(A, 1, "the first")
    store(drive, A, b"two")
    drive.move(A, ASIDE, overwrite=False)  # the backup stays: what comes now shares its past
    store(drive, A, b"three")
    store(drive, A, b"four")
    drive.move(A, B, overwrite=False)
    store(drive, A, b"five")  # continues what left the name, b.txt becomes a document of its own
    drive.restore(A, 1)
    store(drive, A, b"seven")
    elsewhere = ROOM.joined("Mapp").joined("a.txt")
    drive.move(A, elsewhere, overwrite=False)
    store(drive, elsewhere, b"eight!!")
    drive.move(elsewhere, A, overwrite=False)
    store(drive, A, b"nine")
    return [b"one", b"two", b"three", b"four", b"five", b"one", b"seven", b"eight!!", b"nine"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
def test_the_pages_are_the_whole_history_newest_first(world: World, limit: int) -> None:
    mia = world.drive("mia")
    contents = eventful(mia)
    whole = mia.versions(A)
    assert [each.sha256 for each in whole] == [hashlib.sha256(content).hexdigest() for content in contents]
    assert (whole[5].came, whole[5].origin, whole[0].comment) == (Came.RESTORED, 1, "the first")
    for path in (A, B, ASIDE):
        assert paged(mia, path, limit) == mia.versions(path)[::-1]


def test_each_version_is_found_by_its_number_and_no_other(world: World) -> None:
    mia = world.drive("mia")
    eventful(mia)
    for path in (A, B, ASIDE):
        shown = {each.number: each for each in mia.versions(path)}
        for number in range(-1, max(shown) + 3):
            if number not in shown:
                with pytest.raises(NotFound):
                    mia.read_version(path, number)
                continue
            with mia.read_version(path, number) as reader:
                assert hashlib.sha256(reader.read(0, 100)).hexdigest() == shown[number].sha256


def test_a_step_on_the_way_and_what_was_set_apart_take_no_room_on_a_page(world: World) -> None:
    mia = world.drive("mia")
    store(mia, A, b"1")
    mia.delete(A)
    store(mia, A, b"")
    store(mia, A, b"22")  # the document of before, continued
    store(mia, A, b"333")
    joined = next(each.number for each in mia.versions(A) if each.came is Came.CONTINUED)
    assert paged(mia, A, 1) == mia.versions(A)[::-1]
    mia.split(A, joined, "before.txt")
    for path in (A, ROOM.joined("before.txt")):
        whole = mia.versions(path)
        assert all(paged(mia, path, limit) == whole[::-1] for limit in (1, 2))
    before = {each.number for each in mia.versions(ROOM.joined("before.txt"))}
    assert joined not in before
    with pytest.raises(NotFound):
        mia.read_version(ROOM.joined("before.txt"), joined)


def test_an_empty_step_is_passed_over_wherever_a_page_begins(world: World) -> None:
    mia = world.drive("mia")
    for content in (b"1", b"", b"22", b"333"):
        store(mia, A, content)
    for limit in (1, 2, 3):
        assert [(each.number, each.size) for each in paged(mia, A, limit)] == [(4, 3), (3, 2), (1, 1)]
    with pytest.raises(NotFound):
        mia.read_version(A, 2)


# --- what it costs


class Counted:
    """A world of its own, in which SQLite's steps are counted."""

    def __init__(self, folder: FilePath, versions: int) -> None:
        self.shape = bulk.Shape(1, 1, versions, 1)
        made = bulk.make(folder, self.shape)
        made.installation.close()
        self.steps = 0
        event.listen(Engine, "connect", self._prepare)
        try:
            self.installation = Installation.open(folder, settings_for(folder))
            principal = self.installation.authenticator.basic(
                bulk.LOGIN, made.passwords[bulk.LOGIN], via=Via.WEBDAV, address=ADDRESS
            )
            self.drive = self.installation.drive(principal)
            self.document = parse(f"/{bulk.SPACE}/{self.shape.folder(0)}/{self.shape.document(0)}")
            self.drive.stat(self.document)
        finally:
            event.remove(Engine, "connect", self._prepare)

    def _prepare(self, raw: Any, _record: object) -> None:
        raw.set_progress_handler(self._step, 1)

    def _step(self) -> int:
        self.steps += 1
        return 0

    def then(self) -> Path:
        """Return the document as it stood after its third version."""
        at = self.drive.history(self.document, limit=1, before=4)[0][0].at
        return Path((bulk.SPACE, ".history", moment(at), *self.document.segments[1:]))

    def cost(self, act: Callable[[Counted], object]) -> int:
        act(self)  # what is remembered once is remembered
        before = self.steps
        act(self)
        return self.steps - before


ACTS: dict[str, Callable[[Counted], object]] = {
    "the newest page": lambda c: c.drive.history(c.document, limit=10),
    "an early page": lambda c: c.drive.history(c.document, limit=10, before=15),
    "an early version": lambda c: c.drive.read_version(c.document, 3).close(),
    "a comment": lambda c: c.drive.comment(c.document, 3, "said"),
    "restoring what it holds": lambda c: c.drive.restore(c.document, c.drive.stat(c.document).version),
    "a folder of then": lambda c: c.drive.listing(c.then().parent),
    "a document of then": lambda c: c.drive.read(c.then()).close(),
}


@pytest.fixture(scope="module")
def few_and_many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Counted, Counted]]:
    few, many = (Counted(tmp_path_factory.mktemp("pages") / "data", versions) for versions in (30, 1500))
    yield few, many
    for each in (few, many):
        each.installation.close()


@pytest.mark.parametrize("act", ACTS)
def test_it_costs_as_much_after_1500_versions_as_after_30(few_and_many: tuple[Counted, Counted], act: str) -> None:
    few, many = (each.cost(ACTS[act]) for each in few_and_many)
    assert many <= STEPS_RATIO_MAX * few + 20
