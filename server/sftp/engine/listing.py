"""What a listing says of each name: packed attributes, and the line that `ls -l` shows."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from config.clock import SECOND_US
from providers.model import Item
from server.sftp.engine import wire

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY: Final = 86_400
#: Beyond half a year, `ls -l` shows the year instead of the hour.
_RECENT: Final = 182 * _DAY
_U32 = struct.Struct(">I")
_SHOWN_MODES: Final = {
    wire.FOLDER_MODE: "drwxr-xr-x",
    wire.DOCUMENT_MODE: "-rw-r--r--",
    wire.PAST_FOLDER_MODE: "dr-xr-xr-x",
    wire.PAST_DOCUMENT_MODE: "-r--r--r--",
}


class Page(NamedTuple):
    """One answer to READDIR: how many names, and the bytes of them."""

    entries: int
    body: bytes


def mode_of(item: Item) -> int:
    """Return the type bits and permissions that an item shows."""
    if item.is_folder:
        return wire.PAST_FOLDER_MODE if item.is_past else wire.FOLDER_MODE
    return wire.PAST_DOCUMENT_MODE if item.is_past else wire.DOCUMENT_MODE


def attributes_of(item: Item) -> bytes:
    """Return the packed attributes of an item."""
    return wire.packed_attributes(item.size, mode_of(item), item.modified // SECOND_US)


def long_names(now: int) -> Callable[[str, int, int, int], bytes]:
    """Return what makes the line of `ls -l` from (name, mode, size, modified in seconds), as of `now`."""
    days: dict[int, tuple[str, int]] = {}

    def made(name: str, mode: int, size: int, modified: int) -> bytes:
        day, second = divmod(modified, _DAY)
        found = days.get(day)
        if found is None:
            then = time.gmtime(modified)
            found = days[day] = (f"{_MONTHS[then.tm_mon - 1]} {then.tm_mday:2d}", then.tm_year)
        if now - _RECENT < modified <= now:
            when = f"{found[0]} {second // 3600:02d}:{second // 60 % 60:02d}"
        else:
            when = f"{found[0]}  {found[1]}"
        shown = _SHOWN_MODES[mode]
        return f"{shown}    1 mellanrum mellanrum {size:12d} {when} {name}".encode()

    return made


def pages(items: Iterable[tuple[str, Item]], bytes_max: int, now: int) -> Iterator[Page]:
    """Pack (name, item) into answers of at most about `bytes_max` each, each once it is asked for."""
    long, pack = long_names(now), _U32.pack
    parts: list[bytes] = []
    count = held = 0
    for name, item in items:
        mode, seconds = mode_of(item), min(max(item.modified // SECOND_US, 0), 0xFFFFFFFF)
        raw, line = name.encode("utf-8"), long(name, mode, item.size, seconds)
        attributes = wire.packed_attributes(item.size, mode, seconds)
        entry = b"".join((pack(len(raw)), raw, pack(len(line)), line, attributes))
        if parts and held + len(entry) > bytes_max:
            yield Page(count, b"".join(parts))
            parts, count, held = [], 0, 0
        parts.append(entry)
        count += 1
        held += len(entry)
    if parts:
        yield Page(count, b"".join(parts))
