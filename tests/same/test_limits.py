"""A name too long, or a path too deep, for what is new: told as any such name or path is, over either protocol."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Final

import pytest

from auth.roles import Via
from providers.paths import DEPTH_MAX, NAME_BYTES_MAX, Limits, parse
from server.sftp.engine.wire import Type, string
from tests.drive.stage import make_world, prepare
from tests.proofs.history_doors import lockinfo
from tests.same.hands import DONE, Hands, Told, told_by, told_over_sftp
from tests.same.test_operations import hands_of
from tests.sftp.client import NO_ATTRIBUTES, Client
from tests.worlds import World

LIMITS = Limits(40, 4)
#: Each stands in a folder two names below the root, and is refused by the limits alone, or whatever they are.
TOO_LONG, TOO_DEEP = "n" * 41, "Bort/Djupt/n"
NEVER_LONG, NEVER_DEEP = "n" * (NAME_BYTES_MAX + 1), "d/" * DEPTH_MAX + "n"


#: A request for a name in a folder, or with something in the folder for that name.
Way = Callable[[Hands, str, str], Told]


def _asked(method: str, source: str = "", body: bytes = b"") -> Way:
    def ask(hands: Hands, folder: str, name: str) -> Told:
        goal = f"{folder}/{name}"
        if source:
            reply = hands.webdav.ask(method, f"{folder}/{source}", Destination=hands.webdav.goal(goal), Overwrite="F")
        else:
            reply = hands.webdav.ask(method, goal, body)
        return told_by(reply)

    return ask


OVER_WEBDAV: Final = {
    "PUT": _asked("PUT", body=b"text"),
    "MKCOL": _asked("MKCOL"),
    "LOCK": _asked("LOCK", body=lockinfo()),
    "COPY": _asked("COPY", "Avtal.txt"),
    "MOVE": _asked("MOVE", "Avtal.txt"),
}


def _told(act: Callable[[Client, str, str], object]) -> Way:
    return lambda hands, folder, name: told_over_sftp(lambda: act(hands.sftp(), folder, f"{folder}/{name}"))


OVER_SFTP: Final = {
    "OPEN": _told(lambda client, folder, goal: client.put(goal, b"text")),
    "MKDIR": _told(lambda client, folder, goal: client.path_request(Type.MKDIR, goal, tail=NO_ATTRIBUTES)),
    "RENAME": _told(lambda client, folder, goal: client.path_request(Type.RENAME, f"{folder}/Avtal.txt", goal)),
    "posix-rename": _told(
        lambda client, folder, goal: client.extended(
            "posix-rename@openssh.com", string(f"{folder}/Avtal.txt".encode()) + string(goal.encode())
        )
    ),
}


@pytest.fixture
def world(data_folder: FilePath) -> Iterator[World]:
    made = make_world(data_folder, {})
    yield made
    made.installation.close()


@pytest.mark.parametrize(("name", "never"), [(TOO_LONG, NEVER_LONG), (TOO_DEEP, NEVER_DEEP)], ids=["long", "deep"])
def test_what_is_beyond_a_limit_is_told_as_what_can_never_be(world: World, name: str, never: str) -> None:
    """The sentence differs in the number alone; and without the limit all goes well."""
    storage = world.installation.storage
    doors = {via: hands_of(world, "manager", via) for via in (Via.WEBDAV, Via.SFTP)}
    for via, requests in {Via.WEBDAV: OVER_WEBDAV, Via.SFTP: OVER_SFTP}.items():
        for request, ask in requests.items():
            path, _ = prepare(world, "Rum", request, "manager")
            world.drive("manager").make_folder(parse(f"{path}/Bort/Djupt"))
            storage.path_limits = LIMITS
            told, told_never = ask(doors[via], path, name), ask(doors[via], path, never)
            assert told.word not in (DONE, "404", "NO_SUCH_FILE"), request
            assert without_number(told) == without_number(told_never), request
            storage.path_limits = Limits()
            assert ask(doors[via], path, name).word == DONE, request


def without_number(told: Told) -> Told:
    return Told(told.word, told.sentence and re.sub(r"\d+", "…", told.sentence))
