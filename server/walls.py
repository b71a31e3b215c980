"""What a browser is told with whatever it may ask for without our leave: documents, folders, refusals, pages.

Pages of other origins can have it ask for any address of ours, with the password that it keeps: as an image, a script,
a frame. Nothing of the answer is theirs, not even whether there is one: so refusals say the same as documents do.
"""

from __future__ import annotations

from typing import Final

WALLS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    # What was uploaded never runs as part of this server's pages, and stands in a frame of nobody's.
    ("Content-Security-Policy", "sandbox; default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
)
