"""The servers that are measured beside each other, each with a folder of its own and two workers where it has such."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from tests.bench.client import Connection, Target, Unexpected, together
from tests.costs import spent
from tests.ports import free_port

HOST = "127.0.0.1"
WORKERS = 2
START_SECONDS_MAX = 30.0
#: How often processes are counted anew if one of them ends meanwhile.
_TRIES = 100
_MODULES = "mpm_event authz_core auth_basic dav dav_fs dav_lock mime"
_APACHE = """
ServerRoot "{folder}"
ServerName {host}
Listen {host}:{port}
PidFile "{folder}/apache.pid"
ErrorLog "{folder}/error.log"
LogLevel error
{modules}
{user}
StartServers {workers}
ServerLimit {workers}
ThreadsPerChild 25
MaxRequestWorkers {threads}
MinSpareThreads {threads}
MaxSpareThreads {threads}
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
Timeout 120
TypesConfig /etc/mime.types
DocumentRoot "{folder}/files"
DavLockDB "{folder}/locks/db"
LimitXMLRequestBody 0
<Directory "{folder}/files">
    Dav On
    Require all granted
</Directory>
{tls}
"""

#: Where Debian's module for PROPFIND and LOCK lies; nginx by itself has PUT, DELETE, MKCOL, COPY and MOVE alone.
_DAV_EXT = Path("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so")
_NGINX = """
{module}
{user}
daemon off;
worker_processes {workers};
pid "{folder}/nginx.pid";
error_log "{folder}/error.log" error;
events {{ worker_connections 1024; }}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_max_body_size 0;
    client_body_temp_path "{folder}/bodies";
    {zone}
    server {{
        listen {host}:{port} {ssl};
        {tls}
        root "{folder}/files";
        location / {{
            dav_methods PUT DELETE MKCOL COPY MOVE;
            {methods}
        }}
    }}
}}
"""


class Server(Protocol):
    """A server that runs until `stop`."""

    name: str
    target: Target
    process: subprocess.Popen[bytes]
    lists_and_locks: bool

    def stop(self) -> None:
        """End it, and wait for its end."""

    def settle(self) -> None:
        """Return once everything it acknowledged is on the disk."""


def descendants(pid: int) -> list[int]:
    """Return a process and all below it."""
    found, waiting = [], [pid]
    while waiting:
        found.append(each := waiting.pop())
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            waiting.extend(int(child) for child in task.read_text().split())
    return found


def cpu_seconds(process: int) -> float:
    """Return the processor time that a process and all below it have taken, children that ended included."""
    for _ in range(_TRIES):
        try:
            told = [Path(f"/proc/{pid}/stat").read_text() for pid in descendants(process)]
        except (FileNotFoundError, ProcessLookupError):
            continue  # one has ended as it was looked at: its parent tells of it next time
        return sum(map(spent, told))
    raise RuntimeError(f"the processes below {process} come and go too fast to be counted")


#: Where the client has its own files, so that its disk is no part of what is measured.
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def ready_memory(size: int) -> None:
    """Write out what waits, and leave at hand memory in which `size` bytes of files find room, and half as many again.

    A virtual machine gets its memory from its host page by page as it is first written to, and gives back what it does
    not use: a GiB of files written into such memory took 2.5 s of processor time, into memory that was let go of just
    before 0.2 s. A server that keeps what it is sent met the first nearly always, one whose files are deleted again
    the second.
    """
    piece = os.urandom(1 << 20)
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(size + size // 2 >> 20):
            file.write(piece)
    os.sync()


def memory_peak_mb(server: Server) -> float:
    """Return the most memory that any one of the server's processes has held, in MB."""
    peaks = [0]
    for pid in descendants(server.process.pid):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peaks.append(int(line.split()[1]))
    return max(peaks) * 1024 / 1e6


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for the loopback address; return it and its key."""
    made, key = folder / "tls.pem", folder / "tls.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench"
    command += f" -addext subjectAltName=IP:{HOST} -addext basicConstraints=critical,CA:false"
    subprocess.run([*command.split(), "-out", str(made), "-keyout", str(key)], check=True, capture_output=True)
    return made, key


def _answers(server: Server) -> None:
    until = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            with Connection(server.target) as probe:
                probe.exchange(server.target.request("OPTIONS", "/"))
            return
        except OSError:
            if server.process.poll() is not None or time.monotonic() > until:
                raise Unexpected(f"{server.name} does not answer") from None
            time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _OnFiles:
    """A server of a folder's own files, which syncs none of them."""

    target: Target
    process: subprocess.Popen[bytes]
    lists_and_locks = True

    def __init__(self, folder: Path) -> None:
        self.files = folder / "files"
        self.files.mkdir(parents=True)

    def settle(self) -> None:
        held = os.open(self.files, os.O_RDONLY)
        try:
            for entry in os.scandir(self.files):
                if entry.is_file():
                    file = os.open(entry.path, os.O_RDONLY)
                    os.fsync(file)
                    os.close(file)
            os.fsync(held)
        finally:
            os.close(held)

    def stop(self) -> None:
        _end(self.process)


class Apache(_OnFiles):
    """Debian's Apache with mod_dav, threads by mpm_event, no log of requests, nobody signed in."""

    name = "Apache mod_dav"

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        super().__init__(folder)
        (folder / "locks").mkdir()
        port = free_port()
        user = ""
        if os.getuid() == 0:
            user = "User www-data\nGroup www-data"
            owner = pwd.getpwnam("www-data")
            for each in (self.files, folder / "locks"):
                os.chown(each, owner.pw_uid, owner.pw_gid)
        lines = []
        if tls:
            lines = ["SSLEngine on", f'SSLCertificateFile "{tls[0]}"', f'SSLCertificateKeyFile "{tls[1]}"']
        modules = f"{_MODULES} {'socache_shmcb ssl' if tls else ''}".split()
        config = folder / "apache.conf"
        config.write_text(
            _APACHE.format(
                folder=folder,
                host=HOST,
                port=port,
                modules="\n".join(
                    f"LoadModule {each}_module /usr/lib/apache2/modules/mod_{each}.so" for each in modules
                ),
                user=user,
                workers=WORKERS,
                threads=WORKERS * 25,
                tls="\n".join(lines),
            )
        )
        program = shutil.which("apache2", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "apache2"
        self.target = Target(HOST, port, "", certificate=tls[0] if tls else None)
        self.process = subprocess.Popen([program, "-d", str(folder), "-f", str(config), "-DFOREGROUND"])
        _answers(self)


class Nginx(_OnFiles):
    """Debian's nginx with its own DAV module, and for PROPFIND and LOCK dav-ext, if that is installed."""

    name = "nginx"

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        super().__init__(folder)
        port = free_port()
        self.lists_and_locks = _DAV_EXT.exists()
        user = ""
        if os.getuid() == 0:
            user = "user www-data;"
            owner = pwd.getpwnam("www-data")
            os.chown(self.files, owner.pw_uid, owner.pw_gid)
        config = folder / "nginx.conf"
        config.write_text(
            _NGINX.format(
                folder=folder,
                host=HOST,
                port=port,
                user=user,
                workers=WORKERS,
                module=f"load_module {_DAV_EXT};" if self.lists_and_locks else "",
                zone="dav_ext_lock_zone zone=bench:10m;" if self.lists_and_locks else "",
                methods="dav_ext_methods PROPFIND OPTIONS LOCK UNLOCK; dav_ext_lock zone=bench;"
                if self.lists_and_locks
                else "",
                ssl="ssl" if tls else "",
                tls=f'ssl_certificate "{tls[0]}"; ssl_certificate_key "{tls[1]}"; ssl_protocols TLSv1.2 TLSv1.3;'
                if tls
                else "",
            )
        )
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "nginx"
        self.target = Target(HOST, port, "", certificate=tls[0] if tls else None)
        self.process = subprocess.Popen([program, "-c", str(config), "-e", str(folder / "error.log")])
        _answers(self)


class Rclone(_OnFiles):
    """Debian's `rclone serve webdav` with what it does by itself: a folder's names cached, nobody signed in."""

    name = "rclone serve webdav"

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        super().__init__(folder)
        port = free_port()
        command = ["rclone", "serve", "webdav", str(self.files), "--addr", f"{HOST}:{port}"]
        command += ["--config", str(folder / "none.conf"), "--cache-dir", str(folder / "cache"), "--log-level", "ERROR"]
        if tls:
            command += ["--cert", str(tls[0]), "--key", str(tls[1])]
        self.target = Target(HOST, port, "", certificate=tls[0] if tls else None)
        (folder / "none.conf").touch()
        self.process = subprocess.Popen(command)
        _answers(self)


class Mellanrum:
    """An installation with one space and its editor, who signs in by a device password on every request."""

    name = "Mellanrum"
    lists_and_locks = True

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None) -> None:
        from base64 import b64encode

        from tests import serving, worlds

        world = worlds.World.create(folder)
        serving.populate(world)
        settings = {"http.workers": WORKERS}
        if tls:
            settings |= {"http.tls_certificate_file": str(tls[0]), "http.tls_key_file": str(tls[1])}
        self._served = serving.start(folder, world, **settings)
        self.process = self._served.process
        login = "anna"
        secret = b64encode(f"{login}:{world.passwords[login]}".encode()).decode()
        port = int(self._served.http_url.rstrip("/").rpartition(":")[2])
        prefix = "/dav" + quote(serving.space_path(login))
        self.target = Target(HOST, port, prefix, f"Basic {secret}", tls[0] if tls else None)

    def settle(self) -> None:
        """Nothing to do: what it acknowledged is on the disk."""

    def stop(self) -> None:
        self._served.stop()
        self._served.world.installation.close()


#: In the order in which a round asks them.
KINDS: tuple[type[Apache] | type[Nginx] | type[Rclone] | type[Mellanrum], ...] = (Apache, Nginx, Rclone, Mellanrum)


def fill(server: Server, folder: str, count: int, size: int) -> None:
    """Make a folder of so many small documents, over the protocol."""
    with Connection(server.target) as client:
        client.exchange(server.target.request("MKCOL", f"/{folder}/"))
    body = os.urandom(size)
    requests = [server.target.request("PUT", f"/{folder}/document-{number:05}.txt", body) for number in range(count)]
    together(server.target, requests, {200, 201, 204}, 8)
