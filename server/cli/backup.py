"""`mellanrum backup`: a copy of the installation, made while it is served."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from config.clock import now_us
from config.database import Database
from config.errors import SchemaTooOld
from config.files import sync_folder
from config.settings import Settings
from providers.audit.events import Event
from providers.backup import Copied, back_up
from server.cli import find, keys
from server.cli.errors import Misused, OutputTaken, OutputUnwritable
from server.cli.frame import Answer, Desk, Noun
from server.cli.holding import Hold
from server.cli.text import size

_COMMAND = "mellanrum backup"


def add_to(nouns: Noun) -> None:
    """Add the command."""
    command = nouns.command("backup", backup, "Copy all that is stored, but the root key, while the server goes on.")
    command.add_argument("folder", metavar="FOLDER", type=Path, help="to be made; it may stand only if it is empty")


def backup(desk: Desk, options: argparse.Namespace) -> Answer:
    """Make a backup. It has its name only once it is whole."""
    settings, folder = desk.settings, options.folder.absolute()
    if folder.is_relative_to(settings.folder.absolute()):
        raise Misused(problem=f"{folder} lies in the data folder: take another.", command=_COMMAND)
    partial = folder.with_name(f"{folder.name}.partial")
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise OutputTaken(file=folder)
    if partial.exists():
        raise OutputTaken(file=partial)  # another is under way, or was killed
    database, hold = _database(desk)
    try:
        copied = _filled(desk, database, partial)
        partial.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise OutputUnwritable(file=folder, why=(error.strerror or "it cannot be made").lower()) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # what is whole has its own name by now
        if hold is not None:
            database.dispose()
            hold.close()
    return _answer(settings, folder, copied)


def _database(desk: Desk) -> tuple[Database, Hold | None]:
    """Return the database, the backup told in its log; or one that is to be upgraded, as it is, with a hold on it."""
    settings = desk.settings
    try:
        installation = desk.installation
    except SchemaTooOld:
        return Database(settings.folder, settings.installation.database_url or None), Hold.shared(settings.folder)
    event = Event("backed_up", now_us(), desk.actor)
    installation.database.apply(lambda connection: installation.audit.record(connection, event, {}))
    return installation.database, None


def _filled(desk: Desk, database: Database, partial: Path) -> Copied:
    """Copy the data folder and the settings into a folder."""
    settings = desk.settings
    data = partial / settings.folder.name
    data.mkdir(mode=0o700, parents=True)
    partial.chmod(0o700)
    with desk.progress("copying files") as bar:
        copied = back_up(database, settings.folder, data, bar.reach)
    if desk.settings_file is not None:
        kept = data.with_name(f"{data.name}.toml")
        find.write_new(kept, desk.settings_file.read_bytes())
        copied.add(kept)
    sync_folder(partial)
    return copied


def _answer(settings: Settings, folder: Path, copied: Copied) -> Answer:
    data = folder / settings.folder.name
    document = {"folder": str(folder), "data": str(data), "files": copied.count, "bytes": copied.size}
    document["root_key"] = keys.where(settings)
    lines = [
        f"Copied {settings.folder} to {data}: {copied.count} files, {size(copied.size)}.",
        f"Not in it: the root key, which is {keys.where(settings)}. Without it nothing of this can be read, by anyone.",
        'Keep it elsewhere than the backup: "mellanrum key kit FILE" writes it under a passphrase, to be printed.',
    ]
    if settings.http.tls_certificate_file is not None:
        lines.append(f"Not in it: the TLS certificate {settings.http.tls_certificate_file} and its key.")
    return Answer(document, lines)
