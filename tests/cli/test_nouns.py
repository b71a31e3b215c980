"""Each noun's commands, one after the other, as a keeper would use them."""

from __future__ import annotations

import re
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from sqlalchemy import update

from auth import tables as auth_tables
from auth.errors import Revoked, SignInRefused
from auth.roles import Via
from config.settings import load
from providers.installation import Installation
from providers.paths import ROOT
from server.cli import text
from tests.certificates import issue
from tests.cli.shop import ADMIN, SUPPLIER, Shop


def roots(shop: Shop, login: str, password: str) -> list[str]:
    """Return the names of the spaces somebody sees."""
    settings = load(data_folder=shop.data, environ={})
    installation = Installation.open(shop.data, settings)
    try:
        principal = installation.authenticator.basic(login, password, via=Via.WEBDAV, address="192.0.2.1")
        return [item.name for item in installation.drive(principal).listing(ROOT)[1]]
    finally:
        installation.close()


def test_init_tells_all_that_is_needed_once(init: dict[str, Any], shop: Shop) -> None:
    assert init["supplier"] == SUPPLIER
    assert init["administrator"] == ADMIN
    assert len(init["recovery_codes"]) == 10
    assert Path(init["key_file"]).stat().st_mode & 0o777 == 0o600
    assert Path(init["recovery_kit"]).stat().st_mode & 0o777 == 0o600
    assert roots(shop, ADMIN, init["device_password"]) == []
    again = shop.run("init", "--supplier", "Another", "--admin", "other")
    assert again.code == 3


def test_init_makes_nothing_of_a_weak_password(tmp_path: Path, shop: Shop) -> None:
    weak = tmp_path / "weak"
    weak.write_text("kort\n")
    other = Shop(tmp_path / "other", shop.capture)
    ran = other.run("init", "--supplier", "X", "--admin", "y", "--password-file", weak)
    assert ran.code == 25
    assert not other.data.exists()
    assert not other.key.exists()


def test_organisations(shop: Shop) -> None:
    made = shop.ok("org", "add", "Kafé Blåbär")
    assert shop.run("org", "add", "KAFÉ BLÅBÄR").code == 24
    assert {each["name"] for each in shop.ok("org", "list")} == {SUPPLIER, "Kafé Blåbär"}
    assert shop.ok("org", "set", "Kafé Blåbär", "--second-factor", "yes")["second_factor"]
    assert shop.ok("org", "set", "Kafé Blåbär", "--name", "Kafé Lingon")["id"] == made["id"]
    assert shop.ok("org", "show", made["id"])["name"] == "Kafé Lingon"
    assert shop.run("org", "show", "Kafé Blåbär").code == 23
    assert shop.run("org", "set", "Kafé Lingon").code == 64
    shop.ok("org", "remove", "Kafé Lingon", "--yes")
    assert [each["name"] for each in shop.ok("org", "list")] == [SUPPLIER]


def test_people_their_secrets_and_their_end(shop: Shop, tmp_path: Path) -> None:
    shop.ok("org", "add", "Kund")
    added = shop.ok("person", "add", "åsa", "Åsa Ek", "--org", "Kund", "--mail", "asa@kund.example")
    assert (added["password"], added["second_factor"], added["organisation"]) == (False, False, "Kund")
    assert shop.run("person", "add", "ÅSA", "Someone Else").code == 24
    secret = tmp_path / "secret"
    secret.write_text("vilken himla lång fras 88\n")
    assert shop.ok("person", "password", "åsa", "--password-file", secret)["password"]
    assert roots(shop, "åsa", "vilken himla lång fras 88") == []
    assert len(shop.ok("person", "totp", "åsa")["totp_secret"]) == 32
    with pytest.raises(SignInRefused):
        roots(shop, "åsa", "vilken himla lång fras 88")
    assert len(shop.ok("person", "codes", "åsa")["recovery_codes"]) == 10
    shop.ok("person", "no-totp", "åsa", "--yes")
    assert shop.ok("person", "set", "åsa", "--name", "Åsa Ek-Berg", "--administrator", "yes")["name"] == "Åsa Ek-Berg"
    assert [each["login"] for each in shop.ok("person", "list", "--org", "Kund")] == ["åsa"]
    assert shop.ok("person", "show", "åsa")["administrator"]
    assert shop.ok("person", "set", "åsa", "--mail", "")["mail"] is None
    shop.ok("person", "remove", "åsa", "--yes")
    assert shop.run("person", "show", "åsa").code == 23


def test_the_last_administrator_is_kept_and_a_customers_last_asked_about(shop: Shop) -> None:
    for words in (("remove", ADMIN, "--yes"), ("set", ADMIN, "--administrator", "no", "--yes")):
        ran = shop.run("person", *words)
        assert ran.code == 28
        assert "mellanrum person set LOGIN --administrator yes" in ran.err
    shop.ok("org", "add", "Kund")
    shop.ok("person", "add", "chef", "Chef", "--org", "Kund", "--administrator")
    assert shop.run("person", "set", "chef", "--administrator", "no").code == 7
    assert shop.ok("person", "show", "chef")["administrator"]
    assert not shop.ok("person", "set", "chef", "--administrator", "no", "--yes")["administrator"]
    shop.ok("person", "add", "ny", "Ny", "--administrator")
    shop.ok("person", "remove", ADMIN, "--yes")


def test_the_space_of_a_customer_who_ended_was_called_so_in_vain_once_another_had_its_name(shop: Shop) -> None:
    shop.ok("org", "add", "Kund")
    old = shop.ok("space", "create", "Avtal", "--customer", "Kund")["id"]
    shop.ok("org", "remove", "Kund", "--yes")
    shop.ok("org", "add", "Kund")
    assert shop.ok("space", "show", "Kund/Avtal")["id"] == old
    new = shop.ok("space", "create", "Avtal", "--customer", "Kund")["id"]
    assert shop.ok("space", "show", "Kund/Avtal")["id"] == new, "who stands goes before who has ended"
    assert shop.ok("space", "show", old)["id"] == old
    assert shop.run("space", "show", "Kund/Annat").code == 23


def test_of_a_customer_who_ended_nothing_could_be_listed_or_exported(shop: Shop, tmp_path: Path) -> None:
    shop.ok("org", "add", "Kund")
    space = shop.ok("space", "create", "Avtal", "--customer", "Kund")
    ran = shop.run("org", "remove", "Kund", "--yes")
    (command,) = re.findall(r"mellanrum (erase request --org \w+)", ran.out)
    found = shop.ok("org", "show", "Kund")
    assert (found["ended"], found["spaces"]) == (True, ["Avtal"])
    assert [each["id"] for each in shop.ok("space", "list", "--customer", "Kund")] == [space["id"]]
    bundle, stream = tmp_path / "bundle", ("--space", space["id"], "--party", "Kund")
    key = shop.ok("audit", "export", bundle, *stream)["public_key"]
    assert shop.run("audit", "verify", bundle, "--key", key).code == 0
    shop.ok(*command.split(), "--reason", "left")


def fail(shop: Shop, login: str, times: int) -> None:
    """Let sign-ins fail, from one network after the other, with no wait between them."""
    settings = load(data_folder=shop.data, environ={}, overrides={"throttle.wait_seconds_first": 1})
    installation = Installation.open(shop.data, settings)
    try:
        throttle, account = installation.authenticator.throttle, installation.authenticator._account(login)
        for number in range(times):
            throttle.failed(throttle.begin(account, f"10.0.{number}.1"))
            with installation.database.transient_write() as connection:
                connection.execute(update(auth_tables.throttle).values(blocked_until=0))
    finally:
        installation.close()


@pytest.mark.parametrize("how", ["release", "password"])
def test_an_account_that_failed_too_often_was_locked_for_good(shop: Shop, tmp_path: Path, how: str) -> None:
    shop.ok("person", "add", "li 3", "Li Xiaolong")
    assert shop.ok("person", "show", "li 3")["sign_in"] == {"failures": 0, "waits_until": None, "locked": False}
    assert not shop.ok("person", "release", "li 3")["released"]
    fail(shop, "li 3", 80)
    shown = shop.ok("person", "show", "li 3")
    assert shown["sign_in"] == {"failures": 80, "waits_until": None, "locked": True}
    for words in (("person", "show", "li 3"), ("doctor",)):
        assert "mellanrum person release 'li 3'" in shop.run(*words).out
    new = tmp_path / "new"
    new.write_text("en helt annan trygg fras 9\n")
    if how == "release":
        assert shop.ok("person", "release", "li 3")["released"]
    else:
        shop.ok("person", "password", "li 3", "--password-file", new)
    assert shop.ok("person", "show", "li 3")["sign_in"]["failures"] == 0
    assert "no account is locked" in shop.run("doctor").out
    fail(shop, "li 3", 1)
    events = [each for each in shop.ok("audit", "list") if each["event"]["kind"] == "sign_in_released"]
    assert [each["personal"]["actor.name"].partition(":")[0] for each in events] == ["operator"]


def test_a_group_stayed_behind_whose_member_was_another_organisations(shop: Shop) -> None:
    for login, org in (("li", "Kund"), ("bo", "Annan")):
        shop.ok("org", "add", org)
        shop.ok("person", "add", login, "Li", "--org", org)
    words = ("group", "add", "G", "--org", "Kund", "--member", "li", "--member")
    assert shop.run(*words, "bo").code == 27
    assert shop.ok("group", "list") == []
    assert shop.ok("group", "add", "G", "--org", "Kund")["members"] == []
    assert shop.run("group", "join", "G", "li", "bo").code == 27
    assert shop.ok("group", "show", "G")["members"] == []


def test_a_date_that_is_past_was_taken_as_if_it_held(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.ok("person", "add", "li", "Li")
    shop.ok("space", "create", "Ett")
    key = tmp_path / "k.pub"
    key.write_text(asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode())
    commands = (
        ("grant", "add", "Ett", "viewer", "--person", "li"),
        ("device", "add", "li", "laptop"),
        ("sshkey", "add", "li", key, "--label", "k"),
    )
    for words in commands:
        ran = shop.run(*words, "--expires", "2020-01-01")
        assert (ran.code, "2020-01-01 is past" in ran.err) == (64, True), ran.err
        assert not shop.ok(*words, "--expires", "2090-01-01")["expired"]
    monkeypatch.setattr(text, "now_us", lambda: text.parse_moment("2090-02-01", UTC, ""))
    for listed in (("grant", "list", "Ett"), ("device", "list", "li"), ("sshkey", "list", "li")):
        assert [each["expired"] for each in shop.ok(*listed)] == [True]
        assert " expired " in shop.run(*listed).out


@pytest.mark.parametrize("date", ["9999-12-31T23:59-23:00", "9999-12-31", "0001-01-01T00:00+23:00"])
def test_a_date_at_the_end_of_all_calendars_was_something_unforeseen(shop: Shop, date: str) -> None:
    shop.ok("person", "add", "li", "Li")
    ran = shop.run("device", "add", "li", "laptop", "--expires", date)
    assert (ran.code, "take a nearer date" in ran.err) == (64, True), ran.err


def test_groups(shop: Shop) -> None:
    shop.ok("person", "add", "bo", "Bo Alm")
    assert shop.ok("group", "add", "Bokförare", "--member", ADMIN)["members"] == [ADMIN]
    shop.ok("group", "join", "Bokförare", "bo")
    assert shop.ok("group", "show", "bokförare")["members"] == [ADMIN, "bo"]
    shop.ok("group", "leave", "Bokförare", ADMIN)
    assert [each["members"] for each in shop.ok("group", "list")] == [["bo"]]
    assert shop.run("group", "join", "Bokförare", "nobody").code == 23
    shop.ok("group", "remove", "Bokförare", "--yes")
    assert shop.ok("group", "list") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("space", "set", "Ett", "--quota", "9999999TiB"), "9999999TiB is too large: at most 1048576 TiB"),
        (("space", "create", "Två", "--quota", "2000000TiB"), "2000000TiB is too large: at most 1048576 TiB"),
        (("trash", "Ett", "--last", "-1"), "-1 is no number of lines"),
        (("audit", "list", "--last", "-5"), "-5 is no number of lines"),
        (("audit", "list", "--last", "0"), "0 is no number of lines"),
    ],
)
def test_a_number_that_none_can_be_was_something_else(shop: Shop, words: tuple[str, ...], said: str) -> None:
    shop.ok("space", "create", "Ett")
    ran = shop.run(*words)
    assert (ran.code, said in ran.err) == (64, True), ran.err


def test_who_was_never_in_a_group_was_said_to_have_left_it(shop: Shop) -> None:
    shop.ok("person", "add", "bo", "Bo Alm")
    shop.ok("person", "add", "eva", "Eva Ek")
    assert "with 1 person" in shop.run("group", "add", "Styrelsen", "--member", "bo", "--member", "BO").out
    assert (
        shop.run("group", "join", "Styrelsen", "bo", "eva", "eva").out == "eva joined Styrelsen. Already in it: bo.\n"
    )
    assert shop.run("group", "leave", "Styrelsen", ADMIN, "bo").out == f"bo left Styrelsen. Not in it: {ADMIN}.\n"
    assert shop.run("group", "leave", "Styrelsen", "bo").out == "Nothing was changed. Not in it: bo.\n"


def test_spaces_from_a_template_and_who_is_let_in(shop: Shop, tmp_path: Path, init: dict[str, Any]) -> None:
    for folder in ("01 Ritningar/Äldre", "02 Avtal", ".git/objects"):
        (tmp_path / "mall" / folder).mkdir(parents=True)
    shop.ok("org", "add", "Kund")
    shop.ok("person", "add", "åsa", "Åsa Ek", "--org", "Kund")
    password = shop.ok("device", "add", "åsa", "laptop")["device_password"]
    made = shop.ok(
        "space", "create", "Bygget", "--customer", "Kund", "--template", tmp_path / "mall", "--quota", "2 GiB"
    )
    assert (made["folders"], made["quota_bytes"], made["customer"]) == (3, 2 * 2**30, "Kund")
    assert roots(shop, "åsa", password) == []
    granted = shop.ok("grant", "add", "Bygget", "editor", "--person", "åsa", "--path", "/01 Ritningar")
    assert (granted["path"], granted["history"]) == ("/01 Ritningar", True)
    assert not shop.ok("grant", "add", "Bygget", "uploader", "--org", "Kund", "--expires", "2030-12-31")["history"]
    assert roots(shop, "åsa", password) == ["Bygget"]
    shop.ok("grant", "break", "Bygget", "/02 Avtal")
    assert {each["role"] for each in shop.ok("grant", "list", "Kund/Bygget")} == {"editor", "uploader", "break"}
    for each in shop.ok("grant", "list", "Bygget"):
        shop.ok("grant", "remove", "Bygget", each["id"])
    assert shop.ok("space", "show", made["id"])["grants"] == []
    assert roots(shop, "åsa", password) == []
    beyond = shop.run("space", "set", "Bygget", "--quota", "99999999999999 TiB")  # something unforeseen, once
    assert beyond.code == 64 and "too large" in beyond.err
    assert shop.ok("space", "set", "Bygget", "--state", "frozen", "--quota", "none")["quota_bytes"] is None
    assert "retention 10y," in shop.run("space", "set", "Bygget", "--retention", "10y").out
    assert shop.ok("space", "remove", "Bygget", "--yes")["state"] == "archived"


def test_a_grant_given_twice_stands_once_and_is_gone_once_taken_back(shop: Shop) -> None:
    shop.ok("person", "add", "bo", "Bo Alm")
    shop.ok("space", "create", "Ett")
    words = ("grant", "add", "Ett", "editor", "--person", "bo")
    first = shop.ok(*words)
    again = shop.run(*words)
    assert (again.code, "already. Nothing was changed." in again.out) == (0, True)
    assert shop.ok(*words)["id"] == first["id"]
    other = shop.ok(*words, "--expires", "2030-12-31")
    assert (other["changed"], [each["id"] for each in shop.ok("grant", "list", "Ett")]) == (True, [other["id"]])
    shop.ok("grant", "add", "Ett", "viewer", "--person", "bo")
    shop.ok("grant", "remove", "Ett", other["id"])
    assert [each["role"] for each in shop.ok("grant", "list", "Ett")] == ["viewer"]


def test_who_had_left_was_listed_as_let_in(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.ok("org", "add", "Kund")
    shop.ok("group", "add", "Styrelsen")
    shop.ok("person", "add", "bo", "Bo Alm")
    shop.ok("person", "add", "eva", "Eva Ek")
    shop.ok("space", "create", "Ett")
    for whom in (("--org", "Kund"), ("--group", "Styrelsen"), ("--person", "bo"), ("--person", "eva")):
        shop.ok("grant", "add", "Ett", "viewer", *whom, "--expires", "2090-01-01")
    for words in (("org", "remove", "Kund"), ("group", "remove", "Styrelsen"), ("person", "remove", "bo")):
        shop.ok(*words, "--yes")
    assert {each["for"]: each["ended"] for each in shop.ok("grant", "list", "Ett")} == {
        "Kund": True, "Styrelsen": True, "Bo Alm": True, "Eva Ek": False,
    }  # fmt: skip
    monkeypatch.setattr(text, "now_us", lambda: text.parse_moment("2090-02-01", UTC, ""))
    for listed in (shop.run("grant", "list", "Ett").out, shop.run("space", "show", "Ett").out):
        assert (listed.count(" (ended) "), "Bo Alm (ended) " in listed, listed.count(" expired")) == (3, True, 4)


def test_a_name_that_several_customers_have_needs_the_customer(shop: Shop) -> None:
    for customer in ("Ett", "Två"):
        shop.ok("org", "add", customer)
        shop.ok("space", "create", "Akten", "--customer", customer)
    ran = shop.run("space", "show", "Akten")
    assert ran.code == 66
    assert "Ett/Akten" in ran.err and "Två/Akten" in ran.err
    assert shop.ok("space", "show", "Två/Akten")["customer"] == "Två"
    assert len(shop.ok("space", "list", "--customer", "Ett")) == 1
    assert shop.ok("space", "rename", "Ett/Akten", "Ärendet")["name"] == "Ärendet"
    assert shop.ok("space", "show", "Akten")["customer"] == "Två"
    assert shop.run("space", "rename", "Akten", "archive").code == 16


def test_rivals_are_kept_apart_at_the_command_line_too(shop: Shop) -> None:
    for name in ("Köpare", "Rival"):
        shop.ok("org", "add", name)
    shop.ok("space", "create", "Rummet")
    shop.ok("grant", "add", "Rummet", "viewer", "--org", "Köpare")
    assert shop.run("grant", "add", "Rummet", "editor", "--org", "Rival").code == 19


def test_devices_end_at_once(shop: Shop) -> None:
    shop.ok("person", "add", "bo", "Bo Alm")
    shop.ok("space", "create", "Ett")
    made = shop.ok("device", "add", "bo", "skriptet", "--space", "Ett", "--read-only", "--protocol", "webdav")
    assert made["device_password"].startswith("mrd_")
    assert (made["spaces"], made["read_only"], made["protocols"]) == (["Ett"], True, ["webdav"])
    roots(shop, "bo", made["device_password"])
    (listed,) = shop.ok("device", "list", "bo")
    assert "device_password" not in listed
    assert listed["last_used"] is not None
    shop.ok("device", "remove", made["id"])
    with pytest.raises((SignInRefused, Revoked)):
        roots(shop, "bo", made["device_password"])
    assert shop.run("device", "remove", "00" * 16).code == 23
    # A password for pages in a browser would open no door.
    assert shop.run("device", "add", "bo", "webbläsaren", "--protocol", "web").code == 64


def test_whoever_works_here_is_named_in_the_log(shop: Shop) -> None:
    shop.ok("org", "add", "Kund")
    events = shop.ok("audit", "list", "--last", "1")
    assert events[0]["event"]["kind"] == "organisation_added"
    assert "operator:" in str(events[0]["personal"])


def test_what_keeps_doctor_from_looking_is_one_fault(shop: Shop) -> None:
    shop.data.with_name("data.toml").write_text('[key]\nsource = "environment"\nvariable = "NOT_SET_ANYWHERE"\n')
    ran = shop.run("doctor")
    assert " BAD  root key: The root key cannot be read from the environment variable NOT_SET_ANYWHERE" in ran.out
    assert ran.out.count(" BAD") == 1 and "1 named above as BAD" in ran.err
    assert "look  clock: not looked at, for want of what root key says above" in ran.out


@pytest.mark.parametrize("words", [("doctor",), ("key", "kit", "kit.txt")])
def test_a_program_that_gives_the_root_key_was_asked_twice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = f"echo asked >> asked; cat {shop.key}"
    shop.data.with_name("data.toml").write_text(f'[key]\nsource = "command"\ncommand = ["sh", "-c", "{asked}"]\n')
    assert shop.run(*words).code == 0
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_doctor_tells_how_long_the_certificate_holds(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {-3: " BAD {} ran out 3 days ago", 3: "look {} runs out in 3 days", 60: "  ok {} fits its key"}
    for days, words in told.items():
        issued = issue(tmp_path / str(days), timedelta(days=days, hours=-1 if days < 0 else 1))
        monkeypatch.setenv("MELLANRUM_HTTP_TLS_CERTIFICATE_FILE", str(issued.chain))
        monkeypatch.setenv("MELLANRUM_HTTP_TLS_KEY_FILE", str(issued.key))
        assert words.format(f" certificate: {issued.chain}") in shop.run("doctor").out
    issued.key.write_text("no key")
    assert " BAD  certificate: The TLS certificate or its key cannot be used: the key is none in PEM" in (
        shop.run("doctor").out
    )
