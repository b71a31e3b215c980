"""Connections between requests: who has nothing whole to say waits in the selector and costs no thread."""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from contextlib import suppress
from typing import Any

from cheroot.connections import ConnectionManager
from cheroot.server import HTTPConnection

from config.addresses import plain
from config.logging import get_log
from server.http import access
from server.http.channel import Channel, ClientGone, TooSlow
from server.http.lead import LOOK_SECONDS
from server.http.parser import Fields, Head, Refused, parse_head
from server.http.proxies import is_among
from server.http.proxy_header import Malformed, ProxyHeader
from server.http.request import Request, base_environ

LINGER_SECONDS = 2.0
ACCEPTS_AT_ONCE = 64
_NO_HEAD = Head("GET", b"/", b"/", b"", True, Fields(None, {}, True, 0, False, False))
_log = get_log("http")


class Connection(HTTPConnection):
    """One client's connection, handled by one worker at a time.

    `deadline` is when (monotonic seconds) it ends unless something whole comes before; `events` what it waits for;
    `is_talking` whether it was answered when it was last looked after, so that more may come at once.
    """

    def __init__(self, server: Any, sock: socket.socket, address: tuple[Any, ...]) -> None:
        self.server = server
        self.environ = base_environ(plain(address[0]), address[1], server.bind_addr[1], is_tls=server.tls is not None)
        self.requests_seen = 0
        self.is_talking = False
        self.events = selectors.EVENT_READ
        self.deadline = time.monotonic() + server.header_read_seconds_max
        self._must_shake_hands = False
        self._is_idle = False
        self._is_closed = False
        self._before: Head | None = None
        self._described: tuple[Fields, dict[str, Any]] = (_NO_HEAD.fields, {})
        self._proxy_header = ProxyHeader() if server.expects_proxy_header(address[0]) else None
        self._speak_over(sock)
        if self._proxy_header is None:
            self._begin_tls()

    def _speak_over(self, sock: socket.socket) -> None:
        self.socket = sock
        self.channel = Channel(sock, self.server.body_idle_seconds_max, self.server.requests)

    def _begin_tls(self) -> None:
        """Make ready for the handshake, or, if none is due, for a request. Raises OSError if the client has gone."""
        if self.server.tls is None:
            self._await_first_head()
        else:
            self._speak_over(self.server.tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False))
            self._must_shake_hands = True

    def _await_first_head(self) -> None:
        """Begin to wait for the first request. A proxy may have connected ahead of any, and keeps what it did not need
        yet among its idle connections: ended sooner than those, it could be ended as a request comes.
        """
        self._is_idle = is_among(self.environ["REMOTE_ADDR"], self.server.trusted_proxies)
        waits = self.server.keep_alive_seconds_max if self._is_idle else self.server.header_read_seconds_max
        self.deadline = time.monotonic() + waits

    def communicate(self) -> bool:
        """Serve what whole requests there are. Return True to wait for more."""
        self.is_talking = False
        try:
            if self._proxy_header is not None and not self._take_proxy_header(self._proxy_header):
                return True
            if self._must_shake_hands and not self._shake_hands():
                return True
            while (head := self._next_head()) is not None:
                if not self._serve(Request(self.server, self, head)):
                    return False
                self.is_talking = True
                if not self.channel.has_input:
                    break
            return True
        except (ClientGone, TooSlow):
            return False
        except Malformed:
            _log.warning("proxy_header_refused")
            return False
        except Refused as error:
            self._refuse(error)
            return False

    def environ_of(self, fields: Fields) -> dict[str, Any]:
        """Return a new environment with what the connection and the field lines say."""
        described, environ = self._described
        if described is not fields:
            environ = {**self.environ, **fields.values, "wsgi.input_terminated": True}
            if "HTTP_CONTENT_TYPE" in environ:
                environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
            environ.pop("HTTP_CONTENT_LENGTH", None)
            if fields.length:
                environ["CONTENT_LENGTH"] = str(fields.length)
            self._described = fields, environ
        return environ.copy()

    def _next_head(self) -> Head | None:
        if self.channel.has_input:
            self.channel.skip_empty_line()
        raw = self.channel.read_head(self.server.header_bytes_max)
        if raw is None:
            if self._is_idle and self.channel.has_input:
                self._is_idle = False
                self.deadline = time.monotonic() + self.server.header_read_seconds_max
            return None
        head = parse_head(raw.removeprefix(b"\r\n"), fields_max=self.server.header_fields_max, before=self._before)
        self._before = head
        return head

    def _serve(self, request: Request) -> bool:
        self.requests_seen += 1
        if not self.server.ready:
            request.close_connection = True
        request.respond()
        if request.close_connection:
            self._say_goodbye(lingers=request.must_linger)
            return False
        self._is_idle = True
        self.deadline = time.monotonic() + self.server.keep_alive_seconds_max
        return True

    def _take_proxy_header(self, header: ProxyHeader) -> bool:
        """Learn from the balancer who the client is. False: more has to come."""
        if not header.is_whole(self.socket):
            return False
        source = header.source()
        if source is not None:
            self.environ |= {"REMOTE_ADDR": plain(source.address), "REMOTE_PORT": str(source.port)}
        self._proxy_header = None
        try:
            self._begin_tls()
        except (OSError, ValueError) as error:
            raise ClientGone from error
        return True

    def _shake_hands(self) -> bool:
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            self.events = selectors.EVENT_READ
            return False
        except ssl.SSLWantWriteError:
            self.events = selectors.EVENT_WRITE
            return False
        except (OSError, ValueError) as error:
            if "HTTP_REQUEST" in str(getattr(error, "reason", "")):
                self._say_that_this_is_tls()
            raise ClientGone from error
        self.events = selectors.EVENT_READ
        self._must_shake_hands = False
        self._await_first_head()
        return True

    def _say_that_this_is_tls(self) -> None:
        text = b"This port speaks HTTPS only.\n"
        answer = (
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        )
        with suppress(OSError, ValueError), socket.socket(fileno=self.socket.detach()) as bare:
            bare.send(answer % len(text) + text)
            bare.shutdown(socket.SHUT_WR)

    def _refuse(self, error: Refused) -> None:
        request = Request(self.server, self, _NO_HEAD)
        self.channel.begin()
        request.refuse(error.status)
        _log.info("request_refused", status=int(error.status[:3]))
        self._say_goodbye(lingers=True)

    def _say_goodbye(self, *, lingers: bool) -> None:
        """End the connection. To linger, so that the answer is not lost, takes a thread: in a crowd nobody does."""
        self.channel.shut(LINGER_SECONDS if lingers and not self.server.requests.is_crowded else 0.0)

    def cut(self) -> None:
        """End the connection from another thread than the one that serves it."""
        self.channel.cut()

    def close(self) -> None:
        """Close the socket. cheroot calls this from its worker or from the selector, never from both at once."""
        if not self._is_closed:
            self._is_closed = True
            self.channel.close()


class Connections(ConnectionManager):
    """Accepts, and holds the connections that wait for input. Runs in one thread; workers only put back."""

    _selector: Any
    _stop_requested: bool
    _num_connections: int
    #: At which of the other sockets it accepts, by descriptor.
    _standing_in: frozenset[int] = frozenset()

    def put(self, conn: Connection) -> None:
        """Take back a connection that has nothing whole to say, or end it if its time is up.

        Who drips a head so that each byte wakes this thread would never be among those that wait when it looks.
        """
        if conn.deadline < time.monotonic():
            conn.channel.shut()
            conn.close()
            return
        conn.channel.rest()
        try:
            self._selector.register(conn.socket.fileno(), conn.events, data=conn)
        except (KeyError, ValueError, OSError):
            conn.close()

    def _run(self, expiration_interval: float) -> None:
        next_round = time.monotonic() + expiration_interval
        ready: list[tuple[int, Any]] = []
        while not self._stop_requested:
            if self._standing_in != self.server.left:
                self._stand_in(self.server.left)
            may_lead = bool(ready) or self.server.lead.is_taken
            ready = list(self._selector.select(timeout=LOOK_SECONDS if may_lead else expiration_interval))
            for descriptor, conn in ready:
                if isinstance(conn, Connection):
                    self._selector.unregister(descriptor)
                    self.server.process_conn(conn)
                else:
                    self._accept(conn.socket if conn is self.server else conn)
            self.server.lead.look()
            now = time.monotonic()
            if now >= next_round:
                next_round = now + expiration_interval
                self._end_overdue(now)
                self.server.lead.dismiss_silent(self.put)
                self.server.requests.settle()
                access.flush()
            else:
                self.server.requests.grow_if_needed()
        self._hand_out_the_last()

    def _hand_out_the_last(self) -> None:
        """Before the end, serve whoever had connected and asked already."""
        for each in (self.server.socket, *(self.server.others[descriptor] for descriptor in self._standing_in)):
            self._accept(each)
        for descriptor, conn in list(self._selector.select(timeout=0)):
            if isinstance(conn, Connection):
                self._selector.unregister(descriptor)
                self.server.process_conn(conn)

    def _stand_in(self, descriptors: frozenset[int]) -> None:
        """Accept at these of the others' sockets too, and at no more than these."""
        for descriptor in self._standing_in - descriptors:
            self._selector.unregister(descriptor)
        for descriptor in descriptors - self._standing_in:
            other = self.server.others[descriptor]
            other.setblocking(False)  # who is away may never have come to say so
            self._selector.register(descriptor, selectors.EVENT_READ, data=other)
        self._standing_in = descriptors

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                sock, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._make_room()
                _log.warning("accept_failed", error=error)
                time.sleep(0.05)  # out of descriptors: give the others time to end
                return
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._num_connections + len(self.server.lead) >= self.server.connections_max:
                    self._make_room()
                self.put(Connection(self.server, sock, address))
            except (OSError, ValueError):
                sock.close()

    def _make_room(self) -> None:
        """End one in sixteen of those that wait, the nearest to their end first: who just stays keeps nobody out."""
        waiting = sorted(self._waiting(), key=lambda each: each[1].deadline)
        for descriptor, conn in waiting[: len(waiting) // 16 + 1]:
            self._end(descriptor, conn)
        _log.warning("connections_shed", count=len(waiting) // 16 + 1)

    def _waiting(self) -> list[tuple[int, Connection]]:
        return [(number, conn) for number, conn in self._selector.connections if isinstance(conn, Connection)]

    def _end_overdue(self, now: float) -> None:
        for descriptor, conn in self._waiting():
            if conn.deadline < now:
                self._end(descriptor, conn)

    def _end(self, descriptor: int, conn: Connection) -> None:
        self._selector.unregister(descriptor)
        conn.channel.shut()
        conn.close()
