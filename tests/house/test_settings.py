"""Every setting is heeded: something outside the settings reads it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from config.settings import schema
from config.settings.schema import Settings, all_settings
from tests.house.source import Module, modules, parse

#: What a section is called besides by its name, where it is handed over alone.
ALONE = frozenset({"settings", "_settings"})


def read_in(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield each attribute that is read, with the last name of what it is read of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield ast.unparse(node.value).rpartition(".")[2], node.attr


def unread(sources: Iterable[Module]) -> list[str]:
    """Return the settings that none of the sources reads, of its section or through a property of all settings."""
    found = {each for module in sources for each in read_in(module.tree)}
    taken = {name for _, name in found}
    for node in ast.walk(parse(Path(schema.__file__)).tree):
        if isinstance(node, ast.FunctionDef) and isinstance(getattr(Settings, node.name, None), property):
            found |= set(read_in(node)) if node.name in taken else set()
    return [
        each.key
        for each in all_settings()
        if not any((owner, each.name) in found for owner in {each.section, f"_{each.section}", *ALONE})
    ]


def outside() -> list[Module]:
    return [module for module in modules() if not module.name.startswith("config.settings")]


def test_every_setting_is_read_somewhere() -> None:
    assert unread(outside()) == []


def test_a_setting_that_nobody_reads_is_found() -> None:
    """Each reader counts: without those modules that read it, a setting is told of."""
    assert unread([]) == [each.key for each in all_settings()]
    without = [module for module in outside() if "name_bytes_max" not in module.text]
    assert "limits.name_bytes_max" in unread(without)
