"""Which application answers a path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from server.walls import WALLS

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[Any]]

WELCOME = (
    "This is Mellanrum, a file server for the space between a supplier and its customers.\n"
    "The documents are at /dav/: mount that address as a network drive (WebDAV) with your user name and a device\n"
    "password.\n"
)
#: What a mapped drive asks of every ancestor of its address (RFC 4918 10.1), without credentials. Tells nothing.
DAV_HEADERS = [("DAV", "1, 2, 3"), ("MS-Author-Via", "DAV")]


class Dispatcher:
    """WSGI: `/dav` and below to WebDAV, a word of welcome at `/`, `/healthz` for whoever watches over us.

    Goes by `environ["mellanrum.target"]`, the target as it came, as WebDAV does: what a proxy lets through by what a
    path begins with must not come to mean another, so `/%64av/` is not `/dav/`, though RFC 3986 6.2.2.2 has them alike.
    """

    def __init__(self, webdav: Application) -> None:
        self._webdav = webdav

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[Any]:
        """Answer one request."""
        target: bytes = environ["mellanrum.target"]
        path, method = target.partition(b"?")[0], environ["REQUEST_METHOD"]
        if path == b"/dav" or path.startswith(b"/dav/"):
            return self._webdav(environ, start_response)
        if method == "OPTIONS" and path in (b"/", b"*"):
            start_response("200 OK", [*DAV_HEADERS, ("Allow", "OPTIONS, GET, HEAD"), ("Content-Length", "0")])
            return []
        if path not in (b"/", b"/healthz"):
            return _text(start_response, "404 Not Found", "There is nothing here. The documents are at /dav/.\n")
        if method not in ("GET", "HEAD"):
            headers = [("Allow", "OPTIONS, GET, HEAD")]
            return _text(start_response, "405 Method Not Allowed", "Only GET and HEAD are answered here.\n", headers)
        return _text(start_response, "200 OK", "ok\n" if path == b"/healthz" else WELCOME)


def _text(
    start_response: Callable[..., Any], status: str, text: str, headers: Iterable[tuple[str, str]] = ()
) -> list[bytes]:
    body = text.encode("utf-8")
    standing = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        *WALLS,
        ("Cache-Control", "no-store"),
    ]
    start_response(status, [*standing, *headers])
    return [body]
