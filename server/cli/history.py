"""`mellanrum history`, `restore`, `trash`, `undelete`, `compare`, `put-back`: what was, and letting it be so again."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from config.clock import iso_utc
from config.ids import id_from_text, id_text
from providers.drive import Drive
from providers.errors import DriveError, LockStands, NotFound
from providers.model import Came, Deleted, Difference, Differs, Version
from providers.paths import Path
from server.cli import find
from server.cli.errors import DeletedThere, LockInTheWay, Misused, NoSuchVersion, NotInTrash, NotThen
from server.cli.find import Spot
from server.cli.frame import Answer, Desk, Noun
from server.cli.text import moment, parse_count, size, table

_MOMENT = "2026-10-31 (its end), 2026-10-31T120000Z as in .history, or 2026-10-31T12:00:00Z"


def add_to(nouns: Noun) -> None:
    """Add these commands."""
    command = nouns.command("history", show, "Show the versions of a document; or undo that two were joined by a name.")
    command.add_argument(
        "path", metavar="SPACE/PATH", help=f"{find.WHERE}; or the word split, and then SPACE/PATH NUMBER"
    )
    command.add_argument(
        "cut", metavar="SPACE/PATH NUMBER", nargs="*", default=[], help="set apart what was joined from NUMBER on"
    )
    command.add_argument("--to", metavar="NAME", help="with split: where the document of before shall stand beside it")
    command = nouns.command("restore", restore, "Let an earlier version of a document be its newest again.")
    command.add_argument("path", metavar="SPACE/PATH", help=find.WHERE)
    command.add_argument("number", metavar="NUMBER", help="of the version, as `history` shows it")
    command.add_argument("--comment", metavar="TEXT", help="what to say of the new version")
    command = nouns.command("trash", show_trash, "Show what was deleted in a space or a folder, newest first.")
    command.add_argument("path", metavar="SPACE[/PATH]", help=find.WHERE)
    command.add_argument("--all", action="store_true", help="temporary leftovers of programs too")
    command.add_argument("--last", metavar="N", default="100", help="how many; by default 100")
    command = nouns.command("undelete", undelete, "Bring back what was deleted, with its history.")
    command.add_argument("path", metavar="SPACE[/PATH]", help=find.WHERE)
    command.add_argument("id", metavar="ID", help="as `trash` shows it")
    command.add_argument("--to", metavar="PATH", help="where to, within the space; by default where it stood")
    command = nouns.command("compare", compare, "Show what differs in a space or a folder between two moments.")
    command.add_argument("path", metavar="SPACE[/PATH]", help=find.WHERE)
    command.add_argument("before", metavar="MOMENT", help=_MOMENT)
    command.add_argument("after", metavar="MOMENT", nargs="?", help="by default now")
    command = nouns.command("put-back", put_back, "Put a space or a folder back to a moment, as one change.")
    command.add_argument("path", metavar="SPACE[/PATH]", help=find.WHERE)
    command.add_argument("moment", metavar="MOMENT", help=_MOMENT)
    command.add_argument("--dry-run", action="store_true", help="only show what would be undone")


def show(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show the versions of a document; `history split SPACE/PATH NUMBER` sets apart what was joined."""
    if options.cut or options.to is not None:
        return _split(desk, options)
    spot = find.spot(desk, options.path)
    drive = spot.drive(desk, looks=True)
    try:
        item = drive.stat(spot.path)
    except NotFound:
        raise _in_trash(drive, spot, options.path) or NotFound from None
    versions = drive.versions(spot.path)
    document = {"document": id_text(item.id), "versions": [_version(each) for each in versions]}
    rows = (
        (each.number, moment(each.at), each.by, each.via, size(each.size), each.name, _told(each)) for each in versions
    )
    lines = list(table(("number", "at", "by", "via", "size", "name", ""), rows))
    earlier = _deleted_at(drive, spot)
    if earlier is not None:
        told = f"Another document of this name was deleted {moment(earlier.at)}."
        lines.append(f"{told} Its history is kept: {_undelete(spot, earlier)} --to PATH")
    return Answer(document, lines)


def _split(desk: Desk, options: argparse.Namespace) -> Answer:
    if options.path != "split" or len(options.cut) != 2:
        raise Misused(problem="Say history SPACE/PATH, or history split SPACE/PATH NUMBER", command="mellanrum history")
    spot = find.spot(desk, options.cut[0])
    number = _number(options.cut[1], "mellanrum history")
    item = spot.drive(desk).split(spot.path, number, options.to)
    where = "in the trash" if options.to is None else f"called {options.to}"
    said = f"{options.cut[0]} is a document of its own from version {number} on; the one of before is {where}."
    return Answer({"document": id_text(item.id), "path": str(spot.inner)}, [said])


def _deleted_at(drive: Drive, spot: Spot, *, everything: bool = False) -> Deleted | None:
    """Return what was deleted last under the very name; leftovers of programs only where `everything` counts."""
    try:
        found, _ = drive.trash(spot.path.parent, named=spot.path.name, everything=everything)
    except DriveError:
        return None
    return found[0] if found else None


def _in_trash(drive: Drive, spot: Spot, text: str) -> DeletedThere | None:
    found = _deleted_at(drive, spot, everything=True)
    if found is None:
        return None
    return DeletedThere(path=text, when=moment(found.at), by=found.by, command=_undelete(spot, found))


def _undelete(spot: Spot, found: Deleted) -> str:
    return f"mellanrum undelete ~{id_text(spot.info.id)} {id_text(found.id)}"


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
        "erased": version.erased,
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
    erased = "erased" if version.erased else ""
    return "; ".join(text for text in (erased, version.comment, came) if text)


def restore(desk: Desk, options: argparse.Namespace) -> Answer:
    """Let an earlier version of a document be its newest again."""
    spot = find.spot(desk, options.path)
    drive = spot.drive(desk)
    number = _number(options.number, "mellanrum restore")
    before = drive.stat(spot.path)
    try:
        after = drive.restore(spot.path, number, options.comment)
    except NotFound:
        raise NoSuchVersion(path=options.path, number=number, quoted=shlex.quote(options.path)) from None
    (newest,), _ = drive.history(spot.path, limit=1, sums=True)
    if before.version == after.version:
        said = f"{options.path} holds what version {number} holds already. Nothing was changed."
    else:
        said = f"{options.path} holds what version {number} holds, as version {newest.number}."
    changed = before.version != after.version
    return Answer({"document": id_text(after.id), "changed": changed, "version": _version(newest)}, [said])


def show_trash(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show what was deleted."""
    spot = find.spot(desk, options.path)
    limit = parse_count(options.last, "mellanrum trash")
    found, more = spot.drive(desk, looks=True).trash(spot.path, limit=limit, everything=options.all)
    shown = [
        {
            "id": id_text(each.id),
            "path": str(Path(each.path.segments[1:])),
            "name": each.name,
            "folder": each.is_folder,
            "size": each.size,
            "version": each.version,
            "at": iso_utc(each.at),
            "by": each.by,
            "replaced": None if each.replaced is None else _beside(each.path, each.replaced),
        }
        for each in found
    ]
    rows = ((moment(each.at), each.by, _size(each), _went(each), id_text(each.id)) for each in found)
    lines = [*table(("deleted", "by", "size", "path", "id"), rows)]
    if not found and not options.all:
        left, _ = spot.drive(desk).trash(spot.path, limit=limit, everything=True)
        lines = [f"(none; {len(left)} leftovers of programs: --all)"] if left else lines
    return Answer(shown, [*lines, f"There may be more: --last {10 * limit}"] if more else lines)


def _size(found: Deleted) -> str:
    return "folder" if found.is_folder else size(found.size)


def _went(found: Deleted) -> str:
    path = str(Path(found.path.segments[1:]))
    return path if found.replaced is None else f"{path}, moved over {_beside(found.path, found.replaced)}"


def _beside(path: Path, other: Path) -> str:
    """Return another path as it is told beside `path`: within its space, with the name of the space in another one."""
    return str(Path(other.segments[1:]) if other.segments[0] == path.segments[0] else other)


def undelete(desk: Desk, options: argparse.Namespace) -> Answer:
    """Bring back what was deleted."""
    spot = find.spot(desk, options.path)
    node = id_from_text(options.id)
    if node is None:
        raise Misused(problem=f"{options.id} is no id: take one that `trash` shows.", command="mellanrum undelete")
    to = None if options.to is None else Path((spot.path.segments[0], *find.path(options.to).segments))
    drive = spot.drive(desk)
    try:
        item = drive.undelete(spot.path, node, to)
    except NotFound:
        drive.stat(spot.path)
        raise NotInTrash(id=options.id, path=options.path, quoted=shlex.quote(options.path)) from None
    where = str(Path(item.path.segments[1:]))
    return Answer({"id": id_text(item.id), "path": where}, [f"{where} stands again, with its whole history."])


def compare(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show what differs between two moments."""
    spot = find.spot(desk, options.path)
    before = find.moment(desk, options.before, "mellanrum compare")
    after = None if options.after is None else find.moment(desk, options.after, "mellanrum compare")
    drive = spot.drive(desk, looks=True)
    try:
        found = list(drive.compare(spot.path, before, after))
    except NotFound:
        drive.stat(spot.path)
        raise NotThen(path=options.path, moment=moment(before)) from None
    return Answer([_difference(each) for each in found], _differences(found))


def put_back(desk: Desk, options: argparse.Namespace) -> Answer:
    """Put a space or a folder back."""
    at = find.moment(desk, options.moment, "mellanrum put-back")
    spot = find.spot(desk, options.path)
    try:
        return put_spot_back(desk, spot, at, dry_run=options.dry_run)
    except NotFound:
        spot.drive(desk).stat(spot.path)
        raise NotThen(path=options.path, moment=moment(at)) from None


def put_spot_back(desk: Desk, spot: find.Spot, at: int, *, dry_run: bool) -> Answer:
    """Put a space or a folder back to a moment, in microseconds, and say what that undid."""
    try:
        done = spot.drive(desk, looks=dry_run).put_back(spot.path, at, dry_run=dry_run)
    except LockStands as stands:
        raise _in_the_way(desk, spot, stands) from None
    counts = {what.value: done.counts[what] for what in Differs if done.counts.get(what)}
    document = {
        "moment": iso_utc(at),
        "changed": not dry_run and bool(counts),
        "counts": counts,
        "left": done.left,
        "differences": [_difference(each) for each in done.differences],
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items()) or "nothing"
    verb = "Would undo" if dry_run else "Undone"
    lines = [*_differences(done.differences), f"{verb}, of what came about since {moment(at)}: {told}."]
    if done.left:
        lines.append(f"{done.left} stay where they are now.")
    return Answer(document, lines)


def _in_the_way(desk: Desk, spot: Spot, stands: LockStands) -> LockInTheWay:
    path = stands.facts["path"]
    assert isinstance(path, Path)
    space, inner = find.full_name(desk, spot.info), str(Path(path.segments[1:]))
    command = f"mellanrum lock break {shlex.quote(f'~{id_text(spot.info.id)}{inner}'.rstrip('/'))}"
    return LockInTheWay(**stands.facts | {"path": f"{space}{inner}".rstrip("/"), "space": space, "command": command})


def _difference(found: Difference) -> dict[str, Any]:
    return {
        "what": found.what.value,
        "path": str(Path(found.path.segments[1:])),
        "was": None if found.was is None else str(Path(found.was.segments[1:])),
        "id": id_text(found.id),
        "folder": found.is_folder,
        "size_before": found.size_before,
        "size_after": found.size_after,
        "version_before": found.version_before,
        "version_after": found.version_after,
    }


def _differences(found: Sequence[Difference]) -> Iterator[str]:
    rows = ((d["what"], d["was"] or d["path"], d["path"] if d["was"] else "") for d in map(_difference, found))
    return table(("what", "path", "now"), rows)


def _number(text: str, command: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10):
        raise Misused(problem=f"{text} is no number of a version.", command=command)
    return int(text)
