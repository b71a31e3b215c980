"""What a command asks for: typed at the terminal, or for scripts the first line of a file, or of standard input (`-`).

Secrets are no arguments, which others on the machine could read.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from server.cli import find
from server.cli.errors import Misused
from server.cli.frame import Parser

_ASKS_OR_MAKES = "we ask, or make one and print it if there is no terminal"


def add_password(command: Parser) -> None:
    """Add the options that say what a new password is."""
    given = command.add_mutually_exclusive_group()
    add_password_file(given)
    given.add_argument("--ask-password", action="store_true", help="ask for the password")


def add_password_file(command: argparse._ActionsContainer) -> None:
    """Add the option that says where a password is read."""
    command.add_argument(
        "--password-file", metavar="FILE", type=Path, help="its first line is the password; - for stdin"
    )


def add_passphrase(command: Parser, otherwise: str = _ASKS_OR_MAKES) -> None:
    """Add the option that says what a kit's passphrase is."""
    told = f"its first line is the passphrase; - for stdin; without it {otherwise}"
    command.add_argument("--passphrase-file", metavar="FILE", type=Path, help=told)


def new_password(options: argparse.Namespace, *, command: str) -> str | None:
    """Return the password that the options lead to; None if they name none. Raises Misused, InputUnreadable."""
    if options.password_file is not None:
        return first_line(options.password_file)
    if not options.ask_password:
        return None
    return typed_twice("Password: ", "passwords", "--password-file", command)


def first_line(file: Path) -> str:
    """Return the first line of a file, or of standard input. Raises InputUnreadable."""
    with find.reading(file) as stream:
        return stream.readline().rstrip("\r\n")


def has_terminal() -> bool:
    """Return whether there is anybody to ask."""
    return sys.stdin.isatty()


def typed(question: str, option: str, command: str, *, shown: bool = False) -> str:
    """Return what is typed, unseen if it is not `shown`. Raises Misused without a terminal, and at its end (Ctrl-D)."""
    if not has_terminal():
        raise Misused(problem=f"There is no terminal to ask on; give {option}.", command=command)
    try:
        if not shown:
            return getpass.getpass(question)
        print(question, end="", file=sys.stderr, flush=True)
        if answer := sys.stdin.readline().strip():
            return answer
    except EOFError:
        print(file=sys.stderr)
    raise Misused(problem=f"Nothing was typed. Type it, or give {option}.", command=command)


def typed_twice(question: str, what: str, option: str, command: str) -> str:
    """Return a secret that is new, typed alike twice; or nothing. Raises Misused."""
    first = typed(question, option, command)
    if first and typed("Once more: ", option, command) != first:
        raise Misused(problem=f"The two {what} differ.", command=command)
    return first
