"""The engine itself: packets in their order, jobs that hold them up, and what one channel may cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from auth.errors import Paused, Revoked
from config.errors import MellanrumError
from config.logging import get_log
from providers.drive import Drive
from providers.errors import NotAtHand
from server.sftp.engine import wire
from server.sftp.engine.documents import Document, Documents
from server.sftp.engine.door import Buffer, Door, Job
from server.sftp.engine.errors import TooManyOpen, told
from server.sftp.engine.files import read, write
from server.sftp.engine.framing import Framing, PacketTooLong
from server.sftp.engine.handles import Handles
from server.sftp.engine.limits import Limits
from server.sftp.engine.table import EXTENSIONS, GOING_ON, PASSING, REQUESTS
from server.sftp.engine.wire import HANDLE_BYTES, PASSING_HEAD, BadPacket, Code, Fields, Type

log = get_log("sftp")

Then = Callable[[Any], Sequence[Buffer] | bytes | None]

#: What is told beside the protocol, to who has left it.
TOO_LONG: Final = "Mellanrum: a packet was longer than {} bytes, the most there is. Write less at a time."
NO_SFTP: Final = "Mellanrum: what came is not SFTP as it begins with version 3."


class Engine:
    """One client's SFTP over one drive. See the package for how it is driven."""

    def __init__(
        self,
        drive: Drive,
        door: Door,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.drive = drive
        self.limits = limits or Limits()
        self.handles = Handles(self.limits.handles_max)
        self.documents = Documents(drive.principal.epoch)
        self._clock = clock
        self._door = door
        self._framing = Framing(self.limits.packet_bytes_max)
        #: The packet that is begun next, once it was taken out of what came.
        self._head: memoryview | None = None
        self._valid_until = 0.0
        self._jobs = 0
        #: How many documents count as open for writing at the door.
        self._drafts = 0
        self._is_begun = False
        self._is_held_up = False
        #: Whether others have their turn before anything more is begun.
        self._is_resting = False
        #: Whether the client has to take what was sent before anything more is begun: `drained` is to be called then.
        self.is_waiting = False
        self._is_paused = False
        self._has_ended = False
        self._is_lost = False
        self._is_over = False

    # --- what the door calls

    def receive(self, *pieces: Buffer) -> None:
        """Take what the client sent. The pieces must not change afterwards."""
        if self._is_over or self._is_lost:
            return
        for piece in pieces:
            self._framing.feed(piece)
        self._advance()

    def drained(self) -> None:
        """Go on: the client has taken what held the engine up."""
        self._advance()

    def ended(self) -> None:
        """Answer what was asked before the client's end of file, then end."""
        self._has_ended = True
        self._advance()

    def lost(self) -> None:
        """The client is gone. What it uploaded without a close is put aside, never committed.

        What it had written, and nobody has looked at yet, goes to its drafts before: it need not come again. Nothing
        else that it asked for is begun.
        """
        if not self._is_over and not self._is_lost:
            self._is_lost = True
            self._advance()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, nor anything left to put aside."""
        return self._jobs == 0 and not self._is_resting and not (self._is_over and self.documents.any_open)

    @property
    def is_lost(self) -> bool:
        """Whether the client is gone."""
        return self._is_lost

    # --- what requests use

    def send(self, parts: Sequence[Buffer] | bytes) -> None:
        """Answer the client."""
        if not self._is_over and not self._is_lost:
            self._door.send((parts,) if isinstance(parts, bytes) else parts)

    def hop(
        self,
        request: int,
        job: Job,
        then: Then,
        *,
        anyway: Callable[[], None] | None = None,
        is_long: bool = False,
    ) -> None:
        """Run a job elsewhere, and hold up what follows until `then` has made the answer of its result.

        `anyway` is called before, whether the job succeeded or not. `is_long`: see `Door.submit`.
        """
        self._is_held_up = True
        self._submit(job, partial(self._arrived, request, then, anyway), is_long=is_long)

    def look(self, request: int, at_hand: Job, job: Job, then: Then) -> None:
        """Answer at once with what `at_hand` returns, which waits for nobody; where it raises NotAtHand, run `job`
        elsewhere instead.
        """
        found = self.at_hand(at_hand)
        if found is None:
            self.hop(request, job, then)
            return
        answer = then(found)
        if answer is not None:
            self.send(answer)

    def at_hand(self, job: Job) -> Any:
        """Return what a job returns that waits for nobody, None where it raises NotAtHand or others must come first."""
        try:
            return self._door.at_once(job)
        except NotAtHand:
            return None

    def aside(self, job: Job, done: Callable[[Any, BaseException | None], None]) -> None:
        """Run a job elsewhere while other packets go on; `done` gets its result or its error."""
        self._submit(job, done)

    def may_begin_draft(self, document: Document | None) -> bool:
        """Return whether a document may come to be written to: it is already, or few enough others are.

        Asked right before the hop in which it may: what comes of that is looked at once nothing is under way any more.
        """
        if document is not None and document.edit is not None:
            return True
        if self.documents.drafts >= self.limits.drafts_max or not self._door.take_draft():
            return False
        self._drafts += 1
        return True

    def require_draft(self, document: Document) -> None:
        """Raise TooManyOpen unless a document may come to be written to, in the hop that follows."""
        if not self.may_begin_draft(document):
            raise TooManyOpen

    def hold_up(self) -> None:
        """Begin no packet before `go_on`."""
        self._is_held_up = True

    def go_on(self) -> None:
        """Begin packets again."""
        self._is_held_up = False

    def fail(self, request: int, error: BaseException) -> None:
        """Tell the client of an error, before it may be the end of the channel."""
        self.send(told(request, error))
        self.note(error)

    def note(self, error: BaseException) -> None:
        """Log an error that should not be; end the channel if it is that its rights are gone."""
        if isinstance(error, Revoked):
            self.documents.drop_all = not isinstance(error, Paused)
            self._give_up()
        elif not isinstance(error, MellanrumError):
            log.error("request_failed", error)

    # --- the loop

    def _advance(self) -> None:
        if not self._is_resting:
            self._begin_packets()
        if not self._is_over:
            if self.documents.are_busy:
                self.documents.flush(self, reads=self._may_send())
            self._regulate()
            self._end_if_done()

    def _begin_packets(self) -> None:
        """Begin what has come, as long as nothing is in the way and the moment lasts."""
        until = self._clock() + self._door.moment()
        while not self._is_held_up and not self._is_over:
            packet = self._next()
            if packet is None or not self._may_send():
                break
            now = self._clock()
            if now >= until:
                self._rest()
                break
            kind = packet[0] if len(packet) else 0
            if kind not in PASSING and self.documents.are_busy:
                break
            if kind in GOING_ON and now >= self._valid_until:
                self._ask_validity(packet)
                break
            self._head = None
            self._begin(kind, packet)

    def _rest(self) -> None:
        """Let others have their turn."""

        def rested() -> None:
            self._is_resting = False
            self._advance()

        self._is_resting = True
        self._door.later(rested)

    def _next(self) -> memoryview | None:
        """Return the packet that is to be begun next, None if none is whole. Of who is gone, writes alone are done."""
        if self._head is None and not self._is_over:
            try:
                self._head = self._framing.packet()
            except PacketTooLong:
                self._give_up(TOO_LONG.format(self.limits.packet_bytes_max))
        if self._is_lost and self._head is not None and not _is_write(self._head):
            self._forget_packets()
        return self._head

    def _forget_packets(self) -> None:
        self._head = None
        self._framing.clear()

    def _may_send(self) -> bool:
        self.is_waiting = not self._is_lost and self._door.unsent() > self.limits.unsent_bytes_max
        return not self.is_waiting

    def _begin(self, kind: int, packet: memoryview) -> None:
        if kind == Type.INIT:
            self._is_begun = True
            self.send(wire.version(EXTENSIONS))
            return
        if kind in PASSING and self._is_begun and len(packet) >= PASSING_HEAD.size:
            _, request, name_bytes, name, offset, length = PASSING_HEAD.unpack_from(packet)
            if name_bytes == HANDLE_BYTES:
                self._pass(kind, request, name, offset, length, packet)
                return
        fields = Fields(packet, 1)
        try:
            request = fields.u32()
        except BadPacket:
            self._give_up(NO_SFTP)
            return
        if not self._is_begun:
            self._give_up(NO_SFTP)
            return
        handler = REQUESTS.get(kind)
        if handler is None:
            self.send(wire.status(request, Code.OP_UNSUPPORTED, b"This server knows no such request."))
            return
        try:
            handler(self, request, fields)
        except BadPacket:
            self.send(wire.status(request, Code.BAD_MESSAGE, b"That request makes no sense."))
        except Exception as error:
            self.fail(request, error)

    def _pass(self, kind: int, request: int, name: bytes, offset: int, length: int, packet: memoryview) -> None:
        """Begin a read or a write: thousands a second, so their fields are taken in one go."""
        try:
            handle = self.handles.file(name)
            if kind == Type.READ:
                read(self, request, handle, offset, length)
            else:
                write(self, request, handle, offset, length, packet[PASSING_HEAD.size :])
        except BadPacket:
            self.send(wire.status(request, Code.BAD_MESSAGE, b"That request makes no sense."))
        except Exception as error:
            self.fail(request, error)

    def _arrived(
        self,
        request: int,
        then: Then,
        anyway: Callable[[], None] | None,
        result: Any,
        error: BaseException | None,
    ) -> None:
        self._is_held_up = False
        if anyway is not None:
            anyway()
        if error is None:
            try:
                answer = then(result)
                if answer is not None:
                    self.send(answer)
            except Exception as late:
                self.fail(request, late)
        else:
            self.fail(request, error)

    def _submit(self, job: Job, done: Callable[[Any, BaseException | None], None], *, is_long: bool = False) -> None:
        def over(result: Any, error: BaseException | None) -> None:
            self._jobs -= 1
            done(result, error)
            self._count_drafts()
            if self._is_over:
                self._put_aside()
            else:
                self._advance()

        self._jobs += 1
        self._door.submit(job, over, is_long=is_long)

    def _count_drafts(self) -> None:
        """Give back what no document takes up any more. While anything is under way that cannot be told."""
        if self._drafts and not self._jobs:
            unused = self._drafts - self.documents.drafts
            self._drafts -= unused
            self._door.give_drafts_back(unused)

    def _ask_validity(self, packet: memoryview) -> None:
        """See that rights still stand before anything more is told or written, beginning with `packet`, the next one.

        Where that cannot be told, the packet is refused.
        """

        def done(lost: list[Document] | None, error: BaseException | None) -> None:
            self._is_held_up = False
            if error is not None:
                self._head = None
                self.fail(int.from_bytes(packet[1:5], "big"), error)
                return
            self._valid_until = self._clock() + self.limits.valid_seconds
            if lost is not None:
                self.handles.rights_changed()
            for document in lost or ():
                document.is_lost = True

        self._is_held_up = True
        self._submit(partial(self.documents.lost_now, self.drive), done)

    def _regulate(self) -> None:
        held = self._framing.held_bytes + self.documents.gathered_bytes
        if not self._is_paused:
            if held > self.limits.queued_bytes_max:
                self._is_paused = True
                self._door.pause_reading()
        elif held <= self.limits.queued_bytes_max // 2:
            self._is_paused = False
            self._door.resume_reading()

    def _end_if_done(self) -> None:
        has_ended = self._has_ended or self._is_lost
        if has_ended and self._jobs == 0 and not self.documents.are_busy and self._next() is None:
            self._give_up()

    def _give_up(self, says: str = "") -> None:
        """End the channel from this side; `says` as in `Door.end`."""
        if not self._is_over:
            self._door.end(says)
            self._is_over = True
            self._forget_packets()
            self._put_aside()

    def _put_aside(self) -> None:
        """Once nothing is under way any more, let go of everything that is open."""
        if self._jobs:
            return
        for job in self.documents.take_all():
            self._submit(job, _logged)


def _is_write(packet: memoryview) -> bool:
    return len(packet) > 0 and packet[0] == Type.WRITE


def _logged(_: Any, error: BaseException | None) -> None:
    if error is not None:
        log.error("upload_not_put_aside", error)
