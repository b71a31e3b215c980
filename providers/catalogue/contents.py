"""Where chunks lie in packs, and the versions of documents with their authenticated history."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, exists, null, select, tuple_, update

from auth.keyring import Keyring
from config.database import Database
from config.ids import new_id
from config.queries import Query, parts_of
from config.statements import Statement
from providers import tables
from providers.catalogue import held
from providers.catalogue.change import NewVersion, version_mac
from providers.catalogue.nodes import Node
from providers.errors import VersionErased
from providers.vault.vault import ChunkRecord, Location

_CHUNK = tables.chunk.c
_KNOWN = Query(
    select(_CHUNK.cid).where(
        _CHUNK.space == bindparam("space"),
        _CHUNK.cid.in_(bindparam("cids", expanding=True)),
        _CHUNK.condemned_at.is_(None),
    )
)
_LOCATE = Query(
    select(_CHUNK.cid, _CHUNK.pack, _CHUNK.offset, _CHUNK.length).where(
        _CHUNK.space == bindparam("space"), _CHUNK.cid.in_(bindparam("cids", expanding=True))
    )
)


_STANDING_CHUNKS = Query(
    select(_CHUNK.cid, _CHUNK.pack, _CHUNK.offset, _CHUNK.length, _CHUNK.condemned_at).where(
        _CHUNK.space == bindparam("space"), _CHUNK.cid.in_(bindparam("cids", expanding=True))
    )
)
_PUBLISH = Statement(lambda insert: insert(tables.chunk).on_conflict_do_nothing(index_elements=["space", "cid"]))
_REPLACE = Statement(
    update(tables.chunk)
    .where(_CHUNK.space == bindparam("b_space"), _CHUNK.cid == bindparam("b_cid"))
    .values(pack=bindparam("b_pack"), offset=bindparam("b_offset"), length=bindparam("b_length"), condemned_at=null())
)
_TAKE_BACK = Statement(
    update(tables.chunk)
    .where(_CHUNK.space == bindparam("b_space"), _CHUNK.cid == bindparam("b_cid"))
    .values(condemned_at=null())
)
_VERSION = tables.version
_ONE = select(_VERSION).where(_VERSION.c.node == bindparam("node"), _VERSION.c.number == bindparam("number"))
_PAIR = Query(
    select(_VERSION).where(
        _VERSION.c.node == bindparam("node"), _VERSION.c.number.between(bindparam("before"), bindparam("number"))
    )
)
_STANDING = Query(
    select(_VERSION.c.number).where(
        _VERSION.c.node == bindparam("node"),
        _VERSION.c.number == bindparam("number"),
        _VERSION.c.erased_in.is_(None),
    )
)
_KEPT = tables.version.alias().c
#: Numbers begin with 1, and rows stay: the first that was not erased tells.
_ERASED = Query(
    select(_VERSION.c.node).where(
        _VERSION.c.node.in_(bindparam("nodes", expanding=True)),
        _VERSION.c.number == 1,
        ~exists().where(_KEPT.node == _VERSION.c.node, _KEPT.erased_in.is_(None)),
    )
)
_OF_VERSIONS = Query(
    select(_VERSION.c.id, _VERSION.c.erased_in)
    .where(tuple_(_VERSION.c.node, _VERSION.c.number).in_(bindparam("versions", expanding=True)))
    .with_for_update(read=True)
)
_BY_OTHERS = Query(
    select(_VERSION.c.number)
    .where(_VERSION.c.node == bindparam("node"), _VERSION.c.principal != bindparam("principal"))
    .limit(1)
)
_ALL = Query(select(_VERSION).where(_VERSION.c.node == bindparam("node")).order_by(_VERSION.c.number))


class ForgedVersion(Exception):
    """A version's row does not carry the MAC that the server gave it."""


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """Tells which chunks of a space the catalogue has, and where they lie.

    `is_apart`: who writes shall not learn, by how long it takes, what others have stored there. So all is stored again,
    and of what proves to be there as it is committed the second copy is let go.
    """

    database: Database
    space: bytes
    is_apart: bool = False

    def known(self, cids: Sequence[bytes]) -> set[bytes]:
        """Return those of `cids` that may be relied on instead of being stored again."""
        if self.is_apart:
            return set()
        with self.database.ask() as connection:
            return _known(connection, self.space, cids)

    def locate(self, cids: Sequence[bytes]) -> Mapping[bytes, Location]:
        """Return where each of `cids` lies; those the catalogue lacks are missing from the answer.

        What an interrupted upload alone has is found too: by nobody but who reads its draft.
        """
        with self.database.ask() as connection:
            return located(connection, self.space, cids)


def located(connection: Connection, space: bytes, cids: Sequence[bytes]) -> Mapping[bytes, Location]:
    """Return what `ChunkIndex.locate` does, as of a connection: a writer's sees what its transaction has come to.

    Others' parts of that are committed with it, or not at all, and nobody else sees them before.
    """
    found = {cid: Location(*place) for cid, *place in places(connection, space, cids)}
    missing = [cid for cid in cids if cid not in found]
    if missing:
        found |= {cid: Location(*place) for cid, *place in held.places(connection, space, missing)}
    return found


def places(connection: Connection, space: bytes, cids: Iterable[bytes]) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield where each of some chunks lies that the catalogue has: cid, pack, offset, length."""
    for part in parts_of(list(cids)):
        yield from _LOCATE.rows(connection, space=space, cids=part)


def _known(connection: Connection, space: bytes, cids: Sequence[bytes]) -> set[bytes]:
    return {cid for part in parts_of(cids) for (cid,) in _KNOWN.rows(connection, space=space, cids=part)}


def publish(connection: Connection, space: bytes, records: Sequence[ChunkRecord]) -> int:
    """Let the catalogue know of new chunks, with the head's row locked; return how many bytes it counts no longer.

    One that came to be known meanwhile stays where it was first, and the new copy is let go, unless it is condemned:
    then the new copy takes its place, and the sweep will find the old one uncounted.
    """
    rows = [
        {"space": space, "cid": r.cid, "pack": r.pack, "offset": r.offset, "length": r.length, "condemned_at": None}
        for r in records
    ]
    if _PUBLISH.run_many(connection, rows) == len(rows):
        return 0
    standing: dict[bytes, tuple[ChunkRecord, bool]] = {}
    for part in parts_of([record.cid for record in records]):
        for cid, pack, offset, length, condemned_at in _STANDING_CHUNKS.rows(connection, space=space, cids=part):
            standing[cid] = ChunkRecord(cid, pack, offset, length), condemned_at is not None
    condemned = [record for record in records if standing[record.cid][1]]
    _REPLACE.run_many(
        connection,
        [
            {"b_space": space, "b_cid": r.cid, "b_pack": r.pack, "b_offset": r.offset, "b_length": r.length}
            for r in condemned
        ],
    )
    second = [r for r in records if not standing[r.cid][1] and standing[r.cid][0] != r]
    held.let_go(connection, space, sorted((r.pack, r.offset, r.length) for r in second))
    return sum(standing[record.cid][0].length for record in condemned) + sum(record.length for record in second)


def all_known(connection: Connection, space: bytes, cids: Sequence[bytes]) -> bool:
    """Return whether every one of `cids` may be relied on, from now on. What was condemned meanwhile is taken back."""
    wanted = set(cids)
    wanted -= _known(connection, space, list(wanted))
    return all(_TAKE_BACK.run(connection, b_space=space, b_cid=cid) == 1 for cid in sorted(wanted))


def version(connection: Connection, keyring: Keyring, space: bytes, node: bytes, number: int) -> Mapping[str, Any]:
    """Return a version's row, its MAC checked against the version before. Raises ForgedVersion, VersionErased."""
    found = {row["number"]: row for row in _PAIR.mappings(connection, node=node, before=number - 1, number=number)}
    row = found.get(number)
    if row is None or row["space"] != space:
        raise ForgedVersion(node, number)
    if row["erased_in"] is not None:
        raise VersionErased
    before = found.get(number - 1)
    if number > 1 and before is None:
        raise ForgedVersion(node, number)
    expected = version_mac(keyring.space(space).manifest_key, row, before["mac"] if before is not None else b"")
    if not hmac.compare_digest(expected, row["mac"]):
        raise ForgedVersion(node, number)
    return row


def require_standing(connection: Connection, node: bytes, number: int) -> None:
    """Raise VersionErased if a version was erased. What refers to its content from now on may rely on it."""
    if _STANDING.first(connection, node=node, number=number) is None:
        raise VersionErased


def versions(connection: Connection, node: bytes) -> Sequence[Mapping[str, Any]]:
    """Return all versions of a document, oldest first."""
    return _ALL.mappings(connection, node=node)


def require_whole(keyring: Keyring, space: bytes, found: Iterable[Mapping[str, Any]]) -> None:
    """Raise ForgedVersion unless the versions of a document, from its first on, each carry their MAC.

    That of an erased one covers content that is gone, and counts for the version after it.
    """
    key, before = keyring.space(space).manifest_key, b""
    for number, row in enumerate(found, start=1):
        is_sound = row["erased_in"] is not None or hmac.compare_digest(version_mac(key, row, before), row["mac"])
        if row["space"] != space or row["number"] != number or not is_sound:
            raise ForgedVersion(row["node"], number)
        before = row["mac"]


def erased_among(connection: Connection, nodes: Sequence[bytes]) -> set[bytes]:
    """Return those of some documents that were erased, with every version they had."""
    return {node for (node,) in _ERASED.rows(connection, nodes=list(nodes))}


def erased_of(connection: Connection, versions: Iterable[tuple[bytes, int]]) -> set[bytes]:
    """Return the ids of those versions that were erased, of some that are named by document and number.

    None of the others is erased until the transaction ends.
    """
    rows = (row for part in parts_of(list(versions)) for row in _OF_VERSIONS.rows(connection, versions=part))
    return {bytes(version) for version, erased_in in rows if erased_in is not None}


def is_written_by_others(connection: Connection, node: bytes, principal: bytes) -> bool:
    """Return whether a document has a version of anybody else's."""
    return _BY_OTHERS.first(connection, node=node, principal=principal) is not None


def sha256_of(keyring: Keyring, row: Mapping[Any, Any]) -> bytes:
    """Open the SHA-256 of a version's content; nothing, if it was erased."""
    return b"" if row["erased_in"] is not None else opened_sum(keyring, row["space"], row["id"], row["digest"])


def opened_sum(keyring: Keyring, space: bytes, version_id: bytes, digest: bytes) -> bytes:
    """Open the sealed SHA-256 of the content of a version that was not erased."""
    return keyring.space(space).names.open(b"sha256" + version_id, digest)


def sum_of(connection: Connection, keyring: Keyring, node: Node) -> bytes | None:
    """Return the SHA-256 of what a document holds, its MAC checked; None if it never had content.

    By this contents are compared, not by their references: the same bytes may be cut in another way.
    """
    if not node.version:
        return None
    return sha256_of(keyring, version(connection, keyring, node.space, node.id, node.version))


def repeated(keyring: Keyring, row: Mapping[Any, Any]) -> NewVersion:
    """Return the content of a version as that of one about to be."""
    return NewVersion(new_id(), bytes(row["content"]), row["size"], sha256_of(keyring, row), row["id"])


Locate = Callable[[Sequence[bytes]], Mapping[bytes, Location]]
