"""Comparing two checkpoints of one log across its epochs: pure functions, no server needed.

A log that was put back to an earlier state tells so for good, in each checkpoint from then on. So whoever kept one that
covers what is gone is told how much that is and since when; and all that both still cover has to be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from providers.audit.note import Checkpoint, Epoch


@dataclass(frozen=True, slots=True)
class Parting:
    """How a kept checkpoint stands to a log.

    `shared`: up to which size both have the same events; None: neither tells of anything that ends that. `back` is the
    epoch with which the log left what the checkpoint covers, `untold` the one with which the checkpoint left the log.
    `due` are roots, by size, that the log has to have.
    """

    shared: int | None
    back: Epoch | None
    untold: Epoch | None
    due: tuple[tuple[int, bytes], ...]

    def lost(self, kept: Checkpoint) -> int:
        """Return how many events that the checkpoint covers are no longer in the log."""
        return 0 if self.shared is None else max(0, kept.size - self.shared)


def parting(kept: Checkpoint, epochs: Sequence[Epoch]) -> Parting:
    """Compare a kept checkpoint with a log that has these epochs."""
    common = 0
    while common < min(len(kept.epochs), len(epochs)) and kept.epochs[common] == epochs[common]:
        common += 1
    theirs, ours = kept.epochs[common:], epochs[common:]
    ends = [rest[0].size for rest in (theirs, ours) if rest]
    shared = min(ends) if ends else None
    due = [(epoch.size, epoch.root) for epoch in kept.epochs if shared is None or epoch.size <= shared]
    if shared is None or kept.size <= shared:
        due.append((kept.size, kept.root))
    return Parting(shared, ours[0] if ours else None, theirs[0] if theirs else None, tuple(due))


def openings(epochs: Sequence[Epoch]) -> dict[int, int]:
    """Return the numbers of the events that open epochs, and when each did."""
    return {epoch.size: epoch.at for epoch in epochs if epoch.size}


def belongs(found: Checkpoint, epochs: Sequence[Epoch]) -> bool:
    """Return whether a checkpoint is one that a log with these epochs gave out, in one of them, on its way here."""
    count = len(found.epochs)
    return found.epochs == tuple(epochs[:count]) and (count == len(epochs) or found.size <= epochs[count].size)
