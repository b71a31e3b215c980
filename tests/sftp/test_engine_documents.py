"""Documents written and read in any order: one version at a close, drafts shared, kept, resumed, refused, cut off."""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from auth.errors import Revoked
from auth.roles import GranteeKind, Role
from config.clock import SECOND_US, now_us
from config.errors import StorageFull
from providers.drive import Drive
from providers.drive.edits import Edit
from providers.errors import Locked, PreconditionFailed, QuotaExceeded, TargetExists
from providers.model import Conditions
from providers.paths import parse
from server.sftp.engine import Limits
from server.sftp.engine.wire import APPEND, CREAT, EXCL, READ, TRUNC, WRITE, Code, Type, string
from tests.clocks import MachineClock
from tests.proofs.history_doors import telling_time
from tests.sftp.client import U32, Client, Refused, sized, stat_of, take, timed
from tests.worlds import World, fetch, store

Connect = Callable[..., Client]
CHANCE = random.Random(7)
BIG = CHANCE.randbytes(3_000_000)
NEW = WRITE | CREAT | TRUNC


def code_of(act: Callable[[], object]) -> int:
    try:
        act()
    except Refused as refused:
        return refused.code
    return Code.OK


def versions(world: World, path: str) -> int:
    return len(world.drive("anna").versions(parse(path)))


def writes(client: Client, handle: bytes, pieces: list[tuple[int, bytes]]) -> list[int]:
    """Send writes without waiting for answers."""
    return [
        client.send(Type.WRITE, string(handle) + struct.pack(">Q", offset) + string(data)) for offset, data in pieces
    ]


def pieces_of(data: bytes, size: int = 32768) -> list[tuple[int, bytes]]:
    return [(at, data[at : at + size]) for at in range(0, len(data), size)]


def settle(client: Client, asked: list[int]) -> list[int]:
    """Run what is to be run; return the codes of the answers."""
    client.collect()
    return [U32.unpack_from(client.answers.pop(request)[1])[0] for request in asked]


# --- writing


def test_the_same_bytes_by_another_protocol_are_no_version(world: World, connect: Connect) -> None:
    client, drive = connect(), world.drive("anna")
    for number, content in enumerate((b"short\n", BIG)):  # over SFTP the length is not known beforehand
        path = f"/Rum/{number}"
        client.put(path, content)
        etag = drive.stat(parse(path)).etag
        store(drive, path, content)
        client.put(path, content)
        assert drive.stat(parse(path)).etag == etag
        assert versions(world, path) == 1


@pytest.mark.parametrize("order", ["forwards", "backwards", "random", "twice"])
def test_writes_at_any_place_in_any_order_make_one_version(world: World, connect: Connect, order: str) -> None:
    """S7."""
    client = connect()
    pieces = pieces_of(BIG)
    if order == "backwards":
        pieces.reverse()
    elif order == "random":
        random.Random(1).shuffle(pieces)
    elif order == "twice":
        pieces = pieces_of(bytes(len(BIG))) + pieces
    handle = client.open("/Rum/a.bin", NEW)
    assert set(settle(client, writes(client, handle, pieces))) == {Code.OK}
    assert client.fstat(handle).size == len(BIG)
    client.close(handle)
    assert client.get("/Rum/a.bin") == BIG
    assert versions(world, "/Rum/a.bin") == 1
    assert world.kinds("Rum")[-2:] == ["add", "read"]


def test_an_upload_in_order_is_gathered_and_never_reads_back(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hop takes a batch; and nothing is sealed twice."""
    client = connect()
    monkeypatch.setattr(Edit, "_as_draft", lambda edit: pytest.fail("a draft was begun"))
    handle = client.open("/Rum/a.bin", NEW)
    before = client.door.hops
    asked = []
    for start in range(0, len(BIG), 1 << 20):
        pieces = [(start + at, piece) for at, piece in pieces_of(BIG[start : start + (1 << 20)])]
        asked += writes(client, handle, pieces)
    assert set(settle(client, asked)) == {Code.OK}
    client.close(handle)
    assert client.door.hops - before < 8
    assert client.get("/Rum/a.bin") == BIG


def test_a_small_document_is_read_again_without_a_hop(connect: Connect, world: World) -> None:
    """Nobody waits for another thread to be told what is known; but whoever is held up too long is served first."""
    client = connect()
    client.put("/Rum/a.bin", BIG[:9000])
    known = (client.stat("/Rum/a.bin"), client.get("/Rum/a.bin"))

    def hops() -> int:
        before = client.door.hops
        assert (client.stat("/Rum/a.bin"), client.get("/Rum/a.bin")) == known
        return client.door.hops - before

    if world.installation.database.dialect == "sqlite":
        assert hops() == 0
    client.door.is_quick = False
    assert hops() == 2  # one tells what stands there, one opens it
    other = connect("bo")
    other.put("/Rum/a.bin", b"another")
    client.door.is_quick = True
    assert client.get("/Rum/a.bin") == b"another"


@pytest.mark.parametrize("path", ["/Rum/a.bin", "/Rum/.DS_Store"])
def test_a_small_document_takes_two_hops_in_all(connect: Connect, path: str) -> None:
    """One opens it, one makes the version; what is written between stays in memory."""
    client = connect()
    client.close(client.open("/Rum/before.bin", NEW))
    handle = client.open(path, NEW)
    before = client.door.hops
    asked = writes(client, handle, pieces_of(BIG[: 48 << 10]))
    assert set(settle(client, asked)) == {Code.OK}
    looks_at_rights = 1
    assert client.door.hops - before <= looks_at_rights
    client.close(handle)
    assert client.door.hops - before <= looks_at_rights + 1
    assert client.get(path) == BIG[: 48 << 10]


def test_a_stream_that_goes_back_once_equals_any_other(world: World, connect: Connect) -> None:
    client = connect()
    handle = client.open("/Rum/a.bin", NEW | READ)
    settle(client, writes(client, handle, pieces_of(BIG)))
    client.write(handle, 1_000_000, b"changed")
    assert client.read(handle, 999_990, 30) == BIG[999_990:1_000_000] + b"changed" + BIG[1_000_007:1_000_020]
    client.write(handle, len(BIG) + 5, b"tail")
    client.close(handle)
    expected = BIG[:1_000_000] + b"changed" + BIG[1_000_007:] + bytes(5) + b"tail"
    assert client.get("/Rum/a.bin") == expected
    store(world.drive("anna"), "/Rum/b.bin", expected)
    assert versions(world, "/Rum/a.bin") == 1
    assert list(world.installation.verify()) == []


def test_what_follows_writes_waits_for_them(connect: Connect) -> None:
    """sshfs closes without waiting for the answer, and asks on: everything holds as if asked one by one."""
    client = connect()
    handle = client.open("/Rum/a.bin", NEW)
    asked = writes(client, handle, pieces_of(BIG[:200_000]))
    size = client.send(Type.FSTAT, string(handle))
    asked.append(client.send(Type.CLOSE, string(handle)))
    asked.append(client.send(Type.RENAME, string(b"/Rum/a.bin") + string(b"/Rum/b.bin")))
    named = client.send(Type.STAT, string(b"/Rum/b.bin"))
    assert set(settle(client, asked)) == {Code.OK}
    for request in (size, named):
        assert stat_of(client.answers.pop(request)[1]).size == 200_000
    assert client.get("/Rum/b.bin") == BIG[:200_000]


def test_a_clean_close_makes_no_version(world: World, connect: Connect) -> None:
    client = connect()
    client.put("/Rum/a.txt", b"abc")
    for flags in (WRITE, READ | WRITE, WRITE | APPEND, WRITE | CREAT):
        client.close(client.open("/Rum/a.txt", flags))
    assert versions(world, "/Rum/a.txt") == 1
    client.close(client.open("/Rum/a.txt", NEW))
    assert client.get("/Rum/a.txt") == b""
    assert versions(world, "/Rum/a.txt") == 2


def test_opened_and_closed_a_new_name_is_an_empty_document(connect: Connect) -> None:
    client = connect()
    client.close(client.open("/Rum/new.txt", WRITE | CREAT))
    assert client.stat("/Rum/new.txt").size == 0


def test_scp_shrinks_with_fsetstat_in_one_version(world: World, connect: Connect) -> None:
    """S8: scp opens without TRUNC."""
    client = connect()
    client.put("/Rum/a.bin", BIG)
    handle = client.open("/Rum/a.bin", WRITE | CREAT)
    settle(client, writes(client, handle, pieces_of(BIG[::-1][:50_000])))
    client.fsetstat(handle, sized(50_000))
    client.fsetstat(handle, timed(1000))
    client.close(handle)
    assert client.get("/Rum/a.bin") == BIG[::-1][:50_000]
    assert client.stat("/Rum/a.bin").modified == 1000
    assert versions(world, "/Rum/a.bin") == 2


def test_a_write_of_no_bytes_behind_the_end_made_a_document_longer(world: World, connect: Connect) -> None:
    """POSIX, as OpenSSH's server, writes nothing then: it reports no error, and has no other effect."""
    client = connect()
    client.put("/Rum/a", b"hello")
    client.setstat("/Rum/a", timed(1_000_000))
    handle = client.open("/Rum/a", READ | WRITE)
    for offset in (9, 70_000, (1 << 64) - 1):
        client.write(handle, offset, b"")
    assert client.fstat(handle)[::2] == (5, 1_000_000)
    client.close(handle)
    assert client.get("/Rum/a") == b"hello"
    assert client.stat("/Rum/a").modified == 1_000_000
    assert versions(world, "/Rum/a") == 1


def test_a_write_after_a_time_was_set_shows_that_it_came_later(connect: Connect) -> None:
    """As in a folder on a disk: at once, to whoever has it open, and for good once it is closed."""
    client, before = connect(), int(time.time()) - 1
    client.put("/Rum/a.bin", b"as it was")
    for change in (
        lambda handle: client.write(handle, 0, b"changed"),
        lambda handle: client.fsetstat(handle, sized(3)),
        lambda handle: client.close(client.open("/Rum/a.bin", WRITE | TRUNC)),
    ):
        client.setstat("/Rum/a.bin", timed(1000))
        handle = client.open("/Rum/a.bin", WRITE)
        client.fsetstat(handle, timed(2000))
        assert client.stat("/Rum/a.bin").modified == 2000
        change(handle)
        assert client.fstat(handle).modified >= before
        client.close(handle)
        assert client.stat("/Rum/a.bin").modified >= before


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("path", ["/Rum/a.bin", "/Rum/._a"], ids=["document", "noise"])
def test_cutting_what_is_empty_already_shows_that_it_came_later_too(
    world: World, connect: Connect, path: str, is_open: bool
) -> None:
    client, before = connect(), int(time.time()) - 1
    first = client.open(path, NEW)
    if not is_open:
        client.close(first)
    client.setstat(path, timed(1000))
    assert client.stat(path).modified == 1000
    second = client.open(path, WRITE | CREAT | TRUNC)
    assert client.stat(path).modified >= before
    client.close(second)
    assert client.stat(path).modified >= before
    assert world.kinds("Rum").count("write") == 0


def test_a_time_given_at_the_opening_outlives_what_is_written_then(connect: Connect) -> None:
    """S5: it tells of the file that is sent."""
    client = connect()
    handle = client.open("/Rum/a.bin", WRITE | CREAT | TRUNC, timed(1000))
    client.write(handle, 0, b"sent")
    client.close(handle)
    assert client.stat("/Rum/a.bin").modified == 1000


def test_a_close_leaves_the_time_that_was_told_while_it_was_open(world: World, connect: Connect) -> None:
    """git and make remember it; any other they take for a change of somebody's since (`git merge`: "stash failed")."""
    client, told = connect(), []
    with telling_time() as clock:
        for name, content in (("new", b"first"), ("new", b"second"), ("new", b"second"), ("empty", b"")):
            clock.wait(60)
            handle = client.open(f"/Rum/{name}.txt", NEW)
            if content:
                client.write(handle, 0, content)
            told.append(client.fstat(handle).modified)
            clock.wait(3)
            client.close(handle)
            assert client.stat(f"/Rum/{name}.txt").modified == told[-1]
    assert told == sorted(set(told))
    assert versions(world, "/Rum/new.txt") == 2


def test_a_late_close_does_not_put_a_time_back_behind_what_others_wrote(world: World, connect: Connect) -> None:
    client, other = connect(), connect()
    with telling_time() as clock:
        client.put("/Rum/a.bin", b"as it was")
        handle = client.open("/Rum/a.bin", WRITE)
        client.write(handle, 0, b"mine")
        clock.wait(60)
        other.put("/Rum/a.bin", b"theirs")
        theirs = other.stat("/Rum/a.bin").modified
        clock.wait(60)
        client.close(handle)
        assert client.stat("/Rum/a.bin").modified > theirs


def test_an_empty_document_that_went_and_came_back_is_filled(world: World, connect: Connect) -> None:
    """It had held the name itself: there is no other document to continue."""
    client = connect()
    client.close(client.open("/Rum/new.txt", NEW))
    before = world.drive("anna").stat(parse("/Rum/new.txt")).id
    for source, goal in (("new", "away"), ("away", "new")):
        client.path_request(Type.RENAME, f"/Rum/{source}.txt", f"/Rum/{goal}.txt")
    client.put("/Rum/new.txt", b"filled", WRITE)
    assert client.get("/Rum/new.txt") == b"filled"
    assert world.drive("anna").stat(parse("/Rum/new.txt")).id == before
    assert versions(world, "/Rum/new.txt") == 1


def test_append_ignores_where_a_write_is_said_to_go(connect: Connect) -> None:
    client = connect()
    client.put("/Rum/log.txt", b"one\n")
    handle = client.open("/Rum/log.txt", WRITE | APPEND)
    client.write(handle, 0, b"two\n")
    client.write(handle, 0, b"three\n")
    client.close(handle)
    assert client.get("/Rum/log.txt") == b"one\ntwo\nthree\n"


def test_exclusive_is_refused_at_the_open_and_again_at_the_close(world: World, connect: Connect) -> None:
    client, other = connect(), connect("bo")
    handle = client.open("/Rum/a.lock", WRITE | CREAT | EXCL)
    client.write(handle, 0, b"mine")
    assert code_of(lambda: client.open("/Rum/a.lock", WRITE | CREAT | EXCL)) == Code.FAILURE
    other.put("/Rum/a.lock", b"theirs", WRITE | CREAT | EXCL)
    assert code_of(lambda: client.close(handle)) == Code.FAILURE
    assert fetch(world.drive("anna"), "/Rum/a.lock") == b"theirs"


# --- one draft for all who have it open


def test_openings_of_one_document_share_its_draft(world: World, connect: Connect) -> None:
    client = connect()
    client.put("/Rum/a.txt", b"0123456789")
    early = client.open("/Rum/a.txt")
    assert client.read(early, 0, 4) == b"0123"
    writing = client.open("/Rum/a.txt", WRITE)
    late = client.open("/RUM/A.TXT", READ | WRITE)
    client.write(writing, 2, b"XY")
    for handle in (early, late):
        assert client.read(handle, 0, 10) == b"01XY456789"
        assert client.fstat(handle).size == 10
    client.write(late, 10, b"!")
    assert client.stat("/Rum/a.txt").size == 11
    assert client.names("/Rum")["a.txt"][1].size == 11
    assert fetch(world.drive("bo"), "/Rum/a.txt") == b"0123456789"
    client.close(writing)
    assert fetch(world.drive("bo"), "/Rum/a.txt") == b"01XY456789!"
    client.write(late, 0, b"Z")
    client.close(late)
    assert client.read(early, 0, 20) == b"Z1XY456789!"
    assert versions(world, "/Rum/a.txt") == 3


def test_a_document_being_made_is_seen_by_its_maker_alone(world: World, connect: Connect) -> None:
    client, other = connect(), connect("bo")
    handle = client.open("/Rum/new.txt", NEW)
    client.write(handle, 0, b"abc")
    assert client.stat("/Rum/new.txt").size == 3
    assert client.names("/Rum")["new.txt"][1].size == 3
    for see in (other, connect()):
        assert code_of(lambda see=see: see.stat("/Rum/new.txt")) == Code.NO_SUCH_FILE  # type: ignore[misc]
        assert "new.txt" not in see.names("/Rum")
    client.close(handle)
    assert other.get("/Rum/new.txt") == b"abc"


def test_removed_while_open_it_goes_on_without_a_name(world: World, connect: Connect) -> None:
    client = connect()
    client.put("/Rum/a.txt", b"0123")
    reading, writing = client.open("/Rum/a.txt"), client.open("/Rum/a.txt", READ | WRITE)
    client.write(writing, 4, b"45")
    client.path_request(Type.REMOVE, "/Rum/a.txt")
    assert code_of(lambda: client.stat("/Rum/a.txt")) == Code.NO_SUCH_FILE
    client.write(writing, 6, b"67")
    client.put("/Rum/a.txt", b"another")
    client.close(writing)
    client.close(reading)
    assert client.get("/Rum/a.txt") == b"another"
    fresh = client.open("/Rum/temp", READ | WRITE | CREAT)
    client.write(fresh, 0, b"x")
    client.path_request(Type.REMOVE, "/Rum/temp")
    assert client.read(fresh, 0, 5) == b"x"
    client.close(fresh)
    assert code_of(lambda: client.stat("/Rum/temp")) == Code.NO_SUCH_FILE


def test_renamed_while_open_it_goes_on_under_its_new_name(connect: Connect) -> None:
    client = connect()
    client.path_request(Type.MKDIR, "/Rum/d", tail=bytes(4))
    handle = client.open("/Rum/d/a.txt", READ | WRITE | CREAT)
    client.write(handle, 0, b"abc")
    client.path_request(Type.RENAME, "/Rum/d", "/Rum/e")
    client.write(handle, 3, b"def")
    assert client.read(handle, 0, 9) == b"abcdef"
    client.path_request(Type.RENAME, "/Rum/e/a.txt", "/Rum/b.txt")
    client.close(handle)
    assert client.get("/Rum/b.txt") == b"abcdef"
    assert set(client.names("/Rum")) == {".", "..", "Avtal", "b.txt", "e"}


def test_winscp_part_file_keeps_the_documents_history(world: World, connect: Connect) -> None:
    """S10: the new content goes to X.filepart, X is removed, X.filepart renamed."""
    client = connect()
    client.put("/Rum/X", b"old")
    client.put("/Rum/X.filepart", b"new")
    client.path_request(Type.REMOVE, "/Rum/X")
    client.path_request(Type.RENAME, "/Rum/X.filepart", "/Rum/X")
    assert client.get("/Rum/X") == b"new"


# --- cut off


def cut(client: Client, path: str, count: int, flags: int = NEW) -> None:
    handle = client.open(path, flags)
    settle(client, writes(client, handle, pieces_of(BIG[:count])))
    client.lose()


def test_a_lost_connection_is_no_close(world: World, connect: Connect) -> None:
    """Fault A, D15, S9: the earlier version stands, and nothing partial is seen by anybody else."""
    store(world.drive("anna"), "/Rum/a.bin", b"whole")
    cut(connect(), "/Rum/a.bin", 500_000)
    cut(connect(), "/Rum/b.bin", 500_000, WRITE | CREAT)
    assert fetch(world.drive("anna"), "/Rum/a.bin") == b"whole"
    assert connect().get("/Rum/a.bin") == b"whole"
    assert versions(world, "/Rum/a.bin") == 1
    other = connect("bo")
    assert "b.bin" not in other.names("/Rum")
    assert code_of(lambda: other.open("/Rum/b.bin")) == Code.NO_SUCH_FILE
    assert [item.name for item in world.drive("anna").listing(parse("/Rum"))[1]] == ["a.bin", "Avtal"]


def test_half_of_a_save_of_what_stands_takes_up_no_room(world: World, connect: Connect) -> None:
    """No client can resume it: what stands there has the name."""
    store(world.drive("bo"), "/Rum/a.bin", b"whole")
    for flags in (NEW, WRITE, WRITE | APPEND):
        cut(connect(), "/Rum/a.bin", 500_000, flags)
    assert list(world.installation.vault.drafts(world.spaces["Rum"].id)) == []
    assert fetch(world.drive("anna"), "/Rum/a.bin") == b"whole"


def test_what_was_made_durable_of_a_save_is_there_once_the_name_is_free(world: World, connect: Connect) -> None:
    store(world.drive("bo"), "/Rum/a.bin", b"whole")
    client = connect()
    handle = client.open("/Rum/a.bin", NEW)
    settle(client, writes(client, handle, pieces_of(BIG[:500_000])))
    client.extended("fsync@openssh.com", string(handle))
    client.lose()
    client = connect()
    assert client.get("/Rum/a.bin") == b"whole"
    client.path_request(Type.RENAME, "/Rum/a.bin", "/Rum/old.bin")
    assert client.get("/Rum/a.bin") == BIG[:500_000]
    assert "a.bin" not in connect("bo").names("/Rum")


@pytest.mark.parametrize("count", [1, 65_536, 700_001, 2_999_999])
def test_an_interrupted_upload_is_resumed_where_it_stopped(world: World, connect: Connect, count: int) -> None:
    """S8, S9: reput asks for the size, opens with WRITE, APPEND and CREAT, and writes what is missing."""
    cut(connect(), "/Rum/b.bin", count)
    client = connect()
    assert client.stat("/Rum/b.bin").size == count
    assert client.names("/Rum")["b.bin"][1].size == count
    assert client.get("/Rum/b.bin") == BIG[:count]
    assert client.stat("/Rum/b.bin").size == count
    handle = client.open("/Rum/b.bin", WRITE | APPEND | CREAT)
    settle(client, writes(client, handle, [(count + at, piece) for at, piece in pieces_of(BIG[count:])]))
    client.close(handle)
    assert connect("bo").get("/Rum/b.bin") == BIG
    assert versions(world, "/Rum/b.bin") == 1
    assert list(world.drive("anna").drafts(parse("/Rum"))) == []
    assert list(world.installation.vault.drafts(world.spaces["Rum"].id)) == []
    assert list(world.installation.verify()) == []


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        ([(0, 100), (300, 400)], 100),
        ([(300, 400), (0, 100), (100, 300)], 400),
        ([(0, 100), (200, 300), (100, 150)], 150),
        ([(50, 100)], None),
        ([(0, 100), ("size", 5000)], 100),
        ([(0, 5000), (6000, 7000), ("size", 300), (400, 500)], 300),
        ([(0, 100), ("size", 50), ("size", 5000), (100, 200)], 50),
    ],
)
def test_what_lies_behind_a_gap_is_not_resumed(connect: Connect, pieces: list[tuple[Any, int]], kept: int) -> None:
    """Who resumes goes on at the end: a gap would stay one, though the client had it written later."""
    client = connect()
    handle = client.open("/Rum/b.bin", NEW)
    for start, stop in pieces:
        if start == "size":
            client.setstat("/Rum/b.bin", sized(stop))
        else:
            client.write(handle, start, BIG[start:stop])
    client.lose()
    if kept is None:
        assert code_of(lambda: connect().stat("/Rum/b.bin")) == Code.NO_SUCH_FILE
    else:
        assert connect().get("/Rum/b.bin") == BIG[:kept]


@pytest.mark.parametrize("then", [Type.CLOSE, Type.REMOVE])
def test_what_had_arrived_when_the_connection_dropped_is_kept(world: World, connect: Connect, then: Type) -> None:
    """It waited behind an open, or for its hop; what the client asked for after it is not begun."""
    client = connect()
    handle = client.open("/Rum/b.bin", NEW)
    writes(client, handle, pieces_of(BIG[:900_000]))
    client.send(then, string(handle) if then == Type.CLOSE else string(b"/Rum/b.bin"))
    writes(client, handle, [(900_000, b"behind it")])
    client.lose()
    assert connect().get("/Rum/b.bin") == BIG[:900_000]
    assert "b.bin" not in connect("bo").names("/Rum")


def test_an_upload_cut_off_twice_is_resumed_twice(world: World, connect: Connect) -> None:
    cut(connect(), "/Rum/b.bin", 100_000)
    client = connect()
    handle = client.open("/Rum/b.bin", WRITE | APPEND | CREAT)
    settle(client, writes(client, handle, [(100_000 + at, piece) for at, piece in pieces_of(BIG[100_000:900_000])]))
    client.lose()
    client = connect()
    assert client.stat("/Rum/b.bin").size == 900_000
    handle = client.open("/Rum/b.bin", WRITE | APPEND | CREAT)
    client.write(handle, 900_000, BIG[900_000:1_000_000])
    client.close(handle)
    assert client.get("/Rum/b.bin") == BIG[:1_000_000]


def test_an_interrupted_upload_begun_anew_or_removed_is_gone(world: World, connect: Connect) -> None:
    cut(connect(), "/Rum/b.bin", 100_000)
    client = connect()
    assert code_of(lambda: client.open("/Rum/b.bin", WRITE | CREAT | EXCL)) == Code.FAILURE
    client.put("/Rum/b.bin", b"short")
    assert client.get("/Rum/b.bin") == b"short"
    client.path_request(Type.REMOVE, "/Rum/b.bin")
    cut(connect(), "/Rum/b.bin", 100_000)
    cut(connect(), "/Rum/b.bin", 50_000)
    assert client.stat("/Rum/b.bin").size == 50_000
    client.path_request(Type.REMOVE, "/Rum/b.bin")
    assert code_of(lambda: client.stat("/Rum/b.bin")) == Code.NO_SUCH_FILE
    assert list(world.installation.vault.drafts(world.spaces["Rum"].id)) == []


def test_an_interrupted_upload_is_forgotten_after_seven_days(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    from providers.drive import kept

    cut(connect(), "/Rum/b.bin", 100_000)
    assert kept.drop_stale(world.installation.storage) == 0
    MachineClock(monkeypatch).ahead_seconds = world.installation.storage.kept_us // SECOND_US + 1
    assert kept.drop_stale(world.installation.storage) == 0, "the clock has jumped"
    world.installation.storage.steady.begin()
    assert kept.drop_stale(world.installation.storage) == 1
    assert code_of(lambda: connect().stat("/Rum/b.bin")) == Code.NO_SUCH_FILE
    assert list(world.installation.vault.drafts(world.spaces["Rum"].id)) == []


def test_drafts_of_a_worker_that_was_killed_are_cleared_away(world: World, connect: Connect) -> None:
    """Those that no row tells of, and nobody has open. One that is open, or that its maker sees, stays."""
    space = world.spaces["Rum"].id
    store(world.drive("anna"), "/Rum/a.bin", BIG)

    def drafts() -> set[bytes]:
        return set(world.installation.vault.drafts(space))

    cut(connect(), "/Rum/kept.bin", 100_000)
    kept_one, clients = drafts(), []
    for name, flags in (("a.bin", WRITE), ("b.bin", NEW)):
        client = connect()
        clients.append((client, client.open(f"/Rum/{name}", flags)))
        settle(client, writes(client, clients[-1][1], [(at, piece) for at, piece in reversed(pieces_of(BIG))]))
    assert len(drafts() - kept_one) == 2
    # Left by a worker that is dead: a file like the others, and nobody who holds it.
    dead = world.installation.vault.draft(space, bytes(range(16)), None)
    dead.write(0, BIG)
    dead.sync()
    before = drafts() - {dead.id}
    world.installation.tidy()
    assert drafts() == before | {dead.id}, "whoever writes to it lives"
    dead.close()
    world.installation.tidy()
    assert drafts() == before
    for client, handle in clients:
        client.close(handle)
    assert connect("bo").get("/Rum/b.bin") == BIG
    assert connect().stat("/Rum/kept.bin").size == 100_000


def test_an_interrupted_upload_gives_way_to_what_another_made(world: World, connect: Connect) -> None:
    cut(connect(), "/Rum/b.bin", 100_000)
    store(world.drive("bo"), "/Rum/b.bin", b"theirs")
    client = connect()
    assert client.get("/Rum/b.bin") == b"theirs"
    assert client.names("/Rum")["b.bin"][1].size == 6


def test_fsync_makes_durable_and_not_visible(world: World, connect: Connect) -> None:
    """S3. A worker that is killed afterwards loses nothing of it."""
    client = connect()
    handle = client.open("/Rum/b.bin", NEW)
    settle(client, writes(client, handle, pieces_of(BIG[:200_000])))
    client.extended("fsync@openssh.com", string(handle))
    assert code_of(lambda: connect("bo").stat("/Rum/b.bin")) == Code.NO_SUCH_FILE
    again = connect()  # nothing told the first one's engine that it is gone
    assert again.stat("/Rum/b.bin").size == 200_000
    with pytest.raises(Refused, match="Somebody else is working on this"):
        again.open("/Rum/b.bin", READ)  # who only looks takes nothing from anybody
    client.write(handle, 200_000, b"rest")
    client.close(handle)
    assert connect("bo").get("/Rum/b.bin") == BIG[:200_000] + b"rest"
    assert list(world.drive("anna").drafts(parse("/Rum"))) == []


#: Ways to send the first part of a document and have it made durable: in its order, not so, and by much that came.
DURABLE = ["fsync", "fsync out of order", "checkpoint"]


def _half_open(client: Client, monkeypatch: pytest.MonkeyPatch, how: str) -> bytes:
    """Upload a part of BIG, and return the handle."""
    handle = client.open("/Rum/b.bin", NEW)
    pieces = pieces_of(BIG[:1_000_000])
    if how == "checkpoint":
        monkeypatch.setattr("providers.drive.checkpoints.CHECKPOINT_BYTES", 300_000)
        monkeypatch.setattr("providers.drive.checkpoints.CHECKPOINT_SECONDS", 0)
    if how == "fsync out of order":
        pieces[0], pieces[1] = pieces[1], pieces[0]
    assert set(settle(client, writes(client, handle, pieces))) == {Code.OK}
    if how != "checkpoint":
        client.extended("fsync@openssh.com", string(handle))
        # Acknowledged, but never promised to be durable.
        assert set(settle(client, writes(client, handle, [(1_000_000, BIG[1_000_000:1_010_000])]))) == {Code.OK}
    return handle


@pytest.mark.parametrize("how", DURABLE)
@pytest.mark.parametrize("ends", ["lost at once", "lost late", "closed", "written", "synced", "removed"])
def test_an_upload_was_not_resumed_while_a_connection_that_broke_held_it(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch, how: str, ends: str
) -> None:
    """The client has come again; nothing told the server that the first connection is gone."""
    monkeypatch.setattr("providers.drive.edits.OWN_SECONDS", 0)
    broken, client = connect(), connect()
    handle = _half_open(broken, monkeypatch, how)
    found = client.stat("/Rum/b.bin").size
    assert found == 1_000_000 if how != "checkpoint" else 300_000 < found <= 1_000_000
    resumed = client.open("/Rum/b.bin", WRITE | APPEND | CREAT)
    if ends == "lost at once":
        broken.lose()
    middle = (found + len(BIG)) // 2
    assert set(settle(client, writes(client, resumed, pieces_of(BIG[found:middle])))) == {Code.OK}
    client.extended("fsync@openssh.com", string(resumed))
    if ends == "written":
        with pytest.raises(Refused, match="gone on with"):
            broken.write(handle, 1_010_000, b"mine")
    if ends == "synced":
        with pytest.raises(Refused, match="gone on with"):
            broken.extended("fsync@openssh.com", string(handle))
    if ends == "removed":
        broken.path_request(Type.REMOVE, "/Rum/b.bin")
    if ends in ("closed", "written", "synced"):
        assert code_of(lambda: broken.close(handle)) == Code.FAILURE
    if ends == "removed":
        broken.close(handle)
    if ends != "lost at once":
        broken.lose()
    assert "b.bin" not in connect("bo").names("/Rum")
    assert connect().stat("/Rum/b.bin").size == middle
    # It is whole, and its maker's, should this connection break as well.
    client.lose()
    last = connect()
    resumed = last.open("/Rum/b.bin", WRITE | APPEND | CREAT)
    assert set(settle(last, writes(last, resumed, pieces_of(BIG[middle:])))) == {Code.OK}
    last.close(resumed)
    assert connect("bo").get("/Rum/b.bin") == BIG
    assert versions(world, "/Rum/b.bin") == 1
    assert list(world.drive("anna").drafts(parse("/Rum"))) == []
    assert list(world.installation.vault.drafts(world.spaces["Rum"].id)) == []
    assert list(world.installation.verify()) == []


def test_of_two_who_go_on_with_one_upload_the_last_has_it(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.drive.edits.OWN_SECONDS", 0)
    first, second, third = connect(), connect(), connect()
    handle = _half_open(first, monkeypatch, "fsync")
    again = second.open("/Rum/b.bin", WRITE | APPEND | CREAT)
    settle(second, writes(second, again, pieces_of(BIG[1_000_000:2_000_000])))
    second.extended("fsync@openssh.com", string(again))
    last = third.open("/Rum/b.bin", WRITE | CREAT)
    for client, old in ((first, handle), (second, again)):
        with pytest.raises(Refused, match="gone on with"):
            client.write(old, 0, b"mine")
        assert code_of(lambda client=client, old=old: client.close(old)) == Code.FAILURE  # type: ignore[misc]
    settle(third, writes(third, last, [(2_000_000 + at, piece) for at, piece in pieces_of(BIG[2_000_000:])]))
    third.close(last)
    assert connect("bo").get("/Rum/b.bin") == BIG
    assert list(world.installation.vault.drafts(world.spaces["Rum"].id)) == []
    assert list(world.installation.verify()) == []


def test_who_looked_into_an_upload_and_then_writes_takes_it_over(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.drive.edits.OWN_SECONDS", 0)
    broken, client = connect(), connect()
    handle = _half_open(broken, monkeypatch, "checkpoint")
    found = client.stat("/Rum/b.bin").size
    reading = client.open("/Rum/b.bin", READ)
    assert client.read(reading, 0, 1_000) == BIG[:1_000]
    writing = client.open("/Rum/b.bin", WRITE)
    settle(client, writes(client, writing, [(found + at, piece) for at, piece in pieces_of(BIG[found:])]))
    with pytest.raises(Refused, match="gone on with"):
        broken.write(handle, 1_000_000, b"mine")
    broken.lose()
    client.close(writing)
    client.close(reading)
    assert connect("bo").get("/Rum/b.bin") == BIG
    assert list(world.installation.verify()) == []


@pytest.mark.parametrize("order", ["in order", "the beginning last"])
def test_a_worker_killed_in_the_middle_of_an_upload_loses_little_of_it(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr("providers.drive.checkpoints.CHECKPOINT_BYTES", 1 << 20)
    monkeypatch.setattr("providers.drive.checkpoints.CHECKPOINT_SECONDS", 0)
    killed = connect()
    handle = killed.open("/Rum/b.bin", NEW)
    data = CHANCE.randbytes(8 << 20)
    pieces = pieces_of(data[: (6 << 20) + 50_000])
    if order != "in order":
        pieces[0], pieces[1] = pieces[1], pieces[0]
    settle(killed, writes(killed, handle, pieces))
    client = connect()  # nothing more is ever heard of the first one
    found = client.stat("/Rum/b.bin").size
    assert 3 << 20 <= found <= 6 << 20
    assert "b.bin" not in connect("bo").names("/Rum")
    for draft in (document.edit._draft for document in killed.engine.documents._open.values()):  # type: ignore[union-attr]
        if draft is not None:
            draft.close()  # as its process would let go of it
    handle = client.open("/Rum/b.bin", WRITE | APPEND | CREAT)
    settle(client, writes(client, handle, [(found + at, piece) for at, piece in pieces_of(data[found:])]))
    client.close(handle)
    assert connect("bo").get("/Rum/b.bin") == data
    assert versions(world, "/Rum/b.bin") == 1
    assert list(world.installation.verify()) == []
    assert list(world.installation.vault.drafts(world.spaces["Rum"].id)) == []


def test_a_fast_upload_is_not_made_safe_all_the_time(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("providers.drive.checkpoints.CHECKPOINT_BYTES", 4 << 20)
    monkeypatch.setattr("providers.drive.checkpoints.CHECKPOINT_SECONDS", 3600)
    killed = connect()
    handle = killed.open("/Rum/b.bin", NEW)
    settle(killed, writes(killed, handle, pieces_of(CHANCE.randbytes(9 << 20))))
    assert 0 < connect().stat("/Rum/b.bin").size < 4 << 20  # once, and not again within the hour


def test_what_is_made_safe_on_the_way_changes_nothing(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect()
    data = CHANCE.randbytes(6 << 20)
    client.put("/Rum/plain.bin", data)
    packs = sum(file.stat().st_size for file in (world.installation.folder / "vault").rglob("*.pack"))
    monkeypatch.setattr("providers.drive.checkpoints.CHECKPOINT_BYTES", 1 << 20)
    monkeypatch.setattr("providers.drive.checkpoints.CHECKPOINT_SECONDS", 0)
    client.put("/Rum/safe.bin", data)
    assert client.get("/Rum/safe.bin") == data
    assert list(world.drive("anna").drafts(parse("/Rum"))) == []
    assert list(world.installation.vault.drafts(world.spaces["Rum"].id)) == []
    # Every chunk is the same one: only manifests came.
    after = sum(file.stat().st_size for file in (world.installation.folder / "vault").rglob("*.pack"))
    assert after - packs < 100_000
    assert list(world.installation.verify()) == []


def test_a_durable_upload_that_loses_its_name_is_not_found_under_it(world: World, connect: Connect) -> None:
    client = connect()
    handle = client.open("/Rum/b.bin", NEW | READ)
    client.write(handle, 0, BIG[:100_000])
    client.extended("fsync@openssh.com", string(handle))
    client.path_request(Type.REMOVE, "/Rum/b.bin")
    assert code_of(lambda: client.setstat("/Rum/b.bin", sized(5))) == Code.NO_SUCH_FILE
    client.write(handle, 100_000, b"more")
    client.extended("fsync@openssh.com", string(handle))
    assert "b.bin" not in client.names("/Rum")
    assert client.read(handle, 99_999, 10) == BIG[99_999:100_000] + b"more"
    client.close(handle)
    assert "b.bin" not in client.names("/Rum")
    assert list(world.installation.vault.drafts(world.spaces["Rum"].id)) == []


def test_a_client_that_ends_without_a_close_is_lost_too(world: World, connect: Connect) -> None:
    client = connect()
    handle = client.open("/Rum/b.bin", NEW)
    asked = writes(client, handle, pieces_of(BIG[:100_000]))
    client.engine.ended()
    assert set(settle(client, asked)) == {Code.OK}
    assert client.door.has_ended
    client.door.run()
    assert client.engine.is_idle
    assert connect().stat("/Rum/b.bin").size == 100_000
    assert "b.bin" not in connect("bo").names("/Rum")


# --- refusals


def test_a_name_that_another_has_locked_is_refused_at_the_open(world: World, connect: Connect) -> None:
    store(world.drive("bo"), "/Rum/a.txt", b"abc")
    world.drive("bo").lock(parse("/Rum/a.txt"), is_deep=False, is_shared=False, owner="", seconds=600)
    client = connect()
    for act in (
        lambda: client.open("/Rum/a.txt", WRITE),
        lambda: client.open("/Rum/a.txt", NEW),
        lambda: client.path_request(Type.REMOVE, "/Rum/a.txt"),
        lambda: client.path_request(Type.RENAME, "/Rum/a.txt", "/Rum/b.txt"),
        lambda: client.setstat("/Rum/a.txt", sized(0)),
    ):
        assert code_of(act) == Code.FAILURE
    assert client.get("/Rum/a.txt") == b"abc"


def test_what_one_has_locked_oneself_over_webdav_one_may_change(world: World, connect: Connect) -> None:
    """The client that holds the lock, and its token, may be one's own Office beside."""
    webdav, client = world.drive("anna"), connect()
    store(webdav, "/Rum/a.txt", b"abc")
    webdav.lock(parse("/Rum/a.txt"), is_deep=False, is_shared=False, owner="", seconds=600)
    client.put("/Rum/a.txt", b"over SFTP", NEW)
    assert fetch(webdav, "/Rum/a.txt") == b"over SFTP"
    with pytest.raises(Locked):
        store(webdav, "/Rum/a.txt", b"over WebDAV, without the token")
    client.path_request(Type.RENAME, "/Rum/a.txt", "/Rum/b.txt")
    assert client.get("/Rum/b.txt") == b"over SFTP"


def test_a_lock_shared_with_another_lets_one_change(world: World, connect: Connect) -> None:
    store(world.drive("bo"), "/Rum/a.txt", b"abc")
    world.drive("bo").lock(parse("/Rum/a.txt"), is_deep=False, is_shared=True, owner="", seconds=600)
    client = connect()
    assert code_of(lambda: client.open("/Rum/a.txt", WRITE)) == Code.FAILURE
    world.drive("anna").lock(parse("/Rum/a.txt"), is_deep=False, is_shared=True, owner="", seconds=600)
    client.put("/Rum/a.txt", b"hers too", NEW)
    assert fetch(world.drive("bo"), "/Rum/a.txt") == b"hers too"


def test_a_name_that_another_locks_meanwhile_is_refused_at_the_close_and_the_draft_kept(
    world: World, connect: Connect
) -> None:
    client = connect()
    handle = client.open("/Rum/new.txt", NEW)
    client.write(handle, 0, b"my work")
    token = (
        world.drive("bo").lock(parse("/Rum/new.txt"), is_deep=False, is_shared=False, owner="", seconds=600)[0].token
    )
    with pytest.raises(Refused, match="Somebody else is working on this"):
        client.close(handle)
    assert fetch(world.drive("bo"), "/Rum/new.txt") == b""
    world.drive("bo").unlock(parse("/Rum/new.txt"), token)
    world.drive("bo").delete(parse("/Rum/new.txt"))
    assert client.get("/Rum/new.txt") == b"my work"


def test_a_save_that_is_refused_at_the_close_is_there_once_the_name_is_free(world: World, connect: Connect) -> None:
    bo = world.drive("bo")
    store(bo, "/Rum/a.txt", b"theirs")
    client = connect()
    handle = client.open("/Rum/a.txt", NEW)
    client.write(handle, 0, b"my work")
    token = bo.lock(parse("/Rum/a.txt"), is_deep=False, is_shared=False, owner="", seconds=600)[0].token
    with pytest.raises(Refused, match="Somebody else is working on this"):
        client.close(handle)
    assert client.get("/Rum/a.txt") == b"theirs"
    bo.unlock(parse("/Rum/a.txt"), token)
    client.path_request(Type.RENAME, "/Rum/a.txt", "/Rum/theirs.txt")
    assert client.names("/Rum")["a.txt"][1].size == len(b"my work")
    assert client.get("/Rum/a.txt") == b"my work"
    client.put("/Rum/a.txt", b"", WRITE | APPEND | CREAT)
    assert connect("bo").get("/Rum/theirs.txt") == b"theirs"


@pytest.mark.parametrize("stood", [False, True])
def test_what_was_written_in_a_folder_that_was_renamed_meanwhile_was_not_stored(
    world: World, connect: Connect, stood: bool
) -> None:
    bo = world.drive("bo")
    if stood:
        store(bo, "/Rum/Avtal/a.txt", b"before")
    client = connect()
    handle = client.open("/Rum/Avtal/a.txt", NEW)
    client.write(handle, 0, b"my ")
    bo.move(parse("/Rum/Avtal"), parse("/Rum/Gammalt"), overwrite=False)
    client.write(handle, 3, b"work")
    client.close(handle)
    assert fetch(bo, "/Rum/Gammalt/a.txt") == b"my work"
    assert versions(world, "/Rum/Gammalt/a.txt") == 1 + stood
    assert list(world.drive("anna").drafts(parse("/Rum/Gammalt"))) == []


def test_what_was_written_in_a_folder_that_was_deleted_meanwhile_is_said_to_be_kept(
    world: World, connect: Connect
) -> None:
    bo = world.drive("bo")
    client = connect()
    handle = client.open("/Rum/Avtal/a.txt", NEW)
    client.write(handle, 0, b"my work")
    (folder,) = (item for item in bo.listing(parse("/Rum"))[1] if item.name == "Avtal")
    bo.delete(parse("/Rum/Avtal"))
    with pytest.raises(Refused, match="What you sent is kept for you"):
        client.close(handle)
    bo.undelete(parse("/Rum"), folder.id)
    assert client.get("/Rum/Avtal/a.txt") == b"my work"


@pytest.mark.parametrize(
    ("login", "may_read", "may_add", "may_replace"),
    [
        ("viewer", True, False, False),
        ("uploader", False, True, False),
        ("contributor", True, True, False),
        ("editor", True, True, True),
    ],
)
def test_roles(world: World, connect: Connect, login: str, may_read: bool, may_add: bool, may_replace: bool) -> None:
    store(world.drive("anna"), "/Rum/a.txt", b"abc")
    client = connect(login)
    assert (code_of(lambda: client.get("/Rum/a.txt")) == Code.OK) == may_read
    assert (code_of(lambda: client.put("/Rum/new.txt", b"x")) == Code.OK) == may_add
    told = code_of(lambda: client.put("/Rum/a.txt", b"x"))
    if login == "uploader":
        assert told == Code.OK  # in its own lane
    else:
        assert told == (Code.OK if may_replace else Code.PERMISSION_DENIED)
    assert fetch(world.drive("anna"), "/Rum/a.txt") == (b"x" if may_replace else b"abc")


def test_a_full_disk_leaves_the_old_version_and_tells(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect()
    client.put("/Rum/a.bin", b"old")
    handle = client.open("/Rum/a.bin", NEW)
    client.write(handle, 0, b"first")

    def full(*_: object) -> None:
        raise StorageFull

    with monkeypatch.context() as patched:
        patched.setattr("providers.vault.writer.ContentWriter.write", full)
        with pytest.raises(Refused, match="no room left"):
            client.write(handle, 5, b"second")
    with pytest.raises(Refused, match="no room left"):
        client.close(handle)
    assert client.get("/Rum/a.bin") == b"old"
    assert versions(world, "/Rum/a.bin") == 1
    client.put("/Rum/a.bin", b"new")
    assert client.get("/Rum/a.bin") == b"new"


def test_a_quota_holds_while_it_is_written(world: World, connect: Connect) -> None:
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces["Rum"].id, 100_000)
    client = connect()
    handle = client.open("/Rum/a.bin", NEW)
    codes = settle(client, writes(client, handle, pieces_of(BIG[:200_000])))
    assert codes == [Code.OK] * 3 + [Code.FAILURE] * 4  # they come in one hop, and those that fit are taken
    assert code_of(lambda: client.fsetstat(handle, sized(1 << 40))) == Code.FAILURE
    assert code_of(lambda: client.close(handle)) == Code.FAILURE
    assert code_of(lambda: client.open("/Rum/a.bin")) in (Code.NO_SUCH_FILE, Code.OK)


def test_a_close_tells_why_a_write_before_it_was_refused(world: World, connect: Connect) -> None:
    """asyncssh and ssh2-sftp-client show what the close was told, and nothing of the writes before it."""
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces["Rum"].id, 100_000)
    client = connect()
    handle = client.open("/Rum/a.bin", NEW)
    settle(client, writes(client, handle, pieces_of(BIG[:200_000])))
    with pytest.raises(Refused, match="The space has no room left") as refused:
        client.close(handle)
    assert refused.value.code == Code.FAILURE


def refusing(error: Exception) -> Callable[..., None]:
    """Return what stands in for something that is refused."""

    def refuse(*_: object) -> None:
        raise error

    return refuse


@pytest.mark.parametrize("together", [False, True])
def test_a_close_tells_the_first_refusal_and_what_is_written_after_it_stands(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    client = connect()
    client.put("/Rum/a.bin", b"old")
    first, second = client.open("/Rum/a.bin", NEW), client.open("/Rum/a.bin", READ | WRITE)
    refusals = iter([Locked(), QuotaExceeded()])
    with monkeypatch.context() as patched:
        patched.setattr(Edit, "is_light", lambda *_: not together)
        patched.setattr(Edit, "write", lambda *_: refusing(next(refusals))())
        asked = writes(client, first, [(0, b"lost"), (4, b"too")])
        assert settle(client, asked) == [Code.FAILURE] * 2
    with pytest.raises(Refused, match="Somebody else"):
        client.close(first)
    client.write(second, 0, b"new")
    client.close(second)
    assert versions(world, "/Rum/a.bin") == 2 and client.get("/Rum/a.bin") == b"new"


def test_a_close_tells_nothing_of_an_error_that_is_not_ours(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = connect()
    handle = client.open("/Rum/a.bin", NEW)
    with monkeypatch.context() as patched:
        patched.setattr(Edit, "write", refusing(RuntimeError("/srv/secret/path")))
        assert code_of(lambda: client.write(handle, 0, b"lost")) == Code.FAILURE
    with pytest.raises(Refused, match="A part of this could not be stored") as refused:
        client.close(handle)
    assert "secret" not in refused.value.message


def test_what_is_no_error_of_ours_is_not_told(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault E: asyncssh quotes exceptions to the client."""
    client = connect()

    def broken(*_: object) -> None:
        raise RuntimeError("/srv/secret/path")

    monkeypatch.setattr(Drive, "stat", broken)
    with pytest.raises(Refused) as refused:
        client.stat("/Rum")
    assert refused.value.code == Code.FAILURE
    assert "secret" not in refused.value.message


# --- revocation


class Hands:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.mark.parametrize("is_moved", [False, True])
def test_what_was_taken_away_before_its_first_byte_was_read_could_not_be_read(
    world: World, connect: Connect, is_moved: bool
) -> None:
    """Whoever has it open goes on reading, as later in a session: no rights have changed."""
    store(world.drive("bo"), "/Rum/a.bin", BIG)
    client = connect()
    handle = client.open("/Rum/a.bin")
    if is_moved:
        world.drive("bo").move(parse("/Rum/a.bin"), parse("/Rum/b.bin"), overwrite=False)
    else:
        world.drive("bo").delete(parse("/Rum/a.bin"))
    assert client.read(handle, 0, 1_000) == BIG[:1_000]
    client.close(handle)


def revoked(world: World, login: str) -> None:
    world.installation.directory.revoke_device(world.devices[login])


def test_a_revoked_device_is_cut_off_in_the_middle(world: World, connect: Connect) -> None:
    store(world.drive("bo"), "/Rum/a.bin", BIG)
    clock = Hands()
    client = connect(clock=clock)
    reading, writing = client.open("/Rum/a.bin"), client.open("/Rum/new.bin", NEW)
    assert client.read(reading, 0, 100) == BIG[:100]
    client.write(writing, 0, BIG[:100_000])
    revoked(world, "anna")
    clock.at = 1.5
    client.send(Type.READ, string(reading) + struct.pack(">QI", 0, 100))
    client.door.run()
    assert client.door.has_ended
    assert client.engine.is_idle
    assert list(world.installation.vault.drafts(world.spaces["Rum"].id)) == []


def test_a_revoked_device_writes_no_more(world: World, connect: Connect) -> None:
    clock = Hands()
    client = connect(clock=clock)
    writing = client.open("/Rum/new.bin", NEW)
    client.write(writing, 0, BIG[:100_000])
    revoked(world, "anna")
    client.send(Type.CLOSE, string(writing))
    client.door.run()
    assert client.door.has_ended
    assert "new.bin" not in connect("bo").names("/Rum")


def test_who_is_let_into_nothing_any_more_reads_no_more(world: World, connect: Connect) -> None:
    store(world.drive("bo"), "/Rum/a.bin", BIG)
    clock = Hands()
    client = connect("viewer", clock=clock)
    reading = client.open("/Rum/a.bin")
    assert client.read(reading, 0, 100) == BIG[:100]
    keeper = world.drive("bo")
    grants = [g for g in keeper.grants(parse("/Rum")) if g.grantee == world.people["viewer"].id]
    assert grants[0].grantee_kind is GranteeKind.PERSON
    keeper.revoke(parse("/Rum"), grants[0].id)
    client.engine.drive.still_valid()  # as the worker asks too, of all who are signed in
    clock.at = 1.5
    assert code_of(lambda: client.read(reading, 0, 100)) == Code.NO_SUCH_FILE
    assert not client.door.has_ended


def test_what_was_refused_in_the_middle_became_a_version_once_it_might(world: World, connect: Connect) -> None:
    """Whoever is refused a write closes, and may be let in again by then."""
    store(world.drive("bo"), "/Rum/a.bin", BIG)
    clock = Hands()
    client = connect("editor", clock=clock)
    stood, new = client.open("/Rum/a.bin", NEW), client.open("/Rum/new.bin", NEW)
    for handle in (stood, new):
        client.write(handle, 0, b"first")
    _take_away(world, "editor")
    clock.at = 1.5
    for handle in (stood, new):
        assert code_of(lambda handle=handle: client.write(handle, 5, b" and second")) == Code.NO_SUCH_FILE
    world.grant("editor", "Rum", Role.EDITOR)
    for handle in (stood, new):
        assert code_of(lambda handle=handle: client.close(handle)) == Code.NO_SUCH_FILE
    assert connect("bo").get("/Rum/a.bin") == BIG
    assert "new.bin" not in connect("bo").names("/Rum")


def test_who_is_let_into_nothing_any_more_writes_no_more(world: World, connect: Connect) -> None:
    """Nor reads what stood there through a handle for both."""
    store(world.drive("bo"), "/Rum/a.bin", BIG)
    clock = Hands()
    client = connect("editor", clock=clock)
    both, new = client.open("/Rum/a.bin", READ | WRITE), client.open("/Rum/new.bin", NEW)
    client.write(both, 0, b"x")
    client.write(new, 0, b"x")
    _take_away(world, "editor")
    clock.at = 1.5
    for handle in (both, new):
        assert code_of(lambda handle=handle: client.write(handle, 1, b"y")) == Code.NO_SUCH_FILE  # type: ignore[misc]
        assert code_of(lambda handle=handle: client.close(handle)) != Code.OK  # type: ignore[misc]
    assert code_of(lambda: client.read(both, 100, 100)) != Code.OK
    assert fetch(world.drive("bo"), "/Rum/a.bin") == BIG
    assert "new.bin" not in connect("bo").names("/Rum")


def test_what_was_granted_for_a_time_was_read_and_listed_on_after_it(world: World, connect: Connect) -> None:
    names = _long_folder(world)
    store(world.drive("bo"), "/Rum/a.bin", BIG)
    with telling_time() as time_told:
        world.person("tina", "Kund AB")
        world.grant("tina", "Rum", Role.VIEWER, expires_at=now_us() + 60_000_000)
        clock = Hands()
        client = connect("tina", clock=clock, limits=Limits(reply_bytes_max=2000))
        handle = client.open("/Rum/a.bin")
        folder = take(client.path_request(Type.OPENDIR, "/Rum/Avtal"), 0)[0]
        assert client.read(handle, 0, 100) == BIG[:100]
        assert len(_listed(client.done(Type.READDIR, string(folder)))) < len(names)
        time_told.wait(61)
        clock.at = 61.0
        assert code_of(lambda: client.read(handle, 2_000_000, 100)) == Code.NO_SUCH_FILE
        assert code_of(lambda: client.done(Type.READDIR, string(folder))) == Code.NO_SUCH_FILE


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_reader_was_cut_off_since_somebody_had_moved_what_it_read(
    world: World, connect: Connect, is_folder: bool
) -> None:
    """Nobody took anything from it: rights changed for others alone. Once they do for it, it reads no more."""
    keeper = world.drive("bo")
    store(keeper, "/Rum/Avtal/a.bin", BIG)
    clock = Hands()
    client = connect("viewer", clock=clock)
    handle = client.open("/Rum/Avtal/a.bin")
    if is_folder:
        keeper.move(parse("/Rum/Avtal"), parse("/Rum/Gammalt"), overwrite=False)
    else:
        keeper.move(parse("/Rum/Avtal/a.bin"), parse("/Rum/b.bin"), overwrite=False)
    _take_away(world, "contributor")
    clock.at = 1.5
    assert client.read(handle, 0, 1_000) == BIG[:1_000]
    assert client.read(handle, 2_900_000, 1_000) == BIG[2_900_000:2_901_000]
    _take_away(world, "viewer")
    clock.at = 3.0
    assert code_of(lambda: client.read(handle, 0, 100)) == Code.NO_SUCH_FILE


def test_a_reader_is_cut_off_where_what_it_read_was_moved_out_of_its_sight(world: World, connect: Connect) -> None:
    keeper = world.drive("bo")
    store(keeper, "/Rum/a.bin", BIG)
    world.grant("bo", "Rum", Role.MANAGER, "/Avtal")
    keeper.break_inheritance(parse("/Rum/Avtal"))
    clock = Hands()
    client = connect("viewer", clock=clock)
    handle = client.open("/Rum/a.bin")
    keeper.move(parse("/Rum/a.bin"), parse("/Rum/Avtal/a.bin"), overwrite=False)
    store(world.drive("anna"), "/Rum/a.bin", b"another")
    _take_away(world, "contributor")
    clock.at = 1.5
    assert code_of(lambda: client.read(handle, 0, 100)) == Code.NO_SUCH_FILE


def _listed(answer: bytes) -> list[str]:
    """Return the names that an answer to READDIR tells."""
    (count,), at, found = U32.unpack_from(answer), 4, []
    for _ in range(count):
        name, at = take(answer, at)
        _, at = take(answer, at)
        at += 32
        found.append(name.decode())
    return found


def _long_folder(world: World) -> list[str]:
    names = [f"document {number:03}.txt" for number in range(60)]
    for name in names:
        store(world.drive("bo"), f"/Rum/Avtal/{name}", b"")
    return names


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_folder_went_on_listing_names_to_who_might_see_them_no_more(
    world: World, connect: Connect, is_moved: bool
) -> None:
    _long_folder(world)
    clock = Hands()
    client = connect("viewer", clock=clock, limits=Limits(reply_bytes_max=2000))
    handle = take(client.path_request(Type.OPENDIR, "/Rum/Avtal"), 0)[0]
    assert client.ask(Type.READDIR, string(handle))[0] == Type.NAME
    if is_moved:
        world.drive("bo").move(parse("/Rum/Avtal"), parse("/Rum/Gammalt"), overwrite=False)
    _take_away(world, "viewer")
    clock.at = 1.5
    for _ in range(2):
        assert code_of(lambda: client.done(Type.READDIR, string(handle))) == Code.NO_SUCH_FILE
    client.close(handle)


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_folder_goes_on_being_listed_where_rights_have_changed_for_others(
    world: World, connect: Connect, is_moved: bool
) -> None:
    names = _long_folder(world)
    clock = Hands()
    client = connect("viewer", clock=clock, limits=Limits(reply_bytes_max=2000))
    handle = take(client.path_request(Type.OPENDIR, "/Rum/Avtal"), 0)[0]
    found = _listed(client.done(Type.READDIR, string(handle)))
    if is_moved:
        world.drive("bo").move(parse("/Rum/Avtal"), parse("/Rum/Gammalt"), overwrite=False)
    _take_away(world, "contributor")
    clock.at = 1.5
    while (answer := client.ask(Type.READDIR, string(handle)))[0] == Type.NAME:
        found += _listed(answer[1])
    assert found == [".", "..", *names]


def test_a_folder_went_on_telling_of_documents_in_it_that_are_not_seen_any_more(world: World, connect: Connect) -> None:
    names = _long_folder(world)
    for name in names:
        world.grant("bo", "Rum", Role.MANAGER, f"/Avtal/{name}")
    clock = Hands()
    client = connect("viewer", clock=clock, limits=Limits(reply_bytes_max=2000))
    handle = take(client.path_request(Type.OPENDIR, "/Rum/Avtal"), 0)[0]
    found = _listed(client.done(Type.READDIR, string(handle)))
    assert names[40] not in found
    world.drive("bo").break_inheritance(parse(f"/Rum/Avtal/{names[40]}"))
    clock.at = 1.5
    while (answer := client.ask(Type.READDIR, string(handle)))[0] == Type.NAME:
        found += _listed(answer[1])
    assert found == [".", "..", *names[:40], *names[41:]]


def _take_away(world: World, login: str) -> None:
    """Take from somebody what they were let into."""
    keeper = world.drive("bo")
    (grant,) = (g for g in keeper.grants(parse("/Rum")) if g.grantee == world.people[login].id)
    keeper.revoke(parse("/Rum"), grant.id)


def test_still_valid_raises_for_who_is_gone(world: World) -> None:
    drive = world.drive("anna")
    revoked(world, "anna")
    with pytest.raises(Revoked):
        drive.still_valid()


# --- reading


@pytest.mark.parametrize(("is_quick", "hops"), [(True, 4), (False, 7)])
def test_reads_are_slices_of_blocks_fetched_ahead(world: World, connect: Connect, is_quick: bool, hops: int) -> None:
    """One hop for a block, never one for each request; none for what is in memory, unless others must come first."""
    # Of unknown length it is cut into few chunks: one leaf. Where a leaf begins is a hop, and where that is, chance.
    store(world.drive("bo"), "/Rum/a.bin", BIG, declared=None)
    client = connect()
    client.door.is_quick = is_quick
    before = client.door.hops
    handle = client.open("/Rum/a.bin")
    found = bytearray()
    while piece := client.read(handle, len(found), 32768):
        found += piece
    assert found == BIG
    assert client.door.hops - before <= hops  # the opening, one look at rights, and the first blocks or all
    assert client.read(handle, len(BIG), 10) == b""
    assert client.read(handle, 1 << 60, 10) == b""
    assert world.kinds("Rum").count("read") == 1


@pytest.mark.parametrize("is_quick", [True, False])
def test_a_block_is_fetched_ahead_only_if_it_may_be_waited_for(world: World, connect: Connect, is_quick: bool) -> None:
    content = CHANCE.randbytes(6 << 20)
    store(world.drive("bo"), "/Rum/a.bin", content, declared=None)  # one leaf: where another begins is a hop, by chance
    client = connect()
    client.door.is_quick = is_quick
    handle = client.open("/Rum/a.bin")
    for at in range(0, 3 << 20, 32768):
        client.read(handle, at, 32768)
    (document,) = client.engine.documents._open.values()
    assert document.blocks is not None
    newest = document.blocks._blocks[-1]
    assert (newest.start < 3 << 20) is is_quick
    rest = bytearray()
    while piece := client.read(handle, (3 << 20) + len(rest), 32768):
        rest += piece
    assert rest == content[3 << 20 :]


@pytest.mark.parametrize("is_quick", [True, False])
def test_many_reads_at_once_in_any_order(world: World, connect: Connect, is_quick: bool) -> None:
    store(world.drive("bo"), "/Rum/a.bin", BIG)
    client = connect()
    client.door.is_quick = is_quick
    handle = client.open("/Rum/a.bin")
    places = [(at, 20_000) for at in range(0, len(BIG), 20_000)]
    random.Random(3).shuffle(places)
    asked = {client.send(Type.READ, string(handle) + struct.pack(">QI", at, length)): at for at, length in places}
    client.collect()
    for request, at in asked.items():
        assert take(client.answers.pop(request)[1], 0)[0] == BIG[at : at + 20_000]


def test_long_reads_are_answered_short(world: World, connect: Connect) -> None:
    store(world.drive("bo"), "/Rum/a.bin", BIG)
    client = connect()
    handle = client.open("/Rum/a.bin")
    assert client.read(handle, 5, 0xFFFFFFFF) == BIG[5 : 5 + 255 * 1024]


def test_a_reader_keeps_the_version_it_opened(world: World, connect: Connect) -> None:
    store(world.drive("bo"), "/Rum/a.bin", BIG)
    client = connect()
    handle = client.open("/Rum/a.bin")
    assert client.read(handle, 0, 10) == BIG[:10]
    store(world.drive("bo"), "/Rum/a.bin", b"other")
    assert client.read(handle, 2_500_000, 10) == BIG[2_500_000:2_500_010]


def test_a_damaged_document_is_an_error_and_not_other_bytes(world: World, connect: Connect) -> None:
    content = random.Random(7).randbytes(5_000_000)
    store(world.drive("bo"), "/Rum/a.bin", content)
    (pack,) = (world.installation.folder / "vault").rglob("*.pack")
    with pack.open("r+b") as file:
        file.seek(3_000_000)
        file.write(bytes(100_000))
    client = connect()
    handle = client.open("/Rum/a.bin")
    client.door.is_quick = False
    assert client.read(handle, 1_000_000, 10) == content[1_000_000:1_000_010]
    with pytest.raises(Refused) as told:
        client.read(handle, 3_050_000, 10)
    assert told.value.code == Code.FAILURE
    assert "What is stored is damaged." in told.value.message
    assert "pack" not in told.value.message, "clients are told nothing of the inside"
    assert not client.door.has_ended


# --- what one client may cost


def test_a_client_that_reads_no_answers_costs_little(world: World, connect: Connect) -> None:
    """Fault B: 400 unread reads took 1.6 GB of asyncssh."""
    store(world.drive("bo"), "/Rum/a.bin", BIG)
    client = connect()
    handle = client.open("/Rum/a.bin")
    client.door.room = 0
    asked = [
        client.send(Type.READ, string(handle) + struct.pack(">QI", at % len(BIG), 255 * 1024))
        for at in range(0, 400 * 262_144, 262_144)
    ]
    client.door.run()
    assert client.door.held < (1 << 20) + 300_000
    for _ in range(400):
        client.sort()
        client.engine.drained()
        client.door.run()
    client.sort()
    assert all(request in client.answers for request in asked)


@pytest.mark.parametrize("kind", ["writes", "stats"])
def test_a_client_that_asks_faster_than_it_is_answered_is_made_to_wait(connect: Connect, kind: str) -> None:
    client = connect(limits=Limits(queued_bytes_max=1 << 20 if kind == "writes" else 500))
    handle = client.open("/Rum/a.bin", NEW)
    if kind == "writes":
        writes(client, handle, pieces_of(BIG))
    else:
        for _ in range(60):
            client.send(Type.STAT, string(b"/Rum"))
    assert client.door.is_paused
    client.collect()
    assert not client.door.is_paused
    assert client.door.pauses == 1


def test_no_more_is_open_at_once_than_may_be(connect: Connect) -> None:
    client = connect(limits=Limits(handles_max=3, drafts_max=2))
    first = client.open("/Rum/1", NEW)
    client.open("/Rum/2", NEW)
    with pytest.raises(Refused, match="Too much is open"):
        client.open("/Rum/3", NEW)
    client.path_request(Type.OPENDIR, "/Rum")
    with pytest.raises(Refused, match="Too much is open"):
        client.path_request(Type.OPENDIR, "/Rum")
    client.close(first)
    client.open("/Rum/1")


def test_a_packet_too_long_ends_the_channel(connect: Connect) -> None:
    client = connect()
    client.engine.receive(U32.pack(300_000))
    assert client.door.has_ended and f"longer than {257 << 10} bytes" in client.door.says
    client.engine.receive(b"more")


def test_packets_may_come_byte_by_byte(connect: Connect) -> None:
    client = connect()
    body = bytes((Type.STAT,)) + U32.pack(999) + string(b"/Rum")
    for byte in U32.pack(len(body)) + body:
        client.engine.receive(bytes((byte,)))
    client.collect()
    assert client.answers.pop(999)[0] == Type.ATTRS


def test_blocks_at_hand_are_bounded_over_all_documents(world: World, connect: Connect) -> None:
    drive = world.drive("bo")
    for number in range(12):
        store(drive, f"/Rum/{number}.bin", BIG[number : number + 1_000_000])
    client = connect(limits=Limits(cached_bytes_max=1 << 20))
    handles = [client.open(f"/Rum/{number}.bin") for number in range(12)]
    for number, handle in enumerate(handles):
        assert client.read(handle, 500_000, 100) == BIG[number + 500_000 : number + 500_100]
    held = sum(document.blocks.held_bytes for document in client.engine.documents.below(parse("/")))
    assert held < 3 << 20
    for number, handle in enumerate(handles):
        assert client.read(handle, 0, 100) == BIG[number : number + 100]


# --- exclusively


@pytest.mark.parametrize("seed", range(6))
def test_of_several_who_create_one_name_exclusively_one_wins(world: World, connect: Connect, seed: int) -> None:
    """Each begins while nothing stands; they close at once, and one over WebDAV comes between. None is overwritten."""
    logins = ("anna", "bo", "contributor", "editor")
    contents = {login: f"of {login} {seed}".encode() * 1000 for login in (*logins, "dav")}
    clients = {login: connect(login) for login in logins}
    handles = {login: clients[login].open("/Rum/one.bin", WRITE | CREAT | EXCL) for login in logins}
    for login in logins:
        clients[login].write(handles[login], 0, contents[login])
    barrier, won = threading.Barrier(len(logins) + 1), list[str]()

    def closes(login: str) -> None:
        barrier.wait()
        if code_of(lambda: clients[login].close(handles[login])) == Code.OK:
            won.append(login)

    def puts() -> None:
        barrier.wait()
        try:
            store(world.drive("bo"), "/Rum/one.bin", contents["dav"], conditions=Conditions(if_none_match=("*",)))
        except (TargetExists, PreconditionFailed):
            return
        won.append("dav")

    threads = [threading.Thread(target=closes, args=(login,)) for login in logins] + [threading.Thread(target=puts)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(won) == 1
    assert fetch(world.drive("anna"), "/Rum/one.bin") == contents[won[0]]
    assert versions(world, "/Rum/one.bin") == 1
    # Who lost finds the draft again once the name is free, and nobody else does.
    world.drive("anna").delete(parse("/Rum/one.bin"))
    for login in logins:
        kept = [item.size for item in world.drive(login).drafts(parse("/Rum"))]
        assert kept == ([] if login in won else [len(contents[login])])
