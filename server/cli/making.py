"""Making an installation whole or not at all, and what is checked before anything is made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from auth.credentials import check_strength
from auth.records import checked_login, checked_text
from config.settings import Settings
from providers.installation import Installation
from server.cli.errors import HalfMade, Undone
from server.cli.holding import Hold


@dataclass(frozen=True)
class Names:
    """What an installation begins with: its supplier, and the first administrator's login and name."""

    supplier: str
    login: str
    administrator: str

    @classmethod
    def checked(cls, supplier: str, login: str, administrator: str, password: str | None) -> Names:
        """Return the names as they are kept. Raises UnusableText, WeakPassword."""
        made = cls(
            checked_text("name of an organisation", supplier),
            checked_login(login),
            checked_text("name of a person", administrator),
        )
        if password is not None:
            check_strength(password, second_factor=True, names=(made.login, made.administrator))
        return made


@contextmanager
def whole_or_not_at_all(settings: Settings) -> Iterator[None]:
    """Remove again what was made in here, where that is not brought to its end: its secrets were shown to nobody.

    Raises AlreadyInitialised, FolderUnusable, InUse while another makes one there; HalfMade where a database of its own
    may hold a part of it.
    """
    folder = settings.folder
    was_there = folder.is_dir()
    Installation.make_folder(folder)
    hold = Hold.alone(folder)
    try:
        Installation.require_none(folder)
        with _undone(settings, set(folder.iterdir()) if was_there else None):
            yield
    finally:
        hold.close()


@contextmanager
def _undone(settings: Settings, stood: set[Path] | None) -> Iterator[None]:
    folder = settings.folder
    is_key_ours = settings.key.source == "file" and not settings.key_file.exists()
    try:
        yield
    except BaseException as error:
        if stood is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            _remove(set(folder.iterdir()) - stood)
        if is_key_ours:
            settings.key_file.unlink(missing_ok=True)
        if settings.installation.database_url:
            raise HalfMade(error=Undone() if isinstance(error, KeyboardInterrupt) else error) from error
        if isinstance(error, KeyboardInterrupt):
            raise Undone from error
        raise


def _remove(paths: set[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
