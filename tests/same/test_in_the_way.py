"""What stands in the way of somebody who may: another's lock, a quota that is used up, a frozen space.

docs/PROTOCOLS.md says which operations each stops. Every request of either protocol is made under each, on a folder of
its own: what is stopped is told alike and leaves no trace but the log's, the same from both; all else goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any, Final

import pytest

from auth.roles import Via
from providers.model import FROZEN
from providers.paths import Path, parse
from server.sftp.engine.wire import Type
from tests.drive.stage import TABLE, VARIANTS, Subject, make_world, prepare
from tests.same.expected import PROTOCOLS, expected_of, kinds_of, lines
from tests.same.hands import Hands, Told, told_over_sftp
from tests.same.tables import obstacles
from tests.same.test_operations import colour, events, hands_of, log_size, unlike
from tests.same.ways import Way, cut_off
from tests.worlds import World, fetch

#: Who makes the requests: with fewer rights it would be those that stand in the way.
ROLE = "manager"


def lock(world: World, path: str) -> None:
    """Lock a folder with all in it, for somebody else."""
    world.drive("keeper").lock(seen_by_keeper(path), is_deep=True, is_shared=False, owner="", seconds=600)


def fill(world: World, path: str) -> None:
    """Leave the space no room."""
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces["Rum"].id, 1)


def freeze(world: World, path: str) -> None:
    """Close the space for changes."""
    world.installation.spaces.set_state(world.installation.operator(), world.spaces["Rum"].id, FROZEN)


#: By the refusal: what comes between.
OBSTACLES: Final[dict[str, Callable[[World, str], None]]] = {
    "Locked": lock, "QuotaExceeded": fill, "Frozen": freeze,
}  # fmt: skip


def _drafts(hands: Hands, subject: Subject) -> Told:
    return told_over_sftp(lambda: _require("Halv.txt" in hands.sftp().names(str(subject.folder))))


def _drop_draft(hands: Hands, subject: Subject) -> Told:
    return told_over_sftp(lambda: hands.sftp().path_request(Type.REMOVE, f"{subject.folder}/Halv.txt"))


def _require(is_so: bool) -> None:
    assert is_so


#: Ways to what was cut off before something came between.
CUT_OFF_BEFORE: Final[dict[str, Way]] = {"drafts": _drafts, "drop_draft": _drop_draft}


#: A lock on a new name makes it, and stores nothing.
STORES_NOTHING: Final = {("lock_new", "QuotaExceeded")}


@pytest.fixture
def world(data_folder: FilePath) -> Iterator[World]:
    made = make_world(data_folder, {})
    yield made
    made.installation.close()


def shown(world: World, path: str) -> list[tuple[str, bytes, int, int]]:
    """Return what stands in a folder, as somebody else sees it: names, contents, versions, and times."""
    keeper = world.drive("keeper")
    return [
        (item.name, b"" if item.is_folder else fetch(keeper, str(item.path)), item.version, item.modified)
        for item in keeper.listing(seen_by_keeper(path))[1]
    ]


def seen_by_keeper(path: str) -> Path:
    """Return a path as the supplier's people write it."""
    return parse(f"/Kund AB – {path.removeprefix('/')}")


@pytest.mark.parametrize("refusal", OBSTACLES)
def test_what_stands_in_the_way(world: World, refusal: str) -> None:
    wrong, told_of = tried(world, refusal, OBSTACLES[refusal], frozenset(PROTOCOLS))
    assert wrong == []
    assert unlike(told_of) == []


def test_ones_own_lock_stands_in_the_way_where_tokens_are_known(world: World) -> None:
    """Over WebDAV the token is asked for, which these requests do not bring; over SFTP nobody can tell it."""

    def lock_oneself(world: World, path: str) -> None:
        world.drive(ROLE).lock(parse(path), is_deep=True, is_shared=False, owner="", seconds=600)

    wrong, _ = tried(world, "Locked", lock_oneself, frozenset({Via.WEBDAV}))
    assert wrong == []


def tried(
    world: World, refusal: str, obstacle: Callable[[World, str], None], stops: frozenset[Via]
) -> tuple[list[Any], dict[str, dict[str, list[dict[str, Any]]]]]:
    """Make every request after an obstacle came between, which `stops` those of some protocols.

    Return what is not as the page says, and the events by operation and request.
    """
    stopped, log_tells = obstacles()[refusal]
    doors = {via: hands_of(world, ROLE, via) for via in PROTOCOLS}
    prepared = [
        (name, via, request, CUT_OFF_BEFORE.get(name, way), _begun(world, doors[via], f"{name} {number}"))
        for number, (name, via, request, way) in enumerate(lines())
    ]
    for *_, subject in prepared:
        obstacle(world, str(subject.folder))
    wrong: list[Any] = []
    told_of: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name, via, request, way, subject in prepared:
        path = str(subject.folder)
        stood, before = shown(world, path), log_size(world)
        told = way(doors[via], subject)
        found = events(world, before, path.removeprefix("/Rum"))
        is_stopped = via in stops and VARIANTS.get(name, name) in stopped and (name, refusal) not in STORES_NOTHING
        answer = refusal if is_stopped else TABLE[name].answers[ROLE]
        kinds = log_tells if is_stopped else kinds_of(name, answer)
        if told not in expected_of(answer, via, request) or [event["kind"] for event in found] != kinds:
            wrong.append((name, via.name, request, told, [event["kind"] for event in found], "expected", answer, kinds))
        if is_stopped and shown(world, path) != stood:
            wrong.append((name, via.name, request, "left a trace"))
        told_of.setdefault(name, {})[f"{via.name} {request}"] = found
    return wrong, told_of


def _begun(world: World, hands: Hands, name: str) -> Subject:
    """Make what an operation is tried on, as it stands before the obstacle does."""
    path, grant_id = prepare(world, "Rum", name, ROLE)
    if name.startswith("properties"):
        colour(world, path)
    subject = Subject(hands.drive, parse(path), parse(f"{path}/Bort"), world, grant_id)
    if name.split()[0] in CUT_OFF_BEFORE:
        assert cut_off(hands, subject) is None
    return subject
