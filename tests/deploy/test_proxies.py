"""Debian's nginx and Caddy in front, by the files that are shipped."""

from __future__ import annotations

from tests.deploy.conftest import Behind
from tests.serving import space_path

HOME = space_path("anna")


def test_signing_in_putting_and_getting(behind: Behind) -> None:
    stranger, anna = behind.dav(), behind.dav("anna")
    assert stranger.get(HOME).status == 401
    assert anna.put(f"{HOME}/Hyresavtal å.txt", b"hello").status == 201
    got = anna.get(f"{HOME}/Hyresavtal å.txt")
    assert (got.status, got.body) == (200, b"hello")
    assert behind.server.dav("anna").get(f"{HOME}/Hyresavtal å.txt").body == b"hello"
