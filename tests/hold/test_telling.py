"""Who learns of an erasure, a hold and what else is done to a room: whoever may see it, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest

from auth.roles import Role
from providers.audit.errors import UnknownLog
from providers.model import FROZEN, Thinning
from providers.paths import parse
from tests.hold.worlds import administrator, findings
from tests.worlds import World, store

ROOM = "Affären"


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    """A broker's own room, which no customer owns, with a folder for two rival buyers, and one for each alone."""
    made = World.create(data_folder, **engine)
    made.person("agnes", "Byrån AB", administrator=True)
    made.person("mia", "Byrån AB")
    made.space(ROOM, None, ("/Underlag", "/Till A", "/Till B"))
    made.grant("mia", ROOM, Role.MANAGER, history=True)
    for login, folder in (("alba", "/Till A"), ("kenji", "/Till B")):
        made.person(login, f"Köpare {login.title()}")
        made.grant(login, ROOM, Role.VIEWER, "/Underlag")
        made.grant(login, ROOM, Role.VIEWER, folder)
    yield made
    made.installation.close()


def kinds(world: World, organisation: str) -> list[str]:
    """Return the kinds of what stands in an organisation's stream of the room."""
    return [event["kind"] for event in stream(world, organisation)]


def stream(world: World, organisation: str, space: str = ROOM) -> list[dict[str, Any]]:
    audit = world.installation.audit
    with world.installation.database.read() as connection:
        try:
            log = audit.find(connection, world.spaces[space].id, world.organisations[organisation])
        except UnknownLog:
            return []
        return [entry.event for entry in audit.entries(connection, log)]


def erase(world: World, node: bytes, space: str = ROOM) -> None:
    """Have a document erased by two persons."""
    erasures = world.installation.erasures
    asked = erasures.request_document(world.installation.operator(), world.spaces[space].id, node, "felsänt")
    erasures.approve(administrator(world), asked.id)


def test_the_parties_of_a_room_that_is_the_suppliers_own_were_told_of_no_erasure(world: World) -> None:
    node = store(world.drive("mia"), f"/{ROOM}/Underlag/Bokslut.txt", b"ett").id
    erase(world, node)
    for buyer in ("Köpare Alba", "Köpare Kenji"):
        assert kinds(world, buyer)[-2:] == ["erasure_requested", "erased"]
    assert findings(world) == []


@pytest.mark.parametrize("is_deleted", [False, True])
def test_of_what_is_erased_where_it_may_not_look_a_rival_learns_nothing(world: World, is_deleted: bool) -> None:
    mia, place = world.drive("mia"), parse(f"/{ROOM}/Till A/Erbjudande.txt")
    node = store(mia, place, b"ett").id
    if is_deleted:
        mia.delete(place)
    before = kinds(world, "Köpare Kenji")
    erase(world, node)
    assert kinds(world, "Köpare Kenji") == before
    assert kinds(world, "Köpare Alba")[-2:] == ["erasure_requested", "erased"]


def test_a_customer_was_told_of_erasures_where_it_may_not_look(world: World) -> None:
    """With the path, and with the reason."""
    world.person("eva", "Kund AB")
    world.space("Rum", "Kund AB", ("/Internt",))
    world.grant("eva", "Rum", Role.EDITOR, history=True)
    world.grant("mia", "Rum", Role.MANAGER, history=True)
    operator = world.installation.operator()
    world.installation.spaces.break_inheritance(operator, world.spaces["Rum"].id, parse("/Internt"))
    world.grant("mia", "Rum", Role.MANAGER, "/Internt", history=True)
    node = store(world.drive("mia"), "/Kund AB – Rum/Internt/Kalkyl.txt", b"ett").id
    before = stream(world, "Kund AB", "Rum")
    erase(world, node, "Rum")
    assert stream(world, "Kund AB", "Rum") == before


def test_whoever_sees_a_room_learns_that_it_was_frozen_or_held(world: World) -> None:
    world.person("lars", "Säljaren AB")
    world.grant("lars", ROOM, Role.VIEWER)
    spaces, operator, room = world.installation.spaces, world.installation.operator(), world.spaces[ROOM].id
    before = kinds(world, "Köpare Alba")
    spaces.set_state(operator, room, FROZEN)
    spaces.set_hold(operator, room, True)
    assert kinds(world, "Säljaren AB")[-2:] == ["space_changed", "hold_set"]
    assert kinds(world, "Köpare Alba") == before, "it may see but some folders of it"


def test_how_much_was_thinned_in_folders_of_all_is_told_to_the_supplier_alone(world: World) -> None:
    world.person("lars", "Säljaren AB")
    world.grant("lars", ROOM, Role.VIEWER)
    installation, room = world.installation, world.spaces[ROOM].id
    for number in range(3):
        store(world.drive("mia"), f"/{ROOM}/Till A/Erbjudande.txt", b"%d" % number)
    installation.spaces.set_thinning(installation.operator(), room, Thinning(0, 0))
    assert installation.erasures.thin(administrator(world), room, installation.settings.zone, anyway=True) is not None
    told = stream(world, "Säljaren AB")[-1]
    assert (told["kind"], set(told["facts"])) == ("thinned", {"erasure"})
    audit = installation.audit
    with installation.database.read() as connection:
        *_, last = audit.entries(connection, audit.find(connection, room))
    assert last.event["facts"]["thinned_versions"] > 0
    assert findings(world) == []
