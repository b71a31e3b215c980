"""`mellanrum group`: named people, of one organisation or across several."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from auth.people import Group, Person
from config.ids import id_text
from server.cli import find
from server.cli.frame import Answer, Desk, Noun
from server.cli.text import counted, facts, table


def add_to(nouns: Noun) -> None:
    """Add the commands of this noun."""
    noun = nouns.noun("group", "Groups: named people, of one organisation or across several.")
    command = noun.command("add", add, "Add a group.")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--org", metavar="NAME", help="of one organisation; by default across several")
    command.add_argument("--member", metavar="LOGIN", action="append", default=[], help="may be given several times")
    noun.command("list", show_all, "List groups.")
    noun.command("show", show, "Show a group and who is in it.").add_argument("name", metavar="NAME")
    for verb, run, help in (
        ("join", join, "Let people be in a group."),
        ("leave", leave, "Let people be in a group no longer."),
    ):
        command = noun.command(verb, run, help)
        command.add_argument("name", metavar="NAME")
        command.add_argument("login", metavar="LOGIN", nargs="+")
    noun.command("remove", remove, "Dissolve a group.").add_argument("name", metavar="NAME")


def document(desk: Desk, found: Group) -> dict[str, Any]:
    """Return a group as `--json` shows it."""
    directory = desk.installation.directory
    return {
        "id": id_text(found.id),
        "name": found.name,
        "organisation": None if found.organisation is None else directory.organisation_name(found.organisation),
        "members": [member.login for member in directory.members(found.id)],
    }


def add(desk: Desk, options: argparse.Namespace) -> Answer:
    """Add a group."""
    members = _people(desk, options.member)
    organisation = None if options.org is None else find.organisation(desk, options.org).id
    directory = desk.installation.directory
    made = directory.add_group(options.name, organisation, [member.id for member in members], actor=desk.actor)
    whom = counted(len(members), "person", "people")
    return Answer(document(desk, made), [f"Added the group {made.name}, with {whom}."])


def show_all(desk: Desk, options: argparse.Namespace) -> Answer:
    """List groups."""
    found = [document(desk, each) for each in desk.installation.directory.groups()]
    rows = ((g["name"], g["organisation"] or "(several)", len(g["members"]), g["id"]) for g in found)
    return Answer(found, table(("name", "organisation", "people", "id"), rows))


def show(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show one group."""
    shown = document(desk, find.group(desk, options.name))
    lines = facts(
        (
            ("Name", shown["name"]),
            ("Organisation", shown["organisation"] or "(several)"),
            ("People", ", ".join(shown["members"]) or "none"),
            ("Id", shown["id"]),
        )
    )
    return Answer(shown, lines)


def join(desk: Desk, options: argparse.Namespace) -> Answer:
    """Let people in."""
    found = find.group(desk, options.name)
    people, inside = _people(desk, options.login), desk.installation.directory.members(found.id)
    desk.installation.directory.add_members(found.id, [each.id for each in people], actor=desk.actor)
    fresh = _logins(each for each in people if each not in inside)
    standing = _logins(each for each in people if each in inside)
    return Answer(document(desk, found), [_said(fresh and f"{fresh} joined {found.name}", "Already in it", standing)])


def leave(desk: Desk, options: argparse.Namespace) -> Answer:
    """Let people out."""
    found = find.group(desk, options.name)
    people, inside = _people(desk, options.login), desk.installation.directory.members(found.id)
    for member in people:
        desk.installation.directory.remove_member(found.id, member.id, actor=desk.actor)
    gone = _logins(each for each in people if each in inside)
    strange = _logins(each for each in people if each not in inside)
    return Answer(document(desk, found), [_said(gone and f"{gone} left {found.name}", "Not in it", strange)])


def _people(desk: Desk, logins: Iterable[str]) -> list[Person]:
    """Return whom the logins name, each once. Raises UnknownName."""
    return list(dict.fromkeys(find.person(desk, login) for login in logins))


def _logins(people: Iterable[Person]) -> str:
    return ", ".join(each.login for each in people)


def _said(done: str, otherwise: str, others: str) -> str:
    """Return what was done, if anything, and of whom there was nothing to do."""
    return f"{done or 'Nothing was changed'}." + (f" {otherwise}: {others}." if others else "")


def remove(desk: Desk, options: argparse.Namespace) -> Answer:
    """Dissolve a group."""
    found = find.group(desk, options.name)
    shown = document(desk, found)
    desk.confirm(f"Dissolve {found.name}, and take from its {len(shown['members'])} people what it was granted?")
    desk.installation.directory.end_group(found.id, actor=desk.actor)
    return Answer(shown | {"ended": True}, [f"Dissolved {found.name}."])
