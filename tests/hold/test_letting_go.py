"""What uploads appended and nothing came of leaves the packs, and nothing else does, whichever catalogue stands."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from sqlalchemy import func, select

from auth.roles import Via
from config.settings.schema import Settings
from providers import tables
from providers.errors import PreconditionFailed, QuotaExceeded, TargetExists, UploadIncomplete
from providers.holding.letting_go import GivenBack
from providers.installation import Installation
from providers.model import Conditions
from providers.paths import parse
from providers.vault import local
from providers.vault.local import gaps_held_off
from tests.hold.worlds import OURS, SPACE, erased, findings, make, packed, versions
from tests.worlds import World, fetch, store

DOCUMENT = f"{OURS}/Avtal/Köp.txt"
SIZE = 3_000_000


@pytest.fixture
def world(tmp_path: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = make(tmp_path / "data", **engine)
    yield made
    made.installation.close()


def aborted(world: World, content: bytes, path: str = DOCUMENT) -> None:
    """Begin an upload, and let it be cut off."""
    upload = world.drive("mia").put(parse(path), declared=len(content) + 1)
    upload.write(content)
    upload.discard()


def reopened(world: World) -> None:
    """Let another process go on: this one's packs are not written to any more."""
    folder = world.installation.folder
    world.installation.close()
    world.installation = Installation.open(folder, world.installation.settings)


def swept(world: World) -> GivenBack:
    return world.installation.erasures.letting_go.sweep().get(world.spaces[SPACE].id, GivenBack())


def waiting(world: World) -> int:
    """Return how many bytes are written down as let go."""
    world.installation.erasures.letting_go.note()
    return world.installation.erasures.letting_go.waiting_bytes()


def taken(world: World) -> int:
    """Return how much room the packs of the space take on the disk, in bytes."""
    packs = world.installation.folder / "vault" / world.spaces[SPACE].id.hex() / "packs"
    return sum(path.stat().st_blocks * 512 for path in packs.glob("*.pack"))


def counted(world: World) -> int:
    """Return how many bytes count in the quota of the space."""
    table = tables.head.c
    with world.installation.database.read() as connection:
        used: int = connection.execute(
            select(table.sealed_bytes).where(table.space == world.spaces[SPACE].id)
        ).scalar_one()
        return used


def rows(world: World) -> int:
    with world.installation.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(tables.let_go)).scalar_one())


def test_what_was_cut_off_stayed_for_good(world: World) -> None:
    content = os.urandom(SIZE)
    store(world.drive("mia"), f"{OURS}/Annat.txt", content)
    before, used = taken(world), counted(world)
    for _ in range(3):
        aborted(world, os.urandom(SIZE))
    assert taken(world) - before > 2 * SIZE
    assert waiting(world) > 2 * SIZE
    reopened(world)
    done = swept(world)
    assert done.freed_bytes > 2 * SIZE and not done.waiting and not done.damaged
    assert abs(taken(world) - before) < 100_000
    assert (rows(world), counted(world)) == (0, used)
    assert fetch(world.drive("mia"), f"{OURS}/Annat.txt") == content
    assert findings(world) == []
    assert swept(world) == GivenBack()


def test_a_pack_that_a_server_writes_to_is_asked_for_and_waited_for(world: World) -> None:
    aborted(world, os.urandom(SIZE))
    server, space, stop = world.installation, world.spaces[SPACE].id, threading.Event()
    server.erasures.letting_go.note()
    command = Installation.open(server.folder, server.settings)
    try:
        (done,) = command.erasures.letting_go.sweep().values()
        assert (len(done.waiting), done.freed_bytes) == (1, 0)

        def serve() -> None:
            while not stop.wait(0.05):
                server.vault.tick()

        thread = threading.Thread(target=serve)
        thread.start()
        done = command.erasures.letting_go.sweep(wait_seconds=30)[space]
        assert not done.waiting and done.freed_bytes > SIZE // 2
    finally:
        stop.set()
        thread.join()
        command.close()


def too_large(world: World) -> None:
    space = world.spaces[SPACE].id
    world.installation.spaces.set_quota(world.installation.operator(), space, counted(world) + SIZE * 5 // 6)
    upload = world.drive("mia").put(parse(DOCUMENT), declared=None)
    try:
        for _ in range(6):
            upload.write(os.urandom(SIZE // 6))
        upload.commit()
    finally:
        upload.discard()


def too_short(world: World) -> None:
    upload = world.drive("mia").put(parse(DOCUMENT), declared=SIZE + 1)
    upload.write(os.urandom(SIZE))
    upload.commit()


def forbidden_since(world: World) -> None:
    upload = world.drive("mia").put(parse(DOCUMENT), declared=SIZE)
    upload.write(os.urandom(SIZE))
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces[SPACE].id, 1)
    upload.commit()


def refused_at_the_end(world: World) -> None:
    upload = world.drive("mia").put(parse(DOCUMENT), declared=SIZE, conditions=Conditions(if_none_match=("*",)))
    upload.write(os.urandom(SIZE))
    store(world.drive("mia"), DOCUMENT, b"somebody was faster")
    upload.commit()


@pytest.mark.parametrize("end", [too_large, too_short, forbidden_since, refused_at_the_end])
def test_whatever_an_upload_ended_by_it_is_let_go(world: World, end: Callable[[World], None]) -> None:
    gc.disable()  # what is refused must not hold a pack for as long as nobody collects it
    try:
        with pytest.raises((QuotaExceeded, UploadIncomplete, PreconditionFailed, TargetExists)):
            end(world)
        assert waiting(world) > SIZE // 3
        reopened(world)
        assert swept(world).freed_bytes > SIZE // 3
    finally:
        gc.enable()
    assert findings(world) == []
    assert waiting(world) == 0


def test_what_was_committed_is_not_let_go(world: World) -> None:
    mia = world.drive("mia")
    store(mia, DOCUMENT, os.urandom(SIZE))
    store(mia, DOCUMENT, os.urandom(SIZE))
    mia.copy(parse(DOCUMENT), parse(f"{OURS}/Kopia.txt"), overwrite=True)
    edit = world.drive("mia", Via.SFTP).edit(parse(f"{OURS}/Ritad.bin"), create=True, truncate=True)
    edit.write(0, os.urandom(SIZE))
    edit.write(10, b"x" * 100)
    edit.commit()
    del edit
    assert waiting(world) < 10_000


def test_an_upload_under_way_is_let_be(world: World) -> None:
    content = os.urandom(SIZE)
    upload = world.drive("mia").put(parse(DOCUMENT), declared=SIZE)
    upload.write(content[: SIZE // 2])
    aborted(world, os.urandom(SIZE), f"{OURS}/Annat.txt")
    assert len(swept(world).waiting) == 1
    upload.write(content[SIZE // 2 :])
    upload.commit()
    del upload
    reopened(world)
    assert swept(world).freed_bytes > SIZE // 2
    assert fetch(world.drive("mia"), DOCUMENT) == content
    assert findings(world) == []


def test_the_same_content_at_once_while_one_is_cut_off_and_swept(world: World) -> None:
    """Each has copies of its own until one is committed; those of the other go."""
    content = os.urandom(SIZE)
    one = world.drive("mia").put(parse(DOCUMENT), declared=SIZE)
    other = world.drive("eva").put(parse("/Bokslut/Avtal/Andra.txt"), declared=SIZE)
    for start in range(0, SIZE, 500_000):
        one.write(content[start : start + 500_000])
        other.write(content[start : start + 500_000])
    other.discard()
    del other
    swept(world)
    one.commit()
    del one
    reopened(world)
    assert swept(world).freed_bytes > SIZE // 2
    store(world.drive("eva"), "/Bokslut/Avtal/Andra.txt", content)
    assert fetch(world.drive("mia"), DOCUMENT) == fetch(world.drive("eva"), "/Bokslut/Avtal/Andra.txt") == content
    assert findings(world) == []


def test_an_older_catalogue_over_newer_packs_loses_nothing_that_was_acknowledged_since(world: World) -> None:
    """Put back, swept, and the newer one put in its place again: all of it can be read."""
    if world.installation.database.dialect != "sqlite":
        pytest.skip("a catalogue is put back as a file")
    folder = world.installation.folder
    old, new = os.urandom(SIZE), os.urandom(SIZE)
    store(world.drive("mia"), f"{OURS}/Före.txt", old)
    aborted(world, os.urandom(SIZE))
    waiting(world)
    reopened(world)
    world.installation.close()
    shutil.copy(folder / "catalogue.db", folder.with_name("catalogue.db"))
    world.installation = Installation.open(folder, world.installation.settings)
    store(world.drive("mia"), f"{OURS}/Efter.txt", new)
    aborted(world, os.urandom(SIZE))
    reopened(world)
    assert swept(world).freed_bytes > SIZE
    world.installation.close()
    # The older catalogue, over packs that were swept since; it sweeps what it knows of itself.
    shutil.move(folder / "catalogue.db", folder.with_name("newer.db"))
    shutil.copy(folder.with_name("catalogue.db"), folder / "catalogue.db")
    world.installation = Installation.open(folder, world.installation.settings)
    assert fetch(world.drive("mia"), f"{OURS}/Före.txt") == old
    swept(world)
    world.installation.tidy()
    assert fetch(world.drive("mia"), f"{OURS}/Före.txt") == old
    assert findings(world) == []
    world.installation.close()
    shutil.move(folder.with_name("newer.db"), folder / "catalogue.db")
    (folder / "log.reached").unlink()  # of the older one, which told something else since
    world.installation = Installation.open(folder, world.installation.settings)
    assert fetch(world.drive("mia"), f"{OURS}/Före.txt") == old
    assert fetch(world.drive("mia"), f"{OURS}/Efter.txt") == new
    assert findings(world) == []


def test_whatever_is_written_down_by_mistake_stays(world: World) -> None:
    """A chunk or a version that stands in the catalogue is not let go, whatever a row says."""
    content = os.urandom(SIZE)
    store(world.drive("mia"), DOCUMENT, content)
    reopened(world)
    vault, space = world.installation.vault, world.spaces[SPACE].id
    with world.installation.database.write() as connection:
        for pack in vault.packs(space):
            row = {"space": space, "pack": pack, "offset": 32, "length": 1 << 40, "is_doomed": False}
            connection.execute(tables.let_go.insert(), row)
    swept(world)
    assert rows(world) == 0
    assert fetch(world.drive("mia"), DOCUMENT) == content
    assert findings(world) == []
    assert [found.number for found in vault.rebuild(space) if hasattr(found, "number")].count(1) >= 1


def test_the_sweep_of_what_was_erased_carries_what_was_let_go(world: World) -> None:
    """A pack that is written anew takes along what it cannot tell from an upload under way, and where that lies."""
    node = versions(world.drive("mia"), f"{OURS}/Bort.txt", os.urandom(SIZE), b"stannar")
    aborted(world, os.urandom(SIZE))
    store(world.drive("mia"), DOCUMENT, b"kvar" * 100_000)
    erased(world, node, 1)
    waiting(world)
    reopened(world)
    done = world.installation.erasures.sweep(now=True, wait_seconds=20)[world.spaces[SPACE].id]
    assert done.is_whole and waiting(world) > SIZE // 2
    reopened(world)
    assert swept(world).freed_bytes > SIZE // 2
    assert taken(world) < SIZE
    assert fetch(world.drive("mia"), DOCUMENT) == b"kvar" * 100_000
    assert findings(world) == []


def test_no_gaps_are_made_while_a_backup_copies(world: World) -> None:
    store(world.drive("mia"), f"{OURS}/Annat.txt", os.urandom(SIZE))
    aborted(world, os.urandom(SIZE))
    waiting(world)
    reopened(world)
    with gaps_held_off(world.installation.folder / "vault"):
        assert len(swept(world).waiting) == 1
        assert findings(world) == []
    assert swept(world).freed_bytes > SIZE // 2


def test_where_no_holes_are_known_nothing_is_touched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(SIZE)
    store(world.drive("mia"), DOCUMENT, content)
    aborted(world, os.urandom(SIZE))
    reopened(world)
    left = waiting(world)

    def refused(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "no holes")

    with monkeypatch.context() as patched:
        patched.setattr(local, "punch", refused)
        before = packed(world)
        done = swept(world)
        assert (done.packs, len(done.waiting), waiting(world)) == (0, 1, left)
        assert packed(world) == before
    assert swept(world).freed_bytes == left
    assert fetch(world.drive("mia"), DOCUMENT) == content
    assert findings(world) == []


def begun_and_killed(folder: FilePath, settings: Settings, password: str, content: bytes, when: str) -> int:
    """Upload in a process of its own, which ends without a word at some point; return how it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        installation = Installation.open(folder, settings)
        who = installation.authenticator.basic("mia", password, via=Via.WEBDAV, address="192.0.2.7")
        apply = installation.database.apply

        def killed(*arguments: Any, **options: Any) -> Any:
            if when == "synced":
                for need in arguments[1]:
                    need.sync()
            if when == "committed":
                apply(*arguments, **options)
            os._exit(KILLED)

        upload = installation.drive(who).put(parse(DOCUMENT), declared=len(content))
        for start in range(0, len(content), 1 << 20):
            upload.write(content[start : start + (1 << 20)])
        if when != "written":
            installation.database.apply = killed  # type: ignore[method-assign]
            upload.commit()
        os._exit(KILLED)
    finally:
        os._exit(1)


@pytest.mark.parametrize("when", ["written", "sealed", "synced", "committed"])
def test_what_a_killed_process_was_receiving_stayed_for_good(world: World, when: str) -> None:
    """Its trail is gone before anything can come of it: at worst the room is lost."""
    other, content = os.urandom(SIZE), os.urandom(20 << 20)
    store(world.drive("mia"), f"{OURS}/Annat.txt", other)
    room, password = taken(world), world.passwords["mia"]
    folder, settings = world.installation.folder, world.installation.settings
    world.installation.close()
    assert begun_and_killed(folder, settings, password, content, when) == KILLED
    trails = folder / "vault" / world.spaces[SPACE].id.hex() / "trails"
    assert len(list(trails.glob("*"))) == (1 if when in ("written", "sealed") else 0)
    world.installation = Installation.open(folder, settings)
    assert findings(world) == []
    done = swept(world)
    assert not list(trails.glob("*"))
    if when in ("written", "sealed"):
        assert done.freed_bytes > 18 << 20
        assert taken(world) - room < 3 << 20
    else:
        assert done.freed_bytes == 0
    if when == "committed":
        assert fetch(world.drive("mia"), DOCUMENT) == content
    assert fetch(world.drive("mia"), f"{OURS}/Annat.txt") == other
    assert findings(world) == []


def test_a_trail_goes_with_what_it_tells_of(world: World) -> None:
    trails = world.installation.folder / "vault" / world.spaces[SPACE].id.hex() / "trails"
    content = os.urandom(12 << 20)
    for end in ("commit", "discard"):
        upload = world.drive("mia").put(parse(DOCUMENT), declared=len(content))
        for start in range(0, len(content), 1 << 20):
            upload.write(content[start : start + (1 << 20)])
        if end == "commit":
            assert len(list(trails.glob("*"))) == 1
        swept(world)  # of one that is under way nothing is taken
        getattr(upload, end)()
        del upload
        assert not list(trails.glob("*"))
    assert fetch(world.drive("mia"), DOCUMENT) == content


KILLED = 77
#: Where a sweep is killed: on which object, which method, before or after it.
STEPS = (
    ("letting_go", "_write_down", "before"),
    ("letting_go", "_write_down", "after"),
    ("vault", "claim", "after"),
    ("letting_go", "_doom", "before"),
    ("letting_go", "_doom", "after"),
    ("vault", "void", "after"),
    ("letting_go", "_forget", "before"),
    ("letting_go", "_forget", "after"),
)


def killed_at(folder: FilePath, settings: Settings, where: str, step: str, when: str) -> int:
    """Cut off an upload and sweep in a process of its own, which ends without a word at a step."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        installation = Installation.open(folder, settings)
        target: Any = installation.vault if where == "vault" else installation.erasures.letting_go
        real = getattr(target, step)

        def killed(*arguments: Any, **options: Any) -> Any:
            if when == "after":
                real(*arguments, **options)
            os._exit(KILLED)

        setattr(target, step, killed)
        space = installation.spaces.all()[0].id
        writer = installation.vault.writer(space, declared=SIZE, known=lambda cids: set())
        writer.write(os.urandom(SIZE))
        writer.discard()
        installation.erasures.letting_go.sweep()
    finally:
        os._exit(1)


@pytest.mark.parametrize(("where", "step", "when"), STEPS)
def test_killed_anywhere_it_is_done_by_the_next(world: World, where: str, step: str, when: str) -> None:
    content = os.urandom(SIZE)
    store(world.drive("mia"), DOCUMENT, content)
    aborted(world, os.urandom(SIZE))
    store(world.drive("mia"), f"{OURS}/Annat.txt", content[::-1])
    folder = world.installation.folder
    world.installation.close()
    assert killed_at(folder, world.installation.settings, where, step, when) == KILLED
    world.installation = Installation.open(folder, world.installation.settings)
    assert fetch(world.drive("mia"), DOCUMENT) == content
    assert findings(world) == []
    swept(world)
    assert fetch(world.drive("mia"), DOCUMENT) == content
    assert fetch(world.drive("mia"), f"{OURS}/Annat.txt") == content[::-1]
    assert findings(world) == []
    assert rows(world) == 0
    if step != "_write_down":
        assert taken(world) < 3.2 * SIZE
