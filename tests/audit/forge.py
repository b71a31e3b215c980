"""What somebody with the server's own keys could do to its logs: change what was said, and sign it all anew."""

from __future__ import annotations

from dataclasses import replace

from providers import tables
from providers.audit.leaf import Body
from providers.audit.log import body_label, projected, stored
from providers.audit.merkle import leaf_hash
from tests.audit.helpers import World


def change_event(world: World, number: int, **fields: object) -> None:
    """Give an event of the space's log other fields, sealed as the server would."""
    info = world.log()
    table = tables.log_entry
    with world.database.write() as connection:
        (row,) = stored(connection, info.id, number, number + 1)
        body = world.audit.open_body(info, row, {info.id: info.uid})
        body = replace(body, fields={**body.fields, **fields})
        sealed = world.audit.sealer(world.space).seal(body_label(info.uid, number), body.to_bytes())
        connection.execute(table.update().where(table.c.log == info.id, table.c.number == number).values(body=sealed))


def drop_last(world: World, count: int, party: bytes = b"") -> None:
    """Remove the last events of a log."""
    info = world.log(party)
    table = tables.log_entry
    with world.database.write() as connection:
        connection.execute(table.delete().where(table.c.log == info.id, table.c.number >= info.size - count))
        connection.execute(tables.log.update().where(tables.log.c.id == info.id).values(size=info.size - count))


def rebuild(world: World) -> None:
    """Make every leaf, tree and checkpoint anew from what the bodies now say."""
    table = tables.log_entry
    with world.database.write() as connection:
        for info in world.audit.logs(connection):
            uids = world.audit.uids(connection, info.space)
            for row in list(stored(connection, info.id, 0, info.size)):
                body: Body = world.audit.open_body(info, row, uids)
                hashed = leaf_hash(projected(info, row, body, uids).leaf)
                where = (table.c.log == info.id) & (table.c.number == row.number)
                connection.execute(table.update().where(where).values(leaf_hash=hashed, at=body.at))
        connection.execute(tables.tree_node.delete())
        connection.execute(tables.checkpoint.delete())
        connection.execute(tables.log.update().values(signed_size=0))
    world.checkpoints.advance_now()
