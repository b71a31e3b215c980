"""Where sequences of the model test are played: an installation of many fresh spaces, made anew when they are used."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from auth.roles import Role, Via
from providers import errors
from providers.drive import Drive
from providers.installation import Installation
from tests.proofs.history_doors import Clock, Doors, telling_time
from tests.proofs.history_nodes import Person
from tests.worlds import World, settings_for

PEOPLE = (
    Person("eva", "editor", looks_back=True),
    Person("mira", "manager", looks_back=True, is_supplier=True),
    Person("olle", "editor", looks_back=False),
    Person("cora", "contributor", looks_back=False),
    Person("vera", "viewer", looks_back=False),
    Person("nils", "nobody", looks_back=False),
)
SPACES_EACH = 40
WINDOW_SECONDS = 15
#: The folders that each space begins with.
FOLDERS = (("A",), ("A", "C"), ("B",))
#: The space beside them, in which each of them has a folder of its own.
ANNEX = "Annex"
OPERATOR = Person("operator", "manager", looks_back=False)
#: What the drive's errors are called in the model.
_WORDS: dict[type[errors.DriveError], str] = {
    errors.NotFound: "missing", errors.ParentMissing: "no parent", errors.NotAFolder: "not a folder",
    errors.IsAFolder: "folder", errors.Forbidden: "forbidden", errors.SameResource: "same",
    errors.FolderGone: "folder gone", errors.NameTaken: "exists",
    errors.TargetExists: "exists", errors.Locked: "locked", errors.FolderNotEmpty: "not empty",
}  # fmt: skip


def space_name(number: int) -> str:
    """Return the name of a space of the stage."""
    return f"Rum {number:02}"


def seen_as(who: Person, space: str) -> str:
    """Return a space's name as somebody sees it."""
    return f"Kund AB – {space}" if who.is_supplier else space


def _build(folder: FilePath, overrides: dict[str, Any]) -> tuple[World, dict[str, tuple[str, ...]]]:
    """Make the installation that each renewal begins with; return it closed, and the passwords of all devices."""
    made = World.create(folder / "data", **overrides)
    passwords = {}
    for who in PEOPLE:
        organisation = "Byrån AB" if who.is_supplier else "Kund AB" if who.sees else "Annan AB"
        person = made.person(who.login, organisation)
        second = made.installation.directory.add_device(person.id, "phone")[1]
        passwords[who.login] = (made.passwords[who.login], second)
    names = [space_name(number) for number in range(SPACES_EACH)]
    inside = {name: tuple("/" + "/".join(path) for path in FOLDERS) for name in names}
    for name, folders in {**inside, ANNEX: tuple(f"/{name}" for name in names)}.items():
        made.space(name, "Kund AB", folders)
        for who in PEOPLE:
            if who.sees:
                made.grant(who.login, name, Role[who.role.upper()], history=who.looks_back)
    made.installation.close()
    return made, passwords


@dataclass
class Stage:
    """Gives each sequence a space that nothing has happened in, and counts what was done.

    `counted` is by act, protocol and outcome, `sizes` by acts a sequence, `principals` by people a sequence;
    `read_back` counts versions that were read at their moment.
    """

    folder: FilePath
    template: World
    passwords: dict[str, tuple[str, ...]]
    clock: Clock
    overrides: dict[str, Any] = field(default_factory=dict)
    counted: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    principals: Counter[int] = field(default_factory=Counter)
    read_back: int = 0
    _world: World | None = None
    _doors: Doors | None = None
    _used: int = 0

    @property
    def world(self) -> World:
        """The world in use."""
        assert self._world is not None
        return self._world

    @property
    def doors(self) -> Doors:
        """Everybody's clients of it."""
        assert self._doors is not None
        return self._doors

    def next_space(self) -> str:
        """Return the name of a fresh space."""
        if self._world is None or self._used == SPACES_EACH:
            self.renew()
        self._used += 1
        return space_name(self._used - 1)

    def renew(self) -> None:
        """Begin again with the template, once `verify` has found nothing wrong with what was done."""
        self.end()
        data = self.folder / "now"
        shutil.copytree(self.template.installation.folder, data)
        settings = settings_for(data, **self.overrides)
        shutil.copy(self.template.installation.settings.key_file, settings.key_file)
        self._world = replace(self.template, installation=Installation.open(data, settings))
        self._doors = Doors(self._world, self.passwords)
        self._used = 0

    def end(self, *, verifies: bool = True) -> None:
        """Verify all that stands, and let go of it."""
        if self._world is None:
            return
        installation, self._world = self._world.installation, None
        findings = [f"{each.where}: {each.what}" for each in installation.verify()] if verifies else []
        installation.close()
        shutil.rmtree(installation.folder)
        assert not findings, findings

    def played(self, acts: int, principals: int) -> None:
        """Count a sequence."""
        self.sizes[acts] += 1
        self.principals[principals] += 1

    def outcome(self, who: Person, ask: Callable[[Drive], object]) -> str:
        """Do something through somebody's drive; return what came of it, in a word of the model."""
        try:
            ask(self.drive(who))
        except errors.DriveError as error:
            return next(_WORDS[kind] for kind in type(error).__mro__ if kind in _WORDS)
        return "done"

    def drive(self, who: Person, via: Via = Via.WEBDAV) -> Drive:
        """Return somebody's drive itself, for what no protocol offers."""
        return self.world.drive(who.login, via)


@contextmanager
def staged(**overrides: Any) -> Iterator[Stage]:
    """Set up a stage in memory, where the machine has some to spare; `overrides` are settings."""
    memory = FilePath("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="mellanrum-", dir=memory if memory.is_dir() else None) as folder:
        with telling_time() as clock:
            template, passwords = _build(FilePath(folder) / "template", overrides)
            stage = Stage(FilePath(folder), template, passwords, clock, overrides)
            try:
                yield stage
            except BaseException:
                stage.end(verifies=False)
                raise
            stage.end()
