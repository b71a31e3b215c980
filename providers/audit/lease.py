"""A lease: which of many processes does a work that one should do. Kept in the transient tables.

It saves work, no more: what is done under it must be right even if two believe to hold it.
"""

from __future__ import annotations

from sqlalchemy import select

from config.clock import SECOND_US
from config.database import Database
from config.ids import new_id
from providers import tables


class Lease:
    """One process's claim to a named work. Another takes over `seconds` after the holder last asked.

    One that runs longer than that was taken by a clock that was ahead, and has been put right: it counts for nothing.
    """

    def __init__(self, database: Database, name: bytes, *, seconds: int = 4) -> None:
        self._database = database
        self._name = name
        self._holder = new_id()
        self._length = seconds * SECOND_US

    def held(self) -> bool:
        """Return whether this process may do the work now, taking or prolonging the lease if need be."""
        table = tables.lease
        with self._database.transient_read() as connection:
            now = self._database.now_us(connection)
            row = connection.execute(select(table).where(table.c.name == self._name)).first()
        if row is not None and now < row.until <= now + self._length:
            if row.holder != self._holder:
                return False
            if row.until - now > self._length // 2:
                return True
        with self._database.transient_write() as connection:
            now = self._database.now_us(connection)
            until = now + self._length
            statement = self._database.insert(table).values(name=self._name, holder=self._holder, until=until)
            free = (table.c.until <= now) | (table.c.until > until) | (table.c.holder == self._holder)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["name"], set_={"holder": self._holder, "until": until}, where=free
                )
            )
            query = select(table.c.holder).where(table.c.name == self._name)
            return bool(connection.execute(query).scalar_one() == self._holder)

    def release(self) -> None:
        """Give the work up, so that another need not wait."""
        table = tables.lease
        with self._database.transient_write() as connection:
            connection.execute(table.delete().where(table.c.name == self._name, table.c.holder == self._holder))
