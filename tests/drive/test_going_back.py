"""Earlier versions, the trash, and the way back from both."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path as FilePath

import pytest

from auth.roles import Role, Via
from config.clock import now_us
from providers.drive import Drive
from providers.errors import (
    CommentTooLong,
    Forbidden,
    IsAFolder,
    Locked,
    NotAFolder,
    NotFound,
    PreconditionFailed,
    QuotaExceeded,
    ReadOnlyPast,
    RivalsWouldMeet,
)
from providers.model import Came, Conditions
from providers.paths import Path, parse
from tests.worlds import World, fetch, managed_room, moment, store

POSTGRESQL_IN_PROOF = True

ROOM = "/Kund AB – Rum"
DOCUMENT = parse(f"{ROOM}/Mapp/a.txt")


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = managed_room(data_folder, engine, ("/Mapp/Inre", "/Annan"))
    yield made
    made.installation.close()


def numbers(drive: Drive, path: Path) -> list[int]:
    return [version.number for version in drive.versions(path)]


def test_the_same_bytes_cut_in_another_way_are_no_version_again(world: World) -> None:
    mia, content = world.drive("mia"), random.Random(5).randbytes(300_000)
    store(mia, DOCUMENT, content)
    store(mia, DOCUMENT, b"two")
    aside = DOCUMENT.parent.joined("aside")
    edit = mia.edit(aside, create=True, truncate=True)
    edit.write(0, content)
    edit.commit()
    mia.move(aside, DOCUMENT, overwrite=True)
    mia.restore(DOCUMENT, 1)
    assert numbers(mia, DOCUMENT) == [1, 2, 3]


def test_a_version_tells_where_it_comes_from_and_under_which_name(world: World) -> None:
    mia = world.drive("mia")
    store(mia, DOCUMENT, b"one")
    mia.move(DOCUMENT, DOCUMENT.parent.joined("Å b.txt"), overwrite=False)
    renamed = DOCUMENT.parent.joined("Å b.txt")
    store(world.drive("max", Via.SFTP), renamed, b"two")
    mia.restore(renamed, 1)
    found = mia.versions(renamed)
    assert [(each.number, each.size, each.via) for each in found] == [
        (1, 3, "webdav"),
        (2, 3, "sftp"),
        (3, 3, "webdav"),
    ]
    assert [each.name for each in found] == ["a.txt", "Å b.txt", "Å b.txt"]
    assert [each.by for each in found] == ["Mia Lund", "Max Lund", "Mia Lund"]
    assert [(each.came, each.origin) for each in found][2] == (Came.RESTORED, 1)
    assert [each.comment for each in found] == ["", "", "version 1 again"]
    assert fetch(mia, renamed) == b"one"
    assert [finding.what for finding in world.installation.verify()] == []


def test_restoring_what_it_holds_already_changes_nothing(world: World) -> None:
    mia = world.drive("mia")
    store(mia, DOCUMENT, b"one")
    store(mia, DOCUMENT, b"two")
    mia.restore(DOCUMENT, 1)
    before = world.kinds("Rum")
    assert mia.restore(DOCUMENT, 1).version == 3
    assert mia.restore(DOCUMENT, 3).version == 3
    assert (numbers(mia, DOCUMENT), world.kinds("Rum")) == ([1, 2, 3], before)


def test_restoring_copies_no_bytes(world: World) -> None:
    mia, content = world.drive("mia"), bytes(range(256)) * 4000
    store(mia, DOCUMENT, content)
    store(mia, DOCUMENT, b"short")
    used = mia.quota(DOCUMENT)
    mia.restore(DOCUMENT, 1)
    after = mia.quota(DOCUMENT)
    assert used is not None and after is not None
    assert fetch(mia, DOCUMENT) == content
    assert after.used - used.used < 1000


def test_what_stands_in_the_way_of_restoring(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    store(mia, DOCUMENT, b"one")
    store(mia, DOCUMENT, b"two")
    for number in (0, 3, 10**20, -1):
        with pytest.raises(NotFound):
            mia.restore(DOCUMENT, number)
    max_.lock(DOCUMENT, is_deep=False, is_shared=False, owner="", seconds=60)
    with pytest.raises(Locked):
        mia.restore(DOCUMENT, 1)
    with pytest.raises(ReadOnlyPast):
        mia.restore(parse("/.history/" + _today(world) + str(DOCUMENT)), 1)
    info = world.spaces["Rum"]
    world.installation.spaces.set_quota(world.installation.operator(), info.id, 1)
    max_.unlock(DOCUMENT, max_.locks(DOCUMENT)[0].token)
    with pytest.raises(QuotaExceeded):
        mia.restore(DOCUMENT, 1)
    assert numbers(mia, DOCUMENT) == [1, 2]


def _today(world: World) -> str:
    return datetime.now(world.installation.storage.zone).date().isoformat()


def test_whoever_may_write_but_not_look_back_restores_nothing(world: World) -> None:
    world.grant("kim", "Rum", Role.EDITOR)
    store(world.drive("mia"), DOCUMENT, b"one")
    store(world.drive("mia"), DOCUMENT, b"two")
    with pytest.raises(Forbidden):
        world.drive("kim").restore(parse("/Rum/Mapp/a.txt"), 1)


def test_a_name_from_a_folder_that_one_may_not_see_is_not_told(world: World) -> None:
    mia = world.drive("mia")
    secret = parse(f"{ROOM}/Annan/Hemligt.txt")
    store(mia, secret, b"one")
    mia.move(secret, DOCUMENT, overwrite=False)
    store(mia, DOCUMENT, b"two")
    world.grant("kim", "Rum", Role.VIEWER, "/Mapp", history=True)
    assert [each.name for each in world.drive("kim").versions(parse("/Rum/Mapp/a.txt"))] == ["a.txt", "a.txt"]
    assert [each.name for each in mia.versions(DOCUMENT)] == ["Hemligt.txt", "a.txt"]


def test_what_is_said_of_a_version(world: World) -> None:
    mia = world.drive("mia")
    store(mia, DOCUMENT, b"one")
    mia.comment(DOCUMENT, 1, "som den skickades")
    assert [each.comment for each in mia.versions(DOCUMENT)] == ["som den skickades"]
    mia.comment(DOCUMENT, 1, "")
    assert [each.comment for each in mia.versions(DOCUMENT)] == [""]
    with pytest.raises(CommentTooLong):
        mia.comment(DOCUMENT, 1, "å" * 1001)
    with pytest.raises(NotFound):
        mia.comment(DOCUMENT, 2, "what is not")
    assert [finding.what for finding in world.installation.verify()] == []


def test_what_a_client_demands_of_the_past_holds_where_that_comes_back(world: World) -> None:
    mia = world.drive("mia")
    store(mia, DOCUMENT, b"one")
    then = moment(now_us())
    mia.delete(DOCUMENT)
    past = parse(f"{ROOM}/.history/{then}/Mapp/a.txt")
    with pytest.raises(PreconditionFailed):
        mia.copy(past, DOCUMENT, overwrite=False, conditions=Conditions(if_match=('"other"',)))
    mia.copy(past, DOCUMENT, overwrite=False, conditions=Conditions(if_match=(mia.stat(past).etag,)))
    assert fetch(mia, DOCUMENT) == b"one"


def test_the_operator_restores_and_reads_nothing(world: World) -> None:
    mia = world.drive("mia")
    store(mia, DOCUMENT, b"one")
    store(mia, DOCUMENT, b"two")
    installation, space = world.installation, world.spaces["Rum"].id
    operator = installation.drive(installation.operator([space]))
    path = parse(f"{ROOM}/Mapp/a.txt")
    operator.restore(path, 1)
    assert fetch(mia, DOCUMENT) == b"one"
    for act in (lambda: operator.read(path), lambda: operator.read_version(path, 1), lambda: operator.delete(path)):
        with pytest.raises(Forbidden):
            act()
    with pytest.raises(NotFound):
        installation.drive(installation.operator()).stat(path)
    told = [kind for kind in world.kinds("Rum") if kind != "read"]
    assert told[-4:] == ["restore", "refused", "refused", "refused"]
    with pytest.raises(Forbidden):
        mia.grant(DOCUMENT, world.people["kim"].id, 1, Role.OPERATOR, history=True)


def test_properties_and_times_are_shown_as_they_were(world: World) -> None:
    mia, set_to = world.drive("mia"), 1_500_000_000_000_000
    store(mia, DOCUMENT, b"one", modified=set_to)
    mia.change_properties(DOCUMENT, [("{urn:x}a", "then")])
    with world.installation.database.read() as connection:
        now = world.installation.database.now_us(connection)
    mia.change_properties(DOCUMENT, [("{urn:x}a", "now")], modified=set_to + 5)
    then = parse(f"/.history/{moment(now)}{DOCUMENT}")
    assert mia.properties(then) == {"{urn:x}a": "then"}
    assert mia.properties_below(then.parent) == {"a.txt": {"{urn:x}a": "then"}}
    assert (mia.stat(then).modified, mia.stat(DOCUMENT).modified) == (set_to, set_to + 5)


@pytest.mark.parametrize("what", ["a document", "the folder it is in"])
def test_a_copy_out_of_the_past_has_the_properties_of_then(world: World, what: str) -> None:
    """Whether or not it stands still: a copy was given the properties that the document has today."""
    mia = world.drive("mia")
    store(mia, DOCUMENT, b"one")
    mia.change_properties(DOCUMENT, [("{urn:x}a", "then"), ("{urn:x}b", "then")])
    with world.installation.database.read() as connection:
        now = world.installation.database.now_us(connection)
    mia.change_properties(DOCUMENT, [("{urn:x}a", "now"), ("{urn:x}b", None), ("{urn:x}c", "now")])
    source = parse(f"/.history/{moment(now)}{DOCUMENT}")
    goal = DOCUMENT.parent.joined("Back")
    if what == "a document":
        mia.copy(source, goal, overwrite=False)
    else:
        goal = parse("/Kund AB – Rum/Back")
        mia.copy(source.parent, goal, overwrite=False)
        goal = goal.joined(DOCUMENT.name)
    assert mia.properties(goal) == {"{urn:x}a": "then", "{urn:x}b": "then"}


# --- each check by itself


def test_a_folder_has_no_versions_and_a_document_no_differences(world: World) -> None:
    mia, folder = world.drive("mia"), DOCUMENT.parent
    store(mia, DOCUMENT, b"one")
    for act in (lambda: mia.restore(folder, 1), lambda: mia.comment(folder, 1, "x"), lambda: mia.split(folder, 2)):
        with pytest.raises(IsAFolder):
            act()
    for act in (lambda: mia.compare(DOCUMENT, 1), lambda: mia.put_back(DOCUMENT, 1), lambda: mia.trash(DOCUMENT)):
        with pytest.raises(NotAFolder):
            act()


def test_whoever_may_not_look_back_does_nothing_of_it(world: World) -> None:
    mia = world.drive("mia")
    for content in (b"one", b"two"):
        store(mia, DOCUMENT, content)
    gone = store(mia, DOCUMENT.parent.joined("b"), b"b").id
    mia.delete(DOCUMENT.parent.joined("b"))
    world.grant("kim", "Rum", Role.MANAGER)
    kim, path = world.drive("kim"), parse("/Rum/Mapp/a.txt")
    acts: list[Callable[[], object]] = [
        lambda: kim.restore(path, 1), lambda: kim.comment(path, 1, "x"), lambda: kim.split(path, 2),
        lambda: kim.compare(path.parent, 1), lambda: kim.put_back(path.parent, 1), lambda: kim.trash(path.parent),
        lambda: kim.undelete(path.parent, gone), lambda: kim.versions(path),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(Forbidden):
            act()


def test_restoring_heeds_conditions_and_locks(world: World) -> None:
    mia, max_ = world.drive("mia"), world.drive("max")
    for content in (b"one", b"two"):
        store(mia, DOCUMENT, content)
    with pytest.raises(PreconditionFailed):
        mia.restore(DOCUMENT, 1, conditions=Conditions(if_match=('"other"',)))
    mia.delete(DOCUMENT)
    store(mia, DOCUMENT, b"three")
    max_.lock(DOCUMENT, is_deep=False, is_shared=False, owner="", seconds=60)
    with pytest.raises(Locked):
        mia.split(DOCUMENT, 3)


def test_a_split_needs_room(world: World) -> None:
    mia = world.drive("mia")
    store(mia, DOCUMENT, b"one")
    mia.delete(DOCUMENT)
    store(mia, DOCUMENT, b"two")
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces["Rum"].id, 1)
    with pytest.raises(QuotaExceeded):
        mia.split(DOCUMENT, 2)
    assert len(mia.versions(DOCUMENT)) == 2


def test_what_comes_back_brings_no_rivals_together(world: World) -> None:
    mia, max_, world_of = world.drive("mia"), world.drive("max"), world.installation
    world.person("rut", "Rival AB")
    inner = DOCUMENT.parent.joined("Inre")
    with world_of.database.read() as connection:
        then = world_of.database.now_us(connection)
    world.grant("rut", "Rum", Role.EDITOR, "/Mapp/Inre")
    node = mia.stat(inner).id
    mia.move(inner, parse(f"{ROOM}/Inre"), overwrite=False)
    world.grant("kim", "Rum", Role.VIEWER, "/Mapp")
    with pytest.raises(RivalsWouldMeet):
        mia.put_back(parse(ROOM), then)
    max_.delete(parse(f"{ROOM}/Inre"))
    with pytest.raises(RivalsWouldMeet):
        mia.undelete(parse(ROOM), node, to=inner)


def test_what_was_deleted_in_one_space_comes_back_in_no_other(world: World) -> None:
    mia = world.drive("mia")
    world.space("Annat", "Kund AB")
    world.grant("mia", "Annat", Role.MANAGER, history=True)
    mia, gone = world.drive("mia"), store(mia, DOCUMENT, b"one").id
    mia.delete(DOCUMENT)
    with pytest.raises(NotFound):
        mia.undelete(parse(ROOM), gone, to=parse("/Kund AB – Annat/a.txt"))
    with pytest.raises(NotFound):
        mia.undelete(parse("/Kund AB – Annat"), gone)
    world.grant("kim", "Rum", Role.EDITOR, "/Mapp", history=True)
    world.grant("kim", "Rum", Role.CONTRIBUTOR, "/Annan", history=True)
    with pytest.raises(Forbidden):
        world.drive("kim").undelete(parse("/Rum/Mapp"), gone, to=parse("/Rum/Annan/a.txt"))
