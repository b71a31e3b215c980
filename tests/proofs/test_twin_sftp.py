"""A buyer learns nothing of its rival over SFTP: packet for packet the same answers, byte for byte.

Once at the engine, once through sockets (each packet as it is after decryption). Nothing is taken out of the answers:
texts, the columns of `ls -l`, figures of room, handles and the order of names are all compared, and dates too, for both
worlds have one clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.sftp.engine.wire import Code, Type
from tests.proofs.twin_sftp import SftpTwin, SshTwin
from tests.proofs.twin_sftp_leaks import LEAKS, Plant
from tests.proofs.twin_sftp_trace import day, glimpse
from tests.proofs.twin_trace import PAIRS
from tests.proofs.twin_worlds import Heard, live, unequal_neighbours
from tests.seeds import seeded

#: Two days are lived through before the first test has what it needs.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module", params=seeded([0]))
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module", params=[SftpTwin, SshTwin], ids=["engine", "socket"])
def worlds(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> Iterator[tuple[Heard, Heard]]:
    """What a buyer heard of one day in the busy world, and in the quiet one."""
    with pytest.MonkeyPatch.context() as patch:
        make, busy_at, quiet_at = request.param, tmp_path_factory.mktemp("busy"), tmp_path_factory.mktemp("quiet")
        busy, foreign = live(busy_at / "data", patch, day, None, make=make, seed=seed)
        quiet, _ = live(quiet_at / "data", patch, day, foreign, make=make, seed=seed)
        yield busy, quiet


def test_a_buyer_hears_the_same_with_a_busy_rival_and_without(worlds: tuple[Heard, Heard]) -> None:
    busy, quiet = worlds
    assert busy.differences(quiet) == []
    assert len(busy.answers) > 400
    assert len(busy.streams) > 50


def test_what_is_foreign_answers_as_what_never_was(worlds: tuple[Heard, Heard]) -> None:
    probes = [answer for answer in worlds[0].answers if answer[0].startswith(PAIRS)]
    assert len(probes) > 250
    assert unequal_neighbours(probes) == []


def test_the_buyer_meets_every_kind_of_answer(worlds: tuple[Heard, Heard]) -> None:
    """A trace that only ever failed would prove nothing."""
    answers = [answer for name, answer in worlds[0].answers if len(answer) > 9 and not name.endswith("scp")]
    assert {answer[4] for answer in answers} >= set(Type) & {101, 102, 103, 104, 105, 201}
    codes = {answer[12] for answer in answers if answer[4] == Type.STATUS}
    assert codes >= set(Code) - {Code.BAD_MESSAGE}


class RestlessTwin(SftpTwin):
    """A twin whose rival acts around every request, for days that are short."""

    rival_steps = 1


def _glimpses(folder: Path, patch: pytest.MonkeyPatch, plant: Plant | None) -> list[str]:
    busy, foreign = live(folder / "busy", patch, glimpse, None, plant, RestlessTwin)
    quiet, _ = live(folder / "quiet", patch, glimpse, foreign, plant, RestlessTwin)
    return busy.differences(quiet)


def test_a_glimpse_is_the_same_in_both_worlds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _glimpses(tmp_path, monkeypatch, None) == []


@pytest.mark.proof
@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.__name__)
def test_a_planted_leak_is_seen(leak: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _glimpses(tmp_path, monkeypatch, leak) != []
