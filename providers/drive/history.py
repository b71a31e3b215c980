"""Looking back: the versions of a document, and the days on which something changed that one may see."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from typing import Any

from sqlalchemy import bindparam, select

from auth.roles import Action, Via
from config.clock import SECOND_US
from config.ids import NOBODY
from providers import tables
from providers.catalogue import contents
from providers.catalogue.change import Lineage
from providers.catalogue.comments import comments
from providers.catalogue.lineage import Shown, links_of, shown_versions
from providers.catalogue.nodes import Node
from providers.catalogue.past import PastTree
from providers.catalogue.standing import Standing, standings
from providers.drive.places import Place
from providers.drive.transaction import Look
from providers.errors import NotFound
from providers.model import Came, SpaceInfo, Version

_HOUR_US = 3600 * SECOND_US
_CHANGES = tables.change.c
_EVENTS = tables.log_entry.c


def _hours_of(at: Any, held: Any) -> Any:
    """Return a query for the hours in which rows lie: a step of an index for each, however many rows an hour has."""

    def next_from(start: Any) -> Any:
        query = select(at).where(held) if start is None else select(at).where(held, at >= start)
        return query.order_by(at).limit(1).scalar_subquery()

    hours = select(next_from(None).label("at")).cte("hours", recursive=True)
    following = next_from((hours.c.at.op("/")(_HOUR_US) + 1) * _HOUR_US)
    hours = hours.union_all(select(following).where(hours.c.at.is_not(None)))
    return select(hours.c.at.op("/")(_HOUR_US)).where(hours.c.at.is_not(None))


_HOURS = _hours_of(_CHANGES.at, _CHANGES.space == bindparam("space"))
_STREAM = select(tables.log.c.id).where(
    tables.log.c.space == bindparam("space"), tables.log.c.party == bindparam("party")
)
_STREAM_HOURS = _hours_of(_EVENTS.at, _EVENTS.log == bindparam("log"))
_DOORS = {int(via): via.name.lower() for via in Via}
_CAME = {
    Lineage.CONTINUED: Came.CONTINUED,
    Lineage.SHARES: Came.SHARED,
    Lineage.REPLACED: Came.REPLACED,
    Lineage.SPLIT: Came.SPLIT,
}


def versioned(node: Node, row: Mapping[Any, Any]) -> Node:
    """Return the node as it was with one of its versions newest."""
    current = row["id"] == node.version_id
    return node._replace(
        version=row["number"],
        version_id=row["id"],
        size=row["size"],
        modified=node.modified if current else row["at"],
    )


def shown_at(look: Look, place: Place) -> list[Shown]:
    """Return the versions that the history of a document shows, oldest first, up to the moment it is looked at."""
    shown = shown_versions(look.connection, place.node.id)
    if isinstance(place.tree, PastTree):
        return [each for each in shown if each.row["change"] <= place.tree.number]
    return shown


def version_at(look: Look, place: Place, number: int) -> Mapping[str, Any]:
    """Return the row of the version that the document's history shows under `number`, its MAC checked.

    Raises NotFound.
    """
    found = next((each.row for each in shown_at(look, place) if each.number == number), None)
    if found is None:
        raise NotFound
    keyring = look.storage.keyring
    return contents.version(look.connection, keyring, place.node.space, found["node"], found["number"])


def versions_of(look: Look, place: Place) -> list[Version]:
    """Return the versions of the document at `place`, oldest first, up to the moment it is looked at."""
    storage = look.storage
    shown = shown_at(look, place)
    said = comments(look.connection, storage.keyring, [each.row["id"] for each in shown])
    stood = standings(look.connection, {each.row["node"] for each in shown})
    numbers = {each.row["id"]: each.number for each in shown}
    came = {
        (link.node, link.number): _CAME[Lineage(link.kind)]
        for node in stood
        for link in links_of(look.connection, node)
        if Lineage(link.kind) in _CAME
    }
    author = lru_cache(partial(author_shown, look, place.space))
    named = {node: _names_then(look, place, held) for node, held in stood.items()}
    return [
        Version(
            number,
            row["id"],
            row["size"],
            row["at"],
            author(row["principal"], row["organisation"]),
            _DOORS[row["via"]],
            named[row["node"]](row["change"]),
            said.get(row["id"], ""),
            _came(row, came, numbers),
            numbers.get(row["origin"]),
            storage.etag(row["id"]),
            contents.sha256_of(storage.keyring, row).hex(),
            row["erased_in"] is not None,
        )
        for number, row in shown
    ]


def _came(row: Mapping[Any, Any], linked: Mapping[tuple[bytes, int], Came], numbers: Mapping[bytes, int]) -> Came:
    found = linked.get((row["node"], row["number"]))
    if found is not None:
        return found
    if row["origin"] is None:
        return Came.WRITTEN
    return Came.RESTORED if row["origin"] in numbers else Came.COPIED


def _names_then(look: Look, place: Place, stood: Sequence[Standing]) -> Callable[[int], str]:
    """Return what tells a document's name when a change made a version of it: today's, if one may not look there.

    What was made while it stood nowhere bears the name it had last.
    """
    starts = [held.from_change for held in stood]
    opened = cache(lambda index: stood[index].opened(look.storage.names))

    def name(number: int) -> str:
        index = bisect_right(starts, number) - 1
        if index < 0:
            return place.node.name
        held = stood[index]
        if held.parent == place.node.parent:
            return str(opened(index))
        then = PastTree(look.storage.names, number)
        folder = then.by_id(look.connection, held.parent)
        chain = () if folder is None else then.ancestry(look.connection, folder)
        return str(opened(index)) if chain and look.resolver.seen_then(chain) else place.node.name

    return name


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
    log = look.connection.execute(_STREAM, {"space": info.id, "party": party}).scalar_one_or_none()
    return set() if log is None else set(look.connection.execute(_STREAM_HOURS, {"log": log}).scalars())
