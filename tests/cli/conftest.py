"""A shop: an installation made once a run by `init`, copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shop import ADMIN, SUPPLIER, Ran, Shop, process


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The folder and what `init` printed."""
    data = tmp_path_factory.mktemp("shop") / "data"
    ran = process(
        *("--data", data, "init", "--json", "--supplier", SUPPLIER, "--admin", ADMIN, "--admin-name", "Agnes Ek"),
        *("--password-file", "-", "--recovery-kit", data.with_name("kit.txt")),
        stdin="en lång och trygg fras 7\n",
    )
    assert ran.code == 0, ran.err
    return data, ran


@pytest.fixture
def shop(made: tuple[Path, Ran], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shop:
    """An installation of this test's own, with the supplier and one administrator."""
    template, _ = made
    shutil.copytree(template, tmp_path / "data")
    shutil.copy(template.with_name("data.key"), tmp_path / "data.key")
    return Shop(tmp_path / "data", capsys)


@pytest.fixture
def init(made: tuple[Path, Ran]) -> dict[str, Any]:
    """What `init` told."""
    document: dict[str, Any] = made[1].json
    return document
