"""Whose the data folder is: what root does in it by mistake, and what nobody may open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from config.errors import FolderUnusable
from server.cli import ownership
from server.ssh.hostkeys import HostKeys
from tests.cli.shop import Shop

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


@pytest.fixture
def theirs(shop: Shop) -> Shop:
    """The command line, run by root, at the data folder of a server that runs as another user."""
    for path in (shop.data, *shop.data.rglob("*"), shop.key):
        os.chown(path, NOBODY, NOBODY)
    return shop


COMMANDS = (
    ("org", "add", "Kund"),
    ("space", "create", "Bok"),
    ("person", "list"),
    ("hostkey", "announce"),
    ("upgrade", "--yes"),
    ("key", "rewrap"),
    ("doctor",),
    ("serve",),
    ("demo",),
    ("init", "--supplier", "A", "--admin", "agnes"),
)


@needs_root
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_what_root_made_beside_a_server_of_another_user_locked_everybody_out(
    theirs: Shop, words: tuple[str, ...]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in theirs.data.rglob("*")}
    ran = theirs.run(*words)
    assert ran.code == 77
    assert f'"sudo -u {ownership.name_of(NOBODY)}"' in ran.err
    assert ran.err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in theirs.data.rglob("*")} == before


@needs_root
def test_doctor_called_a_folder_fit_that_its_server_could_not_read(
    theirs: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    assert f"belongs to {ownership.name_of(NOBODY)}, as whom the server runs" in theirs.run("doctor").out
    os.chown(theirs.data / "in-use.lock", NOBODY, NOBODY)
    key = sorted((theirs.data / "keystore").glob("*.key"))[-1]
    os.chown(key, 0, 0)
    ran = theirs.run("doctor")
    assert ran.code == 6
    assert f"{key} belongs to root" in ran.out
    assert f"chown -R {ownership.name_of(NOBODY)} {theirs.data}" in ran.out


def test_a_data_folder_that_a_user_may_not_read_was_something_unforeseen(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != shop.data)
    for words in (["serve"], ["org", "list"], ["doctor"]):
        ran = shop.run(*words)
        assert (ran.code, ran.out) == (77, "")
        assert "may not read and write it" in ran.err


@pytest.mark.parametrize("place", ["file", "file/data", "/proc/mellanrum"])
def test_a_data_folder_that_can_be_none_was_something_unforeseen(
    shop: Shop, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELLANRUM_KEY_FILE", str(tmp_path / "root.key"))
    (tmp_path / "file").write_text("kept")
    ran = Shop(tmp_path / place, shop.capture).run("init", "--supplier", "A", "--admin", "agnes")
    assert ran.code == 77, ran.err
    assert ran.err.count("\n") == 1
    assert str(tmp_path / place) in ran.err
    assert (tmp_path / "file").read_text() == "kept"
    assert not (tmp_path / "root.key").exists()


def test_a_folder_above_that_may_not_be_entered_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refused)
    with pytest.raises(FolderUnusable, match=r"permission denied"):
        ownership.require_own(tmp_path / "data")


def test_a_host_key_of_another_user_was_something_unforeseen(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(keys: HostKeys) -> None:
        raise PermissionError(13, "Permission denied", str(shop.data / "ssh"))

    monkeypatch.setattr(HostKeys, "make_missing", refused)
    ran = shop.run("serve")
    assert ran.code == 77
    assert f"may not open {shop.data / 'ssh'}" in ran.err


def test_doctor_names_what_is_closed_to_its_owner(shop: Shop) -> None:
    key = sorted((shop.data / "keystore").glob("*.key"))[0]
    key.chmod(0)
    assert list(ownership.strays(shop.data)) == [(key, "is closed to its owner")]
    assert f"{key} is closed to its owner" in shop.run("doctor").out
