"""A key file that cannot be read: whose it is has an error, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auth.errors import KeyUnreadable
from auth.roles import Role
from config.ids import id_text
from providers.drive import sight
from providers.installation import Installation
from providers.paths import ROOT, parse
from tests.worlds import World, fetch, settings_for, store


class Desk:
    """A world, and what stands in the place of its key files. Root reads every file, but no folder as one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World.create(folder)
        for login, customer in (("anna", "Kafé"), ("bo", "Bageri"), ("sven", "Byrån AB")):
            self.world.person(login, customer)
        for space, customer, login in (("Bok", "Kafé", "anna"), ("Lön", "Bageri", "bo")):
            self.world.space(space, customer)
            self.world.grant(login, space, Role.EDITOR)
            self.world.grant("sven", space, Role.EDITOR)
            store(self.world.drive(login), f"/{space}/brev", space.encode())

    def file(self, identity: bytes) -> Path:
        return self.folder / "keystore" / f"{id_text(identity)}.key"

    def lose(self, identity: bytes) -> None:
        """Let a key be unreadable, and let a process look that knows none yet."""
        self.file(identity).rename(self.file(identity).with_suffix(".kept"))
        self.file(identity).mkdir()
        self.open()

    def mend(self, identity: bytes) -> None:
        self.file(identity).rmdir()
        self.file(identity).with_suffix(".kept").rename(self.file(identity))

    def open(self) -> None:
        self.world.installation.close()
        self.world.installation = Installation.open(self.folder, settings_for(self.folder))

    def listed(self, login: str) -> list[str]:
        return sorted(item.name for item in self.world.drive(login).listing(ROOT)[1])


@pytest.fixture
def desk(data_folder: Path) -> Iterator[Desk]:
    made = Desk(data_folder)
    yield made
    made.world.installation.close()


def test_one_unreadable_key_of_a_space_failed_every_request(desk: Desk) -> None:
    bok = desk.world.spaces["Bok"].id
    desk.lose(bok)
    assert fetch(desk.world.drive("bo"), "/Lön/brev") == "Lön".encode()
    assert desk.listed("sven") == ["Bageri – Lön"]
    assert "Bok" not in desk.listed("anna")
    assert {(info.id, info.name) for info in desk.world.installation.spaces.all() if info.is_lost} == {
        (bok, f"~{id_text(bok)}")
    }
    desk.world.installation.tick()
    store(desk.world.drive("bo"), "/Lön/nytt", b"x")
    with pytest.raises(KeyUnreadable):
        desk.world.installation.spaces.set_quota(desk.world.installation.operator(), bok, 1)


def test_a_key_that_was_mended_is_used_without_a_restart(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sight, "LOST_US", 0)
    bok = desk.world.spaces["Bok"].id
    desk.lose(bok)
    assert "Bok" not in desk.listed("anna")
    desk.mend(bok)
    assert fetch(desk.world.drive("anna"), "/Bok/brev") == b"Bok"


def test_a_second_space_of_a_name_was_made_while_the_first_could_not_be_opened(desk: Desk) -> None:
    desk.lose(desk.world.spaces["Bok"].id)
    with pytest.raises(KeyUnreadable):
        desk.world.space("Bok", "Kafé")
    desk.world.space("Bok", "Bageri")


def test_one_unreadable_key_of_an_organisation_failed_every_request(desk: Desk) -> None:
    kafe = desk.world.organisations["Kafé"]
    desk.lose(kafe)
    assert fetch(desk.world.drive("bo"), "/Lön/brev") == "Lön".encode()
    assert fetch(desk.world.drive("sven"), "/– Bok/brev") == b"Bok"
    with pytest.raises(KeyUnreadable):
        desk.world.sign_in("anna")


def test_reads_of_a_space_that_cannot_be_opened_kept_all_logs_from_growing(desk: Desk) -> None:
    bok = desk.world.spaces["Bok"].id
    fetch(desk.world.drive("anna"), "/Bok/brev")
    desk.world.installation.journal.close = lambda: None  # type: ignore[method-assign]
    desk.lose(bok)
    desk.world.installation.tick()
    desk.mend(bok)
    desk.world.installation.tick()
    assert "read" in desk.world.kinds("Bok")


def test_a_lock_of_one_whose_key_cannot_be_read_stopped_all_that_is_done_now_and_then(desk: Desk) -> None:
    desk.world.drive("anna").lock(parse("/Bok/brev"), is_deep=False, is_shared=False, owner="", seconds=600)
    desk.lose(desk.world.organisations["Kafé"])
    desk.world.installation.tick()
    assert [held.principal for held in desk.world.installation.locks.all()] == [desk.world.people["anna"].id]
