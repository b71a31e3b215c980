"""What an interrupted upload has in packs is its own, counts while it is kept, and is let go when it is dropped."""

from __future__ import annotations

import gc
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from sqlalchemy import func, select, update

from auth.roles import Via
from config.settings.schema import Settings
from providers import tables
from providers.drive import checkpoints, edits, kept
from providers.drive.edits import Edit
from providers.errors import UploadIncomplete
from providers.installation import Installation
from providers.paths import parse
from tests.hold.test_letting_go import KILLED, counted, reopened, rows, swept, taken, waiting
from tests.hold.worlds import OURS, SPACE, erased, findings, make, versions
from tests.seeds import seeded
from tests.worlds import World, fetch, store

DOCUMENT = f"{OURS}/Avtal/Köp.bin"
SIZE = 3_000_000
SLACK = 40_000


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is streamed be made durable once a MiB."""
    monkeypatch.setattr(checkpoints, "CHECKPOINT_BYTES", 1 << 20)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)


@pytest.fixture
def world(tmp_path: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = make(tmp_path / "data", **engine)
    yield made
    made.installation.close()


def begun(world: World, content: bytes, path: str = DOCUMENT, login: str = "mia", start: int = 0) -> Edit:
    """Begin, or go on with, an upload over SFTP."""
    edit = world.drive(login, Via.SFTP).edit(parse(path), create=True, truncate=False)
    for at in range(start, len(content), 200_000):
        edit.write(at, content[at : at + 200_000])
    return edit


def interrupted(world: World, content: bytes, path: str = DOCUMENT) -> None:
    begun(world, content, path).keep(is_cut_off=True)


def held(world: World) -> int:
    """Return how many chunks interrupted uploads hold."""
    with world.installation.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(tables.draft_chunk)).scalar_one())


def run_out(world: World) -> int:
    """Let every interrupted upload run out now."""
    with world.installation.database.write() as connection:
        connection.execute(update(tables.draft).values(expires_at=0))
    return kept.drop_stale(world.installation.storage)


def by_its_maker(world: World) -> None:
    world.drive("mia", Via.SFTP).drop_draft(parse(DOCUMENT))


def by_the_clock(world: World) -> None:
    assert run_out(world) == 1


def by_another(world: World) -> None:
    """Under the same name, of which nothing is kept in the end."""
    edit = world.drive("mia", Via.SFTP).edit(parse(DOCUMENT), create=True, truncate=True)
    edit.write(0, os.urandom(SIZE))
    edit.discard()


@pytest.mark.parametrize("drop", [by_its_maker, by_the_clock, by_another])
def test_what_was_dropped_counted_for_good(world: World, drop: Any) -> None:
    store(world.drive("mia"), f"{OURS}/Annat.txt", b"annat" * 50_000)
    used, room = counted(world), taken(world)
    interrupted(world, os.urandom(SIZE))
    assert counted(world) - used > SIZE - SLACK
    drop(world)
    assert (counted(world), held(world)) == (used, 0)
    reopened(world)
    swept(world)
    assert (rows(world), counted(world)) == (0, used)
    assert taken(world) - room < SLACK
    assert fetch(world.drive("mia"), f"{OURS}/Annat.txt") == b"annat" * 50_000
    assert findings(world) == []


@pytest.mark.parametrize("is_reopened", [False, True])
@pytest.mark.parametrize("is_changed", [False, True])
def test_what_is_resumed_is_the_version_and_counts_once(world: World, is_reopened: bool, is_changed: bool) -> None:
    content, used = bytearray(os.urandom(2 * SIZE)), counted(world)
    interrupted(world, bytes(content[:SIZE]))
    if is_reopened:
        reopened(world)
    edit = begun(world, bytes(content), start=SIZE)
    if is_changed:
        edit.write(70_000, b"x" * 1000)
        content[70_000:71_000] = b"x" * 1000
    edit.commit()
    del edit
    assert (held(world), 2 * SIZE - SLACK < counted(world) - used < 2 * SIZE + (700_000 if is_changed else SLACK)) == (
        0,
        True,
    )
    reopened(world)
    swept(world)
    assert counted(world) - used < 2 * SIZE + (200_000 if is_changed else SLACK)
    assert fetch(world.drive("mia"), DOCUMENT) == content
    assert findings(world) == []


def test_the_same_at_once_counted_twice_for_good(world: World) -> None:
    content, used = os.urandom(SIZE), counted(world)
    uploads = [
        world.drive(login).put(parse(path), declared=SIZE)
        for login, path in (("mia", DOCUMENT), ("eva", "/Bokslut/Avtal/Andra.bin"))
    ]
    for upload in uploads:
        upload.write(content)
    for upload in uploads:
        upload.commit()
    del upload, uploads
    assert counted(world) - used < SIZE + SLACK
    assert fetch(world.drive("eva"), "/Bokslut/Avtal/Andra.bin") == content
    reopened(world)
    assert swept(world).freed_bytes > SIZE // 2
    assert fetch(world.drive("mia"), DOCUMENT) == fetch(world.drive("eva"), "/Bokslut/Avtal/Andra.bin") == content
    assert counted(world) - used < SIZE + SLACK
    assert findings(world) == []


@pytest.mark.parametrize("is_dropped", [False, True])
def test_nobody_relies_on_what_an_interrupted_upload_has(world: World, is_dropped: bool) -> None:
    """Whoever stores the same meanwhile stores it; when either goes, the other stays."""
    content, used = os.urandom(SIZE), counted(world)
    interrupted(world, content)
    begun(world, content, "/Bokslut/Avtal/Andra.bin", "eva").commit()
    assert counted(world) - used > 2 * (SIZE - SLACK)
    if is_dropped:
        by_its_maker(world)
    else:
        begun(world, content, start=SIZE).commit()
    reopened(world)
    assert swept(world).freed_bytes > SIZE - 2 * SLACK
    assert fetch(world.drive("eva"), "/Bokslut/Avtal/Andra.bin") == content
    if not is_dropped:
        assert fetch(world.drive("mia"), DOCUMENT) == content
    assert counted(world) - used < SIZE + 2 * SLACK
    assert findings(world) == []


def test_two_who_write_the_same_name_at_once_lose_nothing_unsaid(world: World) -> None:
    """Of one that the other superseded nothing is committed: it is told, and what stands is whole."""
    one, other = os.urandom(SIZE), os.urandom(SIZE)
    first = begun(world, one)
    second = world.drive("mia", Via.SFTP).edit(parse(DOCUMENT), create=True, truncate=True)
    for at in range(0, SIZE, 200_000):
        second.write(at, other[at : at + 200_000])
    with pytest.raises(UploadIncomplete):
        first.commit()
    first.discard()
    second.commit()
    del first, second
    gc.collect()  # what was raised holds what it was raised by
    reopened(world)
    swept(world)
    assert fetch(world.drive("mia"), DOCUMENT) == other
    assert findings(world) == []
    assert (held(world), rows(world)) == (0, 0)


def test_a_name_that_goes_while_it_is_written_lets_go_in_the_end(world: World) -> None:
    used = counted(world)
    edit = begun(world, os.urandom(SIZE))
    edit.unname()
    assert list(world.drive("mia", Via.SFTP).drafts(parse(f"{OURS}/Avtal"))) == []
    assert counted(world) - used > SIZE // 2
    edit.discard()
    assert (counted(world), held(world)) == (used, 0)
    killed = begun(world, os.urandom(SIZE))
    killed.unname()
    del killed  # as if its process had been killed
    assert run_out(world) == 1
    assert (counted(world), held(world)) == (used, 0)


def test_an_erasure_lets_be_what_an_interrupted_upload_has_of_the_same(world: World) -> None:
    content = os.urandom(SIZE)
    begun(world, content, f"{OURS}/Bort.bin").commit()
    erased(world, store(world.drive("mia"), f"{OURS}/Bort.bin", b"annat").id, 1)
    interrupted(world, content)
    reopened(world)
    done = world.installation.erasures.sweep(now=True, wait_seconds=20)[world.spaces[SPACE].id]
    assert done.is_whole and done.freed_bytes > SIZE - SLACK, "it has a copy of its own"
    swept(world)
    edit = begun(world, content, start=SIZE)
    assert edit.read(0, SIZE) == content
    edit.commit()
    del edit
    reopened(world)
    world.installation.erasures.sweep(now=True, wait_seconds=20)
    assert fetch(world.drive("mia"), DOCUMENT) == content
    assert findings(world) == []


@pytest.mark.parametrize("is_dropped", [False, True])
def test_what_was_erased_stayed_for_good_if_an_interrupted_upload_relied_on_it(world: World, is_dropped: bool) -> None:
    """It was said to have left the packs, and was there when the upload had been dropped."""
    content, used = os.urandom(SIZE), counted(world)
    begun(world, content, f"{OURS}/Bort.bin").commit()
    node = store(world.drive("mia"), f"{OURS}/Bort.bin", b"annat").id
    interrupted(world, content)
    done, space = erased(world, node, 1), world.spaces[SPACE].id
    reopened(world)
    erasures = world.installation.erasures
    assert not erasures.sweep(now=True, wait_seconds=20)[space].is_whole
    assert erasures.get(done.id).swept_at is None
    if is_dropped:
        by_its_maker(world)
    else:
        begun(world, content, start=SIZE).commit()
    reopened(world)
    erasures = world.installation.erasures
    assert erasures.sweep(now=True, wait_seconds=20)[space].is_whole
    assert erasures.get(done.id).swept_at is not None
    assert counted(world) - used < (0 if is_dropped else SIZE) + SLACK
    if not is_dropped:
        assert fetch(world.drive("mia"), DOCUMENT) == content
    assert findings(world) == []


def test_an_erasure_moves_what_an_interrupted_upload_has(world: World) -> None:
    content = os.urandom(SIZE)
    node = versions(world.drive("mia"), f"{OURS}/Bort.bin", os.urandom(SIZE), b"annat")
    interrupted(world, content)
    erased(world, node, 1)
    reopened(world)
    assert world.installation.erasures.sweep(now=True, wait_seconds=20)[world.spaces[SPACE].id].packs >= 1
    begun(world, content, start=SIZE).commit()
    assert fetch(world.drive("mia"), DOCUMENT) == content
    assert findings(world) == []


def test_an_upload_that_ended_before_a_sweep_looked_it_through_was_called_damaged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    erased(world, versions(world.drive("mia"), f"{OURS}/Bort.txt", b"bort", b"annat"), 1)
    interrupted(world, os.urandom(SIZE))
    reopened(world)
    sweeper, acts = world.installation.erasures.sweeper, [by_its_maker]
    among = sweeper._among

    def first_dropped(space: bytes, contents: Any, *arguments: Any) -> Any:
        if acts and isinstance(contents, list):  # of a draft
            acts.pop()(world)
        return among(space, contents, *arguments)

    monkeypatch.setattr(sweeper, "_among", first_dropped)
    assert world.installation.erasures.sweep(now=True, wait_seconds=20)[world.spaces[SPACE].id].is_whole
    assert not acts


def older(world: World) -> FilePath:
    """Return a copy of the catalogue as it is now."""
    if world.installation.database.dialect != "sqlite":
        pytest.skip("a catalogue is put back as a file")
    copy = world.installation.folder.with_name("older.db")
    world.installation.database.copy_to(copy)
    return copy


def put_back(world: World, catalogue: FilePath, aside: str) -> FilePath:
    """Let another catalogue stand over the same packs; return where the one is that stood there."""
    folder, settings = world.installation.folder, world.installation.settings
    world.installation.close()
    shutil.move(folder / "catalogue.db", folder.with_name(aside))
    assert not (folder / "catalogue.db-wal").exists()
    shutil.copy(catalogue, folder / "catalogue.db")
    (folder / "log.reached").unlink(missing_ok=True)  # as where nothing tells of it
    world.installation = Installation.open(folder, settings)
    return folder.with_name(aside)


@pytest.mark.parametrize("is_left", [False, True])
def test_an_older_catalogue_let_go_of_an_upload_that_became_a_version_since(world: World, is_left: bool) -> None:
    """Also where a process that was killed left the file of a draft that had a successor already."""
    content = os.urandom(2 * SIZE)
    edit = begun(world, content[:SIZE])
    old = older(world)
    drafts = world.installation.folder / "vault" / world.spaces[SPACE].id.hex() / "drafts"
    (draft,) = drafts.glob("*.draft")
    left = shutil.copy(draft, drafts.parent)
    for at in range(SIZE, 2 * SIZE, 200_000):
        edit.write(at, content[at : at + 200_000])
    assert not draft.exists()
    if is_left:
        shutil.move(left, draft)
    edit.commit()
    del edit
    reopened(world)
    newer = put_back(world, old, "newer.db")
    assert held(world) > 0
    assert run_out(world) == 1
    assert (held(world), rows(world)) == (0, 0)
    swept(world)
    world.installation.tidy()
    assert findings(world) == []
    put_back(world, newer, "older again.db")
    assert fetch(world.drive("mia"), DOCUMENT) == content
    assert findings(world) == []


#: Where an upload that goes on, is committed, or is dropped is killed.
STEPS = (
    (edits, "keep", "before"),
    (edits, "keep", "after"),
    (edits, "end", "before"),
    (edits, "end", "after"),
    (edits, "drop", "before"),
    (edits, "drop", "after"),
    (kept, "_ended", "before"),
    (kept, "_ended", "after"),
)


@pytest.mark.parametrize("act", ["commit", "drop", "again"])
@pytest.mark.parametrize(("where", "step", "when"), STEPS)
def test_killed_anywhere_nothing_is_lost_and_nothing_left(
    world: World, where: Any, step: str, when: str, act: str
) -> None:
    content, other = os.urandom(SIZE), os.urandom(SIZE)
    store(world.drive("mia"), f"{OURS}/Annat.txt", other)
    interrupted(world, content)
    folder, settings, used = world.installation.folder, world.installation.settings, counted(world) - SIZE
    mia = world.passwords["mia"]
    world.installation.close()
    ended = killed_at(folder, settings, mia, content, (where, step, when, act))
    assert ended in (0, KILLED)
    world.installation = Installation.open(folder, settings)
    assert findings(world) == []
    stands = [item.name for item in world.drive("mia").listing(parse(f"{OURS}/Avtal"))[1] if not item.is_folder]
    if stands:
        assert fetch(world.drive("mia"), DOCUMENT) == content
    elif act == "commit":
        begun(world, content, start=0).commit()
        assert fetch(world.drive("mia"), DOCUMENT) == content
    run_out(world)
    kept.drop_abandoned(world.installation.storage)
    reopened(world)
    swept(world)
    stands = [item.name for item in world.drive("mia").listing(parse(f"{OURS}/Avtal"))[1] if not item.is_folder]
    assert counted(world) - used < (SIZE if stands else 0) + 3 * SLACK
    assert (held(world), rows(world)) == (0, 0)
    assert fetch(world.drive("mia"), f"{OURS}/Annat.txt") == other
    if stands:
        assert fetch(world.drive("mia"), DOCUMENT) == content
    assert findings(world) == []


def killed_at(folder: FilePath, settings: Settings, password: str, content: bytes, point: tuple[Any, ...]) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    where, step, when, act = point
    try:
        installation = Installation.open(folder, settings)
        real = getattr(where, step)

        def killed(*arguments: Any, **options: Any) -> Any:
            if when == "after":
                real(*arguments, **options)
            os._exit(KILLED)

        who = installation.authenticator.basic("mia", password, via=Via.SFTP, address="192.0.2.7")
        drive = installation.drive(who)
        setattr(where, step, killed)
        if act == "drop":
            drive.drop_draft(parse(DOCUMENT))
        else:
            edit = drive.edit(parse(DOCUMENT), create=True, truncate=act == "again")
            edit.write(edit.size, content[edit.size :])
            edit.sync()
            edit.commit()
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(1)


@pytest.mark.parametrize("seed", seeded([15, 104], more=3))
@pytest.mark.parametrize("erases", [False, True])
def test_many_uploads_in_any_order_with_a_model(world: World, erases: bool, seed: int) -> None:
    """Streams, drafts, drops, resumptions, the same contents again, erasures and sweeps, in a random order."""
    chance = random.Random(seed)
    pool = [chance.randbytes(chance.choice((800_000, 1_500_000, 2_500_000))) for _ in range(4)]
    stands: dict[str, bytes] = {}
    versions_of: dict[str, set[bytes]] = {}
    partial: dict[str, bytes] = {}
    names = [f"{OURS}/Avtal/{number}.bin" for number in range(5)]

    def act(kind: str, name: str, content: bytes) -> None:
        if kind == "put":
            store(world.drive("mia"), name, content)
            stands[name] = content
            versions_of.setdefault(name, set()).add(content)
        elif kind == "abort":
            upload = world.drive("mia").put(parse(name), declared=len(content))
            upload.write(content[: len(content) // 2])
            upload.discard()
        elif kind == "interrupt" and name not in stands:
            edit = world.drive("mia", Via.SFTP).edit(parse(name), create=True, truncate=True)
            edit.write(0, content[: len(content) * 3 // 4])
            edit.keep(is_cut_off=True)
            partial[name] = content
        elif kind == "resume" and name in partial and name not in stands:
            begun(world, partial[name], name, start=len(partial[name]) * 3 // 4).commit()
            stands[name] = partial.pop(name)
            versions_of.setdefault(name, set()).add(stands[name])
        elif kind == "drop" and name in partial and name not in stands:
            world.drive("mia", Via.SFTP).drop_draft(parse(name))
            del partial[name]
        elif kind == "erase" and erases and name in stands:
            erased(world, world.drive("mia").stat(parse(name)).id)
            del stands[name], versions_of[name]
        elif kind == "sweep":
            if chance.random() < 0.7:
                reopened(world)
            if chance.random() < 0.5:
                world.installation.erasures.sweep(now=True, wait_seconds=1)
            swept(world)
        elif kind == "out":
            run_out(world)
            partial.clear()

    kinds = ["put", "abort", "interrupt", "interrupt", "resume", "drop", "erase", "sweep", "sweep", "out"]
    for _ in range(120):
        kind, name = chance.choice(kinds), chance.choice(names)
        act(kind, name, chance.choice(pool))
        for each, content in stands.items():
            assert fetch(world.drive("mia"), each) == content, (kind, name, each)
    run_out(world)
    reopened(world)
    world.installation.erasures.sweep(now=True, wait_seconds=5)
    reopened(world)
    swept(world)
    assert findings(world) == []
    assert (held(world), rows(world), waiting(world)) == (0, 0, 0)
    # The same bytes, put and written over SFTP, are cut in two ways. What was erased, and stored or relied on again
    # before the sweep, may leave a copy behind.
    distinct = 2 * sum(len(content) for content in set().union(*versions_of.values()))
    assert erases or counted(world) < distinct * 1.05 + 300_000
    assert erases or taken(world) < distinct * 1.05 + 400_000
