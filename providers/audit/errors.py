"""What the audit log refuses."""

from __future__ import annotations

from config.errors import MellanrumError, StorageFailed


class AuditError(MellanrumError):
    """The audit log could not do this. Nothing was changed."""

    exit_code = 50


class UnknownKind(AuditError):
    """The audit log knows no event of the kind "{kind}". Nothing was done. This is a fault in Mellanrum: report it."""

    exit_code = 50


class UnknownLog(AuditError):
    """There is no audit log by that name. Ask for the list of logs, and choose one of them."""

    exit_code = 51


class EntryDamaged(AuditError):
    """Event {number} of audit log {log} cannot be opened. Run "mellanrum verify" to see what was changed."""

    exit_code = 52


class JournalFailed(StorageFailed):
    """This read could not be recorded, so nothing was sent. Try again.
    If it stays so, look at the disk of the data folder.
    """

    exit_code = 53


class BadNote(AuditError):
    """This is no checkpoint, or its signature does not fit the public key: {why}"""

    exit_code = 54


class NotSignedYet(AuditError):
    """Nothing of this audit log is signed yet. Try again in a few seconds."""

    exit_code = 55


class EpochDue(AuditError):
    """The database was put back to an earlier state: {why}. Nothing was changed. Stop every server, then run "mellanrum
    audit epoch", which tells so in the logs: else whoever kept a proof of what they said since would read that somebody
    rewrote them.
    """

    exit_code = 56
