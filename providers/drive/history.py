"""Looking back: the versions of a document, and the days on which something changed that one may see."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, select

from auth.roles import Action
from config.clock import SECOND_US
from config.ids import NOBODY
from providers import tables
from providers.catalogue import contents
from providers.catalogue.nodes import Node
from providers.drive.places import Place
from providers.drive.transaction import Look
from providers.model import SpaceInfo, Version

_HOUR_US = 3600 * SECOND_US
_CHANGES = tables.change.c
_HOURS = select(_CHANGES.at.op("/")(_HOUR_US)).distinct().where(_CHANGES.space == bindparam("space"))
_STREAM_HOURS = (
    select(tables.log_entry.c.at.op("/")(_HOUR_US))
    .distinct()
    .join(tables.log, tables.log.c.id == tables.log_entry.c.log)
    .where(tables.log.c.space == bindparam("space"), tables.log.c.party == bindparam("party"))
)


def versioned(node: Node, row: Mapping[Any, Any]) -> Node:
    """Return the node as it was with one of its versions newest."""
    current = row["number"] == node.version
    return node._replace(
        version=row["number"],
        version_id=row["id"],
        size=row["size"],
        modified=node.modified if current else row["at"],
    )


def versions_of(look: Look, place: Place) -> list[Version]:
    """Return the versions of the document at `place`, oldest first, up to the moment it is looked at."""
    storage = look.storage
    return [
        Version(
            number=row["number"],
            id=row["id"],
            size=row["size"],
            at=row["at"],
            by=author_shown(look, place.space, row["principal"], row["organisation"]),
            via=row["via"],
            etag=storage.etag(row["id"]),
            sha256=contents.sha256_of(storage.keyring, row).hex(),
        )
        for row in contents.versions(look.connection, place.node.id)
        if row["number"] <= place.node.version
    ]


def author_shown(look: Look, space: SpaceInfo, person: bytes, organisation: bytes) -> str:
    """Name an author: as the person to those who may see them, else as the organisation or the supplier."""
    me, directory = look.principal, look.storage.directory
    if me.is_supplier or space.is_open or organisation in (me.organisation, directory.supplier_id):
        return directory.person_name(person) or directory.organisation_name(organisation)
    return directory.organisation_name(directory.supplier_id)


def days_seen(look: Look, space: SpaceInfo | None) -> list[str]:
    """Return the days, in the installation's zone, on which something changed that the principal may see.

    Who sees a whole space has all days of its changes; others those of their party's own stream.
    """
    spaces = [space] if space is not None else list(look.sight.spaces.values())
    hours: set[int] = set()
    for info in spaces:
        hours |= _hours(look, info)
    zone = look.resolver.zone
    moments = (datetime.fromtimestamp(hour * 3600, UTC).astimezone(zone) for hour in hours)
    return sorted({moment.date().isoformat() for moment in moments})


def _hours(look: Look, info: SpaceInfo) -> set[int]:
    root = look.storage.tree.root(look.connection, info.id)
    if root is None:
        return set()
    decision = look.sight.decide(Action.HISTORY, (root,), look.at)
    if look.principal.is_supplier and decision.allowed:
        return set(look.connection.execute(_HOURS, {"space": info.id}).scalars())
    party = look.principal.party if not look.principal.is_supplier else NOBODY
    return set(look.connection.execute(_STREAM_HOURS, {"space": info.id, "party": party}).scalars())
