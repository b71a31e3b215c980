"""Recording: who gets which event under which number, and how much of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from auth.events import AuthEvent
from config.database import Database
from config.errors import StorageFull
from config.ids import new_id
from providers import tables
from providers.audit import log
from providers.audit.errors import EntryDamaged, UnknownKind, UnknownLog
from providers.audit.events import KINDS, Projection
from providers.audit.journal import ReadJournal
from providers.audit.leaf import canonical, commitment
from providers.audit.log import of_person
from tests.audit.helpers import AT, CUSTOMER, RIVAL, SUPPLIER, World, actor
from tests.clocks import YEAR_SECONDS, MachineClock


def test_each_log_has_its_own_numbers(world: World) -> None:
    world.record(3)
    world.record(2, {CUSTOMER: Projection.FULL, RIVAL: Projection.ORGANISATION})
    world.record(1, {})
    assert [entry.number for entry in world.entries()] == [0, 1, 2, 3, 4, 5]
    assert [entry.number for entry in world.entries(CUSTOMER)] == [0, 1, 2, 3, 4]
    assert [entry.number for entry in world.entries(RIVAL)] == [0, 1]
    assert [entry.personal["path"].value for entry in world.entries(RIVAL)] == [
        "/Bokslut/År 4.pdf",
        "/Bokslut/År 5.pdf",
    ]


def test_leaves_are_canonical_and_committed_to_their_log(world: World) -> None:
    world.record(1)
    (own,) = world.entries()
    (told,) = world.entries(CUSTOMER)
    for entry, party in ((own, b""), (told, CUSTOMER)):
        read = json.loads(entry.leaf)
        assert canonical(read) == entry.leaf
        assert read["log"] == world.log(party).uid.hex()
        assert (read["number"], read["v"]) == (0, 1)
        for name, field in entry.personal.items():
            assert read["event"]["commitments"][name] == field.commitment
            assert commitment(bytes.fromhex(field.salt), name, field.value) == field.commitment
        assert "År" not in entry.leaf.decode() and "Berit" not in entry.leaf.decode()


def test_what_moves_by_other_parties_stands_in_the_suppliers_log_alone(world: World) -> None:
    world.record(1)
    own, told = world.entries()[0].event, world.entries(CUSTOMER)[0].event
    assert own["rows_digest"] == (b"r" * 32).hex()
    assert own["facts"] == {"change": 1, "version": 1}
    assert told["facts"] == {"version": 1}
    assert not {"rows_digest", "streams"} & told.keys()


@pytest.mark.parametrize(
    ("projection", "shown"),
    [
        (Projection.FULL, {"actor.name", "actor.person", "actor.organisation_name"}),  # a rival's party: no device
        (Projection.PERSON, {"actor.name", "actor.person", "actor.organisation_name"}),
        (Projection.ORGANISATION, {"actor.organisation_name"}),
        (Projection.SUPPLIER, set()),
    ],
)
def test_a_projected_actor_tells_no_more_than_it_may(world: World, projection: Projection, shown: set[str]) -> None:
    world.record(1, {RIVAL: projection})
    (entry,) = world.entries(RIVAL)
    assert set(entry.personal) == shown | {"path"}
    assert set(entry.event["commitments"]) == shown | {"path"}
    whole = entry.leaf.decode() + json.dumps([[field.value, name] for name, field in entry.personal.items()])
    person = actor()
    hidden = [person.device.hex(), person.address]
    if projection in (Projection.ORGANISATION, Projection.SUPPLIER):
        hidden += [person.name, person.principal.hex(), "webdav"]
    if projection is Projection.SUPPLIER:
        hidden += [person.organisation.hex(), person.organisation_name]
    assert [text for text in hidden if text in whole] == []


def test_the_actors_own_party_sees_device_and_address(world: World) -> None:
    world.record(1, {CUSTOMER: Projection.FULL})
    for party in (b"", CUSTOMER):
        (entry,) = world.entries(party)
        assert entry.personal["actor.address"].value == "192.0.2.7"
        assert entry.personal["actor.device"].value == (b"D" * 16).hex()


def test_events_of_signing_in_go_to_the_installations_log(world: World) -> None:
    with world.database.write() as connection:
        world.audit.record_auth(
            connection, AuthEvent("sign_in", 5, actor(), CUSTOMER, {"factor": "totp"}, {"login": "berit"})
        )
        world.audit.record_auth(connection, AuthEvent("sign_in_refused", 6, actor(""), None, {}, {"login": "x\udcff"}))
    assert [entry.event["outcome"] for entry in world.entries(space=b"")] == ["done", "refused"]
    assert [entry.event["kind"] for entry in world.entries(CUSTOMER, space=b"")] == ["sign_in"]
    assert world.entries(space=b"")[1].personal["login"].value == "x?"


def test_probes_are_counted_by_the_minute(world: World) -> None:
    for _ in range(7):
        world.audit.note_unseen(actor())
    world.audit.note_unseen(actor("Rut"))
    world.audit.flush_unseen(everything=True)
    counts = {entry.personal["actor.name"].value: entry.event["facts"] for entry in world.entries(space=b"")}
    assert sum(facts["count"] for facts in counts.values()) == 8
    assert counts["Rut"] == {"count": 1}
    assert world.audit.flush_unseen(everything=True) == 0


def test_probes_that_could_not_be_told_were_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.audit.note_unseen(actor())

    def full(*_: object) -> None:
        world.audit.note_unseen(actor())  # another request's, meanwhile
        raise StorageFull

    with monkeypatch.context() as patched, pytest.raises(StorageFull):
        patched.setattr(world.database, "apply", full)
        world.audit.flush_unseen(everything=True)
    world.audit.flush_unseen(everything=True)
    assert sum(entry.event["facts"]["count"] for entry in world.entries(space=b"")) == 2


def test_probes_of_many_fill_no_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "UNSEEN_MAX", 2)
    for name in ("Rut", "Kaj", "Ulf", "Rut"):
        world.audit.note_unseen(actor(name))
    world.audit.flush_unseen(everything=True)
    assert sum(entry.event["facts"]["count"] for entry in world.entries(space=b"")) == 3


def test_probes_counted_by_a_clock_that_was_ahead_are_told_once_it_is_right(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = MachineClock(monkeypatch)
    machine.ahead_seconds = 10 * YEAR_SECONDS
    world.audit.note_unseen(actor())
    assert world.audit.flush_unseen() == 0
    machine.ahead_seconds = 0
    assert world.audit.flush_unseen() == 1


def test_bodies_are_sealed_and_in_the_suppliers_log_alone(world: World) -> None:
    world.record(2)
    with world.database.read() as connection:
        rows = list(connection.execute(select(tables.log_entry)))
    assert [row.body is None for row in sorted(rows, key=lambda row: row.log)] == [False, False, True, True]
    assert not [row for row in rows if row.body and b"Bokslut" in row.body]


def test_an_unknown_kind_is_refused(world: World) -> None:
    with pytest.raises(UnknownKind), world.database.write() as connection:
        world.audit.record(connection, world.event("nonsense"), {})
    with pytest.raises(UnknownLog):
        world.log()
    assert all(text.endswith(".") and len(text) > 10 for text in KINDS.values())


def test_an_undone_act_leaves_no_event_and_no_gap(world: World) -> None:
    world.record(1)

    def fails() -> None:
        with world.database.write() as connection:
            world.audit.record(connection, world.event(), {RIVAL: Projection.FULL})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    world.record(1)
    assert [entry.number for entry in world.entries()] == [0, 1]
    with pytest.raises(UnknownLog):
        world.log(RIVAL)


def test_eighty_parties_get_an_event_each(world: World) -> None:
    parties = {bytes([200, number]) * 8: Projection.ORGANISATION for number in range(80)}
    world.record(2, parties)
    for party in parties:
        assert [entry.number for entry in world.entries(party)] == [0, 1]


def test_writers_side_by_side_leave_no_gap_and_no_double(world: World) -> None:
    """Each in a transaction of its own: on PostgreSQL they meet at the rows of the logs."""
    parties = [
        {CUSTOMER: Projection.FULL, RIVAL: Projection.SUPPLIER},
        {RIVAL: Projection.FULL},
        {SUPPLIER: Projection.FULL},
    ]
    errors: list[BaseException] = []

    def work(which: int) -> None:
        try:
            for _ in range(10):
                with world.database.write() as connection:
                    world.audit.record(connection, world.event(), parties[which % 3])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [entry.number for entry in world.entries()] == list(range(60))
    assert [entry.number for entry in world.entries(CUSTOMER)] == list(range(20))
    assert [entry.number for entry in world.entries(RIVAL)] == list(range(40))


@pytest.mark.parametrize("how", ["record", "journal", "checkpoints"])
def test_whoever_writes_to_logs_of_a_space_waits_for_its_head(world: World, data_folder: Path, how: str) -> None:
    """A change takes the head first and rows of logs last. Who took them the other way round met it in a deadlock."""
    journal = ReadJournal(data_folder / "journal", world.audit)
    acts: dict[str, Callable[[], object]] = {
        "record": world.record,
        "journal": journal.drain,
        "checkpoints": world.checkpoints.advance_now,
    }
    head = tables.head
    with world.database.write() as connection:
        connection.execute(head.insert().values(space=world.space, number=1, at=AT, sealed_bytes=0))
    world.record()
    journal.note(world.event("read", facts={"version": 1}, rows_digest=None), new_id(), {CUSTOMER: Projection.FULL})
    waiting = threading.Thread(target=acts[how])
    with world.database.write() as connection:
        connection.execute(select(head).where(head.c.space == world.space).with_for_update())
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        world.audit.record(connection, world.event(), {CUSTOMER: Projection.FULL})
    waiting.join(30)
    assert not waiting.is_alive()
    world.checkpoints.advance_now()
    assert world.log().signed_size == world.log().size == (2 if how == "checkpoints" else 3)


def test_a_body_moved_to_another_number_does_not_open(world: World) -> None:
    world.record(2)
    table = tables.log_entry
    with world.database.write() as connection:
        body = connection.execute(select(table.c.body).where(table.c.log == world.log().id, table.c.number == 1))
        connection.execute(table.update().where(table.c.number == 0).values(body=body.scalar_one()))
    with pytest.raises(EntryDamaged):
        world.entries()


def test_an_event_that_is_not_what_its_hash_says_is_not_shown(world: World) -> None:
    world.record(2)
    with world.database.write() as connection:
        connection.execute(tables.log_entry.update().where(tables.log_entry.c.number == 1).values(leaf_hash=b"h" * 32))
    with pytest.raises(EntryDamaged):
        world.entries()


@pytest.mark.parametrize(("number", "party"), [(1, b""), (2, b""), (1, CUSTOMER)], ids=["within", "last", "source"])
def test_what_stands_behind_a_missing_event_is_not_shown(world: World, number: int, party: bytes) -> None:
    world.record(3)
    with world.database.write() as connection:
        gone = (tables.log_entry.c.log == world.log().id) & (tables.log_entry.c.number == number)
        connection.execute(tables.log_entry.delete().where(gone))
    info, shown = world.log(party), []
    with world.database.read() as connection, pytest.raises(EntryDamaged) as raised:
        for entry in world.audit.entries(connection, info):
            shown.append(entry.number)
    assert (raised.value.facts["number"], shown) == (number, list(range(number)))


def test_what_was_emptied_is_damaged_to_who_forgets(world: World) -> None:
    world.record(1)
    with world.database.write() as connection:
        connection.execute(tables.log_entry.update().values(body=None))
        with pytest.raises(EntryDamaged):
            world.audit.forget(connection, lambda _: ["path"])


def test_an_event_cannot_name_another_actor_than_its_own(world: World) -> None:
    with pytest.raises(ValueError, match=r"actor\.name"):
        world.record(1, personal={"actor.name": "Rut"})


def test_forgetting_a_person_erases_their_openings_alone(world: World) -> None:
    world.record(1)
    world.record(1, actor=actor("Rut", device=b"E" * 16))
    berit = actor()
    before = [entry.leaf for entry in world.entries()]
    with world.database.write() as connection:
        assert world.audit.forget(connection, of_person(berit.principal, fields=["path"])) == 1
    first, second = world.entries()
    assert [first.leaf, second.leaf] == before
    assert {field.value for field in first.personal.values()} == {None}
    assert second.personal["actor.name"].value == "Rut"
    told = world.entries(CUSTOMER)[0]
    assert told.personal["actor.name"].value is None and told.personal["actor.name"].salt is None
    with world.database.write() as connection:
        assert world.audit.forget(connection, of_person(berit.principal, fields=["path"])) == 0


def test_what_two_erase_of_one_event_at_the_same_time_is_erased_both(world: World) -> None:
    """Each writes the body anew. The second to write brought back what the first had erased."""
    world.record(1)
    begun, waiting = threading.Event(), threading.Event()

    def path(_: object) -> list[str]:
        begun.set()
        assert waiting.wait(30)
        return ["path"]

    def run() -> None:
        world.database.apply(lambda connection: world.audit.forget(connection, path))

    second = threading.Thread(target=run)
    with world.database.write() as connection:
        second.start()
        if world.database.dialect == "postgresql":  # else it waits for its turn
            assert begun.wait(30)
        assert world.audit.forget(connection, lambda _: ["actor.name"]) == 1
        waiting.set()
        second.join(0.5)
        assert second.is_alive()
    second.join(30)
    (entry,) = world.entries()
    assert [entry.personal[name].value for name in ("path", "actor.name")] == [None, None]
    with world.database.write() as connection:
        assert world.audit.forget(connection, lambda _: ["path", "what no event has"]) == 0


def test_forgetting_passes_over_a_space_that_was_erased(world: World) -> None:
    world.record(1)
    world.record(1, {}, space=None, node=None)
    world.keyring.destroy(world.space)
    with world.database.write() as connection:
        assert world.audit.forget(connection, of_person(actor().principal, fields=["path"])) == 1


def test_of_what_others_did_about_a_person_what_was_typed_is_forgotten(world: World) -> None:
    world.record(1, facts={"person": actor("Rut").principal.hex()})
    with world.database.write() as connection:
        assert world.audit.forget(connection, of_person(actor("Rut").principal)) == 1
    (entry,) = world.entries()
    assert (entry.personal["path"].value, entry.personal["actor.name"].value) == (None, actor().name)


def test_reading_goes_by_ranges(world: World, database: Database) -> None:
    world.record(5)
    info = world.log()
    with database.read() as connection:
        assert [entry.number for entry in world.audit.entries(connection, info, 2, 2)] == [2, 3]
        assert [entry.number for entry in world.audit.entries(connection, info, 4, 9)] == [4]
        assert list(world.audit.entries(connection, info, 9)) == []
