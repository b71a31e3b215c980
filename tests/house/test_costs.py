"""What a run prints of its cost is what its files took, those of its workers and of programs they start included."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.tools import ROOT

CONFTEST = """
from tests.costs import Costs

def pytest_configure(config):
    config.pluginmanager.register(Costs())
"""
BURN = "import time\\nwhile time.process_time() < {seconds}: pass"
#: A fixture's end counts as the file's, and so does a program that runs on meanwhile.
TESTS = f"""
import subprocess, sys
import pytest

@pytest.fixture(scope="module")
def program():
    started = subprocess.Popen([sys.executable, "-c", "{BURN}"])
    yield
    started.wait()

def test_one(program):
    pass

def test_other():
    pass
"""


def test_the_dearest_files_are_named_with_what_they_took(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name, seconds in (("dear", 0.8), ("cheap", 0.3)):
        (tmp_path / f"test_{name}.py").write_text(TESTS.format(seconds=seconds))
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "--rootdir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stdout
    told = re.findall(r"^ *([0-9.]+) s (?: (\S+\.py)$|of processors)", ran.stdout, re.MULTILINE)
    assert [name for _, name in told] == ["", "test_dear.py", "test_cheap.py"], ran.stdout
    everything, dear, cheap = (float(seconds) for seconds, _ in told)
    assert dear >= 0.75 and cheap >= 0.25 and everything >= dear + cheap
