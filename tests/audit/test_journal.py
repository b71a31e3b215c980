"""Reads are durable before a byte leaves, numbered once, and survive the death of their process."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from auth.keyring import Keyring
from config.database import Database
from config.errors import StorageFull
from config.ids import new_id
from providers import tables
from providers.audit import drain, frames
from providers.audit.errors import JournalFailed
from providers.audit.events import Event, Projection
from providers.audit.journal import ReadJournal
from providers.audit.leaf import Body
from providers.audit.log import AuditLog
from tests.audit.helpers import AT, CUSTOMER, RIVAL, World, actor

MINUTE = 60_000_000
AUDIENCE = {CUSTOMER: Projection.FULL, RIVAL: Projection.SUPPLIER}


@pytest.fixture
def folder(data_folder: Path) -> Path:
    return data_folder / "journal"


@pytest.fixture
def journal(world: World, folder: Path) -> ReadJournal:
    return ReadJournal(folder, world.audit)


def reading(world: World, at: int = AT, **changed: object) -> Event:
    return world.event("read", at=at, facts={"version": 1}, rows_digest=None, **changed)


def kinds(world: World, party: bytes = b"") -> list[str]:
    return [entry.event["kind"] for entry in world.entries(party)]


def test_reads_are_numbered_into_each_log(world: World, journal: ReadJournal) -> None:
    for _ in range(3):
        journal.note(reading(world), new_id(), AUDIENCE)
    assert journal.drain() == 3
    assert kinds(world) == kinds(world, CUSTOMER) == kinds(world, RIVAL) == ["read"] * 3
    assert world.entries()[1].personal["path"].value == "/Bokslut/År 2.pdf"
    assert world.entries(RIVAL)[0].event["actor"] == {"as": "supplier"}
    assert journal.drain() == 0


def test_reads_of_several_audiences_keep_their_order(world: World, journal: ReadJournal) -> None:
    """Those that go to the same parties one after the other are numbered together, and no others."""
    audiences = [AUDIENCE, AUDIENCE, {CUSTOMER: Projection.FULL}, AUDIENCE, {RIVAL: Projection.PERSON}, AUDIENCE]
    for number, audience in enumerate(audiences):
        journal.note(reading(world, AT + number), new_id(), audience)
    assert journal.drain() == 6

    def order(party: bytes = b"") -> list[tuple[int, int]]:
        return [(entry.number, entry.event["at"] - AT) for entry in world.entries(party)]

    assert order() == [(number, number) for number in range(6)]
    assert order(CUSTOMER) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 5)]
    assert order(RIVAL) == [(0, 0), (1, 1), (2, 3), (3, 4), (4, 5)]


def test_it_is_on_disk_and_sealed_when_note_returns(world: World, journal: ReadJournal, folder: Path) -> None:
    journal.note(reading(world), b"v" * 16, AUDIENCE)
    (file,) = folder.glob("*.journal")
    data = file.read_bytes()
    assert len(data) == frames.CAPACITY_BYTES
    for canary in ("Berit Öst", "Bokslut", "192.0.2.7", (b"v" * 16).hex()):
        assert canary.encode() not in data and b"v" * 16 not in data


def test_note_syncs_before_it_returns(world: World, journal: ReadJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    real_write, real_sync = os.pwrite, os.fdatasync
    journal.note(reading(world), new_id(), AUDIENCE)
    monkeypatch.setattr(frames.os, "pwrite", lambda *args: (steps.append("write"), real_write(*args))[1])
    monkeypatch.setattr(frames.os, "fdatasync", lambda fd: (steps.append("sync"), real_sync(fd))[1])
    journal.note(reading(world), new_id(), AUDIENCE)
    assert steps == ["write", "sync", "write"]  # the last tells other processes


def test_reads_within_ten_minutes_are_one_event(world: World, journal: ReadJournal) -> None:
    version = new_id()
    for minute in (0, 1, 9, 11, 20, 21):
        journal.note(reading(world, AT + minute * MINUTE), version, AUDIENCE)
    journal.note(reading(world, actor=actor(device=b"E" * 16)), version, AUDIENCE)
    journal.note(reading(world, actor=actor(device=b"")), version, AUDIENCE)
    journal.note(reading(world), new_id(), AUDIENCE)
    journal.drain()
    minutes = [(entry.event["at"] - AT) // MINUTE for entry in world.entries()]
    assert sorted(minutes) == [0, 0, 0, 0, 11, 21]


def test_reads_of_one_device_by_two_processes_are_one_event(world: World, journal: ReadJournal, folder: Path) -> None:
    other = ReadJournal(folder, world.audit)
    version = new_id()
    for minute in (0, 2, 4):
        journal.note(reading(world, AT + minute * MINUTE), version, AUDIENCE)
        other.note(reading(world, AT + minute * MINUTE), version, AUDIENCE)
        journal.drain()
    assert kinds(world) == ["read"]
    ReadJournal(folder, world.audit).note(reading(world, AT + 12 * MINUTE), version, AUDIENCE)
    journal.drain()
    assert kinds(world) == ["read"] * 2


def test_a_read_that_another_process_made_durable_need_not_be_noted(
    world: World, journal: ReadJournal, folder: Path
) -> None:
    other = ReadJournal(folder, world.audit)
    event, version = reading(world), new_id()
    reader = event.actor.device
    assert not journal.has(reader, version, AT) and not other.has(reader, version, AT)
    journal.note(event, version, AUDIENCE)
    for process in (journal, other, other):  # told by the file, then from memory
        assert process.has(reader, version, AT + 9 * MINUTE)
        assert not process.has(reader, version, AT + 10 * MINUTE)
    assert not other.has(b"X" * 16, version, AT) and not other.has(reader, new_id(), AT)
    other.note(reading(world, AT + MINUTE), version, AUDIENCE)  # part of the event that it was told of
    assert len(list(folder.glob("*.journal"))) == 1
    journal.drain()
    assert kinds(world) == ["read"]


def test_a_read_is_told_to_others_only_once_it_is_durable(
    world: World, journal: ReadJournal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ReadJournal(folder, world.audit)
    event, version = reading(world), new_id()
    journal.note(reading(world), new_id(), AUDIENCE)
    found: list[bool] = []

    def failing(fd: int) -> None:
        found.append(other.has(event.actor.device, version, AT))
        raise OSError(errno.EIO, "the disk")

    monkeypatch.setattr(frames.os, "fdatasync", failing)
    with pytest.raises(JournalFailed):
        journal.note(event, version, AUDIENCE)
    assert found == [False] and not other.has(event.actor.device, version, AT)


def test_many_threads_share_syncs(world: World, journal: ReadJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one syncs what it wrote the others queue up; what they wrote by then takes one more."""
    journal.note(reading(world), new_id(), AUDIENCE)  # its file is there from here on
    others = 7
    syncs: list[int] = []
    real = os.fdatasync

    def held_up(fd: int) -> None:
        syncs.append(fd)
        until = time.monotonic() + 20
        while len(syncs) == 1 and len(journal._state.queue) < others and time.monotonic() < until:
            time.sleep(0.001)
        real(fd)

    monkeypatch.setattr(frames.os, "fdatasync", held_up)

    def work() -> None:
        journal.note(reading(world), new_id(), AUDIENCE)

    threads = [threading.Thread(target=work) for _ in range(1 + others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.drain() == 2 + others
    assert len(syncs) == 2


def test_a_second_thread_waits_for_the_sync_of_the_event_it_is_part_of(
    world: World, journal: ReadJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.note(reading(world), new_id(), AUDIENCE)
    gate, real, order = threading.Event(), os.fdatasync, []

    def held(fd: int) -> None:
        gate.wait(5)
        order.append("synced")
        real(fd)

    monkeypatch.setattr(frames.os, "fdatasync", held)
    version = new_id()

    def work() -> None:
        journal.note(reading(world), version, AUDIENCE)
        order.append("returned")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    assert order == []
    gate.set()
    for thread in threads:
        thread.join()
    assert order == ["synced"] + ["returned"] * 8


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, StorageFull), (errno.EIO, JournalFailed)])
def test_a_failed_sync_refuses_the_read_and_the_next_one_starts_anew(
    world: World, journal: ReadJournal, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    version = new_id()
    journal.note(reading(world), new_id(), AUDIENCE)

    def fails(fd: int) -> None:
        raise OSError(code, "no")

    with monkeypatch.context() as patched:
        patched.setattr(frames.os, "fdatasync", fails)
        with pytest.raises(error):
            journal.note(reading(world), version, AUDIENCE)
    journal.note(reading(world), version, AUDIENCE)  # not taken for part of the event that failed
    journal.drain()
    assert len(kinds(world)) == 2


def test_a_full_journal_makes_room_for_the_next(
    world: World, journal: ReadJournal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "CAPACITY_BYTES", 4096)
    for _ in range(12):
        journal.note(reading(world), new_id(), AUDIENCE)
    assert len(list(folder.glob("*.journal"))) > 2
    journal.drain()
    assert len(kinds(world)) == 12
    assert len(list(folder.glob("*.journal"))) == 1
    journal.note(reading(world, personal={"path": "/" + "long" * 5000}), new_id(), AUDIENCE)
    journal.close()
    assert journal.drain() == 1
    assert list(folder.glob("*.journal")) == []
    with world.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.journal)).scalar_one() == 0


def test_a_torn_tail_is_passed_over(world: World, journal: ReadJournal, folder: Path) -> None:
    for _ in range(3):
        journal.note(reading(world), new_id(), AUDIENCE)
    (file,) = folder.glob("*.journal")
    data = file.read_bytes()
    last = data.rindex(frames.FRAME_MAGIC)
    file.write_bytes(data[: last + 200] + bytes(len(data) - last - 200))
    journal.close()
    assert journal.drain() == 2
    assert sorted(folder.iterdir()) == [folder / "drain.lock", folder / "seen"]


@pytest.mark.parametrize("cut", [0, 3, frames.HEADER_BYTES, frames.HEADER_BYTES + 7, 300])
def test_a_file_cut_anywhere_is_read_as_far_as_it_goes(
    world: World, journal: ReadJournal, folder: Path, cut: int
) -> None:
    journal.note(reading(world), new_id(), AUDIENCE)
    (file,) = folder.glob("*.journal")
    os.truncate(file, cut)
    journal.close()
    assert journal.drain() == 0
    assert list(folder.glob("*.journal")) == []


def test_a_journal_damaged_in_its_middle_is_kept(world: World, journal: ReadJournal, folder: Path) -> None:
    for _ in range(3):
        journal.note(reading(world), new_id(), AUDIENCE)
    (file,) = folder.glob("*.journal")
    data = bytearray(file.read_bytes())
    data[data.index(frames.FRAME_MAGIC) + 100] ^= 1
    file.write_bytes(data)
    journal.close()
    assert journal.drain() == 0
    assert [found.suffix for found in folder.iterdir() if found.name not in ("drain.lock", "seen")] == [".damaged"]


def test_frames_cannot_be_moved_to_another_journal(world: World, folder: Path) -> None:
    one, two = ReadJournal(folder, world.audit), ReadJournal(folder, world.audit)
    one.note(reading(world), new_id(), AUDIENCE)
    first = next(iter(folder.glob("*.journal")))
    two.note(reading(world), new_id(), AUDIENCE)
    assert one.drain() == 2
    three = ReadJournal(folder, world.audit)
    before = set(folder.glob("*.journal"))
    three.note(reading(world), new_id(), AUDIENCE)
    (second,) = set(folder.glob("*.journal")) - before
    second.write_bytes(second.read_bytes()[: frames.HEADER_BYTES] + first.read_bytes()[frames.HEADER_BYTES :])
    with world.database.transient_write() as connection:
        connection.execute(tables.read_seen.delete())
    assert three.drain() == 0


def test_a_batch_that_another_process_numbered_is_left_alone(world: World, journal: ReadJournal, folder: Path) -> None:
    """As where the lock on the folder does not hold: two drains of the same frames, one behind the other."""
    journal.note(reading(world), new_id(), AUDIENCE)
    identity = frames.journal_id(next(iter(folder.glob("*.journal"))))
    assert identity is not None
    batch = [{"device": "0d", "version": "0e", "parties": {}, "body": json.loads(Body.of(reading(world)).to_bytes())}]
    late = drain.Drain(folder, world.audit)
    late._commit(identity, batch, (0, 500, 1))
    assert len(kinds(world)) == 1
    with world.database.transient_write() as connection:
        connection.execute(tables.read_seen.delete())
    with pytest.raises(drain._Elsewhere):
        late._commit(identity, batch, (0, 500, 1))
    assert len(kinds(world)) == 1


def test_what_is_drained_is_never_numbered_twice(
    world: World, journal: ReadJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash after the commit and before the file is removed; and two that drain at once."""
    for _ in range(4):
        journal.note(reading(world), new_id(), AUDIENCE)
    journal.close()
    with monkeypatch.context() as patched:
        patched.setattr(drain.Drain, "_remove", lambda *_, **__: (_ for _ in ()).throw(RuntimeError))
        assert journal.drain() == 4
    assert len(kinds(world)) == 4
    with world.database.transient_write() as connection:
        connection.execute(tables.read_seen.delete())
    threads = [threading.Thread(target=journal.drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kinds(world)) == 4


def test_a_drain_that_fails_leaves_everything_for_the_next(
    world: World, journal: ReadJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        journal.note(reading(world), new_id(), AUDIENCE)
    journal.close()
    calls: list[int] = []
    real = AuditLog._rows

    def fails(self: AuditLog, *args: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError
        return real(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(AuditLog, "_rows", fails)
        assert journal.drain() == 0
    assert journal.drain() == 4
    assert len(kinds(world)) == 4


def test_reads_of_an_erased_space_do_not_hold_up_the_rest(world: World, journal: ReadJournal) -> None:
    gone = new_id()
    world.keyring.create(gone)
    journal.note(reading(world, space=gone), new_id(), AUDIENCE)
    journal.note(reading(world), new_id(), AUDIENCE)
    world.keyring.destroy(gone)
    journal.drain()
    assert kinds(world) == ["read"]


def _read_until_killed(path: Path, keyring: Keyring, space: bytes, folder: Path, pipe: int) -> None:
    """In a process of its own: say after each note that it returned, until killed."""
    database = Database(path)
    world = World(database, keyring, AuditLog(database, keyring), None, space)  # type: ignore[arg-type]
    journal = ReadJournal(folder, world.audit)

    def work() -> None:
        while True:
            journal.note(reading(world), new_id(), AUDIENCE)
            os.write(pipe, b".")
            time.sleep(0.002)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    threads[0].join()


@pytest.mark.skipif(sys.platform != "linux", reason="fork")
@pytest.mark.parametrize("wait", [0.05, 0.12, 0.3])
def test_kill_9_loses_no_read_whose_note_returned(tmp_path: Path, wait: float) -> None:
    database = Database(tmp_path)
    database.create_all_for_tests()
    world = World.made(database)
    folder = tmp_path / "journal"
    database.dispose()
    receive, send = os.pipe()
    context = multiprocessing.get_context("fork")
    child = context.Process(
        target=_read_until_killed, args=(tmp_path, world.keyring, world.space, folder, send), daemon=True
    )
    child.start()
    os.close(send)
    acknowledged = len(os.read(receive, 1))
    time.sleep(wait)
    live = ReadJournal(folder, world.audit).drain()  # while it lives: its file stays
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    while got := os.read(receive, 65536):
        acknowledged += len(got)
    os.close(receive)
    total = live + ReadJournal(folder, world.audit).drain()
    assert acknowledged <= total <= acknowledged + 3
    assert list(folder.glob("*.journal")) == []
    assert len(kinds(world)) == total
    database.dispose()
