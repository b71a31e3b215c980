"""What is held open for writing while others rename, append to, rewrite, lock or shut what it was opened as."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path as FilePath
from typing import Any

import pytest

from auth.roles import Role, Via
from config.clock import SECOND_US
from providers.drive import Drive, checkpoints
from providers.drive.edits import Edit
from providers.errors import Forbidden, Locked, NotFound
from providers.paths import parse
from tests.worlds import World, fetch, store

LOG = parse("/Stämma/Mapp/log")
NEWLY = parse("/Stämma/Mapp/log.1")
CHANCE = random.Random(11)


@pytest.fixture
def world(tmp_path: FilePath) -> Iterator[World]:
    made = World.create(tmp_path / "data")
    made.space("Stämma", "Kund AB", folders=("/Mapp", "/Annan"))
    for login in ("eva", "bo"):
        made.person(login, "Kund AB")
        made.grant(login, "Stämma", Role.MANAGER, history=True)
    yield made
    made.installation.close()


def opened(drive: Drive, *, create: bool = False) -> Edit:
    edit = drive.edit(LOG, create=create, truncate=False)
    assert isinstance(edit, Edit)
    return edit


def versions(world: World, path: Any = LOG) -> list[int]:
    return [version.size for version in world.drive("eva").versions(path)]


@pytest.mark.parametrize("before", [b"", b"0\n", CHANCE.randbytes(3_000_000)], ids=["nothing", "short", "long"])
def test_lines_that_several_append_were_lost_but_those_of_the_last_to_close(world: World, before: bytes) -> None:
    if before:
        store(world.drive("eva"), LOG, before)
    lines = {f"{who} {number}\n".encode() for who in ("eva", "bo", "eva too") for number in range(8)}

    def append(who: str) -> None:
        drive = world.drive(who.split()[0], Via.SFTP)
        for number in range(8):
            edit = opened(drive, create=True)
            edit.append(f"{who} ".encode())
            edit.append(f"{number}\n".encode())
            edit.commit()

    with ThreadPoolExecutor() as pool:
        list(pool.map(append, ("eva", "bo", "eva too")))
    found = fetch(world.drive("eva"), LOG)
    assert found.startswith(before)
    assert sorted(found[len(before) :].splitlines(keepends=True)) == sorted(lines)
    assert len(versions(world)) == len(lines) + bool(before)
    assert list(world.installation.verify()) == []
    assert list(world.installation.vault.drafts(world.spaces["Stämma"].id)) == []


@pytest.mark.parametrize("is_durable", [False, True])
def test_what_was_appended_and_made_durable_before_others_appended(world: World, is_durable: bool) -> None:
    store(world.drive("eva"), LOG, b"0\n")
    mine = opened(world.drive("eva"))
    mine.append(b"mine\n")
    if is_durable:
        mine.sync()
    theirs = opened(world.drive("bo"))
    theirs.append(b"theirs\n")
    theirs.commit()
    mine.append(b"and more\n")
    mine.commit(modified=7 * SECOND_US)
    assert fetch(world.drive("eva"), LOG) == b"0\ntheirs\nmine\nand more\n"
    assert world.drive("eva").stat(LOG).modified == 7 * SECOND_US
    assert list(world.installation.vault.drafts(world.spaces["Stämma"].id)) == []
    assert list(world.installation.verify()) == []


@pytest.mark.parametrize("rewritten", [b"another log\n", b"0", b"", CHANCE.randbytes(2_000_000)])
def test_behind_what_was_rewritten_meanwhile_nothing_is_appended(world: World, rewritten: bytes) -> None:
    """Who goes on with an upload appends too: its rest makes no sense behind anything else. Each is a version."""
    store(world.drive("eva"), LOG, b"0\n")
    mine = opened(world.drive("eva"))
    mine.append(b"mine\n")
    store(world.drive("bo"), LOG, rewritten)
    mine.commit()
    assert fetch(world.drive("eva"), LOG) == b"0\nmine\n"
    assert versions(world) == [2, len(rewritten), 7]


@pytest.mark.parametrize("how", ["at a place", "cut", "emptied"])
def test_who_did_more_than_append_is_not_put_behind_others(world: World, how: str) -> None:
    store(world.drive("eva"), LOG, b"0123\n")
    mine = opened(world.drive("eva"))
    if how == "at a place":
        mine.write(0, b"X")
    else:
        mine.truncate(0 if how == "emptied" else 2)
    mine.append(b"mine\n")
    told = mine.read(0, 100)
    theirs = opened(world.drive("bo"))
    theirs.append(b"theirs\n")
    theirs.commit()
    mine.commit()
    assert fetch(world.drive("eva"), LOG) == told
    assert len(versions(world)) == 3


def test_what_was_appended_is_kept_where_it_is_refused(world: World) -> None:
    store(world.drive("eva"), LOG, b"0\n")
    mine = opened(world.drive("eva", Via.SFTP))
    mine.append(b"mine\n")
    theirs = opened(world.drive("bo"))
    theirs.append(b"theirs\n")
    theirs.commit()
    world.drive("bo").lock(LOG, is_deep=False, is_shared=False, owner="", seconds=60)
    with pytest.raises(Locked):
        mine.commit()
    mine.keep()
    world.drive("bo").unlock(LOG, world.drive("bo").locks(LOG)[0].token)
    world.drive("bo").move(LOG, NEWLY, overwrite=False)
    again = opened(world.drive("eva"))
    assert again.read(0, 100) == b"0\nmine\n"
    again.discard()


def moved(world: World) -> None:
    world.drive("bo").move(LOG, NEWLY, overwrite=False)


def test_who_may_not_write_under_the_new_name_is_refused_there(world: World) -> None:
    store(world.drive("eva"), LOG, b"0\n")
    mine = opened(world.drive("eva", Via.SFTP))
    mine.write(0, b"X")
    moved(world)
    world.drive("bo").lock(NEWLY, is_deep=False, is_shared=False, owner="", seconds=60)
    with pytest.raises(Locked):
        mine.commit()
    mine.keep()
    assert [item.name for item in world.drive("eva").drafts(LOG.parent)] == ["log"]
    assert fetch(world.drive("eva"), NEWLY) == b"0\n"


@pytest.mark.parametrize("role", [None, Role.VIEWER])
def test_what_went_where_it_is_not_seen_stands_anew_under_its_name(world: World, role: Role | None) -> None:
    """And where it is only seen, writing to it is refused: that it went there, everybody sees."""
    store(world.drive("eva"), LOG, b"0\n")
    hidden = parse("/Stämma/Annan")
    mine = opened(world.drive("eva", Via.SFTP))
    mine.write(0, b"X")
    world.drive("bo").break_inheritance(hidden)
    world.grant("bo", "Stämma", Role.MANAGER, "/Annan")
    if role is not None:
        world.grant("eva", "Stämma", role, "/Annan")
    world.drive("bo").move(LOG, hidden.joined("log"), overwrite=False)
    if role is None:
        made = mine.commit()
        assert made is not None and made[0].path == LOG and made[1]
        assert fetch(world.drive("eva"), LOG) == b"X\n"
    else:
        with pytest.raises(Forbidden):
            mine.commit()
        mine.keep()
    assert fetch(world.drive("bo"), hidden.joined("log")) == b"0\n"


def test_a_reading_told_of_the_version_that_others_wrote_meanwhile(world: World) -> None:
    store(world.drive("eva"), LOG, b"0\n")
    mine = opened(world.drive("eva"))
    mine.write(0, b"X")
    store(world.drive("bo"), LOG, b"secret\n")
    assert mine.read(1, 5) == b"\n"
    world.kinds("Stämma")
    audit, database = world.installation.audit, world.installation.database
    with database.read() as connection:
        entries = audit.entries(connection, audit.find(connection, world.spaces["Stämma"].id))
        told = [entry.event["facts"] for entry in entries if entry.event["kind"] == "read"]
    assert [(facts["version"], facts["size"]) for facts in told] == [(1, 2)]


def test_who_may_no_longer_read_goes_on_reading_what_is_open_for_both(world: World) -> None:
    world.person("ulla", "Kund AB")
    world.grant("ulla", "Stämma", Role.EDITOR)
    store(world.drive("eva"), LOG, b"0\n")
    drive = world.drive("ulla", Via.SFTP)
    mine = opened(drive)
    assert mine.read(0, 5) == b"0\n"
    world.drive("bo").break_inheritance(LOG)
    drive.still_valid()
    assert drive.stat(LOG.parent, node=mine.folder).is_folder
    with pytest.raises(NotFound):
        mine.read(0, 5)


@pytest.mark.parametrize("is_ordered", [True, False])
def test_of_a_slow_upload_nothing_was_durable_before_64_mib(
    world: World, monkeypatch: pytest.MonkeyPatch, is_ordered: bool
) -> None:
    monkeypatch.setattr(checkpoints, "SLOW_SECONDS", 0.0)
    pieces, edit = [CHANCE.randbytes(300_000) for _ in range(12)], opened(world.drive("eva"), create=True)
    order = list(enumerate(pieces))
    if not is_ordered:
        order[0], order[1] = order[1], order[0]
    for number, piece in order:
        edit.write(number * 300_000, piece)
    # The process is killed here.
    (kept,) = world.drive("eva").drafts(LOG.parent)
    assert kept.size >= 1_500_000
    again = opened(world.drive("eva"))
    assert again.read(0, again.size) == b"".join(pieces)[: again.size]
    again.write(again.size, b"".join(pieces)[again.size :])
    again.commit()
    assert fetch(world.drive("eva"), LOG) == b"".join(pieces)
    assert list(world.installation.verify()) == []


def test_a_short_or_quick_upload_is_not_made_durable_on_the_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = opened(world.drive("eva"), create=True)
    edit.write(0, CHANCE.randbytes(5_000_000))
    assert world.drive("eva").drafts(LOG.parent) == []
    edit.discard()
    monkeypatch.setattr(checkpoints, "SLOW_SECONDS", 0.0)
    edit = opened(world.drive("eva"), create=True)
    for number in range(100):
        edit.write(number * 1000, bytes(1000))
    assert world.drive("eva").drafts(LOG.parent) == []
