"""`make bench`, the rows of SFTP: Mellanrum beside OpenSSH's sshd and `rclone serve sftp`, with OpenSSH's own client.

    python -P tests/bench/sftp.py [--quick] [--rounds N] [--only ROW ...]

Rounds are interleaved; the table has medians as ratios to sshd: how fast (higher is better), and the processor time of
the server's processes (lower is better), which a busy machine distorts less. Mellanrum seals, versions and audits
meanwhile, the others write files.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import asyncssh

from tests.bench.servers import IN_MEMORY, cpu_seconds, ready_memory
from tests.ports import free_port
from tests.ssh.doors import serving_sftp
from tests.tools import find

CIPHER = "aes128-gcm@openssh.com"
SMALL_BYTES = 10 << 10
#: Against sshd: the first bars of the design, get or put, with the faster connection.
BARS = {
    "get": 1.2, "put": 0.8, "get 32 KiB": 1.2, "put 32 KiB": 0.8, "ls -l": 2.0, "get small": 1.0, "put small": 0.7,
}  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """How much of each."""

    large_bytes: int
    small: int
    listed: int
    rounds: int


FULL, QUICK = Sizes(1 << 30, 1000, 10_000, 3), Sizes(96 << 20, 200, 2000, 2)


@dataclass(frozen=True)
class Server:
    """One that answers. `root` is where what is written goes; `pid`, the process above all of its own."""

    name: str
    port: int
    user: str
    root: str
    pid: int
    key: Path

    def options(self) -> list[str]:
        told = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        told += ["-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-i", str(self.key), "-c", CIPHER]
        return [*told, "-P", str(self.port)]

    def batch(self, *lines: str, buffer: int = 0) -> None:
        """Run OpenSSH's sftp; fail if any line does."""
        command = ["sftp", *self.options(), *(["-B", str(buffer)] if buffer else []), "-b", "-"]
        text = "\n".join(lines) + "\n"
        ran = subprocess.run(
            [*command, f"{self.user}@127.0.0.1"], input=text, text=True, capture_output=True, timeout=900
        )
        if ran.returncode:
            raise RuntimeError(f"{self.name}: {ran.stderr[-500:]}")


@contextmanager
def sshd(folder: Path, key: Path) -> Iterator[Server]:
    """OpenSSH's server, on a port and with a configuration of its own."""
    folder.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)
    host_key, port = folder / "host", free_port()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key)], check=True)
    shutil.copy(f"{key}.pub", folder / "authorized")
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {folder}/authorized\n"
        "PermitRootLogin yes\nStrictModes no\nUsePAM no\nSubsystem sftp internal-sftp\nPidFile none\n"
    )
    yield from _run("sshd", [str(find("sshd")), "-D", "-f", str(config)], port, "root", str(folder), key)


@contextmanager
def rclone(folder: Path, key: Path) -> Iterator[Server]:
    """`rclone serve sftp`."""
    folder.mkdir()
    port = free_port()
    command = ["rclone", "serve", "sftp", str(folder), "--addr", f"127.0.0.1:{port}", "--user", "bench"]
    command += ["--authorized-keys", f"{key}.pub", "--vfs-cache-mode", "off", "--config", "/dev/null"]
    yield from _run("rclone", command, port, "bench", "/", key)


def _run(name: str, command: list[str], port: int, user: str, root: str, key: Path) -> Iterator[Server]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = Server(name, port, user, root, process.pid, key)
    try:
        for _ in range(50):
            time.sleep(0.2)
            try:
                server.batch("pwd")
                break
            except RuntimeError:
                continue
        yield server
    finally:
        process.terminate()
        process.wait()


@contextmanager
def mellanrum(folder: Path, key: Path, connection: str) -> Iterator[Server]:
    """Ours."""
    folder.mkdir()
    with serving_sftp(folder, **{"sftp.connection": connection}) as door:
        door.admit("anna", asyncssh.read_public_key(f"{key}.pub").public_data)
        name = "Mellanrum" if connection == "auto" else "Mellanrum, stock"
        yield Server(name, door.port, "anna", "/Kund AB – Sandbox", door.server.process.pid, key)


# --- the rows


Row = Callable[[Server, Sizes, Path, int], None]


def _large(direction: str, buffer: int) -> Row:
    def row(server: Server, sizes: Sizes, local: Path, number: int) -> None:
        if direction == "put":
            server.batch(f'put {local}/new "{server.root}/large-{buffer}-{number}"', buffer=buffer)
        else:
            server.batch(f'get "{server.root}/kept" {local}/back', buffer=buffer)

    return row


def _listing(server: Server, sizes: Sizes, local: Path, number: int) -> None:
    server.batch(f'ls -l "{server.root}/listed"')


def _put_small(server: Server, sizes: Sizes, local: Path, number: int) -> None:
    server.batch(f'mkdir "{server.root}/small-{number}"', f'put {local}/small/* "{server.root}/small-{number}"')


def _get_small(server: Server, sizes: Sizes, local: Path, number: int) -> None:
    (local / "gotten").mkdir(exist_ok=True)
    server.batch(f'get "{server.root}/small-0"/* {local}/gotten')


ROWS: dict[str, Row] = {
    "get": _large("get", 0),
    "put": _large("put", 0),
    "get 32 KiB": _large("get", 32768),
    "put 32 KiB": _large("put", 32768),
    "ls -l": _listing,
    "get small": _get_small,
    "put small": _put_small,
}


def _fresh(row: str, sizes: Sizes, local: Path) -> None:
    """Make what a row puts of bytes no server has seen: what a vault holds already it need not seal again."""
    (local / "new").write_bytes(os.urandom(sizes.large_bytes) if row in ("put", "put 32 KiB") else b"")
    if row == "put small":
        for number in range(sizes.small):
            (local / "small" / f"{number:04}.bin").write_bytes(os.urandom(SMALL_BYTES))


def _written(row: str, sizes: Sizes) -> int:
    """Return how many bytes of files a row writes, at the server or at the client."""
    if row == "ls -l":
        return 0
    return sizes.small * SMALL_BYTES if row.endswith("small") else sizes.large_bytes


def prepare(server: Server, sizes: Sizes, local: Path) -> None:
    """Put there what is read and listed."""
    server.batch(f'put {local}/large "{server.root}/kept"')
    _put_small(server, sizes, local, 0)
    listed = [f'put {local}/one "{server.root}/listed/Dokument {number:05}.txt"' for number in range(sizes.listed)]
    server.batch(f'mkdir "{server.root}/listed"', *listed)


async def _stats(server: Server, until: asyncio.Event) -> list[float]:
    options: dict[str, Any] = {
        "known_hosts": None,
        "config": None,
        "agent_path": None,
        "client_keys": [str(server.key)],
    }
    taken = []
    async with asyncssh.connect("127.0.0.1", server.port, username=server.user, **options) as connection:
        async with connection.start_sftp_client() as sftp:
            while not until.is_set():
                started = time.perf_counter()
                await sftp.stat(f"{server.root}/kept")
                taken.append(time.perf_counter() - started)
                await asyncio.sleep(0.01)
    return taken


def second_user(server: Server, local: Path) -> float:
    """Return the 99th percentile of a second connection's `stat` while a large document is read, in milliseconds."""

    async def both() -> list[float]:
        over = asyncio.Event()
        loop = asyncio.get_running_loop()
        asking = asyncio.create_task(_stats(server, over))
        await asyncio.sleep(1)
        await loop.run_in_executor(None, lambda: server.batch(f'get "{server.root}/kept" {local}/back'))
        over.set()
        return await asking

    taken = sorted(asyncio.run(both()))
    return taken[int(len(taken) * 0.99)] * 1000


# --- all of it


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", nargs="*", choices=list(ROWS), default=list(ROWS))
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    if options.rounds:
        sizes = replace(sizes, rounds=options.rounds)
    folder, local = (Path(tempfile.mkdtemp(prefix="mellanrum-bench-sftp-", dir=where)) for where in (None, IN_MEMORY))
    try:
        _measure(folder, local, sizes, options.only)
    finally:
        for each in (folder, local):
            shutil.rmtree(each, ignore_errors=True)


def _measure(folder: Path, local: Path, sizes: Sizes, rows: list[str]) -> None:
    """The servers keep what they have in `folder`, on a disk; `local` is the client's, in memory, so that not its disk
    is measured."""
    key = folder / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (local / "small").mkdir(parents=True)
    (local / "large").write_bytes(os.urandom(sizes.large_bytes))
    (local / "one").write_bytes(b"1")
    _fresh("put small", sizes, local)
    with ExitStack() as stack:
        started = (
            sshd(folder / "sshd", key),
            rclone(folder / "rclone", key),
            mellanrum(folder / "stock", key, "stock"),
            mellanrum(folder / "fast", key, "auto"),
        )
        running = [stack.enter_context(each) for each in started]
        for server in running:
            prepare(server, sizes, local)
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for number in range(1, sizes.rounds + 1):
            for row in rows:
                _fresh(row, sizes, local)
                for server in random.sample(running, len(running)):
                    ready_memory(_written(row, sizes))  # what the client gets, it writes into memory too
                    cpu, began = cpu_seconds(server.pid), time.perf_counter()
                    ROWS[row](server, sizes, local, number)
                    seconds = time.perf_counter() - began
                    found.setdefault((row, server.name), []).append((seconds, cpu_seconds(server.pid) - cpu))
                    print(f"{row}, {server.name}: {seconds:.2f} s", file=sys.stderr, flush=True)
        print(_table(rows, running, found))
        p99 = {server.name: second_user(server, local) for server in running}
        print("| second user's p99, ms | " + " | ".join(f"{p99[server.name]:.1f}" for server in running) + " |")


def _table(rows: list[str], running: list[Server], found: dict[tuple[str, str], list[tuple[float, float]]]) -> str:
    def median(row: str, name: str, which: int) -> float:
        return statistics.median(each[which] for each in found[row, name])

    names = [server.name for server in running]
    lines = ["| to sshd: speed / processor | " + " | ".join(names) + " | first bar |", "|---" * (len(names) + 2) + "|"]
    for row in rows:
        cells = []
        for name in names:
            speed = median(row, "sshd", 0) / median(row, name, 0)
            cpu = median(row, name, 1) / max(0.01, median(row, "sshd", 1))
            own = f"{median(row, name, 0):.2f} s" if name == "sshd" else f"{speed:.2f}"
            cells.append(f"{own} / {median(row, name, 1):.2f} s" if name == "sshd" else f"{own} / {cpu:.2f}")
        lines.append(f"| {row} | " + " | ".join(cells) + f" | {BARS[row]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
