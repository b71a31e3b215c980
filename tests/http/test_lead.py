"""One thread serves all connections that talk: whatever one of them does, the others are answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

import pytest

from config.turns import stand_aside
from server.http import lead
from server.http.listener import EXPIRATION_SECONDS
from tests.http.fronts import Wire, front, settings_with

#: What no answer to a small request may take; a request that holds up the others takes some times as long.
SOON_SECONDS = 0.5
TALKERS = 6
LARGE_BYTES = 16 << 20


class Rooms:
    """Answers with the thread that serves. `/long` takes until told to go on; a body is read to its end.

    `/disk` waits for a disk that takes `disk_seconds`, and keeps how many it made sure of at a time; `/large` is more
    than a client takes without reading; `/name` is answered with its name.
    """

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.in_long = threading.Semaphore(0)
        self.disk_seconds = 0.0
        self.made_durable: list[int] = []

    def make_durable(self, those: Sequence[Any]) -> None:
        self.made_durable.append(len(those))
        time.sleep(self.disk_seconds)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/long":
            self.in_long.release()
            self.may_go_on.wait(15)
        environ["wsgi.input"].read()
        if environ["PATH_INFO"] == "/disk" and not stand_aside(self, environ["REMOTE_PORT"]):
            self.make_durable([environ["REMOTE_PORT"]])
        if environ["PATH_INFO"] == "/large":
            start_response("200 OK", [("Content-Length", str(LARGE_BYTES))])
            return [bytes(LARGE_BYTES)]
        body = b"/name" if environ["PATH_INFO"] == "/name" else threading.current_thread().name.encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    made = Rooms()
    yield made
    made.may_go_on.set()


def send(wire: Wire, path: str) -> None:
    wire.send(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())


def ask(wire: Wire, path: str = "/") -> tuple[bytes, float]:
    """Return who answered, and after how many seconds."""
    began = time.monotonic()
    send(wire, path)
    status, _, body = wire.answer()
    assert status == 200
    return body, time.monotonic() - began


@contextmanager
def talking(wires: list[Wire]) -> Iterator[None]:
    """Let connections ask something every few milliseconds, so that they stay among those that talk."""
    is_over = threading.Event()
    failures: list[BaseException] = []

    def talk() -> None:
        try:
            while not is_over.is_set():
                for wire in wires:
                    ask(wire)
                time.sleep(0.003)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    assert not failures


def opened(stack: ExitStack, address: tuple[str, int], count: int) -> list[Wire]:
    wires = [stack.enter_context(Wire(address)) for _ in range(count)]
    for wire in wires:
        ask(wire)
    return wires


def test_those_who_talk_are_served_by_one_thread(rooms: Rooms) -> None:
    with front(rooms, settings_with(worker_threads=8)) as address, ExitStack() as stack:
        wires = opened(stack, address, TALKERS)
        with talking(wires[1:]):
            seen = [ask(wires[0])[0] for _ in range(100)]
            time.sleep(0.05)
    # Relieved now and then by a machine that is busy elsewhere, but not from request to request.
    changes = sum(one != next_one for one, next_one in pairwise(seen))
    assert changes < 20, seen


def test_a_request_that_takes_its_time_holds_up_nobody(rooms: Rooms) -> None:
    with front(rooms, settings_with(worker_threads=8)) as address, ExitStack() as stack:
        *wires, slow = opened(stack, address, TALKERS)
        with talking(wires[1:]):
            slow.send(b"GET /long HTTP/1.1\r\nHost: h\r\n\r\n")
            assert rooms.in_long.acquire(timeout=5)
            assert max(ask(wires[0])[1] for _ in range(20)) < SOON_SECONDS
            rooms.may_go_on.set()
            assert slow.answer()[0] == 200
            assert ask(slow)[1] < SOON_SECONDS


def test_an_upload_that_pauses_holds_up_nobody(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lead.Lead, "look", lambda self: None)  # it is for its own waiting that it is relieved
    with front(rooms, settings_with(worker_threads=8)) as address, ExitStack() as stack:
        *wires, slow = opened(stack, address, TALKERS)
        with talking(wires[1:]):
            slow.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello")
            assert max(ask(wires[0])[1] for _ in range(20)) < SOON_SECONDS
            slow.send(b"hello")
            assert slow.answer()[0] == 200


def test_those_who_wait_for_the_disk_wait_together(rooms: Rooms) -> None:
    with front(rooms, settings_with(worker_threads=8)) as address, ExitStack() as stack:
        wires = opened(stack, address, TALKERS)
        rooms.disk_seconds = 0.002
        for _ in range(50):
            for wire in wires:
                send(wire, "/disk")
            assert {wire.answer()[0] for wire in wires} == {200}
    assert sum(rooms.made_durable) == 50 * TALKERS
    assert len(rooms.made_durable) < 50 * TALKERS / 2, rooms.made_durable


def test_a_slow_disk_holds_up_nobody_who_does_not_need_it(rooms: Rooms) -> None:
    with front(rooms, settings_with(worker_threads=8)) as address, ExitStack() as stack:
        *wires, one, two = opened(stack, address, TALKERS)
        with talking(wires[1:]):
            rooms.disk_seconds = 2
            for wire in (one, two):
                send(wire, "/disk")
            assert max(ask(wires[0])[1] for _ in range(20)) < SOON_SECONDS
            # It asks on before it was answered, and gets its answers in their order.
            send(one, "/")
            began = time.monotonic()
            assert [wire.answer()[0] for wire in (one, two)] == [200, 200]
            assert time.monotonic() - began > 1
            assert one.answer()[0] == 200
            assert ask(two)[1] < SOON_SECONDS


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leads is relieved by its own doing alone."""
    monkeypatch.setattr(lead.Lead, "look", lambda self: None)


@contextmanager
def begun_together(rooms: Rooms, *paths: str) -> Iterator[list[Wire]]:
    """Ask for each path while the thread that serves waits for the disk, so that it begins one after the other."""
    with front(rooms, settings_with(worker_threads=8)) as address, ExitStack() as stack:
        first, *others = opened(stack, address, TALKERS)
        rooms.disk_seconds = 0.2
        send(first, "/disk")
        time.sleep(0.05)
        for wire, path in zip(others, paths, strict=False):
            send(wire, path)
        yield others[: len(paths)]


@pytest.mark.usefixtures("nobody_looks")
def test_who_takes_an_answer_slowly_holds_up_nobody_who_waits_for_the_disk(rooms: Rooms) -> None:
    with begun_together(rooms, "/disk", "/large") as (waiting, slow):
        began = time.monotonic()
        assert waiting.answer()[0] == 200
        assert time.monotonic() - began < 1
        assert len(slow.answer()[2]) == LARGE_BYTES


@pytest.mark.usefixtures("nobody_looks")
def test_who_asks_on_while_it_waits_for_the_disk_is_answered_in_order(rooms: Rooms) -> None:
    with begun_together(rooms, "/disk", "/long") as (waiting, other):
        assert rooms.in_long.acquire(timeout=5)
        send(waiting, "/name")  # the thread finds this before the disk was asked
        rooms.may_go_on.set()
        assert waiting.answer()[2] != b"/name"
        assert waiting.answer()[2] == b"/name"
        assert other.answer()[0] == 200


def test_who_comes_while_all_threads_work_is_served(rooms: Rooms) -> None:
    with front(rooms, settings_with(worker_threads=1)) as address, ExitStack() as stack:
        wires = opened(stack, address, 2)
        with talking(wires):
            for _ in range(10):
                with Wire(address) as stranger:
                    assert ask(stranger)[1] < SOON_SECONDS


def test_who_falls_silent_among_talkers_ends_in_time(rooms: Rooms) -> None:
    with front(rooms, settings_with(keep_alive_seconds_max=1)) as address, ExitStack() as stack:
        *wires, silent = opened(stack, address, TALKERS)
        with talking(wires):
            began = time.monotonic()
            assert silent.is_closed()
            assert 0.5 < time.monotonic() - began < 5


def ends_while_one_asks(rooms: Rooms, asked: threading.Event | None = None) -> dict[str, int]:
    """Let a server end while its leader serves one who is slow, and another has just asked; return the answers."""
    answers: dict[str, int] = {}
    with ExitStack() as stack, front(rooms, settings_with(worker_threads=8)) as address:
        asking, slow = opened(stack, address, 2)
        slow.send(b"GET /long HTTP/1.1\r\nHost: h\r\n\r\n")
        assert rooms.in_long.acquire(timeout=5)
        asking.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        if asked is not None:
            asked.set()
            time.sleep(2 * EXPIRATION_SECONDS)

        def listen() -> None:
            answers["asking"] = asking.answer()[0]
            rooms.may_go_on.set()
            answers["slow"] = slow.answer()[0]

        thread = threading.Thread(target=listen)
        thread.start()
        stack.callback(thread.join)
    return answers


def test_who_asked_when_the_server_is_about_to_end_is_answered(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    look = lead.Lead.look
    # As if it had asked just before: nobody has looked since.
    monkeypatch.setattr(lead.Lead, "look", lambda self: None if self._server.ready else look(self))
    assert ends_while_one_asks(rooms) == {"asking": 200, "slow": 200}


def test_who_asked_and_is_just_laid_down_when_the_server_ends_is_answered(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, look, dismiss = threading.Event(), lead.Lead.look, lead.Lead.dismiss_silent

    def dismiss_late(self: lead.Lead, *given: Any) -> None:
        if asked.is_set():
            limit = time.monotonic() + 10
            while self._server.ready and time.monotonic() < limit:
                time.sleep(0.001)
            self._heard.clear()  # it has been silent for long, until now
        dismiss(self, *given)

    monkeypatch.setattr(lead.Lead, "look", lambda self: None if self._server.ready else look(self))
    monkeypatch.setattr(lead.Lead, "dismiss_silent", dismiss_late)
    assert ends_while_one_asks(rooms, asked) == {"asking": 200, "slow": 200}
