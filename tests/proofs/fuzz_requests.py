"""Requests as nobody should send them: each part drawn from what is plausible, and then perhaps broken."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from server.webdav.app import METHODS
from tests.webdav.test_never_5xx import BODIES, HEADERS

#: How often a part that is whole is broken, and how often the framing itself is.
BROKEN, MISFRAMED = 0.1, 0.05
_METHODS = [*sorted(METHODS) * 3, "PUT", "PUT", "GET", "PROPFIND", "OPTIONS", "POST", "PATCH", "REPORT", "TRACE"]
_ODD_METHODS = ["get", "CONNECT", "PROPFINDX", "M" * 64, "M" * 65, "G\tET", "", "PRI", "BREW", "\xe9", "(", "GET\0"]
_NAMES = ["doc", "other.txt", "dir", "dir/", "dir/inner", "none", "none/below", "doc/below", "", "åäö", "a b", "._doc"]
_ODD_NAMES = [
    "%E9", "%00", "%2f", "a%2Fb", "..", "%2e%2e/%2e%2e/etc/passwd", ".", "a//b", "/", "x" * 256, "y/" * 120 + "z",
    "%zz", "%", "a\\b", "%0d%0aSet-Cookie: x", "a;b=c", "?x=y", "#f", "\xff\xfe", "%EF%BF%BE", "%ED%A0%80", "CON", "a.",
    "a ", "~x", "%F0%9F%98%80", "e%CC%81", "%C3%A9", ".history", ".history/2020-01-01", ".history/9999-99-99T",
    "%7B%7B7*7%7D%7D", "'--", "%252e%252e", "desktop.ini", "Thumbs.db", ".DS_Store", "a:b", "a*b|c", "%1b[2J", "%C2%85",
    "%E2%80%AE", "%E2%81%A0",
]  # fmt: skip
_TAGS = ["propfind", "prop", "allprop", "propname", "include", "getetag", "getlastmodified", "lockinfo", "lockscope",
         "exclusive", "shared", "locktype", "write", "owner", "propertyupdate", "set", "remove", "displayname", "href",
         "Win32LastModifiedTime", "resourcetype", "lockdiscovery", "quota-used-bytes", "x"]  # fmt: skip
_NAMESPACES = ["DAV:", "urn:schemas-microsoft-com:", "http://owncloud.org/ns", "urn:x", "", "urn:%s{}&amp;"]
_TEXTS = ["", "x", "Sun, 06 Nov 1994 08:49:37 GMT", "99999999999999999999", "-1", "&#0;", "&e;", "&amp;",
          "<![CDATA[x]]>", "\ud7ff", "]]>", "%s%d{0}", "å" * 300, "&#x10FFFF;", "&#xD800;", "<!-- - -->",
          "<?php x?>"]  # fmt: skip
_BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 10}">' for n in range(8)
    ) + "]><x>&i;</x>"
)  # fmt: skip


class Made(NamedTuple):
    """One request. `is_misframed`: where it ends is unclear; the server may wait for more, or see some left over."""

    method: str
    raw: bytes
    is_misframed: bool


def request(chance: random.Random, homes: Sequence[str], authorization: str | None) -> Made:
    """Return one request, by somebody who signs in with this header, to somewhere below one of these paths."""
    method = chance.choice(_METHODS)
    target = _target(chance, chance.choice(homes))
    headers = _headers(chance, method, homes)
    if authorization is not None:
        headers.append(("Authorization", authorization))
    body, framing = _framed(chance, _body(chance, method))
    head = [*headers, *framing]
    if chance.random() < BROKEN:
        method = chance.choice(_ODD_METHODS)
    is_misframed = chance.random() < MISFRAMED
    if is_misframed:
        head += chance.choice(_MISFRAMINGS)
    chance.shuffle(head)
    lines = [f"{method} {target} HTTP/1.1", "Host: files.example", *(f"{name}: {value}" for name, value in head)]
    raw = "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body
    if chance.random() < BROKEN / 3:
        raw = _broken(chance, raw)
        return Made(_method_of(raw), raw, is_misframed=True)
    if body and chance.random() < BROKEN / 5:
        return Made(method, raw[: -chance.randint(1, len(body))], is_misframed=True)
    return Made(method, raw, is_misframed)


_MISFRAMINGS: list[list[tuple[str, str]]] = [
    [("Content-Length", "5")],
    [("Content-Length", "+5")],
    [("Content-Length", "99999999999999999999")],
    [("Transfer-Encoding", "chunked")],
    [("Transfer-Encoding", "gzip, chunked")],
    [("Host", "other.example")],
    [("Content_Length", "5")],
    [("X", "b\rc")],
    [("X" * 200, "b")],
    [("X", "b" * 40_000)],
    [("X", "b")] * 120,
    [("Connection", "close, x")],
    [("Expect", "200-ok")],
    [("Upgrade", "h2c"), ("Connection", "Upgrade"), ("HTTP2-Settings", "x")],
    [("X-HTTP-Method-Override", "DELETE")],
]


def _target(chance: random.Random, home: str) -> str:
    name = chance.choice(_ODD_NAMES if chance.random() < 2 * BROKEN else _NAMES)
    target = f"{home}/{name}" if name or chance.random() < 0.5 else home
    target = "".join(each if "\x20" < each < "\x7f" else f"%{byte:02X}" for each in target for byte in each.encode())
    if chance.random() < BROKEN:
        return chance.choice(["*", "/", "/healthz", "/dav", f"http://files.example{target}", f"http://evil{target}",
                              "x", f"{target}?a=b", f"{target}#x", target.replace("%", "%25"), "/dav/" + "é" * 9,
                              target + "/" * 30, "//" + target, target.upper(), "\\" + target])  # fmt: skip
    return target


def _headers(chance: random.Random, method: str, homes: Sequence[str]) -> list[tuple[str, str]]:
    names = chance.sample(sorted(HEADERS.keys() - {"Depth", "Destination"}), chance.choice([0, 0, 0, 1, 1, 3]))
    found = [(name, chance.choice(HEADERS[name])) for name in names]
    if chance.random() < (0.9 if method in ("COPY", "MOVE") else 0.1):
        is_whole = chance.random() < 0.7
        goal = _target(chance, chance.choice(homes)) if is_whole else chance.choice(HEADERS["Destination"])
        found.append(("Destination", goal))
    if chance.random() < (0.9 if method == "PROPFIND" else 0.2):
        found.append(("Depth", chance.choice(["0", "1"] * 4 + HEADERS["Depth"])))
    if chance.random() < BROKEN:
        garbage = (chr(chance.choice([*range(32, 127), *range(160, 256)])) for _ in range(chance.randint(1, 60)))
        found.append((chance.choice(sorted(HEADERS)), "".join(garbage)))
    return found


_OWN_BODIES = {
    "LOCK": [BODIES["lock"], BODIES["lock"].replace(b"shared", b"exclusive"), b""],
    "PROPFIND": [BODIES["propfind"], BODIES["names"], b""],
    "PROPPATCH": [BODIES["patch"], BODIES["time"]],
}


def _body(chance: random.Random, method: str) -> bytes:
    if method == "PUT":
        return chance.randbytes(chance.choice([0, 1, 100, 5000, 70_000]))
    if chance.random() < 0.6:
        return chance.choice(_OWN_BODIES.get(method, [b""]))
    drawn: list[Callable[[], bytes]] = [
        lambda: chance.choice(list(BODIES.values())),
        lambda: _tree(chance),
        lambda: _broken(chance, chance.choice(list(BODIES.values()))),
        lambda: _broken(chance, _tree(chance)),
        lambda: chance.choice(_bodies_beyond_limits()),
    ]
    return chance.choices(drawn, weights=[2, 4, 2, 2, 1])[0]()


def _bodies_beyond_limits() -> list[bytes]:
    deep = "<a>" * 500 + "</a>" * 500
    return [each.encode() for each in (_BOMB, deep, "<a>" + "<b/>" * 5000 + "</a>", "<a " + "x" * 70_000 + "='1'/>",
            '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "<a>" + "x" * 70_000 + "</a>")]  # fmt: skip


def _tree(chance: random.Random) -> bytes:
    """Return XML with the words of WebDAV in an order of its own."""

    def element(levels: int) -> str:
        tag, space = chance.choice(_TAGS), chance.choice(_NAMESPACES)
        children = "".join(element(levels - 1) for _ in range(chance.randrange(4))) if levels else ""
        return f'<p:{tag} xmlns:p="{space}">{chance.choice(_TEXTS)}{children}</p:{tag}>'

    root = chance.choice(["propfind", "propertyupdate", "lockinfo", "x"])
    inner = "".join(element(chance.randrange(4)) for _ in range(chance.randrange(1, 5)))
    act = chance.choice(["prop", "set", "remove"])
    wrapped = (
        f"<D:{act}><D:prop>{inner}</D:prop></D:{act}>" if root == "propertyupdate" else f"<D:prop>{inner}</D:prop>"
    )
    prologue = chance.choice(["", '<?xml version="1.0" encoding="utf-8"?>', '<?xml version="1.0" encoding="utf-16"?>'])
    return f'{prologue}<D:{root} xmlns:D="DAV:">{wrapped}</D:{root}>'.encode("utf-8", "surrogatepass")


def _framed(chance: random.Random, body: bytes) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the body as it goes over the wire, and the headers that say so."""
    if body and chance.random() < 0.25:
        at = chance.randint(1, len(body))
        pieces = [piece for piece in (body[:at], body[at:]) if piece]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        trailer = chance.choice([b"", b"", b"X-Trailer: x\r\n"])
        return chunks + b"0\r\n" + trailer + b"\r\n", [("Transfer-Encoding", "chunked")]
    framing = [("Content-Length", str(len(body)))] if body or chance.random() < 0.5 else []
    if body and chance.random() < 0.1:
        framing.append(("Expect", "100-continue"))
    return body, framing


def _broken(chance: random.Random, raw: bytes) -> bytes:
    """Return the bytes with some of them changed, left out, or doubled."""
    found = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        if not found:
            break
        at = chance.randrange(len(found))
        match chance.randrange(4):
            case 0:
                found[at] = chance.randrange(256)
            case 1:
                del found[at : at + chance.randint(1, 8)]
            case 2:
                found[at:at] = found[at : at + chance.randint(1, 40)]
            case _:
                found[at:at] = chance.choice(
                    [b"\r\n", b"\n", b"\0", b" ", b"\t", b":", b"<", b"&", b"%", b"\xff", b"\r"]
                )
    return bytes(found)


def _method_of(raw: bytes) -> str:
    return raw.lstrip(b"\r\n").partition(b" ")[0].decode("latin-1")
