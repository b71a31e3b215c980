"""What a browser is told with whatever it may ask for without our leave: documents, folders, refusals, pages.

Pages of other origins can have it ask for any address of ours, with the password that it keeps: as an image, a script,
a frame. Nothing of the answer is theirs, not even whether there is one: so refusals say the same as documents do.
Nor do they have anything done in that person's name, a reading in the log included: browsers tell for whom they ask
(W3C Fetch Metadata), over TLS and of the own machine, and no page can make them tell it otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

WALLS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    # What was uploaded never runs as part of this server's pages, and stands in a frame of nobody's.
    ("Content-Security-Policy", "sandbox; default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
)

_OWN: Final = frozenset({"same-origin", "none"})


def is_for_another_page(environ: Mapping[str, Any]) -> bool:
    """Return whether a browser asks for what a page of another origin wants, but to open it by itself, as of a link.

    What is no browser says nothing of it.
    """
    if environ.get("HTTP_SEC_FETCH_SITE", "none") in _OWN:
        return False
    opens = (environ.get("HTTP_SEC_FETCH_MODE"), environ.get("HTTP_SEC_FETCH_DEST")) == ("navigate", "document")
    return not opens or environ["REQUEST_METHOD"] not in ("GET", "HEAD")
