"""`mellanrum key`: the root key, without which nothing can be read."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from auth.keyring import Keyring, RootKey
from auth.keystore import FileKeystore
from config.clock import now_us
from config.database import Database
from config.errors import NotInitialised
from config.files import sync_folder
from config.settings import Settings
from providers.audit.epochs import require_none_due
from providers.audit.events import Event
from providers.drive.transaction import actor_of
from providers.installation import Installation, root_key
from server.cli import asking, find, kit
from server.cli.errors import Misused, OutputTaken
from server.cli.frame import Answer, Desk, Noun
from server.cli.holding import Hold
from server.cli.text import counted, facts


def add_to(nouns: Noun) -> None:
    """Add the commands of this noun."""
    noun = nouns.noun("key", "The root key, without which nothing can be read.")
    noun.command("show", show, "Show which root key this is, where it comes from, and how many keys it wraps.")
    command = noun.command("kit", make_kit, "Write a recovery kit: the root key under a passphrase, to be printed.")
    command.add_argument("file", metavar="FILE", type=Path)
    asking.add_passphrase(command)
    command = noun.command("recover", recover, "Get the root key back from a recovery kit.")
    command.add_argument("kit", metavar="KIT", type=Path)
    command.add_argument("--to", metavar="KEYFILE", type=Path, required=True, help="the key file to write")
    asking.add_passphrase(command, "we ask")
    command = noun.command("rewrap", rewrap, "Wrap every key with a new root key. The server must be stopped.")
    command.add_argument("--new", metavar="KEYFILE", type=Path, help="the new root key; made if it is not there")


class NewKit:
    """A recovery kit that is to be written: its passphrase settled, its file made, so that only the key is missing."""

    def __init__(self, file: Path, options: argparse.Namespace, command: str) -> None:
        if file.exists():
            raise OutputTaken(file=file)
        self._file = file
        self._passphrase, self._is_ours = _passphrase_for_new_kit(options, command)
        find.reserve(file)

    def write(self, root: RootKey) -> tuple[dict[str, Any], list[str]]:
        """Write the kit; return what to tell of it."""
        today = datetime.now(UTC).date().isoformat()
        find.fill(self._file, kit.text_of(root, self._passphrase, today).encode("utf-8"))
        document: dict[str, Any] = {"recovery_kit": str(self._file)}
        lines = [f"Recovery kit: {self._file}. Print it, put it in a safe, delete the file."]
        if self._is_ours:
            document["passphrase"] = self._passphrase
            lines.append(f"Its passphrase, to be kept elsewhere, not shown again: {self._passphrase}")
        return document, lines

    def drop(self) -> None:
        """Remove the file: there will be no kit."""
        self._file.unlink(missing_ok=True)


def _passphrase_for_new_kit(options: argparse.Namespace, command: str) -> tuple[str, bool]:
    """Return the passphrase for a new kit, and whether we made it up ourselves and must show it."""
    if options.passphrase_file is not None:
        return kit.check_passphrase(asking.first_line(options.passphrase_file), command), False
    if asking.has_terminal():
        question = "Passphrase for the recovery kit (empty: have one made): "
        if given := asking.typed_twice(question, "passphrases", "--passphrase-file", command):
            return kit.check_passphrase(given, command), False
    return kit.new_passphrase(), True


def where(settings: Settings) -> str:
    """Return where the root key comes from, in words."""
    key = settings.key
    return {
        "file": f"the file {settings.key_file}",
        "environment": f"the environment variable {key.variable}",
        "systemd": f"the systemd credential {key.credential}",
        "command": f"the command {' '.join(key.command)}",
    }[key.source]


def show(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show the root key's id."""
    keyring = desk.installation.keyring
    count = len(keyring.keystore.list())
    document = {"root_id": keyring.root_id, "source": desk.settings.key.source, "wraps": count}
    if desk.settings.key.source == "file":
        document["file"] = str(desk.settings.key_file)
    source, wraps = where(desk.settings), counted(count, "key")
    return Answer(document, facts((("Root key", keyring.root_id), ("Comes from", source), ("Wraps", wraps))))


def make_kit(desk: Desk, options: argparse.Namespace) -> Answer:
    """Write a recovery kit for the root key in use."""
    root_id = desk.installation.keyring.root_id
    made = NewKit(options.file, options, "mellanrum key kit")
    try:
        document, lines = made.write(desk.root)
    except BaseException:
        made.drop()
        raise
    return Answer({"root_id": root_id} | document, lines)


def recover(desk: Desk, options: argparse.Namespace) -> Answer:
    """Write the key file that a kit holds."""
    text = find.read_text(options.kit)
    if options.to.exists():
        raise OutputTaken(file=options.to)
    if options.passphrase_file is not None:
        passphrase = asking.first_line(options.passphrase_file)
    else:
        passphrase = asking.typed("Passphrase: ", "--passphrase-file", "mellanrum key recover")
    root = kit.root_of(text, passphrase, str(options.kit))
    find.write_new(options.to, root.text().encode("ascii") + b"\n")
    return Answer(
        {"root_id": root.id.hex(), "file": str(options.to)}, [f"Root key {root.id.hex()} is in {options.to}."]
    )


def rewrap(desk: Desk, options: argparse.Namespace) -> Answer:
    """Wrap every key with a new root key. Interrupted, it goes on where it stopped when run again."""
    settings = desk.settings
    if not (settings.folder / "keystore").is_dir():
        raise NotInitialised(folder=settings.folder)
    hold = Hold.alone(settings.folder)
    database = Database(settings.folder, settings.installation.database_url or None)
    try:
        require_none_due(settings.folder, database)  # for it is told in the log
        return _rewrap(desk, settings, options)
    finally:
        database.dispose()
        hold.close()


def _rewrap(desk: Desk, settings: Settings, options: argparse.Namespace) -> Answer:
    takes_place = settings.key.source == "file" and options.new is None
    if options.new is None and not takes_place:
        raise Misused(problem="Say with --new where the new root key goes.", command="mellanrum key rewrap")
    fresh: Path = options.new or settings.key_file.with_name(settings.key_file.name + ".new")
    old = root_key(settings)
    if fresh.exists():
        new = RootKey.from_file(fresh, data_folder=settings.folder)
    else:
        new = RootKey.create_file(fresh, data_folder=settings.folder)
    old_id, new_id = old.id.hex(), new.id.hex()
    desk.confirm(f"Wrap all keys with the root key {new_id} in place of {old_id}?")
    # The keyring alone: cut off half way, an installation opens under neither root.
    count = Keyring(old, FileKeystore(settings.folder / "keystore")).rewrap(new)
    _record(settings, new, {"old": old_id, "new": new_id, "count": count})
    document: dict[str, Any] = {"root_id": new_id, "old_root_id": old_id, "rewrapped": count}
    lines = [f"Wrapped {counted(count, 'key')} with the root key {new_id}."]
    if takes_place:
        kept = settings.key_file.with_name(f"{settings.key_file.name}.{old_id}.old")
        _put_in_place(fresh, settings.key_file, kept)
        lines.append(f"It stands in {settings.key_file}; the old one is {kept}: keep it as long as old backups.")
        document |= {"file": str(settings.key_file), "old_file": str(kept)}
    else:
        lines.append(f"It stands in {fresh}. Let the settings lead to it before you start the server.")
        document["file"] = str(fresh)
    return Answer(document, [*lines, "Make a new recovery kit: mellanrum key kit FILE"])


def _record(settings: Settings, root: RootKey, facts: dict[str, str | int]) -> None:
    """Record it in the installation's log, which opens under the new root already."""
    installation = Installation(settings.folder, settings, root)
    try:
        actor = actor_of(installation.storage, installation.operator())
        event = Event("key_rewrapped", now_us(), actor, facts=facts)
        installation.database.apply(lambda connection: installation.audit.record(connection, event, {}))
    finally:
        installation.close()


def _put_in_place(fresh: Path, file: Path, kept: Path) -> None:
    """Let `file` be what `fresh` is, and `kept` what `file` was. At no moment is there no key file."""
    if not kept.exists():
        os.link(file, kept)
    os.replace(fresh, file)
    for folder in {fresh.parent, file.parent}:
        sync_folder(folder)
