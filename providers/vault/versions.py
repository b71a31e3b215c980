"""The record that each version leaves in a pack, so that a catalogue's versions can be rebuilt from packs alone."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from providers.vault.errors import damaged

_FORMAT: Final = 1
_HEAD = struct.Struct("<B7xQQq")
_LENGTH = struct.Struct("<H")


class VersionRecord(NamedTuple):
    """What a version is: of which document, under which name at that time, with what content.

    Ids are 16 bytes, `at` is microseconds UTC, `previous_mac` authenticates the version before it (empty for none).
    """

    node: bytes
    version_id: bytes
    number: int
    parent: bytes
    name: str
    content: bytes
    size: int
    at: int
    previous_mac: bytes = b""


def pack_version(version: VersionRecord) -> bytes:
    """Return a version as it is sealed."""
    blobs = (
        version.node,
        version.version_id,
        version.parent,
        version.name.encode("utf-8"),
        version.content,
        version.previous_mac,
    )
    parts = [_HEAD.pack(_FORMAT, version.number, version.size, version.at)]
    for blob in blobs:
        parts += [_LENGTH.pack(len(blob)), blob]
    return b"".join(parts)


def version(data: bytes) -> VersionRecord:
    """Return the version that `data` describes. Raises DamagedContent."""
    try:
        form, number, size, at = _HEAD.unpack_from(data)
        blobs, offset = [], _HEAD.size
        while offset < len(data):
            (length,) = _LENGTH.unpack_from(data, offset)
            offset += _LENGTH.size
            blobs.append(data[offset : offset + length])
            offset += length
        node, version_id, parent, name, content, previous_mac = blobs
        text = name.decode("utf-8")
    except (struct.error, ValueError):
        raise damaged("the record of a version has no known form") from None
    if form != _FORMAT or offset != len(data):
        raise damaged("the record of a version has no known form")
    return VersionRecord(node, version_id, number, parent, text, content, size, at, previous_mac)
