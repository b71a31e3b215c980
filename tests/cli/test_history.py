"""`history`, `restore` and the rest: the way back from the command line, by an operator who reads no content."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert

from auth.roles import GranteeKind, Role, Via
from config.clock import SECOND_US, now_us
from config.ids import new_id
from providers import tables
from providers.drive import Drive
from providers.installation import Installation
from providers.paths import parse
from tests.cli.shop import SUPPLIER, Shop
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


def test_a_log_that_was_listed_told_neither_whose_people_nor_which_device_it_was(shop: Shop, drive: Drive) -> None:
    shop.ok("grant", "add", "Kund AB/Rum", "viewer", "--org", "Kund AB")
    store(drive, PLACE, b"one")
    log = ("audit", "list", "--space", "Kund AB/Rum")
    for party, device in (((), "laptop"), (("--party", "Kund AB"), "")):  # a customer learns no others' devices
        assert told(shop.run(*log, *party).out, "/a.txt") == ["add", "Mia Lund", SUPPLIER, device]
    shop.ok("person", "remove", "mia", "--yes")
    assert told(shop.run(*log).out, "/a.txt") == ["add", "Mia Lund", SUPPLIER, "laptop"], "who left is still told of"


def told(table: str, what: str) -> list[str]:
    """Return the kind of the one event about something, and who did it: person, organisation, device."""
    heading, *rows = table.splitlines()
    (row,) = [row for row in rows if row.endswith(what)]
    at = {name: heading.index(name) for name in heading.split()}
    pairs = (("EVENT", "OUTCOME"), ("WHO", "ORGANISATION"), ("ORGANISATION", "DEVICE"), ("DEVICE", "WHAT"))
    return [row[at[start] : at[end]].strip() for start, end in pairs]


def test_trash_and_the_way_back(shop: Shop, drive: Drive) -> None:
    item = store(drive, PLACE, b"one")
    drive.delete(PLACE)
    assert shop.ok("trash", "Kund AB/Rum") == []
    assert shop.run("trash", "Kund AB/Rum").out == "(none; 1 leftovers of programs: --all)\n"
    (found,) = shop.ok("trash", "Kund AB/Rum", "--all")
    assert (found["id"], found["path"], found["by"]) == (item.id.hex(), "/a.txt", "Mia Lund")
    assert shop.ok("undelete", "Kund AB/Rum", found["id"], "--to", "b.txt")["path"] == "/b.txt"
    assert shop.ok("history", "Kund AB/Rum/b.txt")["document"] == item.id.hex()
    assert shop.run("undelete", "Kund AB/Rum", "x").code == 64


def test_what_was_deleted_is_said_to_be_so_with_the_command_that_helps(shop: Shop, drive: Drive) -> None:
    folder = parse("/Kund AB – Rum/Mapp")
    drive.make_folder(folder)
    drive.delete(folder)
    ran = shop.run("history", "Kund AB/Rum/Mapp")
    assert ran.code == 11
    command = ran.err.split("This brings it back: mellanrum ")[1].split()
    shop.ok(*command)
    assert drive.stat(folder).is_folder


def test_compare_and_put_back(shop: Shop, drive: Drive) -> None:
    store(drive, PLACE, b"one")
    at = shop.ok("history", "Kund AB/Rum/a.txt")["versions"][0]["at"]
    store(drive, PLACE, b"encrypted")
    store(drive, PLACE.parent.joined("ransom.txt"), b"pay")
    told = shop.ok("compare", "Kund AB/Rum", at)
    assert sorted(((each["what"], each["path"]) for each in told), reverse=True) == [
        ("changed", "/a.txt"),
        ("added", "/ransom.txt"),
    ]
    dry = shop.ok("put-back", "Kund AB/Rum", at, "--dry-run")
    assert (dry["changed"], dry["counts"]) == (False, {"added": 1, "changed": 1})
    assert fetch(drive, PLACE) == b"encrypted"
    assert shop.ok("put-back", "Kund AB/Rum", at)["changed"]
    assert fetch(drive, PLACE) == b"one"
    assert not shop.ok("put-back", "Kund AB/Rum", at)["changed"]
    assert shop.run("put-back", "Kund AB/Rum", "nonsense").code == 64
    assert shop.run("put-back", "Kund AB/Rum", "1999-01-01").code == 11


@pytest.fixture
def alert(shop: Shop, drive: Drive) -> tuple[str, list[str]]:
    """An alert about both spaces, in which a document was rewritten each; its id, and their names in its order."""
    installation = Installation.open(shop.data, settings_for(shop.data))
    name_of = installation.directory.organisation_name
    names = {info.id: name_of(info.customer) for info in installation.spaces.all() if info.customer is not None}
    mine, made = sorted(names), new_id()
    for space in mine:
        store(drive, f"/{names[space]} – Rum/a.txt", b"one")
        store(drive, f"/{names[space]} – Rum/b.txt", b"beside")
    at = now_us()
    for space in mine:
        store(drive, f"/{names[space]} – Rum/a.txt", b"encrypted")
    row = {
        "id": made, "at": at, "subject": drive.principal.device, "is_device": True, "person": drive.principal.id,
        "organisation": drive.principal.organisation, "rewritten": 2, "deleted": 0, "moved": 0, "limit": 1,
        "mail_tries": 0, "mail_due_at": 0,
    }  # fmt: skip
    rows = [{"alert": made, "space": space, "before": at, "documents": 1} for space in mine]
    installation.database.apply(lambda connection: connection.execute(insert(tables.alert), row))
    installation.database.apply(lambda connection: connection.execute(insert(tables.alert_space), rows))
    installation.close()
    return made.hex(), [names[space] for space in mine]


def _lock(drive: Drive, customer: str, name: str) -> None:
    drive.lock(parse(f"/{customer} – Rum/{name}"), is_deep=False, is_shared=False, owner="", seconds=600)


def test_a_lock_beside_what_was_encrypted_does_not_keep_it_encrypted(
    shop: Shop, drive: Drive, alert: tuple[str, list[str]]
) -> None:
    identity, names = alert
    for name in names:
        _lock(drive, name, "b.txt")
    assert shop.run("alert", "list").out.splitlines()[1].split()[0].endswith("Z")
    found = shop.ok("alert", "put-back", identity, "--yes")
    assert [each["counts"] for each in found] == [{"changed": 1}] * 2
    assert [fetch(drive, f"/{name} – Rum/a.txt") for name in names] == [b"one"] * 2


def test_one_space_that_cannot_be_put_back_hides_nothing_of_the_other(
    shop: Shop, drive: Drive, alert: tuple[str, list[str]]
) -> None:
    identity, (first, second) = alert
    _lock(drive, second, "a.txt")
    ran = shop.run("alert", "put-back", identity, "--yes")
    assert ran.code == 8
    assert "1 of 2 spaces" in ran.err and "Nothing was changed" not in ran.err
    assert "Undone, of what came about since" in ran.out
    assert f"Mia Lund holds {second}/Rum/a.txt until" in ran.out
    assert fetch(drive, f"/{first} – Rum/a.txt") == b"one"
    store(drive, f"/{first} – Rum/a.txt", b"work of after")
    command = shlex.split(ran.out.split("break the lock: mellanrum ")[1].splitlines()[0])
    assert [each["holder"] for each in shop.ok("lock", "list", f"{second}/Rum")] == ["Mia Lund"]
    assert shop.ok(*command, "--yes")[0]["path"] == "/a.txt"
    assert shop.run(*command, "--yes").code == 13
    shop.ok("alert", "put-back", identity, "--yes")
    assert fetch(drive, f"/{second} – Rum/a.txt") == b"one"
    assert fetch(drive, f"/{first} – Rum/a.txt") == b"work of after", "what was put back is not put back twice"


def test_a_space_that_cannot_be_put_back_says_what_holds_it(shop: Shop, drive: Drive) -> None:
    store(drive, PLACE, b"one")
    at = shop.ok("history", "Kund AB/Rum/a.txt")["versions"][0]["at"]
    store(drive, PLACE, b"two")
    _lock(drive, "Kund AB", "a.txt")
    ran = shop.run("put-back", "Kund AB/Rum", at)
    assert ran.code == 13
    assert "Mia Lund holds Kund AB/Rum/a.txt until" in ran.err and "Kund AB/Rum was left as it is" in ran.err


def test_what_was_joined_is_split(shop: Shop, drive: Drive) -> None:
    first = store(drive, PLACE, b"one").id
    drive.delete(PLACE)
    store(drive, PLACE, b"another")
    told = shop.ok("history", "Kund AB/Rum/a.txt")
    assert (told["document"], [each["came"] for each in told["versions"]]) == (first.hex(), ["written", "continued"])
    apart = shop.ok("history", "split", "Kund AB/Rum/a.txt", 2, "--to", "before.txt")
    assert apart["document"] != first.hex()
    assert fetch(drive, PLACE.parent.joined("before.txt")) == b"one"
    assert shop.run("history", "split", "Kund AB/Rum/a.txt", 1).code == 14
    assert shop.run("history", "Kund AB/Rum/a.txt", "2").code == 64


def test_what_was_not_found_is_named(shop: Shop, drive: Drive) -> None:
    store(drive, PLACE, b"one")
    store(drive, PLACE, b"two, longer")
    place = "Kund AB/Rum/a.txt"
    for number in (0, 99):
        ran = shop.run("restore", place, number)
        assert (ran.code, f"has no version {number}" in ran.err) == (11, True)
    ran = shop.run("erase", "request", place, "--version", 9, "--reason", "skäl")
    assert (ran.code, "has no version 9" in ran.err) == (11, True)
    drive.delete(PLACE)
    gone = shop.ok("trash", "Kund AB/Rum", "--all")[0]["id"]
    shop.ok("undelete", "Kund AB/Rum", gone)
    ran = shop.run("undelete", "Kund AB/Rum", gone)
    assert (ran.code, "is not in the trash" in ran.err) == (11, True)
    for command in ("compare", "put-back"):
        ran = shop.run(command, "Kund AB/Rum", "2020-01-01")
        assert (ran.code, "did not stand at" in ran.err) == (11, True)
        ran = shop.run(command, "Kund AB/Rum", "2199-01-01")
        assert (ran.code, "still to come" in ran.err) == (64, True)
        ran = shop.run(command, "Kund AB/Rum/Inget", "2020-01-01")
        assert (ran.code, "by that name" in ran.err) == (11, True)


def test_today_is_a_moment_that_can_be_compared_with(shop: Shop, drive: Drive) -> None:
    store(drive, PLACE, b"one")
    today = datetime.fromtimestamp(now_us() / SECOND_US, UTC).date().isoformat()
    assert shop.ok("compare", "Kund AB/Rum", today) == []
