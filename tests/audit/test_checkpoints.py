"""Trees and checkpoints as logs grow: by any number of processes, across crashes; proofs from what is stored."""

from __future__ import annotations

import base64
import threading
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from config.clock import SECOND_US
from providers import tables
from providers.audit import checkpoints, merkle, note
from providers.audit.checkpoints import Checkpoints
from providers.audit.errors import BadNote, UnknownLog
from providers.audit.events import Projection
from providers.audit.verify import verify_logs
from tests.audit.helpers import CUSTOMER, RIVAL, World

#: golang.org/x/mod/sumdb/note, the reference implementation of signed notes.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_note_of_the_reference_implementation_opens() -> None:
    public = bytes.fromhex("1a5cd907143c384c41e830c5bce12aa8817ec5649aaabf2c31388b35b2d744d6")
    assert note.verifier_key("PeterNeumann", public) == GO_KEY
    assert note.open_note(GO_NOTE, "PeterNeumann", public).startswith("If you think")
    for bent in (GO_NOTE.replace("problem is", "problem was"), GO_NOTE.replace("x08go", "x08gp"), GO_NOTE[:-3], ""):
        with pytest.raises(BadNote):
            note.open_note(bent, "PeterNeumann", public)
    with pytest.raises(BadNote):
        note.open_note(GO_NOTE, "PeterNeuman", public)
    with pytest.raises(BadNote, match="no text"):
        note.open_note(f"\ud800{GO_NOTE}", "PeterNeumann", public)


def test_a_note_has_bounds() -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    good = note.sign("a\n", "n", key)
    line = good.splitlines(keepends=True)[-1]
    assert note.open_note(good + 99 * line, "n", public) == "a\n"
    long, damaged = note.sign("a" * note.NOTE_BYTES_MAX + "\n", "n", key), good.replace("\n\n", "\n\n— x AAAA\n")
    for bent in (good + 100 * line, long, damaged):
        with pytest.raises(BadNote):
            note.open_note(bent, "n", public)


@given(st.integers(0, 10**18 - 1), st.binary(min_size=32, max_size=32))
def test_checkpoints_survive_their_text(size: int, root: bytes) -> None:
    made = note.Checkpoint("mellanrum/aa/bb", size, root)
    assert note.parse(made.text()) == made


@pytest.mark.parametrize(
    "text",
    ["", "a\n1\n", "a\n01\nA\n", "a\n-1\nA\n", "a\n1\nAAAA\n", "a\n٣\n" + "A" * 43 + "=\n", "\n1\n" + "A" * 43 + "=\n"],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(BadNote):
        note.parse(text)


def test_public_keys_come_in_every_usual_form(world: World) -> None:
    public = world.public_key
    named = note.verifier_key("mellanrum/aa/bb", public)
    for form in (public, public.hex(), named, public.hex().upper()):
        assert note.public_bytes(form) == public
    other_kind = base64.b64encode(b"\2" + public).decode()
    for none in (named.replace("aa", "ab"), named.rpartition("+")[0] + "+" + other_kind, "nonsense", "\ud800"):
        with pytest.raises(BadNote):
            note.public_bytes(none)


def test_a_public_key_in_base64_is_read_whichever_signs_it_has() -> None:
    for public in (bytes(32), b"\xff\xef\xbe" * 10 + b"\xff\xef"):
        assert note.public_bytes(f" {base64.b64encode(public).decode()}\n") == public


@pytest.mark.parametrize(("text", "name"), [("a", "n"), ("a\n", ""), ("a\n", "a b"), ("a\n", "a+b"), ("a\n", "a\nb")])
def test_what_could_not_be_opened_again_is_not_signed(text: str, name: str) -> None:
    with pytest.raises(ValueError, match="no such note"):
        note.sign(text, name, Ed25519PrivateKey.generate())


def test_every_log_that_grew_gets_a_checkpoint(world: World) -> None:
    world.record(3, {CUSTOMER: Projection.FULL, RIVAL: Projection.SUPPLIER})
    world.record(2)
    assert world.checkpoints.advance() == 3
    for party, size in ((b"", 5), (CUSTOMER, 5), (RIVAL, 3)):
        found = note.opened(world.checkpoint(party), world.public_key)
        assert found.size == size == world.log(party).signed_size
        frontier = merkle.Frontier()
        for entry in world.entries(party):
            frontier.append(entry.leaf_hash)
        assert found.root == frontier.root()
    assert world.checkpoints.advance() == 0
    assert list(verify_logs(world.database, world.keyring)) == []


def test_growing_in_any_steps_makes_the_same_tree(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "STEP_LEAVES", 3)
    for count in (1, 1, 2, 7, 5):
        world.record(count)
        world.checkpoints.advance_now()
    root = note.opened(world.checkpoint(), world.public_key).root
    with world.database.write() as connection:
        connection.execute(tables.tree_node.delete())
        connection.execute(tables.checkpoint.delete())
        connection.execute(tables.log.update().values(signed_size=0))
    monkeypatch.undo()
    world.checkpoints.advance_now()
    assert note.opened(world.checkpoint(), world.public_key).root == root
    assert list(verify_logs(world.database, world.keyring)) == []


def test_proofs_come_from_stored_nodes(world: World) -> None:
    notes = []
    for count in (4, 9, 6):
        world.record(count)
        world.checkpoints.advance_now()
        notes.append(note.opened(world.checkpoint(), world.public_key))
    entries, info = world.entries(), world.log()
    with world.database.read() as connection:
        for known in notes:
            for entry in entries[: known.size]:
                path = world.checkpoints.inclusion(connection, info, entry.number, known.size)
                assert merkle.verify_inclusion(entry.leaf_hash, entry.number, known.size, path, known.root)
            for later in notes:
                if later.size >= known.size:
                    path = world.checkpoints.consistency(connection, info, known.size, later.size)
                    assert merkle.verify_consistency(known.size, later.size, known.root, later.root, path)
        world.record(1)  # which is not signed yet
        info = world.log()
        for number, size in ((5, 5), (19, 20), (-1, 5)):
            with pytest.raises(UnknownLog):
                world.checkpoints.inclusion(connection, info, number, size)
        for old, new in ((5, 4), (4, 20), (-1, 4)):
            with pytest.raises(UnknownLog):
                world.checkpoints.consistency(connection, info, old, new)


def test_one_of_many_processes_holds_the_lease(world: World) -> None:
    world.record(1, {})
    other = Checkpoints(world.database, world.keyring)
    assert world.checkpoints.advance() == 1
    world.record(1, {})
    assert other.advance() == 0
    assert world.checkpoints.advance() == 1
    world.record(1, {})
    with world.database.transient_write() as connection:  # the holder dies, its lease runs out
        connection.execute(tables.lease.update().values(until=1))
    assert other.advance() == 1


def test_after_a_clock_that_was_ahead_is_put_right_somebody_signs(world: World) -> None:
    ahead = 365 * 24 * 3600 * SECOND_US
    world.record(1, {})
    assert world.checkpoints.advance() == 1
    with world.database.transient_write() as connection:
        connection.execute(tables.lease.update().values(until=tables.lease.c.until + ahead))
    other = Checkpoints(world.database, world.keyring)
    world.record(1, {})
    assert other.advance() == 1
    world.record(1, {})
    assert (world.checkpoints.advance(), other.advance()) == (0, 1)


def test_two_that_both_believe_to_hold_it_do_no_harm(world: World) -> None:
    workers = [Checkpoints(world.database, world.keyring) for _ in range(3)]
    stop = threading.Event()

    def grow(worker: Checkpoints) -> None:
        while not stop.is_set():
            worker.advance_now()

    threads = [threading.Thread(target=grow, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    world.record(40)
    stop.set()
    for thread in threads:
        thread.join()
    world.checkpoints.advance_now()
    assert world.log().signed_size == 40
    assert list(verify_logs(world.database, world.keyring)) == []


def test_a_crash_between_reading_and_writing_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.record(6)
    real = Checkpoints._write

    def dies(*args: object) -> None:
        real(*args)  # type: ignore[arg-type]
        raise RuntimeError

    monkeypatch.setattr(Checkpoints, "_write", dies)
    with pytest.raises(RuntimeError):
        world.checkpoints.advance_now()
    monkeypatch.undo()
    assert world.log().signed_size == 0
    world.checkpoints.advance_now()
    assert list(verify_logs(world.database, world.keyring)) == []


def test_of_an_hours_checkpoints_the_last_is_kept(world: World) -> None:
    hour = 3600 * 1_000_000
    for at in (10 * hour, 10 * hour + 5, 10 * hour + 9, 11 * hour, 11 * hour + 1):
        world.record(1)
        world.checkpoints.advance_now(at)
    with world.database.read() as connection:
        query = select(tables.checkpoint.c.size).where(tables.checkpoint.c.log == world.log().id)
        assert sorted(connection.execute(query).scalars()) == [3, 5]
    assert list(verify_logs(world.database, world.keyring)) == []


def test_one_damaged_log_does_not_hold_up_the_others(world: World) -> None:
    world.record(4)
    world.checkpoints.advance_now()
    with world.database.write() as connection:
        connection.execute(tables.tree_node.delete().where(tables.tree_node.c.log == world.log().id))
    world.record(1)
    assert world.checkpoints.advance_now() == 1
    assert (world.log().signed_size, world.log(CUSTOMER).signed_size) == (4, 5)
    with world.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.checkpoint)).scalar_one() in (2, 3)


@pytest.mark.parametrize("number", [5, 7], ids=["within", "the last"])
def test_a_log_that_lacks_an_event_is_not_signed_any_further(world: World, number: int) -> None:
    world.record(4, {})
    world.checkpoints.advance_now()
    world.record(4, {})
    with world.database.write() as connection:
        connection.execute(tables.log_entry.delete().where(tables.log_entry.c.number == number))
    assert world.checkpoints.advance_now() == 0
    assert world.log().signed_size == 4


def test_what_comes_meanwhile_is_left_to_the_next_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would go on for as long as anybody works: an export waited for the end of the day."""
    world.record()
    written = Checkpoints._write

    def busy(self: Checkpoints, connection: Any, step: Any, at: int) -> None:
        written(self, connection, step, at)
        assert world.audit.find(connection, world.space).size < 20, "it goes on and on"
        world.audit.record(connection, world.event(), {CUSTOMER: Projection.FULL})

    monkeypatch.setattr(Checkpoints, "_write", busy)
    world.checkpoints.advance_now()
    assert world.log().signed_size == 1
    assert world.checkpoints.advance_now() > 0
    assert world.log().signed_size > 1
