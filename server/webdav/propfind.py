"""PROPFIND (RFC 4918 9.1): of one resource or of a folder's members, only what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from xml.etree.ElementTree import Element

from providers.model import Item, Lock
from server.webdav import live
from server.webdav.exchange import XML_TYPE, Answer, Exchange
from server.webdav.refusals import BadRequest, NoInfinity
from server.webdav.sheets import CLOSING, OPENING, Beside, Wanted, responses
from server.webdav.urls import encoded, href_of
from server.webdav.xml import DAV, of_body

_PIECE_ITEMS = 512


def propfind(exchange: Exchange) -> Answer:
    """Answer 207 with a response for the resource and, at depth 1, for each member seen."""
    depth = (exchange.header("HTTP_DEPTH") or "infinity").strip().lower()
    if depth not in ("0", "1", "infinity"):
        raise BadRequest(why="its depth is none")
    wanted = _wanted(exchange)
    drive, path = exchange.drive, exchange.path
    if depth == "1":
        own, members = drive.listing(path)
    else:
        own, members = drive.stat(path), []
        if depth == "infinity" and own.is_folder:
            raise NoInfinity
    base = href_of(path, is_folder=own.is_folder)

    def href(item: Item) -> str:
        if item is own:
            return base
        return f"{base}{encoded(item.name)}/" if item.is_folder else base + encoded(item.name)

    beside = _beside(exchange, wanted, own, members)
    pieces = [OPENING.encode("ascii"), *_encoded(responses([own], href, wanted, beside))]
    pieces += _encoded(responses(members, href, wanted, beside))
    pieces.append(CLOSING.encode("ascii"))
    return Answer("207 Multi-Status", [("Content-Type", XML_TYPE)], pieces)


def _encoded(texts: object) -> list[bytes]:
    """Return the texts as UTF-8 in pieces of some hundred, so that no single text grows with the folder."""
    found: list[str] = list(texts)  # type: ignore[call-overload]
    return [
        "".join(found[start : start + _PIECE_ITEMS]).encode("utf-8") for start in range(0, len(found), _PIECE_ITEMS)
    ]


@of_body
def _wanted(root: Element | None) -> Wanted:
    """Return what the body asks for; no body asks for all (RFC 4918 9.1). Raises BadRequest."""
    if root is None:
        return Wanted(every=True)
    if root.tag != f"{DAV}propfind":
        raise BadRequest(why="its body is no propfind")
    kinds = [child for child in root if child.tag in (f"{DAV}prop", f"{DAV}allprop", f"{DAV}propname")]
    if len(kinds) != 1:
        raise BadRequest(why="its body asks for no properties, or in two ways")
    kind = kinds[0].tag.removeprefix(DAV)
    if kind == "propname":
        return Wanted(names_only=True)
    if kind == "prop":
        return Wanted(names=_names(kinds[0]))
    include = root.find(f"{DAV}include")
    return Wanted(names=() if include is None else _names(include), every=True)


def _names(element: Element) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(child.tag) for child in element))


def _beside(exchange: Exchange, wanted: Wanted, own: Item, members: list[Item]) -> Beside:
    """Return what the items do not carry, fetched only where it is asked for and there is any."""
    asks_dead = wanted.every or wanted.names_only or any(name not in live.LIVE for name in wanted.names)
    asks_locks = wanted.every or live.LOCKDISCOVERY in wanted.names
    return Beside(
        dead=_dead(exchange, own, members) if asks_dead else Beside.dead,
        locks=_locks(exchange, own, members) if asks_locks else Beside.locks,
        quota=_quota(exchange, own),
    )


def _dead(exchange: Exchange, own: Item, members: list[Item]) -> Callable[[Item], Mapping[str, str]]:
    drive, path = exchange.drive, exchange.path
    of_own = drive.properties(path) if own.has_properties else {}
    below = drive.properties_below(path) if any(item.has_properties for item in members) else {}

    def dead(item: Item) -> Mapping[str, str]:
        return of_own if item is own else below.get(item.name, {})

    return dead


def _locks(exchange: Exchange, own: Item, members: list[Item]) -> Callable[[Item], str]:
    drive, path = exchange.drive, exchange.path
    of_own = drive.locks(path)
    deep = [lock for lock in of_own if lock.is_deep]
    below: dict[str, list[Lock]] = drive.locks_below(path) if members else {}
    inherited = live.active_locks(deep)

    def locks(item: Item) -> str:
        if item is own:
            return live.active_locks(of_own)
        direct = below.get(item.name)
        return live.active_locks(direct) + inherited if direct else inherited

    return locks


def _quota(exchange: Exchange, own: Item) -> Callable[[str, Item], str | None]:
    """Quota is of a space, so one look serves all that lies in it. Documents have none of their own."""
    known: dict[bytes | None, object] = {}

    def quota(name: str, item: Item) -> str | None:
        if not item.is_folder:
            return None
        if item.space not in known:
            known[item.space] = exchange.drive.quota(item.path)
        return live.quota_text(name, known[item.space])  # type: ignore[arg-type]

    return quota
