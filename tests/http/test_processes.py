"""The supervisor and its workers: ports, deaths, draining, what stands in the way of starting."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import ipaddress
import os
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from config.settings import Settings
from config.settings.plain import settings_from_plain, settings_to_plain
from server import serving as serving_one
from server.processes import PortTaken, _certificate, _listen
from tests.certificates import issue
from tests.ports import free_port
from tests.serving import Served, serving, space_path, start
from tests.worlds import settings_for


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "data") as found:
        yield found


def until(condition: object, seconds: float = 40) -> bool:
    """Wait for what `condition()` tells; return whether it came."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def test_settings_reach_the_workers_unchanged(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data", **{"http.public_origins": ["https://a.example"], "http.port": 0})
    settings = dataclasses.replace(settings, key=dataclasses.replace(settings.key, command=("a", "b")))
    assert settings_from_plain(settings_to_plain(settings)) == settings
    assert settings_from_plain(settings_to_plain(Settings())) == Settings()


def test_systemd_is_told_once_everything_answers_and_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0mellanrum-test-{os.getpid()}")
        heard.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@mellanrum-test-{os.getpid()}")
        with serving(tmp_path / "data") as server:
            assert heard.recv(100) == b"READY=1"
            assert len(server.workers()) == 2
            assert server.stop() == 0
        assert heard.recv(100) == b"STOPPING=1"


def test_where_systemd_cannot_be_told_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "missing"))
    with serving(tmp_path / "data") as server:
        assert server.dav("anna").propfind("/").status == 207


def test_a_worker_that_dies_is_replaced_and_nobody_is_refused(server: Served) -> None:
    before = server.workers()
    assert len(before) == 2
    server.kill(*before)
    dav = server.dav("anna")
    assert dav.propfind("/").status == 207  # waits in the socket's queue until a new worker takes it
    assert until(lambda: len(set(server.workers()) - set(before)) == 2)
    for _ in range(8):
        assert server.dav("anna").propfind("/").status == 207


def test_a_read_through_one_process_is_known_to_the_others_of_the_same_server(tmp_path: Path) -> None:
    """Its event is written down once, whichever of them is asked again; a server that begins later writes another."""
    with serving(tmp_path / "data") as first:
        folder = first.world.installation.folder
        path = f"{space_path('anna')}/read"
        assert first.dav("anna").put(path, b"x").status == 201

        def written(server: Served) -> int:
            served = {server.dav("anna").get(path).status for _ in range(40)}  # each on a connection of its own
            assert served == {200}
            journals = set((folder / "journal").glob("*.journal")) - earlier
            return sum(file.read_bytes().count(b"MRJF") for file in journals)

        earlier: set[Path] = set()
        assert written(first) == 1
        first.stop()
        earlier |= set((folder / "journal").glob("*.journal"))
        again = start(folder, first.world)
        try:
            assert written(again) == 1
        finally:
            again.stop()


def test_stopping_lets_an_upload_end(server: Served) -> None:
    dav = server.dav("anna")
    path = f"{space_path('anna')}/slow"
    codes: list[int] = []

    def pieces() -> Iterator[bytes]:
        yield b"first"
        time.sleep(0.5)  # so that the request is under way
        server.process.send_signal(signal.SIGTERM)
        time.sleep(1)
        yield b"second"

    codes.append(dav.put(path, pieces()).status)
    assert codes == [201]
    assert server.process.wait(40) == 0
    again = start(server.world.installation.folder, server.world)
    try:
        assert again.dav("anna").get(path).body == b"firstsecond"
    finally:
        again.stop()


def test_while_it_ends_nobody_new_is_left_waiting(tmp_path: Path) -> None:
    with serving(tmp_path / "data", **{"process.drain_seconds": 60}) as server:
        host, _, port = server.http_url.split("/")[2].partition(":")
        refused: list[bool] = []

        def is_refused() -> bool:
            try:
                with socket.create_connection((host, int(port)), timeout=0.5) as sock:
                    sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
                    return sock.recv(1) == b""
            except ConnectionError:
                return True
            except TimeoutError:
                return False

        def pieces() -> Iterator[bytes]:
            yield b"first"
            time.sleep(0.5)  # so that the request is under way
            server.loses(*server.workers())
            server.process.send_signal(signal.SIGTERM)
            # Several, so that each worker's queue is met; well before the server cuts what does not end.
            refused.append(until(lambda: all(is_refused() for _ in range(8)), 30))
            yield b"second"

        assert server.dav("anna").put(f"{space_path('anna')}/slow", pieces()).status == 201
        assert refused == [True]


def test_a_worker_without_memory_went_on_without_its_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: object, **options: object) -> None:
        raise MemoryError

    stop = threading.Event()
    monkeypatch.setattr(serving_one, "_log", SimpleNamespace(error=refused))
    with pytest.raises(MemoryError):
        serving_one._tick(SimpleNamespace(tick=refused), stop)  # type: ignore[arg-type]
    assert stop.is_set(), "another takes its place"


@pytest.mark.parametrize("door", [0, -1], ids=["http", "ssh"])
def test_a_worker_was_not_woken_by_a_signal_that_reached_another_thread_of_it(tmp_path: Path, door: int) -> None:
    """The kernel may give it to any: of twenty stops one was not heard of, and the worker killed in the end."""
    with serving(tmp_path / "data", **{"sftp.enabled": True}) as server:
        worker = server.workers()[door]
        server.loses(worker)
        others = [int(each) for each in os.listdir(f"/proc/{worker}/task") if int(each) != worker]
        tgkill = ctypes.CDLL(None, use_errno=True).tgkill
        assert tgkill(worker, others[0], signal.SIGTERM) == 0
        assert until(lambda: worker not in server.workers(), 20)


def test_stopping_cuts_what_does_not_end(tmp_path: Path) -> None:
    with serving(tmp_path / "data", **{"process.drain_seconds": 1}) as server:
        dav = server.dav("anna")
        path = f"{space_path('anna')}/never"
        went_on = threading.Event()

        def pieces() -> Iterator[bytes]:
            yield b"first"
            server.process.send_signal(signal.SIGTERM)
            went_on.wait(60)

        def upload() -> None:
            with pytest.raises(OSError):
                dav.put(path, pieces())
                raise OSError

        thread = threading.Thread(target=upload)
        thread.start()
        began = time.monotonic()
        assert server.process.wait(40) == 0
        assert time.monotonic() - began < 30
        went_on.set()
        thread.join()
        again = start(server.world.installation.folder, server.world)
        try:
            assert again.dav("anna").get(path).status == 404
        finally:
            again.stop()


def test_workers_do_not_outlive_their_supervisor(server: Served) -> None:
    workers = server.workers()
    server.process.kill()
    server.process.wait()
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


@pytest.mark.parametrize("door", [0, -1], ids=["http", "ssh"])
def test_a_worker_that_begins_does_not_outlive_its_supervisor(tmp_path: Path, door: int) -> None:
    """It would have nobody to tell that it answers, and keep the port for ever, so that no server could start again."""
    with serving(tmp_path / "data", **{"sftp.enabled": True}) as server:
        before = server.workers()
        server.kill(before[door])
        assert until(lambda: set(server.workers()) - set(before))
        workers = server.workers()
        server.process.kill()
        server.process.wait()
        assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_a_taken_port_is_said_to_be_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as standing, pytest.raises(PortTaken):
        list(_listen("127.0.0.1", standing.getsockname()[1], 2))


def test_a_hundred_who_come_at_once_are_let_in_before_anybody_accepts() -> None:
    (listening,) = _listen("127.0.0.1", 0, 1)
    come: list[socket.socket] = []
    try:
        for _ in range(100):
            come.append(socket.create_connection(listening.getsockname(), timeout=0.9))  # a SYN is sent again after 1 s
    finally:
        for sock in (*come, listening):
            sock.close()


def test_another_server_cannot_share_the_port(server: Served) -> None:
    port = int(server.http_url.rstrip("/").rpartition(":")[2])
    with pytest.raises(PortTaken):
        list(_listen("127.0.0.1", port, 2))


def test_a_server_without_its_key_does_not_start(server: Served) -> None:
    server.stop()
    folder = server.world.installation.folder
    key = folder.with_name(folder.name + ".key")
    key.rename(key.with_suffix(".away"))
    with pytest.raises(AssertionError, match="the server ended with 30"):
        start(folder, server.world)


def test_tls_shows_its_fingerprint(tmp_path: Path) -> None:
    with serving(tmp_path / "data", **{"http.self_signed": True}) as server:
        assert server.http_url.startswith("https://") and server.fingerprint is not None
        assert len(server.fingerprint.split(":")) == 32
        assert server.dav("anna").propfind("/").status == 207


def test_a_worker_that_cannot_be_started_for_a_while_ends_nobody_else(tmp_path: Path) -> None:
    with serving(tmp_path / "data", **{"sftp.enabled": True}) as server:
        supervisor, before = server.process.pid, server.workers()
        own = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
        held = len(os.listdir(f"/proc/{supervisor}/fd"))
        for victim in (before[0], before[-1]):  # one of each door
            resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (held, own[1]))
            server.kill(victim)
            assert until(lambda: len(server.workers()) == len(before) - 1)
            time.sleep(1.5)  # it tries to start another
            assert server.process.poll() is None
            assert len(server.workers()) == len(before) - 1
            resource.prlimit(supervisor, resource.RLIMIT_NOFILE, own)
            assert until(lambda: len(server.workers()) == len(before))
        assert server.dav("anna").propfind("/").status == 207
        assert until(lambda: _greets(server.sftp_url))


def test_while_one_worker_is_away_the_others_take_who_comes(tmp_path: Path) -> None:
    """The kernel gives each worker's socket its share, whether anybody accepts there or not."""
    with serving(tmp_path / "data") as server:
        supervisor = server.process.pid
        own = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
        held = len(os.listdir(f"/proc/{supervisor}/fd"))
        for number in (0, 1):  # the second time it is the successor of the first who is left
            victim = min(server.workers()) if number else server.workers()[0]
            resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (held, own[1]))
            server.kill(victim)
            assert until(lambda: len(server.workers()) == 1)
            (left,) = server.workers()
            assert [_answers(server.http_url) for _ in range(16)] == [True] * 16
            assert server.workers() == [left]
            resource.prlimit(supervisor, resource.RLIMIT_NOFILE, own)
            assert until(lambda: len(server.workers()) == 2)
            assert until(lambda: all(_listens_to(pid) == 1 for pid in server.workers())), "who came back has its own"
            assert [_answers(server.http_url) for _ in range(16)] == [True] * 16


def _answers(http_url: str) -> bool:
    """Tell whether a connection of its own is served, soon."""
    host, _, port = http_url.split("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        try:
            return sock.recv(8) == b"HTTP/1.1"
        except TimeoutError:
            return False


def _listens_to(pid: int) -> int:
    """Return at how many listening sockets a process waits for connections."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    listening = {f"socket:[{words[9]}]" for words in map(str.split, lines) if words[3] == "0A"}
    count = 0
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed just now
            watched = re.findall(r"^tfd: *(\d+)", info.read_text(), re.MULTILINE)
            count += sum(os.readlink(f"/proc/{pid}/fd/{number}") in listening for number in watched)
    return count


def _greets(sftp_url: str) -> bool:
    host, _, port = sftp_url.removeprefix("sftp://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as sock:
        return sock.recv(8) == b"SSH-2.0-"


def test_a_certificate_that_cannot_be_made_anew_ends_nobody(tmp_path: Path) -> None:
    with serving(tmp_path / "data", **{"http.self_signed": True}) as server:
        folder = tmp_path / "data" / "tls"
        folder.rename(tmp_path / "elsewhere")
        folder.touch()
        server.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert server.process.poll() is None
        server.certificate = tmp_path / "elsewhere" / "self-signed.pem"
        assert server.dav("anna").propfind("/").status == 207


def _link_local() -> str:
    """Return an address of this machine that needs its zone to be said; skip where there is none."""
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        digits, _, _, scope, _, interface = line.split()
        if scope == "20":
            return f"{ipaddress.IPv6Address(int(digits, 16))}%{interface}"
    pytest.skip("no interface has a link-local address")


@pytest.mark.parametrize(("hours", "told"), [(-1, True), (1, False)])
def test_a_server_began_with_a_certificate_that_had_run_out_and_said_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, hours: int, told: bool
) -> None:
    issued = issue(tmp_path, timedelta(hours=hours))
    files = {"http.tls_certificate_file": str(issued.chain), "http.tls_key_file": str(issued.key)}
    assert _certificate(tmp_path, settings_for(tmp_path / "data", **files))
    assert ("event=certificate_ran_out" in caplog.text) == told


def test_a_link_local_address_can_be_listened_on(tmp_path: Path) -> None:
    for port in (0, free_port()):
        for sock in _listen(_link_local(), port, 2):
            with sock, socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as client:
                client.connect(sock.getsockname())
