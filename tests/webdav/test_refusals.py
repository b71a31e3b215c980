"""What a refusal leaves in the installation's log, and what clients make of its status."""

from __future__ import annotations

from typing import Any, cast

import pytest

from auth.errors import SignInUncounted
from config.errors import MellanrumError, StorageFull
from config.settings import Settings
from providers.errors import Locked, PropertiesTooLong, QuotaExceeded
from server.webdav import app
from server.webdav.errors import answer_to
from server.webdav.exchange import Exchange


@pytest.mark.parametrize(
    ("error", "level"),
    [(QuotaExceeded(), "INFO"), (PropertiesTooLong(limit=1), "INFO"), (StorageFull(), "ERROR"), (Locked(), None)],
    ids=lambda value: type(value).__name__,
)
def test_a_quota_that_is_used_up_is_no_error_of_ours(
    error: MellanrumError, level: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: Exchange) -> Any:
        raise error

    monkeypatch.setitem(app.METHODS, "PUT", refuse)
    environ = {"REQUEST_METHOD": "PUT", "mellanrum.target": b"/dav/a"}
    with caplog.at_level("INFO", "mellanrum"):
        app.Methods(Settings()).answer(environ, lambda *_: None, cast("Any", None))
    assert [record.levelname for record in caplog.records] == ([] if level is None else [level])


def test_no_program_drops_a_password_that_nobody_looked_at() -> None:
    """On 401 they do, and the drive is gone once the disk has room again."""
    answer = answer_to(SignInUncounted(), "PROPFIND", "/dav/")
    assert answer.status == "503 Service Unavailable"
    assert b"No password can be looked at just now" in b"".join(answer.body)
    assert "WWW-Authenticate" not in dict(answer.headers)
