"""Long histories in minutes: what a person's saves would leave, made by the same code, thousands to a transaction.

Every save has its own rows: entry, version and MAC, and a record in a pack. `verify` holds on what is made so. It
differs from saves at a drive in this: a change (with its row, the head, and an event in the space's log and in each
stream) holds `saves_a_change` of them, which may be one; a few contents, sealed beforehand, serve all; nobody's
rights and locks are asked; the clock is the maker's own; and thousands of saves share one sync.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path as FilePath
from typing import Any, TypeVar

from sqlalchemy import event

from auth.rights import Principal
from auth.roles import Role
from config.clock import SECOND_US, now_us
from config.ids import NOBODY, new_id
from providers.catalogue.change import ChangeKind, NewVersion
from providers.catalogue.contents import publish
from providers.catalogue.nodes import Node
from providers.drive.places import Place
from providers.drive.transaction import Transaction, node_facts
from providers.installation import Installation
from providers.model import SpaceInfo
from providers.paths import Path
from providers.vault.vault import ChunkRecord, Sealed, VersionRecord
from tests.worlds import World

T = TypeVar("T")

SPACE, CUSTOMER, LOGIN = "Archive of works", "Kund AB", "anna"
DAY_US = 24 * 3600 * SECOND_US
CONTENT_BYTES = 10 << 10
#: Whoever measures saves more than the brake takes for a person's. It goes on counting, and never pauses.
SETTINGS = {"brake.documents_min": 1_000_000}
_CONTENTS = 16
#: How many saves share a transaction.
_TOGETHER = 2000


class Clock:
    """What an installation takes for the time, instead of its database's: never behind, a second later each time."""

    def __init__(self, world: World, at: int) -> None:
        self.at = at
        world.installation.database.now_us = self._tell  # type: ignore[method-assign]

    def _tell(self, connection: Any) -> int:
        self.at = min(self.at + 1000, now_us())
        return self.at


@dataclass
class _Save:
    """One save about to be made: its place, what it will be, and the record it left in a pack."""

    parent: Place
    name: str
    node: Node | None
    id: bytes
    version_id: bytes
    sealed: Sealed
    record: ChunkRecord


class Maker:
    """Makes folders, documents and versions in one space, as one principal, at the moments of one clock."""

    def __init__(
        self, world: World, space: SpaceInfo, principal: Principal, clock: Clock, saves_a_change: int = 1
    ) -> None:
        self.clock = clock
        self._saves_a_change = saves_a_change
        self._world = world
        self._storage = world.installation.storage
        self._space = space
        self._principal = principal
        self._contents = [self._sealed(number) for number in range(_CONTENTS)]

    @property
    def root(self) -> Place:
        """The space's root."""
        with self._storage.database.read() as connection:
            node = self._storage.tree.root(connection, self._space.id)
        assert node is not None
        return self._place((node,))

    def _place(self, chain: tuple[Node, ...]) -> Place:
        path = Path((self._space.name, *(node.name for node in chain[1:])))
        return Place(path, self._space, chain, self._storage.tree, None)

    def _sealed(self, number: int) -> Sealed:
        """Seal one of the contents that all versions hold, and let the catalogue know of its chunks."""
        writer = self._storage.vault.writer(self._space.id, declared=CONTENT_BYTES, known=lambda cids: set())
        writer.write(hashlib.shake_128(b"bulk %d" % number).digest(CONTENT_BYTES))
        sealed = writer.finish()
        self._storage.database.apply(
            lambda connection: publish(connection, self._space.id, sealed.records), sealed.needs
        )
        return sealed

    def folders(self, above: Place, names: Iterable[str]) -> list[Place]:
        """Make folders, each by a change of its own."""

        def work(connection: Any) -> list[Place]:
            tx = Transaction(self._storage, connection, self._principal)
            made = []
            for name in names:
                node = tx.change(self._space.id).add(above.node, NOBODY, name, is_folder=True)
                made.append(self._place((*above.chain, node)))
                tx.finish(ChangeKind.MAKE_FOLDER, made[-1], "make_folder")
            return made

        return self._storage.database.apply(work)

    def within(self, folder: Place) -> list[Place]:
        """Return what stands in a folder."""
        with self._storage.database.read() as connection:
            return [self._place((*folder.chain, node)) for node in self._storage.tree.children(connection, folder.node)]

    def documents(self, wanted: Iterable[tuple[Place, str]]) -> Iterator[Place]:
        """Make a document with one version under each name, and yield where it stands."""
        for some in _parts(wanted, _TOGETHER):
            yield from self._commit([(parent, name, None) for parent, name in some])

    def versions(self, places: Iterable[Place]) -> Iterator[Place]:
        """Give each document a new version, and yield it as it then stands."""
        for some in _parts(places, _TOGETHER):
            above = [self._place(place.chain[:-1]) for place in some]
            yield from self._commit(
                [(parent, place.node.name, place.node) for parent, place in zip(above, some, strict=True)]
            )

    def _commit(self, wanted: Sequence[tuple[Place, str, Node | None]]) -> list[Place]:
        needs: set[Any] = set()
        saves = [self._recorded(*each, needs) for each in wanted]

        def work(connection: Any) -> list[Place]:
            tx = Transaction(self._storage, connection, self._principal)
            return [place for some in _parts(saves, self._saves_a_change) for place in self._changed(tx, some)]

        return self._storage.database.apply(work, needs)

    def _recorded(self, parent: Place, name: str, node: Node | None, needs: set[Any]) -> _Save:
        """Choose the next content, and leave the version's record in a pack."""
        identity, version_id = new_id() if node is None else node.id, new_id()
        number = 1 if node is None else node.version + 1
        sealed = self._contents[(identity[0] + number) % _CONTENTS]
        fields = VersionRecord(
            identity, version_id, number, parent.node.id, name, sealed.content, sealed.size, self.clock.at
        )
        record, more = self._storage.vault.version_record(self._space.id, fields)
        needs |= more
        return _Save(parent, name, node, identity, version_id, sealed, record)

    def _changed(self, tx: Transaction, saves: Sequence[_Save]) -> list[Place]:
        """Make one change of these saves; its event tells of the first."""
        made = [self._save(tx, save) for save in saves]
        first = made[0].node
        told = "add" if first.version == 1 else "write"
        tx.finish(ChangeKind.PUT, made[0], told, facts={**node_facts(first), "count": len(made)})
        return made

    def _save(self, tx: Transaction, save: _Save) -> Place:
        change = tx.change(self._space.id)
        change.sealed_bytes += save.record.length
        new = NewVersion(save.version_id, save.sealed.content, save.sealed.size, save.sealed.sha256)
        if save.node is None:
            node = change.add_document(save.parent.node, NOBODY, save.name, save.id, new, tx.author)
        else:
            node = change.add_version(save.node, new, tx.author)
        return self._place((*save.parent.chain, node))


def _parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items, so many at a time."""
    left = iter(items)
    while part := list(islice(left, size)):
        yield part


@dataclass(frozen=True)
class Shape:
    """A space to make: so many folders of so many documents each, so many versions of each, a version a day."""

    folders: int
    documents: int
    versions: int
    saves_a_change: int = 1

    def folder(self, number: int) -> str:
        """Return the name of one of its folders."""
        return f"Matter {number:05}"

    def document(self, number: int) -> str:
        """Return the name of one of the documents in each folder."""
        return f"Drawing {number:05}.dwg"


def _hasten(world: World) -> None:
    """Let the maker's own connections hold all pages in memory and wait for no disk: nobody relies on them yet."""
    database = world.installation.database
    if database.dialect != "sqlite":
        return

    def prepare(raw: Any, _record: object) -> None:
        raw.execute("PRAGMA cache_size=-2000000").close()
        raw.execute("PRAGMA synchronous=OFF").close()

    event.listen(database.durable_engine, "connect", prepare)


def make(folder: FilePath, shape: Shape, **overrides: Any) -> World:
    """Make an installation with one such space, in which `anna` may do all that a manager may, and look back.

    The first versions are as many days old as there are versions, the newest one day.
    """
    world = World.create(folder, **overrides)
    world.installation.close()
    world.installation = Installation.open(folder, world.installation.settings)
    _hasten(world)
    start = now_us() - shape.versions * DAY_US
    clock = Clock(world, start)
    world.space(SPACE, CUSTOMER)
    world.person(LOGIN, CUSTOMER)
    world.grant(LOGIN, SPACE, Role.MANAGER, history=True)
    maker = Maker(world, world.spaces[SPACE], world.sign_in(LOGIN), clock, shape.saves_a_change)
    folders = maker.folders(maker.root, map(shape.folder, range(shape.folders)))
    names = [shape.document(number) for number in range(shape.documents)]
    standing = maker.documents((parent, name) for parent in folders for name in names)
    if shape.versions == 1:
        for _ in standing:
            pass
    else:
        kept = list(standing)
        for day in range(1, shape.versions):
            clock.at = max(clock.at, start + day * DAY_US)
            kept = list(maker.versions(kept))
    world.installation.tick()
    return world


def rewrite(world: World, saves_a_change: int) -> None:
    """Give every document in the folders of a world a new version now, as what encrypts them all would."""
    clock = Clock(world, now_us() - 3600 * SECOND_US)
    maker = Maker(world, world.spaces[SPACE], world.sign_in(LOGIN), clock, saves_a_change)
    for folder in maker.within(maker.root):
        for _ in maker.versions(maker.within(folder)):
            pass
    del world.installation.database.now_us
    world.installation.tick()
