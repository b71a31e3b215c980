"""What is held open for writing, for long or while others change what it was opened as."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from auth.roles import Role
from providers.drive import Drive, checkpoints
from providers.drive.edits import Edit
from providers.paths import parse
from tests.worlds import World, fetch

LOG = parse("/Stämma/Mapp/log")
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
