"""The past of a document as it is shown: its own versions, and those it shares with the document it came from.

Versions are never rewritten. What the rule of names joined, shared or set apart stands in rows of `lineage`, and is
taken into account where versions are shown and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from config.queries import Query
from providers import tables
from providers.catalogue import contents
from providers.catalogue.change import Lineage

#: Of how many documents one may go back through another.
GENERATIONS_MAX = 100

_L = tables.lineage.c
_COLUMNS = (_L.node, _L.number, _L.kind, _L.other, _L.other_number, _L.change)
_OF = Query(select(*_COLUMNS).where(_L.node == bindparam("node")).order_by(_L.number))
_TO = Query(select(*_COLUMNS).where(_L.other == bindparam("other")).order_by(_L.change))


class Link(NamedTuple):
    """A row of `lineage`: see `Lineage` for what each kind means."""

    node: bytes
    number: int
    kind: int
    other: bytes
    other_number: int
    change: int


class Shown(NamedTuple):
    """A version under the number by which the document's history shows it; `row` is that of `version`."""

    number: int
    row: Mapping[Any, Any]


def links_of(connection: Connection, node: bytes) -> list[Link]:
    """Return how versions of `node` came from others, by number."""
    return [Link(*row) for row in _OF.rows(connection, node=node)]


def links_to(connection: Connection, other: bytes) -> list[Link]:
    """Return how versions of others came from `other`, oldest first."""
    return [Link(*row) for row in _TO.rows(connection, other=other)]


def is_linked(connection: Connection, node: bytes, number: int, other: bytes) -> bool:
    """Return whether it is told already how version `number` of `node` came from `other`."""
    return any((link.number, link.other) == (number, other) for link in links_of(connection, node))


@dataclass(frozen=True, slots=True)
class _Part:
    """Own versions of one document within the past of another: up to `last`, shown `offset` higher."""

    node: bytes
    offset: int
    last: int | None


def _parts(connection: Connection, node: bytes) -> list[_Part]:
    """Return whose versions make up the past of `node`, its own last."""
    parts: list[_Part] = []
    last: int | None = None
    for _ in range(GENERATIONS_MAX):
        shares = next((link for link in links_of(connection, node) if link.kind == Lineage.SHARES), None)
        parts.append(_Part(node, 0, last))
        if shares is None:
            break
        node, last = shares.other, shares.other_number - 1
    parts.reverse()
    placed, offset = [parts[0]], 0
    for before, part in pairwise(parts):
        offset += before.last or 0
        placed.append(_Part(part.node, offset, part.last))
    return placed


def _hidden(connection: Connection, node: bytes, rows: Sequence[Mapping[Any, Any]]) -> set[int]:
    """Return the own versions of `node` that its history passes over: steps on the way, and what was set apart."""
    filled = {link.other_number for link in links_of(connection, node) if link.kind == Lineage.FILLED}
    for link in links_to(connection, node):
        if link.kind == Lineage.SPLIT:
            filled.update(
                row["number"] for row in rows if row["number"] >= link.other_number and row["change"] < link.change
            )
    return filled


def shown_versions(connection: Connection, node: bytes) -> list[Shown]:
    """Return the versions that the history of `node` shows, oldest first, those of a shared past included."""
    found: list[Shown] = []
    for part in _parts(connection, node):
        rows = contents.versions(connection, part.node)
        hidden = _hidden(connection, part.node, rows)
        found.extend(
            Shown(row["number"] + part.offset, row)
            for row in rows
            if row["number"] not in hidden and (part.last is None or row["number"] <= part.last)
        )
    return found


def own_number(connection: Connection, node: bytes, shown: int) -> tuple[bytes, int]:
    """Return the document and its own number of the version that the history of `node` shows as `shown`."""
    parts = _parts(connection, node)
    for part in parts[:-1]:
        if part.last is not None and shown <= part.offset + part.last:
            return part.node, shown - part.offset
    return parts[-1].node, shown - parts[-1].offset


def carried_away(connection: Connection, nodes: Iterable[bytes]) -> dict[bytes, Link]:
    """Return those of `nodes` whose content went on in another document, with how it did: the newest link of each."""
    found: dict[bytes, Link] = {}
    for node in nodes:
        for link in links_to(connection, node):
            if link.kind in (Lineage.CONTINUED, Lineage.REPLACED):
                found[node] = link
    return found
