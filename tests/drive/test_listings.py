"""A listing that is remembered never differs from one that is read anew, whatever was changed and by whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest

from auth.roles import Role
from config.clock import now_us
from providers.catalogue import nodes
from providers.drive import Drive
from providers.paths import parse
from tests.statements import statements
from tests.worlds import World, moment, store

CHANGES: dict[str, Callable[[Drive], object]] = {
    "add": lambda drive: store(drive, "/Stämma/Mapp/ny.txt", b"new"),
    "write": lambda drive: store(drive, "/Stämma/Mapp/a.txt", b"longer than before"),
    "make_folder": lambda drive: drive.make_folder(parse("/Stämma/Mapp/Under")),
    "delete": lambda drive: drive.delete(parse("/Stämma/Mapp/a.txt")),
    "rename": lambda drive: drive.move(parse("/Stämma/Mapp/a.txt"), parse("/Stämma/Mapp/b.txt"), overwrite=False),
    "recase": lambda drive: drive.move(parse("/Stämma/Mapp/a.txt"), parse("/Stämma/Mapp/A.TXT"), overwrite=True),
    "move_away": lambda drive: drive.move(parse("/Stämma/Mapp/a.txt"), parse("/Stämma/a.txt"), overwrite=False),
    "move_here": lambda drive: drive.move(parse("/Stämma/c.txt"), parse("/Stämma/Mapp/c.txt"), overwrite=False),
    "copy_here": lambda drive: drive.copy(parse("/Stämma/c.txt"), parse("/Stämma/Mapp/c.txt"), overwrite=False),
    "property": lambda drive: drive.change_properties(parse("/Stämma/Mapp/a.txt"), [("{x:}y", "<y xmlns='x:'/>")]),
    "modified": lambda drive: drive.change_properties(parse("/Stämma/Mapp/a.txt"), [], modified=1_000_000),
}


@pytest.fixture
def world(tmp_path: FilePath) -> Iterator[World]:
    made = World.create(tmp_path / "data")
    made.person("eva", "Kund AB")
    made.space("Stämma", "Kund AB", folders=("/Mapp",))
    made.grant("eva", "Stämma", Role.EDITOR)
    drive = made.drive("eva")
    store(drive, "/Stämma/Mapp/a.txt", b"a")
    store(drive, "/Stämma/c.txt", b"c")
    yield made
    made.installation.close()


def anew(world: World, drive: Drive) -> object:
    world.installation.drive(drive.principal)._storage.tree._listed.clear()
    return drive.listing(parse("/Stämma/Mapp"))


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_child_shows(world: World, change: str) -> None:
    drive = world.drive("eva")
    before = drive.listing(parse("/Stämma/Mapp"))
    assert drive.listing(parse("/Stämma/Mapp")) == before
    CHANGES[change](drive)
    after = drive.listing(parse("/Stämma/Mapp"))
    assert after != before
    assert after == anew(world, drive)


def test_what_is_remembered_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "LISTED_MAX", 3)
    drive = world.drive("eva")
    tree = drive._storage.tree
    for number in range(6):
        store(drive, f"/Stämma/Mapp/{number}.txt", b"x")
        drive.listing(parse("/Stämma"))
        assert len(drive.listing(parse("/Stämma/Mapp"))[1]) == number + 2
        assert sum(map(len, tree._listed.values())) == tree._listed_count <= 3


def test_a_folder_copies_whole_though_it_was_listed_before_something_came_into_one_below(world: World) -> None:
    drive = world.drive("eva")
    drive.make_folder(parse("/Stämma/Mapp/Under"))
    for path in ("/Stämma/Mapp", "/Stämma/Mapp/Under"):
        drive.listing(parse(path))
    store(drive, "/Stämma/Mapp/Under/ny.txt", b"new")
    drive.copy(parse("/Stämma/Mapp"), parse("/Stämma/Kopia"), overwrite=False)
    assert [item.name for item in drive.listing(parse("/Stämma/Kopia/Under"))[1]] == ["ny.txt"]


def test_a_folder_of_then_is_listed_by_as_few_statements_however_much_it_held(world: World) -> None:
    world.grant("eva", "Stämma", Role.EDITOR, history=True)
    drive, asked = world.drive("eva"), {}
    for count in (3, 60):
        folder = parse(f"/Stämma/{count}")
        drive.make_folder(folder)
        for at in range(count):
            store(drive, folder.joined(f"{at}.txt"), b"a")
        stood = now_us()
        drive.move(folder.joined("1.txt"), parse(f"/Stämma/Mapp/{count}.txt"), overwrite=False)
        drive.delete(folder.joined("2.txt"))
        then = parse(f"/Stämma/.history/{moment(stood)}/{count}")
        with statements(world.installation.database) as seen:
            assert len(drive.listing(then)[1]) == count
        asked[count] = len(seen)
    assert asked[3] == asked[60] < 30
