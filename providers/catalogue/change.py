"""One atomic revision of a space: everything that one operation writes to the catalogue, under one number.

A change takes its space's head last of all locks, checks nothing itself (the drive has), and keeps the canonical form
of each row it writes, so that its audit leaf can carry their digest.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection

from auth.keyring import Keyring
from auth.rights import Grant
from auth.roles import Via
from config.database import Database
from config.ids import NOBODY, new_id
from providers.brake import Harm
from providers.catalogue import rows, writes
from providers.catalogue.nodes import Names, Node
from providers.catalogue.pace import Paces


class ChangeKind(IntEnum):
    """What sort of operation a change was, stored by number."""

    MADE = 1
    PUT = 2
    MAKE_FOLDER = 3
    DELETE = 4
    MOVE = 5
    COPY = 6
    PROPERTIES = 7
    GRANT = 8
    REVOKE = 9
    SPACE = 10
    RESTORE = 11
    PUT_BACK = 12
    COMMENT = 13
    SPLIT = 14
    ERASE = 15
    THIN = 16


class Lineage(IntEnum):
    """How a version of one document (`node`, `number`) came from another (`other`, `other_number`), stored by number.

    CONTINUED: the document took back a name that it had left, with what `other` held (empty: with an upload).
    SHARES: version 1 of `node` is version `other_number` of `other`, and so it has all of its past.
    REPLACED: `other`, which has a past of its own, was moved over the document.
    SPLIT: the versions of `other` from `other_number` on are `node`'s, from its version 1 on.
    FILLED: the version followed one of the same document that its history passes over: an empty one, which was but a
    step on the way; in a document that came from another space also one that had been set apart there.
    MOVED: the document was `other` in another space, and came with its past: versions up to this bear the same numbers.
    """

    CONTINUED = 1
    SHARES = 2
    REPLACED = 3
    SPLIT = 4
    FILLED = 5
    MOVED = 6


class Author(NamedTuple):
    """Who makes a change, and by which door."""

    principal: bytes
    organisation: bytes
    via: Via


class NewVersion(NamedTuple):
    """The content of a version about to be added. `content` refers to the vault; `origin` is a version's id."""

    id: bytes
    content: bytes
    size: int
    sha256: bytes
    origin: bytes | None = None


class Step(NamedTuple):
    """What a finished change left as it was: all nodes but those `altered`; of those `revised` all but the revision."""

    space: bytes
    number: int
    altered: frozenset[bytes]
    revised: frozenset[bytes]


#: The property that holds a time of modification which a client set.
MODIFIED = "mellanrum:modified"


def version_mac(key: bytes, row: Mapping[Any, Any], previous: bytes) -> bytes:
    """Return HMAC-SHA256 over a version and the MAC of the one before it (empty for the first)."""
    fields = rows.canonical("M", row["node"], row["number"], row["id"], row["content"], row["size"], previous)
    return hmac.digest(key, fields, "sha256")


class Change:
    """A change under way. `number` and `at` are settled; nothing is visible before the transaction commits."""

    def __init__(
        self, database: Database, connection: Connection, names: Names, keyring: Keyring, paces: Paces, space: bytes
    ) -> None:
        self._connection = connection
        self._names = names
        self._keys = keyring.space(space)
        self.space = space
        head = writes.HEAD_AND_EPOCH if database.dialect == "sqlite" else writes.LOCKED_HEAD
        ((number, at, sealed_bytes, epoch),) = head.rows(connection, space=space)
        #: That of rights when the change was begun, if it was read along.
        self.epoch: int | None = epoch
        self.number: int = number + 1
        self.at: int = max(paces.now(space, database.now_us(connection), at), at + 1)
        self.sealed_bytes: int = sealed_bytes
        self._rows: list[bytes] = []
        self._touched: set[bytes] = set()
        #: The nodes that stand elsewhere or otherwise by it, or stood; None where that is not told.
        self._altered: set[bytes] | None = set()
        #: What befell what stood: for the brake.
        self.harmed: list[tuple[Harm, Node]] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been written yet."""
        return not self._rows

    @property
    def step(self) -> Step | None:
        """What this change leaves as it was, once it is finished; None where that is not told."""
        if self._altered is None:
            return None
        return Step(self.space, self.number, frozenset(self._altered), frozenset(self._touched))

    def _alter(self, node: bytes) -> None:
        if self._altered is not None:
            self._altered.add(node)

    # --- entries

    def add(self, parent: Node, lane: bytes, name: str, *, is_folder: bool, node: bytes | None = None) -> Node:
        """Let a new node stand under `name`; a document has no version yet."""
        return self._open(self._fresh(parent, lane, name, is_folder, node or new_id()))

    def add_document(self, parent: Node, lane: bytes, name: str, node: bytes, new: NewVersion, author: Author) -> Node:
        """Let a new document stand under `name` with its first version."""
        bare = self._fresh(parent, lane, name, False, node)
        fresh = self._open(bare._replace(version=1, version_id=new.id, size=new.size))
        self._record_version(node, 1, b"", new, author)
        return fresh

    def _fresh(self, parent: Node, lane: bytes, name: str, is_folder: bool, node: bytes) -> Node:
        return Node(
            space=self.space,
            parent=parent.id,
            lane=lane,
            folded=self._names.folded(self.space, parent.id, name),
            id=node,
            name=name,
            is_folder=is_folder,
            from_change=self.number,
            version=0,
            version_id=NOBODY if is_folder else new_id(),
            size=0,
            created=self.at,
            modified=self.at,
            revision=self.number,
            has_properties=False,
        )

    def add_root(self) -> Node:
        """Let the space's root folder stand."""
        root = Node(
            self.space, NOBODY, NOBODY, self.space, self.space, "", True, self.number, 0, NOBODY, 0,
            self.at, self.at, self.number, False,
        )  # fmt: skip
        return self._open(root)

    def move(self, node: Node, parent: Node, lane: bytes, name: str) -> Node:
        """Let the node stand elsewhere, with all that it holds: one entry closes, one opens."""
        self.close(node, Harm.MOVED)
        moved = node._replace(
            parent=parent.id,
            lane=lane,
            name=name,
            folded=self._names.folded(self.space, parent.id, name),
            from_change=self.number,
        )
        return self._open(moved)

    def open_all(self, nodes: Sequence[Node]) -> None:
        """Let many nodes stand where their fields say, with the version they bear. What stood there was closed."""
        self._altered = None
        opened = [self._opening(node._replace(from_change=self.number, revision=self.number)) for node in nodes]
        writes.ENTRY.run_many(self._connection, opened)
        self._rows.extend(map(rows.entry_opened, opened))
        self._touched.update(node.parent for node in nodes)

    def close_all(self, nodes: Sequence[Node]) -> None:
        """Let many nodes no longer stand where they do."""
        self._altered = None
        slots = [{"b_parent": node.parent, "b_lane": node.lane, "b_folded": node.folded} for node in nodes]
        writes.CLOSE.run_many(self._connection, slots)
        closed = [self._closing(node) for node in nodes]
        writes.CLOSED.run_many(self._connection, closed)
        self._rows.extend(map(rows.entry_closed, closed))
        self._touched.update(node.parent for node in nodes)

    def settle_all(self, nodes: Sequence[Node]) -> None:
        """Let nodes that stand show the version, time of modification and properties that they bear."""
        self._altered = None
        settled = [
            {
                "b_node": node.id, "b_version": node.version, "b_version_id": node.version_id, "b_size": node.size,
                "b_modified": node.modified, "b_has_properties": node.has_properties,
            }
            for node in nodes
        ]  # fmt: skip
        writes.SETTLE.run_many(self._connection, settled)
        self._touched.update(node.parent for node in nodes)

    def reopen(self, node: Node) -> Node:
        """Let a node that stands nowhere, or no longer, stand where its fields say."""
        return self._open(node._replace(from_change=self.number))

    def _open(self, node: Node) -> Node:
        row = self._opening(node)
        self._alter(node.id)
        writes.ENTRY.run(self._connection, **row)
        self._rows.append(rows.entry_opened(row))
        self._touched.add(node.parent)
        return node

    def _opening(self, node: Node) -> dict[str, Any]:
        given = self._names.given(self.space, node.parent, node.name) if node.parent else None
        return {
            "parent": node.parent, "lane": node.lane, "folded": node.folded, "name": given, "space": node.space,
            "node": node.id, "is_folder": node.is_folder, "from_change": node.from_change, "version": node.version,
            "version_id": node.version_id, "size": node.size, "created": node.created, "modified": node.modified,
            "revision": node.revision, "has_properties": node.has_properties,
        }  # fmt: skip

    def close(self, node: Node, harm: Harm = Harm.DELETED) -> None:
        """Let the node no longer stand where it does."""
        self.harmed.append((harm, node))
        self._alter(node.id)
        writes.CLOSE.run(self._connection, b_parent=node.parent, b_lane=node.lane, b_folded=node.folded)
        row = self._closing(node)
        writes.CLOSED.run(self._connection, **row)
        self._rows.append(rows.entry_closed(row))
        self._touched.add(node.parent)

    def _closing(self, node: Node) -> dict[str, Any]:
        return {
            "parent": node.parent, "lane": node.lane, "folded": node.folded, "from_change": node.from_change,
            "to_change": self.number, "name": self._names.given(self.space, node.parent, node.name),
            "space": node.space, "node": node.id, "is_folder": node.is_folder, "created": node.created,
        }  # fmt: skip

    # --- versions

    def add_version(self, node: Node, new: NewVersion, author: Author) -> Node:
        """Give the document a new version and return it as it now stands."""
        number = node.version + 1
        previous = b""
        self._alter(node.id)
        if node.version:
            self.harmed.append((Harm.REWRITTEN, node))
            ((previous,),) = writes.LAST_MAC.rows(self._connection, node=node.id, number=node.version)
        self._record_version(node.id, number, previous, new, author)
        writes.NEW_HEAD.run(
            self._connection,
            b_node=node.id,
            b_version=number,
            b_version_id=new.id,
            b_size=new.size,
            b_modified=self.at,
        )
        self._touched.add(node.parent)
        if node.has_properties:
            self.set_property(node, MODIFIED, None)
        return node._replace(version=number, version_id=new.id, size=new.size, modified=self.at)

    def add_versions(self, made: Sequence[tuple[Node, NewVersion]], author: Author) -> None:
        """Give many documents a version each, after the one that each bears. What their entries show stays as it is."""
        found = []
        self._altered = None
        for node, new in made:
            before = writes.LAST_MAC.first(self._connection, node=node.id, number=node.version)
            previous = b"" if before is None else before[0]
            found.append(self._version(node.id, node.version + 1, previous, new, author))
        writes.VERSION.run_many(self._connection, found)
        self._rows.extend(map(rows.version_added, found))

    def add_copies(self, node: Node, made: Sequence[tuple[NewVersion, Mapping[Any, Any]]]) -> None:
        """Give a new document, whose entry shows the last of them, versions made when and by whom other rows say.

        Where those were erased, so are these.
        """
        found: list[dict[str, Any]] = []
        self._altered = None
        for number, (new, row) in enumerate(made, start=1):
            author = Author(row["principal"], row["organisation"], Via(row["via"]))
            mac = found[-1]["mac"] if found else b""
            found.append(self._version(node.id, number, mac, new, author) | {"at": row["at"]})
            if row["erased_in"] is not None:
                found[-1] |= {"digest": b"", "erased_in": self.number}
        writes.VERSION.run_many(self._connection, found)
        self._rows.extend(map(rows.version_added, found))
        self._rows.extend(rows.version_erased(row) for row in found if row["erased_in"] is not None)

    def _record_version(self, node: bytes, number: int, previous: bytes, new: NewVersion, author: Author) -> None:
        row = self._version(node, number, previous, new, author)
        writes.VERSION.run(self._connection, **row)
        self._rows.append(rows.version_added(row))

    def _version(self, node: bytes, number: int, previous: bytes, new: NewVersion, author: Author) -> dict[str, Any]:
        row: dict[str, Any] = {
            "node": node, "number": number, "id": new.id, "space": self.space, "change": self.number,
            "content": new.content, "size": new.size, "digest": self._keys.names.seal(b"sha256" + new.id, new.sha256),
            "at": self.at, "principal": author.principal, "organisation": author.organisation,
            "via": int(author.via), "origin": new.origin,
        }  # fmt: skip
        row["mac"] = version_mac(self._keys.manifest_key, row, previous)
        row["erased_in"] = None
        return row

    def link(self, kind: Lineage, node: bytes, number: int, other: bytes, other_number: int) -> None:
        """Record how version `number` of `node` came from another document: see `Lineage`."""
        row = {
            "node": node, "number": number, "kind": int(kind), "other": other, "other_number": other_number,
            "space": self.space, "change": self.number,
        }  # fmt: skip
        writes.LINEAGE.run(self._connection, **row)
        self._rows.append(rows.lineage_added(row))

    def comment(self, versions: Iterable[bytes], text: str) -> None:
        """Let something be said of versions, by their ids; an empty text takes back what was said."""
        said, seal = text.encode("utf-8"), self._keys.names.seal
        made = [
            {"version": each, "change": self.number, "space": self.space, "text": seal(b"comment" + each, said)}
            for each in versions
        ]
        writes.COMMENT.run_many(self._connection, made)
        self._rows.extend(map(rows.comment_added, made))

    # --- properties

    def set_modified(self, node: Node, modified: int) -> Node:
        """Let a document or folder show the time of modification that a client set, in microseconds."""
        self.set_property(node, MODIFIED, str(modified))
        self._alter(node.id)
        writes.MODIFY.run(self._connection, b_node=node.id, b_modified=modified)
        return node._replace(modified=modified, has_properties=True)

    def set_property(self, node: Node, name: str, value: str | None) -> None:
        """Let the property hold `value` from now on, or nothing."""
        key = self._keys.names.seal_name(node.id, name)
        self._alter(node.id)
        self._touched.add(node.parent)
        for standing in writes.OPEN_PROPERTY.mappings(self._connection, node=node.id, key=key):
            self._close_property(standing)
        if value is None:
            return
        row = {
            "node": node.id, "key": key, "from_change": self.number, "to_change": None, "space": self.space,
            "value": self._keys.names.seal(b"property" + node.id + key, value.encode("utf-8")),
        }  # fmt: skip
        writes.PROPERTY.run(self._connection, **row)
        self._rows.append(rows.property_opened(row))
        if not node.has_properties:
            writes.HAS_PROPERTIES.run(self._connection, b_node=node.id)

    def exchange_properties(
        self, ended: Sequence[Mapping[str, Any]], begun: Sequence[tuple[bytes, bytes, bytes]]
    ) -> None:
        """End properties of many nodes (`node`, `key`, `from_change`), and begin others (node, key, sealed value)."""
        self._altered = None
        closing = [
            {
                "b_node": each["node"], "b_key": each["key"], "b_from_change": each["from_change"],
                "b_to_change": self.number,
            }
            for each in ended
        ]  # fmt: skip
        writes.CLOSE_PROPERTY.run_many(self._connection, closing)
        self._rows.extend(map(rows.property_closed, ended))
        opening = [
            {
                "node": node, "key": key, "from_change": self.number, "to_change": None, "space": self.space,
                "value": value,
            }
            for node, key, value in begun
        ]  # fmt: skip
        writes.PROPERTY.run_many(self._connection, opening)
        self._rows.extend(map(rows.property_opened, opening))

    def _close_property(self, standing: Mapping[Any, Any]) -> None:
        key = {f"b_{name}": standing[name] for name in ("node", "key", "from_change")}
        if standing["from_change"] == self.number:  # set by this very change: it never held
            writes.FORGET_PROPERTY.run(self._connection, **key)
            self._rows.remove(rows.property_opened(standing))
            return
        writes.CLOSE_PROPERTY.run(self._connection, **key, b_to_change=self.number)
        self._rows.append(rows.property_closed(standing))

    # --- grants

    def add_grant(self, grant: Grant) -> None:
        """Let a grant, or a break of inheritance, come into force."""
        row = {
            "id": grant.id, "space": self.space, "node": grant.node, "grantee": grant.grantee,
            "grantee_kind": int(grant.grantee_kind), "role": int(grant.role), "history": grant.history,
            "expires_at": grant.expires_at, "from_change": self.number, "to_change": None,
        }  # fmt: skip
        writes.GRANT.run(self._connection, **row)
        self._rows.append(rows.grant_opened(row))

    def close_grant(self, grant: Grant) -> None:
        """Take a grant back."""
        writes.CLOSE_GRANT.run(self._connection, b_id=grant.id, b_to_change=self.number)
        self._rows.append(rows.grant_closed({"id": grant.id}))

    # --- the end

    def note(self, row: bytes) -> None:
        """Let the change's digest cover a row, in its canonical form, that was written beside."""
        self._altered = None
        self._rows.append(row)

    def note_space(self, row: Mapping[str, Any]) -> None:
        """Let the change's digest cover the row of the space itself."""
        self._rows.append(rows.space_set(row))

    def finish(self, kind: ChangeKind, author: Author) -> bytes:
        """Write the change and the space's new head; return the digest of all rows written."""
        summed = rows.digest(self._rows)
        writes.TOUCH.run_many(
            self._connection, [{"b_node": node, "b_revision": self.number} for node in self._touched if node]
        )
        writes.CHANGE.run(
            self._connection,
            space=self.space,
            number=self.number,
            at=self.at,
            principal=author.principal,
            organisation=author.organisation,
            via=int(author.via),
            kind=int(kind),
            rows_digest=summed,
        )
        writes.ADVANCE.run(
            self._connection, b_space=self.space, b_number=self.number, b_at=self.at, b_sealed=self.sealed_bytes
        )
        return summed
