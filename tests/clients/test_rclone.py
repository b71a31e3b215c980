"""rclone: as ownCloud, which has times and checksums, and as any other server, which has neither."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.clients.conftest import Desk
from tests.tools import need

PAST = 1_583_298_367
TREE = {
    "stor.bin": os.urandom(300_000),
    "tom": b"",
    "Underlag/Kvitto å ä ö.txt": b"hej\n",
    "Underlag/a;b #1 100% ~ + & 'x' [1] {2}.txt": b"odd",
    "Underlag/2026/日本語 🍳.md": b"# x\n",
}


def remote(desk: Desk, vendor: str) -> dict[str, str]:
    """Return the variables that make `drive:` the desk's folder."""
    obscured = desk.run(need("rclone"), "obscure", desk.password).strip()
    settings = {"TYPE": "webdav", "URL": desk.url, "VENDOR": vendor, "USER": "anna", "PASS": obscured}
    return {f"RCLONE_CONFIG_DRIVE_{name}": value for name, value in settings.items()}


def plant(folder: Path) -> None:
    for number, (name, content) in enumerate(TREE.items()):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (PAST + number, PAST + number))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("vendor", ["owncloud", "other"])
def test_a_tree_goes_there_and_back(desk: Desk, vendor: str) -> None:
    environ, rclone = remote(desk, vendor), need("rclone")
    how = [] if vendor == "owncloud" else ["--size-only"]
    source, back = desk.folder / "source", desk.folder / "back"
    plant(source)
    desk.run(rclone, "sync", source, "drive:", *how, environ=environ)
    assert {name: desk.content(name) for name in TREE} == TREE
    (source / "stor.bin").write_bytes(TREE["stor.bin"] + b"more")
    (source / "tom").unlink()
    desk.run(rclone, "sync", source, "drive:", *how, environ=environ)
    expected = {**TREE, "stor.bin": TREE["stor.bin"] + b"more"}
    del expected["tom"]
    assert desk.names() == {"stor.bin", "Underlag"}
    assert {name: desk.versions(name) for name in expected} == {**dict.fromkeys(expected, 1), "stor.bin": 2}
    desk.run(rclone, "sync", "drive:", back, *how, environ=environ)
    assert contents(back) == expected
    if vendor == "owncloud":
        kept = "Underlag/Kvitto å ä ö.txt"
        assert desk.modified(kept) == int((back / kept).stat().st_mtime) == PAST + 2


def test_documents_are_moved_and_copied_on_the_server(desk: Desk) -> None:
    environ, rclone = remote(desk, "owncloud"), need("rclone")
    plant(desk.folder / "source")
    desk.run(rclone, "copyto", desk.folder / "source/stor.bin", "drive:a", environ=environ)
    desk.run(rclone, "copyto", "drive:a", "drive:b", environ=environ)
    desk.run(rclone, "moveto", "drive:a", "drive:c", environ=environ)
    assert desk.names() == {"b", "c"}
    assert desk.content("b") == desk.content("c") == TREE["stor.bin"]
    assert (desk.modified("c"), desk.versions("c")) == (PAST, 1)
    desk.run(rclone, "rcat", "drive:streamed", given="piped", environ=environ)
    assert desk.content("streamed") == b"piped"
    desk.run(rclone, "purge", "drive:", environ=environ)
    assert desk.second.propfind(desk.place).status == 404


def test_what_rclone_finds_out_about_names(desk: Desk) -> None:
    environ = remote(desk, "other")
    asked = ("--check-normalization", "--check-streaming")
    said = desk.run(need("rclone"), "test", "info", *asked, "drive:probe", environ=environ)
    assert "canReadUnnormalized   = true" in said and "canReadRenormalized   = true" in said
    assert "canStream = true" in said
