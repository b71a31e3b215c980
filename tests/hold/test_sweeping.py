"""The sweep may be interrupted anywhere, goes on beside readers and writers, and never takes what is referred to."""

from __future__ import annotations

import gc
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path as FilePath
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from auth.roles import Via
from config.clock import now_us
from config.ids import NOBODY, new_id
from providers import tables
from providers.catalogue.change import ChangeKind, NewVersion
from providers.drive.edits import Edit
from providers.drive.places import Place
from providers.drive.transaction import Transaction
from providers.errors import VersionErased
from providers.holding.errors import NothingWouldStay
from providers.installation import Installation
from providers.paths import parse
from providers.vault.errors import DamagedContent
from providers.vault.manifests import Shape
from tests.clocks import MachineClock
from tests.hold.worlds import OURS, SPACE, Shared, administrator, erased, findings, make, packed, record_of, versions
from tests.worlds import World, fetch, settings_for, store

DOCUMENT = f"{OURS}/Avtal/Köp.txt"
SWEPT_SECONDS_MAX = 20


@pytest.fixture
def world(tmp_path: FilePath) -> Iterator[World]:
    made = make(tmp_path / "data")
    yield made
    made.installation.close()


def sweep(world: World) -> Any:
    gc.collect()  # what was raised holds what it was raised by, and with it a pack
    done = world.installation.erasures.sweep(now=True, wait_seconds=SWEPT_SECONDS_MAX)
    return done.get(world.spaces[SPACE].id)


def reopened(world: World) -> None:
    """Let another process go on: this one's packs are not written to any more."""
    folder = world.installation.folder
    world.installation.close()
    world.installation = Installation.open(folder, settings_for(folder))


KILLED = 77


def killed_at(folder: FilePath, where: str, step: str, when: str) -> int:
    """Sweep in a process of its own, which ends without a word at a step; return how it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        installation = Installation.open(folder, settings_for(folder))
        target = installation.vault if where == "vault" else installation.erasures.sweeper
        real = getattr(target, step)

        def killed(*arguments: Any, **options: Any) -> Any:
            if when == "after":
                real(*arguments, **options)
            os._exit(KILLED)

        setattr(target, step, killed)
        installation.erasures.sweep(now=True, wait_seconds=SWEPT_SECONDS_MAX)
    finally:
        os._exit(1)


#: Where a sweep is killed: on which object, which method, before or after it.
STEPS = (
    ("vault", "claim", "after"),
    ("vault", "open_pack", "after"),
    ("vault", "copy_kept", "before"),
    ("vault", "copy_kept", "after"),
    ("sweeper", "_publish", "before"),
    ("sweeper", "_publish", "after"),
    ("vault", "retire_pack", "before"),
    ("vault", "retire_pack", "after"),
    ("sweeper", "_forget", "before"),
    ("sweeper", "_mark", "before"),
)


@pytest.mark.parametrize(("where", "step", "when"), STEPS)
def test_a_sweep_killed_anywhere_is_done_by_the_next(world: World, where: str, step: str, when: str) -> None:
    mia = world.drive("mia")
    node = versions(mia, DOCUMENT, b"ett", b"tu", b"tre")
    store(mia, f"{OURS}/Annat.txt", b"bredvid")
    record = record_of(world, node, 1)
    erased(world, node, 1)
    folder = world.installation.folder
    world.installation.close()
    assert killed_at(folder, where, step, when) == KILLED
    world.installation = Installation.open(folder, settings_for(folder))
    assert fetch(world.drive("mia"), DOCUMENT) == b"tre"
    assert findings(world) == []
    assert sweep(world).is_whole
    assert record not in packed(world)
    assert fetch(world.drive("mia"), DOCUMENT) == b"tre"
    assert fetch(world.drive("mia"), f"{OURS}/Annat.txt") == b"bredvid"
    assert findings(world) == []
    with world.installation.database.read() as connection:
        assert connection.execute(select(tables.repack)).all() == []
    packs = folder / "vault" / world.spaces[SPACE].id.hex() / "packs"
    assert sum(path.stat().st_size > 200 for path in packs.glob("*.pack")) == 1, "no copy of what stays is left over"


def test_a_reader_under_way_goes_on(world: World) -> None:
    mia, content = world.drive("mia"), os.urandom(3_000_000)
    node = versions(mia, f"{OURS}/Bort.txt", b"ska bort", b"stannar")
    store(mia, DOCUMENT, content)
    reopened(world)
    with world.drive("mia").read(parse(DOCUMENT)) as reader:
        first = reader.read(0, 100_000)
        erased(world, node, 1)
        assert sweep(world).packs == 1
        rest = reader.read(100_000, len(content))
    assert first + rest == content


def test_a_pack_that_was_written_anew_twice_while_it_was_read_was_called_damaged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mia, content = world.drive("mia"), os.urandom(3_000_000)
    nodes = [versions(mia, f"{OURS}/Bort {number}.txt", b"%d" % number, b"stannar") for number in range(3)]
    store(mia, DOCUMENT, content)
    reopened(world)
    local = world.installation.vault._store
    read_into = local.read_into

    def first_written_anew(*arguments: Any) -> None:
        if nodes and len(arguments[-1]) > 100_000:  # of the content; its manifest was looked for until it was found
            monkeypatch.undo()
            erased(world, nodes.pop(), 1)
            assert sweep(world).packs == 1
            monkeypatch.setattr(local, "read_into", first_written_anew)
        read_into(*arguments)

    with world.drive("mia").read(parse(DOCUMENT)) as reader:
        first = reader.read(0, 100_000)
        monkeypatch.setattr(local, "read_into", first_written_anew)
        assert first + reader.read(100_000, len(content)) == content
    assert not nodes


def test_an_upload_under_way_keeps_its_pack(world: World) -> None:
    """What it has sealed so far is in no catalogue yet; its pack is left until it has ended."""
    mia, content = world.drive("mia"), os.urandom(4_000_000)
    node = versions(mia, f"{OURS}/Bort.txt", b"ska bort", b"stannar")
    record = record_of(world, node, 1)
    upload = mia.put(parse(DOCUMENT), declared=len(content))
    upload.write(content[:3_000_000])
    erased(world, node, 1)
    swept = world.installation.erasures.sweep(now=True, wait_seconds=1)[world.spaces[SPACE].id]
    assert len(swept.waiting) == 1
    assert record in packed(world)
    upload.write(content[3_000_000:])
    upload.commit()
    del upload
    assert sweep(world).is_whole
    assert record not in packed(world)
    assert fetch(mia, DOCUMENT) == content
    assert findings(world) == []


def test_what_came_to_be_referred_to_meanwhile_is_taken_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy made between the sweep's asking and its act relies on what was doomed."""
    mia = world.drive("mia")
    node = versions(mia, DOCUMENT, b"ett", b"tu")
    erased(world, node, 1)
    reopened(world)
    sweeper = world.installation.erasures.sweeper
    repack, acts = sweeper._repack, [lambda: _again(world, node)]

    def first_a_copy(*arguments: Any) -> int:
        if acts:
            acts.pop()()
        return repack(*arguments)

    monkeypatch.setattr(sweeper, "_repack", first_a_copy)
    assert sweep(world).is_whole
    assert fetch(world.drive("mia"), f"{OURS}/Kopia.txt") == b"ett"
    assert findings(world) == []


def test_an_upload_in_the_same_transaction_held_up_the_sweep(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its manifest was looked for in what is committed, and said to be damaged."""
    mia, content = world.drive("mia"), os.urandom(300_000)
    record = record_of(world, node := versions(mia, f"{OURS}/Bort.txt", b"ska bort", b"stannar"), 1)
    erased(world, node, 1)
    reopened(world)
    upload = world.drive("mia").put(parse(DOCUMENT), declared=len(content))
    upload.write(content)
    vault = world.installation.vault
    copy_kept, ended = vault.copy_kept, list[Any]()

    def then_an_upload(*arguments: Any) -> Any:
        moved = copy_kept(*arguments)
        if not ended:
            ended.append(Shared(world).first(upload.commit))
        return moved

    monkeypatch.setattr(vault, "copy_kept", then_an_upload)
    assert sweep(world).is_whole
    assert ended[0].result(30)[0].size == len(content)
    assert record not in packed(world)
    assert fetch(world.drive("mia"), DOCUMENT) == content
    assert findings(world) == []


def cut_off(world: World) -> None:
    """Let an upload leave records in a pack in which others stay."""
    store(world.drive("mia"), f"{OURS}/Stannar.txt", b"stannar")
    upload = world.drive("mia").put(parse(f"{OURS}/Avbruten.bin"), declared=None)
    upload.write(os.urandom(3_000_000))
    upload.discard()


def given_back(world: World) -> None:
    assert sum(each.freed_bytes for each in world.installation.erasures.letting_go.sweep(wait_seconds=5).values())


def one_erased(world: World) -> None:
    erased(world, versions(world.drive("mia"), DOCUMENT, b"ett", b"tu"), 1)


def all_swept(world: World) -> None:
    assert sweep(world).is_whole


@pytest.mark.parametrize(("before", "meanwhile"), [(one_erased, all_swept), (cut_off, given_back)])
def test_what_a_sweep_took_while_it_was_verified_was_called_damaged(
    world: World, monkeypatch: pytest.MonkeyPatch, before: Callable[[World], None], meanwhile: Callable[[World], None]
) -> None:
    before(world)
    reopened(world)
    world.installation.tick()
    vault = world.installation.vault._store
    scan, acts = vault.scan, [meanwhile]

    def then_swept(*arguments: Any, **options: Any) -> Any:
        found = scan(*arguments, **options)
        if acts:
            acts.pop()(world)
        return found

    monkeypatch.setattr(vault, "scan", then_swept)
    assert [f"{found.where}: {found.what}" for found in world.installation.verify()] == []
    assert not acts


def version_erased(world: World) -> None:
    with world.installation.database.read() as connection:
        node = connection.execute(select(tables.version.c.node).limit(1)).scalar_one()
    erased(world, node, 1)
    all_swept(world)


def space_erased(world: World) -> None:
    erasures, operator = world.installation.erasures, world.installation.operator()
    asked = erasures.request_space(operator, world.spaces[SPACE].id, "slut")
    erasures.approve(administrator(world), asked.id)


@pytest.mark.parametrize("meanwhile", [version_erased, space_erased])
@pytest.mark.parametrize("step", ["scrub", "reader"])
def test_what_was_erased_while_it_was_verified_was_called_unreadable(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, meanwhile: Callable[[World], None]
) -> None:
    versions(world.drive("mia"), DOCUMENT, b"ett", b"tu")
    reopened(world)
    world.installation.tick()
    vault, acts = world.installation.vault, [meanwhile]
    real = getattr(vault, step)

    def first_erased(*arguments: Any, **options: Any) -> Any:
        if acts:
            acts.pop()(world)
        return real(*arguments, **options)

    monkeypatch.setattr(vault, step, first_erased)
    assert [f"{found.where}: {found.what}" for found in world.installation.verify()] == []
    assert not acts


def test_two_who_swept_at_once_were_told_of_damage(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One read a pack that the other had just removed."""
    node = versions(world.drive("mia"), DOCUMENT, b"ett", b"tu")
    erased(world, node, 1)
    reopened(world)
    pack = world.installation.vault.packs(world.spaces[SPACE].id)[0]
    local = world.installation.vault._store
    read, acts = local.read, [lambda: local.remove_pack(world.spaces[SPACE].id, pack)]

    def then_removed(*arguments: Any) -> bytes:
        if acts:
            acts.pop()()
        return read(*arguments)

    monkeypatch.setattr(local, "read", then_removed)
    with pytest.raises(FileNotFoundError):
        local.scan(world.spaces[SPACE].id, pack, trust_footer=False)


def _again(world: World, node: bytes) -> None:
    """Make a version that refers to what was erased, as a copy does that was made ready before."""
    installation, space = world.installation, world.spaces[SPACE].id
    with installation.database.read() as connection:
        cid = connection.execute(
            select(tables.chunk.c.cid).where(tables.chunk.c.condemned_at.is_not(None))
        ).scalar_one()
    content = bytes((Shape.CHUNK, 1)) + (3).to_bytes(8, "little") + cid
    operator, info = installation.operator(), installation.spaces.get(space)

    def work(connection: Any) -> None:
        tx = Transaction(installation.storage, connection, operator)
        change = tx.change(space)
        root = installation.storage.tree.root(connection, space)
        assert root is not None
        new = NewVersion(new_id(), content, 3, hashlib.sha256(b"ett").digest())
        change.add_document(root, NOBODY, "Kopia.txt", new_id(), new, tx.author)
        tx.finish(ChangeKind.COPY, Place(parse("/"), info, (root,), installation.storage.tree, None), "copy")

    installation.database.apply(work, heads=[space])


def copied(world: World, source: str) -> Edit:
    """Begin a document with the whole content of another one, as copy-data of SFTP does."""
    mia = world.drive("mia", Via.SFTP)
    edit = mia.edit(parse(f"{OURS}/Kopia.txt"), create=True, truncate=True)
    with mia.read(parse(source)) as reader:
        edit.copy_from(reader, 0, reader.item.size, 0)
    return edit


def commit(edit: Edit) -> None:
    edit.commit()


def written_and_committed(edit: Edit) -> None:
    edit.write(10, b"x")
    edit.commit()


def kept(edit: Edit) -> None:
    edit.keep()


@pytest.mark.parametrize("is_swept", [False, True])
@pytest.mark.parametrize("end", [commit, written_and_committed, kept])
def test_a_copy_of_what_was_erased_meanwhile_was_acknowledged(
    world: World, end: Callable[[Edit], None], is_swept: bool
) -> None:
    """It could not be read by anybody."""
    content = os.urandom(300_000)
    node = versions(world.drive("mia"), DOCUMENT, content)
    edit = copied(world, DOCUMENT)
    erased(world, node)
    if is_swept:
        assert sweep(world).is_whole
    with pytest.raises((VersionErased, DamagedContent)):
        end(edit)
    edit.discard()
    assert [item.name for item in world.drive("mia").listing(parse(OURS))[1]] == ["Avtal"]
    if not is_swept:
        assert sweep(world).is_whole
    assert findings(world) == []


def test_a_copy_stays_when_its_source_is_erased_once_it_stands(world: World) -> None:
    content = os.urandom(300_000)
    node = versions(world.drive("mia"), DOCUMENT, content)
    commit(copied(world, DOCUMENT))
    erased(world, node)
    assert sweep(world).is_whole
    assert fetch(world.drive("mia"), f"{OURS}/Kopia.txt") == content


def counted(world: World) -> int:
    """Return how many bytes count in the quota of the space."""
    with world.installation.database.read() as connection:
        table = tables.head.c
        used: int = connection.execute(
            select(table.sealed_bytes).where(table.space == world.spaces[SPACE].id)
        ).scalar_one()
        return used


def test_what_was_erased_and_stored_again_counted_twice_for_good(world: World) -> None:
    mia, content = world.drive("mia"), os.urandom(1_000_000)
    before = counted(world)
    for number in range(3):
        node = versions(mia, DOCUMENT, content, b"annat %d" % number)
        erased(world, node, 2 * number + 1)
        again = versions(mia, f"{OURS}/Igen {number}.txt", content, b"annat")  # within the grace
        assert counted(world) - before < 1_100_000
        erased(world, again, 1)
        assert sweep(world).is_whole
        assert counted(world) - before < 100_000
    assert len(packed(world)) < 100_000
    assert findings(world) == []


def test_the_old_copy_of_what_was_erased_and_stored_again_stayed_for_good(world: World) -> None:
    """Nothing referred to it, and it counted nowhere."""
    mia, content = world.drive("mia"), os.urandom(1_000_000)
    node = versions(mia, DOCUMENT, content, b"annat")
    for number in range(2):
        store(mia, f"{OURS}/Bredvid {number}.txt", b"%d" % number)
        erased(world, node, 1)
        node = versions(mia, f"{OURS}/Igen {number}.txt", content, b"annat")  # within the grace
        assert sweep(world).is_whole
        assert len(packed(world)) < 1_100_000
    with mia.read_version(parse(f"{OURS}/Igen 1.txt"), 1) as reader:
        assert reader.read(0, len(content)) == content
    assert fetch(mia, f"{OURS}/Bredvid 0.txt") == b"0"
    assert findings(world) == []


def test_a_sweep_that_ended_forgot_where_what_was_erased_meanwhile_lies(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other versions could not be read any more, and what was erased stayed for good, said to have left the packs."""
    mia, shared, machine = world.drive("mia"), os.urandom(300_000), MachineClock(monkeypatch)
    first = versions(mia, DOCUMENT, b"ett", b"tu")
    second = versions(mia, f"{OURS}/Annat.txt", b"bort" + shared, b"kvar" + shared)
    third = versions(mia, f"{OURS}/Liten.txt", b"hemligt", b"kvar")
    record = record_of(world, third, 1)
    erased(world, first, 1)
    sweeper = world.installation.erasures.sweeper
    mark, later = sweeper._mark, list[Any]()

    def first_more_is_erased(*arguments: Any) -> None:
        if not later:
            machine.ahead_seconds = -5  # as of a transaction that began before the sweep, or another machine's clock
            monkeypatch.setattr(sweeper, "review", lambda space: 0)  # which comes once that is committed
            later.extend((erased(world, second, 1), erased(world, third, 1)))
            monkeypatch.setattr(sweeper, "review", type(sweeper).review.__get__(sweeper))
            machine.ahead_seconds = 0
        mark(*arguments)

    monkeypatch.setattr(sweeper, "_mark", first_more_is_erased)
    assert sweep(world).is_whole
    assert fetch(mia, f"{OURS}/Annat.txt") == b"kvar" + shared
    assert [world.installation.erasures.get(done.id).swept_at for done in later] == [None, None]
    assert sweep(world).is_whole
    assert record not in packed(world)
    assert fetch(mia, f"{OURS}/Annat.txt") == b"kvar" + shared
    assert findings(world) == []


def test_a_sweep_removed_the_pack_that_another_had_just_written_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had seen that it was begun, and nobody held it any more: it was done meanwhile."""
    node = versions(world.drive("mia"), DOCUMENT, b"ett", b"tu")
    store(world.drive("mia"), f"{OURS}/Annat.txt", b"bredvid")
    erased(world, node, 1)
    reopened(world)
    one = world.installation
    other = Installation.open(one.folder, settings_for(one.folder))
    copy_kept, sweeper = one.vault.copy_kept, other.erasures.sweeper
    was_left, begun, done = sweeper._was_left, threading.Event(), threading.Event()

    def once_it_is_done(*arguments: Any) -> bool:
        begun.set()
        assert done.wait(30)
        return was_left(*arguments)

    monkeypatch.setattr(sweeper, "_was_left", once_it_is_done)
    with ThreadPoolExecutor(1) as pool:
        beside: list[Any] = []

        def then_another_sweeps(*arguments: Any) -> Any:
            moved = copy_kept(*arguments)
            if not beside:
                beside.append(pool.submit(other.erasures.sweep, now=True))
                assert begun.wait(30)
            return moved

        monkeypatch.setattr(one.vault, "copy_kept", then_another_sweeps)
        assert sweep(world).is_whole
        done.set()
        beside[0].result(30)
    other.close()
    reopened(world)
    assert fetch(world.drive("mia"), f"{OURS}/Annat.txt") == b"bredvid"
    assert findings(world) == []


def test_what_another_sweep_took_before_it_was_looked_through_was_called_damaged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    mia = world.drive("mia")
    first = versions(mia, DOCUMENT, b"ett", b"tu")
    second = versions(mia, f"{OURS}/Stor.bin", os.urandom(300_000), b"tu")
    erased(world, first, 1)
    sweeper, acts = world.installation.erasures.sweeper, [lambda: erased(world, second, 1), lambda: all_swept(world)]
    among = sweeper._among

    def first_swept(*arguments: Any) -> Any:
        while acts:
            acts.pop(0)()
        return among(*arguments)

    monkeypatch.setattr(sweeper, "_among", first_swept)
    assert sweep(world).is_whole
    assert findings(world) == []


def test_a_catalogue_of_before_that_was_put_back_had_the_only_copy_removed(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: FilePath
) -> None:
    """As of then a pack was being written anew; since then what stays had moved, and the old pack had gone."""
    mia, folder = world.drive("mia"), world.installation.folder
    node = versions(mia, DOCUMENT, b"ett", b"tu")
    store(mia, f"{OURS}/Annat.txt", b"bredvid")
    record = record_of(world, erased(world, node, 1).node, 2)
    reopened(world)
    sweeper, database, older = world.installation.erasures.sweeper, world.installation.database, tmp_path / "older.db"
    begin = sweeper._begin

    def then_copied(*arguments: Any) -> None:
        begin(*arguments)
        database.copy_to(older)

    monkeypatch.setattr(sweeper, "_begin", then_copied)
    assert sweep(world).is_whole
    world.installation.close()
    for path in folder.glob("catalogue.db-*"):
        path.unlink()
    older.rename(folder / "catalogue.db")
    world.installation = Installation.open(folder, settings_for(folder), though_due=True)
    assert record in packed(world)
    with suppress(DamagedContent):
        sweep(world)
    assert record in packed(world)


def test_what_two_erased_one_after_the_other_stayed_for_good(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they shared was taken back for the second version, which was erased before that was done."""
    mia, content = world.drive("mia"), os.urandom(300_000)
    node = versions(mia, DOCUMENT, content, b"tu")
    same = versions(mia, f"{OURS}/Samma.txt", content, b"tu")
    sweeper, acts = world.installation.erasures.sweeper, [lambda: erased(world, same, 1)]
    take_back = sweeper._take_back

    def first_the_other_is_erased(*arguments: Any) -> Any:
        if acts:
            acts.pop()()
        return take_back(*arguments)

    monkeypatch.setattr(sweeper, "_take_back", first_the_other_is_erased)
    erased(world, node, 1)
    assert sweep(world).is_whole
    assert len(packed(world)) < 100_000
    assert findings(world) == []


def test_a_catalogue_that_refers_to_nothing_is_not_swept(world: World) -> None:
    node = versions(world.drive("mia"), DOCUMENT, b"ett", b"tu")
    record = record_of(world, node, 1)
    erased(world, node, 1)
    with world.installation.database.write() as connection:
        connection.execute(delete(tables.version))
    with pytest.raises(NothingWouldStay):
        sweep(world)
    assert record in packed(world)


def test_whatever_is_condemned_by_mistake_is_taken_back(world: World) -> None:
    mia, content = world.drive("mia"), os.urandom(500_000)
    node = versions(mia, DOCUMENT, b"ett", b"tu")
    store(mia, f"{OURS}/Annat.txt", content)
    erased(world, node, 1)
    with world.installation.database.write() as connection:
        connection.execute(update(tables.chunk).values(condemned_at=now_us()))
    assert sweep(world).is_whole
    with world.installation.database.read() as connection:
        condemned = select(func.count()).where(tables.chunk.c.condemned_at.is_not(None))
        assert connection.execute(condemned).scalar_one() == 0
    assert fetch(mia, f"{OURS}/Annat.txt") == content
    assert findings(world) == []


def test_a_sweep_that_had_no_thread_kept_an_installation_from_closing(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    world = World.create(tmp_path)
    world.installation._next_tidy = 0.0
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        world.installation.tick()
    world.installation.close()


def test_tidying_sweeps_once_the_grace_is_over(tmp_path: FilePath) -> None:
    world = make(tmp_path / "data", **{"history.condemned_seconds": 0})
    node = versions(world.drive("mia"), DOCUMENT, b"ett", b"tu")
    record = record_of(world, node, 1)
    done = erased(world, node, 1)
    folder, settings = world.installation.folder, world.installation.settings
    world.installation.close()
    world.installation = Installation.open(folder, settings)
    world.installation.tidy()
    assert record not in packed(world)
    assert world.installation.erasures.get(done.id).swept_at is not None
    world.installation.close()


def test_a_draft_that_the_power_tore_before_it_was_ever_synced_held_up_every_sweep(tmp_path: FilePath) -> None:
    world = make(tmp_path / "data", **{"history.condemned_seconds": 0})
    done = erased(world, versions(world.drive("mia"), DOCUMENT, b"ett", b"tu"), 1)
    folder, settings = world.installation.folder, world.installation.settings
    world.installation.close()
    torn = folder / "vault" / world.spaces[SPACE].id.hex() / "drafts" / f"{new_id().hex()}.draft"
    torn.parent.mkdir(exist_ok=True)
    torn.write_bytes(bytes(100_000))
    world.installation = Installation.open(folder, settings)
    world.installation.tidy()
    assert not torn.exists()
    assert world.installation.erasures.get(done.id).swept_at is not None
    world.installation.close()
