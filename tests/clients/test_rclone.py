"""rclone: as ownCloud, which has times and checksums, and as any other server, which has neither."""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path

import pytest

from server.demo import show
from server.demo.plant import Access
from tests.clients.conftest import Desk
from tests.tools import ROOT, need

PAST = 1_583_298_367
#: The options that every line for a mount has: without them programs cannot save in place.
MOUNTED_WITH = ("--vfs-cache-mode", "writes")
AT_ONCE = ("--vfs-write-back", "0s", "--daemon", "--daemon-timeout", "30s")
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


def test_check_compares_checksums(desk: Desk) -> None:
    environ, rclone = remote(desk, "owncloud"), need("rclone")
    source = desk.folder / "source"
    plant(source)
    desk.run(rclone, "sync", source, "drive:", environ=environ)
    said = desk.run(rclone, "check", source, "drive:", "-v", environ=environ)
    assert "0 differences found" in said and "hashes could not be checked" not in said
    sums = desk.run(rclone, "hashsum", "sha1", "drive:", environ=environ)
    own = {hashlib.sha1(content, usedforsecurity=False).hexdigest() for content in TREE.values()}
    assert set(re.findall(r"^[0-9a-f]{40}(?=  )", sums, re.MULTILINE)) == own
    # Another content of the same size and time is found by its checksum alone.
    desk.second.put(f"{desk.place}/Underlag/Kvitto å ä ö.txt", b"hoj\n", X_OC_Mtime=str(PAST + 2))
    said = desk.run(rclone, "check", source, "drive:", environ=environ, code=1)
    assert "1 differences found" in said


def test_documents_moved_and_copied_on_the_server_keep_their_times(desk: Desk) -> None:
    environ, rclone = remote(desk, "owncloud"), need("rclone")
    plant(desk.folder / "source")
    desk.run(rclone, "copyto", desk.folder / "source/stor.bin", "drive:a", environ=environ)
    desk.run(rclone, "copyto", "drive:a", "drive:b", environ=environ)
    desk.run(rclone, "moveto", "drive:a", "drive:c", environ=environ)
    assert desk.names() == {"b", "c"}
    assert desk.content("b") == desk.content("c") == TREE["stor.bin"]
    assert (desk.modified("b"), desk.modified("c"), desk.versions("c")) == (PAST, PAST, 1)
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


def test_every_line_that_is_given_mounts_so() -> None:
    eva = Access("eva", "Eva Lund", "Kund AB", "…", "password", None, "secret", [])
    demo = dict(show.mounts("https://x/dav/", eva))["rclone"]
    pages = [(ROOT / page).read_text("utf-8") for page in ("README.md", "docs/clients/rclone.md")]
    lines = [demo, *re.findall(r"rclone mount [^`\n]+", "\n".join(pages))]
    assert len(lines) == 3
    for line in lines:
        assert " ".join(MOUNTED_WITH) in line


def test_a_mount_takes_and_shows_files(desk: Desk) -> None:
    environ, rclone, point = remote(desk, "owncloud"), need("rclone"), desk.folder / "mount"
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("mounting takes root and /dev/fuse")
    need("fusermount3")
    point.mkdir()

    def has_left(name: str, content: bytes) -> bool:
        return name in desk.names() and desk.content(name) == content

    desk.run(rclone, "mount", "drive:", point, *MOUNTED_WITH, *AT_ONCE, environ=environ)
    try:
        (point / "folder").mkdir()
        (point / "folder" / "a å.txt").write_text("first")
        (point / "folder" / "a å.txt").rename(point / "b.txt")
        assert sorted(os.listdir(point)) == ["b.txt", "folder"]
        assert (point / "b.txt").read_text() == "first"
        (point / "c.txt").write_text("first")
        with (point / "c.txt").open("r+") as opened:  # in place, as programs save
            opened.seek(0, os.SEEK_END)
            opened.write(", and more")
        # It uploads beside, and what has not left when it is unmounted waits in its cache for the next mount.
        until = time.monotonic() + 30
        while not (has_left("b.txt", b"first") and has_left("c.txt", b"first, and more")) and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        desk.run("fusermount3", "-u", point)
    assert (desk.content("b.txt"), desk.versions("b.txt")) == (b"first", 1)
    assert desk.content("c.txt") == b"first, and more"
