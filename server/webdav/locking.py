"""LOCK and UNLOCK (RFC 4918 9.10, 9.11)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element

from providers.model import Lock
from server.webdav import live
from server.webdav.conditions import bare_token
from server.webdav.exchange import Answer, Exchange, xml_answer
from server.webdav.refusals import BadRequest
from server.webdav.xml import DAV, PROLOGUE, fragment, language_of, of_body

_SECONDS = re.compile(r"second-(\d{1,10})\Z", re.IGNORECASE | re.ASCII)
OWNER_BYTES_MAX = 4096


def lock(exchange: Exchange) -> Answer:
    """Answer 200 with the lock, 201 where the name was free and an empty document now holds it.

    Without a body it refreshes the lock whose token is submitted, or the one lock of one's own that holds the resource.
    """
    asked, seconds = _asked(exchange), _timeout(exchange)
    if asked is None:
        return _answer("200 OK", exchange.drive.refresh_lock(exchange.path, _tokens(exchange), seconds))
    if exchange.depth not in ("0", "infinity"):
        raise BadRequest(why="its depth is none that a lock can have")
    is_shared, owner = asked
    taken, created = exchange.drive.lock(
        exchange.path,
        is_deep=exchange.depth == "infinity",
        is_shared=is_shared,
        owner=owner,
        seconds=seconds,
        conditions=exchange.conditions,
    )
    status = "201 Created" if created else "200 OK"
    return _answer(status, taken, [("Lock-Token", f"<{taken.token}>")])


def unlock(exchange: Exchange) -> Answer:
    """Answer 204. The token is taken with or without angle brackets."""
    token = exchange.header("HTTP_LOCK_TOKEN")
    if not token:
        raise BadRequest(why="it names no lock token")
    exchange.drive.unlock(exchange.path, bare_token(token))
    return Answer("204 No Content", [])


def _answer(status: str, taken: Lock, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    inner = f"<D:lockdiscovery>{live.active_locks([taken])}</D:lockdiscovery>"
    return xml_answer(status, f'{PROLOGUE}<D:prop xmlns:D="DAV:">{inner}</D:prop>', headers)


def _tokens(exchange: Exchange) -> frozenset[str]:
    tokens = exchange.conditions.tokens
    if exchange.header("HTTP_LOCK_TOKEN"):
        tokens |= {bare_token(exchange.environ["HTTP_LOCK_TOKEN"])}
    if tokens:
        return tokens
    own = {found.token for found in exchange.drive.locks(exchange.path) if found.token}
    if len(own) != 1:
        raise BadRequest(why="it neither asks for a lock nor says which to refresh")
    return frozenset(own)


@of_body
def _asked(root: Element | None) -> tuple[bool, str] | None:
    """Return whether a shared lock is asked for, and the owner element as XML; None without a body.

    Raises BadRequest.
    """
    if root is None:
        return None
    if root.tag != f"{DAV}lockinfo" or root.find(f"{DAV}locktype/{DAV}write") is None:
        raise BadRequest(why="its body asks for no lock that there is")
    is_shared = root.find(f"{DAV}lockscope/{DAV}shared") is not None
    if is_shared is (root.find(f"{DAV}lockscope/{DAV}exclusive") is not None):
        raise BadRequest(why="its body asks for no lock that there is")
    element = root.find(f"{DAV}owner")
    owner = "" if element is None else fragment(element, language_of(root, None))
    if len(owner.encode("utf-8")) > OWNER_BYTES_MAX:
        raise BadRequest(why="its owner is too long")
    return is_shared, owner


def _timeout(exchange: Exchange) -> int:
    """Return for how many seconds the lock shall stand: the first that is understood, at most the settings' limit."""
    limit = exchange.settings.limits.lock_seconds_max
    for each in (exchange.header("HTTP_TIMEOUT") or "").split(","):
        text = each.strip()
        if text.lower() == "infinite":
            return limit
        found = _SECONDS.match(text)
        if found:
            return max(1, min(int(found[1]), limit))
    return limit
