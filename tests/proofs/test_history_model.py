"""Sequences of acts by several people over both protocols, against a plain model of tree and history.

Outcome, tree, identities, histories: all must be as the model says; what a stranger is told must be what is told of a
space that never was; and every version that was ever acknowledged is read at its moment. 160 sequences in the short
form, 10,000 in the full one.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import NamedTuple

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.proofs.history_hands import DAV, DRIVE, SFTP
from tests.proofs.history_machine import Histories
from tests.proofs.history_stage import Stage, staged
from tests.seeds import APART, is_short, seed

pytestmark = [pytest.mark.proof, pytest.mark.timeout(4 * 3600)]

PARTS = 2
SEQUENCES = int(os.environ.get("MELLANRUM_SEQUENCES", 160 if is_short() else 10_000))
#: How many sequences hypothesis makes before it begins anew.
RUN = 250
STEPS, ACTS_MIN, PRINCIPALS_MIN = 32, 30, 3
SEED = 20261127
#: What must occur, and succeed, over which protocol.
ONE_WAY = {
    "copy": DAV, "copy from history": DAV, "lock": DAV, "unlock": DAV, "set a property": DAV, "edit": SFTP,
    "append": SFTP, "truncate": SFTP, "open and write": SFTP, "restore": DRIVE, "put back": DRIVE,
    "undelete": DRIVE,
}  # fmt: skip
BOTH_WAYS = (
    "put", "put anywhere", "put empty", "put identical", "read", "move", "rename", "move a folder", "move away",
    "move back", "delete", "delete a folder", "make a folder", "set a time", "save: put", "save: move", "save: delete",
)  # fmt: skip
ACTS = {*ONE_WAY.items(), *((act, via) for act in BOTH_WAYS for via in (DAV, SFTP))}


class Played(NamedTuple):
    """What was counted in a part, and what it took."""

    counted: Counter[tuple[str, str, str]]
    sizes: Counter[int]
    principals: Counter[int]
    read_back: int
    cpu_seconds: float


def play(stage: Stage, sequences: int, seed: int, *, shrinks: bool = True) -> None:
    """Let hypothesis make sequences, and play them."""
    machine = hypothesis.seed(seed)(type("Sequence", (Histories,), {"stage": stage}))
    settings = hypothesis.settings(
        max_examples=sequences,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        derandomize=False,
        phases=(hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if shrinks else [])),
        suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(machine, settings=settings, _min_steps=STEPS)


def play_part(sequences: int, first_seed: int) -> Played:
    """Play a part of the sequences, in a process of its own."""
    with staged() as stage:
        spent = time.process_time()
        for number, first in enumerate(range(0, sequences, RUN)):
            count, at = min(RUN, sequences - first), first_seed + number * PARTS * APART
            try:
                play(stage, count, at)
            except Exception as error:
                error.add_note(f"alone: MELLANRUM_SEED={at} MELLANRUM_SEQUENCES={count * PARTS}")
                raise
        spent = time.process_time() - spent
    return Played(stage.counted, stage.sizes, stage.principals, stage.read_back, spent)


def told(parts: list[Played], elapsed_seconds: float) -> str:
    """Return the histogram, and how long it took."""
    counted, sizes = Counter[tuple[str, str, str]](), Counter[int]()
    for part in parts:
        counted += part.counted
        sizes += part.sizes
    lines = [f"{'act':20} {'protocol':8} {'done':>8} {'refused':>8}  why, where there is a choice"]
    for act, via in sorted({key[:2] for key in counted}):
        outcomes = {why: count for (a, v, why), count in sorted(counted.items()) if (a, v) == (act, via)}
        done = outcomes.pop("done", 0)
        lines.append(
            f"{act:20} {via:8} {done:8} {sum(outcomes.values()):8}  "
            + ", ".join(f"{why} {count}" for why, count in outcomes.items())
        )
    sequences, acts = sizes.total(), counted.total()
    cpu = sum(part.cpu_seconds for part in parts)
    lines.append(
        f"{sequences} sequences of {min(sizes)} to {max(sizes)} acts, {acts} in all; "
        f"{sum(part.read_back for part in parts)} versions read at their moments; "
        f"{elapsed_seconds:.0f} s, {cpu:.0f} s of processor time, {sequences / cpu:.2f} sequences a second of it"
    )
    return "\n".join(lines)


def test_all_is_as_a_plain_model_says() -> None:
    first_seed = seed(SEED)
    print(f"\nseed {first_seed}")
    began = time.monotonic()
    with ProcessPoolExecutor(PARTS, mp_context=multiprocessing.get_context("spawn")) as pool:
        begun = [pool.submit(play_part, SEQUENCES // PARTS, first_seed + part * APART) for part in range(PARTS)]
        for each in as_completed(begun):
            if (error := each.exception()) is not None:
                traceback.print_exception(error)  # at once: the other part may take an hour yet
        parts = [each.result() for each in begun]
    print(told(parts, time.monotonic() - began))
    succeeded = {key[:2] for part in parts for key in part.counted if key[2] == "done"}
    assert ACTS - succeeded == set()
    assert min(min(part.sizes) for part in parts) >= ACTS_MIN
    assert min(min(part.principals) for part in parts) >= PRINCIPALS_MIN
    assert sum(part.sizes.total() for part in parts) >= SEQUENCES


def test_without_the_rule_of_names_it_is_not() -> None:
    """What it meets first is one document's history with another's, or, now and then, what the trash shows of it."""
    told = []
    with staged(**{"history.identity_window_seconds": 0}) as stage:
        for at in range(SEED, SEED + 3):
            with pytest.raises(AssertionError) as met:
                play(stage, 20, at, shrinks=False)
            told.append(str(met.value))
    assert any("another" in each for each in told), told
