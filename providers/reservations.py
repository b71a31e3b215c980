"""Room set aside for uploads under way, so that several at once cannot pass a quota together."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, delete, func, insert, not_, select, update

from config.clock import APART_US_MAX, SECOND_US, now_us
from config.database import Database
from config.ids import new_id
from providers import tables

#: A reservation whose process died is forgotten after a day.
RESERVED_US = 24 * 3600 * SECOND_US

_R = tables.reservation.c
#: One that runs longer than any may was taken by a clock that was ahead, and counts no more.
_STANDS = and_(_R.expires_at > bindparam("now"), _R.expires_at <= bindparam("latest"))
_TOTAL = select(func.coalesce(func.sum(_R.bytes), 0)).where(_R.space == bindparam("space"), _STANDS)


class Reservations:
    """What uploads under way have set aside in spaces that have a quota."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def total(self, space: bytes) -> int:
        """Return how many bytes are set aside in a space."""
        with self._database.transient_read() as connection:
            return int(connection.execute(_TOTAL, {"space": space, **_moment()}).scalar_one())

    def take(self, space: bytes, size: int) -> bytes:
        """Set bytes aside; return what they are released by."""
        draft = new_id()
        row = {"draft": draft, "space": space, "bytes": size, "expires_at": now_us() + RESERVED_US}
        with self._database.transient_write() as connection:
            connection.execute(delete(tables.reservation).where(not_(_STANDS)), _moment())
            connection.execute(insert(tables.reservation), row)
        return draft

    def resize(self, draft: bytes, size: int) -> None:
        """Let what was set aside be `size` bytes from now on."""
        with self._database.transient_write() as connection:
            connection.execute(update(tables.reservation).where(_R.draft == draft).values(bytes=size))

    def release(self, draft: bytes) -> None:
        """Give back what was set aside; harmless a second time."""
        with self._database.transient_write() as connection:
            connection.execute(delete(tables.reservation).where(_R.draft == draft))


def _moment() -> dict[str, int]:
    """Return between which times, in microseconds, a reservation runs out that stands now."""
    now = now_us()
    return {"now": now, "latest": now + RESERVED_US + APART_US_MAX}
