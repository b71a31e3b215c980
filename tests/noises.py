"""Samples of noise, and of documents that call themselves so."""

from __future__ import annotations

import struct

from sqlalchemy import func, select

from providers import tables
from providers.noise import NOISE_BYTES_MAX
from tests.worlds import World


def apple_double(*entries: tuple[int, bytes]) -> bytes:
    """Return an AppleDouble file of RFC 1740."""
    at = 26 + 12 * len(entries)
    table, data = b"", b""
    for kind, content in entries:
        table += struct.pack(">III", kind, at + len(data), len(content))
        data += content
    return struct.pack(">II16sH", 0x00051607, 0x00020000, b"Mac OS X        ", len(entries)) + table + data


DOUBLE = apple_double((9, bytes(32)), (2, b"resource"))
DS_STORE = b"\0\0\0\1Bud1" + struct.pack(">III", 36, 64, 36) + bytes(100)
OWNER = bytes([4]) + b"Anna" + bytes(49) + struct.pack("<H", 4) + "Anna".encode("utf-16-le") + bytes(98)
#: Three pages of 4,096 bytes, as vim 9 writes them for a short text.
SWAP = (b"b0VIM 9.0\0\0\0" + struct.pack("<I", 4096)).ljust(4096, b"\0") + bytes(8192)
LOCK_LINE = b",anna,laptop,26.11.2026 12:00,file:///home/anna/.config/libreoffice/4;"

NOISE = {
    "._Rapport.docx": [b"", DOUBLE, apple_double((9, bytes(3000)))],
    ".DS_Store": [b"", DS_STORE],
    ".ds_store": [DS_STORE],
    "~$Rapport.docx": [b"", OWNER, OWNER + bytes(3)],
    ".~lock.Rapport.odt#": [b"", LOCK_LINE],
    ".localized": [b""],
    "Icon\r": [b""],
    "._Icon\r": [b"", DOUBLE],
    ".Rapport.txt.swp": [b"", SWAP, SWAP[:4096], SWAP.ljust(NOISE_BYTES_MAX, b"\0")],
    ".Rapport.txt.swo": [SWAP],
    ".Rapport.txt.svz": [SWAP],
    ".swp": [SWAP],
}
DOCUMENTS = {
    "._Rapport.docx": [
        b"PK\3\4 a document behind a dot",
        DOUBLE + bytes(NOISE_BYTES_MAX),
        apple_double((1, b"a data fork"), (9, bytes(32))),
        DOUBLE[:30],
        DOUBLE[:-5],
    ],
    ".DS_Store": [b"\0\0\0\1Bud1", b"hello", DS_STORE[:40], DS_STORE + bytes(NOISE_BYTES_MAX)],
    "~$Rapport.docx": [b"hello", bytes(162), OWNER + b"x"],
    ".~lock.Rapport.odt#": [b"\0" * 10, b"one line\nand another", b"," * 5000],
    ".localized": [b"x"],
    "Icon": [b"", DOUBLE],
    ".Rapport.txt.swp": [b"hello", b"b0VIM 9.0", SWAP[:4095], SWAP + b"x", bytes(12288), SWAP + bytes(NOISE_BYTES_MAX)],
    "Rapport.txt.swp": [b"", SWAP],
    ".Rapport.swx.txt": [b"", SWAP],
    "Rapport.docx": [b"", DOUBLE],
    "~WRD0001.tmp": [b""],
    ".hidden": [b""],
    "DS_Store": [DS_STORE],
}
#: What is neither noise nor may be a document: its name holds a control character.
NEITHER = {
    "Icon\r": [b"x", DOUBLE, bytes(NOISE_BYTES_MAX + 1)],
    "._Icon\r": [b"icon", DOUBLE + bytes(NOISE_BYTES_MAX)],
}


def rows(world: World) -> dict[str, int]:
    """Return how many rows tell of documents, changes and events, and how many of noise."""
    counted = (tables.entry, tables.closed_entry, tables.version, tables.change, tables.log_entry, tables.noise)
    with world.installation.database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in counted
        }
