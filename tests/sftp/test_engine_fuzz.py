"""Whatever a client sends: no exception comes out, memory stays bounded, and every request is answered once, or the
channel ends.
"""

from __future__ import annotations

import itertools
import random
import struct
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.sftp.engine import Limits
from server.sftp.engine.extensions import HANDLERS
from server.sftp.engine.wire import Type, string
from tests.seeds import seeded
from tests.sftp.client import U32, Client
from tests.worlds import World

Connect = Callable[..., Client]
SMALL = Limits(queued_bytes_max=1 << 18, handles_max=8, drafts_max=4)
PATHS = [
    b"/", b"", b".", b"/Rum", b"/Rum/a", b"/Rum/b", b"/Rum/d", b"/Rum/d/a", b"/Rum/Avtal", b"/Annat", b"/Rum/.history",
    b"/Rum/.history/2026-01-01/a", b"/Rum/../..", b"/Rum/a/b", b"/Rum/\xff", b"/Rum/n\0", b"/~x", b"/Archive",
    b"/Rum/" + b"x" * 300,
]  # fmt: skip
NUMBERS = [0, 1, 2, 3, 26, 32, 255, 4096, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
WIDE = [*NUMBERS, 1 << 27, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


class Fuzzer:
    """Makes requests that make some sense, and spoils some of them."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def path(self) -> bytes:
        return string(self.chance.choice(PATHS))

    def handle(self) -> bytes:
        return string(U32.pack(self.chance.randrange(12)) if self.chance.random() < 0.9 else self.chance.randbytes(5))

    def u32(self) -> bytes:
        return U32.pack(self.chance.choice(NUMBERS))

    def u64(self) -> bytes:
        chance = self.chance
        return struct.pack(">Q", chance.choice(WIDE) if chance.random() < 0.3 else chance.randrange(200_000))

    def attributes(self) -> bytes:
        flags = self.chance.choice((0, 0, 1, 2, 4, 8, 15, 0x80000000, 0xFFFFFFFF))
        body = U32.pack(flags)
        if flags & 1:
            body += self.u64()
        return body + self.chance.randbytes(self.chance.choice((0, 8, 16, 24)))

    def body(self, kind: int) -> bytes:
        chance = self.chance
        made: dict[int, Callable[[], bytes]] = {
            Type.OPEN: lambda: self.path() + U32.pack(chance.randrange(64)) + self.attributes(),
            Type.CLOSE: self.handle,
            Type.READ: lambda: self.handle() + self.u64() + self.u32(),
            Type.WRITE: lambda: self.handle() + self.u64() + string(chance.randbytes(chance.choice((0, 1, 9000)))),
            Type.FSTAT: self.handle,
            Type.SETSTAT: lambda: self.path() + self.attributes(),
            Type.FSETSTAT: lambda: self.handle() + self.attributes(),
            Type.READDIR: self.handle,
            Type.MKDIR: lambda: self.path() + self.attributes(),
            Type.RENAME: lambda: self.path() + self.path(),
            Type.SYMLINK: lambda: self.path() + self.path(),
            Type.EXTENDED: self.extension,
        }
        return made.get(kind, self.path)()

    def extension(self) -> bytes:
        name = self.chance.choice([*HANDLERS, b"unknown", b""])
        fields = [self.chance.choice((self.path, self.handle, self.u64, self.attributes))() for _ in range(4)]
        if name == b"copy-data":
            fields = [self.handle(), self.u64(), self.u64(), self.handle(), self.u64()]
        return string(name) + b"".join(fields)

    def packet(self, request: int) -> bytes:
        chance = self.chance
        kinds = [kind for kind in Type if Type.VERSION < kind <= Type.SYMLINK or kind == Type.EXTENDED]
        kind = chance.choice(kinds) if chance.random() < 0.97 else chance.randrange(3, 256)
        body = self.body(kind)
        spoil = chance.random()
        if spoil < 0.05:
            body = body[: chance.randrange(len(body) + 1)]
        elif spoil < 0.1 and body:
            at = chance.randrange(len(body))
            body = body[:at] + chance.randbytes(1) + body[at + 1 :]
        elif spoil < 0.15:
            body += chance.randbytes(9)
        return bytes((kind,)) + U32.pack(request) + body


@pytest.mark.parametrize("seed", seeded(range(6)))
@pytest.mark.parametrize("login", ["anna", "uploader", "viewer"])
def test_spoiled_requests_are_each_answered_once(
    world: World, connect: Connect, login: str, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    clock = itertools.count(0.0, 0.3 if seed % 3 else 0.0).__next__
    client, fuzzer = connect(login, limits=SMALL, clock=clock), Fuzzer(seed)
    client.door.is_quick = seed % 2 == 0
    sent = list(range(1, 201))
    for request in sent:
        client.send_raw(fuzzer.packet(request))
        if fuzzer.chance.random() < 0.2:
            client.collect()
    client.collect()
    assert sorted(client.answers) == sent
    assert not client.door.is_paused
    unexpected = [record for record in caplog.records if "request_failed" in record.getMessage()]
    assert unexpected == []
    client.lose()
    assert client.engine.is_idle
    assert list(world.installation.verify()) == []


@pytest.mark.parametrize("seed", seeded(range(4)))
def test_a_connection_lost_at_any_moment_leaves_nothing_under_way(connect: Connect, seed: int) -> None:
    fuzzer = Fuzzer(1000 + seed)
    for _ in range(12):
        seconds = fuzzer.chance.choice((0.0, 0.4))
        client = connect(limits=SMALL, clock=itertools.count(0.0, seconds).__next__)
        for request in range(1, fuzzer.chance.randrange(2, 40)):
            client.send_raw(fuzzer.packet(request))
            if client.door.jobs and fuzzer.chance.random() < 0.6:
                client.door.run_one()
        client.lose()
        assert not client.engine.documents.any_open
        client.engine.receive(fuzzer.packet(1))
        client.engine.drained()
        client.engine.ended()
        assert not client.door.jobs


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400), cuts=st.lists(st.integers(1, 60), max_size=12))
def test_random_bytes_end_the_channel_or_are_answered(connect: Connect, data: bytes, cuts: list[int]) -> None:
    client = connect()
    at = 0
    for cut in [*cuts, len(data)]:
        client.engine.receive(data[at : at + cut])
        at += cut
    client.door.run()
    client.door.taken()
    client.lose()


def test_memory_stays_bounded_whatever_is_sent_and_never_taken(world: World, connect: Connect) -> None:
    """A client may send as fast as its window lets it, and take nothing; it is told to stop, and stops."""
    client, fuzzer = connect(), Fuzzer(77)
    client.door.room = 0
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    sent = 0
    handle = client.send(Type.OPEN, string(b"/Rum/a") + U32.pack(27) + bytes(4))
    client.door.run()
    for number in range(2_000):
        if client.door.is_paused:
            break
        kind = (Type.READ, Type.WRITE, Type.STAT)[number % 3]
        packet = bytes((kind,)) + U32.pack(number + 10)
        if kind == Type.STAT:
            packet += string(b"/Rum")
        else:
            packet += string(U32.pack(handle)) + struct.pack(">Q", number * 100)
            packet += U32.pack(261_120) if kind == Type.READ else string(fuzzer.chance.randbytes(30_000))
        client.send_raw(packet)
        sent += len(packet)
        client.door.run()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert client.door.is_paused
    assert sent > 4 << 20
    assert grown < 16 << 20


def test_a_packet_in_crumbs_costs_no_more_than_its_bytes(connect: Connect) -> None:
    client = connect()
    tracemalloc.start()
    client.engine.receive(U32.pack(200_000))
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(199_000):
        client.engine.receive(b"x")
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 2 << 20
