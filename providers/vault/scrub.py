"""Reading whole packs: does everything in them still open, and what would an index of them say?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from config.logging import get_log
from providers.vault.errors import DamagedContent
from providers.vault.records import Entry, Kind, PackScan
from providers.vault.sealing import Sealing
from providers.vault.store import Store
from providers.vault.versions import VersionRecord, version
from providers.vault.writer import ChunkRecord

log = get_log("vault")


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a pack that are not what was stored. `cid` names the record, where its header still does."""

    space: bytes
    pack: int
    offset: int
    what: str
    cid: bytes | None = None

    def __str__(self) -> str:
        return f"pack {self.pack:016x} byte {self.offset}: {self.what}"


def scrub(store: Store, sealing: Sealing) -> Iterator[Damage]:
    """Yield all that is damaged in the packs of a space. Reads everything, changes nothing.

    What a crash left unfinished at the end of a pack was never acknowledged: it is logged, and no damage.
    """
    for pack, _ in store.packs(sealing.space):
        try:
            found = store.scan(sealing.space, pack, trust_footer=False)
            yield from _standing(store, list(_scrub_pack(store, sealing, pack, found)))
        except FileNotFoundError:
            continue
        except DamagedContent as error:
            yield Damage(sealing.space, pack, 0, str(error.facts["what"]))


def _scrub_pack(store: Store, sealing: Sealing, pack: int, found: PackScan) -> Iterator[Damage]:
    if found.torn_at is not None:
        log.info("pack_torn", space=sealing.space, pack=pack, offset_bytes=found.torn_at)
    for offset, what in found.damage:
        yield Damage(sealing.space, pack, offset, f"{what} was changed")
    for entry in found.records:
        try:
            plain = _opened(store, sealing, pack, entry)
            if sealing.cid(Kind(entry.kind), plain) != entry.cid:
                yield Damage(sealing.space, pack, entry.offset, "a record holds what its cid does not say", entry.cid)
        except DamagedContent as error:
            yield Damage(sealing.space, pack, entry.offset, str(error.facts["what"]), entry.cid)


def _standing(store: Store, found: list[Damage]) -> list[Damage]:
    """Return the damage in a pack that is there still: a sweep may have made a gap of a record that was listed before.

    Raises FileNotFoundError if it has removed the pack.
    """
    if not found:
        return found
    now = store.scan(found[0].space, found[0].pack, trust_footer=False)
    offsets = {entry.offset for entry in now.records} | {offset for offset, _ in now.damage}
    return [each for each in found if each.offset in offsets]


def rebuild(store: Store, sealing: Sealing) -> Iterator[ChunkRecord | VersionRecord]:
    """Yield where every chunk and manifest of a space lies, and every version that left a record of itself.

    What does not open any more is left out: `scrub` tells of it.
    """
    for pack, _ in store.packs(sealing.space):
        for entry in store.scan(sealing.space, pack).records:
            if entry.kind != Kind.VERSION:
                yield ChunkRecord(entry.cid, pack, entry.offset, entry.length)
                continue
            try:
                yield version(_opened(store, sealing, pack, entry))
            except DamagedContent:
                continue


def _opened(store: Store, sealing: Sealing, pack: int, entry: Entry) -> bytes:
    record = store.read(sealing.space, pack, entry.offset, entry.length)
    try:
        kind = Kind(entry.kind)
    except ValueError:
        raise DamagedContent(
            what="a record is of a kind that is unknown here", pack=pack, offset=entry.offset
        ) from None
    return sealing.open(record, kind, entry.cid)
