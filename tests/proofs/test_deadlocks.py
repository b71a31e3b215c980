"""Several who write, share, erase and sign at the same time on PostgreSQL never wait for each other in a circle.

That each takes rows in one order is looked at elsewhere (tests/row_locks.py), one operation at a time. Here many meet,
also in transactions that they share; the database counts the circles that it had to break.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from auth.roles import GranteeKind, Role, Via
from config.errors import DatabaseBusy, MellanrumError
from providers.installation import Installation
from providers.paths import parse
from tests.seeds import seeded
from tests.worlds import ADDRESS, World, settings_for, store

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

SEEDS = seeded([20], more=3)
SECONDS = 15
WRITERS = 3
SPACES = ("Ett", "Två", "Tre", "Fyra")
PEOPLE = ("lo", "bo", "my")
COUNTED = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


@pytest.fixture
def url(postgresql_url: str) -> str:
    """A database that looks for circles soon."""
    return f"{postgresql_url}?options=-cdeadlock_timeout%3D50"


def settings(url: str) -> dict[str, Any]:
    return {"installation.database_url": url, "history.erasure_persons": 1}


@pytest.fixture
def world(data_folder: Path, url: str) -> Iterator[World]:
    made = World.create(data_folder, **settings(url))
    made.person("mia", "Byrån AB")
    for login in PEOPLE:
        made.person(login, "Kund AB")
    for name in SPACES:
        made.space(name, "Kund AB", ("/Delad",))
        made.grant("mia", name, Role.MANAGER, history=True)
    yield made
    made.installation.close()


class Hand:
    """Somebody at work in one process, at random."""

    def __init__(self, world: World, installation: Installation, group: bytes, number: int, seed: int) -> None:
        self.world, self.at, self.group, self.number = world, installation, group, number
        self.random = random.Random(seed + number)
        signed_in = installation.authenticator.basic("mia", world.passwords["mia"], via=Via.WEBDAV, address=ADDRESS)
        self.drive, self.operator = installation.drive(signed_in), installation.operator()

    def path(self) -> str:
        return f"/Kund AB – {self.random.choice(SPACES)}/{self.number} {self.random.randrange(8)}.txt"

    def write(self) -> None:
        path = self.path()
        store(self.drive, path, self.random.randbytes(300))
        if self.random.random() < 0.5:
            self.drive.move(parse(path), parse(self.path()), overwrite=True)

    def share(self) -> None:
        space, person = self.world.spaces[self.random.choice(SPACES)].id, self.world.people[PEOPLE[0]].id
        made = self.at.spaces.grant(
            self.operator, space, parse("/Delad"), person, GranteeKind.PERSON, Role.VIEWER, history=True
        )
        self.at.spaces.revoke(self.operator, space, made.id)

    def gather(self) -> None:
        people = [self.world.people[login].id for login in PEOPLE]
        self.random.shuffle(people)
        self.at.directory.add_members(self.group, people)
        self.at.directory.remove_member(self.group, people[0])
        self.at.directory.change_person(people[1], name=f"Namn {self.random.randrange(9)}")

    def erase(self) -> None:
        customer = self.at.directory.add_organisation(f"Kort {self.number} {self.random.random()}").id
        for name in ("Ett", "Två"):
            self.at.spaces.create(self.operator, name, customer=customer)
        asked = self.at.erasures.request_customer(self.operator, customer, "slut")
        self.at.erasures.approve(self.operator, asked.id)

    def sign(self) -> None:
        self.at.journal.drain()
        self.at.checkpoints.advance_now()


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_waits_in_a_circle(world: World, data_folder: Path, url: str, seed: int) -> None:
    group = world.installation.directory.add_group("Alla").id
    processes = [Installation.open(data_folder, settings_for(data_folder, **settings(url))) for _ in range(2)]
    until, failed = time.monotonic() + SECONDS, list[BaseException]()

    def work(act: Callable[[], None]) -> None:
        while time.monotonic() < until:
            try:
                act()
            except DatabaseBusy as error:
                failed.append(error)
            except MellanrumError:
                pass  # somebody else moved or took it
            except BaseException as error:
                failed.append(error)
                raise

    threads = []
    for number, installation in enumerate(processes):
        hands = [Hand(world, installation, group, 10 * number + index, seed) for index in range(WRITERS + 1)]
        acts = [*(hand.write for hand in hands[1:]), *(getattr(hands[0], name) for name in ("share", "gather"))]
        acts += [hands[0].erase, hands[0].sign]
        threads += [threading.Thread(target=work, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for installation in processes:
        installation.close()
    assert failed == []
    assert list(world.installation.verify()) == []
    plain = url.partition("?")[0].replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(plain, autocommit=True) as connection:
        assert connection.execute(COUNTED).fetchone() == (0,)
