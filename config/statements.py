"""Writes that run in every request: compiled once, and on SQLite run by the driver itself. See `config.queries`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, Connection, Delete, Dialect, Insert, Integer, LargeBinary, String, Table, Update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import NullType

from config.queries import SHAPES_MAX, Prepared, lists_of, parameters_of, prepare
from config.snapshots import driver_of, wrapped

#: What the driver takes as it is, so that nothing need look at each value; a bare `bindparam` has no type.
_PLAIN = (LargeBinary, Integer, Boolean, String, NullType)

#: An INSERT does not count its rows unasked.
_COUNTED = {"preserve_rowcount": True}

Write = Insert | Update | Delete
#: A write, or what makes one from a dialect's own INSERT, which knows ON CONFLICT.
Given = Write | Callable[[Any], Write]
Values = dict[str, Any]

_INSERT: Mapping[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@dataclass(frozen=True, slots=True)
class _Made:
    """A statement of one dialect, and which of its parameters are lists."""

    write: Write
    lists: tuple[str, ...]


class Statement:
    """An INSERT, UPDATE or DELETE with named parameters, some of which may be lists (`expanding`).

    An INSERT's parameters are the columns of its rows; what an UPDATE sets needs a `bindparam` of another name than its
    column's. Values are bytes, integers, truths, texts or None. Raises what `connection.execute` raises. Safe to use
    from any number of threads.
    """

    def __init__(self, given: Given) -> None:
        self._given = given
        self._made: dict[str, _Made] = {}
        self._prepared: dict[tuple[object, ...], Prepared] = {}

    def run(self, connection: Connection, **values: Any) -> int:
        """Run it once; return how many rows it wrote."""
        dialect = connection.dialect
        made = self._made.get(dialect.name) or self._make(dialect)
        if dialect.name != "sqlite":
            return int(connection.execute(made.write, values, execution_options=_COUNTED).rowcount)
        prepared = self._prepared_for(dialect, made, values)
        return int(_driven(connection, "execute", prepared.text, prepared.pick(values)).rowcount)

    def run_many(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Run it for each of `rows`, which name the same values; lists in them have the same lengths."""
        if not rows:
            return
        dialect = connection.dialect
        made = self._made.get(dialect.name) or self._make(dialect)
        if dialect.name != "sqlite":
            connection.execute(made.write, list(rows))
            return
        prepared = self._prepared_for(dialect, made, rows[0])
        _driven(connection, "executemany", prepared.text, [prepared.pick(row) for row in rows])

    def _make(self, dialect: Dialect) -> _Made:
        write = self._given(_INSERT[dialect.name]) if callable(self._given) else self._given
        for kind in [each.type for each in parameters_of(write)] + [column.type for column in write.table.columns]:
            if not isinstance(kind, _PLAIN):
                raise TypeError(f"{kind!r} is not among what statements take")
        made = _Made(write, lists_of(write))
        self._made[dialect.name] = made
        return made

    def _prepared_for(self, dialect: Dialect, made: _Made, values: Values) -> Prepared:
        shape = (*values, *(len(values[name]) for name in made.lists)) if made.lists else tuple(values)
        found = self._prepared.get(shape)
        if found is None:
            columns = list(values) if isinstance(made.write, Insert) else None
            found = prepare(made.write.compile(dialect=dialect, column_keys=columns), made.lists, values)
            if len(self._prepared) < SHAPES_MAX:
                self._prepared[shape] = found
        return found


def _driven(connection: Connection, how: str, text: str, values: Any) -> Any:
    """Let the driver run a text; its errors are told as SQLAlchemy tells them, their values left out."""
    driver = driver_of(connection)
    if driver is None:
        if not connection.in_transaction():
            connection.begin()
        driver = connection.connection.dbapi_connection
    try:
        return getattr(driver, how)(text, values)
    except connection.dialect.loaded_dbapi.Error as error:
        raise wrapped(connection, text, error) from error
