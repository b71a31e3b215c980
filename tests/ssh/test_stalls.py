"""No answer stays away for ever, however a client opens its window and takes what it asked for."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.seeds import seeds
from tests.ssh.doors import Door
from tests.ssh.stalling import read_all

CONTENT = random.Random(11).randbytes(5_000_000)


@pytest.fixture(scope="module")
def path(door: Door, tmp_path_factory: pytest.TempPathFactory) -> str:
    local = tmp_path_factory.mktemp("long") / "long.bin"
    local.write_bytes(CONTENT)
    assert door.sftp("anna", f'put {local} "/Kund AB – Sandbox/long.bin"').returncode == 0
    return "/Kund AB – Sandbox/long.bin"


def read_by(door: Door, path: str, numbers: list[int]) -> None:
    for seed in numbers:
        try:
            asyncio.run(read_all(door, path, CONTENT, seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_every_answer_comes(door: Door, path: str) -> None:
    read_by(door, path, seeds(range(40), more=960))
