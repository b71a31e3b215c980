"""A space or a customer is erased by destroying its key, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest

from auth.errors import SignInRefused, UnknownKey
from auth.roles import Role, Via
from providers.holding.model import State
from providers.holding.report import report_of
from providers.installation import Installation
from providers.paths import ROOT
from tests.hold.worlds import OURS, SPACE, administrator, findings, make, versions
from tests.worlds import ADDRESS, World, fetch, settings_for, store

OTHER = "Annat"


@pytest.fixture
def world(tmp_path: FilePath) -> Iterator[World]:
    made = make(tmp_path / "data")
    for name, customer in ((OTHER, "Annan AB"), ("Eget", "Kund AB")):
        made.space(name, customer)
        made.grant("mia", name, Role.MANAGER, history=True)
    versions(made.drive("mia"), f"{OURS}/Avtal/Köp.txt", b"ett", b"tu")
    store(made.drive("mia"), "/Annan AB – Annat/Stannar.txt", b"stannar")
    yield made
    made.installation.close()


def erase(world: World, what: str) -> Any:
    erasures, operator = world.installation.erasures, world.installation.operator()
    if what == "space":
        asked = erasures.request_space(operator, world.spaces[SPACE].id, "avtalet är slut")
    else:
        asked = erasures.request_customer(operator, world.organisations["Kund AB"], "avtalet är slut")
    return erasures.approve(administrator(world), asked.id)


@pytest.mark.parametrize("what", ["space", "customer"])
def test_its_key_its_packs_and_its_name_go(world: World, what: str) -> None:
    installation, space = world.installation, world.spaces[SPACE].id
    assert findings(world) == []
    done = erase(world, what)
    assert done.state is State.DONE
    assert done.swept_at is not None
    with pytest.raises(UnknownKey):
        installation.keyring.space(space)
    assert not (installation.folder / "vault" / space.hex()).exists()
    gone = {SPACE} if what == "space" else {SPACE, "Eget"}
    assert {info.name for info in installation.spaces.all()} == {SPACE, OTHER, "Eget"} - gone
    assert not any(SPACE in item.name for item in world.drive("mia").listing(ROOT)[1])
    assert fetch(world.drive("mia"), "/Annan AB – Annat/Stannar.txt") == b"stannar"
    store(world.drive("mia"), "/Annan AB – Annat/Stannar.txt", b"och mer")
    assert findings(world) == []
    told = report_of(installation.storage, done)
    assert told.count == 2
    assert told.key_from is not None
    assert told.key_from < done.requested_at
    assert told.key_until == done.swept_at


def test_what_was_read_just_before_leaves_no_hole_in_the_logs(world: World) -> None:
    fetch(world.drive("mia"), f"{OURS}/Avtal/Köp.txt")
    erase(world, "space")
    for _ in range(2):
        world.installation.tick()
    assert findings(world) == []


def test_a_customers_people_are_gone_and_the_name_is_free(world: World) -> None:
    erase(world, "customer")
    installation = world.installation
    with pytest.raises(SignInRefused):
        installation.authenticator.basic("eva", world.passwords["eva"], via=Via.WEBDAV, address=ADDRESS)
    with pytest.raises(UnknownKey):
        installation.keyring.organisation(world.organisations["Kund AB"])
    assert "Kund AB" not in [each.name for each in installation.directory.organisations()]
    installation.directory.add_organisation("Kund AB")
    assert findings(world) == []


def test_the_installations_own_log_tells_of_it(world: World) -> None:
    erase(world, "space")
    installation = world.installation
    installation.tick()
    with installation.database.read() as connection:
        log = installation.audit.find(connection, b"")
        told = [entry for entry in installation.audit.entries(connection, log) if entry.event["kind"] == "space_erased"]
        assert told[0].event["facts"]["space"] == world.spaces[SPACE].id.hex()
        assert told[0].personal["reason"].value == "avtalet är slut"
        customers = installation.audit.find(connection, b"", world.organisations["Kund AB"])
        kinds = [entry.event["kind"] for entry in installation.audit.entries(connection, customers)]
    assert "space_erased" in kinds


def test_names_stay_in_logs_of_other_spaces_and_of_the_installation(world: World) -> None:
    """As docs/THREATS.md says: erasing a customer goes through no log but those that its keys sealed."""
    world.grant("eva", OTHER, Role.EDITOR)
    store(world.drive("eva"), "/Annat/Hej.txt", b"hej")
    erase(world, "customer")
    installation = world.installation
    installation.tick()
    with installation.database.read() as connection:
        for space in (b"", world.spaces[OTHER].id):
            log = installation.audit.find(connection, space)
            told = [entry.personal for entry in installation.audit.entries(connection, log)]
            assert any(each["actor.name"].value == "Eva Lund" for each in told if "actor.name" in each)
        log = installation.audit.find(connection, world.spaces[SPACE].id)
        with pytest.raises(UnknownKey):
            list(installation.audit.entries(connection, log))


class Killed(BaseException):
    """Stands for a process that is killed."""


@pytest.mark.parametrize("step", ["keyring.destroy", "vault.destroy_space"])
@pytest.mark.parametrize("what", ["space", "customer"])
def test_an_erasure_killed_on_its_way_is_done_by_the_next_sweep(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str, step: str
) -> None:
    part, name = step.split(".")

    def killed(*arguments: Any) -> None:
        raise Killed

    monkeypatch.setattr(getattr(world.installation, part), name, killed)
    with pytest.raises(Killed):
        erase(world, what)
    monkeypatch.undo()
    folder = world.installation.folder
    world.installation.close()
    world.installation = Installation.open(folder, settings_for(folder))
    assert world.installation.erasures.all()[0].swept_at is None
    world.installation.erasures.sweep()
    assert world.installation.erasures.all()[0].swept_at is not None
    with pytest.raises(UnknownKey):
        world.installation.keyring.space(world.spaces[SPACE].id)
    assert not (folder / "vault" / world.spaces[SPACE].id.hex()).exists()
    assert findings(world) == []


def test_another_process_lets_go_of_the_key(world: World) -> None:
    folder = world.installation.folder
    other = Installation.open(folder, settings_for(folder))
    try:
        other.keyring.space(world.spaces[SPACE].id)
        other.tick()
        erase(world, "space")
        other.tick()
        with pytest.raises(UnknownKey):
            other.keyring.space(world.spaces[SPACE].id)
    finally:
        other.close()
