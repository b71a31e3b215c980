"""Where wrapped keys are kept, outside the database: so that destroying a key erases what it sealed, for good."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Protocol

from auth.errors import KeyExists, UnknownKey
from config.ids import id_from_text, id_text, new_id


class Keystore(Protocol):
    """Wrapped keys by id. Whatever returns is durable; nothing overwrites unless told to."""

    def create(self, identity: bytes, wrapped: bytes) -> None:
        """Keep a new key. Raises KeyExists."""

    def get(self, identity: bytes) -> bytes:
        """Return a key as it was wrapped. Raises UnknownKey."""

    def replace(self, identity: bytes, wrapped: bytes) -> None:
        """Put a key wrapped anew in the place of the old. Raises UnknownKey."""

    def destroy(self, identity: bytes) -> None:
        """Forget a key for good; harmless if it is gone."""

    def list(self) -> list[bytes]:
        """Return the ids of all keys, in order."""


class FileKeystore:
    """A folder with a file for each key, mode 0600."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, identity: bytes, wrapped: bytes) -> None:
        """Keep a new key: written aside, synced, then linked to its name, which fails if that is taken."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = self._written(wrapped)
        try:
            os.link(aside, self._path(identity))
        except FileExistsError:
            raise KeyExists(key=id_text(identity)) from None
        finally:
            aside.unlink()
        self._sync_folder()

    def get(self, identity: bytes) -> bytes:
        """Return a key as it was wrapped."""
        try:
            return self._path(identity).read_bytes()
        except FileNotFoundError:
            raise UnknownKey(key=id_text(identity)) from None

    def replace(self, identity: bytes, wrapped: bytes) -> None:
        """Put a key wrapped anew in the place of the old."""
        if not self._path(identity).exists():
            raise UnknownKey(key=id_text(identity))
        os.replace(self._written(wrapped), self._path(identity))
        self._sync_folder()

    def destroy(self, identity: bytes) -> None:
        """Forget a key for good."""
        self._path(identity).unlink(missing_ok=True)
        self._sync_folder()

    def list(self) -> list[bytes]:
        """Return the ids of all keys."""
        names = (path.name.removesuffix(".key") for path in self._folder.glob("*.key"))
        return sorted(found for name in names if (found := id_from_text(name)) is not None)

    def _path(self, identity: bytes) -> Path:
        return self._folder / f"{id_text(identity)}.key"

    def _written(self, wrapped: bytes) -> Path:
        aside = self._folder / f"{id_text(new_id())}.new"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, wrapped)
            os.fsync(fd)
        finally:
            os.close(fd)
        return aside

    def _sync_folder(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class MemoryKeystore:
    """A keystore that lives as long as its process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._keys: dict[bytes, bytes] = {}

    def create(self, identity: bytes, wrapped: bytes) -> None:
        """Keep a new key."""
        with self._guard:
            if identity in self._keys:
                raise KeyExists(key=id_text(identity))
            self._keys[identity] = wrapped

    def get(self, identity: bytes) -> bytes:
        """Return a key as it was wrapped."""
        try:
            return self._keys[identity]
        except KeyError:
            raise UnknownKey(key=id_text(identity)) from None

    def replace(self, identity: bytes, wrapped: bytes) -> None:
        """Put a key wrapped anew in the place of the old."""
        with self._guard:
            if identity not in self._keys:
                raise UnknownKey(key=id_text(identity))
            self._keys[identity] = wrapped

    def destroy(self, identity: bytes) -> None:
        """Forget a key."""
        with self._guard:
            self._keys.pop(identity, None)

    def list(self) -> list[bytes]:
        """Return the ids of all keys."""
        return sorted(self._keys)
