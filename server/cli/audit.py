"""`mellanrum audit`: the logs of what happened, and the proof that they are whole."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from config.clock import now_us
from config.ids import NOBODY, id_text
from providers.audit import bundle, note
from providers.audit.checkpoints import installation_id
from providers.audit.errors import NotSignedYet
from providers.audit.events import Event, Projection
from providers.audit.leaf import ACTOR_DEVICE, ACTOR_NAME, ACTOR_ORGANISATION
from providers.audit.log import Entry, LogInfo
from providers.audit.opening import open_epoch
from providers.drive.transaction import actor_of
from server.cli import find
from server.cli.errors import InputUnreadable, Misused, OutputTaken
from server.cli.frame import Answer, Desk, Noun, Parser
from server.cli.text import counted, moment, one_line, parse_count, table

LISTED = 50
LINE_BYTES_MAX = bundle.LINE_BYTES_MAX


def add_to(nouns: Noun) -> None:
    """Add the commands of this noun."""
    noun = nouns.noun("audit", "The audit logs: who did what, and the proof that nothing was changed since.")
    command = noun.command("list", show_all, "List the newest events of a log.")
    add_log(command)
    command.add_argument("--last", metavar="N", default=str(LISTED), help=f"how many; by default {LISTED}")
    command = noun.command("export", export, "Write a log to a file that can be verified without a server: a bundle.")
    command.add_argument("file", metavar="FILE", type=Path)
    add_log(command)
    command = noun.command("checkpoint", checkpoint, "Print the newest signed checkpoint of a log, to be kept.")
    add_log(command)
    noun.command("key", public_key, "Print the public key that checkpoints are verified with, to be given to parties.")
    command = noun.command(
        "verify", verify, "Verify a bundle, without a server. Exits with 0: whole, 1: tampered with, 2: incomplete."
    )
    command.add_argument("bundle", metavar="BUNDLE", type=Path)
    command.add_argument("--since", metavar="OLD", type=Path, help="a checkpoint or bundle kept from earlier")
    command.add_argument("--key", metavar="PUBLIC", help="the public key, or a file that has it; else that of OLD")
    command = noun.command(
        "epoch",
        epoch,
        "Let every log tell that a backup was put back, and go on. The server must be stopped.",
    )
    command.add_argument("--anyway", action="store_true", help="though nothing tells that a backup was put back")


def add_log(command: Parser) -> None:
    """Add the options that say which log."""
    command.add_argument("--space", metavar="SPACE", help="of this space; without it, of the installation")
    command.add_argument(
        "--party", metavar="ORG", help="the stream of this organisation; without it, the supplier's log"
    )


def _log(desk: Desk, options: argparse.Namespace) -> LogInfo:
    """Return the log that the options name, with everything numbered and signed so far. Raises UnknownLog."""
    installation = desk.installation
    space = NOBODY if options.space is None else find.space(desk, options.space).id
    party = NOBODY if options.party is None else find.customer_ever(desk, options.party).id
    installation.tick()
    installation.checkpoints.advance_now()
    with installation.database.read() as connection:
        return installation.audit.find(connection, space, party)


def document(entry: Entry) -> dict[str, Any]:
    """Return an event as `--json` shows it."""
    event = entry.event
    personal = {name: field.value for name, field in entry.personal.items() if field.salt is not None}
    return {"number": entry.number, "time": moment(event["at"]), "event": event, "personal": personal}


def show_all(desk: Desk, options: argparse.Namespace) -> Answer:
    """List events."""
    log = _log(desk, options)
    installation = desk.installation
    start = max(0, log.size - parse_count(options.last, "mellanrum audit list"))
    with installation.database.read() as connection:
        found = [document(entry) for entry in installation.audit.entries(connection, log, start)]
    label = cache(lambda device: installation.directory.device_label(bytes.fromhex(device)) or device)
    rows = (_row(shown, label) for shown in found)
    headings = ("number", "time", "event", "outcome", "who", "organisation", "device", "what")
    return Answer(found, table(headings, rows))


def _row(shown: dict[str, Any], label: Callable[[str], str]) -> tuple[object, ...]:
    """Return an event as the table shows it: of whoever did it as much as the log's reader may know."""
    event, personal = shown["event"], shown["personal"]
    device = personal.get(ACTOR_DEVICE)
    who = (personal.get(ACTOR_NAME, ""), personal.get(ACTOR_ORGANISATION, ""), label(device) if device else "")
    return (shown["number"], shown["time"], event["kind"], event["outcome"], *who, _what(shown))


def _what(shown: dict[str, Any]) -> str:
    typed = [str(value) for name, value in shown["personal"].items() if not name.startswith("actor.")]
    return one_line(", ".join(typed))


def export(desk: Desk, options: argparse.Namespace) -> Answer:
    """Write a bundle."""
    installation = desk.installation
    if options.file.exists() or options.file.is_symlink():
        raise OutputTaken(file=options.file)
    find.require_writable(options.file)
    log = _log(desk, options)
    event = Event("exported", now_us(), desk.actor, space=log.space or None, facts={"log": log.uid.hex()})
    audience = {log.party: Projection.SUPPLIER} if log.party else {}
    installation.database.apply(lambda connection: installation.audit.record(connection, event, audience))
    log = _log(desk, options)
    with installation.database.read() as connection, find.writing(options.file):
        size = bundle.export(connection, installation.audit, log, options.file)
    key = _public_key(desk)
    command = f"mellanrum audit verify {shlex.quote(str(options.file))} --key {shlex.quote(key)}"
    document = {"file": str(options.file), "events": size, "log": log.uid.hex(), "public_key": key}
    return Answer(document, [f"Wrote {counted(size, 'event')} to {options.file}. Verify:", f"  {command}"])


def checkpoint(desk: Desk, options: argparse.Namespace) -> Answer:
    """Print a checkpoint."""
    log = _log(desk, options)
    with desk.installation.database.read() as connection:
        text = desk.installation.checkpoints.latest(connection, log)
    if text is None:
        raise NotSignedYet
    return Answer({"log": log.uid.hex(), "events": log.size, "checkpoint": text}, text.rstrip("\n").split("\n"))


def public_key(desk: Desk, options: argparse.Namespace) -> Answer:
    """Print the public key."""
    shown = _public_key(desk)
    return Answer({"public_key": shown, "hex": desk.installation.checkpoints.public_key.hex()}, [shown])


def _public_key(desk: Desk) -> str:
    installation = desk.installation
    with installation.database.read() as connection:
        name = f"mellanrum/{id_text(installation_id(connection))}"
    return note.verifier_key(name, installation.checkpoints.public_key)


def epoch(desk: Desk, options: argparse.Namespace) -> Answer:
    """Open a new epoch in every log, if one is due. Interrupted, it goes on where it stopped when run again."""
    installation = desk.opened_alone()
    due, why = installation.due, "Nothing tells that a backup was put back."
    if due is None and (installation.was_opened or not options.anyway):
        installation.checkpoints.advance_now()
        said = "It was opened already." if installation.was_opened else f"{why} If one was, add --anyway."
        return Answer({"time": None, "logs": 0, "silent": []}, [said])
    if due is not None:
        why = f"The database was put back to an earlier state: {due.facts['why']}."
    desk.confirm(f"{why} Let every log tell that it was put back, for good?")
    actor = actor_of(installation.storage, installation.operator())
    opened = open_epoch(installation.audit, installation.checkpoints, actor)
    document = {"time": moment(opened.at), "logs": opened.logs, "silent": [id_text(space) for space in opened.silent]}
    lines = [f"{opened.logs} logs tell that they were put back, on {document['time']}, and go on from there."]
    if opened.silent:
        lines.append(f"Of {len(opened.silent)} spaces the key is gone: their logs say nothing any more.")
    lines.append("Tell the parties: who kept a newer checkpoint learns by it how many events are gone.")
    return Answer(document, lines)


def verify(desk: Desk, options: argparse.Namespace) -> Answer:
    """Verify a bundle."""
    if not options.bundle.is_file():
        raise InputUnreadable(file=options.bundle, why="there is no such file")
    since, kept_key = (None, None) if options.since is None else _kept(options.since)
    key = _given_key(options.key) or kept_key
    outcome = bundle.verify_bundle(options.bundle, key or _own_key(options.bundle), since)
    code, message = outcome.code, outcome.message
    if key is None and code == bundle.WHOLE:
        code = bundle.INCOMPLETE
        message = "It is whole in itself, but nothing says whose signature that is: give --key with the public key."
    document = {
        "code": code,
        "verdict": {0: "whole", 1: "tampered with", 2: "incomplete"}[code],
        "message": message,
        "events": outcome.size,
        "number": outcome.number,
        "checkpoint": outcome.checkpoint or None,
        "put_back": [{"time": moment(epoch.at), "events": epoch.size} for epoch in outcome.put_back],
    }
    lines = [f"{document['verdict'].upper()}: {message}" if isinstance(document["verdict"], str) else message]
    for epoch in outcome.put_back:
        if epoch.size:  # else it was put back before it began
            lines.append(f"The log was put back on {moment(epoch.at)}: it goes on from its first {epoch.size} events.")
    if code == bundle.WHOLE and since is None:
        lines.append("Only what a checkpoint kept earlier covers is proven unchanged: keep this one for the next time.")
        lines += ["", outcome.checkpoint.rstrip("\n")]
    elif code == bundle.INCOMPLETE and outcome.checkpoint:
        lines += ["Keep this checkpoint for the next time, beside the older ones.", "", outcome.checkpoint.rstrip("\n")]
    return Answer(document, lines, code=code)


def _kept(file: Path) -> tuple[list[str], str | None]:
    """Return the checkpoints that a kept file holds, and the public key if it is a bundle, of which no more is read."""
    with find.reading(file) as stream:
        first = stream.readline(LINE_BYTES_MAX)
        if not first.startswith("{"):
            return [first + stream.read(LINE_BYTES_MAX)], None
        found = []
        while (text := _texts(stream.readline(LINE_BYTES_MAX)).get("checkpoint")) is not None:
            found.append(text)
    return found or [""], _texts(first).get("public_key")


def _texts(line: str | bytes) -> dict[str, str]:
    """Return what a line of a bundle says in texts; nothing of a line that is no JSON object."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return {name: each for name, each in found.items() if isinstance(each, str)} if isinstance(found, dict) else {}


def _given_key(text: str | None) -> str | None:
    if text is None:
        return None
    file = Path(text)
    try:
        return find.read_text(file).strip() if len(text) < 255 and file.is_file() else text
    except OSError:
        return text


def _own_key(file: Path) -> str:
    """Return the public key that a bundle claims for itself. Raises Misused for what is none."""
    with file.open("rb") as stream:
        key = _texts(stream.readline(LINE_BYTES_MAX)).get("public_key")
    if key is None:
        raise Misused(problem=f"{file} is no bundle.", command="mellanrum audit verify")
    return key
