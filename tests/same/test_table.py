"""docs/PROTOCOLS.md says how each operation is reached and what each refusal becomes: it leaves nothing out."""

from __future__ import annotations

import pytest

from providers import errors
from providers.drive import Drive
from server.sftp.engine import errors as sftp
from server.sftp.engine.wire import Code
from server.webdav import errors as webdav
from tests.drive.stage import VARIANTS
from tests.same.expected import kind_of
from tests.same.tables import reached, refusals
from tests.same.ways import SFTP, WEBDAV

#: Refusals of operations that neither protocol has words for; and of what no client meets.
UNMET = {"NotJoined", "CommentTooLong", "NameTaken", "FolderGone", "LockStands"}
METHODS = ("GET", "HEAD", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK")


def missing_from(table: set[str]) -> set[str]:
    declared = {name for name in dir(Drive) if hasattr(getattr(Drive, name), "effect")}
    return declared ^ table


def test_the_table_names_every_operation_of_the_drive() -> None:
    assert missing_from(set(reached())) == set()


def test_an_operation_that_is_not_in_the_table_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drive, "lend", Drive.stat, raising=False)
    assert missing_from(set(reached())) == {"lend"}


def test_every_request_in_the_table_is_made_and_no_other() -> None:
    for name, row in reached().items():
        lines = [name, *(line for line, as_what in VARIANTS.items() if as_what == name)]
        for ways, named in ((WEBDAV, row.webdav), (SFTP, row.sftp)):
            assert {way for line in lines for way in ways.get(line, {})} == set(named), name
        assert all(words.startswith("none") for words in row.silent), name


def test_the_table_names_every_refusal() -> None:
    found = {
        name
        for module in (errors,)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, errors.DriveError)
    }
    assert found - UNMET == {name for name in refusals() if issubclass(kind_of(name), errors.DriveError)}


@pytest.mark.parametrize("name", sorted(refusals()))
def test_a_refusal_becomes_what_the_table_says(name: str) -> None:
    words, error = refusals()[name], kind_of(name)()
    for method in METHODS:
        assert webdav.told(error, method).status.split()[0] == words.status_to(method), method
    if words.code in Code.__members__:
        assert sftp.code_of(error).name == words.code
    else:
        assert words.code == "signing in fails"


def test_no_status_of_webdav_stands_for_a_fault_of_ours() -> None:
    """507 tells of a full disk or space, 503 of a database or disk that fails; no other refusal is a 5xx."""
    found = {words.status for words in refusals().values() if words.status.startswith("5")}
    assert found == {"507", "503"}
