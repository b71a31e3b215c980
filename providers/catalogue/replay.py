"""The rows that changes wrote, as they stand now, gathered again in their canonical form by the change.

What `verify` compares with the log, and what an erasure states anew of the changes whose rows it takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Connection, Table, func, or_, select

from auth import tables as auth_tables
from providers import tables
from providers.catalogue import rows

#: Beyond so many changes all rows of the space are read, instead of asking for them.
ASKED_MAX = 1000

Written = dict[int, list[bytes]]


def gathered(connection: Connection, space: bytes, numbers: Collection[int] | None = None) -> Written:
    """Return the canonical rows of a space's changes, or of those of them in `numbers`, but for the space's own row."""
    written: Written = defaultdict(list)
    for number, row in _all(connection, space, numbers):
        if numbers is None or number in numbers:
            written[number].append(row)
    return written


def _all(connection: Connection, space: bytes, numbers: Collection[int] | None) -> Iterator[tuple[int, bytes]]:
    def found(table: Table, *by: str) -> Iterator[Any]:
        query = select(table).where(table.c.space == space)
        if numbers is not None and len(numbers) <= ASKED_MAX:
            query = query.where(or_(*(table.c[name].in_(list(numbers)) for name in by)))
        yield from connection.execute(query).mappings()

    for row in found(tables.entry, "from_change"):
        yield row["from_change"], rows.entry_opened(row)
    for row in found(tables.closed_entry, "from_change", "to_change"):
        yield row["from_change"], rows.entry_opened(row)
        yield row["to_change"], rows.entry_closed(row)
    for row in found(tables.version, "change", "erased_in"):
        yield row["change"], rows.version_added(row)
        if row["erased_in"] is not None:
            yield row["erased_in"], rows.version_erased(row)
    for row in found(tables.lineage, "change"):
        yield row["change"], rows.lineage_added(row)
    for row in found(tables.comment, "change"):
        yield row["change"], rows.comment_added(row)
    for row in found(tables.restated, "by_change"):
        yield row["by_change"], rows.restated(row)
    for row in found(tables.property, "from_change", "to_change"):
        yield row["from_change"], rows.property_opened(row)
        if row["to_change"] is not None:
            yield row["to_change"], rows.property_closed(row)
    for row in found(auth_tables.grants, "from_change", "to_change"):
        yield row["from_change"], rows.grant_opened(row)
        if row["to_change"] is not None:
            yield row["to_change"], rows.grant_closed(row)


def standing_digests(connection: Connection, space: bytes) -> dict[int, tuple[int, bytes]]:
    """Return, of each change that an erasure took rows of, the erasure's change and the digest of what was left."""
    table = tables.restated
    newest = (
        select(table.c.number, func.max(table.c.by_change).label("by_change"))
        .where(table.c.space == space)
        .group_by(table.c.number)
        .subquery()
    )
    joined = table.join(newest, (table.c.number == newest.c.number) & (table.c.by_change == newest.c.by_change))
    query = select(table.c.number, table.c.by_change, table.c.digest).select_from(joined).where(table.c.space == space)
    return {row.number: (row.by_change, row.digest) for row in connection.execute(query)}
