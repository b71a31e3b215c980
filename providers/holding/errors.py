"""Why something is not erased. Nothing is ever erased in part: who is refused has changed nothing."""

from __future__ import annotations

from config.errors import MellanrumError


class ErasureRefused(MellanrumError):
    """This is not erased. Nothing was changed."""

    exit_code = 31


class Held(ErasureRefused):
    """The space {space} is held: nothing of it is erased. Nothing was changed. Lift the hold first, if you may."""


class Retained(ErasureRefused):
    """Version {number} must be kept until {until}. Nothing was changed. Wait, or change the space's retention."""


class PerhapsRetained(ErasureRefused):
    """Version {number} must be kept until {until}. The clock says it is later, but it has jumped, or was not seen for
    long, and is believed once it has gone on for a day. Nothing was changed. Wait, or change the space's retention.
    """


class SecondPersonNeeded(ErasureRefused):
    """Whoever asked for an erasure does not approve it as well. Nothing was changed. Let another person approve it."""


class NotAKeeper(ErasureRefused):
    """Only the operator and the supplier's administrators may do this. Nothing was changed."""


class NewestVersion(ErasureRefused):
    """Version {number} is the newest of its document, which would be left with nothing. Nothing was changed.
    Put another in its place first, or erase the document.
    """


class ErasedBefore(ErasureRefused):
    """This was erased before. Nothing was changed."""


class NotADocument(ErasureRefused):
    """A folder is not erased. Nothing was changed. Name a document, or the space."""


class NotPending(ErasureRefused):
    """That erasure was done or cancelled before. Nothing was changed."""


class SupplierStays(ErasureRefused):
    """The supplier itself is not erased. Nothing was changed. Name a customer."""


class HistoryDamaged(ErasureRefused):
    """What stands of change {change} in space {space} is not what was recorded. Nothing was changed.
    Run "mellanrum verify" and mend what it names first.
    """


class NothingWouldStay(ErasureRefused):
    """No version in space {space} refers to anything, though there are versions. Nothing was removed.
    Run "mellanrum verify": the catalogue is not whole.
    """
