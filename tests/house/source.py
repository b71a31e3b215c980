"""What the house tests read: the modules of the five packages, parsed."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.tools import ROOT

PACKAGES = ("config", "auth", "providers", "webui", "server")
MIGRATIONS = ROOT / "config" / "migrations"


class Module(NamedTuple):
    """One file: its dotted name, path, text and syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def shown(self) -> str:
        """The path as a message names it."""
        return str(self.path.relative_to(ROOT))


@functools.cache
def modules(*, migrations: bool = False) -> tuple[Module, ...]:
    """Return every module of the five packages."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if migrations or not path.is_relative_to(MIGRATIONS):
                found.append(parse(path))
    assert len(found) > 10
    return tuple(found)


def parse(path: Path) -> Module:
    """Return the file as a module."""
    text = path.read_text(encoding="utf-8")
    parts = list(path.relative_to(ROOT).with_suffix("").parts) if path.is_relative_to(ROOT) else [path.stem]
    if parts[-1] == "__init__":
        parts.pop()
    return Module(".".join(parts), path, text, ast.parse(text))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function, methods and nested ones included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(module: Module) -> Iterator[str]:
    """Yield the dotted name of everything the module imports; `from a import b` gives both `a` and `a.b`."""
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def called(node: ast.AST) -> str:
    """Return the dotted name of what a call calls, or an empty text."""
    if not isinstance(node, ast.Call):
        return ""
    try:
        return ast.unparse(node.func)
    except (ValueError, RecursionError):
        return ""
