"""A document being changed at random places, in a draft of its own that becomes one version at its commit."""

from __future__ import annotations

from auth.roles import Action
from config.ids import new_id
from providers.catalogue.contents import ChunkIndex
from providers.drive.session import Session
from providers.drive.targets import target
from providers.drive.uploads import Arrival, check_replaceable, open_content, reader_of, standing_content
from providers.errors import NotFound
from providers.model import Conditions, Item
from providers.paths import Path
from providers.vault.vault import ContentReader, Draft


class Edit:
    """A draft over what a document held when it was opened. Nothing of it is visible before `commit` returns."""

    def __init__(
        self, session: Session, path: Path, space: bytes, draft: Draft, conditions: Conditions, *, is_new: bool
    ) -> None:
        self._session = session
        self._path = path
        self._space = space
        self._draft: Draft | None = draft
        self._conditions = conditions
        self._has_base = draft.base_bytes > 0
        self._dirty = is_new
        self._read_noted = False

    @property
    def size(self) -> int:
        """Bytes of the content as it stands in the draft."""
        return self._open.size

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the draft, fewer past its end. Reading what the document held is a read, with its event."""
        if self._has_base and not self._read_noted:
            open_content(self._session, self._path, None).close()
            self._read_noted = True
        return self._open.read(offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Put bytes into the draft; a gap before them reads as zeros."""
        self._dirty = True
        self._open.write(offset, data)

    def truncate(self, size: int) -> None:
        """Cut the draft off at `size`, or let it grow to it with zeros."""
        self._dirty = self._dirty or size != self._open.size
        self._open.truncate(size)

    def sync(self) -> None:
        """Make the draft durable. It stays invisible."""
        self._open.sync()

    def commit(self) -> tuple[Item, bool] | None:
        """Make the draft the newest version; return the item and whether it is new. None if nothing was changed."""
        if not self._dirty:
            self.discard()
            return None
        index = ChunkIndex(self._session.storage.database, self._space)
        sealed = self._open.splice(index.known)
        arrival = Arrival(self._session, self._path, self._space, sealed, self._conditions, None)
        made = arrival.commit()
        self.discard()
        return made

    def discard(self) -> None:
        """Forget the draft. Harmless after `commit`."""
        if self._draft is not None:
            self._draft.discard()
            self._draft = None

    @property
    def _open(self) -> Draft:
        assert self._draft is not None, "the draft is closed"
        return self._draft


def edit(session: Session, path: Path, *, create: bool, truncate: bool, conditions: Conditions) -> Edit:
    """Begin a draft of what stands at `path`, or, with `create`, of a new document. Raises NotFound without."""
    with session.look() as look:
        found = target(look, path, Action.ADD)
        if found.node is None and not create:
            raise NotFound
        check_replaceable(look, found, conditions)
        standing = standing_content(look, found)
    base: ContentReader | None = None
    if standing is not None and not truncate:
        base = reader_of(session, found.space.id, standing)
    draft = session.storage.vault.draft(found.space.id, new_id(), base)
    # Cutting a document to nothing is a change, even if no byte follows.
    cut = truncate and found.node is not None and found.node.size > 0
    return Edit(session, path, found.space.id, draft, conditions, is_new=cut or found.node is None)
