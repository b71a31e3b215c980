"""What every store promises. One suite in tests/vault/conformance holds all stores to it.

A store keeps packs and the files of drafts. It knows neither keys nor what a record holds.

- What was appended to a pack and synced survives a loss of power. What was not is absent or a torn tail.
- A pack is written by one process, from its beginning to its end; nobody appends to it after a fault or a restart.
- A pack is claimed by one at a time, and only while no writer of it is held by anyone: whoever may yet refer to its
  records holds the writer. What was claimed may be removed; who has it open reads on.
- Of a claimed pack, runs of records may become gaps: nothing else in it moves, and its end stays where it is.
- What was appended can be read at once by this process, and by any other once it was synced.
- Ids of packs are 63 random bits, so that processes and machines need not agree on them.
- Writing raises StorageFull or StorageFailed; after either, that pack takes nothing more, and what was synced stands.
- Everything may be called from any thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from providers.vault.records import PackScan
from providers.vault.trails import Abandoned, Trail

PACK_ID_BITS = 63


def new_pack_id() -> int:
    """Return a random id for a pack, from 1."""
    return secrets.randbits(PACK_ID_BITS) or 1


class PackWriter(Protocol):
    """A pack being written. It is a `Syncable`: a database commit that refers to its records needs it synced."""

    @property
    def id(self) -> int:
        """Which pack of the space it is."""

    @property
    def size(self) -> int:
        """Bytes appended so far, the pack's head included."""

    @property
    def is_usable(self) -> bool:
        """False once closed or after a fault: begin another pack."""

    def append(self, records: bytes | bytearray | memoryview) -> int:
        """Append whole records, one after another; return the offset of the first. All or nothing."""

    def sync(self) -> None:
        """Return once all that was appended before would survive a loss of power. Calls at once share one sync.

        Raises StorageFull or StorageFailed if that cannot be promised. It is never tried again: after a failed
        fsync the system may have dropped the pages it failed to write, and call the next one good.
        """

    def close(self) -> None:
        """Sync, end the pack with a footer that lists its records, and let go of it. Harmless when repeated."""

    def is_wanted(self) -> bool:
        """Return whether somebody waits to claim the pack: begin another then."""


class Claim(Protocol):
    """A pack that nobody else may claim, and no writer holds."""

    def release(self) -> None:
        """Let go of it. Harmless when repeated."""


class DraftFile(Protocol):
    """The bytes of one draft, at random places."""

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes there, fewer past the end."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` there. Raises StorageFull, StorageFailed."""

    def size(self) -> int:
        """Return how many bytes there are."""

    def sync(self) -> None:
        """Return once all that was written would survive a loss of power. Raises StorageFull, StorageFailed."""

    def close(self) -> None:
        """Let go of it. It stays."""


class Store(Protocol):
    """Keeps the packs of all spaces, and drafts."""

    def open_pack(self, space: bytes) -> PackWriter:
        """Begin a new pack."""

    def read(self, space: bytes, pack: int, offset: int, length: int) -> bytes:
        """Return exactly these bytes. Raises DamagedContent if the pack is missing or shorter."""

    def read_into(self, space: bytes, pack: int, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes there. Raises DamagedContent if the pack is missing or shorter."""

    def read_at_hand(self, space: bytes, pack: int, offset: int, buffer: memoryview) -> bool:
        """Fill `buffer` with the bytes there if no disk has to be waited for; return whether it was filled."""

    def packs(self, space: bytes) -> Iterable[tuple[int, int]]:
        """Return (id, bytes) of every pack of a space, in no order."""

    def scan(self, space: bytes, pack: int, *, trust_footer: bool = True) -> PackScan:
        """Return what records a pack holds: by its footer, or by walking through it where it has none.

        Raises DamagedContent if it cannot be read, FileNotFoundError where there is none, or it goes meanwhile.
        """

    def claim(self, space: bytes, pack: int) -> Claim | None:
        """Claim a pack; None while a writer of it is held, who is asked to end it, or another has it.

        Raises FileNotFoundError.
        """

    def void(self, space: bytes, pack: int, ranges: Sequence[tuple[int, int]]) -> None:
        """Let ranges (offset, length) of whole records in a claimed pack become gaps, durably; the rest stays in place.

        May be done again after it was cut short. Raises GapsUnsupported, and StorageFailed for a fault of the disk.
        """

    def remove_pack(self, space: bytes, pack: int) -> None:
        """Remove a pack for good, durably. Harmless if there is none."""

    def retire_pack(self, space: bytes, pack: int) -> None:
        """Remove a pack that a catalogue referred to until now.

        Raises GapsHeldOff while a backup is made: it may have copied that catalogue, and comes to the pack last.
        """

    def destroy_space(self, space: bytes) -> None:
        """Remove all packs and drafts of a space, for good."""

    def begin_trail(self, space: bytes) -> Trail | None:
        """Begin to tell what a long upload appends; None where nothing outlives the process. Raises OSError."""

    def abandoned_trails(self, space: bytes) -> Iterator[Abandoned]:
        """Yield the trails of uploads whose process was killed, each held meanwhile."""

    def create_draft(self, space: bytes, draft: bytes) -> DraftFile:
        """Make the file of a new draft. Raises FileExistsError if there is one."""

    def open_draft(self, space: bytes, draft: bytes) -> DraftFile:
        """Open the file of a draft, which is open once at a time. Raises FileNotFoundError, DraftInUse."""

    def view_draft(self, space: bytes, draft: bytes) -> DraftFile:
        """Open the file of a draft to be read alone, whoever has it open. Raises FileNotFoundError."""

    def peek_draft(self, space: bytes, draft: bytes, length: int) -> bytes:
        """Return the first bytes of a draft, though somebody may be writing it. Raises FileNotFoundError."""

    def remove_draft(self, space: bytes, draft: bytes) -> None:
        """Remove the file of a draft, durably. Harmless if there is none."""

    def drafts(self, space: bytes) -> Iterable[bytes]:
        """Return the ids of all drafts of a space."""
