"""A listing whose text is remembered never differs from one that is written anew, whoever changed what."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest

from auth.roles import GranteeKind, Role
from config.settings import Settings
from providers.drive import Drive
from providers.errors import NotFound
from providers.paths import parse
from server.webdav import propfind, rendered
from server.webdav.exchange import Exchange
from tests.worlds import World, store

FOLDER = parse("/Stämma/Mapp")
DOCUMENT = parse("/Stämma/Mapp/a.txt")
ASKED = {
    "all": b"",
    "locks": b'<propfind xmlns="DAV:"><prop><lockdiscovery/><getetag/></prop></propfind>',
    "dead": b'<propfind xmlns="DAV:"><prop><x xmlns="y:"/><getetag/></prop></propfind>',
    "quota": b'<propfind xmlns="DAV:"><prop><quota-used-bytes/><getetag/></prop></propfind>',
    "names": b'<propfind xmlns="DAV:"><propname/></propfind>',
}


def lock(drive: Drive, path: str) -> None:
    drive.lock(parse(path), is_deep=True, is_shared=False, owner="<D:owner/>", seconds=60)


CHANGES: dict[str, Callable[[Drive], object]] = {
    "write": lambda drive: store(drive, "/Stämma/Mapp/a.txt", b"longer than before"),
    "add": lambda drive: store(drive, "/Stämma/Mapp/ny.txt", b"new"),
    "delete": lambda drive: drive.delete(DOCUMENT),
    "property": lambda drive: drive.change_properties(DOCUMENT, [("{y:}x", "<x xmlns='y:'>1</x>")]),
    "modified": lambda drive: drive.change_properties(DOCUMENT, [], modified=1_000_000),
    "lock": lambda drive: lock(drive, "/Stämma/Mapp/a.txt"),
    "lock_above": lambda drive: lock(drive, "/Stämma"),
    "within": lambda drive: store(drive, "/Stämma/Mapp/Under/b.txt", b"b"),
}


@pytest.fixture
def world(tmp_path: FilePath) -> Iterator[World]:
    made = World.create(tmp_path / "data")
    made.person("eva", "Kund AB")
    made.person("ove", "Kund AB")
    made.space("Stämma", "Kund AB", folders=("/Mapp/Under",))
    made.grant("eva", "Stämma", Role.MANAGER)
    store(made.drive("eva"), "/Stämma/Mapp/a.txt", b"a")
    yield made
    made.installation.close()


def listed(drive: Drive, body: bytes = b"") -> bytes:
    environ: dict[str, Any] = {"REQUEST_METHOD": "PROPFIND", "HTTP_DEPTH": "1", "HTTP_HOST": "h"}
    environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    answer = propfind.propfind(Exchange(environ, Settings(), drive, FOLDER, ends_in_slash=True))
    return b"".join(answer.body)


def without_countdown(text: bytes) -> bytes:
    """Leave out how many seconds a lock has left."""
    return text.replace(b"Second-59<", b"Second-60<")


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_shows(world: World, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drive = world.drive("eva")
    for body in ASKED.values():
        assert listed(drive, body) == listed(drive, body)
    CHANGES[change](drive)
    after = {asked: without_countdown(listed(drive, body)) for asked, body in ASKED.items()}
    assert after == {asked: without_countdown(listed(drive, body)) for asked, body in ASKED.items()}
    monkeypatch.setattr(propfind, "_rendered", rendered.Rendered())
    drive._storage.tree._listed.clear()
    assert after == {asked: without_countdown(listed(drive, body)) for asked, body in ASKED.items()}


def test_the_same_members_are_written_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    drive = world.drive("eva")
    first = listed(drive)
    monkeypatch.setattr(propfind, "responses", lambda *_: [])
    assert listed(drive).count(b"<D:response>") == first.count(b"<D:response>") - 1  # its own is written each time


def test_what_is_remembered_for_one_is_not_shown_to_another(world: World) -> None:
    eva, ove = world.drive("eva"), world.drive("ove")
    grant = eva.grant(parse("/Stämma"), world.people["ove"].id, GranteeKind.PERSON, Role.VIEWER, history=False)
    world.grant("eva", "Stämma", Role.MANAGER, "/Mapp/Under")
    assert listed(eva) == listed(ove)
    eva.break_inheritance(parse("/Stämma/Mapp/Under"))
    assert b"/Under/" in listed(eva) and b"/Under/" not in listed(ove)
    eva.revoke(parse("/Stämma"), grant.id)
    with pytest.raises(NotFound):
        listed(ove)
    assert b"a.txt" in listed(eva)


def test_what_is_remembered_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    drive, memory = world.drive("eva"), rendered.Rendered()
    monkeypatch.setattr(propfind, "_rendered", memory)
    size = len(listed(drive))
    monkeypatch.setattr(rendered, "BYTES_MAX", 3 * size)
    for number in range(20):
        body = f'<propfind xmlns="DAV:"><allprop/><include><x{number} xmlns="y:"/></include></propfind>'
        listed(drive, body.encode())
        assert sum(kept.size for kept in memory._kept.values()) == memory._size <= 3 * size
    assert memory._size
    monkeypatch.setattr(rendered, "LISTING_BYTES_MAX", 10)
    listed(drive, ASKED["locks"])
    assert len(memory._kept) == len([kept for kept in memory._kept.values() if kept.size > 10])


def test_what_members_lack_is_not_told_again_and_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short body can name thousands of properties that nobody has; each member would repeat their names."""
    drive = world.drive("eva")
    for number in range(20):
        store(drive, f"/Stämma/Mapp/{number}.txt", b"x")
    unknown = "".join(f"<x{number} xmlns='y:'/>" for number in range(300))
    body = f'<propfind xmlns="DAV:"><prop><getetag/>{unknown}</prop></propfind>'.encode()
    whole = listed(drive, body)
    assert whole.count(b"getetag>") == 2 * 21
    assert len(whole) > 22 * 300 * len("<x1 xmlns='y:'/>")
    monkeypatch.setattr(propfind, "NAMES_CHARS_MAX", 10_000)
    short = listed(drive, body)
    assert short.count(b"getetag>") == 2 * 21
    assert short.count(b"404 Not Found") == 1  # the folder's own
    assert len(short) < len(whole) / 8
