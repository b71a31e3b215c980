"""`mellanrum org`: the supplier and its customers."""

from __future__ import annotations

import argparse
from typing import Any

from auth.people import Organisation
from config.ids import id_text
from server.cli import find
from server.cli.errors import Misused
from server.cli.frame import Answer, Desk, Noun
from server.cli.text import counted, facts, table, yes


def add_to(nouns: Noun) -> None:
    """Add the commands of this noun."""
    noun = nouns.noun("org", "Organisations: the supplier and its customers.")
    command = noun.command("add", add, "Add a customer.")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--second-factor", action="store_true", help="demand a second factor of all its people")
    command = noun.command("list", show_all, "List the supplier and its customers.")
    command.add_argument("--all", action="store_true", help="those too that have ended, and are not erased")
    command = noun.command("show", show, "Show an organisation, its people and spaces.")
    command.add_argument("name", metavar="NAME")
    command = noun.command("set", change, "Rename an organisation, or change what it demands of its people.")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--name", metavar="NEW", dest="new_name", help="its new name")
    command.add_argument("--second-factor", choices=("yes", "no"), help="of all people, or of administrators alone")
    command = noun.command(
        "remove", remove, "End an organisation: none of its people can sign in; what they did stays."
    )
    command.add_argument("name", metavar="NAME")


def document(found: Organisation) -> dict[str, Any]:
    """Return an organisation as `--json` shows it."""
    return {
        "id": id_text(found.id),
        "name": found.name,
        "supplier": found.is_supplier,
        "second_factor": found.second_factor,
        "ended": found.has_ended,
    }


def add(desk: Desk, options: argparse.Namespace) -> Answer:
    """Add a customer."""
    made = desk.installation.directory.add_organisation(
        options.name, second_factor=options.second_factor or None, actor=desk.actor
    )
    return Answer(document(made), [f"Added {made.name}."])


def show_all(desk: Desk, options: argparse.Namespace) -> Answer:
    """List all organisations."""
    directory = desk.installation.directory
    found = directory.organisations() + (directory.ended_organisations() if options.all else [])
    rows = ((o.name, _kind(o), yes(o.second_factor), id_text(o.id)) for o in found)
    return Answer([document(each) for each in found], table(("name", "is", "second factor", "id"), rows))


def _kind(found: Organisation) -> str:
    if found.is_supplier:
        return "supplier"
    return "ended" if found.has_ended else "customer"


def show(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show one organisation."""
    found = find.customer_ever(desk, options.name)
    people = [person.login for person in desk.installation.directory.people(found.id)]
    own = None if found.is_supplier else found.id
    spaces = [info.name for info in desk.installation.spaces.all() if info.customer == own]
    lines = facts(
        (
            ("Name", found.name),
            ("Is", _kind(found)),
            ("Second factor", "demanded of all" if found.second_factor else "demanded of administrators"),
            ("People", ", ".join(people) or "none"),
            ("Spaces", ", ".join(spaces) or "none"),
            ("Id", id_text(found.id)),
        )
    )
    return Answer(document(found) | {"people": people, "spaces": spaces}, lines)


def change(desk: Desk, options: argparse.Namespace) -> Answer:
    """Change an organisation."""
    found = find.organisation(desk, options.name)
    directory = desk.installation.directory
    if options.new_name is None and options.second_factor is None:
        raise Misused(problem="Say what to change: --name or --second-factor.", command="mellanrum org set")
    if options.new_name is not None:
        directory.rename_organisation(found.id, options.new_name, actor=desk.actor)
    if options.second_factor is not None:
        directory.set_second_factor(found.id, options.second_factor == "yes", actor=desk.actor)
    changed = find.organisation(desk, id_text(found.id))
    whom = "all its people" if changed.second_factor else "its administrators alone"
    return Answer(document(changed), [f"{changed.name} demands a second factor of {whom}."])


def remove(desk: Desk, options: argparse.Namespace) -> Answer:
    """End an organisation."""
    found = find.organisation(desk, options.name)
    count = len(desk.installation.directory.people(found.id))
    desk.confirm(f"End {found.name}, with {counted(count, 'person', 'people')} who cannot sign in any longer then?")
    desk.installation.directory.end_organisation(found.id, actor=desk.actor)
    standing = sum(info.customer == found.id for info in desk.installation.spaces.all())
    lines = [f"Ended {found.name}. What its people did stays."]
    if standing:
        stand = "Its space stands" if standing == 1 else f"Its {standing} spaces stand"
        lines.append(f'{stand} as before: "mellanrum space remove SPACE" archives one, and')
        lines.append(f"  mellanrum erase request --org {id_text(found.id)} --reason TEXT   asks to erase all of it")
    return Answer(document(found) | {"ended": True}, lines)
