"""What is made ready before a copy or a move: which versions will stand, what they bring to the vault, where they land.

Content that crosses from one space to another is sealed anew here, before any transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from auth.roles import Action
from config.clock import now_us
from config.database import Syncable
from config.ids import new_id
from providers.catalogue import contents
from providers.catalogue.change import NewVersion
from providers.catalogue.nodes import Node
from providers.drive.bringing import Past, bring, comes_along
from providers.drive.identity import Backup, backup_of, continuing, is_fresh, left_record
from providers.drive.places import Container, Place
from providers.drive.resealing import Resealing
from providers.drive.session import Session
from providers.drive.targets import Target, is_apart, target
from providers.drive.transaction import Look
from providers.drive.uploads import writer_for
from providers.errors import Forbidden, TooManyAtOnce
from providers.paths import Path
from providers.vault.vault import VersionRecord


@dataclass
class Prepared:
    """Versions made ready for a copy: by the source's version id, the new version and what it brings to the vault.

    `lands_on` is the document that takes the content of the one that is copied, as a version of its own; `backup`
    what is made of bytes that stay where it comes from. `started` is when all this began, in microseconds. `is_fresh`
    tells of what moves that it has no past of its own, `is_same` that the document holds this very content already.
    `origins` names by document and number the versions whose content they have, which may be erased meanwhile.
    `pasts` has, by their ids in the space that they leave, the documents whose history comes along.
    """

    lands_on: bytes | None = None
    backup: Backup | None = None
    started: int = 0
    moves: bool = False
    is_fresh: bool = False
    is_same: bool = False
    versions: dict[bytes, NewVersion] = field(default_factory=dict)
    nodes: dict[bytes, bytes] = field(default_factory=dict)
    origins: list[tuple[bytes, int]] = field(default_factory=list)
    pasts: dict[bytes, Past] = field(default_factory=dict)
    resealing: Resealing | None = None
    sealed_bytes: int = 0
    needs: set[Syncable] = field(default_factory=set)

    def settle(self) -> None:
        """Tell that it was committed."""
        if self.resealing is not None:
            self.resealing.settle()


def _walk(look: Look, place: Place, *, deep: bool) -> Iterator[Place]:
    """Yield a place and, where `deep`, every place below it that the principal sees and may read, folders first."""
    yield place
    if deep and place.node.is_folder:
        for below in readable_below(look, place):
            yield from _walk(look, below, deep=True)


def _documents(look: Look, place: Place, *, deep: bool) -> list[Place]:
    """Return the documents among what goes along.

    Raises TooManyAtOnce: all of it will be one transaction, for whose end everybody else who writes waits.
    """
    limit, found = look.storage.limits.copy_nodes_max, []
    for number, below in enumerate(_walk(look, place, deep=deep)):
        if number >= limit:
            raise TooManyAtOnce(limit=limit)
        if not below.node.is_folder:
            found.append(below)
    return found


def readable_below(look: Look, place: Place) -> Iterator[Place]:
    """Yield what goes along when a folder is copied: its children that are seen and, if documents, may be read."""
    for name, node in look.resolver.children(place):
        below = Place(place.path.joined(name), place.space, (*place.chain, node), place.tree, place.moment)
        if node.is_folder or look.sight.decide(Action.READ, below.chain, look.at).allowed:
            yield below


def prepare(session: Session, source: Path, goal: Path, *, deep: bool, moves: bool = False) -> Prepared:
    """Seal what must be sealed anew, and leave a record of each version about to be in a pack."""
    ready = Prepared(moves=moves)
    with session.look() as look:
        place = look.find(source)
        if isinstance(place, Container):
            raise Forbidden
        ready.started = look.at
        found = arriving(look, goal, place, ready.started, moves=moves)
        look.allow(Action.READ if not place.node.is_folder else Action.LIST, place)
        documents = _documents(look, place, deep=deep)
        landing = lands_on(place, found)
        along = {b.node.id for b in documents if moves and landing is None and comes_along(look, b, found)}
        rows = {
            below.node.version_id: contents.version(
                look.connection, session.storage.keyring, place.space.id, below.node.id, below.node.version
            )
            for below in documents
            if below.node.version and below.node.id not in along
        }
        ready.is_fresh = moves and is_fresh(look, place.node, ready.started)
        held = None if landing is None else contents.sum_of(look.connection, session.storage.keyring, landing)
        if place.space.id != found.space.id:
            used = look.sealed_bytes(found.space.id)
            ready.resealing = Resealing(session, place.space.id, found.space, used, is_apart(look, found.space))
    ready.lands_on = landing.id if landing else None
    ready.backup = backup_of(session.storage, found.vacated)
    length, needs = left_record(session.storage, ready.backup)
    ready.sealed_bytes += length
    ready.needs |= needs
    for below in documents:
        if below.node.id in along and ready.resealing is not None:
            ready.pasts[below.node.id] = bring(session, below, found.parent.node.id, ready.resealing)
            continue
        row = rows.get(below.node.version_id)
        if held is not None and row is not None and contents.sha256_of(session.storage.keyring, row) == held:
            ready.is_same = True
            continue
        # Nothing over nothing is no version; but nothing over something is one.
        if below.node.version or (landing is not None and landing.version):
            _prepare_one(session, ready, below, found, row, landing)
    if ready.resealing is not None:
        ready.sealed_bytes += ready.resealing.sealed_bytes
        ready.needs |= ready.resealing.needs
    return ready


def _prepare_one(
    session: Session,
    ready: Prepared,
    source: Place,
    found: Target,
    row: Mapping[str, Any] | None,
    landing: Node | None,
) -> None:
    storage, node, space = session.storage, source.node, found.space.id
    if row is None:
        nothing = writer_for(session, space, 0).finish()
        content, sha256, origin = nothing.content, nothing.sha256, None
    else:
        content, sha256, origin = row["content"], contents.sha256_of(storage.keyring, row), node.version_id
        ready.origins.append((node.id, node.version))
    if row is not None and ready.resealing is not None:
        content = ready.resealing.content(row, sha256, None)
    new = NewVersion(new_id(), content, node.size, sha256, origin)
    identity = new_id() if landing is None else landing.id
    record, needs = storage.vault.version_record(
        space,
        VersionRecord(
            node=identity,
            version_id=new.id,
            number=1 if landing is None else landing.version + 1,
            parent=found.parent.node.id,
            name=node.name,
            content=content,
            size=node.size,
            at=now_us(),
        ),
    )
    ready.versions[node.version_id] = new
    ready.nodes[node.version_id] = identity
    ready.sealed_bytes += record.length
    ready.needs |= set(needs)


def lands_on(place: Place, found: Target) -> Node | None:
    """Return the document of which a copy becomes a new version: one that stands where a document goes."""
    standing = found.lands_on
    return None if place.node.is_folder or standing is None or standing.is_folder else standing


def arriving(look: Look, goal: Path, place: Place, started: int, *, moves: bool) -> Target:
    """Return where it is about to stand, and the document that continues there.

    A copy is fresh by itself; what moves and is older than the window keeps its own identity.
    """
    found = target(look, goal, Action.MAKE_FOLDER if place.node.is_folder else Action.ADD)
    if place.node.is_folder or found.node is not None or (moves and not is_fresh(look, place.node, started)):
        return found
    continued = continuing(look, found, started)
    itself = moves and continued.vacated is not None and continued.vacated.node.id == place.node.id
    return found if itself else continued
