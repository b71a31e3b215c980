"""Uploads that one thread receives at once: while one waits for its client, the thread serves others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auth.roles import Role
from config.settings import Settings
from providers.paths import parse
from server.webdav.exchange import Exchange
from server.webdav.put import put
from tests.worlds import World, fetch

NOTHING: Callable[[], None] = lambda: None  # noqa: E731


class Arriving:
    """A body that comes in parts. Before each but the first, `meanwhile` is called, as other requests are served."""

    def __init__(self, parts: list[bytes], meanwhile: Callable[[], None] = NOTHING) -> None:
        self._parts = parts
        self._meanwhile = meanwhile
        self._has_begun = False

    def readinto(self, buffer: memoryview) -> int:
        if not self._parts:
            return 0
        if self._has_begun:
            self._meanwhile()
        self._has_begun = True
        part = self._parts.pop(0)
        count = min(len(part), len(buffer))
        buffer[:count] = part[:count]
        if count < len(part):
            self._parts.insert(0, part[count:])
        return count


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World.create(tmp_path / "data")
    for login in ("eva", "olle"):
        made.person(login, f"{login} AB")
        made.space(f"{login}s", f"{login} AB")
        made.grant(login, f"{login}s", Role.EDITOR)
    yield made
    made.installation.close()


@pytest.mark.parametrize("is_length_told", [True, False])
@pytest.mark.parametrize("size", [2_000, 1 << 20, 3 << 20])
def test_bytes_of_one_upload_never_come_to_stand_in_another(world: World, size: int, is_length_told: bool) -> None:
    def upload(login: str, body: Arriving, length: int) -> None:
        told = {"CONTENT_LENGTH": str(length)} if is_length_told else {"HTTP_TRANSFER_ENCODING": "chunked"}
        environ = {"REQUEST_METHOD": "PUT", "wsgi.input": body, **told}
        path = parse(f"/{login}s/document.bin")
        put(Exchange(environ, Settings(), world.drive(login), path, ends_in_slash=False))

    def part(letter: bytes) -> list[bytes]:
        return [letter * (size // 4)] * 4

    def served_meanwhile() -> None:
        upload("olle", Arriving(part(b"O")), size)

    upload("eva", Arriving(part(b"E"), served_meanwhile), size)
    assert fetch(world.drive("eva"), "/evas/document.bin") == b"E" * size
    assert fetch(world.drive("olle"), "/olles/document.bin") == b"O" * size
