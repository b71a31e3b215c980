"""A document on a running server, and what must hold of it after each save (H1)."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import paramiko

from auth.roles import Role, Via
from config.clock import now_us
from providers.drive import Drive
from providers.paths import Path as DrivePath
from providers.paths import parse
from tests.saves.dances import Dance, Step
from tests.saves.hands import Explorer, Finder, Hands, PlainDav, Sftp, Sshfs, owner_file
from tests.serving import SPACE, space_path, start
from tests.ssh.doors import Door, serving_sftp
from tests.worlds import fetch, store

DAV_HANDS = {"plain": PlainDav, "explorer": Explorer, "finder": Finder}
SFTP_HANDS = {"winscp": Sftp, "sshfs": Sshfs}
HANDS = (*DAV_HANDS, *SFTP_HANDS)
PROPERTY = ("{urn:mellanrum:test}case", "<z:case xmlns:z='urn:mellanrum:test'>4711</z:case>")
VIM_SWAP = b"b0VIM 9.0\0\0\0\0" + bytes(1010)
_numbers = itertools.count()


def text(number: int, what: str) -> bytes:
    """Return what a save writes, of another length each time."""
    return f"{what}, {number} ".encode() * (100 + 7 * number)


@dataclass
class Stage:
    """A server, and the hands of the editor `anna` at it."""

    door: Door
    window_seconds: int
    settings: dict[str, object]
    _open: ExitStack = field(default_factory=ExitStack)
    _hands: dict[tuple[str, str], Hands] = field(default_factory=dict)
    _drives: dict[str, Drive] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The space, as `anna` sees it."""
        return space_path("anna")

    def drive(self, login: str = "anna") -> Drive:
        """Return a person's drive."""
        if login not in self._drives:
            self._drives[login] = self.door.world.drive(login, Via.WEBDAV)
        return self._drives[login]

    def hands(self, kind: str, login: str = "anna") -> Hands:
        """Return the hands of a client. Over WebDAV they connect anew: a connection that idles is closed."""
        key = (kind, login)
        if key not in self._hands:
            self._hands[key] = self.fresh_hands(kind, login)
        found = self._hands[key]
        if isinstance(found, PlainDav):
            found.dav.close()
        return found

    def fresh_hands(self, kind: str, login: str = "anna") -> Hands:
        """Return the hands of a client with a connection of its own."""
        if kind in DAV_HANDS:
            return DAV_HANDS[kind](self.door.server.dav(login))
        return SFTP_HANDS[kind](self.sftp(login))

    def sftp(self, login: str) -> paramiko.SFTPClient:
        """Return a connection over SFTP."""
        transport = self._open.enter_context(paramiko.Transport((self.door.host, self.door.port)))
        transport.connect(username=login, password=self.door.password(login))
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        return client

    def forget(self) -> None:
        """Let all connections go, before the server is stopped."""
        self._hands.clear()
        self._open.close()

    def restart(self) -> None:
        """Stop the server, as systemd would, and start it again."""
        self.forget()
        world = self.door.world
        self.door.server.stop()
        self.door.server = start(world.installation.folder, world, **self.settings)

    def home(self) -> str:
        """Make an empty folder of a test's own."""
        path = f"{self.root}/{next(_numbers)}"
        self.drive().make_folder(parse(path))
        return path

    def in_trash(self) -> dict[str, list[str]]:
        """Return the names that the trash of the whole space lists, by the folder of a test that they lay in."""
        found: dict[str, list[str]] = {}
        after: bytes | None = None
        while True:
            listed, after = self.drive().trash(parse(self.root), limit=1000, after=after)
            for entry in listed:
                found.setdefault(f"{self.root}/{entry.path.segments[1]}", []).append(entry.path.name)
            if after is None:
                return found

    @staticmethod
    def path(text: str) -> DrivePath:
        """Return a path as the drive takes it."""
        return parse(text)

    def sizes(self, path: str) -> list[int]:
        """Return the sizes of a document's versions, oldest first."""
        return [version.size for version in self.drive().versions(parse(path))]

    def document(self, name: str, content: bytes = b"", *, home: str = "", maker: str = "anna") -> Document:
        """Make a document with a property and a grant of its own, as it lies there before a program saves it."""
        home = home or self.home()
        content = content or text(0, "as it was")
        theirs = home.replace(self.root, space_path(maker))
        store(self.drive(maker), f"{theirs}/{name}", content)
        drive, path = self.drive(), f"{home}/{name}"
        drive.change_properties(parse(path), [PROPERTY])
        grant = self.door.world.grant("gast", SPACE, Role.VIEWER, path.removeprefix(self.root))
        item = drive.stat(parse(path))
        return Document(self, home, name, item.id, item.created, grant.id, [content])


@dataclass
class Document:
    """What was known of a document before, and every content it was given since."""

    stage: Stage
    home: str
    name: str
    id: bytes
    created: int
    grant: bytes
    contents: list[bytes]

    @property
    def path(self) -> str:
        return f"{self.home}/{self.name}"

    def age_seconds(self) -> float:
        """Return for how long the document has been there."""
        return (now_us() - self.created) / 1e6

    def faults(self, names: set[str] | None = None) -> list[str]:
        """Return what does not hold: H1. `names` are those that stand in its folder; without them, its own alone."""
        found = self.own_faults()
        if self.grant not in self.grants(self.stage.drive().stat(parse(self.path)).id):
            found.append("without its grant")
        return found + self.leftovers(names or {self.name})

    def own_faults(self) -> list[str]:
        """Return what does not hold of the document itself: what is quickly seen."""
        drive, path = self.stage.drive(), parse(self.path)
        item = drive.stat(path)
        found = []
        if item.id != self.id:
            found.append("another document")
        if item.created != self.created:
            found.append("another time of creation")
        shown = [version.sha256 for version in drive.versions(path)]
        if shown != [hashlib.sha256(each).hexdigest() for each in self.contents]:
            found.append(f"{len(shown)} versions that are not the {len(self.contents)} saved")
        if item.size != len(self.contents[-1]) or fetch(drive, path) != self.contents[-1]:
            found.append("not the content that was saved last")
        if drive.properties(path).get(PROPERTY[0]) != PROPERTY[1]:
            found.append("without its property")
        return found

    def grants(self, node: bytes) -> set[bytes]:
        """Return the grants that stand on a document itself."""
        installation = self.stage.door.world.installation
        space = self.stage.door.world.spaces[SPACE].id
        with installation.database.read() as connection:
            return {
                grant.id for grant in installation.directory.grants_of_space(connection, space) if grant.node == node
            }

    def leftovers(self, names: set[str]) -> list[str]:
        """Return what lies about, other than these names: in the folder, as it is and was, and in the trash."""
        drive, found = self.stage.drive(), []
        inside = self.home.removeprefix(self.stage.root)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
        places = {"the folder": self.home, "its history": f"{self.stage.root}/.history/{now}{inside}"}
        for place, path in places.items():
            seen = {item.name for item in drive.listing(parse(path))[1] if not item.name.startswith("._")}
            if seen != names:
                found.append(f"{sorted(seen ^ names)} in {place}")
        return found


def play(stage: Stage, kind: str, dance: Dance, document: Document, number: int) -> None:
    """Let a client save the document once, as the program does."""
    hands = stage.hands(kind)
    content, before = text(number, dance.program), document.contents[-1]
    for step in dance.step_names(number):
        perform(hands, document.home, step, content, before)
    document.contents.append(content)


def saves(stage: Stage, kind: str, dance: Dance, document: Document, times: int) -> list[str]:
    """Save some times; return what of H1 does not hold after one, and where what stays is not what it was (H2).

    A grant that was lost, or a name that was left lying about, is still so after the last.
    """
    found = []
    stays = {dance.named(dance.stays, 0)} if dance.stays else set()
    for number in range(1, times + 1):
        play(stage, kind, dance, document, number)
        faults = document.own_faults() if number < times else document.faults({document.name, *stays})
        found += [f"after {number}: {fault}" for fault in faults]
        for name in stays:
            place = parse(f"{document.home}/{name}")
            if fetch(stage.drive(), place) != document.contents[-2]:
                found.append(f"after {number}: {name} does not hold what was there before")
            if stage.drive().stat(place).id == document.id:
                found.append(f"after {number}: {name} is the document itself")
    return found


def perform(hands: Hands, home: str, step: Step, content: bytes, before: bytes) -> None:
    """Carry out one operation."""
    path = f"{home}/{step.name}"
    contents = {"new": content, "save": content, "copy": before, "aux": VIM_SWAP, "noise": owner_file(step.name)}
    if step.act in ("move", "over"):
        getattr(hands, step.act)(path, f"{home}/{step.other}")
    elif step.act == "save":
        hands.save(path, content)
    elif step.act in contents:
        hands.new(path, contents[step.act])
    else:
        getattr(hands, step.act)(path)


@contextmanager
def staged(folder: Path, window_seconds: int = 15) -> Iterator[Stage]:
    """Serve the world of `tests.serving` over both protocols, with a guest who sees but what is granted to them."""
    told = {
        "history.identity_window_seconds": window_seconds,
        "sftp.enabled": True,
        "sftp.workers": 1,
        "http.workers": 1,
    }
    with ExitStack() as stack:
        door = stack.enter_context(serving_sftp(folder, **told))
        door.world.person("gast", "Kund AB")
        stage = Stage(door, window_seconds, told)
        stack.callback(lambda: stage.door.server.stop())
        stack.callback(stage.forget)
        yield stage
