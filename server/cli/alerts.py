"""`mellanrum alert`: what the brake has paused, letting it go on, and putting back what it did."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from auth.errors import UnknownName
from config.clock import iso_utc
from config.errors import MellanrumError
from config.ids import id_from_text, id_text
from providers.alerts import Alert
from providers.drive import braking
from server.cli import find
from server.cli.errors import NotAllPutBack
from server.cli.frame import Answer, Desk, Noun
from server.cli.history import put_spot_back
from server.cli.text import counted, facts, moment, table


def add_to(nouns: Noun) -> None:
    """Add the commands of this noun."""
    noun = nouns.noun("alert", "Devices that were paused, since they changed or deleted far more than they ever did.")
    command = noun.command("list", show_all, "List the alerts that are open.")
    command.add_argument("--all", action="store_true", help="those too that were resumed")
    command = noun.command("show", show, "Show one alert: who, what, where, since when.")
    command.add_argument("id", metavar="ALERT", help="its id, as listed")
    command = noun.command("resume", resume, "Let the device go on; as much as it did is no longer too much for it.")
    command.add_argument("id", metavar="ALERT", help="its id, as listed")
    command = noun.command("put-back", put_back, "Put each space that an alert is about back to the moment before.")
    command.add_argument("id", metavar="ALERT", help="its id, as listed")
    command.add_argument("--dry-run", action="store_true", help="only tell what it would undo, of others' work too")


def show_all(desk: Desk, options: argparse.Namespace) -> Answer:
    """List alerts."""
    found = [document(desk, alert) for alert in desk.installation.alerts.all(resumed=options.all)]
    rows = (
        (f"{d['at'][:19]}Z", d["login"], d["device"] or "(own password)", d["documents"], d["state"], d["id"])
        for d in found
    )
    return Answer(found, table(("at", "login", "device", "documents", "state", "id"), rows))


def show(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show one alert."""
    found = document(desk, _named(desk, options.id))
    return Answer(found, _lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield from facts(
        (
            ("alert", found["id"]),
            ("at", found["at"]),
            ("person", f"{found['login']} ({found['organisation']})"),
            ("device", found["device"] or "(own password)"),
            ("rewritten", found["rewritten"]),
            ("deleted", found["deleted"]),
            ("moved", found["moved"]),
            ("limit", found["limit"]),
            ("state", found["state"]),
        )
    )
    yield ""
    rows = ((each["space"], each["before"], each["documents"], each["put_back"] or "no") for each in found["spaces"])
    yield from table(("space", "the moment before", "documents", "put back"), rows)


def resume(desk: Desk, options: argparse.Namespace) -> Answer:
    """Let the device go on."""
    alert = _named(desk, options.id)
    found = document(desk, alert)
    who = f"{found['device'] or 'the password'} of {found['login']}"
    desk.confirm(f"Let {who} go on? It changed, moved or deleted {counted(alert.documents, 'document')}.")
    resumed = braking.resume(desk.installation.storage, desk.operator, alert)
    said = f"Resumed {who}." if resumed else f"Nothing was changed: {who} is not paused."
    return Answer(document(desk, _named(desk, options.id)) | {"resumed": resumed}, [said])


def put_back(desk: Desk, options: argparse.Namespace) -> Answer:
    """Put the spaces of an alert back."""
    alert = _named(desk, options.id)
    if not options.dry_run:
        names = ", ".join(each["space"] for each in document(desk, alert)["spaces"])
        desk.confirm(f"Put {names} back to the moment before? What anybody did since is undone, and kept as history.")
    found: list[dict[str, Any]] = []
    lines: list[str] = []
    failed: list[MellanrumError] = []
    for each, shown in zip(alert.spaces, document(desk, alert)["spaces"], strict=True):
        lines.append(f"{shown['space']}:")
        if each.put_back_at is not None:
            again = f"mellanrum put-back ~{id_text(each.space)} {shown['before']}"
            found.append({"space": shown["space"], "put_back": shown["put_back"]})
            lines.append(f"Was put back {shown['put_back']}, and left as it is now. Once more: {again}")
            continue
        try:
            told = put_spot_back(desk, find.spot(desk, f"~{id_text(each.space)}"), each.before, dry_run=options.dry_run)
        except MellanrumError as error:
            failed.append(error)
            found.append({"space": shown["space"], "changed": False, "error": str(error)})
            lines.append(f"Not put back. {error}")
            continue
        if not options.dry_run:
            desk.installation.alerts.note_put_back(alert.id, each.space)
        found.append({"space": shown["space"], **told.document})
        lines += told.lines
    if 0 < len(failed) < len(found):
        return Answer(found, lines, NotAllPutBack(done=len(found) - len(failed), count=len(found)))
    return Answer(found, lines, failed[0] if failed else None)


def document(desk: Desk, alert: Alert) -> dict[str, Any]:
    """Return an alert as `--json` shows it."""
    login, label, organisation = _whose(desk, alert)
    names = find.names_of(desk, (each.space for each in alert.spaces))
    return {
        "id": id_text(alert.id),
        "at": iso_utc(alert.at),
        "state": "open" if alert.is_open else f"resumed {moment(alert.resumed_at)}",
        "login": login,
        "organisation": organisation,
        "device": label if alert.is_device else None,
        "device_id": id_text(alert.subject) if alert.is_device else None,
        "documents": alert.documents,
        "rewritten": alert.rewritten,
        "deleted": alert.deleted,
        "moved": alert.moved,
        "limit": alert.limit,
        "mailed": moment(alert.mailed_at) or None,
        "spaces": [
            {
                "space": name,
                "before": iso_utc(each.before),
                "documents": each.documents,
                "put_back": moment(each.put_back_at) or None,
            }
            for each, name in zip(alert.spaces, names, strict=True)
        ],
    }


def _whose(desk: Desk, alert: Alert) -> tuple[str, str, str]:
    """Return the login, the device's label and the organisation; ids of those that have gone since."""
    directory = desk.installation.directory
    organisation = directory.organisation_name(alert.organisation) or id_text(alert.organisation)
    label = directory.device_label(alert.subject) or id_text(alert.subject)
    try:
        return directory.person(alert.person).login, label, organisation
    except UnknownName:
        return id_text(alert.person), label, organisation


def _named(desk: Desk, text: str) -> Alert:
    return desk.installation.alerts.get(id_from_text(text), text)
