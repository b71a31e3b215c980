"""Commands whose client ends its input before they are done, or says what makes no sense."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from config.errors import StorageFailed
from providers.drive import Drive
from providers.drive.reading import Reader
from providers.drive.uploads import Upload
from providers.errors import NotFound
from providers.paths import parse
from server.sftp import pipe as pipes
from server.sftp import scp
from server.sftp.pipe import CutOff, Gone, Pipe
from tests.same.hands import Ran, run_exec
from tests.worlds import World, fetch, store

BIG = random.Random(7).randbytes(5_000_000)


def names(drive: Drive) -> list[str]:
    return [item.name for item in drive.listing(parse("/Rum"))[1]]


def cut(ran: Ran) -> bool:
    return ran.status == 1 and ran.err == "Mellanrum: this ended in the middle. What had not come whole is not stored."


@pytest.mark.parametrize(
    "given",
    [
        pytest.param([b"C0644 100 cut\nabc"], id="in a document"),
        pytest.param([b"C0644 3 cut\n", b"ab"], id="before its last byte"),
        pytest.param([b"C0644 100 cu"], id="in a line"),
        pytest.param([b"T1000000000 0 1000000000 0\n"], id="after a time"),
        pytest.param([b"x" * 5000], id="in a line that is too long"),
        pytest.param([b"C0644 3 cut\n", b"abc\x01" + b"x" * 5000], id="in a complaint that is too long"),
    ],
)
def test_an_upload_that_ends_in_the_middle_fails_and_leaves_nothing(world: World, given: list[bytes]) -> None:
    drive = world.drive("anna")
    before = names(drive)
    assert cut(run_exec(drive, "scp -p -t /Rum", given=given, is_hasty=True))
    assert names(drive) == before


def test_a_client_that_ends_after_all_its_bytes_lost_what_it_sent(world: World) -> None:
    """libssh2, and with it curl and PHP, sends no 0 after a document: it ends, and takes that for success."""
    drive = world.drive("anna")
    assert run_exec(drive, "scp -pt /Rum/all", given=[b"C0644 3 all\n", b"abc"], is_hasty=True).status == 0
    assert fetch(drive, "/Rum/all") == b"abc"


def test_what_a_client_said_before_it_went_was_not_looked_at(world: World) -> None:
    pipe = Pipe(None, None, lambda: 0)  # type: ignore[arg-type]
    pipe.feed(b"a line\nabc")
    pipe.lost()
    assert pipe.line(100) == b"a line" and pipe.read(100) == b"abc"
    with pytest.raises(Gone):
        pipe.read(1)


def test_a_folder_that_is_not_ended_fails_with_what_came_whole(world: World) -> None:
    drive = world.drive("anna")
    assert cut(run_exec(drive, "scp -r -t /Rum", given=[b"D0755 0 ny\n", b"C0644 3 hel\n", b"abc\0"], is_hasty=True))
    assert fetch(drive, "/Rum/ny/hel") == b"abc"


def test_a_line_without_anything_in_it_is_no_record(world: World) -> None:
    ran = run_exec(world.drive("anna"), "scp -t /Rum", given=[b"\nC0644 3 not\nabc\0"])
    assert ran.status == 1 and ran.out.startswith(b"\0\x01scp: record: That is no record of scp.")


@pytest.mark.parametrize(
    ("line", "given", "why"),
    [
        ("scp -t /Rum", b"D0755 0 ny\n", "A folder stands where a document is needed."),
        ("scp -r -t /Rum", b"D0755 0 doc\n", "A document stands where a folder is needed."),
        ("scp -t /Rum", b"C0644 3 \xff\n", "it is no UTF-8 text."),
        (
            "scp -t /Rum",
            b"C0644 3 half\nabc\x01scp: half: unreadable\n",
            "The upload stopped before its end.",
        ),
        ("scp -f /Rum/Avtal", b"\0", "A folder stands where a document is needed."),
        ("scp -r -f /Rum", b"\0" * 2 + b"\x01scp: not here\n", ""),
    ],
)
def test_what_is_wrong_with_one_record_is_told_and_the_others_go_on(
    world: World, line: str, given: bytes, why: str
) -> None:
    drive = world.drive("anna")
    store(drive, "/Rum/doc", b"as it was")
    ran = run_exec(drive, line, given + (b"C0644 3 next\nabc\0" if " -t " in line else b"\0" * 9))
    assert ran.status == 1 and ran.err == "" and why in ran.out.decode()
    assert names(drive) == (["Avtal", "doc", "next"] if " -t " in line else ["Avtal", "doc"])
    assert fetch(drive, "/Rum/doc") == b"as it was"
    assert ("-r -f" in line) is (b"C0644 9 doc\nas it was\0" in ran.out)


@pytest.mark.parametrize(("word", "goes_on"), [(b"\x01", True), (b"\x02", False)])
def test_a_client_that_could_not_read_something_says_whether_it_goes_on(
    world: World, word: bytes, goes_on: bool
) -> None:
    drive = world.drive("anna")
    ran = run_exec(drive, "scp -t /Rum", word + b"scp: a: no such file\nC0644 3 next\nabc\0")
    assert ran.status == 1
    assert names(drive) == (["Avtal", "next"] if goes_on else ["Avtal"])


def test_the_rest_of_a_document_that_could_not_be_stored_was_taken_for_records(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = world.drive("anna")
    stored = Upload.write

    def full(upload: Upload, data: memoryview) -> None:
        stored(upload, data)
        if bytes(data[:3]) == BIG[:3]:
            raise StorageFailed(what="no room")

    monkeypatch.setattr(Upload, "write", full)
    ran = run_exec(drive, "scp -t /Rum", b"C0644 %d big\n" % len(BIG) + BIG + b"\0C0644 3 next\nabc\0")
    assert ran.status == 1 and ran.out.count(b"\x01scp: big: ") == 1
    assert names(drive) == ["Avtal", "next"]


@pytest.mark.parametrize("first", [b"", b"\0", b"\0\0", b"x"])
def test_a_client_that_takes_no_more_ends_what_it_asked_for(world: World, first: bytes) -> None:
    drive = world.drive("anna")
    store(drive, "/Rum/a b", b"all of it")
    assert cut(run_exec(drive, "scp -f '/Rum/a b'", first, is_hasty=True))


def test_nothing_more_is_read_for_a_client_that_ended(world: World) -> None:
    drive = world.drive("anna")
    for number in range(3):
        store(drive, f"/Rum/Avtal/{number}", b"x")
    ran = run_exec(drive, "scp -r -f /Rum/Avtal", b"\0\0", is_hasty=True)
    assert cut(ran) and ran.out.count(b"C0644") == 1


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_client_that_stands_still_is_cut_off_and_one_that_is_gone_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    monkeypatch.setattr(pipes, "WAIT_SECONDS_MAX", 0.01)
    loop: Any = None
    pipe = Pipe(loop, None, lambda: 0)
    if is_lost:
        pipe.lost()
    with pytest.raises(Gone if is_lost else CutOff):
        pipe.read(1)


@pytest.mark.parametrize("end", ["/", "/."])
@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("scp -t /Rum/absent", "The folder this should go into does not exist."),
        ("scp -r -t /Rum/absent", "The folder this should go into does not exist."),
        ("scp -t /Rum/doc", "A document stands where a folder is needed."),
        ("scp -r -t /Rum/doc", "A document stands where a folder is needed."),
        ("scp -f /Rum/doc", "A document stands where a folder is needed."),
        ("scp -f '/Rum/d*c'", ""),
        ("md5sum /Rum/doc", "A document stands where a folder is needed."),
    ],
)
def test_an_argument_with_a_slash_at_its_end_is_a_folders(world: World, line: str, why: str, end: str) -> None:
    drive = world.drive("anna")
    store(drive, "/Rum/doc", b"as it was")
    line = f"{line[:-1]}{end}'" if line.endswith("'") else line + end
    ran = run_exec(drive, line, b"\0" * 9 if " -f " in line else b"", [b"C0644 3 a\n", b"abc\0"])
    assert ran.status == 1 and why in ran.out.decode() + ran.err
    assert b"C0644" not in ran.out
    assert sorted(names(drive)) == ["Avtal", "doc"] and fetch(drive, "/Rum/doc") == b"as it was"


def test_folders_are_taken_and_given_with_a_slash_at_their_end(world: World) -> None:
    drive = world.drive("anna")
    assert run_exec(drive, "scp -t /Rum/Avtal/", given=[b"C0644 3 a\n", b"abc\0"]).status == 0
    sent = [b"D0755 0 from\n", b"C0644 3 b\n", b"abc\0", b"E\n"]
    assert run_exec(drive, "scp -r -t /Rum/new/", given=sent).status == 0
    assert fetch(drive, "/Rum/Avtal/a") == fetch(drive, "/Rum/new/b") == b"abc"
    store(drive, "/Rum/new.txt", b"no folder")
    given = run_exec(drive, "scp -r -f '/Rum/n*/'", b"\0" * 9)
    assert given.status == 0 and given.out.count(b"D0755 0 new\n") == 1 and b"new.txt" not in given.out


def damage(world: World) -> None:
    """Spoil a piece in the middle of what is stored."""
    (pack,) = (world.installation.folder / "vault").rglob("*.pack")
    with pack.open("r+b") as file:
        file.seek(3_000_000)
        file.write(bytes(100_000))


def given_of(ran: Ran, record: bytes) -> bytes:
    """Return what followed a record."""
    return ran.out.partition(record)[2]


@pytest.mark.parametrize("line", ["scp -f /Rum/a.bin", "scp -r -f /Rum", "scp -f /Rum/a.bin /Rum/b.txt"])
def test_after_a_document_that_broke_off_the_next_was_taken_for_its_bytes(world: World, line: str) -> None:
    """The client waits for the bytes it was told of, and answered nothing before: both sides waited for an hour."""
    drive = world.drive("anna")
    store(drive, "/Rum/a.bin", BIG)
    damage(world)
    store(drive, "/Rum/b.txt", b"not for a.bin")
    ran = run_exec(drive, line, b"\0" * 20)
    sent = given_of(ran, b"C0644 %d a.bin\n" % len(BIG))
    assert 0 < len(sent) < len(BIG) and BIG.startswith(sent)
    assert ran.status == 1 and ran.err.startswith("Mellanrum: What is stored is damaged.") and "\n" not in ran.err
    assert "pack" not in ran.err, "clients are told nothing of the inside"


@pytest.mark.parametrize("line", ["scp -f /Rum/a.bin", "md5sum /.history/{today}/Rum/a.bin"])
def test_a_right_that_is_withdrawn_ends_what_is_being_given(
    world: World, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scp, "VALID_SECONDS", 0.0)
    keeper, other = world.drive("anna"), world.drive("bo")
    store(keeper, "/Rum/a.bin", BIG)
    (grant,) = (each for each in keeper.grants(parse("/Rum")) if each.grantee == world.people["bo"].id)
    given = Reader.chunks
    pieces = 0

    def withdrawing(reader: Reader) -> Iterator[memoryview]:
        nonlocal pieces
        for piece in given(reader):
            pieces += 1
            if pieces == 2:
                keeper.revoke(parse("/Rum"), grant.id)
            yield piece

    monkeypatch.setattr(Reader, "chunks", withdrawing)
    day = other.listing(parse("/Rum/.history"))[1][-1]
    ran = run_exec(other, line.format(today=day.name), b"\0" * 20)
    assert (ran.status, pieces) == (1, 2)
    assert ran.err == f"Mellanrum: {NotFound()}"
    assert len(given_of(ran, b"a.bin\n")) < len(BIG)
