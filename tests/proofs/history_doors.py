"""Both protocols without a socket: real requests to the WebDAV application, real packets to the SFTP engine.

An outcome is a word of the model, `done` or one of several that a client is told alike. Time is what a `Clock` says.
"""

from __future__ import annotations

import io
import re
import types
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

from auth.roles import Via
from config import clock
from server.http.request import base_environ
from server.sftp.engine.wire import APPEND, CREAT, WRITE, Code, Type, string
from server.webdav.app import WebDav
from tests.sftp.client import Client, Refused, sized, timed
from tests.worlds import World

#: 2026-06-01, and how much passes each time that somebody looks.
BEGINNING_US, TICK_US = 1_780_272_000_000_000, 20
HOST = "files.example"
_LOCKINFO = (
    b'<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)
_UPDATE = '<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:" xmlns:x="urn:x">%s</D:propertyupdate>'
#: What a client of WebDAV is told where the model has a word for it.
STATUS = {
    "missing": "404", "no parent": "409", "not a folder": "409", "folder": "405", "forbidden": "403", "same": "403",
    "exists": "412", "locked": "423",
}  # fmt: skip
CODE = {
    "missing": Code.NO_SUCH_FILE, "no parent": Code.NO_SUCH_FILE, "not a folder": Code.NO_SUCH_FILE,
    "forbidden": Code.PERMISSION_DENIED, "folder": Code.FAILURE, "same": Code.FAILURE, "exists": Code.FAILURE,
    "locked": Code.FAILURE, "not empty": Code.FAILURE,
}  # fmt: skip


class Clock:
    """A clock that goes only when it is looked at, or told to."""

    def __init__(self) -> None:
        self.us = BEGINNING_US

    def time_ns(self) -> int:
        """Return the time, in nanoseconds."""
        self.us += TICK_US
        return self.us * 1000

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.us += int(seconds * 1_000_000)


@contextmanager
def telling_time() -> Iterator[Clock]:
    """Let all of the product take its time from a clock of ours."""
    ours, real = Clock(), clock.time
    clock.time = types.SimpleNamespace(time_ns=ours.time_ns)  # type: ignore[assignment]
    try:
        yield ours
    finally:
        clock.time = real


class Reply(NamedTuple):
    """What was answered."""

    status: str
    headers: dict[str, str]
    body: bytes


class Dav:
    """One person's client of WebDAV. Paths are names from the drive's root."""

    def __init__(self, application: WebDav, login: str, password: str) -> None:
        self._application = application
        self._base = {
            **base_environ("192.0.2.7", 50000, 443, is_tls=True),
            "HTTP_AUTHORIZATION": "Basic " + b64encode(f"{login}:{password}".encode()).decode(),
            "HTTP_HOST": HOST,
            "wsgi.input_terminated": True,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "QUERY_STRING": "",
        }

    @staticmethod
    def href(path: tuple[str, ...]) -> str:
        """Return a path as it stands in a URL."""
        return "/dav/" + "/".join(quote(name) for name in path)

    def ask(self, method: str, path: tuple[str, ...], body: bytes = b"", **headers: str) -> Reply:
        """Make a request; headers as `If_Match`."""
        href = self.href(path)
        environ: dict[str, Any] = {
            **self._base,
            "REQUEST_METHOD": method,
            "PATH_INFO": href,
            "mellanrum.target": href.encode(),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            **{f"HTTP_{name.upper()}": text for name, text in headers.items()},
        }
        told: list[Any] = []
        answer = self._application(environ, lambda *started: told.extend(started))
        try:
            content = b"".join(bytes(piece) for piece in answer)
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()
        return Reply(told[0], {name.lower(): text for name, text in told[1]}, content)

    def outcome(self, method: str, path: tuple[str, ...], body: bytes = b"", **headers: str) -> tuple[str, Reply]:
        """Make a request that changes something; return the status it comes to, `done` for success."""
        reply = self.ask(method, path, body, **headers)
        status = reply.status[:3]
        if status == "207":
            (status,) = re.findall(rb"HTTP/1.1 (\d+)", reply.body)[:1]
            status = status.decode()
        return ("done" if status[0] == "2" else status), reply

    @staticmethod
    def told(reasons: set[str], method: str) -> set[str]:
        """Return the statuses by which a client learns of any of the reasons."""
        if not reasons:
            return {"done"}
        return {"405" if method == "MKCOL" and reason == "exists" else STATUS[reason] for reason in reasons}


class Sftp:
    """One person's client of SFTP."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @staticmethod
    def _name(path: tuple[str, ...]) -> str:
        return "/" + "/".join(path)

    def outcome(self, act: str, path: tuple[str, ...], *given: Any) -> str:
        """Do something; return `done`, or the code it was refused with."""
        try:
            getattr(self, act)(path, *given)
        except Refused as refused:
            return str(refused.code)
        return "done"

    @staticmethod
    def told(reasons: set[str]) -> set[str]:
        """Return the codes by which a client learns of any of the reasons."""
        return {str(int(CODE[reason])) for reason in reasons} or {"done"}

    def put(self, path: tuple[str, ...], content: bytes) -> None:
        """Write a document whole."""
        self.client.put(self._name(path), content)

    def write_at(self, path: tuple[str, ...], offset: int, content: bytes) -> None:
        """Write into a document that stands."""
        self._written(path, WRITE, offset, content)

    def append(self, path: tuple[str, ...], content: bytes) -> None:
        """Write at the end of a document that stands."""
        self._written(path, WRITE | APPEND, 0, content)

    def resume(self, path: tuple[str, ...], offset: int, content: bytes) -> None:
        """Write into a document, made if need be."""
        self._written(path, WRITE | CREAT, offset, content)

    def _written(self, path: tuple[str, ...], flags: int, offset: int, content: bytes) -> None:
        handle = self.client.open(self._name(path), flags)
        self.client.write(handle, offset, content)
        self.client.close(handle)

    def truncate(self, path: tuple[str, ...], size: int) -> None:
        """Cut a document off."""
        self.client.setstat(self._name(path), sized(size))

    def touch(self, path: tuple[str, ...], seconds: int) -> None:
        """Set the time of modification."""
        self.client.setstat(self._name(path), timed(seconds))

    def remove(self, path: tuple[str, ...]) -> None:
        """Remove a document."""
        self.client.path_request(Type.REMOVE, self._name(path))

    def remove_folder(self, path: tuple[str, ...]) -> None:
        """Remove an empty folder."""
        self.client.path_request(Type.RMDIR, self._name(path))

    def make_folder(self, path: tuple[str, ...]) -> None:
        """Make a folder."""
        self.client.path_request(Type.MKDIR, self._name(path), tail=bytes(4))

    def rename(self, path: tuple[str, ...], goal: tuple[str, ...]) -> None:
        """Rename, never over what stands."""
        self.client.path_request(Type.RENAME, self._name(path), self._name(goal))

    def posix_rename(self, path: tuple[str, ...], goal: tuple[str, ...]) -> None:
        """Rename as POSIX does."""
        names = (string(self._name(each).encode()) for each in (path, goal))
        self.client.extended("posix-rename@openssh.com", b"".join(names))

    def get(self, path: tuple[str, ...]) -> bytes:
        """Read a document. Raises Refused."""
        return self.client.get(self._name(path))

    def names(self, path: tuple[str, ...]) -> set[str]:
        """List a folder. Raises Refused."""
        return set(self.client.names(self._name(path))) - {".", ".."}


class Doors:
    """Everybody's clients of one world, each made when it is first needed."""

    def __init__(self, world: World, passwords: dict[str, tuple[str, ...]]) -> None:
        self._world = world
        self._passwords = passwords
        self._application = WebDav(world.installation, world.installation.settings)
        self._davs: dict[tuple[str, int], Dav] = {}
        self._sftps: dict[tuple[str, int], Sftp] = {}

    def dav(self, login: str, device: int = 0) -> Dav:
        """Return somebody's client of WebDAV, on one of their devices."""
        key = (login, device)
        if key not in self._davs:
            self._davs[key] = Dav(self._application, login, self._passwords[login][device])
        return self._davs[key]

    def sftp(self, login: str, device: int = 0) -> Sftp:
        """Return somebody's client of SFTP, on one of their devices."""
        key = (login, device)
        if key not in self._sftps:
            installation, password = self._world.installation, self._passwords[login][device]
            who = installation.authenticator.basic(login, password, via=Via.SFTP, address="192.0.2.8")
            self._sftps[key] = Sftp(Client(installation.drive(who)))
        return self._sftps[key]


def lockinfo() -> bytes:
    """Return the body of a LOCK."""
    return _LOCKINFO


def property_update(color: str | None, modified: int | None) -> bytes:
    """Return the body of a PROPPATCH; `modified` in seconds."""
    inner = "" if color is None else f"<x:color>{color}</x:color>"
    inner += "" if modified is None else f"<D:lastmodified>{modified}</D:lastmodified>"
    return (_UPDATE % f"<D:set><D:prop>{inner}</D:prop></D:set>").encode()
