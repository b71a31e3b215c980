"""Numbering the reads of journals into the logs."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select

from auth.errors import UnknownKey
from config.clock import SECOND_US
from config.complaints import Complaints
from config.files import sync_folder
from config.logging import get_log
from providers import tables
from providers.audit.events import Projection
from providers.audit.frames import (
    ASIDE,
    DAMAGED,
    SUFFIX,
    frames,
    has_lost_frames,
    is_abandoned,
    journal_id,
)
from providers.audit.leaf import Body
from providers.audit.log import AuditLog, hold

#: Reads of one version by one device within this time are one event.
WINDOW_US = 600 * SECOND_US
BATCH_EVENTS = 256
ASIDE_SECONDS_MAX = 3600

log = get_log("audit")

_JOURNAL = tables.journal.c
_SEEN = tables.read_seen.c
_POSITION = select(_JOURNAL.drained, _JOURNAL.sequence).where(_JOURNAL.id == bindparam("id"))
_DRAINED = _POSITION.with_for_update()
_SEEN_BY = select(_SEEN.device, _SEEN.version, _SEEN.at).where(_SEEN.device.in_(bindparam("devices", expanding=True)))

Key = tuple[bytes, bytes]


class _Elsewhere(Exception):
    """Another process came further with this journal."""


@contextmanager
def held_off(folder: Path) -> Iterator[None]:
    """Let nobody number reads, nor remove a journal, meanwhile. What is read goes on to be written down."""
    if not folder.is_dir():
        yield
        return
    fd = _lock_file(folder)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _lock_file(folder: Path) -> int:
    return os.open(folder / "drain.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


class Drain:
    """The journals of a folder, on their way into the logs. For one thread at a time."""

    def __init__(self, folder: Path, audit: AuditLog) -> None:
        self._folder = folder
        self._audit = audit
        self._database = audit.database
        self._complaints = Complaints(log, "journal_not_numbered")
        self._count = 0

    def run(self) -> int:
        """Number what is there; return how many events. Does nothing while another process is at it.

        A journal that cannot be numbered, as for a key that is damaged, stays as it is, and is tried again each time.
        """
        with self._alone() as is_alone:
            if not is_alone:
                return 0
            self._count = 0
            for path in sorted(self._folder.glob(f"*{SUFFIX}")):
                identity = journal_id(path)
                if identity is not None:
                    self._complaints.attempt(identity, partial(self._drain, path, identity))
            self._sweep()
            return self._count

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        if not self._folder.is_dir():
            yield False
            return
        fd = _lock_file(self._folder)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(fd)

    def _drain(self, path: Path, identity: bytes) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            is_dead = is_abandoned(fd)  # asked first: what a dead process wrote is all there
            end, sequence = self._number(fd, identity)
            if is_dead:
                self._remove(path, is_damaged=has_lost_frames(fd, end, sequence))
        except _Elsewhere:
            return
        finally:
            os.close(fd)
        if is_dead:
            self._database.apply(
                lambda connection: connection.execute(delete(tables.journal).where(_JOURNAL.id == identity))
            )

    def _remove(self, path: Path, *, is_damaged: bool) -> None:
        """Remove a drained journal; one with events that cannot be read any more is kept for those who look into it."""
        if is_damaged:
            log.error("journal_damaged")
            path.rename(path.with_suffix(DAMAGED))
        else:
            path.unlink()
        sync_folder(self._folder)

    def _number(self, fd: int, identity: bytes) -> tuple[int, int]:
        """Number what stands in a journal; return the offset and sequence it ends at."""
        with self._database.read() as connection:
            row = connection.execute(_POSITION, {"id": identity}).first()
        start, sequence = (0, 0) if row is None else (row.drained, row.sequence)
        sealer = self._audit.keyring.installation().audit
        batch: list[dict[str, Any]] = []
        end, following = start, sequence
        for payload, offset in frames(fd, identity, sealer, start, sequence):
            batch.extend(json.loads(payload))
            end, following = offset, following + 1
            if len(batch) >= BATCH_EVENTS:
                self._commit(identity, batch, (start, end, following))
                batch, start = [], end
        if batch:
            self._commit(identity, batch, (start, end, following))
        return end, following

    def _commit(self, identity: bytes, batch: list[dict[str, Any]], reach: tuple[int, int, int]) -> None:
        """Number a batch that stands between two offsets of its journal, in one transaction."""
        fresh = self._fresh(batch)
        start, end, sequence = reach
        spaces = {body.space for _, body, _ in fresh}

        def work(connection: Connection) -> None:
            hold(connection, spaces)
            row = connection.execute(_DRAINED, {"id": identity}).first()
            if (0 if row is None else row.drained) != start:
                raise _Elsewhere
            for (_, audience), noted in groupby(fresh, lambda each: (each[1].space, each[2])):
                try:
                    self._audit.record_bodies(connection, [body for _, body, _ in noted], audience)
                except UnknownKey:  # their space was erased meanwhile, and the events with it
                    log.warning("read_of_erased_space")
            position = {"id": identity, "drained": end, "sequence": sequence}
            connection.execute(self._database.upsert(tables.journal), position)

        self._database.apply(work)
        self._count += len(fresh)
        self._remember(fresh)

    def _fresh(self, batch: list[dict[str, Any]]) -> list[tuple[Key, Body, dict[bytes, Projection]]]:
        """Return the reads that are not part of an event already numbered, by whichever process."""
        noted = []
        for found in batch:
            key = (bytes.fromhex(found["device"]), bytes.fromhex(found["version"]))
            body = Body.from_json(found["body"])
            audience = {bytes.fromhex(party): Projection(shown) for party, shown in found["parties"].items()}
            noted.append((key, body, audience))
        with self._database.transient_read() as connection:
            rows = connection.execute(_SEEN_BY, {"devices": sorted({device for (device, _), _, _ in noted})})
            seen = {(bytes(row.device), bytes(row.version)): row.at for row in rows}
        fresh = []
        for key, body, audience in noted:
            if key not in seen or abs(body.at - seen[key]) >= WINDOW_US:
                seen[key] = body.at
                fresh.append((key, body, audience))
        return fresh

    def _remember(self, fresh: list[tuple[Key, Body, dict[bytes, Projection]]]) -> None:
        if not fresh:
            return
        newest = {key: body.at for key, body, _ in fresh}
        rows = [{"device": device, "version": version, "at": at} for (device, version), at in sorted(newest.items())]
        with self._database.transient_write() as connection:
            connection.execute(delete(tables.read_seen).where(_SEEN.at < self._database.now_us(connection) - WINDOW_US))
            connection.execute(self._database.upsert(tables.read_seen), rows)

    def _sweep(self) -> None:
        """Remove what a process that died while making a journal left behind."""
        for path in self._folder.glob(f"*{ASIDE}"):
            try:
                if time.time() - path.stat().st_mtime > ASIDE_SECONDS_MAX:
                    path.unlink()
            except FileNotFoundError:
                continue
