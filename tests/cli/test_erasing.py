"""`mellanrum erase`, `space set --hold …`, `space usage` and `space thin`, as keepers use them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest

from auth.roles import Via
from config.settings import load
from providers.installation import Installation
from server.cli import doctor
from tests.cli.shop import ADMIN, Shop
from tests.clocks import YEAR_SECONDS, MachineClock
from tests.worlds import store

PASSWORD = "en lång och trygg fras 7"


@pytest.fixture
def documents(shop: Shop) -> Shop:
    """A shop with a space in which a document has three versions."""
    shop.ok("org", "add", "Kund")
    shop.ok("person", "add", "bo", "Bo Ek")
    password = shop.ok("device", "add", "bo", "dator")["device_password"]
    shop.ok("space", "create", "Akten", "--customer", "Kund", "--folder", "/Avtal")
    shop.ok("grant", "add", "Akten", "manager", "--person", "bo")
    installation = Installation.open(shop.data, load(data_folder=shop.data, environ={}))
    try:
        bo = installation.drive(installation.authenticator.basic("bo", password, via=Via.WEBDAV, address="192.0.2.1"))
        for content in (b"ett", b"tu", b"tre"):
            store(bo, "/Kund – Akten/Avtal/Köp.txt", content)
    finally:
        installation.close()
    return shop


@pytest.fixture
def signing_in(init: dict[str, Any], tmp_path: Path) -> Iterator[list[object]]:
    """The options by which the administrator signs in."""
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    yield ["--as", ADMIN, "--password-file", file, "--code", pyotp.TOTP(init["totp_secret"]).now()]


def test_two_persons_erase_a_version(documents: Shop, signing_in: list[object]) -> None:
    asked = documents.ok("erase", "request", "Akten/Avtal/Köp.txt", "--version", "1", "--reason", "felsänt")
    assert (asked["state"], asked["version"], asked["path"]) == ("requested", 1, "/Avtal/Köp.txt")
    same = documents.run("erase", "approve", asked["id"], "--yes")
    assert same.code == 31
    assert "another person" in same.err
    done = documents.ok("erase", "approve", asked["id"], "--yes", *signing_in)
    assert (done["state"], done["count"], done["bytes"]) == ("done", 1, 3)
    assert done["backups"]["made_before"] is None
    assert [each["state"] for each in documents.ok("erase", "list")] == ["done"]
    assert documents.ok("erase", "sweep") == []
    (swept,) = documents.ok("erase", "sweep", "--now")
    assert swept["whole"]
    told = documents.ok("erase", "report", asked["id"])
    assert told["left_packs"] == told["backups"]["made_before"] is not None
    assert told["versions"][0]["version"] == 1
    lines = documents.run("erase", "report", asked["id"]).out
    assert "Old copies of the data folder" in lines
    assert documents.ok("verify")["whole"]
    shown = documents.ok("history", "Akten/Avtal/Köp.txt")["versions"]
    assert [each["erased"] for each in shown] == [True, False, False]


def test_what_a_broken_upload_left_is_told_of_and_given_back(documents: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "WAITING_BYTES_MAX", 1_000_000)
    assert not [each for each in documents.ok("doctor")["checks"] if "broken uploads" in each["says"]]
    installation = Installation.open(documents.data, load(data_folder=documents.data, environ={}))
    try:
        space = installation.spaces.all()[0].id
        writer = installation.vault.writer(space, declared=3_000_000, known=lambda cids: set())
        writer.write(os.urandom(3_000_000))
        writer.discard()
    finally:
        installation.close()
    (told,) = [each for each in documents.ok("doctor")["checks"] if "broken uploads" in each["says"]]
    assert (told["state"], told["check"]) == ("look", "disk room")
    (swept,) = documents.ok("erase", "sweep")
    assert (swept["whole"], swept["packs"], swept["let_go_bytes"] > 2_000_000) == (True, 0, True)
    assert documents.ok("erase", "sweep") == []
    assert documents.ok("verify")["whole"]


def test_a_wrong_password_or_no_terminal_is_nobody(documents: Shop, tmp_path: Path) -> None:
    asked = documents.ok("erase", "request", "Akten/Avtal/Köp.txt", "--reason", "skäl")
    wrong = tmp_path / "wrong"
    wrong.write_text("en helt annan fras 8\n")
    ran = documents.run("erase", "approve", asked["id"], "--yes", "--as", ADMIN, "--password-file", wrong)
    assert (ran.code, "device password" in ran.err) == (20, False)
    assert documents.run("erase", "approve", asked["id"], "--yes", "--as", ADMIN).code == 64
    assert documents.ok("erase", "list")[0]["state"] == "requested"
    assert documents.ok("erase", "cancel", asked["id"])["state"] == "cancelled"


def test_a_customer_that_had_ended_could_not_be_erased_any_more(documents: Shop, signing_in: list[object]) -> None:
    documents.ok("person", "add", "ek", "Ek Alm", "--org", "Kund")
    (kund,) = [each for each in documents.ok("org", "list") if each["name"] == "Kund"]
    documents.ok("org", "remove", "Kund", "--yes")
    assert kund["id"] not in [each["id"] for each in documents.ok("org", "list")]
    assert [each["id"] for each in documents.ok("org", "list", "--all") if each["ended"]] == [kund["id"]]
    assert documents.ok("trash", "Kund/Akten") == []
    asked = documents.ok("erase", "request", "--org", "Kund", "--reason", "begäran enligt artikel 17")
    documents.ok("erase", "approve", asked["id"], "--yes", *signing_in)
    assert not (documents.data / "keystore" / f"{kund['id']}.key").exists()
    assert not [each for each in documents.ok("org", "list", "--all") if each["ended"]]
    assert documents.run("erase", "request", "--org", kund["id"], "--reason", "igen").code == 23
    documents.ok("verify")


def test_of_customers_of_one_name_who_stands_goes_before_who_has_ended(documents: Shop) -> None:
    (kund,) = [each for each in documents.ok("org", "list") if each["name"] == "Kund"]
    documents.ok("org", "remove", "Kund", "--yes")
    again = documents.ok("org", "add", "Kund")
    assert documents.ok("erase", "request", "--org", "Kund", "--reason", "skäl")["customer"] == "Kund"
    documents.ok("org", "remove", again["id"], "--yes")
    several = documents.run("erase", "request", "--org", "Kund", "--reason", "skäl")
    assert several.code == 66 and kund["id"] in several.err and again["id"] in several.err
    assert documents.ok("erase", "request", "--org", kund["id"], "--reason", "skäl")["customer"] == "Kund"


def test_a_document_a_space_and_a_customer_are_asked_for(documents: Shop) -> None:
    document = documents.ok("erase", "request", "Akten/Avtal/Köp.txt", "--reason", "skäl")
    assert document["what"] == "document"
    by_id = documents.ok("erase", "request", "Akten", "--document", document["document"], "--reason", "skäl")
    assert by_id["document"] == document["document"]
    assert documents.ok("erase", "request", "Kund/Akten", "--reason", "skäl")["what"] == "space"
    assert documents.ok("erase", "request", "--org", "Kund", "--reason", "skäl")["customer"] == "Kund"
    assert documents.run("erase", "request", "--reason", "skäl").code == 64
    assert documents.run("erase", "request", "Akten", "--version", "1", "--reason", "skäl").code == 64
    assert documents.run("erase", "request", "Akten/Avtal", "--reason", "skäl").code == 31
    assert documents.run("erase", "request", "Akten/Avtal/Finns ej.txt", "--reason", "skäl").code == 11


def test_a_space_is_held_and_retained(documents: Shop) -> None:
    held = documents.ok("space", "set", "Akten", "--hold", "on", "--retention", "10y", "--thin", "30d,1y")
    assert (held["hold"], held["retention_seconds"]) == (True, 10 * 366 * 86400)
    assert held["thinning"] == {"all_days": 30, "daily_days": 366}
    refused = documents.run("erase", "request", "Akten/Avtal/Köp.txt", "--reason", "skäl")
    assert refused.code == 31
    assert "held" in refused.err
    lines = documents.run("space", "show", "Akten").out
    assert "all for 30 days, daily for 366, then monthly" in lines
    off = documents.ok("space", "set", "Akten", "--hold", "off", "--retention", "none", "--thin", "off")
    assert (off["hold"], off["retention_seconds"], off["thinning"]) == (False, None, None)
    for wrong in (("--retention", "10"), ("--thin", "30d"), ("--thin", "1y,30d"), ("--thin", "1h,2h")):
        assert documents.run("space", "set", "Akten", *wrong).code == 64
    assert documents.ok("verify")["whole"]


def test_what_a_space_takes_is_shown(documents: Shop) -> None:
    documents.ok("space", "set", "Akten", "--quota", "1 MiB")
    used = documents.ok("space", "usage", "Akten")["usage"]
    assert (used["current_bytes"], used["earlier_bytes"], used["trash_bytes"]) == (3, 5, 0)
    assert used["full"] is not None
    assert "Earlier versions" in documents.run("space", "usage", "Akten").out


def test_thinning_lets_go_of_nothing_unless_settled(documents: Shop) -> None:
    assert documents.ok("space", "thin", "Akten", "--yes")["versions"] == 0
    documents.ok("space", "set", "Akten", "--thin", "30d,1y")
    assert documents.ok("space", "thin", "Akten", "--dry-run")["versions"] == 0


def test_who_lets_go_by_a_clock_that_has_jumped_is_told(documents: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    documents.ok("space", "set", "Akten", "--thin", "1d,30d")
    MachineClock(monkeypatch).ahead_seconds = YEAR_SECONDS
    for words in (("doctor",), ("erase", "sweep"), ("space", "thin", "Akten", "--yes")):
        assert "The clock has jumped" in documents.run(*words).out
    assert documents.ok("space", "thin", "Akten", "--dry-run")["versions"] == 0
    assert documents.ok("space", "thin", "Akten", "--dry-run", "--anyway")["versions"] == 2
    assert "The clock" not in documents.run("erase", "sweep", "--now").out
    told = documents.run("space", "thin", "Akten", "--yes", "--anyway").out
    assert "2 versions" in told
    assert "The clock" not in told
