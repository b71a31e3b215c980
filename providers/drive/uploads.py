"""Bytes on their way in: an upload becomes a version at its commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from auth.roles import Action
from config.clock import SECOND_US, now_us
from config.database import Syncable
from config.ids import NOBODY, new_id
from providers.catalogue import checksums, held
from providers.catalogue.change import Change, ChangeKind, Lineage, NewVersion
from providers.catalogue.contents import ChunkIndex, all_known, publish, require_standing, sha256_of, sum_of, version
from providers.catalogue.nodes import Node
from providers.drive.guards import require_conditions, require_unlocked
from providers.drive.identity import Backup, backup_of, carry_on, continuing, fills, left_record
from providers.drive.reserving import Room
from providers.drive.session import REPLANS_MAX, Replan, Session
from providers.drive.targets import Target, give_way, is_apart, require_room, target, target_again, target_held
from providers.drive.transaction import Look, Transaction, node_facts
from providers.errors import IsAFolder, PreconditionFailed, UploadIncomplete
from providers.model import Checksums, Conditions, Item
from providers.paths import Path
from providers.vault.vault import ChunkRecord, ContentWriter, Sealed, VersionRecord, chunker_of

#: Something that is done within a transaction.
Step = Callable[[Transaction], object]


class Plan(NamedTuple):
    """What a version record was written for: folder and document, the number and id of the version about to be.

    `is_new`: the document is made by it; one that had nothing yet, and continues, has a first version too. `backup` is
    what is made of bytes that stay elsewhere, where the document comes back from there.
    """

    parent: bytes
    node: bytes
    number: int
    version_id: bytes
    is_new: bool
    backup: Backup | None = None


class Copied(NamedTuple):
    """A version whose content another one is about to refer to, wholly or with changes: a document and a number."""

    node: bytes
    number: int


class Upheld(NamedTuple):
    """An upload that was kept on the way, as which draft."""

    id: bytes
    draft: bytes


class Outgrown(Exception):
    """Something else stands at `path` by now than what was appended to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


class Upload:
    """A draft written from its beginning to its end. Nothing of it is visible before `commit` returns."""

    def __init__(
        self,
        session: Session,
        writer: ContentWriter,
        declared: int | None,
        conditions: Conditions,
        modified: int | None,
        reserved: Room | None,
        seen: Target,
        started: int,
    ) -> None:
        self._session = session
        self._seen = seen
        self._reserved = reserved
        self._writer: ContentWriter | None = writer
        self._declared = declared
        self._conditions = conditions
        self._modified = modified
        self._started = started
        self._size = 0
        self._summing: checksums.Summing | None = None

    def sum_up(self) -> None:
        """Make checksums of all that will be written, and keep them with the version about to be."""
        self._summing = checksums.Summing()

    @property
    def sums(self) -> Checksums | None:
        """The checksums of what was written; None unless `sum_up` was called before."""
        return None if self._summing is None else self._summing.sums

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes. Raises QuotaExceeded as soon as more came than there was room for."""
        assert self._writer is not None
        self._size += len(data)
        if self._reserved is not None:
            self._reserved.reach(self._size)
        if self._summing is not None:
            self._summing.update(data)
        self._writer.write(data)

    def discard(self) -> None:
        """Forget the draft. What stood at its name is untouched. Harmless after `commit`."""
        if self._writer is not None:
            self._writer.discard()
            self._writer = None
        self._release()

    def _release(self) -> None:
        if self._reserved is not None:
            self._reserved.release()

    def commit(self, first: Step | None = None) -> tuple[Item, bool]:
        """Make the draft the document's newest version, durably; return the item, and whether it is new.

        `first` is done before, in the same transaction, each time that it is tried.
        Raises UploadIncomplete if fewer or more bytes came than were declared, and whatever `put` would refuse now.
        """
        if self._declared is not None and self._size != self._declared:
            self.discard()
            raise UploadIncomplete
        assert self._writer is not None
        seen = self._seen if self._size else replace(self._seen, vacated=None)
        sealed, plan = finished(self._session, self._writer, seen, self._size)
        self._writer = None
        arrival = Arrival(
            self._session,
            sealed,
            self._conditions,
            self._modified,
            seen,
            started=self._started,
            sums=self.sums,
            plan=plan,
            first=first,
        )
        try:
            return arrival.commit()
        except BaseException:
            sealed.let_go()
            raise
        finally:
            self._release()


def upload(session: Session, path: Path, declared: int | None, conditions: Conditions, modified: int | None) -> Upload:
    """Begin the upload of a document; refuse at once what may not be."""
    with session.look() as look:
        found = target(look, path, Action.ADD)
        check_replaceable(look, found, conditions)
        if declared != 0:
            found = continuing(look, found, look.at)
        space, reserved, previous, started = found.space, None, standing_content(look, found.lands_on), look.at
        apart = is_apart(look, space)
        if space.quota_bytes is not None:
            reserved = Room(session, look, found, declared)
    writer = writer_for(session, space.id, declared, previous, apart)
    return Upload(session, writer, declared, conditions, modified, reserved, found, started)


class Arrival:
    """Sealed content about to become a version of whatever stands at a path, that of what was `seen` as it began."""

    def __init__(
        self,
        session: Session,
        sealed: Sealed,
        conditions: Conditions,
        modified: int | None,
        seen: Target,
        *,
        started: int,
        written: int | None = None,
        sums: Checksums | None = None,
        plan: Plan | None = None,
        copied: Copied | None = None,
        upload: Upheld | None = None,
        first: Step | None = None,
        is_held: bool = False,
        appends: bool = False,
    ) -> None:
        self._session = session
        #: Whether it belongs to what was found when it began, whatever its name is by now, or to the name.
        self._is_held = is_held
        #: Whether it is what was seen with more behind it, and makes no sense of anything else that stands there.
        self._appends = appends
        #: As what it was kept on the way, and what that holds of the content.
        self._upload = upload
        self._held: list[ChunkRecord] = []
        self._started = started
        #: When its last byte came, where that was told to whoever wrote it.
        self._written = written
        self._began = seen
        self._seen: Target | None = seen
        self._sums = sums
        self._plan_at_hand = plan
        self._before = first
        self._copied = copied
        self._storage = session.storage
        self._path = seen.path
        self._space = seen.space.id
        self._sealed = sealed
        self._is_published = False
        self._conditions = conditions
        self._modified = modified

    def commit(self) -> tuple[Item, bool]:
        """Commit; plan anew while others change the same document between plan and transaction. Raises Outgrown."""
        for _ in range(REPLANS_MAX):
            plan, record_bytes, needs = self._prepared()
            try:
                made = self._session.commit(
                    [self._path],
                    lambda tx, plan=plan, extra=record_bytes: self._work(tx, plan, extra),  # type: ignore[misc]
                    needs=needs,
                    space=self._space,
                )
            except Replan:
                continue
            if self._is_published:
                self._sealed.settle()
            self._storage.vault.remember(self._space, self._sealed)
            return made
        raise PreconditionFailed

    def _prepared(self) -> tuple[Plan | None, int, frozenset[Syncable]]:
        """Return a plan, the length of the records written for it, and what must be synced."""
        sealed = self._sealed
        plan, self._plan_at_hand = self._plan_at_hand, None
        if plan is not None and sealed.version is not None:
            length, needs = sealed.version.length, sealed.needs
        else:
            plan = self._plan()
            if plan is None:
                return None, 0, sealed.needs
            fields = record_of(self._path.name, plan, sealed.content, sealed.size)
            record, more = self._storage.vault.version_record(self._space, fields)
            length, needs = record.length, sealed.needs | more
        staying, more = left_record(self._storage, plan.backup)
        return plan, length + staying, needs | more

    def _plan(self) -> Plan | None:
        """Tell which version this will be; None where it will be none: an empty new document."""
        found, self._seen = self._seen, None
        if found is None or (found.vacated is None and found.node is not None and not found.node.version):
            with self._session.look() as look:
                found = self._target(look)
        return planned(self._session, found, self._sealed.size)

    def _target(self, look: Look) -> Target:
        """Return where it is about to stand. Nothing continues with what is empty: that is but a beginning."""
        if self._began.stands(look):
            return self._began
        found = (target_held if self._is_held else target_again)(look, self._began, Action.ADD)
        return continuing(look, found, self._started) if self._sealed.size else found

    def _work(self, tx: Transaction, plan: Plan | None, record_bytes: int) -> tuple[Item, bool]:
        self._is_published = False
        if self._before is not None:
            self._before(tx)
        found = self._target(tx)
        if found.space.id != self._space:
            raise PreconditionFailed
        check_replaceable(tx, found, self._conditions)
        node = found.node
        if self._appends and node is not None and _version_of(node) != _version_of(self._began.node):
            raise Outgrown(found.path)
        if node is not None and found.vacated is None and self._is_same(tx, node):
            return self._unchanged(tx, found, node), False
        change = tx.change(self._space)
        sealed = self._sealed
        require_room(found.space, change.sealed_bytes, sealed.sealed_bytes + record_bytes)
        self._rely(tx)
        if self._copied is not None:
            require_standing(tx.connection, *self._copied)
        if plan is None:
            if node is not None and node.version:
                raise Replan
            standing = node or change.add(found.parent.node, found.lane, self._path.name, is_folder=False)
        else:
            standing = self._arrived(tx, change, found, plan, record_bytes)
        modified = self._time_of(node, standing)
        if modified != standing.modified:
            standing = change.set_modified(standing, modified)
        if node is None:
            give_way(tx, found)
        place = found.placed(standing)
        told = "add" if standing.version <= 1 else "write"
        tx.finish(ChangeKind.PUT, place, told, facts=node_facts(standing))
        item = tx.item(place)
        # The same bytes again may be cut in another way: then it is not this content that the version refers to.
        is_its = plan is not None and standing.version_id == plan.version_id
        tx.remember(place, item, change.number, sealed.content if is_its else b"")
        return item, node is None

    def _rely(self, tx: Transaction) -> None:
        """Make sure of what is not brought: the upload holds it, or the space has it.

        Raises UploadIncomplete, UploadTakenOver where it is somebody else's by now.
        """
        relied: Sequence[bytes] = self._sealed.relied
        if self._upload is not None:
            held.require_own(tx.connection, *self._upload)
            self._held = held.own(tx.connection, self._space, self._upload.id, relied)
            own = {record.cid for record in self._held}
            relied = [cid for cid in relied if cid not in own]
        if not all_known(tx.connection, self._space, relied):
            raise UploadIncomplete

    def _arrived(self, tx: Transaction, change: Change, found: Target, plan: Plan, record_bytes: int) -> Node:
        """Let the planned version stand; return the document that has it."""
        sealed, before = self._sealed, self._standing(found, plan)
        change.sealed_bytes += sealed.sealed_bytes + record_bytes
        change.sealed_bytes -= publish(tx.connection, self._space, (*self._held, *sealed.records))
        if self._upload is not None:
            held.adopted(tx.connection, self._space, self._upload.id, self._held)
        self._is_published = True
        new = NewVersion(plan.version_id, sealed.content, sealed.size, sealed.sha256)
        if before is None:
            parent, lane = found.parent.node, found.lane
            standing = change.add_document(parent, lane, self._path.name, plan.node, new, tx.author)
        elif found.vacated is not None:
            standing = carry_on(tx, change, found, plan.backup)
            if not self._is_same(tx, standing):
                standing = change.add_version(standing, new, tx.author)
                change.link(Lineage.CONTINUED, standing.id, standing.version, NOBODY, 0)
        else:
            is_step = sealed.size > 0 and fills(tx, before, self._started)
            standing = change.add_version(before, new, tx.author)
            if is_step:
                change.link(Lineage.FILLED, standing.id, standing.version, standing.id, before.version)
        if self._sums is not None:
            kept = [(standing.version_id, self._sums)]
            checksums.keep(self._storage.database, tx.connection, self._storage.keyring, self._space, kept)
        return standing

    def _standing(self, found: Target, plan: Plan) -> Node | None:
        """Return the document that gets the version; raise Replan if it is not the one the plan was made for."""
        node = found.lands_on
        if found.parent.node.id != plan.parent:
            raise Replan
        if plan.is_new != (node is None):
            raise Replan
        if node is not None and (node.id != plan.node or node.version + 1 != plan.number):
            raise Replan
        return node

    def _is_same(self, tx: Transaction, node: Node) -> bool:
        """Return whether the document already holds this very content."""
        if node.version == 0:
            return self._sealed.size == 0
        if node.size != self._sealed.size:
            return False
        return sum_of(tx.connection, self._storage.keyring, node) == self._sealed.sha256

    def _time_of(self, before: Node | None, standing: Node) -> int:
        """Return the time of modification to be shown: the one asked for, or that of the last byte.

        Who wrote it was told that one while it was open, to the second, and takes any other for a change of somebody's
        since. It never goes back behind what was shown before.
        """
        if self._modified is not None:
            return self._modified
        written, shown = self._written, standing.modified
        if written is None or written // SECOND_US == shown // SECOND_US:
            return shown
        return shown if before is not None and before.modified > written else written

    def _unchanged(self, tx: Transaction, found: Target, node: Node) -> Item:
        """The same bytes again are no version. A time that a client asked for, or was told, is set all the same."""
        modified = self._time_of(node, node)
        if modified == node.modified:
            return tx.item(found.place)
        change = tx.change(self._space)
        standing = change.set_modified(node, modified)
        place = found.placed(standing)
        tx.finish(ChangeKind.PROPERTIES, place, "set_property")
        return tx.item(place)


def _version_of(node: Node | None) -> bytes:
    return b"" if node is None or not node.version else node.version_id


def planned(session: Session, found: Target, size: int) -> Plan | None:
    """Return which version content of `size` bytes will be at `found`; None for an empty new document."""
    parent, node = found.parent.node.id, found.lands_on
    if size == 0 and (node is None or not node.version):
        return None
    backup = backup_of(session.storage, found.vacated)
    if node is None:
        return Plan(parent, new_id(), 1, new_id(), is_new=True)
    return Plan(parent, node.id, node.version + 1, new_id(), is_new=False, backup=backup)


def finished(session: Session, writer: ContentWriter, seen: Target, size: int) -> tuple[Sealed, Plan | None]:
    """End a content of `size` bytes, with the record of the version that it will be, and the plan that was made for.

    That is made for what was `seen` when the writing began: mostly it still stands there.
    """
    plan = None
    if seen.vacated is not None or seen.node is None or seen.node.version:
        plan = planned(session, seen, size)
    return writer.finish(None if plan is None else partial(record_of, seen.path.name, plan)), plan


def record_of(name: str, plan: Plan, content: bytes, size: int) -> VersionRecord:
    """Return the record that the planned version leaves in a pack."""
    return VersionRecord(plan.node, plan.version_id, plan.number, plan.parent, name, content, size, now_us())


def check_replaceable(tx: Look, found: Target, conditions: Conditions) -> None:
    """Raise unless content may be put at `found` now: rights, kind, locks, conditions."""
    if found.node is not None:
        if found.node.is_folder:
            raise IsAFolder
        tx.allow(Action.REPLACE, found.place)
    require_conditions(tx, found.path, conditions, may_lapse=True)
    require_unlocked(tx, found.slots(tx), conditions, found.path, membership=found.node is None)


def writer_for(
    session: Session, space: bytes, declared: int | None, previous: bytes | None = None, apart: bool = False
) -> ContentWriter:
    """Return a writer of sealed content into a space; `previous` is the content it will follow in its document.

    `apart` as in `ChunkIndex`.
    """
    index = ChunkIndex(session.storage.database, space, apart)
    chunker = None if previous is None else chunker_of(previous)
    return session.storage.vault.writer(space, declared=declared, chunker=chunker, known=index.known)


def standing_content(look: Look, node: Node | None) -> bytes | None:
    """Return the reference to what a document holds now; None if it never had content."""
    if node is None or node.version == 0:
        return None
    row = version(look.connection, look.storage.keyring, node.space, node.id, node.version)
    return bytes(row["content"])


def content_of(session: Session, space: bytes, item: Item) -> Sealed:
    """Return what a version holds, as content to be referred to again."""
    storage = session.storage
    with storage.database.read() as connection:
        row = version(connection, storage.keyring, space, item.id, item.version)
    content = bytes(row["content"])
    chunker = chunker_of(content) or 0
    return Sealed(content, item.size, sha256_of(storage.keyring, row), chunker, (), (), 0, frozenset())
