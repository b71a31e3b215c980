"""Where contents are cut is pinned: another boundary would cost deduplication with all that is stored."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.vault.chunker import AVERAGE_BYTES, GROWN, UNKNOWN_LENGTH, boundary, chunker_for, largest

KIB, MIB = 1 << 10, 1 << 20


def noise(size: int) -> bytes:
    """The same bytes for ever: SHA-256 in counter mode."""
    return b"".join(hashlib.sha256(b"mellanrum %d" % part).digest() for part in range(-(-size // 32)))[:size]


GOLDEN = {
    (1, 1): [20226, 4950, 8878, 32352, 14449, 11619, 16186, 22412],
    (1, 0x1234567890ABCDEF): [24007, 17860, 5051, 15163, 5077, 21106, 22643, 20165],
    (2, 1): [25176, 67298, 64850, 96038, 67816, 67143, 115126, 20841],
    (3, 0x7FFFFFFFFFFFFFFF): [282384, 322600, 629726, 364304, 289796, 208342],
    (4, 1): [3675, 13150, 8351, 8878, 20167, 11315],
    (4, 0x1234567890ABCDEF): [12595, 11412, 9690, 13221, 3133, 4229, 7801, 3455],
    (6, 1): [25176, 67298, 64850, 96038, 67816, 67143, 115126, 20841],
    (5, 1): [20226, 4950, 8878, 32352, 14449, 11619, 16186, 22412],
}


@pytest.mark.parametrize(("chunker", "seed"), GOLDEN)
def test_golden_boundaries(chunker: int, seed: int) -> None:
    size = 8 * AVERAGE_BYTES[chunker]
    assert list(boundary(memoryview(noise(size)), chunker, seed)) == GOLDEN[chunker, seed]


@pytest.mark.parametrize("before", [0, 1, 100_000, 300_000])
def test_chunks_that_begin_behind_a_limit_are_larger(before: int) -> None:
    """Up to there it cuts as 2 does, from the first chunk behind as 3; wherever what is to be cut begins."""
    limit, average = GROWN[UNKNOWN_LENGTH]
    data = memoryview(noise(1_500_000))
    fine = list(boundary(data, 2, 1))
    met = next(count for count in range(len(fine) + 1) if sum(fine[:count]) >= before)
    expected = fine[:met] + list(boundary(data[sum(fine[:met]) :], 3, 1))
    assert average == AVERAGE_BYTES[3]
    assert list(boundary(data, UNKNOWN_LENGTH, 1, limit - before)) == expected
    assert list(boundary(data, UNKNOWN_LENGTH, 1, limit + before)) == list(boundary(data, 3, 1))


@given(st.integers(0, 200_000), st.integers(0, 200_000), st.integers(0, 3))
def test_all_but_the_last_hold_whatever_follows(first: int, more: int, seed: int) -> None:
    data = noise(first + more)
    short = list(boundary(memoryview(data)[:first], 1, seed))
    assert sum(short) == first
    assert list(boundary(memoryview(data), 1, seed))[: max(len(short) - 1, 0)] == short[:-1]


def test_sizes_stay_within_their_class() -> None:
    for chunker, average in AVERAGE_BYTES.items():
        lengths = list(boundary(memoryview(noise(20 * average)), chunker, 7))
        assert all(average // 4 <= length <= largest(chunker) for length in lengths[:-1])
        at = GROWN[chunker][0] if chunker in GROWN else 0
        assert next(boundary(memoryview(bytes(20 * average)), chunker, 7, at)) == largest(chunker)


@pytest.mark.parametrize(
    ("declared", "previous", "expected"),
    [
        (0, None, 5),
        (64 * KIB - 1, None, 5),
        (64 * KIB, None, 4),
        (4 * MIB - 1, None, 4),
        (4 * MIB, None, 1),
        (32 * MIB - 1, None, 1),
        (32 * MIB, None, 2),
        (256 * MIB - 1, None, 2),
        (256 * MIB, None, 3),
        (None, None, UNKNOWN_LENGTH),
        *((None, chunker, chunker) for chunker in AVERAGE_BYTES),
        (64 * KIB - 1, 5, 5),
        (64 * KIB, 5, 4),
        (4 * KIB, 4, 4),
        (4 * KIB - 1, 4, 5),
        (16 * MIB - 1, 4, 4),
        (16 * MIB, 4, 1),
        (256 * KIB, 1, 1),
        (256 * KIB - 1, 1, 4),
        (512 * MIB - 1, 1, 1),
        (512 * MIB, 1, 3),
        (2 * MIB, 6, 6),
        (2 * MIB - 1, 6, 4),
        (1 << 40, 6, 6),
        (2 * MIB, 2, 2),
        (2 * MIB - 1, 2, 4),
        (4096 * MIB - 1, 2, 2),
        (4096 * MIB, 2, 3),
        (16 * MIB, 3, 3),
        (16 * MIB - 1, 3, 1),
        (1 << 40, 3, 3),
        (100, 77, 5),
    ],
)
def test_which_class(declared: int | None, previous: int | None, expected: int) -> None:
    assert chunker_for(declared, previous) == expected


@pytest.mark.parametrize("limit", [64 * KIB, 4 * MIB, 16 * MIB, 32 * MIB, 256 * MIB, 512 * MIB, 4096 * MIB])
def test_going_back_and_forth_over_a_limit_changes_the_class_once_at_most(limit: int) -> None:
    for chunker in AVERAGE_BYTES:
        met = [chunker]
        for size in (limit - 1, limit, limit - 1, limit, limit // 2, 2 * limit, limit // 2, 2 * limit):
            met.append(chunker_for(size, met[-1]))
        assert sum(before != after for before, after in pairwise(met[1:])) <= 1, met
