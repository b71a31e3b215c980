"""What several people do to a space over both protocols, each act done to the model too, and all that stands compared.

Identities are compared after every act; at the end every version is read at its moment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from hypothesis import note

from providers.drive import Drive
from providers.model import Item
from providers.paths import Path as DrivePath
from tests.proofs.history_doors import Dav, Reply
from tests.proofs.history_model import Space
from tests.proofs.history_nodes import Document, Folder, Node, Path, Person, Reasons, Snapshot, Stood
from tests.proofs.history_stage import ANNEX, FOLDERS, OPERATOR, PEOPLE, WINDOW_SECONDS, Stage, seen_as
from tests.sftp.client import Refused

MIRA = PEOPLE[1]
DAV, SFTP, DRIVE = "WebDAV", "SFTP", "drive"
NAMES = ("x.txt", "y.txt", "x.txt~", "t1.tmp", "X.TXT", "A")
#: Any name that may come to stand.
UNIVERSE = tuple((*folder, name) for folder in ((), *FOLDERS) for name in NAMES)


class Moment(NamedTuple):
    """How everything stood at a moment, right after something was acknowledged."""

    at: int
    tree: Snapshot
    standing: list[Stood]

    def path_of(self, stood: Stood) -> Path:
        """Return where something stood at the moment."""
        above = next((each for each in self.standing if each.node is stood.folder), None)
        return (*(() if above is None else self.path_of(above)), stood.name)


def written(at: int) -> str:
    """Return a moment as a folder of `.history` is named."""
    whole, rest = divmod(at, 1_000_000)
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H%M%S") + f".{rest:06d}Z"


class Hands:
    """Everybody's hands on one space of a stage, and the model of it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.clock = stage.clock
        self.name = stage.next_space()
        self.space = Space(WINDOW_SECONDS * 1_000_000)
        #: A folder of another space, which is all of that space to these hands.
        self.annex = Space(WINDOW_SECONDS * 1_000_000)
        for path in FOLDERS:
            self.space.make_folder(OPERATOR, path, set(), self.clock.us)
        self.eyes: Drive = stage.drive(MIRA)
        self.moments = [Moment(self.clock.us, self.space.snapshot(), self.space.standing())]
        self.ids: dict[bytes, Node] = {}
        #: How many acts there were, and by whom.
        self.count = 0
        self.seen: set[str] = set()
        self._contents = 0

    def content(self, kind: int) -> bytes:
        """Return content that no other act brings, of some size."""
        self._contents += 1
        return f"{self._contents} {self.name}\n".encode() * (1, 3, 40, 400)[kind % 4]

    def seen_path(self, who: Person, path: Path, space: str | None = None) -> Path:
        """Return a path of the space as somebody sees it from the root."""
        return (seen_as(who, space or self.name), *path)

    def annex_path(self, who: Person, path: Path) -> Path:
        """Return a path of the other space as somebody sees it from the root."""
        return (seen_as(who, ANNEX), self.name, *path)

    # --- one act, in both worlds

    def _tokens(self, who: Person) -> tuple[set[str], dict[str, str]]:
        """Return the tokens that somebody holds, and the header that submits them."""
        held = self.space.tokens(who)
        lists = " ".join(f"<{Dav.href(self.seen_path(who, path))}> (<{token}>)" for path, token in held.items())
        return set(held.values()), {"If": lists} if held else {}

    def _held(self, who: Person) -> set[str]:
        """Return the tokens of somebody's locks: SFTP submits none, and takes one's own locks for one's own."""
        return self._tokens(who)[0]

    def dav(
        self,
        act: str,
        who: Person,
        method: str,
        path: Path,
        model: Callable[[set[str]], Reasons],
        body: bytes = b"",
        goal: Path | None = None,
        source: Path | None = None,
        **headers: str,
    ) -> Reply:
        """Make a request, and do the same to the model. `source` is given where it is no path of the space."""
        tokens, submitted = self._tokens(who) if method != "LOCK" else (set(), {})
        client = self.stage.doors.dav(who.login, self.count % 2)

        def ask(space: str) -> tuple[str, Reply]:
            told = dict(headers)
            if goal is not None:
                told["Destination"] = Dav.href(self.seen_path(who, goal, space))
            own = source if source is not None else self.seen_path(who, path, space)
            return client.outcome(method, own, body, **told, **submitted)

        if not who.sees:
            self._is_told_alike(ask)
        outcome, reply = ask(self.name)
        to = "" if goal is None else f" to {'/'.join(goal)}"
        note(f"{who.login}: {method} {'/'.join(source or path)}{to} {headers} {body[:9]!r}: {outcome}")
        self.settle(act, who, DAV, outcome, model(tokens), lambda reasons: Dav.told(reasons, method))
        return reply

    def _is_told_alike(self, ask: Callable[[str], tuple[str, Reply]]) -> None:
        """What is foreign must be told exactly as what never was."""
        never = "Rvm" + self.name[3:]
        foreign, absent = ask(self.name)[1], ask(never)[1]
        own, other = (Dav.href((name,)).removeprefix("/dav/").encode() for name in (self.name, never))
        assert (foreign.status, foreign.headers) == (absent.status, absent.headers)
        assert foreign.body.replace(own, other) == absent.body

    def sftp(
        self, act: str, who: Person, asked: str, path: Path, model: Callable[[set[str]], Reasons], *given: object
    ) -> None:
        """Send packets, and do the same to the model."""
        client = self.stage.doors.sftp(who.login, self.count % 2)
        outcome = client.outcome(asked, self.seen_path(who, path), *given)
        note(f"{who.login}: sftp {asked} {'/'.join(path)} {str(given)[:60]}: {outcome}")
        self.settle(act, who, SFTP, outcome, model(self._held(who)), client.told)

    def drive(self, act: str, who: Person, ask: Callable[[Drive], object], reasons: Reasons) -> None:
        """Do what no protocol offers through the drive; the model has done it already."""
        outcome = self.stage.outcome(who, ask)
        note(f"{who.login}: {act}: {outcome}")
        self.settle(act, who, DRIVE, outcome, reasons, lambda reasons: reasons or {"done"})

    def settle(
        self, act: str, who: Person, via: str, outcome: str, reasons: Reasons, told: Callable[[Reasons], set[str]]
    ) -> None:
        """Compare what came of an act with what the model says, and then the whole tree."""
        self.counted(act, who, via, reasons)
        allowed = told(reasons)
        assert outcome in allowed, f"{act} by {who.login} over {via}: {outcome}, should be {allowed} for {reasons}"
        self.compare()

    def counted(self, act: str, who: Person, via: str, reasons: Reasons) -> None:
        """Count an act for the histogram."""
        self.count += 1
        self.seen.add(who.login)
        self.stage.counted[act, via, "/".join(sorted(reasons)) or "done"] += 1

    # --- all that stands

    def compare(self) -> None:
        """Compare the tree, and note how it stands now."""
        self._compare_tree(self.space, self.seen_path(MIRA, ()))
        snapshot = self.space.snapshot()
        if snapshot != self.moments[-1].tree:
            self.clock.us += 1
            self.moments.append(Moment(self.clock.us, snapshot, self.space.standing()))

    def _compare_tree(self, space: Space, root: Path) -> None:
        found = self.tree(DrivePath(root), ())
        expected = dict(space.walk())
        assert set(found) == set(expected), (sorted(found), sorted(expected))
        for path, node in expected.items():
            self._compare_one(path, node, found[path])

    def tree(self, at: DrivePath, path: Path) -> dict[Path, Item]:
        """Return all that stands, as the manager's drive tells."""
        found: dict[Path, Item] = {}
        for item in self.eyes.listing(at)[1]:
            below = (*path, item.name)
            found[below] = item
            if item.is_folder:
                found |= self.tree(at.joined(item.name), below)
        return found

    def _compare_one(self, path: Path, node: Node, item: Item) -> None:
        assert item.is_folder == isinstance(node, Folder), path
        if node.id is None:
            assert item.id not in self.ids, f"{path} is what stood as {self.ids[item.id].name}, and should be another"
            node.id, node.created = item.id, item.created
            self.ids[item.id] = node
        assert item.id == node.id, f"{path} is another document than it should be"
        assert item.created == node.created, f"{path} has another time of creation"
        if isinstance(node, Document):
            assert item.size == len(node.content), path
            assert node.modified in (None, item.modified), path

    # --- acts that both protocols know

    def put(self, act: str, who: Person, via: str, path: Path, content: bytes) -> None:
        """Store a document whole."""
        at = self.clock.us

        def model(tokens: set[str]) -> Reasons:
            return self.space.put(who, path, content, tokens, at, tells_time=via == SFTP)

        if via == DAV:
            self.dav(act, who, "PUT", path, model, content)
        else:
            self.sftp(act, who, "put", path, model, content)

    def delete(self, act: str, who: Person, via: str, path: Path, sftp: str = "remove") -> None:
        """Delete; over SFTP only a document, or by `remove_folder` an empty folder."""
        at, only = self.clock.us, "" if via == DAV else "document" if sftp == "remove" else "empty folder"

        def model(tokens: set[str]) -> Reasons:
            return self.space.delete(who, path, tokens, at, only=only)

        if via == DAV:
            self.dav(act, who, "DELETE", path, model)
        else:
            self.sftp(act, who, sftp, path, model)

    def move(self, act: str, who: Person, via: str, path: Path, goal: Path, *, replaces: bool) -> None:
        """Move or rename."""
        at = self.clock.us

        def model(tokens: set[str]) -> Reasons:
            reasons = self.space.move(who, path, goal, tokens, at, replaces=replaces, plainly=via == SFTP)
            return set() if via == SFTP and replaces and path == goal and reasons == {"same"} else reasons

        if via == DAV:
            self.dav(act, who, "MOVE", path, model, goal=goal, Overwrite="FT"[replaces])
        else:
            asked = "posix_rename" if replaces else "rename"
            self.sftp(act, who, asked, path, model, self.seen_path(who, goal))

    def move_across(
        self, act: str, who: Person, via: str, path: Path, goal: Path, *, inward: bool, replaces: bool
    ) -> None:
        """Move something into the other space, or from there into this one."""
        at, ours, theirs = self.clock.us, self.seen_path, self.annex_path
        source, target = (theirs(who, path), ours(who, goal)) if inward else (ours(who, path), theirs(who, goal))
        space, other = (self.space, self.annex) if inward else (self.annex, self.space)

        def model(tokens: set[str]) -> Reasons:
            return space.move_in(who, other, path, goal, tokens, at, replaces=replaces, plainly=via == SFTP)

        if via == DAV:
            headers = {"Destination": Dav.href(target), "Overwrite": "FT"[replaces]}
            self.dav(act, who, "MOVE", path, model, source=source, **headers)
        else:
            client, asked = self.stage.doors.sftp(who.login, self.count % 2), "posix_rename" if replaces else "rename"
            outcome = client.outcome(asked, source, target)
            note(f"{who.login}: sftp {asked} {'/'.join(source)} {'/'.join(target)}: {outcome}")
            self.settle(act, who, via, outcome, model(self._held(who)), client.told)
        self._compare_tree(self.annex, theirs(MIRA, ()))

    def fetched(self, who: Person, via: str, path: Path) -> bytes | None:
        """Return what a document holds, None where nothing is found. The path is from the root."""
        if via == DAV:
            reply = self.stage.doors.dav(who.login).ask("GET", path)
            assert reply.status[:3] in ("200", "404", "409"), (path, reply)
            return reply.body if reply.status[:3] == "200" else None
        try:
            return self.stage.doors.sftp(who.login).get(path)
        except Refused as refused:
            assert refused.code == 2, (path, refused)
            return None

    # --- the end

    def look_back(self) -> None:
        """Read every version at its moment, by whoever may look back; those who may not find no history at all."""
        before: Snapshot = {}
        for number, then in enumerate(self.moments):
            for path, content in then.tree.items():
                if content is not None and before.get(path) != content:
                    self._read_then(PEOPLE[(number + len(path)) % 2], (DAV, SFTP)[number // 2 % 2], then, path)
            before = then.tree
        for then in self.moments[-1:]:
            for path in [path for path, content in then.tree.items() if content is not None][:1]:
                for who in PEOPLE[2:]:
                    way = (".history", written(then.at), *self.seen_path(who, path))
                    assert self.fetched(who, DAV, way) is None, f"{who.login} looks back"
        self._check_histories(self.space, self.seen_path(MIRA, ()))
        self._check_histories(self.annex, self.annex_path(MIRA, ()))
        self._check_trash()

    def _read_then(self, who: Person, via: str, then: Moment, path: Path) -> None:
        """Read a document as it was at a moment, by way of the root or of the space."""
        space, moment = self.seen_path(who, ()), written(then.at)
        way = (".history", moment, *space, *path) if len(path) % 2 else (*space, ".history", moment, *path)
        assert self.fetched(who, via, way) == then.tree[path], (who.login, via, way)
        self.stage.read_back += 1

    def _check_trash(self) -> None:
        """Compare what the trash shows."""
        where = DrivePath(self.seen_path(MIRA, ()))
        shown = {each.id: each.name for each in self.eyes.trash(where, limit=1000)[0]}
        expected = {node.id: node.name for node in self.space.missed()}
        assert shown == expected, (shown, expected)

    def _check_histories(self, space: Space, root: Path) -> None:
        """Compare what the history of each document lists, and its properties; read what came from another space."""
        for path, node in space.walk():
            if not isinstance(node, Document):
                continue
            where = DrivePath((*root, *path))
            shown = self.eyes.versions(where)
            listed = [(each.size, each.sha256, each.by) for each in shown]
            expected = [
                (len(each.content), hashlib.sha256(each.content).hexdigest(), f"{each.author.title()} Lund")
                for each in node.history
            ]
            assert listed == expected, (path, listed, [each.content[:20] for each in node.history])
            if node.came_whole:
                self._read_all(where, [each.number for each in shown], [each.content for each in node.history])
            held = {name.rpartition("}")[2]: text for name, text in self.eyes.properties(where).items()}
            assert held.keys() == node.properties.keys(), (path, held, node.properties)
            assert all(f">{text}<" in held[name] for name, text in node.properties.items()), (path, held)

    def _read_all(self, where: DrivePath, numbers: list[int], contents: list[bytes]) -> None:
        for number, content in zip(numbers, contents, strict=True):
            with self.eyes.read_version(where, number) as reader:
                assert b"".join(bytes(piece) for piece in reader.chunks()) == content, (where, number)
        self.stage.read_back += len(numbers)
