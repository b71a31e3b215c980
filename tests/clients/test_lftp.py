"""lftp: files and trees up, single files down. It needs a folder to redirect, and names the account in Destination."""

from __future__ import annotations

import os

from tests.clients.conftest import Desk
from tests.tools import need

PAST = 1_612_325_106
CONTENT = os.urandom(200_000)


def lftp(desk: Desk, *commands: str) -> str:
    """Run commands in the desk's folder on the server."""
    opening = (
        "set net:max-retries 2",
        "set net:reconnect-interval-base 1",
        "set net:timeout 20",
        f"open -u anna,{desk.password} {desk.url}",
    )
    script = desk.folder / "script.lftp"
    script.write_text("\n".join([*opening, *commands, ""]))
    return desk.run(need("lftp"), "-f", script)


def test_files_go_into_the_folder_gone_to_and_come_back(desk: Desk) -> None:
    (desk.folder / "big").write_bytes(CONTENT)
    os.utime(desk.folder / "big", (PAST, PAST))
    (desk.folder / "å b;c?.txt").write_text("hej")
    lftp(desk, "mkdir inner", "cd inner", "put big", "put big -o other", "mput *.txt", "get big -o got", "mget other")
    assert desk.names() == {"inner"}
    assert desk.names("inner") == {"big", "other", "å b;c?.txt"}
    assert (desk.content("inner/big"), desk.versions("inner/big"), desk.modified("inner/big")) == (CONTENT, 1, PAST)
    assert desk.content("inner/å b;c?.txt") == b"hej"
    assert (desk.folder / "got").read_bytes() == (desk.folder / "other").read_bytes() == CONTENT
    assert int((desk.folder / "got").stat().st_mtime) == PAST


def test_names_with_semicolons_are_moved_whole(desk: Desk) -> None:
    desk.second.put(f"{desk.place}/a", CONTENT)
    lftp(desk, 'mv a "b;1 å?.txt"')
    assert desk.names() == {"b;1 å?.txt"}
    assert desk.versions("b;1 å?.txt") == 1
    lftp(desk, 'rm "b;1 å?.txt"')
    assert desk.names() == set()


def test_a_tree_is_mirrored_up(desk: Desk) -> None:
    source = desk.folder / "source"
    (source / "Underlag").mkdir(parents=True)
    (source / "big").write_bytes(CONTENT)
    os.utime(source / "big", (PAST, PAST))
    (source / "Underlag" / "å;1.txt").write_text("hej")
    lftp(desk, "mirror -R --no-perms source tree")
    assert desk.names("tree") == {"big", "Underlag"}
    assert (desk.content("tree/big"), desk.modified("tree/big")) == (CONTENT, PAST)
    assert desk.content("tree/Underlag/å;1.txt") == b"hej"
