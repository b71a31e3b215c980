"""`history`, `restore` and the rest: the way back from the command line, by an operator who reads no content."""

from __future__ import annotations

import pytest

from auth.roles import GranteeKind, Role, Via
from providers.drive import Drive
from providers.installation import Installation
from providers.paths import parse
from tests.cli.shop import Shop
from tests.worlds import fetch, settings_for, store


@pytest.fixture
def drive(shop: Shop):
    """A manager's drive in the spaces `Rum` of two customers, whose installation stays open beside the commands."""
    installation = Installation.open(shop.data, settings_for(shop.data))
    directory, operator = installation.directory, installation.operator()
    person = directory.add_person(directory.supplier_id, "mia", "Mia Lund")
    _, password = directory.add_device(person.id, "laptop")
    for customer in ("Kund AB", "Annan AB"):
        space = installation.spaces.create(operator, "Rum", customer=directory.add_organisation(customer).id)
        installation.spaces.grant(
            operator, space.id, parse("/"), person.id, GranteeKind.PERSON, Role.MANAGER, history=True
        )
    yield installation.drive(installation.authenticator.basic("mia", password, via=Via.WEBDAV, address="192.0.2.7"))
    installation.close()


PLACE = parse("/Kund AB – Rum/a.txt")


def test_history_and_restore(shop: Shop, drive: Drive) -> None:
    item = store(drive, PLACE, b"one")
    store(drive, PLACE, b"longer")
    told = shop.ok("history", "Kund AB/Rum/a.txt")
    assert told["document"] == item.id.hex()
    assert [(each["number"], each["size"], each["by"], each["via"], each["name"]) for each in told["versions"]] == [
        (1, 3, "Mia Lund", "webdav", "a.txt"),
        (2, 6, "Mia Lund", "webdav", "a.txt"),
    ]
    done = shop.ok("restore", "Kund AB/Rum/a.txt", 1, "--comment", "den rätta")
    assert (done["changed"], done["version"]["number"], done["version"]["comment"]) == (True, 3, "den rätta")
    assert done["version"]["by"].startswith("operator:") or done["version"]["by"]
    assert fetch(drive, PLACE) == b"one"
    assert not shop.ok("restore", "Kund AB/Rum/a.txt", 3)["changed"]


def test_a_path_says_whose_space_it_is_in(shop: Shop, drive: Drive) -> None:
    store(drive, PLACE, b"one")
    ran = shop.run("history", "Rum/a.txt")
    assert (ran.code, "Kund AB/Rum" in ran.err) == (66, True)
    named = next(each for each in shop.ok("space", "list") if each["customer"] == "Kund AB")
    assert shop.ok("history", f"~{named['id']}/a.txt") == shop.ok("history", "kund ab/rum/A.txt")
    assert shop.run("history", "Kund AB/Rum/b.txt").code == 11
    assert shop.run("history", "Finns inte/b.txt").code != 0


def test_the_customer_sees_that_the_operator_looked(shop: Shop, drive: Drive) -> None:
    store(drive, PLACE, b"one")
    shop.ok("history", "Kund AB/Rum/a.txt")
    kinds = [each["event"]["kind"] for each in shop.ok("audit", "list", "--space", "Kund AB/Rum", "--party", "Kund AB")]
    assert "operator_look" in kinds
