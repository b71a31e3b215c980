"""`mellanrum space`: trees of documents, what customers are let into."""

from __future__ import annotations

import argparse
import os
from pathlib import Path as File
from typing import Any

from config.ids import id_text
from providers.holding.report import report_of
from providers.model import ACTIVE, ARCHIVED, FROZEN, SpaceInfo, Thinning
from providers.paths import Path
from server.cli import find
from server.cli.errors import InputUnreadable, InputWrong, Misused
from server.cli.frame import Answer, Desk, Noun
from server.cli.text import (
    DAY_SECONDS,
    clock_doubt,
    counted,
    facts,
    moment,
    parse_size,
    parse_span,
    size,
    span,
    table,
    yes,
)

STATES = {"active": ACTIVE, "frozen": FROZEN, "archived": ARCHIVED}
STATE_NAMES = {state: name for name, state in STATES.items()}
FOLDERS_MAX = 10_000
_SET = "mellanrum space set"
_HELP = "its name; CUSTOMER/NAME where several have it"


def add_to(nouns: Noun) -> None:
    """Add the commands of this noun."""
    noun = nouns.noun("space", "Spaces: what customers are let into.")
    command = noun.command("create", create, "Make a space. Nobody is let in by that: grants do.")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--customer", metavar="ORG", help="whose it is; by default the supplier's own")
    command.add_argument("--template", metavar="FOLDER", type=File, help="make the folders that stand in this one")
    command.add_argument("--folder", metavar="PATH", action="append", default=[], help="make a folder in it")
    command.add_argument("--open", action="store_true", help="let its customers see each other")
    command.add_argument("--quota", metavar="SIZE", help="what it may hold, sealed: 20 GiB")
    command = noun.command("list", show_all, "List spaces.")
    command.add_argument("--customer", metavar="ORG", help="of one customer")
    command = noun.command("usage", usage, "Show what a space takes, what its versions cost, and when it will be full.")
    command.add_argument("name", metavar="SPACE", help=_HELP)
    command = noun.command("thin", thin, "Let go of the versions that its thinning no longer keeps, as one change.")
    command.add_argument("name", metavar="SPACE", help=_HELP)
    command.add_argument("--dry-run", action="store_true", help="only say what would go")
    command.add_argument("--anyway", action="store_true", help="believe the clock, though it has jumped of late")
    noun.command("show", show, "Show a space and who is let in.").add_argument("name", metavar="SPACE", help=_HELP)
    command = noun.command("set", change, "Freeze, archive or open a space; set its quota, and how long versions stay.")
    command.add_argument("name", metavar="SPACE", help=_HELP)
    command.add_argument("--state", choices=list(STATES), help="frozen: nothing in it changes; archived: put aside too")
    command.add_argument("--quota", metavar="SIZE", help="20 GiB, or none")
    command.add_argument("--retention", metavar="TIME", help="let no version be erased that is younger: 10y, 90d, none")
    command.add_argument("--hold", choices=("on", "off"), help="on: nothing of it is erased, whatever else is settled")
    command.add_argument(
        "--thin",
        metavar="ALL,DAILY",
        help="30d,1y keeps all for 30 days, the last of each day for a year, then of each month; off keeps all",
    )
    command = noun.command("rename", rename, "Give a space another name, under which everybody finds it at once.")
    command.add_argument("name", metavar="SPACE", help=_HELP)
    command.add_argument("to", metavar="NAME")
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
        "retention_seconds": info.retention_seconds,
        "hold": info.is_held,
        "thinning": None if info.thinning is None else info.thinning._asdict(),
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
        chosen = find.customer_ever(desk, options.customer)
        found = [info for info in found if info.customer == (None if chosen.is_supplier else chosen.id)]
    shown = [document(desk, info) for info in found]
    rows = ((s["name"], s["customer"] or "(our own)", s["state"], size(s["quota_bytes"]), s["id"]) for s in shown)
    return Answer(shown, table(("name", "customer", "state", "quota", "id"), rows))


def show(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show one space."""
    from server.cli.grants import listed, until, whom

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
                ("Retention", span(info.retention_seconds)),
                ("Held", yes(info.is_held)),
                ("Thinning", thinning(info.thinning)),
                ("Made", shown["created"]),
                ("Id", shown["id"]),
            )
        ),
        "",
        *table(
            ("path", "role", "for", "history", "expires"),
            ((g["path"], g["role"], whom(g), yes(g["history"]), until(g)) for g in granted),
        ),
    ]
    return Answer(shown | {"grants": granted}, lines)


def change(desk: Desk, options: argparse.Namespace) -> Answer:
    """Change what is settled about a space."""
    info, spaces = find.space(desk, options.name), desk.installation.spaces
    given = [getattr(options, name) for name in ("state", "quota", "retention", "hold", "thin")]
    if all(each is None for each in given):
        problem = "Say what to change: --state, --quota, --retention, --hold or --thin."
        raise Misused(problem=problem, command=_SET)
    quota = None if options.quota is None else parse_size(options.quota, _SET)
    retention = None if options.retention is None else parse_span(options.retention, _SET)
    thinned = None if options.thin is None else parse_thinning(options.thin)
    if options.quota is not None:
        info = spaces.set_quota(desk.operator, info.id, quota)
    if options.retention is not None:
        info = spaces.set_retention(desk.operator, info.id, retention)
    if options.hold is not None:
        info = spaces.set_hold(desk.operator, info.id, options.hold == "on")
    if options.thin is not None:
        info = spaces.set_thinning(desk.operator, info.id, thinned)
    if options.state is not None:
        info = spaces.set_state(desk.operator, info.id, STATES[options.state])
    policy = "held, " if info.is_held else ""
    policy += f"retention {span(info.retention_seconds)}, thinning {thinning(info.thinning)}"
    said = f"{find.full_name(desk, info)}: {STATE_NAMES[info.state]}, {size(info.quota_bytes)}, {policy}."
    return Answer(document(desk, info), [said])


def rename(desk: Desk, options: argparse.Namespace) -> Answer:
    """Give a space another name."""
    info = find.space(desk, options.name)
    renamed = desk.installation.spaces.rename(desk.operator, info.id, options.to)
    return Answer(document(desk, renamed), [f"{find.full_name(desk, info)} is called {renamed.name} now."])


def usage(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show what a space takes."""
    info = find.space(desk, options.name)
    found = desk.installation.spaces.usage(info.id)
    shown = {
        "current_bytes": found.current,
        "earlier_bytes": found.earlier,
        "trash_bytes": found.trash,
        "draft_bytes": found.drafts,
        "sealed_bytes": found.sealed,
        "quota_bytes": found.quota,
        "growth_bytes_per_day": {"30_days": found.per_day_30, "90_days": found.per_day_90},
        "full": moment(found.full_at) or None,
    }
    lines = facts(
        (
            ("Current versions", size(found.current)),
            ("Earlier versions", size(found.earlier)),
            ("In the trash", size(found.trash)),
            ("Drafts", size(found.drafts)),
            ("Sealed in packs", f"{size(found.sealed)} of {size(found.quota)}"),
            ("Growth a day", f"{size(found.per_day_30)} (30 days), {size(found.per_day_90)} (90 days)"),
            ("Full", moment(found.full_at) or "not in sight"),
        )
    )
    return Answer(document(desk, info) | {"usage": shown}, lines)


def thin(desk: Desk, options: argparse.Namespace) -> Answer:
    """Thin a space."""
    info = find.space(desk, options.name)
    erasures = desk.installation.erasures
    doubt = [] if options.anyway else clock_doubt(desk.installation.storage.steady.look(), "--anyway believes it.")
    if options.dry_run:
        going = erasures.thinnable(info.id, desk.settings.zone, anyway=options.anyway)
        shown = {"versions": len(going), "bytes": sum(row["size"] for row in going), "erasure": None}
        return Answer(shown, [*doubt, f"{shown['versions']} versions, {size(shown['bytes'])}, would go."])
    desk.confirm(f"Let go for good of the versions that {find.full_name(desk, info)} no longer keeps?")
    done = erasures.thin(desk.operator, info.id, desk.settings.zone, anyway=options.anyway)
    if done is None:
        return Answer({"versions": 0, "bytes": 0, "erasure": None}, [*doubt, "There is nothing to let go of."])
    told = report_of(desk.installation.storage, done)
    shown = {"versions": told.count, "bytes": told.size, "erasure": id_text(done.id)}
    gone = f"{counted(told.count, 'version')}, {size(told.size)}, {'is' if told.count == 1 else 'are'} gone"
    said = f"{gone}: mellanrum erase report {shown['erasure']}"
    return Answer(shown, [*doubt, said])


def thinning(chosen: Thinning | None) -> str:
    """Return for people which versions stay."""
    if chosen is None:
        return "off"
    return f"all for {chosen.all_days} days, daily for {chosen.daily_days}, then monthly"


def parse_thinning(text: str) -> Thinning | None:
    """Return what `30d,1y` means; None for `off`. Raises Misused."""
    if text.strip().casefold() in ("off", "none"):
        return None
    spans = [parse_span(part, _SET) or 0 for part in text.split(",")]
    days = [each // DAY_SECONDS for each in spans]
    if len(days) != 2 or not 1 <= days[0] <= days[1]:
        raise Misused(problem=f"{text} is no thinning: write two lengths of days, as 30d,1y; or off.", command=_SET)
    return Thinning(days[0], days[1])


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
