"""What a change asks and writes, each compiled once."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, insert, null, select, update

from auth import tables as auth_tables
from config.queries import Query
from config.statements import Statement
from providers import tables

_HEAD_COLUMNS = (tables.head.c.number, tables.head.c.at, tables.head.c.sealed_bytes)
_HEAD = select(*_HEAD_COLUMNS).where(tables.head.c.space == bindparam("space"))
#: The epoch of rights must be read once the row is locked, which takes another question.
LOCKED_HEAD = Query(_HEAD.add_columns(null().label("epoch")).with_for_update())
#: SQLite's writer is alone: there one question will do.
HEAD_AND_EPOCH = Query(_HEAD.add_columns(select(auth_tables.epoch.c.value).scalar_subquery().label("epoch")))
ADVANCE = Statement(
    update(tables.head)
    .where(tables.head.c.space == bindparam("b_space"))
    .values(number=bindparam("b_number"), at=bindparam("b_at"), sealed_bytes=bindparam("b_sealed"))
)
ENTRY = Statement(insert(tables.entry))
CLOSED = Statement(insert(tables.closed_entry))
CLOSE = Statement(
    delete(tables.entry).where(
        tables.entry.c.parent == bindparam("b_parent"),
        tables.entry.c.lane == bindparam("b_lane"),
        tables.entry.c.folded == bindparam("b_folded"),
    )
)
_NODE = update(tables.entry).where(tables.entry.c.node == bindparam("b_node"))
TOUCH = Statement(_NODE.values(revision=bindparam("b_revision")))
NEW_HEAD = Statement(
    _NODE.values(
        version=bindparam("b_version"),
        version_id=bindparam("b_version_id"),
        size=bindparam("b_size"),
        modified=bindparam("b_modified"),
    )
)
MODIFY = Statement(_NODE.values(modified=bindparam("b_modified"), has_properties=True))
SETTLE = Statement(
    _NODE.values(
        version=bindparam("b_version"),
        version_id=bindparam("b_version_id"),
        size=bindparam("b_size"),
        modified=bindparam("b_modified"),
        has_properties=bindparam("b_has_properties"),
    )
)
HAS_PROPERTIES = Statement(_NODE.values(has_properties=True))
VERSION = Statement(insert(tables.version))
LAST_MAC = Query(
    select(tables.version.c.mac).where(
        tables.version.c.node == bindparam("node"), tables.version.c.number == bindparam("number")
    )
)
LINEAGE = Statement(insert(tables.lineage))
COMMENT = Statement(insert(tables.comment))
CHANGE = Statement(insert(tables.change))
PROPERTY = Statement(insert(tables.property))
OPEN_PROPERTY = Query(
    select(tables.property).where(
        tables.property.c.node == bindparam("node"),
        tables.property.c.key == bindparam("key"),
        tables.property.c.to_change.is_(None),
    )
)
_PROPERTY_ROW = (
    tables.property.c.node == bindparam("b_node"),
    tables.property.c.key == bindparam("b_key"),
    tables.property.c.from_change == bindparam("b_from_change"),
)
CLOSE_PROPERTY = Statement(update(tables.property).where(*_PROPERTY_ROW).values(to_change=bindparam("b_to_change")))
FORGET_PROPERTY = Statement(delete(tables.property).where(*_PROPERTY_ROW))
GRANT = Statement(insert(auth_tables.grants))
CLOSE_GRANT = Statement(
    update(auth_tables.grants)
    .where(auth_tables.grants.c.id == bindparam("b_id"))
    .values(to_change=bindparam("b_to_change"))
)
