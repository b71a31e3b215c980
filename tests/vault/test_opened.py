"""Small contents that are read again from memory: the same bytes, few of them, and not for long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from auth.errors import UnknownKey
from auth.keyring import SpaceKeys
from providers.vault import opened
from providers.vault.errors import DamagedContent
from providers.vault.opened import Opened
from tests.vault.world import OTHER_SPACE, SPACE, Keys, World, local, packs_of

DATA = os.urandom(10_240)


class Clock:
    """Tells the time that it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def gone(folder: Path) -> None:
    """Take the packs away: whatever is read then was kept in memory."""
    for pack in packs_of(folder):
        pack.unlink()


def test_a_small_content_is_read_again_without_the_disk(tmp_path: Path) -> None:
    world = local(tmp_path)
    sealed = world.put(DATA)
    assert world.reader(sealed).read(0, 1 << 20) == DATA
    gone(tmp_path)
    assert world.reader(sealed).read(0, len(DATA)) == DATA
    with pytest.raises(DamagedContent):
        world.reader(sealed).read(0, len(DATA) - 1)  # a part is read where it lies
    with pytest.raises(DamagedContent):
        world.vault.reader(SPACE, sealed.content, world.catalogue.locate, anew=True).read(0, len(DATA))


def test_what_is_damaged_is_not_kept(tmp_path: Path) -> None:
    world = local(tmp_path)
    sealed = world.put(DATA)
    (pack,) = packs_of(tmp_path)
    whole = pack.read_bytes()
    pack.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    for _ in range(2):
        with pytest.raises(DamagedContent):
            world.reader(sealed).read(0, len(DATA))
    pack.write_bytes(whole)
    assert world.reader(sealed).read(0, len(DATA)) == DATA


@pytest.mark.parametrize("size", [opened.CONTENT_BYTES_MAX, opened.CONTENT_BYTES_MAX + 1])
def test_a_longer_content_is_not_kept(tmp_path: Path, size: int) -> None:
    world = local(tmp_path)
    data = os.urandom(size)
    sealed = world.put(data)
    assert world.reader(sealed).read(0, size) == data
    gone(tmp_path)
    if size == opened.CONTENT_BYTES_MAX:
        assert world.reader(sealed).read(0, size) == data
    else:
        with pytest.raises(DamagedContent):
            world.reader(sealed).read(0, size)


def test_equal_contents_of_two_spaces_are_kept_apart(tmp_path: Path) -> None:
    world = local(tmp_path)
    here, there = world.put(DATA), world.put(DATA, space=OTHER_SPACE)
    assert world.reader(here).read(0, len(DATA)) == DATA
    for pack in packs_of(tmp_path, OTHER_SPACE):
        pack.unlink()
    with pytest.raises(DamagedContent):
        world.reader(there, OTHER_SPACE).read(0, len(DATA))


class Destructible(Keys):
    """Keys that can be destroyed."""

    def __init__(self) -> None:
        super().__init__()
        self.destroyed: set[bytes] = set()

    def space(self, space: bytes) -> SpaceKeys:
        if space in self.destroyed:
            raise UnknownKey
        return super().space(space)


def test_nothing_is_kept_of_a_space_whose_key_was_destroyed(tmp_path: Path) -> None:
    """Neither where the space goes with its key, nor where a key comes back that is another."""
    keys = Destructible()
    world = World(local(tmp_path).store, keys)
    sealed, other = world.put(DATA), world.put(DATA, space=OTHER_SPACE)
    world.reader(sealed).read(0, len(DATA))
    world.reader(other, OTHER_SPACE).read(0, len(DATA))
    kept = world.vault._opened
    keys.destroyed.add(SPACE)
    with pytest.raises(UnknownKey):
        world.reader(sealed)
    world.vault.destroy_space(SPACE)
    assert kept.get(SPACE, sealed.content) is None
    assert kept.get(OTHER_SPACE, other.content) == DATA
    keys._spaces[OTHER_SPACE] = SpaceKeys(bytes(32))
    world.vault.writer(OTHER_SPACE, declared=None, known=world.catalogue.known)
    assert kept.get(OTHER_SPACE, other.content) is None


def test_it_is_forgotten_some_time_after_it_was_last_read() -> None:
    clock = Clock()
    kept = Opened(clock)
    kept.keep(SPACE, b"old", b"old")
    kept.keep(SPACE, b"read again", b"read again")
    clock.now += opened.KEPT_SECONDS - 1
    assert kept.get(SPACE, b"read again") == b"read again"
    clock.now += 2
    kept.sweep()
    assert kept.get(SPACE, b"old") is None
    assert kept.get(SPACE, b"read again") == b"read again"
    clock.now += opened.KEPT_SECONDS + 1
    kept.sweep()
    assert kept.get(SPACE, b"read again") is None and kept._bytes == 0


def test_the_vault_forgets_by_itself(tmp_path: Path) -> None:
    world = local(tmp_path)
    clock = Clock()
    world.vault._opened = Opened(clock)
    sealed = world.put(DATA)
    world.reader(sealed).read(0, len(DATA))
    clock.now += opened.KEPT_SECONDS + 1
    world.vault.tick()
    assert world.vault._opened.get(SPACE, sealed.content) is None


def test_no_more_is_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read longest ago goes first."""
    monkeypatch.setattr(opened, "KEPT_BYTES_MAX", 1000)
    monkeypatch.setattr(opened, "ENTRY_BYTES", 0)
    kept = Opened()
    for number in range(10):
        kept.keep(SPACE, b"%d" % number, bytes(100))
    assert kept.get(SPACE, b"0") is not None
    kept.keep(SPACE, b"10", bytes(150))
    assert [kept.get(SPACE, b"%d" % number) is not None for number in range(11)] == [True, False, False, *[True] * 8]
    kept.keep(SPACE, b"10", bytes(150))  # once more, and not counted twice
    assert kept._bytes == 950


def test_contents_of_next_to_nothing_are_no_more_than_their_share() -> None:
    """Of one byte each, millions would fit if nothing but their bytes counted."""
    kept = Opened()
    most = opened.KEPT_BYTES_MAX // opened.ENTRY_BYTES
    for number in range(most + 1000):
        kept.keep(SPACE, b"%d" % number, b"x")
    assert len(kept._kept) <= most
