"""One process that serves SFTP. Run as `python -P -m server.ssh.worker`; see server.serving for how it begins and ends.

The gate hands it connections; asyncssh speaks with each in one loop; whatever may block runs in threads.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

import asyncssh
from asyncssh.connection import SSHServerConnectionOptions

from auth.errors import Revoked
from auth.rights import Principal
from config.clock import now_us
from config.logging import Word, get_log
from config.settings import Settings
from config.settings.schema import SftpSettings
from providers.installation import Installation
from server import serving
from server.sftp.crowd import Crowd
from server.sftp.jobs import Jobs
from server.ssh import algorithms, fast, methods
from server.ssh.connection import Connection
from server.ssh.gate import ASKING, CUT, GONE, MESSAGE_BYTES_MAX, NEW, NUMBER, READY, SIGNED_IN
from server.ssh.hostkeys import HostKeys
from server.ssh.signin import Authenticator, Threads
from server.ssh.visitor import Visitor

if TYPE_CHECKING:
    from providers.drive import Drive

#: How often it is looked whether those who are signed in still may be.
REVOCATION_SECONDS = 0.5
_DRAIN_STEP_SECONDS = 0.1
_log = get_log("ssh")


class SshWorker:
    """The visitors of one process."""

    def __init__(self, installation: Installation, settings: Settings, line: socket.socket) -> None:
        self._installation = installation
        self._all_settings = settings
        self.settings: SftpSettings = settings.sftp
        self.threads = Threads()
        self.jobs = Jobs(settings.sftp.worker_threads)
        self.crowd = Crowd()
        self._line = line
        #: What the gate was not told yet, for its end of the line is full.
        self._untold: deque[bytes] = deque()
        self._visitors: dict[int, Visitor | None] = {}
        self._epoch = 0
        self._connection = chosen(settings.sftp)
        line.setblocking(False)

    # --- what visitors ask for

    @property
    def authenticator(self) -> Authenticator:
        """Whom to ask who that is."""
        return self._installation.authenticator

    def drive(self, principal: Principal) -> Drive:
        """Return what the principal may see and do."""
        return self._installation.drive(principal)

    def arrived(self, visitor: Visitor) -> None:
        """Know a visitor by the number of its connection."""
        self._visitors[visitor.number] = visitor

    def asking(self, visitor: Visitor) -> None:
        """Tell the gate that this one agreed on keys, which takes more than to knock."""
        self._tell(NUMBER.pack(ASKING, visitor.number))

    def signed_in(self, visitor: Visitor) -> None:
        """Tell the gate that this is no stranger any longer."""
        assert visitor.principal is not None
        self._tell(NUMBER.pack(SIGNED_IN, visitor.number) + visitor.principal.id)

    def gone(self, visitor: Visitor) -> None:
        """Tell the gate."""
        if visitor.number in self._visitors:
            del self._visitors[visitor.number]
            self._tell(NUMBER.pack(GONE, visitor.number))

    def _tell(self, message: bytes) -> None:
        """Tell the gate, in order and at last: a connection that it never hears the end of counts for ever."""
        self._untold.append(message)
        if len(self._untold) == 1:
            self._tell_on(asyncio.get_running_loop())

    def _tell_on(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while self._untold:
                self._line.send(self._untold[0])
                self._untold.popleft()
        except BlockingIOError:
            loop.add_writer(self._line, self._tell_on, loop)
            return
        except OSError:  # the gate is closed, and counts no more
            self._untold.clear()
        loop.remove_writer(self._line)

    # --- serving

    async def run(self, stop: threading.Event) -> None:
        """Serve until told to stop, then drain."""
        loop = asyncio.get_running_loop()
        options = await self._options()
        self._epoch = await loop.run_in_executor(self.threads.looking, self._current_epoch)
        loop.add_reader(self._line, self._hear, loop, options)
        self._tell(NUMBER.pack(READY, 0))
        serving.say_ready()
        while not stop.is_set():
            await asyncio.sleep(REVOCATION_SECONDS)
            await self._cut_the_revoked(loop)
        loop.remove_reader(self._line)
        started = time.monotonic()
        await self._drain()
        _log.info("drained", milliseconds=int((time.monotonic() - started) * 1000))

    async def _options(self) -> SSHServerConnectionOptions:
        settings, legacy = self.settings, self.settings.legacy_algorithms
        keys = HostKeys(self._installation.folder, self._installation.keyring.installation().general)
        options: SSHServerConnectionOptions = await SSHServerConnectionOptions.construct(
            server_factory=lambda: Visitor(self),
            server_host_keys=keys.private(),
            send_server_host_keys=True,
            server_version="Mellanrum",
            config=None,
            kex_algs=algorithms.kex(legacy=legacy),
            encryption_algs=algorithms.ciphers(legacy=legacy),
            mac_algs=algorithms.macs(legacy=legacy),
            signature_algs=algorithms.SIGNATURES,
            compression_algs=None,
            host_based_auth=False,
            gss_host=None,
            allow_pty=False,
            agent_forwarding=False,
            x11_forwarding=False,
            line_editor=False,
            encoding=None,
            login_timeout=settings.sign_in_seconds_max,
            keepalive_interval=settings.keep_alive_seconds,
            keepalive_count_max=3,
        )
        held, offered = options.server_host_keys, algorithms.host_keys(legacy=legacy)
        options.server_host_keys = OrderedDict((name, held[name]) for name in offered if name in held)
        return options

    def _hear(self, loop: asyncio.AbstractEventLoop, options: SSHServerConnectionOptions) -> None:
        """Take a connection from the gate, or cut one."""
        try:
            message, descriptors, _, _ = socket.recv_fds(self._line, MESSAGE_BYTES_MAX, 4)
        except BlockingIOError:
            return
        except OSError:  # the gate closed with words of ours unread
            message, descriptors = b"", []
        if len(message) < NUMBER.size:
            loop.remove_reader(self._line)  # the supervisor is going; it tells us to stop
            return
        what, number = NUMBER.unpack_from(message)
        for descriptor in descriptors:
            connection = socket.socket(fileno=descriptor)
            if what == NEW:
                self._visitors[number] = None
                loop.create_task(self._welcome(loop, options, connection, number))
        if what == CUT:
            visitor = self._visitors.get(number)
            if visitor is not None:
                visitor.cut("There are too many connections.")

    async def _welcome(
        self,
        loop: asyncio.AbstractEventLoop,
        options: SSHServerConnectionOptions,
        connection: socket.socket,
        number: int,
    ) -> None:
        def make() -> Connection:
            return self._connection(loop, options, number, self.settings.sign_in_tries_max)

        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(make, connection)
        except OSError:
            connection.close()
        if self._visitors.get(number, self) is None:  # it never came to be
            del self._visitors[number]
            self._tell(NUMBER.pack(GONE, number))

    # --- revocation

    def _current_epoch(self) -> int:
        return self._installation.authenticator.current_epoch()

    async def _cut_the_revoked(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cut those whose credential no longer stands, once rights have changed or its time has run out."""
        try:
            epoch = await loop.run_in_executor(self.threads.looking, self._current_epoch)
        except Exception as error:
            _log.error("epoch_unknown", error)
            return
        has_changed, self._epoch = epoch != self._epoch, epoch
        asked = [
            (visitor, visitor.drive)
            for visitor in self._visitors.values()
            if visitor is not None and visitor.drive is not None and (has_changed or visitor.has_run_out(now_us()))
        ]
        if not asked:
            return
        # All in one hop: a thousand hops for a thousand sessions took seconds, while new ones waited.
        for visitor, why in await loop.run_in_executor(self.threads.looking, _refused, asked):
            if isinstance(why, Revoked):
                visitor.cut(str(why))
            else:
                _log.error("still_valid_unknown", why)
                self._epoch = 0  # ask again

    # --- the end

    async def _drain(self) -> None:
        """Let go of whoever has nothing under way, wait for the others, then cut them."""
        until = time.monotonic() + self._all_settings.process.drain_seconds
        while True:
            waiting = False
            for visitor in [each for each in self._visitors.values() if each is not None]:
                if visitor.is_idle or time.monotonic() >= until:
                    visitor.cut("The server is restarting.")
                else:
                    waiting = True
            if not waiting and time.monotonic() >= until:
                break
            if not self._visitors and self.jobs.are_done:
                break
            await asyncio.sleep(_DRAIN_STEP_SECONDS)
        await asyncio.sleep(_DRAIN_STEP_SECONDS)  # the last words leave
        self.threads.close()
        self.jobs.close()


def _refused(asked: list[tuple[Visitor, Drive]]) -> list[tuple[Visitor, Exception]]:
    """Return those whose rights do not stand any more, and those of whom it cannot be told, each with the error."""
    found: list[tuple[Visitor, Exception]] = []
    for visitor, drive in asked:
        try:
            drive.still_valid()
        except Exception as error:
            found.append((visitor, error))
    return found


def chosen(settings: SftpSettings) -> type[Connection]:
    """Return the faster connection where it may be used, and say in the log which it is."""
    version = Word(f"asyncssh-{asyncssh.__version__}")
    if settings.connection != "auto":
        _log.info("stock_connection", why=Word("chosen"), library=version)
        return Connection
    if not fast.is_tested():
        _log.warning("stock_connection", why=Word("untested"), library=version)
        return Connection
    fast.install()
    _log.info("fast_connection", library=version)
    return fast.FastConnection


def serve(task: dict[str, Any], installation: Installation, settings: Settings, stop: threading.Event) -> None:
    """Serve SFTP until told to stop."""
    asyncssh.set_log_level("CRITICAL")  # its sentences quote clients; ours say what matters
    methods.install()
    line = socket.socket(fileno=task["descriptor"])
    serving.heed_supervisor(stop, lambda news: None)
    asyncio.run(SshWorker(installation, settings, line).run(stop))


if __name__ == "__main__":
    serving.main(serve)
