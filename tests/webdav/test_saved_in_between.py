"""A document that is saved between the look at a GET's conditions and its being opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auth.roles import Role
from config.settings import Settings
from providers.drive.reading import Reader
from providers.errors import PreconditionFailed
from providers.paths import parse
from server.webdav.exchange import Exchange
from server.webdav.get import get
from tests.worlds import World, fetch, store

PATH = "/Rum/bok.txt"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World.create(tmp_path / "data")
    made.person("eva", "Kund AB")
    made.space("Rum", "Kund AB")
    made.grant("eva", "Rum", Role.EDITOR)
    store(made.drive("eva"), PATH, b"first")
    yield made
    made.installation.close()


def asking(world: World, monkeypatch: pytest.MonkeyPatch, **fields: str) -> Exchange:
    """Return a GET, before whose opening the document is saved anew."""
    drive, path = world.drive("eva"), parse(PATH)
    opened = drive.read

    def saved_before(*given: object) -> Reader:
        store(world.drive("eva"), PATH, b"second")
        return opened(path)

    monkeypatch.setattr(drive, "read", saved_before)
    return Exchange({"REQUEST_METHOD": "GET", **fields}, Settings(), drive, path, ends_in_slash=False)


def test_what_is_gone_on_with_is_of_the_version_that_was_begun(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = world.drive("eva").stat(parse(PATH)).etag
    with pytest.raises(PreconditionFailed):
        get(asking(world, monkeypatch, HTTP_IF_MATCH=etag, HTTP_RANGE="bytes=3-"))
    assert fetch(world.drive("eva"), PATH) == b"second"


def test_the_version_that_an_if_header_names_is_sent_or_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    etag = world.drive("eva").stat(parse(PATH)).etag
    with pytest.raises(PreconditionFailed):
        get(asking(world, monkeypatch, HTTP_IF=f"([{etag}])"))


def test_what_one_has_not_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = get(asking(world, monkeypatch, HTTP_IF_NONE_MATCH='"older"'))
    assert (answer.status, b"".join(answer.body)) == ("200 OK", b"second")


def test_a_range_that_lies_behind_the_end_of_what_was_saved_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(world.drive("eva"), PATH, b"longer than what is saved")
    answer = get(asking(world, monkeypatch, HTTP_RANGE="bytes=6-"))
    assert (answer.status, [*answer.body]) == ("416 Range Not Satisfiable", [])
    assert ("Content-Range", "bytes */6") in answer.headers
