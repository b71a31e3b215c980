"""A mail server of the tests' own, RFC 5321 with STARTTLS and AUTH PLAIN, which keeps what it is given."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.certificates import Issued


@dataclass
class Post:
    """What has come, and how the server behaves. `refusals` mails are refused before one is taken."""

    port: int = 0
    refusals: int = 0
    mails: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    #: Every line that came in the clear.
    clear: list[str] = field(default_factory=list)


@contextmanager
def post_office(issued: Issued | None = None, *, implicit: bool = False) -> Iterator[Post]:
    """Run a server on a free port; with a certificate it offers STARTTLS, or with `implicit` speaks TLS at once."""
    post, context = Post(), None
    if issued is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(issued.chain, issued.key)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                talk = _Talk(self.request, post, context, implicit=implicit)
            except (OSError, ValueError):
                return
            try:
                talk.run()
            except (OSError, ValueError):
                pass
            finally:
                talk.close()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        post.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield post
        finally:
            server.shutdown()
            thread.join()


class _Talk:
    """One connection."""

    def __init__(self, connection: Any, post: Post, context: ssl.SSLContext | None, *, implicit: bool) -> None:
        connection.settimeout(20)
        self._post, self._context, self._is_sealed = post, context, False
        self._take(connection)
        if implicit:
            self._seal()

    def _take(self, connection: Any) -> None:
        self._connection, self._lines = connection, connection.makefile("rb")

    def _seal(self) -> None:
        assert self._context is not None
        self._lines.close()
        self._take(self._context.wrap_socket(self._connection, server_side=True))
        self._is_sealed = True

    def close(self) -> None:
        self._lines.close()
        self._connection.close()

    def _say(self, text: str) -> None:
        self._connection.sendall(text.encode() + b"\r\n")

    def _line(self) -> str | None:
        raw = self._lines.readline().decode()
        if not self._is_sealed:
            self._post.clear.append(raw.rstrip("\r\n"))
        return raw.rstrip("\r\n") if raw else None

    def run(self) -> None:
        self._say("220 post")
        while (line := self._line()) is not None:
            if not self._answer(line):
                return

    def _answer(self, line: str) -> bool:
        word, post = line.upper().split(" ")[0], self._post
        if word == "EHLO":
            self._say("250-post")
            self._say("250 STARTTLS" if self._context and not self._is_sealed else "250 AUTH PLAIN")
            return True
        if word == "STARTTLS" and self._context:
            self._say("220 go")
            self._seal()
            return True
        if word == "AUTH":
            _, login, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
            post.logins.append((login, password))
            self._say("235 welcome")
            return True
        if word == "DATA" and post.refusals:
            post.refusals -= 1
            self._say("451 later")
            return True
        if word == "DATA":
            self._say("354 go")
            text = []
            while (part := self._line()) not in (".", None):
                text.append(part)
            post.mails.append("\n".join(str(part) for part in text))
        if word == "RCPT":
            post.recipients.append(line)
        self._say("250 ok")
        return word != "QUIT"
