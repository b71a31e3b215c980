"""The events of signing in and of the directory, and the interface through which they reach whoever owns the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection

from auth.roles import Via


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something: how events speak of a principal. `name`, `organisation_name` and `address` are personal."""

    principal: bytes
    organisation: bytes
    party: bytes
    is_supplier: bool
    name: str
    organisation_name: str
    via: Via
    device: bytes
    address: str


@dataclass(frozen=True, slots=True)
class AuthEvent:
    """An event without a space: a sign-in, or a change of the directory.

    `organisation` is whose it is; its stream gets the event too, and those of the organisations in `told`. `facts`
    stand in the clear, `personal` are sealed. `rows_digest` is the SHA-256 of what was written, where somebody signs
    in by it.
    """

    kind: str
    at: int
    actor: Actor
    organisation: bytes | None
    facts: Mapping[str, str | int] = field(default_factory=dict)
    personal: Mapping[str, str] = field(default_factory=dict)
    rows_digest: bytes | None = None
    told: frozenset[bytes] = frozenset()


class Recorder(Protocol):
    """Takes events into the log, within the transaction of the act they tell of."""

    def record_auth(self, connection: Connection, event: AuthEvent) -> None:
        """Record one event."""
