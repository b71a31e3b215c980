"""PROPPATCH (RFC 4918 9.2): all changes or none. Always 207 for what stands: else Windows sees damage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from xml.etree.ElementTree import Element

from config.clock import SECOND_US
from config.errors import DatabaseBusy, MellanrumError, StorageFailed
from providers.errors import Forbidden, Locked, PreconditionFailed, QuotaExceeded
from providers.model import Conditions
from server.webdav import live
from server.webdav.dates import read_date
from server.webdav.errors import told
from server.webdav.exchange import Answer, Exchange, xml_answer
from server.webdav.refusals import BadRequest
from server.webdav.sheets import CLOSING, OPENING
from server.webdav.urls import href_of
from server.webdav.xml import DAV, MICROSOFT, empty_element, fragment, language_of, read_xml

_PROTECTED = "<D:error><D:cannot-modify-protected-property/></D:error>"
Change = tuple[str, Element | None, str | None]


def _seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


#: Properties that set the time of modification, and how each writes it: Explorer's, WinSCP's and rclone's.
_TIMES: dict[str, Callable[[str], int | None]] = {
    live.WIN32_MODIFIED: read_date,
    f"{DAV}getlastmodified": read_date,
    f"{DAV}lastmodified": _seconds,
}


def proppatch(exchange: Exchange) -> Answer:
    """Answer 207 with what became of each property."""
    changes = _changes(read_xml(exchange))
    item = exchange.drive.stat(exchange.path)
    href = href_of(exchange.path, is_folder=item.is_folder)
    modified = None
    refused: set[str] = set()
    dead: list[tuple[str, str | None]] = []
    for name, element, language in changes:
        if name in _TIMES:
            seconds = _TIMES[name]((element.text or "").strip()) if element is not None else None
            modified = modified if seconds is None else seconds * SECOND_US
            if seconds is None:
                refused.add(name)
        elif name in live.LIVE:
            refused.add(name)
        else:
            dead.append((name, None if element is None else fragment(element, language)))
    names = list(dict.fromkeys(name for name, _, _ in changes))
    if refused:
        return _failed(href, names, refused, "403 Forbidden", _PROTECTED)
    try:
        conditions = _with_own_tokens(exchange, names)
        exchange.drive.change_properties(exchange.path, dead, modified=modified, conditions=conditions)
    except (Forbidden, Locked, PreconditionFailed, QuotaExceeded, StorageFailed, DatabaseBusy) as error:
        return _refused(exchange, error, href, names)
    return _multistatus(href, _propstat(names, "200 OK"))


def _changes(root: Element | None) -> list[Change]:
    """Return (name, element to set or None to remove, language) in the order of the document. Raises BadRequest."""
    if root is None or root.tag != f"{DAV}propertyupdate":
        raise BadRequest(why="its body is no propertyupdate")
    changes: list[Change] = []
    for act in root:
        if act.tag not in (f"{DAV}set", f"{DAV}remove"):
            continue
        around = language_of(act, language_of(root, None))
        for prop in act.iterfind(f"{DAV}prop"):
            language = language_of(prop, around)
            changes += [(str(each.tag), each if act.tag == f"{DAV}set" else None, language) for each in prop]
    if not changes:
        raise BadRequest(why="its body changes nothing")
    return changes


def _with_own_tokens(exchange: Exchange, names: list[str]) -> Conditions:
    """Explorer sets its own properties without naming the lock it holds; for those alone, holding it is enough."""
    conditions = exchange.conditions
    if not all(name.startswith(MICROSOFT) for name in names):
        return conditions
    own = {lock.token for lock in exchange.drive.locks(exchange.path) if lock.token}
    return replace(conditions, tokens=conditions.tokens | own)


def _refused(exchange: Exchange, error: MellanrumError, href: str, names: list[str]) -> Answer:
    found = told(error, exchange.method)
    condition = found.about(exchange.href)
    return _multistatus(href, _propstat(names, found.status, condition and f"<D:error>{condition}</D:error>"))


def _failed(href: str, names: list[str], refused: set[str], status: str, condition: str) -> Answer:
    others = [name for name in names if name not in refused]
    inner = _propstat([name for name in names if name in refused], status, condition)
    return _multistatus(href, inner + (_propstat(others, "424 Failed Dependency") if others else ""))


def _propstat(names: list[str], status: str, condition: str = "") -> str:
    inner = "".join(map(empty_element, names))
    return f"<D:propstat><D:prop>{inner}</D:prop><D:status>HTTP/1.1 {status}</D:status>{condition}</D:propstat>"


def _multistatus(href: str, inner: str) -> Answer:
    text = f"{OPENING}<D:response><D:href>{href}</D:href>{inner}</D:response>{CLOSING}"
    return xml_answer("207 Multi-Status", text)
