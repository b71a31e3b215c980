"""A door without a socket, and a client that speaks SFTP version 3 to an engine through it, packet by packet."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from providers.drive import Drive
from providers.errors import NotAtHand
from server.sftp.engine import Engine, Limits
from server.sftp.engine.wire import CREAT, READ, TRUNC, WRITE, Code, Type, string

U32 = struct.Struct(">I")
NO_ATTRIBUTES = b"\0\0\0\0"


class Refused(Exception):
    """A status other than OK."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


class Stat(NamedTuple):
    size: int
    mode: int
    modified: int


class Door:
    """Keeps what leaves, and runs jobs when asked to. `room` is what the client still takes; None: everything."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[Any, Any]] = deque()
        self.out: deque[bytes] = deque()
        self.room: int | None = None
        self.held = 0
        self.is_paused = False
        self.has_ended = False
        self.says = ""
        self.is_quick = True
        self.hops = 0
        self.long_hops = 0
        self.pauses = 0
        self.moment_seconds = 1.0
        self.drafts = 0
        self.drafts_max = 10_000
        self.resting: deque[Any] = deque()

    def send(self, parts: Sequence[Any]) -> None:
        assert not self.has_ended
        for part in parts:
            self.out.append(bytes(part))
            self.held += len(part)

    def unsent(self) -> int:
        return 0 if self.room is None else self.held

    def submit(self, job: Any, done: Any, *, is_long: bool = False) -> None:
        self.hops += 1
        self.long_hops += is_long
        self.jobs.append((job, done))

    def at_once(self, job: Any) -> Any:
        if not self.is_quick:
            raise NotAtHand
        return job()

    def moment(self) -> float:
        return self.moment_seconds

    def later(self, act: Any) -> None:
        self.resting.append(act)

    def take_draft(self) -> bool:
        if self.drafts >= self.drafts_max:
            return False
        self.drafts += 1
        return True

    def give_drafts_back(self, count: int) -> None:
        assert 0 <= count <= self.drafts
        self.drafts -= count

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True
        self.pauses += 1

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False

    def end(self, says: str = "") -> None:
        assert not self.has_ended
        self.has_ended = True
        self.says = says

    def run(self) -> None:
        """Run jobs until none is left, nor anything that goes on later."""
        while self.jobs or self.resting:
            if self.jobs:
                self.run_one()
            else:
                self.resting.popleft()()

    def run_one(self) -> None:
        job, done = self.jobs.popleft()
        try:
            result = job()
        except BaseException as error:
            done(None, error)
        else:
            done(result, None)

    def taken(self) -> bytes:
        found = b"".join(self.out)
        self.out.clear()
        self.held = 0
        return found


class Client:
    """Asks one thing at a time, or sends packets and reads answers by their numbers."""

    def __init__(self, drive: Drive, limits: Limits | None = None, clock: Any = None, *, begin: bool = True) -> None:
        self.door = Door()
        self.clock = clock or (lambda: 0.0)
        self.engine = Engine(drive, self.door, limits, self.clock)
        self.answers: dict[int, tuple[int, bytes]] = {}
        self._last = 0
        self._rest = b""
        self.extensions: dict[bytes, bytes] = {}
        if begin:
            self.send_raw(bytes((Type.INIT,)) + U32.pack(3))
            self.collect()

    # --- packets

    def send_raw(self, packet: bytes) -> None:
        self.engine.receive(U32.pack(len(packet)) + packet)

    def send(self, kind: int, body: bytes) -> int:
        self._last += 1
        self.send_raw(bytes((kind,)) + U32.pack(self._last) + body)
        return self._last

    def collect(self) -> None:
        """Run what is to be run, and sort the answers by the requests they belong to."""
        self.door.run()
        self.sort()

    def sort(self) -> None:
        data = self._rest + self.received()
        at = 0
        while len(data) - at >= 4 and len(data) - at - 4 >= U32.unpack_from(data, at)[0]:
            (length,) = U32.unpack_from(data, at)
            packet = data[at + 4 : at + 4 + length]
            at += 4 + length
            if packet[0] == Type.VERSION:
                self._greeted(packet)
                continue
            (request,) = U32.unpack_from(packet, 1)
            assert request not in self.answers, "answered twice"
            self.answers[request] = (packet[0], packet[5:])
        self._rest = data[at:]

    def received(self) -> bytes:
        """Return what came since it was last asked for."""
        return self.door.taken()

    def _greeted(self, packet: bytes) -> None:
        at = 5
        while at < len(packet):
            name, at = take(packet, at)
            value, at = take(packet, at)
            self.extensions[name] = value

    def ask(self, kind: int, body: bytes) -> tuple[int, bytes]:
        request = self.send(kind, body)
        self.collect()
        return self.answers.pop(request)

    def done(self, kind: int, body: bytes) -> bytes:
        """Ask; return the answer's body. Raises Refused."""
        got, answer = self.ask(kind, body)
        if got == Type.STATUS:
            (code,) = U32.unpack_from(answer)
            if code != Code.OK:
                raise Refused(code, take(answer, 4)[0].decode())
        return answer

    def extended(self, name: str, body: bytes) -> bytes:
        return self.done(Type.EXTENDED, string(name.encode()) + body)

    # --- documents

    def open(self, path: str | bytes, flags: int = READ, attributes: bytes = NO_ATTRIBUTES) -> bytes:
        answer = self.done(Type.OPEN, string(encoded(path)) + U32.pack(flags) + attributes)
        return take(answer, 0)[0]

    def close(self, handle: bytes) -> None:
        self.done(Type.CLOSE, string(handle))

    def read(self, handle: bytes, offset: int, length: int) -> bytes:
        """Read once; empty at the end."""
        try:
            return take(self.done(Type.READ, string(handle) + struct.pack(">QI", offset, length)), 0)[0]
        except Refused as refused:
            if refused.code == Code.EOF:
                return b""
            raise

    def write(self, handle: bytes, offset: int, data: bytes) -> None:
        self.done(Type.WRITE, string(handle) + struct.pack(">Q", offset) + string(data))

    def fstat(self, handle: bytes) -> Stat:
        return stat_of(self.done(Type.FSTAT, string(handle)))

    def stat(self, path: str | bytes, kind: int = Type.STAT) -> Stat:
        return stat_of(self.done(kind, string(encoded(path))))

    def setstat(self, path: str, attributes: bytes) -> None:
        self.done(Type.SETSTAT, string(encoded(path)) + attributes)

    def fsetstat(self, handle: bytes, attributes: bytes) -> None:
        self.done(Type.FSETSTAT, string(handle) + attributes)

    def path_request(self, kind: int, *paths: str | bytes, tail: bytes = b"") -> bytes:
        return self.done(kind, b"".join(string(encoded(path)) for path in paths) + tail)

    def names(self, path: str) -> dict[str, tuple[str, Stat]]:
        """List a folder: by name, the long form and the attributes."""
        handle = take(self.path_request(Type.OPENDIR, path), 0)[0]
        found: dict[str, tuple[str, Stat]] = {}
        while True:
            kind, answer = self.ask(Type.READDIR, string(handle))
            if kind == Type.STATUS:
                assert U32.unpack_from(answer)[0] == Code.EOF
                break
            (count,) = U32.unpack_from(answer)
            at = 4
            for _ in range(count):
                name, at = take(answer, at)
                long, at = take(answer, at)
                found[name.decode()] = (long.decode(), stat_of(answer[at : at + 32]))
                at += 32
            assert at == len(answer)
        self.close(handle)
        return found

    def put(self, path: str, data: bytes, flags: int = WRITE | CREAT | TRUNC) -> None:
        handle = self.open(path, flags)
        for at in range(0, len(data), 32768):
            self.write(handle, at, data[at : at + 32768])
        self.close(handle)

    def get(self, path: str) -> bytes:
        handle = self.open(path)
        found = bytearray()
        while piece := self.read(handle, len(found), 32768):
            found += piece
        self.close(handle)
        return bytes(found)

    def lose(self) -> None:
        """The connection drops."""
        self.engine.lost()
        self.door.run()
        assert self.engine.is_idle
        assert self.door.drafts == 0


def encoded(path: str | bytes) -> bytes:
    return path.encode() if isinstance(path, str) else path


def take(data: bytes, at: int) -> tuple[bytes, int]:
    (length,) = U32.unpack_from(data, at)
    assert len(data) >= at + 4 + length
    return data[at + 4 : at + 4 + length], at + 4 + length


def stat_of(data: bytes) -> Stat:
    flags, size, _, _, mode, _, modified = struct.unpack(">IQIIIII", data[:32])
    assert flags == 0xF
    return Stat(size, mode, modified)


def sized(size: int) -> bytes:
    return struct.pack(">IQ", 1, size)


def timed(seconds: int) -> bytes:
    return struct.pack(">III", 8, seconds, seconds)


class StreamClient(Client):
    """A client of a server behind a stream of bytes. The engine within is asked for nothing."""

    def __init__(self) -> None:
        self.awaited = 0
        unused: Any = SimpleNamespace(principal=SimpleNamespace(epoch=0))
        super().__init__(unused)

    def transmit(self, data: bytes) -> None:
        """Send bytes."""
        raise NotImplementedError

    def receive(self, length: int) -> bytes:
        """Receive so many bytes."""
        raise NotImplementedError

    def send_raw(self, packet: bytes) -> None:
        """Send one packet."""
        self.awaited += 1
        self.transmit(U32.pack(len(packet)) + packet)

    def collect(self) -> None:
        """Read until all that was asked is answered."""
        while self.awaited:
            head = self.receive(4)
            self.door.out.append(head + self.receive(U32.unpack(head)[0]))
            self.awaited -= 1
        self.sort()
