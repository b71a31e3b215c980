"""Trees and proofs against RFC 6962's recursive definition, and the vectors of Certificate Transparency's own tests."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.audit import merkle

#: Leaves and roots of the reference implementation's tests (certificate-transparency, merkle_tree_test).
LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657")] + [
    bytes(range(0x60, 0x70))
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, over leaf data, as it is written there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_consistency(m: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2."""
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*naive_consistency(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_consistency(m - k, leaves[k:], False), naive_root(leaves[:k])]


def grown(leaves: list[bytes]) -> tuple[merkle.Frontier, dict[tuple[int, int], bytes]]:
    frontier = merkle.Frontier()
    nodes = {}
    for number, leaf in enumerate(leaves):
        nodes[0, number] = merkle.leaf_hash(leaf)
        nodes.update({(level, index): found for level, index, found in frontier.append(nodes[0, number])})
    return frontier, nodes


def leaves_of(size: int) -> list[bytes]:
    return [b"%d" % number for number in range(size)]


def test_roots_are_those_of_the_reference_implementation() -> None:
    assert merkle.EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for size in range(1, 9):
        frontier, nodes = grown(LEAVES[:size])
        assert frontier.root().hex() == ROOTS[size - 1]
        assert merkle.root(size, lambda level, index, nodes=nodes: nodes[level, index]).hex() == ROOTS[size - 1]


@given(st.integers(0, 300))
def test_frontier_and_stored_nodes_agree_with_the_definition(size: int) -> None:
    frontier, nodes = grown(leaves_of(size))
    assert frontier.root() == naive_root(leaves_of(size))
    assert merkle.root(size, lambda level, index: nodes[level, index]) == frontier.root()
    assert len(nodes) <= 2 * size


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_frontier_taken_up_again_goes_on_as_if_never_left(start: int, more: int) -> None:
    _, nodes = grown(leaves_of(start))
    again = merkle.Frontier(start, [nodes[at] for at in merkle.subtrees(0, start)])
    for leaf in leaves_of(start + more)[start:]:
        again.append(merkle.leaf_hash(leaf))
    assert again.root() == naive_root(leaves_of(start + more))


@given(st.data())
def test_inclusion_proofs(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 200))
    index = data.draw(st.integers(0, size - 1))
    leaves = leaves_of(size)
    frontier, nodes = grown(leaves)
    path = merkle.proof(merkle.inclusion_ranges(index, size), lambda level, at: nodes[level, at])
    assert path == naive_path(index, leaves)
    leaf, top = merkle.leaf_hash(leaves[index]), frontier.root()
    assert merkle.verify_inclusion(leaf, index, size, path, top)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"other"), index, size, path, top)
    assert not merkle.verify_inclusion(leaf, index, size, [*path, top], top)
    assert not merkle.verify_inclusion(leaf, size, size, path, top)
    for position in range(len(path)):
        bent = [*path[:position], merkle.leaf_hash(b"bent"), *path[position + 1 :]]
        assert not merkle.verify_inclusion(leaf, index, size, bent, top)
        assert not merkle.verify_inclusion(leaf, index, size, path[:position] + path[position + 1 :], top)


@given(st.data())
def test_consistency_proofs(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 200))
    old = data.draw(st.integers(1, new))
    leaves = leaves_of(new)
    frontier, nodes = grown(leaves)
    path = merkle.proof(merkle.consistency_ranges(old, new), lambda level, at: nodes[level, at])
    assert path == naive_consistency(old, leaves)
    before, after = naive_root(leaves[:old]), frontier.root()
    assert merkle.verify_consistency(old, new, before, after, path)
    other = naive_root([*leaves[: old - 1], b"changed"])
    assert not merkle.verify_consistency(old, new, other, after, path)
    if old < new:
        assert not merkle.verify_consistency(old, new, before, naive_root([*leaves[:-1], b"changed"]), path)
        for position in range(len(path)):
            bent = [*path[:position], merkle.leaf_hash(b"bent"), *path[position + 1 :]]
            assert not merkle.verify_consistency(old, new, before, after, bent)
            assert not merkle.verify_consistency(old, new, before, after, path[:position] + path[position + 1 :])
    assert not merkle.verify_consistency(old, new, before, after, [*path, after])


def test_every_proof_of_every_small_tree() -> None:
    for size in range(1, 34):
        leaves = leaves_of(size)
        frontier, nodes = grown(leaves)
        for index in range(size):
            ranges = merkle.inclusion_ranges(index, size)
            assert set(merkle.coordinates(ranges)) <= nodes.keys()
            path = merkle.proof(ranges, lambda level, at, nodes=nodes: nodes[level, at])
            assert merkle.verify_inclusion(nodes[0, index], index, size, path, frontier.root())
            wrong = random.Random(index).randrange(size)
            assert wrong == index or not merkle.verify_inclusion(nodes[0, index], wrong, size, path, frontier.root())


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        merkle.inclusion_ranges(3, 3)
    with pytest.raises(ValueError, match="out of order"):
        merkle.consistency_ranges(4, 3)
    with pytest.raises(ValueError, match="do not fit"):
        merkle.Frontier(3, [b""])
    assert not merkle.verify_consistency(0, 3, b"", b"", [])
    assert merkle.verify_consistency(0, 3, merkle.EMPTY_ROOT, b"x" * 32, [])
    assert merkle.consistency_ranges(0, 3) == []


def test_a_path_that_goes_on_breaks_off_or_leads_nowhere_proves_nothing() -> None:
    """Each of these would add up, if only the hashes were compared."""
    one, two, three, four = (merkle.leaf_hash(b"%d" % number) for number in range(4))
    assert not merkle.verify_inclusion(one, 0, 1, [two], merkle.node_hash(two, one))
    for old, new, path in ((1, 4, []), (2, 1, []), (3, 4, [])):
        assert not merkle.verify_consistency(old, new, one, one, path)
    assert merkle.verify_consistency(0, 4, merkle.EMPTY_ROOT, one, [])
    assert not merkle.verify_consistency(0, 4, merkle.EMPTY_ROOT, one, [two])
    before, after = merkle.node_hash(three, one), merkle.node_hash(three, merkle.node_hash(one, two))
    assert merkle.verify_consistency(3, 4, before, after, [one, two, three])
    before, after = merkle.node_hash(four, before), merkle.node_hash(four, after)
    assert not merkle.verify_consistency(3, 4, before, after, [one, two, three, four])
