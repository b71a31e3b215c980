"""The packs that this process is writing: one for each space, shared by all its writers."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from config.logging import get_log
from providers.vault.appended import Appended, LetGo
from providers.vault.errors import StorageClosed
from providers.vault.store import PackWriter, Store
from providers.vault.trails import Trail

log = get_log("vault")

PACK_BYTES: Final = 64 << 20
IDLE_SECONDS: Final = 300.0
#: A move into another space may seal thousands of documents for one commit: each trail is an open file.
TRAILS_MAX: Final = 256


@dataclass(slots=True)
class _Place:
    """One space's place on the shelf. Its lock is held while a pack is begun, appended to or set aside."""

    guard: threading.Lock = field(default_factory=threading.Lock)
    pack: PackWriter | None = None
    used_at: float = 0.0
    is_gone: bool = False


class Shelf:
    """Appends records to the open pack of their space. Safe to use from many threads."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._guard = threading.Lock()
        self._places: dict[bytes, _Place] = {}
        self._closed = False
        self.let_go: LetGo = deque()
        self._trails: weakref.WeakSet[Trail] = weakref.WeakSet()
        # Full packs are ended behind the writers' backs; what they need synced waits for it.
        self._ending = ThreadPoolExecutor(2, thread_name_prefix="pack-end")

    def appended(self, space: bytes) -> Appended:
        """Return what takes in what one writer appends: nothing so far."""
        return Appended(space, self.let_go, self._begin_trail)

    def _begin_trail(self, space: bytes) -> Trail | None:
        with self._guard:
            if len(self._trails) >= TRAILS_MAX:
                return None
        trail = self._store.begin_trail(space)
        if trail is not None:
            with self._guard:
                self._trails.add(trail)
        return trail

    def append(self, space: bytes, records: memoryview | bytes) -> tuple[PackWriter, int]:
        """Append whole records; return the pack they went to and the offset of the first."""
        while True:
            with self._guard:
                if self._closed:
                    raise StorageClosed
                place = self._places.setdefault(space, _Place())
            with place.guard:
                if not place.is_gone:
                    return self._append(space, place, records)

    def _append(self, space: bytes, place: _Place, records: memoryview | bytes) -> tuple[PackWriter, int]:
        pack = place.pack
        if pack is not None and (not pack.is_usable or pack.size + len(records) > PACK_BYTES):
            self._set_aside(place)
            pack = None
        if pack is None:
            pack = place.pack = self._store.open_pack(space)
        place.used_at = self._clock()
        return pack, pack.append(records)

    def _set_aside(self, place: _Place) -> None:
        pack, place.pack = place.pack, None
        if pack is not None:
            self._ending.submit(_end, pack)

    def close_idle(self) -> None:
        """End packs that nobody appended to for five minutes, so that they get their footer, or that are wanted."""
        before = self._clock() - IDLE_SECONDS
        with self._guard:
            places = list(self._places.values())
        for place in places:
            if _has_done(place, before):
                with place.guard:
                    if _has_done(place, before):
                        self._set_aside(place)

    def forget(self, space: bytes) -> None:
        """End the pack of one space."""
        with self._guard:
            place = self._places.pop(space, None)
        if place is not None:
            with place.guard:
                pack, place.pack, place.is_gone = place.pack, None, True
            if pack is not None:
                _end(pack)

    def close(self) -> None:
        """End all packs. Nothing can be appended afterwards."""
        with self._guard:
            self._closed = True
            spaces = list(self._places)
        for space in spaces:
            self.forget(space)
        self._ending.shutdown(wait=True)


def _has_done(place: _Place, before: float) -> bool:
    pack = place.pack
    return pack is not None and (place.used_at < before or pack.is_wanted())


def _end(pack: PackWriter) -> None:
    """Close a pack. A fault is met again, and raised, by whoever needs the pack synced."""
    try:
        pack.close()
    except Exception as error:
        log.error("pack_not_ended", error, pack=pack.id)
