"""The rules of the house that no linter knows. Each finder is shown a breach first, so that it can fail."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config.errors import MellanrumError
from tests.house.source import PACKAGES, Module, called, functions, imported, modules, parse
from tests.tools import ROOT

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500
#: The only modules in which SQL stands as text: how connections are set up, and where transactions begin and end.
SQL_MODULES = {"config.database", "config.engines", "config.snapshots", "config.writers"}
DRIVERS = {"sqlite3", "psycopg", "psycopg2", "aiosqlite", "asyncpg"}
#: What changes or removes a pack that stands, and who alone decides that it is done.
PACK_ACTS = {"claim", "void", "open_pack", "copy_kept", "remove_pack", "retire_pack"}
PACK_OWNERS = {"providers.holding.sweeping", "providers.holding.letting_go"}
FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill", "yaml"}


def long_functions(module: Module) -> Iterator[str]:
    for function in functions(module.tree):
        lines = (function.end_lineno or 0) - function.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield f"{module.shown}:{function.lineno} {function.name} has {lines} lines"


def long_modules(module: Module) -> Iterator[str]:
    lines = len(module.text.splitlines())
    if lines > MODULE_LINES_MAX and "migrations" not in module.name:
        yield f"{module.shown} has {lines} lines"


def sql_as_text(module: Module) -> Iterator[str]:
    if module.name in SQL_MODULES:
        return
    names = set(imported(module))
    for node in ast.walk(module.tree):
        call = called(node)
        last = call.rpartition(".")[2]
        is_text = call in ("text", "sa.text", "sqlalchemy.text", "sqlalchemy.sql.text") and (
            call != "text" or any(name.startswith("sqlalchemy") and name.endswith(".text") for name in names)
        )
        if is_text or last in ("exec_driver_sql", "literal_column", "executescript", "text_clause", "TextClause"):
            yield f"{module.shown}:{getattr(node, 'lineno', 0)} {call}"
        elif last == "execute" and isinstance(node, ast.Call) and node.args and _is_written_out(node.args[0]):
            yield f"{module.shown}:{node.lineno} {call} of a text"
    for driver in sorted(DRIVERS & {name.split(".")[0] for name in names}):
        yield f"{module.shown} imports {driver}"


def _is_written_out(argument: ast.expr) -> bool:
    return isinstance(argument, ast.JoinedStr) or (
        isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )


def dangerous(module: Module) -> Iterator[str]:
    for name in sorted({name.split(".")[0] for name in imported(module)} & FORBIDDEN_IMPORTS):
        yield f"{module.shown} imports {name}"
    for node in ast.walk(module.tree):
        call = called(node)
        shell = isinstance(node, ast.Call) and any(
            word.arg == "shell" and getattr(word.value, "value", True) for word in node.keywords
        )
        if call in ("eval", "exec", "os.system", "os.popen") or shell:
            yield f"{module.shown}:{getattr(node, 'lineno', 0)} {call}"


def packs_out_of_hand(module: Module) -> Iterator[str]:
    if module.name in PACK_OWNERS or module.name.startswith("providers.vault."):
        return
    for node in ast.walk(module.tree):
        if called(node).rpartition(".")[2] in PACK_ACTS:
            yield f"{module.shown}:{getattr(node, 'lineno', 0)} {called(node)}"


def prints_events_made_up(module: Module) -> Iterator[str]:
    """An event's name in a log is written in the code, so that nobody's words can become one."""
    for node in ast.walk(module.tree):
        if called(node) in ("log.debug", "log.info", "log.warning", "log.error"):
            assert isinstance(node, ast.Call)
            if not (node.args and isinstance(node.args[0], ast.Constant)):
                yield f"{module.shown}:{node.lineno} logs an event whose name is computed"


BREACHES: list[tuple[Callable[[Module], Iterator[str]], str]] = [
    (long_functions, "def f():\n" + "    pass\n" * 70),
    (long_functions, "class A:\n    async def f(self):\n" + "        pass\n" * 70),
    (long_modules, "x = 1\n" * 501),
    (sql_as_text, "from sqlalchemy import text\nq = text('SELECT 1')"),
    (sql_as_text, "import sqlalchemy as sa\nq = sa.text('SELECT 1')"),
    (sql_as_text, "c.exec_driver_sql('SELECT 1')"),
    (sql_as_text, "c.execute(f'SELECT {x}')"),
    (sql_as_text, "import sqlite3"),
    (dangerous, "import pickle"),
    (dangerous, "from yaml import load"),
    (dangerous, "import subprocess\nsubprocess.run('ls', shell=True)"),
    (dangerous, "eval('1')"),
    (packs_out_of_hand, "storage.vault.remove_pack(space, pack)"),
    (prints_events_made_up, "log.info(name)"),
]


@pytest.mark.parametrize(("find", "text"), BREACHES)
def test_each_rule_sees_its_breach(find: Callable[[Module], Iterator[str]], text: str, tmp_path: Path) -> None:
    file = tmp_path / "breach.py"
    file.write_text(text)
    module = parse(file)._replace(path=ROOT / "breach.py")
    assert list(find(module))


@pytest.mark.parametrize("find", dict.fromkeys(find for find, _ in BREACHES))
def test_no_module_breaks_the_rule(find: Callable[[Module], Iterator[str]]) -> None:
    assert [breach for module in modules(migrations=True) for breach in find(module)] == []


def dead(all_modules: tuple[Module, ...]) -> list[str]:
    """Return modules that no other module imports and that are no way in."""
    used = {name for module in all_modules for name in imported(module) if name != module.name}
    ways_in = {*PACKAGES, "server.cli.start", "server.http.worker", "server.ssh.worker"}
    return [
        module.shown
        for module in all_modules
        if module.name not in used | ways_in and module.path.name not in ("__main__.py", "__init__.py")
    ]


def test_no_module_is_dead() -> None:
    assert dead(modules()) == []


def test_a_dead_module_would_be_found() -> None:
    lonely = parse(ROOT / "config" / "errors.py")._replace(name="config.lonely", path=ROOT / "config" / "lonely.py")
    assert "config/lonely.py" in dead((*modules(), lonely))


def test_every_module_says_what_it_is() -> None:
    silent = [module.shown for module in modules(migrations=True) if module.text.strip() and not _docstring(module)]
    assert silent == []


def _docstring(module: Module) -> str | None:
    return ast.get_docstring(module.tree)


def test_tests_are_no_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def all_errors() -> list[type[MellanrumError]]:
    """Return every class of error, once every module has been imported."""
    for package in PACKAGES:
        top = importlib.import_module(package)
        for found in pkgutil.walk_packages(top.__path__, f"{package}."):
            if "migrations" not in found.name and not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    classes, waiting = [], [MellanrumError]
    while waiting:
        kind = waiting.pop()
        classes.append(kind)
        waiting.extend(kind.__subclasses__())
    return classes


def test_every_error_says_what_happened() -> None:
    """The docstring of an error is what a person reads."""
    for kind in all_errors():
        words = vars(kind).get("__doc__") or ""
        assert words.strip().endswith((".", "}")), f"{kind.__qualname__} has no sentence for the person"
        assert isinstance(kind.exit_code, int)
        assert 0 < kind.exit_code < 126, kind.__qualname__
