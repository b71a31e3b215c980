"""Letting go of records: which of them contents still refer to, and packs written anew without those that are doomed.

A record is doomed by its cid, or, as the record of a version, by its document and number. Everything else in a pack is
copied as it stands, sealed as it was: also what no catalogue knows, for it may be of an upload that is under way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from providers.vault import manifests
from providers.vault.errors import DamagedContent
from providers.vault.manifests import Shape
from providers.vault.reader import Locate, manifest_of
from providers.vault.records import Entry, Kind
from providers.vault.sealing import Sealing
from providers.vault.store import PackWriter, Store
from providers.vault.versions import version

#: How much of a pack is copied at a time.
_RUN_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Doomed:
    """What is to go: chunks and manifests by their cids, records of versions by document and number.

    Copies that interrupted uploads hold are `spared`: each by its pack and offset.
    """

    cids: frozenset[bytes]
    versions: frozenset[tuple[bytes, int]]
    spared: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True, slots=True)
class Leftover:
    """A pack that holds something doomed: what of it goes and what stays, each in the order of offsets.

    `is_damaged`: bytes in it are no records any more; what they were cannot be told, so it is left as it is.
    """

    pack: int
    gone: tuple[Entry, ...]
    kept: tuple[Entry, ...]
    is_damaged: bool


def cids_of(store: Store, sealing: Sealing, content: bytes, locate: Locate, walked: set[bytes]) -> Iterator[bytes]:
    """Yield the cids of all records of a content: chunks, leaves, root. Raises DamagedContent.

    Manifests among `walked` are passed over, with all below them; those met are added.
    """
    what = manifests.content(content)
    if what.shape is Shape.EMPTY:
        return
    yield what.cid
    if what.shape is Shape.CHUNK or what.cid in walked:
        return
    walked.add(what.cid)
    leaves = [(what.cid, what.size)]
    if what.shape is Shape.ROOT:
        found = manifests.root(manifest_of(store, sealing, locate, Kind.ROOT, what.cid), what.size)
        leaves = [(leaf.cid, leaf.size) for leaf in found if leaf.cid not in walked]
        walked.update(cid for cid, _ in leaves)
        yield from (cid for cid, _ in leaves)
    for cid, size in leaves:
        for chunk in manifests.leaf(manifest_of(store, sealing, locate, Kind.LEAF, cid), size):
            yield chunk.cid


def leftover(store: Store, sealing: Sealing, pack: int, doomed: Doomed) -> Leftover | None:
    """Return what goes of a pack and what stays; None if nothing goes, or the pack itself is gone."""
    try:
        # Walked through, whatever a footer says: nothing that stands there may be passed over.
        found = store.scan(sealing.space, pack, trust_footer=False)
    except FileNotFoundError:
        return None
    goes = [_is_doomed(store, sealing, pack, entry, doomed) for entry in found.records]
    if not any(goes):
        return None
    gone = tuple(entry for entry, is_gone in zip(found.records, goes, strict=True) if is_gone)
    kept = tuple(entry for entry, is_gone in zip(found.records, goes, strict=True) if not is_gone)
    return Leftover(pack, gone, kept, bool(found.damage))


def _is_doomed(store: Store, sealing: Sealing, pack: int, entry: Entry, doomed: Doomed) -> bool:
    if entry.kind != Kind.VERSION:
        return entry.cid in doomed.cids and (pack, entry.offset) not in doomed.spared
    if not doomed.versions:
        return False
    try:
        record = store.read(sealing.space, pack, entry.offset, entry.length)
        found = version(sealing.open(record, Kind.VERSION, entry.cid))
    except DamagedContent:
        return False  # `scrub` tells of it
    return (found.node, found.number) in doomed.versions


def copy_kept(store: Store, space: bytes, found: Leftover, goal: PackWriter) -> dict[int, int]:
    """Append what stays of a pack to another; return the new offset of each record by its old one.

    Raises DamagedContent, StorageFull, StorageFailed.
    """
    moved: dict[int, int] = {}
    for run in _runs(found.kept):
        records = bytearray()
        for entry in run:
            records += store.read(space, found.pack, entry.offset, entry.length)
        at = goal.append(records)
        for entry in run:
            moved[entry.offset] = at
            at += entry.length
    return moved


def _runs(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    run: list[Entry] = []
    size = 0
    for entry in entries:
        if run and size + entry.length > _RUN_BYTES:
            yield run
            run, size = [], 0
        run.append(entry)
        size += entry.length
    if run:
        yield run
