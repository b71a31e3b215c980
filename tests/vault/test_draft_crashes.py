"""Drafts whose process is killed, or whose machine loses power, again and again: only what was synced comes back."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from providers.vault.drafts import BLOCK_BYTES
from providers.vault.memory import MemoryDraft, MemoryStore
from providers.vault.vault import Draft
from tests.vault.world import SPACE, World

NAME = b"draft of a model"
PAGE_BYTES = 4096


class Killed(Exception):
    """The process is gone, in the midst of what it was doing."""


class Disk:
    """What of a draft is on the disk, and what was written since and stands in the system's memory alone."""

    def __init__(self) -> None:
        self.durable = b""
        self.waiting: list[tuple[int, bytes]] = []
        #: After how many writes and syncs the process is killed.
        self.steps_left: int | None = None

    def step(self) -> None:
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise Killed

    def after_power_loss(self, chance: random.Random) -> bytes:
        """Of what was not synced, any page may have come to the disk."""
        share = chance.choice((0.0, 0.5, 1.0))
        data = bytearray(self.durable)
        for at, written in self.waiting:
            end = at + len(written)
            while at < end:
                stop = min(end, at - at % PAGE_BYTES + PAGE_BYTES)
                if chance.random() < share:
                    data.extend(bytes(max(stop - len(data), 0)))
                    data[at:stop] = written[len(written) - (end - at) : len(written) - (end - stop)]
                at = stop
        self.durable, self.waiting = bytes(data), []
        return self.durable


class CutDraft(MemoryDraft):
    """The bytes of a draft, and what of them would outlive the power."""

    def __init__(self, data: bytearray, in_use: set[int], disk: Disk) -> None:
        super().__init__(data, in_use)
        self._disk = disk

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        self._disk.step()
        super().write(offset, data)
        self._disk.waiting.append((offset, bytes(data)))

    def sync(self) -> None:
        self._disk.step()
        self._disk.durable, self._disk.waiting = bytes(self._data), []


class CutStore(MemoryStore):
    """A store with one draft, whose process and power may go at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()

    def create_draft(self, space: bytes, draft: bytes) -> CutDraft:
        super().create_draft(space, draft).close()
        return CutDraft(self._drafts[space][draft], self._in_use, self.disk)

    def open_draft(self, space: bytes, draft: bytes) -> CutDraft:
        super().open_draft(space, draft).close()
        return CutDraft(self._drafts[space][draft], self._in_use, self.disk)

    def die(self) -> None:
        """Nobody has the draft open any more."""
        self.disk.steps_left = None
        self._in_use.clear()

    def lose_power(self, chance: random.Random) -> None:
        for data in self._drafts.get(SPACE, {}).values():
            data[:] = self.disk.after_power_loss(chance)


class Life:
    """A draft under random edits and crashes, beside a model: what it holds, and what it may come back as."""

    def __init__(self, case: int) -> None:
        self.case = case
        self.chance = random.Random(case)
        self.store = CutStore()
        self.world = World(self.store)
        self.base = self.world.reader(self.world.put(self.chance.randbytes(3 * BLOCK_BYTES)))
        self.draft = self.world.vault.draft(SPACE, NAME, self.base)
        self.draft.sync()
        self.model = bytearray(self.draft.read(0, self.draft.size))
        #: As what it may come back: what was synced last, or what a sync that was killed was about to make of it.
        self.possible = {bytes(self.model)}

    def go_on(self) -> None:
        """Take one step of any kind."""
        what = self.chance.choices(("write", "cut", "sync", "crash", "killed in sync"), (12, 1, 4, 2, 1))[0]
        if what == "write":
            at = self.chance.randrange(5) * BLOCK_BYTES
            new = self.chance.randbytes(1) * self.chance.choice((100, BLOCK_BYTES, BLOCK_BYTES, 2 * BLOCK_BYTES))
            self.draft.write(at, new)
            self.model.extend(bytes(max(at - len(self.model), 0)))
            self.model[at : at + len(new)] = new
        elif what == "cut":
            size = self.chance.randrange(len(self.model) + 1)
            self.draft.truncate(size)
            del self.model[size:]
        elif what == "sync":
            self.sync()
        elif what == "crash":
            self.crash()
        else:
            self.store.disk.steps_left = self.chance.randrange(8)
            self.possible.add(bytes(self.model))
            with suppress(Killed):
                self.sync()
            self.crash()

    def sync(self) -> None:
        self.draft.sync()
        self.possible = {bytes(self.model)}

    def crash(self) -> None:
        """The process goes, or the power with it."""
        self.draft.close()
        self.store.die()
        is_powerless = self.chance.random() < 0.4
        if is_powerless:
            self.store.lose_power(self.chance)
        self.draft = self.world.again().vault.draft(SPACE, NAME, self.base)
        found = whole(self.draft)
        assert any(found == each for each in self.possible), self.case
        self.model = bytearray(found)
        if is_powerless:
            self.possible = {found}


def whole(draft: Draft) -> bytes:
    return draft.read(0, draft.size + 5)


def test_only_what_was_synced_comes_back_however_often_it_is_killed() -> None:
    for case in range(400):
        life = Life(case)
        for _ in range(60):
            life.go_on()
        assert whole(life.draft) == life.model, case


def filled(draft: Draft, block: int, letter: bytes) -> None:
    draft.write(block * BLOCK_BYTES, letter * BLOCK_BYTES)


def beginnings(draft: Draft) -> list[bytes]:
    return [draft.read(block * BLOCK_BYTES, 1) for block in range(draft.size // BLOCK_BYTES)]


def synced_twice(world: World) -> Draft:
    draft = world.vault.draft(SPACE, NAME, None)
    for letters in (b"ab", b"AC"):
        for block, letter in enumerate(letters):
            filled(draft, block, bytes((letter,)))
        draft.sync()
    return draft


def test_blocks_that_were_never_synced_come_back_with_the_second_resume() -> None:
    """The numbers of writes that a kill made void are given again, and so their blocks looked current once more."""
    world = World(MemoryStore())
    draft = synced_twice(world)
    filled(draft, 0, b"x")
    filled(draft, 1, b"y")
    draft.close()
    draft = world.again().vault.draft(SPACE, NAME, None)
    assert beginnings(draft) == [b"A", b"C"]
    filled(draft, 1, b"D")
    draft.sync()
    draft.close()
    assert beginnings(world.again().vault.draft(SPACE, NAME, None)) == [b"A", b"D"]


def test_whoever_only_looks_into_a_draft_writes_nothing_to_it() -> None:
    store = CutStore()
    draft = synced_twice(World(store))
    filled(draft, 0, b"x")
    draft.close()
    store.disk.steps_left = 0
    again = World(store).vault
    assert again.draft_base(SPACE, NAME) == b""
    draft = again.draft(SPACE, NAME, None)
    assert beginnings(draft) == [b"A", b"C"]
    draft.close()


def test_a_state_of_which_the_disk_knows_nothing_yet_is_made_sure_before_its_forerunners_slots_are_used() -> None:
    """Killed between writing a state and syncing it; resumed, written to; then the power goes, and takes that state."""
    store = CutStore()
    world = World(store)
    draft = synced_twice(world)
    filled(draft, 0, b"x")
    filled(draft, 1, b"y")
    store.disk.steps_left = 2  # the sync of the blocks and the write of the state
    with pytest.raises(Killed):
        draft.sync()
    draft.close()
    store.die()
    draft = world.again().vault.draft(SPACE, NAME, None)
    assert beginnings(draft) == [b"x", b"y"]
    filled(draft, 0, b"1")
    filled(draft, 1, b"2")
    draft.close()
    store.disk.waiting = [(at, data) for at, data in store.disk.waiting if len(data) > PAGE_BYTES]
    store.lose_power(random.Random(1))
    assert beginnings(world.again().vault.draft(SPACE, NAME, None)) == [b"x", b"y"]
