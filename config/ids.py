"""Identities that are seen outside: 128 random bits, so that they tell neither order nor number."""

from __future__ import annotations

import secrets

ID_BYTES = 16
#: Stands where an id column has no subject: the empty lane, the parent above a space's root.
NOBODY = b""


def new_id() -> bytes:
    """Return a fresh 16-byte random id."""
    return secrets.token_bytes(ID_BYTES)


def id_text(identity: bytes) -> str:
    """Return the id as 32 lower-case hexadecimal digits, the form that URLs, events and exports carry."""
    return identity.hex()


def id_from_text(text: str) -> bytes | None:
    """Return the id that `id_text` wrote, or None if the text is no id."""
    if len(text) != 2 * ID_BYTES or not all(digit in "0123456789abcdef" for digit in text):
        return None
    return bytes.fromhex(text)
