"""URLs to paths and back. A URL is split first, its path decoded once after; below `/dav` lies the drive's root."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from providers.errors import BadName, NotText
from providers.paths import Path, parse_bytes

PREFIX = "/dav"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PORTS = {"http": "80", "https": "443"}
#: Characters of a target: longer ones are read anew each time.
_REMEMBERED_MAX = 512
_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$'()*,@:"
_ENCODED = {code: f"%{code:02X}" for code in range(128) if chr(code) not in _UNRESERVED}


@lru_cache(maxsize=65_536)
def encoded(name: str) -> str:
    """Return a name percent-encoded as one segment of a URL, safe in XML too."""
    if name.isascii():
        return name.translate(_ENCODED)
    return quote(name, safe=_UNRESERVED)


def href_of(path: Path, *, is_folder: bool = False) -> str:
    """Return the absolute path by which answers name a resource; a folder's ends in a slash."""
    if path.is_root:
        return f"{PREFIX}/"
    inner = "/".join(encoded(name) for name in path.segments)
    return f"{PREFIX}/{inner}/" if is_folder else f"{PREFIX}/{inner}"


def path_of(target: str) -> Path | None:
    """Return the path that an undecoded URL path names, None if it lies outside `/dav`.

    Raises NotText (undecodable), BadName (an encoded slash, or a name that may not stand) or NameTooLong.
    """
    return _path_lately_asked_for(target) if len(target) <= _REMEMBERED_MAX else _path_of(target)


def _path_of(target: str) -> Path | None:
    if target != PREFIX and not target.startswith(f"{PREFIX}/"):
        return None
    inner = target[len(PREFIX) :]
    if _BAD_ESCAPE.search(inner):
        raise NotText
    if "%2f" in inner.lower():
        raise BadName(why="it holds a slash.")
    return parse_bytes(unquote_to_bytes(inner.encode("latin-1")))


_path_lately_asked_for = lru_cache(maxsize=4096)(_path_of)


class Origins:
    """Under which scheme, host and port this server may be meant.

    Those are the settings' public origins, and whatever host the request itself named: a TLS proxy may have hidden the
    scheme, so that is not compared, and a port left out means the scheme's own.
    """

    def __init__(self, environ: dict[str, Any], public: Iterable[str]) -> None:
        self._environ = environ
        self._public = public

    def path_in(self, url: str) -> Path | None:
        """Return the path that an absolute URL, or the path of one, names; None if it names another server's.

        Userinfo is ignored. Raises BadName as `path_of` does.
        """
        if url.startswith("/"):
            return path_of(re.split(r"[?#]", url, maxsplit=1)[0])
        found = _URL.match(url)
        if found is None:
            return None
        scheme, authority, path = found[1].lower(), found[2].rpartition("@")[2], found[3]
        if scheme not in _PORTS or not self._is_ours(scheme, authority.lower()):
            return None
        return path_of(path)

    def _is_ours(self, scheme: str, authority: str) -> bool:
        host = self._environ.get("HTTP_HOST", "").lower()
        if self._with_port(scheme, authority) == self._with_port(scheme, host):
            return True
        for origin in self._public:
            found = _URL.match(origin)
            if found and self._with_port(found[1], found[2].lower()) == self._with_port(scheme, authority):
                return True
        return False

    def _with_port(self, scheme: str, authority: str) -> str:
        has_port = re.search(r":[0-9]+\Z", authority)
        return authority if has_port else f"{authority.rstrip(':')}:{_PORTS[scheme]}"
