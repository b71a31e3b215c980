"""What the catalogue knows of chunks is asked for by lists of any length, with few queries that have to be compiled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from providers.catalogue import contents
from providers.catalogue.contents import ChunkIndex
from providers.vault.vault import ChunkRecord, Location
from tests.worlds import World

SPACE = b"s" * 16
#: As many chunks as a leaf lists at most: a reader locates that many at once.
LONGEST = 1024


@pytest.fixture
def world(tmp_path: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(tmp_path / "data", **engine)
    yield made
    made.installation.close()


def test_lists_of_every_length_are_answered_for_by_few_queries(world: World) -> None:
    records = [ChunkRecord(os.urandom(32), 7, 100 * at, 100) for at in range(LONGEST)]
    database = world.installation.database
    database.apply(lambda connection: contents.publish(connection, SPACE, records[::2]))
    index = ChunkIndex(database, SPACE)
    for length in (*range(70), *range(70, LONGEST, 97), LONGEST):
        asked = records[:length]
        cids = [each.cid for each in asked]
        assert index.known(cids) == {each.cid for each in asked[::2]}
        assert index.locate(cids) == {each.cid: Location(*each[1:]) for each in asked[::2]}
        with database.read() as connection:
            assert contents.all_known(connection, SPACE, cids[::2])
