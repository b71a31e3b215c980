"""What little packets may cost others: threads, drafts, memory. What becomes of them where rights cannot be told."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from auth.errors import Revoked
from config.errors import DatabaseBusy, StorageFull
from providers.drive import Drive, edits
from providers.drive.edits import Edit
from providers.paths import parse
from server.sftp.crowd import DRAFTS_MAX, DRAFTS_OF_PERSON_MAX, Drafts
from server.sftp.engine import Limits, extensions
from server.sftp.engine.wire import CREAT, READ, TRUNC, WRITE, Type, string
from tests.sftp.client import U32, Client, Refused, sized
from tests.worlds import World, fetch, store

Connect = Callable[..., Client]
NEW = WRITE | CREAT | TRUNC
U64 = struct.Struct(">Q")


def copying(source: bytes, start: int, goal: bytes, at: int) -> bytes:
    """Return what asks to copy all from `start` on."""
    return string(source) + U64.pack(start) + U64.pack(0) + string(goal) + U64.pack(at)


# --- zeros that nobody wrote


def test_a_terabyte_of_zeros_is_refused_at_once(world: World, connect: Connect) -> None:
    client = connect()
    handle = client.open("/Rum/a.bin", NEW)
    client.write(handle, 0, b"begun")
    client.fsetstat(handle, sized(1 << 40))
    began = time.monotonic()
    with pytest.raises(Refused, match="never written"):
        client.close(handle)
    assert time.monotonic() - began < 5
    assert "a.bin" not in connect("bo").names("/Rum")


def test_who_makes_room_first_and_fills_it_is_not_refused(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "ZEROS_BYTES_MAX", 100_000)
    client, content = connect(), bytes(range(256)) * 4_000
    handle = client.open("/Rum/a.bin", NEW)
    client.fsetstat(handle, sized(len(content)))
    for at in range(0, len(content), 32_000):
        client.write(handle, at, content[at : at + 32_000])
    client.close(handle)
    assert fetch(world.drive("bo"), "/Rum/a.bin") == content
    handle = client.open("/Rum/a.bin", WRITE)
    client.fsetstat(handle, sized(len(content) + 90_000))
    client.close(handle)
    assert fetch(world.drive("bo"), "/Rum/a.bin") == content + bytes(90_000)
    handle = client.open("/Rum/a.bin", WRITE)
    client.write(handle, len(content) + 300_000, b"x")
    with pytest.raises(Refused, match="never written"):
        client.close(handle)


def test_what_takes_long_leaves_threads_to_what_does_not(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.sftp.engine.files.AT_ONCE_BYTES_MAX", 100_000)
    client = connect()
    for size, is_long in ((90_000, False), (200_000, True)):
        before = client.door.long_hops
        client.put("/Rum/a.bin", bytes(size), NEW)
        assert client.door.long_hops - before == is_long


# --- copying


@pytest.mark.parametrize("from_draft", [False, True])
def test_a_copy_is_done_in_parts_so_that_others_have_their_turns(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch, from_draft: bool
) -> None:
    for module in (edits, extensions):
        monkeypatch.setattr(module, "COPY_BYTES_MAX", 100_000)
    content = bytes(range(251)) * 4_000
    store(world.drive("bo"), "/Rum/a.bin", content)
    client = connect()
    source = client.open("/Rum/a.bin", READ | WRITE if from_draft else READ)
    if from_draft:
        client.write(source, 0, content[:10])
    goal = client.open("/Rum/b.bin", NEW)
    hops = client.door.hops
    client.extended("copy-data", copying(source, 1, goal, 3))
    assert client.door.hops - hops >= len(content) // 100_000
    client.close(goal)
    assert fetch(world.drive("bo"), "/Rum/b.bin") == bytes(3) + content[1:]


def _about_to_copy(world: World, connect: Connect) -> tuple[Client, bytes, bytes]:
    """Return a client, and its handles of a document of 500,000 bytes and of a new one."""
    store(world.drive("bo"), "/Rum/a.bin", bytes(500_000))
    client = connect()
    return client, client.open("/Rum/a.bin"), client.open("/Rum/b.bin", NEW)


def test_who_is_gone_has_nothing_copied_any_more(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "COPY_BYTES_MAX", 1_000)
    client, source, goal = _about_to_copy(world, connect)
    client.send(Type.EXTENDED, string(b"copy-data") + copying(source, 1, goal, 0))
    for _ in range(3):
        client.door.run_one()
    client.engine.lost()
    hops = client.door.hops
    client.door.run()
    assert client.door.hops - hops <= 3
    assert client.engine.is_idle


def test_of_a_copy_that_fails_half_way_no_version_is_made(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "COPY_BYTES_MAX", 100_000)
    client, source, goal = _about_to_copy(world, connect)
    copy_from, parts = Edit.copy_from, []

    def full(edit: Edit, *given: Any) -> int:
        parts.append(given)
        if len(parts) == 2:
            raise StorageFull
        return copy_from(edit, *given)

    monkeypatch.setattr(Edit, "copy_from", full)
    with pytest.raises(Refused, match="no room left"):
        client.extended("copy-data", copying(source, 1, goal, 0))
    with pytest.raises(Refused, match="no room left"):
        client.close(goal)
    monkeypatch.undo()
    assert world.drive("bo").listing(parse("/Rum"))[1][-1].name != "b.bin"


# --- drafts and packets


def test_openings_that_come_to_write_later_count_as_drafts_too(world: World, connect: Connect) -> None:
    client = connect(limits=Limits(drafts_max=3))
    for number in range(3):
        client.open(f"/Rum/{number}", READ | CREAT)
    with pytest.raises(Refused, match="Too much is open"):
        client.open("/Rum/3", READ | CREAT)
    client.open("/Rum/0", READ)


@pytest.mark.parametrize("how", ["write", "truncate", "copy"])
def test_no_draft_is_begun_again_beyond_as_many_as_may_be(world: World, connect: Connect, how: str) -> None:
    client = connect(limits=Limits(drafts_max=2))
    store(world.drive("bo"), "/Rum/a.bin", b"abc")
    again = []
    for number in range(3):  # each is open twice; the first to close makes the version
        first, second = (client.open(f"/Rum/{number}", NEW & ~TRUNC | READ) for _ in range(2))
        client.write(first, 0, b"x")
        client.close(first)
        again.append(second)
    for second in again[:2]:
        client.write(second, 0, b"y")
    with pytest.raises(Refused, match="Too much is open"):
        if how == "write":
            client.write(again[2], 0, b"y")
        elif how == "truncate":
            client.fsetstat(again[2], sized(0))
        else:
            client.extended("copy-data", copying(client.open("/Rum/a.bin"), 0, again[2], 0))
    client.close(again[0])
    client.write(again[2], 0, b"y")


def _open_twice(client: Client, number: int) -> bytes:
    """Open a document twice, and close the one that wrote; return the other handle."""
    first, second = (client.open(f"/Rum/{number}", NEW & ~TRUNC | READ) for _ in range(2))
    client.write(first, 0, b"x")
    client.close(first)
    return second


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_what_loses_its_name_while_it_is_open_was_one_draft_more(connect: Connect, how: str) -> None:
    client = connect(limits=Limits(drafts_max=2))
    for number in range(3):
        _open_twice(client, number)
    client.put("/Rum/new", b"new")

    def takes_name(number: int) -> None:
        if how == "removed":
            client.path_request(Type.REMOVE, f"/Rum/{number}")
        else:
            client.put("/Rum/new", b"new") if "new" not in client.names("/Rum") else None
            client.extended("posix-rename@openssh.com", string(b"/Rum/new") + string(f"/Rum/{number}".encode()))

    takes_name(0)
    one = client.open("/Rum/one", NEW)
    with pytest.raises(Refused, match="Too much is open"):
        takes_name(1)
    client.close(one)
    takes_name(1)


def test_documents_open_for_writing_were_counted_by_channel_alone(world: World, connect: Connect) -> None:
    store(world.drive("bo"), "/Rum/read.bin", b"abc")
    client = connect()
    client.door.drafts_max = 2
    first, second = client.open("/Rum/0", NEW), client.open("/Rum/1", NEW)
    client.open("/Rum/read.bin")
    client.open("/Rum/0", READ | WRITE)  # shares the draft that there is
    for refused in ("/Rum/2", "/Rum/nowhere/2"):
        with pytest.raises(Refused, match="Too much is open"):
            client.open(refused, NEW)
    client.write(first, 0, b"x")
    client.close(first)
    assert client.door.drafts == 1
    with pytest.raises(Refused, match="does not exist"):
        client.open("/Rum/nowhere/2", NEW)
    client.open("/Rum/2", NEW)
    assert client.door.drafts == 2
    client.write(second, 0, b"kept")
    client.engine.lost()
    assert client.door.drafts == 2, "given back while it still stands in memory"
    client.door.run()
    assert client.door.drafts == 0
    assert connect().get("/Rum/1") == b"kept"


def test_one_person_leaves_room_for_what_others_write() -> None:
    drafts = Drafts()
    mine = [drafts.take(b"me") for _ in range(DRAFTS_OF_PERSON_MAX + 1)]
    assert mine.count(True) == DRAFTS_OF_PERSON_MAX and not mine[-1]
    others = [drafts.take(bytes([number % 100])) for number in range(DRAFTS_MAX)]
    assert others.count(True) == DRAFTS_MAX - DRAFTS_OF_PERSON_MAX
    drafts.give_back(b"me", 2)
    assert drafts.take(b"somebody") and drafts.take(b"me") and not drafts.take(b"me")


def test_packets_that_wait_cost_no_more_than_their_bytes(connect: Connect) -> None:
    client = connect()
    client.door.is_quick = False
    client.send(Type.STAT, string(b"/Rum"))  # what follows waits for it
    crowd = (U32.pack(5) + bytes((Type.STAT,)) + U32.pack(7)) * ((2 << 20) // 9)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    client.engine.receive(crowd)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 1 << 20


def test_each_write_of_a_hop_was_answered_by_itself(connect: Connect) -> None:
    """Each such answer was a packet of its own on the stock connection, with another that is empty before it."""
    client, sent = connect(), []
    handle = client.open("/Rum/a.bin", NEW)
    packets = []
    for number in range(20):
        body = string(handle) + struct.pack(">Q", number * 32768) + string(bytes([number]) * 32768)
        packet = bytes((Type.WRITE,)) + U32.pack(1000 + number) + body
        packets.append(U32.pack(len(packet)) + packet)
    take = client.door.send
    client.door.send = lambda parts: (sent.append(parts), take(parts))  # type: ignore[method-assign,assignment]
    client.engine.receive(*packets)
    client.collect()
    assert len(client.answers) == 20
    assert len(sent) == 3, "two that were but copied within memory, then all that one hop wrote"
    client.close(handle)


# --- where it cannot be told whether rights still stand


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def _failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def still_valid(_: Drive) -> None:
        raise error

    monkeypatch.setattr(Drive, "still_valid", still_valid)


def test_a_request_is_answered_once_where_it_cannot_be_told(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(world.drive("bo"), "/Rum/a.bin", b"abcdef")
    clock = Hands()
    client = connect(clock=clock)
    handle = client.open("/Rum/a.bin")
    assert client.read(handle, 0, 3) == b"abc"
    clock.at = 10.0
    with monkeypatch.context() as patched:
        _failing(patched, DatabaseBusy())
        asked = [client.send(Type.READ, string(handle) + U64.pack(at) + U32.pack(1)) for at in range(5)]
        client.door.run()
        client.sort()
        assert [client.answers.pop(request)[0] for request in asked] == [Type.STATUS] * 5
    assert client.read(handle, 3, 3) == b"def"
    assert client.answers == {}


@pytest.mark.parametrize("is_revoked", [False, True])
@pytest.mark.parametrize("how", ["lost", "too long"])
def test_who_goes_while_it_is_asked_leaves_nothing_open(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch, is_revoked: bool, how: str
) -> None:
    clock = Hands()
    client = connect(clock=clock)
    handle = client.open("/Rum/new.bin", NEW)
    client.write(handle, 0, bytes(200_000))
    clock.at = 10.0
    _failing(monkeypatch, Revoked() if is_revoked else DatabaseBusy())
    client.send(Type.READ, string(handle) + U64.pack(0) + U32.pack(1))
    if how == "lost":
        client.engine.lost()
    else:
        client.engine.receive(U32.pack(1 << 30))
    client.door.run()
    client.engine.lost()
    client.door.run()
    assert client.engine.is_idle
    assert not client.engine.documents.any_open
    monkeypatch.undo()
    kept = [item.name for item in world.drive("anna").drafts(parse("/Rum"))]
    assert kept == ([] if is_revoked else ["new.bin"])
