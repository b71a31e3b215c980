"""How values read."""

from __future__ import annotations

import pytest

from server.cli.text import counted


@pytest.mark.parametrize(
    ("count", "given", "read"),
    [
        (0, ("key",), "0 keys"),
        (1, ("key",), "1 key"),
        (2, ("key",), "2 keys"),
        (1, ("person", "people"), "1 person"),
        (3, ("person", "people"), "3 people"),
    ],
)
def test_one_thing_is_not_told_as_several(count: int, given: tuple[str, ...], read: str) -> None:
    assert counted(count, *given) == read
