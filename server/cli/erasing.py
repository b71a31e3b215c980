"""`mellanrum erase`: letting go of what is kept, for good. Two persons, unless the settings say that one is enough."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from typing import Any

from auth.errors import SignInRefused
from auth.rights import Principal, Standing
from auth.roles import Via
from config.ids import id_from_text, id_text
from providers.catalogue import lineage
from providers.errors import NotFound
from providers.holding.letting_go import GivenBack
from providers.holding.model import Erasure, Kind, State
from providers.holding.report import Report, report_of
from providers.holding.sweeping import Swept
from server.cli import asking, find
from server.cli.errors import Misused, NoSuchVersion, NotSignedIn, StillInUse, UnknownErasure
from server.cli.frame import Answer, Desk, Noun, Parser
from server.cli.text import clock_doubt, counted, facts, moment, size, table

_REQUEST = "mellanrum erase request"
#: Who signs in at the command line sits at the machine.
HERE = "127.0.0.1"
#: How long `sweep --now` waits for packs that a server writes to.
WAIT_SECONDS = 10.0
#: How long for those in which broken uploads left something: the hourly sweep has them all the same.
LET_GO_SECONDS = 3.0


def add_to(nouns: Noun) -> None:
    """Add the commands of this noun."""
    noun = nouns.noun("erase", "Erasing for good what is otherwise kept: one person asks, another approves.")
    command = noun.command("request", request, "Ask that a version, a document, a space or a customer be erased.")
    command.add_argument("subject", metavar="SPACE[/PATH]", nargs="?", help="a space, or a document in one")
    command.add_argument("--version", metavar="N", type=int, help="one version, as history numbers it")
    command.add_argument("--document", metavar="ID", help="the document of that id, which may stand nowhere any longer")
    told = "all of a customer, or of one that has ended: its spaces, and what is known of its people"
    command.add_argument("--org", metavar="NAME", help=told)
    command.add_argument("--reason", metavar="TEXT", required=True, help="why; sealed, and told to whoever may see it")
    _add_person(command)
    noun.command("list", show_all, "List what was asked to be erased.")
    command = noun.command("approve", approve, "Erase what another person asked for.")
    command.add_argument("id", metavar="ID")
    _add_person(command)
    command = noun.command("cancel", cancel, "Let what was asked for not be erased.")
    command.add_argument("id", metavar="ID")
    _add_person(command)
    command = noun.command("report", report, "Say what an erasure took, and which old copies still hold it.")
    command.add_argument("id", metavar="ID")
    command = noun.command(
        "sweep", sweep, "Let leave the packs what broken uploads left, and what was erased once its grace is over."
    )
    command.add_argument("--now", action="store_true", help="do not wait for the grace to be over")


def _add_person(command: Parser) -> None:
    command.add_argument("--as", dest="login", metavar="LOGIN", help="sign in as an administrator of the supplier")
    asking.add_password_file(command)
    command.add_argument("--code", metavar="CODE", help="the second factor; asked for if missing")


def person(desk: Desk, options: argparse.Namespace, command: str) -> Principal:
    """Return who acts: the operator, or whoever signs in. Raises NotSignedIn, Throttled, Misused."""
    if options.login is None:
        return desk.operator
    authenticator = desk.installation.authenticator
    if options.password_file is None:
        password = asking.typed(f"Password of {options.login}: ", "--password-file", command)
    else:
        password = asking.first_line(options.password_file)
    try:
        found = authenticator.password_then_code(options.login, password, None, via=Via.CLI, address=HERE)
        if found.standing is Standing.FULL:
            return found
        return authenticator.complete(found, options.code or asking.typed("Code: ", "--code", command))
    except SignInRefused:
        raise NotSignedIn(login=options.login) from None


def document(desk: Desk, found: Erasure) -> dict[str, Any]:
    """Return an erasure as `--json` shows it."""
    directory = desk.installation.directory
    return {
        "id": id_text(found.id),
        "what": found.kind.name.lower(),
        "state": found.state.name.lower(),
        "space": None if found.space is None else id_text(found.space),
        "customer": None if found.customer is None else directory.organisation_name(found.customer) or "(erased)",
        "document": None if found.node is None else id_text(found.node),
        "version": found.number,
        "path": found.words.paths[0] if found.words.paths else None,
        "reason": found.words.reason,
        "requested_by": found.words.asked_by,
        "requested": moment(found.requested_at),
        "approved_by": found.words.approved_by or None,
        "done": moment(found.done_at) or None,
        "left_packs": moment(found.swept_at) or None,
    }


def request(desk: Desk, options: argparse.Namespace) -> Answer:
    """Ask for an erasure."""
    erasures = desk.installation.erasures
    if (options.org is None) == (options.subject is None):
        raise Misused(problem="Name a space, a document in one, or with --org a customer.", command=_REQUEST)
    if options.org is not None:
        chosen = find.customer_ever(desk, options.org)
        made = erasures.request_customer(person(desk, options, _REQUEST), chosen.id, options.reason)
    else:
        made = _in_space(desk, options)
    lines = [
        f"Asked: {_named(made)}. Nothing is erased yet.",
        f"Another person approves it with: mellanrum erase approve {id_text(made.id)}",
    ]
    return Answer(document(desk, made), lines)


def _in_space(desk: Desk, options: argparse.Namespace) -> Erasure:
    erasures, spot = desk.installation.erasures, find.spot(desk, options.subject)
    node = _node(desk, options, spot)
    if node is None and options.version is not None:
        raise Misused(problem="Name the document that --version is of.", command=_REQUEST)
    who = person(desk, options, _REQUEST)
    if node is None:
        return erasures.request_space(who, spot.info.id, options.reason)
    if options.version is None:
        return erasures.request_document(who, spot.info.id, node, options.reason)
    try:
        with desk.installation.database.read() as connection:
            node, number = lineage.own_number(connection, node, options.version)
        return erasures.request_version(who, spot.info.id, node, number, options.reason)
    except NotFound:
        path = options.subject
        raise NoSuchVersion(path=path, number=options.version, quoted=shlex.quote(path)) from None


def _node(desk: Desk, options: argparse.Namespace, spot: find.Spot) -> bytes | None:
    """Return the document that the options name, None for the space as a whole. Raises NotFound, Misused."""
    if options.document is not None:
        found = id_from_text(options.document)
        if found is None:
            raise Misused(problem=f"{options.document} is no id of a document.", command=_REQUEST)
        return found
    if spot.inner.is_root:
        return None
    return desk.installation.erasures.standing(spot.info.id, spot.inner)


def _named(found: Erasure) -> str:
    path = found.words.paths[0] if found.words.paths else ""
    if found.kind is Kind.VERSION:
        return f"version {found.number} of {path}"
    return path or f"the {found.kind.name.lower()}"


def show_all(desk: Desk, options: argparse.Namespace) -> Answer:
    """List erasures."""
    shown = [document(desk, found) for found in desk.installation.erasures.all()]
    rows = (
        (e["what"], e["path"] or "", e["version"] or "", e["state"], e["requested_by"], e["approved_by"] or "", e["id"])
        for e in shown
    )
    return Answer(shown, table(("what", "path", "version", "state", "asked by", "approved by", "id"), rows))


def _identity(text: str) -> bytes:
    found = id_from_text(text)
    if found is None:
        raise UnknownErasure(name=text)
    return found


def _found(desk: Desk, text: str) -> Erasure:
    try:
        return desk.installation.erasures.get(_identity(text))
    except NotFound:
        raise UnknownErasure(name=text) from None


def approve(desk: Desk, options: argparse.Namespace) -> Answer:
    """Approve an erasure, and do it."""
    found = _found(desk, options.id)
    who = person(desk, options, "mellanrum erase approve")
    desk.confirm(f"Erase {_named(found)} for good?")
    done = desk.installation.erasures.approve(who, found.id)
    told = report_of(desk.installation.storage, done)
    return Answer(_reported(desk, done, told), list(_lines(desk, done, told)))


def cancel(desk: Desk, options: argparse.Namespace) -> Answer:
    """Cancel an erasure."""
    found = _found(desk, options.id)
    who = person(desk, options, "mellanrum erase cancel")
    done = desk.installation.erasures.cancel(who, found.id)
    return Answer(document(desk, done), [f"Cancelled. {_named(done)} stays."])


def report(desk: Desk, options: argparse.Namespace) -> Answer:
    """Report what an erasure took."""
    found = _found(desk, options.id)
    told = report_of(desk.installation.storage, found)
    return Answer(_reported(desk, found, told), list(_lines(desk, found, told)))


def _reported(desk: Desk, found: Erasure, told: Report) -> dict[str, Any]:
    return document(desk, found) | {
        "count": told.count,
        "bytes": told.size,
        "versions": [
            {"document": id_text(v.document), "version": v.number, "size": v.size, "stored": moment(v.at)}
            for v in told.versions
        ],
        "same_content": [{"document": each.document, "version": each.number} for each in found.words.elsewhere],
        "backups": {"made_from": moment(told.stored_from) or None, "made_before": moment(told.stored_until) or None},
        "keystore_backups": None
        if told.key_from is None
        else {"made_from": moment(told.key_from), "made_before": moment(told.key_until) or None},
    }


def _lines(desk: Desk, found: Erasure, told: Report) -> Iterator[str]:
    shown = document(desk, found)
    yield from facts(
        (
            ("Erasure", shown["id"]),
            ("Of", _named(found)),
            ("State", shown["state"]),
            ("Reason", found.words.reason),
            ("Asked by", f"{shown['requested_by']}, {shown['requested']}"),
            ("Approved by", f"{shown['approved_by']}, {shown['done']}" if shown["done"] else "nobody yet"),
            ("Left the packs", shown["left_packs"] or "not yet"),
            ("Took", f"{counted(told.count, 'version')}, {size(told.size)}"),
        )
    )
    if told.versions:
        yield ""
        rows = ((id_text(v.document), v.number, size(v.size), moment(v.at)) for v in told.versions)
        yield from table(("document", "version", "size", "stored"), rows)
    for each in found.words.elsewhere:
        yield f"The same content stands as version {each.number} of document {each.document}."
    if found.state is State.DONE:
        yield ""
        yield from _about_copies(told)


def _about_copies(told: Report) -> Iterator[str]:
    since, until = moment(told.stored_from) or "the beginning", moment(told.stored_until)
    ends = f"and before {until}" if until else 'and until it has left the packs: "mellanrum erase sweep"'
    yield f"Old copies of the data folder or the database hold it if they were made from {since} on {ends}."
    if told.key_from is not None:
        yield f"So do copies of the keystore, made from {moment(told.key_from)} on {ends}: with one, and the packs,"
        yield "an old backup could still be read. Destroy them."


def sweep(desk: Desk, options: argparse.Namespace) -> Answer:
    """Sweep the packs."""
    erasures = desk.installation.erasures
    with desk.progress("sweeping"):
        swept = erasures.letting_go.sweep(wait_seconds=LET_GO_SECONDS)
        given = {space: each for space, each in swept.items() if each != GivenBack()}
        done = erasures.sweep(now=options.now, wait_seconds=WAIT_SECONDS if options.now else 0.0)
    shown: list[dict[str, Any]] = [
        {
            "space": id_text(space),
            "whole": swept.is_whole,
            "packs": swept.packs,
            "freed_bytes": swept.freed_bytes,
            "let_go_bytes": back.freed_bytes,
            "in_use": [f"{pack:016x}" for pack in sorted({*swept.waiting, *back.waiting})],
            "damaged": [f"{pack:016x}" for pack in sorted({*swept.damaged, *back.damaged})],
        }
        for space, swept in {**dict.fromkeys(given, Swept()), **done}.items()
        for back in (given.get(space, GivenBack()),)
    ]
    left = sum(len(swept.waiting) + len(swept.damaged) for swept in done.values())
    rows = (
        (s["space"], s["packs"], size(s["freed_bytes"]), size(s["let_go_bytes"]), len(s["in_use"]), len(s["damaged"]))
        for s in shown
    )
    doubt = [] if options.now else clock_doubt(desk.installation.storage.steady.seen(), "--now does not ask it.")
    lines = [*doubt, *table(("space", "packs", "freed", "let go", "in use", "damaged"), rows)]
    return Answer(shown, lines, StillInUse(count=left) if left else None)
