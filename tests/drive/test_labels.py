"""Documents in lanes bear their party's name for the supplier, who opens each by the name that it is listed under."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from auth.roles import Role, Via
from providers.drive import Drive
from providers.errors import NotFound, TargetExists
from providers.paths import NAME_BYTES_MAX, Path, check_name, parse
from server.sftp.engine.wire import Type
from tests.same.test_operations import hands_of
from tests.worlds import World, fetch, moment, store

FOLDER = parse("/Kund AB – Rum/Bud")
NAMES = ("Bid.pdf", "README", ".rc", "x" * 251 + ".pdf", "Å" * 120 + ".pdf", "a." + "b" * 250, "Bid (Norr).tar.gz")
PARTIES = (
    "Bygg AB", "Bygg A/S", "Kund (Norr) AB", "Norr) AB", "Q (Norr).gz", "RörEl \u0378AB", "L" * 255,
    "Ö" * 250 + "1", "Ö" * 250 + "2",
)  # fmt: skip


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(data_folder, **engine)
    made.person("mia", "Byrån AB")
    made.space("Rum", "Kund AB", ("/Bud", "/Annan"))
    made.grant("mia", "Rum", Role.MANAGER, history=True)
    yield made
    made.installation.close()


def bid(world: World, party: str, name: str, content: bytes) -> bytes:
    """Let somebody of a party upload a document into its lane; return its id."""
    login = f"login{len(world.people)}"
    world.person(login, party)
    world.grant(login, "Rum", Role.UPLOADER, "/Bud")
    id_: bytes = store(world.drive(login), f"/Rum/Bud/{name}", content).id
    return id_


def opened(drive: Drive, folder: Path = FOLDER) -> dict[str, bytes]:
    """Return the content of each document by the name listed, by which it must be found as itself."""
    found = {}
    for item in drive.listing(folder)[1]:
        path = folder.joined(check_name(item.name))
        assert drive.stat(path)[:9] == item[:9]
        found[item.name] = fetch(drive, path)
    return found


@pytest.mark.parametrize("party", PARTIES)
def test_what_is_listed_can_be_opened_whatever_the_party_is_called(world: World, party: str) -> None:
    login = "olle"
    world.person(login, party)
    world.grant(login, "Rum", Role.UPLOADER, "/Bud")
    for name in NAMES:
        store(world.drive(login), f"/Rum/Bud/{name}", name.encode())
    assert sorted(opened(world.drive("mia")).values()) == sorted(name.encode() for name in NAMES)


def test_the_party_stands_before_the_ending(world: World) -> None:
    for number, party in enumerate(("Bygg AB", "Bygg A/S", "Kund (Norr) AB")):
        bid(world, party, "Bid.pdf", b"%d" % number)
    expected = {"Bid (Bygg AB).pdf": b"0", "Bid (Bygg A∕S).pdf": b"1", "Bid (Kund (Norr) AB).pdf": b"2"}
    assert opened(world.drive("mia")) == expected


@pytest.mark.parametrize(
    "bids",
    [
        [("Bygg A/S", "Bid.pdf"), ("Bygg A∕S", "Bid.pdf")],
        [("Kund (Norr) AB", "Bid.pdf"), ("Norr) AB", "Bid (Kund.pdf")],
        [("Q (A).D", "x"), ("A", "x (Q.D)")],
        [("Ö" * 250 + "1", "Bid.pdf"), ("Ö" * 250 + "2", "Bid.pdf")],
    ],
)
def test_two_that_would_be_called_alike_are_told_apart(world: World, bids: list[tuple[str, str]]) -> None:
    for number, (party, name) in enumerate(bids):
        bid(world, party, name, b"%d" % number)
    mia = world.drive("mia")
    found = opened(mia)
    assert sorted(found.values()) == [b"0", b"1"]
    assert all(" ~" in name for name in found)
    (first, second) = (FOLDER.joined(name) for name in found)
    mia.delete(first)
    assert list(opened(mia).values()) == [found[second.name]]
    assert fetch(mia, second) == found[second.name]  # the longer name still opens it


def test_a_document_of_all_that_is_called_as_a_partys_is_shown_hides_neither(world: World) -> None:
    node = bid(world, "Bygg AB", "Bid.pdf", b"theirs")
    mia = world.drive("mia")
    name = f"Bid (Bygg AB ~{node.hex()[:8]}).pdf"
    assert list(opened(mia)) == ["Bid (Bygg AB).pdf"]
    before = mia.listing(FOLDER)[1][0].modified
    mia.copy(FOLDER.joined("Bid (Bygg AB).pdf"), parse("/Kund AB – Rum/kopia"), overwrite=False)
    mia.move(parse("/Kund AB – Rum/kopia"), FOLDER.joined("bid (bygg ab).PDF"), overwrite=True)
    assert mia.stat(FOLDER.joined("Bid (Bygg AB).pdf")).id == node  # it was moved onto theirs, which took the content
    mia.move(FOLDER.joined("Bid (Bygg AB).pdf"), FOLDER.joined("Bud.pdf"), overwrite=False)
    store(mia, FOLDER.joined("Bid (Bygg AB).pdf"), b"ours")
    mia.move(FOLDER.joined("Bud (Bygg AB).pdf"), FOLDER.joined(name), overwrite=False)
    assert opened(mia) == {"Bid (Bygg AB).pdf": b"ours", name: b"theirs"}
    assert mia.stat(FOLDER.joined(name)).id == node
    past = parse(f"/.history/{moment(before)}").segments
    assert opened(mia, Path((*past, *FOLDER.segments))) == {"Bid (Bygg AB).pdf": b"theirs"}


def test_what_is_not_seen_does_not_change_a_name(world: World) -> None:
    bid(world, "Bygg A/S", "Bid.pdf", b"seen")
    bid(world, "Bygg A∕S", "Bid.pdf", b"hidden")
    mia = world.drive("mia")
    hidden = next(name for name, content in opened(mia).items() if content == b"hidden")
    world.person("max", "Byrån AB")
    world.grant("max", "Rum", Role.VIEWER)
    mia.break_inheritance(FOLDER.joined(hidden))
    assert opened(world.drive("max")) == {"Bid (Bygg A∕S).pdf": b"seen"}
    with pytest.raises(NotFound):
        world.drive("max").stat(FOLDER.joined(hidden))


@pytest.mark.parametrize(("party", "name"), [("Bygg A/S", "Bid.pdf"), ("Kund (N) AB", "x" * 251 + ".pdf")])
def test_it_is_renamed_moved_copied_deleted_and_brought_back(world: World, party: str, name: str) -> None:
    node = bid(world, party, name, b"bid")
    mia, room = world.drive("mia"), parse("/Kund AB – Rum")
    (shown,) = opened(mia)
    copied, _ = mia.copy(FOLDER, room.joined("Kopia"), overwrite=False)
    assert opened(mia, copied.path) == {shown: b"bid"}
    renamed = shown.replace(name[:3], "Bud", 1)
    mia.move(FOLDER.joined(shown), FOLDER.joined(renamed), overwrite=False)
    (after,) = opened(mia)
    assert after == renamed if len(name) < 20 else after.startswith("Bud")
    assert mia.stat(FOLDER.joined(after)).id == node
    (own,) = world.drive("login1").listing(parse("/Rum/Bud"))[1]
    assert own.name.startswith("Bud")
    assert own.name.endswith("….pdf" if len(name) > 20 else "Bud.pdf")
    mia.delete(FOLDER.joined(after))
    assert opened(mia) == {}
    ((gone,), _) = mia.trash(FOLDER)
    assert gone.name == after
    assert mia.undelete(room, gone.id).path == FOLDER.joined(after)
    assert opened(mia) == {after: b"bid"}
    mia.move(FOLDER.joined(after), room.joined("Annan").joined(after), overwrite=False)
    assert (opened(mia), opened(mia, room.joined("Annan"))) == ({}, {after: b"bid"})


def test_a_rename_to_what_the_party_has_already_is_refused(world: World) -> None:
    bid(world, "Bygg AB", "Bid.pdf", b"one")
    store(world.drive("login1"), "/Rum/Bud/Bud.pdf", b"two")
    mia = world.drive("mia")
    with pytest.raises(TargetExists):
        mia.move(FOLDER.joined("Bid (Bygg AB).pdf"), FOLDER.joined("Bud.pdf"), overwrite=False)
    assert opened(mia) == {"Bid (Bygg AB).pdf": b"one", "Bud (Bygg AB).pdf": b"two"}


@pytest.mark.parametrize("via", [Via.WEBDAV, Via.SFTP])
@pytest.mark.parametrize(("party", "name"), [("Bygg (N) A/S", "Bid.pdf"), ("Ö" * 250, "x" * 251 + ".pdf")])
def test_each_protocol_reaches_what_it_lists(data_folder: FilePath, via: Via, party: str, name: str) -> None:
    world = World.create(data_folder)
    world.person("mia", "Byrån AB")
    world.space("Rum", "Kund AB", ("/Bud",))
    world.grant("mia", "Rum", Role.MANAGER, history=True)
    bid(world, party, name, b"bid")
    hands = hands_of(world, "mia", via)
    (shown,) = [item.name for item in world.drive("mia").listing(FOLDER)[1]]
    assert len(shown.encode()) <= NAME_BYTES_MAX
    path, goal = str(FOLDER.joined(shown)), str(FOLDER.joined("Nytt.pdf"))
    if via is Via.SFTP:
        client = hands.sftp()
        assert set(client.names(str(FOLDER))) == {".", "..", shown}
        assert client.get(path) == b"bid"
        client.path_request(Type.RENAME, path, goal)
    else:
        assert hands.webdav.ask("GET", path).body == b"bid"
        assert hands.webdav.ask("MOVE", path, Destination=hands.webdav.goal(goal)).status.startswith("201")
    (shown,) = [item.name for item in world.drive("mia").listing(FOLDER)[1]]
    if via is Via.SFTP:
        client.path_request(Type.REMOVE, str(FOLDER.joined(shown)))
    else:
        assert hands.webdav.ask("DELETE", str(FOLDER.joined(shown))).status.startswith("204")
    assert not world.drive("mia").listing(FOLDER)[1]
    world.installation.close()
