"""Every command that writes takes rows on PostgreSQL in the order that docs/ARCHITECTURE.md tells."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from auth.errors import Paused
from auth.roles import Via
from config.clock import now_us
from config.settings import load
from providers.drive import Drive, braking, transaction
from providers.installation import Installation
from providers.paths import parse
from server.cli.main import parser
from tests.cli.shop import ADMIN, SUPPLIER, Shop
from tests.postgres import Server
from tests.row_locks import watched
from tests.worlds import store

PASSWORD = "en lång och trygg fras 7"
#: Commands that only look, have no database open, or have the whole folder to themselves; or serve: those are watched
#: through the drive.
QUIET = {
    "init", "key kit", "alert show", "audit checkpoint", "audit epoch", "audit key", "audit list", "audit verify",
    "compare", "demo", "device list", "doctor", "erase list", "erase report", "grant list", "group list",
    "group show", "hostkey rotate", "hostkey show", "key recover", "key rewrap", "key show", "lock list", "org list",
    "org show", "person list", "person show", "serve", "space list", "space show", "space usage", "sshkey list",
    "trash", "upgrade", "verify",
}  # fmt: skip


def leaves(found: argparse.ArgumentParser, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield every command, its noun before it."""
    nouns = [action for action in found._actions if isinstance(action, argparse._SubParsersAction)]
    if not nouns:
        yield " ".join(above)
    for action in nouns:
        for name, below in {id(each): (name, each) for name, each in reversed(action.choices.items())}.values():
            yield from leaves(below, (*above, name))


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str], postgresql_server: Server, postgresql_url: str) -> Shop:
    """An installation on PostgreSQL in which one person is enough to erase, and a device is paused soon."""
    settings = f'[installation]\ndatabase_url = "{postgresql_url}"\n[history]\nerasure_persons = 1\n'
    tmp_path.joinpath("data.toml").write_text(
        settings + "[brake]\ndocuments_min = 1\nwindow_seconds = 10\nfactor = 1\n"
    )
    made = Shop(tmp_path / "data", capsys)
    tmp_path.joinpath("password").write_text(PASSWORD)
    given = ("--admin", ADMIN, "--admin-name", "Agnes Ek", "--password-file", tmp_path / "password")
    assert made.run("init", "--supplier", SUPPLIER, *given, "--recovery-kit", tmp_path / "kit.txt").code == 0
    return made


class Day:
    """What was run, and who stores documents meanwhile."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.settings = load(data_folder=shop.data, environ={})
        self.installation = Installation.open(shop.data, self.settings)
        self.run: list[str] = []
        self.password = ""

    def __call__(self, *words: object) -> Any:
        self.run.append(" ".join(map(str, words[:2])))
        found = self.shop.ok(*words, "--yes")
        self.installation.tick()
        return found

    def reopen(self) -> None:
        self.installation.close()
        self.installation = Installation.open(self.shop.data, self.settings)

    @property
    def bo(self) -> Drive:
        authenticator = self.installation.authenticator
        return self.installation.drive(authenticator.basic("bo", self.password, via=Via.WEBDAV, address="192.0.2.1"))


@pytest.fixture
def day(shop: Shop) -> Iterator[Day]:
    made = Day(shop)
    yield made
    made.installation.close()


def people(ran: Day, beside: Path) -> None:
    """Let organisations, people, groups, devices and keys come and go."""
    ran("org", "add", "Kund")
    ran("org", "set", "Kund", "--name", "Kunden", "--second-factor", "no")
    for login in ("bo", "li", "ek"):
        ran("person", "add", login, login.title(), *(() if login == "bo" else ("--org", "Kunden")))
    ran("person", "set", "li", "--name", "Lisa", "--administrator", "yes")
    beside.joinpath("secret").write_text(PASSWORD)
    ran("person", "password", "li", "--password-file", beside / "secret")
    ran("person", "totp", "li")
    ran("person", "codes", "li")
    ran("person", "no-totp", "li")
    ran("person", "release", "li")
    ran("group", "add", "Alla", "--member", "li", "--member", "ek", "--member", "bo")
    ran("group", "leave", "Alla", "li", "ek")
    ran("group", "join", "Alla", "ek", "li")
    ran("group", "remove", "Alla")
    ran("device", "remove", ran("device", "add", "li", "dator")["id"])
    beside.joinpath("key.pub").write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_public_key())
    key = ran("sshkey", "add", "li", beside / "key.pub", "--label", "nyckel")
    ran("sshkey", "remove", key["id"])
    ran.password = ran("device", "add", "bo", "dator")["device_password"]


def spaces(ran: Day) -> None:
    """Let spaces be made, settled, shared and put aside."""
    for name in ("Akten", "Andra"):
        ran("space", "create", name, "--customer", "Kunden", "--folder", "/Avtal")
        ran("grant", "add", name, "manager", "--person", "bo")
    ran("space", "set", "Akten", "--quota", "1 GiB", "--retention", "none", "--hold", "off")
    ran("space", "folders", "Akten", "/Ny")
    grant = ran("grant", "add", "Akten", "editor", "--org", "Kunden", "--path", "/Ny")
    ran("grant", "break", "Akten", "/Ny")
    ran("grant", "remove", "Akten", grant["id"])
    ran("space", "rename", "Andra", "Den andra")


def documents(ran: Day) -> None:
    """Let documents be restored, put back, brought back, set apart and erased."""
    bo, path = ran.bo, "/Kunden – Akten/Avtal/Köp.txt"
    before = now_us()
    for content in (b"ett", b"tu", b"tre"):
        store(bo, path, content)
    ran("restore", "Akten/Avtal/Köp.txt", 1)
    bo.lock(parse(path), is_deep=False, is_shared=False, owner="", seconds=60)
    ran("lock", "break", "Akten/Avtal/Köp.txt")
    gone = store(bo, f"{path}.bak", b"borta").id
    bo.delete(parse(f"{path}.bak"))
    ran("undelete", "Akten", gone.hex())
    ran("history", "Akten/Avtal/Köp.txt")
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(before // 1_000_000 + 1))
    time.sleep(max(0.0, before // 1_000_000 + 1.1 - time.time()))  # until it is past
    ran("put-back", "Akten", moment)
    path = "/Kunden – Den andra/Avtal/Sak.txt"
    for content in (b"ett" * 30_000, b"tu" * 30_000):
        store(bo, path, content)
    inner = "Den andra/Avtal/Sak.txt"
    ran("erase", "cancel", ran("erase", "request", inner, "--reason", "fel")["id"])
    ran("erase", "approve", ran("erase", "request", inner, "--version", 1, "--reason", "fel")["id"])
    ran("erase", "approve", ran("erase", "request", inner, "--reason", "fel")["id"])
    ran.reopen()  # a pack is written anew once nobody writes to it
    ran("erase", "sweep", "--now")
    ran("space", "set", "Akten", "--thin", "1d,1d")
    ran("space", "thin", "Akten")


def ends(ran: Day, beside: Path) -> None:
    """Let a device be paused and go on, and all of a customer come to its end."""
    bo = ran.bo
    for number in range(6):
        path = parse(f"/Kunden – Akten/Avtal/{number}.txt")
        with contextlib.suppress(Paused):
            store(bo, path, b"mycket")
            bo.delete(path)
    braking.settle_waiting(ran.installation.storage)
    (alert,) = ran("alert", "list")
    ran("alert", "resume", alert["id"])
    ran("alert", "put-back", alert["id"])
    beside.joinpath("wanted.toml").write_text('[[organisation]]\nname = "Ny kund"\n')
    ran("apply", beside / "wanted.toml")
    ran("hostkey", "announce")
    ran("audit", "export", beside / "bundle", "--space", "Akten")
    ran("backup", beside / "backup")
    ran("erase", "approve", ran("erase", "request", "Akten", "--reason", "slut")["id"])
    ran("space", "remove", "Den andra")
    ran("person", "remove", "ek")
    ran("erase", "approve", ran("erase", "request", "--org", "Kunden", "--reason", "slut")["id"])
    ran("org", "add", "Tredje")
    ran("person", "add", "tre", "Tre", "--org", "Tredje")
    ran("org", "remove", "Tredje")


@pytest.mark.timeout(360)  # it does all there is, one after the other
def test_every_command_that_writes_takes_rows_in_order(
    day: Day, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched() as wrong:
        people(day, tmp_path)
        spaces(day)
        documents(day)
        monkeypatch.setattr(transaction, "YOUNG_US", 0)  # from now on the brake counts
        ends(day, tmp_path)
    assert wrong == [], "\n".join(wrong)
    ran = {each for each in leaves(parser()) if any(f"{words} ".startswith(f"{each} ") for words in day.run)}
    assert set(leaves(parser())) - ran == QUIET
