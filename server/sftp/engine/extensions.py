"""Requests beyond version 3, as OpenSSH's PROTOCOL file describes them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from providers.drive.edits import COPY_BYTES_MAX
from providers.errors import NotFound
from providers.model import Quota
from providers.paths import ROOT, Path
from server.sftp.engine import wire
from server.sftp.engine.errors import NoLinks, OverItself, Unsupported, WrongHandle
from server.sftp.engine.files import existing
from server.sftp.engine.handles import FileHandle, FolderHandle
from server.sftp.engine.names import found, moved, setstat, tell_path
from server.sftp.engine.wire import Fields, Type

if TYPE_CHECKING:
    from providers.drive import Drive
    from providers.drive.edits import Edit
    from providers.drive.noise_edits import NoiseEdit
    from server.sftp.engine.documents import Document
    from server.sftp.engine.engine import Engine

Handler = Callable[["Engine", int, Fields], None]

#: What is told of room where none is known: a pebibyte.
_ROOM_BYTES: Final = 1 << 50
_UNIT_BYTES: Final = 4096
_NAME_BYTES_MAX: Final = 255
_COUNT: Final = 1 << 32
_STATVFS = struct.Struct(">11Q")
_LIMITS = struct.Struct(">4Q")
_NAMES_MAX: Final = 1024
#: Of how many bytes a copy is that goes to the end.
_EVERYTHING: Final = 1 << 63
#: The only owner and group there is.
_OWNER: Final = b"mellanrum"


def extended(engine: Engine, request: int, fields: Fields) -> None:
    """EXTENDED: by the name that comes first."""
    handler = HANDLERS.get(fields.text())
    if handler is None:
        raise Unsupported
    handler(engine, request, fields)


def _posix_rename(engine: Engine, request: int, fields: Fields) -> None:
    moved(engine, request, fields.text(), fields.text(), replaces=True)


def _statvfs(engine: Engine, request: int, fields: Fields) -> None:
    path = existing(fields.text())
    _tell_room(engine, request, path, is_open=engine.documents.at(path) is not None)


def _fstatvfs(engine: Engine, request: int, fields: Fields) -> None:
    handle = engine.handles.any(fields.text())
    path = handle.item.path if isinstance(handle, FolderHandle) else handle.document.path
    _tell_room(engine, request, path, is_open=isinstance(handle, FileHandle))


def _tell_room(engine: Engine, request: int, path: Path, *, is_open: bool) -> None:
    """Tell how much room there is: of what is open and stands for nobody else, or no longer, where it is written."""

    def job() -> Quota | None:
        try:
            item = found(engine.drive, path)
        except NotFound:
            if not is_open:
                raise
            return engine.drive.quota(path.parent)
        return engine.drive.quota(path if item.version or item.is_folder else path.parent)

    engine.hop(request, job, partial(_room, request))


def _room(request: int, quota: Quota | None) -> bytes:
    free = _ROOM_BYTES if quota is None or quota.available is None else quota.available
    used = 0 if quota is None else quota.used
    blocks, left = (free + used) // _UNIT_BYTES, free // _UNIT_BYTES
    fields = (_UNIT_BYTES, _UNIT_BYTES, blocks, left, left, _COUNT, _COUNT, _COUNT, 0, 0, _NAME_BYTES_MAX)
    return wire.answer(Type.EXTENDED_REPLY, request, _STATVFS.pack(*fields))


def _fsync(engine: Engine, request: int, fields: Fields) -> None:
    """What was written becomes durable; it is not seen before the close."""
    document = engine.handles.file(fields.text()).document

    def job() -> None:
        if document.edit is not None:
            document.edit.sync()

    engine.hop(request, job, lambda _: wire.ok(request))


def _limits(engine: Engine, request: int, fields: Fields) -> None:
    limits = engine.limits
    block = limits.block_bytes_max
    packed = _LIMITS.pack(limits.packet_bytes_max - 1024, block, block, limits.handles_max)
    engine.send(wire.answer(Type.EXTENDED_REPLY, request, packed))


def _expand_path(engine: Engine, request: int, fields: Fields) -> None:
    raw = fields.text()
    if raw == b"~" or raw.startswith(b"~/"):
        raw = raw[1:]
    tell_path(engine, request, existing(raw))


def _home(engine: Engine, request: int, fields: Fields) -> None:
    tell_path(engine, request, ROOT)


def _copy_data(engine: Engine, request: int, fields: Fields) -> None:
    """Bytes of an open document go to another, or elsewhere in it (draft-ietf-secsh-filexfer-extensions-00, section 7).

    A length of 0 is to the end.
    """
    source, start, length = engine.handles.file(fields.text()), fields.u64(), fields.u64()
    goal, place = engine.handles.file(fields.text()), fields.u64()
    if not source.readable or not goal.writable:
        raise WrongHandle
    at = None if goal.appends else place
    length = length or _EVERYTHING
    if source.document is goal.document:
        length = min(length, max(0, source.document.size - start))  # it may grow meanwhile
        if at is not None and abs(at - start) < length:
            raise OverItself
    engine.require_draft(goal.document)
    _copy_on(engine, request, Copying(source.document, goal.document, start, length, at))


class Copying(NamedTuple):
    """What is left to be copied. `at` None: to the end, as whatever is written by a handle that appends."""

    source: Document
    goal: Document
    start: int
    length: int
    at: int | None


def _copy_on(engine: Engine, request: int, copying: Copying) -> None:
    """Copy a part, then the next one: others have their turns in between, and who is gone is served no longer."""

    def then(count: int) -> bytes | None:
        source, goal, start, length, at = copying
        if not count or count >= length:
            return wire.ok(request)
        if not engine.is_lost:
            further = None if at is None else at + count
            _copy_on(engine, request, Copying(source, goal, start + count, length - count, further))
        return None

    engine.hop(request, partial(_copied, engine.drive, copying), then, is_long=True)


def _copied(drive: Drive, copying: Copying) -> int:
    """Copy a part; return how many bytes, 0 at the end. What failed becomes no version at the close. Run elsewhere."""
    source, goal, start, length, at = copying
    goal.begin_again(drive)
    assert goal.edit is not None
    try:
        copied = _copied_into(goal.edit, drive, source, start, length, at)
    except BaseException as error:
        goal.breaks(error)
        raise
    if copied:
        goal.written()
    return copied


def _copied_into(
    edit: Edit | NoiseEdit, drive: Drive, source: Document, start: int, length: int, at: int | None
) -> int:
    """Copy a part. The whole of a document into an empty one costs nothing."""
    if source.edit is not None:
        read = source.edit.read
    else:
        if source.blocks is None:
            source.load(drive)
        assert source.blocks is not None
        if at is not None:
            return edit.copy_from(source.blocks.reader, start, length, at)
        read = source.blocks.reader.read
    stop = min(start + min(length, COPY_BYTES_MAX), source.size)
    copied = 0
    while start + copied < stop:
        data = read(start + copied, min(1 << 20, stop - start - copied))
        if at is None:
            edit.append(data)
        else:
            edit.write(at + copied, data)
        copied += len(data)
    return copied


def _users_groups(engine: Engine, request: int, fields: Fields) -> None:
    """Names for numbers: there is one owner, and one group."""
    users, groups = fields.view(), fields.view()
    body = wire.string(_names(len(users))) + wire.string(_names(len(groups)))
    engine.send(wire.answer(Type.EXTENDED_REPLY, request, body))


def _names(length: int) -> bytes:
    return wire.string(_OWNER) * min(length // 4, _NAMES_MAX)


def _hard_link(engine: Engine, request: int, fields: Fields) -> None:
    raise NoLinks


HANDLERS: Final[dict[bytes, Handler]] = {
    b"posix-rename@openssh.com": _posix_rename,
    b"statvfs@openssh.com": _statvfs,
    b"fstatvfs@openssh.com": _fstatvfs,
    b"fsync@openssh.com": _fsync,
    b"lsetstat@openssh.com": setstat,
    b"limits@openssh.com": _limits,
    b"expand-path@openssh.com": _expand_path,
    b"copy-data": _copy_data,
    b"home-directory": _home,
    b"users-groups-by-id@openssh.com": _users_groups,
    b"hardlink@openssh.com": _hard_link,
}
