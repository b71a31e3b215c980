"""Every operation of the drive over WebDAV and over SFTP, by every role, on what is seen and on what in any way is not.

What is expected is what the drive itself answers (tests/drive/operations.txt), in the words that docs/PROTOCOLS.md has
for it in each protocol; and the events of both are the same in all but the door.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest

from auth.roles import Via
from config.errors import MellanrumError
from providers.drive import Drive
from providers.paths import parse
from tests.drive.stage import DOCUMENT, ROLES, TABLE, VARIANTS, Subject, absent, make_world, prepare
from tests.same.expected import OTHERWISE, PROTOCOLS, expected_of, kind_of, kinds_of, lines
from tests.same.hands import Hands, Webdav
from tests.same.tables import refusals, sentences
from tests.worlds import World

#: What differs by the door, or by the folder that each way has for its own.
OF_THE_DOOR = {"at", "node", "rows_digest", "commitments", "personal", "streams"}
#: Facts that no two events share.
OF_ITS_OWN = {"change", "version_id"}


@pytest.fixture
def world(data_folder: FilePath) -> Iterator[World]:
    made = make_world(data_folder, {})
    yield made
    made.installation.close()


def hands_of(world: World, role: str, via: Via, drive: Drive | None = None) -> Hands:
    """Return somebody at a door, with the drive that they get there or with one that is given."""
    own = drive or world.drive(role, via)
    webdav = Webdav(world.installation, role, world.passwords[role], drive)
    return Hands(webdav, own, may_add=role != "viewer")


def log_size(world: World) -> int:
    world.installation.tick()
    with world.installation.database.read() as connection:
        return world.installation.audit.find(connection, world.spaces["Rum"].id).size


def events(world: World, start: int, folder: str) -> list[dict[str, Any]]:
    """Return what the log of the room tells since, as it would be told if all ways had one folder."""
    audit, database = world.installation.audit, world.installation.database
    world.installation.tick()
    found = []
    with database.read() as connection:
        log = audit.find(connection, world.spaces["Rum"].id)
        for entry in audit.entries(connection, log, start):
            event = {name: value for name, value in entry.event.items() if name not in OF_THE_DOOR}
            event["actor"] = {name: value for name, value in entry.event["actor"].items() if name != "via"}
            event["facts"] = {name: fact for name, fact in entry.event["facts"].items() if name not in OF_ITS_OWN}
            said = {name: (each.value or "").replace(folder, "/-") for name, each in entry.personal.items()}
            found.append({**event, **said})
    return found


def note_operations(patch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which each operation of a drive that is called adds its name."""
    called: list[str] = []
    for name in set(TABLE) - set(VARIANTS):
        real = getattr(Drive, name)

        def noting(self: Drive, *given: Any, name: str = name, real: Any = real, **named: Any) -> Any:
            called.append(name)
            return real(self, *given, **named)

        patch.setattr(Drive, name, noting)
    return called


@pytest.mark.parametrize("role", ROLES)
def test_what_is_seen(world: World, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: list[Any] = []
    told_of: dict[str, dict[str, list[dict[str, Any]]]] = {}
    doors = {via: hands_of(world, role, via) for via in PROTOCOLS}
    for number, (name, via, request, way) in enumerate(lines()):
        path, grant_id = prepare(world, "Rum", f"{name} {number}", role)
        if name.startswith("properties"):
            colour(world, path)
        subject = Subject(doors[via].drive, parse(path), parse(f"{path}/Bort"), world, grant_id)
        before = log_size(world)
        with monkeypatch.context() as patch:
            called = note_operations(patch)
            told = way(doors[via], subject)
        found = events(world, before, path.removeprefix("/Rum"))
        answer = OTHERWISE.get((name, request, role), TABLE[name].answers[role])
        kinds = kinds_of(name, answer)
        if told not in expected_of(answer, via, request) or [event["kind"] for event in found] != kinds:
            wrong.append((name, via.name, request, told, [event["kind"] for event in found], "expected", answer, kinds))
        if answer == "ok" and VARIANTS.get(name, name) not in called:
            wrong.append((name, via.name, request, "is not what was called, but", called))
        told_of.setdefault(name, {})[f"{via.name} {request}"] = found
    assert wrong == []
    assert unlike(told_of) == []


def unlike(told_of: dict[str, dict[str, list[dict[str, Any]]]]) -> list[Any]:
    """Return the ways whose events differ from those of the first way to the same operation."""
    found = []
    for name, by_way in told_of.items():
        first, *others = by_way.items()
        found += [(name, first, other) for other in others
                  if (name, other[0].partition(" ")[2]) not in UNLIKE and other[1] != first[1]]  # fmt: skip
    return found


#: Ways whose events tell of something else than the others' do: of another name, of what was set.
UNLIKE = {("edit", "SETSTAT"), ("delete", "RMDIR"), ("change_properties", "SETSTAT")}


def colour(world: World, path: str) -> None:
    """Let the keeper set a property of the document in a folder, whoever's lane it lies in."""
    keeper, folder = world.drive("keeper"), parse(f"/Kund AB – {path.removeprefix('/')}")
    for item in keeper.listing(folder)[1]:
        if item.name.startswith(DOCUMENT.removesuffix(".txt")):
            keeper.change_properties(item.path, [("{urn:x}color", '<x:color xmlns:x="urn:x">grön</x:color>')])


@pytest.mark.parametrize("role", ROLES)
def test_what_is_not_there_for_somebody(world: World, role: str) -> None:
    """Hidden, foreign, absent, half signed in, run out and taken back are told alike, and leave the log alone."""
    wrong = []
    doors = {
        via: {condition: (subject, hands_of(world, role, via, subject.drive)) for condition, subject in found.items()}
        for via, found in absent_over_both(world, role).items()
    }
    before = log_size(world)
    for name, via, request, way in lines():
        told_of = {condition: way(hands, subject) for condition, (subject, hands) in doors[via].items()}
        expected = expected_of(TABLE[name].absent, via, request)
        wrong += [(name, via.name, request, *each) for each in told_of.items() if each[1] not in expected]
        assert len(set(told_of.values())) == 1, (name, told_of)
    assert wrong == []
    assert events(world, before, "") == []


def absent_over_both(world: World, role: str) -> dict[Via, dict[str, Subject]]:
    """Return what is not there for somebody at either door: it is the same, but for the door."""
    at_one = absent(world, role)
    at_other = {}
    for condition, subject in at_one.items():
        principal = dataclasses.replace(world.sign_in(role, Via.SFTP), standing=subject.drive.principal.standing)
        at_other[condition] = subject._replace(drive=world.installation.drive(principal))
    return {Via.WEBDAV: at_one, Via.SFTP: at_other}


@pytest.mark.parametrize("role", ROLES)
def test_a_device_just_revoked_does_nothing_more(world: World, role: str) -> None:
    """Who is in already is told so at the next act, over SFTP as the last thing in the session."""
    path, grant_id = prepare(world, "Rum", "seen", role)
    doors = {via: hands_of(world, role, via, world.drive(role, via)) for via in PROTOCOLS}
    world.installation.directory.revoke_device(world.devices[role])
    before = log_size(world)
    for name, via, request, way in lines():
        subject = Subject(doors[via].drive, parse(path), parse(f"{path}/Bort"), world, grant_id)
        told = way(doors[via], subject)
        assert told in expected_of("Revoked", via, request), (name, request, told)
        assert via is Via.WEBDAV or doors[via].sessions_have_ended(), (name, request)
    assert log_size(world) == before


def test_sentences_are_those_of_one_class(world: World) -> None:
    """Two refusals are told apart by what the person reads, too."""
    kinds = [kind_of(name) for name in refusals()]
    assert all(issubclass(kind, MellanrumError) for kind in kinds)
    assert len({sentences(kind) for kind in kinds}) == len(kinds)
