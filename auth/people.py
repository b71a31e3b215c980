"""Organisations, people, groups and devices as plain values, opened for whoever may know them."""

from __future__ import annotations

from dataclasses import dataclass

from auth.roles import Via


@dataclass(frozen=True, slots=True)
class Organisation:
    """The supplier, or one customer. `second_factor`: demanded of all its people."""

    id: bytes
    name: str
    is_supplier: bool
    second_factor: bool
    has_ended: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """One account, in one organisation."""

    id: bytes
    organisation: bytes
    login: str
    name: str
    mail: str
    is_administrator: bool
    has_password: bool
    has_second_factor: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Named people, of one organisation or (organisation None) across several."""

    id: bytes
    organisation: bytes | None
    name: str


@dataclass(frozen=True, slots=True)
class Device:
    """A device password, without the password, or a public key. Times are microseconds UTC.

    `public_key` is the blob of RFC 4253 6.6, None for a password. `needs_code`: the key alone is not enough.
    """

    id: bytes
    person: bytes
    label: str
    spaces: frozenset[bytes] | None
    read_only: bool
    protocols: frozenset[Via] | None
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    paused_at: int | None = None
    public_key: bytes | None = None
    needs_code: bool = False
