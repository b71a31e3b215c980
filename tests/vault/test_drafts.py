"""Drafts: a file changed at random places equals a model in memory, survives a crash as synced, splices as if whole."""

from __future__ import annotations

import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import StorageFailed
from providers.vault import chunker, drafts
from providers.vault.chunker import AVERAGE_BYTES, boundary, largest
from providers.vault.drafts import BLOCK_BYTES
from providers.vault.errors import DamagedContent, DraftInUse, UnknownDraft
from providers.vault.memory import MemoryStore
from providers.vault.vault import Draft, Sealed
from tests.vault.world import SPACE, World, local

NAME = b"draft of a model"
MODEL = random.Random(9).randbytes(3 << 20)


def changed_at(data: bytearray, offset: int, new: bytes) -> None:
    data.extend(bytes(max(offset - len(data), 0)))
    data[offset : offset + len(new)] = new


def resized(data: bytearray, size: int) -> None:
    del data[size:]
    data.extend(bytes(size - len(data)))


def whole(draft: Draft) -> bytes:
    return draft.read(0, draft.size + 5)


def resumed(world: World) -> bytes:
    """What another process finds of the draft."""
    draft = world.again().vault.draft(SPACE, NAME, None)
    try:
        return whole(draft)
    finally:
        draft.close()


def spliced(world: World, draft: Draft) -> Sealed:
    sealed = draft.splice(world.catalogue.known)
    world.catalogue.commit(sealed)
    return sealed


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 400_000), st.integers(1, 150_000)),
        st.tuples(st.just("resize"), st.integers(0, 500_000), st.just(0)),
        st.tuples(st.just("sync"), st.just(0), st.just(0)),
        st.tuples(st.just("crash"), st.just(0), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, 450_000), st.integers(0, 200_000)),
    ),
    max_size=14,
)


@settings(max_examples=100)
@given(base_size=st.integers(0, 400_000), operations=OPERATIONS, seed=st.integers(0, 1000))
def test_equals_a_model(base_size: int, operations: list[tuple[str, int, int]], seed: int) -> None:
    """After a crash, a draft is exactly what it was when it was last synced."""
    world = World(MemoryStore())
    base = world.reader(world.put(MODEL[:base_size])) if base_size else None
    draft = world.vault.draft(SPACE, NAME, base)
    model = bytearray(MODEL[:base_size])
    synced = bytes(model)
    chance = random.Random(seed)
    for what, at, count in operations:
        if what == "write":
            new = chance.randbytes(count)
            draft.write(at, new)
            changed_at(model, at, new)
        elif what == "resize":
            draft.truncate(at)
            resized(model, at)
        elif what == "sync":
            draft.sync()
            synced = bytes(model)
        elif what == "crash":
            draft.close()
            draft = world.again().vault.draft(SPACE, NAME, base)
            model = bytearray(synced)
        else:
            assert draft.read(at, count) == model[at : at + count]
        assert draft.size == len(model)
    assert whole(draft) == model
    sealed = spliced(world, draft)
    assert world.get(sealed) == model
    assert sealed.content == world.put(bytes(model), chunker=sealed.chunker or None).content


def change(draft: Draft, model: bytearray, chance: random.Random) -> None:
    """One random edit of the kinds programs make."""
    what = chance.random()
    if what < 0.7 or not model:
        at = chance.choice((chance.randrange(len(model) + 1), len(model)))
        new = chance.randbytes(chance.choice((1, 100, 4096, 70_000, 300_000)))
        draft.write(at, new)
        changed_at(model, at, new)
    else:
        size = chance.choice((chance.randrange(len(model)), len(model) + chance.randrange(300_000)))
        draft.truncate(size)
        resized(model, size)


@pytest.mark.parametrize("grown", [{}, {4: (200_000, 32 << 10)}])
def test_splice_equals_a_full_pass_in_300_random_cases(
    monkeypatch: pytest.MonkeyPatch, grown: dict[int, tuple[int, int]]
) -> None:
    monkeypatch.setattr(chunker, "GROWN", grown)
    world = World(MemoryStore())
    base = world.reader(world.put(MODEL))
    for case in range(300):
        chance = random.Random(case)
        draft = world.vault.draft(SPACE, case.to_bytes(16, "big"), base)
        model = bytearray(MODEL)
        for _ in range(chance.choice((0, 1, 1, 2, 5, 12))):
            change(draft, model, chance)
        sealed = spliced(world, draft)
        draft.discard()
        full = world.put(bytes(model), chunker=base.chunker, piece=1 << 20)
        assert (sealed.content, sealed.sha256, sealed.size) == (full.content, full.sha256, full.size), case
        assert full.records == ()


def test_splice_heeds_the_byte_after_a_chunk() -> None:
    """Of a chunk that ends where a block of the draft does, the byte that decided its end lies in the next block."""
    world = World(MemoryStore())
    seed = world.keys.space(SPACE).cdc_seed
    noise = random.Random(2).randbytes(1 << 20)
    at, ending = 0, b""
    for length in boundary(memoryview(noise), 1, seed):
        at += length
        if AVERAGE_BYTES[1] < length < largest(1) and at < len(noise):
            ending = noise[at - 63 : at + 1]
            break
    assert ending
    model = bytearray(300_000)
    for end in (40_000, BLOCK_BYTES):
        model[end - 63 : end + 1] = ending
    base = world.reader(world.put(bytes(model), chunker=1))
    assert [chunk.length for chunk in base.listed()][:2] == [40_000, BLOCK_BYTES - 40_000]
    draft = world.vault.draft(SPACE, NAME, base)
    model[BLOCK_BYTES] ^= 1
    draft.write(BLOCK_BYTES, model[BLOCK_BYTES : BLOCK_BYTES + 1])
    assert spliced(world, draft).content == world.put(bytes(model), chunker=1).content


@pytest.mark.parametrize("size", [60 << 10, 100 << 10, 2 << 20, 5 << 20])
def test_an_edit_in_place_costs_a_small_document_a_few_chunks(size: int) -> None:
    world = World(MemoryStore())
    data = os.urandom(size)
    base = world.reader(world.put(data))
    draft = world.vault.draft(SPACE, NAME, base)
    draft.write(size // 2, b"x" * 100)
    sealed = spliced(world, draft)
    manifests = 100 * len(list(base.listed()))  # at most: leaves and root are new wholly
    assert sealed.chunker == base.chunker
    assert sealed.sealed_bytes < 4 * AVERAGE_BYTES[base.chunker] + largest(base.chunker) + manifests


def test_splice_reseals_the_neighbourhood_alone(tmp_path: Path) -> None:
    world = local(tmp_path / "vault")
    data = os.urandom(40 << 20)
    base = world.reader(world.put(data, piece=1 << 20))
    draft = world.vault.draft(SPACE, NAME, base)
    draft.write(20 << 20, b"x" * 4096)
    sealed = spliced(world, draft)
    assert sealed.sealed_bytes < 1 << 20
    model = bytearray(data)
    changed_at(model, 20 << 20, b"x" * 4096)
    assert world.get(sealed) == model
    assert list((tmp_path / "vault").rglob("*.draft")) == []  # a small draft never touches the disk


def test_a_draft_that_outgrew_its_class_is_cut_anew() -> None:
    world = World(MemoryStore())
    base = world.reader(world.put(MODEL[:100_000], chunker=None))
    draft = world.vault.draft(SPACE, NAME, base)
    draft.truncate(600 << 20)
    sealed = spliced(world, draft)
    assert (base.chunker, sealed.chunker) == (4, 3)
    assert world.reader(sealed).read(50_000, 100_000) == MODEL[50_000:100_000] + bytes(50_000)


def test_resumes_over_the_same_base_alone(tmp_path: Path) -> None:
    world = local(tmp_path / "vault")
    base, other = (world.reader(world.put(data)) for data in (b"base", b"other base"))
    draft = world.vault.draft(SPACE, NAME, base)
    draft.write(2, b"XY")
    draft.sync()
    draft.close()
    again = world.again().vault
    assert list(again.drafts(SPACE)) == [NAME]
    assert again.draft_base(SPACE, NAME) == base.content
    with pytest.raises(UnknownDraft):
        again.draft(SPACE, NAME, other)
    draft = again.draft(SPACE, NAME, base)
    assert whole(draft) == b"baXY"
    with pytest.raises(DraftInUse):
        world.vault.draft(SPACE, NAME, base)
    draft.discard()
    assert again.draft_base(SPACE, NAME) is None


def test_what_was_never_synced_is_not_resumed(tmp_path: Path) -> None:
    world = local(tmp_path / "vault")
    draft = world.vault.draft(SPACE, NAME, None)
    draft.write(0, os.urandom(4 << 20))
    draft.close()
    again = world.again().vault.draft(SPACE, NAME, None)
    assert again.size == 0
    again.write(0, os.urandom(4 << 20))
    again.sync()
    again.close()
    assert len(resumed(world)) == 4 << 20


def test_crash_at_any_write_leaves_the_synced_state(tmp_path: Path) -> None:
    """The file as it stood at each moment, and with each block of it lost, resumes as last synced."""
    world = local(tmp_path / "vault")
    draft = world.vault.draft(SPACE, NAME, None)
    first = os.urandom(6 * BLOCK_BYTES)
    draft.write(0, first)
    draft.sync()
    (file,) = (tmp_path / "vault").rglob("*.draft")
    synced = file.read_bytes()
    draft.write(0, os.urandom(6 * BLOCK_BYTES))
    draft.truncate(BLOCK_BYTES + 5)
    draft.write(3 * BLOCK_BYTES, os.urandom(2 * BLOCK_BYTES))
    unsynced = file.read_bytes()
    draft.close()
    # The first synced bytes were not touched by anything written since.
    assert unsynced[: len(synced)] == synced
    chance = random.Random(1)
    for _ in range(40):
        torn = bytearray(unsynced)
        for page in range(len(synced), len(torn), 4096):
            if chance.random() < 0.5:
                torn[page : page + 4096] = bytes(len(torn[page : page + 4096]))
        file.write_bytes(torn[: chance.randrange(len(synced), len(torn) + 1)])
        assert resumed(world) == first


def test_torn_state_leaves_the_one_before(tmp_path: Path) -> None:
    world = local(tmp_path / "vault")
    draft = world.vault.draft(SPACE, NAME, None)
    states = []
    (file,) = [None]
    for number in range(4):
        draft.write(number * 10, b"%d" % number * 10)
        draft.sync()
        (file,) = (tmp_path / "vault").rglob("*.draft")
        states.append((whole(draft), file.read_bytes()))
    draft.close()
    (before, _), (_, data) = states[2], states[3]
    for area in (4096, 8192):
        torn = bytearray(data)
        torn[area + 30] ^= 1
        file.write_bytes(torn)
        assert resumed(world) in (before, states[3][0])
    torn[4096 + 30] ^= 1
    file.write_bytes(torn)
    assert resumed(world) == b""


def test_damaged_block_is_told(tmp_path: Path) -> None:
    world = local(tmp_path / "vault")
    draft = world.vault.draft(SPACE, NAME, None)
    draft.write(0, os.urandom(2 * BLOCK_BYTES))
    draft.sync()
    draft.close()
    (file,) = (tmp_path / "vault").rglob("*.draft")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    again = world.again().vault.draft(SPACE, NAME, None)
    again.read(0, 10)
    with pytest.raises(DamagedContent, match="draft"):
        again.read(BLOCK_BYTES, 10)


HEAD = struct.Struct("<Q12sQ")
SLOTS, SLOT_BYTES = 12_288, HEAD.size + BLOCK_BYTES + 16


def with_head(data: bytes, slot: int, block: int | None = None, written: int | None = None) -> bytes:
    """Return a draft's file with something else in the head of a slot."""
    at = SLOTS + slot * SLOT_BYTES
    had = HEAD.unpack_from(data, at)
    head = HEAD.pack(had[0] if block is None else block, had[1], had[2] if written is None else written)
    return data[:at] + head + data[at + HEAD.size :]


LOST: dict[str, Callable[[bytes], bytes]] = {
    "zeros": lambda data: with_head(data, 1, 0, 0),
    "another block": lambda data: with_head(data, 1, 700),
    "a number beyond": lambda data: with_head(data, 1, written=1 << 40),
    "a slot that is no longer there": lambda data: data[: SLOTS + 2 * SLOT_BYTES],
    "an older write in its place": lambda data: with_head(data, 3, written=1 << 40),
    "the same block as another": lambda data: with_head(data, 1, 0),
}


@pytest.mark.parametrize("how", LOST)
@pytest.mark.parametrize("base_size", [0, 400_000])
def test_a_block_whose_head_was_lost_read_as_what_was_there_before(tmp_path: Path, how: str, base_size: int) -> None:
    """As zeros, as the version before, or as an older write: and so it was committed."""
    world = local(tmp_path / "vault")
    base = world.reader(world.put(MODEL[:base_size])) if base_size else None
    draft = world.vault.draft(SPACE, NAME, base)
    draft.write(0, os.urandom(3 * BLOCK_BYTES))
    draft.sync()
    draft.write(0, os.urandom(BLOCK_BYTES))
    draft.sync()
    draft.close()
    (file,) = (tmp_path / "vault").rglob("*.draft")
    file.write_bytes(LOST[how](file.read_bytes()))
    with pytest.raises(DamagedContent, match="draft"):
        world.again().vault.draft(SPACE, NAME, base)


def test_a_head_that_was_half_written_as_the_power_went_was_a_block(tmp_path: Path) -> None:
    """Where it lies on two pages, of which one came to the disk: a new block's, with the number of an old write."""
    world = local(tmp_path / "vault")
    draft = world.vault.draft(SPACE, NAME, None)
    draft.truncate(9 * BLOCK_BYTES)
    for _ in range(2):
        draft.write(0, os.urandom(BLOCK_BYTES))
        draft.sync()
    synced = whole(draft)
    draft.close()
    (file,) = (tmp_path / "vault").rglob("*.draft")
    file.write_bytes(with_head(file.read_bytes(), 0, 7))
    again = world.again().vault.draft(SPACE, NAME, None)
    assert whole(again) == synced
    again.write(8 * BLOCK_BYTES, b"more")
    again.sync()
    expected = whole(again)
    again.close()
    assert HEAD.unpack_from(file.read_bytes(), SLOTS)[0] != 7
    assert resumed(world) == expected


def test_draft_of_another_id_does_not_open(tmp_path: Path) -> None:
    world = local(tmp_path / "vault")
    draft = world.vault.draft(SPACE, NAME, None)
    draft.write(0, b"mine")
    draft.sync()
    (file,) = (tmp_path / "vault").rglob("*.draft")
    other = b"o" * 16
    shutil.copy(file, file.with_name(f"{other.hex()}.draft"))
    with pytest.raises(Exception) as raised:
        world.again().vault.draft(SPACE, other, None)
    assert type(raised.value).__name__ == "SealBroken"


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_a_copy_is_as_it_was_synced_while_somebody_writes_on(tmp_path: Path, kind: str) -> None:
    world = local(tmp_path / "vault") if kind == "local" else World(MemoryStore())
    base = world.reader(world.put(MODEL))
    draft = world.vault.draft(SPACE, NAME, base)
    model = bytearray(MODEL)
    for at in (10, 200_000, 1_500_000):
        draft.write(at, b"new" * 50_000)
        changed_at(model, at, b"new" * 50_000)
    draft.truncate(2_000_000)
    draft.write(2_100_000, b"end")
    del model[2_000_000:]
    changed_at(model, 2_100_000, b"end")
    draft.sync()
    draft.write(0, b"later" * 200_000)
    copy = world.again().vault.draft_copy(SPACE, NAME, b"c" * 16, base)
    assert whole(copy) == bytes(model)
    copy.write(5, b"mine")
    assert draft.read(0, 10) == b"laterlater"
    copy.sync()
    copy.close()
    changed_at(model, 5, b"mine")
    assert whole(world.again().vault.draft(SPACE, b"c" * 16, base)) == bytes(model)


def test_a_draft_that_is_synced_while_it_is_copied_has_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its slots may be written again from then on."""
    world = local(tmp_path / "vault")
    draft = world.vault.draft(SPACE, NAME, None)
    draft.write(0, b"x" * (20 * BLOCK_BYTES))
    draft.sync()
    read = drafts._Blocks.read

    def synced_in_between(blocks: drafts._Blocks, block: int) -> bytearray:
        found = read(blocks, block)
        draft.write(0, b"y" * (20 * BLOCK_BYTES))
        draft.sync()
        return found

    monkeypatch.setattr(drafts._Blocks, "read", synced_in_between)
    with pytest.raises(DraftInUse):
        world.again().vault.draft_copy(SPACE, NAME, b"c" * 16, None)
    assert list(world.vault.drafts(SPACE)) == [NAME]


def test_many_cuts_are_forgotten_in_the_end(tmp_path: Path) -> None:
    world = local(tmp_path / "vault")
    draft = world.vault.draft(SPACE, NAME, None)
    draft.write(0, b"x" * (100 * BLOCK_BYTES))
    for number in range(90):
        draft.truncate((number + 1) * BLOCK_BYTES)
        draft.write((number + 1) * BLOCK_BYTES, b"y" * (3 * BLOCK_BYTES))
        draft.sync()
    expected = whole(draft)
    draft.close()
    assert whole(world.again().vault.draft(SPACE, NAME, None)) == expected
    (file,) = (tmp_path / "vault").rglob("*.draft")
    assert file.stat().st_size < 130 * BLOCK_BYTES


def test_fsync_of_a_draft_fails(tmp_path: Path) -> None:
    world = local(tmp_path / "vault")
    draft = world.vault.draft(SPACE, NAME, None)
    draft.write(0, b"kept")
    draft.sync()
    draft.write(0, b"lost")
    fd = draft._blocks.file._fd  # type: ignore[union-attr]
    kept = os.dup(fd)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, fd)
    with pytest.raises(StorageFailed):
        draft.sync()
    os.dup2(kept, fd)
    with pytest.raises(StorageFailed):
        draft.sync()
    draft.close()
    os.close(kept)
    os.close(null)
    assert resumed(world) == b"kept"
