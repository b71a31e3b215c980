"""`mellanrum device`: device passwords, what a mounted drive signs in with."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from auth.errors import UnknownName
from auth.people import Device, Person
from auth.roles import Via
from config.ids import id_from_text, id_text
from server.cli import find
from server.cli.frame import Answer, Desk, Noun
from server.cli.text import is_over, moment, parse_end, table, yes

#: The doors that take a device password. Pages in a browser take none (docs/THREATS.md, "A stolen device").
PROTOCOLS = {"webdav": Via.WEBDAV, "sftp": Via.SFTP}


def add_to(nouns: Noun) -> None:
    """Add the commands of this noun."""
    noun = nouns.noun("device", "Device passwords: what a mounted drive signs in with.")
    command = noun.command("add", add, "Make a device password; it is shown this once.")
    command.add_argument("login", metavar="LOGIN")
    command.add_argument("label", metavar="LABEL", help="which computer or script it is for")
    command.add_argument("--space", metavar="SPACE", action="append", help="good for this space alone; several times")
    command.add_argument("--read-only", action="store_true")
    command.add_argument("--protocol", choices=list(PROTOCOLS), action="append", help="good for this door alone")
    command.add_argument("--expires", metavar="DATE", help="good until the end of that day, or that time")
    command = noun.command("list", show_all, "List device passwords, with their last use.")
    command.add_argument("login", metavar="LOGIN", nargs="?", help="of one person")
    command.add_argument("--org", metavar="NAME", help="of one organisation")
    command = noun.command("remove", remove, "Revoke a device password, at once.")
    command.add_argument("id", metavar="DEVICE", help="its id, as listed")


def document(desk: Desk, device: Device, person: Person) -> dict[str, Any]:
    """Return a device password as `--json` shows it, without the password."""
    return {
        "id": id_text(device.id),
        "login": person.login,
        "label": device.label,
        "spaces": None if device.spaces is None else sorted(find.names_of(desk, device.spaces)),
        "read_only": device.read_only,
        "protocols": None if device.protocols is None else sorted(via.name.lower() for via in device.protocols),
        "created": moment(device.created_at),
        "expires": moment(device.expires_at) or None,
        "expired": is_over(device.expires_at),
        "revoked": moment(device.revoked_at) or None,
        "paused": moment(device.paused_at) or None,
        "last_used": moment(desk.installation.authenticator.last_used(device.id)) or None,
    }


def add(desk: Desk, options: argparse.Namespace) -> Answer:
    """Make a device password."""
    person = find.person(desk, options.login)
    expires = parse_end(options.expires, desk.settings.zone, "mellanrum device add")
    made, password = desk.installation.directory.add_device(
        person.id,
        options.label,
        spaces=None if options.space is None else [find.space(desk, each).id for each in options.space],
        read_only=options.read_only,
        protocols=None if options.protocol is None else [PROTOCOLS[each] for each in options.protocol],
        expires_at=expires,
        actor=desk.actor,
    )
    lines = [f"Device password of {person.login} for {made.label}, not shown again:", f"  {password}"]
    return Answer(document(desk, made, person) | {"device_password": password}, lines)


def show_all(desk: Desk, options: argparse.Namespace) -> Answer:
    """List device passwords."""
    meant = held_by(desk, people_meant(desk, options))
    found = [document(desk, device, person) for device, person in meant if device.public_key is None]
    rows = ((d["login"], d["label"], yes(d["read_only"]), d["last_used"] or "never", state(d), d["id"]) for d in found)
    return Answer(found, table(("login", "label", "read only", "last used", "state", "id"), rows))


def people_meant(desk: Desk, options: argparse.Namespace) -> list[Person]:
    """Return whom LOGIN or `--org` names; without either, all."""
    if options.login is not None:
        return [find.person(desk, options.login)]
    return desk.installation.directory.people(None if options.org is None else find.organisation(desk, options.org).id)


def held_by(desk: Desk, people: Iterable[Person]) -> Iterator[tuple[Device, Person]]:
    """Yield the device passwords and public keys of people, each with whose it is."""
    return ((device, person) for person in people for device in desk.installation.directory.devices(person.id))


def state(shown: dict[str, Any]) -> str:
    """Return whether a device, as `document` shows it, is good."""
    if shown["revoked"]:
        return "revoked"
    if shown["expired"]:
        return "expired"
    if shown["paused"]:
        return "paused"
    return f"until {shown['expires']}" if shown["expires"] else "good"


def remove(desk: Desk, options: argparse.Namespace) -> Answer:
    """Revoke a device password."""
    identity, directory = id_from_text(options.id), desk.installation.directory
    for device, person in held_by(desk, directory.people()):
        if device.id == identity:
            directory.revoke_device(device.id, actor=desk.actor)
            return Answer({"id": options.id, "revoked": True}, [f"Revoked {device.label} of {person.login}."])
    raise UnknownName(kind="device", name=options.id)
