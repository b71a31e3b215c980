"""What was deleted, who sees it, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from auth.roles import Role
from providers.drive import Drive
from providers.errors import FolderGone, Forbidden, Locked, NameTaken, NotFound, TargetExists
from providers.paths import Path, parse
from tests.worlds import World, fetch, managed_room, store

ROOM = parse("/Kund AB – Rum")
FOLDER = ROOM.joined("Mapp")
DOCUMENT = FOLDER.joined("a.txt")


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = managed_room(data_folder, engine, ("/Mapp/Inre", "/Annan"))
    yield made
    made.installation.close()


def names(drive: Drive, path: Path, **options: bool) -> list[str]:
    return [found.name for found in drive.trash(path, **options)[0]]


def test_a_document_comes_back_as_itself_with_all_its_versions(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    item = store(mia, DOCUMENT, b"one", modified=1_400_000_000_000_000)
    store(mia, DOCUMENT, b"two")
    mia.change_properties(DOCUMENT, [("{urn:x}a", "1")], modified=1_400_000_000_000_000)
    max_.delete(DOCUMENT)
    ((found,), more) = mia.trash(FOLDER)
    assert more is None
    assert (found.id, found.path, found.size, found.by) == (item.id, DOCUMENT, 3, "Max Lund")
    assert (found.is_folder, found.replaced) == (False, None)
    back = mia.undelete(ROOM, found.id)
    assert (back.id, back.path, back.modified) == (item.id, DOCUMENT, 1_400_000_000_000_000)
    assert [version.number for version in mia.versions(DOCUMENT)] == [1, 2]
    assert (fetch(mia, DOCUMENT), mia.properties(DOCUMENT)) == (b"two", {"{urn:x}a": "1"})
    assert mia.trash(ROOM) == ([], None)
    assert world.kinds("Rum").count("restore") == 1
    with pytest.raises(NotFound):
        mia.undelete(ROOM, found.id)
    assert [finding.what for finding in world.installation.verify()] == []


def test_a_folder_comes_back_with_all_in_it(world: World) -> None:
    mia, inner = world.drive("mia"), FOLDER.joined("Inre").joined("b.txt")
    item = store(mia, inner, b"b")
    mia.delete(FOLDER)
    (found,) = mia.trash(ROOM)[0]
    assert (found.is_folder, found.name) == (True, "Mapp")
    mia.undelete(ROOM, found.id)
    assert (mia.stat(inner).id, fetch(mia, inner)) == (item.id, b"b")


def test_where_its_name_is_taken_or_its_folder_gone_it_goes_elsewhere(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    item = store(mia, DOCUMENT, b"one")
    max_.delete(DOCUMENT)
    other = store(mia, DOCUMENT, b"another").id
    with pytest.raises(NameTaken):
        mia.undelete(FOLDER, item.id)
    with pytest.raises(TargetExists):
        mia.undelete(FOLDER, item.id, to=DOCUMENT)
    max_.delete(FOLDER)
    with pytest.raises(FolderGone):
        mia.undelete(ROOM, item.id)
    back = mia.undelete(ROOM, item.id, to=ROOM.joined("Annan").joined("å.txt"))
    assert (back.id, back.path.name, other == item.id) == (item.id, "å.txt", False)
    assert [each.name for each in mia.versions(back.path)] == ["a.txt"]


def test_pages_go_on_where_the_last_one_ended(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    for number in range(7):
        store(mia, FOLDER.joined(f"{number}"), b"x%d" % number)
        max_.delete(FOLDER.joined(f"{number}"))
    found, after = [], None
    for _ in range(9):
        page, after = mia.trash(ROOM, limit=3, after=after)
        found += [each.name for each in page]
        if after is None:
            break
    assert found == list("6543210")


def test_leftovers_of_programs_are_told_of_only_when_asked_for(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    store(mia, FOLDER.joined("empty"), b"")
    max_.delete(FOLDER.joined("empty"))
    store(mia, FOLDER.joined("brief"), b"x")
    mia.delete(FOLDER.joined("brief"))
    store(mia, FOLDER.joined("missed"), b"y")
    max_.delete(FOLDER.joined("missed"))
    for number, folder in enumerate(("passing", "filled")):
        mia.make_folder(FOLDER.joined(folder))
        store(mia, FOLDER.joined(folder).joined("inside"), b"z")
        if not number:
            mia.delete(FOLDER.joined(folder).joined("inside"))
        mia.delete(FOLDER.joined(folder))
    assert names(mia, FOLDER) == ["filled", "missed"]
    assert names(mia, FOLDER, everything=True) == ["filled", "passing", "inside", "missed", "brief", "empty"]
    assert [found.name for found in mia.trash(FOLDER, named="Missed")[0]] == ["missed"]


def test_what_a_program_left_and_somebody_took_up_again_is_missed_when_it_goes(world: World) -> None:
    mia, max_, temporary = world.drive("mia"), world.drive("max"), FOLDER.joined("a.tmp")
    store(mia, DOCUMENT, b"one")
    left = store(mia, temporary, b"two").id
    mia.move(DOCUMENT, FOLDER.joined("a.old"), overwrite=False)
    mia.move(temporary, DOCUMENT, overwrite=False)
    assert fetch(mia, DOCUMENT) == b"two" and names(mia, FOLDER) == []
    assert names(mia, FOLDER, everything=True) == ["a.tmp"]
    max_.undelete(FOLDER, left)
    store(max_, temporary, b"a document of its own")
    max_.delete(temporary)
    assert names(mia, FOLDER) == ["a.tmp"]


def test_who_sees_and_empties_what(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    world.grant("kim", "Rum", Role.EDITOR, "/Mapp", history=True)
    kim = world.drive("kim")
    item, hidden = store(mia, DOCUMENT, b"one"), store(mia, ROOM.joined("Annan").joined("b"), b"b")
    store(mia, FOLDER.joined("Inre").joined("secret"), b"s")
    installation, operator = world.installation, world.installation.operator()
    installation.spaces.break_inheritance(operator, world.spaces["Rum"].id, parse("/Mapp/Inre"))
    world.grant("max", "Rum", Role.MANAGER, "/Mapp/Inre", history=True)
    for path in (DOCUMENT, ROOM.joined("Annan").joined("b"), FOLDER.joined("Inre").joined("secret")):
        world.drive("max").delete(path)
    assert names(kim, parse("/Rum/Mapp")) == ["a.txt"]
    assert sorted(names(max_, ROOM)) == ["a.txt", "b", "secret"]
    assert sorted(names(mia, ROOM)) == ["a.txt", "b"]
    for node in (hidden.id, b"x" * 16, FOLDER.name.encode()):
        with pytest.raises(NotFound):
            kim.undelete(parse("/Rum/Mapp"), node)
    with pytest.raises(Forbidden):
        kim.undelete(parse("/Rum"), item.id)
    assert kim.undelete(parse("/Rum/Mapp"), item.id).id == item.id


def test_the_folder_it_returns_to_decides(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    path = FOLDER.joined("Inre").joined("b.txt")
    item = store(mia, path, b"b")
    max_.delete(path)
    installation, operator = world.installation, world.installation.operator()
    installation.spaces.break_inheritance(operator, world.spaces["Rum"].id, parse("/Mapp/Inre"))
    world.grant("max", "Rum", Role.VIEWER, "/Mapp/Inre", history=True)
    assert names(max_, ROOM) == ["b.txt"]
    # Who may restore in the space, but only look in the folder, brings nothing back to it, and takes it nowhere else.
    for to in (None, path, ROOM.joined("Annan").joined("b.txt")):
        with pytest.raises(Forbidden):
            max_.undelete(ROOM, item.id, to=to)
    world.grant("max", "Rum", Role.MANAGER, "/Mapp/Inre", history=True)
    assert max_.undelete(ROOM, item.id).path == path


def test_a_lock_on_the_free_name_is_respected(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    item = store(mia, DOCUMENT, b"one")
    max_.delete(DOCUMENT)
    max_.lock(FOLDER, is_deep=True, is_shared=False, owner="", seconds=60)
    with pytest.raises(Locked):
        mia.undelete(FOLDER, item.id)


def test_whoever_may_not_restore_in_a_folder_does_not_learn_there_that_a_name_is_taken(world: World) -> None:
    world.grant("kim", "Rum", Role.VIEWER)
    world.grant("kim", "Rum", Role.EDITOR, "/Mapp", history=True)
    mia, kim = world.drive("mia"), world.drive("kim")
    item = store(mia, DOCUMENT, b"one")
    store(mia, ROOM.joined("Annan").joined("b.txt"), b"stands")
    mia.delete(DOCUMENT)
    for name in ("b.txt", "c.txt"):
        with pytest.raises(Forbidden):
            kim.undelete(parse("/Rum/Mapp"), item.id, to=parse(f"/Rum/Annan/{name}"))
    kim.undelete(parse("/Rum/Mapp"), item.id)
    assert fetch(mia, DOCUMENT) == b"one"
