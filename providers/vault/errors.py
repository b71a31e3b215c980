"""What the vault cannot do. StorageFailed and StorageFull stand with the errors of the whole house."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from config.errors import MellanrumError
from config.files import full_or_failed


class VaultError(MellanrumError):
    """The store of contents could not do this. Nothing was changed."""

    exit_code = 60


class DamagedContent(VaultError):
    """What is stored is damaged: {what} (pack {pack}, byte {offset}). It was not shown. Restore it from a backup."""

    exit_code = 61

    @property
    def said(self) -> str:
        """Without where it lies."""
        return "What is stored is damaged. It was not shown. Whoever looks after the server has to restore it."


class StorageClosed(VaultError):
    """This is being shut down. Nothing was changed. Try again in a moment."""

    exit_code = 75


class GapsUnsupported(VaultError):
    """The file system of the data folder cannot give back the room of a part of a file. Nothing was changed."""

    exit_code = 69


class GapsHeldOff(VaultError):
    """A backup is being made, which copies packs as they stand. Nothing was changed. Try again once it is done."""

    exit_code = 75


class ContentTooLarge(VaultError):
    """A document may have at most {limit_bytes} bytes. Nothing of it was stored. Split it, or compress it."""

    exit_code = 64


class DraftInUse(VaultError):
    """That draft is open elsewhere. Nothing was changed. Try again once it is closed."""

    exit_code = 63


class UnknownDraft(VaultError):
    """That draft is no longer kept, or was begun on another version. Nothing was changed."""

    exit_code = 63


@contextmanager
def translated() -> Iterator[None]:
    """Raise StorageFull or StorageFailed for what the system refuses while writing."""
    try:
        yield
    except (FileExistsError, FileNotFoundError):
        raise  # an answer, not a fault
    except OSError as error:
        raise full_or_failed(error) from error


def damaged(what: str, pack: int | None = None, offset: int | None = None) -> DamagedContent:
    """Return the error for bytes that are not what was stored. `what` is a phrase of ours, never content."""
    return DamagedContent(
        what=what,
        pack="?" if pack is None else f"{pack:016x}",
        offset="?" if offset is None else offset,
    )
