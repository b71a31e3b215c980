"""A move into another space: who takes the history along, what of it stands there, and what stays where it was."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from sqlalchemy import func, select, update

from auth.roles import Role, Via
from config.clock import SECOND_US, now_us
from providers import tables
from providers.catalogue.change import Lineage
from providers.catalogue.contents import ForgedVersion
from providers.catalogue.lineage import links_of
from providers.drive import Drive, bringing, carrying
from providers.errors import NotFound, QuotaExceeded, VersionErased
from providers.holding.errors import Retained
from providers.model import Came
from providers.paths import Path, parse
from providers.vault.errors import DamagedContent
from server.webdav.app import WebDav
from tests.proofs.history_doors import Dav, Sftp
from tests.proofs.history_hands import written
from tests.sftp.client import Client
from tests.worlds import World, fetch, store

POSTGRESQL_IN_PROOF = True

ROOM, ANNEX = parse("/Kund AB – Rum"), parse("/Gran AB – Annex")
FIRST, MOVED = ROOM.joined("a.txt"), ANNEX.joined("b.txt")
CONTENTS = (b"ett", b"tva, langre", b"tre, langre an tva")


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    """Rum is Kund AB's and Annex Gran AB's. Mia manages both; kim writes in Rum, gro looks back in Annex."""
    made = World.create(data_folder, **engine)
    for login, organisation in (("mia", "Byrån AB"), ("agnes", "Byrån AB"), ("kim", "Kund AB"), ("gro", "Gran AB")):
        made.person(login, organisation, administrator=login == "agnes")
    made.space("Rum", "Kund AB", ("/Mapp/Inre",))
    made.space("Annex", "Gran AB", ("/Mål",))
    for space in ("Rum", "Annex"):
        made.grant("mia", space, Role.MANAGER, history=True)
    made.grant("kim", "Rum", Role.EDITOR, history=True)
    made.grant("gro", "Annex", Role.VIEWER, history=True)
    yield made
    made.installation.close()


def written_to(drive: Drive, path: Path, *contents: bytes) -> Any:
    return [store(drive, path, content) for content in contents or CONTENTS][-1]


def test_the_trash_tells_over_what_it_was_moved_in_another_space(world: World, age: Callable[[float], None]) -> None:
    mia = world.drive("mia")
    written_to(mia, FIRST)
    written_to(mia, MOVED)
    age(60)
    mia.move(FIRST, MOVED, overwrite=True)
    (gone,), _ = mia.trash(ROOM, everything=True)
    assert (gone.path, gone.replaced) == (FIRST, MOVED)
    (unseen,), _ = world.drive("kim").trash(parse("/Rum"), everything=True)
    assert (unseen.path.name, unseen.replaced) == (FIRST.name, None)


def readable(drive: Drive, path: Path, number: int) -> bytes:
    with drive.read_version(path, number) as reader:
        return b"".join(bytes(piece) for piece in reader.chunks())


def numbers(drive: Drive, path: Path) -> list[int]:
    return [each.number for each in drive.versions(path)]


def whole(world: World) -> None:
    world.installation.tick()
    assert [f"{finding.where}: {finding.what}" for finding in world.installation.verify()] == []


def erase(world: World, space: str, node: bytes, number: int) -> None:
    erasures = world.installation.erasures
    asked = erasures.request_version(world.installation.operator(), world.spaces[space].id, node, number, "fel")
    erasures.approve(world.sign_in("agnes", Via.CLI), asked.id)


def facts(world: World, space: str) -> Any:
    """Return the kind and the facts of the newest event of a change in a space's log."""
    world.installation.tick()
    with world.installation.database.read() as connection:
        audit = world.installation.audit
        entries = list(audit.entries(connection, audit.find(connection, world.spaces[space].id), 0))
    event = next(entry.event for entry in reversed(entries) if "change" in entry.event["facts"])
    return {"kind": event["kind"], **event["facts"]}


def counts(world: World) -> list[int]:
    """Return how many rows there are of all that a move writes, and what both spaces take."""
    kept = (tables.entry, tables.closed_entry, tables.version, tables.lineage, tables.comment, tables.change,
            tables.chunk, tables.checksum, tables.log_entry)  # fmt: skip
    with world.installation.database.read() as connection:
        found = [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in kept]
        return [*found, connection.execute(select(func.sum(tables.head.c.sealed_bytes))).scalar_one()]


# --- what comes along


def test_all_of_a_documents_past_stands_in_the_other_space(world: World) -> None:
    mia = world.drive("mia")
    store(world.drive("kim", Via.SFTP), parse("/Rum/a.txt"), CONTENTS[0])
    source = written_to(mia, FIRST, *CONTENTS[1:])
    mia.comment(FIRST, 2, "som avtalat")
    mia.restore(FIRST, 1, None)
    mia.change_properties(FIRST, [("{urn:x}a", "1")], modified=77 * SECOND_US)
    sums = mia.checksums(FIRST)
    before, stood = mia.versions(FIRST), mia.stat(FIRST)
    item, created = mia.move(FIRST, MOVED, overwrite=False)
    after = mia.versions(MOVED)
    kept = ("number", "size", "at", "by", "via", "comment", "came", "origin", "sha256", "erased")
    assert [[getattr(each, name) for name in kept] for each in after] == [
        [getattr(each, name) for name in kept] for each in before
    ]
    assert [each.via for each in after] == ["sftp", "webdav", "webdav", "webdav"]
    assert [each.by for each in after] == ["Kim Lund", "Mia Lund", "Mia Lund", "Mia Lund"]
    assert (after[1].comment, after[3].came, after[3].origin) == ("som avtalat", Came.RESTORED, 1)
    assert {each.id for each in after}.isdisjoint(each.id for each in before)
    assert [readable(mia, MOVED, number) for number in (1, 2, 3, 4)] == [*CONTENTS, CONTENTS[0]]
    assert created and item.id != source.id
    assert (item.created, item.modified, mia.properties(MOVED)) == (stood.created, 77 * SECOND_US, {"{urn:x}a": "1"})
    assert mia.checksums(MOVED) == sums
    with world.installation.database.read() as connection:
        links = [(link.kind, link.number, link.other, link.other_number) for link in links_of(connection, item.id)]
    assert (Lineage.MOVED, 4, source.id, 4) in links
    whole(world)
    # It is in the trash, and not told of as what a program left, though it came and went at once.
    mia.move(MOVED, ANNEX.joined("c.txt"), overwrite=False)
    mia.delete(ANNEX.joined("c.txt"))
    assert [each.id for each in mia.trash(ANNEX)[0]] == [item.id]
    mia.undelete(ANNEX, item.id, to=MOVED)
    # What it left is as it was: deleted, with all of its past.
    mia.undelete(ROOM, source.id)
    assert mia.versions(FIRST) == before
    # And what comes now goes on from there.
    written_to(mia, MOVED, b"fyra")
    mia.restore(MOVED, 2, None)
    assert numbers(mia, MOVED) == [1, 2, 3, 4, 5, 6]
    assert fetch(mia, MOVED) == CONTENTS[1]
    whole(world)


def test_the_other_spaces_past_does_not_show_it_before_it_came(world: World) -> None:
    mia = world.drive("mia")
    written_to(mia, FIRST)
    stood_at = now_us()
    mia.move(FIRST, MOVED, overwrite=False)
    moved_at = now_us()

    def then(at: int, path: Path) -> Path:
        return Path((".history", written(at), *path.segments))

    assert fetch(mia, then(stood_at, FIRST)) == CONTENTS[2]
    with pytest.raises(NotFound):
        mia.stat(then(stood_at, MOVED))
    with pytest.raises(NotFound):
        mia.stat(then(moved_at, FIRST))
    assert fetch(mia, then(moved_at, MOVED)) == CONTENTS[2]


def test_authors_of_another_customer_are_shown_as_the_supplier(world: World) -> None:
    store(world.drive("kim"), parse("/Rum/a.txt"), b"av kim")
    mia = world.drive("mia")
    mia.move(FIRST, MOVED, overwrite=False)
    (shown,) = world.drive("gro").versions(parse("/Annex/b.txt"))
    assert (shown.by, shown.sha256) == ("Byrån AB", mia.versions(MOVED)[0].sha256)


def test_steps_joinings_and_a_shared_past_come_along_under_their_numbers(world: World) -> None:
    mia = world.drive("mia")
    written_to(mia, FIRST, b"")
    store(mia, FIRST, b"one")
    mia.move(FIRST, ROOM.joined("bak"), overwrite=False)
    store(mia, FIRST, b"joined")
    store(mia, FIRST, b"joined, and longer")
    store(mia, ROOM.joined("bak"), b"the backup goes on")
    for name in ("a.txt", "bak"):
        path, goal = ROOM.joined(name), ANNEX.joined(name)
        before = [(each.number, each.size, each.sha256) for each in mia.versions(path)]
        assert len(before) > 1
        joined = [each.number for each in mia.versions(path) if each.came is Came.CONTINUED]
        mia.move(path, goal, overwrite=False)
        assert [(each.number, each.size, each.sha256) for each in mia.versions(goal)] == before
        assert [each.number for each in mia.versions(goal) if each.came is Came.CONTINUED] == joined
    whole(world)
    number = next(each.number for each in mia.versions(ANNEX.joined("a.txt")) if each.came is Came.CONTINUED)
    mia.split(ANNEX.joined("a.txt"), number)
    assert [each.size for each in mia.versions(ANNEX.joined("a.txt"))] == [6, 18]
    whole(world)


def test_what_was_set_apart_stays_passed_over(world: World) -> None:
    mia = world.drive("mia")
    first = store(mia, FIRST, b"one").id
    mia.delete(FIRST)
    store(mia, FIRST, b"another")
    mia.split(FIRST, 2, "before.txt")
    before = mia.versions(ROOM.joined("before.txt"))
    assert (mia.stat(ROOM.joined("before.txt")).id, [each.number for each in before]) == (first, [1, 3])
    mia.move(ROOM.joined("before.txt"), MOVED, overwrite=False)
    assert [(each.number, each.sha256) for each in mia.versions(MOVED)] == [(e.number, e.sha256) for e in before]
    whole(world)


def test_there_and_back_again(world: World) -> None:
    mia = world.drive("mia")
    written_to(mia, FIRST)
    before = [(each.number, each.at, each.sha256) for each in mia.versions(FIRST)]
    for source, goal in ((FIRST, MOVED), (MOVED, ROOM.joined("c.txt"))):
        mia.move(source, goal, overwrite=False)
        assert [(each.number, each.at, each.sha256) for each in mia.versions(goal)] == before
    whole(world)


# --- who takes it along


@pytest.mark.parametrize(
    ("here", "there", "comes"),
    [
        ((Role.MANAGER, True), (Role.MANAGER, True), True),
        ((Role.MANAGER, True), (Role.MANAGER, False), False),
        ((Role.MANAGER, False), (Role.MANAGER, True), False),
        ((Role.EDITOR, True), (Role.MANAGER, True), False),
        ((Role.MANAGER, True), (Role.EDITOR, True), False),
        ((Role.MANAGER, True), (Role.CONTRIBUTOR, True), False),
        ((Role.EDITOR, True), (Role.EDITOR, True), False),
    ],
)
def test_who_has_history_and_manages_both_takes_it_along(
    world: World, here: tuple[Role, bool], there: tuple[Role, bool], comes: bool
) -> None:
    mia, path = world.drive("mia"), ROOM.joined("Mapp").joined("a.txt")
    written_to(mia, path)
    world.person("max", "Byrån AB")
    world.grant("max", "Rum", here[0], history=here[1])
    world.grant("max", "Annex", there[0], history=there[1])
    world.drive("max").move(path, MOVED, overwrite=False)
    assert len(mia.versions(MOVED)) == (3 if comes else 1)
    assert fetch(mia, MOVED) == CONTENTS[2]
    for space in ("Rum", "Annex"):
        told = facts(world, space)
        assert (told["kind"], told.get("history")) == ("move", "along" if comes else None)
    assert world.kinds("Rum").count("move") == world.kinds("Annex").count("move") == 1
    whole(world)


def test_a_role_on_the_folders_alone_is_enough(world: World) -> None:
    mia, path, goal = world.drive("mia"), ROOM.joined("Mapp").joined("a.txt"), ANNEX.joined("Mål").joined("b.txt")
    written_to(mia, path)
    world.person("max", "Byrån AB")
    world.grant("max", "Rum", Role.MANAGER, "/Mapp", history=True)
    world.grant("max", "Annex", Role.MANAGER, "/Mål", history=True)
    world.drive("max").move(path, goal, overwrite=False)
    assert numbers(mia, goal) == [1, 2, 3]


def test_each_document_of_a_folder_brings_what_the_mover_may_bring(world: World) -> None:
    """In a folder that breaks inheritance the mover is a viewer: from there the newest version comes alone."""
    mia, folder = world.drive("mia"), ROOM.joined("Mapp")
    for path in (folder.joined("a.txt"), folder.joined("Inre").joined("b.txt")):
        written_to(mia, path)
    store(mia, folder.joined("tom.txt"), b"")
    world.person("max", "Byrån AB")
    for space in ("Rum", "Annex"):
        world.grant("max", space, Role.MANAGER, history=True)
    world.installation.spaces.break_inheritance(
        world.installation.operator(), world.spaces["Rum"].id, parse("/Mapp/Inre")
    )
    world.grant("max", "Rum", Role.VIEWER, "/Mapp/Inre", history=True)
    goal = ANNEX.joined("Ny")
    world.drive("max").move(folder, goal, overwrite=False)
    assert numbers(mia, goal.joined("a.txt")) == [1, 2, 3]
    assert len(mia.versions(goal.joined("Inre").joined("b.txt"))) == 1
    assert mia.versions(goal.joined("tom.txt")) == []
    assert facts(world, "Annex")["history"] == "along"
    whole(world)


def test_a_copy_brings_the_newest_version_alone(world: World) -> None:
    mia, folder = world.drive("mia"), ROOM.joined("Mapp")
    written_to(mia, folder.joined("a.txt"))
    mia.copy(folder, ANNEX.joined("Kopia"), overwrite=False)
    mia.copy(folder.joined("a.txt"), MOVED, overwrite=False)
    for path in (MOVED, ANNEX.joined("Kopia").joined("a.txt")):
        (only,) = mia.versions(path)
        assert (only.number, only.came, only.sha256) == (1, Came.COPIED, mia.versions(folder.joined("a.txt"))[2].sha256)
    assert "history" not in facts(world, "Annex")


def test_over_a_standing_document_it_is_a_version_of_that(world: World) -> None:
    mia = world.drive("mia")
    written_to(mia, FIRST)
    standing = written_to(mia, MOVED, b"stood there")
    item, created = mia.move(FIRST, MOVED, overwrite=True)
    assert (item.id, created, numbers(mia, MOVED)) == (standing.id, False, [1, 2])
    assert "history" not in facts(world, "Annex")
    whole(world)


def test_the_name_that_it_left_stays_with_the_document_there(world: World) -> None:
    mia = world.drive("mia")
    left = written_to(mia, FIRST)
    mia.move(FIRST, MOVED, overwrite=False)
    assert store(mia, FIRST, b"saved again").id == left.id
    assert numbers(mia, FIRST) == [1, 2, 3, 4]
    assert numbers(mia, MOVED) == [1, 2, 3]
    whole(world)


# --- by which door


@pytest.mark.parametrize("door", ["MOVE", "rename", "posix_rename"])
def test_over_both_protocols(world: World, door: str) -> None:
    mia = world.drive("mia")
    written_to(mia, FIRST)
    source, goal = FIRST.segments, MOVED.segments
    if door == "MOVE":
        client = Dav(WebDav(world.installation, world.installation.settings), "mia", world.passwords["mia"])
        assert client.ask("MOVE", source, Destination=Dav.href(goal)).status[:3] == "201"
    else:
        getattr(Sftp(Client(world.drive("mia", Via.SFTP))), door)(source, goal)
    assert [readable(mia, MOVED, number) for number in numbers(mia, MOVED)] == list(CONTENTS)
    assert [each.via for each in mia.versions(MOVED)] == ["webdav"] * 3
    whole(world)


# --- what was erased, what must be kept, what there is room for


def test_a_tombstone_stays_one(world: World) -> None:
    mia = world.drive("mia")
    source = written_to(mia, FIRST)
    erase(world, "Rum", source.id, 2)
    mia.move(FIRST, MOVED, overwrite=False)
    assert [(each.number, each.erased, each.size) for each in mia.versions(MOVED)] == [
        (1, False, 3),
        (2, True, 11),
        (3, False, 18),
    ]
    with pytest.raises(VersionErased):
        readable(mia, MOVED, 2)
    assert (readable(mia, MOVED, 1), readable(mia, MOVED, 3)) == (CONTENTS[0], CONTENTS[2])
    whole(world)
    # Erasing more of it there is found as little fault with, and so is another move.
    erase(world, "Annex", mia.stat(MOVED).id, 1)
    whole(world)
    mia.move(MOVED, ROOM.joined("c.txt"), overwrite=False)
    assert [each.erased for each in mia.versions(ROOM.joined("c.txt"))] == [True, True, False]
    whole(world)


def test_content_that_goes_behind_the_log_is_found(world: World) -> None:
    mia = world.drive("mia")
    written_to(mia, FIRST)
    node = mia.move(FIRST, MOVED, overwrite=False)[0].id
    version = tables.version
    with world.installation.database.read() as connection:
        chosen = (version.c.node == node) & (version.c.number == 2)
        change = connection.execute(select(version.c.change).where(chosen)).scalar_one()
    emptied = update(version).where(chosen).values(content=b"", digest=b"", erased_in=change)
    world.installation.database.apply(lambda connection: connection.execute(emptied))
    found = [finding.what for finding in world.installation.verify()]
    assert any("MAC" in what for what in found) and any("rows it wrote" in what for what in found), found


def test_a_tombstone_that_no_event_accounts_for_is_found(world: World) -> None:
    """One that says it came erased, in a change that brought no past."""
    mia = world.drive("mia")
    node = written_to(mia, FIRST).id
    version = tables.version
    emptied = (
        update(version).where(version.c.node == node, version.c.number == 2)
        .values(content=b"", digest=b"", erased_in=version.c.change)
    )  # fmt: skip
    world.installation.database.apply(lambda connection: connection.execute(emptied))
    found = [finding.what for finding in world.installation.verify()]
    assert "its content was taken away, and no event tells that it was erased" in found


def test_what_is_erased_while_it_is_sealed_is_not_brought(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mia = world.drive("mia")
    source = written_to(mia, FIRST)
    real, done = bringing.bring, []

    def brought(*given: Any) -> Any:
        made = real(*given)
        if not done:
            done.append(erase(world, "Rum", source.id, 1))
        return made

    monkeypatch.setattr(carrying, "bring", brought)
    node = mia.move(FIRST, MOVED, overwrite=False)[0].id
    assert [each.erased for each in mia.versions(MOVED)] == [True, False, False]
    content = select(tables.version.c.content).where(tables.version.c.node == node, tables.version.c.number == 1)
    with world.installation.database.read() as connection:
        assert connection.execute(content).scalar_one() == b""
    whole(world)


def test_what_the_other_space_lets_go_of_meanwhile_is_taken_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had the same content already, which was relied on, and which is erased before the move is committed."""
    mia, database = world.drive("mia"), world.installation.database
    written_to(mia, FIRST)
    theirs = written_to(mia, ANNEX.joined("theirs.txt"), CONTENTS[0], b"something else")
    condemned = select(func.count()).where(tables.chunk.c.condemned_at.is_not(None))
    real = bringing.bring

    def brought(*given: Any) -> Any:
        made = real(*given)
        erase(world, "Annex", theirs.id, 1)
        with database.read() as connection:
            assert connection.execute(condemned).scalar_one() == 1
        return made

    monkeypatch.setattr(carrying, "bring", brought)
    mia.move(FIRST, MOVED, overwrite=False)
    with database.read() as connection:
        assert connection.execute(condemned).scalar_one() == 0
    assert readable(mia, MOVED, 1) == CONTENTS[0]
    whole(world)


def test_whose_rights_change_while_it_is_sealed_brings_no_past(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mia = world.drive("mia")
    written_to(mia, FIRST)
    world.person("max", "Byrån AB")
    world.grant("max", "Rum", Role.EDITOR, history=True)
    world.grant("max", "Annex", Role.EDITOR, history=True)
    grants = [world.grant("max", space, Role.MANAGER, history=True) for space in ("Rum", "Annex")]
    real = bringing.bring

    def brought(*given: Any) -> Any:
        made = real(*given)
        if grants:
            operator = world.installation.operator()
            world.installation.spaces.revoke(operator, world.spaces["Annex"].id, grants.pop().id)
            grants.clear()
        return made

    monkeypatch.setattr(carrying, "bring", brought)
    world.drive("max").move(FIRST, MOVED, overwrite=False)
    assert len(mia.versions(MOVED)) == 1
    whole(world)


def test_a_past_that_was_tampered_with_is_not_sealed_anew(world: World) -> None:
    mia = world.drive("mia")
    node = written_to(mia, FIRST).id
    version = tables.version
    swapped = update(version).where(version.c.node == node, version.c.number == 1).values(size=4)
    world.installation.database.apply(lambda connection: connection.execute(swapped))
    before = counts(world)
    with pytest.raises(ForgedVersion):
        mia.move(FIRST, MOVED, overwrite=False)
    assert counts(world) == before


def test_content_that_is_not_what_its_version_was_given_is_not_sealed_anew(world: World) -> None:
    mia, version = world.drive("mia"), tables.version
    node = written_to(mia, FIRST).id
    chosen = (version.c.node == node) & (version.c.number == 1)
    with world.installation.database.read() as connection:
        identity = connection.execute(select(version.c.id).where(chosen)).scalar_one()
    sealer = world.installation.keyring.space(world.spaces["Rum"].id).names
    other = update(version).where(chosen).values(digest=sealer.seal(b"sha256" + identity, bytes(32)))
    world.installation.database.apply(lambda connection: connection.execute(other))
    before = counts(world)
    with pytest.raises(DamagedContent):
        mia.move(FIRST, MOVED, overwrite=False)
    assert counts(world) == before


def test_a_move_out_of_a_held_space_leaves_all_that_is_held(world: World) -> None:
    """The copy in the other space goes by that one's rules; what must be kept stands in the space that keeps it."""
    mia, operator = world.drive("mia"), world.installation.operator()
    source = written_to(mia, FIRST)
    world.installation.spaces.set_retention(operator, world.spaces["Rum"].id, 3600)
    goal = mia.move(FIRST, MOVED, overwrite=False)[0]
    with pytest.raises(Retained):
        erase(world, "Rum", source.id, 1)
    erase(world, "Annex", goal.id, 1)
    mia.undelete(ROOM, source.id)
    assert readable(mia, FIRST, 1) == CONTENTS[0]
    whole(world)


def test_all_versions_count_in_the_quota(world: World) -> None:
    mia, space = world.drive("mia"), world.spaces["Annex"].id
    pieces = [random.Random(seed).randbytes(20_000) for seed in range(5)]
    written_to(mia, FIRST, *pieces)
    spaces = world.installation.spaces
    used = spaces.usage(space).sealed
    spaces.set_quota(world.installation.operator(), space, used + 60_000)
    before = counts(world)
    with pytest.raises(QuotaExceeded):
        mia.move(FIRST, MOVED, overwrite=False)
    assert counts(world) == before
    packs = world.installation.folder / "vault" / space.hex() / "packs"
    assert sum(pack.stat().st_size for pack in packs.glob("*.pack")) < 95_000  # it was found out before the last
    assert (numbers(mia, FIRST), fetch(mia, FIRST)) == ([1, 2, 3, 4, 5], pieces[-1])
    mia.copy(FIRST, ANNEX.joined("newest.txt"), overwrite=False)
    mia.delete(ANNEX.joined("newest.txt"))
    spaces.set_quota(world.installation.operator(), space, used + 400_000)
    mia.move(FIRST, MOVED, overwrite=False)
    assert numbers(mia, MOVED) == [1, 2, 3, 4, 5]
    whole(world)


# --- halfway, and many


class _Killed(BaseException):
    """The end of the process, as far as what runs in it can tell."""


@pytest.mark.parametrize("step", ["bring", "stands"])
def test_ended_halfway_it_leaves_nothing(world: World, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from providers.drive import trees

    mia = world.drive("mia")
    written_to(mia, ROOM.joined("Mapp").joined("a.txt"))
    written_to(mia, ROOM.joined("Mapp").joined("b.txt"))
    before, calls = counts(world), []
    module = {"bring": carrying, "stands": trees}[step]
    real = getattr(bringing, step)

    def dies(*given: Any) -> Any:
        calls.append(None)
        if len(calls) == 2:
            raise _Killed
        return real(*given)

    monkeypatch.setattr(module, step, dies)
    with pytest.raises(_Killed):
        mia.move(ROOM.joined("Mapp"), ANNEX.joined("Ny"), overwrite=False)
    monkeypatch.undo()
    assert counts(world) == before
    assert list(world.installation.vault.drafts(world.spaces["Annex"].id)) == []
    mia.move(ROOM.joined("Mapp"), ANNEX.joined("Ny"), overwrite=False)
    assert numbers(mia, ANNEX.joined("Ny").joined("b.txt")) == [1, 2, 3]
    whole(world)


def test_what_versions_share_is_sealed_once(world: World) -> None:
    """Thirty versions of 400 kB that differ by a few bytes cost little more than one; and those restored nothing."""
    mia, changing = world.drive("mia"), random.Random(7)
    content = bytearray(changing.randbytes(400_000))
    for _ in range(30):
        content[changing.randrange(len(content))] ^= 0xFF
        store(mia, FIRST, bytes(content))
    with world.installation.database.read() as connection:
        look = select(tables.head.c.sealed_bytes).where(tables.head.c.space == world.spaces["Annex"].id)
        before = connection.execute(look).scalar_one()
        source = connection.execute(
            select(tables.head.c.sealed_bytes).where(tables.head.c.space == world.spaces["Rum"].id)
        ).scalar_one()
    mia.move(FIRST, MOVED, overwrite=False)
    with world.installation.database.read() as connection:
        after = connection.execute(look).scalar_one()
        chunks = connection.execute(
            select(func.count()).where(tables.chunk.c.space == world.spaces["Annex"].id)
        ).scalar_one()
        lying = connection.execute(
            select(func.sum(tables.chunk.c.length)).where(tables.chunk.c.space == world.spaces["Annex"].id)
        ).scalar_one()
    assert len(mia.versions(MOVED)) == 30 and fetch(mia, MOVED) == bytes(content)
    assert chunks < 200 and lying <= after - before
    assert after - before < 1.5 * source
    whole(world)
