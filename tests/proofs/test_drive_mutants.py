"""Removing any one check of the drive turns its tests red: each is removed in turn, in a copy of the tree.

A check is a call that does nothing but refuse, or an `if` that does nothing but raise. Those that only keep types
honest, or that a second check stands behind on purpose, are named in SPARED with the reason.
"""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

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
SEED = 20261125
SAMPLE = 8
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
    "comparing.py:_side:number is None": "nothing stood at a moment that is to come, or before the first: the next refuses it",
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
    path = tree / mutant.file
    parsed = ast.parse(path.read_text("utf-8"))

    class Remover(ast.NodeTransformer):
        def generic_visit(self, node: ast.AST) -> ast.AST:
            super().generic_visit(node)
            if isinstance(node, ast.stmt) and node.lineno == mutant.line and _is_check(node):
                return ast.copy_location(ast.Pass(), node)
            return node

    path.write_text(ast.unparse(ast.fix_missing_locations(Remover().visit(parsed))), "utf-8")


def survives(tree: Path) -> bool:
    """Run the drive's tests on SQLite in a copy of the tree; return whether they pass."""
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "CI": ""}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-k", "not postgresql"]
    # The table of operations takes longest, and most mutants are dead before it.
    files = sorted((tree / "tests" / "drive").glob("test_*.py"), key=lambda path: path.stem == "test_operations")
    ran = subprocess.run(
        [*command, *map(str, files)], cwd=tree, env=environ, capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode in (0, 1), ran.stdout[-2000:]
    return ran.returncode == 0


def copied(folder: Path) -> Path:
    """Return a fresh copy of what the tests need."""
    tree = folder / "tree"
    for name in ("config", "auth", "providers", "server", "webui", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


def _chosen() -> list[Mutant]:
    every = [mutant for mutant in mutants() if mutant.name not in SPARED]
    if os.environ.get("MELLANRUM_PROOF") == "full":
        return every
    return random.Random(SEED).sample(every, SAMPLE)


@pytest.mark.proof
@pytest.mark.timeout(700)
@pytest.mark.parametrize("mutant", _chosen(), ids=lambda mutant: f"{Path(mutant.file).name}:{mutant.line}")
def test_a_check_less_is_seen(mutant: Mutant, tmp_path: Path) -> None:
    tree = copied(tmp_path)
    remove(tree, mutant)
    assert not survives(tree), f"nobody misses: {mutant.name}"


def test_what_is_spared_still_stands() -> None:
    assert set(SPARED) <= {mutant.name for mutant in mutants()}
