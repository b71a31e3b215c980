"""Two worlds from one seed: a broker and a buyer in both, a busy rival of the buyer in one alone.

The buyer's requests go over a socket to the real front, and every byte that comes back is kept but the `Date` header.
Whoever else acts does so between two requests of the buyer's, the rival with one upload half sent while it asks.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from auth.roles import Role
from server.http.dispatcher import Dispatcher
from server.webdav.app import WebDav
from tests.http.fronts import Wire, front, settings_with
from tests.proofs.twin_streams import Fate, govern
from tests.worlds import World, store

BUYER, RIVAL = "Köpare Ett AB", "Köpare Två AB"
#: Between two requests of the buyer's; the rival acts half way.
STEP_US = 2_000_000
_DATE = re.compile(rb"\r\ndate: [^\r]*", re.IGNORECASE)


@dataclass(frozen=True)
class Foreign:
    """What is the rival's, as the buyer names it in both worlds. In the quiet one it never was."""

    space: str
    token: str
    etag: str


@dataclass
class Heard:
    """All that one world told the buyer: answers over WebDAV, and its stream of the audit log."""

    answers: list[tuple[str, bytes]] = field(default_factory=list)
    streams: list[bytes] = field(default_factory=list)

    def differences(self, other: Heard) -> list[str]:
        """Name the requests that were answered otherwise, and say where the streams part."""
        assert [name for name, _ in self.answers] == [name for name, _ in other.answers]
        pairs = zip(self.answers, other.answers, strict=True)
        found = [f"{name}\n{one!r}\n{two!r}" for (name, one), (_, two) in pairs if one != two]
        if self.streams != other.streams:
            found.append(f"streams\n{self.streams!r}\n{other.streams!r}")
        return found


@dataclass
class Person:
    """Somebody with a client."""

    address: tuple[str, int]
    login: str
    password: str

    def head(self, method: str, path: str, length: int | None, headers: dict[str, str]) -> bytes:
        """Return a request up to its body. A `path` that begins with a star is a target as it is."""
        target = path[1:] if path.startswith("*") else "/dav" + quote(path)
        secret = base64.b64encode(f"{self.login}:{self.password}".encode()).decode()
        lines = [f"{method} {target} HTTP/1.1", "Host: files.example", f"Authorization: Basic {secret}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines += [] if length is None else [f"Content-Length: {length}"]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        """Send one request over a connection of its own; return all that comes back, but the date."""
        with Wire(self.address) as wire:
            wire.send(self.head(method, path, None if body is None else len(body), headers) + (body or b""))
            return rest(wire)


def rest(wire: Wire) -> bytes:
    """Return all that comes until the server closes, without the `Date` header."""
    pieces = list(iter(lambda: wire.sock.recv(65536), b""))
    head, blank, body = b"".join(pieces).partition(b"\r\n\r\n")
    return _DATE.sub(b"", head) + blank + body


def lock_body(owner: str) -> bytes:
    """Return what asks for an exclusive lock."""
    return (
        '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>'
        f"<D:owner>{owner}</D:owner></D:lockinfo>"
    ).encode()


def header(answer: bytes, name: str) -> str:
    """Return a header of a raw answer, empty if there is none."""
    found = re.search(rb"\r\n%s: ([^\r]*)" % name.encode(), answer.partition(b"\r\n\r\n")[0], re.IGNORECASE)
    return "" if found is None else found[1].decode()


class Twin:
    """One of the two worlds, being lived through."""

    def __init__(self, folder: Path, fate: Fate, *, has_rival: bool) -> None:
        self.fate = fate
        self.has_rival = has_rival
        self.heard = Heard()
        self.step = 0
        self.world = self._people(folder)
        self.buyer: Person
        self.rival: Person

    def _people(self, folder: Path) -> World:
        self._scene("supplier", 0)
        world = World.create(folder, "Mäklaren AB")
        world.person("anna", "Mäklaren AB")
        if self.has_rival:  # first, so that whatever counts gives the buyer other numbers
            self._scene("rival", 1)
            world.person("rut", RIVAL)
            world.spaces[RIVAL] = world.space("Rum", RIVAL, ("/Hemligt",))
            world.grant("rut", RIVAL, Role.EDITOR, history=True)
        self._scene("shared", 2)
        world.space("Objektet", None, ("/Underlag", "/Bud"))
        world.grant("anna", "Objektet", Role.MANAGER, history=True)
        if self.has_rival:
            self._scene("rival", 3)
            world.grant("rut", "Objektet", Role.VIEWER)
            world.grant("rut", "Objektet", Role.UPLOADER, "/Bud")
        self._scene("buyer", 4)
        world.person("bo", BUYER)
        world.grant("bo", "Objektet", Role.VIEWER)
        world.grant("bo", "Objektet", Role.UPLOADER, "/Bud")
        world.space("Rum", BUYER, quota_bytes=50_000_000)
        world.grant("bo", "Rum", Role.EDITOR, history=True)
        self._scene("broker", 5)
        store(world.drive("anna"), "/Objektet/Underlag/Årsredovisning.pdf", b"%PDF balans och resultat" * 2000)
        return world

    def _scene(self, actor: str, turn: int) -> None:
        """Let somebody act before the day begins, at a moment that is the same in both worlds."""
        self.fate.act(actor, -turn, turn * 1000 - STEP_US)

    @contextmanager
    def open(self) -> Iterator[Twin]:
        """Open the front door."""
        settings = settings_with(worker_threads=4)
        with ExitStack() as stack:
            stack.callback(self.world.installation.close)
            application = Dispatcher(WebDav(self.world.installation, settings))
            address = stack.enter_context(front(application, settings))
            self.buyer = Person(address, "bo", self.world.passwords["bo"])
            if self.has_rival:
                self.rival = Person(address, "rut", self.world.passwords["rut"])
            yield self

    def ask(self, method: str, path: str, body: bytes | None = None, note: str = "", **headers: str) -> bytes:
        """Let the buyer ask, the rival be busy around it, and the house do what it does now and then."""
        self.step += 1
        at = self.step * STEP_US
        with self._half_an_upload(at):
            self.fate.act("buyer", self.step, at)
            answer = self.buyer.ask(method, path, body, **headers)
            self.heard.answers.append((f"{note}{self.step} {method} {path}", answer))
        self.fate.act("house", self.step, at + 3)
        self.world.installation.tick()
        return answer

    @contextmanager
    def _half_an_upload(self, at: int) -> Iterator[None]:
        if self.has_rival:
            self.fate.act("rival", self.step, at - STEP_US // 2)
            self.busy(self.step)
        if not self.has_rival or self.step % 4 != 1:
            yield
            return
        name = f"/Objektet/Bud/halv {self.step}.bin"
        body = bytes(range(256)) * 40
        with Wire(self.rival.address) as wire:
            wire.send(self.rival.head("PUT", name, len(body), {}) + body[: len(body) // 2])
            yield
            self.fate.act("rival", self.step, at + 2)
            wire.send(body[len(body) // 2 :])
            assert rest(wire).startswith(b"HTTP/1.1 20")

    def busy(self, turn: int) -> None:
        """Let the rival do one thing of many; each must go as the rival's rights say."""
        acts = RIVAL_ACTS
        method, path, body, headers, status = acts[turn % len(acts)]
        answer = self.rival.ask(method, path.format(step=turn), body, **headers)
        assert answer[9:12].decode() in status, (method, path, answer)
        if turn % len(acts) == 0:
            self.world.grant("rut", RIVAL, Role.VIEWER)

    def foreign(self) -> Foreign:
        """Let the rival lock a bid of its own, and say what the buyer might have heard of it."""
        self.fate.act("rival", 10_000, 0)
        assert self.rival.ask("PUT", "/Objektet/Bud/Rivalens bud.pdf", b"4 200 000").startswith(b"HTTP/1.1 201")
        assert self.rival.ask("PUT", "/Objektet/Bud/Bud.pdf", b"4 300 000").startswith(b"HTTP/1.1 201")
        token = ""
        for name in ("Bud.pdf", "Rivalens bud.pdf", "låst.docx"):
            answer = self.rival.ask("LOCK", f"/Objektet/Bud/{name}", lock_body("Rut Lund"))
            assert answer[9:12] in (b"200", b"201"), answer
            token = header(answer, "Lock-Token").strip("<>")
        etag = header(self.rival.ask("HEAD", "/Objektet/Bud/Rivalens bud.pdf"), "ETag")
        assert token and etag
        return Foreign(self.world.spaces[RIVAL].id.hex(), token, etag)

    def listen(self) -> None:
        """Keep what the buyer's party can read in the audit log, and the newest checkpoints given to it."""
        installation = self.world.installation
        installation.tick()
        party = self.world.organisations[BUYER]
        with installation.database.read() as connection:
            for log in installation.audit.logs(connection):
                if log.party != party:
                    continue
                for entry in installation.audit.entries(connection, log):
                    shown = {name: (each.salt, each.value) for name, each in sorted(entry.personal.items())}
                    self.heard.streams += [entry.leaf, repr(shown).encode()]
                self.heard.streams.append((installation.checkpoints.latest(connection, log) or "").encode())
        self.heard.streams.sort()


_PUT = {"Content_Type": "application/octet-stream"}
_FIND = {"Depth": "1"}
#: What the rival does, in turn: method, path, body, headers, and the statuses it may meet.
RIVAL_ACTS: list[tuple[str, str, bytes | None, dict[str, str], tuple[str, ...]]] = [
    ("PUT", "/Objektet/Bud/Bud {step}.pdf", b"fyra miljoner", _PUT, ("201",)),
    ("PUT", "/Rum/Hemligt/kalkyl {step}.xlsx", b"kalkyl" * 9000, _PUT, ("201",)),
    ("PUT", "/Objektet/Underlag/intrång.txt", b"nej", _PUT, ("403",)),
    ("LOCK", "/Rum/Hemligt/lås {step}.docx", lock_body("Rut Lund"), {}, ("201",)),
    ("GET", "/Objektet/Underlag/Årsredovisning.pdf", None, {}, ("200",)),
    ("MKCOL", "/Rum/mapp {step}", None, {}, ("201",)),
    ("PROPFIND", "/Objektet/Bud/", None, _FIND, ("207",)),
    ("LOCK", "/Objektet/Bud/utkast {step}.docx", lock_body("Rut Lund"), {}, ("201",)),
    ("DELETE", "/Objektet/Bud", None, {}, ("403",)),
    ("MOVE", "/Rum/mapp 5", None, {"Destination": "http://files.example/dav/Rum/flyttad"}, ("201", "404")),
    ("PUT", "/Objektet/Bud/plan.docx", b"rivalens plan", _PUT, ("201", "204", "403")),
    ("GET", "/Rum/Offert.docx", None, {}, ("404",)),
    ("DELETE", "/Rum/Hemligt", None, {}, ("204", "404", "423")),
    ("MKCOL", "/Rum/Hemligt", None, {}, ("201", "405")),
]


Trace = Callable[[Any, Foreign], None]


def live(
    folder: Path,
    patch: pytest.MonkeyPatch,
    trace: Trace,
    foreign: Foreign | None,
    plant: Callable[[pytest.MonkeyPatch], None] | None = None,
    make: Callable[..., Any] = Twin,
    seed: int = 0,
) -> tuple[Heard, Foreign]:
    """Live through one world; the busy one if nothing foreign is given. Returns what was heard, and what is foreign.

    `make` is the kind of twin: which door the buyer comes by.
    """
    fate = Fate(f"mellanrum twin worlds {seed}")
    with patch.context() as governed:
        govern(fate, governed)
        if plant is not None:
            plant(governed)
        twin = make(folder, fate, has_rival=foreign is None)
        with twin.open():
            known = foreign or twin.foreign()
            trace(twin, known)
            twin.listen()
    return twin.heard, known


def unequal_neighbours(answers: list[tuple[str, bytes]]) -> list[str]:
    """Name pairs (foreign, never existed) that were answered otherwise."""
    pairs = zip(answers[::2], answers[1::2], strict=True)
    return [f"{one[0]}\n{one[1]!r}\n{two[1]!r}" for one, two in pairs if one[1] != two[1]]
