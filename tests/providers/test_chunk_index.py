"""What the catalogue knows of chunks is asked for by lists of any length, with few queries that have to be compiled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest
from sqlalchemy import select, update

from providers import tables
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


def test_a_new_copy_takes_the_place_of_a_condemned_one_alone(world: World) -> None:
    """What it replaces counts no longer. Nor does a second copy of what is known already, which is let go."""
    old = [ChunkRecord(os.urandom(32), 7, 100 * at, 100 + at) for at in range(4)]
    new = [ChunkRecord(each.cid, 8, 500 * at, 500 + at) for at, each in enumerate(old)]
    fresh = ChunkRecord(os.urandom(32), 8, 9000, 9)
    database = world.installation.database
    condemned = (
        update(tables.chunk).where(tables.chunk.c.cid.in_([each.cid for each in old[:2]])).values(condemned_at=1)
    )

    def publish(records: list[ChunkRecord]) -> int:
        return database.apply(lambda connection: contents.publish(connection, SPACE, records))

    assert publish(old) == 0
    assert publish([]) == 0
    with database.write() as connection:
        connection.execute(condemned)
    assert publish([*new, fresh]) == (100 + 101) + (502 + 503)
    assert publish([*new[:2], fresh]) == 0
    with database.read() as connection:
        let_go = connection.execute(select(tables.let_go.c["pack", "offset", "length"])).all()
    assert let_go == [each[1:] for each in new[2:]]
    found = ChunkIndex(database, SPACE).locate([each.cid for each in (*old, fresh)])
    assert found == {each.cid: Location(*each[1:]) for each in (*new[:2], *old[2:], fresh)}
    assert ChunkIndex(database, SPACE).known([each.cid for each in old]) == {each.cid for each in old}
