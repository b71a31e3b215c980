"""Random requests of SFTP version 3, sent packet by packet to a folder of the drive and to OpenSSH's server in another.

A sequence is told whole by its seed, and one from which requests were left out is still a sequence.
"""

from __future__ import annotations

import random
import stat
import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from server.sftp.engine.wire import APPEND, CREAT, EXCL, READ, TRUNC, WRITE, Code, Type, string
from tests.proofs.twin_folders import LONG_AGO, Difference
from tests.sftp.client import U32, Client, Refused, Stat, stat_of, take

NAMES: Final = ("a", "b", "c", "å")
#: What paths end in, at times: a slash, a name that is too long; of what is only looked at, dots too.
ENDS: Final = ("",) * 12 + ("/", "/" + "n" * 256)
LOOKS: Final = frozenset({"lstat", "stat", "opendir", "realpath", "expand-path@openssh.com", "statvfs@openssh.com"})
DOTS: Final = (*ENDS, "/.", "/..")
ACCESSES: Final = (READ, WRITE, READ | WRITE, 0)
OFFSETS: Final = (0, 1, 17, 4095, 32_768, 65_537, 262_143)
LENGTHS: Final = (0, 1, 511, 4096, 32_768, 70_001)
SIZE_MAX: Final = 300_000
OPEN_MAX: Final = 12
_SIZE, _OWNER, _PERMISSIONS, _TIMES = 1, 2, 4, 8

#: Whether it is a folder, how long it is, and when it was written, where a client said so.
Look = tuple[bool, int, int | None]
#: What an answer says: a code, bytes, the look of something, names, or just that it came.
Told = Code | bytes | str | tuple[Any, ...]
Answer = tuple[int, bytes]


#: Attributes that are not sent, alone or together, for they do something else on purpose. A time that comes with OPEN
#: is set here. A size may be set by the request that is for links, too, where there are none. Where a size may not be
#: set, the time that comes with it is not either; there it is.
UNSENT: Final = {"open": {_TIMES}, "lsetstat@openssh.com": {_SIZE}, "fsetstat": {_SIZE | _TIMES}}


class Request(NamedTuple):
    """One request, and whatever chance has to say of it."""

    kind: str
    path: str
    other: str
    slot: int
    another: int
    flags: int
    offset: int
    length: int
    attributes: bytes
    seed: int

    @property
    def data(self) -> bytes:
        """What is written."""
        return random.Random(self.seed).randbytes(self.length)


class Side(NamedTuple):
    """One of the two: who is asked, and where."""

    client: Client
    folder: str

    def at(self, path: str) -> bytes:
        """Return a path as it is sent to this side."""
        return string(f"{self.folder}/{path}".encode())

    def looks(self, path: str) -> dict[str, Look]:
        """Return how everything in a folder looks."""
        found = self.client.names(f"{self.folder}/{path}")
        return {name: _look(each) for name, (_, each) in sorted(found.items()) if name not in (".", "..")}


Build = Callable[[Request, Side, bytes, bytes], tuple[int, bytes]]


def _by_path(kind: Type, tail: bool = False) -> Build:
    return lambda ask, side, *_: (kind, side.at(ask.path) + (ask.attributes if tail else b""))


def _by_handle(kind: Type, tail: bool = False) -> Build:
    return lambda ask, side, handle, _: (kind, string(handle) + (ask.attributes if tail else b""))


def _extended(name: str, body: Callable[[Request, Side, bytes, bytes], bytes]) -> Build:
    return lambda *given: (Type.EXTENDED, string(name.encode()) + body(*given))


def _two_paths(ask: Request, side: Side, *_: bytes) -> bytes:
    return side.at(ask.path) + side.at(ask.other)


#: Each kind of request: how often it is sent, and what of it.
BUILDS: Final[dict[str, tuple[int, Build]]] = {
    "open": (24, lambda ask, side, *_: (Type.OPEN, side.at(ask.path) + U32.pack(ask.flags) + ask.attributes)),
    "close": (7, _by_handle(Type.CLOSE)),
    "read": (14, lambda ask, _, handle, __: (
        Type.READ, string(handle) + struct.pack(">QI", ask.offset, ask.length))),
    "write": (14, lambda ask, _, handle, __: (
        Type.WRITE, string(handle) + struct.pack(">Q", ask.offset) + string(ask.data))),
    "lstat": (3, _by_path(Type.LSTAT)),
    "stat": (5, _by_path(Type.STAT)),
    "fstat": (5, _by_handle(Type.FSTAT)),
    "setstat": (6, _by_path(Type.SETSTAT, tail=True)),
    "fsetstat": (6, _by_handle(Type.FSETSTAT, tail=True)),
    "opendir": (3, _by_path(Type.OPENDIR)),
    "readdir": (4, _by_handle(Type.READDIR)),
    "remove": (4, _by_path(Type.REMOVE)),
    "mkdir": (7, _by_path(Type.MKDIR, tail=True)),
    "rmdir": (3, _by_path(Type.RMDIR)),
    "realpath": (3, _by_path(Type.REALPATH)),
    "rename": (7, lambda *given: (Type.RENAME, _two_paths(*given))),
    "readlink": (1, _by_path(Type.READLINK)),
    "symlink": (1, lambda *given: (Type.SYMLINK, _two_paths(*given))),
    "posix-rename@openssh.com": (8, _extended("posix-rename@openssh.com", _two_paths)),
    "hardlink@openssh.com": (1, _extended("hardlink@openssh.com", _two_paths)),
    "statvfs@openssh.com": (1, _extended("statvfs@openssh.com", lambda ask, side, *_: side.at(ask.path))),
    "fstatvfs@openssh.com": (1, _extended("fstatvfs@openssh.com", lambda _, __, handle, ___: string(handle))),
    "fsync@openssh.com": (2, _extended("fsync@openssh.com", lambda _, __, handle, ___: string(handle))),
    "lsetstat@openssh.com": (2, _extended(
        "lsetstat@openssh.com", lambda ask, side, *_: side.at(ask.path) + ask.attributes)),
    "expand-path@openssh.com": (1, _extended("expand-path@openssh.com", lambda ask, side, *_: side.at(ask.path))),
    "copy-data": (6, _extended("copy-data", lambda ask, _, handle, other: (
        string(handle) + struct.pack(">QQ", ask.offset, ask.length)
        + string(other) + struct.pack(">Q", ask.seed % 9000)))),
    "nobody's@example.com": (1, _extended("nobody's@example.com", lambda *_: b"")),
}  # fmt: skip


def requests(seed: int, count: int, owner: tuple[int, int]) -> list[Request]:
    """Return the sequence of a seed. `owner`: whoever runs the local server, and may give its files to nobody else."""
    chance = random.Random(seed)
    kinds = chance.choices(list(BUILDS), [weight for weight, _ in BUILDS.values()], k=count)
    return [
        Request(
            kind,
            _path(chance, DOTS if kind in LOOKS else ENDS),
            _path(chance, ENDS),
            chance.randrange(60),
            chance.randrange(60),
            _flags(chance),
            chance.choice(OFFSETS),
            chance.choice(LENGTHS),
            _attributes(chance, owner, UNSENT.get(kind, ())),
            chance.randrange(1 << 30),
        )
        for kind in kinds
    ]


def _path(chance: random.Random, ends: Sequence[str]) -> str:
    return "/".join(chance.choices(NAMES, k=chance.choice((1, 1, 1, 1, 2, 2, 3)))) + chance.choice(ends)


def _flags(chance: random.Random) -> int:
    more = sum(
        flag for flag, often in ((APPEND, 0.2), (CREAT, 0.7), (TRUNC, 0.3), (EXCL, 0.2)) if chance.random() < often
    )
    return chance.choice(ACCESSES) | more


def _attributes(chance: random.Random, owner: tuple[int, int], unsent: Collection[int]) -> bytes:
    flags = chance.choice([0, 0, *(flags for flags in range(16) if not any(flags & each == each for each in unsent))])
    # A size that hardly anything has: to be given the one it has makes a document no younger here.
    body = struct.pack(">Q", chance.randrange(1, SIZE_MAX)) if flags & _SIZE else b""
    body += struct.pack(">II", *owner) if flags & _OWNER else b""
    body += U32.pack(chance.choice((0o600, 0o644, 0o755))) if flags & _PERMISSIONS else b""
    body += U32.pack(1000) + U32.pack(chance.choice((1, 86_400, LONG_AGO - 1))) if flags & _TIMES else b""
    return U32.pack(flags) + body


#: What is told, where it is not a code alone.
ANSWERED: Final = "answered"


class Meant(NamedTuple):
    """A difference that is meant: of which requests, what is told there and here, and why. None: whatever it is."""

    kinds: str
    there: Code | str | None
    here: Code | str | None
    why: str

    def covers(self, kind: str, there: Told, here: Told) -> bool:
        """Whether it is this difference."""
        both = zip((self.there, self.here), (there, here), strict=True)
        return kind in self.kinds.split() and all(meant in (None, _kind(told)) for meant, told in both)


def _kind(told: Told) -> Code | str:
    return told if isinstance(told, Code) else ANSWERED


class Opened(NamedTuple):
    """What both have open: its handles, and what it was when it was opened."""

    there: bytes
    here: bytes
    path: str = ""
    inode: int = 0


#: A handle that nobody was ever given.
NOBODYS: Final = Opened(b"\xff\xff\xff\xf0", b"\xff\xff\xff\xf0")


class Pair:
    """OpenSSH's server in a local folder, and the drive, asked the same."""

    def __init__(self, folder: Path, there: Side, here: Side, meant: Sequence[Meant]) -> None:
        self.folder, self.there, self.here, self.meant = folder, there, here, meant
        self.open: list[Opened] = []
        self.closed: list[Opened] = []
        self.met: Counter[Meant] = Counter()
        self.told: Counter[tuple[str, bool]] = Counter()

    def run(self, sequence: Sequence[Request]) -> None:
        """Carry out a sequence; in the end both trees are the same. Raises Difference."""
        number = 0
        try:
            for request in sequence:
                self._ask(request)
                number += 1
            self._close_all()
            self._compare("")
        except (Difference, Refused) as error:
            at = min(number, len(sequence) - 1)
            raise Difference(f"at {at}, {sequence[at]}: {error}", at) from error
        finally:
            self._close_all()

    def _ask(self, request: Request) -> None:
        one, other = self._opened(request.slot), self._opened(request.another)
        if request.kind == "copy-data" and (one.path == other.path or one.inode == other.inode):
            return  # there a document is never copied from itself, and told by the name it was opened by
        if request.kind in ("open", "opendir") and len(self.open) >= OPEN_MAX:
            return
        build = BUILDS[request.kind][1]
        there = self.there.client.ask(*build(request, self.there, one.there, other.there))
        here = self.here.client.ask(*build(request, self.here, one.here, other.here))
        self._keep(request, one, there, here)
        expected, found = _told(*there, self.there), _told(*here, self.here)
        self.told[request.kind, _kind(expected) in (Code.OK, ANSWERED)] += 1
        if request.kind == "fstat" and isinstance(expected, tuple) and isinstance(found, tuple):
            expected, found = expected[:2], found[:2]  # what has lost its name is given no times here
        if expected != found:
            self._require_meant(request.kind, expected, found)

    def _opened(self, slot: int) -> Opened:
        """Return what is open, most of the time; else what was, or nobody's."""
        if self.open and slot < 50:
            return self.open[slot % len(self.open)]
        return self.closed[slot % len(self.closed)] if self.closed and slot < 58 else NOBODYS

    def _keep(self, request: Request, one: Opened, there: Answer, here: Answer) -> None:
        """Take note of what is open now; undo what was done there alone."""
        if there[0] == here[0] == Type.HANDLE:
            inode = (self.folder / request.path).stat().st_ino
            opened = Opened(take(there[1], 0)[0], take(here[1], 0)[0], request.path, inode)
            self.open.append(opened)
            if request.kind == "opendir":  # at once: nothing says whether what comes or goes meanwhile is told of
                self._ask(request._replace(kind="readdir", slot=len(self.open) - 1))
            self.closed = [each for each in self.closed if each.there != opened.there]  # there they are given out again
        elif there[0] == Type.HANDLE:
            self.there.client.close(take(there[1], 0)[0])
        elif request.kind == "close" and one in self.open:
            self.open.remove(one)
            self.closed.append(one)
        elif (
            request.kind in ("symlink", "hardlink@openssh.com") and there[0] == Type.STATUS and there[1][:4] == bytes(4)
        ):
            self.there.client.path_request(Type.REMOVE, f"{self.there.folder}/{request.other}")

    def _require_meant(self, kind: str, there: Told, here: Told) -> None:
        found = next((each for each in self.meant if each.covers(kind, there, here)), None)
        if found is None:
            raise Difference(f"{there!r:.300} there, {here!r:.300} here")
        self.met[found] += 1

    def _close_all(self) -> None:
        """Close what is open, in its order: the last has the last word."""
        while self.open:
            one = self.open.pop(0)
            self.there.client.close(one.there)
            self.here.client.close(one.here)

    def _compare(self, below: str) -> None:
        there, here = (side.looks(below) for side in (self.there, self.here))
        if there != here:
            raise Difference(f"in /{below}: {there} there, {here} here")
        for name, (is_folder, *_) in there.items():
            path = f"{below}/{name}".lstrip("/")
            if is_folder:
                self._compare(path)
            elif self.there.client.get(f"{self.there.folder}/{path}") != self.here.client.get(
                f"{self.here.folder}/{path}"
            ):
                raise Difference(f"/{path} holds other bytes")


def _told(kind: int, body: bytes, side: Side) -> Told:
    """Return what both can be held to: not the numbers of handles, nor times that are now, nor how much is free."""
    if kind == Type.STATUS:
        return Code(U32.unpack_from(body)[0])
    if kind == Type.DATA:
        return take(body, 0)[0]
    if kind == Type.ATTRS:
        return _look(stat_of(body))
    if kind == Type.NAME:
        return tuple(sorted(_names(body, side)))
    return Type(kind).name


def _look(found: Stat) -> Look:
    """Return whether it is a folder, its size, and its time where a client has set it. Of folders the kind alone."""
    if stat.S_ISDIR(found.mode):
        return True, 0, None
    return False, found.size, found.modified if found.modified <= LONG_AGO else None


def _names(body: bytes, side: Side) -> Iterator[tuple[str, Look | None]]:
    at = 4
    for _ in range(U32.unpack_from(body)[0]):
        name, at = take(body, at)
        _, at = take(body, at)
        if name.startswith(b"/"):  # a path alone: of its attributes nobody says anything
            yield name.decode().removeprefix(side.folder), None
            return
        yield name.decode(), _look(stat_of(body[at : at + 32]))
        at += 32
