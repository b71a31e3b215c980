"""Where wrapped keys are kept, outside the database: so that destroying a key erases what it sealed, for good."""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from auth.errors import KeyExists, KeyUnreadable, UnknownKey
from config.files import sync_folder
from config.ids import id_from_text, id_text, new_id

#: File systems tell times by steps; the coarsest known is of two seconds.
_SETTLED_NS = 3_000_000_000


class Keystore(Protocol):
    """Wrapped keys by id. Whatever returns is durable; nothing overwrites unless told to."""

    def create(self, identity: bytes, wrapped: bytes) -> None:
        """Keep a new key. Raises KeyExists."""

    def get(self, identity: bytes) -> bytes:
        """Return a key as it was wrapped. Raises UnknownKey, KeyUnreadable."""

    def replace(self, identity: bytes, wrapped: bytes) -> None:
        """Put a key wrapped anew in the place of the old. Raises UnknownKey."""

    def destroy(self, identity: bytes) -> None:
        """Forget a key for good; harmless if it is gone."""

    def list(self) -> list[bytes]:
        """Return the ids of all keys, in order."""

    def mark(self) -> int | None:
        """Return a number that is another once a key was made or destroyed; None while that cannot be told yet."""


class FileKeystore:
    """A folder with a file for each key, mode 0600. The folder is made with the first key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, identity: bytes, wrapped: bytes) -> None:
        """Keep a new key: written aside, synced, then linked to its name, which fails if that is taken."""
        if not self._folder.is_dir():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(self._folder.parent)
        with self._alone(), self._written(identity, wrapped) as aside:
            try:
                os.link(aside, self._path(identity))
            except FileExistsError:
                raise KeyExists(key=id_text(identity)) from None

    def get(self, identity: bytes) -> bytes:
        """Return a key as it was wrapped."""
        try:
            return self._path(identity).read_bytes()
        except FileNotFoundError:
            raise UnknownKey(key=id_text(identity)) from None
        except OSError as error:
            raise KeyUnreadable(key=id_text(identity), why=error.strerror or type(error).__name__) from error

    def replace(self, identity: bytes, wrapped: bytes) -> None:
        """Put a key wrapped anew in the place of the old; one that is destroyed meanwhile stays so."""
        self.get(identity)
        with self._alone():
            self.get(identity)
            with self._written(identity, wrapped) as aside:
                os.replace(aside, self._path(identity))

    def destroy(self, identity: bytes) -> None:
        """Overwrite and remove a key, with what an interrupted `replace` may have left of it."""
        if not self._folder.is_dir():
            return
        with self._alone():
            for path in (*self._folder.glob(f"{id_text(identity)}.*.new"), self._path(identity)):
                with suppress(FileNotFoundError):
                    _overwrite(path)
                    path.unlink()
            sync_folder(self._folder)

    def list(self) -> list[bytes]:
        """Return the ids of all keys."""
        names = (path.name.removesuffix(".key") for path in self._folder.glob("*.key"))
        return sorted(found for name in names if (found := id_from_text(name)) is not None)

    def mark(self) -> int | None:
        """Return when a name came or went; None if that is so lately that the next might bear the same time."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        return changed if abs(time.time_ns() - changed) > _SETTLED_NS else None

    def _path(self, identity: bytes) -> Path:
        return self._folder / f"{id_text(identity)}.key"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads and processes from changing keys."""
        fd = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def _written(self, identity: bytes, wrapped: bytes) -> Iterator[Path]:
        """Give a synced file beside the key's own; then sync the folder, and leave nothing aside."""
        aside = self._folder / f"{id_text(identity)}.{id_text(new_id())}.new"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(wrapped)
                file.flush()
                os.fsync(fd)
            yield aside
        finally:
            aside.unlink(missing_ok=True)
            sync_folder(self._folder)


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(secrets.token_bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())


class MemoryKeystore:
    """A keystore that lives as long as its process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._keys: dict[bytes, bytes] = {}
        self._changes = 0

    def create(self, identity: bytes, wrapped: bytes) -> None:
        """Keep a new key."""
        with self._guard:
            if identity in self._keys:
                raise KeyExists(key=id_text(identity))
            self._keys[identity] = wrapped
            self._changes += 1

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
            self._changes += 1

    def list(self) -> list[bytes]:
        """Return the ids of all keys."""
        return sorted(self._keys)

    def mark(self) -> int | None:
        """Return how many keys were made or destroyed."""
        return self._changes
