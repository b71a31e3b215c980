"""Which connection serves: the faster leans on asyncssh's inside, and is for the versions it was tried with alone."""

from __future__ import annotations

import logging
from pathlib import Path

import asyncssh
import pytest

from config.logging import ROOT
from server.ssh import fast
from server.ssh.connection import Connection
from server.ssh.worker import chosen
from tests.ssh.doors import serving_sftp
from tests.worlds import settings_for


def test_this_asyncssh_was_tried() -> None:
    assert fast.is_tested(), "run every test of SFTP with this asyncssh, then name it in TESTED"


@pytest.mark.parametrize(
    ("connection", "says"), [("auto", "event=fast_connection "), ("stock", "event=stock_connection why=chosen ")]
)
def test_which_serves(tmp_path: Path, capfd: pytest.CaptureFixture[str], connection: str, says: str) -> None:
    """The log says so, and people are let in."""
    told = {"sftp.connection": connection, "sftp.workers": 1, "process.log_level": "info"}
    with serving_sftp(tmp_path, **told) as door:
        assert door.may("vera", client_keys=[door.key("vera")])
    log = capfd.readouterr().err
    assert says in log and log.count("_connection ") == 1


def test_with_an_asyncssh_that_nobody_tried_the_stock_one_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(asyncssh, "__version__", "2.99.0")
    monkeypatch.setattr(fast, "install", lambda: pytest.fail("it reaches into an asyncssh that nobody tried"))
    caplog.set_level(logging.INFO, logger=f"{ROOT}.ssh")
    assert chosen(settings_for(tmp_path).sftp) is Connection
    assert "event=stock_connection why=untested library=asyncssh-2.99.0" in caplog.text
