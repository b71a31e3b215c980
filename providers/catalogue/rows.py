"""The canonical form of the rows a change writes, and their digest, which the change's audit leaf carries.

`verify` replays the tables and compares: a row removed, added, swapped, rolled back or granted anew behind the
server's back gives another digest. Each row is a tag and fields, every field with its length before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

Value = bytes | str | int | bool | None


def canonical(tag: str, *values: Value) -> bytes:
    """Return the row as bytes: lengths are 4 bytes big-endian; an absent value differs from an empty one."""
    parts = []
    for value in (tag, *values):
        if value is None:
            parts.append(b"\xff\xff\xff\xff")
            continue
        if isinstance(value, int):
            field = b"%d" % value
        else:
            field = value.encode("utf-8") if isinstance(value, str) else value
        parts += (len(field).to_bytes(4, "big"), field)
    return b"".join(parts)


def _field(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def digest(rows: Iterable[bytes]) -> bytes:
    """Return the SHA-256 over the rows in sorted order, each with its length before it."""
    summed = hashlib.sha256()
    for row in sorted(rows):
        summed.update(_field(row))
    return summed.digest()


def entry_opened(row: Mapping[Any, Any]) -> bytes:
    """A node came to stand under a name."""
    return canonical("E+", *(row[key] for key in ("parent", "lane", "folded", "name", "node", "is_folder", "created")))


def entry_closed(row: Mapping[Any, Any]) -> bytes:
    """A node ceased to stand under a name."""
    return canonical("E-", *(row[key] for key in ("parent", "lane", "folded", "node", "from_change")))


def version_added(row: Mapping[Any, Any]) -> bytes:
    """A document got a version."""
    keys = ("node", "number", "id", "content", "size", "digest", "at", "principal", "organisation", "via", "origin")
    return canonical("V+", *(row[key] for key in keys), row["mac"])


def version_erased(row: Mapping[Any, Any]) -> bytes:
    """The content of a version was erased; its MAC stays."""
    return canonical("V-", *(row[key] for key in ("node", "number", "id", "mac")))


def restated(row: Mapping[Any, Any]) -> bytes:
    """An erasure left of an earlier change what has this digest."""
    return canonical("R", row["number"], row["digest"])


def lineage_added(row: Mapping[Any, Any]) -> bytes:
    """A version came to a document from another."""
    return canonical("L+", *(row[key] for key in ("node", "number", "kind", "other", "other_number")))


def comment_added(row: Mapping[Any, Any]) -> bytes:
    """Something was said of a version."""
    return canonical("C+", row["version"], row["text"])


def property_opened(row: Mapping[Any, Any]) -> bytes:
    """A property took a value."""
    return canonical("P+", row["node"], row["key"], row["value"])


def property_closed(row: Mapping[Any, Any]) -> bytes:
    """A property lost its value."""
    return canonical("P-", row["node"], row["key"], row["from_change"])


def grant_opened(row: Mapping[Any, Any]) -> bytes:
    """A grant, or a break of inheritance, came into force."""
    keys = ("id", "node", "grantee", "grantee_kind", "role", "history", "expires_at")
    return canonical("G+", *(row[key] for key in keys))


def grant_closed(row: Mapping[Any, Any]) -> bytes:
    """A grant, or a break of inheritance, was taken back."""
    return canonical("G-", row["id"])


def space_set(row: Mapping[Any, Any]) -> bytes:
    """A space was made, or what is settled about it changed. Its name enters as sealed."""
    keys = ("id", "customer", "name", "is_open", "state", "quota_bytes", "created_at", "ended_at")
    policy = ("retention_seconds", "is_held", "thin_all_days", "thin_daily_days")
    return canonical("S", *(row[key] for key in (*keys, *policy)))
