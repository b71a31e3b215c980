"""What every store promises (providers/vault/store.py). A store's whole test is one line in test_stores.py."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from providers.vault.errors import DamagedContent, DraftInUse, StorageClosed
from providers.vault.records import PACK_HEAD_BYTES, Kind
from providers.vault.sealing import Sealing
from providers.vault.shelf import Shelf
from providers.vault.store import Store
from providers.vault.vault import Vault, VersionRecord
from tests.vault.world import OTHER_SPACE, SPACE, Keys, World


def record(data: bytes, space: bytes = SPACE) -> bytes:
    """Return the record of one chunk."""
    sealing = Sealing(space, Keys().space(space))
    return sealing.seal(Kind.CHUNK, sealing.cid(Kind.CHUNK, data), data)


def tell_what_was_appended(store: Store) -> None:
    pack = store.open_pack(SPACE)
    first, second = record(b"one"), record(b"two" * 1000)
    assert pack.append(first) == PACK_HEAD_BYTES
    assert pack.append(second) == PACK_HEAD_BYTES + len(first)
    assert pack.size == PACK_HEAD_BYTES + len(first) + len(second)
    pack.sync()
    assert store.read(SPACE, pack.id, PACK_HEAD_BYTES, len(first)) == first
    buffer = bytearray(len(second))
    store.read_into(SPACE, pack.id, PACK_HEAD_BYTES + len(first), memoryview(buffer))
    assert buffer == second
    assert (pack.id, pack.size) in list(store.packs(SPACE))


def take_several_records_at_once(store: Store) -> None:
    pack = store.open_pack(SPACE)
    parts = [record(os.urandom(size)) for size in (1, 100, 5000)]
    pack.append(b"".join(parts))
    pack.sync()
    assert [entry.length for entry in store.scan(SPACE, pack.id).records] == [len(part) for part in parts]


def refuse_what_is_no_record(store: Store) -> None:
    pack = store.open_pack(SPACE)
    whole = record(b"whole")
    for wrong in (b"junk" * 40, whole[:-1], whole + b"x"):
        with pytest.raises(ValueError, match="whole records"):
            pack.append(wrong)
    assert pack.append(whole) == PACK_HEAD_BYTES


def say_the_same_with_and_without_footer(store: Store) -> None:
    pack = store.open_pack(SPACE)
    for size in (0, 10, 10_000):
        pack.append(record(os.urandom(size)))
    pack.sync()
    before = store.scan(SPACE, pack.id)
    pack.close()
    listed, walked = store.scan(SPACE, pack.id), store.scan(SPACE, pack.id, trust_footer=False)
    assert not before.has_footer
    assert listed.has_footer
    assert before.records == listed.records == walked.records
    assert len(listed.records) == 3
    assert (listed.torn_at, listed.damage, walked.torn_at, walked.damage) == (None, (), None, ())


def take_nothing_once_closed(store: Store) -> None:
    pack = store.open_pack(SPACE)
    pack.append(record(b"x"))
    pack.close()
    pack.close()
    pack.sync()
    assert not pack.is_usable
    with pytest.raises(StorageClosed):
        pack.append(record(b"y"))


def name_a_missing_or_short_pack(store: Store) -> None:
    pack = store.open_pack(SPACE)
    pack.append(record(b"x"))
    pack.sync()
    with pytest.raises(DamagedContent) as missing:
        store.read(SPACE, pack.id ^ 1, 40, 10)
    assert missing.value.facts["pack"] == f"{pack.id ^ 1:016x}"
    assert missing.value.facts["offset"] == 40
    with pytest.raises(DamagedContent):
        store.read(SPACE, pack.id, PACK_HEAD_BYTES, 10_000)


def keep_spaces_apart(store: Store) -> None:
    one, other = store.open_pack(SPACE), store.open_pack(OTHER_SPACE)
    one.append(record(b"one"))
    other.append(record(b"other", OTHER_SPACE))
    assert [pack for pack, _ in store.packs(SPACE)] == [one.id]
    store.destroy_space(SPACE)
    assert list(store.packs(SPACE)) == []
    assert [pack for pack, _ in store.packs(OTHER_SPACE)] == [other.id]
    store.destroy_space(SPACE)


def keep_every_append_of_many_threads(store: Store) -> None:
    pack = store.open_pack(SPACE)
    parts = [record(os.urandom(300)) for _ in range(64)]

    def append(part: bytes) -> int:
        offset = pack.append(part)
        pack.sync()
        return offset

    with ThreadPoolExecutor(8) as pool:
        offsets = list(pool.map(append, parts))
    for part, offset in zip(parts, offsets, strict=True):
        assert store.read(SPACE, pack.id, offset, len(part)) == part
    assert len(store.scan(SPACE, pack.id).records) == 64


def keep_drafts(store: Store) -> None:
    name = b"d" * 16
    with pytest.raises(FileNotFoundError):
        store.open_draft(SPACE, name)
    made = store.create_draft(SPACE, name)
    with pytest.raises(FileExistsError):
        store.create_draft(SPACE, name)
    made.write(5, b"hello")
    made.sync()
    with pytest.raises(DraftInUse):
        store.open_draft(SPACE, name)
    made.close()
    again = store.open_draft(SPACE, name)
    assert again.size() == 10
    assert again.read(0, 100) == bytes(5) + b"hello"
    again.close()
    assert list(store.drafts(SPACE)) == [name]
    store.remove_draft(SPACE, name)
    store.remove_draft(SPACE, name)
    assert list(store.drafts(SPACE)) == []


def carry_a_vault(store: Store) -> None:
    world = World(store)
    contents = [os.urandom(size) for size in (0, 1, 10_000, 3_000_000)]
    sealed = [world.put(data) for data in contents]
    world.vault.version_record(
        SPACE, VersionRecord(b"n" * 16, b"v" * 16, 1, b"p" * 16, "Ritning.pdf", sealed[1].content, 1, 7)
    )
    world.vault.close()
    found = world.again()
    assert [found.get(each) for each in sealed] == contents
    assert list(found.vault.scrub(SPACE)) == []
    rebuilt = list(found.vault.rebuild(SPACE))
    assert {each.cid for each in rebuilt if not isinstance(each, VersionRecord)} == set(world.catalogue.places)
    assert [each.name for each in rebuilt if isinstance(each, VersionRecord)] == ["Ritning.pdf"]


def let_many_writers_share_a_space(store: Store) -> None:
    world = World(store)
    guard = threading.Lock()

    def put(number: int) -> bool:
        data = number.to_bytes(4, "big") * 50_000 + os.urandom(100_000)
        writer = world.vault.writer(SPACE, declared=len(data), known=world.catalogue.known)
        writer.write(data)
        sealed = writer.finish()
        with guard:
            world.catalogue.commit(sealed)
        return world.get(sealed) == data

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(put, range(24)))
    assert len(list(store.packs(SPACE))) == 1


def make_a_vault_refuse_after_close(store: Store) -> None:
    vault = Vault(store, Keys())
    vault.close()
    writer = vault.writer(SPACE, declared=3, known=lambda cids: set())
    writer.write(b"abc")
    with pytest.raises(StorageClosed):
        writer.finish()


def let_a_pack_be_claimed_once_no_writer_is_held(store: Store) -> None:
    pack = store.open_pack(SPACE)
    pack.append(record(b"one"))
    identity = pack.id
    assert not pack.is_wanted()
    assert store.claim(SPACE, identity) is None
    assert pack.is_wanted()
    pack.close()
    assert store.claim(SPACE, identity) is None, "whoever holds the writer may yet refer to what it wrote"
    del pack
    claim = store.claim(SPACE, identity)
    assert claim is not None
    assert store.claim(SPACE, identity) is None
    claim.release()
    claim.release()
    again = store.claim(SPACE, identity)
    assert again is not None
    again.release()
    with pytest.raises(FileNotFoundError):
        store.claim(SPACE, identity ^ 1)


def end_a_pack_that_is_wanted(store: Store) -> None:
    shelf = Shelf(store)
    pack, _ = shelf.append(SPACE, record(b"one"))
    identity = pack.id
    del pack
    shelf.close_idle()
    assert store.claim(SPACE, identity) is None
    shelf.close_idle()
    for _ in range(200):
        claim = store.claim(SPACE, identity)
        if claim is not None:
            claim.release()
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the pack was never let go of")
    assert store.scan(SPACE, identity).has_footer
    assert shelf.append(SPACE, record(b"two"))[0].id != identity
    shelf.close()


def remove_packs(store: Store) -> None:
    pack = store.open_pack(SPACE)
    pack.append(record(b"one"))
    pack.close()
    store.remove_pack(SPACE, pack.id)
    store.remove_pack(SPACE, pack.id)
    assert list(store.packs(SPACE)) == []
    with pytest.raises(DamagedContent):
        store.read(SPACE, pack.id, PACK_HEAD_BYTES, 1)
    other = store.open_pack(SPACE)
    other.close()
    store.retire_pack(SPACE, other.id)
    assert list(store.packs(SPACE)) == []


def let_records_become_gaps_in_place(store: Store) -> None:
    pack = store.open_pack(SPACE)
    parts = [record(os.urandom(size)) for size in (100, 200_000, 5, 40_000, 7)]
    at = [pack.append(part) for part in parts]
    pack.close()
    identity, ranges = pack.id, [(at[1], len(parts[1]) + len(parts[2])), (at[4], len(parts[4]))]
    del pack
    for _ in range(2):  # again, as after an interruption
        store.void(SPACE, identity, ranges)
        found = store.scan(SPACE, identity, trust_footer=False)
        assert [entry.offset for entry in found.records] == [at[0], at[3]]
        assert (found.torn_at, found.damage) == (None, ())
        assert found.records == store.scan(SPACE, identity).records
        for number in (0, 3):
            assert store.read(SPACE, identity, at[number], len(parts[number])) == parts[number]
        assert not any(store.read(SPACE, identity, at[1] + 20, ranges[0][1] - 20))


def let_drafts_be_looked_into_while_they_are_open(store: Store) -> None:
    vault = Vault(store, Keys())
    world = World(store)
    base = world.put(b"what stood there" * 100)
    draft = vault.draft(SPACE, bytes(range(16)), world.reader(base))
    draft.write(5, b"x")
    assert list(vault.draft_bases(SPACE)) == []
    draft.sync()
    assert list(vault.draft_bases(SPACE)) == [(bytes(range(16)), base.content)]
    draft.discard()
    with pytest.raises(FileNotFoundError):
        store.peek_draft(SPACE, bytes(16), 1)


PROMISES = [
    let_records_become_gaps_in_place,
    tell_what_was_appended,
    take_several_records_at_once,
    refuse_what_is_no_record,
    say_the_same_with_and_without_footer,
    take_nothing_once_closed,
    name_a_missing_or_short_pack,
    keep_spaces_apart,
    keep_every_append_of_many_threads,
    keep_drafts,
    carry_a_vault,
    let_many_writers_share_a_space,
    make_a_vault_refuse_after_close,
    let_a_pack_be_claimed_once_no_writer_is_held,
    end_a_pack_that_is_wanted,
    remove_packs,
    let_drafts_be_looked_into_while_they_are_open,
]
