"""What the rule of names joined, set apart again; and documents that are copied out of the past."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from auth.roles import Role
from providers.errors import Locked, NotFound, NotJoined, TargetExists
from providers.model import Came
from providers.paths import Path, parse
from tests.worlds import World, fetch, managed_room, moment, store

ROOM = parse("/Kund AB – Rum")
DOCUMENT = ROOM.joined("a.txt")


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = managed_room(data_folder, engine)
    yield made
    made.installation.close()


def joined(world: World) -> bytes:
    """Store a document, delete it, store another under its name: one document, by the rule of names."""
    mia = world.drive("mia")
    first = store(mia, DOCUMENT, b"one").id
    mia.change_properties(DOCUMENT, [("{urn:x}a", "1")])
    mia.delete(DOCUMENT)
    assert store(mia, DOCUMENT, b"another").id == first
    store(mia, DOCUMENT, b"another, longer")
    assert [each.came for each in mia.versions(DOCUMENT)] == [Came.WRITTEN, Came.CONTINUED, Came.WRITTEN]
    return first


def whole(world: World) -> None:
    assert [f"{finding.where}: {finding.what}" for finding in world.installation.verify()] == []


def test_what_was_joined_is_set_apart(world: World) -> None:
    mia, first = world.drive("mia"), joined(world)
    world.grant("kim", "Rum", Role.VIEWER, "/a.txt", history=True)
    before = {version.number: version for version in mia.versions(DOCUMENT)}
    item = world.drive("max").split(DOCUMENT, 2)
    assert item.id != first
    apart = mia.versions(DOCUMENT)
    assert [(each.number, each.size, each.by) for each in apart] == [(1, 7, "Mia Lund"), (2, 15, "Mia Lund")]
    assert [each.at for each in apart] == [before[2].at, before[3].at]
    assert (fetch(mia, DOCUMENT), mia.properties(DOCUMENT)) == (b"another, longer", {"{urn:x}a": "1"})
    assert fetch(world.drive("kim"), parse("/Rum/a.txt")) == b"another, longer"
    (gone,) = mia.trash(ROOM, everything=True)[0]
    assert (gone.id, gone.size) == (first, 3)
    back = mia.undelete(ROOM, first, to=ROOM.joined("b.txt"))
    assert [each.size for each in mia.versions(back.path)] == [3, 3]
    assert fetch(mia, back.path) == b"one"
    assert world.kinds("Rum").count("split") == 1
    whole(world)


def test_the_one_of_before_may_stand_beside_it(world: World) -> None:
    mia, first = world.drive("mia"), joined(world)
    store(mia, ROOM.joined("taken"), b"x")
    with pytest.raises(TargetExists):
        mia.split(DOCUMENT, 2, "taken")
    mia.split(DOCUMENT, 2, "före.txt")
    assert mia.stat(ROOM.joined("före.txt")).id == first
    assert (fetch(mia, ROOM.joined("före.txt")), fetch(mia, DOCUMENT)) == (b"one", b"another, longer")
    whole(world)


def test_a_lock_on_the_name_beside_is_heeded(world: World) -> None:
    mia, _ = world.drive("mia"), joined(world)
    beside = ROOM.joined("._före")
    lock, _ = world.drive("max").lock(beside, is_deep=False, is_shared=False, owner="", seconds=60)
    with pytest.raises(Locked):
        mia.split(DOCUMENT, 2, beside.name)
    world.drive("max").unlock(beside, lock.token)
    mia.split(DOCUMENT, 2, beside.name)
    assert fetch(mia, beside) == b"one"


def test_only_what_was_joined_is_set_apart(world: World) -> None:
    mia, _ = world.drive("mia"), joined(world)
    for number in (1, 3):
        with pytest.raises(NotJoined):
            mia.split(DOCUMENT, number)
    with pytest.raises(NotFound):
        mia.split(DOCUMENT, 4)


# --- copies out of the past


def past(world: World, path: Path) -> Path:
    with world.installation.database.read() as connection:
        at = world.installation.database.now_us(connection)
    return parse(f"/.history/{moment(at)}{path}")


def test_a_document_that_stands_nowhere_comes_back_itself(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    item = store(mia, DOCUMENT, b"one", modified=1_400_000_000_000_000)
    then = past(world, DOCUMENT)
    store(mia, DOCUMENT, b"two")
    max_.delete(DOCUMENT)
    back, is_new = mia.copy(then, ROOM.joined("b.txt"), overwrite=False)
    assert (back.id, is_new, back.modified) == (item.id, True, 1_400_000_000_000_000)
    assert fetch(mia, ROOM.joined("b.txt")) == b"one"
    assert [(each.size, each.came) for each in mia.versions(ROOM.joined("b.txt"))] == [
        (3, Came.WRITTEN), (3, Came.WRITTEN), (3, Came.RESTORED),
    ]  # fmt: skip
    assert world.kinds("Rum")[-2:].count("restore") == 1
    whole(world)


def test_over_itself_it_is_a_new_version(world: World) -> None:
    mia = world.drive("mia")
    item = store(mia, DOCUMENT, b"one")
    then = past(world, DOCUMENT)
    store(mia, DOCUMENT, b"two")
    back, is_new = mia.copy(then, DOCUMENT, overwrite=True)
    assert (back.id, is_new, back.version) == (item.id, False, 3)
    assert (mia.versions(DOCUMENT)[-1].came, mia.versions(DOCUMENT)[-1].origin) == (Came.RESTORED, 1)
    whole(world)


def test_while_it_stands_elsewhere_a_copy_is_a_document_of_its_own(world: World) -> None:
    mia = world.drive("mia")
    item = store(mia, DOCUMENT, b"one")
    copied, _ = mia.copy(past(world, DOCUMENT), ROOM.joined("b.txt"), overwrite=False)
    assert copied.id != item.id


def test_whoever_may_add_but_not_restore_makes_a_copy(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    world.grant("kim", "Rum", Role.CONTRIBUTOR, history=True)
    item = store(mia, DOCUMENT, b"one")
    then = past(world, parse("/Rum/a.txt"))
    max_.delete(DOCUMENT)
    copied, _ = world.drive("kim").copy(then, parse("/Rum/b.txt"), overwrite=False)
    assert copied.id != item.id
