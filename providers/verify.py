"""Does what is stored still say what was once acknowledged? Walks packs, versions, the catalogue and the logs.

Each change's audit leaf carries the digest of the rows it wrote. The tables are replayed change by change and compared,
so that a row that was deleted, added, swapped or rolled back is found, and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from sqlalchemy import Connection, select

from auth.errors import KeyUnreadable, SealBroken, UnknownKey
from auth.roles import Via
from config.errors import MellanrumError
from config.ids import NOBODY, id_text
from providers import tables
from providers.audit.errors import EntryDamaged
from providers.audit.events import ERASING, SETTLING
from providers.audit.leaf import ACTOR_PERSON
from providers.audit.verify import verify_logs
from providers.catalogue import contents, replay, rows
from providers.catalogue.change import MODIFIED, ChangeKind, version_mac
from providers.drive.bringing import ALONG
from providers.drive.storage import Storage
from providers.model import Finding
from providers.verify_people import verify_people

Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class _Told:
    """What the space's log says of a change. `principal` is None where it was erased."""

    digest: bytes
    kind: str
    at: int
    organisation: str
    via: str
    principal: str | None
    brought_past: bool

    @property
    def is_settings(self) -> bool:
        """Whether the change was of the space's own row alone."""
        return self.kind in SETTLING

    def fits(self, row: Any) -> bool:
        """Return whether the row of the change says the same."""
        principal = row["principal"].hex()
        return (row["at"], row["organisation"].hex(), row["via"], row["kind"] == ChangeKind.SPACE, principal) == (
            self.at, self.organisation, Via[self.via.upper()], self.is_settings, self.principal or principal,
        )  # fmt: skip


def verify(storage: Storage, progress: Progress = lambda stage, done: None) -> Iterator[Finding]:
    """Yield all that does not hold, of people, packs, versions, catalogue and logs. Reads all; changes nothing."""
    with storage.database.read() as connection:
        progress("people", 0)
        yield from verify_people(storage, connection)
        spaces, lost = _spaces(storage, connection)
        yield from lost
        for number, space in enumerate(spaces):
            progress("catalogue", number)
            yield from _Replay(storage, connection, space).findings()
    for number, space in enumerate(spaces):
        progress("packs", number)
        yield from _damaged(storage, space)
        yield from _unreadable(storage, space)
    for found in verify_logs(storage.database, storage.keyring):
        yield Finding(found.where, found.what)


def _spaces(storage: Storage, connection: Connection) -> tuple[list[bytes], list[Finding]]:
    """Return the spaces that can be verified, and what is missing of others: rows, or the key.

    A space that ended, its key destroyed, was erased: nothing of it can be verified, and nothing is missing.
    """
    rows_of = connection.execute(select(tables.space.c.id, tables.space.c.ended_at))
    ended = {row.id: row.ended_at for row in rows_of}
    heads = set(connection.execute(select(tables.head.c.space)).scalars())
    told: set[bytes] = set()
    for column in (tables.change.c.space, tables.entry.c.space, tables.version.c.space, tables.log.c.space):
        told.update(connection.execute(select(column).distinct()).scalars())
    told.discard(NOBODY)
    whole, lost = [], []
    for space in sorted(told | heads | ended.keys()):
        where = f"space {id_text(space)}"
        if space not in ended or space not in heads:
            lost.append(Finding(where, "its row, or that of its head, is missing"))
        try:
            storage.keyring.space(space)
        except UnknownKey:
            if space not in ended or ended[space] is None:
                lost.append(Finding(where, "its key is not in the keystore: nothing of it can be opened"))
        except KeyUnreadable as error:
            lost.append(Finding(where, str(error)))
        else:
            if space in ended:
                whole.append(space)
    return whole, lost


def _damaged(storage: Storage, space: bytes) -> Iterator[Finding]:
    """Yield what is damaged in the packs of a space, unless it was erased meanwhile."""
    where = f"space {id_text(space)}"
    try:
        for damage in storage.vault.scrub(space):
            yield Finding(where, str(damage))
    except UnknownKey as error:
        table = tables.space.c
        with storage.database.read() as connection:
            ended_at = connection.execute(select(table.ended_at).where(table.id == space)).scalar_one()
        if ended_at is None:
            yield Finding(where, str(error))


def _unreadable(storage: Storage, space: bytes) -> Iterator[Finding]:
    """Yield every version of which a chunk is missing or damaged."""
    index = contents.ChunkIndex(storage.database, space)
    seen: dict[bytes, str | None] = {}
    with storage.database.read() as connection:
        chosen = (tables.version.c.space == space) & tables.version.c.erased_in.is_(None)
        found = connection.execute(select(tables.version).where(chosen)).mappings().all()
    for row in found:
        content = row["content"]
        if content not in seen:
            seen[content] = _damage(storage, space, row, index)
        damage = seen[content]
        if damage is not None and _stands(storage, row):
            yield Finding(f"space {id_text(space)} document {id_text(row['node'])} version {row['number']}", damage)


def _stands(storage: Storage, row: Any) -> bool:
    """Return whether a version stands still: it may have been erased since, by itself or with its space, and swept."""
    version, space = tables.version.c, tables.space.c
    stands = (version.id == row["id"]) & version.erased_in.is_(None) & space.ended_at.is_(None)
    query = (
        select(version.id)
        .join_from(tables.version, tables.space, version.space == space.id)
        .where(version.node == row["node"], stands)
    )
    with storage.database.read() as connection:
        return connection.execute(query).first() is not None


def _damage(storage: Storage, space: bytes, row: Any, index: contents.ChunkIndex) -> str | None:
    try:
        reader = storage.vault.reader(space, row["content"], index.locate, anew=True)
        size = sum(len(piece) for piece in reader.chunks())
    except (MellanrumError, InvalidTag, KeyError, ValueError) as error:
        return f"its content cannot be read: {error}"
    return None if size == row["size"] else f"its content has {size} bytes instead of {row['size']}"


class _Replay:
    """The rows of one space, gathered by the change that wrote them."""

    def __init__(self, storage: Storage, connection: Connection, space: bytes) -> None:
        self._storage = storage
        self._connection = connection
        self._space = space
        self._where = f"space {id_text(space)}"
        self._written = replay.gathered(connection, space)

    def findings(self) -> Iterator[Finding]:
        """Yield what does not fit the digests in the log, the chain of MACs, or the live tree."""
        logged = self._logged()
        yield from self._versions(logged)
        yield from self._changes(logged)
        yield from self._live()

    def _rows(self, table: Any) -> Iterator[Any]:
        found = self._connection.execute(select(table).where(table.c.space == self._space))
        yield from found.mappings()

    def _versions(self, logged: Mapping[int, _Told]) -> Iterator[Finding]:
        key = self._storage.keyring.space(self._space).manifest_key
        statement = select(tables.version).where(tables.version.c.space == self._space)
        previous: dict[bytes, tuple[int, bytes]] = {}
        ordered = statement.order_by(tables.version.c.node, tables.version.c.number)
        for row in self._connection.execute(ordered).mappings():
            number, mac = previous.get(row["node"], (0, b""))
            where = f"{self._where} document {id_text(row['node'])} version {row['number']}"
            if row["number"] != number + 1:
                yield Finding(where, f"the version before it is missing (found {number})")
            elif row["erased_in"] is not None and not _accounts_for(row, logged.get(row["erased_in"])):
                yield Finding(where, "its content was taken away, and no event tells that it was erased")
            elif row["erased_in"] not in (None, row["change"]):
                pass  # its MAC covers what is gone
            elif version_mac(key, row, mac) != row["mac"]:
                yield Finding(where, "it does not carry the MAC that was given to it: swapped, changed or rolled back")
            previous[row["node"]] = (row["number"], row["mac"])

    def _changes(self, logged: Mapping[int, _Told]) -> Iterator[Finding]:
        found = {row["number"]: row for row in self._rows(tables.change)}
        left = replay.standing_digests(self._connection, self._space)
        newest = max([*found, *logged], default=0)
        yield from self._head(newest, found.get(newest))
        settled = max((number for number, told in logged.items() if told.is_settings), default=0)
        self._settings(settled)
        for number in range(1, newest + 1):
            where = f"{self._where} change {number}"
            row, told = found.get(number), logged.get(number)
            if told is None:
                yield Finding(where, "the log has no event of it")
            if row is None:
                yield Finding(where, "its row is missing")
                continue
            if told is not None and not told.fits(row):
                yield Finding(where, "its row does not say who made it, when and how as its event does")
            expected = row["rows_digest"]
            if number in left and _erases(logged.get(left[number][0])):
                expected = left[number][1]  # that of what was left, which the digest of the erasure vouches for
            if told is not None and told.is_settings and number != settled:
                # What was settled then has been settled anew since; and nothing else was written then.
                written = b"" if number in self._written else expected
            else:
                written = rows.digest(self._written.get(number, []))
            if written != expected or (told is not None and row["rows_digest"] != told.digest):
                yield Finding(where, "the rows it wrote are not the rows that stand: changed, removed or added")
        for number in sorted(set(self._written) - set(found)):
            yield Finding(f"{self._where} change {number}", "rows stand of a change that never was")

    def _head(self, newest: int, row: Any) -> Iterator[Finding]:
        chosen = select(tables.head.c.number, tables.head.c.at).where(tables.head.c.space == self._space)
        head = self._connection.execute(chosen).first()
        if head is None:
            return
        if head.number != newest:
            yield Finding(self._where, f"its head says change {head.number}, the newest known is {newest}")
        elif row is not None and head.at != row["at"]:
            yield Finding(self._where, f"its head does not say when change {newest} was made")

    def _logged(self) -> dict[int, _Told]:
        """Return what the space's log says of each change. What cannot be opened, `verify_logs` tells of."""
        audit = self._storage.audit
        info = next((log for log in audit.logs(self._connection, self._space) if log.party == NOBODY), None)
        found: dict[int, _Told] = {}
        start = 0
        while info is not None and start < info.size:
            try:
                for entry in audit.entries(self._connection, info, start):
                    start = entry.number + 1
                    event, person = entry.event, entry.personal.get(ACTOR_PERSON)
                    number, digest = event["facts"].get("change"), event.get("rows_digest")
                    if isinstance(number, int) and digest:
                        found[number] = _Told(
                            digest=bytes.fromhex(digest),
                            kind=event["kind"],
                            at=event["at"],
                            organisation=event["actor"]["organisation"],
                            via=event["actor"]["via"],
                            principal=None if person is None else person.value,
                            brought_past=event["facts"].get("history") == ALONG["history"],
                        )
            except EntryDamaged:
                start += 1
        return found

    def _settings(self, number: int) -> None:
        row = self._connection.execute(select(tables.space).where(tables.space.c.id == self._space)).mappings().one()
        self._written[number].append(rows.space_set(row))

    def _live(self) -> Iterator[Finding]:
        """The live tree repeats what the newest version and the properties say, and hangs together."""
        newest: dict[bytes, Any] = {}
        columns = (tables.version.c.node, tables.version.c.number, tables.version.c.id, tables.version.c.size)
        ordered = select(*columns, tables.version.c.at).where(tables.version.c.space == self._space)
        for row in self._connection.execute(ordered.order_by(tables.version.c.number)):
            newest[row.node] = row
        shown = self._shown_times()
        live = {row["node"]: row for row in self._rows(tables.entry)}
        gone = {row["node"] for row in self._rows(tables.closed_entry)}  # what lay in them went with them
        for node, row in live.items():
            where = f"{self._where} node {id_text(node)}"
            if not _shows(row, newest.get(node)):
                yield Finding(where, "its entry does not show its newest version")
            if node in shown and not row["has_properties"]:
                yield Finding(where, "its entry hides its properties")
            elif row["modified"] != _modified(row, newest.get(node), shown.get(node)):
                yield Finding(where, "its entry shows another time of modification than was recorded")
            if row["parent"] and row["parent"] not in live and row["parent"] not in gone:
                yield Finding(where, "the folder it stands in never stood")
            elif row["parent"]:
                yield from self._name(where, row)

    def _shown_times(self) -> dict[bytes, int | None]:
        """Return, for each node with a property, the time of modification that a client set, or None."""
        names = self._storage.keyring.space(self._space).names
        found: dict[bytes, int | None] = {}
        for row in self._rows(tables.property):
            if row["to_change"] is not None:
                continue
            node, key = row["node"], row["key"]
            found.setdefault(node, None)
            if key == names.seal_name(node, MODIFIED):
                try:
                    found[node] = int(names.open(b"property" + node + key, row["value"]))
                except (SealBroken, ValueError):
                    continue  # the change that wrote it tells of it
        return found

    def _name(self, where: str, row: Any) -> Iterator[Finding]:
        try:
            self._storage.names.opened(self._space, row["parent"], row["folded"], row["name"])
        except (MellanrumError, InvalidTag, ValueError):
            yield Finding(where, "its name was sealed for another place, or is damaged")


def _erases(told: _Told | None) -> bool:
    return told is not None and told.kind in ERASING


def _accounts_for(row: Any, told: _Told | None) -> bool:
    """Return whether an event tells why a version is a tombstone: it was erased, or had been where it came from."""
    if row["erased_in"] == row["change"]:
        return told is not None and told.brought_past
    return _erases(told)


def _shows(row: Any, version: Any) -> bool:
    """Return whether an entry repeats its newest version; a folder, and what has no content yet, has none."""
    if version is None:
        return (row["version"], row["size"]) == (0, 0) and not (row["is_folder"] and row["version_id"])
    return bool((row["version"], row["size"], row["version_id"]) == (version.number, version.size, version.id))


def _modified(row: Any, version: Any, shown: int | None) -> int:
    """Return the time of modification that an entry must show: as a client set it, else of the content, in µs."""
    if shown is not None:
        return shown
    return int(row["created"] if version is None else version.at)
