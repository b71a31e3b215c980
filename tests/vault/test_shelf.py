"""One pack a space, ended when it is full or idle; syncs asked for at once are one sync."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from providers.vault import shelf as shelving
from providers.vault.local import LocalStore
from providers.vault.memory import MemoryStore
from providers.vault.shelf import IDLE_SECONDS, Shelf
from tests.vault.conformance.suite import record
from tests.vault.world import OTHER_SPACE, SPACE, local, packs_of


def test_a_full_pack_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelving, "PACK_BYTES", 3 << 20)
    world = local(tmp_path / "vault")
    data = os.urandom(9 << 20)
    sealed = world.put(data)
    assert len(sealed.needs - set(sealed.appended)) == len({found.pack for found in sealed.records}) >= 3
    world.vault.close()
    assert all(file.stat().st_size <= (3 << 20) + 200_000 for file in packs_of(tmp_path / "vault"))
    assert all(world.store.scan(SPACE, pack).has_footer for pack, _ in world.store.packs(SPACE))
    assert world.get(sealed) == data


def test_an_idle_pack_is_ended() -> None:
    now = [0.0]
    store = MemoryStore()
    shelf = Shelf(store, clock=lambda: now[0])
    first, _ = shelf.append(SPACE, record(b"one"))
    now[0] = IDLE_SECONDS - 1
    other, _ = shelf.append(OTHER_SPACE, record(b"two", OTHER_SPACE))
    shelf.close_idle()
    assert first.is_usable
    now[0] = IDLE_SECONDS + 1
    shelf.close_idle()
    deadline = time.monotonic() + 5
    while first.is_usable and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not first.is_usable
    assert other.is_usable
    assert store.scan(SPACE, first.id).has_footer
    again, _ = shelf.append(SPACE, record(b"three"))
    assert again.id != first.id
    shelf.close()


def test_syncs_at_once_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = os.fdatasync

    def slow(fd: int) -> None:
        calls.append(fd)
        time.sleep(0.02)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", slow)
    pack = LocalStore(tmp_path / "vault").open_pack(SPACE)
    begin = threading.Barrier(16)

    def one(number: int) -> None:
        pack.append(record(os.urandom(100)))
        begin.wait()
        pack.sync()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(16)))
    assert len(calls) <= 2
    pack.sync()
    assert len(calls) <= 2  # nothing new, no sync
    pack.close()


def test_the_folders_of_a_new_pack_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    real = os.fsync

    def noting(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", noting)
    pack = LocalStore(tmp_path / "vault").open_pack(SPACE)
    pack.append(record(b"x"))
    pack.sync()
    space = tmp_path / "vault" / SPACE.hex()
    assert set(synced) == {str(each) for each in (space / "packs", space, tmp_path / "vault", tmp_path)}
    pack.append(record(b"y"))
    pack.sync()
    assert len(synced) == 4
    pack.close()
