"""Mail about what was paused: it arrives, it is tried again, it tells nobody on the way whose device it was."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from config import mail
from config.clock import now_us
from config.ids import id_text, new_id
from config.settings import Settings
from providers import alerts, mailer, tables
from providers.installation import Installation
from tests.certificates import Issued, issue
from tests.clocks import YEAR_SECONDS, MachineClock
from tests.smtp import Post, post_office
from tests.worlds import World, settings_for

SECONDS_MAX = 20.0


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issue(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def world(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(mailer, "LOOK_SECONDS", 0.0)
    made = World.create(data_folder)
    made.person("eva", "Kund AB")
    yield made
    made.installation.close()


def paused(world: World) -> bytes:
    """Let there be an alert."""
    alert, now = new_id(), now_us()
    row = {
        "id": alert, "at": now, "subject": world.devices["eva"], "is_device": True, "person": world.people["eva"].id,
        "organisation": world.organisations["Kund AB"], "rewritten": 230, "deleted": 7, "moved": 1, "limit": 200,
        "resumed_at": None, "mailed_at": None, "mail_tries": 0, "mail_due_at": now,
    }  # fmt: skip
    world.installation.database.apply(lambda connection: connection.execute(insert(tables.alert), row))
    return alert


def settings(world: World, post: Post, **more: Any) -> Settings:
    given = {
        "mail.host": "localhost", "mail.port": post.port, "mail.sender": "mellanrum@files.example",
        "mail.recipients": ["it@files.example", "chief@files.example"], **more,
    }  # fmt: skip
    return settings_for(world.installation.folder, **given)


def opened(world: World, post: Post, **more: Any) -> Installation:
    return Installation.open(world.installation.folder, settings(world, post, **more))


def tick_until(installation: Installation, done: Any) -> None:
    until = time.monotonic() + SECONDS_MAX
    while not done():
        assert time.monotonic() < until
        installation.tick()
        time.sleep(0.02)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_it_goes_within_tls_and_says_whose_device_it_was(world: World, issued: Issued, security: str) -> None:
    alert = paused(world)
    password = world.installation.folder.parent / "password"
    password.write_text("hemligt\n")
    with post_office(issued, implicit=security == "tls") as post:
        more = {"mail.security": security, "mail.ca_file": issued.authority, "mail.user": "mellanrum"}
        installation = opened(world, post, **more, **{"mail.password_file": password})
        try:
            tick_until(installation, lambda: installation.alerts.all(resumed=True)[0].mailed_at)
            for _ in range(5):
                installation.tick()
        finally:
            installation.close()
    (text,) = post.mails
    assert id_text(alert) in text and "laptop of eva" in text and "230" in text
    assert f"<{id_text(alert)}@files.example>" in text
    assert post.logins == [("mellanrum", "hemligt")] and len(post.recipients) == 2
    assert not any("eva" in line or "hemligt" in line for line in post.clear)


def test_without_tls_it_names_nobody_and_sends_no_password(world: World) -> None:
    alert = paused(world)
    with post_office() as post:
        installation = opened(world, post, **{"mail.security": "none"})
        try:
            tick_until(installation, lambda: post.mails)
        finally:
            installation.close()
    assert id_text(alert) in post.mails[0] and not post.logins
    assert not any(word in post.mails[0] for word in ("eva", "laptop", "Kund"))


def test_a_server_that_nobody_vouches_for_gets_nothing(world: World, issued: Issued) -> None:
    with post_office(issued) as post:
        with pytest.raises(mail.MailRefused):
            mail.send(settings(world, post).mail, "id", "subject", "text")
    assert post.mails == [] and not any(line.upper().startswith("MAIL") for line in post.clear)


def test_a_server_without_tls_gets_nothing_where_tls_is_demanded(world: World) -> None:
    with post_office() as post:
        with pytest.raises(mail.MailRefused):
            mail.send(settings(world, post).mail, "id", "subject", "text")
    assert post.mails == []


def test_it_is_tried_again_later_and_not_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "MAIL_WAIT_US", 1)
    paused(world)
    with post_office() as post:
        post.refusals = 2
        installation = opened(world, post, **{"mail.security": "none"})
        try:
            tick_until(installation, lambda: post.mails)
            tick_until(installation, lambda: installation.alerts.all(resumed=True)[0].mailed_at)
            assert installation.alerts.all(resumed=True)[0].mail_tries == 3 and len(post.mails) == 1
            again = update(tables.alert).values(mailed_at=None, mail_tries=alerts.MAIL_TRIES_MAX)
            installation.database.apply(lambda connection: connection.execute(again))
            assert installation.alerts.to_mail() == []
        finally:
            installation.close()


def test_it_waits_between_tries(world: World) -> None:
    paused(world)
    (alert,) = world.installation.alerts.to_mail()
    world.installation.alerts.mailed(alert, taken=False)
    assert world.installation.alerts.to_mail() == []


def test_what_was_to_be_mailed_by_a_clock_that_was_ahead_is_due_once_it_is_right(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = MachineClock(monkeypatch)
    machine.ahead_seconds = 10 * YEAR_SECONDS
    paused(world)
    machine.ahead_seconds = 0
    (alert,) = world.installation.alerts.to_mail()
    world.installation.alerts.mailed(alert, taken=False)
    assert world.installation.alerts.to_mail() == []


def test_a_server_that_says_nothing_keeps_nobody_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick goes on beside it: other work of the process never waits for mail."""
    monkeypatch.setattr(mail, "ANSWER_SECONDS_MAX", 5)
    paused(world)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        post = Post(port=silent.getsockname()[1])
        installation = opened(world, post, **{"mail.security": "none", "mail.host": "127.0.0.1"})
        try:
            started = time.monotonic()
            for _ in range(3):
                installation.tick()
            assert time.monotonic() - started < 4
        finally:
            installation.close()


def test_nothing_is_sent_where_none_is_set_up(world: World) -> None:
    paused(world)
    world.installation.tick()
    (alert,) = world.installation.alerts.to_mail()
    assert alert.mail_tries == 0
