"""What belongs to a thread: as good as nothing, for a thread serves several requests, one while others wait."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from tests.house.source import Module, modules, parse

#: Who may keep something by thread: the turns themselves, and a compressor, in which nobody waits.
PERMITTED = {"config.turns", "providers.vault.sealing"}


def by_thread(sources: Iterable[Module]) -> set[str]:
    """Return the modules that keep something by thread."""
    return {
        module.name
        for module in sources
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Attribute) and ast.unparse(node) == "threading.local")
        or (isinstance(node, ast.ImportFrom) and node.module == "threading" and "local" in {a.name for a in node.names})
    }


def test_nothing_that_a_request_uses_is_kept_by_thread() -> None:
    assert by_thread(modules()) == PERMITTED


def test_whoever_does_would_be_found(tmp_path: Path) -> None:
    for number, text in enumerate(("import threading\n_local = threading.local()\n", "from threading import local\n")):
        (tmp_path / f"m{number}.py").write_text(text)
        assert by_thread([parse(tmp_path / f"m{number}.py")]) == {f"m{number}"}
