"""Every operation × every role × what is seen, hidden, foreign, absent, half signed in, run out, taken back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import pytest

from auth.errors import Revoked
from auth.rights import Standing
from auth.roles import GranteeKind, Role
from config.clock import now_us
from config.errors import MellanrumError
from config.ids import NOBODY
from providers.drive import Drive
from providers.paths import Path, parse
from tests.worlds import World, fetch, store

POSTGRESQL_IN_PROOF = True

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


def _lock(subject: Subject, path: Path) -> object:
    return subject.drive.lock(path, is_deep=False, is_shared=False, owner="", seconds=60)


def _grant(subject: Subject) -> object:
    grantee = subject.world.people["colleague"].id
    return subject.drive.grant(subject.document, grantee, GranteeKind.PERSON, Role.VIEWER, history=False)


def _edit(drive: Drive, path: Path, *, create: bool) -> object:
    draft = drive.edit(path, create=create, truncate=False)
    draft.write(2, b"XY")
    return draft.commit()


def _keep_and_drop(drive: Drive, path: Path) -> None:
    half = drive.edit(path, create=True, truncate=False)
    half.write(0, b"half")
    half.keep()
    assert [item.name for item in drive.drafts(path.parent)] == [path.name]
    drive.drop_draft(path)
    assert drive.drafts(path.parent) == []


#: Moments before the document came to folders, or to have the content it has.
MOMENTS: dict[str, int] = {}
#: What was deleted in folders.
GONE: dict[str, bytes] = {}


def _moment(subject: Subject) -> int:
    return MOMENTS.get(str(subject.folder), now_us())


TOKEN = "urn:uuid:6a1c6c0a-1111-4222-8333-444444444444"
ACTS: dict[str, Callable[[Subject], object]] = {
    "stat": lambda s: s.drive.stat(s.document),
    "listing": lambda s: s.drive.listing(s.folder),
    "properties": lambda s: s.drive.properties(s.document),
    "properties_below": lambda s: s.drive.properties_below(s.folder),
    "quota": lambda s: s.drive.quota(s.folder),
    "checksums": lambda s: s.drive.checksums(s.document),
    "checksums_below": lambda s: s.drive.checksums_below(s.folder),
    "locks": lambda s: s.drive.locks(s.document),
    "locks_below": lambda s: s.drive.locks_below(s.folder),
    "lock": lambda s: _lock(s, s.document),
    "lock_new": lambda s: _lock(s, s.folder.joined("Ny.txt")),
    "refresh_lock": lambda s: s.drive.refresh_lock(s.document, [TOKEN], 60),
    "unlock": lambda s: s.drive.unlock(s.document, TOKEN),
    "read": lambda s: fetch(s.drive, s.document),
    "read_version": lambda s: s.drive.read_version(s.document, 1).close(),
    "versions": lambda s: s.drive.versions(s.document),
    "restore": lambda s: s.drive.restore(s.document, 1),
    "comment": lambda s: s.drive.comment(s.document, 1, "som skickades"),
    "compare": lambda s: list(s.drive.compare(s.folder, _moment(s))),
    "put_back": lambda s: s.drive.put_back(s.folder, _moment(s)),
    "trash": lambda s: s.drive.trash(s.folder),
    "undelete": lambda s: s.drive.undelete(s.folder, GONE.get(str(s.folder), NOBODY)),
    "split": lambda s: s.drive.split(s.document, 2),
    "put": lambda s: store(s.drive, s.folder.joined("Ny.txt"), b"new"),
    "put_over": lambda s: store(s.drive, s.document, b"other"),
    "edit": lambda s: _edit(s.drive, s.document, create=False),
    "edit_new": lambda s: _edit(s.drive, s.folder.joined("Ny 2.txt"), create=True),
    "drafts": lambda s: s.drive.drafts(s.folder),
    "drop_draft": lambda s: _keep_and_drop(s.drive, s.folder.joined("Halv.txt")),
    "make_folder": lambda s: s.drive.make_folder(s.folder.joined("Ny")),
    "delete": lambda s: s.drive.delete(s.document),
    "copy": lambda s: s.drive.copy(s.document, s.folder.joined("Kopia.txt"), overwrite=False),
    "move": lambda s: s.drive.move(s.document, s.folder.joined("Nytt namn.txt"), overwrite=False),
    "move_away": lambda s: s.drive.move(s.document, s.away.joined("Avtal.txt"), overwrite=False),
    "change_properties": lambda s: s.drive.change_properties(s.document, [("{urn:x}a", "1")]),
    "grants": lambda s: s.drive.grants(s.document),
    "grant": _grant,
    "revoke": lambda s: s.drive.revoke(s.document, s.grant_id),
    "break_inheritance": lambda s: s.drive.break_inheritance(s.document),
}


def outcome(act: Callable[[Subject], object], subject: Subject) -> str:
    try:
        act(subject)
    except MellanrumError as error:
        return type(error).__name__
    return "ok"


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(data_folder, **engine)
    made.person("keeper", "Byrån AB")
    for login in (*ROLES, "colleague"):
        made.person(login, "Kund AB")
    made.space("Rum", "Kund AB")
    made.space("Annat", "Kund AB")
    for name in ("Rum", "Annat"):
        made.grant("keeper", name, Role.MANAGER, history=True)
    yield made
    made.installation.close()


def _prepare(world: World, space: str, name: str, role: str, **grant: Any) -> tuple[str, bytes]:
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
    if grant.pop("granted", True):
        world.grant(role, space, Role[role.upper()], f"/{name}", history=role != "uploader", **grant)
    return f"/{space}/{name}", made.id


def _log_size(world: World) -> int:
    world.installation.tick()
    with world.installation.database.read() as connection:
        return world.installation.audit.find(connection, world.spaces["Rum"].id).size


def test_the_table_names_every_operation_of_the_drive() -> None:
    declared = {name for name in dir(Drive) if hasattr(getattr(Drive, name), "effect")}
    public = {name for name, member in vars(Drive).items() if callable(member) and not name.startswith("_")}
    assert public - declared == {"still_valid"}, "an operation of the drive declares nothing"
    assert declared <= set(TABLE), "an operation of the drive stands in no table"
    assert set(TABLE) == set(ACTS)


def test_every_operation_records_what_it_declares() -> None:
    for name, row in TABLE.items():
        method = getattr(
            Drive, {"lock_new": "lock", "put_over": "put", "move_away": "move", "edit_new": "edit"}.get(name, name)
        )
        if name != "lock_new":  # making the document is an add, though taking the lock is nothing
            expected = "none" if row.event == "-" else "read" if row.event == "read" else "change"
            assert method.effect == expected, name


@pytest.mark.parametrize("role", ROLES)
def test_what_is_seen(world: World, role: str) -> None:
    wrong = []
    for name, row in TABLE.items():
        path, grant_id = _prepare(world, "Rum", name, role)
        subject = Subject(world.drive(role), parse(path), parse(f"{path}/Bort"), world, grant_id)
        before = _log_size(world)
        found = outcome(ACTS[name], subject)
        told = world.kinds("Rum", before)
        expected = row.answers[role]
        events = [row.event] if expected == "ok" and row.event != "-" else []
        if expected == "Forbidden":
            events = ["refused"]
        if (found, told) != (expected, events):
            wrong.append((name, found, told, "expected", expected, events))
    assert wrong == []


@pytest.mark.parametrize("role", ROLES)
def test_what_is_not_there_for_somebody(world: World, role: str) -> None:
    """Hidden, foreign, absent, half signed in, run out and taken back answer alike, and leave the log alone."""
    wrong = []
    subjects = _absent(world, role)
    before = _log_size(world)
    for name, row in TABLE.items():
        for condition, subject in subjects.items():
            found = outcome(ACTS[name], subject)
            if found != row.absent:
                wrong.append((name, condition, found, "expected", row.absent))
    assert wrong == []
    assert world.kinds("Rum", before) == []


def _absent(world: World, role: str) -> dict[str, Subject]:
    """Return, for each way not to be there, what operations are tried on. None of them changes it."""
    rum, operator = world.spaces["Rum"].id, world.installation.operator()
    path, grant_id = _prepare(world, "Rum", "seen", role)
    hidden = parse("/seen/Dolt")
    world.installation.spaces.make_folders(operator, rum, [hidden])
    store(world.drive("keeper"), f"/Kund AB – Rum/seen/Dolt/{DOCUMENT}", b"hidden")
    world.installation.spaces.break_inheritance(operator, rum, hidden)
    foreign, _ = _prepare(world, "Annat", "foreign", role, granted=False)
    late, _ = _prepare(world, "Rum", "late", role, expires_at=now_us() - 1)
    gone, _ = _prepare(world, "Rum", "gone", role, granted=False)
    taken = world.grant(role, "Rum", Role[role.upper()], "/gone", history=True)
    world.installation.spaces.revoke(operator, rum, taken.id)
    drive = world.drive(role)
    half = world.installation.drive(dataclasses.replace(world.sign_in(role), standing=Standing.HALF))
    away = parse(f"{path}/Bort")
    return {
        "hidden": Subject(drive, parse(f"{path}/Dolt"), away, world, grant_id),
        "foreign": Subject(drive, parse(foreign), away, world, grant_id),
        "never": Subject(drive, parse(f"{path}/Finns inte"), away, world, grant_id),
        "half signed in": Subject(half, parse(path), away, world, grant_id),
        "run out": Subject(drive, parse(late), away, world, grant_id),
        "taken back": Subject(drive, parse(gone), away, world, grant_id),
    }


@pytest.mark.parametrize("role", ROLES)
def test_a_device_just_revoked_does_nothing_more(world: World, role: str) -> None:
    subjects = {}
    for name in TABLE:
        path, grant_id = _prepare(world, "Rum", name, role)
        subjects[name] = Subject(world.drive(role), parse(path), parse(f"{path}/Bort"), world, grant_id)
    world.installation.directory.revoke_device(world.devices[role])
    before = _log_size(world)
    for name, subject in subjects.items():
        with pytest.raises(Revoked):
            ACTS[name](subject)
    assert _log_size(world) == before
