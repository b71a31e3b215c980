"""Folders as adapters see them, remembered where nothing is hidden: then what is seen depends on what stands alone.

Rights are decided at each listing; only the items that they let through whole are kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from providers.catalogue.nodes import Node
from providers.drive.places import Place
from providers.model import Item
from providers.paths import Path, fold

#: How many items of folders lately listed a process remembers; about 10 MB.
ITEMS_MAX = 20_000


class Whole(NamedTuple):
    """All that stands in a folder, as items under its path in the order of folded names.

    `nodes` is what the tree gave, `ids` theirs, `lanes` one of them for each lane that occurs.
    """

    nodes: Sequence[Node]
    items: tuple[Item, ...]
    ids: frozenset[bytes]
    lanes: dict[bytes, Node]


class Listings:
    """Remembers folders whole, each for as long as the tree gives the same nodes. Safe to use from many threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._kept: dict[tuple[bytes, Path], Whole] = {}
        self._count = 0

    def whole(self, place: Place, nodes: Sequence[Node], item_of: Callable[[Path, str, Node], Item]) -> Whole:
        """Return the folder at `place`, which holds `nodes`; the same as before, if the tree remembered them."""
        key = (place.node.id, place.path)
        kept = self._kept.get(key)
        if kept is not None and kept.nodes is nodes:
            return kept
        ordered = sorted(nodes, key=lambda node: fold(node.name))
        items = tuple([item_of(place.path.joined(node.name), node.name, node) for node in ordered])
        made = Whole(nodes, items, frozenset([node.id for node in nodes]), {node.lane: node for node in nodes})
        self._keep(key, made)
        return made

    def _keep(self, key: tuple[bytes, Path], made: Whole) -> None:
        if len(made.items) > ITEMS_MAX:
            return
        with self._guard:
            self._forget(key)
            while self._count + len(made.items) > ITEMS_MAX:
                self._forget(next(iter(self._kept)))
            self._kept[key] = made
            self._count += len(made.items)

    def _forget(self, key: tuple[bytes, Path]) -> None:
        kept = self._kept.pop(key, None)
        self._count -= 0 if kept is None else len(kept.items)
