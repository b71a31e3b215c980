"""One exchange: head in, application called by WSGI (PEP 3333), answer out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from config.logging import get_log
from server.http import access
from server.http.body import Body
from server.http.channel import ClientGone, TooSlow
from server.http.parser import Head, Refused
from server.http.proxies import apply_forwarded

if TYPE_CHECKING:
    from server.http.connection import Connection

DRAIN_BYTES_MAX = 8 * 1024 * 1024
DRAIN_SECONDS_MAX = 10.0
#: Where the application finds the target as it came, may say whose request it is, and may leave a pulse for the stream
#: (see `server.http.channel`).
TARGET, OWNED, WATCH = "mellanrum.target", "mellanrum.owned", "mellanrum.watch"
#: Statuses that never have a body, and so no length (RFC 9110 8.6).
_BODILESS = frozenset({"204", "304"})
#: What is over soon but for its wait for the disk, for which it stands aside. All else may take its time.
_SERVED_IN_TURN = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND", "PROPPATCH", "PUT", "MKCOL"})
_log = get_log("http")


class Cut(Exception):
    """The application broke off after its answer had begun; the connection must end with it."""


class Request:
    """A request whose head is whole."""

    __slots__ = (
        "_began", "_headers", "_is_private", "_left", "_pending", "_status", "body", "channel", "chunked_write",
        "close_connection", "conn", "head", "must_linger", "sent_headers", "server",
    )  # fmt: skip

    def __init__(self, server: Any, conn: Connection, head: Head) -> None:
        self.server = server
        self.conn = conn
        self.head = head
        self.channel = conn.channel
        self.body = Body(conn.channel, head.fields.length, awaits_continue=head.fields.expects_continue)
        self.close_connection = not head.fields.keeps_alive
        self.must_linger = False
        self.sent_headers = False
        self.chunked_write = False
        self._began = time.monotonic()
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._pending = b""
        self._left: int | None = None
        self._is_private = False

    def respond(self) -> None:
        """Call the application and send what it answers."""
        self.channel.begin()
        if self.head.method not in _SERVED_IN_TURN:
            self.server.lead.pass_on()
        try:
            self._call()
        except (ClientGone, TooSlow, Cut) as error:
            self.close_connection = True
            if isinstance(error, TooSlow) and not self.sent_headers:
                self.refuse("408 Request Timeout")
        except Refused as error:
            self.close_connection = True
            if not self.sent_headers:
                self.refuse(error.status)
        except Exception as error:
            _log.error("request_failed", error)
            self.close_connection = True
            if not self.sent_headers:
                self.refuse("500 Internal Server Error")
        finally:
            self.channel.pulse = None
            seconds = time.monotonic() - self._began
            access.note(self.head.method, self._status, self.channel.bytes_in, self.channel.bytes_out, seconds)

    def refuse(self, status: str) -> None:
        """Answer with a status alone, and end the connection. Without a body: perhaps HEAD was meant."""
        self.close_connection = self.must_linger = True
        self._status, self._headers = status, [("Content-Length", "0")]
        try:
            self.send_headers()
            self._flush(b"")
        except (ClientGone, TooSlow):
            pass

    def _call(self) -> None:
        answer: Iterable[Any] = self.server.application(self._environ(), self._start_response)
        try:
            for piece in answer:
                if piece:
                    self._write(piece)
            self._finish()
        except (ClientGone, TooSlow, Refused):
            raise
        except Exception as error:
            if not self.sent_headers:
                raise
            _log.warning("answer_cut", error=error)
            raise Cut from error
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()

    def _environ(self) -> dict[str, Any]:
        head = self.head
        environ = self.conn.environ_of(head.fields)
        environ["REQUEST_METHOD"] = head.method
        environ["PATH_INFO"] = head.path.decode("latin-1")
        environ["QUERY_STRING"] = head.query.decode("latin-1")
        environ["SERVER_PROTOCOL"] = "HTTP/1.1" if head.is_http_1_1 else "HTTP/1.0"
        environ["wsgi.input"] = self.body
        environ[TARGET] = head.target
        environ[OWNED] = self._owned
        environ[WATCH] = self._watch
        if self.server.trusted_proxies:
            apply_forwarded(environ, self.server.trusted_proxies, standard=self.server.believes_forwarded)
        self._is_private = environ["wsgi.url_scheme"] == "https"
        return environ

    def _owned(self, owner: bytes) -> None:
        self.channel.owner = owner

    def _watch(self, pulse: Callable[[], None]) -> None:
        self.channel.pulse = pulse

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if self.sent_headers and exc_info:
            raise exc_info[1].with_traceback(exc_info[2])
        self._status, self._headers = status, list(headers)
        return self._write

    def send_headers(self) -> None:
        """Make the head of the answer; it leaves with the first piece of the body."""
        self.sent_headers = True
        status = self._status
        self._settle_body()
        bodiless, is_head = status[:3] in _BODILESS, self.head.method == "HEAD"
        lines = [f"HTTP/1.1 {status}"]
        has_length = has_date = False
        for name, value in self._headers:
            known = name.lower()
            if known == "connection":
                self.close_connection = self.close_connection or value.lower() == "close"
                continue
            if known == "content-length":
                has_length = True
                if bodiless:
                    continue
                self._left = None if is_head else int(value)
            elif known == "date":
                has_date = True
            lines.append(f"{name}: {value}")
        if not (has_length or bodiless or is_head):
            self.chunked_write = self.head.is_http_1_1
            if self.chunked_write:
                lines.append("Transfer-Encoding: chunked")
            else:
                self.close_connection = True
        if self.close_connection:
            lines.append("Connection: close")
        elif not self.head.is_http_1_1:
            lines.append("Connection: keep-alive")
        if not has_date:
            lines.append(_date())
        if self._is_private and self.server.strict_transport:
            lines.append(self.server.strict_transport)
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
            raise ValueError("a line break inside a header")
        self._pending = (text + "\r\n\r\n").encode("latin-1")

    def _settle_body(self) -> None:
        """Take in what is left of the request's body, or let the connection end with the answer."""
        body = self.body
        if body.is_whole:
            return
        patience_seconds = 0.0 if self.server.requests.is_crowded else DRAIN_SECONDS_MAX
        if not self.close_connection and not body.drain(DRAIN_BYTES_MAX, patience_seconds):
            self.close_connection = True
        if not body.is_whole:
            self.must_linger = True

    def _write(self, piece: bytes | memoryview) -> None:
        if not self._status:
            raise RuntimeError("the application wrote before it named a status")
        if not self.sent_headers:
            self.send_headers()
        if self.head.method == "HEAD" or self._status[:3] in _BODILESS:
            return
        if self.chunked_write:
            self._flush(b"%x\r\n" % len(piece))
            self.channel.send(b"", piece)
            self._pending = b"\r\n"
            return
        if self._left is not None:
            piece = piece[: self._left]
            self._left -= len(piece)
        self._flush(piece)

    def _flush(self, piece: bytes | memoryview) -> None:
        head, self._pending = self._pending, b""
        self.channel.send(head, piece)

    def _finish(self) -> None:
        if not self._status:
            raise RuntimeError("the application named no status")
        if not self.sent_headers:
            self.send_headers()
        if self.chunked_write:
            self._flush(b"0\r\n\r\n")
        elif self._pending:
            self._flush(b"")
        if self._left:
            raise Cut  # shorter than declared: the client must not take it for whole


class _Dates:
    second = 0
    text = ""


def _date() -> str:
    second = int(time.time())
    if _Dates.second != second:
        _Dates.text = f"Date: {formatdate(second, usegmt=True)}"
        _Dates.second = second
    return _Dates.text


def base_environ(address: str, port: int, server_port: int, *, is_tls: bool) -> dict[str, Any]:
    """Return what every request of one connection shares."""
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": str(server_port),
        "SERVER_SOFTWARE": "Mellanrum",
        "REMOTE_ADDR": address,
        "REMOTE_PORT": str(port),
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "https" if is_tls else "http",
    }
