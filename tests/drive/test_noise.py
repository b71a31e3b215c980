"""What operating systems leave beside documents: served, but no version, no change, no event, and no hiding place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest

from auth.roles import Role
from providers.drive import Drive, noise
from providers.drive.places import Place
from providers.drive.session import Session
from providers.drive.transaction import Look
from providers.errors import (
    BadName,
    Forbidden,
    Locked,
    NotFound,
    PreconditionFailed,
    QuotaExceeded,
    TargetExists,
    UploadIncomplete,
)
from providers.model import Conditions
from providers.noise import NOISE_BYTES_MAX, is_noise, is_noise_name
from providers.paths import parse
from tests.noises import DOCUMENTS, DOUBLE, DS_STORE, NEITHER, NOISE, apple_double, rows
from tests.worlds import World, fetch, store


@pytest.mark.parametrize("name", NOISE)
def test_noise_is_known_by_name_and_content(name: str) -> None:
    assert is_noise_name(name) and all(is_noise(name, content) for content in NOISE[name])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_none_whatever_it_is_called(name: str) -> None:
    assert not any(is_noise(name, content) for content in DOCUMENTS[name])


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(data_folder, **engine)
    for login in ("eva", "erik", "vera", "carl"):
        made.person(login, "Kund AB")
    for login in ("ulla", "umar"):
        made.person(login, f"{login} AB")
    made.space("Rum", "Kund AB", folders=("/Mapp",))
    for login in ("eva", "erik"):
        made.grant(login, "Rum", Role.EDITOR, history=True)
    made.grant("vera", "Rum", Role.VIEWER)
    made.grant("carl", "Rum", Role.CONTRIBUTOR)
    for login in ("ulla", "umar"):
        made.grant(login, "Rum", Role.UPLOADER)
    yield made
    made.installation.close()


def names(drive: Drive) -> list[str]:
    return [item.name for item in drive.listing(parse("/Rum"))[1]]


def test_noise_is_served_and_tells_nobody(world: World) -> None:
    eva, vera = world.drive("eva"), world.drive("vera")
    before = rows(world)
    item, created = (made := eva.put(parse("/Rum/._a"), declared=0)).commit()
    assert created and item.size == 0
    made = eva.put(parse("/Rum/._A"), declared=None)
    made.write(DOUBLE)
    again, created = made.commit()
    assert not created and again.etag != item.etag and again.size == len(DOUBLE)
    assert fetch(eva, "/Rum/._a") == fetch(vera, "/Rum/._a") == DOUBLE
    assert eva.stat(parse("/Rum/._a")).etag == again.etag
    assert names(eva) == ["._A", "Mapp"]
    store(eva, "/Rum/.DS_Store", DS_STORE)
    eva.move(parse("/Rum/._a"), parse("/Rum/Mapp/._b"), overwrite=False)
    eva.copy(parse("/Rum/Mapp/._b"), parse("/Rum/._c"), overwrite=False)
    eva.change_properties(parse("/Rum/._c"), [("{urn:x}p", "1")], modified=1_500_000_000_000_000)
    assert eva.stat(parse("/Rum/._c")).modified == 1_500_000_000_000_000
    assert fetch(eva, "/Rum/._c") == fetch(eva, "/Rum/Mapp/._b") == DOUBLE
    eva.delete(parse("/Rum/._c"))
    assert names(eva) == [".DS_Store", "Mapp"]
    world.installation.tick()
    assert rows(world) == {**before, "noise": 2}
    assert not list(world.installation.verify())


def test_noise_lies_sealed(world: World, data_folder: FilePath) -> None:
    for number in range(3):
        store(world.drive("eva"), f"/Rum/._hemligtnamn{number}", apple_double((2, b"hemligt innehall" * 20)))
    world.installation.tick()
    files = [path for path in data_folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert b"hemligt" not in path.read_bytes(), path


def test_a_probe_is_not_noted(world: World) -> None:
    noted: list[object] = []
    world.installation.audit.note_unseen = noted.append  # type: ignore[method-assign,assignment]
    eva = world.drive("eva")
    for path in ("/Rum/._a", "/Rum/.DS_Store", "/Elsewhere/._a"):
        with pytest.raises(NotFound):
            eva.stat(parse(path))
    assert noted == []
    with pytest.raises(NotFound):
        eva.stat(parse("/Rum/a"))
    assert len(noted) == 1


@pytest.mark.parametrize("content", DOCUMENTS["._Rapport.docx"], ids=["zip", "large", "data fork", "head", "cut"])
def test_nobody_hides_a_document_behind_the_name_of_noise(world: World, content: bytes) -> None:
    eva = world.drive("eva")
    store(eva, "/Rum/._a", DOUBLE)
    made = eva.put(parse("/Rum/._a"), declared=None)
    for start in range(0, len(content), 10_000):
        made.write(content[start : start + 10_000])
    item, _ = made.commit()
    assert item.version == 1 and fetch(eva, "/Rum/._a") == content
    assert names(eva) == ["._a", "Mapp"] and rows(world)["noise"] == 0
    assert "add" in world.kinds("Rum")
    # From now on that name is a document's, whatever is put there.
    store(eva, "/Rum/._a", DOUBLE)
    assert eva.stat(parse("/Rum/._a")).version == 2
    eva.delete(parse("/Rum/._a"))
    store(eva, "/Rum/._a", DOUBLE)
    assert eva.stat(parse("/Rum/._a")).version == 2 and rows(world)["noise"] == 0


def test_a_folder_in_finder_has_its_own_icon(world: World) -> None:
    """Its name ends in a carriage return, which no document's may hold: nothing but noise comes to stand under it."""
    eva, icon = world.drive("eva"), parse("/Rum/Mapp/Icon\r")
    before = rows(world)
    store(eva, icon, b"")
    store(eva, "/Rum/Mapp/._Icon\r", DOUBLE)
    assert fetch(eva, icon) == b"" and fetch(eva, "/Rum/Mapp/._Icon\r") == DOUBLE
    assert [item.name for item in eva.listing(parse("/Rum/Mapp"))[1]] == ["._Icon\r", "Icon\r"]
    eva.move(parse("/Rum/Mapp"), parse("/Rum/Pärm"), overwrite=False)
    icon = parse("/Rum/Pärm/Icon\r")
    lock, created = eva.lock(icon, is_deep=False, is_shared=False, owner="", seconds=60)
    eva.unlock(icon, lock.token)
    eva.copy(icon, parse("/Rum/Icon\r"), overwrite=False)
    eva.delete(icon)
    world.installation.tick()
    assert not created and rows(world)["noise"] == before["noise"] + 2
    assert not list(world.installation.verify())


@pytest.mark.parametrize("name", NEITHER)
def test_nothing_but_noise_has_a_name_with_a_control_character(world: World, name: str) -> None:
    eva, path = world.drive("eva"), parse(f"/Rum/{name}")
    store(eva, "/Rum/a", b"document")
    stood = rows(world)
    acts: list[Callable[[], object]] = [
        *(lambda content=content: store(eva, path, content) for content in NEITHER[name]),  # type: ignore[misc]
        lambda: eva.put(path, declared=NOISE_BYTES_MAX + 1),
        lambda: eva.make_folder(path),
        lambda: eva.copy(parse("/Rum/a"), path, overwrite=True),
        lambda: eva.move(parse("/Rum/a"), path, overwrite=True),
        lambda: eva.move(parse("/Rum/Mapp"), path, overwrite=True),
    ]
    for act in acts:
        with pytest.raises(BadName):
            act()
        assert rows(world) == stood
    for other in ("Icon\n", "icon\r", "Icon\r\r", "._icon\r", ".DS_Store\r"):
        with pytest.raises(BadName):
            parse(f"/Rum/{other}")


def test_noise_that_takes_a_documents_name_is_one(world: World) -> None:
    eva = world.drive("eva")
    store(eva, "/Rum/._a", DOUBLE)
    eva.move(parse("/Rum/._a"), parse("/Rum/a"), overwrite=False)
    assert eva.stat(parse("/Rum/a")).version == 1 and fetch(eva, "/Rum/a") == DOUBLE
    with pytest.raises(NotFound):
        eva.stat(parse("/Rum/._a"))
    store(eva, "/Rum/._b", DOUBLE)
    with pytest.raises(PreconditionFailed):
        eva.move(parse("/Rum/._b"), parse("/Rum/a"), overwrite=False)
    assert fetch(eva, "/Rum/._b") == DOUBLE


def test_what_is_kept_stands_over_noise(world: World) -> None:
    eva = world.drive("eva")
    store(eva, "/Rum/a", b"document")
    store(eva, "/Rum/._b", DOUBLE)
    with pytest.raises(TargetExists):
        eva.make_folder(parse("/Rum/._b"))
    with pytest.raises(TargetExists):
        eva.move(parse("/Rum/a"), parse("/Rum/._b"), overwrite=False)
    eva.move(parse("/Rum/a"), parse("/Rum/._b"), overwrite=True)
    assert fetch(eva, "/Rum/._b") == b"document" and rows(world)["noise"] == 0
    store(eva, "/Rum/._b", DOUBLE)
    assert eva.stat(parse("/Rum/._b")).version == 2


@pytest.mark.parametrize(("act", "goal"), [("copy", "/Rum/._b"), ("move", "/Rum/._b"), ("move", "/Rum/._A")])
def test_what_the_client_demands_of_noise_must_hold_before_it_is_carried(world: World, act: str, goal: str) -> None:
    eva = world.drive("eva")
    store(eva, "/Rum/._a", DOUBLE)
    with pytest.raises(PreconditionFailed):
        getattr(eva, act)(parse("/Rum/._a"), parse(goal), overwrite=False, conditions=Conditions(if_match=('"x"',)))
    etag = eva.stat(parse("/Rum/._a")).etag
    getattr(eva, act)(parse("/Rum/._a"), parse(goal), overwrite=False, conditions=Conditions(if_match=(etag,)))
    assert fetch(eva, goal) == DOUBLE


@pytest.mark.parametrize("goal", ["/Rum/Mapp/._b", "/Rum/b", "/Rum/._A"])
def test_what_is_written_to_noise_while_it_moves_moves_along(
    world: World, monkeypatch: pytest.MonkeyPatch, goal: str
) -> None:
    eva, newer, read = world.drive("eva"), apple_double((2, b"newer")), noise.content_of
    store(eva, "/Rum/._a", DOUBLE)

    def read_and_write(look: Look, place: Place) -> bytes:
        content = read(look, place)
        monkeypatch.setattr(noise, "content_of", read)
        store(world.drive("eva"), "/Rum/._a", newer)
        return content

    monkeypatch.setattr(noise, "content_of", read_and_write)
    eva.move(parse("/Rum/._a"), parse(goal), overwrite=False)
    assert fetch(eva, goal) == newer


@pytest.mark.parametrize("goal", ["/Rum/Mapp/._b", "/Rum/b"])
def test_noise_that_moves_stands_in_one_place_at_any_moment(
    world: World, monkeypatch: pytest.MonkeyPatch, goal: str
) -> None:
    eva, commit = world.drive("eva"), Session.commit
    store(eva, "/Rum/._a", DOUBLE)
    stood: list[tuple[bool, bool]] = []

    def look_after(session: Session, *given: Any, **options: Any) -> Any:
        made = commit(session, *given, **options)
        at = [world.drive("vera").listing(parse(path).parent)[1] for path in ("/Rum/._a", goal)]
        names = [parse("/Rum/._a").name, parse(goal).name]
        stood.append(tuple(any(item.name == name for item in items) for items, name in zip(at, names, strict=True)))
        return made

    monkeypatch.setattr(Session, "commit", look_after)
    eva.move(parse("/Rum/._a"), parse(goal), overwrite=False)
    assert stood == [(False, True)]


def test_noise_that_is_not_moved_after_all_keeps_its_lock(world: World) -> None:
    eva, place = world.drive("eva"), parse("/Rum/._a")
    store(eva, place, DOUBLE)
    store(eva, "/Rum/._b", DOUBLE)
    lock, _ = eva.lock(place, is_deep=False, is_shared=False, owner="", seconds=60)
    held = Conditions(tokens=frozenset({lock.token}))
    world.space("Trångt", "Kund AB", quota_bytes=10)
    world.grant("eva", "Trångt", Role.EDITOR)
    eva = world.drive("eva")
    for goal, refusal in (("/Rum/._b", TargetExists), ("/Trångt/._a", QuotaExceeded)):
        with pytest.raises(refusal):
            eva.move(place, parse(goal), overwrite=False, conditions=held)
    assert [found.token for found in eva.locks(place)] == [lock.token]
    eva.move(place, parse("/Rum/._b"), overwrite=True, conditions=held)
    store(world.drive("erik"), place, DOUBLE)
    assert eva.locks(place) == []


def test_noise_that_may_not_go_replaces_nothing(world: World) -> None:
    eva, erik, carl = world.drive("eva"), world.drive("erik"), world.drive("carl")
    source, goal = parse("/Rum/._a"), parse("/Rum/a")
    store(eva, "/Rum/a", b"document")
    store(eva, "/Rum/._a", DOUBLE)
    with pytest.raises(Forbidden):
        carl.move(source, parse("/Rum/b"), overwrite=False)
    lock, _ = erik.lock(source, is_deep=False, is_shared=False, owner="", seconds=60)
    with pytest.raises(Locked):
        eva.move(source, goal, overwrite=True)
    assert names(eva) == ["._a", "a", "Mapp"] and fetch(eva, "/Rum/a") == b"document"
    erik.move(source, goal, overwrite=True, conditions=Conditions(tokens=frozenset({lock.token})))
    assert names(eva) == ["a", "Mapp"] and fetch(eva, "/Rum/a") == DOUBLE


def test_noise_stands_until_something_takes_its_name(world: World) -> None:
    eva, erik, goal = world.drive("eva"), world.drive("erik"), parse("/Rum/._b")
    store(eva, "/Rum/a", b"document")
    store(eva, "/Rum/._b", DOUBLE)
    erik.lock(parse("/Rum/a"), is_deep=False, is_shared=False, owner="", seconds=60)
    for act in (eva.move, eva.copy):
        with pytest.raises(NotFound):
            act(parse("/Rum/nothing"), goal, overwrite=True)
    with pytest.raises(Locked):
        eva.move(parse("/Rum/a"), goal, overwrite=True)
    with pytest.raises(Forbidden):
        world.drive("carl").copy(parse("/Rum/a"), goal, overwrite=True)
    assert fetch(eva, "/Rum/._b") == DOUBLE
    own, _ = eva.lock(goal, is_deep=False, is_shared=False, owner="", seconds=60)
    eva.copy(parse("/Rum/a"), goal, overwrite=True, conditions=Conditions(tokens=frozenset({own.token})))
    assert fetch(eva, "/Rum/._b") == b"document" and rows(world)["noise"] == 0


def test_only_the_case_of_noise_changes(world: World) -> None:
    eva = world.drive("eva")
    store(eva, "/Rum/._a", DOUBLE)
    eva.move(parse("/Rum/._a"), parse("/Rum/._A"), overwrite=False)
    assert names(eva) == ["._A", "Mapp"] and fetch(eva, "/Rum/._a") == DOUBLE


def test_what_a_client_demands_holds_for_noise_too(world: World) -> None:
    eva, place = world.drive("eva"), parse("/Rum/._a")
    other, absent = Conditions(if_match=('"other"',)), Conditions(if_none_match=("*",))
    with pytest.raises(PreconditionFailed):
        store(eva, place, DOUBLE, conditions=other)
    store(eva, place, DOUBLE, conditions=absent)
    for act in (
        lambda: store(eva, place, DOUBLE, conditions=absent),
        lambda: store(eva, place, DOUBLE, conditions=other),
        lambda: eva.delete(place, other),
        lambda: eva.move(place, parse("/Rum/._b"), overwrite=False, conditions=other),
    ):
        with pytest.raises(PreconditionFailed):
            act()
    assert fetch(eva, place) == DOUBLE


def test_a_lock_obeys_the_same_rule(world: World) -> None:
    eva, erik = world.drive("eva"), world.drive("erik")
    before = rows(world)
    lock, created = eva.lock(parse("/Rum/._a"), is_deep=False, is_shared=False, owner="", seconds=60)
    assert created and eva.locks(parse("/Rum/._a"))[0].token == lock.token
    with pytest.raises(Locked):
        store(erik, "/Rum/._a", DOUBLE)
    with pytest.raises(Locked):
        erik.delete(parse("/Rum/._a"))
    store(eva, "/Rum/._a", DOUBLE, conditions=Conditions(tokens=frozenset({lock.token})))
    eva.refresh_lock(parse("/Rum/._a"), [lock.token], 60)
    eva.unlock(parse("/Rum/._a"), lock.token)
    store(erik, "/Rum/._a", DS_STORE[:0])
    assert rows(world) == {**before, "noise": 1}


ACTS: dict[str, Callable[[Drive, str], object]] = {
    "write": lambda drive, path: store(drive, f"{path}new", DOUBLE),
    "write over": lambda drive, path: store(drive, path, DOUBLE),
    "delete": lambda drive, path: drive.delete(parse(path)),
    "lock": lambda drive, path: drive.lock(parse(f"{path}n"), is_deep=False, is_shared=False, owner="", seconds=60),
    "read": lambda drive, path: fetch(drive, path),
}
RIGHTS = [
    ("vera", "write", Forbidden), ("vera", "write over", Forbidden), ("vera", "delete", Forbidden),
    ("vera", "lock", Forbidden), ("vera", "read", None),
    ("carl", "write", None), ("carl", "write over", Forbidden), ("carl", "delete", Forbidden), ("carl", "lock", None),
    ("erik", "write over", None), ("erik", "delete", None),
    ("ulla", "read", NotFound), ("ulla", "delete", NotFound), ("ulla", "write", None), ("ulla", "write over", None),
]  # fmt: skip


def test_rights_hold_for_noise_and_a_refusal_is_no_event(world: World) -> None:
    drives = {login: world.drive(login) for login in ("eva", "vera", "carl", "erik", "ulla")}
    before = rows(world)
    for number, (login, act, outcome) in enumerate(RIGHTS):
        path = f"/Rum/._{number}"
        store(drives["eva"], path, DOUBLE)
        if outcome is None:
            ACTS[act](drives[login], path)
        else:
            with pytest.raises(outcome):
                ACTS[act](drives[login], path)
    world.installation.tick()
    assert {**rows(world), "noise": 0} == before


def test_a_quota_holds_for_noise(world: World) -> None:
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces["Rum"].id, len(DOUBLE) + 1)
    eva = world.drive("eva")
    store(eva, "/Rum/._a", DOUBLE, declared=None)
    with pytest.raises(QuotaExceeded):
        store(eva, "/Rum/._b", DOUBLE, declared=None)
    assert names(eva) == ["._a", "Mapp"]


def test_noise_of_which_a_part_lacks_is_not_kept(world: World) -> None:
    upload = world.drive("eva").put(parse("/Rum/._a"), declared=len(DOUBLE) + 1)
    upload.write(DOUBLE)
    with pytest.raises(UploadIncomplete):
        upload.commit()
    assert names(world.drive("eva")) == ["Mapp"]


def test_noise_is_written_where_there_is_some_or_it_may_be_made(world: World) -> None:
    eva, place = world.drive("eva"), parse("/Rum/._a")
    with pytest.raises(NotFound):
        eva.edit(place, create=False, truncate=False)
    upload = eva.edit(place, create=True, truncate=True)
    upload.write(0, b"no noise")
    upload.keep()
    with pytest.raises(TargetExists):
        eva.edit(place, create=True, truncate=True, conditions=Conditions(if_none_match=("*",)))
    assert [item.name for item in eva.drafts(parse("/Rum"))] == ["._a"]


def test_a_time_is_not_set_on_noise_that_goes_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    eva, place = world.drive("eva"), parse("/Rum/._a")
    store(eva, place, DOUBLE)
    database = world.installation.database
    apply = database.apply

    def late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(database, "apply", apply)
        world.drive("erik").delete(place)
        return apply(*arguments, **options)

    monkeypatch.setattr(database, "apply", late)
    with pytest.raises(PreconditionFailed):
        eva.change_properties(place, [], modified=1_500_000_000_000_000)


def test_the_operator_reads_no_noise_either(world: World) -> None:
    store(world.drive("eva"), "/Rum/._a", DOUBLE)
    installation = world.installation
    operator = installation.drive(installation.operator([world.spaces["Rum"].id]))
    (space,) = (item.name for item in operator.listing(parse("/"))[1])
    with pytest.raises(Forbidden):
        operator.read(parse(f"/{space}/._a"))


def test_rivals_see_nothing_of_each_others_noise(world: World) -> None:
    for login in ("ulla", "umar"):
        store(world.drive(login), "/Rum/._bid", apple_double((9, login.encode())))
    for login in ("ulla", "umar"):
        assert fetch(world.drive(login), "/Rum/._bid") == apple_double((9, login.encode()))
        assert names(world.drive(login)) == ["._bid"]
    assert names(world.drive("eva")) == ["Mapp"]


def test_a_moved_folder_takes_its_noise_along(world: World) -> None:
    eva = world.drive("eva")
    store(eva, "/Rum/Mapp/._a", DOUBLE)
    eva.move(parse("/Rum/Mapp"), parse("/Rum/Pärm"), overwrite=False)
    assert fetch(eva, "/Rum/Pärm/._a") == DOUBLE
    eva.delete(parse("/Rum/Pärm"))
    with pytest.raises(NotFound):
        eva.stat(parse("/Rum/Pärm/._a"))
