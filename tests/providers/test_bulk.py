"""Histories made in bulk, for the proofs at scale: to `verify` and to their readers they are what saves leave."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from config.clock import now_us
from providers.paths import parse
from tests.bench import bulk
from tests.worlds import fetch, store

SHAPE = bulk.Shape(folders=3, documents=4, versions=5)


@pytest.mark.parametrize("saves_a_change", [1, 3])
def test_a_history_made_in_bulk_is_whole_and_goes_on(tmp_path: Path, saves_a_change: int) -> None:
    shape = bulk.Shape(SHAPE.folders, SHAPE.documents, SHAPE.versions, saves_a_change)
    world = bulk.make(tmp_path / "data", shape)
    installation = world.installation
    assert list(installation.verify()) == []
    installation.close()

    world.installation = installation = type(installation).open(tmp_path / "data", installation.settings)
    drive = world.drive(bulk.LOGIN)
    folder = parse(f"/{bulk.SPACE}/{SHAPE.folder(1)}")
    document = folder.joined(SHAPE.document(2))
    assert [item.name for item in drive.listing(folder)[1]] == [SHAPE.document(n) for n in range(SHAPE.documents)]
    assert len(fetch(drive, document)) == bulk.CONTENT_BYTES
    made = drive.versions(document)
    assert [version.number for version in made] == [1, 2, 3, 4, 5]
    assert all(later.at - earlier.at >= bulk.DAY_US - 60_000_000 for earlier, later in pairwise(made))
    assert made[-1].at <= now_us() - bulk.DAY_US + 60_000_000
    with drive.read_version(document, 1) as first, drive.read_version(document, 5) as last:
        assert first.read(0, 100) != last.read(0, 100)

    store(drive, document, b"and on")
    assert [version.number for version in drive.versions(document)] == [1, 2, 3, 4, 5, 6]
    assert list(installation.verify()) == []
    installation.close()
