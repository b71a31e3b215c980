"""Refusals at the edges: before the first byte, above spaces, in the past, and beyond one's own power."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest
from sqlalchemy import delete, func, select, update

from auth.roles import GranteeKind, Role
from config.clock import SECOND_US, iso_utc, now_us
from config.errors import StorageFull
from config.ids import new_id
from providers import tables
from providers.drive import Drive
from providers.errors import (
    Forbidden,
    IsAFolder,
    Locked,
    LockNotFound,
    NotAFolder,
    NotAtHand,
    NotFound,
    ParentMissing,
    PreconditionFailed,
    ReadOnlyPast,
    SameResource,
    TargetExists,
    UploadIncomplete,
)
from providers.model import ARCHIVED, ConditionList, Conditions, ConditionTerm
from providers.paths import parse
from providers.vault.local import LocalStore
from providers.vault.writer import ContentWriter
from tests.worlds import World, fetch, moment, store

POSTGRESQL_IN_PROOF = True

ROOT, SPACE, DOCUMENT, FOLDER = parse("/"), parse("/Rum"), parse("/Rum/Mapp/a.txt"), parse("/Rum/Mapp")


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(data_folder, **engine)
    made.person("mia", "Byrån AB")
    for login in ("eva", "olle", "vera"):
        made.person(login, "Kund AB")
    made.person("rival", "Rival AB")
    made.space("Rum", "Kund AB", ("/Mapp/Inre",))
    made.grant("mia", "Rum", Role.MANAGER, history=True)
    made.grant("eva", "Rum", Role.MANAGER)
    made.grant("olle", "Rum", Role.EDITOR)
    made.grant("vera", "Rum", Role.VIEWER)
    store(made.drive("eva"), DOCUMENT, b"text")
    yield made
    made.installation.close()


def locked(drive: Drive, **options: bool) -> str:
    flags = {"is_deep": False, "is_shared": False, **options}
    return drive.lock(DOCUMENT, owner="", seconds=60, **flags)[0].token


def test_an_upload_is_refused_before_its_first_byte(world: World) -> None:
    with pytest.raises(Forbidden):
        world.drive("vera").put(DOCUMENT, declared=1)
    with pytest.raises(PreconditionFailed):
        world.drive("eva").put(DOCUMENT, declared=1, conditions=Conditions(if_none_match=("*",)))
    locked(world.drive("olle"))
    with pytest.raises(Locked):
        world.drive("eva").put(DOCUMENT, declared=1)
    with pytest.raises(Locked):
        world.drive("eva").edit(DOCUMENT, create=False, truncate=False)
    with pytest.raises(IsAFolder):
        world.drive("eva").put(FOLDER, declared=1)


def test_a_chunk_that_was_condemned_meanwhile_is_taken_back(world: World) -> None:
    eva, content = world.drive("eva"), os.urandom(5_000_000)
    store(eva, FOLDER.joined("first"), content)
    upload = eva.put(FOLDER.joined("second"), declared=len(content))
    upload.write(content)
    with world.installation.database.write() as connection:
        connection.execute(update(tables.chunk).values(condemned_at=now_us()))
    upload.commit()
    with world.installation.database.read() as connection:
        condemned = select(func.count()).where(tables.chunk.c.condemned_at.is_not(None))
        assert connection.execute(condemned).scalar_one() <= 1  # at most the record of what was cut last, stored anew
    assert fetch(eva, FOLDER.joined("second")) == content


def test_a_chunk_that_is_gone_meanwhile_is_not_relied_on(world: World) -> None:
    eva, content = world.drive("eva"), os.urandom(5_000_000)
    store(eva, FOLDER.joined("first"), content)
    upload = eva.put(FOLDER.joined("second"), declared=len(content))
    upload.write(content)
    with world.installation.database.write() as connection:
        connection.execute(delete(tables.chunk))
    with pytest.raises(UploadIncomplete):
        upload.commit()
    store(eva, FOLDER.joined("second"), content)
    assert fetch(eva, FOLDER.joined("second")) == content


def test_an_upload_that_relies_on_what_is_gone_is_not_kept(world: World) -> None:
    eva, content = world.drive("eva"), os.urandom(5_000_000)
    store(eva, FOLDER.joined("first"), content, declared=None)
    edit = eva.edit(FOLDER.joined("second"), create=True, truncate=True)
    edit.write(0, content)
    with world.installation.database.write() as connection:
        connection.execute(delete(tables.chunk))
    with pytest.raises(UploadIncomplete):
        edit.keep()
    assert eva.drafts(FOLDER) == []


def test_an_upload_does_not_end_in_another_space_than_it_began_in(world: World) -> None:
    upload = world.drive("eva").put(FOLDER.joined("ny"), declared=4)
    upload.write(b"text")
    world.installation.spaces.set_state(world.installation.operator(), world.spaces["Rum"].id, ARCHIVED)
    world.space("Rum", "Rival AB", ("/Mapp",))
    world.grant("eva", "Rum", Role.EDITOR)
    with pytest.raises(PreconditionFailed):
        upload.commit()
    with pytest.raises(NotFound):
        world.drive("eva").stat(FOLDER.joined("ny"))


def test_to_see_a_document_is_not_to_read_it(world: World) -> None:
    """An uploader's role on a document lets it be seen on the way; it stands in no lane of theirs."""
    world.grant("rival", "Rum", Role.UPLOADER, "/Mapp/a.txt")
    rival = world.drive("rival")
    assert rival.stat(DOCUMENT).size == 4
    with pytest.raises(Forbidden):
        rival.read(DOCUMENT)
    with pytest.raises(Forbidden):
        rival.copy(DOCUMENT, FOLDER.joined("b.txt"), overwrite=False)


def test_no_draft_but_ones_own_is_forgotten(world: World) -> None:
    eva, olle, path = world.drive("eva"), world.drive("olle"), parse("/Rum/Mapp/halv")
    draft = eva.edit(path, create=True, truncate=False)
    draft.write(0, b"half")
    draft.keep()
    for drive, name in ((olle, path), (eva, path.parent.joined("annan"))):
        with pytest.raises(NotFound):
            drive.drop_draft(name)
    assert [item.name for item in eva.drafts(path.parent)] == ["halv"]
    eva.drop_draft(path)
    assert eva.drafts(path.parent) == []


def test_what_must_be_new_is_not_where_ones_own_interrupted_upload_is(world: World) -> None:
    eva, olle, path = world.drive("eva"), world.drive("olle"), parse("/Rum/Mapp/halv")
    draft = eva.edit(path, create=True, truncate=False)
    draft.write(0, b"half")
    draft.keep()
    new = Conditions(if_none_match=("*",))
    with pytest.raises(TargetExists):
        eva.edit(path, create=True, truncate=True, conditions=new)
    olle.edit(path, create=True, truncate=True, conditions=new).discard()
    assert [item.name for item in eva.drafts(path.parent)] == ["halv"]


def test_what_is_on_the_disk_is_not_at_hand(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    eva, content = world.drive("eva"), os.urandom(2_000_000)
    store(eva, FOLDER.joined("stor"), content)
    with eva.read(FOLDER.joined("stor")) as reader:
        first = bytes(reader.read_on(0))
        monkeypatch.setattr(LocalStore, "read_at_hand", lambda *_: False)
        with pytest.raises(NotAtHand):
            reader.at_hand(0)
        assert content.startswith(first)


def test_what_lost_a_part_becomes_no_version(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    eva = world.drive("eva")
    edit = eva.edit(DOCUMENT, create=False, truncate=True)
    edit.write(0, b"first")
    with monkeypatch.context() as patched:
        patched.setattr(ContentWriter, "write", _full)
        with pytest.raises(StorageFull):
            edit.write(5, b"second")
    edit.write(0, b"third")
    with pytest.raises(UploadIncomplete):
        edit.commit()
    edit.discard()
    assert fetch(eva, DOCUMENT) == b"text"


def _full(*_: object) -> None:
    raise StorageFull


def test_nothing_lies_below_a_document_nor_ever_did(world: World) -> None:
    mia = world.drive("mia")
    (space,) = (item.name for item in mia.listing(ROOT)[1])
    for folder in (f"/{space}", f"/{space}/.history/{moment(now_us())}"):
        assert mia.stat(parse(f"{folder}/Mapp/a.txt")).size == 4
        with pytest.raises(NotAFolder):
            mia.stat(parse(f"{folder}/Mapp/a.txt/x"))


def test_no_lock_is_found_on_what_holds_the_spaces(world: World) -> None:
    token = locked(world.drive("eva"))
    with pytest.raises(LockNotFound):
        world.drive("eva").unlock(ROOT, token)


def test_a_draft_of_nothing_is_not_found_unless_it_may_be_made(world: World) -> None:
    with pytest.raises(NotFound):
        world.drive("eva").edit(FOLDER.joined("ny"), create=False, truncate=False)


@pytest.mark.parametrize(
    "act",
    [
        lambda d: d.delete(SPACE),
        lambda d: d.move(SPACE, parse("/Rum 2"), overwrite=False),
        lambda d: d.move(SPACE, parse("/Rum/Mapp/Inre/Rum"), overwrite=False),
        lambda d: d.delete(ROOT),
        lambda d: d.copy(ROOT, FOLDER.joined("allt"), overwrite=False),
        lambda d: d.copy(DOCUMENT, parse("/a.txt"), overwrite=False),
        lambda d: d.make_folder(parse("/Nytt rum")),
        lambda d: d.make_folder(ROOT),
        lambda d: d.put(ROOT, declared=1),
        lambda d: d.lock(ROOT, is_deep=True, is_shared=False, owner="", seconds=60),
        lambda d: d.change_properties(ROOT, [("{urn:x}a", "1")]),
        lambda d: d.break_inheritance(ROOT),
    ],
)
def test_spaces_and_what_is_above_them_stay_as_they_are(world: World, act: Callable[[Drive], object]) -> None:
    with pytest.raises(Forbidden):
        act(world.drive("eva"))
    assert fetch(world.drive("eva"), DOCUMENT) == b"text"


def test_a_space_itself_can_be_locked_by_those_who_may_lock(world: World) -> None:
    options = {"is_deep": True, "is_shared": False, "owner": "", "seconds": 60}
    with pytest.raises(Forbidden):
        world.drive("vera").lock(SPACE, **options)  # type: ignore[arg-type]
    with pytest.raises(PreconditionFailed):
        world.drive("olle").lock(SPACE, conditions=Conditions(if_none_match=("*",)), **options)  # type: ignore[arg-type]
    world.drive("olle").lock(SPACE, **options)  # type: ignore[arg-type]
    with pytest.raises(Locked):
        store(world.drive("eva"), DOCUMENT, b"x")


def test_documents_hold_nothing_and_folders_are_not_read(world: World) -> None:
    eva = world.drive("eva")
    with pytest.raises(NotAFolder):
        eva.stat(DOCUMENT.joined("x"))
    with pytest.raises(NotAFolder):
        eva.put(DOCUMENT.joined("x"), declared=1)
    with pytest.raises(IsAFolder):
        eva.read(FOLDER)
    with pytest.raises(TargetExists):
        eva.make_folder(FOLDER)
    with pytest.raises(SameResource):
        eva.move(DOCUMENT, DOCUMENT, overwrite=True)
    with pytest.raises(NotFound):
        world.drive("mia").read_version(parse("/Kund AB – Rum/Mapp/a.txt"), 2)


def test_a_case_is_changed_and_nothing_else(world: World) -> None:
    eva = world.drive("eva")
    before = eva.stat(DOCUMENT)
    item, created = eva.move(DOCUMENT, parse("/Rum/Mapp/A.TXT"), overwrite=False)
    assert (item.id, created) == (before.id, True)
    assert [child.name for child in eva.listing(FOLDER)[1]] == ["A.TXT", "Inre"]


def test_a_lock_is_let_go_by_its_holder_or_by_who_may_break_it(world: World) -> None:
    token = locked(world.drive("olle"))
    for login, wrong in (("vera", token), ("olle", "urn:uuid:6a1c6c0a-1111-4222-8333-444444444444"), ("olle", "x")):
        with pytest.raises(LockNotFound):
            world.drive(login).unlock(DOCUMENT, wrong)
    with pytest.raises(LockNotFound):
        world.drive("olle").unlock(FOLDER.joined("Inre"), token)
    world.drive("eva").unlock(DOCUMENT, token)
    assert world.drive("olle").locks(DOCUMENT) == []
    with pytest.raises(LockNotFound):
        world.drive("olle").refresh_lock(DOCUMENT, [token], 60)


def test_a_lock_is_refreshed_by_its_holder_alone(world: World) -> None:
    token = locked(world.drive("olle"))
    with pytest.raises(LockNotFound):
        world.drive("eva").refresh_lock(DOCUMENT, [token], 600)
    lock = world.drive("olle").refresh_lock(DOCUMENT, [token], 600)
    assert (lock.token, lock.seconds) == (token, 600)


def term(value: str, *, negated: bool = False, is_token: bool = False) -> ConditionTerm:
    return ConditionTerm(negated, is_token, value)


def test_lists_of_an_if_header(world: World) -> None:
    olle = world.drive("olle")
    etag, token = olle.stat(DOCUMENT).etag, locked(olle)
    own, other = parse("/Rum/Mapp/a.txt"), FOLDER
    tokens = frozenset({token})
    holds = [
        [ConditionList(None, (term(etag),))],
        [ConditionList(None, (term(token, is_token=True), term(etag)))],
        [ConditionList(None, (term('"x"'),)), ConditionList(own, (term(token, is_token=True),))],
        [ConditionList(None, (term("DAV:no-lock", negated=True, is_token=True),))],
        [ConditionList(other, (term(token, negated=True, is_token=True),))],
    ]
    fails = [
        [ConditionList(None, (term('"x"'),))],
        [ConditionList(None, (term(etag, negated=True),))],
        [ConditionList(None, (term(etag), term("urn:uuid:6a1c6c0a-1111-4222-8333-444444444444", is_token=True)))],
        [ConditionList(other, (term(token, is_token=True),))],
        [ConditionList(FOLDER.joined("finns inte"), (term(etag),))],
    ]
    for lists in holds:
        conditions = Conditions(lists=tuple(lists), tokens=tokens)
        olle.change_properties(DOCUMENT, [("{urn:x}a", str(len(repr(lists))))], conditions=conditions)
    for lists in fails:
        with pytest.raises(PreconditionFailed):
            conditions = Conditions(lists=tuple(lists), tokens=tokens)
            olle.change_properties(DOCUMENT, [("{urn:x}a", "no")], conditions=conditions)


def test_unmodified_since_counts_in_seconds(world: World) -> None:
    eva = world.drive("eva")
    modified = eva.stat(DOCUMENT).modified
    with pytest.raises(PreconditionFailed):
        store(eva, DOCUMENT, b"x", conditions=Conditions(unmodified_since=modified - SECOND_US))
    store(eva, DOCUMENT, b"x", conditions=Conditions(unmodified_since=modified // SECOND_US * SECOND_US))


def test_the_past_is_for_those_who_were_given_it(world: World) -> None:
    now = iso_utc(now_us()).replace(":", "")
    seen = f"/Kund AB – Rum/.history/{now}/Mapp/a.txt"
    assert fetch(world.drive("mia"), seen) == b"text"
    for path in (f"/Rum/.history/{now}/Mapp/a.txt", "/Rum/.history", f"/.history/{now}/Rum"):
        with pytest.raises(NotFound):
            world.drive("eva").stat(parse(path))
    with pytest.raises(ReadOnlyPast):
        world.drive("eva").make_folder(parse("/Rum/.history"))


@pytest.mark.parametrize("name", ["2099-01-01", "2099-01-01T000000Z", "1999-01-01", "nonsense", "2026-02-30"])
def test_no_moment_before_the_first_or_after_now(world: World, name: str) -> None:
    with pytest.raises(NotFound):
        world.drive("mia").stat(parse(f"/Kund AB – Rum/.history/{name}"))
    with pytest.raises((NotFound, ParentMissing, ReadOnlyPast)):
        world.drive("mia").make_folder(parse(f"/Kund AB – Rum/.history/{name}/x"))


def test_a_customers_manager_lets_in_its_own_people_alone(world: World) -> None:
    eva, rival = world.drive("eva"), world.people["rival"].id
    with pytest.raises(Forbidden):
        eva.grant(FOLDER, rival, GranteeKind.PERSON, Role.UPLOADER, history=False)
    with pytest.raises(Forbidden):
        eva.grant(FOLDER, world.people["vera"].id, GranteeKind.PERSON, Role.VIEWER, history=True)
    eva.grant(FOLDER, world.people["vera"].id, GranteeKind.PERSON, Role.EDITOR, history=False)
    store(world.drive("vera"), DOCUMENT, b"by vera")
    with pytest.raises(NotFound):
        eva.revoke(FOLDER, new_id())


def test_a_space_is_found_by_its_id_too(world: World) -> None:
    identity = world.spaces["Rum"].id.hex()
    assert fetch(world.drive("eva"), f"/~{identity}/Mapp/a.txt") == b"text"
    for path in (f"/~{'0' * 32}", "/~x", f"/~{identity}0"):
        with pytest.raises(NotFound):
            world.drive("eva").stat(parse(path))
    with pytest.raises(NotFound):
        world.drive("rival").stat(parse(f"/~{identity}"))


@pytest.mark.parametrize("act", ["move", "copy"])
def test_nothing_over_something_leaves_nothing(world: World, act: str) -> None:
    """A document that never had content, moved or copied over one that has: its content is what was moved."""
    drive = world.drive("mia")
    store(drive, "/Kund AB – Rum/full.txt", b"something")
    store(drive, "/Kund AB – Rum/empty.txt", b"")
    getattr(drive, act)(parse("/Kund AB – Rum/empty.txt"), parse("/Kund AB – Rum/full.txt"), overwrite=True)
    assert fetch(drive, "/Kund AB – Rum/full.txt") == b""
    assert [version.size for version in drive.versions(parse("/Kund AB – Rum/full.txt"))] == [9, 0]
    assert list(world.installation.verify()) == []
