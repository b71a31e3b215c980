"""Looking back: the versions of a document, and the days on which something changed that one may see."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from sqlalchemy import bindparam, select

from auth.roles import Action, Via
from config.clock import SECOND_US
from config.ids import NOBODY
from providers import tables
from providers.catalogue import contents
from providers.catalogue.change import Lineage
from providers.catalogue.comments import comments
from providers.catalogue.contents import opened_sum
from providers.catalogue.lineage import Line, Page, Past, Shown
from providers.catalogue.nodes import Node
from providers.catalogue.past import PastTree
from providers.catalogue.standing import standing_at, standings_between
from providers.drive.places import Place
from providers.drive.transaction import Look
from providers.errors import NotFound
from providers.model import Came, SpaceInfo, Version
from providers.paths import Path

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
#: How many versions a page of a history tells of, where nobody says otherwise.
HISTORY_PAGE = 20
#: How many are read at once where all are wanted.
_BATCH = 500
_EVERY = (1 << 63) - 1
_CAME: dict[int, Came] = {
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


def version_at(look: Look, place: Place, number: int) -> Mapping[str, Any]:
    """Return the row of the version that the document's history shows under `number`, its MAC checked.

    Raises NotFound.
    """
    found = Past(look.connection, place.node.id).at(number)
    if found is None:
        raise NotFound
    keyring = look.storage.keyring
    return contents.version(look.connection, keyring, place.node.space, found.row.node, found.row.number)


def page_of(look: Look, path: Path, limit: int, before: int | None, *, sums: bool) -> tuple[list[Version], int | None]:
    """Return the newest `limit` versions of the document at `path`, newest first, of those with lower numbers than
    `before`; and the number to go on before, None at the end. Sums stay sealed unless `sums` asks for them.
    """
    place = look.document(path)
    look.allow(Action.HISTORY, place)
    past = Past(look.connection, place.node.id)
    page = past.page(max(limit, 1), before)
    return _told(look, place, past, page, sums=sums), page.shown[-1].number if page.more else None


def versions_of(look: Look, path: Path) -> list[Version]:
    """Return all versions of the document at `path`, oldest first."""
    found, before = page_of(look, path, _BATCH, None, sums=True)
    while before is not None:
        some, before = page_of(look, path, _BATCH, before, sums=True)
        found += some
    return found[::-1]


def _told(look: Look, place: Place, past: Past, page: Page, *, sums: bool) -> list[Version]:
    """Return what there is to say of the versions of a page: a few statements, however many they are.

    There are many lines, and most are plain: what costs a call is done for those alone that need it.
    """
    keyring, shown = look.storage.keyring, page.shown
    said = comments(look.connection, keyring, [row.id for _, row in shown if row.said])
    numbers = _numbers(past, shown)
    came = {(link.node, link.number): _CAME[link.kind] for link in page.links if link.kind in _CAME}
    author = cache(partial(author_shown, look, place.space))
    names = {node: _names_then(look, place, node, rows) for node, rows in _by_node(shown).items()}
    told = []
    for number, row in shown:
        node, _, version, space, change, size, digest, at, principal, organisation, via, origin, erased_in, _ = row
        name = names[node]
        told.append(
            Version(
                number,
                version,
                size,
                at,
                author(principal, organisation),
                _DOORS[via],
                name if isinstance(name, str) else name(change),
                said.get(version, ""),
                Came.WRITTEN if origin is None and not came else _came(row, came, numbers),
                None if origin is None else numbers.get(origin),
                opened_sum(keyring, space, version, digest).hex() if sums and erased_in is None else "",
                erased_in is not None,
            )
        )
    return told


def _numbers(past: Past, shown: Sequence[Shown]) -> dict[bytes, int]:
    """Return the numbers under which the versions are shown that those of a page repeat, if they are of this past."""
    origins = {row.origin for _, row in shown if row.origin is not None}
    if not origins:
        return {}
    found = {row.id: number for number, row in shown if row.id in origins}
    return found | past.numbers(origins - found.keys())


def _by_node(shown: Sequence[Shown]) -> dict[bytes, list[Line]]:
    found: dict[bytes, list[Line]] = {}
    for _, row in shown:
        found.setdefault(row.node, []).append(row)
    return found


def _came(row: Line, linked: Mapping[tuple[bytes, int], Came], numbers: Mapping[bytes, int]) -> Came:
    found = linked.get((row.node, row.number)) if linked else None
    if found is not None:
        return found
    if row.origin is None:
        return Came.WRITTEN
    return Came.RESTORED if row.origin in numbers else Came.COPIED


def _names_then(look: Look, place: Place, node: bytes, rows: Sequence[Line]) -> str | Callable[[int], str]:
    """Return a document's name, or what tells it, when a change made one of `rows`, its versions, newest first:
    today's, if one may not look there. What was made while it stood nowhere bears the name it had last.
    """
    standing = place.node
    if node == standing.id and rows[-1].change >= standing.from_change:
        return standing.name
    stood = standings_between(look.connection, node, rows[-1].change, rows[0].change)
    starts = [held.from_change for held in stood]
    opened = cache(lambda index: stood[index].opened(look.storage.names))

    seen = cache(lambda parent: _Way(look, parent))

    def name(number: int) -> str:
        index = bisect_right(starts, number) - 1
        if index < 0:
            return standing.name
        parent = stood[index].parent
        return str(opened(index)) if parent == standing.parent or seen(parent).at(number) else standing.name

    return name


class _Way:
    """Tells whether one may look into a folder as of changes. It is asked once for as long as all above it stayed."""

    def __init__(self, look: Look, folder: bytes) -> None:
        self._look = look
        self._folder = folder
        self._known: list[tuple[int, int, bool]] = []

    def at(self, number: int) -> bool:
        """Return whether the folder stood then, and is seen as of that change."""
        found = next((seen for low, high, seen in self._known if low <= number < high), None)
        if found is None:
            then = PastTree(self._look.storage.names, number)
            folder = then.by_id(self._look.connection, self._folder)
            chain = () if folder is None else then.ancestry(self._look.connection, folder)
            found = bool(chain) and self._look.resolver.seen_then(chain)
            self._known.append((*self._stayed(chain, number), found))
        return found

    def _stayed(self, chain: Sequence[Node], number: int) -> tuple[int, int]:
        """Return from which change on, and until which, all folders of `chain` stood as they did as of `number`."""
        stood = [standing_at(self._look.connection, node.id, number) for node in chain]
        held = [each for each in stood if each is not None]
        if not held:
            return number, number + 1
        ends = [each.to_change for each in held if each.to_change is not None]
        return max(each.from_change for each in held), min(ends, default=_EVERY)


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
