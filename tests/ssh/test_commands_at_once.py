"""A command has a thread, and its line is split in the loop: neither may be had without bound."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncssh

from server.sftp.crowd import (
    COMMANDS_MAX,
    COMMANDS_OF_CONNECTION_MAX,
    COMMANDS_OF_PERSON_MAX,
    LINE_CHARACTERS_MAX,
    Crowd,
)
from tests.ssh.doors import Door


def test_a_command_as_long_as_a_packet_was_split_while_all_waited(door: Door) -> None:
    async def ask() -> Any:
        async with door.connect("anna", password=door.password("anna")) as connection:
            return await connection.run("md5sum " + "a" * LINE_CHARACTERS_MAX, stdin=asyncssh.DEVNULL)

    ran = asyncio.run(ask())
    assert (ran.exit_status, ran.stderr) == (1, "Mellanrum: this command is too long.\n")


def test_each_channel_of_a_connection_held_a_thread(door: Door) -> None:
    """And those that are over, or whose channel is gone, count no longer."""

    async def hash_at_once() -> None:
        async with door.connect("anna", password=door.password("anna")) as connection:
            for gone in (False, True):
                waiting = [await connection.create_process("md5sum") for _ in range(COMMANDS_OF_CONNECTION_MAX)]
                ran = await asyncio.wait_for(connection.run("md5sum", stdin=asyncssh.DEVNULL), 20)
                assert ran.exit_status == 1
                assert ran.stderr == "Mellanrum: there are too many commands at once. Try again.\n"
                for process in waiting:
                    process.close() if gone else process.stdin.write_eof()
                    await asyncio.wait_for(process.wait_closed(), 20)
                await asyncio.sleep(0.2)
            ran = await asyncio.wait_for(connection.run("md5sum", stdin=asyncssh.DEVNULL), 20)
            assert ran.exit_status == 0

    asyncio.run(hash_at_once())


def test_nobody_has_all_the_threads_there_are() -> None:
    crowd = Crowd()
    mine = [crowd.enter(b"me", number // COMMANDS_OF_CONNECTION_MAX) for number in range(COMMANDS_OF_PERSON_MAX)]
    assert None not in mine and crowd.enter(b"me", 99) is None
    others = [crowd.enter(bytes([number]), 100 + number) for number in range(COMMANDS_MAX)]
    assert others.count(None) == COMMANDS_OF_PERSON_MAX
    leave = mine[0]
    assert leave is not None
    leave()
    assert crowd.enter(b"somebody", 200) is not None
