"""Multistatus responses built in one pass: one `%`-template for each set of properties, filled from columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from providers.model import Item
from server.webdav import live
from server.webdav.xml import DECLARED, PROLOGUE, empty_element, shortened, tag

OPENING = f"{PROLOGUE}<D:multistatus {DECLARED}>"
CLOSING = "</D:multistatus>"
#: How many sheets are remembered, and how long all the names that one is about may be: some megabytes in all.
REMEMBERED_MAX, REMEMBERED_CHARS_MAX = 512, 2048
_OK, _MISSING = "HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found"
#: For one answer there is more to tell than is told at once (RFC 4918 11.5). Asked for one by one, it is there.
_TOO_MUCH = "HTTP/1.1 507 Insufficient Storage"
NONE_DEAD: Mapping[str, str] = {}


@dataclass(frozen=True)
class Wanted:
    """What a PROPFIND asks for.

    `names` are Clark names in the order asked; `every` means all properties but those only given by name, with `names`
    in addition; `names_only` asks which there are. `quiet`: what an item lacks goes unmentioned. `as_set`: when it was
    made is when Explorer says so, where it did.
    """

    names: tuple[str, ...] = ()
    every: bool = False
    names_only: bool = False
    quiet: bool = False
    as_set: bool = False


def _no_dead(item: Item) -> Mapping[str, str] | None:
    return NONE_DEAD


def _no_locks(item: Item) -> str:
    return ""


def _nothing(name: str, item: Item) -> str | None:
    return None


@dataclass(frozen=True)
class Beside:
    """What the items themselves do not carry: dead properties (None: more than is told), the content of
    `lockdiscovery`, and, by name, what `live.ELSEWHERE` tells of.
    """

    dead: Callable[[Item], Mapping[str, str] | None] = _no_dead
    locks: Callable[[Item], str] = _no_locks
    elsewhere: Callable[[str, Item], str | None] = _nothing


@dataclass(frozen=True)
class _Sheet:
    """How one kind of item answers one set of properties.

    `template` takes href and columns, and, where `is_loose`, what differs from item to item: the elements it has
    besides, and the propstat of those it lacks. A column that is a name comes from `Beside`.
    `missing` are elements no such item has.
    """

    template: str
    columns: tuple[live.Column | str, ...]
    loose: tuple[str, ...]
    missing: str
    is_loose: bool


def responses(items: Sequence[Item], href: Callable[[Item], str], wanted: Wanted, beside: Beside) -> Iterable[str]:
    """Yield a response element for each item, folders first."""
    for is_folder in (True, False):
        chosen = [item for item in items if item.is_folder is is_folder]
        if chosen:
            yield from _filled(_sheet(wanted, is_folder=is_folder), chosen, href, wanted, beside)


def _sheet(wanted: Wanted, *, is_folder: bool) -> _Sheet:
    is_small = sum(map(len, wanted.names)) <= REMEMBERED_CHARS_MAX
    return _small_sheet(wanted, is_folder=is_folder) if is_small else _made_sheet(wanted, is_folder=is_folder)


def _made_sheet(wanted: Wanted, *, is_folder: bool) -> _Sheet:
    known = live.FOLDER if is_folder else live.DOCUMENT
    found: list[str] = []
    missing: list[str] = []
    loose: list[str] = []
    columns: list[live.Column | str] = []
    for name in _asked(wanted, is_folder=is_folder):
        if wanted.names_only:
            found.append(_literal(empty_element(name)))
        elif name == live.RESOURCETYPE:
            found.append("<D:resourcetype><D:collection/></D:resourcetype>" if is_folder else empty_element(name))
        elif name in known or name == live.LOCKDISCOVERY:
            found.append(_slot(name))
            columns.append(name if name not in known or (wanted.as_set and name == live.CREATED) else known[name])
        elif name in live.LIVE and name not in live.ELSEWHERE:
            missing += [] if wanted.quiet else [empty_element(name)]
        else:
            loose.append(name)
    is_loose = bool(loose) or wanted.every or wanted.names_only
    lacking = _literal(_propstat("".join(missing), _MISSING))
    if is_loose:
        inner = _propstat("".join(found) + "%s", _OK) + "%s"
    elif found or not missing:
        inner = _propstat("".join(found), _OK) + (lacking if missing else "")
    else:
        inner = lacking
    template = f"<D:response><D:href>%s</D:href>{inner}</D:response>"
    return _Sheet(template, tuple(columns), tuple(loose), "".join(missing), is_loose)


_small_sheet = lru_cache(maxsize=REMEMBERED_MAX)(_made_sheet)


def _asked(wanted: Wanted, *, is_folder: bool) -> tuple[str, ...]:
    everything = live.ALL_OF_FOLDER if is_folder else live.ALL_OF_DOCUMENT
    if wanted.names_only:
        return everything
    if wanted.every:
        return (*everything, *(name for name in wanted.names if name not in everything))
    return wanted.names


def _filled(
    sheet: _Sheet, items: list[Item], href: Callable[[Item], str], wanted: Wanted, beside: Beside
) -> Iterable[str]:
    slots: list[Sequence[str]] = [[href(item) for item in items]]
    for column in sheet.columns:
        slots.append(_beside(column, items, beside) if isinstance(column, str) else column(items))
    if sheet.is_loose:
        here, lacking = zip(*(_loose(sheet, item, wanted, beside) for item in items), strict=True)
        slots += [here, lacking]
    return map(sheet.template.__mod__, zip(*slots, strict=True))


def _beside(name: str, items: list[Item], beside: Beside) -> list[str]:
    """Return the column of `lockdiscovery`, or of when each item was made."""
    if name == live.LOCKDISCOVERY:
        return [beside.locks(item) for item in items]
    return [live.created_as_set(item, _dead(item, beside) or NONE_DEAD) for item in items]


def _dead(item: Item, beside: Beside) -> Mapping[str, str] | None:
    return beside.dead(item) if item.has_properties else NONE_DEAD


def _loose(sheet: _Sheet, item: Item, wanted: Wanted, beside: Beside) -> tuple[str, str]:
    """Return the elements that this item has besides those of its sheet, and the propstats of those it lacks, or of
    which there is more than is told.
    """
    dead = _dead(item, beside)
    here: list[str] = []
    if dead is None:
        pass
    elif wanted.names_only:
        here += [empty_element(name) for name in dead]
    elif wanted.every:
        here += [shortened(name, value) for name, value in dead.items() if name not in sheet.loose]
    lacking = [sheet.missing] if sheet.missing else []
    untold: list[str] = []
    for name in sheet.loose:
        if dead is None and name not in live.ELSEWHERE:
            untold.append(empty_element(name))
            continue
        text = beside.elsewhere(name, item) if name in live.ELSEWHERE else (dead or NONE_DEAD).get(name)
        if text is None:
            lacking += [] if wanted.quiet else [empty_element(name)]
        else:
            here.append(_slot(name) % text if name in live.ELSEWHERE else shortened(name, text))
    told = ((lacking, _MISSING), (untold, _TOO_MUCH))
    return "".join(here), "".join(_propstat("".join(names), status) for names, status in told if names)


def _propstat(inner: str, status: str) -> str:
    return f"<D:propstat><D:prop>{inner}</D:prop><D:status>{status}</D:status></D:propstat>"


def _literal(text: str) -> str:
    return text.replace("%", "%%")


def _slot(name: str) -> str:
    written, declared = tag(name)
    return f"<{_literal(written + declared)}>%s</{_literal(written)}>"
