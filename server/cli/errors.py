"""What can go wrong at the command line itself. Exit codes from 64 on follow sysexits.h."""

from __future__ import annotations

import shlex

from auth.errors import UnknownName
from config.errors import MellanrumError


class Misused(MellanrumError):
    """{problem} Try "{command} --help"."""

    exit_code = 64


class NotConfirmed(MellanrumError):
    """Nothing was changed. {hint}"""

    exit_code = 7


class DeletedThere(MellanrumError):
    """{path} was deleted {when} by {by}. Its history is kept. This brings it back: {command}"""

    exit_code = 11


class NoSuchVersion(MellanrumError):
    """{path} has no version {number}. Nothing was changed. "mellanrum history {quoted}" shows those that it has."""

    exit_code = 11


class NotInTrash(MellanrumError):
    """{id} is not in the trash of {path}. Nothing was changed. What stands there: "mellanrum trash {quoted} --all"."""

    exit_code = 11


class NotThen(MellanrumError):
    """{path} did not stand at {moment}. Nothing was changed. Take a later moment, or a folder above that stood."""

    exit_code = 11


class NotSignedIn(MellanrumError):
    """{login}, that password and that code do not fit together. Nothing was changed. Check them and try again."""

    exit_code = 20


class LockInTheWay(MellanrumError):
    """{holder} holds {path} until {until} at least. {space} was left as it is. Wait, or break the lock: {command}"""

    exit_code = 13


class NoLockThere(MellanrumError):
    """There is no lock on {path}. Nothing was changed. "mellanrum lock list {quoted}" shows which there are."""

    exit_code = 13


class NotAllPutBack(MellanrumError):
    """{done} of {count} spaces were put back. What keeps the others as they are is told above. Mend it and run this
    again: it leaves those alone that were put back.
    """

    exit_code = 8


class InputUnreadable(MellanrumError):
    """{file} cannot be read: {why}. Nothing was changed. Name another file, or mend this one."""

    exit_code = 66


class InputWrong(MellanrumError):
    """{file} cannot be used: {why} Nothing was changed."""

    exit_code = 65


class NotTheirs(MellanrumError):
    """{folder} belongs to {owner}, and what {user} made there the server could not read. Nothing was changed.
    Put "sudo -u {owner}" before the command.
    """

    exit_code = 77


class OutputTaken(MellanrumError):
    """{file} exists and was left as it is. Name another file, or remove it first."""

    exit_code = 73


class OutputUnwritable(MellanrumError):
    """{file} cannot be written: {why}. Nothing was changed. Name another file."""

    exit_code = 73


class NotUnique(MellanrumError):
    """There are several of the name {name}: {found}. Say which one with {option}."""

    exit_code = 66


class DamageFound(MellanrumError):
    """What is stored does not hold in {count} places, named above. Keep the folder as it is and restore a backup."""

    exit_code = 5


class TroubleFound(MellanrumError):
    """Not all is as it should be: {count} named above as BAD, with what to do."""

    exit_code = 6


class InUse(MellanrumError):
    """A server or another command works on {folder}. Nothing was changed. Stop it, run this again, then start it."""

    exit_code = 75


class StillInUse(MellanrumError):
    """{count} packs that hold something erased are in use, or damaged, and were left as they are. Sweep again later."""

    exit_code = 75


class UnknownGrant(UnknownName):
    """There is no grant {name} in that space. "mellanrum grant list {space}" shows all."""

    def __init__(self, name: str, space: str) -> None:
        super().__init__(name=name, space=shlex.quote(space))


class UnknownErasure(UnknownName):
    """There is no erasure {name}. "mellanrum erase list" shows all."""


class WrongPassphrase(MellanrumError):
    """The kit does not open with this passphrase, or was mistyped. Check both, line by line."""

    exit_code = 65


class UnusableKey(MellanrumError):
    """That public key cannot be used: {why} Nothing was changed."""

    exit_code = 65


class Interrupted(MellanrumError):
    """Interrupted. What was done so far stands."""

    exit_code = 9


class Undone(MellanrumError):
    """Interrupted. Nothing was made."""

    exit_code = 9


class HalfMade(MellanrumError):
    """The installation could not be made: {error} Its files are gone again. Its database may hold a part of it: empty
    that before you run init again.
    """

    exit_code = 8


class NotAllowed(MellanrumError):
    """{user} may not open {file}, so it went no further. "mellanrum doctor" names what belongs to another user."""

    exit_code = 77


class NoSuchFileName(MellanrumError):
    """{file} is too long for the name of a file. Name another."""

    exit_code = 66


class Unexpected(MellanrumError):
    """Something unforeseen went wrong: {error} at {place}. Please report it; MELLANRUM_TRACE=1 shows where it was."""

    exit_code = 70


class Unprinted(MellanrumError):
    """The answer could not be printed: {why}. What was done stands; make anew what is shown only once."""

    exit_code = 74


class ApplyStopped(MellanrumError):
    """It stopped half way: {error} What was done stands. Mend the cause and run it again: it goes on from there."""

    exit_code = 8
