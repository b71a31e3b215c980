"""What a client is to be told, and what the log is to tell, of each way to each operation."""

from __future__ import annotations

from collections.abc import Iterator

from auth import errors as auth_errors
from auth.roles import Via
from config import errors as config_errors
from config.errors import MellanrumError
from providers import errors
from tests.drive.stage import TABLE
from tests.same.hands import DONE, Told
from tests.same.tables import refusals, sentences
from tests.same.ways import SFTP, WEBDAV, Way

PROTOCOLS = {Via.WEBDAV: WEBDAV, Via.SFTP: SFTP}
#: An uploader sees no folder beside its lane, and so none that it might remove or read.
OTHERWISE = {("delete", "RMDIR", "uploader"): "NotFound", ("listing", "scp -f", "uploader"): "NotFound"}


def kind_of(name: str) -> type[MellanrumError]:
    """Return the class of a refusal."""
    for module in (errors, auth_errors, config_errors):
        found = getattr(module, name, None)
        if isinstance(found, type) and issubclass(found, MellanrumError):
            return found
    raise AssertionError(f"{name} is no refusal")


def lines() -> Iterator[tuple[str, Via, str, Way]]:
    """Yield (line of the table, protocol, request, way) for all there are."""
    for name in TABLE:
        for via, ways in PROTOCOLS.items():
            for request, way in ways.get(name, {}).items():
                yield name, via, request, way


def expected_of(name: str, via: Via, request: str) -> set[Told]:
    """Return what a client may be told of the drive's answer: the class of error, and its sentence where one comes."""
    if name == "ok":
        return {Told(DONE)}
    words, sentence = refusals()[name], sentences(kind_of(name))
    if via is Via.WEBDAV:
        status = words.status_to(request)
        return {Told(status), Told(status, sentence)}
    if request.startswith(("scp", "md5sum", "sha1sum")):
        return {Told("", sentence)}
    return {Told(words.code, sentence)}


def kinds_of(name: str, answer: str) -> list[str]:
    """Return the kinds of the events that tell of an act on something seen."""
    if answer == "Forbidden":
        return ["refused"]
    return [TABLE[name].event] if answer == "ok" and TABLE[name].event != "-" else []
