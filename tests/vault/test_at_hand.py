"""What is read without waiting for anybody, and what is left to be read elsewhere because somebody would have to."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from providers.vault.errors import DamagedContent
from providers.vault.memory import MemoryStore
from providers.vault.vault import ContentReader
from tests.vault.world import World, local, packs_of

DATA = random.Random(7).randbytes(5_000_000)
#: The first block is read elsewhere: where its chunks lie is asked of the catalogue.
FIRST = 0


def walk(reader: ContentReader) -> tuple[bytes, int]:
    """Return a content read in order, and how many times that could not be done at hand."""
    found, elsewhere = bytearray(), 0
    while len(found) < reader.size:
        piece = reader.at_hand(len(found))
        if piece is None:
            piece, elsewhere = reader.read_on(len(found)), elsewhere + 1
        found += piece
    return bytes(found), elsewhere


@pytest.mark.parametrize("make", [lambda _: World(MemoryStore()), local], ids=["memory", "folder"])
def test_all_but_the_beginning_is_at_hand(tmp_path: Path, make: Callable[[Path], World]) -> None:
    world = make(tmp_path)
    reader = world.reader(world.put(DATA))
    assert reader.at_hand(FIRST) is None
    assert walk(reader) == (DATA, 1)
    assert reader.at_hand(len(DATA)) is None and reader.read_on(len(DATA)) == b""


def test_bytes_that_were_handed_out_do_not_change(tmp_path: Path) -> None:
    world = local(tmp_path)
    reader = world.reader(world.put(DATA))
    first = reader.read_on(FIRST)
    second = reader.at_hand(len(first))
    assert second is not None
    reader.read(0, 100)
    walk(reader)
    assert first == DATA[: len(first)] and second == DATA[len(first) : len(first) + len(second)]


def on_the_disk(*_: Any) -> int:
    raise BlockingIOError


@pytest.mark.parametrize("read", [on_the_disk, lambda *_: 17], ids=["none", "a part"])
def test_what_is_not_all_in_memory_is_read_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[..., int]
) -> None:
    world = local(tmp_path)
    reader = world.reader(world.put(DATA))
    kernel = os.preadv
    monkeypatch.setattr(os, "preadv", lambda *told: read(*told) if len(told) == 4 else kernel(*told))
    found, elsewhere = walk(reader)
    assert found == DATA and elsewhere >= 5


def test_while_somebody_reads_it_is_not_waited_for(tmp_path: Path) -> None:
    world = local(tmp_path)
    reader = world.reader(world.put(DATA))
    reader.read_on(FIRST)
    with reader._guard:
        assert reader.at_hand(FIRST) is None
    assert reader.at_hand(FIRST) is not None


def test_what_is_damaged_is_not_at_hand(tmp_path: Path) -> None:
    """Whoever reads it elsewhere is told, and it is looked for anew before."""
    world = local(tmp_path)
    reader = world.reader(world.put(DATA))
    reader.read_on(FIRST)
    (pack,) = packs_of(tmp_path)
    with pack.open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"x")
    at = len(reader.read_on(FIRST))
    while (piece := reader.at_hand(at)) is not None:
        at += len(piece)
    assert 1_000_000 < at < 3_100_000
    with pytest.raises(DamagedContent):
        reader.read_on(at)


def test_a_pack_that_is_gone_is_not_at_hand(tmp_path: Path) -> None:
    world = local(tmp_path)
    reader = world.reader(world.put(DATA))
    reader.read_on(FIRST)
    for pack in packs_of(tmp_path):
        pack.unlink()
    assert reader.at_hand(FIRST) is None
