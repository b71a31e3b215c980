"""PROPFIND (RFC 4918 9.1): of one resource or of a folder's members, only what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from xml.etree.ElementTree import Element

from providers.model import Item, Lock, Quota
from server.webdav import live
from server.webdav.exchange import XML_TYPE, Answer, Exchange
from server.webdav.refusals import BadRequest, NoInfinity
from server.webdav.rendered import Rendered
from server.webdav.sheets import CLOSING, NONE_DEAD, OPENING, Beside, Wanted, responses
from server.webdav.urls import encoded, href_of
from server.webdav.xml import DAV, of_body

Elsewhere = Callable[[str, Item], str | None]
_PIECE_ITEMS = 512
#: Of names that members lack, in all: a short body names thousands of them, and each member would repeat them.
NAMES_CHARS_MAX = 16 << 20
_rendered = Rendered()
_ALL = Wanted(every=True)
#: What clients mean that send no body, by the first word of their User-Agent: rclone as Fastmail's customer looks for a
#: checksum; Explorer gives up a folder whose listing is longer than 1,000,000 bytes, so it gets what it reads.
_UNASKED = {
    "rclone": Wanted(names=(live.ME_SHA1,), every=True, quiet=True),
    "Microsoft-WebDAV-MiniRedir": Wanted(names=live.OF_EXPLORER, quiet=True, as_set=True),
}
#: What may come to something else while the members stay the very same.
_UNSTEADY = live.QUOTAS | live.CHECKSUMS


def propfind(exchange: Exchange) -> Answer:
    """Answer 207 with a response for the resource and, at depth 1, for each member seen; or for those alone."""
    depth, has_own = _depth(exchange)
    wanted = _asked(exchange) or _UNASKED.get((exchange.header("HTTP_USER_AGENT") or "").partition("/")[0], _ALL)
    drive, path = exchange.drive, exchange.path
    if exchange.header("HTTP_IF") is not None:
        drive.stat(path, conditions=exchange.states)
    members: Sequence[Item]
    if depth == "1":
        own, members = drive.listing(path)
    else:
        own, members = drive.stat(path), ()
        if depth == "infinity" and own.is_folder:
            raise NoInfinity
    base = href_of(path, is_folder=own.is_folder)
    locks = _Locks(exchange, bool(members)) if wanted.every or live.LOCKDISCOVERY in wanted.names else None
    elsewhere = _elsewhere(exchange, own, wanted)
    of_own = Beside(
        dead=_dead_of_own(exchange, own), elsewhere=elsewhere, locks=locks.on_own if locks else Beside.locks
    )
    first = responses([own], lambda _: base, wanted, of_own) if has_own else ()
    pieces = [b"".join((OPENING.encode("ascii"), *_encoded(first)))]
    pieces += _members(exchange, base, wanted, members, locks, elsewhere)
    pieces.append(CLOSING.encode("ascii"))
    return Answer("207 Multi-Status", [("Content-Type", XML_TYPE)], pieces)


def _depth(exchange: Exchange) -> tuple[str, bool]:
    """Return the depth, and whether the resource itself is meant: older programs of Microsoft ask for `1,noroot`."""
    depth, *besides = (part.strip() for part in exchange.depth.split(","))
    if depth not in ("0", "1", "infinity") or besides not in ([], ["noroot"]) or (besides and depth == "0"):
        raise BadRequest(why="its depth is none")
    return depth, not besides


def _members(
    exchange: Exchange, base: str, wanted: Wanted, members: Sequence[Item], locks: _Locks | None, elsewhere: Elsewhere
) -> Sequence[bytes]:
    """Return the responses for a folder's members: those of before, where they say all that there is to say."""
    if not members:
        return ()
    if sum(map(len, wanted.names)) * len(members) > NAMES_CHARS_MAX:
        wanted = replace(wanted, quiet=True)  # as RFC 8144 lets clients ask for: what is not there is not told of
    is_locked = locks is not None and locks.on_any_member
    kept = None if is_locked else _rendered.get(members, (base, wanted))
    if kept is not None:
        return kept

    def href(item: Item) -> str:
        return f"{base}{encoded(item.name)}/" if item.is_folder else base + encoded(item.name)

    has_dead = _asks_dead(wanted) and any(item.has_properties for item in members)
    below = exchange.drive.properties_below(exchange.path) if has_dead else {}
    beside = Beside(
        dead=lambda item: below.get(item.name, NONE_DEAD),
        locks=locks.on_member if locks is not None and is_locked else Beside.locks,
        elsewhere=elsewhere,
    )
    pieces = _encoded(responses(members, href, wanted, beside))
    if not is_locked and not has_dead and _UNSTEADY.isdisjoint(wanted.names):
        _rendered.keep(members, (base, wanted), pieces)
    return pieces


def _encoded(texts: Iterable[str]) -> list[bytes]:
    """Return the texts as UTF-8 in pieces of some hundred, so that no single text grows with the folder."""
    found = list(texts)
    return [
        "".join(found[start : start + _PIECE_ITEMS]).encode("utf-8") for start in range(0, len(found), _PIECE_ITEMS)
    ]


@of_body
def _asked(root: Element | None) -> Wanted | None:
    """Return what the body asks for, None without one: then all is meant (RFC 4918 9.1). Raises BadRequest."""
    if root is None:
        return None
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


def _asks_dead(wanted: Wanted) -> bool:
    return wanted.every or wanted.names_only or any(name not in live.LIVE for name in wanted.names)


def _dead_of_own(exchange: Exchange, own: Item) -> Callable[[Item], Mapping[str, str]]:
    return lambda _: exchange.drive.properties(exchange.path) if own.has_properties else {}


class _Locks:
    """The content of `lockdiscovery`, of the resource and of its members."""

    def __init__(self, exchange: Exchange, has_members: bool) -> None:
        self._own = exchange.drive.locks(exchange.path)
        self._below: dict[str, list[Lock]] = exchange.drive.locks_below(exchange.path) if has_members else {}
        # Whose they are is told where they were asked for (RFC 4918 15.8 demands it nowhere): clients choose how long
        # that is, and each member would repeat it.
        inherited = [replace(lock, owner="") for lock in self._own if lock.is_deep]
        self._inherited = live.active_locks(inherited)

    @property
    def on_any_member(self) -> bool:
        """Whether any member has something to show."""
        return bool(self._below or self._inherited)

    def on_own(self, _: Item) -> str:
        """Return what the resource shows."""
        return live.active_locks(self._own)

    def on_member(self, item: Item) -> str:
        """Return what a member shows: its own and what it inherits."""
        return live.active_locks(self._below.get(item.name, ())) + self._inherited


def _elsewhere(exchange: Exchange, own: Item, wanted: Wanted) -> Elsewhere:
    """Return what tells quota and checksums, each fetched once, where it is asked for."""
    quota = _quota(exchange)
    if live.CHECKSUMS.isdisjoint(wanted.names):
        return quota
    drive, path = exchange.drive, exchange.path
    of_own, below = cache(lambda: drive.checksums(path)), cache(lambda: drive.checksums_below(path))

    def elsewhere(name: str, item: Item) -> str | None:
        if name not in live.CHECKSUMS:
            return quota(name, item)
        return live.checksum_text(name, of_own() if item is own else below().get(item.name))

    return elsewhere


def _quota(exchange: Exchange) -> Elsewhere:
    """Quota is of a space, so one look serves all that lies in it. Documents have none of their own."""
    known: dict[bytes | None, Quota | None] = {}

    def quota(name: str, item: Item) -> str | None:
        if not item.is_folder:
            return None
        if item.space not in known:
            known[item.space] = exchange.drive.quota(item.path)
        return live.quota_text(name, known[item.space])

    return quota
