"""Whose an installation is: its data folder's owner's, as whom the server runs.

What root made there, the server could not read. So root works in no other user's data folder: a command that it runs by
mistake says as whom to run it, before it opens anything.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from config.errors import FolderUnusable
from server.cli.errors import NotTheirs


def name_of(uid: int) -> str:
    """Return a user's name, or as `sudo -u` takes it the number of one without."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def require_own(folder: Path) -> None:
    """Raise NotTheirs for root at another user's data folder, FolderUnusable for one that cannot be worked in.

    One that is not there is left to whoever opens it, or makes it.
    """
    try:
        found = folder.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise FolderUnusable(folder=folder, why=(error.strerror or "it cannot be looked at").lower()) from None
    if not stat.S_ISDIR(found.st_mode):
        raise FolderUnusable(folder=folder, why="it is no folder")
    me = os.geteuid()
    if me == 0 != found.st_uid:
        raise NotTheirs(folder=folder, owner=name_of(found.st_uid), user=name_of(me))
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        why = f"it belongs to {name_of(found.st_uid)}, and {name_of(me)} may not read and write it"
        raise FolderUnusable(folder=folder, why=why)


def strays(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield what stands in a data folder that its owner did not make or may not open, and why."""
    owner = folder.stat().st_uid
    closed: list[OSError] = []
    for at, folders, files in os.walk(folder, onerror=closed.append):
        for name in (*folders, *files):
            path = Path(at) / name
            try:
                found = path.lstat()
            except FileNotFoundError:  # it went meanwhile
                continue
            least = stat.S_IRWXU if stat.S_ISDIR(found.st_mode) else stat.S_IRUSR
            if found.st_uid != owner:
                yield path, f"belongs to {name_of(found.st_uid)}"
            elif found.st_mode & least != least:
                yield path, "is closed to its owner"
    for error in closed:
        if not isinstance(error, FileNotFoundError):
            yield Path(error.filename), "cannot be opened"
