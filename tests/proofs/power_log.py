"""The log of a block device: every write and every flush in the order in which the device took them.

A file of records: kind, offset, length, data. WRITE is held in the device's cache, DURABLE is a write that is not
(force unit access), FLUSH makes all writes before it durable. power_device.py writes it, one write call per record, and
before it answers: so whoever got an answer finds the record in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

WRITE, DURABLE, FLUSH = 1, 2, 3
_HEAD = struct.Struct("<BQI")


class Event(NamedTuple):
    """One thing that happened to the device."""

    kind: int
    offset: int
    data: bytes


def packed(kind: int, offset: int = 0, data: bytes = b"") -> bytes:
    """Return the record of an event."""
    return _HEAD.pack(kind, offset, len(data)) + data


def events(log: Path) -> list[Event]:
    """Return all events of a log."""
    return list(_walk(log))


def _walk(log: Path) -> Iterator[Event]:
    with log.open("rb") as file:
        while head := file.read(_HEAD.size):
            kind, offset, length = _HEAD.unpack(head)
            data = file.read(length)
            assert len(data) == length
            yield Event(kind, offset, data)


def place_now(log: Path) -> int:
    """Return the place that the log has come to, in bytes."""
    return log.stat().st_size


def positions(found: list[Event]) -> list[int]:
    """Return the place in the log before each event, and after the last."""
    places = [0]
    for event in found:
        places.append(places[-1] + _HEAD.size + len(event.data))
    return places
