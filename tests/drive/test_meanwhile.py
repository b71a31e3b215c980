"""What others do between the beginning of an upload and its commit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath

import pytest

from auth.roles import Role
from providers.drive import Drive
from providers.errors import ParentMissing
from providers.paths import parse
from tests.worlds import World, fetch, store

PLACE = "/Stämma/Mapp/x.txt"


def replaced_folder(drive: Drive) -> None:
    drive.move(parse("/Stämma/Mapp"), parse("/Stämma/Gammal"), overwrite=False)
    drive.make_folder(parse("/Stämma/Mapp"))


def again(drive: Drive) -> None:
    drive.delete(parse(PLACE))
    store(drive, PLACE, b"another document")


#: What happens, and the version that the upload then becomes: where nothing stood, and where one version stood.
MEANWHILE: dict[str, tuple[Callable[[Drive], object], int, int]] = {
    "nothing": (lambda drive: None, 1, 2),
    "written": (lambda drive: store(drive, PLACE, b"by another"), 2, 3),
    "folder replaced": (replaced_folder, 1, 1),
    "deleted": (lambda drive: drive.delete(parse(PLACE)), 1, 1),
    "deleted and made again": (again, 1, 2),
}


@pytest.fixture
def world(tmp_path: FilePath) -> World:
    made = World.create(tmp_path / "data")
    made.person("eva", "Kund AB")
    made.space("Stämma", "Kund AB", folders=("/Mapp",))
    made.grant("eva", "Stämma", Role.EDITOR, history=True)
    return made


@pytest.mark.parametrize(
    ("what", "stood"),
    [(what, stood) for what in MEANWHILE for stood in (False, True) if stood or not what.startswith("deleted")],
)
def test_an_upload_becomes_a_version_of_what_stands_there_now(world: World, what: str, stood: bool) -> None:
    act, fresh, next_one = MEANWHILE[what]
    drive = world.drive("eva")
    if stood:
        store(drive, PLACE, b"first")
    upload = drive.put(parse(PLACE), declared=8)
    upload.write(b"uploaded")
    act(world.drive("eva"))
    item, created = upload.commit()
    assert (item.version, created) == (next_one if stood else fresh, (next_one if stood else fresh) == 1)
    assert fetch(drive, PLACE) == b"uploaded"
    assert [version.number for version in drive.versions(parse(PLACE))] == list(range(1, item.version + 1))
    world.installation.tick()
    assert [str(finding) for finding in world.installation.verify()] == []


def test_a_right_taken_meanwhile_is_missed_at_the_commit(world: World) -> None:
    drive = world.drive("eva")
    upload = drive.put(parse(PLACE), declared=8)
    upload.write(b"uploaded")
    operator, spaces, space = world.installation.operator(), world.installation.spaces, world.spaces["Stämma"].id
    for _, grant in spaces.grants(space):
        spaces.revoke(operator, space, grant.id)
    with pytest.raises(ParentMissing):
        upload.commit()
