"""Merkle trees and their proofs after RFC 6962, section 2.1: pure functions over hashes of 32 bytes.

A stored node (level, index) is the hash over the 2**level leaves from index * 2**level on, all of which exist.
Proofs are made from such nodes, and verified with nothing but hashes (RFC 9162, sections 2.1.3.2 and 2.1.4.2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import reduce

HASH_BYTES = 32
#: The root of a tree without leaves.
EMPTY_ROOT = hashlib.sha256().digest()

Coordinate = tuple[int, int]
NodeAt = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: all that is needed to append leaves and to tell the root. Holds ≤ 64 hashes."""

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Take up a tree of `size` leaves; `hashes` are those of `subtrees(0, size)`."""
        if len(hashes) != size.bit_count():
            raise ValueError("hashes do not fit the size")
        self.size = size
        self._stack = list(hashes)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add the hash of one leaf; return the inner nodes it completes, as (level, index, hash)."""
        made = []
        self.size += 1
        hashed, level = leaf, 0
        while self.size & ((1 << (level + 1)) - 1) == 0:
            hashed = node_hash(self._stack.pop(), hashed)
            level += 1
            made.append((level, (self.size >> level) - 1, hashed))
        self._stack.append(hashed)
        return made

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        return fold(self._stack)


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the hash over full subtrees that stand side by side, the larger to the left."""
    if not hashes:
        return EMPTY_ROOT
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes[:-1]), hashes[-1])


def subtrees(start: int, end: int) -> list[Coordinate]:
    """Return the stored nodes that cover the leaves [start, end) from left to right.

    `start` must be a multiple of the power of two next above `end - start`, as all ranges in RFC 6962 are.
    """
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append((level, start >> level))
        start += 1 << level
    return found


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """Return the leaf ranges whose hashes prove that leaf `index` stands in the tree of `size` leaves."""
    if not 0 <= index < size:
        raise ValueError("no such leaf")
    found = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start = middle
    return found[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """Return the leaf ranges whose hashes prove that the tree of `old` leaves is the beginning of that of `new`."""
    if not 0 <= old <= new:
        raise ValueError("sizes out of order")
    if old in (0, new):
        return []
    found = []
    start, end = 0, new
    is_whole = True  # the old tree's own root need not be told
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            found.append((middle, end))
            end = middle
        else:
            found.append((start, middle))
            start, is_whole = middle, False
    if not is_whole:
        found.append((start, end))
    return found[::-1]


def coordinates(ranges: Iterable[tuple[int, int]]) -> list[Coordinate]:
    """Return all stored nodes that the hashes of `ranges` are made from."""
    return [node for start, end in ranges for node in subtrees(start, end)]


def proof(ranges: Iterable[tuple[int, int]], node_at: NodeAt) -> list[bytes]:
    """Return the hash of each range, from stored nodes."""
    return [fold([node_at(level, index) for level, index in subtrees(start, end)]) for start, end in ranges]


def root(size: int, node_at: NodeAt) -> bytes:
    """Return the root of the tree of `size` leaves, from stored nodes."""
    return fold([node_at(level, index) for level, index in subtrees(0, size)])


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root_hash: bytes) -> bool:
    """Return whether `path` proves that the leaf hash stands at `index` in the tree of `size` leaves."""
    if not 0 <= index < size:
        return False
    position, last, hashed = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            hashed = node_hash(step, hashed)
            while position & 1 == 0 and position:
                position, last = position >> 1, last >> 1
        else:
            hashed = node_hash(hashed, step)
        position, last = position >> 1, last >> 1
    return last == 0 and hashed == root_hash


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Return whether `path` proves that the tree of `new` leaves begins with the tree of `old` leaves."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    steps = list(path)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        return False
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    first = second = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            first, second = node_hash(step, first), node_hash(step, second)
            while position & 1 == 0 and position:
                position, last = position >> 1, last >> 1
        else:
            second = node_hash(second, step)
        position, last = position >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root
