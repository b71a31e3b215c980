"""What is copied or moved over something else takes its place, whichever of the two is a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest

from auth.roles import Role
from config.clock import iso_utc, now_us
from providers.drive import Drive, trees
from providers.paths import parse
from tests.worlds import World, fetch, store

SPACES = ("Hall", "Kammare")


def made(tmp_path: FilePath, **settings: Any) -> Iterator[World]:
    world = World.create(tmp_path / "data", **settings)
    world.person("mia", "Byrån AB")
    for space in SPACES:
        world.space(space, "Kund AB")
        world.grant("mia", space, Role.MANAGER, history=True)
    yield world
    world.installation.close()


@pytest.fixture
def world(tmp_path: FilePath) -> Iterator[World]:
    yield from made(tmp_path)


def shown(path: str) -> str:
    """Return where the supplier's own people see what stands at `/Space/...`."""
    return f"/Kund AB – {path.removeprefix('/')}"


def make(drive: Drive, path: str, kind: str) -> None:
    if kind == "document":
        store(drive, path, path.encode())
    if kind == "folder":
        drive.make_folder(parse(path))
        store(drive, f"{path}/a", path.encode())
        drive.make_folder(parse(f"{path}/inner"))
        store(drive, f"{path}/inner/b", path.encode() * 2)


def assert_stands(drive: Drive, path: str, kind: str, said: str) -> None:
    """Assert that what stands there has the content that was made at `said`."""
    if kind == "document":
        assert fetch(drive, path) == said.encode()
    else:
        assert {item.name for item in drive.listing(parse(path))[1]} == {"a", "inner"}
        assert fetch(drive, f"{path}/a") == said.encode()
        assert fetch(drive, f"{path}/inner/b") == said.encode() * 2


def assert_whole(world: World) -> None:
    world.installation.tick()
    assert [str(finding) for finding in world.installation.verify()] == []


@pytest.mark.parametrize("act", ["copy", "move"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("goal_kind", ["document", "folder"])
@pytest.mark.parametrize("source_kind", ["document", "folder"])
def test_over(world: World, source_kind: str, goal_kind: str, space: str, act: str) -> None:
    drive = world.drive("mia")
    source, goal = shown("/Hall/source"), shown(f"/{space}/goal")
    make(drive, source, source_kind)
    make(drive, goal, goal_kind)
    getattr(drive, act)(parse(source), parse(goal), overwrite=True)
    assert_stands(drive, goal, source_kind, source)
    if act == "copy":
        assert_stands(drive, source, source_kind, source)
    assert_whole(world)


@pytest.mark.parametrize("kind", ["document", "folder"])
def test_how_it_was_is_copied_over_how_it_is(world: World, kind: str) -> None:
    drive, path = world.drive("mia"), shown("/Hall/goal")
    make(drive, path, kind)
    then = iso_utc(now_us()).replace(":", "")
    changed = path if kind == "document" else f"{path}/a"
    store(drive, changed, b"changed since")
    drive.copy(parse(f"/.history/{then}{path}"), parse(path), overwrite=True)
    assert_stands(drive, path, kind, path)
    assert_whole(world)


@pytest.fixture
def timeless(tmp_path: FilePath) -> Iterator[World]:
    """A world in which nothing is fresh: what moves has a past of its own."""
    yield from made(tmp_path, **{"history.identity_window_seconds": 0})


def named(**texts: str) -> dict[str, str]:
    return {f"{{u:}}{name}": f'<n0:{name} xmlns:n0="u:">{text}</n0:{name}>' for name, text in texts.items()}


@pytest.mark.parametrize("act", ["copy", "move"])
@pytest.mark.parametrize("space", SPACES)
def test_what_was_replaced_left_its_properties_behind(timeless: World, space: str, act: str) -> None:
    """As if the target had been deleted first (RFC 4918 9.8.4), though it is the same document as ever."""
    drive = timeless.drive("mia")
    source, goal = parse(shown("/Hall/source")), parse(shown(f"/{space}/goal"))
    store(drive, source, b"new")
    store(drive, goal, b"old")
    drive.change_properties(source, list(named(both="source's", own="source's").items()))
    drive.change_properties(goal, list(named(both="goal's", gone="goal's").items()), modified=1_000_000)
    stood = drive.stat(goal)
    item, created = getattr(drive, act)(source, goal, overwrite=True)
    assert drive.properties(goal) == named(both="source's", own="source's")
    assert (item.id, created, item.version) == (stood.id, False, 2) and item.modified > stood.modified
    assert [version.number for version in drive.versions(goal)] == [1, 2]
    assert_whole(timeless)


def test_properties_of_what_is_replaced_do_not_count_beside_the_new_ones(timeless: World) -> None:
    drive = timeless.drive("mia")
    source, goal = parse(shown("/Hall/source")), parse(shown("/Hall/goal"))
    limit = timeless.installation.settings.limits.properties_bytes_max
    for path, name in ((source, "new"), (goal, "old")):
        store(drive, path, str(path).encode())
        drive.change_properties(path, list(named(**{name: "x" * (limit * 2 // 3)}).items()))
    drive.copy(source, goal, overwrite=True)
    assert set(drive.properties(goal)) == {"{u:}new"}


def test_a_program_that_saves_leaves_the_properties_that_stand(world: World) -> None:
    """It moves something fresh over the document, or copies it to the name that the document just left."""
    drive = world.drive("mia")
    goal, fresh = parse(shown("/Hall/goal")), parse(shown("/Hall/fresh"))
    store(drive, goal, b"first")
    drive.change_properties(goal, list(named(mark="goal's").items()))
    store(drive, fresh, b"second")
    drive.move(fresh, goal, overwrite=True)
    assert drive.properties(goal) == named(mark="goal's")
    store(drive, fresh, b"third")
    drive.delete(goal)
    drive.copy(fresh, goal, overwrite=False)
    assert (drive.properties(goal), len(drive.versions(goal))) == (named(mark="goal's"), 3)
    drive.copy(fresh, goal, overwrite=True)
    assert drive.properties(goal) == {}


#: What stands at the goal when a copy is made ready, and what becomes of it before the copy is committed.
MEANWHILE: dict[str, tuple[str, Callable[[Drive, str], object]]] = {
    "made": ("nothing", lambda drive, goal: make(drive, goal, "document")),
    "gone": ("document", lambda drive, goal: drive.delete(parse(goal))),
    "made again": ("document", lambda drive, goal: (drive.delete(parse(goal)), make(drive, goal, "document"))),
    "a folder instead": ("document", lambda drive, goal: (drive.delete(parse(goal)), make(drive, goal, "folder"))),
    "a document instead": ("folder", lambda drive, goal: (drive.delete(parse(goal)), make(drive, goal, "document"))),
}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("what", MEANWHILE)
def test_a_copy_lands_on_what_stands_there_now(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str, space: str
) -> None:
    drive, other = world.drive("mia"), world.drive("mia")
    source, goal = shown("/Hall/source"), shown(f"/{space}/goal")
    stood, act = MEANWHILE[what]
    make(drive, source, "document")
    make(drive, goal, stood)
    prepare, left = trees.prepare, [act]

    def prepare_and_act(*arguments: Any, **options: Any) -> trees.Prepared:
        ready = prepare(*arguments, **options)
        if left:
            left.pop()(other, goal)
        return ready

    monkeypatch.setattr(trees, "prepare", prepare_and_act)
    drive.copy(parse(source), parse(goal), overwrite=True)
    assert_stands(drive, goal, "document", source)
    assert_whole(world)
