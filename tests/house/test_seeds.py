"""Seeds beside the fixed ones: none in CI, the day in the full form, a named one in either; and how what failed
with one is repeated.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import load
from tests.seeds import APART, PROOF, SEED, drawn, is_short, seed, seeded, seeds
from tests.tools import ROOT

CONFTEST = """
from tests.seeds import Again

def pytest_configure(config):
    config.pluginmanager.register(Again())
"""
#: One seed is wrong; and one of the tests that fail is no proof.
TESTS = """
import os, subprocess, sys
import pytest
from tests.seeds import seeded

@pytest.mark.proof
@pytest.mark.parametrize("word", ["it's"])
@pytest.mark.parametrize("seed", seeded([1, 2], more=2))
def test_seed(seed, word):
    assert seed in (1, 2, 77)

@pytest.mark.proof
def test_children_have_the_same():
    told = subprocess.run([sys.executable, "-c", "from tests.seeds import drawn; print(drawn())"], capture_output=True)
    assert told.stdout.decode().strip() == os.environ.get("MELLANRUM_SEED", "None")

def test_no_proof():
    assert False
"""


@pytest.fixture
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the form and the seed, or unset either."""
    for name, text in zip((PROOF, SEED), request.param, strict=True):
        if text is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, text)


def values(some: list[object]) -> list[tuple[object, bool]]:
    """Return the values of a parameter, and whether each is the proofs'."""
    return [(each.values[0], bool(each.marks)) if hasattr(each, "values") else (each, False) for each in some]


@pytest.mark.parametrize("form", [("short", None), (None, None), ("short", "")], indirect=True)
@pytest.mark.usefixtures("form")
def test_without_a_word_the_fixed_seeds_alone_are_tried() -> None:
    assert is_short()
    assert (drawn(), seed(5), seeds(range(3), more=9)) == (None, 5, [0, 1, 2])
    assert values(seeded([4711])) == [(4711, False)]


@pytest.mark.parametrize("form", [("full", "77")], indirect=True)
@pytest.mark.usefixtures("form")
def test_in_full_others_are_tried_beside_them() -> None:
    assert not is_short()
    assert (drawn(), seed(5), seeds(range(2), more=3)) == (77, 77, [0, 1, 77, 77 + APART, 77 + 2 * APART])
    assert values(seeded([4711])) == [(4711, False), (77, True)]


@pytest.mark.parametrize("form", [("short", "77")], indirect=True)
@pytest.mark.usefixtures("form")
def test_a_named_one_is_tried_in_short_too_and_no_more_than_that() -> None:
    assert (drawn(), seed(5), seeds(range(2), more=3)) == (77, 77, [0, 1, 77])


@pytest.mark.parametrize("form", [("full", None)], indirect=True)
@pytest.mark.usefixtures("form")
def test_in_full_the_day_is_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: set[int] = set()
    for moment in ("2026-11-28T23:59:59", "2026-11-29T00:00:00", "2027-06-28T12:00:00"):
        monkeypatch.setattr("tests.seeds.iso_utc", lambda _, moment=moment: f"{moment}.000000Z")
        assert drawn() == int(moment[:10].replace("-", ""))
        tried |= set(seeds([], more=100))
    assert len(tried) == 300


def test_an_installation_takes_no_notice_of_it(data_folder: Path) -> None:
    """A server that a test starts has them in its environment."""
    assert load(data_folder=data_folder, environ={PROOF: "full", SEED: "7"}) == load(
        data_folder=data_folder, environ={}
    )


def ran(folder: Path, environ: dict[str, str], *more: str) -> str:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_some.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = proof: long\n")
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(folder), *more]
    told = {name: text for name, text in os.environ.items() if name not in (PROOF, SEED)}
    told |= {"PYTHONPATH": str(ROOT), **environ}
    return subprocess.run(command, cwd=folder, env=told, capture_output=True, text=True, timeout=100).stdout


def commands(said: str) -> list[str]:
    return re.findall(r"^MELLANRUM_PROOF=.*$", said, re.MULTILINE)


@pytest.mark.parametrize("more", [(), ("-n", "2")], ids=["one process", "several"])
def test_what_failed_is_repeated_by_the_command_that_stands_at_the_end(tmp_path: Path, more: tuple[str, ...]) -> None:
    said = ran(tmp_path, {PROOF: "full"}, *more)
    told = commands(said)
    assert len(told) == 2 and not any("no_proof" in each for each in told), said
    assignments, command = [each.split(".venv/bin/pytest -s ")[0].split() for each in told], shlex.split(told[0])
    assert assignments[0] == assignments[1] and assignments[0][0] == "MELLANRUM_PROOF=full"
    day = int(assignments[0][1].removeprefix("MELLANRUM_SEED="))
    assert f"test_some.py::test_seed[{day}-it's]" in command
    again = ran(tmp_path, dict(each.split("=") for each in assignments[0]), *command[3:])
    assert "1 failed" in again and commands(again) == told[:1], again


def test_with_the_fixed_ones_alone_nothing_is_said(tmp_path: Path) -> None:
    said = ran(tmp_path, {PROOF: "short"})
    assert "1 failed, 3 passed" in said and commands(said) == [], said
