"""One thread serves all connections that talk: whatever one of them does, the others are answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

import pytest

from server.http import lead
from tests.http.fronts import Wire, front, settings_with

#: What no answer to a small request may take; a request that holds up the others takes some times as long.
SOON_SECONDS = 0.5
TALKERS = 6


class Rooms:
    """Answers with the thread that serves. `/long` takes until told to go on; a body is read to its end."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.in_long = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/long":
            self.in_long.release()
            self.may_go_on.wait(15)
        environ["wsgi.input"].read()
        body = threading.current_thread().name.encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture
def rooms() -> Iterator[Rooms]:
    made = Rooms()
    yield made
    made.may_go_on.set()


def ask(wire: Wire, path: str = "/") -> tuple[bytes, float]:
    """Return who answered, and after how many seconds."""
    began = time.monotonic()
    wire.send(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
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


def test_who_asked_when_the_server_is_about_to_end_is_answered(rooms: Rooms, monkeypatch: pytest.MonkeyPatch) -> None:
    look = lead.Lead.look
    # As if it had asked just before: nobody has looked since.
    monkeypatch.setattr(lead.Lead, "look", lambda self: None if self._server.ready else look(self))
    answers: dict[str, int] = {}
    with ExitStack() as stack, front(rooms, settings_with(worker_threads=8)) as address:
        asking, slow = opened(stack, address, 2)
        slow.send(b"GET /long HTTP/1.1\r\nHost: h\r\n\r\n")
        assert rooms.in_long.acquire(timeout=5)
        asking.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

        def listen() -> None:
            answers["asking"] = asking.answer()[0]
            rooms.may_go_on.set()
            answers["slow"] = slow.answer()[0]

        thread = threading.Thread(target=listen)
        thread.start()
        stack.callback(thread.join)
    assert answers == {"asking": 200, "slow": 200}
