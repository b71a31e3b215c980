"""One person's clients of both protocols, without a socket: the real applications, handed a drive by the test.

What a client is told is a `Told`: a status of HTTP or a code of SFTP, and the sentence that came with it, if any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from auth.rights import Principal
from auth.roles import Via
from providers.drive import Drive
from providers.installation import Installation
from server.sftp import commands
from server.sftp.engine.wire import Code
from server.sftp.pipe import Pipe
from server.webdav.app import WebDav
from server.webdav.signin import Authenticator
from tests.proofs.history_doors import Dav, Reply
from tests.sftp.client import Client, Refused

DONE = "done"


class Told(NamedTuple):
    """What a client learned: `done`, a status or a code; and the sentence for the person."""

    word: str
    sentence: str | None = None


class _Known:
    """Takes whoever comes for one person, who signed in before."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def basic(self, login: str, password: str, *, via: Via, address: str) -> Principal:
        return self._principal


class _Keeper:
    """Lets one person in by what was signed in before, and gives them one drive."""

    def __init__(self, drive: Drive) -> None:
        self.authenticator: Authenticator = _Known(drive.principal)
        self._drive = drive

    def drive(self, principal: Principal) -> Drive:
        return self._drive


class Webdav:
    """A client of WebDAV that signs in with a password, or is in already and acts by `drive`."""

    def __init__(self, installation: Installation, login: str, password: str, drive: Drive | None = None) -> None:
        keeper = installation if drive is None else _Keeper(drive)
        self.dav = Dav(WebDav(keeper, installation.settings), login, password)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        """Make a request. A path that ends in a slash is asked for so."""
        return self.dav.ask(method, tuple(path.strip("/").split("/")), body, **headers)

    def goal(self, path: str) -> str:
        """Return a path as a Destination header names it."""
        return f"https://files.example{self.dav.href(tuple(path.strip('/').split('/')))}"


def told_by(reply: Reply, *wanted: bytes) -> Told:
    """Return what a reply tells. Of a 207 it is the first status in it, and it must have what was `wanted`."""
    status = reply.status[:3]
    if status == "207":
        for element in wanted:
            assert element in reply.body, (element, reply.body)
        (first,) = re.findall(rb"HTTP/1.1 (\d+)", reply.body)[:1]
        status = first.decode()
    is_text = reply.headers.get("content-type", "").startswith("text/plain") and not reply.status.startswith("2")
    return Told(DONE if status[0] == "2" else status, reply.body.decode().strip() or None if is_text else None)


def told_over_sftp(act: Callable[[], object]) -> Told:
    """Do something with an engine; return what it told."""
    try:
        act()
    except Refused as refused:
        return Told(Code(refused.code).name, refused.message)
    return Told(DONE)


class _Loop:
    """Runs at once what a thread hands to the loop."""

    def call_soon_threadsafe(self, act: Callable[..., Any], *given: Any) -> None:
        act(*given)


class _Channel:
    """A client that says one thing more each time it is told that all went well, and nothing more once it is not.

    `is_hasty`: it ends its input with the last, and waits for no answer to that.
    """

    def __init__(self, given: Sequence[bytes], *, is_hasty: bool) -> None:
        self.said = bytearray()
        self.pipe: Pipe | None = None
        self._given = list(given)
        self._is_hasty = is_hasty

    def write(self, data: bytes) -> None:
        self.said += data
        assert self.pipe is not None
        if data == b"\0" and self._given:
            self.say(self._given.pop(0))
        elif data.startswith((b"\0", b"\x01")):
            self.pipe.feed_end()

    def say(self, said: bytes) -> None:
        assert self.pipe is not None
        self.pipe.feed(said)
        if self._is_hasty and not self._given:
            self.pipe.feed_end()

    def pause_reading(self) -> None:
        """All there is has been handed over already."""

    def resume_reading(self) -> None:
        """All there is has been handed over already."""


class Ran(NamedTuple):
    """What a command answered."""

    status: int
    out: bytes
    err: str


def run_exec(
    drive: Drive, line: str, first: bytes = b"", given: Sequence[bytes] = (), *, is_hasty: bool = False
) -> Ran:
    """Run a command as `exec` does; the client says `first` at once, and of `given` one each time the server says 0.

    It ends its input at the next answer, or, if it `is_hasty`, with the last that it says.
    """
    command = commands.parse(line)
    assert command is not None, line
    channel: _Channel = _Channel(given, is_hasty=is_hasty)
    ended: list[tuple[int, str]] = []
    pipe = channel.pipe = Pipe(_Loop(), channel, lambda: 0)  # type: ignore[arg-type]
    channel.say(first)
    commands.run(command, drive, pipe, lambda status, says: ended.append((status, says)))
    ((status, says),) = ended
    return Ran(status, bytes(channel.said), says)


def told_by_exec(ran: Ran) -> Told:
    """Return what a command told: it has no codes, only the sentence."""
    if ran.status == 0:
        return Told(DONE)
    if ran.err:
        return Told("", ran.err.removeprefix("Mellanrum: "))
    complaint = ran.out.rpartition(b"\x01scp: ")[2].decode()
    return Told("", complaint.partition(": ")[2].strip())


@dataclass
class Hands:
    """One person at both doors. `sftp` makes a client anew: a session ends when its rights do."""

    webdav: Webdav
    drive: Drive
    may_add: bool = True
    sessions: list[Client] = field(default_factory=list)

    def sftp(self) -> Client:
        """Begin a session of SFTP."""
        self.sessions.append(Client(self.drive))
        return self.sessions[-1]

    def sessions_have_ended(self) -> bool:
        """Tell whether the server ended every session there was; forget them."""
        sessions, self.sessions = self.sessions, []
        return all(each.door.has_ended for each in sessions)
