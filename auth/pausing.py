"""Pausing what somebody signs in with: it stands, and is refused until somebody looks into it and lets it go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from auth import tables
from auth.events import Actor, AuthEvent, Recorder
from auth.records import bump
from config.clock import now_us

_OF_DEVICE = select(tables.device.c.paused_at).where(tables.device.c.id == bindparam("subject")).with_for_update()
_OF_PERSON = select(tables.person.c.paused_at).where(tables.person.c.id == bindparam("subject")).with_for_update()


def pause(connection: Connection, subject: bytes, *, is_device: bool) -> bool:
    """Refuse a device, or an account's own credentials, from the next request on; return whether it was not before."""
    if connection.execute(_OF_DEVICE if is_device else _OF_PERSON, {"subject": subject}).scalar() is not None:
        return False
    connection.execute(_set(subject, is_device=is_device).values(paused_at=now_us()))
    bump(connection)
    return True


def resume(connection: Connection, subject: bytes, *, is_device: bool) -> bool:
    """Let what was paused go on; return whether it was paused."""
    gone = _set(subject, is_device=is_device)
    paused = tables.device.c.paused_at if is_device else tables.person.c.paused_at
    found = connection.execute(gone.where(paused.is_not(None)).values(paused_at=None))
    bump(connection)
    return bool(found.rowcount)


def _set(subject: bytes, *, is_device: bool) -> Any:
    table = tables.device if is_device else tables.person
    return update(table).where(table.c.id == subject)


def tell(
    connection: Connection,
    recorder: Recorder,
    kind: str,
    actor: Actor,
    organisation: bytes,
    facts: Mapping[str, str | int],
) -> None:
    """Record in the installation's log, and in the organisation's stream, that something was paused or goes on."""
    recorder.record_auth(connection, AuthEvent(kind, now_us(), actor, organisation, dict(facts)))
