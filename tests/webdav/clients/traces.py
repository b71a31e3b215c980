"""What real clients send, step by step, and what is demanded of each answer.

A trace is a list of steps. Names lie below the test's own folder; one that begins with `/` lies at the drive's root.
Texts of headers and bodies may hold `{base}` (the URL of the folder), `{path}` (its path alone) and whatever an earlier
step has kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from tests.serving import Reply
from tests.webdav.conftest import Home

#: Some moments, as headers and Windows write them.
FIRST, SECOND, THIRD = (
    "Fri, 14 Jul 2017 02:40:00 GMT",
    "Fri, 14 Jul 2017 02:41:00 GMT",
    "Fri, 14 Jul 2017 02:42:00 GMT",
)
WIN32 = "{urn:schemas-microsoft-com:}Win32"
NO_TOKEN = "<urn:uuid:00000000-0000-4000-8000-000000000000>"


class Step(NamedTuple):
    """One request, and what its answer must be.

    Args:
        headers: of the request, with `_` for `-`.
        body: text, bytes, or, to be sent in chunks, a list of them.
        told: a regular expression for each response header.
        shows: the text of each property, by Clark name, in the one response of a 207; None: it is not there.
        keep: response headers to remember, by the name to remember them by.
        lacks, holds: what must not, and must, stand in the body.
    """

    method: str
    name: str
    status: int
    headers: Mapping[str, str] = {}
    body: str | bytes | Sequence[bytes] = b""
    told: Mapping[str, str] = {}
    shows: Mapping[str, str | None] = {}
    keep: Mapping[str, str] = {}
    lacks: str = ""
    holds: str = ""


def replay(home: Home, steps: Sequence[Step], **known: str) -> dict[str, str]:
    """Send the steps in order; return what was kept. Fails at the first answer that is not as demanded."""
    kept = {"base": home.dav.origin + home.dav.href(home.path), "path": home.dav.href(home.path), **known}
    for number, step in enumerate(steps):
        reply = send(home, step, kept)
        where = (number, step.method, step.name, reply.status, reply.headers, reply.body[:600])
        assert reply.status == step.status, where
        for name, pattern in step.told.items():
            assert re.fullmatch(pattern.format_map(kept), reply.headers.get(name, "")), (name, pattern, where)
        assert not step.lacks or step.lacks.encode() not in reply.body, where
        assert step.holds.format_map(kept).encode() in reply.body, where
        if step.shows:
            (found,) = reply.properties().values()
            texts = {name: found[name].text if name in found else None for name in step.shows}
            assert texts == {name: text and text.format_map(kept) for name, text in step.shows.items()}, where
        kept.update({name: reply.headers[header] for name, header in step.keep.items()})
    return kept


def send(home: Home, step: Step, kept: Mapping[str, str]) -> Reply:
    """Send one step."""
    headers = {name.replace("_", "-"): text.format_map(kept) for name, text in step.headers.items()}
    body: Any = step.body
    if isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes):
        body = _pieces(body)
    path = step.name if step.name.startswith("/") else f"{home.path}/{step.name}" if step.name else home.path
    return home.dav.raw(step.method, home.dav.href(path), body if body != b"" else None, headers)


def _pieces(pieces: Sequence[bytes]) -> Iterator[bytes]:
    yield from pieces


def asks(*names: str) -> str:
    """Return the body of a PROPFIND for properties by Clark name."""
    return f'<propfind xmlns="DAV:"><prop>{"".join(map(_element, names))}</prop></propfind>'


def sets(values: Mapping[str, str]) -> str:
    """Return the body of a PROPPATCH that sets properties by Clark name."""
    inner = "".join(_element(name, text) for name, text in values.items())
    return f'<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>{inner}</D:prop></D:set></D:propertyupdate>'


def _element(clark: str, text: str = "") -> str:
    namespace, _, local = clark[1:].rpartition("}")
    return f'<z:{local} xmlns:z="{namespace}">{escape(text)}</z:{local}>'


LOCK = (
    '<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    "<D:locktype><D:write/></D:locktype><D:owner><D:href>somebody</D:href></D:owner></D:lockinfo>"
)
EXPLORER_SETS = sets(
    {
        f"{WIN32}CreationTime": FIRST,
        f"{WIN32}LastAccessTime": SECOND,
        f"{WIN32}LastModifiedTime": THIRD,
        f"{WIN32}FileAttributes": "00000020",
    }
)
EXPLORER_READS = {
    f"{WIN32}CreationTime": FIRST,
    f"{WIN32}LastAccessTime": SECOND,
    f"{WIN32}LastModifiedTime": THIRD,
    f"{WIN32}FileAttributes": "00000020",
    "{DAV:}getlastmodified": THIRD,
}


def explorer_copies(name: str, content: bytes, token: str = "If") -> list[Step]:
    """Return how Explorer copies a file in (wsgidav#112). `token` is the header that names the lock."""
    given = {"Lock_Token": "{token}"} if token == "Lock-Token" else {"If": "({token})"}
    return [
        Step("PROPFIND", name, 404, {"Depth": "0"}),
        Step("PUT", name, 201),
        Step(
            "LOCK",
            name,
            200,
            {"Timeout": "Second-3600"},
            LOCK,
            told={"lock-token": "<.+>"},
            keep={"token": "lock-token"},
        ),
        Step("PROPPATCH", name, 207, given, EXPLORER_SETS, lacks="HTTP/1.1 4", holds="HTTP/1.1 200 OK"),
        Step("HEAD", name, 200),
        Step("PUT", name, 204, given, content),
        Step("PROPPATCH", name, 207, given, EXPLORER_SETS, lacks="HTTP/1.1 4", holds="HTTP/1.1 200 OK"),
        Step("UNLOCK", name, 204, {"Lock_Token": "{token}"}),
    ]
