"""`mellanrum audit`: the logs of what happened, and the proof that they are whole."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from config.clock import now_us
from config.ids import NOBODY, id_text
from providers.audit import bundle, note
from providers.audit.checkpoints import installation_id
from providers.audit.errors import NotSignedYet
from providers.audit.events import Event, Projection
from providers.audit.log import Entry, LogInfo
from server.cli import find
from server.cli.errors import InputUnreadable, Misused, OutputTaken
from server.cli.frame import Answer, Desk, Noun, Parser
from server.cli.text import moment, one_line, parse_count, table

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
    party = NOBODY if options.party is None else find.organisation(desk, options.party).id
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
    rows = ((e["number"], e["time"], e["event"]["kind"], e["event"]["outcome"], _who(e), _what(e)) for e in found)
    return Answer(found, table(("number", "time", "event", "outcome", "who", "what"), rows))


def _who(shown: dict[str, Any]) -> str:
    personal = shown["personal"]
    return str(personal.get("actor.name") or personal.get("actor.organisation_name") or "")


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
    return Answer(document, [f"Wrote {size} events to {options.file}. Verify:", f"  {command}"])


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
    }
    lines = [f"{document['verdict'].upper()}: {message}" if isinstance(document["verdict"], str) else message]
    if code == bundle.WHOLE and since is None:
        lines.append("Only what a checkpoint kept earlier covers is proven unchanged: keep this one for the next time.")
        lines += ["", outcome.checkpoint.rstrip("\n")]
    return Answer(document, lines, code=code)


def _kept(file: Path) -> tuple[str, str | None]:
    """Return the checkpoint that a kept file holds, and the public key if it is a bundle, of which no more is read."""
    with find.reading(file) as stream:
        first = stream.readline(LINE_BYTES_MAX)
        if not first.startswith("{"):
            return first + stream.read(LINE_BYTES_MAX), None
        newest = ""
        while (found := _texts(stream.readline(LINE_BYTES_MAX)).get("checkpoint")) is not None:
            newest = found
    return newest, _texts(first).get("public_key")


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
