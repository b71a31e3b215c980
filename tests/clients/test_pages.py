"""The commands in docs/clients, run as they stand there; host, login and password alone are put in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from auth.roles import Role
from tests.clients.conftest import Desk
from tests.clients.test_davfs import mount_room
from tests.clients.test_git import WHO
from tests.serving import Served
from tests.tools import ROOT, need, need_file

PAGES = ROOT / "docs" / "clients"
SPACE = "Accounts"
#: What stands in the space after a page's commands, and which files they fetched.
LEFT = {
    "command-line.md": (
        {"old.txt", "receipts.tar", "sent.txt", "report.txt", "Receipts", "books.git"},
        ("back.txt", "start.txt", "again.txt", "copy/report.txt"),
    ),
    "gnome.md": ({"report 2026.txt"}, ("back.txt",)),
    "linux.md": ({"report.txt"}, ()),
    "rclone.md": ({"Receipts"}, ("restored/one.pdf", "restored/två.pdf")),
}


def blocks(page: str) -> list[str]:
    """Return the blocks of a page that are for a shell."""
    return re.findall(r"^```sh\n(.*?)^```", (PAGES / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def accounts(server: Served) -> str:
    """The path of the space that the pages speak of."""
    server.world.space(SPACE)
    server.world.grant("anna", SPACE, Role.EDITOR, history=True)
    return f"/{SPACE}"


@pytest.fixture
def desk(server: Served, accounts: str, tmp_path: Path) -> Iterator[Desk]:
    """A desk with a report and receipts, at an empty space."""
    made = Desk(tmp_path, server, accounts, server.dav("anna"))
    (tmp_path / "report.txt").write_text("report")
    (tmp_path / "Receipts").mkdir()
    for name in ("one.pdf", "två.pdf"):
        (tmp_path / "Receipts" / name).write_text(name)
    yield made
    for name in made.names():
        assert made.second.request("DELETE", f"{accounts}/{name}").status == 204
    made.second.close()


def as_here(text: str, desk: Desk) -> str:
    """Put in this server, `anna` and her password."""
    host = desk.second.host
    changes = {
        "https://files.example.com/": f"http://{host}/",
        "davs://helena@files.example.com/": f"dav://anna@{host}/",
        "machine files.example.com": f"machine {host.partition(':')[0]}",
        "helena": "anna",
        "DEVICE-PASSWORD": desk.password,
    }
    for piece, other in changes.items():
        text = text.replace(piece, other)
    assert "example.com" not in text
    return text


def check(desk: Desk, page: str) -> None:
    left, fetched = LEFT[page]
    assert desk.names() == left
    for name in left - {"Receipts", "receipts.tar", "books.git"}:
        assert desk.content(name) == b"report", name
    for name in fetched:
        assert (desk.folder / name).read_text() in ("report", Path(name).name), name
    if "Receipts" in left:
        assert desk.names("Receipts") == {"one.pdf", "två.pdf"}


def test_no_page_has_commands_that_are_not_run() -> None:
    assert {page.name for page in PAGES.glob("*.md") if blocks(page.name)} == set(LEFT)


@pytest.mark.parametrize(("page", "tools"), [("command-line.md", "curl cadaver lftp git"), ("rclone.md", "rclone")])
def test_commands_without_a_mount(desk: Desk, page: str, tools: str) -> None:
    for tool in tools.split():
        need(tool)
    desk.run("sh", "-e", "-c", as_here("".join(blocks(page)), desk), environ=WHO)
    check(desk, page)


def test_gnome(desk: Desk) -> None:
    need("gio"), need_file("/usr/libexec/gvfsd-dav")
    script = as_here("".join(blocks("gnome.md")), desk)
    session = (need("dbus-run-session"), "--", "sh", "-e", "-c")
    desk.run(*session, script, given=f"{desk.password}\n", environ={"GVFS_DISABLE_FUSE": "1"})
    check(desk, "gnome.md")


def test_davfs2(desk: Desk) -> None:
    with mount_room() as room:
        script = as_here("".join(blocks("linux.md")), desk)
        for piece, other in (
            ("sudo ", ""),
            ("/etc/davfs2/secrets", f"{room}/secrets"),
            ("/mnt/mellanrum", f"{room}/mount"),
            ("mount -t davfs ", f"mount -t davfs -o conf={room}/davfs2.conf "),
        ):
            assert piece in script, piece
            script = script.replace(piece, other)
        desk.run("sh", "-e", "-c", script)
    check(desk, "linux.md")


#: What the page has root do once, in a namespace of its own: the account and the files of /etc are those of this test.
AS_HELENA = """
cp /etc/fstab /etc/passwd /etc/group /sbin/mount.davfs .
echo "helena:x:4321:4321::$PWD/home:/bin/sh" >> passwd
sed -i 's/^\\(davfs2:.*:\\)\\(.*\\)$/\\1helena,\\2/; s/,$//' group
echo "$LINE" >> fstab
chmod 4755 mount.davfs
mkdir home && chown 4321:4321 home
for each in fstab passwd group; do mount --bind $each /etc/$each; done
mount --bind mount.davfs /sbin/mount.davfs
exec setpriv --reuid 4321 --regid 4321 --init-groups env HOME=$PWD/home sh -e -c '
mkdir ~/.davfs2
printf "%s\\n" "$SECRET" > ~/.davfs2/secrets
chmod 600 ~/.davfs2/secrets
mount $PWD/mount
trap "umount $PWD/mount" EXIT
printf report > $PWD/mount/$SPACE/report.txt'
"""


def test_davfs2_by_an_account_of_ones_own(desk: Desk) -> None:
    page = (PAGES / "linux.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^```fstab\n(.*)\n```", page, re.MULTILINE)
    with mount_room() as room:
        if os.statvfs(room).f_flag & os.ST_NOSUID:
            pytest.skip("nothing gets another's rights where this folder lies")
        url, point, *rest = as_here(line, desk).replace("uid=1000", "uid=4321").split()
        assert point == "/mnt/mellanrum"
        given = {
            "LINE": " ".join((url, f"{room}/mount", *rest)),
            "SECRET": f"{url} anna {desk.password}",
            "SPACE": SPACE,
        }
        script = f"cd {room}; {AS_HELENA}"
        desk.run(need("unshare"), "-m", "sh", "-e", "-c", script, environ=given)
    assert desk.names() == {"report.txt"}
    assert desk.content("report.txt") == b"report"
