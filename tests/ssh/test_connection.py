"""Which connection serves: the faster leans on asyncssh's inside, and is for the versions it was tried with alone."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh import encryption
from asyncssh.channel import SSHServerChannel
from asyncssh.connection import SSHServerConnectionOptions
from asyncssh.packet import SSHPacket

from config.logging import ROOT
from server.sftp.channel import Channel
from server.sftp.pipe import Pipe
from server.ssh import fast
from server.ssh.connection import Connection
from server.ssh.worker import chosen
from tests.ssh.doors import serving_sftp
from tests.ssh.meeting import QUICK, Met
from tests.worlds import settings_for

GLOBAL_REQUEST = 80


def test_this_asyncssh_was_tried() -> None:
    assert fast.is_tested(), "run every test of SFTP with this asyncssh, then name it in TESTED"


@pytest.mark.parametrize(
    ("connection", "says"), [("auto", "event=fast_connection "), ("stock", "event=stock_connection why=chosen ")]
)
def test_which_serves(tmp_path: Path, capfd: pytest.CaptureFixture[str], connection: str, says: str) -> None:
    """The log says so, and people are let in."""
    told = {"sftp.connection": connection, "sftp.workers": 1, "process.log_level": "info"}
    with serving_sftp(tmp_path, **told) as door:
        assert door.may("vera", client_keys=[door.key("vera")])
    log = capfd.readouterr().err
    assert says in log and log.count("_connection ") == 1


def test_with_an_asyncssh_that_nobody_tried_the_stock_one_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(asyncssh, "__version__", "2.99.0")
    monkeypatch.setattr(fast, "install", lambda: pytest.fail("it reaches into an asyncssh that nobody tried"))
    caplog.set_level(logging.INFO, logger=f"{ROOT}.ssh")
    assert chosen(settings_for(tmp_path).sftp) is Connection
    assert "event=stock_connection why=untested library=asyncssh-2.99.0" in caplog.text


class _Watched(fast.FastConnection):
    """Keeps count of how often it asked whether the client is there."""

    asked = 0

    async def _make_keepalive_request(self) -> None:
        self.asked += 1
        await super()._make_keepalive_request()


class _Anybody(asyncssh.SSHServer):
    """Lets anybody in."""

    def __init__(self, lost: asyncio.Event) -> None:
        self._lost = lost

    def begin_auth(self, username: str) -> bool:
        return False

    def drained(self) -> None:
        """Nobody waits."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()


async def _talk_then_be_silent(interval: float) -> tuple[int, int]:
    """Return how often a client was asked whether it is there: while it talked, and until it was cut off."""
    loop, lost, made = asyncio.get_running_loop(), asyncio.Event(), []
    options: Any = await SSHServerConnectionOptions.construct(
        server_factory=lambda: _Anybody(lost),
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        keepalive_interval=interval,
        keepalive_count_max=3,
    )

    def make() -> _Watched:
        made.append(_Watched(loop, options, 1, 3))
        return made[0]

    server = await loop.create_server(make, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = await asyncssh.connect(
        "127.0.0.1", port, username="any", known_hosts=None, config=None, agent_path=None, encryption_algs=QUICK
    )
    for _ in range(20):
        await asyncio.sleep(interval / 8)
        client.send_debug("I am here.")
    while_talking = made[0].asked
    transport: Any = client._transport
    transport.pause_reading()
    await asyncio.wait_for(lost.wait(), 30)
    client.abort()
    server.close()
    return while_talking, made[0].asked


def test_a_client_is_asked_whether_it_is_there_only_once_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is cut off if it does not answer."""
    monkeypatch.setattr(encryption, "_enc_params", dict(encryption._enc_params))
    fast.install()
    assert asyncio.run(_talk_then_be_silent(1.0)) == (0, 3)


class _Shown(Connection):
    """Keeps account of the most that asyncssh saw as it began with a packet."""

    most = 0

    def _recv_pkthdr(self) -> bool:
        if self._auth_complete:
            self.most = max(self.most, len(self._inpbuf))
        return super()._recv_pkthdr()


async def _shown() -> int:
    """Return how much asyncssh saw at most of a hundred packets that come at once."""
    loop, lost, made = asyncio.get_running_loop(), asyncio.Event(), []
    options: Any = await SSHServerConnectionOptions.construct(
        server_factory=lambda: _Anybody(lost), server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")]
    )

    def make() -> _Shown:
        made.append(_Shown(loop, options, 1, 3))
        return made[0]

    server = await loop.create_server(make, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = await asyncssh.connect(
        "127.0.0.1", port, username="any", known_hosts=None, config=None, agent_path=None, encryption_algs=QUICK
    )
    for _ in range(100):
        client.send_debug("x" * 1000)
    client.close()
    await asyncio.wait_for(lost.wait(), 30)
    server.close()
    return made[0].most


def test_with_each_packet_all_that_came_behind_it_was_copied() -> None:
    """By asyncssh, as often as there were packets in what the kernel gave at once."""
    assert 0 < asyncio.run(_shown()) <= 16


def test_who_spoke_again_and_again_was_cut_for_being_late_to_answer(kind: type[Connection]) -> None:
    """What answers our questions may wait behind megabytes that the client sends."""

    async def speak() -> None:
        async with Met(kind, keepalive_interval=0.4, keepalive_count_max=3) as met:
            met.pass_over(GLOBAL_REQUEST)
            for _ in range(6):
                await asyncio.sleep(0.6)
                met.client.send_debug("I am here.")
            assert met.here._transport is not None
            async with asyncio.timeout(5):
                while met.here._transport is not None:
                    await asyncio.sleep(0.1)

    asyncio.run(speak())


class _Pipe:
    """A transport that keeps what is written beyond what the kernel took, which is `descriptor`'s doing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.kept = b""

    def fileno(self) -> int:
        return self._descriptor

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        return len(self.kept)

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.kept += data


async def _speaking(descriptor: int) -> tuple[fast.FastConnection, Any, _Pipe]:
    """Return a connection of somebody who is signed in, its one channel, and where its bytes go."""
    options: Any = await SSHServerConnectionOptions.construct(
        server_factory=asyncssh.SSHServer, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")]
    )
    connection: Any = fast.FastConnection(asyncio.get_running_loop(), options, 1, 3)
    connection._transport = pipe = _Pipe(descriptor)
    connection._send_encryption = fast.Gcm(bytes(16), bytes(12))
    connection._auth_complete = connection._kex_complete = True
    connection._rekey_seconds = 0
    channel: Any = connection.channel()
    channel._send_chan, channel._send_state = 0, "open"
    channel._send_window, channel._send_pktsize = 1 << 21, 1 << 15
    channel.set_write_buffer_limits(1 << 20, 1 << 19)
    return connection, channel, pipe


def _packets(sent: bytes) -> list[bytes]:
    """Return the payloads of packets as they left, opened."""
    gcm, found, at = fast.Gcm(bytes(16), bytes(12)), [], 0
    while at < len(sent):
        end = at + 4 + int.from_bytes(sent[at : at + 4], "big") + 16
        plain = gcm.cipher.decrypt(gcm.nonce(), sent[at + 4 : end], sent[at : at + 4])
        found.append(plain[1 : len(plain) - plain[0]])
        at = end
    return found


def _taken(reading: int) -> bytes:
    os.set_blocking(reading, False)
    taken = b""
    try:
        while piece := os.read(reading, 1 << 20):
            taken += piece
    except BlockingIOError:
        pass
    return taken


def test_answers_of_one_turn_of_the_loop_fill_packets_and_stay_before_what_is_said_later() -> None:
    """And what the kernel does not take at once is kept, in order and as it was."""

    async def answer() -> bytes:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            connection, channel, pipe = await _speaking(writing)
            for number in range(20):
                channel.write_parts([b"head", memoryview(bytes([number]) * 32_768)])
            channel.send_packet(98, b"the end")
            connection._flush()
            other, channel, beside = await _speaking(writing)
            channel.write_parts([b"somebody else's"])
            other._flush()
            assert pipe.kept and b"somebody" not in beside.kept
            return _taken(reading) + pipe.kept
        finally:
            os.close(reading)
            os.close(writing)

    packets = _packets(asyncio.run(answer()))
    assert packets[-1] == b"\x62\0\0\0\0the end"
    data = packets[:-1]
    assert [len(each) - 9 for each in data] == [32_768] * 20 + [80]
    assert b"".join(each[9:] for each in data) == b"".join(b"head" + bytes([number]) * 32_768 for number in range(20))


class _Waiting:
    """An engine that has been sending until too much had not left."""

    is_waiting = True

    def __init__(self) -> None:
        self.told = 0

    def drained(self) -> None:
        self.told += 1


def _session(connection: Any, carrier: Any) -> tuple[Any, _Waiting]:
    """Return a session on a channel, and its engine."""
    session: Any = Channel(None, None, connection.unsent, lambda _: None, lambda: None)  # type: ignore[arg-type]
    session._engine = waiting = _Waiting()
    carrier.set_write_buffer_limits()
    session.connection_made(carrier)
    carrier._session, carrier._recv_state = session, "open"
    connection._channels = {0: carrier}
    connection.get_owner = lambda: session
    return session, waiting


def _window_adjust(size: int) -> bytes:
    return b"\x06" + b"\x5d" + bytes(4) + size.to_bytes(4, "big") + bytes(6)


@pytest.mark.parametrize("opens", ["after what was sent has left", "in the same turn of the loop"])
def test_who_waits_because_the_window_is_shut_is_told_when_it_opens(opens: str) -> None:
    """Whether or not anything was held up by the time that it opened."""

    async def wait() -> tuple[int, int]:
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            connection, carrier, _ = await _speaking(null)
            session, waiting = _session(connection, carrier)
            carrier._send_window = 100 if opens.startswith("after") else 1 << 20
            session.send([bytes(1200 << 10)])
            if opens.startswith("after"):
                connection._flush()
                assert waiting.told == 0
            connection._is_common(_window_adjust(1 << 21))
            connection._flush()
            return waiting.told, session.unsent()
        finally:
            os.close(null)

    told, unsent = asyncio.run(wait())
    assert told and not unsent


def test_who_waits_on_the_stock_connection_is_told_when_the_window_opens() -> None:
    """Also if less waits for that than the channel would ever have paused anybody for."""

    async def wait() -> tuple[int, int]:
        connection, _, pipe = await _speaking(-1)
        carrier: Any = SSHServerChannel(
            connection, asyncio.get_running_loop(), False, False, False, 0, 1024, None, "strict", 1 << 21, 1 << 15
        )
        carrier._send_chan, carrier._send_state, carrier._send_pktsize = 0, "open", 1 << 15
        carrier.send_packet = lambda *_: None
        session, waiting = _session(connection, carrier)
        carrier._send_window = 100 << 10
        pipe.kept = bytes(600 << 10)  # which the kernel had no room for
        session.send([bytes(700 << 10)])
        pipe.kept = b""
        connection.resume_writing()
        assert waiting.told == 0 and session.unsent() == 600 << 10
        carrier._process_window_adjust(93, 0, SSHPacket((1 << 21).to_bytes(4, "big")))
        return waiting.told, session.unsent()

    told, unsent = asyncio.run(wait())
    assert told and not unsent


def test_a_command_that_sends_more_than_the_client_takes_waits_for_it() -> None:
    """What `scp` sends is held up by the channel's window, and goes on as it opens."""

    async def wait() -> tuple[bool, bool]:
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            connection, carrier, _ = await _speaking(null)
            session, _ = _session(connection, carrier)
            session._engine, session._pipe = None, Pipe(asyncio.get_running_loop(), carrier, session.unsent)
            carrier._send_window = 100
            for _ in range(3):
                session._pipe._send(bytes(500 << 10))
                connection._flush()
            paused = not session._pipe._may_write
            connection._is_common(_window_adjust(1 << 22))
            connection._flush()
            return paused, session._pipe._may_write
        finally:
            os.close(null)

    assert asyncio.run(wait()) == (True, True)


def test_nothing_leaves_while_keys_are_exchanged() -> None:
    """RFC 4253, section 7.1: after the message that begins it, only such as belong to it."""

    async def exchange() -> tuple[bytes, list[bytes]]:
        reading, writing = os.pipe()
        try:
            connection, channel, _ = await _speaking(writing)
            connection._kex_complete = False
            channel.write_parts([b"data"])
            channel.send_packet(98, b"a request")
            connection._flush()
            meanwhile = _taken(reading)
            connection._kex_complete = True
            connection._send_deferred_packets()
            connection._flush()
            return meanwhile, _packets(_taken(reading))
        finally:
            os.close(reading)
            os.close(writing)

    meanwhile, after = asyncio.run(exchange())
    assert meanwhile == b""
    assert after == [b"\x5e\0\0\0\0\0\0\0\4data", b"\x62\0\0\0\0a request"]
