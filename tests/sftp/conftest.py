"""An installation with a space, and clients of SFTP that need no socket."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest

from auth.roles import Role, Via
from providers.installation import Installation
from tests.sftp.client import Client
from tests.worlds import World, settings_for

ROLES = ("viewer", "uploader", "contributor", "editor")


@pytest.fixture(scope="session")
def made_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A space `Rum` of a customer, in which each role has its person, and `anna` and `bo` are managers. Closed."""
    made = World.create(tmp_path_factory.mktemp("world") / "data")
    made.space("Rum", "Kund AB", folders=("/Avtal",))
    made.space("Annat", "Kund AB")
    for login in ("anna", "bo", *ROLES):
        made.person(login, "Kund AB")
    for login in ("anna", "bo"):
        made.grant(login, "Rum", Role.MANAGER, history=True)
    for role in ROLES:
        made.grant(role, "Rum", Role[role.upper()])
    made.installation.close()
    return made


@pytest.fixture
def world(made_world: World, data_folder: FilePath) -> Iterator[World]:
    """A copy of that world, open."""
    shutil.copytree(made_world.installation.folder, data_folder, dirs_exist_ok=True)
    settings = settings_for(data_folder)
    shutil.copy(made_world.installation.settings.key_file, settings.key_file)
    opened = replace(made_world, installation=Installation.open(data_folder, settings))
    yield opened
    opened.installation.close()


@pytest.fixture
def connect(world: World) -> Callable[..., Client]:
    """Sign somebody in over SFTP; return their client."""

    def made(login: str = "anna", **options: Any) -> Client:
        return Client(world.drive(login, Via.SFTP), **options)

    return made
