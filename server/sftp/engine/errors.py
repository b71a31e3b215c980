"""The one table from what a drive refuses to what an SFTP client is told.

Code and words depend on the class of the error alone, never on what is hidden: something foreign and something that
never was are told alike, byte for byte. Where OpenSSH has a code for the same fault, it is that code.
"""

from __future__ import annotations

from auth.errors import AuthError
from config.errors import DatabaseBusy, MellanrumError, StorageFailed
from providers import errors
from server.sftp.engine.wire import Code, status

UNEXPECTED = b"Something went wrong here. Nothing was changed."


class Unsupported(MellanrumError):
    """This server cannot do that. Nothing was changed."""

    exit_code = 30


class NoLinks(Unsupported):
    """There are no links here, neither symbolic nor hard. Nothing was changed. Copy the document instead."""


class NoSuchHandle(MellanrumError):
    """Nothing is open under that handle. Nothing was changed."""

    exit_code = 30


class WrongHandle(MellanrumError):
    """It was not opened for that. Nothing was changed."""

    exit_code = 30


class OverItself(MellanrumError):
    """The bytes to be copied and the place they go to overlap. Nothing was changed."""

    exit_code = 30


class TooManyOpen(MellanrumError):
    """Too much is open at once. Nothing was changed. Close something first, here or where else you work."""

    exit_code = 30


class FolderLost(errors.ParentMissing):
    """The folder that this was written into is gone. What you sent is kept for you for some days: bring the folder
    back, and it is there.
    """


class BrokenUpload(MellanrumError):
    """A part of this could not be stored. It was not made a version; what stood there before is untouched."""

    exit_code = 30


_TABLE: dict[type[MellanrumError], Code] = {
    errors.NotFound: Code.NO_SUCH_FILE,
    errors.ParentMissing: Code.NO_SUCH_FILE,
    errors.NotAFolder: Code.NO_SUCH_FILE,
    errors.VersionErased: Code.NO_SUCH_FILE,
    errors.Forbidden: Code.PERMISSION_DENIED,
    errors.DriveError: Code.FAILURE,
    AuthError: Code.PERMISSION_DENIED,
    StorageFailed: Code.FAILURE,
    DatabaseBusy: Code.FAILURE,
    Unsupported: Code.OP_UNSUPPORTED,
}


def code_of(error: MellanrumError) -> Code:
    """Return the code for an error; the nearest class in its ancestry counts."""
    for kind in type(error).__mro__:
        if kind in _TABLE:
            return _TABLE[kind]
    return Code.FAILURE


def told(request: int, error: BaseException) -> bytes:
    """Return the status that tells of an error. Nothing of an error that is not ours is told."""
    if not isinstance(error, MellanrumError):
        return status(request, Code.FAILURE, UNEXPECTED)
    return status(request, code_of(error), error.said.encode("utf-8"))
