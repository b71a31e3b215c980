"""Going back never brings back what two persons had erased."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Any

import pytest
from sqlalchemy import select

from auth.roles import Role
from providers import tables
from providers.drive import trees
from providers.errors import DriveError, NotFound, VersionErased
from providers.paths import parse
from providers.vault.reader import ContentReader
from tests.hold.worlds import OURS, erased, findings, make, versions
from tests.worlds import World, fetch, moment, store

DOCUMENT = parse(f"{OURS}/Avtal/Köp.txt")


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = make(data_folder, **engine)
    yield made
    made.installation.close()


def test_an_erased_version_is_neither_restored_nor_put_back(world: World) -> None:
    mia = world.drive("mia")
    node = versions(mia, str(DOCUMENT), b"one", b"secret")
    moment = mia.versions(DOCUMENT)[-1].at
    store(mia, DOCUMENT, b"three")
    erased(world, node, 2)
    with pytest.raises(VersionErased):
        mia.restore(DOCUMENT, 2)
    mia.put_back(DOCUMENT.parent, moment)
    assert fetch(mia, DOCUMENT) == b"three"
    assert findings(world) == []


def test_a_joining_is_undone_without_what_was_erased_of_it(world: World) -> None:
    mia = world.drive("mia")
    node = versions(mia, str(DOCUMENT), b"one")
    mia.delete(DOCUMENT)
    assert versions(mia, str(DOCUMENT), b"another", b"secret", b"yet another") == node
    erased(world, node, 3)
    mia.split(DOCUMENT, 2)
    assert [version.size for version in mia.versions(DOCUMENT)] == [7, 11]
    assert findings(world) == []


def test_an_erased_document_comes_back_by_no_way(world: World) -> None:
    mia = world.drive("mia")
    node = versions(mia, str(DOCUMENT), b"one", b"two")
    moment = mia.versions(DOCUMENT)[-1].at
    mia.delete(DOCUMENT)
    erased(world, node)
    assert mia.trash(DOCUMENT.parent, everything=True)[0] == []
    with pytest.raises(NotFound):
        mia.undelete(DOCUMENT.parent, node)
    mia.put_back(DOCUMENT.parent, moment)
    with pytest.raises(NotFound):
        mia.stat(DOCUMENT)
    whole, fraction = divmod(moment, 10**6)
    then = parse(f"/.history/{_stamp(whole)}.{fraction:06}Z{DOCUMENT}")
    with pytest.raises(DriveError):
        mia.copy(then, DOCUMENT, overwrite=False)
    assert findings(world) == []


def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H%M%S")


@pytest.mark.parametrize("asked", ["one", "all of a folder"])
def test_no_checksum_is_kept_of_what_is_erased_while_it_is_made(
    world: World, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    mia, beside = world.drive("mia"), DOCUMENT.parent.joined("Annat.txt")
    node = versions(mia, str(DOCUMENT), b"secret")
    store(mia, beside, b"harmless")
    chunks = ContentReader.chunks

    def late(self: ContentReader, *given: Any) -> Iterator[Any]:
        monkeypatch.undo()
        yield from chunks(self, *given)
        erased(world, node)

    monkeypatch.setattr(ContentReader, "chunks", late)
    if asked == "one":
        mia.checksums(DOCUMENT)
    else:
        mia.checksums_below(DOCUMENT.parent)
    with world.installation.database.read() as connection:
        kept = set(connection.execute(select(tables.checksum.c.version)).scalars())
        gone = set(connection.execute(select(tables.version.c.id).where(tables.version.c.node == node)).scalars())
    assert not kept & gone
    assert len(kept) == (0 if asked == "one" else 1)
    assert findings(world) == []


@pytest.mark.parametrize("goal", [f"{OURS}/Avtal", "/Kund AB – Annat"])
@pytest.mark.parametrize("what", ["a document", "a folder"])
def test_a_copy_brings_back_nothing_that_is_erased_while_it_is_made(
    world: World, monkeypatch: pytest.MonkeyPatch, goal: str, what: str
) -> None:
    mia = world.drive("mia")
    world.space("Annat", "Kund AB")
    world.grant("mia", "Annat", Role.MANAGER, history=True)
    node, secret = versions(mia, str(DOCUMENT), b"secret"), moment(mia.stat(DOCUMENT).modified + 1)
    store(mia, DOCUMENT, b"harmless")
    prepare = trees.prepare

    def late(*given: Any, **options: Any) -> Any:
        ready = prepare(*given, **options)
        monkeypatch.undo()
        erased(world, node, 1)
        return ready

    monkeypatch.setattr(trees, "prepare", late)
    then = parse(f"{OURS}/.history/{secret}/Avtal")
    source, copied = (then, "Kopia") if what == "a folder" else (then.joined(DOCUMENT.name), "Kopia.txt")
    with pytest.raises(VersionErased):
        mia.copy(source, parse(f"{goal}/{copied}"), overwrite=False)
    with pytest.raises(NotFound):
        mia.stat(parse(f"{goal}/{copied}"))
    assert findings(world) == []
