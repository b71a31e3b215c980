"""Who may ask for an erasure and who approve it, and what keeps something from being erased, asked twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from sqlalchemy import select, update

from auth import tables as auth_tables
from auth.rights import Principal
from providers import tables
from providers.catalogue.change import ChangeKind
from providers.errors import NotFound
from providers.holding.errors import (
    ErasedBefore,
    Held,
    NewestVersion,
    NotADocument,
    NotAKeeper,
    NotPending,
    Retained,
    SecondPersonNeeded,
    SupplierStays,
)
from providers.holding.model import State
from providers.paths import parse
from tests.hold.worlds import OURS, SPACE, administrator, erased, findings, make, versions
from tests.worlds import World, fetch, store

DOCUMENT = f"{OURS}/Avtal/Köp.txt"
DAY_SECONDS = 24 * 3600


@pytest.fixture
def world(tmp_path: FilePath) -> Iterator[World]:
    made = make(tmp_path / "data")
    yield made
    made.installation.close()


@pytest.fixture
def node(world: World) -> bytes:
    return versions(world.drive("mia"), DOCUMENT, b"ett", b"tu", b"tre")


def ask(world: World, actor: Principal, what: str, node: bytes) -> Any:
    """Ask that a version, the document, its space or its customer be erased."""
    erasures, space = world.installation.erasures, world.spaces[SPACE].id
    if what == "version":
        return erasures.request_version(actor, space, node, 1, "skäl")
    if what == "document":
        return erasures.request_document(actor, space, node, "skäl")
    if what == "space":
        return erasures.request_space(actor, space, "skäl")
    return erasures.request_customer(actor, world.organisations["Kund AB"], "skäl")


EVERYTHING = ("version", "document", "space", "customer")


@pytest.mark.parametrize("what", EVERYTHING)
def test_the_same_person_twice_is_refused(world: World, node: bytes, what: str) -> None:
    erasures = world.installation.erasures
    for actor in (world.installation.operator(), administrator(world)):
        asked = ask(world, actor, what, node)
        with pytest.raises(SecondPersonNeeded):
            erasures.approve(actor, asked.id)
        assert erasures.get(asked.id).state is State.REQUESTED
    assert fetch(world.drive("mia"), DOCUMENT) == b"tre"
    assert findings(world) == []


def test_one_person_may_be_settled_to_be_enough(tmp_path: FilePath) -> None:
    world = make(tmp_path / "data", **{"history.erasure_persons": 1})
    node = versions(world.drive("mia"), DOCUMENT, b"ett", b"tu")
    operator = world.installation.operator()
    done = world.installation.erasures.approve(operator, ask(world, operator, "version", node).id)
    assert done.state is State.DONE
    world.installation.close()


@pytest.mark.parametrize("login", ["mia", "eva"])
@pytest.mark.parametrize("what", EVERYTHING)
def test_nobody_but_keepers_asks_or_approves(world: World, node: bytes, what: str, login: str) -> None:
    somebody = world.sign_in(login)
    with pytest.raises(NotAKeeper):
        ask(world, somebody, what, node)
    asked = ask(world, world.installation.operator(), what, node)
    for act in (world.installation.erasures.approve, world.installation.erasures.cancel):
        with pytest.raises(NotAKeeper):
            act(somebody, asked.id)
    assert world.installation.erasures.get(asked.id).state is State.REQUESTED


def test_who_was_a_keeper_when_signing_in_is_asked_again_at_the_act(world: World, node: bytes) -> None:
    erasures, keeper = world.installation.erasures, administrator(world)
    asked = ask(world, world.installation.operator(), "version", node)
    world.person("alva", "Byrån AB", administrator=True)
    world.installation.directory.change_person(keeper.id, administrator=False)
    for act in (
        lambda: ask(world, keeper, "version", node),
        lambda: erasures.approve(keeper, asked.id),
        lambda: erasures.cancel(keeper, asked.id),
    ):
        with pytest.raises(NotAKeeper):
            act()
    assert erasures.get(asked.id).state is State.REQUESTED


def test_an_administrator_of_a_customer_is_no_keeper(world: World, node: bytes) -> None:
    world.person("erik", "Kund AB", administrator=True)
    with pytest.raises(NotAKeeper):
        ask(world, world.sign_in("erik"), "version", node)


#: What is settled about the space, and what is raised then.
KEPT: dict[str, tuple[Callable[[World], object], type[Exception]]] = {
    "held": (
        lambda w: w.installation.spaces.set_hold(w.installation.operator(), w.spaces[SPACE].id, True),
        Held,
    ),
    "retained": (
        lambda w: w.installation.spaces.set_retention(w.installation.operator(), w.spaces[SPACE].id, DAY_SECONDS),
        Retained,
    ),
}


@pytest.mark.parametrize("when", ["before it was asked", "since"])
@pytest.mark.parametrize("why", KEPT)
@pytest.mark.parametrize("what", EVERYTHING)
def test_what_is_kept_is_not_erased(world: World, node: bytes, what: str, why: str, when: str) -> None:
    settle, error = KEPT[why]
    operator, erasures = world.installation.operator(), world.installation.erasures
    if when == "since":
        asked = ask(world, operator, what, node)
        settle(world)
        with pytest.raises(error):
            erasures.approve(administrator(world), asked.id)
        assert erasures.get(asked.id).state is State.REQUESTED
    else:
        settle(world)
        with pytest.raises(error):
            ask(world, operator, what, node)
        assert erasures.all() == []
    assert fetch(world.drive("mia"), DOCUMENT) == b"tre"
    assert findings(world) == []


def test_a_retention_that_is_over_keeps_nothing(world: World, node: bytes) -> None:
    spaces, operator = world.installation.spaces, world.installation.operator()
    spaces.set_retention(operator, world.spaces[SPACE].id, 3600)
    with pytest.raises(Retained):
        erased(world, node, 1)
    spaces.set_retention(operator, world.spaces[SPACE].id, None)
    erased(world, node, 1)
    kinds = [kind for kind in world.kinds(SPACE) if kind.startswith(("retention", "hold"))]
    assert kinds == ["retention_set", "retention_set"]
    assert findings(world) == []


def test_lifting_a_hold_is_an_act_that_the_customer_sees(world: World) -> None:
    spaces, operator, audit = world.installation.spaces, world.installation.operator(), world.installation.audit
    for held in (True, False):
        assert spaces.set_hold(operator, world.spaces[SPACE].id, held).is_held is held
    world.installation.tick()
    with world.installation.database.read() as connection:
        log = audit.find(connection, world.spaces[SPACE].id, world.organisations["Kund AB"])
        told = [(e.event["kind"], e.event["facts"]["held"]) for e in list(audit.entries(connection, log))[-2:]]
    assert told == [("hold_set", 1), ("hold_lifted", 0)]


@pytest.mark.parametrize("column", ["is_held", "retention_seconds", "thin_all_days", "thin_daily_days"])
def test_verify_finds_a_policy_that_was_changed_by_hand(world: World, column: str) -> None:
    world.installation.spaces.set_hold(world.installation.operator(), world.spaces[SPACE].id, True)
    assert findings(world) == []
    with world.installation.database.write() as connection:
        value = 1 if column != "is_held" else False
        connection.execute(update(tables.space).values(**{column: value}))
    assert findings(world) != []


def test_nothing_hides_behind_what_was_settled_anew(world: World) -> None:
    """A grant is taken back by nobody, in a change that settled what was settled anew since."""
    for held in (True, False):
        world.installation.spaces.set_hold(world.installation.operator(), world.spaces[SPACE].id, held)
    assert findings(world) == []
    with world.installation.database.write() as connection:
        settled = select(tables.change.c.number).where(tables.change.c.kind == int(ChangeKind.SPACE))
        number = connection.execute(settled.order_by(tables.change.c.number).limit(1)).scalar_one()
        connection.execute(update(auth_tables.grants).values(to_change=number))
    assert findings(world) != []


def test_the_newest_version_is_not_erased_by_itself(world: World, node: bytes) -> None:
    with pytest.raises(NewestVersion):
        erased(world, node, 3)
    store(world.drive("mia"), DOCUMENT, b"fyra")
    erased(world, node, 3)
    assert findings(world) == []


def test_a_version_that_was_the_newest_again_is_refused_at_the_act(world: World) -> None:
    """It was asked for while it was old; what is checked at the act is what stands then."""
    node = versions(world.drive("mia"), f"{OURS}/b.txt", b"ett", b"tu")
    asked = ask(world, world.installation.operator(), "version", node)
    erased(world, node)
    with pytest.raises(ErasedBefore):
        world.installation.erasures.approve(administrator(world), asked.id)


def test_nothing_is_done_twice(world: World, node: bytes) -> None:
    erasures = world.installation.erasures
    done = erased(world, node, 1)
    with pytest.raises(NotPending):
        erasures.approve(administrator(world), done.id)
    with pytest.raises(NotPending):
        erasures.cancel(administrator(world), done.id)
    with pytest.raises(ErasedBefore):
        erased(world, node, 1)


def test_what_was_cancelled_stays(world: World, node: bytes) -> None:
    erasures = world.installation.erasures
    asked = ask(world, world.installation.operator(), "document", node)
    assert erasures.cancel(administrator(world), asked.id).state is State.CANCELLED
    with pytest.raises(NotPending):
        erasures.approve(administrator(world), asked.id)
    assert fetch(world.drive("mia"), DOCUMENT) == b"tre"
    assert "erasure_cancelled" in world.kinds(SPACE)


def test_nothing_else_is_erased_in_the_name_of_what_was_asked(world: World, node: bytes) -> None:
    """Whoever holds the disk turns what one person asked for into something else."""
    other = versions(world.drive("mia"), f"{OURS}/Annan.txt", b"ett", b"tu")
    asked = ask(world, world.installation.operator(), "document", node)
    with world.installation.database.write() as connection:
        connection.execute(update(tables.erasure).values(node=other))
    with pytest.raises(NotFound):
        world.installation.erasures.approve(administrator(world), asked.id)
    assert fetch(world.drive("mia"), f"{OURS}/Annan.txt") == b"tu"


def test_what_is_no_document_is_refused(world: World, node: bytes) -> None:
    erasures, operator = world.installation.erasures, world.installation.operator()
    folder = world.drive("mia").stat(parse(f"{OURS}/Avtal")).id
    with pytest.raises(NotADocument):
        erasures.request_document(operator, world.spaces[SPACE].id, folder, "skäl")
    world.space("Annat", "Kund AB")
    with pytest.raises(NotFound):
        erasures.request_document(operator, world.spaces["Annat"].id, node, "skäl")
    with pytest.raises(NotFound):
        erasures.request_version(operator, world.spaces[SPACE].id, node, 9, "skäl")
    with pytest.raises(SupplierStays):
        erasures.request_customer(operator, world.organisations["Byrån AB"], "skäl")


def test_a_reason_is_sealed(world: World, node: bytes) -> None:
    erased(world, node, 1, reason="en hemlig begäran")
    with world.installation.database.read() as connection:
        words = connection.execute(select(tables.erasure.c.words)).scalar_one()
    assert "begäran".encode() not in words
    assert world.installation.erasures.all()[0].words.reason == "en hemlig begäran"
