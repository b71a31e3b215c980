"""Whatever a space and its customer are called, it is opened by the name under which the root shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

import providers.spaces
from auth.roles import Role
from providers.errors import BadName
from providers.model import ARCHIVED
from providers.paths import ROOT, check_name
from tests.worlds import World, fetch, store


@pytest.fixture
def world(data_folder: FilePath) -> Iterator[World]:
    made = World.create(data_folder)
    made.person("eva", "Byrån AB")
    made.person("kim", "Kund AB")
    yield made
    made.installation.close()


def shown(world: World, login: str) -> list[str]:
    """Return the names in somebody's root, each tried."""
    drive = world.drive(login)
    found = [item.name for item in drive.listing(ROOT)[1]]
    for name in found:
        place = ROOT.joined(check_name(name)).joined("a.txt")
        store(drive, place, name.encode())
        assert fetch(drive, place) == name.encode()
    return found


@pytest.mark.parametrize("name", ["~Temp", ".history", ".HISTORY", "Archive", "archive ", " ", " ~x"])
def test_a_space_is_not_called_what_leads_elsewhere(world: World, name: str) -> None:
    with pytest.raises(BadName):
        world.space(name, "Kund AB")
    assert world.installation.spaces.all() == []


@pytest.mark.parametrize("name", ["~Temp", ".history", "Archive", " "])
def test_one_that_was_called_so_is_opened(world: World, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers.spaces, "check_space_name", lambda name: None)
    world.space("Rum", "Kund AB")
    world.installation.spaces.set_state(world.installation.operator(), world.spaces["Rum"].id, ARCHIVED)
    world.space(name, "Kund AB")
    world.grant("kim", "Rum", Role.VIEWER)
    for login in ("eva", "kim"):
        world.grant(login, name, Role.EDITOR)
    (for_supplier,) = shown(world, "eva")
    assert for_supplier.startswith("Kund AB –")
    drive = world.drive("kim")
    found = {item.name for item in drive.listing(ROOT)[1]} - {"Archive"}
    (for_customer,) = found
    assert for_customer == {"~Temp": "∼Temp", ".history": ".history (2)", "Archive": "Archive (2)", " ": "∕"}[name]
    assert fetch(drive, ROOT.joined(for_customer).joined("a.txt")) == for_supplier.encode()


@pytest.mark.parametrize("customer", ["~Kund", "Kund\u0378 A/S", "Ö" * 200])
def test_the_name_of_a_customer_leads_nowhere_else(world: World, customer: str) -> None:
    for name in ("Rum", "Å" * 120 + "1", "Å" * 120 + "2"):
        world.space(name, customer)
        world.grant("eva", name, Role.EDITOR)
    assert len(set(shown(world, "eva"))) == 3
