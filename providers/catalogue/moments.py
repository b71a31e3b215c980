"""Two moments of one folder, side by side: every node that stood in it at either, where it stood then and stands after.

Nodes are told apart by their ids, so that what was renamed or moved is found as itself. The walk holds one path down
the tree and what is known of folders, never all that stands in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from sqlalchemy import Connection

from providers.catalogue.nodes import Node, Tree
from providers.catalogue.past import PastTree
from providers.catalogue.standing import standings


class Lies(Enum):
    """Where something lies at a moment: in the folder that is looked at, elsewhere in the space, or in the trash."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    NOWHERE = "nowhere"


class Where(NamedTuple):
    """Where a folder lies, with the nodes from the space's root down to it."""

    lies: Lies
    chain: tuple[Node, ...]


_NOWHERE = Where(Lies.NOWHERE, ())


class Pair(NamedTuple):
    """A node at two moments; None where no entry of it held. `where_*` tell of the folders it is in then."""

    before: Node | None
    where_before: Where
    after: Node | None
    where_after: Where

    @property
    def node(self) -> Node:
        """The node, as it is after if it is."""
        found = self.after if self.after is not None else self.before
        assert found is not None
        return found

    @property
    def was_inside(self) -> bool:
        """Whether it stood in the folder before."""
        return self.before is not None and self.where_before.lies is Lies.INSIDE

    @property
    def is_inside(self) -> bool:
        """Whether it stands in the folder after."""
        return self.after is not None and self.where_after.lies is Lies.INSIDE


class Side:
    """One of the two moments: its tree, and where folders lie in it."""

    def __init__(self, connection: Connection, tree: Tree | PastTree, chain: tuple[Node, ...]) -> None:
        self.tree = tree
        self._connection = connection
        self._known: dict[bytes, Where] = {chain[-1].id: Where(Lies.INSIDE, chain)}

    def where(self, folder: bytes) -> Where:
        """Return where a folder lies."""
        known = self._known.get(folder)
        if known is None:
            node = self.tree.by_id(self._connection, folder)
            known = _NOWHERE
            if node is not None and not node.parent:
                known = Where(Lies.OUTSIDE, (node,))
            elif node is not None:
                self._known[folder] = _NOWHERE  # lest a circle in damaged rows go on for ever
                above = self.where(node.parent)
                known = _NOWHERE if above.lies is Lies.NOWHERE else Where(above.lies, (*above.chain, node))
            self._known[folder] = known
        return known

    def children(self, folder: Node) -> dict[bytes, Node]:
        """Return all that has its entry in a folder, by id."""
        return {node.id: node for node in self.tree.children(self._connection, folder)}

    def nodes(self, ids: Sequence[bytes]) -> Mapping[bytes, Node]:
        """Return those of some nodes of which an entry holds at this moment."""
        if not ids:
            return {}
        if isinstance(self.tree, Tree):
            found = (self.tree.by_id(self._connection, node) for node in ids)
            return {node.id: node for node in found if node is not None}
        number = self.tree.number
        held = [each for stood in standings(self._connection, ids).values() for each in stood if each.held_at(number)]
        return {node.id: node for node in self.tree.nodes_of(self._connection, held)}


def walk(before: Side, after: Side, folder: Node) -> Iterator[Pair]:
    """Yield all that stood in a folder at either of two moments, each once, folders before what they hold.

    What has its entry in a folder that lies in it before, but not after, comes along, since it returns with that.
    """
    pending = [folder]
    while pending:
        here = pending.pop()
        was, now = before.where(here.id), after.where(here.id)
        then = before.children(here) if was.lies is Lies.INSIDE else {}
        standing = after.children(here)
        stood = before.nodes([node for node in standing if node not in then])
        stands = after.nodes([node for node in then if node not in standing])
        inside = now.lies is Lies.INSIDE
        for node in standing.values():
            held = then.get(node.id) or stood.get(node.id)
            pair = _pair(before, after, held, node)
            if not inside and pair.was_inside and node.id not in then:
                continue  # it comes with the folder that it was in
            yield pair
            if node.is_folder and (inside or pair.was_inside):
                pending.append(node)
        for node in then.values():
            if node.id in standing:
                continue
            pair = _pair(before, after, node, stands.get(node.id))
            if pair.is_inside:
                continue  # it comes with the folder that it is in
            yield pair
            if node.is_folder:
                pending.append(node)


def _pair(before: Side, after: Side, held: Node | None, node: Node | None) -> Pair:
    return Pair(
        held,
        _NOWHERE if held is None else before.where(held.parent),
        node,
        _NOWHERE if node is None else after.where(node.parent),
    )
