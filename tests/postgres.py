"""A real PostgreSQL for the tests: Debian's, in a folder of its own, on a free port, gone with the test run.

A fresh database costs a tenth of a second of processors, and many times that where the disk is slow. So the server
stands in memory, and databases that a test leaves whole are emptied and lent again.
"""

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
MEMORY = Path("/dev/shm")
#: What a server in memory may come to need, in bytes.
MEMORY_MIN = 2 << 30
#: How often a database is lent: rows that were deleted stay in its files.
LOANS_MAX = 20
#: How long connections that were closed may take to be gone.
CLOSING_SECONDS_MAX = 1.0
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
    "max_wal_size": "128MB",
    "log_min_messages": "fatal",
}
_TABLES = "SELECT array_agg(tablename ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'"
_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
#: Without triggers, so in any order. What the migrations noted stays.
_EMPTY = """
    DO $$ DECLARE name text; BEGIN
        SET LOCAL session_replication_role = replica;
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'schema_%' LOOP
            EXECUTE format('DELETE FROM %I', name);
        END LOOP;
        PERFORM setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false) FROM pg_sequences;
    END $$
"""


class Server:
    """A running PostgreSQL. `create` gives fresh databases, `lent` such as are empty, fresh or not."""

    def __init__(self, port: int, password: str) -> None:
        self.port = port
        self._password = password
        self._numbers = itertools.count(1)
        self._spare: list[tuple[str, int]] = []
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

    @contextmanager
    def lent(self, template: str) -> Iterator[str]:
        """Give the name of a database with the tables of `template`, always the same one, and no row.

        On leaving it is emptied, to be lent again, unless somebody still has it open, and could write to it later, or
        made tables of their own in it.
        """
        name, loans = self._spare.pop() if self._spare else (self.create(template), 0)
        tables = self._tables(name)
        yield name
        if loans + 1 < LOANS_MAX and self._tables(name) == tables and self._emptied(name):
            self._spare.append((name, loans + 1))
        else:
            self.drop(name)

    def _tables(self, name: str) -> object:
        with psycopg.connect(self._conninfo(name), autocommit=True) as connection:
            return connection.execute(_TABLES).fetchone()

    def _emptied(self, name: str) -> bool:
        deadline = time.monotonic() + CLOSING_SECONDS_MAX
        with psycopg.connect(self._conninfo(name), autocommit=True) as connection:
            while connection.execute(_OTHERS).fetchone() != (0,):
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.01)
            connection.execute(_EMPTY)
        return True

    def execute(self, statement: str) -> None:
        """Run one statement outside any transaction, in the server's own database."""
        with psycopg.connect(self._conninfo(), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]

    def _conninfo(self, name: str = "postgres") -> str:
        return f"host=127.0.0.1 port={self.port} user={USER} password={self._password} dbname={name}"

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        try:
            psycopg.connect(self._conninfo(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def running() -> Iterator[Server]:
    """Start a PostgreSQL and stop it on leaving. It refuses to be root, so as root it runs as an unprivileged user."""
    postgres, initdb = need("postgres"), need("initdb")
    folder = Path(tempfile.mkdtemp(prefix="mellanrum-postgres-", dir=_roomy_memory()))
    server = Server(free_port(), secrets.token_hex(12))
    log = folder / "log"
    try:
        _initialise(folder, initdb, server)
        options = OPTIONS | {"port": str(server.port)}
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


def _roomy_memory() -> Path | None:
    """Return a folder in memory with room enough, or None for the usual place of what is temporary."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_MIN else None


def _initialise(folder: Path, initdb: Path, server: Server) -> None:
    secret = folder / "password"
    secret.write_text(server._password)
    secret.chmod(0o600)
    if os.geteuid() == 0:
        user = _unprivileged()
        for path in (folder, secret):
            os.chown(path, user.pw_uid, user.pw_gid)
    command = [str(initdb), "-D", str(folder / "data"), "-U", USER, "-A", "md5", "--pwfile", str(secret)]
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
