"""The past of a document as it is shown: its own versions, and those it shares with the document it came from.

Versions are never rewritten. What the rule of names joined, shared or set apart stands in rows of `lineage`, and is
taken into account where versions are shown and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, bindparam, func, select

from config.queries import Query
from providers import tables
from providers.catalogue.change import Lineage
from providers.catalogue.standing import Standing

#: Of how many documents one may go back through another.
GENERATIONS_MAX = 100
#: How many versions are read at once where all are wanted.
_BATCH = 500
_EVERY = (1 << 63) - 1

_L = tables.lineage.c
_COLUMNS = (_L.node, _L.number, _L.kind, _L.other, _L.other_number, _L.space, _L.change)
_OF = Query(
    select(*_COLUMNS)
    .where(_L.node == bindparam("node"), _L.number.between(bindparam("low"), bindparam("high")))
    .order_by(_L.number)
)
_TO = Query(
    select(*_COLUMNS)
    .where(_L.other == bindparam("other"), _L.kind.in_(bindparam("kinds", expanding=True)))
    .order_by(_L.change)
)
_V = tables.version.c
_C = tables.comment.c
#: The last change by which anything was said of a version: asked along with it, since of most nothing ever was.
_SAID = select(func.max(_C.change)).where(_C.version == _V.id).scalar_subquery().label("said")
_LINES = Query(
    select(
        _V.node, _V.number, _V.id, _V.space, _V.change, _V.size, _V.digest, _V.at, _V.principal, _V.organisation,
        _V.via, _V.origin, _V.erased_in, _SAID,
    )
    .where(_V.node == bindparam("node"), _V.number <= bindparam("top"))
    .order_by(_V.number.desc())
    .limit(bindparam("count", type_=BigInteger))
)  # fmt: skip
_NUMBERS = Query(
    select(_V.id, _V.number).where(_V.node == bindparam("node"), _V.id.in_(bindparam("ids", expanding=True)))
)


class Link(NamedTuple):
    """A row of `lineage`: see `Lineage` for what each kind means."""

    node: bytes
    number: int
    kind: int
    other: bytes
    other_number: int
    space: bytes
    change: int


class Line(NamedTuple):
    """What a history tells of a version: its row, but for what only the vault and the MAC need."""

    node: bytes
    number: int
    id: bytes
    space: bytes
    change: int
    size: int
    digest: bytes
    at: int
    principal: bytes
    organisation: bytes
    via: int
    origin: bytes | None
    erased_in: int | None
    said: int | None


#: What makes a line of a row, of which there are many: without asking whether it is as long as it is.
_LINE: Callable[[tuple[Any, ...]], Line] = partial(tuple.__new__, Line)


class Shown(NamedTuple):
    """A version under the number by which the document's history shows it; `row` bears its own."""

    number: int
    row: Line


class Page(NamedTuple):
    """Some versions of a past, newest first, how they came from others, and whether older ones follow."""

    shown: list[Shown]
    links: list[Link]
    more: bool


def links_of(connection: Connection, node: bytes, low: int = 0, high: int = _EVERY) -> list[Link]:
    """Return how versions of `node` from `low` to `high` came from others, by number."""
    return [Link(*row) for row in _OF.rows(connection, node=node, low=low, high=high)]


def links_to(connection: Connection, other: bytes, *kinds: Lineage) -> list[Link]:
    """Return how versions of others came from `other`, in those ways, oldest first."""
    return [Link(*row) for row in _TO.rows(connection, other=other, kinds=[int(kind) for kind in kinds])]


def is_linked(connection: Connection, node: bytes, number: int, other: bytes) -> bool:
    """Return whether it is told already how version `number` of `node` came from `other`."""
    return any(link.other == other for link in links_of(connection, node, number, number))


def shares_of(connection: Connection, node: bytes) -> Link | None:
    """Return from which version of which document on `node` has a past of its own; None if it has one all along."""
    return next((link for link in links_of(connection, node, 1, 1) if link.kind == Lineage.SHARES), None)


@dataclass(frozen=True, slots=True)
class Part:
    """Own versions of one document within the past of another: up to `last`, shown `offset` higher."""

    node: bytes
    offset: int
    last: int


class Past:
    """The past of one document as its history shows it: in pages, newest first, each a few steps of an index."""

    def __init__(self, connection: Connection, node: bytes) -> None:
        self._connection = connection
        self._parts = parts_of(connection, node)

    def page(self, count: int, before: int | None = None) -> Page:
        """Return the newest `count` of the versions shown under lower numbers than `before`."""
        found, links = list[Shown](), list[Link]()
        for part in reversed(self._parts):
            top = part.last if before is None else min(part.last, before - 1 - part.offset)
            while top > 0 and len(found) <= count:
                wanted = count + 1 - len(found)
                some, told, top = self._some(part, top, wanted)
                found += some
                links += told
        return Page(found[:count], links, len(found) > count)

    def all(self) -> Iterator[Shown]:
        """Yield all versions, newest first."""
        before: int | None = None
        while True:
            page = self.page(_BATCH, before)
            yield from page.shown
            if not page.more:
                return
            before = page.shown[-1].number

    def at(self, number: int) -> Shown | None:
        """Return the version shown under `number`; None if there is none."""
        page = self.page(1, number + 1)
        return page.shown[0] if page.shown and page.shown[0].number == number else None

    def numbers(self, ids: Iterable[bytes]) -> dict[bytes, int]:
        """Return the numbers under which those of some versions are shown that this past has."""
        wanted, found = list(ids), dict[bytes, int]()
        for part in self._parts if wanted else ():
            rows = _NUMBERS.rows(self._connection, node=part.node, ids=wanted)
            found.update((version, number + part.offset) for version, number in rows if number <= part.last)
        return found

    def _some(self, part: Part, top: int, count: int) -> tuple[list[Shown], list[Link], int]:
        """Return up to `count` shown versions of a part from `top` down, how they came, and where to go on."""
        rows = [*map(_LINE, _LINES.rows(self._connection, node=part.node, top=top, count=count))]
        if not rows:
            return [], [], 0
        links = links_of(self._connection, part.node, rows[-1].number, rows[0].number + 1)
        passed = passing_over(self._connection, part.node, links)
        told = rows if passed is None else [row for row in rows if not passed(row.number, row.change)]
        return [Shown(row.number + part.offset, row) for row in told], links, rows[-1].number - 1


def passing_over(connection: Connection, node: bytes, links: Iterable[Link]) -> Callable[[int, int], bool] | None:
    """Return what tells whether the history passes over an own version of `node`, by its number and its change: one
    that was but a step on the way, as `links` of the node say, or went with another document that was set apart.
    None if it passes over none of them.
    """
    steps = {link.other_number for link in links if link.kind == Lineage.FILLED}
    cuts = links_to(connection, node, Lineage.SPLIT)
    if not steps and not cuts:
        return None

    def passed(number: int, change: int) -> bool:
        return number in steps or any(number >= cut.other_number and change < cut.change for cut in cuts)

    return passed


def parts_of(connection: Connection, node: bytes) -> list[Part]:
    """Return whose versions make up the past of `node`, its own last."""
    parts: list[Part] = []
    last = _EVERY
    for _ in range(GENERATIONS_MAX):
        parts.append(Part(node, 0, last))
        shares = shares_of(connection, node)
        if shares is None:
            break
        node, last = shares.other, shares.other_number - 1
    parts.reverse()
    placed, offset = [parts[0]], 0
    for before, part in pairwise(parts):
        offset += before.last
        placed.append(Part(part.node, offset, part.last))
    return placed


def own_number(connection: Connection, node: bytes, shown: int) -> tuple[bytes, int]:
    """Return the document and its own number of the version that the history of `node` shows as `shown`."""
    parts = parts_of(connection, node)
    for part in parts[:-1]:
        if shown <= part.offset + part.last:
            return part.node, shown - part.offset
    return parts[-1].node, shown - parts[-1].offset


def carried_away(connection: Connection, held: Standing, version: int) -> Link | None:
    """Return how the content of what stood there went on in another document, if it did as it left.

    What came back since, and left in another way, is missed. The changes of another space have numbers of their own:
    there it went as it left if it has got no version since; `version` is its newest.
    """
    for link in reversed(links_to(connection, held.node, Lineage.CONTINUED, Lineage.REPLACED)):
        if link.change == held.to_change if link.space == held.space else link.other_number == version:
            return link
    return None
