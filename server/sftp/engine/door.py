"""What an engine needs of whoever carries its bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

#: What leaves and arrives. What is handed over never changes afterwards, so that nobody need copy it.
Buffer = bytes | bytearray | memoryview
Job = Callable[[], Any]
#: Gets what the job returned, or what it raised.
Done = Callable[[Any, BaseException | None], None]


class Door(Protocol):
    """Carries the bytes of one channel, and runs what may block elsewhere. Called from the engine's thread alone."""

    def send(self, parts: Sequence[Buffer]) -> None:
        """Queue bytes for the client. Never blocks, never calls back into the engine."""

    def unsent(self) -> int:
        """Return how many queued bytes have not left. Where it was more than `Limits.unsent_bytes_max`, the door calls
        `Engine.drained` once it is less than half of that.
        """

    def submit(self, job: Job, done: Done, *, is_long: bool = False) -> None:
        """Run `job` in a thread of the storage's pool; then, in the engine's thread and from its loop (never from
        within this call), call `done(result, error)`: exactly once, even after the channel was lost.

        `is_long`: it may take more than a moment, and is to leave threads to those that do not.
        """

    def at_once(self, job: Job) -> Any:
        """Run a job that waits for nobody here and now, and return what it returns. Raises NotAtHand, from the job, or
        if such jobs have held up others for long enough: then it is to be submitted.
        """

    def moment(self) -> float:
        """Return for how many seconds requests may be begun before others have their turn; none or less: not now."""

    def later(self, act: Callable[[], None]) -> None:
        """Call `act` in the engine's thread and from its loop, once others have had their turn, with a moment anew:
        exactly once, even after the channel was lost, and never from within this call.
        """

    def take_draft(self) -> bool:
        """Return whether one more document may be open for writing, in view of all that are, on whichever channels. It
        counts until it is given back.
        """

    def give_drafts_back(self, count: int) -> None:
        """So many are open no longer."""

    def pause_reading(self) -> None:
        """Take nothing more from the client (leave its window shut). What was under way may still be handed in."""

    def resume_reading(self) -> None:
        """Go on reading."""

    def end(self, says: str = "") -> None:
        """Send what is queued, then end the channel. The engine has nothing more to say; `lost` follows.

        `says`: what the client did wrong, where that is why; then it is no good end.
        """
