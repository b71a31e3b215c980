"""One channel of a connection: an engine for `sftp`, a command for `exec`, one clear line for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import asyncssh

from server.sftp import commands, crowd
from server.sftp.engine import Engine, Limits
from server.sftp.jobs import Asked, Jobs
from server.sftp.pipe import Pipe

if TYPE_CHECKING:
    from providers.drive import Drive
    from server.sftp.engine.door import Buffer, Done, Job

LIMITS = Limits()


class Channel(asyncssh.SSHServerSession[bytes]):
    """What a client asked for on one channel. `unsent` tells what waits in the connection beneath; `enter` lets one
    more command begin, and returns what to call once it is over, None if there are too many.
    """

    def __init__(
        self,
        drive: Drive,
        jobs: Jobs,
        unsent: Callable[[], int],
        ended: Callable[[Channel], None],
        enter: Callable[[], Callable[[], None] | None],
    ) -> None:
        self._drive = drive
        self._jobs = jobs
        self._beneath = unsent
        self._ended = ended
        self._enter = enter
        self._loop = asyncio.get_running_loop()
        self._chan: Any = None
        self._engine: Engine | None = None
        self._pipe: Pipe | None = None
        self._command: commands.Command | None = None
        self._refusal: str | None = None

    # --- what asyncssh tells

    def connection_made(self, chan: Any) -> None:
        """Begin."""
        self._chan = chan
        self._write = getattr(chan, "write_parts", None) or _joining(chan)
        # Who waits is told each time that the channel has sent all: how much that was, only we know.
        chan.set_write_buffer_limits(0, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; what was being uploaded and not closed becomes no version."""
        engine, self._chan, self._engine = self._engine, None, None
        if engine is not None:
            engine.lost()
            self._jobs.linger(engine)
        if self._pipe is not None:
            if exc is None:  # the client closed it: it has said all, even where its end came to be passed over
                self._pipe.feed_end()
            self._pipe.lost()
        self._ended(self)
        self._ended = self._beneath = self._write = self._enter = _nothing

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        """No terminals here."""
        return False

    def shell_requested(self) -> bool:
        """Say that there is no shell."""
        self._refusal = commands.NO_SHELL
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """Serve `sftp`."""
        if subsystem != "sftp":
            return False
        self._engine = Engine(self._drive, self, LIMITS)
        return True

    def exec_requested(self, command: str) -> bool:
        """Run one of the few commands, or say which there are."""
        if len(command) > crowd.LINE_CHARACTERS_MAX:
            self._refusal = crowd.TOO_LONG
        else:
            self._command = commands.parse(command)
            self._refusal = None if self._command else commands.refusal(command)
        return True

    def session_started(self) -> None:
        """Run, now that the client knows that it may speak."""
        if self._refusal is not None:
            self._exit(1, self._refusal)
        elif self._command is not None:
            leave = self._enter()
            if leave is None:
                self._exit(1, crowd.TOO_MANY)
                return
            self._pipe = Pipe(self._loop, self._chan, self.unsent)
            commands.start(self._command, self._drive, self._pipe, self._exit, leave)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Take what the client sent."""
        self.pieces_received((data,))

    def pieces_received(self, pieces: Sequence[Buffer]) -> None:
        """Take what the client sent, in as many pieces as it came."""
        if self._engine is not None:
            self._engine.receive(*pieces)
        elif self._pipe is not None:
            for piece in pieces:
                self._pipe.feed(piece)

    def eof_received(self) -> bool:
        """The client has said all; what it asked for is still answered."""
        if self._engine is not None:
            self._engine.ended()
        elif self._pipe is not None:
            self._pipe.feed_end()
        return True

    def resume_writing(self) -> None:
        """The client has taken what waited in the channel."""
        self.drained()

    # --- what the connection tells

    def drained(self) -> None:
        """Let who waits go on sending if little enough has not left, here and beneath."""
        engine = self._engine
        if self._chan is None or (engine is not None and not engine.is_waiting):
            return
        if self.unsent() >= LIMITS.unsent_bytes_max // 2:
            return
        if engine is not None:
            engine.drained()
        elif self._pipe is not None:
            self._pipe.drained()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way that would be lost."""
        engine = self._engine
        return self._pipe is None and (engine is None or (engine.is_idle and not engine.documents.any_open))

    # --- what the engine asks for

    def send(self, parts: Sequence[Buffer]) -> None:
        """Queue bytes for the client."""
        if self._chan is not None:
            self._write(parts)

    def unsent(self) -> int:
        """Return how much has not left."""
        return 0 if self._chan is None else int(self._chan.get_write_buffer_size()) + self._beneath()

    def submit(self, job: Job, done: Done, *, is_long: bool = False) -> None:
        """Run a job elsewhere."""
        asked = Asked(self._loop, job, done)
        if is_long:
            self._jobs.submit_long(asked, self._drive.principal.id)
        else:
            self._jobs.submit(asked)

    def at_once(self, job: Job) -> Any:
        """Run a job here and now."""
        return self._jobs.at_once(job)

    def moment(self) -> float:
        """Return how much longer requests may be begun in this turn of the loop."""
        return self._jobs.turns.moment(self._drive.principal.id, self._loop)

    def later(self, act: Callable[[], None]) -> None:
        """Go on in a later turn."""
        self._jobs.turns.later(self._drive.principal.id, self._loop, act)

    def take_draft(self) -> bool:
        """Return whether one more document may be open for writing."""
        return self._jobs.drafts.take(self._drive.principal.id)

    def give_drafts_back(self, count: int) -> None:
        """Some are open no longer."""
        self._jobs.drafts.give_back(self._drive.principal.id, count)

    def pause_reading(self) -> None:
        """Leave the client's window shut."""
        if self._chan is not None:
            self._chan.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        if self._chan is not None:
            self._chan.resume_reading()

    def end(self, says: str = "") -> None:
        """Send what is queued, then end. `scp` and `sftp` take a missing exit status for a failure."""
        self._exit(1 if says else 0, says)

    def _exit(self, status: int, says: str) -> None:
        chan = self._chan
        if chan is None:
            return
        if says:
            chan.write_stderr(f"{says}\n".encode())
        chan.exit(status)
        chan.close()


def _nothing(*_: Any) -> Any:
    """Stand in for what a channel that is gone would hold on to its connection by."""
    return 0


def _joining(chan: Any) -> Callable[[Sequence[Buffer]], None]:
    def write(parts: Sequence[Buffer]) -> None:
        chan.write(b"".join(parts))

    return write
