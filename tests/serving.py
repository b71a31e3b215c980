"""A real server with real worker processes over a real installation, and a client that hides nothing of HTTP.

    with serving(folder) as server:
        server.dav("anna").put("/Sandbox/a.txt", b"hello")

`anna` and `olle` edit the empty space `Sandbox` of the customer Kund AB, `vera` views it, `ulla` uploads to it, `nils`
of another customer has no right in it.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from auth.roles import Role
from config.settings.plain import settings_to_plain
from server.ssh.hostkeys import HostKeys
from tests.worlds import World, settings_for

SPACE = "Sandbox"
_SCRIPT = """
import json, sys
from pathlib import Path
from config import logging
from config.settings.plain import settings_from_plain
from server.processes import serve
task = json.loads(sys.stdin.readline())
settings = settings_from_plain(task["settings"])
logging.set_up(settings.process.log_level)
def on_ready(info):
    print(json.dumps([info.http_url, info.dav_url, info.fingerprint, info.sftp_url]), flush=True)
sys.exit(serve(Path(task["folder"]), settings, on_ready=on_ready))
"""


class Reply(NamedTuple):
    """What the server answered; headers by lower-case name."""

    status: int
    headers: dict[str, str]
    body: bytes

    def xml(self) -> ElementTree.Element:
        """Return the body's root."""
        return ElementTree.fromstring(self.body)

    def properties(self) -> dict[str, dict[str, ElementTree.Element]]:
        """Return, by href, what a 207 says with status 200, by Clark name."""
        found: dict[str, dict[str, ElementTree.Element]] = {}
        for response in self.xml().findall("{DAV:}response"):
            own = found.setdefault(response.findtext("{DAV:}href", ""), {})
            for stat in response.findall("{DAV:}propstat"):
                if " 200 " in stat.findtext("{DAV:}status", ""):
                    own.update({each.tag: each for each in stat.iterfind("{DAV:}prop/*")})
        return found


class Dav:
    """One person's client. Paths are plain text below the drive's root; `raw` sends a target as it is."""

    def __init__(self, dav_url: str, login: str | None = None, password: str = "", cafile: Path | None = None) -> None:
        parts = urlsplit(dav_url)
        self.host = f"{parts.hostname}:{parts.port}"
        self.prefix = parts.path.rstrip("/")
        self.origin = f"{parts.scheme}://{self.host}"
        self._tls = ssl.create_default_context(cafile=str(cafile)) if cafile else None
        self._authorization = b64encode(f"{login}:{password}".encode()).decode() if login else None
        self._connection: http.client.HTTPConnection | None = None

    def href(self, path: str) -> str:
        """Return the path as it stands in a URL."""
        return self.prefix + quote(path, safe="/")

    def raw(self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Send one request and return the reply; the connection is kept for the next."""
        sent = dict(headers or {})
        if self._authorization and "Authorization" not in sent:
            sent["Authorization"] = f"Basic {self._authorization}"
        if self._connection is None:
            self._connection = (
                http.client.HTTPSConnection(self.host, timeout=60, context=self._tls)
                if self._tls
                else http.client.HTTPConnection(self.host, timeout=60)
            )
        try:
            self._connection.request(method, target, body=body, headers=sent)
            answer = self._connection.getresponse()
            content = answer.read()
        except BaseException:
            self.close()
            raise
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, content)

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send one request; headers as `If_None_Match="*"`."""
        return self.raw(method, self.href(path), body, {name.replace("_", "-"): text for name, text in headers.items()})

    def put(self, path: str, body: Any, **headers: str) -> Reply:
        """PUT."""
        return self.request("PUT", path, body, **headers)

    def get(self, path: str, **headers: str) -> Reply:
        """GET."""
        return self.request("GET", path, **headers)

    def propfind(self, path: str, body: str = "", depth: str = "0", **headers: str) -> Reply:
        """PROPFIND."""
        return self.request("PROPFIND", path, body.encode() or None, Depth=depth, **headers)

    def proppatch(self, path: str, inner: str, **headers: str) -> Reply:
        """PROPPATCH with what stands between the tags of a propertyupdate, `DAV:` having the prefix D."""
        body = f'<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:">{inner}</D:propertyupdate>'
        return self.request("PROPPATCH", path, body.encode(), **headers)

    def lock(self, path: str, *, shared: bool = False, owner: str = "", **headers: str) -> Reply:
        """LOCK."""
        body = (
            '<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope>'
            f"<D:{'shared' if shared else 'exclusive'}/></D:lockscope><D:locktype><D:write/></D:locktype>"
            f"{f'<D:owner>{owner}</D:owner>' if owner else ''}</D:lockinfo>"
        )
        return self.request("LOCK", path, body.encode(), **headers)

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class Served:
    """A server that runs, and the world behind it."""

    world: World
    process: subprocess.Popen[bytes]
    http_url: str
    dav_url: str
    fingerprint: str | None
    certificate: Path | None
    sftp_url: str = ""
    _clients: list[Dav] = field(default_factory=list)
    #: Who must still be there when the server is stopped.
    _stay: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._stay = set(self.workers())

    def dav(self, login: str | None = None, *, password: str | None = None) -> Dav:
        """Return a fresh client of a person, or of nobody."""
        secret = self.world.passwords.get(login or "", "") if password is None else password
        made = Dav(self.dav_url, login, secret, self.certificate)
        self._clients.append(made)
        return made

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(each) for each in children.split()]

    def loses(self, *workers: int) -> None:
        """Take it that these will end before the server does: the test sees to that."""
        self._stay.difference_update(workers)

    def kill(self, *workers: int) -> None:
        """Kill these."""
        self.loses(*workers)
        for worker in workers:
            os.kill(worker, signal.SIGKILL)

    def stop(self) -> int:
        """Stop the server as systemd would; return its exit code. A worker that died meanwhile fails the test: its
        clients lost their connections, and where another took its place nothing else may show.
        """
        for client in self._clients:
            client.close()
        lost = self._stay - set(self.workers()) if self.process.poll() is None else set()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        assert not lost, "a worker died"
        return code


def populate(world: World) -> None:
    """Add the people and the space that this module's docstring tells of."""
    world.person("anna", "Byrån AB")
    world.person("vera", "Kund AB")
    world.person("ulla", "Kund AB")
    world.person("olle", "Kund AB")
    world.person("nils", "Annan AB")
    world.space(SPACE, "Kund AB")
    world.grant("anna", SPACE, Role.EDITOR, history=True)
    world.grant("olle", SPACE, Role.EDITOR)
    world.grant("vera", SPACE, Role.VIEWER)
    world.grant("ulla", SPACE, Role.UPLOADER)


def space_path(login: str) -> str:
    """Return where a person sees the space: the supplier's own people see whose it is."""
    return f"/Kund AB – {SPACE}" if login == "anna" else f"/{SPACE}"


def start(folder: Path, world: World, *, modules: Sequence[str] = (), **overrides: Any) -> Served:
    """Start a server over a world that stands in `folder`. Overrides are settings, `**{"http.workers": 1}`.

    `modules` are folders in which Python looks for modules first.
    """
    standard = {
        "http.port": 0,
        "http.workers": 2,
        "sftp.enabled": False,
        "sftp.port": 0,
        "process.drain_seconds": 5,
        "process.log_level": "warning",
    }
    settings = settings_for(folder, **{**standard, **overrides})
    if settings.sftp.enabled:
        HostKeys(folder, world.installation.keyring.installation().general).make_missing()
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
        env={**os.environ, "PYTHONPATH": os.pathsep.join((*modules, str(Path(__file__).resolve().parent.parent)))},
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps({"folder": str(folder), "settings": settings_to_plain(settings)}).encode() + b"\n")
    process.stdin.flush()
    began = time.monotonic()
    line = process.stdout.readline()
    if not line:
        process.stdin.close()
        process.stdout.close()
        raise AssertionError(f"the server ended with {process.wait(20)} after {time.monotonic() - began:.1f} s")
    http_url, dav_url, fingerprint, sftp_url = json.loads(line)
    certificate = folder / "tls" / "self-signed.pem" if fingerprint else None
    return Served(world, process, http_url, dav_url, fingerprint, certificate, sftp_url)


@contextmanager
def serving(folder: Path, **overrides: Any) -> Iterator[Served]:
    """Make an installation in `folder` with people and a space, and serve it."""
    where = {name: value for name, value in overrides.items() if name.startswith("installation.")}
    world = World.create(folder, **where)
    populate(world)
    server = start(folder, world, **overrides)
    try:
        yield server
    finally:
        server.stop()
        world.installation.close()


def wait_for_read(world: World, name: str, space: str, seconds: float = 20.0) -> set[str]:
    """Wait until the log tells that a document was read; return the names of all in its folder that were."""
    until = time.monotonic() + seconds
    while True:
        audit = world.installation.audit
        with world.installation.database.read() as connection:
            entries = list(audit.entries(connection, audit.find(connection, world.spaces[space].id)))
        paths = [entry.personal["path"].value or "" for entry in entries if entry.event["kind"] == "read"]
        found = {path.rpartition("/") for path in paths}
        if folders := [folder for folder, _, each in found if each == name]:
            return {each for folder, _, each in found if folder == folders[-1]}
        assert time.monotonic() < until, f"the log told of no reading of {name}"
        time.sleep(0.1)
