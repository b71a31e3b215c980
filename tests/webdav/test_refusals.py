"""What a refusal leaves in the installation's log."""

from __future__ import annotations

from typing import Any, cast

import pytest

from config.errors import MellanrumError, StorageFull
from config.settings import Settings
from providers.errors import Locked, PropertiesTooLong, QuotaExceeded
from server.webdav import app
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
