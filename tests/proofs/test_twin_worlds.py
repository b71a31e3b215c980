"""A buyer learns nothing of its rival: byte for byte the same answers and events, with a busy rival and without any.

The dates are compared too, for both worlds have one clock; only the `Date` header, which tells this machine's, is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proofs.twin_leaks import LEAKS, Plant
from tests.proofs.twin_trace import PAIRS, day, glimpse
from tests.proofs.twin_worlds import Heard, live, unequal_neighbours
from tests.seeds import seeded


@pytest.fixture(scope="module", params=seeded([0]))
def worlds(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Heard, Heard]]:
    """What a buyer heard of one day in the busy world, and in the quiet one."""
    with pytest.MonkeyPatch.context() as patch:
        busy, foreign = live(tmp_path_factory.mktemp("busy") / "data", patch, day, None, seed=request.param)
        quiet, _ = live(tmp_path_factory.mktemp("quiet") / "data", patch, day, foreign, seed=request.param)
        yield busy, quiet


def test_a_buyer_hears_the_same_with_a_busy_rival_and_without(worlds: tuple[Heard, Heard]) -> None:
    busy, quiet = worlds
    assert busy.differences(quiet) == []
    assert len(busy.answers) > 150
    assert len(busy.streams) > 50


def test_what_is_foreign_answers_as_what_never_was(worlds: tuple[Heard, Heard]) -> None:
    busy, _ = worlds
    probes = [answer for answer in busy.answers if answer[0].startswith(PAIRS)]
    assert len(probes) > 80
    assert unequal_neighbours(probes) == []


def test_the_buyer_meets_every_kind_of_answer(worlds: tuple[Heard, Heard]) -> None:
    """A trace that only ever failed would prove nothing."""
    met = {answer[9:12].decode() for _, answer in worlds[0].answers}
    assert {"200", "201", "204", "206", "207", "304", "403", "404", "409", "412", "423"} <= met


def _glimpses(folder: Path, patch: pytest.MonkeyPatch, plant: Plant | None) -> list[str]:
    busy, foreign = live(folder / "busy", patch, glimpse, None, plant)
    quiet, _ = live(folder / "quiet", patch, glimpse, foreign, plant)
    return busy.differences(quiet)


def test_a_glimpse_is_the_same_in_both_worlds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _glimpses(tmp_path, monkeypatch, None) == []


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_a_planted_leak_is_seen(leak: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _glimpses(tmp_path, monkeypatch, leak) != []
