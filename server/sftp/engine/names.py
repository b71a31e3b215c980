"""Requests about names: STAT, OPENDIR, READDIR, REMOVE, MKDIR, RMDIR, RENAME, REALPATH, SETSTAT; links are refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from config.clock import SECOND_US, now_us
from providers.drive import Drive
from providers.errors import FolderNotEmpty, NotAFolder, NotFound, SameResource, TargetExists
from providers.model import Expected, Item
from providers.paths import Path, fold, means_folder, parse_posix
from server.sftp.engine import wire
from server.sftp.engine.documents import Document
from server.sftp.engine.errors import NoLinks
from server.sftp.engine.files import as_meant, draft_at, existing, set_open
from server.sftp.engine.handles import FolderHandle
from server.sftp.engine.listing import Page, attributes_of, pages
from server.sftp.engine.wire import Attributes, Code, Fields, Type

if TYPE_CHECKING:
    from server.sftp.engine.engine import Engine


def found(drive: Drive, path: Path) -> Item:
    """Return what stands at a path, or the interrupted upload that its maker sees there. Raises NotFound."""
    try:
        return drive.stat(path)
    except NotFound as absent:
        item = draft_at(drive, path)
        if item is None:
            raise absent from None
        return item


def stat(engine: Engine, request: int, fields: Fields) -> None:
    """STAT and LSTAT, which are one where there are no links."""
    raw = fields.text()
    path, drive = existing(raw), engine.drive
    then = partial(_attributes, request, is_folder=means_folder(raw))
    document = engine.documents.at(path)
    if document is not None and document.edit is not None:
        engine.send(then(document.shown()))
        return
    engine.look(request, partial(drive.stat, path, at_hand=True), partial(found, drive, path), then)


def _attributes(request: int, item: Item, *, is_folder: bool) -> bytes:
    if is_folder and not item.is_folder:
        raise NotAFolder
    return wire.answer(Type.ATTRS, request, attributes_of(item))


def setstat(engine: Engine, request: int, fields: Fields) -> None:
    """SETSTAT: size and time. Owners and permissions are taken note of, and ignored."""
    raw, attributes = fields.text(), fields.attributes()
    path = existing(raw)
    document = engine.documents.at(path)
    if document is not None and document.edit is not None and not means_folder(raw):
        set_open(engine, request, document, attributes)
        return

    def job() -> None:
        item = _set(engine.drive, path, attributes)
        if document is not None:
            document.catch_up(engine.drive, item)
            if document.item is not None and document.item.id == item.id:
                document.item = item

    meant = as_meant(engine.drive, raw, path, job)
    engine.hop(request, meant, lambda _: wire.ok(request), anyway=partial(_reread, document))


def _reread(document: Document | None) -> None:
    """What stands there may have changed: let whoever has it open for reading see it."""
    if document is not None and document.blocks is not None:
        document.blocks.reader.close()
        document.blocks = None


def _set(drive: Drive, path: Path, attributes: Attributes) -> Item:
    """Set size and time; return what stands there by then."""
    modified = None if attributes.modified is None else attributes.modified * SECOND_US
    if attributes.size is not None:
        edit = drive.edit(path, create=False, truncate=False)
        try:
            edit.truncate(attributes.size)
            made = edit.commit(modified=modified)
        finally:
            edit.discard()
        if made is not None:
            return made[0]
    if modified is not None:
        return drive.change_properties(path, [], modified=modified)
    return found(drive, path)


def open_folder(engine: Engine, request: int, fields: Fields) -> None:
    """OPENDIR: the folder is read at once, and packed as it is asked for."""
    path = existing(fields.text())
    engine.handles.require_room()
    mine = [document.shown() for document in engine.documents.within(path)]
    job = partial(_listed, engine.drive, path, mine, engine.limits.reply_bytes_max)

    def then(handle: FolderHandle) -> bytes:
        return wire.answer(Type.HANDLE, request, wire.string(engine.handles.add(handle)))

    engine.hop(request, job, then)


def _listed(drive: Drive, path: Path, mine: list[Item], bytes_max: int) -> FolderHandle:
    """Return a folder and its listing: what stands, interrupted uploads, and what this client is writing."""
    folder, items = _seen(drive, path, mine)
    packed = _packed(folder, items, bytes_max, told=-2)
    return FolderHandle(folder, next(packed), packed, items)


def _seen(drive: Drive, path: Path, mine: Sequence[Item]) -> tuple[Item, Sequence[Item]]:
    folder, items = drive.listing(path)
    if not folder.is_folder:
        raise NotAFolder
    own = [*drive.drafts(path), *mine]
    if own:
        by_name = {fold(item.name): item for item in items}
        standing = set(by_name)
        for item in own:
            key = fold(item.name)
            if key in standing and item.version == 0 and not item.id:
                continue
            by_name[key] = item
        items = list(by_name.values())
    return folder, items


def _packed(folder: Item, items: Sequence[Item], bytes_max: int, *, told: int) -> Iterator[Page]:
    above = ((".", folder), ("..", folder)) if told < 0 else ()
    return pages(chain(above, ((item.name, item) for item in items)), bytes_max, now_us() // SECOND_US)


def _look_again(drive: Drive, handle: FolderHandle, bytes_max: int) -> None:
    """Let a listing go on with what is seen still of all that it has not told of. Raises NotFound. Run elsewhere."""
    folder = handle.item
    if folder.id and not folder.is_past:
        folder = drive.stat(folder.path, node=folder.id)
    folder, items = _seen(drive, folder.path, ())
    seen = {(fold(item.name), item.id) for item in items}
    # What this client is writing has no id yet.
    left = [item for item in handle.listed[max(handle.told, 0) :] if not item.id or (fold(item.name), item.id) in seen]
    handle.item, handle.listed, handle.told = folder, left, min(handle.told, 0)
    handle.pages = _packed(folder, left, bytes_max, told=handle.told)
    handle.page = next(handle.pages, None)


def read_folder(engine: Engine, request: int, fields: Fields) -> None:
    """READDIR: the next answer of a listing."""
    _tell_page(engine, request, engine.handles.folder(fields.text()))


def _tell_page(engine: Engine, request: int, handle: FolderHandle) -> None:
    """Answer with the next names, and have those that follow packed beside. Nothing of what is seen no more."""
    if handle.is_packing:
        engine.hold_up()
        handle.waiting = partial(_tell_page, engine, request, handle)
    elif handle.error is not None:
        engine.fail(request, handle.error)
    elif handle.is_stale:
        job = partial(_look_again, engine.drive, handle, engine.limits.reply_bytes_max)
        engine.hop(request, job, partial(_tell_anew, engine, request, handle))
    elif handle.page is None:
        engine.send(wire.status(request, Code.EOF, b"That was the end."))
    else:
        engine.send(wire.answer(Type.NAME, request, wire.u32(handle.page.entries) + handle.page.body))
        handle.told += handle.page.entries
        _pack_on(engine, handle)


def _tell_anew(engine: Engine, request: int, handle: FolderHandle, _: None) -> None:
    handle.is_stale = False
    _tell_page(engine, request, handle)


def _pack_on(engine: Engine, handle: FolderHandle) -> None:
    def done(page: Page | None, error: BaseException | None) -> None:
        handle.page, handle.error, handle.is_packing = page, error, False
        waiting, handle.waiting = handle.waiting, None
        if waiting is not None:
            engine.go_on()
            waiting()

    handle.is_packing = True
    engine.aside(partial(next, handle.pages, None), done)


def remove(engine: Engine, request: int, fields: Fields) -> None:
    """REMOVE: a document. Whoever has it open goes on without a name."""
    raw = fields.text()
    path = existing(raw)
    document = engine.documents.at(path)
    if document is not None and document.editors:
        engine.require_draft(document)

    def job() -> None:
        if document is not None:
            document.lose_name(engine.drive)
        if document is None or not document.is_new:
            _removed(engine.drive, path)

    def then(_: None) -> bytes:
        engine.documents.unlink(path)
        return wire.ok(request)

    engine.hop(request, as_meant(engine.drive, raw, path, job), then)


def _removed(drive: Drive, path: Path) -> None:
    try:
        drive.delete(path, expected=Expected.DOCUMENT)
    except NotFound:
        if draft_at(drive, path) is None:
            raise
        drive.drop_draft(path)


def make_folder(engine: Engine, request: int, fields: Fields) -> None:
    """MKDIR."""
    path = parse_posix(fields.text())
    if engine.documents.at(path) is not None:
        raise TargetExists
    engine.hop(request, partial(engine.drive.make_folder, path), lambda _: wire.ok(request))


def remove_folder(engine: Engine, request: int, fields: Fields) -> None:
    """RMDIR: a folder in which nothing is seen."""
    path = existing(fields.text())
    if engine.documents.at(path) is None and engine.documents.below(path):
        raise FolderNotEmpty
    job = partial(engine.drive.delete, path, expected=Expected.EMPTY_FOLDER)
    engine.hop(request, job, lambda _: wire.ok(request))


def rename(engine: Engine, request: int, fields: Fields) -> None:
    """RENAME: never onto what stands there."""
    moved(engine, request, fields.text(), fields.text(), replaces=False)


def moved(engine: Engine, request: int, old: bytes, new: bytes, *, replaces: bool) -> None:
    """Move what stands at `old`; what this client has written to it, and has not closed yet, goes first.

    Only a folder, if either is spelled as a folder's.
    """
    source, goal = existing(old), parse_posix(new)
    documents = engine.documents.below(source)
    # What stands for others the drive knows; this client alone sees what it has not closed yet.
    replaced = [] if source == goal else engine.documents.below(goal)
    if means_folder(new) and engine.documents.at(goal) is not None:
        raise NotAFolder
    is_taken = bool(replaced) and (not replaces or engine.documents.at(goal) is None)
    for document in () if is_taken else replaced:
        if document.editors:
            engine.require_draft(document)

    def job() -> None:
        if means_folder(new):
            _refuse_document(engine.drive, goal)
        for document in documents:
            document.commit(engine.drive)
        if replaced:
            is_folder = found(engine.drive, source).is_folder
            if is_taken:
                raise TargetExists
            if is_folder:
                raise NotAFolder
        for document in replaced:
            document.lose_name(engine.drive)
        before = found(engine.drive, source).etag if documents else ""
        try:
            made, _ = engine.drive.move(source, goal, overwrite=replaces, plainly=True)
        except SameResource:
            if not replaces or source != goal:
                raise
            return
        for document in documents:
            document.moved(made, before)

    def then(_: None) -> bytes:
        if source != goal:
            engine.documents.move(source, goal)
        return wire.ok(request)

    spelled = new if means_folder(new) else old
    engine.hop(request, as_meant(engine.drive, spelled, source, job), then)


def _refuse_document(drive: Drive, path: Path) -> None:
    """Raise NotAFolder if a document stands there."""
    try:
        is_folder = drive.stat(path).is_folder
    except NotFound:
        return
    if not is_folder:
        raise NotAFolder


def real_path(engine: Engine, request: int, fields: Fields) -> None:
    """REALPATH: the path without `.` and `..`. All but its last name must stand."""
    tell_path(engine, request, existing(fields.text()))


def tell_path(engine: Engine, request: int, path: Path) -> None:
    """Answer with a path, if it may be one."""
    text = str(path).encode("utf-8")
    answer = wire.names(request, [(text, text, wire.packed_attributes(0, wire.FOLDER_MODE, 0))])
    if path.is_root:
        engine.send(answer)
        return
    engine.hop(request, partial(_require_folder, engine.drive, path.parent), lambda _: answer)


def _require_folder(drive: Drive, path: Path) -> None:
    if not drive.stat(path).is_folder:
        raise NotFound


def refuse_links(engine: Engine, request: int, fields: Fields) -> None:
    """READLINK and SYMLINK."""
    raise NoLinks
