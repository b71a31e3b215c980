"""Taking content away as one change: versions become tombstones, documents lose their names and properties too.

Each change that wrote one of the rows is stated anew by the digest of what is left of it, which the digest of the
erasure's own change vouches for. So `verify` takes an erasure that an event tells of, and no other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from config.ids import id_text
from providers import tables
from providers.audit.leaf import Body
from providers.catalogue import contents, replay, rows
from providers.catalogue.change import Change
from providers.drive.storage import Storage
from providers.holding.errors import HistoryDamaged
from providers.paths import ARCHIVE
from providers.vault.errors import DamagedContent

_V = tables.version.c
_SAID = tables.comment.c
_BATCH = 500


class Which(NamedTuple):
    """A version, by its document and its own number there."""

    node: bytes
    number: int


@dataclass
class Gone:
    """What an erasure took: the rows of versions as they were; how many chunks were condemned, and changes had said
    something of them.
    """

    versions: list[Mapping[Any, Any]] = field(default_factory=list)
    condemned: int = 0
    said: int = 0


class Contents:
    """What contents consist of, looked up before the transaction that needs to know."""

    def __init__(self, storage: Storage, space: bytes) -> None:
        self._storage = storage
        self._space = space
        self._index = contents.ChunkIndex(storage.database, space)
        self._known: dict[bytes, frozenset[bytes]] = {}

    def learn(self, found: Iterable[Mapping[Any, Any]]) -> None:
        """Look up what the contents of these versions consist of."""
        for row in found:
            if row["erased_in"] is None:
                self.cids(row["content"], self._index.locate)

    def cids(self, content: bytes, locate: contents.Locate) -> frozenset[bytes]:
        """Return the cids of all that a content consists of, as far as its manifests can be read."""
        if content not in self._known:
            found: set[bytes] = set()
            try:
                found.update(self._storage.vault.cids_of(self._space, content, locate, set()))
            except DamagedContent:
                pass  # a manifest that is lost leads to nothing any more
            self._known[content] = frozenset(found)
        return self._known[content]


def version_rows(connection: Connection, which: Collection[Which]) -> list[Mapping[Any, Any]]:
    """Return the rows of versions that are not erased yet, in order."""
    numbers: dict[bytes, set[int]] = {}
    for node, number in which:
        numbers.setdefault(node, set()).add(number)
    found: list[Mapping[Any, Any]] = []
    for node, wanted in sorted(numbers.items()):
        found += [
            row for row in contents.versions(connection, node) if row["number"] in wanted and row["erased_in"] is None
        ]
    return found


def erase(
    storage: Storage,
    connection: Connection,
    change: Change,
    which: Collection[Which],
    documents: Collection[bytes],
    known: Contents,
    at: int,
) -> Gone:
    """Take the content of versions away, and all of whole documents, within a change. Raises HistoryDamaged.

    `at` (µs) is what the clock says, by which the grace will count: the time of the space may be ahead, for years.
    """
    found = version_rows(connection, which)
    affected = {row["change"] for row in found}
    said: set[int] = set()
    for some in _batches([row["id"] for row in found]):
        said.update(connection.execute(select(_SAID.change).where(_SAID.version.in_(some))).scalars())
    affected |= said
    for node in documents:
        affected |= _changes_of(connection, node)
    standing = _checked(connection, change.space, affected)
    for node in documents:
        _unname(storage, connection, change, node)
    for row in found:
        _entomb(connection, change, row)
    _restate(connection, change, standing)
    # Versions that came since they were learnt may have come in this very transaction.
    locate = partial(contents.located, connection, change.space)
    cids = {cid for row in found for cid in known.cids(row["content"], locate)}
    return Gone(found, _condemn(connection, change, cids, at), len(said))


def _changes_of(connection: Connection, node: bytes) -> set[int]:
    """Return the changes that wrote entries or properties of a document."""
    found: set[int | None] = set()
    for table, *names in (
        (tables.entry, "from_change"),
        (tables.closed_entry, "from_change", "to_change"),
        (tables.property, "from_change", "to_change"),
    ):
        for row in connection.execute(select(*(table.c[name] for name in names)).where(table.c.node == node)):
            found.update(row)
    return {number for number in found if number is not None}


def _checked(connection: Connection, space: bytes, numbers: set[int]) -> set[int]:
    """Return the changes, once their rows are found to be what was recorded: only that may be stated anew."""
    written = replay.gathered(connection, space, numbers)
    left = replay.standing_digests(connection, space)
    for number, recorded in _recorded(connection, space, numbers):
        expected = left[number][1] if number in left else recorded
        if rows.digest(written.get(number, [])) != expected:
            raise HistoryDamaged(space=id_text(space), change=number)
    return numbers


def _recorded(connection: Connection, space: bytes, numbers: set[int]) -> Iterator[tuple[int, bytes]]:
    table = tables.change.c
    for some in _batches(sorted(numbers)):
        query = select(table.number, table.rows_digest).where(table.space == space, table.number.in_(some))
        yield from ((row.number, row.rows_digest) for row in connection.execute(query))


def _restate(connection: Connection, change: Change, numbers: set[int]) -> None:
    """Vouch for what is left of earlier changes."""
    written = replay.gathered(connection, change.space, numbers - {change.number})
    for number in sorted(numbers - {change.number}):
        row = {
            "space": change.space, "number": number, "by_change": change.number,
            "digest": rows.digest(written.get(number, [])),
        }  # fmt: skip
        connection.execute(insert(tables.restated), row)
        change.note(rows.restated(row))


def _entomb(connection: Connection, change: Change, row: Mapping[Any, Any]) -> None:
    connection.execute(
        update(tables.version)
        .where(_V.node == row["node"], _V.number == row["number"])
        .values(content=b"", digest=b"", erased_in=change.number)
    )
    for table in (tables.checksum, tables.comment):
        connection.execute(delete(table).where(table.c.version == row["id"]))
    change.note(rows.version_erased(row))


def _unname(storage: Storage, connection: Connection, change: Change, node: bytes) -> None:
    """Let a document stand nowhere any longer, under a made-up name wherever it stood, without a property."""
    name = f"erased {id_text(node)}"
    live = storage.tree.by_id(connection, node)
    if live is not None:
        folded = storage.names.folded(change.space, live.parent, name)
        connection.execute(update(tables.entry).where(tables.entry.c.node == node).values(folded=folded, name=None))
        change.close(live._replace(name=name, folded=folded))
    closed = tables.closed_entry.c
    for parent in set(connection.execute(select(closed.parent).where(closed.node == node)).scalars()):
        folded = storage.names.folded(change.space, parent, name)
        chosen = (closed.node == node) & (closed.parent == parent)
        connection.execute(update(tables.closed_entry).where(chosen).values(folded=folded, name=None))
    connection.execute(delete(tables.property).where(tables.property.c.node == node))


def _condemn(connection: Connection, change: Change, cids: set[bytes], at: int) -> int:
    """Condemn chunks; whoever brings one again stores it anew, and the sweep takes back what is still referred to."""
    table, count = tables.chunk.c, 0
    for some in _batches(sorted(cids)):
        chosen = (table.space == change.space) & table.cid.in_(some) & table.condemned_at.is_(None)
        count += connection.execute(update(tables.chunk).where(chosen).values(condemned_at=at)).rowcount
    return count


def _batches(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]


def forget_names(storage: Storage, space: bytes, document: bytes, paths: Collection[str]) -> int:
    """Erase from the log of a space what it says of the names of an erased document; return from how many events.

    `paths` are those within the space that it stood at: an event of another document that names one of them as where
    it came from loses that, too.
    """
    text = document.hex()

    def which(body: Body) -> Collection[str]:
        typed = {name for name in body.personal if not name.startswith("actor.") and name not in _KEPT}
        if body.fields.get("node") == text:
            return typed
        return {name for name in typed & _ORIGINS if _inner(body.personal[name].value or "") in paths}

    return storage.database.apply(lambda connection: storage.audit.forget(connection, which, space), heads=[space])


def forget_comments(storage: Storage, connection: Connection, space: bytes, which: Collection[Which]) -> int:
    """Erase from the log of a space what it says was said of versions; return from how many events."""
    about = {(node.hex(), number) for node, number in which}

    def fields(body: Body) -> Collection[str]:
        number = body.fields["facts"].get("version")
        return _SAYS if (body.fields.get("node"), number) in about else ()

    return storage.audit.forget(connection, fields, space)


def _inner(path: str) -> str:
    """Return a path as within its space: without the name of the space, and of the archive it may stand in."""
    segments = path.strip("/").split("/")
    outer = 2 if segments[0] == ARCHIVE else 1
    return "/" + "/".join(segments[outer:])


#: What was said of an erasure itself stays.
_KEPT = frozenset({"reason", "requested_by"})
#: What an event says was said of a version.
_SAYS = frozenset({"comment"})
#: Where events of other documents may name one.
_ORIGINS = frozenset({"from", "to"})
