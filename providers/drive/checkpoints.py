"""When what has come of a new document is made durable on its way, for its maker to go on with."""

from __future__ import annotations

import time

#: A worker that is killed loses at most so much, or what came in so many seconds, and what was cut last. To make sure
#: of it as often as a fast client sends 64 MiB took a tenth of its upload's time.
CHECKPOINT_BYTES = 64 << 20
CHECKPOINT_SECONDS = 2.0
#: A slow client takes minutes for that: of what it sends, less is lost. What comes drop by drop is not noted each time.
SLOW_BYTES = 1 << 20
SLOW_SECONDS = 10.0


class Checkpoints:
    """Of one upload. When the next is due, by how much would be lost."""

    def __init__(self) -> None:
        self._much_from = 0.0
        self._some_from = time.monotonic() + SLOW_SECONDS

    def is_due(self, held: int) -> bool:
        """Whether so many bytes that could be lost are to be made durable now; whoever asks does it then."""
        is_much = held >= CHECKPOINT_BYTES
        if not is_much and held < SLOW_BYTES:
            return False
        now = time.monotonic()
        if now < (self._much_from if is_much else self._some_from):
            return False
        self._much_from, self._some_from = now + CHECKPOINT_SECONDS, now + SLOW_SECONDS
        return True
