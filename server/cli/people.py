"""`mellanrum person`: accounts, each in one organisation."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from auth.people import Person
from auth.throttle import Tries
from config.ids import id_text
from server.cli import asking, find
from server.cli.errors import Misused
from server.cli.frame import Answer, Desk, Noun
from server.cli.text import facts, moment, table, yes


def add_to(nouns: Noun) -> None:
    """Add the commands of this noun."""
    noun = nouns.noun("person", "People: accounts, each in one organisation.")
    command = noun.command("add", add, "Add a person. Without a password they sign in by device passwords alone.")
    command.add_argument("login", metavar="LOGIN", help="what they sign in with; one of a kind here")
    command.add_argument("name", metavar="NAME")
    command.add_argument("--org", metavar="NAME", help="their organisation; by default the supplier")
    command.add_argument("--mail", metavar="ADDRESS")
    command.add_argument("--administrator", action="store_true", help="looks after their organisation's people")
    asking.add_password(command)
    command = noun.command("list", show_all, "List people.")
    command.add_argument("--org", metavar="NAME", help="of one organisation")
    for verb, run, help in (
        ("show", show, "Show a person, their devices and groups."),
        ("totp", totp, "Give a person a new second factor; its secret is shown this once."),
        ("no-totp", no_totp, "Take a person's second factor away."),
        ("codes", codes, "Give a person ten new recovery codes; they are shown this once."),
        (
            "release",
            release,
            "Let a person sign in again whose sign-ins failed too often, with the password they have.",
        ),
        ("remove", remove, "End an account, with all its devices, at once. What they did stays."),
    ):
        noun.command(verb, run, help).add_argument("login", metavar="LOGIN")
    command = noun.command("set", change, "Change what is given of a person.")
    command.add_argument("login", metavar="LOGIN")
    command.add_argument("--name", metavar="NAME")
    command.add_argument("--mail", metavar="ADDRESS", help="empty: none any longer")
    command.add_argument("--administrator", choices=("yes", "no"))
    command = noun.command("password", password, "Set a person's password.")
    command.add_argument("login", metavar="LOGIN")
    asking.add_password(command)


def document(desk: Desk, found: Person) -> dict[str, Any]:
    """Return a person as `--json` shows them."""
    return {
        "id": id_text(found.id),
        "login": found.login,
        "name": found.name,
        "organisation": desk.installation.directory.organisation_name(found.organisation),
        "mail": found.mail or None,
        "administrator": found.is_administrator,
        "password": found.has_password,
        "second_factor": found.has_second_factor,
    }


def add(desk: Desk, options: argparse.Namespace) -> Answer:
    """Add a person."""
    directory = desk.installation.directory
    home = directory.supplier_id if options.org is None else find.organisation(desk, options.org).id
    made = directory.add_person(
        home,
        options.login,
        options.name,
        mail=options.mail,
        administrator=options.administrator,
        password=asking.new_password(options, command="mellanrum person add"),
        actor=desk.actor,
    )
    organisation = directory.organisation_name(home)
    hint = f"Let them in with: mellanrum device add {shlex.quote(made.login)} 'their computer'"
    return Answer(document(desk, made), [f"Added {made.name} ({made.login}) to {organisation}.", hint])


def show_all(desk: Desk, options: argparse.Namespace) -> Answer:
    """List people."""
    chosen = None if options.org is None else find.organisation(desk, options.org).id
    found = [document(desk, each) for each in desk.installation.directory.people(chosen)]
    rows = (
        (p["login"], p["name"], p["organisation"], yes(p["administrator"]), yes(p["password"]), yes(p["second_factor"]))
        for p in found
    )
    headings = ("login", "name", "organisation", "administrator", "password", "second factor")
    return Answer(found, table(headings, rows))


def show(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show one person."""
    found = find.person(desk, options.login)
    directory = desk.installation.directory
    devices = [device.label for device in directory.devices(found.id) if device.revoked_at is None]
    groups = [g.name for g in directory.groups() if any(member.id == found.id for member in directory.members(g.id))]
    tries = desk.installation.authenticator.tries([found]).get(found.id)
    shown = document(desk, found) | {
        "sign_in": {
            "failures": tries.failures if tries else 0,
            "waits_until": moment(tries.waits_until or None) or None if tries else None,
            "locked": bool(tries and tries.is_locked),
        }
    }
    lines = facts(
        (
            ("Login", found.login),
            ("Name", found.name),
            ("Organisation", shown["organisation"]),
            ("Mail", found.mail or "none"),
            ("Administrator", yes(found.is_administrator)),
            ("Password", yes(found.has_password)),
            ("Second factor", yes(found.has_second_factor)),
            ("Sign-in", _sign_in(found, tries)),
            ("Devices", ", ".join(devices) or "none"),
            ("Groups", ", ".join(groups) or "none"),
            ("Id", id_text(found.id)),
        )
    )
    return Answer(shown | {"devices": devices, "groups": groups}, lines)


def _sign_in(found: Person, tries: Tries | None) -> str:
    if tries is None:
        return "open"
    failed = f"{tries.failures} failures in a row"
    if tries.is_locked:
        return f"locked after {failed}: mellanrum person release {shlex.quote(found.login)}"
    return f"waits until {moment(tries.waits_until)} after {failed}" if tries.waits_until else f"open, {failed}"


def change(desk: Desk, options: argparse.Namespace) -> Answer:
    """Change a person."""
    found = find.person(desk, options.login)
    administrator = None if options.administrator is None else options.administrator == "yes"
    if options.name is None and options.mail is None and administrator is None:
        raise Misused(problem="Say what to change: --name, --mail, --administrator.", command="mellanrum person set")
    if administrator is False and _is_last_administrator(desk, found):
        desk.confirm(f"{_nobody_left(desk, found)} Let {found.name} be administrator no longer?")
    desk.installation.directory.change_person(
        found.id, name=options.name, mail=options.mail, administrator=administrator, actor=desk.actor
    )
    return Answer(document(desk, find.person(desk, options.login)), [f"Changed {found.login}."])


def password(desk: Desk, options: argparse.Namespace) -> Answer:
    """Set a password."""
    found = find.person(desk, options.login)
    options.ask_password = options.ask_password or options.password_file is None
    chosen = asking.new_password(options, command="mellanrum person password")
    desk.installation.directory.set_password(found.id, chosen or "", actor=desk.actor)
    desk.installation.authenticator.release(found, actor=desk.actor)
    return Answer(document(desk, found) | {"password": True}, [f"{found.name} has a new password."])


def totp(desk: Desk, options: argparse.Namespace) -> Answer:
    """Enrol a second factor."""
    found = find.person(desk, options.login)
    secret = desk.installation.directory.enrol_totp(found.id, actor=desk.actor)
    lines = [f"Secret for {found.login}, to be typed into their authenticator, not shown again:", f"  {secret}"]
    return Answer({"login": found.login, "totp_secret": secret}, lines)


def no_totp(desk: Desk, options: argparse.Namespace) -> Answer:
    """Remove a second factor."""
    found = find.person(desk, options.login)
    desk.confirm(f"Take the second factor of {found.name} away?")
    desk.installation.directory.remove_totp(found.id, actor=desk.actor)
    return Answer(document(desk, found) | {"second_factor": False}, [f"{found.login} has no second factor any longer."])


def codes(desk: Desk, options: argparse.Namespace) -> Answer:
    """Make recovery codes."""
    found = find.person(desk, options.login)
    made = desk.installation.directory.new_recovery_codes(found.id, actor=desk.actor)
    lines = [f"Recovery codes for {found.login}, each good once, not shown again:", *(f"  {code}" for code in made)]
    return Answer({"login": found.login, "recovery_codes": made}, lines)


def release(desk: Desk, options: argparse.Namespace) -> Answer:
    """Let a person sign in again."""
    found = find.person(desk, options.login)
    had_failed = desk.installation.authenticator.release(found, actor=desk.actor)
    said = "may sign in again." if had_failed else "was not locked. Nothing was changed."
    return Answer({"login": found.login, "released": had_failed}, [f"{found.login} {said}"])


def remove(desk: Desk, options: argparse.Namespace) -> Answer:
    """End an account."""
    found = find.person(desk, options.login)
    told = f"{_nobody_left(desk, found)} " if _is_last_administrator(desk, found) else ""
    desk.confirm(f"{told}End the account of {found.name} ({found.login})?")
    desk.installation.directory.end_person(found.id, actor=desk.actor)
    return Answer(document(desk, found) | {"ended": True}, [f"Ended {found.login}. What they did stays."])


def _is_last_administrator(desk: Desk, found: Person) -> bool:
    people = desk.installation.directory.people(found.organisation)
    return [each.id for each in people if each.is_administrator] == [found.id]


def _nobody_left(desk: Desk, found: Person) -> str:
    """Return what is said of a customer's last administrator; the supplier's is kept by the directory itself."""
    organisation = desk.installation.directory.organisation_name(found.organisation)
    return f"{organisation} would have no administrator of its own any longer."
