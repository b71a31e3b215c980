"""Hands that carry out the operations of `table.txt` as real clients send them, over WebDAV and over SFTP.

Each takes paths below the drive's root. A new file is whole when `new` returns; `save` writes over what stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import paramiko

from tests.noises import DOUBLE, LOCK_LINE, OWNER
from tests.serving import Dav, Reply
from tests.webdav.clients.traces import EXPLORER_SETS, LOCK

PIECE = 32768
#: Filling what was made empty. What was noise while it was empty is a new document once it is not.
FILLED = (201, 204)


class Hands(Protocol):
    """What a client does to files."""

    def new(self, path: str, content: bytes) -> None: ...
    def save(self, path: str, content: bytes) -> None: ...
    def empty(self, path: str) -> None: ...
    def move(self, path: str, goal: str) -> None: ...
    def over(self, path: str, goal: str) -> None: ...
    def delete(self, path: str) -> None: ...
    def gone(self, path: str) -> None: ...
    def mkdir(self, path: str) -> None: ...
    def rmdir(self, path: str) -> None: ...
    def lock(self, path: str) -> None: ...
    def unlock(self, path: str) -> None: ...


class Refused(Exception):
    """A client was told no."""


class PlainDav:
    """WebDAV as curl, cadaver and rclone send it."""

    def __init__(self, dav: Dav) -> None:
        self.dav = dav
        self.tokens: dict[str, str] = {}

    def ask(self, wanted: int | tuple[int, ...], method: str, path: str, body: object = None, **headers: str) -> Reply:
        """Send a request and demand its status."""
        reply = self.dav.request(method, path, body, **headers)
        if reply.status not in (wanted if isinstance(wanted, tuple) else (wanted,)):
            raise Refused(method, path, reply.status, reply.body[:300])
        return reply

    def _given(self, path: str) -> dict[str, str]:
        return {"If": f"({self.tokens[path]})"} if path in self.tokens else {}

    def _goal(self, path: str) -> str:
        return self.dav.origin + self.dav.href(path)

    def new(self, path: str, content: bytes) -> None:
        self.ask(201, "PUT", path, content)

    def save(self, path: str, content: bytes) -> None:
        self.ask(204, "PUT", path, content, **self._given(path))

    def empty(self, path: str) -> None:
        self.ask((201, 204), "PUT", path, b"", **self._given(path))

    def move(self, path: str, goal: str) -> None:
        self.ask(201, "MOVE", path, Destination=self._goal(goal), Overwrite="F", **self._given(path))
        self.tokens.pop(path, None)

    def over(self, path: str, goal: str) -> None:
        self.ask((201, 204), "MOVE", path, Destination=self._goal(goal), Overwrite="T", **self._given(path))

    def delete(self, path: str) -> None:
        self.ask(204, "DELETE", path, **self._given(path))

    def gone(self, path: str) -> None:
        self.ask((204, 404), "DELETE", path, **self._given(path))

    def mkdir(self, path: str) -> None:
        self.ask(201, "MKCOL", path)

    def rmdir(self, path: str) -> None:
        self.ask(204, "DELETE", path)

    def lock(self, path: str) -> None:
        reply = self.ask((200, 201), "LOCK", path, LOCK.encode(), Timeout="Second-180", Depth="0")
        self.tokens[path] = reply.headers["lock-token"]

    def unlock(self, path: str) -> None:
        """H8: a lock does not go along with a rename; letting it go by the old URL is harmless."""
        token = self.tokens.pop(path, "<urn:uuid:00000000-0000-4000-8000-000000000000>")
        self.ask((204, 404, 409), "UNLOCK", path, Lock_Token=token)


class Explorer(PlainDav):
    """Windows' mapped drive: W5 for what comes in, W9 for renames."""

    def new(self, path: str, content: bytes) -> None:
        self.ask(404, "PROPFIND", path, Depth="0")
        self.ask(201, "PUT", path, b"")
        self._fill(path, content)

    def save(self, path: str, content: bytes) -> None:
        self.ask(207, "PROPFIND", path, Depth="0")
        self._fill(path, content)

    def _fill(self, path: str, content: bytes) -> None:
        had = path in self.tokens
        if not had:
            self.lock(path)
        given = self._given(path)
        self.ask(207, "PROPPATCH", path, EXPLORER_SETS.encode(), **given)
        self.ask(200, "HEAD", path)
        self.ask(FILLED, "PUT", path, content, **given)
        self.ask(207, "PROPPATCH", path, EXPLORER_SETS.encode(), **given)
        if not had:
            self.unlock(path)

    def move(self, path: str, goal: str) -> None:
        self.ask(207, "PROPFIND", path, Depth="0")
        self.ask(404, "PROPFIND", goal, Depth="0")
        super().move(path, goal)

    def delete(self, path: str) -> None:
        self.ask(207, "PROPFIND", path, Depth="0")
        super().delete(path)


class Finder(PlainDav):
    """macOS: M4 for what comes in, with an AppleDouble beside it; M8 for renames."""

    def new(self, path: str, content: bytes) -> None:
        self.ask(404, "PROPFIND", path, Depth="0")
        self.ask(201, "PUT", path)
        self._fill(path, content)
        self._beside("PUT", path, DOUBLE)

    def save(self, path: str, content: bytes) -> None:
        self.ask(200, "GET", path)
        self._fill(path, content)

    def _fill(self, path: str, content: bytes) -> None:
        had = path in self.tokens
        if not had:
            self.lock(path)
        self.ask(FILLED, "PUT", path, _pieces(content), X_Expected_Entity_Length=str(len(content)), **self._given(path))
        if not had:
            self.unlock(path)

    def _beside(self, method: str, path: str, body: bytes | None = None, goal: str = "") -> None:
        """Do to the AppleDouble what was done to its file, if it is there."""
        head, _, name = path.rpartition("/")
        if not name.startswith("._"):
            headers = {"Destination": self._goal(_double(goal))} if goal else {}
            self.ask((201, 204, 404), method, f"{head}/._{name}", body, **headers)

    def move(self, path: str, goal: str) -> None:
        self.over(path, goal)
        self.tokens.pop(path, None)

    def over(self, path: str, goal: str) -> None:
        self.ask((201, 204), "MOVE", path, Destination=self._goal(goal), **self._given(path))
        self._beside("MOVE", path, goal=goal)

    def delete(self, path: str) -> None:
        super().delete(path)
        self._beside("DELETE", path)

    def gone(self, path: str) -> None:
        super().gone(path)
        self._beside("DELETE", path)


def _double(path: str) -> str:
    head, _, name = path.rpartition("/")
    return f"{head}/{name if name.startswith('._') else f'._{name}'}"


def _pieces(content: bytes) -> Iterator[bytes]:
    for at in range(0, len(content), 1000):
        yield content[at : at + 1000]


class Sftp:
    """SFTP as WinSCP and OpenSSH's sftp send it: RENAME that refuses, permissions and times set after the close."""

    def __init__(self, client: paramiko.SFTPClient) -> None:
        self.client = client

    def _put(self, path: str, content: bytes, flags: str) -> None:
        with self.client.open(path, flags) as file:
            for at in range(0, len(content), PIECE):
                file.write(content[at : at + PIECE])

    def new(self, path: str, content: bytes) -> None:
        self._put(path, content, "w")
        self.client.chmod(path, 0o644)
        self.client.utime(path, (1_500_000_000, 1_500_000_000))

    def save(self, path: str, content: bytes) -> None:
        self._put(path, content, "w")
        self.client.chmod(path, 0o644)

    def empty(self, path: str) -> None:
        self._put(path, b"", "w")

    def move(self, path: str, goal: str) -> None:
        self.client.rename(path, goal)

    def over(self, path: str, goal: str) -> None:
        self.client.posix_rename(path, goal)

    def delete(self, path: str) -> None:
        self.client.remove(path)

    def gone(self, path: str) -> None:
        try:
            self.client.remove(path)
        except FileNotFoundError:
            pass

    def mkdir(self, path: str) -> None:
        self.client.mkdir(path)

    def rmdir(self, path: str) -> None:
        self.client.rmdir(path)

    def lock(self, path: str) -> None:
        """SFTP has none."""

    def unlock(self, path: str) -> None:
        """SFTP has none."""


class Sshfs(Sftp):
    """SFTP as sshfs sends it: looks first, makes a file before writing, empties it by its path, always replaces."""

    def new(self, path: str, content: bytes) -> None:
        self._look(path)
        with self.client.open(path, "wx") as file:
            file.stat()
            for at in range(0, len(content), PIECE):
                file.write(content[at : at + PIECE])
        self.client.stat(path)

    def save(self, path: str, content: bytes) -> None:
        self._look(path)
        self.client.truncate(path, 0)
        self._put(path, content, "r+")

    def empty(self, path: str) -> None:
        if self._look(path):
            self.client.truncate(path, 0)
        else:
            self._put(path, b"", "wx")

    def _look(self, path: str) -> bool:
        try:
            self.client.lstat(path)
        except FileNotFoundError:
            return False
        return True

    def move(self, path: str, goal: str) -> None:
        self._look(goal)
        self.client.posix_rename(path, goal)


def owner_file(name: str) -> bytes:
    """Return what Office or LibreOffice writes beside an open document."""
    return LOCK_LINE if name.startswith(".~lock.") else OWNER
