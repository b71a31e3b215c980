"""The gate alone: an even spread, caps on strangers and people, workers that die. Real sockets, no SSH."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from server.ssh.gate import ASKING, CUT, GONE, MESSAGE_BYTES_MAX, NEW, NUMBER, READY, SIGNED_IN, Gate
from server.ssh.worker import SshWorker
from tests.worlds import World, settings_for


@dataclass
class Worker:
    """The other end of a line."""

    line: socket.socket
    got: dict[int, socket.socket] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)

    def listen(self, seconds: float = 0.3) -> None:
        """Take what comes; a connection that is cut is closed, and the gate told."""
        self.line.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            while self.take_one():
                pass

    def take_one(self) -> bool:
        """Take one message; return whether there was any."""
        message, descriptors, _, _ = socket.recv_fds(self.line, MESSAGE_BYTES_MAX, 4)
        if not message:
            return False
        what, number = NUMBER.unpack_from(message)
        if what == NEW:
            self.got[number] = socket.socket(fileno=descriptors[0])
        elif what == CUT:
            self.cut.append(number)
            self.end(number)
        return True

    def say(self, what: bytes, number: int, more: bytes = b"") -> None:
        self.line.send(NUMBER.pack(what, number) + more)

    def end(self, number: int) -> None:
        self.got.pop(number).close()
        self.say(GONE, number)

    def close(self) -> None:
        self.line.close()
        for each in self.got.values():
            each.close()


class House:
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = self.listener.getsockname()
        self.gate = Gate(self.listener, settings_for(folder, **settings))
        self.workers: list[Worker] = []
        self.clients: list[socket.socket] = []

    def worker(self) -> Worker:
        self.workers.append(Worker(self.gate.attach()))
        return self.workers[-1]

    def knock(self, source: str = "127.0.0.1") -> socket.socket:
        self.clients.append(socket.create_connection(self.address, 10, (source, 0)))
        return self.clients[-1]

    def close(self) -> None:
        self.gate.close()
        for each in (*self.workers, *self.clients):
            each.close()


@pytest.fixture
def house(data_folder: Path) -> Iterator[Callable[..., House]]:
    made: list[House] = []

    def make(**settings: Any) -> House:
        made.append(House(data_folder, **{f"sftp.{name}": value for name, value in settings.items()}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def is_open(client: socket.socket) -> bool:
    client.settimeout(0.1)
    try:
        return client.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def test_few_heavy_clients_are_spread_evenly(house: Callable[..., House]) -> None:
    here = house()
    workers = [here.worker(), here.worker(), here.worker()]
    for _ in range(9):
        here.knock()
    for each in workers:
        each.listen()
    assert [len(each.got) for each in workers] == [3, 3, 3]
    for number in list(workers[0].got):
        workers[0].end(number)
    time.sleep(0.2)
    for _ in range(3):
        here.knock()
    workers[0].listen()
    assert len(workers[0].got) == 3, "who has fewest gets the next"


def test_a_worker_that_is_only_beginning_gets_nobody_while_another_serves(house: Callable[..., House]) -> None:
    """One that was killed is replaced by one that takes seconds to begin: with fewest connections, it got them all."""
    here = house()
    serves, begins = here.worker(), here.worker()
    serves.say(READY, 0)
    time.sleep(0.2)
    for _ in range(4):
        here.knock()
    for each in (serves, begins):
        each.listen()
    assert [len(serves.got), len(begins.got)] == [4, 0]
    begins.say(READY, 0)
    time.sleep(0.2)
    for _ in range(4):
        here.knock()
    for each in (serves, begins):
        each.listen()
    assert [len(serves.got), len(begins.got)] == [4, 4]


def test_the_eldest_stranger_of_an_address_makes_room_and_the_log_says_so(
    house: Callable[..., House], caplog: pytest.LogCaptureFixture
) -> None:
    here = house(strangers_per_address_max=3)
    worker = here.worker()
    clients = [here.knock() for _ in range(5)]
    elsewhere = here.knock("127.0.0.2")
    worker.listen()
    assert len(worker.cut) == 2 and len(worker.got) == 4
    assert [is_open(each) for each in (*clients, elsewhere)] == [False, False, True, True, True, True]
    assert caplog.text.count("event=stranger_cut of_its_address=3 ") == 2


def test_the_address_that_has_most_makes_room_for_others(house: Callable[..., House]) -> None:
    here = house(strangers_max=10, strangers_per_address_max=8)
    worker = here.worker()
    for _ in range(8):
        here.knock("127.0.0.9")
    few = [here.knock(f"127.0.0.{number}") for number in range(20, 26)]
    worker.listen()
    assert len(worker.got) == 10 and all(is_open(each) for each in few)


@pytest.mark.parametrize("asks", [True, False])
def test_who_asks_to_sign_in_outlasts_those_who_only_knock(house: Callable[..., House], asks: bool) -> None:
    """A crowd of so many addresses that none has more than another: the eldest goes, but for who came further."""
    here = house(strangers_max=10)
    worker = here.worker()
    honest = here.knock("127.0.0.20")
    worker.listen()
    (number,) = worker.got
    for other in range(30, 36):
        here.knock(f"127.0.0.{other}")
    worker.listen()
    if asks:
        worker.say(ASKING, number)
        time.sleep(0.2)
    for other in range(40, 46):
        here.knock(f"127.0.0.{other}")
    worker.listen()
    assert len(worker.cut) == 3
    assert is_open(honest) is asks


def test_whoever_signed_in_is_no_stranger(house: Callable[..., House]) -> None:
    here = house(strangers_per_address_max=2)
    worker = here.worker()
    for _ in range(6):
        here.knock()
        worker.listen(0.15)
        worker.say(SIGNED_IN, max(worker.got), b"p" * 16)
    time.sleep(0.1)
    assert worker.cut == [] and len(worker.got) == 6


def test_a_person_has_a_cap_over_all_workers_and_the_log_says_so(
    house: Callable[..., House], caplog: pytest.LogCaptureFixture
) -> None:
    here = house(connections_per_person_max=2)
    workers = [here.worker(), here.worker()]
    for _ in range(4):
        here.knock()
    for each in workers:
        each.listen()
        for number in list(each.got):
            each.say(SIGNED_IN, number, b"p" * 16)
    for each in workers:
        each.listen()
    assert sum(len(each.cut) for each in workers) == 2
    assert caplog.text.count(f"event=person_cut person={(b'p' * 16).hex()} of_person=") == 2


def test_beyond_the_cap_nobody_is_taken(house: Callable[..., House]) -> None:
    here = house(connections_max=20, strangers_max=50, strangers_per_address_max=50)
    worker = here.worker()
    clients = [here.knock() for _ in range(25)]
    worker.listen()
    assert len(worker.got) == 20
    assert sum(is_open(each) for each in clients) == 20


def test_a_worker_that_dies_leaves_its_places(house: Callable[..., House]) -> None:
    here = house(strangers_per_address_max=3)
    first = here.worker()
    for _ in range(3):
        here.knock()
    first.listen()
    here.workers.remove(first)
    first.close()
    waiting = [here.knock() for _ in range(3)]  # nobody is there: the kernel keeps them
    time.sleep(0.2)
    second = here.worker()
    second.listen()
    assert len(second.got) == 3 and second.cut == []
    assert all(is_open(each) for each in waiting)


def test_a_flood_from_one_address_outran_the_cuts_and_filled_a_worker(house: Callable[..., House]) -> None:
    """The worker took what came more slowly than it came: of those who were to go, it was told of some alone."""
    here = house(strangers_per_address_max=10)
    worker = here.worker()
    worker.line.settimeout(5)
    for _ in range(800):
        here.knock().close()
        worker.take_one()
    worker.listen(1.0)
    assert len(worker.got) == 10


@dataclass(frozen=True)
class Left:
    """A visitor, by nothing but the number of their connection."""

    number: int


def test_what_a_worker_told_a_gate_that_was_behind_was_lost_and_its_counts_never_given_back(data_folder: Path) -> None:
    world = World.create(data_folder)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left: list[Any] = [Left(number) for number in range(1000)]

    async def leave() -> list[int]:
        worker = SshWorker(world.installation, settings_for(data_folder), theirs)
        worker._visitors = {each.number: each for each in left}
        for each in left:
            worker.gone(each)
        loop, told = asyncio.get_running_loop(), []
        ours.setblocking(False)
        for _ in left:
            what, number = NUMBER.unpack(await asyncio.wait_for(loop.sock_recv(ours, MESSAGE_BYTES_MAX), 5))
            told += [number] if what == GONE else []
        assert not worker._untold and not loop.remove_writer(theirs)
        return told

    try:
        assert asyncio.run(leave()) == [each.number for each in left]
    finally:
        ours.close()
        theirs.close()
        world.installation.close()


def test_while_a_worker_does_not_read_nobody_who_was_accepted_is_lost(house: Callable[..., House]) -> None:
    here = house(strangers_per_address_max=50)
    worker = here.worker()
    here.gate._workers[0].line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # it holds a few messages at most
    clients = [here.knock() for _ in range(30)]
    time.sleep(0.2)
    worker.listen()
    assert len(worker.got) == 30 and all(is_open(each) for each in clients)


def test_what_a_worker_says_twice_or_too_late_changes_nothing(house: Callable[..., House]) -> None:
    here = house(connections_per_person_max=2)
    worker = here.worker()
    for _ in range(2):
        here.knock()
    worker.listen()
    for number in worker.got:
        for what in (SIGNED_IN, SIGNED_IN, ASKING):
            worker.say(what, number, b"p" * 16)
    worker.listen()
    assert not worker.cut
    for number in list(worker.got):
        worker.end(number)
        worker.say(GONE, number)
    time.sleep(0.1)
    assert not here.gate._strangers and not here.gate._of_person, "who is gone takes no room"
    here.knock()
    worker.listen()
    assert len(worker.got) == 1


def test_strangers_of_one_ipv6_network_count_together(house: Callable[..., House]) -> None:
    network = house().gate._network
    assert network("2001:db8:1:2::3") == network("2001:db8:1:2:ffff::4") != network("2001:db8:1:3::3")
    assert network("192.0.2.1") == network("::ffff:192.0.2.1") != network("192.0.2.2")
