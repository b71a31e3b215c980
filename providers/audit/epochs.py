"""Epochs of the logs: which there are, and whether another is due. `opening` opens it.

After a backup was put back the logs go on from an earlier length, and say something else there than they said before.
So each of them begins an epoch with an event that tells of it, and signs its checkpoints under another origin.

Two files beside the database tell that one is due. `epoch.due` stands in each backup, so that no backup is served, nor
its logs grow, before they tell that it was put back. `log.reached` tells how far a log was signed last: in a database
that was put back by itself, the log is shorter.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, bindparam, select

from config.clock import iso_second, now_us
from config.database import Database
from config.files import sync_folder, write_whole
from config.ids import NOBODY
from config.queries import Query, parts_of
from providers import tables
from providers.audit.errors import EpochDue
from providers.audit.merkle import EMPTY_ROOT
from providers.audit.note import AT_MAX, Epoch

DUE, REACHED = "epoch.due", "log.reached"
#: What a mark counts as that cannot be read: no epoch is newer.
_NEVER = AT_MAX

_LOG = tables.log.c
_EPOCH = tables.log_epoch.c
#: Of the installation's log, which is there from the beginning, as no other is.
_ALL = Query(
    select(_EPOCH.at)
    .join_from(tables.log_epoch, tables.log, _LOG.id == _EPOCH.log)
    .where(_LOG.space == bindparam("nobody"), _LOG.party == bindparam("nobody"))
    .order_by(_EPOCH.at)
)
_OF = Query(
    select(_EPOCH.log, _EPOCH.at, _EPOCH.size, _EPOCH.root).where(_EPOCH.log.in_(bindparam("logs", expanding=True)))
)
#: Not how far it is signed: of two who sign at once one may note more than the other writes down.
_SIZE = Query(select(_LOG.size).where(_LOG.uid == bindparam("uid")))


def epochs_of(connection: Connection, logs: Collection[int]) -> dict[int, tuple[Epoch, ...]]:
    """Return the epochs of logs but their first, the oldest first. What a log was not there for, it begins after."""
    opened = [at for (at,) in _ALL.rows(connection, nobody=NOBODY)]
    if not opened:
        return dict.fromkeys(logs, ())
    rows = [row for part in parts_of(sorted(logs)) for row in _OF.rows(connection, logs=part)]
    known = {(log, at): Epoch(at, size, root) for log, at, size, root in rows}
    return {log: tuple(known.get((log, at)) or Epoch(at, 0, EMPTY_ROOT) for at in opened) for log in logs}


# --- whether one is due


def mark_due(folder: Path, at: int) -> None:
    """Let a folder not be worked on before its logs have an epoch that is newer than `at`. Durable."""
    write_whole(folder / DUE, b"%d\n" % at, 0o600)
    sync_folder(folder)


def due_from_now(database: Database) -> int:
    """Return the time to give to `mark_due`, if no epoch that is opened already will do."""
    with database.read() as connection:
        return max(now_us(), _newest(connection))


def require_none_due(folder: Path, database: Database) -> bool:
    """Raise EpochDue if the database stands at an earlier state than its logs had.

    Return whether one was due, and was opened by a process that was killed before it could take away the mark.
    """
    marked, reached = _marked(folder), _reached(folder)  # before the snapshot, which cannot be older then
    if marked is None and reached is None:
        return False
    with database.read() as connection:
        if marked is not None and _newest(connection) <= marked:
            when = "" if marked == _NEVER else f", made at {iso_second(marked)}"
            raise EpochDue(why=f"it is that of a backup{when}")
        if reached is not None:
            uid, size = reached
            row = _SIZE.first(connection, uid=uid)
            if row is None or row[0] < size:
                found = 0 if row is None else row[0]
                raise EpochDue(why=f"a log of which {size} events were signed has {found} of them")
    if marked is not None:
        with suppress(OSError):
            (folder / DUE).unlink(missing_ok=True)
    return marked is not None


def note_reached(folder: Path, uid: bytes, size: int) -> None:
    """Note how far a log is signed, once that is durable. A guard against mistakes, which costs nobody a checkpoint."""
    with suppress(OSError):
        fd = os.open(folder / REACHED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, b"%b %020d\n" % (uid.hex().encode(), size), 0)
        finally:
            os.close(fd)


def _marked(folder: Path) -> int | None:
    """Return what `mark_due` wrote, `_NEVER` if it cannot be read, None if there is none."""
    try:
        text = (folder / DUE).read_bytes().strip()
    except FileNotFoundError:
        return None
    return min(int(text), _NEVER) if text.isdigit() and len(text) <= len(str(_NEVER)) else _NEVER


def _reached(folder: Path) -> tuple[bytes, int] | None:
    try:
        uid, size = (folder / REACHED).read_text("ascii").split()
        return bytes.fromhex(uid), int(size)
    except (FileNotFoundError, ValueError):
        return None


def _newest(connection: Connection) -> int:
    return max((at for (at,) in _ALL.rows(connection, nobody=NOBODY)), default=0)
