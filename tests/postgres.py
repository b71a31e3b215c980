"""A real PostgreSQL for the tests: Debian's, in a folder of its own, on a free port, gone with the test run."""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.ports import free_port
from tests.tools import need

START_SECONDS_MAX = 60
USER = "mellanrum"
#: Tests ask for many short-lived databases. None of them has to outlive the machine's power.
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",
}


class Server:
    """A running PostgreSQL. `create` gives fresh databases."""

    def __init__(self, port: int, password: str) -> None:
        self.port = port
        self._password = password
        self._numbers = itertools.count(1)
        self.pid = 0

    def freeze(self, *, frozen: bool) -> None:
        """Stop all its processes where they are, or let them go on: connections stay open, and nobody answers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in (self.pid, *map(int, children)):
            os.kill(pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def url(self, name: str) -> str:
        """Return the SQLAlchemy URL of the database."""
        return f"postgresql+psycopg://{USER}:{self._password}@127.0.0.1:{self.port}/{name}"

    def create(self, template: str = "template0") -> str:
        """Make a database like `template` and return its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop(self, name: str) -> None:
        """Remove the database, whoever is still connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run one statement outside any transaction, in the server's own database."""
        with psycopg.connect(self._conninfo(), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]

    def _conninfo(self) -> str:
        return f"host=127.0.0.1 port={self.port} user={USER} password={self._password} dbname=postgres"

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        try:
            psycopg.connect(self._conninfo(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def running(*, fsync: bool = False) -> Iterator[Server]:
    """Start a PostgreSQL and stop it on leaving. It refuses to be root, so as root it runs as an unprivileged user."""
    postgres, initdb = need("postgres"), need("initdb")
    folder = Path(tempfile.mkdtemp(prefix="mellanrum-postgres-"))
    server = Server(free_port(), secrets.token_hex(12))
    log = folder / "log"
    try:
        _initialise(folder, initdb, server)
        options = OPTIONS | {"port": str(server.port), "fsync": "on" if fsync else "off"}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*_as_nobody(dies_with_parent=True), str(postgres), "-D", str(folder / "data"), *settings],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        server.pid = process.pid
        try:
            _wait(server, process, log)
            yield server
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _initialise(folder: Path, initdb: Path, server: Server) -> None:
    secret = folder / "password"
    secret.write_text(server._password)
    secret.chmod(0o600)
    if os.geteuid() == 0:
        user = _unprivileged()
        for path in (folder, secret):
            os.chown(path, user.pw_uid, user.pw_gid)
    command = [str(initdb), "-D", str(folder / "data"), "-U", USER, "-A", "password", "--pwfile", str(secret)]
    options = ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    subprocess.run(
        [*_as_nobody(), *command, *options], cwd=folder, check=True, stdin=subprocess.DEVNULL, capture_output=True
    )


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("neither a user postgres nor a user nobody stands on this machine")


def _as_nobody(*, dies_with_parent: bool = False) -> list[str]:
    words = ["setpriv"]
    if os.geteuid() == 0:
        user = _unprivileged()
        words += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    if dies_with_parent:  # a test run that is killed leaves no server behind
        words += ["--pdeathsig", "INT"]
    return [*words, "--"] if len(words) > 1 else []


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while not server.answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
