"""Keys are exchanged anew while a session goes on; who begins that and does not end it costs the server nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import paramiko
import pytest
from asyncssh.packet import Boolean, String, UInt32

from server.ssh import connection as ours
from server.ssh.connection import Connection
from tests.ssh.doors import Door
from tests.ssh.meeting import Met
from tests.tools import need

CONTENT = os.urandom(12 << 20)
DATA, GLOBAL_REQUEST = 94, 80


def test_an_exchange_of_keys_that_nobody_ended_went_on_for_ever(
    kind: type[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "EXCHANGE_SECONDS", 1.0)

    async def begin() -> None:
        async with Met(kind) as met:
            met.begin_exchange()
            await asyncio.sleep(0.25)
            assert met.here._transport is not None
            await asyncio.wait_for(met.client.wait_closed(), 5)

    asyncio.run(begin())


def test_an_exchange_of_keys_was_late_while_what_lay_before_it_was_on_its_way(
    kind: type[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow line what lies before our half of it fills the kernel long after the transport is empty."""
    monkeypatch.setattr(ours, "EXCHANGE_SECONDS", 1.0)

    async def take_slowly() -> None:
        async with Met(kind) as met:
            met.client._transport.pause_reading()
            theirs = met.client._transport.get_extra_info("socket")
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            met.here._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400_000)
            for _ in range(30):
                met.here.send_packet(DATA, UInt32(0), String(bytes(10_000)))
            met.begin_exchange()
            for _ in range(22):
                await asyncio.sleep(0.1)
                assert met.here.in_transport() == 0 and met.here._transport is not None
                with contextlib.suppress(BlockingIOError):
                    os.read(theirs.fileno(), 12_000)
            async with asyncio.timeout(5):  # it takes nothing any more
                while met.here._transport is not None:
                    await asyncio.sleep(0.1)

    asyncio.run(take_slowly())


def test_requests_amid_an_exchange_of_keys_were_taken_and_their_answers_kept(kind: type[Connection]) -> None:
    """RFC 4253 section 7.1 lets nothing else come between."""

    async def ask() -> None:
        async with Met(kind) as met:
            met.begin_exchange()
            await asyncio.sleep(0.1)
            met.client.send_packet(GLOBAL_REQUEST, String(b"keepalive@openssh.com"), Boolean(True))
            await asyncio.wait_for(met.client.wait_closed(), 5)
            assert met.here._deferred_packets == []

    asyncio.run(ask())


def test_what_waits_for_an_exchange_of_keys_was_not_counted_and_outlived_the_connection(kind: type[Connection]) -> None:
    async def wait() -> None:
        async with Met(kind) as met:
            met.begin_exchange()
            await asyncio.sleep(0.1)
            before = met.here.unsent()
            for _ in range(100):
                met.here.send_packet(DATA, UInt32(0), String(bytes(10_000)))
            assert met.here.unsent() - before > 1_000_000
            met.client.abort()
            await asyncio.sleep(0.1)
            assert met.here.unsent() == 0 and met.here._deferred_packets == []
            met.here.send_packet(DATA, UInt32(0), String(bytes(10_000)))
            assert met.here._deferred_packets == []

    asyncio.run(wait())


def test_more_than_an_honest_client_could_let_wait_for_an_exchange_of_keys(kind: type[Connection]) -> None:
    async def wait() -> None:
        async with Met(kind) as met:
            met.begin_exchange()
            await asyncio.sleep(0.1)
            for _ in range(1700):
                met.here.send_packet(DATA, UInt32(0), String(bytes(10_000)))
            await asyncio.wait_for(met.client.wait_closed(), 5)

    asyncio.run(wait())


def test_who_waited_for_an_exchange_of_keys_is_told_once_it_is_over(kind: type[Connection]) -> None:
    async def wait() -> None:
        async with Met(kind) as met:
            told: list[int] = []
            met.here.get_owner().drained = lambda: told.append(met.here.unsent())
            met.here._send_kexinit()
            met.here._kexinit_sent = True
            met.here.send_packet(GLOBAL_REQUEST, String(b"nothing@example.org"), Boolean(False))
            assert met.here.unsent() > 200 and not told
            async with asyncio.timeout(5):
                while 0 not in told:
                    await asyncio.sleep(0.01)

    asyncio.run(wait())


def test_keys_are_exchanged_amid_transfers_by_openssh(door: Door, home: str, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(CONTENT)
    batch = f'put {tmp_path}/there "{home}/a"\nget "{home}/a" {tmp_path}/back'
    options = [*door.options("anna"), "-o", "RekeyLimit=1M", "-b", "-", f"anna@{door.host}"]
    assert door.run(need("sftp"), *options, input=batch + "\n").returncode == 0
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_keys_are_exchanged_amid_transfers_by_paramiko(
    door: Door, home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paramiko.packet.Packetizer, "REKEY_BYTES", 1 << 20)
    (tmp_path / "there").write_bytes(CONTENT)
    with paramiko.Transport((door.host, door.port)) as transport:
        transport.connect(username="anna", password=door.password("anna"))
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        client.put(str(tmp_path / "there"), f"{home}/b")
        client.get(f"{home}/b", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_keys_are_exchanged_amid_transfers_by_asyncssh(door: Door, home: str, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(CONTENT)

    async def transfer() -> None:
        async with door.connect("anna", password=door.password("anna"), rekey_bytes=1 << 20) as connection:
            client = await connection.start_sftp_client()
            await client.put(tmp_path / "there", f"{home}/c")
            await client.get(f"{home}/c", tmp_path / "back")

    asyncio.run(transfer())
    assert (tmp_path / "back").read_bytes() == CONTENT
