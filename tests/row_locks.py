"""In which order transactions take rows that others may want too, held against the table of docs/ARCHITECTURE.md.

On PostgreSQL writers run side by side, and two that take the same rows in different orders meet in a deadlock. Whether
they do is a matter of luck; the order in which each takes them is not, so that is what tests look at.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, event

from config.database import durable, transient

_DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "ARCHITECTURE.md"
_SECTION = "## Who takes which rows first"
_TAKES = re.compile(
    r"UPDATE (?P<updated>\w+) SET"
    r"|DELETE FROM (?P<deleted>\w+)"
    r"|INSERT INTO (?P<inserted>\w+).* ON CONFLICT"
    r"|SELECT .*?\sFROM (?P<selected>\w+).* FOR (?:UPDATE|SHARE)(?: OF (?P<of>\w+))?",
    re.DOTALL,
)
HEAD, LOG = "head", "log"
#: What a log of the installation is called here, whose rows no head guards.
OWN_LOG = "log of the installation"


class Order(NamedTuple):
    """The rank of each table; and which tables belong to spaces, whose head guards them, and have all the same."""

    ranks: Mapping[str, int]
    of_spaces: frozenset[str]


def declared() -> Order:
    """Read the table of docs/ARCHITECTURE.md. Its second line is of what belongs to spaces."""
    section = _DOCUMENT.read_text("utf-8").split(_SECTION, 1)[1].split("\n## ", 1)[0]
    lines = [line.split("|")[1:-1] for line in section.splitlines() if re.match(r"\| \d", line)]
    named = [re.findall(r"`([^`]+)`", rows) for _, rows, _ in lines]
    every = [name for names in named for name in names]
    assert len(every) == len(set(every)), "a table stands twice"
    ranks = {name: rank for rank, name in enumerate(every)}
    of_spaces = frozenset(named[1])
    return Order(ranks | dict.fromkeys(of_spaces, 1), of_spaces)


class Taken(NamedTuple):
    """Rows that one statement takes: of which table; of which space, and which by its id, where that is told."""

    table: str
    space: bytes | None
    row: bytes | None
    is_many: bool


def _taken(statement: str, given: Sequence[Mapping[str, Any]]) -> list[Taken]:
    """Return what a statement takes. What is inserted is nobody else's, but where it may stand already."""
    found = _TAKES.match(statement.replace('"', "").strip())
    if found is None:
        return []
    table = found["of"] or next(filter(None, (found[name] for name in ("updated", "deleted", "inserted", "selected"))))
    made = []
    for values in given:
        spaces = _values(values, r"(b_)?spaces?[_\dm]*") or [None]
        rows = _values(values, r"(id|chosen|subject)(_\d+)?")
        row = rows[0] if len(rows) == 1 else None
        for space in spaces:
            # By its id alone a log may be any.
            made.append(Taken(OWN_LOG if table == LOG and not space else table, space, row, len(given) > 1))
    return made


def _values(values: Mapping[str, Any], names: str) -> list[Any]:
    """Return the ids among what a statement is given, which the driver's own type may wrap."""
    bare = [getattr(value, "obj", value) for name, value in values.items() if re.fullmatch(names, name)]
    return sorted({bytes(each) for each in bare if isinstance(each, bytes)})


class _Transaction:
    """What one transaction has taken so far."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []

    def wrong(self, order: Order, fresh: Taken) -> str | None:
        """Return why it must not take this now."""
        rank = order.ranks.get(fresh.table)
        if rank is None:
            return f"{fresh.table} stands in no line of the table"
        heads = {each.space for each in self.taken if each.table == HEAD}
        if fresh.table == HEAD and fresh.space in heads:
            return None
        if fresh.table == HEAD and any(fresh.space < head for head in heads):
            return "heads in another order than that of their ids"
        if fresh.table in order.of_spaces and heads:
            return None if fresh.space in (None, *heads) else f"{fresh.table} of a space whose head it has not"
        own = [each for each in self.taken if each.table == fresh.table]
        if fresh.row is not None and any(each.row is not None and each.row > fresh.row for each in own):
            return None if fresh in own else f"{fresh.table} in another order than that of ids"
        if own and fresh.table not in order.of_spaces:
            return None  # as far as can be told, the same again
        later = [each.table for each in self.taken if order.ranks[each.table] > rank]
        if later:
            return f"{fresh.table} after {later[-1]}"
        if fresh.table in order.of_spaces and (self.taken or fresh.is_many):
            return f"{fresh.table} without the head of its space"
        if any(each.table in order.of_spaces for each in self.taken) and not heads:
            return f"{fresh.table} after {self.taken[0].table} of a space whose head it has not"
        return None


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collect what any database's transactions take out of order meanwhile, with what they had taken before."""
    order, wrong = declared(), list[str]()
    current: dict[Connection, _Transaction] = {}
    transients: dict[int, Connection] = {}

    def executed(connection: Connection, _c: Any, statement: str, given: Any, _context: Any, is_many: bool) -> None:
        mine, thread = current.setdefault(connection, _Transaction()), threading.get_ident()
        for fresh in _taken(statement, given if is_many else [given or {}]):
            why = mine.wrong(order, fresh)
            if fresh.table in transient.tables:
                transients[thread] = connection
            elif thread in transients:
                why = f"{fresh.table} while rows of transient tables are taken"
            if why is not None:
                before = list(dict.fromkeys(each.table for each in mine.taken))
                wrong.append(f"{why} (taken before: {', '.join(before) or 'nothing'})")
            mine.taken.append(fresh)

    def ended(connection: Connection) -> None:
        current.pop(connection, None)
        for thread in [each for each, its in transients.items() if its is connection]:
            del transients[thread]

    listeners = (("before_cursor_execute", executed), ("commit", ended), ("rollback", ended))
    for name, listener in listeners:
        event.listen(Engine, name, listener)
    try:
        yield wrong
    finally:
        for name, listener in listeners:
            event.remove(Engine, name, listener)


def left_out() -> set[str]:
    """Return the tables that no line of the table names."""
    return {*durable.tables, *transient.tables} - {*declared().ranks}
