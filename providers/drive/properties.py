"""Dead properties of RFC 4918: what clients keep beside a document, by Clark name, as XML text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import bindparam, select

from auth.roles import Action
from providers import tables
from providers.catalogue.change import MODIFIED, ChangeKind
from providers.catalogue.nodes import Node
from providers.catalogue.past import PastTree
from providers.catalogue.props import opened, properties_at
from providers.drive.guards import chain_slots, require_conditions, require_unlocked
from providers.drive.places import Container, Place
from providers.drive.session import Session
from providers.drive.transaction import Look, Transaction
from providers.errors import PropertiesTooLong
from providers.model import Conditions, Item
from providers.paths import Path

_P = tables.property.c
_STANDING = select(_P.node, _P.key, _P.value).where(
    _P.node.in_(bindparam("nodes", expanding=True)), _P.to_change.is_(None)
)
_BATCH = 500
#: How much of what is said of a folder's children is told at once, and of how many at a time it is read. What Explorer
#: says of 30,000 documents comes to no more. In memory it takes some three times as much until the answer has left.
BELOW_BYTES_MAX = 16 << 20
_BATCH_BELOW = 100


def properties_of(look: Look, node: Node) -> dict[str, str]:
    """Return the properties that stand on a node, ours among them."""
    return _opened(look, node.space, [node.id]).get(node.id, {}) if node.has_properties else {}


def _opened(look: Look, space: bytes, nodes: Sequence[bytes]) -> dict[bytes, dict[str, str]]:
    sealer = look.storage.keyring.space(space).names
    found: dict[bytes, dict[str, str]] = {}
    for start in range(0, len(nodes), _BATCH):
        for node, key, value in look.connection.execute(_STANDING, {"nodes": list(nodes[start : start + _BATCH])}):
            name = sealer.open_name(node, key)
            found.setdefault(node, {})[name] = sealer.open(b"property" + node + key, value).decode("utf-8")
    return found


def _opened_then(look: Look, number: int, nodes: Sequence[Node]) -> dict[bytes, dict[str, str]]:
    """Return the properties that nodes of one space had as of a change."""
    bearing = properties_at(look.connection, [node.id for node in nodes], number)
    return {
        node.id: dict(opened(look.storage.names.sealer(node.space), each) for each in bearing[node.id].values())
        for node in nodes
        if node.id in bearing
    }


def _dead(properties: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in properties.items() if name != MODIFIED}


def properties(look: Look, path: Path) -> dict[str, str]:
    """Return the dead properties of what stands at `path`."""
    found = look.find(path)
    if isinstance(found, Container):
        return {}
    return dead_properties(look, found)


def dead_properties(look: Look, place: Place) -> dict[str, str]:
    """Return the dead properties of what stands at a place; of a place of the past, those that it had then."""
    if isinstance(place.tree, PastTree):
        return _dead(_opened_then(look, place.tree.number, [place.node]).get(place.node.id, {}))
    return _dead(properties_of(look, place.node))


def properties_below(look: Look, path: Path) -> dict[str, dict[str, str] | None]:
    """Return the dead properties of a folder's children, by the names shown; None for those beyond BELOW_BYTES_MAX."""
    found = look.find(path)
    if isinstance(found, Container):
        return {}
    bearing = {node.id: (name, node) for name, node in look.resolver.children(found) if node.has_properties}
    nodes, left = [node for _, node in bearing.values()], BELOW_BYTES_MAX
    held: dict[bytes, dict[str, str] | None] = dict.fromkeys(bearing)
    for start in range(0, len(nodes), _BATCH_BELOW):
        batch = nodes[start : start + _BATCH_BELOW]
        if isinstance(found.tree, PastTree):
            read = _opened_then(look, found.tree.number, batch)
        else:
            read = _opened(look, found.space.id, [node.id for node in batch])
        for node in batch:
            standing = read.get(node.id, {})
            left -= _bytes_of(standing)
            if left < 0:
                break
            held[node.id] = standing
        if left < 0:
            break
    shown = {bearing[node][0]: None if each is None else _dead(each) for node, each in held.items()}
    return {name: each for name, each in shown.items() if each != {}}


def differing(look: Look, node: Node, wanted: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return those of `wanted` that a node does not have yet; None is for those that it shall have no longer.

    Raises PropertiesTooLong if it would have more than may be kept, unless it has more already and will have less.
    """
    standing = properties_of(look, node)
    after = {name: value for name, value in {**standing, **wanted}.items() if value is not None}
    limit = look.storage.limits.properties_bytes_max
    if _bytes_of(after) > max(limit, _bytes_of(standing)):
        raise PropertiesTooLong(limit=limit)
    return {name: value for name, value in wanted.items() if standing.get(name) != value}


def _bytes_of(properties: Mapping[str, str]) -> int:
    return sum(len(name.encode("utf-8")) + len(value.encode("utf-8")) for name, value in properties.items())


def change_properties(
    session: Session,
    path: Path,
    changes: Sequence[tuple[str, str | None]],
    *,
    modified: int | None,
    conditions: Conditions,
) -> Item:
    """Set (or, with None, remove) properties in the order given, all or none, and a time of modification in µs."""

    def work(tx: Transaction) -> Item:
        place: Place = tx.place(path)
        tx.allow(Action.REPLACE, place)
        require_conditions(tx, path, conditions, may_lapse=True)
        require_unlocked(tx, chain_slots(place.chain), conditions, path)
        wanted, node = differing(tx, place.node, dict(changes)), place.node
        if not wanted and (modified is None or modified == node.modified):
            return tx.item(place)
        change = tx.change(place.space.id)
        for name, value in wanted.items():
            change.set_property(node, name, value)
        if modified is not None and modified != node.modified:
            node = change.set_modified(node, modified)
        after = place.bearing(node)
        tx.finish(ChangeKind.PROPERTIES, after, "set_property", facts={"count": len(wanted)})
        return tx.item(after)

    return session.commit([path], work)
