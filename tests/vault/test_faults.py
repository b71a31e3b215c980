"""What the disk may do to a vault, one test for each fault, named after it. The faults are real ones."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import zstandard

from config.errors import StorageFailed, StorageFull
from providers.vault.errors import DamagedContent
from providers.vault.local import LocalStore
from providers.vault.manifests import Shape, content
from providers.vault.reader import Location
from providers.vault.records import (
    _CRC,
    HEAD_BYTES,
    PACK_HEAD_BYTES,
    RECORD_BYTES_MAX,
    TAG_BYTES,
    Codec,
    Head,
    Kind,
    pack_head,
    pack_record_head,
    record_head,
    walk,
)
from providers.vault.sealing import Sealing
from tests.tools import ROOT
from tests.vault.conformance.suite import record
from tests.vault.world import OTHER_SPACE, SPACE, Keys, World, local, packs_of


def flip(file: Path, at: int, mask: int = 1) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        byte = opened.read(1)[0]
        opened.seek(at)
        opened.write(bytes([byte ^ mask]))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return local(tmp_path / "vault")


def test_corrupt_byte_anywhere_in_record(world: World, tmp_path: Path) -> None:
    data = os.urandom(200)
    sealed = world.put(data)
    (file,) = packs_of(tmp_path / "vault")
    (found,) = sealed.records
    for at in range(found.offset, found.offset + found.length):
        flip(file, at)
        with pytest.raises(DamagedContent) as raised:
            world.get(sealed)
        assert raised.value.facts["offset"] == found.offset
        assert raised.value.facts["pack"] == f"{found.pack:016x}"
        flip(file, at)
    assert world.get(sealed) == data


def test_damage_ahead_of_what_is_handed_out(world: World, tmp_path: Path) -> None:
    data = os.urandom(6 << 20)
    sealed = world.put(data)
    (file,) = packs_of(tmp_path / "vault")
    middle = sealed.records[len(sealed.records) // 2]
    flip(file, middle.offset + middle.length - 1)
    whole = b""
    with pytest.raises(DamagedContent) as raised:
        for piece in world.reader(sealed).chunks():
            whole += piece
    assert raised.value.facts["offset"] == middle.offset
    assert 1 << 20 < len(whole) < 4 << 20
    assert data.startswith(whole)


def test_a_stream_left_in_the_middle(world: World) -> None:
    data = os.urandom(6 << 20)
    sealed = world.put(data)
    reader = world.reader(sealed)
    for _ in range(20):
        pieces = reader.chunks(100)
        first = next(pieces)
        assert data.startswith(bytes(first), 100)
        pieces.close()
    assert reader.read(5 << 20, 10) == data[5 << 20 : (5 << 20) + 10]
    assert world.get(sealed) == data


@pytest.mark.parametrize("closed", [True, False], ids=["with footer", "without footer"])
def test_scrub_finds_any_flipped_byte_of_a_pack(world: World, tmp_path: Path, closed: bool) -> None:
    for size in (10, 300, 0, 70):
        world.put(os.urandom(size))
    world.put(os.urandom(100))
    if closed:
        world.vault.close()
    (file,) = packs_of(tmp_path / "vault")
    assert list(world.again().vault.scrub(SPACE)) == []
    for at in range(file.stat().st_size):
        flip(file, at, 0x10)
        found = list(world.again().vault.scrub(SPACE))
        assert len(found) == 1, at
        assert found[0].offset <= at
        flip(file, at, 0x10)


def test_scrub_passes_a_broken_header_and_goes_on(world: World, tmp_path: Path) -> None:
    # Of contents of this length some are cut in two: one header is broken, and all other records are found.
    sealed = [world.put(os.urandom(5000)) for _ in range(5)]
    broken = sealed[2].records[0]
    (file,) = packs_of(tmp_path / "vault")
    flip(file, broken.offset + 3)
    (damage,) = world.vault.scrub(SPACE)
    assert damage.offset == broken.offset
    every = {found.cid for each in sealed for found in each.records}
    assert {each.cid for each in world.vault.rebuild(SPACE)} == every - {broken.cid}  # type: ignore[union-attr]


@pytest.mark.parametrize("between", [1, 100, 4096, 70_000])
def test_a_pack_damaged_everywhere_took_a_megabyte_for_each_place(between: int) -> None:
    """Whatever lies between records: each is found, and little more is read than there is."""
    head = pack_record_head(Head(1, 0, bytes(12), 16, 0, bytes(32))) + bytes(16)
    count = 2_000_000 // (len(head) + between)
    data = pack_head(SPACE, 1) + (head + b"x" * between) * count
    taken = 0

    def read(at: int, length: int) -> bytes:
        nonlocal taken
        taken += length
        return data[at : at + length]

    found = walk(SPACE, 1, len(data), read)
    assert [each.offset for each in found.records] == [32 + n * (len(head) + between) for n in range(count)]
    assert len(found.damage) + (found.torn_at is not None) == count
    assert taken < 60 * len(data)


def test_torn_tail_after_crash(world: World, tmp_path: Path) -> None:
    kept = world.put(b"kept" * 100)
    lost = world.put(os.urandom(3000))
    (file,) = packs_of(tmp_path / "vault")
    whole = file.read_bytes()
    begin = lost.records[0].offset
    for end in (begin, begin + 1, begin + HEAD_BYTES - 1, begin + HEAD_BYTES, len(whole) - 1):
        file.write_bytes(whole[:end])
        after = world.again()
        scan = after.store.scan(SPACE, kept.records[0].pack)
        assert [entry.cid for entry in scan.records] == [kept.records[0].cid]
        assert scan.torn_at == (None if end == begin else begin)
        assert list(after.vault.scrub(SPACE)) == []
        assert after.get(kept) == b"kept" * 100
        with pytest.raises(DamagedContent):
            after.get(lost)


def test_tail_that_was_never_filled(world: World, tmp_path: Path) -> None:
    kept = world.put(b"kept")
    (file,) = packs_of(tmp_path / "vault")
    end = file.stat().st_size
    with file.open("ab") as opened:
        opened.truncate(end + 3_000_000)
    assert world.store.scan(SPACE, kept.records[0].pack).torn_at == end
    assert list(world.vault.scrub(SPACE)) == []


def test_torn_tail_is_never_appended_to(world: World, tmp_path: Path) -> None:
    world.put(b"before")
    (file,) = packs_of(tmp_path / "vault")
    with file.open("ab") as opened:
        opened.write(b"MRRC torn")
    before = file.read_bytes()
    after = world.again()
    sealed = after.put(b"after the crash")
    assert file.read_bytes() == before
    assert len(packs_of(tmp_path / "vault")) == 2
    assert after.get(sealed) == b"after the crash"


def test_two_records_swapped(world: World, tmp_path: Path) -> None:
    first, second = world.put(b"a" * 50 + os.urandom(50)), world.put(b"b" * 50 + os.urandom(50))
    (file,) = packs_of(tmp_path / "vault")
    (one,), (two,) = first.records, second.records
    assert one.length == two.length
    data = bytearray(file.read_bytes())
    cut = slice(one.offset, one.offset + one.length), slice(two.offset, two.offset + two.length)
    data[cut[0]], data[cut[1]] = data[cut[1]], data[cut[0]]
    file.write_bytes(data)
    for each in (first, second):
        with pytest.raises(DamagedContent, match="another record"):
            world.get(each)


def test_record_of_another_space(world: World, tmp_path: Path) -> None:
    sealed = world.put(b"the same" * 20)
    pack = packs_of(tmp_path / "vault")[0]
    target = tmp_path / "vault" / OTHER_SPACE.hex() / "packs" / pack.name
    target.parent.mkdir(parents=True)
    shutil.copy(pack, target)
    with pytest.raises(DamagedContent):
        world.get(sealed, OTHER_SPACE)


def test_chunk_cannot_pose_as_manifest(world: World) -> None:
    """A document whose bytes are those of a leaf is only ever read as a document."""
    large = world.put(os.urandom(400_000))
    assert content(large.content).shape is Shape.LEAF
    forged = bytes([Shape.CHUNK]) + large.content[1:]
    with pytest.raises(DamagedContent):
        world.vault.reader(SPACE, forged, world.catalogue.locate).read(0, 10)


def test_length_other_than_declared(world: World) -> None:
    sealed = world.put(os.urandom(5000))
    forged = bytearray(sealed.content)
    forged[2] ^= 1
    with pytest.raises(DamagedContent, match=r"length|more or fewer bytes"):
        world.vault.reader(SPACE, bytes(forged), world.catalogue.locate).read(0, 10_000)


@pytest.mark.parametrize("plain", [b"text " * 500, random.Random(1).randbytes(2500)], ids=["packed", "as it is"])
def test_a_record_of_another_length_than_is_asked_for(plain: bytes) -> None:
    sealing = Sealing(SPACE, Keys().space(SPACE))
    cid = sealing.cid(Kind.CHUNK, plain)
    sealed = memoryview(sealing.seal(Kind.CHUNK, cid, plain))
    for length in (len(plain) - 1, len(plain) + 1):
        with pytest.raises(DamagedContent):
            sealing.open_into(memoryview(bytearray(length)), sealed, Kind.CHUNK, cid, length)
    head = record_head(sealed)
    assert head is not None
    for codec, packed in ((Codec.NONE, plain), (Codec.ZSTD, zstandard.compress(plain))):
        lying = head._replace(codec=codec, sealed_bytes=len(packed) + TAG_BYTES, raw_bytes=len(plain) + 1)
        sealed = memoryview(bytearray(HEAD_BYTES + lying.sealed_bytes))
        sealing.seal_packed(sealed, lying, packed)
        with pytest.raises(DamagedContent):
            sealing.open_into(memoryview(bytearray(lying.raw_bytes)), sealed, Kind.CHUNK, cid, lying.raw_bytes)
        with pytest.raises(DamagedContent):
            sealing.open(sealed, Kind.CHUNK, cid)


def test_a_record_is_opened_as_what_it_is_and_whole_or_not_at_all() -> None:
    sealing, plain = Sealing(SPACE, Keys().space(SPACE)), random.Random(1).randbytes(50)
    cid = sealing.cid(Kind.CHUNK, plain)
    whole = sealing.seal(Kind.CHUNK, cid, plain)
    assert sealing.open(whole, Kind.CHUNK, cid) == plain
    head = record_head(whole)
    assert head is not None
    packed_otherwise = bytearray(whole)
    sealing.seal_packed(memoryview(packed_otherwise), head._replace(codec=7), plain)
    for given, kind in ((whole + b"x", Kind.CHUNK), (whole, Kind.LEAF), (packed_otherwise, Kind.CHUNK)):
        with pytest.raises(DamagedContent):
            sealing.open(given, kind, cid)


def test_what_only_looks_like_the_head_of_a_record_is_none() -> None:
    head = Head(Kind.CHUNK, Codec.NONE, bytes(12), TAG_BYTES, 0, bytes(32))
    longest = head._replace(sealed_bytes=RECORD_BYTES_MAX - HEAD_BYTES)
    for good in (head, longest):
        assert record_head(pack_record_head(good)) == good
    none = [head._replace(sealed_bytes=TAG_BYTES - 1), longest._replace(sealed_bytes=longest.sealed_bytes + 1)]
    fields = pack_record_head(head)[: -_CRC.size]
    other = [fields[:at] + b"\x09" + fields[at + 1 :] for at in (0, 4, 7)]  # the magic, the format, what is reserved
    for data in (*map(pack_record_head, none), *(each + _CRC.pack(zlib.crc32(each)) for each in other)):
        assert record_head(data) is None


@pytest.mark.parametrize("forged", [b"", b"\x00", b"\x00\x01", b"\x09" + bytes(41), b"\x01\x01" + bytes(40)])
def test_reference_that_is_none(world: World, forged: bytes) -> None:
    with pytest.raises(DamagedContent, match="no known form"):
        world.vault.reader(SPACE, forged, world.catalogue.locate)


def test_truncated_footer(world: World, tmp_path: Path) -> None:
    sealed = [world.put(os.urandom(1000)) for _ in range(3)]
    world.vault.close()
    (file,) = packs_of(tmp_path / "vault")
    whole = file.read_bytes()
    end = sealed[2].records[0].offset + sealed[2].records[0].length
    assert world.store.scan(SPACE, sealed[0].records[0].pack).has_footer
    for cut in (1, 8, 20, len(whole) - end - 1):
        file.write_bytes(whole[:-cut])
        scan = world.store.scan(SPACE, sealed[0].records[0].pack)
        assert not scan.has_footer
        assert len(scan.records) == 3
        assert scan.torn_at == end
        assert list(world.again().vault.scrub(SPACE)) == []


def test_footer_of_another_pack(world: World, tmp_path: Path) -> None:
    """A forged or misplaced footer hides no record."""
    world.put(os.urandom(1000))
    world.vault.close()
    other = world.again()
    sealed = other.put(os.urandom(1000))
    other.vault.close()
    first, second = packs_of(tmp_path / "vault")
    if int(second.stem, 16) != sealed.records[0].pack:
        first, second = second, first
    footer = first.read_bytes()[sealed.records[0].offset + sealed.records[0].length :]
    second.write_bytes(second.read_bytes()[: -len(footer)] + footer)
    scan = world.store.scan(SPACE, sealed.records[0].pack)
    assert [entry.cid for entry in scan.records] == [sealed.records[0].cid]
    assert scan.damage


def test_pack_that_is_gone(world: World, tmp_path: Path) -> None:
    sealed = world.put(b"x" * 1000)
    packs_of(tmp_path / "vault")[0].unlink()
    with pytest.raises(DamagedContent, match="missing"):
        world.get(sealed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_disk_full_during_append(small_disk: Path) -> None:
    world = local(small_disk / "vault")
    kept = world.put(b"kept" * 1000)
    with pytest.raises(StorageFull):
        world.put(os.urandom(8 << 20))
    after = world.again()
    assert after.get(kept) == b"kept" * 1000
    assert list(after.vault.scrub(SPACE)) == []
    # What was half written was cut off, and what else the upload left is garbage that can be read past.
    for file in packs_of(small_disk / "vault"):
        assert world.store.scan(SPACE, int(file.stem, 16)).torn_at is None
    with pytest.raises(StorageFull):
        for _ in range(4):
            world.put(os.urandom(1 << 20))


def test_disk_full_under_a_draft(small_disk: Path) -> None:
    world = local(small_disk / "vault")
    draft = world.vault.draft(SPACE, b"d" * 16, None)
    draft.write(0, b"kept" * 20_000)
    draft.sync()
    with pytest.raises(StorageFull):
        draft.write(1 << 20, os.urandom(6 << 20))
    draft.close()
    assert world.again().vault.draft(SPACE, b"d" * 16, None).read(0, 80_000) == b"kept" * 20_000


_LIMITED = """
import os, resource, signal, sys
from pathlib import Path
from config.errors import StorageFull
from tests.vault.world import local
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
world = local(Path(sys.argv[1]))
kept = world.put(b"kept" * 1000)
try:
    world.put(os.urandom(4 << 20))
except StorageFull:
    assert world.again().get(kept) == b"kept" * 1000
    assert world.get(world.put(b"goes on")) == b"goes on"
    print("full, and went on")
"""


def test_file_may_grow_no_further(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LIMITED, str(tmp_path / "vault")]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.stdout == "full, and went on\n", ran.stderr


def _replace_by_pipe(fd: int) -> int:
    """Put a pipe, which no system syncs, under a descriptor; return the file's other descriptor."""
    kept = os.dup(fd)
    reading, writing = os.pipe()
    os.dup2(writing, fd)
    os.close(reading)
    os.close(writing)
    return kept


def test_fsync_fails(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "vault")
    pack = store.open_pack(SPACE)
    pack.append(record(b"synced"))
    pack.sync()
    pack.append(record(b"not synced"))
    kept = _replace_by_pipe(pack._fd)
    with pytest.raises(StorageFailed):
        pack.sync()
    os.dup2(kept, pack._fd)
    with pytest.raises(StorageFailed):
        pack.sync()  # the disk is well again, but what it dropped meanwhile nobody knows
    assert not pack.is_usable
    with pytest.raises(StorageFailed):
        pack.append(record(b"more"))
    with pytest.raises(StorageFailed):
        pack.close()
    os.close(kept)


def test_fsync_fails_under_a_vault(world: World) -> None:
    sealed = world.put(b"first")
    writer = world.vault.writer(SPACE, declared=6, known=world.catalogue.known)
    writer.write(b"second")
    second = writer.finish()
    (pack,) = second.needs
    kept = _replace_by_pipe(pack._fd)  # type: ignore[attr-defined]
    with pytest.raises(StorageFailed):
        world.catalogue.commit(second)
    third = world.put(b"third")
    assert third.records[0].pack != sealed.records[0].pack
    assert [world.get(each) for each in (sealed, third)] == [b"first", b"third"]
    os.close(kept)


def test_write_fails(tmp_path: Path) -> None:
    """/dev/full says ENOSPC to every write."""
    store = LocalStore(tmp_path / "vault")
    pack = store.open_pack(SPACE)
    first = record(b"first")
    pack.append(first)
    kept = os.dup(pack._fd)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, pack._fd)
    with pytest.raises(StorageFull):
        pack.append(record(b"second"))
    os.dup2(kept, pack._fd)
    pack.sync()  # what was appended before the fault is promised still
    assert not pack.is_usable
    with pytest.raises(StorageFull):
        pack.append(record(b"third"))
    pack.close()
    os.close(kept)
    os.close(full)
    assert [entry.offset for entry in store.scan(SPACE, pack.id).records] == [PACK_HEAD_BYTES]


_KILLED = """
import os, sys
from pathlib import Path
from tests.vault.world import local
world = local(Path(sys.argv[1]))
while True:
    data = os.urandom(int.from_bytes(os.urandom(2), "big") + 1)
    sealed = world.put(data)
    line = sealed.content.hex() + " " + sealed.sha256.hex() + " "
    line += ",".join(f"{r.cid.hex()}:{r.pack}:{r.offset}:{r.length}" for r in sealed.records)
    os.write(1, (line + "\\n").encode())
"""


def test_process_killed_while_writing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "vault")]
    chance = random.Random(3)
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(chance.randrange(1, 30))]
            process.send_signal(signal.SIGKILL)
            lines += [line for line in process.stdout if line.endswith(b"\n")]
        world = local(tmp_path / "vault")
        for line in lines:
            content_hex, digest, records = line.decode().split()
            for part in records.split(","):
                cid, *place = part.split(":")
                world.catalogue.places[bytes.fromhex(cid)] = Location(*map(int, place))
            reader = world.vault.reader(SPACE, bytes.fromhex(content_hex), world.catalogue.locate)
            assert sha256(reader.read(0, reader.size)).hexdigest() == digest
        assert list(world.vault.scrub(SPACE)) == []
        rebuilt = {found.cid for found in world.vault.rebuild(SPACE)}  # type: ignore[union-attr]
        assert rebuilt >= set(world.catalogue.places)
