"""Reading: content that leaves once the event of its reading is durable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from auth.roles import Action
from config.clock import now_us
from providers.audit.events import Event, Projection
from providers.catalogue.contents import ChunkIndex, version
from providers.drive.following import followed
from providers.drive.history import version_at, versioned
from providers.drive.known import Opening
from providers.drive.session import Session
from providers.drive.transaction import Look
from providers.errors import NotAtHand
from providers.model import Item
from providers.paths import Path
from providers.vault.vault import ContentReader


class Readable(Protocol):
    """Content that is read at any place: a version's in the vault, or what stands in memory."""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; empty past the end."""
        ...

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[memoryview]:
        """Yield the bytes from `start` to `stop`, each piece good until the next."""
        ...

    def read_on(self, offset: int) -> memoryview:
        """Return some bytes from `offset` on; empty past the end. They do not change."""
        ...

    def at_hand(self, offset: int) -> memoryview | None:
        """Return what `read_on` does, if that waits for nobody."""
        ...

    def rest(self) -> None:
        """Let go of buffers."""
        ...


class Allowed(NamedTuple):
    """As of which rights reading was allowed: of which epoch, and when (µs)."""

    epoch: int
    at: int


class Reader:
    """The content of one version, decrypted as it is read. Close it, or use it as a context."""

    def __init__(self, item: Item, content: Readable | None, allowed: Allowed | None = None) -> None:
        self.item = item
        self.allowed = allowed
        self._content = content

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; empty past the end."""
        return b"" if self._content is None else self._content.read(offset, length)

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[memoryview]:
        """Yield the bytes from `start` to `stop` in pieces of at most 1 MiB, each good until the next."""
        if self._content is not None:
            yield from self._content.chunks(start, stop)

    def read_on(self, offset: int) -> memoryview:
        """Return some bytes from `offset` on, up to 1 MiB: for who reads on to the end. Empty past it."""
        return memoryview(b"") if self._content is None else self._content.read_on(offset)

    def at_hand(self, offset: int) -> memoryview:
        """Return what `read_on` does, if that waits for nobody. Raises NotAtHand."""
        found = None if self._content is None else self._content.at_hand(offset)
        if found is None:
            raise NotAtHand
        return found

    def rest(self) -> None:
        """Let go of buffers; reading goes on as before."""
        if self._content is not None:
            self._content.rest()

    def close(self) -> None:
        """Let go of what the reader holds."""
        self._content = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def open_content(session: Session, path: Path, number: int | None) -> Reader:
    """Open the content of a document, or of one of its versions, once the event of its reading is durable."""
    storage = session.storage
    with session.look() as look:
        opening = _opening(look, path, number)
        reading = _reading(look, opening)
        allowed = Allowed(look.principal.epoch, look.at)
    space, content = opening.place.node.space, opening.content
    reader = reader_of(session, space, content) if content else None
    if reading is not None:
        storage.journal.note(*reading)
    return Reader(opening.item, reader, allowed)


def note_reading(session: Session, item: Item, version_id: bytes) -> Reader:
    """Have the event durable that a version is read whose bytes are at hand, wherever its document stands by now.

    Return what `require_still_allowed` asks about. Raises NotFound, Forbidden.
    """
    with session.look() as look:
        place = followed(look, item.path, item.id)
        look.allow(Action.READ, place)
        reading = _reading(look, Opening(place, item, item.version, version_id, b""))
        allowed = Allowed(look.principal.epoch, look.at)
    if reading is not None:
        session.storage.journal.note(*reading)
    return Reader(item, None, allowed)


def require_still_allowed(session: Session, reader: Reader) -> None:
    """Raise NotFound or Forbidden once what is being read may be read no longer, wherever it stands by now.

    Cheap while no rights change. What stood in memory when it was opened, as noise does, is not asked about.
    """
    before, now = reader.allowed, Allowed(session.principal.epoch, now_us())
    if before is None:
        return
    rights = session.principal.rights
    if before.epoch != now.epoch or rights.run_out_between(before.at, now.at):
        item = reader.item
        with session.look() as look:
            look.allow(Action.READ, look.document(item.path) if item.is_past else followed(look, item.path, item.id))
    reader.allowed = now


def _opening(look: Look, path: Path, number: int | None) -> Opening:
    """Return what may be read at `path`, found and checked anew unless nothing has changed since it was."""
    known = look.resolver.known(path) if number is None else None
    if known is not None and known.opening is not None:
        return known.opening
    place = look.document(path)
    look.allow(Action.READ, place)
    node = place.node
    if number is not None:
        look.allow(Action.HISTORY, place)
        row = version_at(look, place, number)
    elif not node.version:
        return Opening(place, look.item(place), 0, node.version_id, b"")
    else:
        row = version(look.connection, look.storage.keyring, node.space, node.id, node.version)
    item = look.item_of(path, path.name, versioned(node, row), is_past=place.is_past)
    opening = Opening(place, item, item.version if number is None else number, row["id"], row["content"])
    known = look.resolver.known(path) if number is None else None
    if known is not None:
        known.opening = opening
    return opening


def _reading(look: Look, opening: Opening) -> tuple[Event, bytes, Mapping[bytes, Projection]] | None:
    """Return what to note of a reading, or None if it is part of an event that is durable already."""
    me = look.principal
    if look.storage.journal.has(me.device or me.id, opening.version_id, look.at):
        return None
    place = opening.place
    event = look.event("read", place, look.at, facts={"version": opening.number, "size": opening.item.size})
    return event, opening.version_id, look.audience(place.space, place.chain)


def reader_of(session: Session, space: bytes, content: bytes) -> ContentReader:
    """Return a reader of content that the vault keeps for a space."""
    index = ChunkIndex(session.storage.database, space)
    return session.storage.vault.reader(space, content, index.locate)
