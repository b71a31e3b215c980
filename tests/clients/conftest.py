"""Real clients at the running server. Each test has a computer of its own, and looks on as a second client too."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote

import pytest

from providers.paths import parse
from tests.certificates import issue
from tests.serving import Dav, Served, serving, space_path

SECONDS_MAX = 60
_numbers = itertools.count()


@dataclass
class Desk:
    """A computer with an empty home, an empty folder on the server, and a second client that looks into it."""

    folder: Path
    server: Served
    place: str
    second: Dav

    @property
    def url(self) -> str:
        """The folder's URL, which ends in a slash."""
        return f"{self.second.origin}{self.second.href(self.place)}/"

    @property
    def password(self) -> str:
        """The device password of `anna`."""
        return self.server.world.passwords["anna"]

    def environ(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the variables that programs get: nothing of this machine's account is among them."""
        home = self.folder / "home"
        kept = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
        kept["PATH"] = f"{kept.get('PATH', '')}:/usr/sbin:/sbin"
        rooms = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "DATA", "CACHE", "STATE")}
        (self.folder / "run").mkdir(mode=0o700, exist_ok=True)
        home.mkdir(exist_ok=True)
        runtime = {"XDG_RUNTIME_DIR": str(self.folder / "run"), "TMPDIR": str(home)}
        return {**kept, **rooms, **runtime, "HOME": str(home), "LC_ALL": "C.UTF-8", **(extra or {})}

    def run(
        self,
        *arguments: str | Path,
        given: str = "",
        code: int = 0,
        seconds: int = SECONDS_MAX,
        environ: Mapping[str, str] | None = None,
    ) -> str:
        """Run a program in the desk's folder; return what it wrote. Fails where its exit code is not `code`."""
        done = subprocess.run(
            list(map(str, arguments)),
            input=given,
            cwd=self.folder,
            env=self.environ(environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == code, f"{arguments[0]} ended with {done.returncode}:\n{done.stdout[-4000:]}"
        return done.stdout

    def content(self, name: str) -> bytes:
        """Return what the document holds, as the second client gets it."""
        got = self.second.get(f"{self.place}/{name}")
        assert got.status == 200, name
        return got.body

    def modified(self, name: str) -> int:
        """Return the document's time, in whole seconds since 1970."""
        head = self.second.request("HEAD", f"{self.place}/{name}")
        return int(parsedate_to_datetime(head.headers["last-modified"]).timestamp())

    def versions(self, name: str) -> int:
        """Return how many versions the document has."""
        return len(self.server.world.drive("anna").versions(parse(f"{self.place}/{name}")))

    def names(self, below: str = "") -> set[str]:
        """Return the names that stand in the folder."""
        where = f"{self.place}/{below}".rstrip("/")
        seen = self.second.propfind(where, depth="1")
        assert seen.status == 207, where
        parent = parse(where)
        paths = [parse(_decoded(href)) for href in seen.properties() if href.startswith("/dav/")]
        return {path.segments[-1] for path in paths if path != parent}


def _decoded(href: str) -> str:
    return unquote(href.removeprefix("/dav")).rstrip("/") or "/"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two workers over plain HTTP."""
    with serving(tmp_path_factory.mktemp("clients") / "data") as found:
        yield found


@pytest.fixture(scope="session")
def secure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two workers over TLS, with a certificate from a throw-away authority."""
    folder = tmp_path_factory.mktemp("secure")
    issued = issue(folder / "tls")
    files = {"http.tls_certificate_file": issued.chain, "http.tls_key_file": issued.key}
    with serving(folder / "data", **files) as found:
        found.certificate = issued.authority
        yield found


def desk_at(server: Served, folder: Path, name: str) -> Desk:
    """Return a desk whose folder on the server is made, and named after the test."""
    place = f"{space_path('anna')}/{re.sub(r'[^a-z0-9]+', '-', name.lower())[:60]}-{next(_numbers)}"
    second = server.dav("anna")
    assert second.request("MKCOL", place).status == 201
    return Desk(folder, server, place, second)


@pytest.fixture
def desk(server: Served, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A desk at the server over plain HTTP."""
    made = desk_at(server, tmp_path, request.node.name)
    yield made
    made.second.close()


@pytest.fixture
def secure_desk(secure_server: Served, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A desk at the server over TLS."""
    made = desk_at(secure_server, tmp_path, request.node.name)
    yield made
    made.second.close()
