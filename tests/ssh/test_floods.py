"""Who sends more than an honest client would holds up nobody else, and costs the server little."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import Boolean, String

from server.ssh import connection as ours
from server.ssh.connection import Connection
from tests.ssh.doors import Door, serving_sftp
from tests.ssh.meeting import Met

GREETING = b"SSH-2.0-flood\r\n"
UNKNOWN = struct.pack(">IBB", 12, 10, 15) + bytes(10)
IGNORE = 2
#: A banner comes at once; a machine that others work on may take longer.
SOON_SECONDS = 0.2


@pytest.fixture(scope="module", params=["auto", "stock"])
def lone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A door with one worker: whoever holds it up holds up all."""
    with serving_sftp(
        tmp_path_factory.mktemp("lone"), **{"sftp.connection": request.param, "sftp.workers": 1}
    ) as found:
        yield found


def seconds_until_greeted(door: Door) -> float:
    """Return how long another one who knocks waits for the server's first word."""
    began = time.monotonic()
    with socket.create_connection((door.host, door.port)) as other:
        other.settimeout(60)
        assert other.recv(100).startswith(b"SSH-2.0-")
    return time.monotonic() - began


def stranger(door: Door) -> socket.socket:
    made = socket.create_connection((door.host, door.port))
    made.settimeout(30)
    return made


def test_a_stranger_with_a_million_tiny_packets_held_up_everybody(lone: Door) -> None:
    with stranger(lone) as flooding:
        flooding.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)

        def flood() -> None:
            with contextlib.suppress(OSError):
                flooding.sendall(GREETING + UNKNOWN * (6 << 16))

        thread = threading.Thread(target=flood)
        thread.start()
        waited = statistics.median(seconds_until_greeted(lone) for _ in range(5))
        thread.join()
    assert waited < SOON_SECONDS


def test_a_stranger_could_talk_for_ever(lone: Door) -> None:
    """Packets that are no part of signing in were answered one by one for as long as signing in may take."""
    with stranger(lone) as talking:
        talking.sendall(GREETING)
        with pytest.raises(ConnectionError):
            for _ in range(2000):
                talking.sendall(UNKNOWN)
                time.sleep(0.001)


def test_a_strangers_packet_may_not_be_as_long_as_a_message_can_be(lone: Door) -> None:
    """Names of algorithms, a quarter of a megabyte of them, were compared in one go."""
    with stranger(lone) as asking:
        asking.sendall(GREETING + struct.pack(">IBB", 200_000, 4, 20) + bytes(16))
        heard = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := asking.recv(65_536):
                heard += piece
    assert b"Max packet size exceeded" in heard


async def _gathered(connection: Any, packets: int) -> bytes:
    """Return so many packets that mean nothing, sealed to be sent."""
    found: list[bytes] = []
    connection._send = found.append
    for _ in range(packets):
        connection.send_packet(IGNORE, bytes(4))
    del connection._send
    return b"".join(found)


@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "aes256-ctr"])
def test_tiny_packets_of_somebody_signed_in_held_up_everybody(lone: Door, cipher: str) -> None:
    async def flood() -> float:
        async with lone.connect("anna", password=lone.password("anna"), encryption_algs=[cipher]) as connection:
            flooding = await _gathered(connection, 200_000)
            transport: Any = connection._transport
            transport.write(flooding)
            waited = []
            for _ in range(5):
                waited.append(await asyncio.to_thread(seconds_until_greeted, lone))
                await asyncio.sleep(0.05)
            connection.abort()
            return statistics.median(waited)

    assert asyncio.run(flood()) < SOON_SECONDS


def test_what_came_in_one_go_is_taken_whole_in_many_turns(lone: Door) -> None:
    """And what follows it, in its order."""

    async def flood() -> None:
        async with lone.connect("anna", password=lone.password("anna")) as connection:
            transport: Any = connection._transport
            transport.write(await _gathered(connection, 60_000))
            ran = await asyncio.wait_for(connection.run("md5sum", stdin=asyncssh.DEVNULL), 60)
            assert ran.exit_status == 0

    asyncio.run(flood())


def test_the_environment_of_a_client_filled_the_memory(lone: Door) -> None:
    """Each variable was kept, and each is as long as a packet may be."""

    async def describe() -> int:
        async with lone.connect("anna", password=lone.password("anna")) as connection:
            await connection.run("md5sum", stdin=asyncssh.DEVNULL)
            before = lone.memory_bytes()
            environment = {f"E{number}": "x" * 200_000 for number in range(400)}
            async with connection.create_process("md5sum", env=environment):
                return lone.memory_bytes() - before

    assert asyncio.run(describe()) < 30 << 20


def test_answers_to_a_client_that_reads_none_piled_up(kind: type[Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that belong to no channel: nothing held them back. All come once it reads again."""
    monkeypatch.setattr(ours, "UNSENT_BYTES_MAX", 100_000)
    count = 40_000

    async def ask() -> int:
        async with Met(kind) as met:
            for end in (met.here, met.client):
                for which in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, which, 64 << 10)
            answered, most = 0, 0

            def answer(*_: Any) -> bool:
                nonlocal answered
                answered += 1
                return True

            met.client._packet_handlers = {**type(met.client)._packet_handlers, 81: answer, 82: answer}
            met.client._transport.pause_reading()
            for _ in range(count // 1000):
                for _ in range(1000):
                    met.client.send_packet(80, String(b"keepalive@openssh.com"), Boolean(True))
                await asyncio.sleep(0.02)
                most = max(most, met.here.in_transport())
            met.client._transport.resume_reading()
            async with asyncio.timeout(120):
                while answered < count:
                    await asyncio.sleep(0.01)
            return most

    assert asyncio.run(ask()) < 300_000


def test_64_requests_were_carried_out_before_it_was_looked_how_long_that_took(kind: type[Connection]) -> None:
    """What asyncssh carries out may take its time: a command is split, a key is signed with."""
    together: list[int] = []

    async def ask() -> None:
        async with Met(kind) as met:
            take = met.here._take_for_a_turn

            def taken(how: Any) -> None:
                together.append(0)
                take(how)

            def slow(*_: Any) -> bool:
                together[-1] += 1
                time.sleep(2 * ours.TURN_SECONDS)
                return True

            met.here._take_for_a_turn = taken
            met.here._packet_handlers = {**type(met.here)._packet_handlers, 80: slow}
            for _ in range(20):
                met.client.send_packet(80, String("slow"), Boolean(False))
            async with asyncio.timeout(30):
                while sum(together) < 20:
                    await asyncio.sleep(0.01)

    asyncio.run(ask())
    assert max(together) == 1


async def _proven(kind: type[Connection], asked: Sequence[int]) -> list[int]:
    """Return how requests are answered that name one host key so many times each: 81 is with proofs, 82 without."""
    answers: list[int] = []
    async with Met(kind, send_server_host_keys=True) as met:

        def answered(_: Any, number: int, *__: Any) -> bool:
            answers.append(number)
            return True

        met.client._packet_handlers = {**type(met.client)._packet_handlers, 81: answered, 82: answered}
        (key,) = met.here._all_server_host_keys
        for times in asked:
            met.client.send_packet(80, String("hostkeys-prove-00@openssh.com"), Boolean(True), String(key) * times)
        async with asyncio.timeout(30):
            while len(answers) < len(asked):
                await asyncio.sleep(0.01)
    return answers


def test_a_packet_full_of_host_keys_to_be_proven_held_up_everybody(kind: type[Connection]) -> None:
    """Six hundred proofs by RSA took a second. A client that learns of new keys asks for each of them once."""
    assert asyncio.run(_proven(kind, [600])) == [82]
    assert asyncio.run(_proven(kind, [1, 1])) == [81, 82]
