"""Whoever edits the rows of people, groups and devices behind the server's back is found out: `verify` says where."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auth.roles import Via
from config.ids import id_text
from providers.installation import Installation
from providers.model import Finding
from tests.worlds import World, settings_for

FORBIDDEN = [
    ("an administrator", "UPDATE person SET is_administrator = 1 WHERE id = :li"),
    ("an account that ended stands", "UPDATE person SET ended_at = NULL WHERE id = :ute"),
    ("an account that stands ended", "UPDATE person SET ended_at = 1 WHERE id = :li"),
    ("nobody", "DELETE FROM person WHERE id = :bo"),
    ("a revoked device stands", "UPDATE device SET revoked_at = NULL WHERE id = :gone"),
    ("a device of somebody who left stands", "UPDATE device SET revoked_at = NULL WHERE person = :ute"),
    ("a device of another", "UPDATE device SET person = :bo WHERE id = :laptop"),
    ("another secret", "UPDATE device SET secret_digest = x'00' WHERE id = :laptop"),
    ("writes", "UPDATE device SET read_only = 0 WHERE id = :laptop"),
    ("for good", "UPDATE device SET expires_at = NULL WHERE id = :laptop"),
    ("by every door", "UPDATE device SET protocols = NULL WHERE id = :laptop"),
    ("in every space", "UPDATE device SET spaces = NULL WHERE id = :laptop"),
    ("a key without its code", "UPDATE ssh_key SET needs_code = 0"),
    ("no device", "DELETE FROM device WHERE id = :gone"),
    ("one more device", "INSERT INTO device SELECT x'01', person, x'01', label, spaces, read_only, protocols,"
     " created_at, expires_at, revoked_at, paused_at FROM device WHERE id = :laptop"),
    ("a member", "INSERT INTO membership VALUES (:board, :bo, 1)"),
    ("no member", "DELETE FROM membership WHERE person = :li"),
    ("a group that ended stands", "UPDATE person_group SET ended_at = NULL WHERE id = :old"),
    ("no group", "DELETE FROM person_group WHERE id = :old"),
    ("an organisation that ended stands", "UPDATE organisation SET ended_at = NULL WHERE ended_at IS NOT NULL"),
    ("no organisation", "DELETE FROM organisation WHERE ended_at IS NOT NULL"),
]  # fmt: skip


class Peopled:
    """An installation with people of every kind, and what stands under which name."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.folder = world.installation.database.folder
        directory = world.installation.directory
        li, bo = world.person("li", "Kund AB"), world.person("bo", "Annan AB")
        ute = world.person("ute", "Kund AB")
        directory.add_device(ute.id, "hers")
        space = world.space("Avtal", "Kund AB").id
        bounds = {"spaces": [space], "read_only": True, "protocols": [Via.WEBDAV], "expires_at": 2**52}
        laptop, _ = directory.add_device(li.id, "laptop", **bounds)
        gone, _ = directory.add_device(li.id, "lost")
        directory.revoke_device(gone.id)
        directory.add_key(bo.id, "key", b"a public key", needs_code=True)
        directory.end_person(ute.id)
        board, old = directory.add_group("Styrelsen"), directory.add_group("Den gamla")
        directory.add_members(board.id, [li.id])
        directory.end_group(old.id)
        past = directory.add_organisation("Borta AB")
        directory.add_device(directory.add_person(past.id, "sist", "Sist Ute", administrator=True).id, "dator")
        directory.end_organisation(past.id)
        directory.change_person(bo.id, administrator=True)
        made = {"li": li, "bo": bo, "ute": ute, "laptop": laptop, "gone": gone, "board": board, "old": old}
        self.ids = {name: each.id for name, each in made.items()}
        self.kund = li.organisation
        world.installation.tick()

    def after(self, statement: str) -> list[Finding]:
        """Return what is found once a statement was carried out on the file itself."""
        self.world.installation.close()
        with sqlite3.connect(self.folder / "catalogue.db") as connection:
            used = {name: value for name, value in self.ids.items() if f":{name}" in statement}
            assert connection.execute(statement, used).rowcount > 0
        connection.close()
        return self.found()

    def found(self) -> list[Finding]:
        """Return what is found."""
        return list(self._reopened().verify())

    def _reopened(self) -> Installation:
        self.world.installation.close()
        self.world.installation = Installation.open(self.folder, settings_for(self.folder))
        return self.world.installation


@pytest.fixture
def peopled(tmp_path: Path) -> Iterator[Peopled]:
    """People of every kind."""
    made = Peopled(World.create(tmp_path / "data"))
    yield made
    made.world.installation.close()


def test_what_nobody_touched_is_whole(peopled: Peopled) -> None:
    assert peopled.found() == []


@pytest.mark.parametrize("statement", [each for _, each in FORBIDDEN], ids=[name for name, _ in FORBIDDEN])
def test_a_row_of_people_written_by_hand_was_whole(peopled: Peopled, statement: str) -> None:
    assert peopled.after(statement)


def _gone(path: Path) -> None:
    path.unlink()


def _damaged(path: Path) -> None:
    standing = path.read_bytes()
    path.write_bytes(standing[:-1] + bytes([standing[-1] ^ 1]))


@pytest.mark.parametrize("harm", [_gone, _damaged])
def test_the_key_of_an_organisation_is_named(peopled: Peopled, harm: Callable[[Path], None]) -> None:
    harm(peopled.folder / "keystore" / f"{peopled.kund.hex()}.key")
    assert f"organisation {id_text(peopled.kund)}" in {finding.where for finding in peopled.found()}


def test_verify_broke_off_at_the_damaged_key_of_a_space(peopled: Peopled) -> None:
    space = peopled.world.spaces["Avtal"].id
    _damaged(peopled.folder / "keystore" / f"{space.hex()}.key")
    found = peopled.found()
    assert any(finding.where == f"space {id_text(space)}" and "damaged" in finding.what for finding in found)
    assert any(finding.where.startswith("audit log") for finding in found)
