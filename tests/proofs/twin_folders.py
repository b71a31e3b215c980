"""Random operations on a folder of the drive, and the same on a local one: no difference, in answers or in bytes.

A sequence is told whole by its seed. What a step hits is chosen by what stands in the local folder, so that a sequence
from which steps were left out is still one: the smallest that fails is found by leaving out.
"""

from __future__ import annotations

import errno
import os
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import paramiko

from server.sftp.engine import wire
from server.sftp.engine.wire import Code, Type, string
from tests.sftp.client import U32, Client, Refused, sized, take, timed

NAMES = ("a", "b", "c", "d", "e")
OPEN_MAX = 6
SIZE_MAX = 300_000
#: How often whole trees are compared.
EVERY = 250
#: No time before this was ever now: a client has set it.
LONG_AGO = 1_600_000_000
#: FUSE lets a document that is open go on under such a name, when its own is removed.
HIDDEN = ".fuse_hidden"
SIZES = (1, 100, 5000, 33_000, 70_000)
OPENINGS = (
    os.O_RDONLY, os.O_RDONLY, os.O_RDWR, os.O_RDWR, os.O_WRONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    os.O_RDWR | os.O_CREAT, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_APPEND | os.O_CREAT,
    os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR | os.O_CREAT | os.O_TRUNC,
)  # fmt: skip
WEIGHTS = {
    "open": 11, "close": 8, "write": 16, "read": 13, "cut": 3, "sync": 1, "truncate": 3, "rename": 8, "move": 3,
    "unlink": 4, "mkdir": 3, "rmdir": 2, "names": 4, "stat": 8, "utime": 3, "chmod": 2, "link": 1, "put": 5, "get": 4,
}  # fmt: skip


class Step(NamedTuple):
    """One operation, and whatever chance has to say of it."""

    kind: str
    path: str
    other: str
    flags: int
    slot: int
    at: float
    size: int
    seed: int

    @property
    def data(self) -> bytes:
        """What is written."""
        return random.Random(self.seed).randbytes(self.size)


def steps(seed: int, count: int, kinds: Sequence[str]) -> list[Step]:
    """Return the sequence of a seed."""
    chance, made = random.Random(seed), []
    weights = [WEIGHTS[kind] for kind in kinds]
    for _ in range(count):
        path, other = ("/".join(chance.choices(NAMES, k=chance.choice((1, 1, 1, 2, 2, 3)))) for _ in range(2))
        numbers = (chance.choice(OPENINGS), chance.randrange(OPEN_MAX), chance.random(), chance.choice(SIZES))
        made.append(Step(chance.choices(kinds, weights)[0], path, other, *numbers, chance.randrange(1 << 30)))
    return made


class Seen(NamedTuple):
    """What a look at a name tells."""

    is_folder: bool
    size: int
    modified: int


class Hand(Protocol):
    """What is done to a folder. Paths are below it; what an `open` returns is handed back as it is."""

    def open(self, path: str, flags: int) -> Any: ...
    def close(self, handle: Any) -> None: ...
    def write(self, handle: Any, at: int, data: bytes) -> None: ...
    def read(self, handle: Any, at: int, length: int) -> bytes: ...
    def cut(self, handle: Any, size: int) -> None: ...
    def sync(self, handle: Any) -> None: ...
    def size(self, handle: Any) -> int: ...
    def truncate(self, path: str, size: int) -> None: ...
    def rename(self, path: str, other: str) -> None: ...
    def move(self, path: str, other: str) -> None: ...
    def unlink(self, path: str) -> None: ...
    def mkdir(self, path: str) -> None: ...
    def rmdir(self, path: str) -> None: ...
    def names(self, path: str) -> list[str]: ...
    def stat(self, path: str) -> Seen: ...
    def utime(self, path: str, seconds: int) -> None: ...
    def chmod(self, path: str, mode: int) -> None: ...
    def link(self, path: str, other: str) -> None: ...


class Files:
    """A folder of the kernel's: a local one, or one on a mount."""

    kinds = tuple(kind for kind in WEIGHTS if kind != "move")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.close, self.cut, self.sync = os.close, os.ftruncate, os.fsync

    def _at(self, path: str) -> str:
        return f"{self.folder}/{path}"

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at(path), flags, 0o644)

    def write(self, handle: int, at: int, data: bytes) -> None:
        assert os.pwrite(handle, data, at) == len(data)

    def read(self, handle: int, at: int, length: int) -> bytes:
        return os.pread(handle, length, at)

    def size(self, handle: int) -> int:
        return os.fstat(handle).st_size

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self._at(path), size)

    def rename(self, path: str, other: str) -> None:
        os.rename(self._at(path), self._at(other))

    def move(self, path: str, other: str) -> None:
        os.stat(self._at(path))
        if os.path.lexists(self._at(other)):
            raise FileExistsError(errno.EEXIST, other)
        self.rename(path, other)

    def unlink(self, path: str) -> None:
        os.unlink(self._at(path))

    def mkdir(self, path: str) -> None:
        os.mkdir(self._at(path))

    def rmdir(self, path: str) -> None:
        os.rmdir(self._at(path))

    def names(self, path: str) -> list[str]:
        return sorted(name for name in os.listdir(self._at(path)) if not name.startswith(HIDDEN))

    def stat(self, path: str) -> Seen:
        found = os.stat(self._at(path))
        return Seen(os.path.isdir(self._at(path)), found.st_size, int(found.st_mtime))

    def utime(self, path: str, seconds: int) -> None:
        os.utime(self._at(path), (seconds, seconds))

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._at(path), mode)

    def link(self, path: str, other: str) -> None:
        os.link(self._at(path), self._at(other))


class Wired(Client):
    """The client of the engine's tests, on a channel of a real connection."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self.channel = channel
        self.answers, self.extensions = {}, {}
        self._last, self._rest = 0, b""
        self.send_raw(bytes((Type.INIT,)) + U32.pack(3))
        while not self.extensions:
            self.sort()

    def send_raw(self, packet: bytes) -> None:
        self.channel.sendall(U32.pack(len(packet)) + packet)

    def received(self) -> bytes:
        found = self.channel.recv(1 << 18)
        assert found, "the server has hung up"
        return found

    def collect(self) -> None:
        """Wait for the answer to what was sent last; those to what was sent before it may be later yet."""
        while self._last not in self.answers:
            self.sort()


class Raw:
    """A folder of the drive as packets of SFTP see it, with nothing between. Many are on their way at once."""

    kinds = tuple(WEIGHTS)
    _PIECE = 20_000

    def __init__(self, client: Client, folder: str) -> None:
        self.client = client
        self.folder = folder

    def _at(self, path: str) -> str:
        return f"{self.folder}/{path}"

    def open(self, path: str, flags: int) -> bytes:
        told = (
            wire.READ
            if flags & 3 == os.O_RDONLY
            else wire.WRITE
            if flags & 3 == os.O_WRONLY
            else wire.READ | wire.WRITE
        )
        pairs = (os.O_APPEND, wire.APPEND), (os.O_CREAT, wire.CREAT), (os.O_TRUNC, wire.TRUNC), (os.O_EXCL, wire.EXCL)
        for theirs, ours in pairs:
            told |= ours if flags & theirs else 0
        return self.client.open(self._at(path), told)

    def close(self, handle: bytes) -> None:
        self.client.close(handle)

    def _all(self, sent: list[int]) -> Iterator[tuple[int, bytes]]:
        for request in sent:
            while request not in self.client.answers:
                self.client.sort()
            yield self.client.answers.pop(request)

    def write(self, handle: bytes, at: int, data: bytes) -> None:
        pieces = [data[start : start + self._PIECE] for start in range(0, len(data), self._PIECE)]
        sent = []
        for piece in pieces:
            sent.append(self.client.send(Type.WRITE, string(handle) + struct.pack(">Q", at) + string(piece)))
            at += len(piece)
        for _, answer in self._all(sent):
            _require(answer)

    def read(self, handle: bytes, at: int, length: int) -> bytes:
        starts = range(at, at + length, self._PIECE)
        asks = [struct.pack(">QI", start, min(self._PIECE, at + length - start)) for start in starts]
        found = bytearray()
        for kind, answer in self._all([self.client.send(Type.READ, string(handle) + each) for each in asks]):
            if kind == Type.STATUS:
                _require(answer, Code.EOF)
            else:
                found += take(answer, 0)[0]
        return bytes(found)

    def cut(self, handle: bytes, size: int) -> None:
        self.client.fsetstat(handle, sized(size))

    def sync(self, handle: bytes) -> None:
        self.client.extended("fsync@openssh.com", string(handle))

    def size(self, handle: bytes) -> int:
        return self.client.fstat(handle).size

    def truncate(self, path: str, size: int) -> None:
        self.client.setstat(self._at(path), sized(size))

    def rename(self, path: str, other: str) -> None:
        both = string(self._at(path).encode()) + string(self._at(other).encode())
        self.client.extended("posix-rename@openssh.com", both)

    def move(self, path: str, other: str) -> None:
        self.client.path_request(Type.RENAME, self._at(path), self._at(other))

    def unlink(self, path: str) -> None:
        self.client.path_request(Type.REMOVE, self._at(path))

    def mkdir(self, path: str) -> None:
        self.client.path_request(Type.MKDIR, self._at(path), tail=bytes(4))

    def rmdir(self, path: str) -> None:
        self.client.path_request(Type.RMDIR, self._at(path))

    def names(self, path: str) -> list[str]:
        return sorted(self.client.names(self._at(path)).keys() - {".", ".."})

    def stat(self, path: str) -> Seen:
        found = self.client.stat(self._at(path))
        return Seen(found.mode >> 12 == 4, found.size, found.modified)

    def utime(self, path: str, seconds: int) -> None:
        self.client.setstat(self._at(path), timed(seconds))

    def chmod(self, path: str, mode: int) -> None:
        self.client.setstat(self._at(path), struct.pack(">II", 4, mode))

    def link(self, path: str, other: str) -> None:
        both = string(self._at(path).encode()) + string(self._at(other).encode())
        self.client.extended("hardlink@openssh.com", both)


def _require(answer: bytes, *also: int) -> None:
    (code,) = U32.unpack_from(answer)
    if code not in (Code.OK, *also):
        raise Refused(code, take(answer, 4)[0].decode())


class Difference(AssertionError):
    """What was done to both had not the same outcome; `at` is the number of the step."""

    def __init__(self, message: str, at: int = 0) -> None:
        super().__init__(message)
        self.at = at


class Twins:
    """A folder of the drive and a local one, done the same to."""

    def __init__(self, theirs: Hand, folder: Path, counts: Counter[str] | None = None) -> None:
        self.theirs, self.ours, self.folder = theirs, Files(folder), folder
        self.open: list[tuple[int, Any, int]] = []
        self.counts = Counter() if counts is None else counts

    def run(self, sequence: Sequence[Step], every: int = EVERY) -> None:
        """Carry out a sequence, with a look at everything each so many steps. Raises Difference."""
        number, step = 0, None
        try:
            for number, step in enumerate(sequence):
                getattr(self, f"_{step.kind}")(step)
                self.counts[step.kind] += 1
                if number % every == every - 1:
                    self.compare()
            self.close_all()
            self.compare()
        except (Difference, OSError, Refused) as error:
            raise Difference(f"at step {number}, {step}: {error!r}", number) from error
        finally:
            self.let_go()

    def _both(self, ask: Callable[[Hand], Any]) -> tuple[Any, Any]:
        """Do something to both; both answer, or both refuse."""
        found: list[Any] = []
        for hand in (self.ours, self.theirs):
            try:
                found.append(ask(hand))  # type: ignore[arg-type]
            except (OSError, Refused) as error:
                found.append(error)
        expected, got = found
        if isinstance(expected, Exception) != isinstance(got, Exception):
            raise Difference(f"{expected!r} here, {got!r} there")
        if isinstance(expected, OSError) and expected.errno in (errno.ENOENT, errno.ENOTDIR):
            code = (
                got.code == Code.NO_SUCH_FILE
                if isinstance(got, Refused)
                else got.errno in (errno.ENOENT, errno.ENOTDIR)
            )
            if not code:
                raise Difference(f"{expected!r} here, {got!r} there")
        return expected, got

    def _same(self, ask: Callable[[Hand], Any]) -> None:
        expected, got = self._both(ask)
        if not isinstance(expected, Exception) and expected != got:
            raise Difference(f"{_brief(expected)} here, {_brief(got)} there")

    # --- what is open

    def _open(self, step: Step) -> None:
        if len(self.open) < OPEN_MAX and not self._is_folder(step.path):
            mine, other = self._both(lambda hand: hand.open(step.path, step.flags))
            if isinstance(mine, int):
                self.open.append((mine, other, step.flags))

    def _one(self, step: Step, *modes: int) -> tuple[int, Any] | None:
        fitting = [each[:2] for each in self.open if each[2] & 3 in modes]
        return fitting[step.slot % len(fitting)] if fitting else None

    def _close(self, step: Step) -> None:
        if self.open:
            mine, other, _ = self.open.pop(step.slot % len(self.open))
            os.close(mine)
            self.theirs.close(other)

    def _write(self, step: Step) -> None:
        found = self._one(step, os.O_WRONLY, os.O_RDWR)
        if found is not None:
            size = os.fstat(found[0]).st_size
            at = (0, size, int(step.at * (size + 1)), int(step.at * SIZE_MAX))[step.seed % 4]
            self.ours.write(found[0], at, step.data)
            self.theirs.write(found[1], at, step.data)

    def _read(self, step: Step) -> None:
        found = self._one(step, os.O_RDONLY, os.O_RDWR)
        if found is not None:
            at = int(step.at * (os.fstat(found[0]).st_size + 100))
            expected, got = self.ours.read(found[0], at, step.size), self.theirs.read(found[1], at, step.size)
            sizes = os.fstat(found[0]).st_size, self.theirs.size(found[1])
            if expected != got or sizes[0] != sizes[1]:
                raise Difference(f"{_brief(expected)} of {sizes[0]} here, {_brief(got)} of {sizes[1]} there, at {at}")

    def _cut(self, step: Step) -> None:
        found = self._one(step, os.O_WRONLY, os.O_RDWR)
        if found is not None:
            size = int(step.at * SIZE_MAX / 4)
            os.ftruncate(found[0], size)
            self.theirs.cut(found[1], size)

    def _sync(self, step: Step) -> None:
        found = self._one(step, os.O_WRONLY, os.O_RDWR)
        if found is not None:
            self.theirs.sync(found[1])

    # --- names

    def _is_folder(self, path: str) -> bool:
        return (self.folder / path).is_dir()

    def _hides(self, path: str) -> bool:
        """Whether a folder of the mount has a name in it that FUSE alone knows of."""
        found = self.theirs
        return isinstance(found, Files) and any(Path(found.folder / path).rglob(f"{HIDDEN}*"))

    def _truncate(self, step: Step) -> None:
        if not self._is_folder(step.path):
            self._same(lambda hand: hand.truncate(step.path, int(step.at * SIZE_MAX / 4)))

    def _rename(self, step: Step) -> None:
        if not self._hides(step.other):
            self._same(lambda hand: hand.rename(step.path, step.other))

    def _move(self, step: Step) -> None:
        self._same(lambda hand: hand.move(step.path, step.other))

    def _unlink(self, step: Step) -> None:
        self._same(lambda hand: hand.unlink(step.path))

    def _mkdir(self, step: Step) -> None:
        self._same(lambda hand: hand.mkdir(step.path))

    def _rmdir(self, step: Step) -> None:
        if not self._hides(step.path):
            self._same(lambda hand: hand.rmdir(step.path))

    def _names(self, step: Step) -> None:
        path = step.path if self._is_folder(step.path) else ""
        self._same(lambda hand: hand.names(path))

    def _stat(self, step: Step) -> None:
        expected, got = self._both(lambda hand: hand.stat(step.path))
        if isinstance(expected, Seen):
            self._alike(step.path, expected, got)

    @staticmethod
    def _alike(path: str, expected: Seen, got: Seen) -> None:
        """Of folders no size is compared; a time where a client has set it."""
        same = expected.is_folder == got.is_folder and (expected.is_folder or expected.size == got.size)
        was_set = expected.modified < LONG_AGO
        if not same or (
            (was_set or (got.modified < LONG_AGO and not got.is_folder)) and expected.modified != got.modified
        ):
            raise Difference(f"{path}: {expected} here, {got} there")

    def _utime(self, step: Step) -> None:
        self._same(lambda hand: hand.utime(step.path, 1_000_000_000 + step.seed % 500_000_000))

    def _chmod(self, step: Step) -> None:
        """Taken note of, and of no effect."""
        self._same(lambda hand: hand.chmod(step.path, 0o755 if self._is_folder(step.path) else 0o600))

    def _link(self, step: Step) -> None:
        """Refused: there are none."""
        try:
            self.theirs.link(step.path, step.other)
        except (OSError, Refused):
            return
        raise Difference("a hard link was made")

    def _put(self, step: Step) -> None:
        """Save a whole document, as cp does."""

        def save(hand: Hand) -> None:
            handle = hand.open(step.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            hand.write(handle, 0, step.data)
            hand.close(handle)

        if not self._is_folder(step.path):
            self._same(save)

    def _get(self, step: Step) -> None:
        if not self._is_folder(step.path):
            self._same(lambda hand: self._content(hand, step.path))

    @staticmethod
    def _content(hand: Hand, path: str) -> bytes:
        handle = hand.open(path, os.O_RDONLY)
        found = hand.read(handle, 0, 4 * SIZE_MAX)
        hand.close(handle)
        return found

    # --- all of it

    def compare(self) -> None:
        """Both folders hold the same: names, kinds, sizes, times that were set, and every byte."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            self._same(lambda hand, folder=folder: hand.names(folder))  # type: ignore[misc]
            for name in os.listdir(self.folder / folder):
                path = f"{folder}/{name}".lstrip("/")
                self._alike(path, self.ours.stat(path), self.theirs.stat(path))
                if self._is_folder(path):
                    waiting.append(path)
                elif self._content(self.ours, path) != self._content(self.theirs, path):  # type: ignore[arg-type]
                    raise Difference(f"{path}: other bytes")

    def close_all(self) -> None:
        """Close what is open, on both sides."""
        while self.open:
            mine, other, _ = self.open.pop()
            os.close(mine)
            self.theirs.close(other)

    def let_go(self) -> None:
        """Close what is open after a difference, whatever the answer."""
        for mine, other, _ in self.open:
            os.close(mine)
            try:
                self.theirs.close(other)
            except (OSError, Refused):
                pass
        self.open.clear()


def _brief(found: Any) -> str:
    return f"{len(found)} bytes" if isinstance(found, bytes) else repr(found)


def at_which(run: Callable[[Sequence[Step]], None], sequence: Sequence[Step]) -> int | None:
    """Carry a sequence out; return the number of the step at which it differed, or None."""
    try:
        run(sequence)
    except Difference as difference:
        return difference.at
    return None


def smallest(run: Callable[[Sequence[Step]], None], sequence: Sequence[Step]) -> list[Step]:
    """Return what is left of a sequence that differs, once everything was left out that need not be there.

    `run` carries one out in fresh folders, with a look at everything after each step. Empty: it did not differ again.
    """
    at = at_which(run, sequence)
    left = [] if at is None else list(sequence[: at + 1])
    length = len(left) // 2
    while length:
        start = 0
        while start < len(left):
            tried = left[:start] + left[start + length :]
            at = at_which(run, tried)
            if at is None:
                start += length
            else:
                left = tried[: at + 1]
        length //= 2
    return left
