"""What an erasure takes, what it leaves, and that `verify` takes it for one only where the log tells of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from sqlalchemy import select, update

from providers import tables
from providers.errors import NotFound, NotJoined, VersionErased
from providers.holding.errors import HistoryDamaged
from providers.paths import parse
from tests.hold.worlds import (
    OURS,
    SPACE,
    THEIRS,
    Shared,
    administrator,
    erased,
    findings,
    make,
    packed,
    record_of,
    versions,
)
from tests.worlds import World, fetch, store

SWEPT_SECONDS_MAX = 20
DOCUMENT = f"{OURS}/Avtal/Köp.txt"
SECRETS = (b"ett hemligt avtal", b"ett annat avtal", b"ett tredje avtal")


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = make(data_folder, **engine)
    yield made
    made.installation.close()


def swept(world: World) -> Any:
    """Sweep until nothing waits; return what was done in the space."""
    done = world.installation.erasures.sweep(now=True, wait_seconds=SWEPT_SECONDS_MAX)
    return done.get(world.spaces[SPACE].id)


def read_version(world: World, number: int, path: str = DOCUMENT) -> bytes:
    with world.drive("mia").read_version(parse(path), number) as reader:
        return b"".join(bytes(piece) for piece in reader.chunks())


def test_a_version_goes_and_its_neighbours_stay(world: World) -> None:
    mia = world.drive("mia")
    node = versions(mia, DOCUMENT, *SECRETS)
    records = [record_of(world, node, number) for number in (1, 2, 3)]
    assert findings(world) == []
    erased(world, node, 2)
    assert findings(world) == []
    with pytest.raises(VersionErased):
        read_version(world, 2)
    assert (read_version(world, 1), fetch(mia, DOCUMENT)) == (SECRETS[0], SECRETS[2])
    shown = mia.versions(parse(DOCUMENT))
    assert [(each.number, each.erased) for each in shown] == [(1, False), (2, True), (3, False)]
    assert all(record in packed(world) for record in records)
    assert swept(world).is_whole
    assert [record in packed(world) for record in records] == [True, False, True]
    assert findings(world) == []
    assert (read_version(world, 1), fetch(mia, DOCUMENT)) == (SECRETS[0], SECRETS[2])
    store(mia, DOCUMENT, b"och ett till")
    assert findings(world) == []


def test_bytes_stay_for_a_day_unless_one_must_be_sure(world: World) -> None:
    node = versions(world.drive("mia"), DOCUMENT, *SECRETS)
    record = record_of(world, node, 1)
    done = erased(world, node, 1)
    assert world.installation.erasures.sweep(wait_seconds=1) == {}
    assert record in packed(world)
    assert world.installation.erasures.get(done.id).swept_at is None
    assert swept(world).packs == 1
    assert record not in packed(world)
    assert world.installation.erasures.get(done.id).swept_at is not None


def test_what_another_version_holds_stays(world: World) -> None:
    mia, shared = world.drive("mia"), os.urandom(300_000)
    node = versions(mia, DOCUMENT, shared + b"ett", shared + b"tv", shared + b"tre")
    erased(world, node, 1)
    assert swept(world).is_whole
    assert fetch(mia, DOCUMENT) == shared + b"tre"
    assert read_version(world, 2) == shared + b"tv"
    assert findings(world) == []


def test_the_same_content_elsewhere_is_told_of_and_stays(world: World) -> None:
    mia = world.drive("mia")
    node = versions(mia, DOCUMENT, *SECRETS)
    copy = store(mia, f"{OURS}/Kopia.txt", SECRETS[0])
    record = record_of(world, node, 1)
    done = erased(world, node, 1)
    assert [(each.document, each.number) for each in done.words.elsewhere] == [(copy.id.hex(), 1)]
    assert swept(world).is_whole
    assert fetch(mia, f"{OURS}/Kopia.txt") == SECRETS[0]
    assert record in packed(world)
    assert findings(world) == []


def test_what_comes_again_is_stored_anew(world: World) -> None:
    mia = world.drive("mia")
    node = versions(mia, DOCUMENT, *SECRETS)
    erased(world, node, 1)
    store(mia, f"{OURS}/Igen.txt", SECRETS[0])
    assert swept(world).is_whole
    assert fetch(mia, f"{OURS}/Igen.txt") == SECRETS[0]
    assert findings(world) == []


def all_bytes(folder: FilePath) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_document_goes_with_its_names_and_properties(world: World) -> None:
    mia, installation = world.drive("mia"), world.installation
    node = versions(mia, DOCUMENT, *SECRETS)
    mia.change_properties(parse(DOCUMENT), [("{urn:x}a", "<x:a xmlns:x='urn:x'>hemlig egenskap</x:a>")])
    mia.move(parse(DOCUMENT), parse(f"{OURS}/Hemligt namn.txt"), overwrite=False)
    mia.copy(parse(f"{OURS}/Hemligt namn.txt"), parse(f"{OURS}/Kopia.txt"), overwrite=False)
    store(mia, f"{OURS}/Annat.txt", b"bredvid")
    sealed = sealed_names(world, node)
    assert len(sealed) == 4  # folded, and as given, in either folder
    done = erased(world, node, reason="begäran av den registrerade")
    assert findings(world) == []
    with pytest.raises(NotFound):
        fetch(mia, f"{OURS}/Hemligt namn.txt")
    assert sealed_names(world, node).isdisjoint(sealed)
    with installation.database.read() as connection:
        held = select(tables.property.c.value).where(tables.property.c.node == node)
        assert connection.execute(held).all() == []
    assert "Hemligt namn" not in told(world)
    assert "Köp" not in told(world)
    assert "Annat.txt" in told(world)
    assert "begäran av den registrerade" in told(world)
    assert done.words.paths == ()
    assert swept(world).is_whole
    assert findings(world) == []
    assert fetch(mia, f"{OURS}/Kopia.txt") == SECRETS[2]
    assert fetch(mia, f"{OURS}/Annat.txt") == b"bredvid"
    for word in ("Hemligt namn", "hemlig egenskap", "registrerade"):
        assert word.encode() not in all_bytes(installation.folder)


def sealed_names(world: World, node: bytes) -> set[bytes]:
    """Return the sealed names under which a document stands or stood."""
    with world.installation.database.read() as connection:
        found: set[bytes] = set()
        for table in (tables.entry, tables.closed_entry):
            for row in connection.execute(select(table.c.folded, table.c.name).where(table.c.node == node)):
                found.update({row.folded, row.name} - {None})
        return found


def told(world: World) -> str:
    """Return all that was typed and that the log of the space can still tell."""
    world.installation.tick()
    audit = world.installation.audit
    with world.installation.database.read() as connection:
        log = audit.find(connection, world.spaces[SPACE].id)
        entries = audit.entries(connection, log)
        return "\n".join(str(each.value) for entry in entries for each in entry.personal.values())


def test_the_last_document_of_a_space_may_go(world: World) -> None:
    node = versions(world.drive("mia"), DOCUMENT, *SECRETS)
    records = [record_of(world, node, number) for number in (1, 2, 3)]
    erased(world, node)
    assert swept(world).is_whole
    assert not any(record in packed(world) for record in records)
    assert findings(world) == []


def test_a_version_that_came_in_the_same_transaction_left_its_pieces(world: World) -> None:
    """Its manifest was looked for in what is committed: what it lists was not condemned, and stayed for good."""
    mia, content, erasures = world.drive("mia"), os.urandom(300_000), world.installation.erasures
    node = versions(mia, DOCUMENT, b"ett")
    asked = erasures.request_document(world.installation.operator(), world.spaces[SPACE].id, node, "felsänt")
    upload = mia.put(parse(DOCUMENT), declared=len(content))
    upload.write(content)
    second = administrator(world)
    ended = Shared(world).first(upload.commit)
    erasures.approve(second, asked.id)
    assert ended.result(30)[0].version == 2
    del upload, ended
    assert swept(world).is_whole
    with world.installation.database.read() as connection:
        assert connection.execute(select(tables.chunk)).all() == []
    assert len(packed(world)) < 10_000
    assert findings(world) == []


def test_a_document_in_the_trash_goes_too(world: World) -> None:
    mia = world.drive("mia")
    node = versions(mia, DOCUMENT, *SECRETS)
    mia.delete(parse(DOCUMENT))
    erased(world, node)
    assert swept(world).is_whole
    assert findings(world) == []
    assert store(mia, DOCUMENT, b"nytt").id != node


def test_its_quota_is_free_again(world: World) -> None:
    mia = world.drive("mia")
    before = mia.quota(parse(OURS))
    node = versions(mia, DOCUMENT, os.urandom(200_000), b"kort")
    erased(world, node)
    assert swept(world).freed_bytes > 200_000
    after = mia.quota(parse(OURS))
    assert before is not None
    assert after is not None
    assert after.used == before.used


#: What somebody who holds the disk may do to make content vanish as if it had been erased.
CRIMES: dict[str, Callable[[Any, bytes], None]] = {
    "a tombstone": lambda c, node: c.execute(
        update(tables.version)
        .where(tables.version.c.node == node, tables.version.c.number == 1)
        .values(content=b"", digest=b"", erased_in=3)
    ),
    "a tombstone of a real erasure": lambda c, node: c.execute(
        update(tables.version)
        .where(tables.version.c.node == node, tables.version.c.number == 1)
        .values(content=b"", digest=b"", erased_in=select(tables.restated.c.by_change).limit(1).scalar_subquery())
    ),
    "the mark alone": lambda c, node: c.execute(
        update(tables.version)
        .where(tables.version.c.node == node, tables.version.c.number == 1)
        .values(erased_in=select(tables.restated.c.by_change).limit(1).scalar_subquery())
    ),
    "a tombstone without its mark": lambda c, node: c.execute(
        update(tables.version).where(tables.version.c.erased_in.is_not(None)).values(erased_in=None)
    ),
    "another digest of what was left": lambda c, node: c.execute(update(tables.restated).values(digest=bytes(32))),
    "no digest of what was left": lambda c, node: c.execute(tables.restated.delete()),
    "a digest of one's own": lambda c, node: c.execute(
        tables.restated.insert().values(
            space=select(tables.restated.c.space).limit(1).scalar_subquery(), number=1, by_change=2, digest=bytes(32)
        )
    ),
    "another MAC in a tombstone": lambda c, node: c.execute(
        update(tables.version).where(tables.version.c.erased_in.is_not(None)).values(mac=bytes(32))
    ),
    "another size in a tombstone": lambda c, node: c.execute(
        update(tables.version).where(tables.version.c.erased_in.is_not(None)).values(at=1)
    ),
}


@pytest.mark.parametrize("crime", CRIMES)
def test_verify_finds_a_planted_erasure(tmp_path: FilePath, crime: str) -> None:
    world = make(tmp_path / "data")
    other = versions(world.drive("mia"), f"{OURS}/Annan.txt", b"ett", b"tu")
    node = versions(world.drive("mia"), DOCUMENT, *SECRETS)
    erased(world, other, 1)
    assert findings(world) == []
    with world.installation.database.write() as connection:
        CRIMES[crime](connection, node)
    found = findings(world)
    assert found != []
    if crime == "a tombstone":
        assert any("no event tells that it was erased" in each for each in found)
    world.installation.close()


def test_nothing_is_stated_anew_that_was_not_recorded(world: World) -> None:
    node = versions(world.drive("mia"), DOCUMENT, *SECRETS)
    with world.installation.database.write() as connection:
        chosen = (tables.version.c.node == node) & (tables.version.c.number == 1)
        connection.execute(update(tables.version).where(chosen).values(at=17))
    with pytest.raises(HistoryDamaged):
        erased(world, node, 1)
    assert read_version(world, 1) == SECRETS[0]


def test_an_erasure_of_what_an_erasure_left(world: World) -> None:
    """One change wrote several versions; they go one after the other."""
    mia = world.drive("mia")
    for name in ("a", "b", "c"):
        store(mia, f"{OURS}/Avtal/{name}.txt", name.encode())
    mia.copy(parse(f"{OURS}/Avtal"), parse(f"{OURS}/Kopior"), overwrite=False)
    for name in ("a", "c", "b"):
        item = mia.stat(parse(f"{OURS}/Kopior/{name}.txt"))
        erased(world, item.id)
        assert findings(world) == []
    assert swept(world).is_whole
    assert findings(world) == []
    assert fetch(mia, f"{OURS}/Avtal/a.txt") == b"a"


def test_the_customer_sees_what_was_erased_and_why(world: World) -> None:
    node = versions(world.drive("eva"), f"{THEIRS}/Avtal/Köp.txt", *SECRETS)
    erased(world, node, 1, reason="skickat till fel part")
    world.installation.tick()
    audit = world.installation.audit
    with world.installation.database.read() as connection:
        log = audit.find(connection, world.spaces[SPACE].id, world.organisations["Kund AB"])
        entries = list(audit.entries(connection, log))
    kinds = [entry.event["kind"] for entry in entries]
    assert kinds[-2:] == ["erasure_requested", "erased"]
    assert entries[-2].personal["reason"].value == "skickat till fel part"
    assert entries[-1].personal["actor.name"].value == "Agnes Lund"
    assert entries[-1].event["facts"]["versions"] == 1


def test_putting_back_brings_nothing_erased_again(world: World) -> None:
    mia = world.drive("mia")
    node = versions(mia, DOCUMENT, b"ett", b"tu", b"tre")
    whole = versions(mia, f"{OURS}/Avtal/Hela.txt", b"hela")
    with world.installation.database.read() as connection:
        then = world.installation.database.now_us(connection)
    store(mia, DOCUMENT, b"fyra")
    mia.delete(parse(f"{OURS}/Avtal/Hela.txt"))
    erased(world, node, 3)
    erased(world, whole)
    mia.put_back(parse(OURS), then)
    assert [item.name for item in mia.listing(parse(f"{OURS}/Avtal"))[1]] == ["Köp.txt"]
    assert fetch(mia, DOCUMENT) == b"fyra", "what it held then is gone, so it keeps what it holds"
    assert findings(world) == []


def test_the_trash_holds_nothing_erased(world: World) -> None:
    mia = world.drive("mia")
    node = versions(mia, DOCUMENT, b"ett")
    other = versions(mia, f"{OURS}/Avtal/Kvar.txt", b"kvar")
    for path in (DOCUMENT, f"{OURS}/Avtal/Kvar.txt"):
        mia.delete(parse(path))
    assert {each.id for each in mia.trash(parse(OURS), everything=True)[0]} == {node, other}
    erased(world, node)
    assert {each.id for each in mia.trash(parse(OURS), everything=True)[0]} == {other}
    with pytest.raises(NotFound):
        mia.undelete(parse(OURS), node)
    mia.undelete(parse(OURS), other)
    assert findings(world) == []


def test_what_was_said_of_a_version_goes_with_it(world: World) -> None:
    mia = world.drive("mia")
    node = versions(mia, DOCUMENT, *SECRETS)
    mia.comment(parse(DOCUMENT), 1, "ett hemligt ord")
    mia.comment(parse(DOCUMENT), 2, "ett vanligt ord")
    assert "ett hemligt ord" in told(world)
    erased(world, node, 1)
    assert "ett hemligt ord" not in told(world)
    assert "ett vanligt ord" in told(world)
    assert [each.comment for each in mia.versions(parse(DOCUMENT))][:2] == ["", "ett vanligt ord"]
    assert findings(world) == []


def test_a_split_passes_over_what_was_erased(world: World) -> None:
    mia = world.drive("mia")
    node = versions(mia, DOCUMENT, b"ett", b"tu")
    mia.delete(parse(DOCUMENT))
    assert versions(mia, DOCUMENT, b"tre", b"fyra") == node, "its name was taken again by the same person"
    erased(world, node, 2)
    mia.split(parse(DOCUMENT), 3)
    assert fetch(mia, DOCUMENT) == b"fyra"
    assert [each.size for each in mia.versions(parse(DOCUMENT))] == [3, 4]
    mia.undelete(parse(OURS), node, parse(f"{OURS}/Avtal/Den gamla.txt"))
    assert fetch(mia, f"{OURS}/Avtal/Den gamla.txt") == b"ett"
    assert findings(world) == []
    other = versions(mia, f"{OURS}/Annan.txt", b"ett")
    mia.delete(parse(f"{OURS}/Annan.txt"))
    assert versions(mia, f"{OURS}/Annan.txt", b"tu") == other
    erased(world, other, 1)
    with pytest.raises(NotJoined):
        mia.split(parse(f"{OURS}/Annan.txt"), 2)
