"""The bytes of SFTP version 3: numbers, fields, attributes, and the answers that are packed from them."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from server.sftp.engine.door import Buffer

VERSION: Final = 3


class Type(IntEnum):
    """Types of packets: section 3 of the draft."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Code(IntEnum):
    """What a status says: section 7."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    OP_UNSUPPORTED = 8


#: How a document is opened: section 6.3.
READ, WRITE, APPEND, CREAT, TRUNC, EXCL = 1, 2, 4, 8, 16, 32

#: Which attributes are present: section 5.
_SIZE, _UIDGID, _PERMISSIONS, _TIMES = 1, 2, 4, 8

FOLDER_MODE: Final = 0o040755
DOCUMENT_MODE: Final = 0o100644
#: What stands in the past, where nothing can be changed.
PAST_FOLDER_MODE: Final = 0o040555
PAST_DOCUMENT_MODE: Final = 0o100444

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_ATTRS = struct.Struct(">IQIIIII")
_STATUS = struct.Struct(">IBII")
_DATA = struct.Struct(">IBII")
_HEAD = struct.Struct(">IBI")
#: READ and WRITE by a handle of ours, up to the bytes that are written: type, request, handle, offset, length.
PASSING_HEAD: Final = struct.Struct(">BII4sQI")
HANDLE_BYTES: Final = 4
_LANGUAGE: Final = b"\0\0\0\2en"


class BadPacket(Exception):
    """A packet that ends before its fields do, or says something impossible."""


class Attributes(NamedTuple):
    """What a client says of a document; None where it says nothing. Times in seconds since 1970."""

    size: int | None = None
    modified: int | None = None


class Fields:
    """Takes the fields of one packet, one after another. What follows them is nobody's concern."""

    def __init__(self, data: Buffer, at: int = 0) -> None:
        self._data = memoryview(data)
        self._at = at

    def u32(self) -> int:
        """Return the next 32-bit number."""
        return int(_U32.unpack(self._take(4))[0])

    def u64(self) -> int:
        """Return the next 64-bit number."""
        return int(_U64.unpack(self._take(8))[0])

    def view(self) -> memoryview:
        """Return the next string, uncopied."""
        return self._take(self.u32())

    def text(self) -> bytes:
        """Return the next string."""
        return bytes(self.view())

    def attributes(self) -> Attributes:
        """Return the attributes that follow. Owners, permissions and extensions are passed over."""
        flags = self.u32()
        size = self.u64() if flags & _SIZE else None
        if flags & _UIDGID:
            self._take(8)
        if flags & _PERMISSIONS:
            self._take(4)
        modified = None
        if flags & _TIMES:
            self._take(4)
            modified = self.u32()
        return Attributes(size, modified)

    def _take(self, count: int) -> memoryview:
        found = self._data[self._at : self._at + count]
        if len(found) != count:
            raise BadPacket
        self._at += count
        return found


def string(data: bytes) -> bytes:
    """Return a string field."""
    return _U32.pack(len(data)) + data


def u32(number: int) -> bytes:
    """Return a 32-bit field."""
    return _U32.pack(number)


def packed_attributes(size: int, mode: int, modified: int) -> bytes:
    """Return size, owner, permissions and times; `modified` in seconds."""
    seconds = min(max(modified, 0), 0xFFFFFFFF)
    return _ATTRS.pack(_SIZE | _UIDGID | _PERMISSIONS | _TIMES, size, 0, 0, mode, seconds, seconds)


def status(request: int, code: Code, message: bytes) -> bytes:
    """Return a status. `message` is UTF-8 for the person."""
    body = string(message) + _LANGUAGE
    return _STATUS.pack(9 + len(body), Type.STATUS, request, code) + body


_OK_TAIL: Final = string(b"") + _LANGUAGE


def ok(request: int) -> bytes:
    """Return the status that all went well."""
    return _STATUS.pack(9 + len(_OK_TAIL), Type.STATUS, request, Code.OK) + _OK_TAIL


def data_head(request: int, length: int) -> bytes:
    """Return what comes before `length` bytes of a document."""
    return _DATA.pack(9 + length, Type.DATA, request, length)


def answer(kind: Type, request: int, body: bytes) -> bytes:
    """Return an answer of any other type."""
    return _HEAD.pack(5 + len(body), kind, request) + body


def version(extensions: dict[bytes, bytes]) -> bytes:
    """Return the answer to INIT."""
    body = _U32.pack(VERSION) + b"".join(string(name) + string(data) for name, data in extensions.items())
    return _U32.pack(1 + len(body)) + bytes((Type.VERSION,)) + body


def names(request: int, entries: list[tuple[bytes, bytes, bytes]]) -> bytes:
    """Return names: of each, the name, the long form of it, and packed attributes."""
    body = b"".join(string(name) + string(long) + attributes for name, long, attributes in entries)
    return answer(Type.NAME, request, _U32.pack(len(entries)) + body)
