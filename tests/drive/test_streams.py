"""Who reads a long document is asked each second whether it may be read still (`still_valid`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Any

import pytest

from auth.errors import Revoked
from auth.roles import Role
from config.clock import SECOND_US, now_us
from providers.drive import Drive
from providers.errors import Forbidden, NotFound
from providers.paths import parse
from tests.worlds import World, store

PLACE = parse("/Rum/Mapp/a.txt")


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(data_folder, **engine)
    made.space("Rum", "Kund AB")
    for login in ("eva", "olle"):
        made.person(login, "Kund AB")
    made.grant("eva", "Rum", Role.EDITOR)
    made.drive("eva").make_folder(PLACE.parent)
    store(made.drive("eva"), PLACE, b"text")
    yield made
    made.installation.close()


@pytest.fixture
def granted(world: World) -> Any:
    return world.grant("olle", "Rum", Role.VIEWER, history=True)


@pytest.fixture
def drive(world: World, granted: Any) -> Drive:
    return world.drive("olle")


def withdraw(world: World, grant: Any) -> None:
    world.installation.spaces.revoke(world.installation.operator(), world.spaces["Rum"].id, grant.id)


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_a_download_went_on_to_its_end_after_the_grant_was_withdrawn(
    world: World, drive: Drive, granted: Any, again: bool
) -> None:
    if again:
        drive.read(PLACE).close()
    with drive.read(PLACE) as reader:
        drive.still_valid(reader)
        withdraw(world, granted)
        with pytest.raises((NotFound, Revoked)):
            drive.still_valid(reader)


def test_another_asks_the_same_drive_meanwhile(world: World, drive: Drive, granted: Any) -> None:
    """Who asks first must not be the only one who is told."""
    world.space("Annat", "Kund AB")
    world.grant("olle", "Annat", Role.VIEWER)
    with drive.read(PLACE) as reader:
        withdraw(world, granted)
        drive.still_valid()
        with pytest.raises(NotFound):
            drive.still_valid(reader)


def test_what_may_be_seen_but_not_read_any_more(world: World, drive: Drive, granted: Any) -> None:
    with drive.read(PLACE) as reader:
        world.grant("olle", "Rum", Role.UPLOADER)
        drive.still_valid(reader)
        withdraw(world, granted)
        with pytest.raises((NotFound, Forbidden)):
            drive.still_valid(reader)


def test_a_grant_that_runs_out_by_the_clock(world: World) -> None:
    world.space("Annat", "Kund AB")
    world.grant("olle", "Annat", Role.VIEWER)
    drive, ends = world.drive("olle"), now_us() + 3 * SECOND_US
    world.grant("olle", "Rum", Role.VIEWER, expires_at=ends)
    with drive.read(PLACE) as reader:
        drive.still_valid(reader)
        time.sleep((ends - now_us()) / SECOND_US + 0.1)
        with pytest.raises(NotFound):
            drive.still_valid(reader)


def test_other_changes_of_rights_and_a_move_cut_nobody_off(world: World, drive: Drive) -> None:
    past = parse(f"/Rum/.history/{datetime.now(UTC).strftime('%Y-%m-%dT%H%M%S.%fZ')}/Mapp/a.txt")
    with drive.read(PLACE) as reader, drive.read(past) as as_it_stood:
        world.drive("eva").move(PLACE.parent, parse("/Rum/Annan"), overwrite=False)
        world.grant("eva", "Rum", Role.VIEWER)
        for each in (reader, as_it_stood):
            drive.still_valid(each)
        assert reader.read(0, 4) == b"text"


def test_nothing_is_looked_up_while_no_rights_change(
    world: World, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with drive.read(PLACE) as reader:
        drive.still_valid(reader)
        monkeypatch.setattr(type(drive._session), "look", None)
        drive.still_valid(reader)
