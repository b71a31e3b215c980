"""An earlier version again, as a new one: no bytes are copied, and nothing of what came between is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auth.roles import Action
from config.clock import now_us
from config.database import Syncable
from providers.catalogue import contents
from providers.catalogue.change import ChangeKind, NewVersion
from providers.catalogue.nodes import Node
from providers.drive.guards import chain_slots, require_conditions, require_unlocked
from providers.drive.history import version_at
from providers.drive.places import Place
from providers.drive.session import REPLANS_MAX, Replan, Session
from providers.drive.storage import Storage
from providers.drive.targets import require_room
from providers.drive.transaction import Look, Transaction, node_facts
from providers.errors import BadName, CommentTooLong, IsAFolder, PreconditionFailed
from providers.model import Conditions, Item
from providers.paths import Path
from providers.vault.vault import VersionRecord

#: How long a comment may be, in bytes of UTF-8.
COMMENT_BYTES_MAX = 2000


@dataclass(frozen=True, slots=True)
class Again:
    """Content of before, about to be version `number` of a document; its record stands in a pack already."""

    node: bytes
    number: int
    new: NewVersion
    record_bytes: int
    needs: frozenset[Syncable]


def require_short(text: str) -> None:
    """Raise BadName for what is no comment, CommentTooLong."""
    try:
        length = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise BadName(why="a comment is text in Unicode.") from None
    if length > COMMENT_BYTES_MAX:
        raise CommentTooLong(limit=COMMENT_BYTES_MAX)


def again(storage: Storage, node: Node, row: Mapping[Any, Any]) -> Again:
    """Let the content of the version in `row` be the next one of `node`; leave its record in a pack."""
    new = contents.repeated(storage.keyring, row)
    fields = VersionRecord(node.id, new.id, node.version + 1, node.parent, node.name, new.content, new.size, now_us())
    record, needs = storage.vault.version_record(node.space, fields)
    return Again(node.id, fields.number, new, record.length, needs)


def holds(look: Look, node: Node, row: Mapping[Any, Any]) -> bool:
    """Return whether the document's newest version has the content of the version in `row`."""
    keyring = look.storage.keyring
    return node.size == row["size"] and contents.sum_of(look.connection, keyring, node) == contents.sha256_of(
        keyring, row
    )


def restore(session: Session, path: Path, number: int, comment: str | None, conditions: Conditions) -> Item:
    """Let an earlier version be the document's newest again; the same content is none, and nothing changes."""
    require_short(comment or "")
    for _ in range(REPLANS_MAX):
        with session.look() as look:
            place, row = _asked(look, path, number)
            if holds(look, place.node, row):
                return look.item(place)
        ready = again(session.storage, place.node, row)

        def work(tx: Transaction, ready: Again = ready) -> Item:
            place, row = _asked(tx, path, number)
            require_conditions(tx, path, conditions)
            require_unlocked(tx, chain_slots(place.chain), conditions, path)
            if row["id"] != ready.new.origin:
                raise Replan
            said = f"version {number} again" if comment is None else comment
            after = brought_back(tx, place, ready, said)
            tx.finish(ChangeKind.RESTORE, after, "restore", facts=node_facts(after.node))
            return tx.item(after)

        try:
            return session.commit([path], work, needs=ready.needs)
        except Replan:
            continue
    raise PreconditionFailed


def _asked(look: Look, path: Path, number: int) -> tuple[Place, Mapping[str, Any]]:
    """Return the document, and the row of the version that shall be again."""
    place = look.place(path)
    look.allow(Action.RESTORE, place)
    look.allow(Action.HISTORY, place)
    if place.node.is_folder:
        raise IsAFolder
    return place, version_at(look, place, number)


def brought_back(tx: Transaction, place: Place, ready: Again, comment: str) -> Place:
    """Add the version to the document at `place`, and say what it is; return the place as it stands then."""
    node = place.node
    if (node.id, node.version + 1) != (ready.node, ready.number):
        raise Replan
    change = tx.change(node.space)
    require_room(place.space, change.sealed_bytes, ready.record_bytes)
    change.sealed_bytes += ready.record_bytes
    standing = change.add_version(node, ready.new, tx.author)
    if comment:
        change.comment([ready.new.id], comment)
    return place.bearing(standing)


def comment(session: Session, path: Path, number: int, text: str) -> None:
    """Say something of a version; nothing, with an empty text."""
    require_short(text)

    def work(tx: Transaction) -> None:
        place = tx.place(path)
        tx.allow(Action.REPLACE, place)
        tx.allow(Action.HISTORY, place)
        if place.node.is_folder:
            raise IsAFolder
        row = version_at(tx, place, number)
        tx.change(place.space.id).comment([row["id"]], text)
        facts = {"version": number}
        tx.finish(ChangeKind.COMMENT, place, "comment", facts=facts, personal={"comment": text})

    session.commit([path], work)
