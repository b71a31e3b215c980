"""What people say of versions. A comment is sealed, belongs to a change, and a later one takes its place."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from auth.keyring import Keyring
from config.queries import Query
from providers import tables

_C = tables.comment.c
_BATCH = 500
_OF = Query(
    select(_C.version, _C.space, _C.change, _C.text)
    .where(_C.version.in_(bindparam("versions", expanding=True)))
    .order_by(_C.change)
)


def comments(connection: Connection, keyring: Keyring, versions: Sequence[bytes]) -> dict[bytes, str]:
    """Return what is said of versions, by their ids; those of which nothing is said are missing."""
    found: dict[bytes, str] = {}
    for start in range(0, len(versions), _BATCH):
        for version, space, _, text in _OF.rows(connection, versions=list(versions[start : start + _BATCH])):
            found[version] = keyring.space(space).names.open(b"comment" + version, text).decode("utf-8")
    return {version: text for version, text in found.items() if text}
