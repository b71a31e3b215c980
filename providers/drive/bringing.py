"""The past of a document that moves into another space: its versions as they were made, their contents sealed anew.

It comes along where the mover has the history of, and manages, both where it stands and where it goes; else the newest
version goes alone. What stood in the other space before is as it was: `.history` shows the document there from the
move on, and in the space that it left up to it. What was erased is not brought back: a tombstone goes as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auth.roles import Action
from config.ids import NOBODY, new_id
from providers.catalogue import checksums, contents
from providers.catalogue.change import Change, Lineage, NewVersion
from providers.catalogue.comments import comments
from providers.catalogue.nodes import Node
from providers.catalogue.whole import Held, whole_past
from providers.drive.places import Place
from providers.drive.resealing import Resealing
from providers.drive.session import Replan, Session
from providers.drive.sight import Chain
from providers.drive.targets import Target
from providers.drive.transaction import Look, Transaction
from providers.vault.vault import VersionRecord

#: What the events of both spaces say of a move with which the past of a document came along.
ALONG = {"history": "along"}


@dataclass(frozen=True, slots=True)
class Past:
    """A past made ready to stand in another space: of the document `node` there, versions from the first on.

    `source` has of each version that they are made of the id, and whether it had been erased.
    """

    node: bytes
    source: tuple[tuple[bytes, bool], ...]
    versions: tuple[NewVersion, ...]


def comes_along(look: Look, place: Place, found: Target) -> bool:
    """Return whether the past of the document at `place` goes with it when it moves to a new name in another space."""
    if place.space.id == found.space.id or place.node.is_folder or not place.node.version:
        return False
    return _manages(look, place.chain) and _manages(look, found.parent.chain)


def _manages(look: Look, chain: Chain) -> bool:
    return all(look.sight.decide(action, chain, look.at).allowed for action in (Action.HISTORY, Action.GRANT))


def bring(session: Session, place: Place, parent: bytes, resealing: Resealing) -> Past:
    """Seal anew all that the history of a document shows, as it goes to a folder of another space.

    Raises ForgedVersion, DamagedContent, QuotaExceeded.
    """
    keyring, node = session.storage.keyring, place.node
    with session.storage.database.read() as connection:
        parts = whole_past(connection, node.id)
    for part in parts:
        contents.require_whole(keyring, node.space, (held.row for held in part))
    rows = [held.row for part in parts for held in part]
    ids = {row["id"]: new_id() for row in rows}
    identity, made, records = new_id(), list[NewVersion](), list[VersionRecord]()
    previous: bytes | None = None
    for number, row in enumerate(rows, start=1):
        sha256, is_erased = contents.sha256_of(keyring, row), row["erased_in"] is not None
        content = b"" if is_erased else resealing.content(row, sha256, previous)
        # What was restored tells of which version; what was copied from elsewhere, still of that.
        new = NewVersion(ids[row["id"]], content, row["size"], sha256, ids.get(row["origin"], row["origin"]))
        made.append(new)
        if not is_erased:
            previous = content
            records.append(VersionRecord(identity, new.id, number, parent, node.name, content, new.size, row["at"]))
    resealing.record(records)
    return Past(identity, _told(rows), tuple(made))


def _told(rows: Sequence[Mapping[Any, Any]]) -> tuple[tuple[bytes, bool], ...]:
    return tuple((bytes(row["id"]), row["erased_in"] is not None) for row in rows)


def stands(tx: Transaction, change: Change, source: Node, parent: Node, lane: bytes, name: str, past: Past) -> Node:
    """Let a document stand in another space with the past that was made ready. Raises Replan if that is another now."""
    held = [each for part in whole_past(tx.connection, source.id) for each in part]
    rows = [each.row for each in held]
    if _told(rows) != past.source:
        raise Replan
    newest, last = past.versions[-1], rows[-1]
    fresh = source._replace(
        space=change.space, parent=parent.id, lane=lane, folded=tx.storage.names.folded(change.space, parent.id, name),
        id=past.node, name=name, version=len(rows), version_id=newest.id, size=newest.size, modified=last["at"],
        has_properties=False,
    )  # fmt: skip
    change.open_all([fresh])
    change.add_copies(fresh, list(zip(past.versions, rows, strict=True)))
    change.link(Lineage.MOVED, fresh.id, fresh.version, source.id, source.version)
    _link(change, fresh.id, held)
    _say(tx, change, source.space, rows, past)
    return fresh


def _link(change: Change, node: bytes, held: Sequence[Held]) -> None:
    """Tell how the versions came, without the documents that they came from: those stand in another space."""
    for number, each in enumerate(held, start=1):
        if each.came is not None:
            change.link(each.came, node, number, NOBODY, 0)
        if not each.is_shown:
            change.link(Lineage.FILLED, node, number + 1, node, number)


def _say(tx: Transaction, change: Change, source: bytes, rows: Sequence[Mapping[Any, Any]], past: Past) -> None:
    """Let what was said of the versions, and their checksums where they are known, come along."""
    keyring, ids = tx.storage.keyring, [row["id"] for row in rows]
    new = dict(zip(ids, (each.id for each in past.versions), strict=True))
    for version, text in comments(tx.connection, keyring, ids).items():
        change.comment([new[version]], text)
    known = checksums.known(tx.connection, keyring, source, ids)
    kept = [(new[version], sums) for version, sums in known.items()]
    checksums.keep(tx.storage.database, tx.connection, keyring, change.space, kept)
