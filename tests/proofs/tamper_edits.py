"""Edits that whoever holds the disk may make to the catalogue with a copy of SQLite, a table at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Edit = Callable[[sqlite3.Connection], Any]

#: The tables whose rows nobody may lose, change or add unseen.
TABLES = (
    "version",
    "restated",
    "entry",
    "closed_entry",
    "property",
    "grants",
    "change",
    "head",
    "space",
    "log",
    "log_entry",
    "tree_node",
    "checkpoint",
    "chunk",
)
#: Columns that hold nothing which anybody is shown or judged by, and why.
IDLE = {
    ("entry", "revision"): "when a folder's children changed last: it only lets caches go",
    ("head", "sealed_bytes"): "how much of the quota is used",
    ("change", "kind"): "repeats what the rows and the event say; that it is of settings is compared",
    ("checkpoint", "at"): "by when to thin out old ones; the note is what is signed",
    ("chunk", "condemned_at"): "when garbage may go; who relies on it takes it back",
}


@dataclass(frozen=True)
class Target:
    """A row, by its primary key."""

    table: str
    row: sqlite3.Row
    keys: tuple[str, ...]

    @property
    def _where(self) -> str:
        return " AND ".join(f'"{key}" IS ?' for key in self.keys)

    @property
    def _key(self) -> list[Any]:
        return [self.row[key] for key in self.keys]

    def delete(self, connection: sqlite3.Connection) -> None:
        """Remove the row."""
        connection.execute(f"DELETE FROM {self.table} WHERE {self._where}", self._key)

    def set(self, connection: sqlite3.Connection, column: str, value: object) -> None:
        """Change one column."""
        connection.execute(f'UPDATE {self.table} SET "{column}" = ? WHERE {self._where}', [value, *self._key])

    def insert(self, connection: sqlite3.Connection, **changes: object) -> None:
        """Add a row like this one, but for the changes."""
        row = {**dict(self.row), **changes}
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" for _ in row)
        connection.execute(f"INSERT INTO {self.table} ({names}) VALUES ({marks})", list(row.values()))


def targets(connection: sqlite3.Connection, table: str, where: str = "TRUE", *values: object) -> list[Target]:
    """Return the rows of a table, in the order of their keys."""
    found = connection.execute(f"PRAGMA table_info({table})").fetchall()
    keys = tuple(row["name"] for row in sorted(found, key=lambda row: row["pk"]) if row["pk"])
    order = ", ".join(f'"{key}"' for key in keys)
    rows = connection.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY {order}", values)
    return [Target(table, row, keys) for row in rows]


def sample(found: list[Target], count: int) -> list[Target]:
    """Return some rows: the first, the last, and others evenly between."""
    if len(found) <= count:
        return found
    return [found[index * (len(found) - 1) // (count - 1)] for index in range(count)]


def other(column: str, value: object) -> object:
    """Return another value that the column might hold."""
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1]) if value else bytes(range(16))
    if isinstance(value, int):
        return 1 - value if column.startswith(("is_", "has_", "history")) else value + 1
    if value is None:
        return 4_000_000_000_000_000 if column.endswith(("_at", "_change", "_bytes")) else bytes(range(16))
    return f"{value}x"


def changes(found: list[Target]) -> Iterator[tuple[str, Edit]]:
    """Yield, for each column that says anything, an edit that changes it in one row: the last that makes sense."""
    table = found[0].table
    for column in found[0].row.keys():  # noqa: SIM118 (a row of sqlite3 iterates its values)
        if (table, column) in IDLE:
            continue
        target = next((row for row in reversed(found) if _says_something(row, column)), None)
        if target is not None:
            value = other(column, target.row[column])
            if column in target.keys and isinstance(value, int):
                value += 1000  # where no other row stands
            yield column, lambda connection, t=target, c=column, v=value: t.set(connection, c, v)  # type: ignore[misc]


def _says_something(target: Target, column: str) -> bool:
    """A property that is claimed where there is none is shown to nobody, nor a source where the event itself stands."""
    row = target.row
    if column == "has_properties":
        return bool(row[column])
    if target.table == "entry" and column == "version_id":
        return bool(row["version"])
    return not (target.table == "log_entry" and column.startswith("source") and row[column] is None)
