"""The console script."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import auth
import config
import providers
import server
import webui
from server.cli import (
    alerts,
    apply,
    audit,
    backup,
    demo,
    devices,
    doctor,
    erasing,
    grants,
    groups,
    history,
    installation,
    keys,
    locks,
    orgs,
    people,
    spaces,
    sshkeys,
)
from server.cli.frame import PROGRAM, Noun, Parser, add_everywhere, run

DESCRIPTION = "A file server for the space between a supplier and its customers. docs/CLI.md explains every command."


def parser() -> Parser:
    """Return the parser of the whole command line."""
    made = Parser(prog=PROGRAM, description=DESCRIPTION)
    add_everywhere(made)
    made.add_argument("--version", action="version", version=f"{PROGRAM} {version(PROGRAM)}")
    nouns = Noun(made.add_subparsers(metavar="COMMAND", required=True, dest="command"))
    nouns_of = (
        installation,
        backup,
        doctor,
        demo,
        apply,
        orgs,
        people,
        groups,
        spaces,
        grants,
        devices,
        sshkeys,
        keys,
        audit,
    )
    for module in (*nouns_of, history, erasing, alerts, locks):
        module.add_to(nouns)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    _assert_one_house()
    return run(parser(), argv)


def _assert_one_house() -> None:
    """Let no package of ours be another program's that happens to have the same name."""
    packages = (config, auth, providers, webui, server)
    homes = {Path(str(package.__file__)).parent.parent for package in packages}
    if len(homes) != 1:
        sys.exit(f"{PROGRAM}: its packages come from several folders: {', '.join(map(str, sorted(homes)))}")


if __name__ == "__main__":
    sys.exit(main())
