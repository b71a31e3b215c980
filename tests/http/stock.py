"""WsgiDAV on cheroot as they come, and our server, as one thing to try both alike."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.serving import Dav, Served, space_path

_SCRIPT = """
import json, signal, sys
# A shell that runs the tests in its background hands an ignored interrupt down, and Python would leave it so.
signal.signal(signal.SIGINT, signal.default_int_handler)
from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter
from wsgidav.wsgidav_app import WsgiDAVApp
task = json.loads(sys.argv[1])
application = WsgiDAVApp({
    "provider_mapping": {"/dav": task["folder"]},
    "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
    "simple_dc": {"user_mapping": {"*": {"anna": {"password": "secret"}}}},
    "property_manager": True,
    "verbose": 0,
    "logging": {"enable": False},
})
server = wsgi.Server(("127.0.0.1", 0), application, **task["options"])
if task["tls"]:
    server.ssl_adapter = BuiltinSSLAdapter(*task["tls"])
server.prepare()
print(server.bind_addr[1], flush=True)
try:
    server.serve()
except KeyboardInterrupt:
    server.stop()
"""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Target:
    """A server to try something on. `home` is where its documents may stand; `pids` are its processes."""

    dav_url: str
    password: str
    home: str
    pids: list[int]
    certificate: Path | None = None
    _clients: list[Dav] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, _, port = self.dav_url.split("/")[2].partition(":")
        return host, int(port)

    def dav(self, login: str | None = "anna") -> Dav:
        """Return a fresh client."""
        made = Dav(self.dav_url, login, self.password, self.certificate)
        self._clients.append(made)
        return made

    def close(self) -> None:
        """Let all clients' connections go."""
        while self._clients:
            self._clients.pop().close()

    def begin(self, method: str, name: str, *, signed_in: bool = True) -> bytes:
        """Return a request up to where its other fields would stand."""
        dav = self.dav()
        credentials = f"Authorization: Basic {dav._authorization}\r\n" if signed_in else ""
        return f"{method} {dav.href(f'{self.home}/{name}')} HTTP/1.1\r\nHost: {dav.host}\r\n{credentials}".encode()

    def connect(self) -> socket.socket:
        """Return a connection, without TLS."""
        return socket.create_connection(self.address, timeout=30)

    def said(self, raw: bytes, seconds: float = 1.0) -> bytes:
        """Send bytes; return all that is answered until the connection ends or is silent for so long."""
        with self.connect() as sock:
            with suppress(ConnectionError):
                sock.sendall(raw)
            sock.settimeout(seconds)
            pieces = []
            with suppress(TimeoutError, ConnectionError):
                while piece := sock.recv(65536):
                    pieces.append(piece)
            return b"".join(pieces)

    def answers_within(self, seconds: float, tls: ssl.SSLContext | None = None) -> bool:
        """Tell whether somebody else's request is answered in time."""
        until = time.monotonic() + seconds
        try:
            with ExitStack() as opened:
                sock = opened.enter_context(socket.create_connection(self.address, timeout=seconds))
                if tls is not None:
                    sock = opened.enter_context(tls.wrap_socket(sock, server_hostname="127.0.0.1"))
                sock.sendall(b"OPTIONS / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                sock.settimeout(max(0.01, until - time.monotonic()))
                return sock.recv(12).startswith(b"HTTP/1.1")
        except OSError:
            return False

    def cpu_seconds(self) -> float:
        """Return how long its processes have computed so far."""
        total = 0
        for pid in self.pids:
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(words[11]) + int(words[12])
        return total / _TICKS

    def peak_bytes(self) -> int:
        """Return the most that any of its processes had in memory so far."""
        peaks = []
        for pid in self.pids:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            peaks.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")))
        return max(peaks)


def of_ours(server: Served) -> Target:
    """Return our server as a target."""
    password = server.world.passwords["anna"]
    return Target(server.dav_url, password, space_path("anna"), server.workers(), server.certificate)


@contextmanager
def stock(folder: Path, *, tls: tuple[Path, Path] | None = None, **options: Any) -> Iterator[Target]:
    """Serve `folder` by WsgiDAV on cheroot with their defaults; `options` are those of cheroot's server."""
    folder.mkdir(exist_ok=True)
    task = {"folder": str(folder), "options": options, "tls": [str(path) for path in tls] if tls else None}
    command = [sys.executable, "-P", "-W", "ignore", "-c", _SCRIPT, json.dumps(task)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            scheme = "https" if tls else "http"
            target = Target(f"{scheme}://127.0.0.1:{port}/dav/", "secret", "", [process.pid], tls[0] if tls else None)
            yield target
            target.close()
        finally:
            process.kill()
            process.wait()
