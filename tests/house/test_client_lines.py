"""Every demand of real clients that was ever written down has a test that bears its number."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.tools import ROOT

#: D: faults of stock servers; W: Explorer; M: Finder; O: Office; C: the other WebDAV clients.
LINES = {"D": 13, "W": 15, "M": 12, "O": 3, "C": 9}
_NUMBER = re.compile(r"(?:test_)?([dwmoc][1-9][0-9]?)(?:[_ ]|\Z)", re.IGNORECASE)
CLIENTS = ROOT / "tests" / "webdav" / "clients"


def borne(module: Path) -> Iterator[str]:
    """Yield the numbers that a module's tests and the keys of its tables bear."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        names: list[object] = []
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            names = [node.name]
        elif isinstance(node, ast.Dict):
            names = [key.value for key in node.keys if isinstance(key, ast.Constant)]
        for name in names:
            found = _NUMBER.match(name) if isinstance(name, str) else None
            if found:
                yield found[1].upper()


def test_every_line_has_a_test() -> None:
    wanted = {f"{letter}{number}" for letter, count in LINES.items() for number in range(1, count + 1)}
    found = {number for module in CLIENTS.glob("test_*.py") for number in borne(module)}
    assert wanted - found == set()


def test_a_line_without_a_test_would_be_found(tmp_path: Path) -> None:
    module = tmp_path / "test_x.py"
    module.write_text('T = {"W5 copying": 1, "Win": 2}\ndef test_m2_errno(): ...\ndef helper_m3_(): ...\n')
    assert set(borne(module)) == {"W5", "M2"}
