"""Contents of one space, sealed anew for another as streams, before the transaction that needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from config.database import Syncable
from providers.catalogue import contents
from providers.drive.reading import reader_of
from providers.drive.session import Replan, Session
from providers.drive.targets import require_room
from providers.model import SpaceInfo
from providers.vault.errors import damaged
from providers.vault.vault import Appended, ChunkRecord, VersionRecord, chunker_of


class Resealing:
    """What goes over from one space to another. Each content, and each piece that several have, is sealed once.

    Of contents no more than a few MiB are held in memory at a time; of each new piece, where it lies. `apart` as in
    `ChunkIndex`.
    """

    def __init__(self, session: Session, source: bytes, goal: SpaceInfo, used: int, apart: bool) -> None:
        self._session = session
        self._source = source
        self._goal = goal
        self._used = used
        self._index = contents.ChunkIndex(session.storage.database, goal.id, apart)
        self._made: dict[bytes, bytes] = {}
        self._own: set[bytes] = set()
        self._relied: set[bytes] = set()
        self._records: list[ChunkRecord] = []
        self.sealed_bytes = 0
        self.needs: set[Syncable] = set()
        self._appended: list[Appended] = []
        self._is_published = False

    def content(self, row: Mapping[Any, Any], sha256: bytes, previous: bytes | None) -> bytes:
        """Return the reference to the content of a version once it is sealed anew.

        `previous` is what its document holds before it there, which it is cut alike. Raises QuotaExceeded as soon as
        it is clear that there is no room, DamagedContent where it is not the content with this SHA-256.
        """
        source = bytes(row["content"])
        if source not in self._made:
            self._made[source] = self._sealed(source, sha256, previous)
            require_room(self._goal, self._used, self.sealed_bytes)
        return self._made[source]

    def _sealed(self, source: bytes, sha256: bytes, previous: bytes | None) -> bytes:
        reader = reader_of(self._session, self._source, source)
        chunker = None if previous is None else chunker_of(previous)
        writer = self._session.storage.vault.writer(
            self._goal.id, declared=reader.size, chunker=chunker, known=self._known
        )
        try:
            for piece in reader.chunks():
                writer.write(piece)
            sealed = writer.finish()
        except BaseException:
            writer.discard()
            raise
        if sealed.sha256 != sha256:
            raise damaged("a content is not the one that its version was given")
        self._appended += sealed.appended
        self._records += sealed.records
        self._own.update(record.cid for record in sealed.records)
        self._relied.update(cid for cid in sealed.relied if cid not in self._own)
        self.sealed_bytes += sealed.sealed_bytes
        self.needs |= sealed.needs
        return sealed.content

    def _known(self, cids: list[bytes]) -> set[bytes]:
        """Return those of some cids that need not be sealed: what the space has, and what goes there already."""
        own = self._own.intersection(cids)
        rest = [cid for cid in cids if cid not in own]
        return own | self._index.known(rest) if rest else own

    def record(self, versions: Sequence[VersionRecord]) -> None:
        """Leave in a pack of the other space what versions there will be."""
        records, needs = self._session.storage.vault.version_records(self._goal.id, versions)
        self.sealed_bytes += sum(record.length for record in records)
        self.needs |= needs

    def publish(self, connection: Connection) -> int:
        """Let the catalogue know, within a change of the space, where it all lies; return as `contents.publish` does.

        Raises Replan if the space has let go meanwhile of a piece that was relied on.
        """
        if not contents.all_known(connection, self._goal.id, list(self._relied)):
            raise Replan
        self._is_published = True
        return contents.publish(connection, self._goal.id, self._records)

    def settle(self) -> None:
        """Tell that all was committed, and what was published with it: else it may be let go."""
        for each in self._appended if self._is_published else ():
            each.settle()
