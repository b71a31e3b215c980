"""`mellanrum space`: trees of documents, what customers are let into."""

from __future__ import annotations

import argparse
import os
from pathlib import Path as File
from typing import Any

from config.ids import id_text
from providers.model import ACTIVE, ARCHIVED, FROZEN, SpaceInfo
from providers.paths import Path
from server.cli import find
from server.cli.errors import InputUnreadable, InputWrong, Misused
from server.cli.frame import Answer, Desk, Noun
from server.cli.text import facts, moment, parse_size, size, table, yes

STATES = {"active": ACTIVE, "frozen": FROZEN, "archived": ARCHIVED}
STATE_NAMES = {state: name for name, state in STATES.items()}
FOLDERS_MAX = 10_000
_HELP = "its name; CUSTOMER/NAME where several have it"


def add_to(nouns: Noun) -> None:
    """Add the commands of this noun."""
    noun = nouns.noun("space", "Spaces: what customers are let into.")
    command = noun.command("create", create, "Make a space. Nobody is let in by that: grants do.", aliases=["add"])
    command.add_argument("name", metavar="NAME")
    command.add_argument("--customer", metavar="ORG", help="whose it is; by default the supplier's own")
    command.add_argument("--template", metavar="FOLDER", type=File, help="make the folders that stand in this one")
    command.add_argument("--folder", metavar="PATH", action="append", default=[], help="make a folder in it")
    command.add_argument("--open", action="store_true", help="let its customers see each other")
    command.add_argument("--quota", metavar="SIZE", help="what it may hold, sealed: 20 GiB")
    command = noun.command("list", show_all, "List spaces.")
    command.add_argument("--customer", metavar="ORG", help="of one customer")
    noun.command("show", show, "Show a space and who is let in.").add_argument("name", metavar="SPACE", help=_HELP)
    command = noun.command("set", change, "Freeze, archive or open a space, or set its quota.")
    command.add_argument("name", metavar="SPACE", help=_HELP)
    command.add_argument("--state", choices=list(STATES), help="frozen: nothing in it changes; archived: put aside too")
    command.add_argument("--quota", metavar="SIZE", help="20 GiB, or none")
    command = noun.command("folders", folders, "Make folders in a space, with those they lie in.")
    command.add_argument("name", metavar="SPACE", help=_HELP)
    command.add_argument("path", metavar="PATH", nargs="*", default=[])
    command.add_argument("--template", metavar="FOLDER", type=File, help="make the folders that stand in this one")
    command = noun.command("remove", remove, "Archive a space: nothing in it changes any longer, and nothing is lost.")
    command.add_argument("name", metavar="SPACE", help=_HELP)


def template_of(folder: File) -> tuple[Path, ...]:
    """Return the folders below one on this machine, parents first. Raises InputUnreadable, InputWrong, BadName."""
    if not folder.is_dir():
        raise InputUnreadable(file=folder, why="it is no folder")
    found: list[Path] = []
    for here, below, _ in os.walk(folder, onerror=_unreadable):
        below[:] = sorted(name for name in below if not name.startswith("."))
        inside = File(here).relative_to(folder).parts
        found.extend(find.path("/".join((*inside, name))) for name in below)
        if len(found) > FOLDERS_MAX:
            raise InputWrong(file=folder, why=f"it has more than {FOLDERS_MAX} folders.")
    return tuple(found)


def _unreadable(error: OSError) -> None:
    raise InputUnreadable(file=error.filename, why=(error.strerror or "").lower())


def document(desk: Desk, info: SpaceInfo) -> dict[str, Any]:
    """Return a space as `--json` shows it."""
    customer = None if info.customer is None else desk.installation.directory.organisation_name(info.customer)
    return {
        "id": id_text(info.id),
        "name": info.name,
        "customer": customer,
        "open": info.is_open,
        "state": STATE_NAMES[info.state],
        "quota_bytes": info.quota_bytes,
        "created": moment(info.created_at),
    }


def create(desk: Desk, options: argparse.Namespace) -> Answer:
    """Make a space."""
    folders = template_of(options.template) if options.template is not None else ()
    folders += tuple(find.path(each) for each in options.folder)
    quota = desk.settings.installation.quota_default_bytes or None
    if options.quota is not None:
        quota = parse_size(options.quota, "mellanrum space create")
    made = desk.installation.spaces.create(
        desk.operator,
        options.name,
        customer=None if options.customer is None else find.organisation(desk, options.customer).id,
        template=folders,
        is_open=options.open,
        quota_bytes=quota,
    )
    lines = [f"Made the space {find.full_name(desk, made)} with {len(folders)} folders. Nobody is let in yet."]
    return Answer(document(desk, made) | {"folders": len(folders)}, lines)


def show_all(desk: Desk, options: argparse.Namespace) -> Answer:
    """List spaces."""
    found = desk.installation.spaces.all()
    if options.customer is not None:
        chosen = find.organisation(desk, options.customer)
        found = [info for info in found if info.customer == (None if chosen.is_supplier else chosen.id)]
    shown = [document(desk, info) for info in found]
    rows = ((s["name"], s["customer"] or "(our own)", s["state"], size(s["quota_bytes"]), s["id"]) for s in shown)
    return Answer(shown, table(("name", "customer", "state", "quota", "id"), rows))


def show(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show one space."""
    from server.cli.grants import listed

    info = find.space(desk, options.name)
    shown, granted = document(desk, info), listed(desk, info)
    lines = [
        *facts(
            (
                ("Name", info.name),
                ("Customer", shown["customer"] or "(our own)"),
                ("State", shown["state"]),
                ("Open", yes(info.is_open)),
                ("Quota", size(info.quota_bytes)),
                ("Made", shown["created"]),
                ("Id", shown["id"]),
            )
        ),
        "",
        *table(
            ("path", "role", "for", "history"), ((g["path"], g["role"], g["for"], yes(g["history"])) for g in granted)
        ),
    ]
    return Answer(shown | {"grants": granted}, lines)


def change(desk: Desk, options: argparse.Namespace) -> Answer:
    """Change the state or quota of a space."""
    info = find.space(desk, options.name)
    if options.state is None and options.quota is None:
        raise Misused(problem="Say what to change: --state or --quota.", command="mellanrum space set")
    if options.quota is not None:
        quota = parse_size(options.quota, "mellanrum space set")
        info = desk.installation.spaces.set_quota(desk.operator, info.id, quota)
    if options.state is not None:
        info = desk.installation.spaces.set_state(desk.operator, info.id, STATES[options.state])
    said = f"{find.full_name(desk, info)}: {STATE_NAMES[info.state]}, {size(info.quota_bytes)}."
    return Answer(document(desk, info), [said])


def folders(desk: Desk, options: argparse.Namespace) -> Answer:
    """Make folders in a space."""
    info = find.space(desk, options.name)
    wanted = [find.path(each) for each in options.path]
    if options.template is not None:
        wanted += template_of(options.template)
    desk.installation.spaces.make_folders(desk.operator, info.id, wanted)
    named = [str(path) for path in wanted]
    return Answer(document(desk, info) | {"folders": named}, [f"{len(named)} folders stand in {info.name}."])


def remove(desk: Desk, options: argparse.Namespace) -> Answer:
    """Archive a space."""
    info = find.space(desk, options.name)
    desk.confirm(f"Archive {find.full_name(desk, info)}, so that nothing in it changes any longer?")
    archived = desk.installation.spaces.set_state(desk.operator, info.id, ARCHIVED)
    return Answer(document(desk, archived), [f"Archived {info.name}. It stands under Archive/ now."])
