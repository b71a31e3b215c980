"""Room for an upload under way, set aside as its bytes come: who announces much and sends little is in nobody's way.

Nothing is set aside for one whose length nobody told: it may take what was left when it began.
"""

from __future__ import annotations

from providers.drive.session import Session
from providers.drive.targets import Target, require_room, room_for
from providers.drive.transaction import Look
from providers.errors import QuotaExceeded

#: How far ahead of its bytes an upload sets room aside at most, in bytes, and as a part of what is left.
STEP_BYTES_MAX, STEP_PART = 64 << 20, 8


class Room:
    """What one upload may take, and has set aside, in a space with a quota."""

    def __init__(self, session: Session, look: Look, found: Target, declared: int | None) -> None:
        """Set the first step aside. Raises QuotaExceeded if what is announced does not fit as it stands."""
        self._session, self._space, self._announced = session, found.space, declared or 0
        self._reservations = session.storage.reservations
        space = found.space
        used, others = look.sealed_bytes(space.id), self._reservations.total(space.id)
        require_room(space, used, self._announced, others)
        #: How many bytes may come of which nobody said how many will.
        self._most = room_for(space, used + others, found.lands_on) if declared is None else None
        self._bytes = min(self._announced, self._step(used + others))
        self._draft: bytes | None = self._reservations.take(space.id, self._bytes)

    def reach(self, size: int) -> None:
        """Set aside what `size` bytes need, and a step ahead of them as long as more were announced.

        Raises QuotaExceeded if others took that room meanwhile, or there never was so much.
        """
        if self._most is not None and size > self._most:
            raise QuotaExceeded
        if self._draft is None or not self._bytes < min(size, self._announced):
            return
        with self._session.look() as look:
            used = look.sealed_bytes(self._space.id)
        others = self._reservations.total(self._space.id) - self._bytes
        require_room(self._space, used, min(size, self._announced), others)
        self._bytes = min(self._announced, size + self._step(used + others + size))
        self._reservations.resize(self._draft, self._bytes)

    def _step(self, taken: int) -> int:
        return max(0, min(STEP_BYTES_MAX, ((self._space.quota_bytes or 0) - taken) // STEP_PART))

    def release(self) -> None:
        """Give it back; harmless a second time."""
        if self._draft is not None:
            self._reservations.release(self._draft)
            self._draft = None
