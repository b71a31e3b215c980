"""What may be asked for by `exec`: `scp` in its old protocol, and `md5sum` and `sha1sum` of one document, for rclone.

Nothing here is ever a shell: the line is split as a shell would split it, and whatever is not exactly one of these is
refused with one line that says what there is.
"""

from __future__ import annotations

import hashlib
import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.errors import MellanrumError
from config.logging import get_log
from server.sftp import scp
from server.sftp.pipe import CutOff, Gone, Pipe

if TYPE_CHECKING:
    from providers.drive import Drive
    from providers.paths import Path

NO_SHELL = "Mellanrum: there is no shell here. Use sftp or scp."
_CUT_OFF = "Mellanrum: this ended in the middle. What had not come whole is not stored."
_WORDS_MAX = 64
_HASHES = {"md5sum": "md5", "sha1sum": "sha1"}
_READ_BYTES = 1 << 18
_log = get_log("sftp")


@dataclass(frozen=True, slots=True)
class Hash:
    """`md5sum` or `sha1sum`, of a document or (None) of what the client sends."""

    algorithm: str
    path: str | None


Command = Hash | scp.Request


def parse(line: str) -> Command | None:
    """Return what a line asks for, None if it is none of what there is."""
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    if not words or len(words) > _WORDS_MAX:
        return None
    program, *arguments = words
    if program == "scp":
        return scp.parse(arguments)
    if program not in _HASHES:
        return None
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    elif arguments and arguments[0].startswith("-"):
        return None
    if len(arguments) > 1:
        return None
    return Hash(_HASHES[program], arguments[0] if arguments else None)


def refusal(line: str) -> str:
    """Return the one line that refuses a command. What was asked for is not repeated."""
    if line.split(" ", 1)[0].rpartition("/")[2] == "rsync":
        return (
            "Mellanrum: rsync needs a shell here, which there is none of. Use sftp, scp or rclone, or mount with sshfs."
        )
    return "Mellanrum: this command is not available. There are sftp, scp, md5sum and sha1sum."


def start(
    command: Command, drive: Drive, pipe: Pipe, done: Callable[[int, str], None], over: Callable[[], None]
) -> None:
    """Run a command in a thread of its own; then `done(status, what to say)` in the loop, and `over()` in any case."""

    def work() -> None:
        try:
            run(command, drive, pipe, done)
        finally:
            pipe.then(over)

    threading.Thread(target=work, name="command", daemon=True).start()


def run(command: Command, drive: Drive, pipe: Pipe, done: Callable[[int, str], None]) -> None:
    """Run a command to its end; then `done(status, what to say)`, by the pipe's loop. Not where the client is gone."""
    status, says = 1, ""
    try:
        if isinstance(command, Hash):
            _hash(command, drive, pipe)
            status = 0
        else:
            status = scp.run(command, drive, pipe)
    except Gone:
        return
    except CutOff:
        says = _CUT_OFF
    except scp.Interrupted as interrupted:
        says = f"Mellanrum: {interrupted.error.said}"
    except MellanrumError as error:
        says = f"Mellanrum: {error.said}"
    except Exception as error:
        _log.error("command_failed", error)
        says = "Mellanrum: something went wrong here. Nothing was changed."
    pipe.then(lambda: done(status, says))


def _hash(command: Hash, drive: Drive, pipe: Pipe) -> None:
    path = None if command.path is None else scp.found(drive, command.path)
    known = None if path is None else drive.checksums(path)
    if known is not None:
        told = (known.md5 if command.algorithm == "md5" else known.sha1).hex()
    else:
        told = _summed(command.algorithm, path, drive, pipe)
    pipe.write(f"{told}  {command.path or '-'}\n".encode())


def _summed(algorithm: str, path: Path | None, drive: Drive, pipe: Pipe) -> str:
    """Return the hash of what the client sends, or of what is read: the past has none that are kept."""
    made = hashlib.new(algorithm, usedforsecurity=False)
    if path is None:
        while data := pipe.read(_READ_BYTES):
            made.update(data)
    else:
        with drive.read(path) as reader:
            for piece in scp.content(drive, reader):
                made.update(piece)
    return made.hexdigest()
