"""What litmus 0.18 asks beyond the 0.13 that Debian has, as traces of our own; and its storm of locks, from one client
and from twenty. Its suite `protected` is not replayed.
"""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.seeds import is_short
from tests.serving import Dav
from tests.webdav.clients.traces import LOCK, Step, asks, replay, sets
from tests.webdav.conftest import Home

#: How many threads `lockbomb` has.
THREADS = 20
MODIFIED = "{DAV:}getlastmodified"
REMOVES = (
    '<D:propertyupdate xmlns:D="DAV:"><D:remove><D:prop><x:p xmlns:x="urn:x"/></D:prop></D:remove></D:propertyupdate>'
)

TRACES: dict[str, list[Step]] = {
    "copy_shallow": [
        Step("MKCOL", "d", 201),
        Step("PUT", "d/a", 201, body=b"x"),
        Step("MKCOL", "e", 201),
        Step("DELETE", "e", 204),
        Step("COPY", "d/", 201, {"Destination": "{base}/e/", "Depth": "0"}),
        Step("PROPFIND", "e/", 207, {"Depth": "1"}, lacks="/e/a"),
        Step("DELETE", "e/a", 404),
    ],
    "put_no_parent": [Step("PUT", "none/a", 409, body=b"x"), Step("MKCOL", "none/d", 409)],
    "put_location": [
        Step("PUT", "a b", 201, body=b"x", told={"location": "{path}/a%20b"}),
        Step("PUT", "a b", 204, body=b"y", told={"location": ""}),
        Step("MKCOL", "d", 201, told={"location": "{path}/d/"}),
        Step("COPY", "d", 201, {"Destination": "{base}/e"}, told={"location": "{path}/e/"}),
        Step("MOVE", "a b", 201, {"Destination": "{base}/c"}, told={"location": "{path}/c"}),
    ],
    "copy_abspath": [
        Step("PUT", "a", 201, body=b"x"),
        Step("COPY", "a", 201, {"Destination": "{path}/b", "Overwrite": "F"}),
        Step("MOVE", "b", 201, {"Destination": "{path}/c%20d"}),
        Step("GET", "c d", 200, holds="x"),
    ],
    "propgetlastmod": [
        Step("PUT", "a", 201, body=b"x", keep={"date": "last-modified"}),
        Step("PROPFIND", "a", 207, {"Depth": "0"}, asks(MODIFIED), shows={MODIFIED: "{date}"}),
        Step("HEAD", "a", 200, told={"last-modified": "{date}"}),
    ],
    "propdeletes twice": [
        Step("PUT", "a", 201, body=b"x"),
        Step("PROPPATCH", "a", 207, body=sets({"{urn:x}p": "1"}), holds="200 OK"),
        Step("PROPPATCH", "a", 207, body=REMOVES, holds="200 OK", lacks="HTTP/1.1 4"),
        Step("PROPPATCH", "a", 207, body=REMOVES, holds="200 OK", lacks="HTTP/1.1 4"),
        Step("PROPFIND", "a", 207, {"Depth": "0"}, asks("{urn:x}p"), holds="404"),
    ],
    "propfind_returns_wellformed": [
        Step("PROPFIND", "", 207, {"Depth": "0"}, told={"content-type": "(application|text)/xml.*"}),
    ],
}


@pytest.mark.parametrize("name", TRACES)
def test_litmus_018(home: Home, name: str) -> None:
    replay(home, TRACES[name])


def storm(dav: Dav, path: str, pairs: int) -> set[str]:
    """Lock and unlock a document over one connection, as `lockbomb` does; return the tokens."""
    connection = http.client.HTTPConnection(dav.host, timeout=60)
    headers = {"Authorization": f"Basic {dav._authorization}", "Depth": "0", "Content-Type": "application/xml"}
    tokens = set()
    for _ in range(pairs):
        connection.request("LOCK", dav.href(path), LOCK, headers)
        reply = connection.getresponse()
        reply.read()
        assert reply.status == 200
        token = reply.headers["Lock-Token"]
        connection.request("UNLOCK", dav.href(path), headers={**headers, "Lock-Token": token})
        reply = connection.getresponse()
        reply.read()
        assert reply.status == 204
        tokens.add(token)
    connection.close()
    return tokens


def storms(home: Home, clients: int, pairs: int) -> None:
    """Let clients storm at once, each a document of its own; no lock is left, or given twice."""
    paths = [home / f"a{number}" for number in range(clients)]
    for path in paths:
        home.dav.put(path, b"x")
    with ThreadPoolExecutor(clients) as pool:
        tokens = list(pool.map(lambda path: storm(home.dav, path, pairs), paths))
    assert len(set().union(*tokens)) == clients * pairs
    for path in paths:
        (found,) = home.dav.propfind(path).properties().values()
        assert len(found["{DAV:}lockdiscovery"]) == 0


@pytest.mark.parametrize(("clients", "pairs"), [(1, 300), (THREADS, 20)])
def test_a_few_hundred_locks(home: Home, clients: int, pairs: int) -> None:
    storms(home, clients, pairs)


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_twenty_thousand_locks_on_one_document(home: Home) -> None:
    storms(home, 1, 3_000 if is_short() else 20_000)
