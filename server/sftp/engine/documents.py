"""Documents that one client has open. Every opening of one document shares its draft: one reads what one wrote.

What is written, and read back, is gathered and handed to the draft in one hop. Nothing of it is seen by anybody else
before a close that had something to add; that makes one version.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from auth.errors import Paused, Revoked
from config.clock import now_us
from config.errors import MellanrumError
from providers.drive import Drive
from providers.errors import DriveError, NotFound, ParentMissing
from providers.model import Item
from providers.paths import Path, fold
from server.sftp.engine import wire
from server.sftp.engine.blocks import Blocks
from server.sftp.engine.door import Buffer
from server.sftp.engine.errors import BrokenUpload, FolderLost, told
from server.sftp.engine.wire import Code

if TYPE_CHECKING:
    from providers.drive.edits import Edit
    from providers.drive.noise_edits import NoiseEdit
    from providers.drive.reading import Reader
    from server.sftp.engine.engine import Engine

#: Of one hop: so many bytes are written at most, and read.
_BATCH_BYTES: Final = 2 << 20
#: And so many of the smallest ones: all are answered in one go.
_BATCH_STEPS: Final = 512
_COST_BYTES: Final = 200

Key = tuple[str, ...]


class Step(NamedTuple):
    """A read or write that waits for its hop. `data` None: read. `offset` None: at the end."""

    request: int
    offset: int | None
    length: int
    data: memoryview | None


class Carried(NamedTuple):
    """What became of some steps: an answer to each, and why the first write among them failed that did."""

    answers: list[list[Buffer]]
    error: BaseException | None


class Document:
    """One document, open once or more often."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.edit: Edit | NoiseEdit | None = None
        self.blocks: Blocks | None = None
        self.item: Item | None = None
        self.opened_at = now_us()
        #: A time of modification that the client asked for, in microseconds, until it is committed.
        self.modified: int | None = None
        #: Whether it was asked for at the opening: then whatever is written after that is older than it.
        self.is_time_given = False
        #: When it was last written to, until that is committed.
        self._written_at: int | None = None
        self.handles = 0
        self.editors = 0
        self.readers = 0
        self.steps: list[Step] = []
        self.is_running = False
        self.is_unlinked = False
        #: Why a part of what was written could not be stored, if so.
        self.broken_by: MellanrumError | None = None
        self.is_lost = False

    @property
    def is_new(self) -> bool:
        """Whether nothing stands there yet for others."""
        return self.edit is not None and self.edit.is_new

    @property
    def size(self) -> int:
        """Bytes as this client sees it."""
        if self.edit is not None:
            return self.edit.size
        return 0 if self.item is None else self.item.size

    def shown(self) -> Item:
        """Return the document as this client sees it: with what it wrote."""
        modified = self._written_at if self.modified is None else self.modified
        if self.item is None:
            at = self.opened_at
            return Item(self.path, self.path.name, False, self.size, at, modified or at, "", b"", b"", 0, False, False)
        return self.item._replace(size=self.size, modified=self.item.modified if modified is None else modified)

    def written(self) -> None:
        """Take note that its bytes change now: a time that was set before counts no longer, as on a disk."""
        self._written_at = now_us()
        if not self.is_time_given:
            self.modified = None

    def breaks(self, error: BaseException) -> None:
        """Take note that a part could not be stored: nothing of it becomes a version, and the close tells the first
        reason. Many libraries show what the close is told alone.
        """
        if self.broken_by is None:
            # Without its traceback: that would hold on to what was being written.
            self.broken_by = error.with_traceback(None) if isinstance(error, MellanrumError) else BrokenUpload()

    # --- run elsewhere

    def load(self, drive: Drive, at_hand: int | None = None) -> None:
        """Open what stands, and read its beginning; `at_hand` as in `Drive.read`."""
        self.take(drive.read(self.place(drive), at_hand=at_hand))

    def take(self, reader: Reader) -> None:
        """Read what was opened from now on, its beginning at once."""
        blocks = Blocks(reader)
        if blocks.size:
            blocks.keep(blocks.fetch(*blocks.missing(0, 1)))
        self.blocks, self.item = blocks, reader.item

    def place(self, drive: Drive) -> Path:
        """Return where it stands by now: who has it open does not notice that others move it. Raises NotFound."""
        item = self.item
        if item is None or item.is_past or not item.id or not item.version:
            return self.path
        found = drive.stat(self.path, node=item.id)
        self.item = item._replace(id=found.id)
        return found.path

    def catch_up(self, drive: Drive, found: Item | None) -> None:
        """Take note of the id that it has by now, if what was `found` where it stands has another: where names are left
        and taken again, a document may come to be told by another one.
        """
        mine = self.item
        if mine is None or found is None or mine.id == found.id:
            return
        if mine.version:
            with suppress(DriveError):
                self.place(drive)
        elif self.blocks is None or self.editors:  # nothing was in it: it gives way to whatever comes there
            self.item = found

    def moved(self, item: Item, before: str) -> None:
        """This client has moved it, and it may be another document now that has its bytes, or another version of one.

        `before`: the etag of what was moved; who opened it earlier may still read an older version.
        """
        if self.item is not None and not item.is_folder:
            etag = item.etag if self.item.etag == before else self.item.etag
            self.item = self.item._replace(id=item.id, etag=etag)

    def may_show(self, item: Item | None) -> bool:
        """Whether who opens it now, and finds this, may share it: readers alone go on with the version they opened."""
        mine = self.item
        if mine is None or item is None:
            return mine is item
        is_same = self.blocks is None or self.editors > 0 or item.etag == mine.etag
        return item.id == mine.id and item.is_past == mine.is_past and is_same

    def carry_out(self, steps: list[Step]) -> Carried:
        """Do steps in their order on the draft."""
        edit, answers, failed = self.edit, [], None
        assert edit is not None
        for step in steps:
            answer: list[Buffer]
            try:
                if step.data is None:
                    data = edit.read(step.offset or 0, step.length)
                    answer = data_answer(step.request, [memoryview(data)])
                else:
                    if step.offset is None:
                        edit.append(step.data)
                    else:
                        edit.write(step.offset, step.data)
                    answer = [wire.ok(step.request)]
            except Exception as error:
                answer = [told(step.request, error)]
                failed = failed or (error if step.data is not None else None)
            answers.append(answer)
        return Carried(answers, failed)

    def commit(self, drive: Drive) -> None:
        """Make what was written a version. If that fails, the draft is put aside and the error raised."""
        edit, self.edit = self.edit, None
        written, self._written_at = self._written_at, None
        if edit is None:
            return
        self.blocks = None
        if self.is_unlinked:
            edit.discard()
            return
        try:
            if self.broken_by is not None:
                raise self.broken_by
            made = edit.commit(modified=self.modified, written=written)
        except Revoked as error:
            if isinstance(error, Paused):
                edit.keep()
            else:
                edit.discard()
            raise
        except ParentMissing as error:
            is_worth_it = edit.size > 0
            edit.keep()
            raise (FolderLost() if is_worth_it else error) from None
        except BaseException:
            edit.keep()
            raise
        if made is not None:
            self.item = made[0]
        elif self.modified is not None:
            self.item = drive.change_properties(self.place(drive), [], modified=self.modified)
        self.modified, self.is_time_given = None, False

    def lose_name(self, drive: Drive) -> None:
        """Take hold of what is open before its name goes: whoever has it open goes on reading and writing it."""
        if self.editors and self.edit is None:
            self.begin_again(drive)
        elif self.edit is None and self.blocks is None:
            self.load(drive)
        if self.edit is not None:
            if self.readers:
                self.edit.read(0, 1)
            self.edit.unname()

    def begin_again(self, drive: Drive) -> None:
        """Begin another draft of a document whose last one became a version while it was open."""
        if self.edit is None:
            if self.is_unlinked:
                raise NotFound
            edit = drive.edit(self.place(drive), create=False, truncate=False)
            if self.item is not None and self.item.version and not self.may_show(edit.item):
                edit.discard()
                raise NotFound
            self.edit, self.item = edit, edit.item

    def put_aside(self, *, drop: bool) -> None:
        """Let go without a close: an upload is kept for its maker to resume, unless it must be dropped."""
        edit, self.edit = self.edit, None
        if self.blocks is not None:
            self.blocks.reader.close()
            self.blocks = None
        if edit is None:
            return
        if drop or self.is_unlinked:
            edit.discard()
        else:
            edit.keep(is_cut_off=True)


class Documents:
    """All documents that one client has open, by path."""

    def __init__(self, epoch: int) -> None:
        self._open: dict[Key, Document] = {}
        #: What is open and found under no path: without a name, or elsewhere or of before, where others changed it.
        self._apart: set[Document] = set()
        #: Bytes that wait for a hop to their draft, or are on it.
        self.gathered_bytes = 0
        self._busy: set[Document] = set()
        self._warm: OrderedDict[Blocks, None] = OrderedDict()
        self.drop_all = False
        #: As of which epoch of rights it was last looked what may still be read, and when: grants run out by the clock.
        self._epoch = epoch
        self._looked_at = now_us()

    @property
    def are_busy(self) -> bool:
        """Whether reads or writes wait or are under way. Everything else waits for them, so that order is kept."""
        return bool(self._busy)

    @property
    def any_open(self) -> bool:
        """Whether any document is open."""
        return bool(self._open or self._apart)

    def at(self, path: Path) -> Document | None:
        """Return the document open under a path."""
        return self._open.get(_key(path))

    def below(self, path: Path) -> list[Document]:
        """Return the documents open at a path or below it."""
        key = _key(path)
        return [document for found, document in self._open.items() if found[: len(key)] == key]

    def within(self, path: Path) -> Iterator[Document]:
        """Yield the documents open in a folder itself that this client has changed."""
        key = _key(path)
        for found, document in self._open.items():
            if found[:-1] == key and document.edit is not None:
                yield document

    def add(self, document: Document) -> None:
        """Keep a document that was opened, beside what is open that stood there before."""
        other = self._open.get(_key(document.path), document)
        if other is not document:
            self._apart.add(other)
        self._open[_key(document.path)] = document

    def settle(self, document: Document) -> None:
        """Let a document that became a version be found where it stands: others may have moved it."""
        item = document.item
        if item is None or item.path == document.path or self._open.get(_key(document.path)) is not document:
            return
        del self._open[_key(document.path)]
        document.path = item.path
        if self.at(item.path) is None:
            self._open[_key(item.path)] = document
        else:
            self._apart.add(document)

    def forget(self, document: Document) -> None:
        """Let a document go that nobody has open."""
        self._apart.discard(document)
        if self._open.get(_key(document.path)) is document:
            del self._open[_key(document.path)]
        if document.blocks is not None:
            self._warm.pop(document.blocks, None)
            document.blocks.reader.close()

    @property
    def drafts(self) -> int:
        """How many documents are open for writing."""
        return sum(document.edit is not None for document in (*self._open.values(), *self._apart))

    def warm(self, blocks: Blocks, bytes_max: int) -> None:
        """Take note of a block that was kept; let those go that were read longest ago, beyond `bytes_max` in all."""
        self._warm[blocks] = None
        self._warm.move_to_end(blocks)
        held = sum(other.held_bytes for other in self._warm)
        while held > bytes_max and len(self._warm) > 1:
            oldest, _ = self._warm.popitem(last=False)
            held -= oldest.held_bytes
            oldest.let_go()

    def unlink(self, path: Path) -> None:
        """Let those at a path, or below, go on without a name: what is written to them is dropped at the close."""
        for document in self.below(path):
            del self._open[_key(document.path)]
            document.is_unlinked = True
            self._apart.add(document)

    def move(self, source: Path, goal: Path) -> None:
        """Let those at a path, or below, go on under another, and what was open there without a name."""
        moved = self.below(source)
        for document in moved:
            del self._open[_key(document.path)]
        self.unlink(goal)
        for document in moved:
            document.path = Path((*goal.segments, *document.path.segments[len(source.segments) :]))
            self._open[_key(document.path)] = document

    def take_all(self) -> list[Any]:
        """Forget all; return what lets each go, to be run elsewhere."""
        found = [*self._open.values(), *self._apart]
        self._open.clear()
        self._apart.clear()
        self._busy.clear()
        return [partial(document.put_aside, drop=self.drop_all) for document in found]

    def lost_now(self, drive: Drive) -> list[Document] | None:
        """Return the documents that may be read no longer, None if no rights have changed. Raises Revoked. Run
        elsewhere.
        """
        drive.still_valid()
        # Compared with what was seen here: others ask the same drive, and it would have nothing new to tell us.
        epoch, self._epoch = self._epoch, drive.principal.epoch
        since, self._looked_at = self._looked_at, now_us()
        if epoch == self._epoch and not drive.principal.rights.run_out_between(since, self._looked_at):
            return None
        return [document for document in (*self._open.values(), *self._apart) if not _still_stands(drive, document)]

    # --- gathering

    def write(self, engine: Engine, document: Document, step: Step) -> None:
        """Do a write at once if it takes no more than memory, as most of a small document do; else gather it."""
        assert document.edit is not None and step.data is not None
        if document in self._busy or step.offset is None or not document.edit.is_light(step.offset, step.length):
            self.gather(document, step)
            return
        document.written()
        _told(engine, document, document.carry_out([step]))

    def gather(self, document: Document, step: Step) -> None:
        """Let a read or write wait for the next hop of its document."""
        document.steps.append(step)
        if step.data is not None:
            document.written()
        self._busy.add(document)
        self.gathered_bytes += _COST_BYTES + (0 if step.data is None else len(step.data))

    def flush(self, engine: Engine, *, reads: bool) -> None:
        """Hand what was gathered to the drafts. `reads`: whether the client has room for what is read."""
        for document in list(self._busy):
            if document.is_running or not document.steps or (document.steps[0].data is None and not reads):
                continue
            batch = _batch(document)
            document.is_running = True
            engine.aside(partial(document.carry_out, batch), partial(self._carried, engine, document, batch))

    def _carried(
        self, engine: Engine, document: Document, batch: list[Step], carried: Carried, error: BaseException | None
    ) -> None:
        document.is_running = False
        self.gathered_bytes -= sum(_COST_BYTES + (0 if step.data is None else len(step.data)) for step in batch)
        if not document.steps:
            self._busy.discard(document)
        if error is not None:
            document.breaks(error)
            for step in batch:
                engine.fail(step.request, error)
            return
        _told(engine, document, carried)


def _told(engine: Engine, document: Document, carried: Carried) -> None:
    """Tell the client what became of steps, all at once: what is sent apart costs a packet or two each."""
    engine.send([part for answer in carried.answers for part in answer])
    if carried.error is not None:
        document.breaks(carried.error)
        engine.note(carried.error)


def data_answer(request: int, pieces: list[memoryview]) -> list[Buffer]:
    """Return the answer to a read: the bytes, or that there are none."""
    length = sum(len(piece) for piece in pieces)
    if not length:
        return [wire.status(request, Code.EOF, b"That was the end.")]
    return [wire.data_head(request, length), *pieces]


def _batch(document: Document) -> list[Step]:
    """Take the steps of one hop: as many as fit."""
    held = count = 0
    for step in document.steps:
        if count == _BATCH_STEPS or (count and held + step.length > _BATCH_BYTES):
            break
        held += step.length
        count += 1
    batch = document.steps[:count]
    del document.steps[:count]
    return batch


def _key(path: Path) -> Key:
    return tuple(fold(name) for name in path.segments)


def _still_stands(drive: Drive, document: Document) -> bool:
    """Whether it may go on being read, or written, under whichever name: who has it open does not notice that others
    move it.
    """
    try:
        if document.edit is not None:
            # What is being written may have another name by now, or none yet: what counts is the folder.
            drive.stat(document.path.parent, node=document.edit.folder)
        elif document.blocks is not None and document.blocks.reader.allowed is not None:
            drive.still_valid(document.blocks.reader)
        else:
            drive.stat(document.place(drive))
    except DriveError:
        return False
    return True
