"""The head of a request (RFC 9112), read strictly: what two readers could understand differently is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import unquote_to_bytes

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z")
#: Field names are tokens too, but an underscore would become the same variable as a hyphen.
_FIELD_NAME = re.compile(rb"[!#$%&'*+.^`|~0-9A-Za-z-]{1,128}\Z")
_FIELD_VALUE_REFUSED = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_TARGET = re.compile(rb"[\x21\x22\x24-\x7e\x80-\xff]+\Z")
_REQUEST_LINE = re.compile(rb"(%s) (%s) HTTP/1\.([01])\Z" % (TOKEN.pattern[:-2], _TARGET.pattern[:-2]))
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)\Z", re.DOTALL)
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~-]{1,255})(?::[0-9]{0,5})?\Z")
_LENGTH = re.compile(r"[0-9]{1,18}\Z")
_BARE_LF = re.compile(rb"(?<!\r)\n")
#: What may stand once only. `Content-Length: 5, 5` is refused by its digits.
_ONCE = frozenset({"HTTP_HOST", "HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_AUTHORIZATION"})

HEAD_END = b"\r\n\r\n"
#: Longer field lines are read anew each time: an idle connection shall hold little.
REMEMBERED_BYTES_MAX = 4096
#: So are longer paths: whoever asks for thousands of them shall find no memory to fill.
REMEMBERED_PATH_BYTES_MAX = 512


class Refused(Exception):
    """A request that is answered by the front itself, after which the connection ends. `status`: "400 Bad Request"."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Fields:
    """A head's field lines and what they decide. `values` are named as WSGI names them; nobody changes them.

    `raw` are the lines as they came, None if they are too many to be remembered. `length` is None where the body comes
    in chunks; `host_fits` is whether a Host stands there that may.
    """

    raw: bytes | None
    values: dict[str, str]
    host_fits: bool
    length: int | None
    expects_continue: bool
    keeps_alive: bool


@dataclass(slots=True)
class Head:
    """A request's head. `path` is decoded once."""

    method: str
    target: bytes
    path: bytes
    query: bytes
    is_http_1_1: bool
    fields: Fields


_variables: dict[bytes, str] = {}


def parse_head(raw: bytes, *, fields_max: int, before: Head | None = None) -> Head:
    """Return the head that `raw` (without the empty line at its end) spells. Raises Refused.

    `before` is the head before it on the same connection: clients repeat their fields from request to request, and
    what was read of them once holds.
    """
    line, _, block = raw.partition(b"\r\n")
    method, target, is_http_1_1 = _request_line(line)
    if before is not None and before.fields.raw == block and before.is_http_1_1 is is_http_1_1:
        fields = before.fields
    else:
        fields = _fields(block, fields_max, is_http_1_1)
    target, authority = _origin_form(method, target)
    if authority is not None:
        host = fields.values.get("HTTP_HOST")
        if host is None and is_http_1_1:
            raise Refused("400 Bad Request")
        if host is not None and host.lower().encode("latin-1") != authority.lower():
            raise Refused("400 Bad Request")  # a proxy may have gone by the one, and we by the other
        fields = replace(fields, raw=None, values={**fields.values, "HTTP_HOST": authority.decode("latin-1")})
    elif not fields.host_fits:
        raise Refused("400 Bad Request")
    path, _, query = target.partition(b"?")
    if b"%" in path:
        if _BAD_ESCAPE.search(path):
            raise Refused("400 Bad Request")
        path = _unescaped(path) if len(path) <= REMEMBERED_PATH_BYTES_MAX else unquote_to_bytes(path)
    return Head(method.decode("ascii"), target, path, query, is_http_1_1, fields)


_unescaped = lru_cache(maxsize=4096)(unquote_to_bytes)


def refuse_early(raw: bytes | bytearray) -> None:
    """Raise Refused if what has come of a head can never become one, so that nobody waits for its end."""
    if _BARE_LF.search(raw) or b"\0" in raw:
        raise Refused("400 Bad Request")


def check_trailer(line: bytes) -> None:
    """Raise Refused unless `line`, which nobody reads, is at least a field that may stand behind a body."""
    if not _values([line]).keys().isdisjoint(_ONCE):
        raise Refused("400 Bad Request")


def _request_line(line: bytes) -> tuple[bytes, bytes, bool]:
    found = _REQUEST_LINE.match(line)
    if found is not None:
        return found[1], found[2], found[3] == b"1"
    raise Refused("400 Bad Request")  # 505 for other versions would be right too, but nothing a client sends is a 5xx


def _fields(raw: bytes, fields_max: int, is_http_1_1: bool) -> Fields:
    lines = raw.split(b"\r\n") if raw else []
    if len(lines) > fields_max:
        raise Refused("431 Request Header Fields Too Large")
    values = _values(lines)
    host = values.get("HTTP_HOST")
    return Fields(
        raw=raw if len(raw) <= REMEMBERED_BYTES_MAX else None,
        values=values,
        host_fits=not is_http_1_1 if host is None else HOST.match(host.encode("latin-1")) is not None,
        length=_length(values, is_http_1_1),
        expects_continue=_expects_continue(values, is_http_1_1),
        keeps_alive=_keeps_alive(values, is_http_1_1),
    )


def _values(lines: list[bytes]) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        variable = _variables.get(name) or _variable(name)
        if not colon or _FIELD_VALUE_REFUSED.search(value):
            raise Refused("400 Bad Request")
        text = value.strip(b" \t").decode("latin-1")
        if variable in values:
            if variable in _ONCE:
                raise Refused("400 Bad Request")
            text = f"{values[variable]}, {text}"
        values[variable] = text
    return values


def _variable(name: bytes) -> str:
    if not _FIELD_NAME.match(name):
        raise Refused("400 Bad Request")
    variable = "HTTP_" + name.decode("ascii").upper().replace("-", "_")
    if len(_variables) < 2000:
        _variables[name] = variable
    return variable


def _origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes | None]:
    """Return path and query, and the authority if the target named one (RFC 9112 3.2)."""
    if target[:1] == b"/":
        return target, None
    if target == b"*" and method == b"OPTIONS":
        return target, None
    if method == b"CONNECT":
        raise Refused("405 Method Not Allowed")
    absolute = _ABSOLUTE.match(target)
    if absolute is None or not HOST.match(absolute[1]):
        raise Refused("400 Bad Request")
    rest = absolute[2]
    return (rest if rest[:1] == b"/" else b"/" + rest), absolute[1]


def _length(fields: dict[str, str], is_http_1_1: bool) -> int | None:
    length = fields.get("HTTP_CONTENT_LENGTH")
    coding = fields.get("HTTP_TRANSFER_ENCODING")
    if coding is None:
        if length is None:
            return 0
        if not _LENGTH.match(length):
            raise Refused("400 Bad Request")
        return int(length)
    if length is not None or not is_http_1_1:
        raise Refused("400 Bad Request")
    if coding.lower() != "chunked":
        raise Refused("400 Bad Request")  # not 501, likewise
    return None


def _expects_continue(fields: dict[str, str], is_http_1_1: bool) -> bool:
    expectation = fields.get("HTTP_EXPECT")
    if expectation is None or not is_http_1_1:
        return False
    if expectation.lower() != "100-continue":
        raise Refused("417 Expectation Failed")
    return True


def _keeps_alive(fields: dict[str, str], is_http_1_1: bool) -> bool:
    options = fields.get("HTTP_CONNECTION", "").lower()
    if is_http_1_1:
        return "close" not in options
    return "keep-alive" in options
