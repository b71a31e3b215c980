"""Identity follows the name: a document survives the dance by which a program saves it.

After NTFS tunnelling. When a name was left (by a delete or a rename) and is taken again by the same principal within
the window, by something fresh, the document that held the name continues there with a new version. Where its old bytes
stand under another name by then, those become a document of their own, which shares the past. Nothing is inferred
from what temporary names look like, and all of it is read from the catalogue, so that it holds across restarts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import bindparam, select

from auth.roles import Action
from config.clock import now_us
from config.database import Syncable
from config.ids import new_id
from config.queries import Query
from providers import tables
from providers.catalogue import contents, lineage
from providers.catalogue.change import MODIFIED, Change, Lineage, NewVersion
from providers.catalogue.nodes import Node
from providers.catalogue.past import as_they_went
from providers.catalogue.standing import Standing
from providers.drive.granting import grant_alike
from providers.drive.guards import chain_slots, covering
from providers.drive.properties import differing, properties_of
from providers.drive.rivals import require_walls
from providers.drive.session import Replan
from providers.drive.storage import Storage
from providers.drive.targets import Target, Vacated, has_inner_rights
from providers.drive.transaction import Look, Transaction
from providers.vault.vault import VersionRecord

_CLOSED = tables.closed_entry.c
_CHANGE = tables.change.c
_LEFT = Query(
    select(*(_CLOSED[name] for name in Standing._fields), _CHANGE.at, _CHANGE.principal)
    .join(tables.change, (_CHANGE.space == _CLOSED.space) & (_CHANGE.number == _CLOSED.to_change))
    .where(
        _CLOSED.parent == bindparam("parent"),
        _CLOSED.lane == bindparam("lane"),
        _CLOSED.folded == bindparam("folded"),
    )
    .order_by(_CLOSED.from_change.desc())
    .limit(1)
)


# --- who held the name


def continuing(look: Look, found: Target, started: int) -> Target:
    """Return `found` with the document that continues there, if one does, when something fresh arrives.

    `started` is when the arriving operation began, in microseconds. An empty document that was made at the name only
    to be filled makes way for the one that held the name before it.
    """
    window = look.storage.identity_window_us
    placeholder = found.node
    if not window or (placeholder is not None and (placeholder.is_folder or placeholder.version)):
        return found
    folded = look.storage.names.folded(found.space.id, found.parent.node.id, found.path.name)
    row = _LEFT.first(look.connection, parent=found.parent.node.id, lane=found.lane, folded=folded)
    if row is None:
        return found
    held, (left_at, leaver) = Standing(*row[:-2]), row[-2:]
    if held.is_folder or leaver != look.principal.id:
        return found
    found = replace(found, as_of=None)  # from here on locks decide too, which are no part of what a change tells
    if placeholder is not None:
        # What came back by itself, still empty, is no other document's placeholder.
        if held.node == placeholder.id or not _is_being_filled(look, found, placeholder, started):
            return found
        started = look.by_our_clock(placeholder.space, placeholder.created)
    if look.by_our_clock(found.space.id, left_at) < started - window:
        return found
    vacated = _as_left(look, held, found.path.name)
    if vacated is None or not look.may(Action.REPLACE, (*found.parent.chain, vacated.node)):
        return found
    return replace(found, vacated=vacated)


def _is_being_filled(look: Look, found: Target, placeholder: Node, started: int) -> bool:
    """Return whether the empty document is but a step of this principal's, on the way to its content."""
    if look.maker(placeholder.space, placeholder.from_change) != look.principal.id:
        return False
    if look.by_our_clock(placeholder.space, placeholder.created) >= started - look.storage.identity_window_us:
        return True
    slots = chain_slots((*found.parent.chain, placeholder))
    return any(lock.principal == look.principal.id for lock in covering(look, slots[-1:]))


def _as_left(look: Look, held: Standing, name: str) -> Vacated | None:
    """Return the document as it continues at the name where `held` tells that it stood; None if it does not.

    It does not if it went on elsewhere, with a version since, or is another's by now; nor if there is nothing but
    another document's past in it.
    """
    assert held.to_change is not None
    (node,), row = as_they_went(look.storage.tree, look.connection, [held]), None
    if node.version:
        row = contents.version(look.connection, look.storage.keyring, node.space, node.id, node.version)
        if row["change"] > held.to_change:
            return None
    standing = look.storage.tree.by_id(look.connection, node.id)
    if standing is not None and not _may_leave(look, standing):
        return None
    if standing is None and node.version == 1 and _is_backup(look, node.id):
        return None
    return Vacated(node._replace(name=name), row, standing)


def _may_leave(look: Look, standing: Node) -> bool:
    """Return whether a document may leave the name that this principal gave it, its bytes staying there."""
    if look.maker(standing.space, standing.from_change) != look.principal.id:
        return False
    chain = look.storage.tree.ancestry(look.connection, standing)
    if not chain:
        return True  # it lies in a folder that went to the trash
    held = covering(look, chain_slots(chain))
    return all(lock.principal == look.principal.id for lock in held)


def _is_backup(look: Look, node: bytes) -> bool:
    return lineage.shares_of(look.connection, node) is not None


def is_fresh(look: Look, node: Node, started: int) -> bool:
    """Return whether all that the document has of its own is younger than the window, when an operation began.

    What was made long ago, but got its first content within the window, was an upload in progress.
    """
    window = look.storage.identity_window_us
    if not window or node.is_folder:
        return False
    first = look.first_content_at(node.id)
    return look.by_our_clock(node.space, node.created if first is None else first) >= started - window


def fills(look: Look, node: Node, started: int) -> bool:
    """Return whether the document's newest version is empty, and but a step of this principal's to the next."""
    window = look.storage.identity_window_us
    if not window or node.size or not node.version:
        return False
    row = contents.version(look.connection, look.storage.keyring, node.space, node.id, node.version)
    return bool(row["principal"] == look.principal.id and look.by_our_clock(node.space, row["at"]) >= started - window)


# --- the bytes that stay under the name it went to


@dataclass(frozen=True, slots=True)
class Backup:
    """The document about to be made of bytes that stay where `standing` is, when that returns to its name.

    `new` is its first version; None where there is no content.
    """

    node: bytes
    standing: Node
    new: NewVersion | None

    @property
    def record(self) -> VersionRecord | None:
        """What its version leaves in a pack."""
        new = self.new
        if new is None:
            return None
        return VersionRecord(
            self.node, new.id, 1, self.standing.parent, self.standing.name, new.content, new.size, now_us()
        )


def backup_of(storage: Storage, vacated: Vacated | None) -> Backup | None:
    """Plan the document that takes over where the continuing one stands now; None where it stands nowhere."""
    if vacated is None or vacated.standing is None:
        return None
    new = None if vacated.row is None else contents.repeated(storage.keyring, vacated.row)
    return Backup(new_id(), vacated.standing, new)


def left_record(storage: Storage, backup: Backup | None) -> tuple[int, frozenset[Syncable]]:
    """Leave the record of a backup's version in a pack; return its length, and what must be synced."""
    fields = None if backup is None else backup.record
    if backup is None or fields is None:
        return 0, frozenset()
    record, needs = storage.vault.version_record(backup.standing.space, fields)
    return record.length, frozenset(needs)


# --- the return


def carry_on(tx: Transaction, change: Change, found: Target, backup: Backup | None) -> Node:
    """Let the document that held the name stand there again; return it, still with the version it had.

    Raises Replan if `backup` was not planned for where it stands now.
    """
    vacated, placeholder = found.vacated, found.node
    assert vacated is not None
    standing = vacated.standing
    if (None if backup is None else backup.standing) != standing:
        raise Replan
    inner = has_inner_rights(tx, found.space.id)
    steps = {} if placeholder is None else properties_of(tx, placeholder)
    for leaving in (placeholder, standing):
        if leaving is not None:
            change.close(leaving)
    node = change.reopen(vacated.node)
    if backup is not None:
        _stay(tx, change, vacated, backup, inner=inner)
    if placeholder is not None:
        node = fill_up(tx, change, node, steps)
        tx.storage.locks.hand_over(placeholder.id, node.id)
    if inner:
        tx.bump()
        require_walls(tx.storage, tx.connection, found.space)
    return node


def fill_up(tx: Transaction, change: Change, node: Node, given: Mapping[str, str]) -> Node:
    """Give a document those properties that it lacks; a time of modification that a client set counts in any case."""
    own = properties_of(tx, node)
    lacking = {name: value for name, value in given.items() if name not in own and name != MODIFIED}
    for name, value in differing(tx, node, lacking).items():
        change.set_property(node, name, value)
        node = node._replace(has_properties=True)
    return change.set_modified(node, int(given[MODIFIED])) if MODIFIED in given else node


def _stay(tx: Transaction, change: Change, vacated: Vacated, backup: Backup, *, inner: bool) -> None:
    """Make a document of the bytes that stay, with the rights, properties and past of the one that leaves."""
    standing, new = backup.standing, backup.new
    parent = tx.storage.tree.by_id(tx.connection, standing.parent)
    if parent is None:
        return  # the folder it lay in is gone, and it with it
    if new is None:
        made = change.add(parent, standing.lane, standing.name, is_folder=False, node=backup.node)
    else:
        made = change.add_document(parent, standing.lane, standing.name, backup.node, new, tx.author)
        change.link(Lineage.SHARES, made.id, 1, standing.id, vacated.node.version)
    made = fill_up(tx, change, made, properties_of(tx, vacated.node))
    if made.modified != vacated.node.modified:
        change.set_modified(made, vacated.node.modified)
    if inner:
        grant_alike(tx, change, standing, made)
