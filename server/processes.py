"""The supervisor: as many worker processes as asked for, for HTTP and for SFTP.

Each HTTP worker has a listening socket of its own (SO_REUSEPORT). The supervisor owns the sockets, and the kernel gives
each its share of those who come, whether anybody accepts there or not. So while a worker is away the others accept at
its socket too: only where there is no other does who comes wait for the one that takes its place. SFTP workers get
their connections from the gate, one by one.
"""

from __future__ import annotations

import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

from config.errors import DatabaseUnreachable, MellanrumError
from config.ids import new_id
from config.logging import get_log
from config.settings import Settings
from config.settings.plain import settings_to_plain
from server import memory, systemd
from server.http import tls
from server.ssh.gate import Gate

if TYPE_CHECKING:
    from server.ssh.hostkeys import HostKey

BACKLOG = 1024
#: What a worker prints, as a line, once it answers.
READY = "ready"
#: How soon a worker that died is replaced: at once, then each time twice as late, until one lives this long.
BACK_OFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
SETTLED_SECONDS = 30.0
#: Beyond the time for draining, how long a worker may take to let go of its files.
GRACE_SECONDS = 5.0
#: What a worker ends with that may start another time (EX_TEMPFAIL): its database cannot be reached just now.
LATER = DatabaseUnreachable.exit_code
_log = get_log("supervisor")


class PortTaken(MellanrumError):
    """Nothing can listen on {host} port {port}: {why}. Stop what listens there, or set another port."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class ReadyInfo:
    """Where the server answers. URLs of HTTP end in a slash; `fingerprint` is the certificate's SHA-256, or None.

    `sftp_url` is empty where there is no SFTP; `host_keys` are those in use.
    """

    http_url: str
    dav_url: str
    fingerprint: str | None
    sftp_url: str = ""
    host_keys: tuple[HostKey, ...] = ()


@dataclass
class _Worker:
    """One process. `hand` lends what it serves on until it has started, and closes here what is its own then.
    `listener` is where it alone accepts, unless it is away.
    """

    module: str
    hand: Callable[[], AbstractContextManager[socket.socket]]
    listener: socket.socket | None = None
    process: subprocess.Popen[bytes] | None = None
    is_ready: bool = False
    #: Whose sockets are left alone, as it was told last.
    left: list[int] = field(default_factory=list)
    started_at: float = 0.0
    failures: int = 0
    due_at: float | None = field(default=0.0)


def serve(
    folder: Path, settings: Settings, *, on_ready: Callable[[ReadyInfo], None], host_keys: Sequence[HostKey] = ()
) -> int:
    """Serve the installation in `folder` until SIGTERM or SIGINT; return the exit code.

    Blocks, and must run in the main thread. `on_ready` is called once, when every worker answers. If a worker cannot
    start at all, returns that worker's exit code; one that cannot reach its database is tried again, as any later.
    `host_keys` are what SFTP is served with, made before. On SIGHUP, the certificate is read again and serves new
    connections; one that is unusable is logged, and the old stays. Raises PortTaken, BadCertificate.
    """
    pair = _certificate(folder, settings)
    sockets = list(_listen(settings.http.host, settings.http.port, settings.workers))
    url = f"http{'s' if pair else ''}://{_shown_address(sockets[0])}/"
    info = ReadyInfo(url, f"{url}dav/", tls.fingerprint(pair) if pair else None)
    workers = [_Worker("server.http.worker", partial(_lent, each), each) for each in sockets]
    gate = None
    if settings.sftp.enabled:
        (door,) = _listen(settings.sftp.host, settings.sftp.port, 1)
        info = replace(info, sftp_url=f"sftp://{_shown_address(door)}", host_keys=tuple(host_keys))
        gate = Gate(door, settings)
        workers += [_Worker("server.ssh.worker", gate.attach) for _ in range(settings.sftp_workers)]
    task = {
        "folder": str(folder),
        "settings": settings_to_plain(settings),
        "tls": pair,
        "server": new_id().hex(),  # by which the processes of one server know each other
    }
    supervisor = _Supervisor(workers, task, settings.process.drain_seconds, lambda: _certificate(folder, settings))

    def announce() -> None:
        on_ready(info)
        systemd.tell(systemd.READY)

    with supervisor.signals():
        try:
            return supervisor.run(announce)
        finally:
            systemd.tell(systemd.STOPPING)
            if gate is not None:
                gate.close()
            for each in sockets:  # the workers have theirs; held here too, it would keep who comes now waiting
                each.close()
            supervisor.stop()


def _lent(listener: socket.socket) -> AbstractContextManager[socket.socket]:
    return nullcontext(listener)


class _Supervisor:
    def __init__(
        self,
        workers: list[_Worker],
        task: dict[str, Any],
        drain_seconds: int,
        read_certificate: Callable[[], tls.Pair | None],
    ) -> None:
        self._workers = workers
        self._task = task
        self._drain_seconds = drain_seconds
        self._read_certificate = read_certificate
        self._stopping = False
        self._must_reload = False
        self._has_terminal = os.isatty(0)
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take SIGTERM, SIGINT, SIGHUP and the deaths of children while we run."""
        taken = {number: signal.signal(number, self._told) for number in (signal.SIGTERM, signal.SIGINT)}
        taken[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._told_to_reload)
        taken[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        before = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            for number, handler in taken.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _told(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _told_to_reload(self, number: int, frame: FrameType | None) -> None:
        """A terminal that was closed says the same, but means the end."""
        if self._has_terminal and not os.isatty(0):
            self._stopping = True
        self._must_reload = True

    def _reload(self) -> None:
        """Read the certificate again, and hand it to the workers if it serves."""
        self._must_reload = False
        try:
            pair = self._read_certificate()
        except tls.BadCertificate as error:
            _log.error("certificate_refused", why=error.facts["cause"])
            return
        if pair is None or pair == self._task["tls"]:
            return
        self._task["tls"] = pair
        for worker in self._workers:
            if worker.process is not None:
                _tell(worker.process, {"tls": pair})
        _log.info("certificate_replaced")

    def run(self, on_ready: Callable[[], None]) -> int:
        """Keep the workers alive until told to stop."""
        announced = False
        while not self._stopping:
            if self._must_reload:
                self._reload()
            for worker in self._workers:
                code = self._look_after(worker)
                if code not in (None, LATER) and not announced:
                    return code or 1
            self._tell_of_the_left()
            self._wait()
            if not announced and all(worker.is_ready for worker in self._workers):
                announced = True
                on_ready()
        return 0

    def _tell_of_the_left(self) -> None:
        """Tell those who listen whose sockets are left alone, in time to accept there; a worker that hears nothing of
        it, as when it is stopped, holds up nobody.
        """
        left = [each.listener.fileno() for each in self._workers if each.listener is not None and not each.is_ready]
        for worker in self._workers:
            if worker.listener is None or worker.process is None or worker.left == left:
                continue
            if _has_room(worker.process):
                _tell(worker.process, {"left": left})
                worker.left = left

    def _look_after(self, worker: _Worker) -> int | None:
        """Start the worker if it is due; return its exit code if it has just died, or could not be started."""
        now = time.monotonic()
        if worker.process is None:
            return self._start_if_due(worker, now)
        code = worker.process.poll()
        if code is None:
            return None
        self._forget(worker)
        worker.failures = 0 if now - worker.started_at > SETTLED_SECONDS else worker.failures + 1
        delay = self._put_off(worker, now)
        if not self._stopping:
            _log.error("worker_died", code=code, milliseconds=int(delay * 1000))
        return code

    def _start_if_due(self, worker: _Worker, now: float) -> int | None:
        """Start it; return an exit code if the system refuses: it is tried again, and the others go on."""
        if worker.due_at is None or now < worker.due_at:
            return None
        try:
            self._start(worker)
        except OSError as error:
            worker.failures += 1
            delay = self._put_off(worker, now)
            _log.error("worker_not_started", error, milliseconds=int(delay * 1000))
            return 1
        return None

    @staticmethod
    def _put_off(worker: _Worker, now: float) -> float:
        """Say when the worker is due again; return in how many seconds."""
        delay = BACK_OFF_SECONDS[min(worker.failures, len(BACK_OFF_SECONDS) - 1)] if worker.failures else 0.0
        worker.due_at = now + delay
        return delay

    def _start(self, worker: _Worker) -> None:
        neighbours = [each for each in self._workers if each is not worker] if worker.listener is not None else []
        others = [each.listener.fileno() for each in neighbours if each.listener is not None]
        with worker.hand() as handed:
            descriptor = handed.fileno()
            # Fixed arguments, our own interpreter; nothing of it comes from outside.
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", worker.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(descriptor, *others),
                env=memory.ENVIRONMENT | os.environ | (tls.environment() if self._task["tls"] else {}),
            )
        _tell(process, {**self._task, "descriptor": descriptor, "others": others})
        assert process.stdout is not None
        worker.process, worker.started_at, worker.is_ready, worker.left = process, time.monotonic(), False, []
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)

    def _wait(self) -> None:
        for key, _ in self._selector.select(timeout=0.5):
            worker: _Worker | None = key.data
            if worker is None:
                self._drain_wake()
                continue
            stream: IO[bytes] = key.fileobj  # type: ignore[assignment]
            line = stream.readline()
            if line.strip() == READY.encode("ascii"):
                worker.is_ready = True
            if not line:
                self._selector.unregister(stream)

    def _drain_wake(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass

    def _forget(self, worker: _Worker) -> None:
        process, worker.process, worker.is_ready = worker.process, None, False
        if process is None:
            return
        if process.stdout is not None:
            try:
                self._selector.unregister(process.stdout)
            except (KeyError, ValueError):
                pass
            process.stdout.close()
        if process.stdin is not None:
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass

    def stop(self) -> None:
        """Tell every worker to stop, wait while they drain, kill who does not."""
        self._stopping = True
        alive = [worker.process for worker in self._workers if worker.process is not None]
        for process in alive:
            process.terminate()
        until = time.monotonic() + self._drain_seconds + GRACE_SECONDS
        for process in alive:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for worker in self._workers:
            self._forget(worker)


def _tell(process: subprocess.Popen[bytes], what: dict[str, Any]) -> None:
    """Send a worker one line."""
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(what).encode("utf-8") + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it died already; the next look sees it


def _has_room(process: subprocess.Popen[bytes]) -> bool:
    """Return whether a short line can be told now: one within PIPE_BUF fits whole, or not at all."""
    assert process.stdin is not None
    asked = select.poll()
    asked.register(process.stdin, select.POLLOUT)
    return bool(asked.poll(0))


def _certificate(folder: Path, settings: Settings) -> tls.Pair | None:
    """Return the certificate and key to serve with, checked; None for plain HTTP."""
    http = settings.http
    certificate, key = http.tls_certificate_file, http.tls_key_file
    if http.self_signed:
        try:
            certificate, key = tls.self_signed(folder / "tls", http.host)
        except OSError as error:
            raise tls.BadCertificate.of_file(error, folder / "tls") from error
    if certificate is None or key is None:
        return None
    pair = tls.read(certificate, key)
    if tls.ends_at(pair) < datetime.now(UTC):
        _log.warning("certificate_ran_out", ended=tls.ends_at(pair).isoformat())
    return pair


def _listen(host: str, port: int, count: int) -> Iterator[socket.socket]:
    """Yield `count` listening sockets on one port; with port 0, on a free one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        if port:
            with socket.socket(found[0], socket.SOCK_STREAM) as probe:  # another server's port could be shared unseen
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(found[4])
        for _ in range(count):
            made = socket.socket(found[0], socket.SOCK_STREAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if found[0] == socket.AF_INET6 and host in ("::", "::0"):
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.bind((found[4][0], port, *found[4][2:]))  # with the zone that a link-local address needs
            made.listen(BACKLOG)
            port = made.getsockname()[1]
            yield made
    except OSError as error:
        raise PortTaken(host=host, port=port, why=error.strerror or "it cannot be reached") from error


def _shown_address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (what others listen on, not we)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
