"""What processes tell each other of reads: found by who has the key, lost without harm, never another's."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from providers.audit import seen
from providers.audit.seen import Seen


def key() -> bytes:
    return b"k" * 32


READER, VERSION, AT = b"R" * 16, b"V" * 16, 1_795_000_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "seen"


def test_what_one_tells_the_others_find(path: Path) -> None:
    one, two = Seen(path, key), Seen(path, key)
    assert two.at(READER, VERSION) is None
    one.tell(READER, VERSION, AT)
    assert two.at(READER, VERSION) == one.at(READER, VERSION) == AT
    two.tell(READER, VERSION, AT + 1)
    assert one.at(READER, VERSION) == AT + 1
    assert one.at(VERSION, READER) is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_slot_holds_for_the_read_that_it_was_told_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that fall on one slot: the later one is there, the earlier one is written down once more."""
    monkeypatch.setattr(seen, "SLOTS", 1)
    told = Seen(path, key)
    told.tell(READER, VERSION, AT)
    told.tell(READER, b"W" * 16, AT)
    assert told.at(READER, VERSION) is None and told.at(READER, b"W" * 16) == AT


def test_no_torn_or_changed_slot_is_believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is bound to the read: else a read of ten minutes ago could seem to be one of now."""
    monkeypatch.setattr(seen, "SLOTS", 1)
    told = Seen(path, key)
    told.tell(READER, b"W" * 16, AT + 3600)
    later = path.read_bytes()
    told.tell(READER, VERSION, AT)
    slot = path.read_bytes()
    for cut in range(1, len(slot)):
        path.write_bytes(later[:cut] + slot[cut:])
        assert told.at(READER, VERSION) in (None, AT), cut
    for at in range(len(slot)):
        path.write_bytes(slot[:at] + bytes([slot[at] ^ 0x40]) + slot[at + 1 :])
        assert told.at(READER, VERSION) is None, at
    path.write_bytes(slot[:-1])
    assert told.at(READER, VERSION) is None
    path.write_bytes(slot)
    assert told.at(READER, VERSION) == AT
    assert Seen(path, lambda: b"another key").at(READER, VERSION) is None


def test_what_an_earlier_server_told_is_nothing_to_the_next(path: Path) -> None:
    earlier, here, beside = Seen(path, key), Seen(path, key), Seen(path, key)
    earlier.server, here.server, beside.server = b"earlier", b"now", b"now"
    earlier.tell(READER, VERSION, AT)
    assert here.at(READER, VERSION) is None
    here.tell(READER, VERSION, AT + 1)
    assert beside.at(READER, VERSION) == AT + 1 and earlier.at(READER, VERSION) is None


def test_nothing_of_reader_or_version_stands_in_the_file(path: Path) -> None:
    told = Seen(path, key)
    told.tell(READER, VERSION, AT)
    assert READER not in path.read_bytes() and VERSION not in path.read_bytes()


def test_where_there_is_no_file_and_none_can_be_made_nothing_is_told(tmp_path: Path) -> None:
    told = Seen(tmp_path / "missing" / "seen", key)
    told.tell(READER, VERSION, AT)
    assert told.at(READER, VERSION) is None
    (tmp_path / "missing").mkdir()
    told.tell(READER, VERSION, AT)
    assert told.at(READER, VERSION) == AT


def test_a_full_disk_is_no_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Seen(path, key)
    told.tell(READER, VERSION, AT)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        told.tell(READER, VERSION, AT + 1)
    assert told.at(READER, VERSION) == AT


def test_the_file_stays_small(path: Path) -> None:
    told, chance = Seen(path, key), random.Random(4)
    for _ in range(1000):
        told.tell(chance.randbytes(16), chance.randbytes(16), AT)
    assert path.stat().st_size == seen.SLOTS * 24
    told.close()
