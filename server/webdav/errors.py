"""The one table from what a drive refuses to what a WebDAV client is told.

Status and body depend on the class of the error and the method alone, never on what is hidden: something foreign and
something that never was answer byte for byte alike.
"""

from __future__ import annotations

from typing import NamedTuple

from auth.errors import Paused, Revoked, SignInRefused, SignInUncounted, Throttled
from config.errors import DatabaseBusy, DatabaseSilent, MellanrumError, StorageFailed, StorageFull
from providers import errors
from server.webdav.exchange import GUARD, Answer, xml_answer
from server.webdav.refusals import RequestError
from server.webdav.xml import PROLOGUE

CHALLENGE = ("WWW-Authenticate", 'Basic realm="Mellanrum", charset="UTF-8"')


class Told(NamedTuple):
    """A status, and the precondition of RFC 4918 section 16 that names it, if any; `%s` in it is the href asked for."""

    status: str
    condition: str = ""

    def about(self, href: str) -> str:
        """Return the precondition as it holds of `href`, empty if there is none."""
        return self.condition.replace("%s", href)


_HREF = "<D:%s><D:href>%%s</D:href></D:%s>"
_TABLE: dict[type[MellanrumError], Told] = {
    errors.NotFound: Told("404 Not Found"),
    errors.Forbidden: Told("403 Forbidden"),
    errors.Locked: Told("423 Locked", _HREF % ("lock-token-submitted", "lock-token-submitted")),
    errors.LockNotFound: Told("412 Precondition Failed", "<D:lock-token-matches-request-uri/>"),
    errors.PreconditionFailed: Told("412 Precondition Failed"),
    errors.ParentMissing: Told("409 Conflict"),
    errors.NotAFolder: Told("409 Conflict"),
    errors.IsAFolder: Told("405 Method Not Allowed"),
    errors.SameResource: Told("403 Forbidden"),
    errors.TooManyAtOnce: Told("403 Forbidden"),
    errors.BadName: Told("403 Forbidden"),
    errors.NotText: Told("400 Bad Request"),
    errors.NameTooLong: Told("414 URI Too Long"),
    errors.QuotaExceeded: Told("507 Insufficient Storage", "<D:quota-not-exceeded/>"),
    errors.UploadIncomplete: Told("409 Conflict"),
    errors.VersionErased: Told("410 Gone"),
    errors.DriveError: Told("409 Conflict"),
    StorageFull: Told("507 Insufficient Storage", "<D:sufficient-disk-space/>"),
    # As of a database that is down: it takes whoever looks after the server, and what watches over it must see it.
    StorageFailed: Told("503 Service Unavailable"),
    # A passing failure. Finder takes any 5xx for "no such file" and lets the document vanish; 423 it shows as in use.
    DatabaseBusy: Told("423 Locked"),
    # No such moment: the installation is down, and whoever watches over it or balances its load must see that.
    DatabaseSilent: Told("503 Service Unavailable"),
    Revoked: Told("401 Unauthorized"),
    # No 401, on which programs ask for a password, nor what they would try again: it takes a person to go on.
    Paused: Told("403 Forbidden"),
    SignInRefused: Told("401 Unauthorized"),
    # Right or wrong, as of StorageFailed: on 401 programs drop the password that they keep, and it may well be right.
    SignInUncounted: Told("503 Service Unavailable"),
    Throttled: Told("429 Too Many Requests"),
}
#: Where a method has a word of its own for an error.
_BY_METHOD: dict[tuple[str, type[MellanrumError]], Told] = {
    ("LOCK", errors.Locked): Told("423 Locked", _HREF % ("no-conflicting-lock", "no-conflicting-lock")),
    ("UNLOCK", errors.LockNotFound): Told("409 Conflict", "<D:lock-token-matches-request-uri/>"),
    ("MKCOL", errors.TargetExists): Told("405 Method Not Allowed"),
    # Below a document there is nothing; only what would be made there is in conflict with it.
    **{
        (method, errors.NotAFolder): Told("404 Not Found")
        for method in ("GET", "HEAD", "PROPFIND", "PROPPATCH", "DELETE")
    },
}
_UNEXPECTED = Told("500 Internal Server Error")


def told(error: MellanrumError, method: str) -> Told:
    """Return the status and condition for an error; the nearest class in its ancestry counts."""
    if isinstance(error, RequestError):
        return Told(error.status, error.condition)
    for kind in type(error).__mro__:
        found = _BY_METHOD.get((method, kind)) or _TABLE.get(kind)
        if found is not None:
            return found
    return _UNEXPECTED


def answer_to(error: MellanrumError, method: str, href: str) -> Answer:
    """Return what the client is told of an error. `href` is what it asked for."""
    found = told(error, method)
    status, condition = found.status, found.about(href)
    headers = [*GUARD]
    if status.startswith("401"):
        headers.append(CHALLENGE)
    if isinstance(error, Throttled):
        headers.append(("Retry-After", str(error.facts.get("retry_after", 60))))
    if isinstance(error, DatabaseBusy):
        headers.append(("Retry-After", "2"))
    if status.startswith("405"):
        headers.append(("Allow", ALLOWED))
    if condition:
        return xml_answer(status, f'{PROLOGUE}<D:error xmlns:D="DAV:">{condition}</D:error>', headers)
    headers.append(("Content-Type", "text/plain; charset=utf-8"))
    return Answer(status, headers, (f"{error.said.rstrip()}\n".encode(),))


ALLOWED = "OPTIONS, GET, HEAD, PUT, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK"
