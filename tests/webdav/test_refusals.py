"""What a refusal leaves in the installation's log, what programs make of its status, and how PROPPATCH tells of one."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from auth.errors import SignInUncounted
from auth.roles import Role
from config.errors import DatabaseBusy, DatabaseSilent, MellanrumError, StorageFailed, StorageFull
from config.settings import Settings
from providers import errors
from providers.drive import Drive
from providers.errors import Locked, PropertiesTooLong, QuotaExceeded
from providers.vault.errors import DamagedContent
from server.webdav import app
from server.webdav.errors import answer_to
from server.webdav.exchange import Exchange
from tests.webdav.clients.traces import EXPLORER_SETS
from tests.worlds import World, store


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


def test_who_opened_a_damaged_document_was_told_only_that_something_went_wrong() -> None:
    """As over SFTP: whom to ask, and nothing of the inside."""
    told = answer_to(DamagedContent(what="a record", pack="00ff", offset=7), "GET", "/dav/a")
    text = b"".join(bytes(piece) for piece in told.body)
    assert told.status.startswith("500")
    assert b"is damaged" in text and b"looks after the server" in text and b"00ff" not in text


def test_no_program_drops_a_password_that_nobody_looked_at() -> None:
    """On 401 they do, and the drive is gone once the disk has room again."""
    answer = answer_to(SignInUncounted(), "PROPFIND", "/dav/")
    assert answer.status == "503 Service Unavailable"
    assert b"No password can be looked at just now" in b"".join(answer.body)
    assert "WWW-Authenticate" not in dict(answer.headers)


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    """The drive of an editor, on which a document stands."""
    world = World.create(tmp_path / "data")
    world.person("eva", "Kund AB")
    world.space("Stämma", "Kund AB")
    world.grant("eva", "Stämma", Role.EDITOR)
    store(world.drive("eva"), "/Stämma/a.docx", b"x")
    yield world.drive("eva")
    world.installation.close()


#: All that may be refused where properties are set on what stands.
WITHIN_207 = {
    errors.Forbidden: b"403 Forbidden",
    errors.Frozen: b"403 Forbidden",
    errors.ReadOnlyPast: b"403 Forbidden",
    errors.Locked: b"423 Locked",
    errors.PreconditionFailed: b"412 Precondition Failed",
    errors.QuotaExceeded: b"507 Insufficient Storage",
    errors.PropertiesTooLong: b"507 Insufficient Storage",
    StorageFull: b"507 Insufficient Storage",
    StorageFailed: b"503 Service Unavailable",
    DatabaseBusy: b"423 Locked",
    DatabaseSilent: b"503 Service Unavailable",
}


@pytest.mark.parametrize("kind", WITHIN_207, ids=lambda kind: kind.__name__)
def test_explorer_is_told_within_a_207_why_a_document_that_stands_keeps_its_properties(
    drive: Drive, kind: type[MellanrumError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise kind(limit=1)

    monkeypatch.setattr(Drive, "change_properties", refuse)
    raw, statuses = EXPLORER_SETS.encode(), []
    environ = {
        "REQUEST_METHOD": "PROPPATCH",
        "mellanrum.target": "/dav/Stämma/a.docx".encode(),
        "CONTENT_LENGTH": str(len(raw)),
        "wsgi.input": io.BytesIO(raw),
    }
    body = b"".join(app.Methods(Settings()).answer(environ, lambda status, _: statuses.append(status), drive))
    assert statuses == ["207 Multi-Status"]
    assert body.count(b"<D:status>HTTP/1.1 ") == body.count(b"<D:status>HTTP/1.1 " + WITHIN_207[kind]) == 1
