"""Noise over SFTP: the drive decides as over WebDAV, however the bytes come and whenever the connection goes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import pytest

from providers.noise import NOISE_BYTES_MAX
from providers.paths import parse
from server.sftp.engine.wire import APPEND, CREAT, EXCL, READ, TRUNC, WRITE, Type, string
from tests.noises import DOCUMENTS, DOUBLE, DS_STORE, LOCK_LINE, NEITHER, NOISE, SWAP, rows
from tests.sftp.client import Client, Refused, sized, timed
from tests.worlds import World, fetch, store

Connect = Callable[..., Client]
PLACE = "/Rum/Avtal"
#: Ways of a client to write: how much at once, in which order, through which flags.
WAYS: dict[str, Callable[[Client, str, bytes], None]] = {
    "at once": lambda client, path, data: client.put(path, data),
    "in pieces": lambda client, path, data: _pieces(client, path, _split(data)),
    "from the end": lambda client, path, data: _pieces(client, path, _split(data)[::-1]),
    "exclusively": lambda client, path, data: client.put(path, data, WRITE | CREAT | EXCL),
    "after an empty one": lambda client, path, data: (client.put(path, b""), client.put(path, data))[0],
    "into an empty one": lambda client, path, data: (client.put(path, b""), client.put(path, data, WRITE))[0],
    "after its size": lambda client, path, data: _sized(client, path, data),
    "by appending": lambda client, path, data: client.put(path, data, WRITE | CREAT | APPEND),
    "synced on the way": lambda client, path, data: _synced(client, path, data),
}
CASES = [(name, content) for name, contents in {**NOISE, **DOCUMENTS}.items() for content in contents]
FEW = [
    ("._a", DOUBLE), (".DS_Store", DS_STORE), (".~lock.a.odt#", LOCK_LINE), (".a.swp", SWAP), ("._a", b""),
    ("._a", DOUBLE[:30]), (".DS_Store", b"hello"), (".a.swp", SWAP + bytes(NOISE_BYTES_MAX)), ("a", DOUBLE),
]  # fmt: skip


def _split(data: bytes) -> list[tuple[int, bytes]]:
    step = max(len(data) // 7, 1)
    return [(at, data[at : at + step]) for at in range(0, len(data), step)]


def _pieces(client: Client, path: str, pieces: list[tuple[int, bytes]]) -> None:
    handle = client.open(path, READ | WRITE | CREAT)
    for at, piece in pieces:
        client.write(handle, at, piece)
        assert client.read(handle, at, len(piece)) == piece
    client.close(handle)


def _sized(client: Client, path: str, data: bytes) -> None:
    handle = client.open(path, WRITE | CREAT)
    client.fsetstat(handle, sized(len(data)))
    client.write(handle, 0, data)
    client.close(handle)


def _synced(client: Client, path: str, data: bytes) -> None:
    handle = client.open(path, WRITE | CREAT)
    for at, piece in _split(data):
        client.write(handle, at, piece)
        client.extended("fsync@openssh.com", string(handle))
    client.close(handle)


@pytest.mark.parametrize("way", WAYS)
def test_the_same_becomes_of_it_as_over_webdav(world: World, connect: Connect, way: str) -> None:
    sftp, dav = connect(), world.drive("anna")
    sides: dict[str, Callable[[str, bytes], object]] = {
        "dav": partial(store, dav),
        "sftp": partial(WAYS[way], sftp),
    }
    wrong = []
    for number, (name, content) in enumerate(CASES if way == "at once" else FEW):
        over = []
        for side, write in sides.items():
            place = f"{PLACE}/{side}{number}"
            dav.make_folder(parse(place))
            before, told = rows(world), len(world.kinds("Rum"))
            write(f"{place}/{name}", content)
            after = rows(world)
            assert fetch(dav, f"{place}/{name}") == content
            made = {table: after[table] - before[table] for table in ("entry", "version", "noise")}
            over.append((made, "add" in world.kinds("Rum", told), dav.drafts(parse(place))))
        if over[0] != over[1]:
            wrong.append((name, content[:12], len(content), *over))
    assert wrong == []


def test_noise_is_served_renamed_dated_and_removed(world: World, connect: Connect) -> None:
    client = connect()
    before, told = rows(world), len(world.kinds("Rum"))
    client.put(f"{PLACE}/._a", DOUBLE)
    client.put(f"{PLACE}/.DS_Store", DS_STORE)
    assert client.get(f"{PLACE}/._a") == client.get(f"{PLACE}/._A") == DOUBLE
    assert client.stat(f"{PLACE}/._a").size == len(DOUBLE)
    assert {"._a", ".DS_Store"} <= set(client.names(PLACE))
    client.setstat(f"{PLACE}/._a", timed(1_000_000_000))
    assert client.stat(f"{PLACE}/._a").modified == 1_000_000_000
    with pytest.raises(Refused):
        client.path_request(Type.RENAME, f"{PLACE}/._a", f"{PLACE}/.DS_Store")
    client.extended("posix-rename@openssh.com", string(f"{PLACE}/._a".encode()) + string(f"{PLACE}/._b".encode()))
    client.path_request(Type.RENAME, f"{PLACE}/._b", "/Rum/._c")
    assert client.get("/Rum/._c") == DOUBLE
    with pytest.raises(Refused):
        client.path_request(Type.RMDIR, "/Rum/._c")
    assert client.get("/Rum/._c") == DOUBLE
    client.path_request(Type.REMOVE, "/Rum/._c")
    client.setstat(f"{PLACE}/.DS_Store", sized(0))
    assert client.get(f"{PLACE}/.DS_Store") == b""
    client.path_request(Type.REMOVE, f"{PLACE}/.DS_Store")
    assert rows(world) == before and world.kinds("Rum", told) == []
    for path in (f"{PLACE}/._a", "/Rum/._c"):
        with pytest.raises(Refused):
            client.stat(path)


@pytest.mark.parametrize("name", NEITHER)
def test_nothing_but_noise_has_a_name_with_a_control_character(world: World, connect: Connect, name: str) -> None:
    client, dav, before, path = connect(), world.drive("anna"), rows(world), f"{PLACE}/{name}"
    for content in NEITHER[name]:
        for way in ("at once", "in pieces", "synced on the way"):
            with pytest.raises(Refused):
                WAYS[way](client, path, content)
            client.lose()
            client = connect()
            if name in client.names(PLACE):  # its beginning was noise, and made durable as that
                client.path_request(Type.REMOVE, path)
            assert dav.drafts(parse(PLACE)) == [] and rows(world) == before, way
    handle = client.open(path, WRITE | CREAT)
    client.write(handle, 0, b"x")
    client.lose()
    assert dav.drafts(parse(PLACE)) == [] and rows(world) == before
    again = connect()
    handle = again.open(path, WRITE | CREAT)
    again.write(handle, 0, b"x")
    again.path_request(Type.REMOVE, path)
    again.write(handle, 1, b"x")
    again.close(handle)
    with pytest.raises(Refused):
        again.path_request(Type.MKDIR, path)
    assert rows(world) == before


def test_an_empty_file_that_is_filled_is_one_file(world: World, connect: Connect) -> None:
    client, before = connect(), rows(world)
    handle = client.open(f"{PLACE}/.~lock.a.odt#", WRITE | CREAT | EXCL)
    client.close(handle)
    created = world.drive("anna").stat(parse(f"{PLACE}/.~lock.a.odt#")).created
    client.put(f"{PLACE}/.~lock.a.odt#", LOCK_LINE, WRITE)
    assert rows(world) == {**before, "noise": before["noise"] + 1}
    assert world.drive("anna").stat(parse(f"{PLACE}/.~lock.a.odt#")).created == created


def test_noise_written_over_in_part_is_noise(world: World, connect: Connect) -> None:
    client, before = connect(), rows(world)
    client.put(f"{PLACE}/.a.swp", SWAP)
    handle = client.open(f"{PLACE}/.a.swp", READ | WRITE)
    assert client.read(handle, 0, 5) == b"b0VIM"
    client.write(handle, 5000, b"more")
    client.close(handle)
    assert client.get(f"{PLACE}/.a.swp") == SWAP[:5000] + b"more" + SWAP[5004:]
    assert rows(world) == {**before, "noise": before["noise"] + 1}


@pytest.mark.parametrize("synced", [False, True])
def test_a_swap_file_that_outgrows_noise_is_a_document_and_goes_like_one(
    world: World, connect: Connect, *, synced: bool
) -> None:
    client, before = connect(), rows(world)
    handle = client.open(f"{PLACE}/.a.swp", READ | WRITE | CREAT | EXCL)
    whole = SWAP
    client.write(handle, 0, SWAP)
    if synced:
        client.extended("fsync@openssh.com", string(handle))
        assert rows(world)["noise"] == before["noise"] + 1
    while len(whole) < 3 * NOISE_BYTES_MAX:
        client.write(handle, len(whole), SWAP)
        whole += SWAP
    assert client.read(handle, NOISE_BYTES_MAX - 5, 10) == whole[NOISE_BYTES_MAX - 5 : NOISE_BYTES_MAX + 5]
    client.close(handle)
    assert client.get(f"{PLACE}/.a.swp") == whole and rows(world)["noise"] == before["noise"]
    assert world.drive("anna").stat(parse(f"{PLACE}/.a.swp")).version == 1
    client.path_request(Type.REMOVE, f"{PLACE}/.a.swp")
    # The name is a document's for good: nobody hides one behind a swap file.
    client.put(f"{PLACE}/.a.swp", SWAP)
    # Taken again so soon it is the same document, with another version.
    assert world.drive("anna").stat(parse(f"{PLACE}/.a.swp")).version == 2 and rows(world)["noise"] == before["noise"]


@pytest.mark.parametrize(
    ("name", "written", "found"),
    [
        # What is noise by then stays noise; what is none is its maker's to resume; nothing leaves nothing.
        (".a.swp", SWAP, "noise"),
        (".~lock.a.odt#", LOCK_LINE, "noise"),
        ("._a", DOUBLE[:30], "draft"),
        ("._a", b"a document" * 10_000, "draft"),
        ("._a", b"", "nothing"),
    ],
)
def test_a_connection_that_drops(world: World, connect: Connect, name: str, written: bytes, found: str) -> None:
    client, path = connect(), f"{PLACE}/{name}"
    handle = client.open(path, WRITE | CREAT)
    if written:
        client.write(handle, 0, written)
    client.lose()
    mine = [item.name for item in world.drive("anna").drafts(parse(PLACE))]
    assert (mine, rows(world)["noise"]) == ([name] if found == "draft" else [], int(found == "noise"))
    if found == "noise":
        assert connect("bo").get(path) == written
    else:
        with pytest.raises(Refused):
            connect("bo").get(path)
    again = connect()
    if found == "draft":
        assert again.get(path) == written
    again.put(path, DOUBLE, WRITE | CREAT | TRUNC)
    assert world.drive("anna").drafts(parse(PLACE)) == [] and again.get(path) == DOUBLE


def test_half_of_what_is_no_noise_over_noise_takes_up_no_room(world: World, connect: Connect) -> None:
    client, path = connect(), f"{PLACE}/.DS_Store"
    client.put(path, DS_STORE)
    client.write(client.open(path, WRITE | TRUNC), 0, b"hello")
    client.lose()
    assert list(world.installation.vault.drafts(world.spaces["Rum"].id)) == []
    assert connect().get(path) == DS_STORE


def test_noise_that_was_cut_off_is_resumed_as_noise(world: World, connect: Connect) -> None:
    client, before = connect(), rows(world)
    client.write(client.open(f"{PLACE}/._a", WRITE | CREAT), 0, DOUBLE[:30])
    client.lose()
    again = connect()
    again.write(handle := again.open(f"{PLACE}/._a", WRITE), 30, DOUBLE[30:])
    again.close(handle)
    assert again.get(f"{PLACE}/._a") == DOUBLE and rows(world) == {**before, "noise": 1}
    assert world.drive("anna").drafts(parse(PLACE)) == []


def test_who_has_it_open_goes_on_when_it_is_removed(world: World, connect: Connect) -> None:
    client, before = connect(), rows(world)
    for start in (b"", SWAP):
        if start:
            client.put(f"{PLACE}/.a.swp", start)
        handle = client.open(f"{PLACE}/.a.swp", READ | WRITE | CREAT)
        client.write(handle, 0, SWAP)
        client.path_request(Type.REMOVE, f"{PLACE}/.a.swp")
        client.write(handle, len(SWAP), bytes(2 * NOISE_BYTES_MAX))
        assert client.read(handle, 0, 5) == b"b0VIM"
        client.close(handle)
        with pytest.raises(Refused):
            client.stat(f"{PLACE}/.a.swp")
    assert rows(world) == before


def test_others_may_not_do_with_noise_what_they_may_not_over_webdav(world: World, connect: Connect) -> None:
    """A contributor may not write over what is another's; a viewer may leave nothing; an uploader sees none of it."""
    before, told = rows(world), len(world.kinds("Rum"))
    connect("bo").put(f"{PLACE}/._a", DOUBLE)
    for login, flags in itertools.product(("contributor", "viewer"), (WRITE, WRITE | CREAT | TRUNC)):
        with pytest.raises(Refused):
            connect(login).put(f"{PLACE}/._a", DOUBLE, flags)
    for login in ("viewer", "contributor"):
        with pytest.raises(Refused):
            connect(login).path_request(Type.REMOVE, f"{PLACE}/._a")
        assert connect(login).get(f"{PLACE}/._a") == DOUBLE
    with pytest.raises(Refused):
        connect("uploader").get(f"{PLACE}/._a")
    with pytest.raises(Refused):
        connect("viewer").put(f"{PLACE}/._b", DOUBLE)
    connect("contributor").put(f"{PLACE}/._b", DOUBLE)
    connect("editor").put(f"{PLACE}/._a", DOUBLE, WRITE)
    assert rows(world)["noise"] == before["noise"] + 2 and set(world.kinds("Rum", told)) <= {"signed_in"}


def test_noise_that_another_has_locked_since_is_let_go(world: World, connect: Connect) -> None:
    client, before = connect(), rows(world)
    handle = client.open(f"{PLACE}/._a", WRITE | CREAT)
    client.write(handle, 0, DOUBLE)
    lock, _ = world.drive("bo").lock(parse(f"{PLACE}/._a"), is_deep=False, is_shared=False, owner="", seconds=60)
    with pytest.raises(Refused):
        client.close(handle)
    assert fetch(world.drive("bo"), f"{PLACE}/._a") == b""
    world.drive("bo").unlock(parse(f"{PLACE}/._a"), lock.token)
    client.path_request(Type.REMOVE, f"{PLACE}/._a")
    assert rows(world)["entry"] == before["entry"] and world.drive("anna").drafts(parse(PLACE)) == []


def test_noise_is_read_no_longer_than_it_is_seen(world: World, connect: Connect) -> None:
    connect("bo").put(f"{PLACE}/.DS_Store", DS_STORE)
    clock = [0.0]
    client = connect("viewer", clock=lambda: clock[0])
    handle = client.open(f"{PLACE}/.DS_Store")
    assert client.read(handle, 0, 10) == DS_STORE[:10]
    keeper = world.drive("bo")
    (grant,) = (g for g in keeper.grants(parse("/Rum")) if g.grantee == world.people["viewer"].id)
    keeper.revoke(parse("/Rum"), grant.id)
    clock[0] = 1.5
    with pytest.raises(Refused, match="nothing here by that name"):
        client.read(handle, 0, 10)


def test_noise_that_was_written_meanwhile_is_read_by_who_opens_it_again(connect: Connect) -> None:
    client, other = connect(), connect("bo")
    client.put(f"{PLACE}/.DS_Store", DS_STORE)
    before = client.open(f"{PLACE}/.DS_Store")
    assert client.read(before, 0, 1000) == DS_STORE
    other.put(f"{PLACE}/.DS_Store", DS_STORE + b"more")
    assert client.get(f"{PLACE}/.DS_Store") == DS_STORE + b"more"
    assert client.read(before, 0, 1000) == DS_STORE
