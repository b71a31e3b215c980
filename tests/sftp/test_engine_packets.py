"""Every packet of SFTP version 3 and every extension, as a client sees the answers."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

import pytest

from auth.roles import Role
from providers.drive import Drive
from providers.drive.reading import Reader
from providers.paths import parse
from server.sftp.engine import Limits, wire
from server.sftp.engine.engine import NO_SFTP
from server.sftp.engine.wire import APPEND, CREAT, EXCL, READ, TRUNC, WRITE, Code, Type, string
from tests.sftp.client import U32, Client, Refused, encoded, sized, take, timed
from tests.worlds import World, fetch, store

Connect = Callable[..., Client]
TEXT = bytes(range(256)) * 300


def code_of(act: Callable[[], object]) -> int:
    try:
        act()
    except Refused as refused:
        assert refused.message
        return refused.code
    return Code.OK


# --- the beginning


def test_the_greeting_offers_what_openssh_uses(connect: Connect) -> None:
    """S3."""
    assert connect().extensions == {
        b"posix-rename@openssh.com": b"1",
        b"statvfs@openssh.com": b"2",
        b"fstatvfs@openssh.com": b"2",
        b"fsync@openssh.com": b"1",
        b"lsetstat@openssh.com": b"1",
        b"limits@openssh.com": b"1",
        b"expand-path@openssh.com": b"1",
        b"copy-data": b"1",
        b"home-directory": b"1",
        b"users-groups-by-id@openssh.com": b"1",
    }


def test_nothing_is_answered_before_the_greeting(connect: Connect) -> None:
    client = connect(begin=False)
    client.send(Type.STAT, string(b"/"))
    client.collect()
    assert client.door.has_ended and "not SFTP" in client.door.says
    assert client.answers == {}


def test_a_request_nobody_knows_is_unsupported(connect: Connect) -> None:
    client = connect()
    kind, answer = client.ask(77, b"")
    assert (kind, U32.unpack_from(answer)[0]) == (Type.STATUS, Code.OP_UNSUPPORTED)
    assert code_of(lambda: client.extended("check-file@nobody", b"")) == Code.OP_UNSUPPORTED


# --- paths


@pytest.mark.parametrize(
    ("given", "real"),
    [
        (".", "/"),
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        ("/..", "/"),
        ("../../..", "/"),
        ("Rum", "/Rum"),
        ("/Rum/", "/Rum"),
        ("//Rum//Avtal/./..", "/Rum"),
        ("/Rum/../Rum/Avtal", "/Rum/Avtal"),
        ("/Rum/new name", "/Rum/new name"),
    ],
)
def test_realpath(connect: Connect, given: str, real: str) -> None:
    """S1."""
    answer = connect().path_request(Type.REALPATH, given)
    assert U32.unpack_from(answer) == (1,)
    assert take(answer, 4)[0].decode() == real


@pytest.mark.parametrize("path", ["/../../etc/passwd", "//etc/passwd", "/etc/passwd", "etc/passwd"])
def test_the_machines_own_files_are_no_such_file(connect: Connect, path: str) -> None:
    """S1, and the way out of asyncssh 2.24.0's root."""
    client = connect()
    for kind in (Type.REALPATH, Type.STAT, Type.LSTAT, Type.OPENDIR):
        assert code_of(lambda kind=kind: client.path_request(kind, path)) == Code.NO_SUCH_FILE  # type: ignore[misc]
    assert code_of(lambda: client.open(path)) == Code.NO_SUCH_FILE


@pytest.mark.parametrize("name", [b"\xff", b"\xc0\xaf", b"a\0b", b"n" * 256, b"a\nb", b"/".join([b"d"] * 200)])
def test_names_that_cannot_be(connect: Connect, name: bytes) -> None:
    """No UTF-8, overlong UTF-8, NUL, too long, control characters, too deep."""
    client = connect()
    path = b"/Rum/" + name
    assert code_of(lambda: client.stat(path)) == Code.NO_SUCH_FILE
    assert code_of(lambda: client.open(path)) == Code.NO_SUCH_FILE
    assert code_of(lambda: client.open(path, WRITE | CREAT)) == Code.FAILURE
    assert code_of(lambda: client.path_request(Type.MKDIR, path, tail=b"\0\0\0\0")) == Code.FAILURE
    assert not client.door.has_ended


def test_dot_and_dot_dot_are_there(connect: Connect) -> None:
    """S2."""
    client = connect()
    for path in ("/.", "/..", ".", "/Rum/.", "/Rum/.."):
        assert client.stat(path).mode == 0o040755
        assert client.stat(path, Type.LSTAT).mode == 0o040755


# --- listings


@pytest.fixture
def long_folder(world: World) -> str:
    """The path of a folder whose listing takes several answers of 8 KiB."""
    drive = world.drive("anna")
    for number in range(300):
        store(drive, f"/Rum/Avtal/{number:04d} {'x' * 60}.txt", b"")
    return "/Rum/Avtal"


def test_a_listing_has_types_sizes_times_and_long_names(connect: Connect) -> None:
    """S2."""
    client = connect()
    client.put("/Rum/Räkning.txt", b"12345")
    client.setstat("/Rum/Räkning.txt", timed(1_000_000_000))
    found = client.names("/Rum")
    assert set(found) == {".", "..", "Avtal", "Räkning.txt"}
    long, stat = found["Räkning.txt"]
    assert stat == (5, 0o100644, 1_000_000_000)
    assert long == "-rw-r--r--    1 mellanrum mellanrum            5 Sep  9  2001 Räkning.txt"
    assert found["Avtal"][0].startswith("drwxr-xr-x ")
    assert found["Avtal"][1].mode == 0o040755


def test_a_long_listing_comes_in_answers_that_sshfs_takes(connect: Connect, long_folder: str) -> None:
    client = connect(limits=Limits(reply_bytes_max=8192))
    handle = take(client.path_request(Type.OPENDIR, long_folder), 0)[0]
    sizes, count = [], 0
    while True:
        kind, answer = client.ask(Type.READDIR, string(handle))
        if kind == Type.STATUS:
            break
        sizes.append(len(answer))
        count += U32.unpack_from(answer)[0]
    assert count == 302
    assert len(sizes) > 5
    assert max(sizes) <= 8192 + 4


def test_a_listing_asked_for_faster_than_it_is_packed_is_whole(connect: Connect, long_folder: str) -> None:
    """As sshfs does: many READDIR at once, and what follows them waits for its turn."""
    client = connect(limits=Limits(reply_bytes_max=8192))
    handle = take(client.path_request(Type.OPENDIR, long_folder), 0)[0]
    asked = [client.send(Type.READDIR, string(handle)) for _ in range(12)]
    last = client.send(Type.REALPATH, string(b"/Rum"))
    client.collect()
    answers = [client.answers.pop(request) for request in asked]
    named = [U32.unpack_from(body)[0] for kind, body in answers if kind == Type.NAME]
    assert sum(named) == 302 and len(named) > 5
    assert {kind for kind, _ in answers[len(named) :]} == {Type.STATUS}
    assert client.answers[last][0] == Type.NAME


def test_a_listing_that_is_closed_while_it_is_packed(connect: Connect, long_folder: str) -> None:
    client = connect(limits=Limits(reply_bytes_max=8192))
    handle = take(client.path_request(Type.OPENDIR, long_folder), 0)[0]
    asked = client.send(Type.READDIR, string(handle))
    closed = client.send(Type.CLOSE, string(handle))
    client.collect()
    assert client.answers[asked][0] == Type.NAME
    assert U32.unpack_from(client.answers[closed][1])[0] == Code.OK
    assert client.names("/Rum")


def test_a_listing_that_cannot_be_packed_on_fails_and_does_not_end(
    connect: Connect, long_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(limits=Limits(reply_bytes_max=8192))
    handle = take(client.path_request(Type.OPENDIR, long_folder), 0)[0]
    monkeypatch.setattr(wire, "packed_attributes", lambda *_: 1 // 0)
    client.ask(Type.READDIR, string(handle))
    kind, body = client.ask(Type.READDIR, string(handle))
    assert (kind, U32.unpack_from(body)[0]) == (Type.STATUS, Code.FAILURE)
    assert not client.door.has_ended


def test_the_root_shows_spaces_and_nothing_foreign(connect: Connect) -> None:
    client = connect()
    assert set(client.names("/")) == {".", "..", "Rum"}
    assert code_of(lambda: client.stat("/Annat")) == Code.NO_SUCH_FILE


def test_a_document_is_no_folder_and_a_folder_no_document(connect: Connect) -> None:
    client = connect()
    client.put("/Rum/a.txt", b"a")
    assert code_of(lambda: client.path_request(Type.OPENDIR, "/Rum/a.txt")) == Code.NO_SUCH_FILE
    assert code_of(lambda: client.path_request(Type.OPENDIR, "/Rum/missing")) == Code.NO_SUCH_FILE
    for flags in (READ, WRITE, READ | WRITE | CREAT):
        assert code_of(lambda flags=flags: client.open("/Rum/Avtal", flags)) == Code.FAILURE  # type: ignore[misc]
        assert code_of(lambda flags=flags: client.open("/", flags)) == Code.FAILURE  # type: ignore[misc]


# --- names


def test_folders_are_made_and_removed_once_empty(connect: Connect) -> None:
    client = connect()
    client.path_request(Type.MKDIR, "/Rum/Ny", tail=b"\0\0\0\0")
    assert code_of(lambda: client.path_request(Type.MKDIR, "/Rum/Ny", tail=b"\0\0\0\0")) == Code.FAILURE
    assert code_of(lambda: client.path_request(Type.MKDIR, "/Rum/x/y", tail=b"\0\0\0\0")) == Code.NO_SUCH_FILE
    client.put("/Rum/Ny/a.txt", b"a")
    assert code_of(lambda: client.path_request(Type.RMDIR, "/Rum/Ny")) == Code.FAILURE
    assert code_of(lambda: client.path_request(Type.RMDIR, "/Rum/Ny/a.txt")) == Code.NO_SUCH_FILE
    assert code_of(lambda: client.path_request(Type.REMOVE, "/Rum/Ny")) == Code.FAILURE
    client.path_request(Type.REMOVE, "/Rum/Ny/a.txt")
    client.path_request(Type.RMDIR, "/Rum/Ny")
    assert code_of(lambda: client.stat("/Rum/Ny")) == Code.NO_SUCH_FILE
    assert code_of(lambda: client.path_request(Type.RMDIR, "/Rum/Ny")) == Code.NO_SUCH_FILE
    assert code_of(lambda: client.path_request(Type.REMOVE, "/Rum/a")) == Code.NO_SUCH_FILE


def posix_rename(client: Client, source: str, goal: str) -> None:
    client.extended("posix-rename@openssh.com", string(source.encode()) + string(goal.encode()))


def test_rename_never_replaces_and_posix_rename_does(world: World, connect: Connect) -> None:
    """S4."""
    client = connect()
    client.put("/Rum/a.txt", b"a")
    client.put("/Rum/b.txt", b"b")
    assert code_of(lambda: client.path_request(Type.RENAME, "/Rum/a.txt", "/Rum/b.txt")) == Code.FAILURE
    assert (client.get("/Rum/a.txt"), client.get("/Rum/b.txt")) == (b"a", b"b")
    posix_rename(client, "/Rum/a.txt", "/Rum/b.txt")
    assert client.get("/Rum/b.txt") == b"a"
    assert code_of(lambda: client.stat("/Rum/a.txt")) == Code.NO_SUCH_FILE
    assert len(world.drive("anna").versions(parse("/Rum/b.txt"))) == 2
    client.path_request(Type.RENAME, "/Rum/b.txt", "/Rum/Avtal/c.txt")
    assert client.get("/Rum/Avtal/c.txt") == b"a"
    posix_rename(client, "/Rum/Avtal/c.txt", "/Rum/Avtal/c.txt")
    assert client.get("/Rum/Avtal/c.txt") == b"a"


def test_posix_rename_takes_no_folder_away_that_holds_something(connect: Connect) -> None:
    client = connect()
    for name in ("full", "empty", "other"):
        client.path_request(Type.MKDIR, f"/Rum/{name}", tail=b"\0\0\0\0")
    client.put("/Rum/full/a.txt", b"a")
    client.put("/Rum/b.txt", b"b")
    assert code_of(lambda: posix_rename(client, "/Rum/b.txt", "/Rum/empty")) == Code.FAILURE
    assert code_of(lambda: posix_rename(client, "/Rum/other", "/Rum/full")) == Code.FAILURE
    assert code_of(lambda: posix_rename(client, "/Rum/other", "/Rum/b.txt")) == Code.NO_SUCH_FILE
    posix_rename(client, "/Rum/full", "/Rum/empty")
    assert client.get("/Rum/empty/a.txt") == b"a"
    assert code_of(lambda: posix_rename(client, "/Rum/gone", "/Rum/x")) == Code.NO_SUCH_FILE


@pytest.mark.parametrize("end", ["/", "//", "/.", "/./"])
def test_a_path_with_a_slash_at_its_end_is_a_folders(connect: Connect, end: str) -> None:
    client = connect()
    client.put("/Rum/doc", b"x")
    document, absent, folder = f"/Rum/doc{end}", f"/Rum/absent{end}", f"/Rum/Avtal{end}"
    other = "/Rum/other"
    acts: list[Callable[[str], object]] = [
        client.stat,
        lambda path: client.stat(path, Type.LSTAT),
        lambda path: client.setstat(path, timed(1)),
        lambda path: client.path_request(Type.REMOVE, path),
        lambda path: client.path_request(Type.RENAME, path, other),
        lambda path: posix_rename(client, path, other),
        client.open,
        lambda path: client.open(path, WRITE | CREAT | TRUNC),
    ]
    for act in acts:
        for path, words in ((document, "A document stands where a folder is needed"), (absent, None)):
            with pytest.raises(Refused, match=words) as refused:
                act(path)
            assert refused.value.code == Code.NO_SUCH_FILE
    with pytest.raises(Refused, match="A document stands where a folder is needed"):
        client.path_request(Type.RENAME, "/Rum/doc", absent)
    with pytest.raises(Refused, match="A document stands where a folder is needed"):
        client.path_request(Type.RENAME, "/Rum/Avtal", document)
    with pytest.raises(Refused, match="The folder this should go into does not exist"):
        client.open(absent, WRITE | CREAT)
    for flags in (READ, WRITE | CREAT):
        with pytest.raises(Refused, match="A folder stands where a document is needed"):
            client.open(folder, flags)
    assert client.stat(folder).mode == 0o040755
    assert set(client.names("/Rum")) == {".", "..", "Avtal", "doc"} and client.get("/Rum/doc") == b"x"


def test_a_folder_may_be_named_with_a_slash_at_its_end(connect: Connect) -> None:
    client = connect()
    client.path_request(Type.MKDIR, "/Rum/a/", tail=bytes(4))
    client.setstat("/Rum/a/", bytes(4))
    client.path_request(Type.RENAME, "/Rum/a/", "/Rum/b/")
    posix_rename(client, "/Rum/b", "/Rum/c/")
    assert set(client.names("/Rum/c/")) == {".", ".."}
    client.path_request(Type.RMDIR, "/Rum/c/")
    assert set(client.names("/Rum")) == {".", "..", "Avtal"}


def test_a_slash_at_the_end_of_what_is_being_written(connect: Connect) -> None:
    client = connect()
    handle = client.open("/Rum/new", WRITE | CREAT)
    assert client.stat("/Rum/new").size == 0
    for act in (client.stat, lambda path: client.setstat(path, sized(5)), client.open):
        assert code_of(lambda act=act: act("/Rum/new/")) == Code.NO_SUCH_FILE  # type: ignore[misc]
    assert code_of(lambda: client.path_request(Type.RENAME, "/Rum/Avtal", "/Rum/new/")) == Code.NO_SUCH_FILE
    client.close(handle)
    assert client.stat("/Rum/new").size == 0


def test_links_are_refused_in_words(connect: Connect) -> None:
    client = connect()
    client.put("/Rum/a.txt", b"a")
    pair = string(b"/Rum/a.txt") + string(b"/Rum/l")
    for act in (
        lambda: client.done(Type.SYMLINK, pair),
        lambda: client.done(Type.READLINK, string(b"/Rum/a.txt")),
        lambda: client.extended("hardlink@openssh.com", pair),
    ):
        with pytest.raises(Refused, match="no links") as refused:
            act()
        assert refused.value.code == Code.OP_UNSUPPORTED
    assert set(client.names("/Rum")) == {".", "..", "Avtal", "a.txt"}


# --- attributes


def test_setstat_of_permissions_and_owners_is_ok_and_ignored(connect: Connect) -> None:
    """S6."""
    client = connect()
    client.put("/Rum/a.txt", b"abc")
    before = client.stat("/Rum/a.txt")
    owners = struct.pack(">IIII", 2 | 4, 1000, 1000, 0o777)
    client.setstat("/Rum/a.txt", owners)
    client.setstat("/Rum/Avtal", owners)
    client.extended("lsetstat@openssh.com", string(b"/Rum/a.txt") + owners)
    handle = client.open("/Rum/a.txt", READ)
    client.fsetstat(handle, owners)
    client.close(handle)
    assert client.stat("/Rum/a.txt") == before
    assert code_of(lambda: client.setstat("/Rum/missing", owners)) == Code.NO_SUCH_FILE


def test_setstat_of_size_is_one_version(world: World, connect: Connect) -> None:
    client = connect()
    client.put("/Rum/a.txt", TEXT)
    client.setstat("/Rum/a.txt", sized(5))
    assert client.get("/Rum/a.txt") == TEXT[:5]
    client.setstat("/Rum/a.txt", sized(8))
    assert client.get("/Rum/a.txt") == TEXT[:5] + bytes(3)
    client.setstat("/Rum/a.txt", sized(8))
    assert len(world.drive("anna").versions(parse("/Rum/a.txt"))) == 3
    assert code_of(lambda: client.setstat("/Rum/Avtal", sized(1))) == Code.FAILURE


@pytest.mark.parametrize("how", ["open", "fsetstat", "setstat while open", "setstat after"])
def test_a_time_asked_for_is_the_time_shown(connect: Connect, how: str) -> None:
    """S5."""
    client, asked = connect(), 1_234_567_890
    handle = client.open("/Rum/a.txt", WRITE | CREAT | TRUNC, timed(asked) if how == "open" else b"\0\0\0\0")
    client.write(handle, 0, b"abc")
    if how == "fsetstat":
        client.fsetstat(handle, timed(asked))
    if how == "setstat while open":
        client.setstat("/Rum/a.txt", timed(asked))
        assert client.stat("/Rum/a.txt").modified == asked
    client.close(handle)
    if how == "setstat after":
        client.setstat("/Rum/a.txt", timed(asked))
    assert client.stat("/Rum/a.txt").modified == asked


def test_a_time_alone_is_no_version(world: World, connect: Connect) -> None:
    client = connect()
    client.put("/Rum/a.txt", b"abc")
    handle = client.open("/Rum/a.txt", WRITE)
    client.fsetstat(handle, timed(99))
    client.close(handle)
    assert client.stat("/Rum/a.txt").modified == 99
    assert len(world.drive("anna").versions(parse("/Rum/a.txt"))) == 1


def test_a_time_set_by_who_only_reads_is_the_time_at_once(world: World, connect: Connect) -> None:
    client = connect()
    client.put("/Rum/a.txt", b"abc")
    handle = client.open("/Rum/a.txt")
    client.fsetstat(handle, timed(99))
    assert client.fstat(handle).modified == connect().stat("/Rum/a.txt").modified == 99
    client.close(handle)
    assert connect().stat("/Rum/a.txt").modified == 99
    assert len(world.drive("anna").versions(parse("/Rum/a.txt"))) == 1


# --- extensions


def test_limits(connect: Connect) -> None:
    answer = struct.unpack(">4Q", connect().extended("limits@openssh.com", b""))
    assert answer == (256 * 1024, 255 * 1024, 255 * 1024, 512)


def test_room(world: World, connect: Connect) -> None:
    client = connect()
    client.put("/Rum/a.txt", b"abc")
    assert struct.unpack(">11Q", client.extended("statvfs@openssh.com", string(b"/Rum")))[3] > 1 << 36
    world.installation.spaces.set_quota(world.installation.operator(), world.spaces["Rum"].id, 10_000_000)
    handle = client.open("/Rum/a.txt")
    asked = [
        client.extended("statvfs@openssh.com", string(b"/Rum")),
        client.extended("statvfs@openssh.com", string(b"/Rum/a.txt")),
        client.extended("fstatvfs@openssh.com", string(handle)),
    ]
    assert len(set(asked)) == 1
    fields = struct.unpack(">11Q", asked[0])
    assert 9_000_000 < fields[1] * fields[3] < 10_000_000
    assert fields[10] == 255
    assert code_of(lambda: client.extended("statvfs@openssh.com", string(b"/missing"))) == Code.NO_SUCH_FILE


@pytest.mark.parametrize(
    ("name", "asked", "told"),
    [
        ("expand-path@openssh.com", b"~", "/"),
        ("expand-path@openssh.com", b"~/Rum", "/Rum"),
        ("expand-path@openssh.com", b"Rum/./Avtal", "/Rum/Avtal"),
        ("home-directory", b"anna", "/"),
    ],
)
def test_where_home_is(connect: Connect, name: str, asked: bytes, told: str) -> None:
    assert take(connect().extended(name, string(asked)), 4)[0].decode() == told


def test_names_of_owners(connect: Connect) -> None:
    answer = connect().extended("users-groups-by-id@openssh.com", string(bytes(8)) + string(bytes(4)))
    users, at = take(answer, 0)
    groups, _ = take(answer, at)
    assert users == string(b"mellanrum") * 2
    assert groups == string(b"mellanrum")


def copy(client: Client, source: bytes, start: int, length: int, goal: bytes, at: int) -> None:
    client.extended(
        "copy-data", string(source) + struct.pack(">QQ", start, length) + string(goal) + struct.pack(">Q", at)
    )


@pytest.mark.parametrize("length", [0, 800_000, 1 << 40], ids=["to the end", "its size", "more"])
@pytest.mark.parametrize("stands", [False, True], ids=["to a new name", "over a document"])
def test_copy_of_a_whole_document_costs_no_bytes(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch, stands: bool, length: int
) -> None:
    """E: copy-data is O(1), and holds nobody up. What is stored once alone would not show that: nor is it read."""
    client = connect()
    data = b"".join(number.to_bytes(4, "big") for number in range(200_000))
    client.put("/Rum/a.bin", data)
    if stands:
        client.put("/Rum/b.bin", b"before")
    packs = sum(file.stat().st_size for file in (world.installation.folder / "vault").rglob("*.pack"))
    source, goal = client.open("/Rum/a.bin"), client.open("/Rum/b.bin", WRITE | CREAT | TRUNC)
    with monkeypatch.context() as patch:
        for name in ("read", "read_on", "at_hand", "chunks"):
            patch.setattr(Reader, name, lambda *_: pytest.fail("its bytes are read"))
        copy(client, source, 0, length, goal, 0)
        client.close(goal)
    assert client.get("/Rum/b.bin") == data
    after = sum(file.stat().st_size for file in (world.installation.folder / "vault").rglob("*.pack"))
    assert after - packs < 2000
    assert len(world.drive("anna").versions(parse("/Rum/b.bin"))) == 1 + stands


def test_copy_of_a_part_goes_through_the_draft(connect: Connect) -> None:
    client = connect()
    client.put("/Rum/a.bin", TEXT)
    client.put("/Rum/b.bin", b"0123456789")
    source, goal = client.open("/Rum/a.bin"), client.open("/Rum/b.bin", READ | WRITE)
    copy(client, source, 100, 5, goal, 3)
    copy(client, source, len(TEXT) - 2, 0, goal, 12)
    assert client.read(goal, 0, 100) == b"012" + TEXT[100:105] + b"89" + bytes(2) + TEXT[-2:]
    client.close(goal)
    assert client.get("/Rum/b.bin") == b"012" + TEXT[100:105] + b"89" + bytes(2) + TEXT[-2:]
    wrong = client.open("/Rum/b.bin")
    assert code_of(lambda: copy(client, source, 0, 0, wrong, 0)) == Code.FAILURE
    assert code_of(lambda: copy(client, source, 0, 0, source, 0)) == Code.FAILURE


@pytest.mark.parametrize("handles", [1, 2])
@pytest.mark.parametrize(
    ("start", "length", "at", "expected"),
    [
        (0, 4, 4, b"012301238901"),
        (4, 4, 0, b"456745678901"),
        (0, 0, 12, b"012345678901" * 2),
        (8, 0, 0, b"890145678901"),
        (8, 100, 2, b"018901678901"),
        (0, 12, 20, b"012345678901" + bytes(8) + b"012345678901"),
        (12, 0, 3, b"012345678901"),
        (50, 5, 50, b"012345678901"),
        (0, 4, 3, None),
        (3, 4, 0, None),
        (0, 4, 0, None),
        (0, 0, 11, None),
        (6, 100, 1, None),
    ],
)
def test_copy_within_a_document(
    world: World, connect: Connect, handles: int, start: int, length: int, at: int, expected: bytes | None
) -> None:
    """Bytes go elsewhere in it, unless the place they come from and the place they go to overlap."""
    client = connect()
    client.put("/Rum/a.bin", b"012345678901")
    goal = client.open("/Rum/a.bin", READ | WRITE)
    source = goal if handles == 1 else client.open("/Rum/a.bin")
    if expected is None:
        with pytest.raises(Refused, match="overlap"):
            copy(client, source, start, length, goal, at)
        client.close(goal)
        assert len(world.drive("anna").versions(parse("/Rum/a.bin"))) == 1
    else:
        copy(client, source, start, length, goal, at)
        assert client.read(source, 0, 100) == expected
        client.close(goal)
    assert client.get("/Rum/a.bin") == (expected or b"012345678901")


def test_copy_within_what_is_being_written(connect: Connect) -> None:
    client = connect()
    data = random.Random(5).randbytes(3_000_000)
    handle = client.open("/Rum/a.bin", READ | WRITE | CREAT)
    for at in range(0, len(data), 30_000):
        client.write(handle, at, data[at : at + 30_000])
    copy(client, handle, 0, 0, handle, len(data))
    copy(client, handle, 10, 1_500_000, handle, 2_000_000)
    client.close(handle)
    assert client.get("/Rum/a.bin") == data[:2_000_000] + data[10:1_500_010] + (data + data)[3_500_000:]


def test_trailing_bytes_are_nobodys_concern(connect: Connect) -> None:
    """D14, fault C: Debian's rclone sends them."""
    client = connect()
    junk = b"trailing"
    handle = take(client.done(Type.OPEN, string(b"/Rum/a.txt") + U32.pack(WRITE | CREAT | READ) + bytes(4) + junk), 0)[
        0
    ]
    client.done(Type.WRITE, string(handle) + struct.pack(">Q", 0) + string(b"abc") + junk)
    assert take(client.done(Type.READ, string(handle) + struct.pack(">QI", 0, 9) + junk), 0)[0] == b"abc"
    client.done(Type.CLOSE, string(handle) + junk)
    client.done(Type.STAT, string(b"/Rum/a.txt") + junk)
    client.extended("limits@openssh.com", junk)


def test_a_packet_that_stops_short_is_a_bad_message(connect: Connect) -> None:
    client = connect()
    for kind in sorted(t for t in Type if Type.VERSION < t <= Type.RENAME or t == Type.EXTENDED):
        assert code_of(lambda kind=kind: client.done(kind, b"\0\0")) == Code.BAD_MESSAGE, kind  # type: ignore[misc]
    assert not client.door.has_ended


def test_a_write_that_says_more_bytes_than_it_has_is_a_bad_message(connect: Connect) -> None:
    client = connect()
    handle = client.open("/Rum/a.txt", WRITE | CREAT | READ)
    body = string(handle) + struct.pack(">QI", 0, 4) + b"abc"
    assert code_of(lambda: client.done(Type.WRITE, body)) == Code.BAD_MESSAGE
    assert client.fstat(handle).size == 0
    assert not client.door.has_ended


@pytest.mark.parametrize("packet", [b"", bytes((Type.STAT,)), bytes((Type.STAT, 0, 0, 1)), bytes((Type.WRITE,))])
def test_a_packet_without_a_number_ends_the_channel(connect: Connect, packet: bytes) -> None:
    """It cannot be answered."""
    client = connect()
    client.send_raw(packet)
    client.collect()
    assert client.door.has_ended and client.door.says == NO_SFTP


def test_handles_are_what_they_were_opened_for(connect: Connect) -> None:
    client = connect()
    client.put("/Rum/a.txt", b"abc")
    folder = take(client.path_request(Type.OPENDIR, "/Rum"), 0)[0]
    reading, writing = client.open("/Rum/a.txt"), client.open("/Rum/a.txt", WRITE)
    assert code_of(lambda: client.read(folder, 0, 1)) == Code.FAILURE
    assert code_of(lambda: client.read(writing, 0, 1)) == Code.FAILURE
    assert code_of(lambda: client.write(reading, 0, b"x")) == Code.FAILURE
    assert code_of(lambda: client.fsetstat(reading, sized(0))) == Code.FAILURE
    assert code_of(lambda: client.fsetstat(folder, sized(0))) == Code.FAILURE
    assert code_of(lambda: client.done(Type.READDIR, string(reading))) == Code.FAILURE
    client.close(reading)
    for kind in (Type.CLOSE, Type.FSTAT, Type.READDIR):
        assert code_of(lambda kind=kind: client.done(kind, string(reading))) == Code.FAILURE  # type: ignore[misc]
    assert client.fstat(folder).mode == 0o040755


# --- opening


FLAGS = [
    flags | access
    for access in (0, READ, WRITE, READ | WRITE)
    for flags in (
        0, APPEND, CREAT, TRUNC, EXCL, CREAT | TRUNC, CREAT | EXCL, CREAT | EXCL | TRUNC, APPEND | CREAT,
        APPEND | TRUNC, APPEND | CREAT | TRUNC, APPEND | CREAT | EXCL, TRUNC | EXCL,
    )
]  # fmt: skip


def posix_flags(flags: int) -> int:
    import os

    both = flags & (READ | WRITE)
    found = os.O_RDWR if both == READ | WRITE else os.O_WRONLY if both == WRITE else os.O_RDONLY
    for ours, theirs in ((APPEND, os.O_APPEND), (CREAT, os.O_CREAT), (TRUNC, os.O_TRUNC), (EXCL, os.O_EXCL)):
        found |= theirs if flags & ours else 0
    return found


@pytest.fixture(scope="module")
def flags_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World.create(tmp_path_factory.mktemp("flags") / "data")
    made.space("Rum", "Kund AB")
    made.person("anna", "Kund AB")
    made.grant("anna", "Rum", Role.MANAGER, history=True)
    yield made
    made.installation.close()


@pytest.mark.parametrize("standing", [None, b"0123456789"])
@pytest.mark.parametrize("flags", FLAGS)
def test_flags_do_what_linux_does(flags_world: World, tmp_path, flags: int, standing: bytes | None) -> None:
    """Each combination, on a name that stands and one that does not, against the same calls on a local file."""
    import os

    client = Client(flags_world.drive("anna"))
    name = f"/Rum/{flags} {standing is None}"
    local = tmp_path / "file"
    if standing is not None:
        local.write_bytes(standing)
        client.put(name, standing)
    try:
        fd = os.open(local, posix_flags(flags))
    except OSError as error:
        expected = {FileNotFoundError: Code.NO_SUCH_FILE, FileExistsError: Code.FAILURE}[type(error)]
        assert code_of(lambda: client.open(name, flags)) == expected
        return
    handle = client.open(name, flags)
    if flags & WRITE:
        # sftp-server seeks, then writes: with O_APPEND the place does not matter.
        for offset, data in ((3, b"abc"), (0, b"Z")):
            os.lseek(fd, offset, os.SEEK_SET)
            os.write(fd, data)
            client.write(handle, offset, data)
    else:
        assert code_of(lambda: client.write(handle, 0, b"x")) == Code.FAILURE
    if flags & READ or not flags & WRITE:
        assert client.read(handle, 0, 100) == os.pread(fd, 100, 0)
    else:
        assert code_of(lambda: client.read(handle, 0, 1)) == Code.FAILURE
    assert client.fstat(handle).size == os.fstat(fd).st_size
    os.close(fd)
    client.close(handle)
    assert client.get(name) == local.read_bytes()


# --- the past


def test_history_is_read_and_never_written(world: World, connect: Connect) -> None:
    client = connect()
    client.put("/Rum/a.txt", b"first")
    drive: Drive = world.drive("anna")
    moment = world.installation.storage.database.now_us
    with world.installation.database.read() as connection:
        then = moment(connection)
    from datetime import UTC, datetime

    stamp = datetime.fromtimestamp(then // 1_000_000, UTC).strftime("%Y-%m-%dT%H%M%S") + f".{then % 1_000_000:06d}Z"
    client.put("/Rum/a.txt", b"second")
    past = f"/Rum/.history/{stamp}"
    assert ".history" not in client.names("/Rum")
    assert client.get(f"{past}/a.txt") == b"first"
    assert client.stat(f"{past}/a.txt").mode == 0o100444
    assert client.names(past)["a.txt"][0].startswith("-r--r--r--")
    assert client.stat(past).mode == 0o040555
    assert len(client.names("/Rum/.history")) >= 3
    for act in (
        lambda: client.open(f"{past}/a.txt", WRITE),
        lambda: client.open(f"{past}/new.txt", WRITE | CREAT),
        lambda: client.path_request(Type.MKDIR, f"{past}/d", tail=bytes(4)),
        lambda: client.path_request(Type.REMOVE, f"{past}/a.txt"),
        lambda: client.path_request(Type.RENAME, f"{past}/a.txt", "/Rum/b.txt"),
        lambda: client.setstat(f"{past}/a.txt", timed(1)),
    ):
        assert code_of(act) == Code.PERMISSION_DENIED
    assert fetch(drive, "/Rum/a.txt") == b"second"
    viewer = connect("viewer")
    assert code_of(lambda: viewer.stat(past)) == Code.NO_SUCH_FILE


def test_paths_are_bytes(connect: Connect) -> None:
    client = connect()
    name = "/Rum/åäö 😀 %41 #&;.txt"
    client.put(name, b"x")
    assert name.rpartition("/")[2] in client.names("/Rum")
    assert client.get(encoded(name).decode()) == b"x"
