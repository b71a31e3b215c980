"""`mellanrum lock`: which documents somebody holds, and letting them go in that person's place."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from config.clock import iso_utc
from providers.errors import LockNotFound
from providers.model import Lock
from providers.paths import Path
from server.cli import find
from server.cli.errors import NoLockThere
from server.cli.frame import Answer, Desk, Noun
from server.cli.text import moment, table


def add_to(nouns: Noun) -> None:
    """Add the commands of this noun."""
    noun = nouns.noun("lock", "Locks that programs took on documents, so that nobody else changes them.")
    command = noun.command("list", show_all, "List the locks in a space or a folder: on what, whose, until when.")
    command.add_argument("path", metavar="SPACE[/PATH]", help=find.WHERE)
    command = noun.command("break", break_, "Let go of the locks on a document or a folder, whoever holds them.")
    command.add_argument("path", metavar="SPACE[/PATH]", help=find.WHERE)
    command.add_argument("--below", action="store_true", help="those on all in the folder, or the space, too")


def show_all(desk: Desk, options: argparse.Namespace) -> Answer:
    """List locks."""
    spot = find.spot(desk, options.path)
    found = spot.drive(desk, looks=True).locks_inside(spot.path)
    rows = ((_inner(lock), lock.holder, moment(lock.expires_at), _kind(lock)) for lock in found)
    return Answer([_document(lock) for lock in found], table(("path", "held by", "until", "kind"), rows))


def break_(desk: Desk, options: argparse.Namespace) -> Answer:
    """Break locks."""
    spot = find.spot(desk, options.path)
    where = f"{options.path} and all in it" if options.below else options.path
    desk.confirm(f"Break the locks on {where}? Whoever holds them cannot save there what they changed meanwhile.")
    try:
        broken = spot.drive(desk).break_locks(spot.path, below=options.below)
    except LockNotFound:
        raise NoLockThere(path=where, quoted=shlex.quote(find.full_name(desk, spot.info))) from None
    said = [f"Broke the lock on {_inner(lock)}, held by {lock.holder}." for lock in broken]
    return Answer([_document(lock) for lock in broken], said)


def _document(lock: Lock) -> dict[str, Any]:
    return {
        "path": _inner(lock),
        "holder": lock.holder,
        "until": iso_utc(lock.expires_at),
        "deep": lock.is_deep,
        "shared": lock.is_shared,
    }


def _inner(lock: Lock) -> str:
    return str(Path(lock.root.segments[1:]))


def _kind(lock: Lock) -> str:
    return ("shared" if lock.is_shared else "exclusive") + (", with all in it" if lock.is_deep else "")
