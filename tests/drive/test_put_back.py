"""Folders and spaces put back to a moment, after whatever happened in between."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from auth.roles import Role
from providers.drive import Drive
from providers.errors import DriveError, Forbidden, Locked, LockNotFound, LockStands, NotFound, QuotaExceeded
from providers.model import Differs
from providers.paths import Path, parse
from tests.seeds import seeded
from tests.worlds import World, fetch, managed_room, store

POSTGRESQL_IN_PROOF = True

ROOM = parse("/Kund AB – Rum")
FOLDER = ROOM.joined("Mapp")


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = managed_room(data_folder, engine, ("/Mapp/Inre", "/Annan"))
    yield made
    made.installation.close()


def now(world: World) -> int:
    """A moment after all that was done, and before all that will be."""
    with world.installation.database.read() as connection:
        return world.installation.database.now_us(connection)


def snapshot(drive: Drive, folder: Path) -> dict[str, object]:
    """All that stands below a folder: identity, content, time and properties."""
    found: dict[str, object] = {}
    for item in drive.listing(folder)[1]:
        content = b"" if item.is_folder else fetch(drive, item.path)
        found[str(item.path)] = (item.id, content, item.modified, tuple(sorted(drive.properties(item.path).items())))
        if item.is_folder:
            found |= snapshot(drive, item.path)
    return found


def whole(world: World) -> None:
    assert [f"{finding.where}: {finding.what}" for finding in world.installation.verify()] == []


def test_everything_returns_to_where_it_was(world: World) -> None:
    mia = world.drive("mia")
    for name in ("kept", "changed", "renamed", "moved", "gone", "away"):
        store(mia, FOLDER.joined(name), name.encode(), modified=1_400_000_000_000_000)
    mia.change_properties(FOLDER.joined("kept"), [("{urn:x}a", "1"), ("{urn:x}b", "1")])
    moment, then = now(world), snapshot(mia, FOLDER)
    store(mia, FOLDER.joined("changed"), b"encrypted")
    mia.move(FOLDER.joined("renamed"), FOLDER.joined("Renamed.locked"), overwrite=False)
    mia.move(FOLDER.joined("moved"), FOLDER.joined("Inre").joined("moved"), overwrite=False)
    mia.delete(FOLDER.joined("gone"))
    mia.move(FOLDER.joined("away"), ROOM.joined("Annan").joined("away"), overwrite=False)
    store(mia, FOLDER.joined("READ ME"), b"pay")
    mia.change_properties(FOLDER.joined("kept"), [("{urn:x}a", None), ("{urn:x}b", "2"), ("{urn:x}c", "3")])
    dry = mia.put_back(FOLDER, moment, dry_run=True)
    before, kinds = snapshot(mia, ROOM), world.kinds("Rum")
    assert dry.differences == tuple(mia.compare(FOLDER, moment))
    assert sorted((each.what.value, each.path.name) for each in dry.differences) == [
        ("added", "READ ME"), ("changed", "changed"), ("moved", "away"), ("moved", "moved"), ("removed", "gone"),
        ("renamed", "Renamed.locked"), ("touched", "kept"),
    ]  # fmt: skip
    assert dry.counts == {Differs.MOVED: 2} | dict.fromkeys(set(Differs) - {Differs.MOVED}, 1)
    assert (snapshot(mia, ROOM), world.kinds("Rum")) == (before, kinds)
    done = mia.put_back(FOLDER, moment)
    assert (done.counts, done.left) == (dry.counts, 0)
    assert snapshot(mia, FOLDER) == then
    assert world.kinds("Rum")[len([*kinds]) :].count("put_back") == 1
    assert [each.comment[:6] for each in mia.versions(FOLDER.joined("changed"))] == ["", "", "as of "]
    assert mia.put_back(FOLDER, moment).is_empty
    whole(world)


def _act(rng: random.Random, drive: Drive, step: int) -> None:
    """Do something, wherever it leads."""
    items = [ROOM, *(parse(path) for path in snapshot(drive, ROOM))]
    folders = [path for path in items if drive.stat(path).is_folder]
    chosen, folder = rng.choice(items), rng.choice(folders)
    fresh = folder.joined(rng.choice("abcdef"))
    kind = rng.randrange(8)
    if kind <= 1:
        store(drive, fresh, f"content {step}".encode(), modified=rng.choice([None, step * 10**9]))
    elif kind == 2:
        drive.make_folder(fresh)
    elif kind == 3:
        drive.delete(chosen)
    elif kind <= 5:
        drive.move(chosen, fresh, overwrite=rng.random() < 0.5)
    elif kind == 6:
        drive.copy(chosen, fresh, overwrite=rng.random() < 0.5)
    else:
        drive.change_properties(chosen, [("{urn:x}a", rng.choice(["1", "2", None]))], modified=step * 10**9)  # type: ignore[list-item]


@pytest.mark.parametrize("seed", seeded(range(2), more=4))
def test_whatever_was_done_a_space_goes_back_to_any_moment(world: World, seed: int) -> None:
    rng, mia = random.Random(seed), world.drive("mia")
    then: list[tuple[int, dict[str, object]]] = []
    for step in range(30):
        then.append((now(world), snapshot(mia, ROOM)))
        try:
            if step % 9 == 8:
                mia.put_back(ROOM, rng.choice(then)[0])
            else:
                _act(rng, mia, step)
        except DriveError:
            continue
    for moment, expected in rng.sample(then, 6):
        seen = {str(each.path) for each in mia.compare(ROOM, moment)}
        differs = mia.put_back(ROOM, moment)
        assert snapshot(mia, ROOM) == expected
        assert differs.is_empty or {str(each.path) for each in differs.differences} == seen
    whole(world)


@pytest.mark.parametrize("seed", seeded(range(2), more=4))
def test_a_folder_goes_back_and_nothing_else_is_lost(world: World, seed: int) -> None:
    """Whatever stood outside still stands somewhere, or lies in the trash: every id that stood is accounted for."""
    rng, mia = random.Random(100 + seed), world.drive("mia")
    folder = mia.stat(FOLDER).id
    then: list[tuple[int, dict[str, object]]] = []
    for step in range(30):
        if _path_of(mia, folder) == FOLDER:
            then.append((now(world), snapshot(mia, FOLDER)))
        try:
            _act(rng, mia, step)
        except DriveError:
            continue
    if _path_of(mia, folder) != FOLDER:
        mia.put_back(ROOM, then[-1][0])
    for moment, expected in rng.sample(then, min(6, len(then))):
        left = mia.put_back(FOLDER, moment).left
        assert left or snapshot(mia, FOLDER) == expected
    whole(world)


def _path_of(drive: Drive, node: bytes) -> Path | None:
    try:
        return FOLDER if drive.stat(FOLDER).id == node else None
    except DriveError:
        return None


# --- what stands in the way, and at the edges


def test_what_moved_in_from_elsewhere_goes_home_or_to_the_trash(world: World) -> None:
    mia, annan = world.drive("mia"), ROOM.joined("Annan")
    kept, taken = store(mia, annan.joined("a"), b"a"), store(mia, annan.joined("b"), b"b")
    moment = now(world)
    mia.move(annan.joined("a"), FOLDER.joined("a"), overwrite=False)
    mia.move(annan.joined("b"), FOLDER.joined("b"), overwrite=False)
    store(world.drive("max"), annan.joined("b"), b"another")
    other = mia.stat(annan.joined("b")).id
    mia.put_back(FOLDER, moment)
    assert mia.stat(annan.joined("a")).id == kept.id
    assert mia.stat(annan.joined("b")).id == other != taken.id
    assert [item.name for item in mia.listing(FOLDER)[1]] == ["Inre"]
    whole(world)


def test_what_went_where_one_may_not_put_back_stays_there(world: World) -> None:
    mia = world.drive("mia")
    world.grant("kim", "Rum", Role.MANAGER, "/Mapp", history=True)
    moved = store(mia, FOLDER.joined("a"), b"a")
    store(mia, FOLDER.joined("b"), b"b")
    moment = now(world)
    mia.move(FOLDER.joined("a"), ROOM.joined("Annan").joined("a"), overwrite=False)
    mia.delete(FOLDER.joined("b"))
    done = world.drive("kim").put_back(parse("/Rum/Mapp"), moment)
    assert (done.left, [each.path.name for each in done.differences]) == (0, ["b"]), "where it is, kim may not see"
    assert mia.stat(ROOM.joined("Annan").joined("a")).id == moved.id
    assert [item.name for item in mia.listing(FOLDER)[1]] == ["b", "Inre"]


def test_a_folder_that_lies_in_what_was_in_it_goes_back_as_far_as_it_can(world: World) -> None:
    mia, inner = world.drive("mia"), FOLDER.joined("Inre")
    store(mia, FOLDER.joined("a"), b"one")
    moment = now(world)
    mia.move(inner, ROOM.joined("Inre"), overwrite=False)
    mia.move(FOLDER, ROOM.joined("Inre").joined("Mapp"), overwrite=False)
    folder = ROOM.joined("Inre").joined("Mapp")
    store(mia, folder.joined("a"), b"two")
    assert mia.put_back(folder, moment).left == 1
    assert fetch(mia, folder.joined("a")) == b"one"
    whole(world)


def test_locks_of_others_keep_it_as_it_is(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    moment = now(world)
    store(mia, FOLDER.joined("a"), b"a")
    lock, _ = max_.lock(FOLDER.joined("a"), is_deep=False, is_shared=False, owner="", seconds=60)
    with pytest.raises(Locked):
        mia.put_back(FOLDER, moment)
    assert not max_.put_back(FOLDER, moment, dry_run=True).is_empty
    max_.unlock(FOLDER.joined("a"), lock.token)
    mia.lock(FOLDER.joined("a"), is_deep=False, is_shared=False, owner="", seconds=60)
    mia.put_back(FOLDER, moment)
    store(max_, FOLDER.joined("a"), b"free for all")


def test_a_lock_on_what_is_not_touched_stands_in_the_way_of_nothing(world: World) -> None:
    mia, max_, inner = world.drive("mia"), world.drive("max"), FOLDER.joined("Inre")
    store(mia, FOLDER.joined("b"), b"b")
    store(mia, FOLDER.joined("a"), b"one")
    moment = now(world)
    store(mia, FOLDER.joined("a"), b"two")
    for path in (FOLDER.joined("b"), inner):
        max_.lock(path, is_deep=True, is_shared=False, owner="", seconds=60)
    mia.put_back(FOLDER, moment)
    assert fetch(mia, FOLDER.joined("a")) == b"one"
    assert [lock.root for lock in mia.locks_inside(FOLDER)] == [inner, FOLDER.joined("b")]
    assert [lock.holder for lock in mia.locks_inside(FOLDER)] == ["Max Lund"] * 2


@pytest.mark.parametrize("kind", ["content", "below", "above", "names", "home"])
def test_a_lock_on_what_is_touched_is_named_with_its_holder(world: World, kind: str) -> None:
    """On a document itself, in a folder that goes, deep above, on the folder of what goes, and where something goes."""
    mia, annan, new = world.drive("mia"), ROOM.joined("Annan"), FOLDER.joined("Ny")
    store(mia, FOLDER.joined("Inre").joined("a"), b"one")
    store(mia, annan.joined("b"), b"b")
    moment = now(world)
    if kind == "content" or kind == "above":
        store(mia, FOLDER.joined("Inre").joined("a"), b"two")
    elif kind == "home":
        mia.move(annan.joined("b"), FOLDER.joined("b"), overwrite=False)
    else:
        mia.make_folder(new)
        store(mia, new.joined("c"), b"c")
    held = {
        "content": FOLDER.joined("Inre").joined("a"), "below": new.joined("c"), "above": FOLDER, "names": FOLDER,
        "home": annan,
    }[kind]  # fmt: skip
    world.drive("max").lock(held, is_deep=kind == "above", is_shared=False, owner="", seconds=60)
    before = snapshot(mia, ROOM)
    with pytest.raises(LockStands) as stands:
        mia.put_back(FOLDER, moment)
    assert (stands.value.facts["path"], stands.value.facts["holder"]) == (held, "Max Lund")
    assert snapshot(mia, ROOM) == before
    assert [lock.root for lock in mia.break_locks(ROOM, below=True)] == [held]
    mia.put_back(FOLDER, moment)
    whole(world)


def test_locks_are_broken_one_by_one_each_with_an_event(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    for name in "ab":
        store(mia, FOLDER.joined(name), b"one")
        max_.lock(FOLDER.joined(name), is_deep=False, is_shared=False, owner="", seconds=60)
    installation = world.installation
    operator = installation.drive(installation.operator([world.spaces["Rum"].id]))
    before = len(world.kinds("Rum"))
    with pytest.raises(LockNotFound):
        operator.break_locks(FOLDER)
    assert [lock.root.name for lock in operator.break_locks(FOLDER.joined("a"))] == ["a"]
    assert world.kinds("Rum", before) == ["break_lock"]
    store(mia, FOLDER.joined("a"), b"two")
    with pytest.raises(Locked):
        store(mia, FOLDER.joined("b"), b"two")


def test_nobody_breaks_a_lock_where_they_are_not_let_in(world: World) -> None:
    """Though it lies in a folder whose locks they may break."""
    mia, max_, inner = world.drive("mia"), world.drive("max"), FOLDER.joined("Inre")
    for place in (FOLDER.joined("a"), inner.joined("b")):
        store(mia, place, b"one")
        max_.lock(place, is_deep=False, is_shared=False, owner="", seconds=60)
    spaces, operator = world.installation.spaces, world.installation.operator()
    spaces.break_inheritance(operator, world.spaces["Rum"].id, parse("/Mapp/Inre"))
    assert [lock.root.name for lock in world.drive("mia").break_locks(FOLDER, below=True)] == ["a"]
    with pytest.raises(LockNotFound):
        world.drive("mia").break_locks(FOLDER, below=True)
    assert len(world.installation.storage.locks.all()) == 1


def test_a_space_that_is_full_is_left_as_it_is(world: World) -> None:
    mia = world.drive("mia")
    store(mia, FOLDER.joined("a"), b"one")
    moment = now(world)
    store(mia, FOLDER.joined("a"), b"two")
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces["Rum"].id, 1)
    with pytest.raises(QuotaExceeded):
        mia.put_back(FOLDER, moment)
    assert fetch(mia, FOLDER.joined("a")) == b"two"


def test_moments_at_which_it_did_not_stand(world: World) -> None:
    mia, late = world.drive("mia"), FOLDER.joined("Sen")
    moment = now(world)
    mia.make_folder(late)
    for at in (0, moment, now(world) + 10**9):
        with pytest.raises(NotFound):
            mia.put_back(late, at)
        with pytest.raises(NotFound):
            mia.compare(late, at)


def test_the_operator_puts_a_space_back_past_folders_that_break_inheritance(world: World) -> None:
    mia, space = world.drive("mia"), world.spaces["Rum"].id
    store(mia, FOLDER.joined("Inre").joined("a"), b"one")
    moment = now(world)
    store(mia, FOLDER.joined("Inre").joined("a"), b"two")
    installation = world.installation
    installation.spaces.break_inheritance(installation.operator(), space, parse("/Mapp/Inre"))
    told = world.drive("max").put_back(ROOM, moment, dry_run=True)
    assert told.is_empty, "what is hidden is not told of"
    operator = installation.drive(installation.operator([space]))
    assert operator.put_back(ROOM, moment).counts == {Differs.CHANGED: 1}
    world.grant("mia", "Rum", Role.VIEWER, "/Mapp/Inre", history=True)
    assert fetch(mia, FOLDER.joined("Inre").joined("a")) == b"one"
    world.grant("kim", "Rum", Role.EDITOR, history=True)
    with pytest.raises(Forbidden):
        world.drive("kim").put_back(parse("/Rum"), moment)


def test_an_empty_document_is_empty_again(world: World) -> None:
    mia = world.drive("mia")
    store(mia, FOLDER.joined("a"), b"")
    moment = now(world)
    store(mia, FOLDER.joined("a"), b"filled")
    mia.put_back(FOLDER, moment)
    assert fetch(mia, FOLDER.joined("a")) == b""
    sizes = [version.size for version in mia.versions(FOLDER.joined("a"))]
    assert sizes[-1] == 0
    assert not mia.put_back(FOLDER, moment).counts
    assert not list(mia.compare(FOLDER, moment))
    assert [version.size for version in mia.versions(FOLDER.joined("a"))] == sizes
    whole(world)


def test_two_folders_that_changed_places_elsewhere_make_no_circle(world: World) -> None:
    """One was in the other then, the other in the one now; neither goes home into itself."""
    mia, annan = world.drive("mia"), ROOM.joined("Annan")
    outer, inner = annan.joined("Yttre"), annan.joined("Yttre").joined("Del")
    mia.make_folder(outer)
    node = mia.make_folder(inner).id
    store(mia, inner.joined("a"), b"a")
    moment = now(world)
    away = annan.joined("Inre")
    mia.move(FOLDER.joined("Inre"), away, overwrite=False)
    mia.move(inner, away.joined("Del"), overwrite=False)
    mia.move(outer, away.joined("Del").joined("Yttre"), overwrite=False)
    mia.put_back(FOLDER, moment)
    assert [item.name for item in mia.listing(FOLDER)[1]] == ["Inre"]
    assert list(mia.listing(FOLDER.joined("Inre"))[1]) == []
    back = mia.undelete(ROOM, node, to=ROOM.joined("Del")).path
    assert [item.name for item in mia.listing(back)[1]] == ["a", "Yttre"]
    whole(world)
