"""What others do between the beginning of an upload or a lock, and its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path as FilePath

import pytest

from auth.roles import Role
from config.clock import SECOND_US, now_us
from config.errors import MellanrumError
from providers.drive import Drive
from providers.errors import ParentMissing
from providers.model import FROZEN, Item
from providers.paths import parse
from tests.worlds import World, fetch, store

PLACE = "/Stämma/Mapp/x.txt"
ASIDE = parse("/Stämma/Mapp/x.bak")


def replaced_folder(drive: Drive) -> None:
    drive.move(parse("/Stämma/Mapp"), parse("/Stämma/Gammal"), overwrite=False)
    drive.make_folder(parse("/Stämma/Mapp"))


def again(drive: Drive) -> None:
    drive.delete(parse(PLACE))
    store(drive, PLACE, b"another document")


#: What happens, and the version that the upload then becomes: where nothing stood, and where one version stood.
MEANWHILE: dict[str, tuple[Callable[[Drive], object], int, int]] = {
    "nothing": (lambda drive: None, 1, 2),
    "written": (lambda drive: store(drive, PLACE, b"by another"), 2, 3),
    "folder replaced": (replaced_folder, 1, 1),
    # The same person put it away within the window: it is the same document that comes back.
    "deleted": (lambda drive: drive.delete(parse(PLACE)), 1, 2),
    "deleted and made again": (again, 1, 3),
}


@pytest.fixture
def world(tmp_path: FilePath) -> Iterator[World]:
    made = World.create(tmp_path / "data")
    made.person("eva", "Kund AB")
    made.space("Stämma", "Kund AB", folders=("/Mapp",))
    made.grant("eva", "Stämma", Role.EDITOR, history=True)
    yield made
    made.installation.close()


@pytest.mark.parametrize(
    ("what", "stood"),
    [(what, stood) for what in MEANWHILE for stood in (False, True) if stood or not what.startswith("deleted")],
)
def test_an_upload_becomes_a_version_of_what_stands_there_now(world: World, what: str, stood: bool) -> None:
    act, fresh, next_one = MEANWHILE[what]
    drive = world.drive("eva")
    if stood:
        store(drive, PLACE, b"first")
    upload = drive.put(parse(PLACE), declared=8)
    upload.write(b"uploaded")
    act(world.drive("eva"))
    item, created = upload.commit()
    assert item.version == (next_one if stood else fresh)
    assert created == (item.version == 1 or what == "deleted")
    assert fetch(drive, PLACE) == b"uploaded"
    assert [version.number for version in drive.versions(parse(PLACE))] == list(range(1, item.version + 1))
    world.installation.tick()
    assert [str(finding) for finding in world.installation.verify()] == []


def renamed(drive: Drive) -> None:
    drive.move(parse("/Stämma/Mapp"), parse("/Stämma/Gammal"), overwrite=False)


def deeper(drive: Drive) -> None:
    drive.make_folder(parse("/Stämma/Arkiv"))
    drive.move(parse("/Stämma/Mapp"), parse("/Stämma/Arkiv/Mapp"), overwrite=False)


@pytest.mark.parametrize("stood", [False, True])
@pytest.mark.parametrize(("move", "now"), [(renamed, "/Stämma/Gammal"), (deeper, "/Stämma/Arkiv/Mapp")])
@pytest.mark.parametrize("how", ["put", "edit"])
def test_an_upload_was_lost_with_the_name_of_its_folder(
    world: World, how: str, move: Callable[[Drive], object], now: str, stood: bool
) -> None:
    """As on a disk, it comes along."""
    drive = world.drive("eva")
    if stood:
        store(drive, PLACE, b"before")
    path = parse(PLACE)
    begun = drive.put(path, declared=4) if how == "put" else drive.edit(path, create=True, truncate=True)
    if how == "put":
        begun.write(b"mine")  # type: ignore[call-arg, arg-type]
    else:
        begun.write(0, b"mine")  # type: ignore[call-arg, arg-type]
    move(world.drive("eva"))
    made = begun.commit()
    assert made is not None and str(made[0].path) == f"{now}/x.txt" and made[1] != stood
    assert fetch(drive, f"{now}/x.txt") == b"mine"
    assert len(drive.versions(parse(f"{now}/x.txt"))) == 1 + stood
    assert list(world.installation.verify()) == []


@pytest.mark.parametrize("what", ["deleted", "shut"])
def test_an_upload_does_not_come_along_where_it_may_not(world: World, what: str) -> None:
    world.person("ulf", "Kund AB")
    world.grant("ulf", "Stämma", Role.CONTRIBUTOR)
    world.space("Annat", "Kund AB")
    world.grant("eva", "Annat", Role.EDITOR)
    world.grant("eva", "Stämma", Role.MANAGER, "/Mapp")
    drive = world.drive("ulf")
    upload = drive.put(parse(PLACE), declared=4)
    upload.write(b"mine")
    if what == "deleted":
        world.drive("eva").delete(parse("/Stämma/Mapp"))
    else:
        renamed(world.drive("eva"))
        world.drive("eva").break_inheritance(parse("/Stämma/Gammal"))
    with pytest.raises(ParentMissing):
        upload.commit()


def test_a_right_taken_meanwhile_is_missed_at_the_commit(world: World) -> None:
    drive = world.drive("eva")
    upload = drive.put(parse(PLACE), declared=8)
    upload.write(b"uploaded")
    operator, spaces, space = world.installation.operator(), world.installation.spaces, world.spaces["Stämma"].id
    for _, grant in spaces.grants(space):
        spaces.revoke(operator, space, grant.id)
    with pytest.raises(ParentMissing):
        upload.commit()


def test_a_right_that_runs_out_meanwhile_is_missed_at_the_commit(world: World) -> None:
    world.person("olle", "Kund AB")
    ends = now_us() + 3 * SECOND_US
    world.grant("olle", "Stämma", Role.EDITOR, expires_at=ends)
    drive = world.drive("olle")
    for place in (PLACE, "/Stämma/Mapp/y.txt"):
        store(drive, place, b"while it lasts")
    upload = drive.put(parse("/Stämma/Mapp/z.txt"), declared=8)
    upload.write(b"uploaded")
    time.sleep(max(0, ends - now_us()) / SECOND_US + 0.01)
    with pytest.raises(ParentMissing):
        upload.commit()


def moved_aside(world: World) -> tuple[Drive, Item]:
    """Return eva's drive, and what she stored at a place and moved aside from there. Olle may write there too."""
    world.person("olle", "Kund AB")
    world.grant("olle", "Stämma", Role.EDITOR)
    drive = world.drive("eva")
    before = store(drive, PLACE, b"first")
    drive.move(parse(PLACE), ASIDE, overwrite=False)
    return drive, before


def test_what_another_has_locked_meanwhile_does_not_come_back_to_its_name(world: World) -> None:
    drive, before = moved_aside(world)
    upload = drive.put(parse(PLACE), declared=8)
    upload.write(b"uploaded")
    world.drive("olle").lock(ASIDE, is_deep=False, is_shared=False, owner="", seconds=60)
    item, _ = upload.commit()
    assert item.id != before.id == drive.stat(ASIDE).id
    assert item.version == 1


def test_what_another_let_go_of_meanwhile_comes_back_to_its_name(world: World) -> None:
    drive, before = moved_aside(world)
    token = world.drive("olle").lock(ASIDE, is_deep=False, is_shared=False, owner="", seconds=60)[0].token
    upload = drive.put(parse(PLACE), declared=8)
    upload.write(b"uploaded")
    world.drive("olle").unlock(ASIDE, token)
    item, _ = upload.commit()
    assert item.id == before.id != drive.stat(ASIDE).id
    assert item.version == 2


@pytest.mark.parametrize("stood", [False, True])
def test_uploads_that_share_a_transaction_see_each_other(world: World, stood: bool) -> None:
    """What the second saw when it began is as new as the head that the transaction begins with, and yet too old."""
    drive, database = world.drive("eva"), world.installation.database
    if stood:
        store(drive, PLACE, b"first")
    uploads = [drive.put(parse(PLACE), declared=1) for _ in range(3)]
    for number, upload in enumerate(uploads):
        upload.write(b"%d" % number)
    holds, goes_on = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        holds.set()
        assert goes_on.wait(30)

    with ThreadPoolExecutor(4) as pool:
        holding = pool.submit(database.apply, hold)
        assert holds.wait(30)
        ended = [pool.submit(upload.commit) for upload in uploads]
        while len(database._commits._queue) < len(uploads):
            time.sleep(0.01)
        goes_on.set()
        holding.result()
        items = [each.result()[0] for each in ended]
    assert len({item.id for item in items}) == 1
    assert sorted(item.version for item in items) == [1 + stood, 2 + stood, 3 + stood]
    assert [version.number for version in drive.versions(parse(PLACE))] == list(range(1, 4 + stood))
    newest = max(items, key=lambda item: item.version)
    assert fetch(drive, PLACE) == b"%d" % items.index(newest)
    world.installation.tick()
    assert [str(finding) for finding in world.installation.verify()] == []


def frozen(world: World) -> None:
    installation = world.installation
    installation.spaces.set_state(installation.operator(), world.spaces["Stämma"].id, FROZEN)


#: What happens after a lock was decided on and before other writers are kept away, and what then becomes of it.
BEFORE_LOCK: dict[str, tuple[Callable[[World], object], str]] = {
    "nothing": (lambda world: None, "locked"),
    "deleted": (lambda world: world.drive("eva").delete(parse(PLACE)), "locked as new"),
    "written": (lambda world: store(world.drive("eva"), PLACE, b"by another"), "locked"),
    "locked": (lambda world: lock(world.drive("olle")), "Locked"),
    "frozen": (frozen, "Frozen"),
}


def lock(drive: Drive) -> bool:
    return drive.lock(parse(PLACE), is_deep=False, is_shared=False, owner="", seconds=60)[1]


@pytest.mark.parametrize("what", BEFORE_LOCK)
def test_a_lock_is_taken_on_what_stands_when_nobody_else_can_write(
    world: World, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, expected = BEFORE_LOCK[what]
    world.person("olle", "Kund AB")
    world.grant("olle", "Stämma", Role.EDITOR)
    drive, database = world.drive("eva"), world.installation.database
    store(drive, PLACE, b"first")
    exclusively = database.exclusively

    @contextmanager
    def after_another(*_: object) -> Iterator[None]:
        monkeypatch.setattr(database, "exclusively", exclusively)
        act(world)
        with exclusively():
            yield

    monkeypatch.setattr(database, "exclusively", after_another)
    try:
        found = "locked as new" if lock(drive) else "locked"
    except MellanrumError as error:
        found = type(error).__name__
    assert found == expected
    assert len(world.installation.locks.all()) == 1 - (expected == "Frozen")
