"""A copy of an installation, taken while it works, from which all that was acknowledged before can be put back.

The order makes it whole. Packs and keys are copied before the database and again after it: a pack only grows, for no
gaps are made in any meanwhile, so what the database speaks of is in the packs then, and what a sweep or an erasure took
away meanwhile is there from before. A mark in it says that its logs need a new epoch, so that nobody serves it as if
nothing had been said since. Between the two passes nobody numbers reads: the journals come first, then the
database, so that each read stands in one of them, and what it is a read of in the other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import create_engine, select

from auth import tables as auth_tables
from config.database import Database, transient
from config.errors import MellanrumError
from config.files import sync_folder
from config.ids import id_from_text, id_text
from providers import tables
from providers.audit.drain import held_off
from providers.audit.epochs import DUE, due_from_now, mark_due
from providers.vault.local import gaps_held_off

#: What of a data folder is copied, besides the database: folders, and the files in them that count. All else in it
#: is made anew: locks, stamps, the transient tables, which reads are durable, and uploads that were interrupted.
PACKS, KEYS, JOURNALS = "vault/*/packs/*.pack", "keystore/*.key", "journal/*.journal"
HOST_KEYS = "ssh/*"
DATABASE, DUMP = "catalogue.db", "database.dump"
_BLOCK_BYTES = 1 << 20

Progress = Callable[[str, int], None]


class DumpFailed(MellanrumError):
    """pg_dump did not copy the database: {why}. Nothing was kept of this backup. Mend that and run it again."""

    exit_code = 69


@dataclass
class Copied:
    """How much was copied: files, each with its bytes."""

    sizes: dict[Path, int] = field(default_factory=dict)

    def add(self, file: Path) -> None:
        """Count a file, or how much it has grown."""
        self.sizes[file] = file.stat().st_size

    @property
    def count(self) -> int:
        """How many files."""
        return len(self.sizes)

    @property
    def size(self) -> int:
        """How many bytes."""
        return sum(self.sizes.values())


def back_up(database: Database, folder: Path, goal: Path, progress: Progress) -> Copied:
    """Copy the data folder `folder` into the folder `goal`, which is empty. Raises OSError, DumpFailed."""
    copying = _Copying(folder, goal, progress)
    mark_due(goal, due_from_now(database))
    copying.note(goal / DUE)
    with gaps_held_off(folder / "vault"):
        copying.run(PACKS, KEYS)
        with held_off(folder / "journal"):
            copying.run(JOURNALS)
            if database.dialect == "sqlite":
                database.copy_to(goal / DATABASE)
            else:
                _dump(database, goal / DUMP)
        copying.run(PACKS, KEYS, HOST_KEYS)
    _forget_destroyed(folder, goal)
    for each in (goal / DATABASE, goal / DUMP):
        if each.exists():
            copying.note(each)
    for each in (*(path for path in goal.rglob("*") if path.is_dir()), goal):
        sync_folder(each)
    return copying.copied


class _Copying:
    """Copies files that only grow, from one folder to another."""

    def __init__(self, folder: Path, goal: Path, progress: Progress) -> None:
        self._folder = folder
        self._goal = goal
        self._progress = progress
        self.copied = Copied()

    def run(self, *patterns: str) -> None:
        """Copy what matches, and of what was copied before that which came since."""
        for pattern in patterns:
            for path in sorted(self._folder.glob(pattern)):
                self._copy(path, self._goal / path.relative_to(self._folder))

    def _copy(self, source: Path, goal: Path) -> None:
        try:
            read = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # it went since it was listed: the database, which comes later, does not speak of it
        try:
            goal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write = os.open(goal, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._append(read, write)
            finally:
                os.close(write)
        finally:
            os.close(read)
        self.note(goal)

    def _append(self, read: int, write: int) -> None:
        offset = os.fstat(write).st_size
        while block := os.pread(read, _BLOCK_BYTES, offset):
            offset += os.pwrite(write, block, offset)
        os.fsync(write)

    def note(self, goal: Path) -> None:
        """Count a file that was copied."""
        self.copied.add(goal)
        self._progress("copying files", self.copied.count)


def _dump(database: Database, goal: Path) -> None:
    """Let pg_dump write the durable tables to a file; it is told the password where nobody else sees it."""
    where, password = database.reached_by()
    environ = os.environ | ({"PGPASSWORD": password} if password else {})
    words = ["pg_dump", "--format=custom", f"--file={goal}", f"--dbname={where}"]
    words += [f"--exclude-table-data={name}" for name in sorted(transient.tables)]
    try:
        done = subprocess.run(  # noqa: S603
            words, env=environ, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise DumpFailed(why="there is no such program; it comes with PostgreSQL") from None
    if done.returncode:
        raise DumpFailed(why=(done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    os.chmod(goal, 0o600)


def _forget_destroyed(folder: Path, goal: Path) -> None:
    """Take away again the keys that were destroyed meanwhile, with what they seal, unless the copied database is of
    before.
    """
    for path in goal.glob(KEYS):
        identity = id_from_text(path.stem)
        if (folder / path.relative_to(goal)).exists() or identity is None or _stands(goal / DATABASE, identity):
            continue
        path.unlink()
        shutil.rmtree(goal / "vault" / id_text(identity), ignore_errors=True)


def _stands(file: Path, identity: bytes) -> bool:
    """Return whether a copied database has a space or an organisation of that id that has not ended."""
    if not file.exists():
        return False
    engine = create_engine(f"sqlite:///{file}")
    try:
        with engine.connect() as connection:
            chosen = (
                select(table.c.id).where(table.c.id == identity, table.c.ended_at.is_(None))
                for table in (tables.space, auth_tables.organisation)
            )
            return any(connection.execute(query).first() is not None for query in chosen)
    finally:
        engine.dispose()
