"""What a drive refuses, in the words a person reads. Each adapter translates these by class, through one table."""

from __future__ import annotations

from config.errors import MellanrumError


class DriveError(MellanrumError):
    """This could not be done. Nothing was changed."""

    exit_code = 10


class NotAtHand(Exception):
    """That takes more than a look at what is known, and was asked for only if it does not. Never told to anybody."""


class NotFound(DriveError):
    """There is nothing here by that name. Check the spelling, or ask who gave you the address."""

    exit_code = 11


class Forbidden(DriveError):
    """Your rights do not let you do this here. Nothing was changed. Ask whoever looks after the space."""

    exit_code = 12


class Frozen(Forbidden):
    """This space is closed for changes. Nothing was changed. Reading goes on as before."""


class ReadOnlyPast(Forbidden):
    """This is how it looked at an earlier moment, and cannot be changed. Copy what you need to the present."""


class Locked(DriveError):
    """Somebody else is working on this. Nothing was changed. Try again once they have closed it."""

    exit_code = 13


class LockStands(Locked):
    """{holder} holds {path} until {until} at least. Nothing was changed. Try again once it is let go of."""


class TooManyLocks(Locked):
    """You hold {limit} locks, and no more are given to one person. Nothing was changed. Close something first."""


class LockNotFound(DriveError):
    """That lock does not stand, here or any longer. Nothing was changed."""

    exit_code = 13


class PreconditionFailed(DriveError):
    """It has changed since you last looked. Nothing was overwritten. Look again, then decide."""

    exit_code = 14


class TargetExists(PreconditionFailed):
    """There is something by that name already. It was left as it is. Choose another name, or replace it."""


class NameTaken(TargetExists):
    """Something else stands where it stood. Nothing was changed. Bring it back under another name."""


class ParentMissing(DriveError):
    """The folder this should go into does not exist. Nothing was stored. Make the folder first."""

    exit_code = 15


class FolderGone(ParentMissing):
    """The folder that it stood in is gone, or not to be seen. Nothing was changed. Bring that back first, or name
    another place for this.
    """


class NotJoined(DriveError):
    """That version was not joined to the document by its name: there is nothing to set apart. Nothing was changed."""

    exit_code = 14


class NotAFolder(DriveError):
    """A document stands where a folder is needed. Nothing was changed."""

    exit_code = 15


class IsAFolder(DriveError):
    """A folder stands where a document is needed. Nothing was changed."""

    exit_code = 15


class FolderNotEmpty(DriveError):
    """The folder is not empty. Nothing was removed. Empty it first."""

    exit_code = 15


class SameResource(DriveError):
    """Source and target are the same, or one lies within the other. Nothing was changed."""

    exit_code = 15


class TooManyAtOnce(DriveError):
    """At most {limit} documents and folders are copied, or moved into another space, at once. Nothing was changed.
    Take them in parts.
    """

    exit_code = 15


class BadName(DriveError):
    """That name cannot be used: {why} Choose another."""

    exit_code = 16


class NotText(BadName):
    """That name cannot be used: it is no UTF-8 text. Choose another."""


class NameTooLong(BadName):
    """That name is too long. At most {limit} bytes are kept. Choose a shorter one."""


class CommentTooLong(BadName):
    """That comment is too long. At most {limit} bytes are kept. Nothing was changed. Say it in fewer words."""


class QuotaExceeded(DriveError):
    """The space has no room left for this. What stood here before is untouched. Ask for more room, or free some."""

    exit_code = 17


class PropertiesTooLong(QuotaExceeded):
    """At most {limit} bytes of properties are kept beside a document or folder. What stood here before is untouched.
    Remove some first.
    """


class UploadIncomplete(DriveError):
    """The upload stopped before its end. Nothing of it was stored, and the earlier version is untouched."""

    exit_code = 18


class UploadTakenOver(UploadIncomplete):
    """This upload was gone on with, or removed, from elsewhere meanwhile. What came here since then is not stored."""


class MostlyUnwritten(DriveError):
    """More than {limit_bytes} bytes of it were never written. No version was made. Write them, or cut it shorter."""

    exit_code = 64


class VersionErased(DriveError):
    """This version was erased, for good, by those who look after the space. What else there is of it stands."""

    exit_code = 29


class RivalsWouldMeet(DriveError):
    """In a closed space nobody may write where another customer reads. Nothing was granted.
    Give an uploader's role, or a space of their own.
    """

    exit_code = 19
