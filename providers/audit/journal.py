"""Reads, made durable before their first byte leaves, and numbered into the logs soon after.

Each process appends to a preallocated file of its own, so that a sync writes no metadata; threads that wait share
one sync. A frame holds the events that were synced together, sealed and bound to the journal's id and the frame's
place in it. An flock on the file tells that its process lives. `drain` numbers frames of all journals in the folder
into the logs and remembers in the same transaction how far it came, so that nothing is numbered twice; the file of a
dead process goes once it is drained. A frame torn by a crash was never acknowledged, and ends its journal.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config.errors import StorageFull
from config.turns import stand_aside
from providers.audit.drain import WINDOW_US, Drain
from providers.audit.errors import JournalFailed
from providers.audit.events import Event, Projection
from providers.audit.frames import FRAME_EVENTS_MAX, JournalFile
from providers.audit.leaf import Body, canonical
from providers.audit.log import AuditLog
from providers.audit.seen import Seen

SEEN_MAX = 65_536

_Key = tuple[bytes, bytes]


@dataclass(eq=False)
class _Note:
    payload: bytes
    #: Who read (the device, or else the principal) which version, and when.
    key: _Key
    at: int
    done: bool = False
    error: BaseException | None = None


@dataclass(eq=False)
class _State:
    """What threads share, under its own guard."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    queue: list[_Note] = field(default_factory=list)
    seen: OrderedDict[_Key, _Note] = field(default_factory=OrderedDict)
    is_led: bool = False


class ReadJournal:
    """The journal of this process, in `<data>/journal`. Safe to use from any number of threads."""

    def __init__(self, folder: Path, audit: AuditLog) -> None:
        self.folder = folder
        self._audit = audit
        self._state = _State()
        self._file: JournalFile | None = None
        self._pid = 0
        self._drain = Drain(folder, audit)
        self._draining = threading.Lock()
        self._others = Seen(folder / "seen", lambda: audit.keyring.installation().digests)

    def prepare(self, server: bytes = b"") -> None:
        """Make this process's file ahead of its first read, so that reading goes on when the disk fills up.

        Where there is no room for it now, the first read tries again. `server` names, at random, the server that this
        process is of: its processes tell each other of reads.
        """
        self._others.server = server
        with contextlib.suppress(OSError):
            self._file = JournalFile.create(self.folder, self._audit.keyring.installation().audit, 0)
            self._pid = os.getpid()

    def has(self, reader: bytes, version: bytes, at: int) -> bool:
        """Return whether a read of a version is part of an event that is durable already. `reader` is the device's id,
        or, without one, the principal's; `at` in microseconds. Other processes of this server tell of theirs.
        """
        key = reader, version
        found = self._standing(key, at)
        if found is not None:
            return found.done and found.error is None
        elsewhere = self._others.at(reader, version)
        if elsewhere is None or abs(at - elsewhere) >= WINDOW_US:
            return False
        with self._state.changed:
            if self._standing(key, at) is None:
                self._remember(_Note(b"", key, elsewhere, done=True))
        return True

    def note(self, event: Event, version: bytes, audience: Mapping[bytes, Projection]) -> None:
        """Return once the read of a version is durable, or is part of a durable event of the last ten minutes.

        `version` is the id of what is read, `audience` as for `AuditLog.record`. Raises StorageFull, JournalFailed:
        then nothing may be sent. The caller holds no lock. The device tells reads apart, without one the principal.
        """
        key = (event.actor.device or event.actor.principal, version)
        mine = self._coalesced(key, event.at)
        if mine is None:
            mine = self._queued(key, event, version, audience)
        if not stand_aside(self, mine):
            self._wait(mine)
        if mine.error is not None:
            raise mine.error

    def make_durable(self, those: Sequence[_Note]) -> None:
        """Return once each note is durable or has its error."""
        for each in those:
            self._wait(each)

    def _coalesced(self, key: _Key, at: int) -> _Note | None:
        with self._state.changed:
            return self._standing(key, at)

    def _standing(self, key: _Key, at: int) -> _Note | None:
        found = self._state.seen.get(key)
        return found if found is not None and abs(at - found.at) < WINDOW_US else None

    def _queued(self, key: _Key, event: Event, version: bytes, audience: Mapping[bytes, Projection]) -> _Note:
        parties = {party.hex(): int(projection) for party, projection in audience.items()}
        body = Body.of(event).to_bytes()
        payload = b'{"device":"%b","version":"%b",' % (key[0].hex().encode(), version.hex().encode())
        mine = _Note(payload + b'"parties":%b,"body":%b}' % (canonical(parties), body), key, event.at)
        with self._state.changed:
            standing = self._standing(key, event.at)  # another thread may have come first while this one wrote
            if standing is not None:
                return standing
            self._remember(mine)
            self._state.queue.append(mine)
        return mine

    def _remember(self, note: _Note) -> None:
        seen = self._state.seen
        seen[note.key] = note
        seen.move_to_end(note.key)
        while len(seen) > SEEN_MAX or next(iter(seen.values())).at < note.at - WINDOW_US:
            seen.popitem(last=False)

    def _wait(self, mine: _Note) -> None:
        state = self._state
        while True:
            with state.changed:
                while not mine.done and state.is_led:
                    state.changed.wait()
                if mine.done:
                    break
                state.is_led = True
                batch, state.queue = state.queue[:FRAME_EVENTS_MAX], state.queue[FRAME_EVENTS_MAX:]
            self._lead(batch)

    def _lead(self, batch: Sequence[_Note]) -> None:
        """Make a batch durable for all who wait for it."""
        error: BaseException | None = None
        try:
            self._append(b"[" + b",".join(note.payload for note in batch) + b"]")
        except OSError as failed:
            is_full = failed.errno in (errno.ENOSPC, errno.EDQUOT)
            error = StorageFull() if is_full else JournalFailed()
            error.__cause__ = failed
        except BaseException as failed:
            error = failed
        state = self._state
        with state.changed:
            state.is_led = False
            for note in batch:
                # Done last: `has` looks without the guard.
                note.error, note.payload, note.done = error, b"", True
            if error is not None:
                for key in [key for key, note in state.seen.items() if note.error is not None]:
                    del state.seen[key]
            state.changed.notify_all()
        if error is None:
            for note in batch:
                self._others.tell(*note.key, note.at)

    def _append(self, payload: bytes) -> None:
        if self._file is not None and self._pid != os.getpid():
            self._file = None  # a child of fork writes a journal of its own
        sealer = self._audit.keyring.installation().audit
        if self._file is None or not self._file.has_room(payload):
            if self._file is not None:
                self._file.close()
            self._file = None
            self._file = JournalFile.create(self.folder, sealer, len(payload))
            self._pid = os.getpid()
        try:
            self._file.append(payload)
        except BaseException:
            broken, self._file = self._file, None  # what stands after a failed sync is not known
            broken.close()
            raise

    def drain(self) -> int:
        """Number what the journals of this folder hold into the logs; return how many events. One thread of one process
        at a time does it; for the others, and when there is nothing, it costs a look at the folder.
        """
        if not self._draining.acquire(blocking=False):
            return 0
        try:
            return self._drain.run()
        finally:
            self._draining.release()

    def close(self) -> None:
        """Close this process's journal; whoever drains next removes it."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None
        self._others.close()
