"""What one client has open, while another one changes it: told and stored as by Debian's sftp-server, in a folder.

Each story is played before both, packet by packet, by clients that have a connection each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from struct import pack

import pytest

from providers.paths import parse
from server.sftp.engine.wire import APPEND, CREAT, READ, TRUNC, WRITE, Type, string
from tests.sftp.client import Client, Refused, sized, timed
from tests.sftp.openssh import PipeClient
from tests.worlds import World

NEW = WRITE | CREAT | TRUNC
BIG = bytes(range(256)) * 4096


class Play:
    """One story: two people, a client each, and what they are told, in a folder."""

    def __init__(self, folder: str, connect: Callable[..., Client]) -> None:
        self._folder, self._connect = folder, connect
        self.one, self.other = connect(), connect("bo")
        self.told: list[object] = []

    def at(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def tell(self, act: Callable[[], object]) -> None:
        """Take note of what an act returns, or with which code it is refused."""
        try:
            self.told.append(act())
        except Refused as refused:
            self.told.append(("refused", refused.code))

    def rename(self, old: str, new: str) -> None:
        """Let the other one rename."""
        self.other.path_request(Type.RENAME, self.at(old), self.at(new))

    def replace(self, old: str, new: str) -> None:
        """Let the other one put something in the place of what stands there."""
        paths = string(self.at(old).encode()) + string(self.at(new).encode())
        self.other.extended("posix-rename@openssh.com", paths)

    def make_folder(self, name: str) -> None:
        self.other.path_request(Type.MKDIR, self.at(name), tail=b"\0\0\0\0")

    def end(self) -> None:
        """Tell what stands there, to somebody who comes then."""
        found = self._connect()
        for name, (_, stat) in sorted(found.names(self._folder).items()):
            if name[0] != ".":
                self.told.append((name, None if stat.mode & 0o040000 else found.get(self.at(name))))


def written_under_a_name_that_is_gone(play: Play) -> None:
    play.one.put(play.at("d"), b"0123")
    handle = play.one.open(play.at("d"), READ | WRITE)
    play.one.write(handle, 0, b"A")
    play.rename("d", "e")
    play.tell(lambda: play.one.read(handle, 0, 10))
    play.one.write(handle, 3, b"Z")
    play.one.close(handle)


def emptied_under_a_name_that_is_gone(play: Play) -> None:
    play.one.put(play.at("d"), b"0123")
    handle = play.one.open(play.at("d"), NEW)
    play.one.write(handle, 0, b"A")
    play.rename("d", "e")
    play.one.close(handle)


def written_on_under_a_name_that_is_gone(play: Play) -> None:
    play.one.put(play.at("d"), b"0123")
    first, second = (play.one.open(play.at("d"), READ | WRITE) for _ in range(2))
    play.one.write(first, 0, b"A")
    play.one.close(first)
    play.rename("d", "e")
    play.tell(lambda: play.one.read(second, 0, 10))
    play.one.write(second, 1, b"B")
    play.tell(lambda: play.one.fstat(second).size)
    play.one.close(second)


def found_under_its_new_name(play: Play) -> None:
    """Once closed, it is found by its new name, and not by the old one, by who has it open still."""
    play.one.put(play.at("d"), b"0123")
    first, second = (play.one.open(play.at("d"), READ | WRITE) for _ in range(2))
    play.one.write(first, 0, b"A")
    play.rename("d", "e")
    play.one.close(first)
    play.one.write(second, 1, b"B")
    play.tell(lambda: play.one.stat(play.at("e")).size)
    play.tell(lambda: play.one.read(play.one.open(play.at("e"), READ), 0, 10))
    play.tell(lambda: play.one.stat(play.at("d")).size)
    play.one.close(second)


def timed_under_a_name_that_is_gone(play: Play) -> None:
    play.one.put(play.at("d"), b"0123")
    reads, writes = play.one.open(play.at("d"), READ), play.one.open(play.at("d"), WRITE)
    play.rename("d", "e")
    play.tell(lambda: play.one.fsetstat(reads, timed(1000)))
    play.one.close(writes)
    play.one.close(reads)
    play.tell(lambda: play.one.stat(play.at("e")).modified)


def written_in_a_folder_that_another_took_the_place_of(play: Play) -> None:
    play.make_folder("f")
    play.one.put(play.at("f/d"), b"0123")
    stood, new = play.one.open(play.at("f/d"), READ | WRITE), play.one.open(play.at("f/n"), NEW)
    play.one.write(stood, 0, b"A")
    play.one.write(new, 0, b"new")
    play.rename("f", "g")
    play.make_folder("f")
    play.one.close(stood)
    play.one.close(new)
    for name in ("f/d", "f/n", "g/d", "g/n"):
        play.tell(lambda name=name: play.other.get(play.at(name)))  # type: ignore[misc]


def opened_anew_after_it_was_written(play: Play) -> None:
    play.one.put(play.at("d"), BIG)
    old = play.one.open(play.at("d"), READ)
    play.tell(lambda: play.one.read(old, 0, 4))
    play.other.put(play.at("d"), b"newer")
    new = play.one.open(play.at("d"), READ)
    play.tell(lambda: play.one.read(new, 0, 10))
    play.tell(lambda: play.one.fstat(new).size)
    play.one.close(new)
    play.one.close(old)


def opened_anew_after_it_was_replaced(play: Play) -> None:
    play.one.put(play.at("d"), BIG)
    play.other.put(play.at("n"), b"newer")
    old = play.one.open(play.at("d"), READ)
    play.tell(lambda: play.one.read(old, 0, 4))
    play.replace("n", "d")
    new = play.one.open(play.at("d"), READ | WRITE)
    play.tell(lambda: play.one.read(new, 0, 10))
    play.one.write(new, 0, b"N")
    play.tell(lambda: play.one.read(old, len(BIG) - 4, 10))  # it goes on to its end
    play.tell(lambda: play.one.fstat(old).size)
    play.one.close(new)
    play.one.close(old)


def read_while_an_editor_saves(play: Play) -> None:
    play.one.put(play.at("d"), b"old")
    handle = play.one.open(play.at("d"), READ)
    play.one.path_request(Type.RENAME, play.at("d"), play.at("d~"))
    play.one.put(play.at("d"), b"new")
    play.tell(lambda: play.one.read(handle, 0, 10))
    play.tell(lambda: play.one.get(play.at("d~")))
    play.one.path_request(Type.REMOVE, play.at("d~"))
    play.tell(lambda: play.one.read(handle, 0, 10))
    play.one.close(handle)


def written_while_an_editor_saves(play: Play) -> None:
    """What was moved away stays what it is, though the name that it left takes the document back."""
    play.one.put(play.at("d"), b"old1")
    first, second = (play.one.open(play.at("d"), READ | WRITE) for _ in range(2))
    play.one.path_request(Type.RENAME, play.at("d"), play.at("d~"))
    play.one.write(first, 0, b"O")
    play.one.put(play.at("d"), b"new")
    play.tell(lambda: play.one.read(first, 0, 10))
    play.one.close(first)
    play.one.write(second, 1, b"P")
    play.one.close(second)


def written_after_it_was_moved_over_another(play: Play) -> None:
    play.one.put(play.at("d"), b"old")
    play.one.put(play.at("t"), b"tmp")
    first, second = (play.one.open(play.at("t"), READ | WRITE) for _ in range(2))
    play.one.write(first, 0, b"T")
    paths = string(play.at("t").encode()) + string(play.at("d").encode())
    play.one.extended("posix-rename@openssh.com", paths)
    play.one.write(second, 1, b"U")
    play.tell(lambda: play.one.read(first, 0, 10))
    play.one.close(second)
    play.one.close(first)


def written_twice_after_its_name_was_taken_from_it_and_given_back(play: Play) -> None:
    """Whoever opens it again shares it with who has it open, whichever of both names is taken for the document's."""
    play.one.put(play.at("d"), b"")
    play.one.path_request(Type.RENAME, play.at("d"), play.at("d~"))
    first, backup = play.one.open(play.at("d"), WRITE | CREAT), play.one.open(play.at("d~"), WRITE)
    second = play.one.open(play.at("d"), READ | WRITE)
    play.one.write(backup, 0, b"old")
    play.one.write(first, 0, b"new")
    play.one.close(first)
    play.one.close(backup)
    third = play.one.open(play.at("d"), READ | WRITE)
    play.one.write(second, 3, b"er")
    play.tell(lambda: play.one.read(third, 0, 10))
    play.one.write(third, 5, b"!")
    play.one.close(second)
    play.one.close(third)


def written_twice_after_it_took_the_place_of_what_was_deleted(play: Play) -> None:
    """The same, where something empty stood for a while where it was deleted."""
    play.one.put(play.at("d"), b"deleted")
    play.one.path_request(Type.REMOVE, play.at("d"))
    first, made = play.one.open(play.at("d"), READ | WRITE | CREAT), play.one.open(play.at("d"), CREAT | TRUNC)
    play.one.close(made)
    play.one.setstat(play.at("d"), sized(4))
    play.tell(lambda: play.one.fstat(first).size)
    second = play.one.open(play.at("d"), READ | WRITE)
    play.one.write(first, 0, b"A")
    play.one.write(second, 1, b"B")
    play.tell(lambda: play.one.read(second, 0, 10))
    play.one.close(first)
    play.one.close(second)


def read_after_it_was_moved_over_another_and_written(play: Play) -> None:
    """Whoever reads it sees what the same client writes to it, under whichever name by then."""
    play.one.put(play.at("d"), b"old")
    play.one.put(play.at("t"), b"tmp")
    reads = play.one.open(play.at("t"))
    play.tell(lambda: play.one.read(reads, 0, 10))
    paths = string(play.at("t").encode()) + string(play.at("d").encode())
    play.one.extended("posix-rename@openssh.com", paths)
    writes = play.one.open(play.at("d"), WRITE)
    play.one.write(writes, 0, b"T")
    play.tell(lambda: play.one.read(reads, 0, 10))
    play.one.close(writes)
    play.tell(lambda: play.one.read(reads, 0, 10))
    play.one.close(reads)


def read_to_its_end_after_it_was_deleted(play: Play) -> None:
    play.one.put(play.at("d"), BIG)
    handle = play.one.open(play.at("d"), READ)
    play.other.path_request(Type.REMOVE, play.at("d"))
    play.tell(lambda: play.one.read(handle, len(BIG) - 4, 10))
    play.tell(lambda: play.one.stat(play.at("d")).size)
    play.one.close(handle)


def appended_to_by_two(play: Play) -> None:
    play.one.put(play.at("log"), BIG)
    mine, theirs = (client.open(play.at("log"), WRITE | APPEND) for client in (play.one, play.other))
    play.one.write(mine, 0, b"one\n")
    play.other.write(theirs, 0, b"other\n")
    play.one.close(mine)
    play.other.close(theirs)


def appended_to_where_nothing_stood(play: Play) -> None:
    mine, theirs = (client.open(play.at("log"), WRITE | APPEND | CREAT) for client in (play.one, play.other))
    play.one.write(mine, 0, b"one\n")
    play.other.write(theirs, 0, b"other\n")
    play.one.close(mine)
    play.other.close(theirs)


def appended_to_while_it_is_renamed(play: Play) -> None:
    play.one.put(play.at("log"), b"0\n")
    mine, theirs = (client.open(play.at("log"), WRITE | APPEND) for client in (play.one, play.other))
    play.one.write(mine, 0, b"one\n")
    play.rename("log", "log.1")
    play.other.write(theirs, 0, b"other\n")
    play.one.close(mine)
    play.other.close(theirs)


def appended_to_after_it_was_rotated(play: Play) -> None:
    play.one.put(play.at("log"), b"0\n")
    handle = play.one.open(play.at("log"), WRITE | APPEND)
    play.one.write(handle, 0, b"one\n")
    play.rename("log", "log.1")
    play.other.put(play.at("log"), b"")
    play.one.close(handle)


def filled_by_another_after_it_was_made(play: Play) -> None:
    handle = play.one.open(play.at("d"), NEW)
    play.other.put(play.at("d"), b"filled")
    play.tell(lambda: play.one.close(handle))


def copied_behind_what_stood(play: Play) -> None:
    """What is opened for appending is written to at its end alone, whatever place a copy is told."""
    for name, data in (("s", b"0123456789"), ("log", b"one\n"), ("other", b"two\n")):
        play.one.put(play.at(name), data)
    stands, written = play.one.open(play.at("s")), play.one.open(play.at("other"), READ | WRITE)
    play.one.write(written, 4, b"three\n")
    log = play.one.open(play.at("log"), WRITE | APPEND)
    play.other.put(play.at("log"), b"theirs\n", WRITE | APPEND)
    for source, start, length in ((stands, 2, 3), (written, 4, 0), (stands, 0, 0)):
        play.one.extended("copy-data", string(source) + pack(">QQ", start, length) + string(log) + pack(">Q", 1))
    play.one.fsetstat(log, timed(1000))
    nothing = string(stands) + pack(">QQ", 10, 0) + string(log) + pack(">Q", 1)
    play.one.extended("copy-data", nothing)
    for handle in (log, stands, written):
        play.one.close(handle)
    play.tell(lambda: play.one.stat(play.at("log")).modified)


def cut_and_timed_by_its_name_while_it_is_open(play: Play) -> None:
    """Whoever has it open is told of it as it stands, where it was last closed as well as where it is only read."""
    play.one.put(play.at("d"), b"0123456789")
    first, second = (play.one.open(play.at("d"), READ | WRITE) for _ in range(2))
    play.one.write(first, 0, b"A")
    play.one.close(first)
    reads = play.one.open(play.at("d"))
    play.one.setstat(play.at("d"), sized(4))
    play.tell(lambda: play.one.fstat(second).size)
    play.tell(lambda: play.one.fstat(reads).size)
    play.one.setstat(play.at("d"), timed(1000))
    play.tell(lambda: play.one.fstat(second).modified)
    play.tell(lambda: play.one.fstat(reads).modified)
    play.tell(lambda: play.one.read(reads, 0, 10))
    play.one.close(second)
    play.one.close(reads)
    play.tell(lambda: play.one.stat(play.at("d")).modified)


def replaced_by_the_same_bytes(play: Play) -> None:
    """It is as young as what took its place, though no byte has changed: make would make it again each time."""
    for name, content, away in (
        ("over", b"same", ""),
        ("empty", b"", ""),
        ("left", b"same", "left~"),
        ("void", b"", "v~"),
    ):
        play.one.put(play.at(name), content)
        play.one.setstat(play.at(name), timed(1000))
        if away:
            play.one.path_request(Type.RENAME, play.at(name), play.at(away))
        play.one.put(play.at("new"), content)
        paths = string(play.at("new").encode()) + string(play.at(name).encode())
        play.one.extended("posix-rename@openssh.com", paths)
        play.tell(lambda name=name: play.one.stat(play.at(name)).modified > 1000)  # type: ignore[misc]


def read_of_no_byte(play: Play) -> None:
    """It is no end: a library that takes it for one reads no further."""
    play.one.put(play.at("d"), b"0123")
    for flags in (READ, READ | WRITE):
        handle = play.one.open(play.at("d"), flags)
        for at in (0, 100):
            play.tell(lambda handle=handle, at=at: play.one.ask(Type.READ, string(handle) + pack(">QI", at, 0)))  # type: ignore[misc]
        play.tell(lambda handle=handle: play.one.read(handle, 0, 10))  # type: ignore[misc]
        play.one.close(handle)


def room_asked_for_by_what_is_open(play: Play) -> None:
    """There is room where it is written, though nobody else sees it yet, or its name is gone."""
    new, gone = play.one.open(play.at("new"), NEW), play.one.open(play.at("gone"), NEW)
    play.one.path_request(Type.REMOVE, play.at("gone"))
    for name, body in (
        ("statvfs", string(play.at("new").encode())),
        ("fstatvfs", string(new)),
        ("fstatvfs", string(gone)),
    ):
        play.tell(lambda name=name, body=body: len(play.one.extended(f"{name}@openssh.com", body)))  # type: ignore[misc]
    play.one.close(new)
    play.one.close(gone)


def read_for_no_bytes(play: Play) -> None:
    play.one.put(play.at("d"), b"0123")
    for handle in play.one.open(play.at("d"), READ), play.one.open(play.at("d"), READ | WRITE):
        for offset in 0, 4:
            play.tell(partial(play.one.ask, Type.READ, string(handle) + pack(">QI", offset, 0)))


def copied_from_where_there_is_less(play: Play) -> None:
    play.one.put(play.at("d"), b"0123")
    source, goal = play.one.open(play.at("d"), READ), play.one.open(play.at("e"), NEW | READ)
    for start, length in (0, 4), (0, 0), (1, 4), (4, 1), (4, 0), (9, 1):
        places = string(source) + pack(">QQ", start, length) + string(goal) + pack(">Q", 0)
        play.one.extended("copy-data", places)  # is refused by none
    play.tell(lambda: play.one.read(goal, 0, 20))
    play.one.close(goal)


def asked_for_its_room_under_a_name_that_is_gone(play: Play) -> None:
    play.one.put(play.at("d"), b"0123")
    handle = play.one.open(play.at("d"), READ)
    play.rename("d", "e")
    play.tell(lambda: len(play.one.extended("fstatvfs@openssh.com", string(handle))))


STORIES = [
    read_for_no_bytes,
    copied_from_where_there_is_less,
    asked_for_its_room_under_a_name_that_is_gone,
    written_under_a_name_that_is_gone,
    emptied_under_a_name_that_is_gone,
    written_on_under_a_name_that_is_gone,
    found_under_its_new_name,
    timed_under_a_name_that_is_gone,
    written_in_a_folder_that_another_took_the_place_of,
    opened_anew_after_it_was_written,
    opened_anew_after_it_was_replaced,
    read_while_an_editor_saves,
    written_while_an_editor_saves,
    written_after_it_was_moved_over_another,
    written_twice_after_its_name_was_taken_from_it_and_given_back,
    written_twice_after_it_took_the_place_of_what_was_deleted,
    read_after_it_was_moved_over_another_and_written,
    read_to_its_end_after_it_was_deleted,
    filled_by_another_after_it_was_made,
    appended_to_by_two,
    appended_to_where_nothing_stood,
    appended_to_while_it_is_renamed,
    appended_to_after_it_was_rotated,
    copied_behind_what_stood,
    cut_and_timed_by_its_name_while_it_is_open,
    replaced_by_the_same_bytes,
    read_of_no_byte,
    room_asked_for_by_what_is_open,
]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Callable[..., PipeClient]]:
    """Connect to Debian's sftp-server, in an empty folder."""
    made: list[PipeClient] = []
    (tmp_path / "plain").mkdir()

    def connected(_: str = "") -> PipeClient:
        made.append(PipeClient(tmp_path / "plain"))
        return made[-1]

    yield connected
    for client in made:
        client.stop()


@pytest.mark.parametrize("story", STORIES)
def test_what_others_change_meanwhile_is_told_as_by_openssh(
    world: World,
    connect: Callable[..., Client],
    folder: Callable[..., PipeClient],
    tmp_path: Path,
    story: Callable[[Play], None],
) -> None:
    world.drive("anna").make_folder(parse("/Rum/plain"))
    there, here = Play(f"{tmp_path}/plain", folder), Play("/Rum/plain", connect)
    for play in (there, here):
        story(play)
        play.end()
    assert here.told == there.told
    assert list(world.installation.verify()) == []
