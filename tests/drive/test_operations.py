"""Every operation × every role × what is seen, hidden, foreign, absent, half signed in, run out, taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest

from auth.errors import Revoked
from auth.roles import GranteeKind, Role
from config.clock import now_us
from config.errors import MellanrumError
from config.ids import NOBODY
from providers.drive import Drive
from providers.paths import Path, parse
from tests.drive.stage import GONE, MOMENTS, ROLES, TABLE, VARIANTS, Subject, absent, make_world, prepare
from tests.worlds import World, fetch, store

POSTGRESQL_IN_PROOF = True


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
    "locks_inside": lambda s: s.drive.locks_inside(s.folder),
    "break_locks": lambda s: s.drive.break_locks(s.document),
    "read": lambda s: fetch(s.drive, s.document),
    "read_version": lambda s: s.drive.read_version(s.document, 1).close(),
    "versions": lambda s: s.drive.versions(s.document),
    "history": lambda s: s.drive.history(s.document),
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
    made = make_world(data_folder, engine)
    yield made
    made.installation.close()


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
        method = getattr(Drive, VARIANTS.get(name, name))
        if name != "lock_new":  # making the document is an add, though taking the lock is nothing
            expected = "none" if row.event == "-" else "read" if row.event == "read" else "change"
            assert method.effect == expected, name


@pytest.mark.parametrize("role", ROLES)
def test_what_is_seen(world: World, role: str) -> None:
    wrong = []
    for name, row in TABLE.items():
        path, grant_id = prepare(world, "Rum", name, role)
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
    subjects = absent(world, role)
    before = _log_size(world)
    for name, row in TABLE.items():
        for condition, subject in subjects.items():
            found = outcome(ACTS[name], subject)
            if found != row.absent:
                wrong.append((name, condition, found, "expected", row.absent))
    assert wrong == []
    assert world.kinds("Rum", before) == []


@pytest.mark.parametrize("role", ROLES)
def test_a_device_just_revoked_does_nothing_more(world: World, role: str) -> None:
    subjects = {}
    for name in TABLE:
        path, grant_id = prepare(world, "Rum", name, role)
        subjects[name] = Subject(world.drive(role), parse(path), parse(f"{path}/Bort"), world, grant_id)
    world.installation.directory.revoke_device(world.devices[role])
    before = _log_size(world)
    for name, subject in subjects.items():
        with pytest.raises(Revoked):
            ACTS[name](subject)
    assert _log_size(world) == before
