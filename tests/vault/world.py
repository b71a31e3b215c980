"""A small world for the vault's tests: keys that are real, a catalogue of chunks that is a dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from auth.keyring import SpaceKeys
from providers.vault.local import LocalStore
from providers.vault.store import Store
from providers.vault.vault import ContentReader, Location, Sealed, Vault

SPACE = bytes(range(16))
OTHER_SPACE = bytes(range(16, 32))


class Keys:
    """The keys of every space, made from one seed."""

    def __init__(self, seed: bytes = b"k") -> None:
        self._seed = seed
        self._spaces: dict[bytes, SpaceKeys] = {}

    def space(self, space: bytes) -> SpaceKeys:
        if space not in self._spaces:
            self._spaces[space] = SpaceKeys((self._seed + space).ljust(32, b"\0")[:32])
        return self._spaces[space]


class Catalogue:
    """Which chunks of one space were committed, and where they lie."""

    def __init__(self) -> None:
        self.places: dict[bytes, Location] = {}
        self.asked = 0

    def known(self, cids: Sequence[bytes]) -> set[bytes]:
        self.asked += 1
        return {cid for cid in cids if cid in self.places}

    def locate(self, cids: Sequence[bytes]) -> Mapping[bytes, Location]:
        assert len(cids) <= 1024
        return {cid: self.places[cid] for cid in cids if cid in self.places}

    def commit(self, sealed: Sealed) -> None:
        for need in sealed.needs:
            need.sync()
        assert all(cid in self.places for cid in sealed.relied)
        for record in sealed.records:
            self.places.setdefault(record.cid, Location(record.pack, record.offset, record.length))


class World:
    """A vault with one space, and what a catalogue knows of it."""

    def __init__(self, store: Store, keys: Keys | None = None) -> None:
        self.store = store
        self.keys = keys or Keys()
        self.vault = Vault(store, self.keys)
        self.catalogue = Catalogue()

    def put(self, data: bytes, *, piece: int = 1 << 16, chunker: int | None = None, space: bytes = SPACE) -> Sealed:
        writer = self.vault.writer(space, declared=len(data), chunker=chunker, known=self.catalogue.known)
        for start in range(0, len(data), piece):
            writer.write(data[start : start + piece])
        sealed = writer.finish()
        self.catalogue.commit(sealed)
        return sealed

    def reader(self, sealed: Sealed, space: bytes = SPACE) -> ContentReader:
        return self.vault.reader(space, sealed.content, self.catalogue.locate)

    def get(self, sealed: Sealed, space: bytes = SPACE) -> bytes:
        return b"".join(bytes(piece) for piece in self.reader(sealed, space).chunks())

    def again(self) -> World:
        """Return the same world as another process would find it."""
        found = World(self.store, self.keys)
        found.catalogue = self.catalogue
        return found


def packs_of(folder: Path, space: bytes = SPACE) -> list[Path]:
    """Return the files of a local store's packs."""
    return sorted((folder / space.hex() / "packs").glob("*.pack"))


def local(folder: Path) -> World:
    """Return a world in a folder."""
    return World(LocalStore(folder))
