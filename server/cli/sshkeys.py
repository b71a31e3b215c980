"""`mellanrum sshkey`: public keys that people sign in with over SFTP. `mellanrum hostkey`: the server's own."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from auth.credentials import key_fingerprint
from auth.errors import UnknownName
from auth.people import Device, Person
from config.clock import now_us
from config.ids import id_from_text, id_text
from providers.audit.events import Event
from providers.installation import Installation
from server.cli import devices, find
from server.cli.errors import Misused, UnusableKey
from server.cli.frame import Answer, Desk, Noun
from server.cli.text import parse_end, table, yes
from server.ssh.algorithms import RSA_BITS_MIN, SIGNATURES
from server.ssh.hostkeys import HostKey, HostKeys


def add_to(nouns: Noun) -> None:
    """Add the commands of these nouns."""
    noun = nouns.noun("sshkey", "Public keys, with which people sign in over SFTP.")
    command = noun.command("add", add, "Let a person sign in by a public key.")
    command.add_argument("login", metavar="LOGIN")
    command.add_argument("file", metavar="FILE", type=Path, help="the public key, as in id_ed25519.pub; - for stdin")
    command.add_argument("--label", metavar="LABEL", help="whose or which it is; by default the key's own comment")
    command.add_argument("--space", metavar="SPACE", action="append", help="good for this space alone; several times")
    command.add_argument("--read-only", action="store_true")
    command.add_argument("--expires", metavar="DATE", help="good until the end of that day, or that time")
    command.add_argument("--with-code", action="store_true", help="good only together with a code")
    command = noun.command("list", show_all, "List public keys, with their last use.")
    command.add_argument("login", metavar="LOGIN", nargs="?", help="of one person")
    command.add_argument("--org", metavar="NAME", help="of one organisation")
    command = noun.command("remove", remove, "Revoke a public key, at once.")
    command.add_argument("key", metavar="KEY", help="its id, as listed, or its fingerprint")
    noun = nouns.noun("hostkey", "The server's own keys, which SFTP clients compare.")
    noun.command("show", show_host, "Show the host keys and their fingerprints.")
    noun.command("announce", announce, "Make the host keys that shall follow; clients learn them while they connect.")
    noun.command("rotate", rotate, "Use the announced host keys, or fresh ones, from the next start.")


# --- people's


def public_key(text: str) -> tuple[bytes, str]:
    """Return the blob of a public key as OpenSSH (or RFC 4716) writes it, and its comment. Raises UnusableKey."""
    import asyncssh  # see server/ssh/hostkeys.py

    if "PRIVATE KEY" in text:  # one without a passphrase would be read as its public half
        raise UnusableKey(
            why="it is a private key, which stays with whoever it is of: give the file that ends in .pub."
        )
    try:
        key = asyncssh.import_public_key(text)
    except (asyncssh.KeyImportError, ValueError):
        raise UnusableKey(why="it is no public key as ssh-keygen writes them.") from None
    algorithm = key.get_algorithm()
    if algorithm == "ssh-rsa":
        bits = key.pyca_key.key_size  # type: ignore[union-attr]
        if bits < RSA_BITS_MIN:
            raise UnusableKey(why=f"RSA keys need {RSA_BITS_MIN} bits, and this has {bits}.")
    elif algorithm not in SIGNATURES:
        raise UnusableKey(why="its kind is not taken any longer: take Ed25519, ECDSA, RSA or a security key.")
    comment = key.get_comment_bytes() or b""
    return key.public_data, comment.decode("utf-8", "replace")


def document(desk: Desk, key: Device, person: Person) -> dict[str, Any]:
    """Return a public key as `--json` shows it."""
    assert key.public_key is not None
    shown = devices.document(desk, key, person)
    del shown["protocols"]
    return shown | {"fingerprint": key_fingerprint(key.public_key), "with_code": key.needs_code}


def add(desk: Desk, options: argparse.Namespace) -> Answer:
    """Add a public key."""
    person = find.person(desk, options.login)
    text = find.read_text(options.file)
    blob, comment = public_key(text)
    expires = parse_end(options.expires, desk.settings.zone, "mellanrum sshkey add")
    label = options.label or comment.strip()
    if not label:
        raise Misused(problem="That key has no comment; give a --label.", command="mellanrum sshkey add")
    made = desk.installation.directory.add_key(
        person.id,
        label,
        blob,
        spaces=None if options.space is None else [find.space(desk, each).id for each in options.space],
        read_only=options.read_only,
        expires_at=expires,
        needs_code=options.with_code,
        actor=desk.actor,
    )
    return Answer(document(desk, made, person), [f"{person.login} may sign in by {key_fingerprint(blob)} ({label})."])


def show_all(desk: Desk, options: argparse.Namespace) -> Answer:
    """List public keys."""
    meant = devices.held_by(desk, devices.people_meant(desk, options))
    found = [document(desk, key, person) for key, person in meant if key.public_key is not None]
    rows = (
        (
            k["login"],
            k["label"],
            k["fingerprint"],
            yes(k["with_code"]),
            k["last_used"] or "never",
            devices.state(k),
            k["id"],
        )
        for k in found
    )
    return Answer(found, table(("login", "label", "fingerprint", "with code", "last used", "state", "id"), rows))


def remove(desk: Desk, options: argparse.Namespace) -> Answer:
    """Revoke a public key: of each person who has it, if it is named by its fingerprint."""
    directory = desk.installation.directory
    by_print = options.key.startswith("SHA256:")
    identity = None if by_print else id_from_text(options.key)
    chosen = [
        (key, person)
        for key, person in devices.held_by(desk, directory.people())
        if key.public_key is not None
        and key.revoked_at is None
        and (key.id == identity or (by_print and key_fingerprint(key.public_key) == options.key))
    ]
    if not chosen:
        raise UnknownName(kind="sshkey", name=options.key)
    for key, _ in chosen:
        directory.revoke_device(key.id, actor=desk.actor)
    lines = [f"Revoked {key.label} of {person.login}." for key, person in chosen]
    return Answer({"revoked": [id_text(key.id) for key, _ in chosen]}, lines)


# --- the server's


def host_keys(installation: Installation) -> HostKeys:
    """Return the host keys of an installation."""
    return HostKeys(installation.folder, installation.keyring.installation().general)


def fingerprints(keys: Iterable[HostKey]) -> list[str]:
    """Return a line for each key in use."""
    return [f"{key.name}: {key.fingerprint}" for key in keys if not key.is_next]


def _shown(keys: list[HostKey], lines: list[str]) -> Answer:
    listed = [{"kind": k.name, "fingerprint": k.fingerprint, "public": k.public, "next": k.is_next} for k in keys]
    rows = ((k.name, k.fingerprint, "announced" if k.is_next else "in place") for k in keys)
    return Answer(listed, [*table(("kind", "fingerprint", "state"), rows), *lines])


def show_host(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show the host keys."""
    told = "A server that has run since before a rotation uses those of before, until it is restarted."
    return _shown(host_keys(desk.installation).make_missing(), [told])


def announce(desk: Desk, options: argparse.Namespace) -> Answer:
    """Make the next host keys."""
    keys = host_keys(desk.installation)
    keys.make_missing()
    made = keys.announce_next()
    _record(desk, "host_keys_announced", (key for key in made if key.is_next))
    return _shown(made, ["Restart the server; OpenSSH's clients then learn the announced keys."])


def rotate(desk: Desk, options: argparse.Namespace) -> Answer:
    """Put the next host keys in place."""
    desk.confirm("Clients that have not learnt the new host keys will refuse to connect. Go on?")
    made = host_keys(desk.installation).rotate()
    _record(desk, "host_keys_rotated", made)
    return _shown(made, ["Restart the server, and tell people the new fingerprints."])


def _record(desk: Desk, kind: str, keys: Iterable[HostKey]) -> None:
    installation = desk.installation
    event = Event(kind, now_us(), desk.actor, facts={key.name: key.fingerprint for key in keys})
    installation.database.apply(lambda connection: installation.audit.record(connection, event, {}))
