"""`mellanrum history` and `restore`: what documents were, and letting them be so again."""

from __future__ import annotations

import argparse
from typing import Any

from config.clock import iso_utc
from config.ids import id_text
from providers.model import Came, Version
from server.cli import find
from server.cli.errors import Misused
from server.cli.frame import Answer, Desk, Noun
from server.cli.text import moment, size, table

_WHERE = "SPACE/PATH; CUSTOMER/SPACE/PATH where several customers have a space of that name"


def add_to(nouns: Noun) -> None:
    """Add these commands."""
    command = nouns.command("history", show, "Show the versions of a document.")
    command.add_argument("path", metavar="SPACE/PATH", help=_WHERE)
    command = nouns.command("restore", restore, "Let an earlier version of a document be its newest again.")
    command.add_argument("path", metavar="SPACE/PATH", help=_WHERE)
    command.add_argument("number", metavar="NUMBER", help="of the version, as `history` shows it")
    command.add_argument("--comment", metavar="TEXT", help="what to say of the new version")


def show(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show the versions of a document."""
    spot = find.spot(desk, options.path)
    drive = spot.drive(desk, looks=True)
    item = drive.stat(spot.path)
    versions = drive.versions(spot.path)
    document = {"document": id_text(item.id), "versions": [_version(each) for each in versions]}
    rows = (
        (each.number, moment(each.at), each.by, each.via, size(each.size), each.name, _told(each)) for each in versions
    )
    return Answer(document, table(("number", "at", "by", "via", "size", "name", ""), rows))


def _version(version: Version) -> dict[str, Any]:
    """Return a version as `--json` shows it."""
    return {
        "number": version.number,
        "size": version.size,
        "at": iso_utc(version.at),
        "by": version.by,
        "via": version.via,
        "name": version.name,
        "comment": version.comment,
        "came": version.came.value,
        "origin": version.origin,
        "id": id_text(version.id),
        "sha256": version.sha256,
    }


_CAME = {
    Came.CONTINUED: "joined by its name",
    Came.REPLACED: "another document was moved over it",
    Came.SHARED: "apart from here on",
    Came.SPLIT: "set apart",
    Came.COPIED: "copied",
}


def _told(version: Version) -> str:
    """Return what there is to say of a version."""
    came = _CAME.get(version.came, "")
    if version.came is Came.RESTORED:
        came = f"holds what version {version.origin} holds"
    return "; ".join(text for text in (version.comment, came) if text)


def restore(desk: Desk, options: argparse.Namespace) -> Answer:
    """Let an earlier version of a document be its newest again."""
    spot = find.spot(desk, options.path)
    drive = spot.drive(desk)
    number = _number(options.number, "mellanrum restore")
    before = drive.stat(spot.path)
    after = drive.restore(spot.path, number, options.comment)
    newest = drive.versions(spot.path)[-1]
    if before.version == after.version:
        said = f"{options.path} holds what version {number} holds already. Nothing was changed."
    else:
        said = f"{options.path} holds what version {number} holds, as version {newest.number}."
    changed = before.version != after.version
    return Answer({"document": id_text(after.id), "changed": changed, "version": _version(newest)}, [said])


def _number(text: str, command: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10):
        raise Misused(problem=f"{text} is no number of a version.", command=command)
    return int(text)
