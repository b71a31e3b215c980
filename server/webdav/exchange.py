"""One request as the methods see it, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from config.clock import SECOND_US
from config.settings import Settings
from providers.model import NO_CONDITIONS, Conditions
from providers.paths import Path
from server.walls import WALLS
from server.webdav.conditions import conditions_of, of_versions, parse_if
from server.webdav.refusals import CompressedBody
from server.webdav.urls import Origins, href_of

if TYPE_CHECKING:
    from providers.drive.drive import Drive
    from providers.drive.reading import Reader

#: What goes with all that a browser may ask for.
GUARD = [*WALLS, ("Cache-Control", "private, no-cache")]
#: What clients are told whose X-OC-Mtime was taken: rclone, lftp, Nextcloud's.
MTIME_ACCEPTED = ("X-OC-Mtime", "accepted")
_SECONDS_MAX = 253_402_300_799
XML_TYPE = "application/xml; charset=utf-8"


class Answer(NamedTuple):
    """What goes back. `length` None: that of the body's pieces together."""

    status: str
    headers: list[tuple[str, str]]
    body: Iterable[bytes | memoryview] = ()
    length: int | None = None


class Exchange:
    """One request.

    Args:
        drive: of whoever asks.
        path: what the request's URL names.
        ends_in_slash: whether the URL did, as one of a collection should.
    """

    __slots__ = ("drive", "ends_in_slash", "environ", "method", "path", "settings")

    def __init__(
        self, environ: dict[str, Any], settings: Settings, drive: Drive, path: Path, *, ends_in_slash: bool
    ) -> None:
        self.environ = environ
        self.settings = settings
        self.drive = drive
        self.path = path
        self.ends_in_slash = ends_in_slash
        self.method: str = environ["REQUEST_METHOD"]

    @property
    def origins(self) -> Origins:
        """Under which addresses this server may be meant."""
        return Origins(self.environ, self.settings.http.public_origins)

    def header(self, name: str) -> str | None:
        """Return a request header by its WSGI name, `HTTP_DEPTH`."""
        return self.environ.get(name)

    @property
    def conditions(self) -> Conditions:
        """What the headers demand. Raises BadRequest."""
        return conditions_of(self.environ, self.origins)

    @property
    def states(self) -> Conditions:
        """What the If header demands of what is only read, too (RFC 4918 10.4): that the version be the one it names.

        The other headers have meanings of their own there: see `server.webdav.get`. Raises BadRequest.
        """
        text = self.environ.get("HTTP_IF")
        return NO_CONDITIONS if text is None else Conditions(lists=of_versions(parse_if(text, self.origins)))

    @property
    def declared(self) -> int | None:
        """The body's length in bytes; None if it comes in chunks."""
        if "HTTP_TRANSFER_ENCODING" in self.environ:
            return None
        return int(self.environ.get("CONTENT_LENGTH") or 0)

    @property
    def modified(self) -> int | None:
        """X-OC-Mtime (seconds, perhaps with a fraction) in µs; None where it is absent or makes no sense."""
        text = self.environ.get("HTTP_X_OC_MTIME")
        if text is None:
            return None
        try:
            seconds = float(text)
        except ValueError:
            return None
        return int(seconds * SECOND_US) if 0 <= seconds <= _SECONDS_MAX else None

    @property
    def depth(self) -> str:
        """The Depth header in lower case; `infinity`, which every method that has one takes for granted, without."""
        return (self.header("HTTP_DEPTH") or "infinity").strip().lower()

    def require_plain(self) -> None:
        """Raise CompressedBody where the body is told to be in a content coding (RFC 9110 8.4)."""
        if (self.header("HTTP_CONTENT_ENCODING") or "").strip().lower() not in ("", "identity"):
            raise CompressedBody

    @property
    def href(self) -> str:
        """The path asked for, as answers write it."""
        return href_of(self.path)

    def watch(self, reader: Reader | None = None) -> None:
        """Have the stream cut, within a second, once the credential no longer stands, or what is read may not be."""
        watch: Callable[[Callable[[], None]], None] | None = self.environ.get("mellanrum.watch")
        if watch is not None:
            watch(partial(self.drive.still_valid, reader))


def done(path: Path, created: bool, headers: Iterable[tuple[str, str]] = (), *, is_folder: bool = False) -> Answer:
    """Return 204, or 201 with where the new thing stands (RFC 9110 15.3.2), as a path: a proxy may hide the host."""
    if not created:
        return Answer("204 No Content", [*headers])
    return Answer("201 Created", [*headers, ("Location", href_of(path, is_folder=is_folder))])


def xml_answer(status: str, text: str, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Return an answer whose body is an XML document."""
    return Answer(status, [("Content-Type", XML_TYPE), *headers], (text.encode("utf-8"),))
