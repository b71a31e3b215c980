"""What the table of operations is tried on: a room with somebody of each role, and what is in every way not there."""

from __future__ import annotations

import dataclasses
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from auth.rights import Standing
from auth.roles import GranteeKind, Role, Via
from config.clock import now_us
from providers.drive import Drive
from providers.paths import Path, parse
from tests.worlds import World, store

ROLES = ("viewer", "uploader", "contributor", "editor", "manager")
DOCUMENT = "Avtal.txt"
#: Lines of the table that try one operation in another way.
VARIANTS = {"lock_new": "lock", "put_over": "put", "move_away": "move", "edit_new": "edit"}


class Row(NamedTuple):
    answers: dict[str, str]
    event: str
    absent: str


def _table() -> dict[str, Row]:
    rows = {}
    for line in (FilePath(__file__).parent / "operations.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            name, *cells = line.split()
            rows[name] = Row(dict(zip(ROLES, cells[:5], strict=True)), cells[5], cells[6])
    return rows


TABLE = _table()


#: Moments before the document came to folders, or to have the content it has.
MOMENTS: dict[str, int] = {}
#: What was deleted in folders.
GONE: dict[str, bytes] = {}


class Subject(NamedTuple):
    """A folder with a document, another folder beside it, and what an operation may want to name."""

    drive: Drive
    folder: Path
    away: Path
    world: World
    grant_id: bytes

    @property
    def document(self) -> Path:
        return self.folder.joined(DOCUMENT)


def make_world(folder: FilePath, engine: dict[str, str]) -> World:
    """Make the room `Rum`, another beside it, and somebody of each role; `keeper` is the supplier's, and manages."""
    made = World.create(folder, **engine)
    made.person("keeper", "Byrån AB")
    for login in (*ROLES, "colleague"):
        made.person(login, "Kund AB")
    made.space("Rum", "Kund AB")
    made.space("Annat", "Kund AB")
    for name in ("Rum", "Annat"):
        made.grant("keeper", name, Role.MANAGER, history=True)
    return made


def prepare(world: World, space: str, name: str, role: str, **grant: Any) -> tuple[str, bytes]:
    """Make /name with a document of somebody else's, visible to the role; return its path and a grant on it."""
    operator, keeper = world.installation.operator(), world.drive("keeper")
    world.installation.spaces.make_folders(operator, world.spaces[space].id, [parse(f"/{name}/Bort")])
    seen = f"/Kund AB – {space}/{name}"
    if name == "undelete":
        GONE[f"/{space}/{name}"] = store(keeper, f"{seen}/Borta.txt", b"gone").id
        keeper.delete(parse(f"{seen}/Borta.txt"))
    MOMENTS[f"/{space}/{name}"] = now_us()
    if role == "uploader":
        world.grant("colleague", space, Role.UPLOADER, f"/{name}")
        store(world.drive("colleague"), f"/{space}/{name}/{DOCUMENT}", b"text")
        standing = f"{seen}/{DOCUMENT.replace('.txt', ' (Kund AB).txt')}"
    else:
        store(keeper, f"{seen}/{DOCUMENT}", b"text")
        store(keeper, f"{seen}/{DOCUMENT}", b"text, longer")
        standing = f"{seen}/{DOCUMENT}"
    made = keeper.grant(parse(standing), world.people["colleague"].id, GranteeKind.PERSON, Role.VIEWER, history=False)
    if name == "break_locks":
        keeper.lock(parse(standing), is_deep=False, is_shared=False, owner="", seconds=600)
    if grant.pop("granted", True):
        world.grant(role, space, Role[role.upper()], f"/{name}", history=role != "uploader", **grant)
    return f"/{space}/{name}", made.id


def absent(world: World, role: str, via: Via = Via.WEBDAV) -> dict[str, Subject]:
    """Return, for each way not to be there, what operations are tried on. None of them changes it."""
    rum, operator = world.spaces["Rum"].id, world.installation.operator()
    path, grant_id = prepare(world, "Rum", "seen", role)
    hidden = parse("/seen/Dolt")
    world.installation.spaces.make_folders(operator, rum, [hidden])
    store(world.drive("keeper"), f"/Kund AB – Rum/seen/Dolt/{DOCUMENT}", b"hidden")
    world.installation.spaces.break_inheritance(operator, rum, hidden)
    foreign, _ = prepare(world, "Annat", "foreign", role, granted=False)
    late, _ = prepare(world, "Rum", "late", role, expires_at=now_us() - 1)
    gone, _ = prepare(world, "Rum", "gone", role, granted=False)
    taken = world.grant(role, "Rum", Role[role.upper()], "/gone", history=True)
    world.installation.spaces.revoke(operator, rum, taken.id)
    drive = world.drive(role, via)
    half = world.installation.drive(dataclasses.replace(world.sign_in(role, via), standing=Standing.HALF))
    away = parse(f"{path}/Bort")
    return {
        "hidden": Subject(drive, parse(f"{path}/Dolt"), away, world, grant_id),
        "foreign": Subject(drive, parse(foreign), away, world, grant_id),
        "never": Subject(drive, parse(f"{path}/Finns inte"), away, world, grant_id),
        "half signed in": Subject(half, parse(path), away, world, grant_id),
        "run out": Subject(drive, parse(late), away, world, grant_id),
        "taken back": Subject(drive, parse(gone), away, world, grant_id),
    }
