"""Queries that run in every request: compiled once, and on SQLite run by the driver itself.

SQLAlchemy prepares a context, a result and rows anew for each execution, which costs several times what SQLite takes to
find a row by its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Connection, Dialect, LargeBinary, Select
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from config.snapshots import driver_of

T = TypeVar("T")

#: How many lengths of lists one query is compiled for.
SHAPES_MAX = 64
#: How many are asked for at once.
ASKED_MAX = 256


@dataclass(frozen=True, slots=True)
class Prepared:
    """A text for the driver, how its parameters are picked from given values, and what its columns need."""

    text: str
    pick: Callable[[dict[str, Any]], Sequence[Any]]
    converted: tuple[tuple[int, Callable[[Any], Any]], ...]


class Query:
    """A SELECT with named parameters, some of which may be lists (`expanding`). Safe to use from any number of threads.

    Its parameters are bytes, integers and texts; a default given in the statement holds where no value is given.
    """

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement
        self.names = tuple(column.name for column in statement.selected_columns)
        self._lists = lists_of(statement)
        self._prepared: dict[tuple[int, ...], Prepared] = {}

    def rows(self, connection: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows as plain tuples. Raises what `connection.execute` raises."""
        driver = driver_of(connection)
        if driver is None:
            if connection.dialect.name != "sqlite":
                return [tuple(row) for row in connection.execute(self.statement, values)]
            if not connection.in_transaction():
                connection.begin()
            driver = connection.connection.dbapi_connection
        shape = tuple([len(values[name]) for name in self._lists]) if self._lists else ()
        prepared = self._prepared.get(shape) or self._prepare(connection.dialect, shape, values)
        try:
            rows: list[tuple[Any, ...]] = driver.execute(prepared.text, prepared.pick(values)).fetchall()
        except connection.dialect.loaded_dbapi.Error:
            # Reading twice is harmless, and it is SQLAlchemy that knows how to speak of the error.
            return [tuple(row) for row in connection.execute(self.statement, values)]
        return _converted(rows, prepared.converted) if prepared.converted else rows

    def first(self, connection: Connection, **values: Any) -> tuple[Any, ...] | None:
        """Return the first row, None if there is none."""
        rows = self.rows(connection, **values)
        return rows[0] if rows else None

    def mappings(self, connection: Connection, **values: Any) -> list[dict[str, Any]]:
        """Return the rows by the names of columns."""
        return [dict(zip(self.names, row, strict=True)) for row in self.rows(connection, **values)]

    def _prepare(self, dialect: Dialect, shape: tuple[int, ...], values: dict[str, Any]) -> Prepared:
        compiled = self.statement.compile(dialect=dialect)
        made = prepare(compiled, self._lists, values, self._conversions(dialect))
        if len(self._prepared) < SHAPES_MAX:
            self._prepared[shape] = made
        return made

    def _conversions(self, dialect: Dialect) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
        """Return what turns the driver's values into ours, by column. Bytes are bytes already."""
        found = []
        for index, column in enumerate(self.statement.selected_columns):
            if isinstance(column.type, LargeBinary):
                continue
            convert = column.type.dialect_impl(dialect).result_processor(dialect, None)
            if convert is not None:
                found.append((index, convert))
        return tuple(found)


def parts_of(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the values in lists of few lengths, each of which costs a query that is compiled once.

    Of the last list, the last value is repeated up to one of four lengths to each doubling: by a quarter at most.
    """
    for start in range(0, len(values), ASKED_MAX):
        part = values[start : start + ASKED_MAX]
        step = 1 << max(len(part).bit_length() - 3, 0)
        lacking = -len(part) % step
        yield [*part, *[part[-1]] * lacking] if lacking else part


def parameters_of(statement: ClauseElement) -> list[BindParameter[Any]]:
    """Return the parameters that stand in a statement."""
    return [each for each in visitors.iterate(statement) if isinstance(each, BindParameter)]


def lists_of(statement: ClauseElement) -> tuple[str, ...]:
    """Return the names of the parameters that are lists."""
    return tuple(sorted({each.key for each in parameters_of(statement) if each.expanding}))


def prepare(
    compiled: SQLCompiler,
    lists: Sequence[str],
    values: Mapping[str, Any],
    converted: tuple[tuple[int, Callable[[Any], Any]], ...] = (),
) -> Prepared:
    """Return the text for the driver, for lists as long as those among `values`."""
    state = compiled.construct_expanded_state(dict(values))
    standing = {name: value for name, value in state.parameters.items() if name not in values}
    expansion = {name: state.parameter_expansion.get(name, ()) for name in lists}
    return Prepared(state.statement, _picker(list(state.positiontup or ()), standing, expansion), converted)


def _picker(
    order: list[str], standing: dict[str, Any], expansion: Mapping[str, Sequence[str]]
) -> Callable[[dict[str, Any]], Sequence[Any]]:
    """Return what brings given values into the order of the text's marks."""
    if not any(name in standing for name in order) and not expansion and len(order) > 1:
        return itemgetter(*order)

    def pick(values: dict[str, Any]) -> Sequence[Any]:
        if not expansion:
            return [values[name] if name in values else standing[name] for name in order]
        given = {**standing, **values}
        for name, parts in expansion.items():
            given.update(zip(parts, _flat(values[name]), strict=True))
        return [given[name] for name in order]

    return pick


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, tuple):
            yield from value
        else:
            yield value


def _converted(
    rows: list[tuple[Any, ...]], converted: tuple[tuple[int, Callable[[Any], Any]], ...]
) -> list[tuple[Any, ...]]:
    made = []
    for row in rows:
        cells = list(row)
        for index, convert in converted:
            cells[index] = convert(cells[index])
        made.append(tuple(cells))
    return made
