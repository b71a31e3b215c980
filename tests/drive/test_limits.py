"""How long names and how deep paths may be: set for what is new, whatever its way in, and never against what stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest

from auth.roles import Role
from config.settings.schema import all_settings
from providers.drive import Drive
from providers.errors import BadName, NameTooLong
from providers.paths import DEPTH_MAX, NAME_BYTES_MAX, Limits, Path, parse
from tests.worlds import World, fetch, moment, store

NAME_BYTES = 40
#: As long as may be, and a byte longer: the last letter has two.
LONG, TOO_LONG = "x" * (NAME_BYTES - 2) + "å", "x" * (NAME_BYTES - 1) + "å"
#: A name in a folder where paths have five names.
DEEP = parse("/Rum/Mapp/Inre/Innerst/ny")


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(data_folder, **engine)
    made.person("eva", "Kund AB")
    for name in ("Rum", "Annat"):
        made.space(name, "Kund AB", ("/Mapp/Inre/Innerst", "/Grund", "/Tom"))
        made.grant("eva", name, Role.MANAGER, history=True)
    drive = made.drive("eva")
    store(drive, "/Rum/Grund/a.txt", b"text")
    drive.make_folder(parse("/Rum/Grund/Full"))
    store(drive, "/Rum/Grund/Full/b.txt", b"text")
    yield made
    made.installation.close()


def set_limits(world: World, name_bytes: int = NAME_BYTES_MAX, levels: int = DEPTH_MAX) -> None:
    """Let other limits hold, as after a restart."""
    world.installation.storage.path_limits = Limits(name_bytes, levels)


def lock(drive: Drive, path: Path) -> None:
    drive.lock(path, is_deep=False, is_shared=False, owner="", seconds=60)


def edit(drive: Drive, path: Path) -> None:
    begun = drive.edit(path, create=True, truncate=True)
    begun.write(0, b"text")
    begun.commit()


#: Every way in which something new comes to stand.
WAYS: dict[str, Callable[[Drive, Path], object]] = {
    "put": lambda drive, path: store(drive, path, b"text"),
    "edit": edit,
    "make_folder": lambda drive, path: drive.make_folder(path),
    "lock": lock,
    "copy": lambda drive, path: drive.copy(parse("/Rum/Grund/a.txt"), path, overwrite=False),
    "move": lambda drive, path: drive.move(parse("/Rum/Grund/a.txt"), path, overwrite=False),
    "copy a folder": lambda drive, path: drive.copy(parse("/Rum/Grund"), path, overwrite=False, deep=False),
    "move an empty folder": lambda drive, path: drive.move(parse("/Rum/Tom"), path, overwrite=False),
    "move into another space": lambda drive, path: drive.move(
        parse("/Rum/Grund/a.txt"), Path(("Annat", *path.segments[1:])), overwrite=False
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_new_name_may_be_so_long(world: World, way: str) -> None:
    drive = world.drive("eva")
    set_limits(world, name_bytes=NAME_BYTES)
    with pytest.raises(NameTooLong, match=f"At most {NAME_BYTES} bytes"):
        WAYS[way](drive, parse(f"/Rum/Mapp/{TOO_LONG}"))
    WAYS[way](drive, parse(f"/Rum/Mapp/{LONG}"))


@pytest.mark.parametrize("way", WAYS)
def test_something_new_may_lie_so_deep(world: World, way: str) -> None:
    drive = world.drive("eva")
    set_limits(world, levels=4)
    with pytest.raises(BadName, match="deeper than 4 folders"):
        WAYS[way](drive, DEEP)
    set_limits(world, levels=5)
    WAYS[way](drive, DEEP)


def full_folder_goes(world: World, act: Callable[[Drive], object]) -> None:
    """Try what brings a folder, with a document in one below it, to where that has the fifth name of its path."""
    drive = world.drive("eva")
    set_limits(world, levels=4)
    with pytest.raises(BadName, match="deeper than 4 folders"):
        act(drive)
    set_limits(world, levels=5)
    act(drive)


def test_what_lies_in_a_folder_moves_no_deeper_than_may_be(world: World) -> None:
    full_folder_goes(world, lambda drive: drive.move(parse("/Rum/Grund"), parse("/Rum/Mapp/Grund"), overwrite=False))
    assert fetch(world.drive("eva"), "/Rum/Mapp/Grund/Full/b.txt") == b"text"


@pytest.mark.parametrize("space", ["Rum", "Annat"])
def test_what_lies_in_a_folder_is_copied_no_deeper_than_may_be(world: World, space: str) -> None:
    goal = parse(f"/{space}/Mapp/Grund")
    full_folder_goes(world, lambda drive: drive.copy(parse("/Rum/Grund"), goal, overwrite=False))


def test_what_lies_in_a_folder_comes_back_no_deeper_than_may_be(world: World) -> None:
    drive = world.drive("eva")
    gone = drive.stat(parse("/Rum/Grund")).id
    drive.delete(parse("/Rum/Grund"))
    full_folder_goes(world, lambda drive: drive.undelete(parse("/Rum"), gone, parse("/Rum/Mapp/Grund")))


def test_a_path_is_never_longer_than_any_can_be(world: World) -> None:
    """What would lie deeper than paths are read could not be reached any more."""
    drive, names = world.drive("eva"), ["Rum", "Tom", *["d"] * (DEPTH_MAX - 4)]
    for count in range(3, len(names) + 1):
        drive.make_folder(Path(tuple(names[:count])))
    with pytest.raises(BadName, match=f"deeper than {DEPTH_MAX} folders"):
        drive.move(parse("/Rum/Grund"), Path((*names, "Grund")), overwrite=False)
    drive.move(parse("/Rum/Grund/Full"), Path((*names, "Full")), overwrite=False)
    assert fetch(drive, Path((*names, "Full", "b.txt"))) == b"text"


def test_the_names_in_a_folder_that_is_copied_are_new(world: World) -> None:
    drive = world.drive("eva")
    store(drive, f"/Rum/Grund/{TOO_LONG}", b"text")
    set_limits(world, name_bytes=NAME_BYTES)
    with pytest.raises(NameTooLong):
        drive.copy(parse("/Rum/Grund"), parse("/Rum/Kopia"), overwrite=False)
    drive.move(parse("/Rum/Grund"), parse("/Rum/Flyttad"), overwrite=False)
    assert fetch(drive, f"/Rum/Flyttad/{TOO_LONG}") == b"text"


def test_what_stands_is_served_whatever_is_set_since(world: World) -> None:
    drive, path = world.drive("eva"), parse(f"/Rum/Mapp/Inre/{TOO_LONG}")
    first = store(drive, path, b"text")
    noise = path.parent.joined(f"._{TOO_LONG}")
    store(drive, noise, b"")
    stood = moment(first.modified)
    set_limits(world, name_bytes=NAME_BYTES, levels=2)
    assert (drive.stat(path).id, fetch(drive, path)) == (first.id, b"text")
    assert TOO_LONG in [item.name for item in drive.listing(path.parent)[1]]
    assert fetch(drive, Path(("Rum", ".history", stood, *path.segments[1:]))) == b"text"
    assert store(drive, path, b"longer text").id == first.id
    edit(drive, path)
    lock(drive, path)
    drive.unlock(path, drive.locks(path)[0].token)
    drive.change_properties(path, [("{urn:x}a", "<x/>")])
    drive.copy(parse("/Rum/Grund/a.txt"), path, overwrite=True)
    store(drive, noise, b"")
    drive.delete(noise)
    drive.move(path, parse("/Rum/kort"), overwrite=False)


def test_a_document_comes_back_to_its_name_whatever_is_set_since(world: World) -> None:
    """As when a program saves by renaming, or it is brought back from the trash or the past."""
    drive, path = world.drive("eva"), parse(f"/Rum/Mapp/Inre/{TOO_LONG}")
    first = store(drive, path, b"text")
    set_limits(world, name_bytes=NAME_BYTES, levels=2)
    drive.move(path, parse("/Rum/a.tmp"), overwrite=False)
    store(drive, "/Rum/b.tmp", b"saved")
    assert drive.move(parse("/Rum/b.tmp"), path, overwrite=False)[0].id == first.id
    drive.delete(path)
    assert drive.undelete(path.parent, first.id).path == path
    folder = drive.stat(parse("/Rum/Mapp"))
    drive.delete(folder.path)
    drive.undelete(parse("/Rum"), folder.id)
    assert fetch(drive, path) == b"saved"
    with pytest.raises(NameTooLong):
        store(drive, path.parent.joined(f"y{TOO_LONG}"), b"text")


def test_folders_that_an_operator_makes_are_new_too(world: World) -> None:
    spaces, operator, rum = world.installation.spaces, world.installation.operator(), world.spaces["Rum"].id
    set_limits(world, name_bytes=NAME_BYTES, levels=4)
    for wanted in (f"/{TOO_LONG}", "/Ny/b/c/d"):
        with pytest.raises(BadName):
            spaces.make_folders(operator, rum, [parse(wanted)])
    spaces.make_folders(operator, rum, [parse("/Mapp/Inre/Innerst"), parse("/Ny/b/c"), parse(f"/{LONG}")])


def test_the_settings_are_heeded_and_go_no_further_than_paths_do(tmp_path: FilePath, engine: dict[str, str]) -> None:
    found = {each.key: each for each in all_settings()}
    assert found["limits.name_bytes_max"].default == found["limits.name_bytes_max"].meaning.maximum == NAME_BYTES_MAX
    assert found["limits.depth_levels_max"].default == found["limits.depth_levels_max"].meaning.maximum == DEPTH_MAX
    set_to = {"limits.name_bytes_max": 32, "limits.depth_levels_max": 3}
    made = World.create(tmp_path / "data", **engine, **set_to)
    try:
        assert made.installation.storage.path_limits == Limits(32, 3)
    finally:
        made.installation.close()
