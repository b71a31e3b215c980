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
        driver = driver_of(connection) or _sqlite_of(connection)
        if driver is None:
            made = self._made_for(connection.dialect)
            return int(connection.execute(made.write, values, execution_options=_COUNTED).rowcount)
        prepared = self._prepared.get(tuple(values)) or self._prepared_for(connection.dialect, values)
        try:
            count: int = driver.execute(prepared.text, prepared.pick(values)).rowcount
        except connection.dialect.loaded_dbapi.Error as error:
            raise wrapped(connection, prepared.text, error) from error
        return count

    def returned(self, connection: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """Run it once; return the rows that its RETURNING gives."""
        driver = driver_of(connection) or _sqlite_of(connection)
        if driver is None:
            made = self._made_for(connection.dialect)
            return [tuple(row) for row in connection.execute(made.write, values)]
        prepared = self._prepared_for(connection.dialect, values)
        try:
            rows: list[tuple[Any, ...]] = driver.execute(prepared.text, prepared.pick(values)).fetchall()
        except connection.dialect.loaded_dbapi.Error as error:
            raise wrapped(connection, prepared.text, error) from error
        return rows

    def run_many(self, connection: Connection, rows: Sequence[Values]) -> int:
        """Run it for each of `rows`, which name the same values; return how many rows it wrote, -1 if that is not told.

        Lists in them have the same lengths.
        """
        if not rows:
            return 0
        driver = driver_of(connection) or _sqlite_of(connection)
        if driver is None:
            made = self._made_for(connection.dialect)
            return int(connection.execute(made.write, list(rows), execution_options=_COUNTED).rowcount)
        prepared = self._prepared.get(tuple(rows[0])) or self._prepared_for(connection.dialect, rows[0])
        try:
            count: int = driver.executemany(prepared.text, [prepared.pick(row) for row in rows]).rowcount
        except connection.dialect.loaded_dbapi.Error as error:
            raise wrapped(connection, prepared.text, error) from error
        return count

    def _made_for(self, dialect: Dialect) -> _Made:
        found = self._made.get(dialect.name)
        if found is not None:
            return found
        write = self._given(_INSERT[dialect.name]) if callable(self._given) else self._given
        for kind in [each.type for each in parameters_of(write)] + [column.type for column in write.table.columns]:
            if not isinstance(kind, _PLAIN):
                raise TypeError(f"{kind!r} is not among what statements take")
        made = _Made(write, lists_of(write))
        self._made[dialect.name] = made
        return made

    def _prepared_for(self, dialect: Dialect, values: Values) -> Prepared:
        made = self._made_for(dialect)
        shape = (*values, *(len(values[name]) for name in made.lists)) if made.lists else tuple(values)
        found = self._prepared.get(shape)
        if found is None:
            columns = list(values) if isinstance(made.write, Insert) else None
            found = prepare(made.write.compile(dialect=dialect, column_keys=columns), made.lists, values)
            if len(self._prepared) < SHAPES_MAX:
                self._prepared[shape] = found
        return found


def _sqlite_of(connection: Connection) -> Any:
    """Return the driver's connection, in a transaction, of a plain connection to SQLite; None on PostgreSQL."""
    if connection.dialect.name != "sqlite":
        return None
    if not connection.in_transaction():
        connection.begin()
    return connection.connection.dbapi_connection
