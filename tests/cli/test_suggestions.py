"""Commands that messages suggest: each is one that parses, also where a name in it has spaces."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import inspect
import re
import shlex
from collections.abc import Iterator

import pytest

from auth.errors import UnknownName
from config.errors import NotInitialised
from server.cli.errors import Misused
from server.cli.main import parser
from tests.cli.shop import Shop
from tests.tools import ROOT

PACKAGES = ("auth", "config", "providers", "server")


def without_docstrings(tree: ast.AST) -> ast.AST:
    """Return the tree without the texts that stand alone: they are no messages."""
    for node in ast.walk(tree):
        for _, body in ast.iter_fields(node):
            if isinstance(body, list):
                body[:] = [n for n in body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
    return tree


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield each text in a tree; what is filled in when it is said is X."""
    if isinstance(tree, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in tree.values)
        return
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.value
    for child in ast.iter_child_nodes(tree):
        yield from texts(child)


def messages() -> Iterator[str]:
    """Yield what the command line may say: its texts, and the errors of all packages."""
    for module in sorted((ROOT / "server" / "cli").glob("*.py")):
        yield from texts(without_docstrings(ast.parse(module.read_text(encoding="utf-8"))))
    spec = importlib.util.spec_from_file_location("cli_text", ROOT / "deploy" / "dev" / "cli_text.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for kind in module.errors():
        if kind is not UnknownName:
            yield re.sub(r"\{\w+\}", "X", inspect.cleandoc(kind.__doc__ or ""))
    for kind in kinds():
        yield str(UnknownName(kind=kind, name="X"))


def kinds() -> set[str]:
    """Return what is named where something of a name is looked for in vain."""
    found: set[str] = set()
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            found.update(re.findall(r'UnknownName\(kind="(\w+)"', file.read_text(encoding="utf-8")))
    assert {"org", "person", "device"} <= found
    return found


def parses(words: list[str]) -> bool:
    try:
        with contextlib.suppress(SystemExit):
            parser().parse_args(words)
    except Misused:
        return False
    return True


def holds(text: str) -> bool:
    """Return whether every command in a text parses, with its words up to where the sentence goes on."""
    for found in re.finditer(r"\bmellanrum ((?:--data \S+ )?[a-z][^`\n]*?)(?=\"(?: |\.|,|:|$)|[`\n).;]|  |$)", text):
        words = shlex.split(found[1])
        if text == found[0]:  # as a name of the command, of which its help is told
            if not parses([*words, "--help"]):
                return False
        elif not any(parses(words[:end]) for end in range(len(words), 0, -1)):
            return False
    return True


def test_messages_named_commands_that_there_are_none_of() -> None:
    said = sorted({text for text in messages() if "mellanrum " in text})
    assert len(said) > 20
    assert [text for text in said if not holds(text)] == []
    assert not holds('"mellanrum erasure list" shows all.')
    assert not holds("no password yet: mellanrum person password")


def suggested(text: str) -> list[str]:
    """Return the words of the one command that a text suggests."""
    (line,) = re.findall(r"mellanrum (.*)$", text, re.MULTILINE)
    return shlex.split(line)


def test_a_login_with_a_space_was_suggested_as_two_words(shop: Shop) -> None:
    said = shop.run("person", "add", "li 3", "Li").out
    assert shop.run(*suggested(said)).code == 0
    assert [each["login"] for each in shop.ok("device", "list")][-1] == "li 3"


def test_a_folder_with_a_space_is_suggested_as_one_word(shop: Shop) -> None:
    other = Shop(shop.data.with_name("my data"), shop.capture)
    for ran in (other.run("org", "list"), other.run("doctor")):
        (command,) = re.findall(r'"mellanrum (.*?)"', ran.out + ran.err)[:1]
        assert shlex.split(command) == ["--data", str(other.data), "init"]
    assert str(NotInitialised(folder="/a b")).startswith("There is no installation in /a b. ")


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("erase", "approve", "99"), ["erase", "list"]),
        (("grant", "remove", "Mitt rum", "99"), ["grant", "list", "Mitt rum"]),
        (("lock", "break", "Mitt rum", "--yes"), ["lock", "list", "Mitt rum"]),
    ],
    ids=["erase", "grant", "lock"],
)
def test_what_shows_all_was_a_command_that_there_is_none_of(
    shop: Shop, words: tuple[str, ...], command: list[str]
) -> None:
    shop.ok("space", "create", "Mitt rum")
    ran = shop.run(*words)
    assert ran.code in (13, 23)
    (said,) = re.findall(r'"mellanrum (.*?)"', ran.err)
    assert shlex.split(said) == command
    shop.ok(*command)


def test_history_demanded_what_it_does_not_need(shop: Shop) -> None:
    ran = shop.run("history")
    assert ran.code == 64
    assert "SPACE/PATH NUMBER" not in ran.err
    assert "required: SPACE/PATH." in ran.err
