"""A server for all tests of this folder, and for each test a folder of its own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import pytest

from tests.http.fronts import Wire
from tests.serving import Dav, Served, serving, space_path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two workers over plain HTTP."""
    with serving(tmp_path_factory.mktemp("served") / "data") as found:
        yield found


_numbers = itertools.count()


def wire_to(server: Served) -> Wire:
    """Return a connection to a server, on which nothing has been sent."""
    host, _, port = server.dav_url.split("/")[2].partition(":")
    return Wire((host, int(port)))


def head_of(server: Served, method: str, path: str, *fields: str) -> bytes:
    """Return the head of a request of the editor's, with further header fields."""
    dav = server.dav("anna")
    lines = [f"{method} {dav.href(path)} HTTP/1.1", "Host: x", f"Authorization: Basic {dav._authorization}", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


class Home:
    """A folder of one test's own, as the editor's client sees it."""

    def __init__(self, dav: Dav, path: str) -> None:
        self.dav = dav
        self.path = path

    def __truediv__(self, name: str) -> str:
        return f"{self.path}/{name}"


@pytest.fixture
def anna(server: Served) -> Iterator[Dav]:
    """The editor's client."""
    made = server.dav("anna")
    yield made
    made.close()


@pytest.fixture
def client(server: Served) -> Iterator[Callable[[str | None], Dav]]:
    """A function that returns a client of a person, or of nobody."""
    made: list[Dav] = []

    def make(login: str | None = None) -> Dav:
        made.append(server.dav(login))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def home(anna: Dav, request: pytest.FixtureRequest) -> Home:
    """An empty folder."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60] + f"-{next(_numbers)}"
    path = f"{space_path('anna')}/{name}"
    assert anna.request("MKCOL", path).status == 201
    return Home(anna, path)
