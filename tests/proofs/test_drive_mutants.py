"""Removing any one check of the drive turns its tests red: each is removed in turn, in a copy of the tree, where those
tests run that reach it.

A check is a call that does nothing but refuse, or an `if` that does nothing but raise. Those that only keep types
honest, or that a second check stands behind on purpose, are named in SPARED with the reason.
"""

from __future__ import annotations

import ast
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.proofs.drive_reached import REACHED
from tests.seeds import VARIABLES, is_short, seed

ROOT = Path(__file__).resolve().parents[2]
CHECKS = frozenset(
    {
        "allow",
        "check_replaceable",
        "require_conditions",
        "require_room",
        "require_unlocked",
        "require_unlocked_below",
        "require_walls",
        "_require",
        "_require_alone",
        "_require_apart",
        "_require_compatible",
    }
)
#: Edits are what SFTP writes through, and tested there.
TESTS = ("tests/drive", "tests/sftp")
SEED = 20261125
SAMPLE = 24
#: Checks behind which another stands, or that nobody can reach from outside: "file:function:what" and why.
SPARED: dict[str, str] = {
    "places.py:parent_of:not found.node.is_folder": "who asks takes what lies below a document for absent either way",
    "trees.py:work:isinstance(place, Container)": "preparing the copy has refused it before",
    "places.py:_walked:root is None or not self._seen((root,), moment)": "a space in sight has its root in sight",
    "carrying.py:prepare:isinstance(place, Container)": "the transaction refuses it again",
    "carrying.py:prepare:look.allow(Action.READ if not place.node.is_folder else Action.LIST, place)": (
        "the transaction asks again; who may move may read"
    ),
    "trees.py:_ready_for_move:look.allow(Action.RENAME if same_folder else Action.MOVE, place)": (
        "the transaction asks again"
    ),
    "trees.py:work:tx.allow(Action.LIST if place.node.is_folder else Action.READ, place)": (
        "asked while preparing; here for rights taken back meanwhile"
    ),
    "comparing.py:_side:number is None": "at a moment without a number nothing stood, which is refused next",
    "unchanged.py:item:found.item is None": "keeps types honest: nothing at hand is told by None as well",
    "returning.py:_asked:look.allow(Action.READ, place)": (
        "who sees a document may read it, but for the operator, who may add nothing either"
    ),
    "reading.py:note_reading:look.allow(Action.READ, place)": (
        "who sees a document may read it, but for the operator, who has nothing open for writing"
    ),
    "transaction.py:allow:not self.sight.sees(place.chain, self.at)": "a place was found, so it is seen",
}


@dataclass(frozen=True)
class Mutant:
    """One check to be removed: the file, the function it stands in, its line, and what it says."""

    file: str
    function: str
    line: int
    text: str

    @property
    def name(self) -> str:
        return f"{Path(self.file).name}:{self.function}:{self.text}"


def _is_check(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        called = node.value.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        return name in CHECKS
    if isinstance(node, ast.If) and not node.orelse and len(node.body) == 1:
        raised = node.body[0]
        return isinstance(raised, ast.Raise) and "Replan" not in ast.unparse(raised)
    return False


def mutants() -> Iterator[Mutant]:
    """Yield every check of the drive."""
    for path in sorted((ROOT / "providers" / "drive").glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef):
                for node in _own_statements(function):
                    if _is_check(node):
                        text = ast.unparse(node.test if isinstance(node, ast.If) else node)
                        yield Mutant(str(path.relative_to(ROOT)), function.name, node.lineno, text)


def _own_statements(function: ast.FunctionDef) -> Iterator[ast.stmt]:
    """Yield the statements of a function that belong to no function within it."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef):
            continue
        if isinstance(node, ast.stmt):
            yield node
        pending.extend(ast.iter_child_nodes(node))


def remove(tree: Path, mutant: Mutant) -> None:
    """Remove the check in a copy of the tree."""
    _rewrite(tree / mutant.file, lambda node: ast.Pass() if _at(node, mutant) else node)


def mark(tree: Path, every: Sequence[Mutant]) -> None:
    """Let each check in a copy of the tree tell which test reaches it."""
    for file in {mutant.file for mutant in every}:
        path, here = tree / file, [(number, mutant) for number, mutant in enumerate(every) if mutant.file == file]

        def marked(node: ast.stmt, here: list[tuple[int, Mutant]] = here) -> ast.stmt | list[ast.stmt]:
            return next(
                ([*ast.parse(f"_reached({number})").body, node] for number, each in here if _at(node, each)), node
            )

        _rewrite(path, marked)
        path.write_text(path.read_text("utf-8") + "\n\nfrom tests.proofs.drive_reached import reached as _reached\n")


def _at(node: ast.stmt, mutant: Mutant) -> bool:
    return node.lineno == mutant.line and _is_check(node)


def _rewrite(path: Path, changed: Callable[[ast.stmt], ast.stmt | list[ast.stmt]]) -> None:
    class Rewriter(ast.NodeTransformer):
        def generic_visit(self, node: ast.AST) -> Any:
            super().generic_visit(node)
            return changed(node) if isinstance(node, ast.stmt) else node

    parsed = Rewriter().visit(ast.parse(path.read_text("utf-8")))
    path.write_text(ast.unparse(ast.fix_missing_locations(parsed)), "utf-8")


def complaint(tree: Path, tests: Sequence[str], seconds: int = 600) -> str:
    """Run tests of the drive on SQLite in a copy of the tree; return what the first that fails says, or nothing."""
    environ = {name: text for name, text in os.environ.items() if name not in VARIABLES}
    environ |= {"PYTHONDONTWRITEBYTECODE": "1", "CI": ""}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-k", "not postgresql"]
    ran = subprocess.run(
        [*command, *tests], cwd=tree, env=environ, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert ran.returncode in (0, 1), ran.stdout[-2000:]
    return ran.stdout[-4000:] if ran.returncode else ""


@pytest.fixture(scope="module")
def reaching(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Which tests reach each check, by its name: most of them reach few."""
    every, tree = list(mutants()), copied(tmp_path_factory.mktemp("marked"))
    mark(tree, every)
    told = complaint(tree, TESTS, 1800)
    assert not told, told
    found: dict[str, list[str]] = {}
    for number, test in json.loads((tree / REACHED).read_text("utf-8")):
        found.setdefault(every[number].name, []).append(test)
    return found


def copied(folder: Path) -> Path:
    """Return a fresh copy of what the tests need."""
    tree = folder / "tree"
    for name in ("config", "auth", "providers", "server", "webui", "tests", "docs"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


def _chosen() -> list[Mutant]:
    every = [mutant for mutant in mutants() if mutant.name not in SPARED]
    return random.Random(seed(SEED)).sample(every, SAMPLE) if is_short() else every


@pytest.mark.proof
@pytest.mark.timeout(2500)
@pytest.mark.parametrize("mutant", _chosen(), ids=lambda mutant: f"{Path(mutant.file).name}:{mutant.line}")
def test_a_check_less_is_seen(mutant: Mutant, tmp_path: Path, reaching: dict[str, list[str]]) -> None:
    tree = copied(tmp_path)
    remove(tree, mutant)
    tests = reaching.get(mutant.name)
    assert tests, f"nobody reaches: {mutant.name}"
    assert complaint(tree, tests), f"nobody misses: {mutant.name}"


def test_what_is_spared_still_stands() -> None:
    assert set(SPARED) <= {mutant.name for mutant in mutants()}
