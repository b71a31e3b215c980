"""Requests that are answered in the loop, by the thousand: others have their turns in between."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from server.sftp.engine.wire import CREAT, READ, WRITE, Code, Type, string
from server.sftp.turns import MOMENT_SECONDS, Turns
from tests.sftp.client import U32, Client, Refused
from tests.worlds import World

Connect = Callable[..., Client]


class Ticking:
    """A clock that goes on by a ten-thousandth of a second each time that somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.0001
        return self.now


@pytest.fixture
def busy(connect: Connect) -> Client:
    """A client whose every request takes a while, and that may have some twenty begun before others have a turn."""
    client = connect(clock=Ticking())
    client.door.moment_seconds = MOMENT_SECONDS
    return client


def flood(client: Client, kind: int, body: bytes, count: int = 1_000) -> list[int]:
    """Send many requests in one piece; return their numbers."""
    numbers = range(10_000, 10_000 + count)
    head = U32.pack(5 + len(body)) + bytes((kind,))
    client.engine.receive(b"".join(head + U32.pack(number) + body for number in numbers))
    return list(numbers)


def test_a_buffer_full_of_tiny_requests_was_answered_in_one_go(busy: Client) -> None:
    numbers = flood(busy, Type.READLINK, string(b"a"))
    busy.sort()
    assert 0 < len(busy.answers) < 30
    assert len(busy.door.resting) == 1 and not busy.engine.is_idle
    busy.engine.receive(b"")  # what comes meanwhile begins nothing more
    busy.sort()
    assert 0 < len(busy.answers) < 30 and len(busy.door.resting) == 1
    busy.collect()
    assert list(busy.answers) == numbers  # all, in their order
    assert busy.engine.is_idle and not busy.door.is_paused


def test_what_was_written_before_the_client_went_is_put_aside_whatever_turns_that_takes(
    world: World, busy: Client, connect: Connect
) -> None:
    handle = busy.open("/Rum/a.txt", WRITE | CREAT)
    packets = b""
    for number in range(500):
        body = bytes((Type.WRITE,)) + U32.pack(number) + string(handle) + struct.pack(">Q", number) + string(b"x")
        packets += U32.pack(len(body)) + body
    busy.engine.receive(packets)
    busy.engine.lost()
    assert not busy.engine.is_idle
    busy.door.run()
    assert busy.engine.is_idle
    assert connect().get("/Rum/a.txt") == b"x" * 500


def test_steps_without_a_byte_were_answered_by_the_thousand_in_one_go(connect: Connect) -> None:
    client = connect()
    handle = client.open("/Rum/a.txt", READ | WRITE | CREAT)
    client.write(handle, 5, b"a draft")
    body = string(handle) + struct.pack(">Q", 30) + U32.pack(1)
    numbers = flood(client, Type.READ, body, 2_000)
    while client.door.jobs:
        before = len(client.answers)
        client.door.run_one()
        client.sort()
        assert len(client.answers) - before <= 512
    assert set(numbers) <= set(client.answers)


@pytest.mark.parametrize("path", ["a/" * 130_000, "å" * 130_000, "../" * 80_000])
def test_a_path_as_long_as_a_packet_held_up_everybody(connect: Connect, path: str) -> None:
    client = connect()
    with pytest.raises(Refused) as refused:
        client.stat(path)
    assert refused.value.code == Code.NO_SUCH_FILE
    with pytest.raises(Refused, match="longer than 25600 bytes"):
        client.path_request(Type.MKDIR, path, tail=bytes(4))
    began = time.thread_time()
    for _ in range(50):
        client.ask(Type.STAT, string(path.encode()))
    assert time.thread_time() - began < 0.1


# --- the loop's turns


def turned(flooding: dict[bytes, int], seconds: float, clock: Any) -> list[bytes]:
    """Let engines of some people go on for ever, each turn of theirs taking so long; return who had the first 60."""
    served: list[bytes] = []
    loop = asyncio.new_event_loop()
    turns = Turns(lambda: clock[0])

    def goes_on(person: bytes) -> None:
        assert turns.moment(person, loop) == pytest.approx(MOMENT_SECONDS)
        clock[0] += seconds
        served.append(person)
        if len(served) < 60:
            turns.later(person, loop, lambda: goes_on(person))

    for person, engines in flooding.items():
        for _ in range(engines):
            turns.later(person, loop, lambda person=person: goes_on(person))  # type: ignore[misc]
    rounds = 0
    while len(served) < 60:
        rounds += 1
        before = len(served)
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert len(served) - before <= 1, "more than one had a turn at once"
    loop.close()
    return served


def test_who_has_a_hundred_engines_has_no_more_turns_than_who_has_one() -> None:
    served = turned({b"many": 100, b"one": 1}, MOMENT_SECONDS, [5.0])
    assert abs(served.count(b"many") - served.count(b"one")) <= 1


def test_all_that_somebody_has_shares_one_moment_in_a_turn_of_the_loop() -> None:
    async def tried() -> None:
        clock, loop = [5.0], asyncio.get_running_loop()
        turns = Turns(lambda: clock[0])
        assert turns.moment(b"a", loop) == pytest.approx(MOMENT_SECONDS)
        clock[0] += MOMENT_SECONDS
        assert turns.moment(b"a", loop) <= 0 < turns.moment(b"b", loop)
        await asyncio.sleep(0)
        assert turns.moment(b"a", loop) == pytest.approx(MOMENT_SECONDS)

    asyncio.run(tried())
