"""Requests about open documents: OPEN, CLOSE, READ, WRITE, FSTAT, FSETSTAT."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from config.clock import SECOND_US
from config.errors import MellanrumError
from providers.drive import Drive
from providers.errors import BadName, DriveError, IsAFolder, NotAFolder, NotFound, ParentMissing, TargetExists
from providers.model import NO_CONDITIONS, Conditions, Item
from providers.paths import Path, fold, means_folder, parse_posix
from server.sftp.engine import wire
from server.sftp.engine.blocks import Block, Blocks
from server.sftp.engine.documents import Document, Step, data_answer
from server.sftp.engine.door import Job
from server.sftp.engine.errors import NoSuchHandle, TooManyOpen, WrongHandle
from server.sftp.engine.handles import FileHandle, FolderHandle
from server.sftp.engine.listing import attributes_of
from server.sftp.engine.wire import Attributes, BadPacket, Fields, Type

if TYPE_CHECKING:
    from server.sftp.engine.engine import Engine

#: A document may have so many bytes to be read in the engine's own thread.
AT_HAND_BYTES_MAX: Final = 64 << 10
#: A document of more bytes may take its time to become a version.
AT_ONCE_BYTES_MAX: Final = 16 << 20
#: Nothing may stand there yet, when the draft is begun and when it is committed.
_NOTHING_THERE = Conditions(if_none_match=("*",))


class Mode(NamedTuple):
    """How a document is opened: the flags of section 6.3, read as OpenSSH reads them."""

    readable: bool
    writable: bool
    appends: bool
    creates: bool
    truncates: bool
    is_exclusive: bool

    @classmethod
    def of(cls, flags: int) -> Mode:
        """Return what flags mean. Neither READ nor WRITE is READ; EXCL means nothing without CREAT."""
        writable = bool(flags & wire.WRITE)
        creates = bool(flags & wire.CREAT)
        return cls(
            readable=bool(flags & wire.READ) or not writable,
            writable=writable,
            appends=bool(flags & wire.APPEND),
            creates=creates,
            truncates=bool(flags & wire.TRUNC),
            is_exclusive=creates and bool(flags & wire.EXCL),
        )

    @property
    def edits(self) -> bool:
        """Whether a draft is needed from the beginning."""
        return self.writable or self.truncates or self.is_exclusive


def open_file(engine: Engine, request: int, fields: Fields) -> None:
    """OPEN: find or begin the document, and give it a handle."""
    raw, mode, attributes = fields.text(), Mode.of(fields.u32()), fields.attributes()
    engine.handles.require_room()
    path = parse_posix(raw) if mode.creates else existing(raw)
    if path.is_root:
        raise IsAFolder
    if means_folder(raw):
        engine.hop(request, partial(_refuse_folder, engine.drive, path, creates=mode.creates), _nothing)
        return
    standing, then = engine.documents.at(path), partial(_handed_out, engine, request, mode, attributes)
    document = None
    if not mode.edits and standing is None:
        document = engine.at_hand(partial(_opened_at_hand, engine.drive, path))
    if document is not None:
        engine.send(then(document))
        return
    may_edit = engine.may_begin_draft(standing)
    engine.hop(request, partial(_opened, engine.drive, path, mode, standing, may_edit=may_edit), then)


def _opened_at_hand(drive: Drive, path: Path) -> Document:
    """Open a small document for reading, if that waits for nobody. Raises NotAtHand."""
    document = Document(path)
    document.load(drive, AT_HAND_BYTES_MAX)
    return document


def existing(raw: bytes) -> Path:
    """Return the path of something that should stand. No name that may not be is one that stands."""
    try:
        return parse_posix(raw)
    except BadName:
        raise NotFound from None


def as_meant(drive: Drive, raw: bytes, path: Path, job: Job) -> Job:
    """Return a job that does nothing to a document whose path a client spelled as a folder's, with a slash at its end.

    It raises NotFound or NotAFolder then.
    """
    return partial(_if_folder, drive, path, job) if means_folder(raw) else job


def _if_folder(drive: Drive, path: Path, job: Job) -> Any:
    if not drive.stat(path).is_folder:
        raise NotAFolder
    return job()


def _refuse_folder(drive: Drive, path: Path, *, creates: bool) -> None:
    """Say why a path that was spelled as a folder's cannot be opened. Run elsewhere."""
    try:
        raise IsAFolder if drive.stat(path).is_folder else NotAFolder
    except NotFound:
        if creates:
            raise ParentMissing from None
        raise


def _nothing(_: Any) -> None:
    """What is always refused has no answer."""


def draft_at(drive: Drive, path: Path) -> Item | None:
    """Return the interrupted upload that its maker sees at a path. Run elsewhere."""
    if path.is_root:
        return None
    try:
        drafts = drive.drafts(path.parent)
    except DriveError:
        return None
    return next((item for item in drafts if fold(item.name) == fold(path.name)), None)


def _opened(drive: Drive, path: Path, mode: Mode, standing: Document | None, *, may_edit: bool) -> Document:
    """Open for reading, or begin a draft, if one more may be begun, or share the one there is. Run elsewhere."""
    if standing is not None and mode.is_exclusive:
        raise TargetExists
    if standing is not None and standing.is_lost:
        raise NotFound
    if mode.edits:
        return _begin_edit(drive, path, standing, mode, may_edit=may_edit)
    if standing is not None and standing.edit is not None:
        return standing
    try:
        reader = drive.read(path)  # whoever opened it before may not any more
    except NotFound:
        if not mode.creates and draft_at(drive, path) is None:
            raise
        return _begin_edit(drive, path, standing, mode, may_edit=may_edit)
    document = _sharing(drive, standing, path, reader.item)
    if document.blocks is not None and document.item is not None and document.item.etag == reader.item.etag:
        reader.close()
    else:
        document.take(reader)
    return document


def _sharing(drive: Drive, standing: Document | None, path: Path, item: Item | None) -> Document:
    """Return the document that is open already, if it is what was found there now; else one beside it."""
    if standing is not None:
        standing.catch_up(drive, item)
    return standing if standing is not None and standing.may_show(item) else Document(path)


def _begin_edit(drive: Drive, path: Path, standing: Document | None, mode: Mode, *, may_edit: bool) -> Document:
    document = standing
    if document is None or document.edit is None:
        if not may_edit:
            raise TooManyOpen
        conditions = _NOTHING_THERE if mode.is_exclusive else NO_CONDITIONS
        edit = drive.edit(
            path,
            create=mode.creates,
            truncate=mode.truncates,
            conditions=conditions,
            writes=mode.writable,
        )
        document = _sharing(drive, standing, path, edit.item)
        document.edit, document.item = edit, edit.item
        if edit.is_changed:
            document.written()
    elif mode.truncates:
        document.written()
        document.edit.truncate(0)
    return document


def _handed_out(engine: Engine, request: int, mode: Mode, attributes: Attributes, document: Document) -> bytes:
    is_draft = mode.edits or (document.edit is not None and document.handles == 0)
    handle = FileHandle(document, mode.readable, mode.writable, mode.appends, is_draft)
    document.handles += 1
    document.editors += handle.edits
    document.readers += handle.readable
    if handle.edits and attributes.modified is not None:
        document.modified, document.is_time_given = attributes.modified * SECOND_US, True
    engine.documents.add(document)
    if document.blocks is not None:
        engine.documents.warm(document.blocks, engine.limits.cached_bytes_max)
    return wire.answer(Type.HANDLE, request, wire.string(engine.handles.add(handle)))


def close(engine: Engine, request: int, fields: Fields) -> None:
    """CLOSE: what was written becomes a version."""
    handle = engine.handles.take(fields.text())
    if isinstance(handle, FolderHandle):
        engine.send(wire.ok(request))
        return
    document = handle.document
    document.handles -= 1
    document.editors -= handle.edits
    document.readers -= handle.readable
    if not _is_due(document, handle):
        _let_go(engine, document)
        engine.send(wire.ok(request))
        return

    def job() -> None:
        document.commit(engine.drive)

    def then(_: None) -> bytes:
        engine.documents.settle(document)
        return wire.ok(request)

    is_long = document.edit is not None and document.edit.size > AT_ONCE_BYTES_MAX
    engine.hop(request, job, then, anyway=partial(_let_go, engine, document), is_long=is_long)


def _is_due(document: Document, handle: FileHandle) -> bool:
    """Return whether the draft ends with this handle: with the last, or with one that may have changed it."""
    edit = document.edit
    if edit is None:
        return False
    if document.is_unlinked:
        return not document.handles
    return not document.editors or (handle.edits and (edit.is_changed or document.modified is not None))


def _let_go(engine: Engine, document: Document) -> None:
    if document.edit is None:
        document.broken_by = None
    if not document.handles:
        engine.documents.forget(document)


def no_such_handle(engine: Engine, request: int, fields: Fields) -> None:
    """READ or WRITE by a handle that is none of ours."""
    fields.view()
    fields.u64()
    fields.u32()
    raise NoSuchHandle


def read(engine: Engine, request: int, handle: FileHandle, offset: int, length: int) -> None:
    """READ: from the draft if there is one, else from the blocks at hand, else a hop for the next block."""
    length = min(length, engine.limits.block_bytes_max)
    document = handle.document
    if not handle.readable:
        raise WrongHandle
    if document.is_lost:
        raise NotFound
    if not length:
        engine.send(wire.data_head(request, 0))  # not the end: who took it for that would read no further
    elif document.edit is not None:
        engine.documents.gather(document, Step(request, offset, length, None))
    elif document.blocks is None:
        again = partial(_read_loaded, engine, request, document, offset, length)
        engine.hop(request, partial(document.load, engine.drive), again)
    else:
        _read_block(engine, request, document.blocks, offset, length)


def _read_loaded(engine: Engine, request: int, document: Document, offset: int, length: int, _: None) -> None:
    assert document.blocks is not None
    engine.documents.warm(document.blocks, engine.limits.cached_bytes_max)
    _read_block(engine, request, document.blocks, offset, length)


def _read_block(engine: Engine, request: int, blocks: Blocks, offset: int, length: int) -> None:
    pieces = blocks.slices(offset, length)
    if pieces is not None:
        engine.send(data_answer(request, pieces))
        _read_ahead(engine, blocks, offset)
    elif blocks.is_fetching:
        engine.hold_up()
        blocks.waiting = partial(_read_block, engine, request, blocks, offset, length)
    else:
        _fetch(engine, request, blocks, offset, length)


def _keep(engine: Engine, blocks: Blocks, block: Block) -> None:
    blocks.keep(block)
    engine.documents.warm(blocks, engine.limits.cached_bytes_max)


def _fetch(engine: Engine, request: int, blocks: Blocks, offset: int, length: int) -> None:
    def then(block: Block) -> None:
        _keep(engine, blocks, block)
        _read_block(engine, request, blocks, offset, length)

    wanted = blocks.missing(offset, length)
    block = _at_hand(engine, blocks, wanted)
    if block is None:
        engine.hop(request, partial(blocks.fetch, *wanted), then)
    else:
        then(block)


def _at_hand(engine: Engine, blocks: Blocks, wanted: tuple[int, int]) -> Block | None:
    block: Block | None = engine.at_hand(partial(blocks.at_hand, *wanted))
    blocks.is_near = block is not None
    return block


def _read_ahead(engine: Engine, blocks: Blocks, offset: int) -> None:
    wanted = blocks.ahead(offset)
    if wanted is None:
        return
    block = _at_hand(engine, blocks, wanted)
    if block is not None:
        _keep(engine, blocks, block)
        return

    def done(block: Block | None, error: BaseException | None) -> None:
        blocks.is_fetching = False
        if block is not None:
            _keep(engine, blocks, block)
        # Should it have failed, whoever waits for the block fetches it again, and is told why.
        waiting, blocks.waiting = blocks.waiting, None
        if waiting is not None:
            engine.go_on()
            waiting()

    blocks.is_fetching = True
    engine.aside(partial(blocks.fetch, *wanted), done)


def write(engine: Engine, request: int, handle: FileHandle, offset: int, length: int, tail: memoryview) -> None:
    """WRITE: gathered for the next hop of the document's draft. `tail`: the bytes, and what may follow them."""
    if len(tail) < length:
        raise BadPacket
    if not handle.writable:
        raise WrongHandle
    document = handle.document
    # As on a disk: no bytes lengthen nothing, wherever they are put, and change nothing.
    if not length and not document.is_lost:
        engine.send(wire.ok(request))
        return
    step = Step(request, None if handle.appends else offset, length, tail[:length])
    try:
        if document.is_lost:
            raise NotFound
        if document.edit is None:
            engine.require_draft(document)
    except MellanrumError as error:
        document.breaks(error)
        raise
    if document.edit is not None:
        engine.documents.write(engine, document, step)
        return

    def then(_: None) -> None:
        engine.documents.write(engine, document, step)

    engine.hop(request, partial(_begun_again, engine.drive, document), then)


def _begun_again(drive: Drive, document: Document) -> None:
    try:
        document.begin_again(drive)
    except BaseException as error:
        document.breaks(error)
        raise


def fstat(engine: Engine, request: int, fields: Fields) -> None:
    """FSTAT: as this client sees the document."""
    handle = engine.handles.any(fields.text())
    item = handle.item if isinstance(handle, FolderHandle) else handle.document.shown()
    engine.send(wire.answer(Type.ATTRS, request, attributes_of(item)))


def fsetstat(engine: Engine, request: int, fields: Fields) -> None:
    """FSETSTAT: size and time. Owners and permissions are taken note of, and ignored."""
    handle, attributes = engine.handles.any(fields.text()), fields.attributes()
    if isinstance(handle, FolderHandle):
        raise WrongHandle
    if attributes.size is not None and not handle.writable:
        raise WrongHandle
    set_open(engine, request, handle.document, attributes)


def set_open(engine: Engine, request: int, document: Document, attributes: Attributes) -> None:
    """Set size and time of a document that is open: they are part of its draft, if there is one."""
    drive, size = engine.drive, attributes.size
    modified = None if attributes.modified is None else attributes.modified * SECOND_US

    def job() -> None:
        if size is not None:
            document.begin_again(drive)
            assert document.edit is not None
            if size != document.edit.size:
                document.written()
            document.edit.truncate(size)
        if modified is not None and document.edit is None and not document.is_unlinked:
            document.item = drive.change_properties(document.place(drive), [], modified=modified)

    def then(_: None) -> bytes:
        if modified is not None and document.edit is not None:
            document.modified = modified
        return wire.ok(request)

    if size is None and (modified is None or document.edit is not None):
        engine.send(then(None))
        return
    if size is not None:
        engine.require_draft(document)
    engine.hop(request, job, then)
