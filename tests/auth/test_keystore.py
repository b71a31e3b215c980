"""What every keystore promises, and what the one of files does beneath."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from auth.errors import KeyExists, UnknownKey
from auth.keystore import FileKeystore, Keystore, MemoryKeystore
from tests.tools import ROOT

ONE, TWO, NONE = b"1" * 16, b"2" * 16, b"0" * 16


@pytest.fixture(params=["files", "memory"])
def keystore(request: pytest.FixtureRequest, tmp_path: Path) -> Keystore:
    return FileKeystore(tmp_path / "keystore") if request.param == "files" else MemoryKeystore()


def test_a_key_is_kept(keystore: Keystore) -> None:
    assert keystore.list() == []
    keystore.create(TWO, b"two")
    keystore.create(ONE, b"one")
    assert keystore.get(ONE) == b"one"
    assert keystore.get(TWO) == b"two"
    assert keystore.list() == [ONE, TWO]


def test_a_key_that_stands_is_not_overwritten(keystore: Keystore) -> None:
    keystore.create(ONE, b"one")
    with pytest.raises(KeyExists, match=ONE.hex()):
        keystore.create(ONE, b"other")
    assert keystore.get(ONE) == b"one"


def test_what_is_not_there_is_named(keystore: Keystore) -> None:
    keystore.destroy(NONE)
    with pytest.raises(UnknownKey):
        keystore.replace(NONE, b"new")
    keystore.create(ONE, b"one")
    with pytest.raises(UnknownKey, match=NONE.hex()):
        keystore.get(NONE)
    with pytest.raises(UnknownKey):
        keystore.replace(NONE, b"new")
    assert keystore.list() == [ONE]


def test_a_key_is_replaced(keystore: Keystore) -> None:
    keystore.create(ONE, b"one")
    keystore.create(TWO, b"two")
    keystore.replace(ONE, b"new and longer")
    assert keystore.get(ONE) == b"new and longer"
    assert keystore.get(TWO) == b"two"


def test_a_destroyed_key_is_gone(keystore: Keystore) -> None:
    keystore.create(ONE, b"one")
    keystore.create(TWO, b"two")
    keystore.destroy(ONE)
    keystore.destroy(ONE)
    with pytest.raises(UnknownKey):
        keystore.get(ONE)
    with pytest.raises(UnknownKey):
        keystore.replace(ONE, b"back again")
    assert keystore.list() == [TWO]


def test_of_many_who_create_one_wins(keystore: Keystore) -> None:
    outcomes: list[bytes] = []

    def create(wrapped: bytes) -> None:
        try:
            keystore.create(ONE, wrapped)
            outcomes.append(wrapped)
        except KeyExists:
            pass

    run([lambda n=n: create(bytes([n]) * 60) for n in range(16)])  # type: ignore[misc]
    assert outcomes == [keystore.get(ONE)]


def test_replacing_brings_no_destroyed_key_back(keystore: Keystore) -> None:
    for round_ in range(50):
        identity = round_.to_bytes(16, "big")
        keystore.create(identity, b"old")

        def replace(identity: bytes = identity) -> None:
            try:
                keystore.replace(identity, b"new")
            except UnknownKey:
                pass

        run([replace, lambda identity=identity: keystore.destroy(identity)])  # type: ignore[misc]
        assert identity not in keystore.list()


def run(tasks: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- files


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keystore"
    FileKeystore(folder).create(ONE, b"one")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_an_interrupted_replacement_leaves_the_old_key_and_goes_with_it(tmp_path: Path) -> None:
    keystore = FileKeystore(tmp_path / "keystore")
    keystore.create(ONE, b"one")
    torn = tmp_path / "keystore" / f"{ONE.hex()}.{TWO.hex()}.new"
    torn.write_bytes(b"on")
    assert keystore.get(ONE) == b"one"
    assert keystore.list() == [ONE]
    keystore.destroy(ONE)
    assert [path.name for path in (tmp_path / "keystore").iterdir()] == [".lock"]


def test_nothing_is_left_aside(tmp_path: Path) -> None:
    keystore = FileKeystore(tmp_path / "keystore")
    keystore.create(ONE, b"one")
    keystore.replace(ONE, b"new")
    with pytest.raises(KeyExists):
        keystore.create(ONE, b"other")
    assert sorted(path.name for path in (tmp_path / "keystore").iterdir()) == [".lock", f"{ONE.hex()}.key"]


def test_a_destroyed_key_is_overwritten_for_good_and_then_its_name_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keystore, wrapped = FileKeystore(tmp_path / "keystore"), b"one" * 20
    keystore.create(ONE, wrapped)
    path, real, synced = tmp_path / "keystore" / f"{ONE.hex()}.key", os.fsync, []

    def sync(fd: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{fd}"), path.read_bytes() if path.exists() else None))
        real(fd)

    monkeypatch.setattr(os, "fsync", sync)
    keystore.destroy(ONE)
    (overwritten, content), gone = synced
    assert (overwritten, gone) == (str(path), (str(path.parent), None))
    assert content is not None and len(content) == len(wrapped) and content != wrapped


@pytest.mark.skipif(not Path("/usr/bin/strace").exists(), reason="strace is not installed")
def test_a_key_is_synced_before_it_is_linked_and_its_folder_before_it_returns(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import os, sys; from pathlib import Path; from auth.keystore import FileKeystore; "
        "FileKeystore(Path(sys.argv[1])).create(b'1' * 16, b'one'); os.write(1, b'returned')"
    )
    calls = tmp_path / "calls"
    subprocess.run(
        ["strace", "-f", "-o", str(calls), "-e", "trace=fsync,link,linkat,unlink,write,mkdir", sys.executable, "-c",
         code, str(tmp_path / "keystore")],
        check=True, capture_output=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    names = [line.split("(")[0].split()[-1] for line in calls.read_text().splitlines() if "(" in line]
    names = names[names.index("mkdir") :]
    done = names.index("link" if "link" in names else "linkat")
    assert names[:done] == ["mkdir", "fsync", "write", "fsync"]  # the folder's parent, the file
    assert "fsync" in names[done : len(names) - names[::-1].index("write")]


def test_the_mark_tells_that_keys_came_and_went(tmp_path: Path) -> None:
    folder = tmp_path / "keystore"
    kept, told = FileKeystore(folder), set()
    for age, change in ((30, lambda: kept.create(ONE, b"one")), (20, lambda: kept.create(TWO, b"two")),
                        (10, lambda: kept.destroy(ONE))):  # fmt: skip
        change()
        assert kept.mark() is None  # the next may come within the same step of the clock
        past = time.time() - age
        os.utime(folder, (past, past))
        told.add(kept.mark())
    assert len(told) == 3
    assert None not in told


def test_a_key_in_memory_marks_too() -> None:
    kept = MemoryKeystore()
    before = kept.mark()
    kept.create(ONE, b"one")
    made = kept.mark()
    kept.destroy(ONE)
    assert len({before, made, kept.mark()}) == 3
