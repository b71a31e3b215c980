"""The server on one listening socket."""

from __future__ import annotations

import resource
import socket
import ssl
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from cheroot.server import HTTPServer

from config.addresses import network
from config.logging import get_log
from config.settings import Settings
from server.http import access
from server.http.connection import Connection, Connections
from server.http.lead import Lead
from server.http.pool import Pool
from server.http.proxies import is_among

WORKERS_MAX = 512
EXPIRATION_SECONDS = 0.25
#: How many files a process may need beside its connections; they must not fail because strangers connect.
DESCRIPTORS_KEPT = 512
#: Routers forget a connection on which nothing passed, some after a minute: the next request, our answer to one that
#: took long, or that an idle connection ends, is lost then without a sign. So the kernel says something in time, and
#: gives nobody up sooner than we do (`http.body_idle_seconds_max`).
PROBE_SECONDS = 30
PROBES_MAX = 127
_log = get_log("http")

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[Any]]


class Listener(HTTPServer):
    """Serves a WSGI application on a socket that listens already. `start` blocks until `stop`.

    `others` are the sockets of other processes on the same port, for when one of these is away.
    """

    expiration_interval = EXPIRATION_SECONDS

    def __init__(
        self,
        sock: socket.socket,
        application: Application,
        settings: Settings,
        tls: ssl.SSLContext | None,
        others: Sequence[socket.socket] = (),
    ) -> None:
        super().__init__(sock.getsockname()[:2], gateway=None, server_name="Mellanrum")
        http, limits = settings.http, settings.limits
        self.socket = sock
        self.others = {each.fileno(): each for each in others}
        #: Which of the others are left alone.
        self.left: frozenset[int] = frozenset()
        self.application = application
        self.tls = tls
        self.lead = Lead(self)
        self.requests = Pool(self, http.worker_threads, WORKERS_MAX)
        self.shutdown_timeout = settings.process.drain_seconds
        self.trusted_proxies = tuple(map(network, http.trusted_proxies))
        self.believes_forwarded = http.forwarded_header == "forwarded"
        self.proxy_protocol_from = tuple(map(network, http.proxy_protocol_from))
        self.connections_max = min(http.connections_max, _descriptors_max() - DESCRIPTORS_KEPT)
        remembered = 0 if http.self_signed else http.strict_transport_seconds
        #: The line that tells browsers to come over TLS alone (RFC 6797); none if empty.
        self.strict_transport = f"Strict-Transport-Security: max-age={remembered}" if remembered else ""
        self.header_read_seconds_max = http.header_read_seconds_max
        self.body_idle_seconds_max = http.body_idle_seconds_max
        self.keep_alive_seconds_max = http.keep_alive_seconds_max
        self.header_bytes_max = limits.header_bytes_max
        self.header_fields_max = limits.header_fields_max

    def prepare(self) -> None:
        """Begin to accept. The socket was bound, and told to listen, by whoever made it."""
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # as all that is accepted here has then
        for option, value in (
            (socket.TCP_KEEPIDLE, PROBE_SECONDS),
            (socket.TCP_KEEPINTVL, PROBE_SECONDS),
            (socket.TCP_KEEPCNT, PROBES_MAX),
        ):
            self.socket.setsockopt(socket.IPPROTO_TCP, option, value)
        self._connections = Connections(self)
        self.requests.start()
        self.ready = True

    def serve(self) -> None:
        """Accept and hand out until told to stop."""
        while self.ready:
            try:
                self._connections.run(self.expiration_interval)
            except Exception as error:
                _log.error("selector_failed", error)

    def stop(self) -> None:
        """Accept no more, let requests under way end within the time for draining, cut the rest."""
        if not self.ready:
            return
        self.ready = False
        self._connections.stop()
        self._connections.close()
        for each in (self.socket, *self.others.values()):
            each.close()  # who comes now is refused at once, and may find another server
        self.requests.stop(self.shutdown_timeout)
        access.flush()

    def stand_in(self, descriptors: Collection[int]) -> None:
        """Accept at those of the others' sockets too, from now on, and at no more than those."""
        self.left = frozenset(descriptors) & self.others.keys()

    def put_conn(self, conn: Connection) -> None:
        """Take back a connection from a worker."""
        if self.ready and conn.is_talking:
            self.lead.join(conn)
        else:
            self.lay_down(conn)

    def lay_down(self, conn: Connection) -> None:
        """Let a connection wait where it costs neither thread nor buffer, or end it if this server ends."""
        if self.ready:
            self._connections.put(conn)
        else:
            conn.close()

    def expects_proxy_header(self, address: str) -> bool:
        """Tell whether connections from this address begin with a header of the PROXY protocol."""
        return bool(self.proxy_protocol_from) and is_among(address, self.proxy_protocol_from)

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Note that cheroot had something to say, never what: its texts quote clients."""
        if level >= 30:
            _log.warning("front_trouble", level=level)


def _descriptors_max() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else max(soft, 2 * DESCRIPTORS_KEPT)
