"""What this adapter refuses by itself, before any drive is asked. Each class carries its status."""

from __future__ import annotations

from config.errors import MellanrumError


class RequestError(MellanrumError):
    """The request cannot be understood."""

    status = "400 Bad Request"
    condition = ""


class BadRequest(RequestError):
    """The request cannot be understood: {why}."""


class BadDestination(RequestError):
    """The destination lies on another server. Nothing was changed."""

    status = "403 Forbidden"  # RFC 4918 9.8.5 names 502 too, but what a client sends is never our fault


class OfAnotherPage(RequestError):
    """A page of another address asked for this, which is not given to pages. Open it by itself."""

    status = "403 Forbidden"


class FolderName(RequestError):
    """A name with a slash at its end is a folder's. Nothing was stored. Leave the slash away."""

    status = "405 Method Not Allowed"


class TooLarge(RequestError):
    """The body of the request is larger than is allowed here."""

    status = "413 Content Too Large"


class UnsupportedBody(RequestError):
    """This method takes no such body."""

    status = "415 Unsupported Media Type"


class CompressedBody(RequestError):
    """A compressed body is not taken. Nothing was changed. Send it as it is, without Content-Encoding."""

    status = "415 Unsupported Media Type"


class NoInfinity(RequestError):
    """A listing of everything below is not given. Ask for a depth of 1."""

    status = "403 Forbidden"
    condition = "<D:propfind-finite-depth/>"


class NotHere(RequestError):
    """That cannot be done to what stands here."""

    status = "405 Method Not Allowed"
