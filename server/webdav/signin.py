"""Who is asking: HTTP Basic (RFC 7617) into a principal."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Protocol

from auth.errors import SignInNeeded
from auth.rights import Principal
from auth.roles import Via

_LENGTH_MAX = 4096


class Authenticator(Protocol):
    """What signing in needs of `auth.authenticator`."""

    def basic(self, login: str, password: str, *, via: Via, address: str) -> Principal:
        """Return who that is. Raises SignInRefused or Throttled."""
        ...


def credentials(environ: dict[str, Any]) -> tuple[str, str] | None:
    """Return login and password of a Basic header, None if there is none that is well-formed."""
    scheme, _, rest = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() != "basic" or len(rest) > _LENGTH_MAX:
        return None
    try:
        raw = base64.b64decode(rest.strip().encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    login, colon, password = text.partition(":")
    if not colon or not login or not text.isprintable():
        return None
    return login, password


def principal_of(environ: dict[str, Any], authenticator: Authenticator) -> Principal:
    """Return who is asking. Raises SignInNeeded without well-formed credentials, SignInRefused or Throttled."""
    found = credentials(environ)
    if found is None:
        raise SignInNeeded
    login, password = found
    return authenticator.basic(login, password, via=Via.WEBDAV, address=environ.get("REMOTE_ADDR", ""))
