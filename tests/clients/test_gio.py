"""GNOME's gio and gvfs, in a session of their own: by URL, as Files does it."""

from __future__ import annotations

import re
import shlex

from tests.clients.conftest import Desk
from tests.tools import ROOT, need, need_file


def session(desk: Desk, *commands: str) -> str:
    """Mount the whole drive, run commands of the shell in which `$IN` is the desk's folder on it, unmount."""
    need("gio"), need_file("/usr/libexec/gvfsd-dav")
    url = desk.url.replace("http://", "dav://anna@")
    root = f"dav://anna@{desk.second.host}/dav/"
    script = "\n".join(
        [
            "set -e",
            f"IN={shlex.quote(url)}",
            f"printf '%s\\n' {shlex.quote(desk.password)} | gio mount {root}",
            # Whatever becomes of the commands, the mount must not outlive the session.
            f"trap 'gio mount -u {root}' EXIT",
            *commands,
        ]
    )
    return desk.run(need("dbus-run-session"), "--", "sh", "-c", script, environ={"GVFS_DISABLE_FUSE": "1"})


def test_files_are_copied_renamed_saved_moved_and_deleted(desk: Desk) -> None:
    (desk.folder / "a.txt").write_text("first")
    said = session(
        desk,
        'gio mkdir "${IN}folder"',
        'gio copy a.txt "${IN}folder/a.txt"',
        'gio copy "${IN}folder/a.txt" back.txt',
        'gio rename "${IN}folder/a.txt" "b å.txt"',
        'printf second | gio save "${IN}folder/b%20%C3%A5.txt"',
        'gio cat "${IN}folder/b%20%C3%A5.txt"',
        'gio list "${IN}folder"',
        'gio copy a.txt "${IN}gone.txt"',
        'gio remove "${IN}gone.txt"',
        'gio move "${IN}folder/b%20%C3%A5.txt" "${IN}c.txt"',
    )
    assert "second" in said and "b å.txt" in said
    assert (desk.folder / "back.txt").read_text() == "first"
    assert desk.names() == {"folder", "c.txt"} and desk.names("folder") == set()
    assert (desk.content("c.txt"), desk.versions("c.txt")) == (b"second", 2)


def test_what_changed_meanwhile_is_not_saved_over(desk: Desk) -> None:
    desk.second.put(f"{desk.place}/a.txt", b"old")
    said = session(desk, 'if printf new | gio save --etag=\'"other"\' "${IN}a.txt"; then exit 9; fi')
    assert "externally modified" in said
    assert (desk.content("a.txt"), desk.versions("a.txt")) == (b"old", 1)


def test_a_wrong_password_mounts_nothing(desk: Desk) -> None:
    need("gio"), need_file("/usr/libexec/gvfsd-dav")
    command = f"printf 'wrong\\nwrong\\nwrong\\n' | timeout 20 gio mount dav://anna@{desk.second.host}/dav/"
    script = f"if {command}; then exit 9; fi"
    desk.run(need("dbus-run-session"), "--", "sh", "-c", script, environ={"GVFS_DISABLE_FUSE": "1"})


def test_without_dav_in_the_address_it_says_what_the_page_explains(desk: Desk) -> None:
    need("gio"), need_file("/usr/libexec/gvfsd-dav")
    script = f"if timeout 20 gio mount dav://anna@{desk.second.host}/; then exit 9; fi"
    said = desk.run(need("dbus-run-session"), "--", "sh", "-c", script, environ={"GVFS_DISABLE_FUSE": "1"})
    page = (ROOT / "docs" / "clients" / "gnome.md").read_text(encoding="utf-8")
    (explained,) = re.findall(r'^\| "(.+)" \| The address lacks `/dav/` \|$', page, re.MULTILINE)
    assert explained in said
