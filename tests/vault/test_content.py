"""What goes into a vault comes out of it, is stored once, and tells nothing of itself."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.keyring import SpaceKeys
from providers.vault import chunker
from providers.vault import writer as writing
from providers.vault.chunker import boundary, largest
from providers.vault.errors import DamagedContent
from providers.vault.manifests import Shape, chunker_of, content
from providers.vault.memory import MemoryStore
from providers.vault.records import Codec, Kind, record_head
from providers.vault.vault import Vault
from tests.vault.world import OTHER_SPACE, SPACE, Catalogue, Keys, World, local, packs_of

SIZES = [0, 1, 100, 4096, 4097, 65_536, 65_537, 1_000_000, 3_333_333]


def joined(pieces: Iterator[memoryview]) -> bytes:
    return b"".join(bytes(piece) for piece in pieces)


def some(size: int, seed: int = 1) -> bytes:
    """Bytes of which one half compresses."""
    chance = random.Random(seed)
    return b"".join(
        chance.randbytes(5000) if part % 2 else bytes([part % 251]) * 5000 for part in range(-(-size // 5000))
    )[:size]


@pytest.mark.parametrize("size", SIZES)
def test_round_trip(size: int) -> None:
    world = World(MemoryStore())
    data = some(size)
    sealed = world.put(data)
    assert sealed.size == size == world.reader(sealed).size
    assert sealed.sha256 == hashlib.sha256(data).digest()
    assert world.get(sealed) == data
    assert sealed.sealed_bytes == sum(record.length for record in sealed.records)


@settings(max_examples=60)
@given(data=st.binary(max_size=200), repeats=st.integers(0, 3000), cuts=st.lists(st.integers(1, 200_000), max_size=5))
def test_pieces_do_not_matter(data: bytes, repeats: int, cuts: list[int]) -> None:
    whole = data * repeats
    world = World(MemoryStore())
    writer = world.vault.writer(SPACE, declared=None, known=world.catalogue.known)
    at = 0
    for cut in cuts:
        writer.write(memoryview(whole)[at : at + cut])
        at += cut
    writer.write(bytearray(whole[at:]))
    sealed = writer.finish()
    world.catalogue.commit(sealed)
    assert world.get(sealed) == whole
    again = world.vault.writer(SPACE, declared=None, known=world.catalogue.known)
    again.write(whole)
    assert again.finish().content == sealed.content


def test_large_content_needs_a_root() -> None:
    world = World(MemoryStore())
    data = random.Random(4).randbytes(24 << 20)
    sealed = world.put(data, piece=1 << 20)
    assert content(sealed.content).shape is Shape.ROOT
    assert world.get(sealed) == data
    reader = world.reader(sealed)
    chance = random.Random(5)
    for _ in range(200):
        start, length = chance.randrange(len(data)), chance.choice((1, 5000, 300_000, 3_000_000))
        assert reader.read(start, length) == data[start : start + length]
    assert joined(reader.chunks(7, 20_000_001)) == data[7:20_000_001]
    assert reader.read(len(data), 10) == reader.read(len(data) + 5, 10) == b""
    assert all(len(piece) <= 1 << 20 for piece in reader.chunks())
    # One byte changed: a chunk or two, one leaf and the root are new.
    changed = bytearray(data)
    changed[12 << 20] ^= 1
    again = world.put(bytes(changed), piece=1 << 20)
    assert len(again.records) <= 5
    assert again.sealed_bytes < 200_000
    assert world.get(again) == changed


@pytest.mark.parametrize("grown", [{}, {1: (2_000_000, 128 << 10)}])
def test_the_writer_cuts_as_if_it_had_all_at_once(
    monkeypatch: pytest.MonkeyPatch, grown: dict[int, tuple[int, int]]
) -> None:
    monkeypatch.setattr(chunker, "GROWN", grown)
    world = World(MemoryStore())
    data = random.Random(8).randbytes(7_000_001)
    expected = list(boundary(memoryview(data), 1, world.keys.space(SPACE).cdc_seed))
    for piece in (50_001, 1 << 20, len(data)):
        found = world.reader(world.put(data, piece=piece)).listed()
        assert [chunk.length for chunk in found] == expected


def test_what_came_so_far_is_all_but_a_chunk_and_changes_nothing() -> None:
    world = World(MemoryStore())
    data = random.Random(8).randbytes(7_000_001)
    writer = world.vault.writer(SPACE, declared=None, chunker=3, known=lambda _: set())
    whole = world.vault.writer(SPACE, declared=None, chunker=3, known=lambda _: set())
    for start in range(0, len(data), 300_001):
        piece = data[start : start + 300_001]
        writer.write(piece)
        whole.write(piece)
        found = writer.so_far()
        world.catalogue.commit(found)
        assert data[: start + len(piece)].startswith(world.get(found))
        assert found.size > start + len(piece) - largest(3)
    assert writer.finish().content == whole.finish().content


def test_an_insertion_leaves_other_leaves_alone() -> None:
    world = World(MemoryStore())
    data = random.Random(8).randbytes(28 << 20)
    world.put(data, piece=1 << 20)
    again = world.put(data[:1000] + random.Random(9).randbytes(200_000) + data[1000:], piece=1 << 20)
    kinds = Counter(
        head.kind
        for found in again.records
        if (head := record_head(world.store.read(SPACE, found.pack, found.offset, found.length))) is not None
    )
    assert kinds[Kind.LEAF] == 1
    assert kinds[Kind.ROOT] == 1


def test_reading_on_goes_far_in_few_reads() -> None:
    class Counting(MemoryStore):
        reads = 0

        def read_into(self, space: bytes, pack: int, offset: int, buffer: memoryview) -> None:
            self.reads += 1
            super().read_into(space, pack, offset, buffer)

    store = Counting()
    world = World(store)
    data = random.Random(6).randbytes(8 << 20)
    sealed = world.put(data)
    reader = world.reader(sealed)
    assert joined(reader.chunks()) == data
    assert store.reads <= 12
    store.reads = 0
    assert b"".join(reader.read(at, 32 << 10) for at in range(0, len(data), 32 << 10)) == data
    assert store.reads <= 14


def test_a_piece_that_was_kept_too_long_is_an_error() -> None:
    world = World(MemoryStore())
    sealed = world.put(random.Random(6).randbytes(3 << 20))
    with pytest.raises((TypeError, ValueError)):
        b"".join(world.reader(sealed).chunks())


def test_the_same_content_is_stored_once() -> None:
    world = World(MemoryStore())
    data = some(2_000_000)
    first, second = world.put(data), world.put(data)
    assert second.content == first.content
    assert second.records == ()
    assert set(second.relied) >= {found.cid for found in first.records}
    repeated = world.put(data[:500_000] * 8, piece=1 << 20)
    assert repeated.sealed_bytes < 600_000


def test_nothing_is_relied_on_that_the_catalogue_lacks() -> None:
    world = World(MemoryStore())
    data = some(1_000_000)
    first = world.put(data)
    del world.catalogue.places[first.records[3].cid]
    again = world.put(data)
    # It, and the leaf that lists it: whose chunk is new is taken for new without asking.
    assert [found.cid for found in again.records] == [first.records[3].cid, first.records[-1].cid]
    assert world.get(again) == data


def test_spaces_share_nothing() -> None:
    world = World(MemoryStore())
    data = some(100_000)
    one, other = world.put(data), world.put(data, space=OTHER_SPACE)
    assert not {found.cid for found in one.records} & {found.cid for found in other.records}
    assert world.get(other, OTHER_SPACE) == data


def runs(data: bytes, length: int = 16) -> set[bytes]:
    return {data[at : at + length] for at in range(len(data) - length + 1)}


def test_two_installations_share_no_16_bytes(tmp_path: Path) -> None:
    """Not even in their footers; nor does the content itself stand anywhere."""
    data = some(300_000)
    found = []
    for name in ("one", "two"):
        world = World(local(tmp_path / name).store, Keys(name.encode()))
        space = name.encode().ljust(16, name[:1].encode())
        for part in (data, data[:1000], b"", data[5:70_000]):
            world.put(part, space=space)
        world.vault.close()
        (file,) = packs_of(tmp_path / name, space)
        found.append(runs(file.read_bytes()))
    assert not found[0] & found[1]
    assert not found[0] & runs(data)


def test_drafts_of_two_installations_share_no_16_bytes(tmp_path: Path) -> None:
    data = some(200_000)
    found = []
    for name in ("one", "two"):
        world = World(local(tmp_path / name).store, Keys(name.encode()))
        draft = world.vault.draft(SPACE, b"d" * 16, None)
        draft.write(0, data)
        draft.sync()
        (file,) = (tmp_path / name).rglob("*.draft")
        found.append(runs(file.read_bytes()))
    assert not found[0] & found[1]
    assert not found[0] & runs(data)


def test_only_what_compresses_is_compressed() -> None:
    world = World(MemoryStore())
    for data, codec in ((b"text " * 500, Codec.ZSTD), (random.Random(1).randbytes(2500), Codec.NONE)):
        (found,) = world.put(data).records
        head = record_head(world.store.read(SPACE, found.pack, found.offset, found.length))
        assert head is not None
        assert head.codec == codec
    mixed = random.Random(1).randbytes(600_000) + b"words, words. " * 50_000
    assert world.put(mixed).sealed_bytes < 700_000


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    world = local(tmp_path / "vault")
    world.put(b"secret")
    draft = world.vault.draft(SPACE, b"d" * 16, None)
    draft.write(0, b"secret")
    draft.sync()
    for path in (tmp_path / "vault").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_memory_is_bounded() -> None:
    world = World(MemoryStore())
    block = os.urandom(1 << 20)
    tracemalloc.start()
    try:
        writer = world.vault.writer(SPACE, declared=None, chunker=3, known=world.catalogue.known)
        writer.write(block)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(24):
            writer.write(block)  # the same again: nothing is kept but the writer's own buffers
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - before < 6 << 20


def test_writers_of_many_threads_compress_side_by_side() -> None:
    """A compressor shared by threads crashes the interpreter."""
    world = World(MemoryStore())
    failed: list[BaseException] = []

    def put(number: int) -> None:
        try:
            catalogue = Catalogue()
            writer = world.vault.writer(SPACE, declared=None, known=catalogue.known)
            data = f"{number} is a line of text\n".encode() * 100_000
            writer.write(data)
            sealed = writer.finish()
            catalogue.commit(sealed)
            assert joined(world.vault.reader(SPACE, sealed.content, catalogue.locate).chunks()) == data
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_discarded_writer_takes_nothing() -> None:
    world = World(MemoryStore())
    writer = world.vault.writer(SPACE, declared=3, known=world.catalogue.known)
    writer.write(b"abc")
    writer.discard()
    writer.discard()
    with pytest.raises(ValueError, match="discarded"):
        writer.finish()


def test_a_failing_catalogue_fails_the_write() -> None:
    world = World(MemoryStore())

    def broken(cids: list[bytes]) -> set[bytes]:
        raise TimeoutError

    writer = world.vault.writer(SPACE, declared=None, known=broken)
    with pytest.raises(TimeoutError):
        for _ in range(100):
            writer.write(os.urandom(1 << 16))


def test_the_class_of_the_version_before_is_kept() -> None:
    world = World(MemoryStore())
    first = world.put(os.urandom(3 << 20))
    assert first.chunker == chunker_of(first.content) == 4
    assert world.put(os.urandom(15 << 20), piece=1 << 20, chunker=first.chunker).chunker == 4
    assert chunker_of(world.put(b"").content) is None


@pytest.mark.parametrize(("below", "above"), [(60 << 10, 70 << 10), (3 << 20, 5 << 20), (15 << 20, 17 << 20)])
def test_growing_past_a_limit_and_back_stores_a_document_anew_once_at_most(below: int, above: int) -> None:
    world = World(MemoryStore())
    data = os.urandom(above)
    stored, chunker = [], None
    for size in (below, above, below - 100, above - 100, below - 200, above - 200, below - 300, above - 300):
        sealed = world.put(data[:size], piece=1 << 20, chunker=chunker)
        chunker = sealed.chunker
        stored.append(sealed.sealed_bytes)
    assert sum(more > below // 2 for more in stored) <= 2
    assert sum(stored[2:]) < above / 4 + 6 * (256 << 10), stored


def test_a_destroyed_key_is_gone_at_once() -> None:
    keys = Keys()
    world = World(MemoryStore(), keys)
    sealed = world.put(b"gone")

    class Gone(Exception):
        pass

    def destroyed(space: bytes) -> None:
        raise Gone

    keys.space = destroyed  # type: ignore[assignment,method-assign]
    with pytest.raises(Gone):
        world.get(sealed)


def test_another_key_is_another_space() -> None:
    world = World(MemoryStore())
    sealed = world.put(b"sealed under the key before")
    world.keys._spaces[SPACE] = SpaceKeys(b"n" * 32)
    with pytest.raises(DamagedContent):
        world.get(sealed)


def test_batches_stay_within_a_leaf_of_cids() -> None:
    """`known` is asked about no more cids at once than a catalogue is asked to locate."""
    asked: list[int] = []

    def known(cids: list[bytes]) -> set[bytes]:
        asked.append(len(cids))
        return set()

    writer = Vault(MemoryStore(), Keys()).writer(SPACE, declared=1 << 22, known=known)
    writer.write(os.urandom(1 << 22))
    writer.finish()
    assert max(asked) <= 1024
    assert writing.BATCH_BYTES == 1 << 20
