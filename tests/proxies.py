"""Reverse proxies that tests start: Debian's nginx and Caddy, by the files of deploy/ or by a test's own.

    with shipped_nginx(folder, "127.0.0.1:8080") as proxy:
        Dav(proxy.origin + "/dav/", "anna", password, proxy.authority)

    with nginx(folder, "server { listen 127.0.0.1:8090; ... }", port=8090): ...

What a proxy writes stands in its folder: logs in `logs`, what it buffers in `temporary`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.certificates import issue
from tests.ports import free_port
from tests.tools import ROOT, end, need

NGINX = ROOT / "deploy" / "nginx" / "mellanrum.conf"
CADDY = ROOT / "deploy" / "caddy" / "Caddyfile"
HOST = "files.example.com"
_BEGIN_SECONDS_MAX = 30
_NGINX = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/logs/main.log error;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/temporary/body;
    proxy_temp_path {folder}/temporary/proxy;
    fastcgi_temp_path {folder}/temporary/fastcgi;
    scgi_temp_path {folder}/temporary/scgi;
    uwsgi_temp_path {folder}/temporary/uwsgi;
    access_log off;
{inner}
}}
"""


@dataclass
class Proxy:
    """A proxy that runs. `authority` is the certificate that clients are to trust, where it speaks TLS."""

    process: subprocess.Popen[bytes]
    folder: Path
    origin: str
    authority: Path | None = None

    def logs(self) -> str:
        """Return all that was logged so far."""
        return "".join(each.read_text(errors="replace") for each in sorted((self.folder / "logs").iterdir()))

    def buffered_bytes(self) -> int:
        """Return how much stands in its folder for temporary files, deleted ones that are open still included."""
        standing = sum(each.stat().st_size for each in (self.folder / "temporary").rglob("*") if each.is_file())
        return standing + sum(map(_deleted_bytes, self._processes()))

    def memory_bytes(self) -> int:
        """Return the most that any of its processes had in memory so far."""
        return max(_peak_bytes(pid) for pid in self._processes())

    def _processes(self) -> list[int]:
        pid = self.process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def _deleted_bytes(pid: int) -> int:
    total = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(link).endswith(" (deleted)") and "/temporary/" in os.readlink(link):
                total += link.stat().st_size
    return total


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


@contextmanager
def nginx(folder: Path, inner: str, *, port: int, origin: str | None = None) -> Iterator[Proxy]:
    """Run nginx with `inner` standing inside its `http` block, until it listens on `port`; end it afterwards.

    Skips or, in CI, fails where nginx is not installed.
    """
    program = need("nginx")
    for name in ("logs", "temporary"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    file = folder / "nginx.conf"
    # Run by root, it would give its workers to an account that may not enter a test's folder.
    user = "user root;" if os.geteuid() == 0 else ""
    file.write_text(_NGINX.format(user=user, folder=folder, inner=inner))
    arguments = [str(program), "-p", str(folder), "-c", str(file), "-e", str(folder / "logs" / "main.log")]
    with _running(folder, arguments, port, {}) as process:
        yield Proxy(process, folder, origin or f"http://127.0.0.1:{port}")


@contextmanager
def shipped_nginx(folder: Path, upstream: str, *, port: int | None = None) -> Iterator[Proxy]:
    """Run nginx by deploy/nginx/mellanrum.conf in front of `upstream`, 127.0.0.1:8080; ports and paths alone differ."""
    port, plain_port = port or free_port(), free_port()
    issued = issue(folder / "tls")
    inner = replaced(
        NGINX.read_text(),
        {
            "server 127.0.0.1:8080;": f"server {upstream};",
            "listen 80;": f"listen 127.0.0.1:{plain_port};",
            "listen [::]:80;": f"listen [::1]:{plain_port};",
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "listen [::]:443 ssl;": f"listen [::1]:{port} ssl;",
            "/etc/ssl/mellanrum/fullchain.pem": str(issued.chain),
            "/etc/ssl/mellanrum/privkey.pem": str(issued.key),
            "/var/log/nginx": str(folder / "logs"),
            f"https://{HOST}$": f"https://localhost:{port}$",
            f"server_name {HOST};": "server_name localhost;",
        },
    )
    with nginx(folder, inner, port=port, origin=f"https://localhost:{port}") as proxy:
        proxy.authority = issued.authority
        yield proxy


@contextmanager
def shipped_caddy(folder: Path, upstream: str, *, port: int | None = None) -> Iterator[Proxy]:
    """Run Caddy by deploy/caddy/Caddyfile in front of `upstream`; ports, paths and the certificate alone differ."""
    program = need("caddy")
    port = port or free_port()
    issued = issue(folder / "tls")
    for name in ("logs", "temporary", "home"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    file = folder / "Caddyfile"
    text = replaced(
        CADDY.read_text(),
        {
            "127.0.0.1:8080 {": f"{upstream} {{",
            # No names, and no authority, are to be asked for by a test.
            f"\n{HOST} {{": f"\nhttps://localhost:{port} {{\n\tbind 127.0.0.1 ::1\n\ttls {issued.chain} {issued.key}",
            "\n{\n": "\n{\n\tadmin off\n\tauto_https disable_redirects\n",
        },
    )
    file.write_text(text)
    environ = {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "temporary"),
        **{f"XDG_{name}_HOME": str(folder / "home" / name.lower()) for name in ("DATA", "CONFIG", "CACHE")},
    }
    arguments = [str(program), "run", "--config", str(file), "--adapter", "caddyfile"]
    with _running(folder, arguments, port, environ) as process:
        yield Proxy(process, folder, f"https://localhost:{port}", issued.authority)


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """Return the text with each piece replaced. Fails where one does not occur: the file and the test drifted apart."""
    for piece, other in changes.items():
        assert piece in text, piece
        text = text.replace(piece, other)
    return text


@contextmanager
def _running(
    folder: Path, arguments: list[str], port: int, environ: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    output = folder / "logs" / "output.log"
    with output.open("ab") as file:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=folder, env={**os.environ, **environ}
        )
    try:
        _await(process, port, output)
        yield process
    finally:
        end(process)


def _await(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    until = time.monotonic() + _BEGIN_SECONDS_MAX
    while time.monotonic() < until:
        assert process.poll() is None, output.read_text(errors="replace")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}: {output.read_text(errors='replace')}")
