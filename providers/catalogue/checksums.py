"""MD5 and SHA-1 of contents, for clients that compare by them. Kept when an upload brought one, else made when asked.

They say nothing that the content does not, so they are no part of a change: whoever loses the rows has them made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select

from auth.keyring import Keyring
from config.database import Database
from config.queries import Query
from providers import tables
from providers.model import Checksums

_C = tables.checksum.c
_STANDING = Query(select(_C.version, _C.sums).where(_C.version.in_(bindparam("versions", expanding=True))))
_FORMAT = b"\x01"
_MD5_BYTES = 16
_BATCH = 500

#: What no content at all comes to.
OF_NOTHING = Checksums(
    hashlib.md5(b"", usedforsecurity=False).digest(), hashlib.sha1(b"", usedforsecurity=False).digest()
)


class Summing:
    """Makes both checksums of bytes that pass by."""

    def __init__(self) -> None:
        self._md5: Any = hashlib.md5(usedforsecurity=False)
        self._sha1: Any = hashlib.sha1(usedforsecurity=False)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes."""
        self._md5.update(data)
        self._sha1.update(data)

    @property
    def sums(self) -> Checksums:
        """What the bytes so far come to."""
        return Checksums(self._md5.digest(), self._sha1.digest())


def known(connection: Connection, keyring: Keyring, space: bytes, versions: Sequence[bytes]) -> dict[bytes, Checksums]:
    """Return the checksums that are known, by the id of the version."""
    sealer = keyring.space(space).names
    found: dict[bytes, Checksums] = {}
    for start in range(0, len(versions), _BATCH):
        for version, sealed in _STANDING.rows(connection, versions=versions[start : start + _BATCH]):
            raw = sealer.open(b"checksum" + version, sealed).removeprefix(_FORMAT)
            found[version] = Checksums(raw[:_MD5_BYTES], raw[_MD5_BYTES:])
    return found


def keep(
    database: Database, connection: Connection, keyring: Keyring, space: bytes, made: Iterable[tuple[bytes, Checksums]]
) -> None:
    """Keep checksums by the id of the version; those already known stay."""
    sealer = keyring.space(space).names
    rows = [
        {"version": version, "space": space, "sums": sealer.seal(b"checksum" + version, _FORMAT + sums.md5 + sums.sha1)}
        for version, sums in made
    ]
    if rows:
        connection.execute(database.insert_ignore(tables.checksum), rows)
