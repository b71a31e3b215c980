"""Nothing that a client can send makes a 5xx, a redirect, or a connection that just ends."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from server.webdav.app import METHODS
from tests.seeds import seeded
from tests.serving import SPACE, Dav, Reply, Served, serving, space_path
from tests.webdav.conftest import Home

BODIES = {
    "none": b"",
    "text": b"hello",
    "propfind": b'<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>',
    "names": b'<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>',
    "patch": b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x/></D:prop></D:set></D:propertyupdate>',
    "time": b'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><D:lastmodified>99999999999</D:lastmodified>'
    b"</D:prop></D:set></D:propertyupdate>",
    "lock": b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype>'
    b"</D:lockinfo>",
}
HEADERS: dict[str, list[str]] = {
    "Depth": ["0", "1", "infinity", "-1", "", "0, 1"],
    "Destination": ["/dav/x", "/dav/", "/", "", "http://", "http://[::1", "/dav/%ff", "x" * 5000, "/dav/Nothing/a/b"],
    "Overwrite": ["T", "F", "x", ""],
    "If": ["(<a>)", "(", "()", "</dav/> (<urn:uuid:1>)", "(Not <DAV:no-lock>)", '(["x"])', "<http://[> (<a>)"],
    "If-Match": ["*", '"x"', "", '"', 'W/"x"'],
    "If-None-Match": ["*", '"x"', ",", '"\xe9"'],
    "If-Modified-Since": ["x", "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 99999 08:49:37 GMT", "0"],
    "If-Unmodified-Since": ["x", "Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 01 Jan 0001 00:00:00 GMT"],
    "If-Range": ["x", '"x"'],
    "Range": ["bytes=0-", "bytes=", "bytes=9-1", "bytes=-0", "bytes=99999999999999999999-", "x"],
    "Timeout": ["Second-1", "Infinite", "Second-", "Second-99999999999", "x", ""],
    "Lock-Token": ["<urn:uuid:00000000-0000-4000-8000-000000000000>", "<>", "x", "", "<opaquelocktoken:\xe9>"],
    "X-OC-Mtime": ["1", "1e400", "nan", "inf", "-5", "x"],
    "X-Expected-Entity-Length": ["5", "x", "-1", "99999999999999999999999"],
    "OC-Checksum": ["SHA1:x", "MD5", ":", "\xe9:1"],
    "Content-Type": ["text/xml", "x", "application/x-www-form-urlencoded"],
    "Content-Encoding": ["gzip", "identity", ""],
    "User-Agent": ["Microsoft Office", "\xe9", ""],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of this module's own, for what is done here would be in others' way."""
    with serving(tmp_path_factory.mktemp("wild") / "data") as found:
        yield found


def special_paths(server: Served) -> list[str]:
    """Return the paths that are no plain documents and folders."""
    space = space_path("anna")
    today = datetime.now(UTC).date().isoformat()
    own = f"/~{server.world.spaces[SPACE].id.hex()}"
    past = [f"{space}/.history", f"{space}/.history/{today}", f"{space}/.history/2020-01-01", "/.history/9999-99-99"]
    named = ["/", "/Archive", "/.history", f"/.history/{today}", own, f"{own}/.history", f"/~{'0' * 32}", "/~x"]
    return [*named, *past, space, f"{space}/", "/none", "/none/below"]


def is_fine(method: str, path: str, reply: Reply) -> bool:
    """Tell whether an answer is one that clients understand. GET and HEAD of a folder are sent to its slash by 301."""
    if reply.status == 301:
        return method in ("GET", "HEAD") and not path.endswith("/") and reply.headers["location"].endswith("/")
    return reply.status < 300 or reply.status == 304 or 400 <= reply.status < 500


@pytest.mark.parametrize("seed", seeded([4711], more=5))
def test_random_requests(home: Home, seed: int) -> None:
    chance = random.Random(seed)
    home.dav.put(home / "doc", b"hello")
    home.dav.request("MKCOL", home / "dir")
    home.dav.put(home / "dir/inner", b"hello")
    names = ["doc", "dir", "dir/", "dir/inner", "none", "none/below", "doc/below", ""]
    for step in range(400):
        method = chance.choice(sorted(METHODS))
        path = home / chance.choice(names)
        body = chance.choice(list(BODIES.values()))
        chosen = chance.sample(sorted(HEADERS), chance.randrange(5))
        headers = {name: chance.choice(HEADERS[name]) for name in chosen}
        reply = home.dav.raw(method, home.dav.href(path), body or None, headers)
        assert is_fine(method, path, reply), (step, method, path, body, headers, reply)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_special_places(server: Served, anna: Dav, method: str) -> None:
    if method in ("DELETE", "MOVE"):
        paths = [path for path in special_paths(server) if not path.startswith(space_path("anna")) or ".his" in path]
    else:
        paths = special_paths(server)
    for path in paths:
        for body in BODIES.values():
            for headers in ({"Depth": "0"}, {"Depth": "1", "Destination": "/dav/x/y"}, {"Destination": "/dav/"}):
                reply = anna.raw(method, anna.href(path), body or None, headers)
                assert is_fine(method, path, reply), (path, body, headers, reply)
