"""Write docs/CLI.md from the command line's own parsers and the error tree: `make commands`."""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from config.errors import MellanrumError  # noqa: E402
from server.cli.main import parser  # noqa: E402

PACKAGES = ("config", "auth", "providers", "webui", "server")
TARGET = ROOT / "docs" / "CLI.md"
_HEAD = """\
# The command line

Derived from `server/cli` and the error tree by `make commands`: change them there.

`mellanrum` works on one installation, beside a running server too. Which one: `--data DIR`, before or after the
command; or `--settings FILE`; or `MELLANRUM_INSTALLATION_DATA_FOLDER`; else what docs/SETTINGS.md says.

Everywhere:

- `--json` prints one JSON document on standard output, of errors too: `{"error": {"kind", "message", "exit_code"}}`.
- `--yes` does what would otherwise be asked first. Without a terminal nothing is asked: it is refused.
- An error is one line on standard error that says what to do; the exit code says which kind it was.
- Long work shows a bar on standard error, if that is a terminal.
- Passwords and passphrases are asked for, or read from a file; an argument could be read by others.
- Who works here is `operator:` and the user of the machine, and every change is an event of the audit log.

Names: an organisation, group or space by its name or id, a person by their login or id. A space that several customers
have by one name is `CUSTOMER/NAME`. Dates are days in the installation's zone, whole, or times such as
`2026-10-31T12:00Z`. Sizes are `500 MiB`, `20 GiB`, `none`.
"""
_CODES = """
## Exit codes

0: done. `mellanrum audit verify` has codes of its own: 0 whole, 1 tampered with, 2 incomplete. Every other error has
the code of its class:

| Code | Error | What it says |
|---|---|---|
"""


def text() -> str:
    """Return docs/CLI.md."""
    return _HEAD + "".join(_commands()) + _CODES + "".join(_codes())


def _commands() -> Iterator[str]:
    for names, help, found in _walked(parser(), ()):
        if names and _below(found):
            yield f"\n## `mellanrum {' '.join(names)}`\n\n{help}\n"
        elif names:
            mark = "##" if len(names) == 1 else "###"
            yield f"\n{mark} `mellanrum {' '.join(names)}{_placed(found)}`\n\n{help}\n"
            options = list(_options(found))
            if options:
                yield "\n" + "".join(options)


def _walked(
    found: argparse.ArgumentParser, names: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str, argparse.ArgumentParser]]:
    yield names, found.description or "", found
    seen = set()
    for name, below in _below(found).items():
        if id(below) not in seen:  # an alias is the same parser again
            seen.add(id(below))
            yield from _walked(below, (*names, name))


def _below(found: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in found._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _own(found: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the actions that do not stand everywhere."""
    everywhere = {"data", "settings", "json", "yes", "help"}
    yield from (action for action in found._actions if action.dest not in everywhere)


def _placed(found: argparse.ArgumentParser) -> str:
    marks = {None: "{}", "?": "[{}]", "*": "[{}…]", "+": "{}…"}
    return "".join(" " + marks[a.nargs].format(a.metavar) for a in _own(found) if not a.option_strings)


def _options(found: argparse.ArgumentParser) -> Iterator[str]:
    for action in _own(found):
        name = action.option_strings[0] if action.option_strings else str(action.metavar)
        taken = "" if action.nargs == 0 or not action.option_strings else f" {_shown(action)}"
        if action.help:
            yield f"- `{name}{taken}`: {action.help}\n"
        elif action.option_strings:
            yield f"- `{name}{taken}`\n"


def _shown(action: argparse.Action) -> str:
    return str(action.metavar) if action.metavar else "|".join(map(str, action.choices or ()))


def _codes() -> Iterator[str]:
    for kind in sorted(errors(), key=lambda kind: (kind.exit_code, kind.__name__)):
        said = " ".join(inspect.cleandoc(kind.__doc__ or "").split())
        yield f"| {kind.exit_code} | {kind.__name__} | {re.sub(r'{[a-z_]+}', '…', said).replace('|', '/')} |\n"


def errors() -> list[type[MellanrumError]]:
    """Return every class of error of the five packages."""
    for package in PACKAGES:
        top = importlib.import_module(package)
        for found in pkgutil.walk_packages(top.__path__, f"{package}."):
            if "migrations" not in found.name and not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    known: dict[str, type[MellanrumError]] = {}
    waiting = [MellanrumError]
    while waiting:
        kind = waiting.pop()
        if kind.__module__.split(".")[0] in PACKAGES and not kind.__module__.startswith("server.webdav"):
            known[f"{kind.__module__}.{kind.__qualname__}"] = kind
        waiting.extend(kind.__subclasses__())
    return list(known.values())


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
