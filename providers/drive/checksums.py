"""Checksums of documents for those who may read them: made at once for one document, a few at a time in listings."""

from __future__ import annotations

from sqlalchemy import Connection

from auth.roles import Action
from providers.audit.log import hold
from providers.catalogue import checksums, contents
from providers.catalogue.nodes import Node
from providers.drive.places import Container, Place
from providers.drive.reading import reader_of
from providers.drive.session import Session
from providers.drive.transaction import Look
from providers.model import Checksums
from providers.paths import Path

#: How much content one listing reads at most to make what is not known yet; the next listing goes on from there.
LISTED_BYTES_MAX = 64 * 1024 * 1024


def checksums_at(session: Session, path: Path) -> Checksums | None:
    """Return the checksums of a document, made if need be; None of folders, the past, and what may not be read."""
    with session.look() as look:
        found = look.find(path)
        if isinstance(found, Container) or found.is_past or found.is_noise or not _may_read(look, found):
            return None
        node = found.node
        standing = _known(look, [node])
    if node.version_id not in standing:
        standing = _made(session, [node])
    return standing[node.version_id]


def checksums_below(session: Session, path: Path) -> dict[str, Checksums]:
    """Return the checksums of a folder's documents that may be read, by the names shown, as far as they are known.

    What is not known is made, smallest first, within LISTED_BYTES_MAX.
    """
    with session.look() as look:
        found = look.find(path)
        if isinstance(found, Container) or found.is_past:
            return {}
        named = {
            name: node
            for name, node in look.resolver.children(found)
            if _may_read(look, Place(path.joined(name), found.space, (*found.chain, node), found.tree, None))
        }
        standing = _known(look, list(named.values()))
    left = LISTED_BYTES_MAX
    wanting = []
    for node in sorted(named.values(), key=lambda each: each.size):
        if node.version_id not in standing and node.size <= left:
            wanting.append(node)
            left -= node.size
    standing |= _made(session, wanting)
    return {name: standing[node.version_id] for name, node in named.items() if node.version_id in standing}


def _may_read(look: Look, place: Place) -> bool:
    return not place.node.is_folder and look.may(Action.READ, place.chain)


def _known(look: Look, nodes: list[Node]) -> dict[bytes, Checksums]:
    empty = {node.version_id: checksums.OF_NOTHING for node in nodes if not node.version}
    stored = [node.version_id for node in nodes if node.version]
    if not stored:
        return empty
    return empty | checksums.known(look.connection, look.storage.keyring, nodes[0].space, stored)


def _made(session: Session, nodes: list[Node]) -> dict[bytes, Checksums]:
    """Read the contents, and keep what they come to."""
    if not nodes:
        return {}
    storage = session.storage
    made = {}
    for node in nodes:
        with storage.database.read() as connection:
            row = contents.version(connection, storage.keyring, node.space, node.id, node.version)
        summing = checksums.Summing()
        for piece in reader_of(session, node.space, row["content"]).chunks():
            summing.update(piece)
        made[node.version_id] = summing.sums
    space = nodes[0].space

    def keep(writer: Connection) -> None:
        hold(writer, [space])
        erased = contents.erased_of(writer, [(node.id, node.version) for node in nodes])  # while they were read
        kept = [(version, sums) for version, sums in made.items() if version not in erased]
        checksums.keep(storage.database, writer, storage.keyring, space, kept)

    storage.database.apply(keep, heads=[space])
    return made
