"""The whole command line, from its parser to its exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import auth
import config
import providers
import server
import webui
from config.dumps import stay_out_of_dumps
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
    open_streams()
    stay_out_of_dumps()
    return run(parser(), argv)


def open_streams() -> None:
    """Let the three standard streams be open, to nothing where whoever started us had closed one: else the next file
    that is opened takes its number, and what is printed there, by a child or a library, would be written into it.
    """
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def _assert_one_house() -> None:
    """Let no package of ours be another program's that happens to have the same name."""
    packages = (config, auth, providers, webui, server)
    homes = {Path(str(package.__file__)).parent.parent for package in packages}
    if len(homes) != 1:
        sys.exit(f"{PROGRAM}: its packages come from several folders: {', '.join(map(str, sorted(homes)))}")


if __name__ == "__main__":
    sys.exit(main())
