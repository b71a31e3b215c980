"""A client that asks for much at once and takes it as it likes, with windows of any size; every answer is checked."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

import asyncssh

from tests.sftp.client import NO_ATTRIBUTES
from tests.ssh.doors import Door

INIT, OPEN, READ, STATUS, HANDLE, DATA = 1, 3, 5, 101, 102, 103
#: A server that says nothing for so long, though it owes answers, has forgotten somebody.
SILENCE_SECONDS = 20.0
_READ = struct.Struct(">BII4sQI")


class Manner(NamedTuple):
    """How one client behaves."""

    window: int
    packet_bytes: int
    cipher: str
    at_once: int
    read_bytes: int
    pause_chance: float
    #: How often the server is stopped for a moment, so that it finds much to take in one go.
    stop_chance: float

    @classmethod
    def of(cls, seed: int) -> Manner:
        """Return one of many."""
        chance = random.Random(seed)
        return cls(
            window=chance.choice((40_000, 256 << 10, 1 << 20, 2 << 20, 8 << 20)),
            packet_bytes=chance.choice((4096, 32 << 10, 32 << 10, 64 << 10)),
            cipher=chance.choice(("aes128-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr")),
            at_once=chance.choice((1, 8, 64, 64, 300)),
            read_bytes=chance.choice((32 << 10, 32 << 10, 100_000, 255 << 10)),
            pause_chance=chance.choice((0.0, 0.02, 0.2)),
            stop_chance=chance.choice((0.0, 0.02, 0.1)),
        )


@dataclass
class _Takes(asyncssh.SSHClientSession[bytes]):
    """Takes what comes, and wakes whoever waits for it."""

    data: bytearray
    came: asyncio.Event
    is_lost: bool = False

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.data += data
        self.came.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self.came.set()


class _Asks:
    def __init__(self, chan: Any, takes: _Takes) -> None:
        self.chan, self._takes = chan, takes

    def send(self, packet: bytes) -> None:
        self.chan.write(len(packet).to_bytes(4, "big") + packet)

    async def packet(self) -> bytes:
        held = self._takes.data
        while len(held) < 4 or len(held) < 4 + int.from_bytes(held[:4], "big"):
            assert not self._takes.is_lost, "the server hung up"
            self._takes.came.clear()
            await asyncio.wait_for(self._takes.came.wait(), SILENCE_SECONDS)
        length = int.from_bytes(held[:4], "big")
        found = bytes(held[4 : 4 + length])
        del held[: 4 + length]
        return found


async def read_all(door: Door, path: str, content: bytes, seed: int) -> None:
    """Read a document of this content from its beginning to its end, as the seed has it. Fails at the first wrong byte,
    and when an answer does not come.
    """
    manner, chance = Manner.of(seed), random.Random(seed)
    options: dict[str, Any] = {"password": door.password("anna"), "encryption_algs": [manner.cipher]}
    async with door.connect("anna", **options) as connection:
        takes = _Takes(bytearray(), asyncio.Event())
        chan, _ = await connection.create_session(
            lambda: takes, subsystem="sftp", encoding=None, window=manner.window, max_pktsize=manner.packet_bytes
        )
        asks = _Asks(chan, takes)
        asks.send(bytes([INIT, 0, 0, 0, 3]))
        await asks.packet()
        name = path.encode()
        asks.send(struct.pack(">BII", OPEN, 1, len(name)) + name + b"\0\0\0\1" + NO_ATTRIBUTES)
        handle = (await asks.packet())[9:13]
        owed: dict[int, int] = {}
        workers = door.workers()
        at = done = number = 0
        while done < len(content):
            while len(owed) < manner.at_once and at < len(content) + manner.read_bytes:
                number += 1
                owed[number] = at
                asks.send(_READ.pack(READ, number, len(handle), handle, at, manner.read_bytes))
                at += manner.read_bytes
            if chance.random() < manner.pause_chance:
                chan.pause_reading()
                await asyncio.sleep(chance.random() / 50)
                chan.resume_reading()
            if chance.random() < manner.stop_chance:
                await _held_up(workers)
            done += _taken(await asks.packet(), owed, content, manner)


async def _held_up(workers: list[int]) -> None:
    try:
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        await asyncio.sleep(0.005)
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)


def _taken(packet: bytes, owed: dict[int, int], content: bytes, manner: Manner) -> int:
    """Check an answer; return how many bytes it brought."""
    kind, number = struct.unpack_from(">BI", packet)
    at = owed.pop(number)
    if kind == STATUS:
        assert at >= len(content), packet
        return 0
    assert kind == DATA and packet[9:] == content[at : at + manner.read_bytes]
    return len(packet) - 9
