"""The state machine of the model test: which acts there are, and what hypothesis picks for each.

An act takes what stands as often as any other name, and its person and protocol go around, so that even the simplest
picks make sequences worth playing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from providers.paths import Path as DrivePath
from tests.proofs.history_doors import lockinfo, property_update
from tests.proofs.history_hands import DAV, SFTP, UNIVERSE, Hands, written
from tests.proofs.history_nodes import Document, Folder, Path, Person, Reasons
from tests.proofs.history_stage import FOLDERS, PEOPLE, Stage

EVA, MIRA, OLLE, CORA, VERA, NILS = PEOPLE
EVERYBODY = (EVA, MIRA, EVA, OLLE, EVA, CORA, EVA, VERA, MIRA, OLLE, NILS)
WRITERS = (EVA, MIRA, OLLE, EVA, CORA)
#: Apart by less and by more than the window, however many of them come between.
SHORT_SECONDS, LONG_SECONDS = 9, 20


class Pick(NamedTuple):
    """What hypothesis picked for an act: whom, by which protocol, where, where to, and in which way."""

    who: int
    via: int
    one: int
    two: int
    kind: int


class Acts:
    """All that may be done next. Each makes one request, or the several of one save."""

    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.space = hands.space

    # --- picking

    def who(self, pick: Pick, among: tuple[Person, ...] = EVERYBODY) -> tuple[Person, str]:
        """Return somebody and a protocol."""
        count = self.hands.count
        return among[(pick.who + 3 * count) % len(among)], (DAV, SFTP)[(pick.via + count) % 2]

    def any_path(self, number: int) -> Path:
        """Return a path where something stands, or any other."""
        return self._one_of([path for path, _ in self.space.walk()], number)

    def document(self, number: int) -> Path:
        """Return a path where a document stands, mostly; never where a folder does."""
        standing = [path for path, node in self.space.walk() if isinstance(node, Document)]
        found = self._one_of(standing, number)
        return ("z.txt",) if isinstance(self.space.find(found), Folder) else found

    def folder(self, number: int) -> Path:
        """Return a path where a folder stands, mostly."""
        standing = [path for path, node in self.space.walk() if isinstance(node, Folder)]
        return standing[number % len(standing)] if standing else ("A",)

    @staticmethod
    def _one_of(standing: list[Path], number: int) -> Path:
        among = standing if number % 4 and standing else UNIVERSE
        return among[number // 4 % len(among)]

    def _content_at(self, path: Path) -> bytes | None:
        node = self.space.find(path)
        return node.content if isinstance(node, Document) else None

    # --- contents

    def put(self, pick: Pick) -> None:
        """New content where something stands, or nothing does."""
        self.hands.put("put", *self.who(pick), self.any_path(pick.one), self.hands.content(pick.kind))

    def put_anywhere(self, pick: Pick) -> None:
        """New content under any name."""
        path = UNIVERSE[pick.one % len(UNIVERSE)]
        self.hands.put("put anywhere", *self.who(pick), path, self.hands.content(pick.kind))

    def put_empty(self, pick: Pick) -> None:
        """Nothing, where something stands or nothing does."""
        self.hands.put("put empty", *self.who(pick), self.any_path(pick.one), b"")

    def put_identical(self, pick: Pick) -> None:
        """The same again."""
        path = self.document(pick.one)
        self.hands.put("put identical", *self.who(pick), path, self._content_at(path) or b"the same")

    def edit(self, pick: Pick) -> None:
        """Write into a document by SFTP: at a place, or at its end; or cut it off."""
        (who, _), path, at = self.who(pick), self.document(pick.one), self.hands.clock.us
        old, data = self._content_at(path) or b"", self.hands.content(0)
        offset = pick.two % (len(old) + 3)
        grown = old.ljust(offset, b"\0")
        over = grown[:offset] + data + old[offset + len(data) :]

        def edited(content: bytes) -> Callable[[set[str]], Reasons]:
            return lambda tokens: self.space.edit(who, path, content, tokens, at)

        if pick.kind % 4 == 0:
            self.hands.sftp("edit", who, "write_at", path, edited(over), offset, data)
        elif pick.kind % 4 == 1:
            self.hands.sftp("append", who, "append", path, edited(old + data), data)
        elif pick.kind % 4 == 2:
            self.hands.sftp("truncate", who, "truncate", path, edited(grown[:offset]), offset)
        else:
            self.hands.sftp(
                "open and write", who, "resume", path, lambda tokens: self.space.put(who, path, over, tokens, at),
                offset, data,
            )  # fmt: skip

    def read(self, pick: Pick) -> None:
        """Read a document as it stands."""
        (who, via), path = self.who(pick), self.document(pick.one)
        expected = self._content_at(path) if who.sees else None
        assert self.hands.fetched(who, via, self.hands.seen_path(who, path)) == expected, path
        self.hands.counted("read", who, via, {"missing"} if expected is None else set())

    # --- names

    def move(self, pick: Pick) -> None:
        """Anything to anywhere, perhaps over what stands."""
        source, goal = self.any_path(pick.one), self.any_path(pick.two)
        self.hands.move("move", *self.who(pick), source, goal, replaces=bool(pick.kind % 3))

    def rename(self, pick: Pick) -> None:
        """A document to another name."""
        source, goal = self.document(pick.one), UNIVERSE[pick.two % len(UNIVERSE)]
        self.hands.move("rename", *self.who(pick), source, goal, replaces=bool(pick.kind % 2))

    def move_folder(self, pick: Pick) -> None:
        """A folder elsewhere."""
        above = FOLDERS[pick.two // 2 % 3] if pick.two % 2 else ()
        goal = (*above, ("D", "A", "B")[(pick.kind + self.hands.count) % 3])
        self.hands.move("move a folder", *self.who(pick), self.folder(pick.one), goal, replaces=True)

    def move_across(self, pick: Pick) -> None:
        """Anything into the other space, or from there to anywhere; perhaps over what stands."""
        who, via = self.who(pick, (MIRA, EVA, MIRA, OLLE))
        standing = [path for path, _ in self.hands.annex.walk()]
        inward, replaces = bool((pick.kind + self.hands.count) % 2 and standing), bool(pick.kind % 3)
        if inward:
            source, goal = standing[pick.one % len(standing)], UNIVERSE[pick.two % len(UNIVERSE)]
        else:
            source, goal = self.any_path(pick.one), (("x.txt",), ("y.txt",), ("A",))[pick.two % 3]
        act = "move back" if inward else "move away"
        self.hands.move_across(act, who, via, source, goal, inward=inward, replaces=replaces)

    def copy(self, pick: Pick) -> None:
        """Anything to anywhere, by WebDAV."""
        (who, _), at = self.who(pick), self.hands.clock.us
        path, goal, replaces = self.any_path(pick.one), self.any_path(pick.two), bool(pick.kind % 3)

        def model(tokens: set[str]) -> Reasons:
            return self.space.copy(who, path, goal, tokens, at, replaces=replaces)

        self.hands.dav("copy", who, "COPY", path, model, goal=goal, Overwrite="FT"[replaces])

    def delete(self, pick: Pick) -> None:
        """Anything."""
        self.hands.delete("delete", *self.who(pick), self.any_path(pick.one))

    def delete_folder(self, pick: Pick) -> None:
        """A folder with all in it by WebDAV, an empty one by SFTP."""
        self.hands.delete("delete a folder", *self.who(pick), self.folder(pick.one), "remove_folder")

    def make_folder(self, pick: Pick) -> None:
        """A folder."""
        (who, via), at = self.who(pick), self.hands.clock.us
        path = (*FOLDERS, ("y.txt",), ("B", "D"))[pick.one % 5]

        def model(tokens: set[str]) -> Reasons:
            return self.space.make_folder(who, path, tokens, at)

        if via == DAV:
            self.hands.dav("make a folder", who, "MKCOL", path, model)
        else:
            self.hands.sftp("make a folder", who, "make_folder", path, model)

    # --- locks, properties, time

    def lock(self, pick: Pick) -> None:
        """Lock a name, whether or not something stands there."""
        (who, _), path, at = self.who(pick), self.any_path(pick.one), self.hands.clock.us
        reasons: Reasons = set()

        def model(_: set[str]) -> Reasons:
            reasons.update(self.space.lock(who, path, at))
            return reasons

        reply = self.hands.dav("lock", who, "LOCK", path, model, lockinfo(), Depth="0", Timeout="Second-3600")
        if not reasons:
            self.space.hold(who, path, reply.headers["lock-token"].strip("<>"))

    def unlock(self, pick: Pick) -> None:
        """Whoever holds a lock lets it go; where nobody does, somebody locks."""
        held = [(who, path, token) for who in PEOPLE for path, token in self.space.tokens(who).items()]
        if not held:
            return self.lock(pick)
        who, path, token = held[pick.one % len(held)]
        reply = self.hands.stage.doors.dav(who.login).ask(
            "UNLOCK", self.hands.seen_path(who, path), Lock_Token=f"<{token}>"
        )
        note(f"{who.login}: UNLOCK {'/'.join(path)}: {reply.status}")
        self.hands.counted("unlock", who, DAV, set())
        assert reply.status.startswith("204"), reply
        self.space.unlock(path)
        return None

    def change(self, pick: Pick) -> None:
        """A property by WebDAV, or a time of modification."""
        (who, via), path, at = self.who(pick), self.document(pick.one), self.hands.clock.us
        seconds = 1_000_000_000 + self.hands.count
        color = f"hue {self.hands.count}" if via == DAV and pick.kind % 2 else None

        def model(tokens: set[str]) -> Reasons:
            return self.space.change(
                who, path, tokens, at, color=color, modified=None if color else seconds * 1_000_000
            )

        if via == DAV:
            body = property_update(color, None if color else seconds)
            self.hands.dav("set a property" if color else "set a time", who, "PROPPATCH", path, model, body)
        else:
            self.hands.sftp("set a time", who, "touch", path, model, seconds)

    def wait(self, pick: Pick) -> None:
        """Time passes; whoever waited looks at what stands."""
        self.hands.clock.wait((SHORT_SECONDS, LONG_SECONDS)[pick.kind % 2])
        note(f"{(SHORT_SECONDS, LONG_SECONDS)[pick.kind % 2]} seconds later")
        self.read(pick)

    # --- going back

    def copy_from_history(self, pick: Pick) -> None:
        """Bring a document back from `.history` by a copy, to any name."""
        who, _ = self.who(pick, (EVA, MIRA, EVA, OLLE))
        then = self.hands.moments[pick.kind % len(self.hands.moments)]
        held = [each for each in then.standing if each.content]
        if not held:
            return self.put(pick)
        stood, goal, at = held[pick.one % len(held)], self.any_path(pick.two), self.hands.clock.us
        path = then.path_of(stood)

        def model(tokens: set[str]) -> Reasons:
            return self.space.copy_past(who, stood, goal, tokens, at)

        source = (".history", written(then.at), *self.hands.seen_path(who, path))
        self.hands.dav("copy from history", who, "COPY", path, model, goal=goal, source=source)
        return None

    def restore(self, pick: Pick) -> None:
        """Let an earlier version of a document be its newest again."""
        (who, _), path, at = self.who(pick), self.document(pick.one), self.hands.clock.us
        where = DrivePath(self.hands.seen_path(who, path))
        listed = self.hands.eyes.versions(DrivePath(self.hands.seen_path(MIRA, path))) if self.space.find(path) else []
        index = pick.two % len(listed) if listed else 0
        number = listed[index].number if listed else 1
        reasons = self.space.restore(who, path, index, at)
        self.hands.drive("restore", who, lambda drive: drive.restore(where, number), reasons)

    def undelete(self, pick: Pick) -> None:
        """Let something from the trash stand again; where it is empty, delete something."""
        if not self.space.trash:
            return self.delete(pick)
        who, _ = self.who(pick, (EVA, MIRA, EVA, OLLE, CORA, NILS))
        node, at = self.space.trash[-1 - pick.one % min(len(self.space.trash), 3)], self.hands.clock.us
        where = DrivePath(self.hands.seen_path(who, ()))
        known = node.id
        assert known is not None
        reasons = self.space.undelete(who, node, at)
        self.hands.drive("undelete", who, lambda drive: drive.undelete(where, known), reasons)
        return None

    def put_back(self, pick: Pick) -> None:
        """Put the whole space back to an earlier moment."""
        who, _ = self.who(pick, (MIRA, MIRA, MIRA, EVA, NILS))
        then = self.hands.moments[pick.kind % len(self.hands.moments)]
        where, at = DrivePath(self.hands.seen_path(who, ())), self.hands.clock.us
        reasons = self.space.put_back(who, then.standing, at)
        self.hands.drive("put back", who, lambda drive: drive.put_back(where, then.at), reasons)

    # --- saving

    def save(self, pick: Pick) -> None:
        """The dances by which programs save, each step by itself."""
        who, via = self.who(pick, WRITERS)
        path = self.document(pick.one)
        beside = (*path[:-1], f"w{pick.two % 2}.tmp")
        fresh = (*(((), *FOLDERS)[pick.two % 4] if pick.kind % 2 else path[:-1]), "d1.tmp")
        for source, goal in _DANCES[pick.kind // 2 % len(_DANCES)]:
            names = {"X": path, "L": beside, "T": fresh}
            if source == "new":
                self.hands.put("save: put", who, via, names[goal], self.hands.content(pick.two))
            elif goal == "":
                self.hands.delete("save: delete", who, via, names[source])
            else:
                self.hands.move("save: move", who, via, names[source], names[goal], replaces=True)


#: X is the document, T a temporary, L where the old one goes; `new` is content, nothing a delete.
_DANCES: tuple[tuple[tuple[str, str], ...], ...] = (
    (("new", "T"), ("X", "L"), ("T", "X"), ("L", "")),
    (("new", "T"), ("X", ""), ("T", "X")),
    (("X", "L"), ("new", "X"), ("L", "")),
    (("new", "T"), ("T", "X")),
    (("X", ""), ("new", "X")),
    (("new", "T"), ("X", "L"), ("T", "X")),
    (("X", "L"), ("L", "X")),
    (("new", "L"), ("new", "X"), ("L", "")),
    (("X", "L"), ("T", "X"), ("new", "T")),
)
#: What every sequence begins with, older than the window by the first act.
_PLANTED = ((EVA, DAV, ("x.txt",)), (EVA, SFTP, ("A", "y.txt")), (OLLE, DAV, ("A", "C", "x.txt~")))
#: How often each act comes.
WEIGHTS = {
    Acts.put: 3, Acts.put_anywhere: 3, Acts.put_empty: 1, Acts.put_identical: 1, Acts.edit: 3, Acts.read: 1,
    Acts.move: 2, Acts.move_across: 3, Acts.rename: 3, Acts.move_folder: 2, Acts.copy: 2, Acts.delete: 2,
    Acts.delete_folder: 1,
    Acts.make_folder: 2, Acts.lock: 1, Acts.unlock: 1, Acts.change: 2, Acts.wait: 2, Acts.copy_from_history: 1,
    Acts.restore: 2, Acts.put_back: 1, Acts.undelete: 2, Acts.save: 4,
}  # fmt: skip
_NAMES = [act.__name__ for act, weight in WEIGHTS.items() for _ in range(weight)]
_number = st.integers(0, 999)


class Histories(RuleBasedStateMachine):
    """One sequence. `stage` is set by whoever runs it."""

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        self.hands = Hands(self.stage)
        self.acts = Acts(self.hands)
        self.is_whole = True
        for who, via, path in _PLANTED:
            self.hands.put("put anywhere", who, via, path, self.hands.content(1))
        self.hands.clock.wait(LONG_SECONDS)

    @rule(act=st.sampled_from(_NAMES), pick=st.builds(Pick, _number, _number, _number, _number, _number))
    def step(self, act: str, pick: Pick) -> None:
        """Do what comes next."""
        self.is_whole = False
        getattr(self.acts, act)(pick)
        self.is_whole = True

    def teardown(self) -> None:
        """Look back at all of it, unless something went wrong already."""
        if not self.is_whole:
            return
        self.hands.look_back()
        self.stage.played(self.hands.count, len(self.hands.seen))
