"""Opening a new epoch in every log, once a backup was put back. Nobody else works on the installation meanwhile.

Each step may be interrupted, and is right when all are taken again: the mark says from when on an epoch is due, the
logs are signed as far as they stood, one transaction opens the epoch in all of them, and the mark goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import Connection, insert

from auth.errors import KeyUnreadable, UnknownKey
from auth.events import Actor
from config.files import sync_folder
from providers import tables
from providers.audit.checkpoints import Checkpoints, TreeDamaged, frontier_at
from providers.audit.epochs import DUE, REACHED, due_from_now, mark_due
from providers.audit.events import EPOCH_OPENED, Event, Projection
from providers.audit.log import AuditLog, LogInfo
from providers.audit.merkle import EMPTY_ROOT


@dataclass(frozen=True, slots=True)
class Opened:
    """An epoch: since when, in how many logs, and the spaces whose logs could not tell of it for want of their key."""

    at: int
    logs: int
    silent: tuple[bytes, ...]


def open_epoch(audit: AuditLog, checkpoints: Checkpoints, actor: Actor) -> Opened:
    """Let each log begin an epoch with an event, and sign it."""
    database = audit.database
    due = due_from_now(database)
    mark_due(database.folder, due)
    (database.folder / REACHED).unlink(missing_ok=True)
    checkpoints.advance_now()  # in the old epoch still: that far it was the same before
    with database.write() as connection:
        opened = _opened(connection, audit, actor, due + 1)
    checkpoints.advance_now()
    (database.folder / DUE).unlink()
    sync_folder(database.folder)
    return opened


def _opened(connection: Connection, audit: AuditLog, actor: Actor, at: int) -> Opened:
    logs = audit.logs(connection)
    for log in logs:
        row = {"log": log.id, "at": at, "size": log.size, "root": _root(connection, log)}
        connection.execute(insert(tables.log_epoch), row)
    silent = []
    for space, theirs in groupby(logs, lambda log: log.space):
        event = Event(EPOCH_OPENED, at, actor, space=space or None)
        audience = {log.party: Projection.SUPPLIER for log in theirs if log.party}
        try:
            audit.record(connection, event, audience)
        except (UnknownKey, KeyUnreadable):  # erased, mostly: nothing is ever said in it again
            silent.append(space)
    return Opened(at, len(logs), tuple(silent))


def _root(connection: Connection, log: LogInfo) -> bytes:
    """Return the root over a log. One that is damaged, which `verify` tells of, is never signed any further."""
    try:
        return frontier_at(connection, log.id, log.size).root()
    except TreeDamaged:
        return EMPTY_ROOT
