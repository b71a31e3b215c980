"""A backup was put back: every log tells so for good, nobody honest is accused, and nothing is hidden by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Delete, Update, select

from config.clock import iso_utc
from config.ids import new_id
from providers import tables
from providers.audit import note, opening
from providers.audit.bundle import Outcome, export, verify_bundle
from providers.audit.checkpoints import Checkpoints
from providers.audit.epochs import DUE, REACHED, due_from_now, mark_due, note_reached, require_none_due
from providers.audit.errors import BadNote, EpochDue
from providers.audit.events import Projection
from providers.audit.verify import verify_logs
from tests.audit.forge import change_event, drop_last, rebuild
from tests.audit.helpers import CUSTOMER, RIVAL, World
from tests.audit.past import Past, epoch

BOTH = {CUSTOMER: Projection.FULL, RIVAL: Projection.ORGANISATION}
PARTIES = [b"", CUSTOMER, RIVAL]


@pytest.fixture
def world(world: World) -> World:
    """An installation has a log of its own from the beginning."""
    with world.database.write() as connection:
        world.audit.record(connection, world.event("installation_created", space=None, node=None), {})
    return world


def bundle(world: World, folder: Path, party: bytes = CUSTOMER) -> Path:
    path = folder / f"{new_id().hex()}.jsonl"
    with world.database.read() as connection:
        export(connection, world.audit, world.audit.find(connection, world.space, party), path)
    return path


def outcome(world: World, folder: Path, *kept: str, party: bytes = CUSTOMER) -> Outcome:
    return verify_bundle(bundle(world, folder, party), world.public_key, kept)


def grow(world: World, count: int, **changed: object) -> dict[bytes, str]:
    """Let something happen that both customers see; return the checkpoint of each log."""
    world.record(count, BOTH, **changed)
    world.checkpoints.advance_now()
    return {party: world.checkpoint(party) for party in PARTIES}


class Kept:
    """A log of 20 events, a backup at 12, what was kept at 8, 12 and 20; then put back, told, and grown to 43."""

    def __init__(self, world: World) -> None:
        self.before = grow(world, 8)
        self.at_backup = grow(world, 4)
        self.past = Past.of(world)
        self.newer = grow(world, 8)
        self.past.put_back(world)
        self.opened = epoch(world)
        self.after = grow(world, 30, kind="read")


@pytest.mark.parametrize("party", PARTIES)
def test_whoever_kept_a_newer_checkpoint_is_told_the_truth_and_nobody_is_accused(
    world: World, tmp_path: Path, party: bytes
) -> None:
    kept = Kept(world)
    for known in (kept.before, kept.at_backup, kept.after):
        found = outcome(world, tmp_path, known[party], party=party)
        assert (found.code, found.size, [each.size for each in found.put_back]) == (0, 43, [12])
    found = outcome(world, tmp_path, kept.newer[party], party=party)
    assert (found.code, found.number, found.size) == (2, 12, 43)
    assert f"put back to an earlier state on {iso_utc(kept.opened.at)[:19]}Z" in found.message
    assert "8 events that the checkpoint you kept covers (12 to 19) are no longer in it" in found.message
    assert "That the 12 before are the same proves a checkpoint of at most so many, not this one." in found.message
    assert "What stands is whole: 43 events" in found.message
    assert found.checkpoint == kept.after[party]
    beside = outcome(world, tmp_path, kept.at_backup[party], kept.newer[party], party=party)
    assert beside.code == 2
    assert list(verify_logs(world.database, world.keyring)) == []


def test_also_while_the_log_is_shorter_than_what_was_kept(world: World, tmp_path: Path) -> None:
    grow(world, 5)
    past = Past.of(world)
    newer = grow(world, 15)[CUSTOMER]
    past.put_back(world)
    epoch(world)
    found = outcome(world, tmp_path, newer)
    assert (found.code, found.number, found.size) == (2, 5, 6)
    assert "15 events" in found.message


def test_every_restore_shows_for_good_and_each_is_compared_by_itself(world: World, tmp_path: Path) -> None:
    first = Kept(world)
    second = Past.of(world)
    lost = grow(world, 3)[CUSTOMER]
    second.put_back(world)
    epoch(world)
    grow(world, 10)
    found = outcome(world, tmp_path, first.after[CUSTOMER])
    assert (found.code, [each.size for each in found.put_back]) == (0, [12, 43])
    assert outcome(world, tmp_path, lost).number == 43
    assert outcome(world, tmp_path, first.newer[CUSTOMER]).number == 12
    assert outcome(world, tmp_path, first.before[CUSTOMER]).code == 0
    assert list(verify_logs(world.database, world.keyring)) == []


def test_the_same_backup_put_back_twice(world: World, tmp_path: Path) -> None:
    """The second time nothing in the database tells of the first."""
    kept = Kept(world)
    kept.past.put_back(world)
    again = epoch(world)
    grow(world, 50)
    assert again.at > kept.opened.at
    found = outcome(world, tmp_path, kept.after[CUSTOMER])
    assert (found.code, found.number) == (2, 12)
    assert "31 events that the checkpoint you kept covers (12 to 42)" in found.message
    assert "proves a checkpoint of at most" not in found.message  # it says itself what the 12 before were
    assert outcome(world, tmp_path, kept.at_backup[CUSTOMER]).code == 0


def test_a_bundle_from_before_beside_a_checkpoint_from_after(world: World, tmp_path: Path) -> None:
    grow(world, 12)
    past = Past.of(world)
    grow(world, 8)
    old = bundle(world, tmp_path)
    past.put_back(world)
    epoch(world)
    after = grow(world, 2)[CUSTOMER]
    found = verify_bundle(old, world.public_key, after)
    assert found.code == 2 and "the bundle does not: it was exported before, or that was hidden" in found.message


def test_a_stream_that_begins_anew_accuses_nobody(world: World, tmp_path: Path) -> None:
    """A party who was let in after the backup, and is let in again after it was put back."""
    world.record(3, {CUSTOMER: Projection.FULL})
    world.checkpoints.advance_now()
    past = Past.of(world)
    theirs = grow(world, 2)[RIVAL]
    past.put_back(world)
    epoch(world)
    anew = grow(world, 6)[RIVAL]
    found = outcome(world, tmp_path, theirs, party=RIVAL)
    assert (found.code, found.number, found.size) == (2, 0, 6)
    assert "2 events that the checkpoint you kept covers (0 to 1) are no longer in it" in found.message
    assert outcome(world, tmp_path, anew, party=RIVAL).code == 0
    assert list(verify_logs(world.database, world.keyring)) == []


def test_a_party_learns_nothing_of_others(world: World, tmp_path: Path) -> None:
    """Of two installations that differ by what a rival may see alone, the customer's bundles say the same."""
    world.record(4)
    world.record(9, {RIVAL: Projection.FULL})
    world.checkpoints.advance_now()
    past = Past.of(world)
    world.record(3)
    past.put_back(world)
    opened = epoch(world)
    text = bundle(world, tmp_path).read_text()
    leaf = next(json.loads(line)["leaf"] for line in text.splitlines() if '"epoch_opened"' in line)
    assert (leaf["number"], leaf["event"]["facts"], leaf["event"]["actor"]) == (4, {}, {"as": "supplier"})
    assert leaf["event"]["commitments"] == {} and "Olle" not in text
    assert world.checkpoint(CUSTOMER).split("\n")[3].startswith(f"epoch {opened.at} 4 ")
    others = {party: world.log(party).uid.hex() for party in (b"", RIVAL)}
    assert not [uid for uid in others.values() if uid in text]


def test_a_log_without_epochs_is_exported_as_ever(world: World, tmp_path: Path) -> None:
    kept = grow(world, 3)[CUSTOMER]
    head = json.loads(bundle(world, tmp_path).read_text().splitlines()[0])
    assert head["v"] == 1 and head["origin"] == kept.split("\n")[0] and head["origin"].count("/") == 2
    assert len(kept.split("\n")) == 7 - 1
    found = outcome(world, tmp_path, kept)
    assert (found.code, found.put_back) == (0, ())


# --- who holds the keys, and would hide something


def test_what_a_kept_checkpoint_covers_cannot_be_rewritten_under_cover_of_an_epoch(
    world: World, tmp_path: Path
) -> None:
    kept = Kept(world)
    change_event(world, 5, kind="read")
    rebuild_keeping_epochs(world)
    for known in (kept.before, kept.at_backup, kept.after):
        assert outcome(world, tmp_path, known[CUSTOMER]).code == 1
    assert outcome(world, tmp_path, kept.before[CUSTOMER], kept.newer[CUSTOMER]).code == 1


def rebuild_keeping_epochs(world: World) -> None:
    """Sign all anew, the roots that epochs go on from too."""
    rebuild(world)
    with world.database.write() as connection:
        for row in connection.execute(select(tables.log_epoch)).all():
            root = opening.frontier_at(connection, row.log, row.size).root()
            where = (tables.log_epoch.c.log == row.log) & (tables.log_epoch.c.at == row.at)
            connection.execute(tables.log_epoch.update().where(where).values(root=root))
    rebuild(world)


def test_an_epoch_that_is_pretended_to_drop_what_happened_shows(world: World, tmp_path: Path) -> None:
    """No backup was put back: the last events are dropped, and the log says that they never were."""
    early, late = grow(world, 12)[CUSTOMER], grow(world, 8)[CUSTOMER]
    for party in PARTIES:
        drop_last(world, 8, party)
    rebuild(world)
    epoch(world)
    grow(world, 20)
    found = outcome(world, tmp_path, late)
    assert (found.code, found.number) == (2, 12) and "8 events" in found.message
    assert outcome(world, tmp_path, early).put_back[0].size == 12


def test_a_restore_that_was_told_cannot_be_taken_back(world: World, tmp_path: Path) -> None:
    kept = Kept(world)
    for party in PARTIES:
        drop_last(world, 31, party)
    with world.database.write() as connection:
        connection.execute(tables.log_epoch.delete())
    rebuild(world)
    hidden = grow(world, 40)
    assert hidden[CUSTOMER].count("\n") == 5
    found = outcome(world, tmp_path, kept.after[CUSTOMER])
    assert found.code == 2 and "or that was hidden" in found.message
    assert outcome(world, tmp_path, kept.newer[CUSTOMER]).code == 1


def test_an_epoch_in_checkpoints_that_no_event_tells_of(world: World, tmp_path: Path) -> None:
    grow(world, 20)
    with world.database.write() as connection:
        for info in world.audit.logs(connection):
            size = 12 if info.space else 1
            root = opening.frontier_at(connection, info.id, size).root()
            connection.execute(tables.log_epoch.insert().values(log=info.id, at=5, size=size, root=root))
    rebuild(world)
    found = outcome(world, tmp_path)
    assert (found.code, found.number) == (1, 12)
    assert [each for each in verify_logs(world.database, world.keyring) if each.number == 12 and "epoch" in each.what]


def test_an_event_that_tells_of_an_epoch_no_checkpoint_has(world: World, tmp_path: Path) -> None:
    Kept(world)
    with world.database.write() as connection:
        connection.execute(tables.log_epoch.delete())
    rebuild(world)
    found = outcome(world, tmp_path)
    assert (found.code, found.number) == (1, 12)
    assert [each for each in verify_logs(world.database, world.keyring) if each.number == 12 and "epoch" in each.what]


def test_an_epoch_that_goes_on_from_something_else(world: World, tmp_path: Path) -> None:
    Kept(world)
    with world.database.write() as connection:
        connection.execute(tables.log_epoch.update().values(root=b"r" * 32))
    rebuild(world)
    found = outcome(world, tmp_path)
    assert found.code == 1 and "the epoch that begins after it" in found.message


Bend = Callable[[list[str]], list[str]]


def without_event(lines: list[str]) -> list[str]:
    return [line.replace('"epoch_opened"', '"comment"') for line in lines]


def plain_head(lines: list[str]) -> list[str]:
    return [lines[0].replace('"v":2', '"v":1'), *lines[1:]]


def other_size(lines: list[str]) -> list[str]:
    return [line.replace(" 12 ", " 13 ") for line in lines]


def without_line(lines: list[str]) -> list[str]:
    found = []
    for line in lines:
        text = json.loads(line).get("checkpoint")
        if text is not None:
            line = json.dumps({"checkpoint": "\n".join(each for each in text.split("\n") if each[:6] != "epoch ")})
        found.append(line)
    return found


@pytest.mark.parametrize("bend", [without_event, plain_head, other_size, without_line])
def test_an_epoch_bent_by_somebody_without_keys(world: World, tmp_path: Path, bend: Bend) -> None:
    Kept(world)
    path = bundle(world, tmp_path)
    path.write_text("\n".join(bend(path.read_text().splitlines())) + "\n")
    assert verify_bundle(path, world.public_key).code == 1


@pytest.mark.parametrize(
    "change",
    [
        tables.log_epoch.delete(),
        tables.log_epoch.update().values(at=tables.log_epoch.c.at + 1),
        tables.log_epoch.update().where(tables.log_epoch.c.size == 12).values(size=11),
        tables.log_epoch.update().where(tables.log_epoch.c.size == 12).values(root=b"r" * 32),
    ],
)
def test_an_epoch_changed_in_the_database_is_found(world: World, change: Update | Delete) -> None:
    Kept(world)
    with world.database.write() as connection:
        connection.execute(change)
    found = list(verify_logs(world.database, world.keyring))
    assert [each for each in found if "epoch" in each.what]


def test_what_was_kept_is_compared_on_the_server_too(world: World) -> None:
    kept = Kept(world)
    theirs = [kept.before[CUSTOMER], kept.at_backup[b""], kept.after[RIVAL]]
    assert list(verify_logs(world.database, world.keyring, theirs)) == []
    (found,) = verify_logs(world.database, world.keyring, [kept.newer[CUSTOMER]])
    assert (found.number, "8 events that are gone" in found.what) == (12, True)


# --- the form


def test_the_form_of_a_checkpoint_with_epochs() -> None:
    root = bytes(range(32))
    epochs = (note.Epoch(5, 0, note.EMPTY_ROOT), note.Epoch(17, 3, root))
    made = note.Checkpoint(note.origin(b"i", b"u", epochs), 4, root, epochs)
    assert made.text() == (
        "mellanrum/69/75/17\n4\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
        "epoch 5 0 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"
        "epoch 17 3 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    )
    assert note.parse(made.text()) == made and made.log == "mellanrum/69/75"
    lines = made.text().split("\n")
    for position, line in (
        (0, "mellanrum/69/75"), (0, "mellanrum/69/75/5"), (1, "3"), (3, lines[4]), (4, lines[3]),
        (3, "epoch 5 0 " + lines[2]), (4, "epoch 17 3"), (4, "epoch 017 3 " + lines[2]), (4, "epoch 17 5 " + lines[2]),
        (4, "epoch 999999999999999999 3 " + lines[2]),
    ):  # fmt: skip
        with pytest.raises(BadNote):
            note.parse("\n".join([*lines[:position], line, *lines[position + 1 :]]))


# --- when one is due


def due(world: World) -> bool:
    try:
        require_none_due(world.database.folder, world.database)
    except EpochDue:
        return True
    return False


def test_a_database_put_back_by_itself_is_known_by_how_far_logs_were_signed(world: World) -> None:
    grow(world, 3)
    assert not due(world)
    past = Past.of(world)
    grow(world, 1)
    past.put_back(world)
    assert due(world)
    epoch(world)
    assert not due(world)
    grow(world, 1)
    assert not due(world)


def test_a_database_without_the_log_that_was_signed_is_an_earlier_one(world: World) -> None:
    note_reached(world.database.folder, new_id(), 1)
    assert due(world)


def test_a_mark_is_settled_by_a_newer_epoch_alone(world: World) -> None:
    folder = world.database.folder
    epoch(world)
    with world.database.read() as connection:
        newest = max(connection.execute(select(tables.log_epoch.c.at)).scalars())
    mark_due(folder, newest)
    assert due(world)
    mark_due(folder, newest - 1)
    assert not due(world)
    for text in (None, "", "soon", "9" * 30, "1"):
        mark_due(folder, due_from_now(world.database))
        if text is not None:
            (folder / DUE).write_text(text)
        if text != "1":
            assert due(world)
            epoch(world)
        assert not due(world) and not (folder / DUE).exists()


STEPS = ["mark_due", "advance_now", "_opened", "sync_folder"]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_is_done_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, late: bool
) -> None:
    grow(world, 8)
    past = Past.of(world)
    newer = grow(world, 4)[CUSTOMER]
    past.put_back(world)
    where = Checkpoints if step == "advance_now" else opening
    real = getattr(where, step)

    def dies(*words: object) -> None:
        if late:
            real(*words)
        raise KeyboardInterrupt

    assert due(world)
    monkeypatch.setattr(where, step, dies)
    with pytest.raises(KeyboardInterrupt):
        epoch(world)
    monkeypatch.undo()
    if due(world):
        epoch(world)
    assert not due(world)
    assert not (world.database.folder / DUE).exists()
    grow(world, 20)
    found = outcome(world, tmp_path, newer)
    assert (found.code, [each.size for each in found.put_back]) == (2, [8])
    assert list(verify_logs(world.database, world.keyring)) == []


def test_a_space_without_its_key_keeps_nobody_from_it(world: World) -> None:
    grow(world, 4)
    other = new_id()
    world.keyring.create(other)
    with world.database.write() as connection:
        world.audit.record(connection, world.event(space=other), {CUSTOMER: Projection.FULL})
    world.keyring.destroy(other)
    opened = epoch(world)
    assert (opened.logs, opened.silent) == (6, (other,))
    assert world.log().size == 5 and world.log(space=other).size == 1
    assert not (world.database.folder / REACHED).read_text().isspace()
