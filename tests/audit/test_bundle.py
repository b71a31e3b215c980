"""A bundle says, with nothing but the public key and what was kept, whether it is whole, and if not, where."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.clock import SECOND_US
from config.database import Database
from providers.audit import note
from providers.audit.bundle import export, verify_bundle
from providers.audit.errors import NotSignedYet
from providers.audit.events import Projection
from providers.audit.log import of_person
from providers.audit.merkle import EMPTY_ROOT
from tests.audit.forge import change_event, drop_last, rebuild
from tests.audit.helpers import AT, CUSTOMER, RIVAL, World, actor


def exported(world: World, folder: Path, party: bytes = b"") -> Path:
    path = folder / "bundle.jsonl"
    path.unlink(missing_ok=True)  # what stands is not overwritten
    with world.database.read() as connection:
        export(connection, world.audit, world.audit.find(connection, world.space, party), path)
    return path


@pytest.fixture
def grown(world: World) -> World:
    world.record(20)
    world.checkpoints.advance_now()
    return world


@pytest.mark.parametrize("party", [b"", CUSTOMER])
def test_a_bundle_is_whole(grown: World, tmp_path: Path, party: bytes) -> None:
    kept = grown.checkpoint(party)
    grown.record(3)
    grown.checkpoints.advance_now()
    path = exported(grown, tmp_path, party)
    outcome = verify_bundle(path, grown.public_key, kept)
    assert (outcome.code, outcome.size) == (0, 23)
    assert outcome.checkpoint == grown.checkpoint(party)
    assert verify_bundle(path, grown.public_key.hex(), outcome.checkpoint).code == 0
    assert [found.name for found in tmp_path.iterdir() if found.name.startswith(".")] == []


def test_it_holds_what_its_reader_may_see_and_no_more(world: World, tmp_path: Path) -> None:
    world.record(4, {CUSTOMER: Projection.FULL, RIVAL: Projection.ORGANISATION})
    world.checkpoints.advance_now()
    theirs = exported(world, tmp_path, CUSTOMER).read_text()
    assert "Berit Öst" in theirs and "192.0.2.7" in theirs and "År 2.pdf" in theirs
    rivals = exported(world, tmp_path, RIVAL).read_text()
    assert "Berit" not in rivals and "192.0.2.7" not in rivals and "År 2.pdf" in rivals and "Kund & Co" in rivals
    assert actor().principal.hex() not in rivals and actor().device.hex() not in rivals


def test_what_is_not_signed_yet_is_left_out(grown: World, tmp_path: Path) -> None:
    grown.record(2)
    assert verify_bundle(exported(grown, tmp_path), grown.public_key).size == 20
    grown.record(1, {RIVAL: Projection.FULL})
    with pytest.raises(NotSignedYet):
        exported(grown, tmp_path, RIVAL)
    assert not (tmp_path / ".bundle.jsonl").exists()


def test_a_stream_takes_it_as_well(grown: World, tmp_path: Path) -> None:
    out = io.BytesIO()
    with grown.database.read() as connection:
        assert export(connection, grown.audit, grown.audit.find(connection, grown.space), out) == 20
    assert out.getvalue() == exported(grown, tmp_path).read_bytes()


def test_one_event_changed_and_all_signed_anew(grown: World, tmp_path: Path) -> None:
    kept = grown.checkpoint(CUSTOMER)
    change_event(grown, 12, kind="read")
    rebuild(grown)
    path = exported(grown, tmp_path, CUSTOMER)
    assert verify_bundle(path, grown.public_key).code == 0
    outcome = verify_bundle(path, grown.public_key, kept)
    assert (outcome.code, outcome.number) == (1, 0)
    assert "the checkpoint you kept" in outcome.message


def test_the_last_ten_events_dropped(grown: World, tmp_path: Path) -> None:
    kept = grown.checkpoint(CUSTOMER)
    drop_last(grown, 10)
    drop_last(grown, 10, CUSTOMER)
    rebuild(grown)
    outcome = verify_bundle(exported(grown, tmp_path, CUSTOMER), grown.public_key, kept)
    assert (outcome.code, outcome.number) == (2, 10)
    assert "events 10 to 19 were dropped" in outcome.message and not outcome.checkpoint
    grown.record(10, kind="read")  # the gap filled with other events
    grown.checkpoints.advance_now()
    assert verify_bundle(exported(grown, tmp_path, CUSTOMER), grown.public_key, kept).code == 1


def test_another_key_and_another_log(grown: World, tmp_path: Path) -> None:
    path = exported(grown, tmp_path, CUSTOMER)
    other = Ed25519PrivateKey.generate()
    assert verify_bundle(path, other.public_key().public_bytes_raw()).code == 1
    assert verify_bundle(path, grown.public_key, grown.checkpoint()).code == 2
    forged = note.signed(note.opened(grown.checkpoint(CUSTOMER), grown.public_key), other)
    assert verify_bundle(path, grown.public_key, forged).code == 2
    assert verify_bundle(tmp_path / "absent", grown.public_key).code == 2
    assert verify_bundle(path, "no key").code == 2


def test_the_event_in_question_is_named(grown: World, tmp_path: Path) -> None:
    path = exported(grown, tmp_path)
    lines = path.read_text().splitlines()
    for number, old, new in ((7, "write", "wrong"), (11, '"version":1', '"version":2'), (19, "År 20", "År 21")):
        bent = list(lines)
        position = next(at for at, line in enumerate(lines) if f'"number":{number},' in line)
        bent[position] = bent[position].replace(old, new)
        path.write_text("\n".join(bent) + "\n")
        outcome = verify_bundle(path, grown.public_key)
        # What an opening no longer fits is named itself; a leaf, by the checkpoints around it.
        assert outcome.code == 1 and outcome.number == (number if "År" in old else 0)
    swapped = [*lines[:5], lines[6], lines[5], *lines[7:]]
    path.write_text("\n".join(swapped) + "\n")
    assert verify_bundle(path, grown.public_key).code == 1


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """The bytes of a bundle, and the public key."""
    folder = tmp_path_factory.mktemp("sample")
    database = Database(folder)
    database.create_all_for_tests()
    world = World.made(database)
    world.record(9)
    world.checkpoints.advance_now()
    made = exported(world, folder).read_bytes(), world.public_key
    database.dispose()
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.data())
def test_no_byte_can_be_changed(sample: tuple[bytes, bytes], tmp_path: Path, data: st.DataObject) -> None:
    whole, public = sample
    position = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.integers(1, 255))
    bent = whole[:position] + bytes([whole[position] ^ flip]) + whole[position + 1 :]
    path = tmp_path / "bent"
    path.write_bytes(bent)
    outcome = verify_bundle(path, public)
    assert outcome.code in (1, 2) or meaning(bent) == meaning(whole)


def meaning(bundle: bytes) -> list[object]:
    return [json.loads(line) for line in bundle.splitlines()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.data())
def test_a_bundle_cut_short_is_incomplete(sample: tuple[bytes, bytes], tmp_path: Path, data: st.DataObject) -> None:
    whole, public = sample
    path = tmp_path / "cut"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert verify_bundle(path, public).code == 2
    path.write_bytes(whole + b"\n")
    assert verify_bundle(path, public).code == 1


def test_a_name_that_stands_twice_is_refused(sample: tuple[bytes, bytes], tmp_path: Path) -> None:
    whole, public = sample
    path = tmp_path / "double"
    path.write_bytes(whole.replace(b'"leaf":{"event":{', b'"leaf":{"event":{"kind":"read",', 1))
    assert verify_bundle(path, public).code == 1


def test_what_no_checkpoint_covers_is_not_whole(sample: tuple[bytes, bytes], tmp_path: Path) -> None:
    whole, public = sample
    path = tmp_path / "bent"
    for old, new in ((b'"size":9', b'"size":8'), (b'"checkpoints":1', b'"checkpoints":0'), (b'"size":9', b'"size":10')):
        path.write_bytes(whole.replace(old, new, 1))
        assert verify_bundle(path, public).code == 1
    lines = whole.splitlines(keepends=True)
    head = json.loads(lines[0])
    empty = json.dumps({**head, "checkpoints": 0, "size": 0}).encode() + b"\n"
    path.write_bytes(empty + b'{"end":0}\n')
    assert verify_bundle(path, public).code == 1
    path.write_bytes(json.dumps({**head, "checkpoints": 0}).encode() + b"\n" + b"".join(lines[2:]))
    assert verify_bundle(path, public).code == 1


def test_words_that_nobody_signed_are_refused(sample: tuple[bytes, bytes], tmp_path: Path) -> None:
    whole, public = sample
    path = tmp_path / "added"
    path.write_bytes(whole.replace(b'{"leaf":', b'{"comment":"as agreed","leaf":', 1))
    assert verify_bundle(path, public).code == 1


def test_a_forgotten_person_leaves_a_whole_bundle_without_them(grown: World, tmp_path: Path) -> None:
    kept = grown.checkpoint(CUSTOMER)
    with grown.database.write() as connection:
        grown.audit.forget(connection, of_person(actor().principal))
    path = exported(grown, tmp_path, CUSTOMER)
    assert "Berit" not in path.read_text() and "År 2.pdf" in path.read_text()
    assert verify_bundle(path, grown.public_key, kept).code == 0


def test_what_the_first_line_says_beside_what_is_signed(grown: World, tmp_path: Path) -> None:
    path = exported(grown, tmp_path)
    head, rest = path.read_text().split("\n", 1)
    origin = json.loads(head)["origin"]
    for change, code in (
        ({"v": 9}, 2),
        ({"v": 2}, 1),
        ({"origin": f"{origin}0", "public_key": note.verifier_key(f"{origin}0", grown.public_key)}, 1),
    ):
        path.write_text(json.dumps({**json.loads(head), **change}) + "\n" + rest)
        assert verify_bundle(path, grown.public_key).code == code


def test_checkpoints_lead_to_the_newest_each_with_more_than_the_one_before(world: World, tmp_path: Path) -> None:
    for count, hours in ((5, 0), (4, 2)):
        world.record(count)
        world.checkpoints.advance_now(AT + hours * 3600 * SECOND_US)
    path = exported(world, tmp_path)
    head, first, second, *rest = path.read_text().split("\n")
    bent = [*rest[:7], rest[7].replace('"version":1', '"version":2'), *rest[8:]]
    path.write_text("\n".join([head, first, second, *bent]))
    assert verify_bundle(path, world.public_key).number == 5, "the first five are good"
    path.write_text("\n".join([head.replace('"checkpoints":2', '"checkpoints":3'), first, first, second, *rest]))
    assert verify_bundle(path, world.public_key).code == 1


def test_a_kept_checkpoint_of_nothing_is_that_of_an_empty_log(grown: World, tmp_path: Path) -> None:
    path, key = exported(grown, tmp_path), grown.keyring.installation().signing
    origin = note.opened(grown.checkpoint(), grown.public_key).origin
    for root, code in ((EMPTY_ROOT, 0), (b"r" * 32, 1)):
        kept = note.signed(note.Checkpoint(origin, 0, root), key)
        assert verify_bundle(path, grown.public_key, kept).code == code
