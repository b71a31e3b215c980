"""What stands in the way of an act besides rights: locks, conditions, quota, a frozen space, a narrow credential."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest

from auth.roles import GranteeKind, Role, Via
from config.clock import SECOND_US, now_us
from config.errors import MellanrumError
from providers import locks
from providers.drive import Drive
from providers.drive.locking import SHARED_MAX
from providers.drive.session import Session
from providers.errors import (
    Forbidden,
    Frozen,
    Locked,
    NotFound,
    PreconditionFailed,
    PropertiesTooLong,
    QuotaExceeded,
    SameResource,
    TooManyAtOnce,
    TooManyLocks,
)
from providers.model import ARCHIVED, FROZEN, Conditions
from providers.paths import Path, parse
from tests.worlds import World, fetch, store

POSTGRESQL_IN_PROOF = True

FOLDER, DOCUMENT, OTHER = parse("/Rum/Mapp"), parse("/Rum/Mapp/a.txt"), parse("/Rum/Mapp/b.txt")
NEW = FOLDER.joined("ny")

Act = Callable[[Drive, Conditions], object]
#: Each way to change something, by what has to be unlocked for it: the document, the folder it stands in, or a target.
ON_DOCUMENT: dict[str, Act] = {
    "put": lambda d, c: store(d, DOCUMENT, b"new", conditions=c),
    "edit": lambda d, c: _edit(d, c),
    "delete": lambda d, c: d.delete(DOCUMENT, c),
    "delete the folder": lambda d, c: d.delete(FOLDER, c),
    "move": lambda d, c: d.move(DOCUMENT, NEW, overwrite=False, conditions=c),
    "move the folder": lambda d, c: d.move(FOLDER, parse("/Rum/Annan"), overwrite=False, conditions=c),
    "move onto": lambda d, c: d.move(OTHER, DOCUMENT, overwrite=True, conditions=c),
    "copy onto": lambda d, c: d.copy(OTHER, DOCUMENT, overwrite=True, conditions=c),
    "copy a folder onto": lambda d, c: d.copy(parse("/Rum/Tom"), DOCUMENT, overwrite=True, conditions=c),
    "set a property": lambda d, c: d.change_properties(DOCUMENT, [("{urn:x}a", "1")], conditions=c),
    "lock": lambda d, c: d.lock(DOCUMENT, is_deep=False, is_shared=False, owner="", seconds=60, conditions=c),
    "lock the folder deep": lambda d, c: d.lock(
        FOLDER, is_deep=True, is_shared=False, owner="", seconds=60, conditions=c
    ),
}
ON_DOCUMENT_READ: dict[str, Act] = {
    "copy": lambda d, c: d.copy(DOCUMENT, NEW, overwrite=False, conditions=c),
}
IN_FOLDER: dict[str, Act] = {
    "put": lambda d, c: store(d, NEW, b"new", conditions=c),
    "make a folder": lambda d, c: d.make_folder(NEW, c),
    "delete": lambda d, c: d.delete(DOCUMENT, c),
    "move away": lambda d, c: d.move(DOCUMENT, parse("/Rum/Tom/a.txt"), overwrite=False, conditions=c),
    "move in": lambda d, c: d.move(parse("/Rum/Tom"), NEW, overwrite=False, conditions=c),
    "copy in": lambda d, c: d.copy(parse("/Rum/Tom"), NEW, overwrite=False, conditions=c),
    "lock a new name": lambda d, c: d.lock(NEW, is_deep=False, is_shared=False, owner="", seconds=60, conditions=c),
}


def _edit(drive: Drive, conditions: Conditions) -> None:
    draft = drive.edit(DOCUMENT, create=False, truncate=False, conditions=conditions)
    draft.write(0, b"XY")
    draft.commit()


def outcome(act: Act, drive: Drive, conditions: Conditions) -> str:
    try:
        act(drive, conditions)
    except MellanrumError as error:
        return type(error).__name__
    return "ok"


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(data_folder, **engine)
    for login in ("eva", "olle"):
        made.person(login, "Kund AB")
    made.space("Rum", "Kund AB", ("/Mapp", "/Tom"))
    made.grant("eva", "Rum", Role.EDITOR)
    made.grant("olle", "Rum", Role.EDITOR)
    for path in (DOCUMENT, OTHER):
        store(made.drive("eva"), path, path.name.encode())
    yield made
    made.installation.close()


@pytest.mark.parametrize("name", ON_DOCUMENT)
def test_a_document_that_another_has_locked(world: World, name: str) -> None:
    lock, _ = world.drive("olle").lock(DOCUMENT, is_deep=False, is_shared=False, owner="", seconds=60)
    stolen = Conditions(tokens=frozenset({lock.token}))
    assert outcome(ON_DOCUMENT[name], world.drive("eva"), Conditions()) == "Locked"
    assert outcome(ON_DOCUMENT[name], world.drive("eva"), stolen) == "Locked", "a stolen token opened it"
    assert outcome(ON_DOCUMENT[name], world.drive("olle"), Conditions()) == "Locked", "without its token"
    if "lock" not in name:
        assert outcome(ON_DOCUMENT[name], world.drive("olle"), stolen) == "ok"


@pytest.mark.parametrize("name", IN_FOLDER)
@pytest.mark.parametrize("is_deep", [False, True])
def test_a_folder_that_another_has_locked(world: World, name: str, is_deep: bool) -> None:
    lock, _ = world.drive("olle").lock(FOLDER, is_deep=is_deep, is_shared=False, owner="", seconds=60)
    assert outcome(IN_FOLDER[name], world.drive("eva"), Conditions()) == "Locked"
    own = Conditions(tokens=frozenset({lock.token}))
    if name != "lock a new name" or not is_deep:
        assert outcome(IN_FOLDER[name], world.drive("olle"), own) == "ok"


def test_a_flat_lock_on_a_folder_leaves_its_documents_alone(world: World) -> None:
    world.drive("olle").lock(FOLDER, is_deep=False, is_shared=False, owner="", seconds=60)
    assert outcome(ON_DOCUMENT["put"], world.drive("eva"), Conditions()) == "ok"


def test_shared_locks_stand_together_and_against_exclusive_ones(world: World) -> None:
    eva, olle = world.drive("eva"), world.drive("olle")
    first, _ = eva.lock(DOCUMENT, is_deep=False, is_shared=True, owner="", seconds=60)
    olle.lock(DOCUMENT, is_deep=False, is_shared=True, owner="", seconds=60)
    assert outcome(ON_DOCUMENT["lock"], eva, Conditions()) == "Locked"
    assert outcome(ON_DOCUMENT["put"], eva, Conditions(tokens=frozenset({first.token}))) == "ok"
    assert outcome(ON_DOCUMENT["put"], eva, Conditions()) == "Locked"


def shared(drive: Drive, path: Path) -> str:
    return drive.lock(path, is_deep=True, is_shared=True, owner="", seconds=60)[0].token


def test_shared_locks_hold_one_name_only_up_to_a_number(world: World) -> None:
    eva, olle = world.drive("eva"), world.drive("olle")
    tokens = [shared(eva, FOLDER) for _ in range(SHARED_MAX)]
    for drive, path in ((eva, FOLDER), (olle, FOLDER), (olle, DOCUMENT), (olle, parse("/Rum"))):
        with pytest.raises(Locked):
            shared(drive, path)
    eva.unlock(FOLDER, tokens[0])
    shared(olle, DOCUMENT)
    shared(olle, OTHER)
    shared(olle, parse("/Rum"))
    assert len(eva.locks(DOCUMENT)) == SHARED_MAX + 1
    with pytest.raises(Locked):
        shared(olle, parse("/Rum"))


def test_one_person_takes_no_locks_without_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    eva, olle, storage = world.drive("eva"), world.drive("olle"), world.installation.storage
    storage.limits = replace(storage.limits, locks_per_person_max=3)
    tokens = [shared(eva, DOCUMENT) for _ in range(3)]
    for path in (DOCUMENT, OTHER, NEW):
        with pytest.raises(TooManyLocks):
            shared(eva, path)
    with pytest.raises(NotFound):
        eva.stat(NEW)
    shared(olle, DOCUMENT)
    eva.unlock(DOCUMENT, tokens[0])
    shared(eva, NEW)
    with pytest.raises(TooManyLocks):
        shared(eva, OTHER)
    monkeypatch.setattr(locks, "now_us", lambda: now_us() + 61 * SECOND_US)
    shared(eva, OTHER)  # what ran out counts no more


@pytest.mark.parametrize("name", ["put", "edit", "delete", "move", "set a property", "lock", "copy"])
def test_what_the_client_demands_of_it_must_hold(world: World, name: str) -> None:
    eva, act = world.drive("eva"), {**ON_DOCUMENT, **ON_DOCUMENT_READ}[name]
    etag = eva.stat(DOCUMENT).etag
    assert outcome(act, eva, Conditions(if_match=('"other"',))) == "PreconditionFailed"
    assert outcome(act, eva, Conditions(if_none_match=("*",))) == "TargetExists"
    assert outcome(act, eva, Conditions(if_match=(etag,))) == "ok"


def test_what_is_only_looked_at_has_conditions_too(world: World) -> None:
    eva = world.drive("eva")
    with pytest.raises(PreconditionFailed):
        eva.stat(DOCUMENT, conditions=Conditions(if_match=('"other"',)))
    found = eva.stat(DOCUMENT)
    assert eva.stat(DOCUMENT, conditions=Conditions(if_match=(found.etag,))) == found


@pytest.mark.parametrize("name", ["put", "make a folder", "lock a new name"])
def test_what_must_not_be_there_yet(world: World, name: str) -> None:
    eva = world.drive("eva")
    assert outcome(IN_FOLDER[name], eva, Conditions(if_match=("*",))) == "PreconditionFailed"
    assert outcome(IN_FOLDER[name], eva, Conditions(if_none_match=("*",))) == "ok"


def test_conditions_are_asked_again_when_the_upload_is_done(world: World) -> None:
    eva, olle = world.drive("eva"), world.drive("olle")
    upload = eva.put(DOCUMENT, declared=3, conditions=Conditions(if_match=(eva.stat(DOCUMENT).etag,)))
    upload.write(b"eva")
    store(olle, DOCUMENT, b"olle")
    assert outcome(lambda d, c: upload.commit(), eva, Conditions()) == "PreconditionFailed"
    assert fetch(eva, DOCUMENT) == b"olle"


def test_locks_and_rights_are_asked_again_when_the_upload_is_done(world: World) -> None:
    eva, olle = world.drive("eva"), world.drive("olle")
    upload = eva.put(DOCUMENT, declared=3)
    upload.write(b"eva")
    lock, _ = olle.lock(DOCUMENT, is_deep=False, is_shared=False, owner="", seconds=60)
    assert outcome(lambda d, c: upload.commit(), eva, Conditions()) == "Locked"
    olle.unlock(DOCUMENT, lock.token)
    late = eva.put(DOCUMENT, declared=3)
    late.write(b"eva")
    world.installation.directory.end_person(world.people["eva"].id)
    assert outcome(lambda d, c: late.commit(), eva, Conditions()) == "Revoked"
    assert fetch(olle, DOCUMENT) == b"a.txt"


def test_a_frozen_space_is_read_and_nothing_else(world: World) -> None:
    operator, space = world.installation.operator(), world.spaces["Rum"].id
    world.installation.spaces.set_state(operator, space, FROZEN)
    eva = world.drive("eva")
    assert fetch(eva, DOCUMENT) == b"a.txt"
    for act in (*ON_DOCUMENT.values(), *IN_FOLDER.values()):
        with pytest.raises((Frozen, Forbidden)):
            act(eva, Conditions())
    world.installation.spaces.set_state(operator, space, ARCHIVED)
    assert [item.name for item in world.drive("eva").listing(Path())[1]] == ["Archive"]
    assert fetch(world.drive("eva"), "/Archive/Rum/Mapp/a.txt") == b"a.txt"


def test_a_quota_holds_at_once_and_at_the_end(world: World) -> None:
    used = world.drive("eva").quota(parse("/Rum"))
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces["Rum"].id, 100_000)
    eva = world.drive("eva")
    with pytest.raises(QuotaExceeded):
        eva.put(NEW, declared=200_000)
    held = eva.put(NEW, declared=60_000)
    held.write(os.urandom(60_000))
    with pytest.raises(QuotaExceeded):
        world.drive("olle").put(FOLDER.joined("also"), declared=60_000)
    held.discard()
    world.drive("olle").put(FOLDER.joined("also"), declared=60_000).discard()
    upload, other = eva.put(NEW, declared=None), eva.put(FOLDER.joined("other"), declared=None)
    for each in (upload, other):
        each.write(os.urandom(60_000))
    other.commit()
    with pytest.raises(QuotaExceeded):
        upload.commit()
    assert used is None or used.used < 100_000
    with pytest.raises(NotFound):
        eva.stat(NEW)


def test_what_is_announced_and_never_sent_takes_no_room_from_others(world: World) -> None:
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces["Rum"].id, 100_000)
    eva, olle = world.drive("eva"), world.drive("olle")
    announced = eva.put(NEW, declared=80_000)
    announced.write(b"x")
    store(olle, FOLDER.joined("also"), os.urandom(50_000))
    with pytest.raises(QuotaExceeded):
        announced.write(os.urandom(79_999))
    announced.discard()
    store(olle, FOLDER.joined("more"), os.urandom(20_000))


def test_two_uploads_that_do_not_fit_together_find_out_as_they_come(world: World) -> None:
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces["Rum"].id, 100_000)
    first, second = (world.drive(each).put(FOLDER.joined(each), declared=70_000) for each in ("eva", "olle"))
    for _ in range(7):
        first.write(os.urandom(10_000))
    second.write(os.urandom(10_000))
    with pytest.raises(QuotaExceeded):
        for _ in range(6):
            second.write(os.urandom(10_000))
    second.discard()
    assert first.commit()[0].size == 70_000
    assert world.installation.storage.reservations.total(world.spaces["Rum"].id) == 0


def test_a_quota_holds_for_what_is_written_in_any_order(world: World) -> None:
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces["Rum"].id, 100_000)
    edit = world.drive("eva").edit(NEW, create=True, truncate=True)
    for refused in (lambda: edit.write(150_000, b"x"), lambda: edit.truncate(1 << 40)):
        with pytest.raises(QuotaExceeded):
            refused()
    edit.write(1_000, b"x")
    made = edit.commit()
    assert made is not None and made[0].size == 1_001


def test_properties_pile_up_only_so_far(world: World) -> None:
    eva, limit = world.drive("eva"), world.installation.settings.limits.properties_bytes_max
    half, other = "ö" * (limit // 4), FOLDER.joined("other")
    store(eva, other, b"x")
    eva.change_properties(DOCUMENT, [("{urn:x}a", half)])
    eva.change_properties(other, [("{urn:x}b", half[:-100])])
    acts = [
        lambda: eva.change_properties(DOCUMENT, [("{urn:x}b", half)]),
        lambda: eva.change_properties(DOCUMENT, [("n" * (limit // 2 + 200), "")]),
    ]
    for act in acts:
        with pytest.raises(PropertiesTooLong):
            act()
    assert set(eva.properties(DOCUMENT)) == {"{urn:x}a"}
    eva.copy(other, DOCUMENT, overwrite=True)
    assert set(eva.properties(DOCUMENT)) == {"{urn:x}b"}
    with pytest.raises(PropertiesTooLong):
        eva.change_properties(DOCUMENT, [("{urn:x}c", half), ("{urn:x}d", half)])
    eva.change_properties(DOCUMENT, [("{urn:x}b", None), ("{urn:x}d", half)])
    assert set(eva.properties(DOCUMENT)) == {"{urn:x}d"}


def test_more_properties_than_may_be_kept_can_be_made_fewer(world: World) -> None:
    eva, storage = world.drive("eva"), world.installation.storage
    eva.change_properties(DOCUMENT, [("{urn:x}a", "a" * 20_000), ("{urn:x}b", "b" * 20_000)])
    storage.limits = replace(storage.limits, properties_bytes_max=4096)
    eva.change_properties(DOCUMENT, [("{urn:x}a", "a" * 10_000)])
    with pytest.raises(PropertiesTooLong):
        eva.change_properties(DOCUMENT, [("{urn:x}a", "a" * 11_000)])


@pytest.mark.parametrize(
    ("options", "act", "error"),
    [
        ({"read_only": True}, lambda d: store(d, NEW, b"x"), Forbidden),
        ({"spaces": [b"\1" * 16]}, lambda d: d.stat(DOCUMENT), NotFound),
    ],
)
def test_what_one_credential_is_good_for(
    world: World, options: dict[str, Any], act: Callable[[Drive], object], error: type[Exception]
) -> None:
    _, password = world.installation.directory.add_device(world.people["eva"].id, "narrow", **options)
    signed_in = world.installation.authenticator.basic("eva", password, via=Via.WEBDAV, address="192.0.2.9")
    with pytest.raises(error):
        act(world.installation.drive(signed_in))


def test_a_quota_holds_for_copies_from_elsewhere(world: World) -> None:
    world.space("Litet", "Kund AB", quota_bytes=50_000)
    world.grant("eva", "Litet", Role.EDITOR)
    eva = world.drive("eva")
    store(eva, NEW, os.urandom(200_000))
    for act in (eva.copy, eva.move):
        with pytest.raises(QuotaExceeded):
            act(NEW, parse("/Litet/ny"), overwrite=False)
    assert eva.stat(NEW).size == 200_000


def test_a_quota_that_is_used_up_takes_no_copy_either(world: World) -> None:
    """A copy in the same space shares all it holds, and is a version to be kept."""
    eva = world.drive("eva")
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces["Rum"].id, 1)
    with pytest.raises(QuotaExceeded):
        eva.copy(DOCUMENT, NEW, overwrite=False)
    with pytest.raises(NotFound):
        eva.stat(NEW)


def test_a_copy_of_too_much_at_once_is_refused_before_anybody_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.space("Annat", "Kund AB")
    world.grant("eva", "Annat", Role.EDITOR)
    eva, storage = world.drive("eva"), world.installation.storage
    storage.limits = replace(storage.limits, copy_nodes_max=3)
    there, here, beside = parse("/Annat/Mapp"), parse("/Rum/Kopia"), parse("/Rum/Flyttad")
    eva.copy(FOLDER, there, overwrite=False)  # a folder and two documents
    eva.make_folder(FOLDER.joined("one more"))
    monkeypatch.setattr(storage.database, "write", None)
    monkeypatch.setattr(Session, "commit", None)
    for act, goal in ((eva.copy, here), (eva.copy, parse("/Annat/Kopia")), (eva.move, parse("/Annat/Kopia"))):
        with pytest.raises(TooManyAtOnce):
            act(FOLDER, goal, overwrite=False)
    monkeypatch.undo()
    eva.copy(FOLDER, here, overwrite=False, deep=False)
    eva.move(FOLDER, beside, overwrite=False)  # nothing but the folder itself is written
    assert [item.name for item in eva.listing(here)[1]] == []
    assert len(eva.listing(beside)[1]) == 3


def test_a_folder_goes_neither_into_itself_nor_onto_what_holds_it(world: World) -> None:
    eva = world.drive("eva")
    for goal in (FOLDER, FOLDER.joined("x"), parse("/Rum")):
        with pytest.raises((SameResource, Forbidden)):
            eva.move(FOLDER, goal, overwrite=True)
        with pytest.raises((SameResource, Forbidden)):
            eva.copy(FOLDER, goal, overwrite=True)


def test_the_lock_goes_with_what_it_was_on(world: World) -> None:
    eva, olle = world.drive("eva"), world.drive("olle")
    lock, _ = eva.lock(DOCUMENT, is_deep=False, is_shared=False, owner="", seconds=60)
    own = Conditions(tokens=frozenset({lock.token}))
    eva.move(DOCUMENT, NEW, overwrite=False, conditions=own)
    assert eva.locks(NEW) == []
    store(olle, NEW, b"olle's turn")
    store(olle, DOCUMENT, b"and here")


@pytest.mark.parametrize("way", ["the device is revoked", "the person leaves", "the grant is taken back"])
def test_whoever_loses_the_right_loses_the_lock(world: World, way: str) -> None:
    spaces, operator, directory = world.installation.spaces, world.installation.operator(), world.installation.directory
    world.drive("olle").lock(DOCUMENT, is_deep=False, is_shared=False, owner="", seconds=60)
    world.installation.tick()
    assert outcome(ON_DOCUMENT["put"], world.drive("eva"), Conditions()) == "Locked"
    if way == "the device is revoked":
        directory.revoke_device(world.devices["olle"])
    elif way == "the person leaves":
        directory.end_person(world.people["olle"].id)
    else:
        space = world.spaces["Rum"].id
        (own,) = [grant for _, grant in spaces.grants(space) if grant.grantee == world.people["olle"].id]
        spaces.revoke(operator, space, own.id)
    world.installation.tick()
    assert outcome(ON_DOCUMENT["put"], world.drive("eva"), Conditions()) == "ok"


def test_a_group_reaches_its_members_while_they_are_in_it(world: World) -> None:
    directory, operator = world.installation.directory, world.installation.operator()
    world.person("lisa", "Kund AB")
    group = directory.add_group("Styrelsen")
    world.installation.spaces.grant(
        operator, world.spaces["Rum"].id, parse("/"), group.id, GranteeKind.GROUP, Role.VIEWER, history=False
    )
    with pytest.raises(NotFound):
        fetch(world.drive("lisa"), DOCUMENT)
    directory.add_member(group.id, world.people["lisa"].id)
    drive = world.drive("lisa")
    assert fetch(drive, DOCUMENT) == b"a.txt"
    directory.remove_member(group.id, world.people["lisa"].id)
    with pytest.raises(NotFound):
        fetch(drive, DOCUMENT)
