"""Histories made in bulk, for the proofs at scale: to `verify` and to their readers they are what saves leave."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from auth.roles import Role
from config.clock import SECOND_US, now_us
from providers.paths import Path as ParsedPath
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


def test_the_days_of_a_history_are_those_of_its_changes(tmp_path: Path, engine: dict[str, str]) -> None:
    """They are found by steps of an index: none may be missed, however many changes lie between, by either way."""
    world = bulk.make(tmp_path / "data", bulk.Shape(folders=2, documents=2, versions=6), **engine)
    world.person("eva", "Byrån AB")  # the supplier's people see the days of changes, others those of their stream
    world.grant("eva", bulk.SPACE, Role.VIEWER, history=True)
    made = {version.at for version in world.drive(bulk.LOGIN).versions(_first_document())}
    days = {datetime.fromtimestamp(at / SECOND_US, UTC).astimezone(world.installation.settings.zone) for at in made}
    wanted = {day.date().isoformat() for day in days}
    assert len(wanted) == 6
    for login, space in ((bulk.LOGIN, bulk.SPACE), ("eva", f"Kund AB – {bulk.SPACE}")):
        drive = world.drive(login)
        for path in ("/.history", f"/{space}/.history"):
            found = {item.name for item in drive.listing(parse(path))[1]}
            assert wanted <= found, (login, path)
            assert len(found - wanted) <= 2, (login, path)  # when the space was made, and today's grant
    world.installation.close()


def _first_document() -> ParsedPath:
    return parse(f"/{bulk.SPACE}/{SHAPE.folder(0)}/{SHAPE.document(0)}")
