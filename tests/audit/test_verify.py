"""What is done to the tables behind the server's back is found, and named by log and number."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, select, update

from providers import tables
from providers.audit.events import Projection
from providers.audit.log import body_label, of_person, stored
from providers.audit.verify import Finding, verify_logs
from tests.audit.forge import change_event, drop_last, rebuild
from tests.audit.helpers import CUSTOMER, RIVAL, World, actor

ENTRY, NODE, CHECKPOINT, LOG = tables.log_entry.c, tables.tree_node.c, tables.checkpoint.c, tables.log.c


def findings(world: World, *kept: str) -> list[Finding]:
    return list(verify_logs(world.database, world.keyring, kept))


@pytest.fixture
def grown(world: World) -> World:
    """Twenty events, five of which a rival sees too, signed in two steps."""
    world.record(5, {CUSTOMER: Projection.FULL, RIVAL: Projection.ORGANISATION})
    world.checkpoints.advance_now()
    world.record(15)
    world.checkpoints.advance_now()
    assert findings(world) == []
    return world


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def own(log: int, number: int) -> object:
    return (ENTRY.log == log) & (ENTRY.number == number)


Act = Callable[[Connection, int, int], object]


def set_entry(which: int, in_stream: bool = False, **values: object) -> Act:
    def act(connection: Connection, log: int, stream: int) -> None:
        where = own(stream if in_stream else log, which)
        connection.execute(update(tables.log_entry).where(where).values(**values))  # type: ignore[arg-type]

    return act


def flip_body(connection: Connection, log: int, _: int) -> None:
    body = connection.execute(select(ENTRY.body).where(own(log, 7))).scalar_one()  # type: ignore[arg-type]
    set_entry(7, body=flipped(body, len(body) // 2))(connection, log, 0)


def delete_entry(number: int, in_stream: bool = False) -> Act:
    return lambda connection, log, stream: connection.execute(
        tables.log_entry.delete().where(own(stream if in_stream else log, number))  # type: ignore[arg-type]
    )


def swap(connection: Connection, log: int, _: int) -> None:
    for old, new in ((3, 900), (4, 3), (900, 4)):
        set_entry(old, number=new)(connection, log, 0)


def set_node(index: int) -> Act:
    def act(connection: Connection, log: int, _: int) -> None:
        where = (NODE.log == log) & (NODE.level == 2) & (NODE.index == index)
        connection.execute(update(tables.tree_node).where(where).values(hash=b"x" * 32))

    return act


def delete_node(connection: Connection, log: int, _: int) -> None:
    connection.execute(tables.tree_node.delete().where((NODE.log == log) & (NODE.level == 1) & (NODE.index == 3)))


def bend_note(connection: Connection, log: int, _: int) -> None:
    note = connection.execute(select(CHECKPOINT.note).where(CHECKPOINT.log == log)).scalars().first()
    assert note is not None
    connection.execute(update(tables.checkpoint).where(CHECKPOINT.log == log).values(note=flipped(note, 100)))


def set_log(in_stream: bool = False, **values: object) -> Act:
    return lambda connection, log, stream: connection.execute(
        update(tables.log).where(LOG.id == (stream if in_stream else log)).values(**values)
    )


def add_entry(connection: Connection, log: int, _: int) -> None:
    row = {"log": log, "number": 20, "at": 1, "leaf_hash": b"h" * 32, "projection": 0}
    connection.execute(tables.log_entry.insert().values(**row))


def add_node(connection: Connection, log: int, _: int) -> None:
    connection.execute(tables.tree_node.insert().values(log=log, level=9, index=0, hash=b"h" * 32))


def move_checkpoint(connection: Connection, log: int, _: int) -> None:
    connection.execute(update(tables.checkpoint).where(CHECKPOINT.log == log, CHECKPOINT.size == 20).values(size=19))


def swap_streams(connection: Connection, _: int, stream: int) -> None:
    for old, new in ((CUSTOMER, b"?"), (RIVAL, CUSTOMER), (b"?", RIVAL)):
        connection.execute(update(tables.log).where(LOG.party == old).values(party=new))


DAMAGE: dict[str, tuple[Act, int | None, str]] = {
    "flipped body": (flip_body, 7, "changed"),
    "emptied body": (set_entry(7, body=None), 7, "emptied"),
    "deleted event": (delete_entry(6), 6, "deleted"),
    "deleted first event": (delete_entry(0), 0, "deleted"),
    "deleted last event": (delete_entry(19), 19, "deleted"),
    "deleted event of a stream": (delete_entry(9, True), 9, "deleted"),
    "events in another order": (swap, 3, "another's place"),
    "changed hash of a leaf": (set_entry(5, leaf_hash=b"h" * 32), 5, "hash"),
    "changed hash in a stream": (set_entry(5, True, leaf_hash=b"h" * 32), 5, "hash"),
    "changed time": (set_entry(5, at=1), 5, "time"),
    "changed projection in a stream": (set_entry(5, True, projection=2), 5, "hash"),
    "stream told of another event": (set_entry(5, True, source_number=6), 5, "knows nothing"),
    "stream with a body of its own": (set_entry(5, True, source_log=None, body=b"x"), 5, "changed"),
    "stream whose event is gone": (set_entry(5, True, source_number=600), 5, "missing"),
    "wrong node of the tree": (set_node(1), 4, "level 2 is wrong"),
    "wrong node at the end of what is signed": (set_node(4), 16, "level 2 is wrong"),
    "missing node of the tree": (delete_node, 6, "level 1 is missing"),
    "event beyond the end": (add_entry, 20, "beyond"),
    "node that belongs to no event": (add_node, None, "no event"),
    "checkpoint of another size": (move_checkpoint, None, "another log or size"),
    "bent checkpoint": (bend_note, None, "not signed"),
    "log cut short": (set_log(size=18), 18, "of which only 18"),
    "log made longer": (set_log(size=21), 20, "deleted"),
    "signed size set back": (set_log(signed_size=5), None, "newest checkpoint"),
    "stream of another party": (swap_streams, None, "another space or party"),
    "log renamed": (set_log(uid=b"u" * 16), None, "another space or party"),
}


@pytest.mark.parametrize("fault", DAMAGE)
def test_damage_is_found_and_named(grown: World, fault: str) -> None:
    act, number, what = DAMAGE[fault]
    log, stream = grown.log(), grown.log(CUSTOMER)
    uid = (stream if "stream" in fault and "party" not in fault else log).uid.hex()
    with grown.database.write() as connection:
        act(connection, log.id, stream.id)
    found = findings(grown)
    if "renamed" in fault or "party" in fault:
        assert any(what in finding.what for finding in found)
    else:
        assert any((f.log, f.number) == (uid, number) and what in f.what for f in found), found


def test_a_stream_rolled_back_without_the_keys_is_shorter_than_the_log_it_tells_of(grown: World) -> None:
    stream = grown.log(CUSTOMER)
    drop_last(grown, 15, CUSTOMER)
    with grown.database.write() as connection:
        connection.execute(tables.checkpoint.delete().where(CHECKPOINT.log == stream.id, CHECKPOINT.size > 5))
        connection.execute(update(tables.log).where(LOG.id == stream.id).values(signed_size=5))
        for level, index in connection.execute(select(NODE.level, NODE.index).where(NODE.log == stream.id)).all():
            if (index + 1) << level > 5:
                where = (NODE.log == stream.id) & (NODE.level == level) & (NODE.index == index)
                connection.execute(tables.tree_node.delete().where(where))
    # Thinning left no checkpoint of 5, so one made with the key stands for it: all else is as five events left it.
    rebuild(grown)
    assert [finding.what for finding in findings(grown)] == [
        "the supplier's log tells of 20 events in this stream, which has 5"
    ]


def test_an_event_of_a_stream_that_the_supplier_was_never_told_of_shows_whoever_signed_it(grown: World) -> None:
    stream = grown.log(CUSTOMER)
    with grown.database.write() as connection:
        (row,) = stored(connection, stream.id, 5, 6)
        body = grown.audit.open_body(stream, row, grown.audit.uids(connection, grown.space))
        sealed = grown.audit.sealer(grown.space).seal(body_label(stream.uid, 5), body.to_bytes())
        set_entry(5, True, source_log=None, source_number=None, body=sealed)(connection, 0, stream.id)
    rebuild(grown)
    assert [(found.log, found.number) for found in findings(grown)] == [(stream.uid.hex(), 5)]


def test_a_log_removed_whole_leaves_what_stands_without_it(grown: World) -> None:
    stream = grown.log(RIVAL)
    with grown.database.write() as connection:
        connection.execute(tables.log.delete().where(LOG.id == stream.id))
    assert {finding.what for finding in findings(grown)} >= {
        "events stand without their log",
        "checkpoints stand without their log",
    }


def test_one_event_changed_and_all_signed_anew_is_exposed_by_a_kept_checkpoint(grown: World) -> None:
    kept, theirs = grown.checkpoint(), grown.checkpoint(CUSTOMER)
    change_event(grown, 12, kind="read")
    rebuild(grown)
    assert findings(grown) == []  # the server's own key leaves nothing to be seen but to those who kept something
    (finding,) = findings(grown, kept)
    assert (finding.log, "events 0 to 19" in finding.what, finding.number) == (grown.log().uid.hex(), True, 0)
    (finding,) = findings(grown, theirs)
    assert finding.log == grown.log(CUSTOMER).uid.hex()


def test_the_last_ten_events_dropped_are_exposed_by_a_kept_checkpoint(grown: World) -> None:
    kept, theirs = grown.checkpoint(), grown.checkpoint(CUSTOMER)
    drop_last(grown, 10)
    drop_last(grown, 10, CUSTOMER)
    rebuild(grown)
    assert findings(grown) == []
    assert [(f.number, f.where.startswith("audit log ")) for f in findings(grown, kept, theirs)] == [(10, True)] * 2


def test_the_database_rolled_back_is_exposed_by_a_kept_checkpoint(world: World) -> None:
    world.record(8)
    world.checkpoints.advance_now()
    with world.database.read() as connection:
        names = (tables.log, tables.log_entry, tables.tree_node, tables.checkpoint)
        copies = {table: [dict(row) for row in connection.execute(select(table)).mappings()] for table in names}
    early = world.checkpoint()
    world.record(5)
    world.checkpoints.advance_now()
    kept = world.checkpoint()
    with world.database.write() as connection:
        for table, rows in copies.items():
            connection.execute(table.delete())
            connection.execute(table.insert(), rows)
    assert findings(world, early) == []
    (finding,) = findings(world, kept)
    assert (finding.number, "of which only 8" in finding.what) == (8, True)
    world.record(5, kind="read")  # and life goes on, to the same size
    world.checkpoints.advance_now()
    assert [finding.number for finding in findings(world, early, kept)] == [8]


def test_a_kept_checkpoint_of_somebody_else_says_so(grown: World) -> None:
    kept = grown.checkpoint(RIVAL)
    with grown.database.write() as connection:
        for table in (tables.log_entry, tables.tree_node, tables.checkpoint):
            connection.execute(table.delete().where(table.c.log == grown.log(RIVAL).id))
        connection.execute(tables.log.delete().where(LOG.party == RIVAL))
    found = [finding.what for finding in findings(grown, kept, kept.replace("\n5\n", "\n6\n"))]
    assert "the log of a kept checkpoint is not there any more" in found
    assert "a kept checkpoint is not signed with this installation's key" in found


def test_forgetting_a_person_leaves_nothing_to_be_found(grown: World) -> None:
    kept = grown.checkpoint(), grown.checkpoint(CUSTOMER), grown.checkpoint(RIVAL)
    with grown.database.write() as connection:
        assert grown.audit.forget(connection, of_person(actor().principal, fields=["path"])) == 20
    assert findings(grown, *kept) == []


def test_an_erased_space_keeps_its_trees(grown: World) -> None:
    grown.keyring.destroy(grown.space)
    assert {finding.what for finding in findings(grown)} == {
        "the key of its space is not in the keystore: its events cannot be opened"
    }
    with grown.database.write() as connection:
        values = {"id": grown.space, "name": b"", "is_open": False, "state": 2, "is_held": False, "created_at": 1}
        connection.execute(tables.space.insert().values(**values, ended_at=2))
    assert findings(grown) == []
    set_entry_hash = set_entry(5, leaf_hash=b"h" * 32)
    with grown.database.write() as connection:
        set_entry_hash(connection, grown.log().id, 0)
    assert findings(grown) != []
