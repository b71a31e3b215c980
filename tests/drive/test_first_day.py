"""A first day's work on a drive, from an empty installation on."""

from __future__ import annotations

from pathlib import Path as FilePath

import pytest

from auth.roles import Role
from config.clock import iso_utc, now_us
from providers.drive import properties
from providers.errors import Forbidden, Locked, NotFound, ParentMissing, PreconditionFailed, TargetExists
from providers.model import Conditions
from providers.paths import parse
from tests.worlds import World, fetch, moment, store


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]):
    made = World.create(data_folder, **engine)
    made.person("anna", "Byrån AB")
    made.person("eva", "Brf Utsikten")
    made.person("rival", "Rival AB")
    made.space("Stämma", "Brf Utsikten", ("/Protokoll/2026", "/Avtal"))
    made.grant("anna", "Stämma", Role.MANAGER, history=True)
    made.grant("eva", "Stämma", Role.EDITOR, history=True)
    yield made
    made.installation.close()


def names(drive, path):
    return [item.name for item in drive.listing(parse(path))[1]]


def test_each_sees_its_own_root(world):
    assert names(world.drive("anna"), "/") == ["Brf Utsikten – Stämma"]
    assert names(world.drive("eva"), "/") == ["Stämma"]
    assert names(world.drive("rival"), "/") == []
    assert names(world.drive("eva"), "/Stämma") == ["Avtal", "Protokoll"]


def test_a_document_is_stored_read_and_kept_in_every_version(world):
    eva = world.drive("eva")
    first = store(eva, "/Stämma/Avtal/Avtal.txt", b"ett")
    second = store(eva, "/stämma/AVTAL/avtal.txt", "två och mer".encode())
    assert (first.version, second.version, second.id) == (1, 2, first.id)
    assert first.etag != second.etag
    assert fetch(eva, "/Stämma/Avtal/Avtal.txt") == "två och mer".encode()
    assert [version.size for version in eva.versions(parse("/Stämma/Avtal/Avtal.txt"))] == [3, 12]
    with eva.read_version(parse("/Stämma/Avtal/Avtal.txt"), 1) as reader:
        assert reader.read(0, 10) == b"ett"
    assert store(eva, "/Stämma/Avtal/Avtal.txt", "två och mer".encode()).version == 2
    assert eva.stat(parse("/Stämma/Avtal/Avtal.txt")).name == "Avtal.txt"


def test_a_stranger_finds_nothing_at_all(world):
    store(world.drive("eva"), "/Stämma/Hemligt.txt", b"x")
    rival = world.drive("rival")
    for path in ("/Stämma", "/Stämma/Hemligt.txt", "/Stämma/Finns inte.txt", "/Finns inte"):
        with pytest.raises(NotFound):
            rival.stat(parse(path))
    with pytest.raises(ParentMissing):
        rival.put(parse("/Stämma/Ny.txt"), declared=1)
    with pytest.raises(Forbidden):
        rival.put(parse("/Ny.txt"), declared=1)


def test_a_large_document_comes_back_as_it_went(world):
    eva, content = world.drive("eva"), bytes(range(256)) * 40_000
    store(eva, "/Stämma/Ritning.dwg", content)
    assert fetch(eva, "/Stämma/Ritning.dwg") == content
    with eva.read(parse("/Stämma/Ritning.dwg")) as reader:
        assert reader.read(5_000_001, 1000) == content[5_000_001:5_001_001]
        assert b"".join(bytes(p) for p in reader.chunks(9_000_000, 9_100_000)) == content[9_000_000:9_100_000]


def test_a_document_is_changed_at_random_places_as_one_version(world):
    eva, content = world.drive("eva"), bytearray(range(256)) * 4000
    store(eva, "/Stämma/Databas.db", bytes(content))
    draft = eva.edit(parse("/Stämma/Databas.db"), create=False, truncate=False)
    for offset in (5, 700_000, 1_023_990):
        draft.write(offset, b"changed here")
        content[offset : offset + 12] = b"changed here"
    assert draft.read(699_990, 40) == bytes(content[699_990:700_030])
    assert fetch(eva, "/Stämma/Databas.db") != bytes(content)
    item, created = draft.commit()
    assert (item.version, created, item.size) == (2, False, len(content))
    assert fetch(eva, "/Stämma/Databas.db") == bytes(content)
    idle = eva.edit(parse("/Stämma/Databas.db"), create=False, truncate=False)
    assert idle.commit() is None
    assert eva.stat(parse("/Stämma/Databas.db")).version == 2
    gone = eva.edit(parse("/Stämma/Ny.db"), create=True, truncate=True)
    gone.write(0, b"never")
    gone.discard()
    assert "Ny.db" not in names(eva, "/Stämma")


def test_folders_move_and_copy_with_all_they_hold(world):
    eva = world.drive("eva")
    store(eva, "/Stämma/Avtal/a.txt", b"a")
    eva.make_folder(parse("/Stämma/Avtal/Bilagor"))
    store(eva, "/Stämma/Avtal/Bilagor/b.txt", b"b")
    item, created = eva.copy(parse("/Stämma/Avtal"), parse("/Stämma/Kopia"), overwrite=False)
    assert created and item.is_folder
    assert fetch(eva, "/Stämma/Kopia/Bilagor/b.txt") == b"b"
    before = eva.stat(parse("/Stämma/Avtal/Bilagor/b.txt")).id
    eva.move(parse("/Stämma/Avtal"), parse("/Stämma/Protokoll/Avtal 2026"), overwrite=False)
    assert eva.stat(parse("/Stämma/Protokoll/Avtal 2026/Bilagor/b.txt")).id == before
    assert eva.stat(parse("/Stämma/Kopia/Bilagor/b.txt")).id != before
    with pytest.raises(NotFound):
        eva.stat(parse("/Stämma/Avtal"))
    with pytest.raises(TargetExists):
        eva.move(parse("/Stämma/Kopia"), parse("/Stämma/Protokoll"), overwrite=False)
    eva.delete(parse("/Stämma/Kopia"))
    assert names(eva, "/Stämma") == ["Protokoll"]


def test_a_document_moved_over_another_is_its_next_version(world):
    eva = world.drive("eva")
    first = store(eva, "/Stämma/x.txt", b"1")
    store(eva, "/Stämma/y.txt", b"22")
    item, created = eva.move(parse("/Stämma/y.txt"), parse("/Stämma/x.txt"), overwrite=True)
    assert (item.id, item.version, created) == (first.id, 2, False)
    assert fetch(eva, "/Stämma/x.txt") == b"22"


def test_locks_hold_others_off_and_let_their_holder_in(world):
    eva, anna = world.drive("eva"), world.drive("anna")
    path, seen = parse("/Stämma/x.txt"), parse("/Brf Utsikten – Stämma/x.txt")
    store(eva, path, b"1")
    lock, created = eva.lock(path, is_deep=False, is_shared=False, owner="<o/>", seconds=600)
    assert lock.token.startswith("urn:uuid:") and not created
    with pytest.raises(Locked):
        store(anna, seen, b"2")
    with pytest.raises(Locked):
        store(eva, path, b"2")
    assert store(eva, path, b"2", conditions=Conditions(tokens=frozenset({lock.token}))).version == 2
    (told,) = anna.locks(seen)
    assert (told.token, told.owner, told.holder) == ("", "<o/>", "Eva Lund")
    eva.unlock(path, lock.token)
    assert store(anna, seen, b"3").version == 3


def test_conditions_are_checked_where_they_count(world):
    eva = world.drive("eva")
    item = store(eva, "/Stämma/x.txt", b"1")
    store(eva, "/Stämma/x.txt", b"2", conditions=Conditions(if_match=(item.etag,)))
    with pytest.raises(PreconditionFailed):
        store(eva, "/Stämma/x.txt", b"3", conditions=Conditions(if_match=(item.etag,)))
    with pytest.raises(PreconditionFailed):
        store(eva, "/Stämma/x.txt", b"3", conditions=Conditions(if_none_match=("*",)))
    with pytest.raises(PreconditionFailed):
        store(eva, "/Stämma/ny.txt", b"3", conditions=Conditions(if_match=("*",)))


def test_the_past_can_be_walked(world):
    eva = world.drive("eva")
    store(eva, "/Stämma/x.txt", b"then")
    moment = eva.stat(parse("/Stämma/x.txt")).modified
    store(eva, "/Stämma/x.txt", b"now")
    eva.delete(parse("/Stämma/x.txt"))
    name = iso_utc(moment).replace(":", "")
    assert fetch(eva, f"/Stämma/.history/{name}/x.txt") == b"then"
    assert fetch(eva, f"/.history/{name}/Stämma/x.txt") == b"then"
    with pytest.raises(Forbidden):
        store(eva, f"/Stämma/.history/{name}/x.txt", b"never")
    (day,) = names(eva, "/Stämma/.history")
    assert day == iso_utc(moment)[:10]
    assert names(eva, "/.history") == [day]


def test_properties_stand_with_the_document(world):
    eva = world.drive("eva")
    path = parse("/Stämma/x.txt")
    store(eva, path, b"1")
    eva.change_properties(path, [("{urn:x}a", "<a>1</a>"), ("{urn:x}b", "2")], modified=1_500_000_000_000_000)
    assert eva.properties(path) == {"{urn:x}a": "<a>1</a>", "{urn:x}b": "2"}
    assert eva.stat(path).modified == 1_500_000_000_000_000
    eva.change_properties(path, [("{urn:x}a", None)])
    eva.move(path, parse("/Stämma/y.txt"), overwrite=False)
    assert eva.properties(parse("/Stämma/y.txt")) == {"{urn:x}b": "2"}
    assert eva.properties_below(parse("/Stämma")) == {"y.txt": {"{urn:x}b": "2"}}
    assert store(eva, "/Stämma/y.txt", b"new").modified > 1_600_000_000_000_000


def test_a_listing_took_as_much_memory_as_anybody_liked(world, monkeypatch):
    """Whoever may write may say some 200 KB of each of any number of documents: a listing has 16 MiB of that."""
    eva, folder = world.drive("eva"), parse("/Stämma")
    paths = [parse(f"/Stämma/{name}.txt") for name in "abcd"]
    for path in paths:
        store(eva, path, b"1")
    for path in paths[:3]:
        eva.change_properties(path, [("{urn:x}a", "x" * 1000)])
    then = parse(f"/Stämma/.history/{moment(now_us())}")
    monkeypatch.setattr(properties, "BELOW_BYTES_MAX", 2500)
    for batch in (1, 2, 100):
        monkeypatch.setattr(properties, "_BATCH_BELOW", batch)
        for place in (folder, then):
            below = eva.properties_below(place)
            assert {name for name, told in below.items() if told is None} == {"c.txt"}
            assert [len(below[name]["{urn:x}a"]) for name in ("a.txt", "b.txt")] == [1000, 1000]
    assert len(eva.properties(paths[2])["{urn:x}a"]) == 1000


def test_everything_that_was_done_verifies(world):
    eva = world.drive("eva")
    store(eva, "/Stämma/x.txt", b"1")
    store(eva, "/Stämma/x.txt", b"22")
    fetch(eva, "/Stämma/x.txt")
    world.installation.tick()  # reads are numbered a moment later
    eva.move(parse("/Stämma/x.txt"), parse("/Stämma/Avtal/x.txt"), overwrite=False)
    eva.delete(parse("/Stämma/Protokoll"))
    assert [str(finding) for finding in world.installation.verify()] == []
    assert world.kinds("Stämma")[-5:] == ["add", "write", "read", "move", "delete"]
