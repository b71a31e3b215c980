"""One drive behind two doors: each act has the same outcome, class of error and events over WebDAV and over SFTP."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import paramiko
import pytest

from tests.serving import space_path
from tests.ssh.doors import Door

#: A read is in the log within a second; on a busy machine later.
NUMBERED_SECONDS_MAX = 20.0
WHO = ["anna", "vera", "ulla", "nils"]
_numbers = itertools.count()

#: SFTP v3 has few words; what a refusal becomes in each.
CLASSES = {403: "forbidden", 404: "absent", 409: "absent", 201: "ok", 204: "ok", 200: "ok", 207: "ok"}


def over_sftp(act: Callable[[], Any]) -> str:
    try:
        act()
    except FileNotFoundError:
        return "absent"
    except PermissionError:
        return "forbidden"
    return "ok"


def acts(dav: Any, sftp: Any, home: str, there: str) -> dict[str, tuple[Callable[[], str], Callable[[], str]]]:
    """Return each act over both. `home` is the folder in the drive's words; `there` a name of one protocol's own."""

    def web(method: str, path: str, body: bytes | None = None, **headers: str) -> Callable[[], str]:
        return lambda: CLASSES.get(dav.request(method, path, body, **headers).status, "other")

    goal = f"{dav.prefix}{quote(f'{home}/{there}-moved.txt')}"
    old, new = f"{home}/{there}.txt", f"{home}/{there}-new.txt"
    return {
        "read": (web("GET", old), lambda: over_sftp(lambda: sftp.open(old, "rb").read())),
        "list": (web("PROPFIND", home, Depth="1"), lambda: over_sftp(lambda: sftp.listdir(home))),
        "make folder": (web("MKCOL", f"{new}-d"), lambda: over_sftp(lambda: sftp.mkdir(f"{new}-d"))),
        "replace": (web("PUT", old, b"other"), lambda: over_sftp(lambda: _put(sftp, old, b"other"))),
        "rename": (
            web("MOVE", old, Destination=goal, Overwrite="F"),
            lambda: over_sftp(lambda: sftp.rename(old, f"{home}/{there}-moved.txt")),
        ),
        "delete absent": (web("DELETE", f"{home}/none"), lambda: over_sftp(lambda: sftp.remove(f"{home}/none"))),
        "read absent": (web("GET", f"{home}/none"), lambda: over_sftp(lambda: sftp.open(f"{home}/none", "rb"))),
    }


def _put(sftp: Any, path: str, content: bytes) -> None:
    with sftp.open(path, "wb") as file:
        file.write(content)


@pytest.mark.parametrize("login", WHO)
def test_the_same_over_both(door: Door, login: str) -> None:
    owner = door.server.dav("anna")
    name = f"same {next(_numbers)}"
    assert owner.request("MKCOL", f"{space_path('anna')}/{name}").status == 201
    for there in ("dav", "sftp"):
        assert owner.put(f"{space_path('anna')}/{name}/{there}.txt", b"text").status == 201
    home = f"{space_path(login)}/{name}"
    wrong = []
    with paramiko.Transport((door.host, door.port)) as transport:
        transport.connect(username=login, password=door.password(login))
        sftp = paramiko.SFTPClient.from_transport(transport)
        dav = door.server.dav(login)
        both = acts(dav, sftp, home, "dav"), acts(dav, sftp, home, "sftp")
        for act in both[0]:
            before = len(door.world.kinds("Sandbox"))
            web = both[0][act][0]()
            told = _told(door, before, reads=(act, web) == ("read", "ok"))
            before += len(told)
            ssh = both[1][act][1]()
            told_of_ssh = _told(door, before, reads=(act, ssh) == ("read", "ok"))
            if (web, told) != (ssh, told_of_ssh):
                wrong.append((act, web, told, ssh, told_of_ssh))
    assert wrong == []


def _told(door: Door, before: int, *, reads: bool) -> list[str]:
    """Return the events that came since. A read is numbered into the log by whichever process has the turn, soon."""
    until = time.monotonic() + NUMBERED_SECONDS_MAX
    while not (found := door.world.kinds("Sandbox", before)) and reads and time.monotonic() < until:
        time.sleep(0.05)
    return found
