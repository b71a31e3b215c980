"""Two who append to one document, over connections of their own: what the second brings goes behind what the first did.

As with O_APPEND on a disk, so that a log that two programs write loses no line. But only if what stands by now begins
with what the second found: behind what somebody has rewritten since, the rest of an upload would make no sense.
"""

from __future__ import annotations

from providers.drive.beginnings import Beginning, beginning
from providers.drive.reading import reader_of
from providers.drive.session import Session
from providers.paths import Path

_PIECE_BYTES = 1 << 20


def grown(session: Session, path: Path, before: Beginning) -> Beginning | None:
    """Return what is found at `path` by now, if it is what was found `before` with more behind it; else None."""
    with session.look() as look:
        now = beginning(look, path, before.conditions)
    if now.item is None or now.space != before.space or now.standing is None:
        return None
    if before.standing is None or _begins_with(session, now.space, now.standing, before.standing):
        return now
    return None


def _begins_with(session: Session, space: bytes, longer: bytes, shorter: bytes) -> bool:
    """Whether a content begins with another. Of both, only what was cut otherwise is read."""
    one, other = (reader_of(session, space, content) for content in (longer, shorter))
    if one.size < other.size:
        return False
    at = 0
    for mine, its in zip(one.listed(), other.listed(), strict=False):
        if mine != its:
            break
        at += its.length
    while at < other.size:
        length = min(_PIECE_BYTES, other.size - at)
        if one.read(at, length) != other.read(at, length):
            return False
        at += length
    return True
