"""Every demand of real clients that was ever written down has a test that bears its number."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.tools import ROOT

#: D: faults of stock servers; W: Explorer; M: Finder; O: Office; C: the other WebDAV clients; S: clients of SFTP.
LINES = {"D": 15, "W": 15, "M": 12, "O": 3, "C": 9, "S": 14}
_NUMBER = re.compile(r"(?:test_)?([dwmocs][1-9][0-9]?)(?:[_ ]|\Z)", re.IGNORECASE)
CLIENTS = ROOT / "tests" / "webdav" / "clients"
SSH = ROOT / "tests" / "ssh"


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
    modules = [*CLIENTS.glob("test_*.py"), SSH / "test_lines.py"]
    found = {number for module in modules for number in borne(module)}
    assert wanted - found == set()


def claimed() -> dict[str, tuple[str, ...]]:
    """Return which tests are said to show each line of SFTP."""
    for node in ast.walk(ast.parse((SSH / "test_lines.py").read_text("utf-8"))):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "LINES" and node.value is not None:
            found: dict[str, tuple[str, ...]] = ast.literal_eval(node.value)
            return found
    raise AssertionError("there is no table")


def test_every_test_that_is_said_to_show_a_line_stands() -> None:
    for line, tests in claimed().items():
        assert tests, line
        for test in tests:
            module, _, name = test.rpartition("::")
            text = (SSH / f"{module or 'test_lines'}.py").read_text("utf-8")
            assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{line}: {test}"


def test_every_test_of_a_line_is_said_to_show_it() -> None:
    here = re.findall(r"^def (test_([sd]\d+)_\w+)", (SSH / "test_lines.py").read_text("utf-8"), re.MULTILINE)
    assert here
    for name, number in here:
        assert any(line.split()[0] == number.upper() and name in tests for line, tests in claimed().items()), name


def test_a_line_without_a_test_would_be_found(tmp_path: Path) -> None:
    module = tmp_path / "test_x.py"
    module.write_text('T = {"W5 copying": 1, "Win": 2}\ndef test_m2_errno(): ...\ndef helper_m3_(): ...\n')
    assert set(borne(module)) == {"W5", "M2"}
