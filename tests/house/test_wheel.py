"""The wheel holds all of the five packages, migrations included, and nothing else; what it holds works."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house.source import PACKAGES
from tests.tools import ROOT

PROBE = """
import pathlib, sys, config.database, config.schema, auth, providers, server, webui
place = pathlib.Path(sys.argv[1]) / "wheel"
for package in (config, auth, providers, server, webui):
    assert pathlib.Path(package.__file__).is_relative_to(place), package.__file__
folder = pathlib.Path(sys.argv[1]) / "data"
folder.mkdir()
database = config.database.Database(folder)
assert config.schema.upgrade(database)[0] == "durable 0001"
config.schema.check(database)
database.dispose()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_has_the_five_packages_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == set(PACKAGES)
    sources = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert names >= sources
    assert names >= {"config/migrations/env.py", "config/migrations/script.py.mako"}
    assert names >= {
        "config/migrations/durable/0001_first_tables.py",
        "config/migrations/transient/0001_first_tables.py",
    }
    assert not [name for name in names if name.endswith((".pyc", ".db", ".key"))]


def test_the_wheel_migrates_a_database(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "wheel")
    environ = os.environ | {"PYTHONPATH": str(tmp_path / "wheel")}
    command = [sys.executable, "-P", "-c", PROBE, str(tmp_path)]
    ran = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
