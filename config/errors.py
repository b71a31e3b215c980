"""The one error tree. A class carries its exit code; its docstring is the message a person reads.

Every layer derives its own errors from `MellanrumError`; adapters translate them by class, each through one table.
"""

from __future__ import annotations

import inspect
import shlex


class MellanrumError(Exception):
    """Something went wrong that Mellanrum has no better word for. Nothing was changed."""

    exit_code = 1

    def __init__(self, **facts: object) -> None:
        super().__init__(facts)
        self.facts = facts

    def __str__(self) -> str:
        text = " ".join(inspect.cleandoc(type(self).__doc__ or "").split())
        return text.format_map(_Missing(self.facts))

    @property
    def said(self) -> str:
        """What clients are told: the message, but where it tells of the inside."""
        return str(self)


class _Missing(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "?"


class WrongSettings(MellanrumError):
    """The settings cannot be used: {problems} Nothing was started. Mend what is named and start again."""

    exit_code = 2


class NotInitialised(MellanrumError):
    """There is no installation in {folder}. Run "mellanrum --data {quoted} init" first, or name another folder."""

    exit_code = 3

    def __init__(self, folder: object) -> None:
        super().__init__(folder=folder, quoted=shlex.quote(str(folder)))


class PartMissing(MellanrumError):
    """The installation in {folder} is not whole: its {part} is missing, or empty. Nothing was changed. Restore a
    backup; only if nothing was ever stored there, remove the folder and run "mellanrum init" again.
    """

    exit_code = 3


class FolderUnusable(MellanrumError):
    """The data folder {folder} cannot be used: {why}. Nothing was changed. Mend that, or name another folder."""

    exit_code = 77


class AlreadyInitialised(MellanrumError):
    """There is an installation in {folder} already. It was left as it was."""

    exit_code = 3


class SchemaTooNew(MellanrumError):
    """The database was written by a newer Mellanrum (schema {found}, known {known}). Nothing was changed.
    Install that version.
    """

    exit_code = 4


class SchemaTooOld(MellanrumError):
    """The database has schema {found}, this Mellanrum needs {known}. Take a backup, then run "mellanrum upgrade"."""

    exit_code = 4


class SchemaUnlike(MellanrumError):
    """The database calls itself schema {found}, but has no {missing}: an unfinished Mellanrum wrote it, or it was
    damaged. Nothing was changed. Run the Mellanrum that wrote it, or restore a backup.
    """

    exit_code = 4


class DatabaseDamaged(MellanrumError):
    """The database is damaged: {why}. Nothing was changed. Stop the server, keep the folder as it is, and restore a
    backup.
    """

    exit_code = 5


class TransientDamaged(DatabaseDamaged):
    """What runs out by itself (locks, failed sign-ins) cannot be read: {why}. Stop the server, move {file}* away, and
    start again: it is made anew, and nothing else is lost.
    """


class DatabaseBusy(MellanrumError):
    """The database did not answer in time. Nothing was changed. Try again in a moment."""

    exit_code = 75


class DatabaseSilent(DatabaseBusy):
    """The database broke off. What was asked for is done whole, or not at all. Look again in a moment."""


class DatabaseUnreachable(DatabaseSilent):
    """The database cannot be reached: {why}. Nothing was changed. Try again in a moment."""


class DatabaseRefuses(MellanrumError):
    """The database does not let its role do what is needed. Nothing was changed. Let the role own the database, or all
    of Mellanrum's tables in it.
    """

    exit_code = 77


class DatabaseTaken(MellanrumError):
    """The database that the settings name holds an installation already, or a part of one. It was left as it was.
    Name an empty one, or the data folder that belongs to it.
    """

    exit_code = 3


class DriverMissing(MellanrumError):
    """The settings name a PostgreSQL database, but psycopg, by which it is reached, is not installed. Nothing was
    changed. Install Mellanrum with its extra: pip install '.[postgresql]'.
    """

    exit_code = 69


class StorageFailed(MellanrumError):
    """The server could not write or read its disk: {what}. What stood there before is untouched.
    Whoever looks after the server has to look at the disk.
    """

    exit_code = 62


class StorageFull(StorageFailed):
    """There is no room left to store this. What stood there before is untouched. Free some room and try again."""

    exit_code = 74
