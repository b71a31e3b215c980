"""What a space may be called, what it is shown as beside others, and how it gets another name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from unittest import mock

import pytest

from auth.roles import Role
from providers import spaces
from providers.errors import BadName, NotFound, TargetExists
from providers.model import ARCHIVED
from providers.paths import Path, parse
from tests.worlds import World, fetch, managed_room, store

POSTGRESQL_IN_PROOF = True


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = managed_room(data_folder, engine)
    made.grant("kim", "Rum", Role.EDITOR)
    yield made
    made.installation.close()


def seen(world: World, login: str, folder: str = "/") -> list[str]:
    return [item.name for item in world.drive(login).listing(parse(folder) if folder != "/" else Path())[1]]


def archive(world: World, name: str) -> None:
    world.installation.spaces.set_state(world.installation.operator(), world.spaces[name].id, ARCHIVED)


@pytest.mark.parametrize("name", ["Archive", "ARCHIVE", " archive "])
def test_no_space_takes_the_name_of_the_archive(world: World, name: str) -> None:
    with pytest.raises(BadName):
        world.space(name, "Kund AB")
    with pytest.raises(BadName):
        world.installation.spaces.rename(world.installation.operator(), world.spaces["Rum"].id, name)


def test_a_space_that_is_called_archive_does_not_vanish_when_another_is_archived(world: World) -> None:
    with mock.patch.object(spaces, "check_space_name"):
        world.space("Archive", "Kund AB")
    world.grant("kim", "Archive", Role.EDITOR)
    store(world.drive("kim"), "/Archive (2)/a.txt", b"here")
    assert seen(world, "kim") == ["Archive (2)", "Rum"]
    archive(world, "Rum")
    assert seen(world, "kim") == ["Archive (2)", "Archive"]
    assert seen(world, "kim", "/Archive") == ["Rum"]
    assert fetch(world.drive("kim"), "/Archive (2)/a.txt") == b"here"


def test_of_two_spaces_of_one_name_none_vanishes_when_one_is_archived(world: World) -> None:
    store(world.drive("kim"), "/Rum/a.txt", b"first")
    archive(world, "Rum")
    world.space("Rum", "Annan AB")
    world.grant("kim", "Rum", Role.EDITOR)
    store(world.drive("kim"), "/Rum/b.txt", b"second")
    for path, content in (("/Archive/Rum/a.txt", b"first"), ("/Rum/b.txt", b"second")):
        assert fetch(world.drive("kim"), path) == content


def test_a_name_that_an_operation_gave_was_forgotten_with_it(world: World) -> None:
    """It was refused, or run again; and the space was called otherwise as soon as its namesake was gone."""
    first, spaces, operator = world.spaces["Rum"], world.installation.spaces, world.installation.operator()
    world.space("Rum", "Annan AB")
    world.grant("kim", "Rum", Role.EDITOR)
    with pytest.raises(NotFound):
        world.drive("kim").delete(parse("/Rum/a.txt"))
    assert seen(world, "kim") == ["Rum", "Rum (2)"]
    for _, grant in spaces.grants(first.id):
        if grant.grantee == world.people["kim"].id:
            spaces.revoke(operator, first.id, grant.id)
    assert seen(world, "kim") == ["Rum (2)"]


def test_a_space_gets_another_name_at_once_and_the_log_tells(world: World) -> None:
    kim, operator, rum = world.drive("kim"), world.installation.operator(), world.spaces["Rum"]
    store(kim, "/Rum/a.txt", b"text")
    world.space("Taget", "Kund AB")
    with pytest.raises(TargetExists):
        world.installation.spaces.rename(operator, rum.id, "TAGET")
    start = len(world.kinds("Rum"))
    assert world.installation.spaces.rename(operator, rum.id, "Bokföring").name == "Bokföring"
    assert world.installation.spaces.rename(operator, rum.id, "bokföring").name == "bokföring"
    assert world.kinds("Rum", start) == ["space_renamed"] * 2
    assert (seen(world, "kim"), fetch(world.drive("kim"), "/bokföring/a.txt")) == (["bokföring"], b"text")
    assert [f"{found.where}: {found.what}" for found in world.installation.verify()] == []
