"""How much of a document that is being written has come, whatever order it comes in."""

from __future__ import annotations

import heapq

#: Pieces that were written beyond a gap.
_PIECES_MAX = 4096


class Written:
    """How far a document was written from its beginning without a gap: `whole` bytes.

    What lies beyond is remembered until the gap is filled, up to a number of pieces; what is not counts as a gap.
    """

    def __init__(self, whole: int) -> None:
        self.whole = whole
        self._beyond: list[tuple[int, int]] = []

    def add(self, start: int, stop: int) -> None:
        """Count what was written."""
        if start > self.whole:
            if len(self._beyond) < _PIECES_MAX:
                heapq.heappush(self._beyond, (start, stop))
            return
        self.whole = max(self.whole, stop)
        while self._beyond and self._beyond[0][0] <= self.whole:
            self.whole = max(self.whole, heapq.heappop(self._beyond)[1])

    def cut(self, size: int) -> None:
        """Count what is left. Zeros that a document grew by were not written."""
        self.whole = min(self.whole, size)
        self._beyond = [(start, min(stop, size)) for start, stop in self._beyond if start < size]
        heapq.heapify(self._beyond)
