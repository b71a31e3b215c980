"""Identity follows the name: whatever dance a program does to save, the document keeps its id and its history."""

from __future__ import annotations

from pathlib import Path as FilePath

import pytest

from auth.roles import GranteeKind, Role, Via
from providers.catalogue.change import Lineage
from providers.catalogue.lineage import Past, links_to
from providers.errors import Locked, NotFound
from providers.model import Conditions
from providers.paths import parse
from tests.worlds import World, fetch, store

POSTGRESQL_IN_PROOF = True

X, T, BACKUP = "/Rum/Avtal.txt", "/Rum/tmp1", "/Rum/gammal"


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]):
    made = World.create(data_folder, **engine)
    made.person("eva", "Brf")
    made.person("ola", "Brf")
    made.space("Rum", "Brf", ("/Inre",))
    made.space("Annat", "Brf")
    for login in ("eva", "ola"):
        made.grant(login, "Rum", Role.MANAGER, history=True)
        made.grant(login, "Annat", Role.MANAGER, history=True)
    yield made
    made.installation.close()


@pytest.fixture
def eva(world):
    return world.drive("eva")


def move(drive, source, goal, *, overwrite=False):
    return drive.move(parse(source), parse(goal), overwrite=overwrite)


def delete(drive, path):
    drive.delete(parse(path))


def stat(drive, path):
    return drive.stat(parse(path))


def history(world, item):
    """Return the contents' sizes that the history shows, oldest first."""
    with world.installation.database.read() as connection:
        return [(number, row.size) for number, row in Past(connection, item.id).all()][::-1]


def sound(world):
    """All that stands is what was acknowledged."""
    assert list(world.installation.verify()) == []


def is_old(world, eva, age, path=X, content=b"1"):
    """Store a document that is older than the window."""
    item = store(eva, path, content)
    age(60)
    return item


AWAY = {
    "delete": lambda drive, x: delete(drive, x),
    "rename": lambda drive, x: move(drive, x, x + "~"),
    "rename to another folder": lambda drive, x: move(drive, x, x.replace("/Rum/", "/Rum/Inre/")),
    "rename to another space": lambda drive, x: move(drive, x, x.replace("/Rum/", "/Annat/")),
}
BACK = {
    "create": lambda drive, x: store(drive, x, b"22"),
    "rename": lambda drive, x: (store(drive, x + ".t", b"22"), move(drive, x + ".t", x)),
    "rename from another folder": lambda drive, x: came_from(drive, x.replace("/Rum/", "/Rum/Inre/") + ".t", x),
    "rename from another space": lambda drive, x: came_from(drive, x.replace("/Rum/", "/Annat/") + ".t", x),
    "copy": lambda drive, x: (store(drive, x + ".t", b"22"), drive.copy(parse(x + ".t"), parse(x), overwrite=False)),
    "empty, then content": lambda drive, x: (store(drive, x, b""), store(drive, x, b"22")),
    "lock, then content": lambda drive, x: locked_then_filled(drive, x),
}


def came_from(drive, temporary, x):
    store(drive, temporary, b"22")
    move(drive, temporary, x)


def locked_then_filled(drive, x):
    lock, _ = drive.lock(parse(x), is_deep=False, is_shared=False, owner="", seconds=60)
    store(drive, x, b"22", conditions=Conditions(tokens=frozenset({lock.token})))
    drive.unlock(parse(x), lock.token)


@pytest.mark.parametrize("young", [True, False], ids=["young", "old"])
@pytest.mark.parametrize("away", AWAY)
def test_all_pairings_keep_the_document(world, eva, age, away, young):
    for number, back in enumerate(BACK):
        x = f"/Rum/Avtal {number}.txt"
        first = store(eva, x, b"1")
        eva.change_properties(parse(x), [("{urn:x}colour", "<a/>")])
        eva.grant(parse(x), world.people["ola"].id, GranteeKind.PERSON, Role.VIEWER, history=False)
        if not young:
            age(60)
        AWAY[away](eva, x)
        BACK[back](eva, x)
        now = stat(eva, x)
        assert (now.id, now.created) == (first.id, first.created), back
        assert history(world, now) == [(1, 1), (2, 2)], back
        assert fetch(eva, x) == b"22"
        assert eva.properties(parse(x)) == {"{urn:x}colour": "<a/>"}
        assert len(eva.grants(parse(x))) == 1
    sound(world)


def test_the_backup_that_stays_is_a_document_of_its_own_with_the_past_they_share(world, eva, age):
    first = is_old(world, eva, age)
    store(eva, X, b"22")
    age(60)
    move(eva, X, BACKUP)
    store(eva, X, b"333")
    kept = stat(eva, BACKUP)
    assert stat(eva, X).id == first.id
    assert kept.id != first.id
    assert fetch(eva, BACKUP) == b"22"
    assert history(world, kept) == [(1, 1), (2, 2)]
    store(eva, BACKUP, b"4444")
    assert history(world, kept) == [(1, 1), (2, 2), (3, 4)]
    assert history(world, first) == [(1, 1), (2, 2), (3, 3)]
    sound(world)


def test_the_backup_is_seen_by_nobody_who_did_not_see_the_document(world, eva, age):
    is_old(world, eva, age)
    eva.break_inheritance(parse(X))
    world.grant("eva", "Rum", Role.MANAGER, "/Avtal.txt", history=True)
    eva = world.drive("eva")
    move(eva, X, BACKUP)
    store(eva, X, b"333")
    assert stat(eva, BACKUP)
    with pytest.raises(NotFound):
        stat(world.drive("ola"), BACKUP)
    with pytest.raises(NotFound):
        stat(world.drive("ola"), X)
    sound(world)


def test_a_genuine_rename_keeps_its_identity(world, eva, age):
    first = is_old(world, eva, age)
    move(eva, X, "/Rum/B.txt")
    assert stat(eva, "/Rum/B.txt").id == first.id
    age(60)
    other = store(eva, X, b"new")
    assert other.id != first.id
    assert stat(eva, "/Rum/B.txt").id == first.id
    sound(world)


def test_after_the_window_it_is_another_document(world, eva, age):
    first = is_old(world, eva, age)
    delete(eva, X)
    age(15.5)
    assert store(eva, X, b"22").id != first.id
    sound(world)


def test_the_window_counts_to_the_start_of_what_arrives(world, eva, age):
    first = is_old(world, eva, age)
    delete(eva, X)
    age(14)
    upload = eva.put(parse(X), declared=2)
    age(60)
    upload.write(b"22")
    assert upload.commit()[0].id == first.id
    sound(world)


def test_another_principal_takes_the_name_for_a_document_of_its_own(world, eva, age):
    first = is_old(world, eva, age)
    delete(eva, X)
    assert store(world.drive("ola"), X, b"22").id != first.id


def test_a_swap_loses_nobodys_identity(world, eva, age):
    a, c = store(eva, X, b"a"), store(eva, "/Rum/C.txt", b"cc")
    age(60)
    move(eva, X, "/Rum/b")
    move(eva, "/Rum/C.txt", X)
    move(eva, "/Rum/b", "/Rum/C.txt")
    assert (stat(eva, X).id, stat(eva, "/Rum/C.txt").id) == (c.id, a.id)
    assert history(world, a) == [(1, 1)]
    sound(world)


def test_what_went_on_elsewhere_does_not_come_back(world, eva, age):
    first = is_old(world, eva, age)
    move(eva, X, "/Rum/B.txt")
    store(eva, "/Rum/B.txt", b"22")
    assert store(eva, X, b"333").id != first.id
    assert stat(eva, "/Rum/B.txt").id == first.id
    sound(world)


def test_a_backup_that_another_has_locked_stays_what_it_is(world, eva, age):
    first = is_old(world, eva, age)
    move(eva, X, BACKUP)
    world.drive("ola").lock(parse(BACKUP), is_deep=False, is_shared=False, owner="", seconds=60)
    assert store(eva, X, b"333").id != first.id
    assert stat(eva, BACKUP).id == first.id


def test_a_rename_over_a_standing_document_is_a_version_of_it(world, eva, age):
    first = is_old(world, eva, age)
    eva.change_properties(parse(X), [("{urn:x}colour", "<a/>")])
    store(eva, T, b"22", modified=1_500_000_000_000_000)
    eva.change_properties(parse(T), [("{urn:x}colour", "<b/>"), ("{urn:x}size", "<c/>")])
    move(eva, T, X, overwrite=True)
    now = stat(eva, X)
    assert (now.id, now.modified) == (first.id, 1_500_000_000_000_000)
    assert history(world, now) == [(1, 1), (2, 2)]
    assert eva.properties(parse(X)) == {"{urn:x}colour": "<a/>", "{urn:x}size": "<c/>"}
    sound(world)


def test_an_older_document_moved_over_another_is_remembered_by_it(world, eva, age):
    first, old = store(eva, X, b"1"), store(eva, T, b"22")
    age(60)
    move(eva, T, X, overwrite=True)
    assert stat(eva, X).id == first.id
    with world.installation.database.read() as connection:
        (link,) = links_to(connection, old.id, Lineage.REPLACED)
    assert (link.node, link.number, link.other_number, link.kind) == (first.id, 2, 1, 3)
    sound(world)


def test_the_same_bytes_moved_over_are_no_version(world, eva, age):
    first = is_old(world, eva, age)
    store(eva, T, b"1")
    move(eva, T, X, overwrite=True)
    delete(eva, X)
    store(eva, X, b"1")
    assert history(world, first) == [(1, 1)]
    assert stat(eva, X).id == first.id
    sound(world)


@pytest.mark.parametrize("content", [b"1", b""])
@pytest.mark.parametrize("away", [None, BACKUP])
def test_the_same_bytes_moved_over_left_the_time_of_before(world, eva, content, away):
    first = store(eva, X, content, modified=1_500_000_000_000_000)
    if away is not None:
        move(eva, X, away)
    moved = store(eva, T, content)
    move(eva, T, X, overwrite=True)
    assert (stat(eva, X).id, stat(eva, X).modified) == (first.id, moved.modified)


def test_an_empty_step_on_the_way_is_not_shown(world, eva, age):
    first = is_old(world, eva, age)
    store(eva, X, b"")
    assert fetch(eva, X) == b""
    store(eva, X, b"22")
    assert [size for _, size in history(world, first)] == [1, 2]
    store(eva, X, b"")
    age(60)
    store(eva, X, b"333")
    assert [size for _, size in history(world, first)] == [1, 2, 0, 3]
    sound(world)


def test_an_empty_document_made_long_ago_makes_way_for_nobody(world, eva, age):
    first = is_old(world, eva, age)
    delete(eva, X)
    empty = store(eva, X, b"")
    age(60)
    assert store(eva, X, b"22").id == empty.id != first.id


@pytest.mark.parametrize("saves", [5])
def test_many_saves_in_a_row_by_way_of_the_same_names(world, eva, saves):
    first = store(eva, X, b"0")
    for number in range(1, saves + 1):
        store(eva, T, b"x" * (number + 1))
        move(eva, X, BACKUP)
        move(eva, T, X)
        delete(eva, BACKUP)
    assert stat(eva, X).id == first.id
    assert [size for _, size in history(world, first)] == list(range(1, saves + 2))
    sound(world)


def test_a_backup_kept_by_each_save_has_versions_of_its_own(world, eva, age):
    first = is_old(world, eva, age)
    for number in range(2, 5):
        store(eva, T, b"x" * number)
        move(eva, X, BACKUP, overwrite=True)
        move(eva, T, X)
        age(60)
    assert stat(eva, X).id == first.id
    assert [size for _, size in history(world, first)] == [1, 2, 3, 4]
    assert [size for _, size in history(world, stat(eva, BACKUP))] == [1, 2, 3]
    sound(world)


def test_over_sftp_an_edit_continues_what_was_removed(world, age):
    eva = world.drive("eva", Via.SFTP)
    first = is_old(world, eva, age)
    delete(eva, X)
    edit = eva.edit(parse(X), create=True, truncate=True)
    edit.write(0, b"22")
    age(60)
    item, _ = edit.commit()
    assert item.id == first.id
    assert history(world, item) == [(1, 1), (2, 2)]
    sound(world)


def test_what_began_to_fill_an_empty_document_that_went_on_elsewhere_is_another(world, eva):
    store(eva, X, b"")
    move(eva, X, BACKUP)
    delete(eva, BACKUP)
    first, second = (world.drive("eva").edit(parse(name), create=True, truncate=True) for name in (X, BACKUP))
    for edit, content in ((first, b"first"), (second, b"second")):
        edit.write(0, content)
    made, _ = first.commit()
    other, created = second.commit()
    assert created and other.id != made.id
    assert (fetch(eva, X), fetch(eva, BACKUP)) == (b"first", b"second")
    sound(world)


def test_who_holds_the_lock_of_another_name_is_still_refused(world, eva, age):
    is_old(world, eva, age)
    delete(eva, X)
    world.drive("ola").lock(parse(X), is_deep=False, is_shared=False, owner="", seconds=60)
    with pytest.raises(Locked):
        store(eva, X, b"22")


def test_moved_over_its_own_backup_with_what_that_holds_already(world, eva):
    store(eva, X, b"one")
    move(eva, X, BACKUP)
    store(eva, X, b"two")
    before = stat(eva, BACKUP)
    store(eva, X, b"one")
    move(eva, X, BACKUP, overwrite=True)  # no version comes of it, and that it shares the past is told already
    assert stat(eva, BACKUP).id == before.id
    assert history(world, before) == [(1, 3)]
    sound(world)


def test_a_time_that_comes_with_a_move_is_shown_instead_of_the_one_it_had(world, eva, age):
    """Set twice by one change, a property had two rows of one key, and the move was an error of ours."""
    first = is_old(world, eva, age)
    store(eva, T, b"22", modified=1_500_000_000_000_000)
    eva.move(parse(T), parse(X), overwrite=True, modified=1_600_000_000_000_000)
    assert (stat(eva, X).id, stat(eva, X).modified) == (first.id, 1_600_000_000_000_000)
    sound(world)


def test_what_another_moved_on_stays_theirs(world, eva, age):
    first = is_old(world, eva, age)
    move(eva, X, BACKUP)
    move(world.drive("ola"), BACKUP, "/Rum/Inre/theirs")
    assert store(eva, X, b"22").id != first.id
    assert stat(eva, "/Rum/Inre/theirs").id == first.id
    sound(world)


def test_who_may_replace_no_longer_continues_nothing(world, eva, age):
    first = is_old(world, eva, age)
    delete(eva, X)
    operator, spaces, space = world.installation.operator(), world.installation.spaces, world.spaces["Rum"].id
    for _, grant in spaces.grants(space):
        if grant.grantee == world.people["eva"].id:
            spaces.revoke(operator, space, grant.id)
    world.grant("eva", "Rum", Role.CONTRIBUTOR, history=True)
    made = store(world.drive("eva"), X, b"22")
    assert (made.id != first.id, made.version) == (True, 1)
    sound(world)


def test_a_document_moved_to_the_name_of_a_mere_backup_stays_itself(world, eva):
    """A backup has nothing of its own to continue: a young document that takes its name is not one of its versions."""
    first = store(eva, X, b"1")
    move(eva, X, BACKUP)
    store(eva, X, b"22")
    delete(eva, BACKUP)
    move(eva, X, BACKUP)
    assert stat(eva, BACKUP).id == first.id
    assert history(world, first) == [(1, 1), (2, 2)]
    sound(world)


def test_the_backup_keeps_the_properties_and_the_time_that_the_document_had(world, eva, age):
    store(eva, X, b"1", modified=1_500_000_000_000_000)
    eva.change_properties(parse(X), [("{urn:x}colour", "<a/>")])
    age(60)
    move(eva, X, BACKUP)
    store(eva, X, b"22")
    assert eva.properties(parse(BACKUP)) == {"{urn:x}colour": "<a/>"}
    assert stat(eva, BACKUP).modified == 1_500_000_000_000_000
    sound(world)


def test_a_lock_on_the_empty_beginning_holds_the_document_that_comes_back(world, eva, age):
    first = is_old(world, eva, age)
    delete(eva, X)
    lock, _ = eva.lock(parse(X), is_deep=False, is_shared=False, owner="", seconds=60)
    store(eva, X, b"22", conditions=Conditions(tokens=frozenset({lock.token})))
    assert [held.node for held in world.installation.locks.all()] == [first.id]


def test_there_and_back_again_is_no_save(world, eva):
    first = store(eva, X, b"1")
    move(eva, X, BACKUP)
    move(eva, BACKUP, X)
    assert stat(eva, X).id == first.id
    assert [item.name for item in eva.listing(parse("/Rum"))[1]] == ["Avtal.txt", "Inre"]
    assert history(world, first) == [(1, 1)]
    sound(world)


def test_what_another_emptied_is_shown_though_it_is_filled_at_once(world, eva, age):
    first = is_old(world, eva, age)
    store(world.drive("ola"), X, b"")
    store(eva, X, b"22")
    assert [size for _, size in history(world, first)] == [1, 0, 2]
