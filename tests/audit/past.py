"""A database as it stood, to be put back: as by a backup, on either database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from config.database import durable
from providers.audit.opening import Opened, open_epoch
from tests.audit.helpers import SUPPLIER, World, actor


@dataclass
class Past:
    """All rows of the durable tables as of one moment."""

    rows: dict[str, list[dict[str, Any]]]

    @classmethod
    def of(cls, world: World) -> Past:
        with world.database.read() as connection:
            found = {
                table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
                for table in durable.sorted_tables
            }
        return cls(found)

    def put_back(self, world: World) -> None:
        with world.database.write() as connection:
            for table in reversed(durable.sorted_tables):
                connection.execute(table.delete())
            for table in durable.sorted_tables:
                if self.rows[table.name]:
                    connection.execute(table.insert(), self.rows[table.name])


def epoch(world: World) -> Opened:
    return open_epoch(world.audit, world.checkpoints, actor("Olle", SUPPLIER))
