"""One drive behind two doors, over real sockets: a share of the table of docs/PROTOCOLS.md, by four people.

Each way that needs no command is tried on a folder of its own. What is expected is what `tests/same` expects of the
same ways without sockets, by every role.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing

import paramiko
import pytest

from auth.roles import Role, Via
from providers.paths import parse
from tests.drive.stage import DOCUMENT, TABLE, Subject
from tests.proofs.history_doors import Reply
from tests.same.expected import OTHERWISE, expected_of, kinds_of, lines
from tests.same.hands import Hands
from tests.serving import Dav, space_path
from tests.sftp.client import StreamClient
from tests.ssh.doors import Door, exactly
from tests.worlds import store

#: A read is in the log within a second; on a busy machine later.
NUMBERED_SECONDS_MAX = 20.0
#: Who has which role; nils has none, so that nothing is there for him.
WHO = {"anna": "editor", "vera": "viewer", "ulla": "uploader", "nils": None}
_numbers = itertools.count()


class WireClient(StreamClient):
    """A client of SFTP on a channel of a connection."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self.channel = transport.open_session()
        self.channel.settimeout(30)
        self.channel.invoke_subsystem("sftp")
        super().__init__()

    def transmit(self, data: bytes) -> None:
        """Send bytes."""
        self.channel.sendall(data)

    def receive(self, length: int) -> bytes:
        """Receive so many bytes."""
        return exactly(self.channel, length)

    def lose(self) -> None:
        """Close the channel without a word, and give the server a moment."""
        self.channel.close()
        time.sleep(0.5)


class WireWebdav:
    """A client of WebDAV as `tests.same.ways` uses one."""

    def __init__(self, dav: Dav) -> None:
        self.dav = dav

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        """Make a request."""
        status, received, content = self.dav.request(method, path, body, **headers)
        return Reply(f"{status} ", received, content)

    def goal(self, path: str) -> str:
        """Return a path as a Destination header names it."""
        return f"{self.dav.origin}{self.dav.href(path)}"


class WireHands(Hands):
    """One person at both doors."""

    def __init__(self, door: Door, login: str, transport: paramiko.Transport) -> None:
        super().__init__(WireWebdav(door.server.dav(login)), None, may_add=login in ("anna", "ulla"))  # type: ignore[arg-type]
        self._transport = transport

    def sftp(self) -> WireClient:
        """Begin a session."""
        return WireClient(self._transport)


def folder(door: Door, login: str, name: str) -> str:
    """Make a folder with a document that somebody sees, with another folder in it; return it as they write it."""
    anna, above = door.world.drive("anna"), space_path("anna")
    for each in (f"{above}/{name}", f"{above}/{name}/Bort"):
        anna.make_folder(parse(each))
    if login == "ulla":
        for each in ("ulla", "vera"):  # what one has just made oneself, one may do more with
            door.world.grant(each, "Sandbox", Role.UPLOADER, f"/{name}")
        store(door.world.drive("vera"), f"{space_path(login)}/{name}/{DOCUMENT}", b"text")
    else:
        store(anna, f"{above}/{name}/{DOCUMENT}", b"text")
        if not name.startswith("checksums"):
            color = [("{urn:x}color", '<x:color xmlns:x="urn:x">grön</x:color>')]
            anna.change_properties(parse(f"{above}/{name}/{DOCUMENT}"), color)
    return f"{space_path(login)}/{name}"


@pytest.fixture
def transport(door: Door, request: pytest.FixtureRequest) -> Iterator[paramiko.Transport]:
    """A connection of somebody's."""
    login = request.getfixturevalue("login")
    with closing(paramiko.Transport((door.host, door.port))) as made:
        made.connect(username=login, password=door.password(login))
        yield made


@pytest.mark.parametrize("login", WHO)
def test_the_same_over_both(
    door: Door, login: str, transport: paramiko.Transport, request: pytest.FixtureRequest
) -> None:
    hands, role, wrong = WireHands(door, login, transport), WHO[login], []
    doors = {Via.SFTP} if "stock" in request.node.name else {Via.SFTP, Via.WEBDAV}
    for name, via, asked, way in lines():
        if asked.startswith(("scp", "md5sum", "sha1sum")) or via not in doors:
            continue
        place = parse(folder(door, login, f"{name} {next(_numbers)}"))
        subject = Subject(None, place, place.joined("Bort"), door.world, b"")  # type: ignore[arg-type]
        before = len(door.world.kinds("Sandbox"))
        told = way(hands, subject)
        answer = TABLE[name].absent if role is None else TABLE[name].answers[role]
        answer = OTHERWISE.get((name, asked, role or ""), answer)
        kinds = [] if role is None else kinds_of(name, answer)
        found = _told(door, before, reads=kinds == ["read"])
        if told not in expected_of(answer, via, asked) or found != kinds:
            wrong.append((name, via is Via.SFTP, asked, told, found, "expected", answer, kinds))
    assert wrong == []


def _told(door: Door, before: int, *, reads: bool) -> list[str]:
    """Return the events that came since. A read is numbered into the log by whichever process has the turn, soon."""
    until = time.monotonic() + NUMBERED_SECONDS_MAX
    while not (found := door.world.kinds("Sandbox", before)) and reads and time.monotonic() < until:
        time.sleep(0.05)
    return found
