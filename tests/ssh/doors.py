"""A server of SFTP with people who sign in in every way, and the clients that knock."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pyotp
import pytest

from server.ssh.hostkeys import HostKeys
from tests.serving import Served, populate, start
from tests.ssh.meeting import QUICK
from tests.tools import need
from tests.worlds import World

PASSWORD = "en riktigt lång ramsa"
SPACE = "/Sandbox"


@dataclass
class Door:
    """A server that runs, and what is needed to sign in."""

    server: Served
    folder: Path
    keys: dict[str, asyncssh.SSHKey] = field(default_factory=dict)

    @property
    def world(self) -> World:
        return self.server.world

    @property
    def host(self) -> str:
        return self.server.sftp_url.removeprefix("sftp://").rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.server.sftp_url.rpartition(":")[2])

    def password(self, login: str) -> str:
        return self.world.passwords[login]

    def key(self, login: str, algorithm: str = "ssh-ed25519", **bounds: Any) -> asyncssh.SSHKey:
        """Make a key, and let a person sign in by it."""
        made = asyncssh.generate_private_key(algorithm)
        self.admit(login, made.public_data, **bounds)
        return made

    def admit(self, login: str, blob: bytes, **bounds: Any) -> bytes:
        person = self.world.people[login]
        return self.world.installation.directory.add_key(person.id, "a key", blob, **bounds).id

    def unused_code(self) -> str:
        """Enrol `anna` anew, and return the code of now: none of hers was shown before, whichever tests came first."""
        return pyotp.TOTP(self.world.installation.directory.enrol_totp(self.world.people["anna"].id)).now()

    def workers(self) -> list[int]:
        """Return the process ids of the workers of SFTP."""
        return [
            pid for pid in self.server.workers() if b"server.ssh.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]

    def memory_bytes(self) -> int:
        """Return the private bytes of all workers of SFTP."""
        total = 0
        for pid in self.workers():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Clean", "Private_Dirty")):
                    total += int(line.split()[1]) * 1024
        return total

    # --- asyncssh as a client

    def connect(self, login: str, **options: Any) -> Any:
        """Return a connection to enter: `async with door.connect("vera", password=…)`."""
        standard: dict[str, Any] = {
            "known_hosts": None, "config": None, "agent_path": None, "client_keys": None, "username": login,
            "gss_host": None, "preferred_auth": "publickey,keyboard-interactive,password", "port": self.port,
            "encryption_algs": QUICK,
        }  # fmt: skip
        return asyncssh.connect(self.host, **(standard | options))

    def may(self, login: str, **options: Any) -> bool:
        """Return whether signing in works."""

        async def knock() -> bool:
            try:
                async with self.connect(login, **options) as connection:
                    ran = await asyncio.wait_for(connection.run("md5sum", stdin=asyncssh.DEVNULL), 30)
                    return bool(ran.exit_status == 0)
            except (asyncssh.Error, OSError, TimeoutError):
                return False

        return asyncio.run(knock())

    # --- OpenSSH

    def known_hosts(self) -> Path:
        """Return a file with the host keys, as OpenSSH wants it."""
        file = self.folder / "known_hosts"
        keys = HostKeys(self.world.installation.folder, self.world.installation.keyring.installation().general)
        file.write_text("".join(f"[{self.host}]:{self.port} {key.public}\n" for key in keys.all()))
        return file

    def key_file(self, key: asyncssh.SSHKey) -> Path:
        """Return a file with a private key."""
        file = self.folder / f"id-{key.get_fingerprint()[7:15].replace('/', '_')}"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_bytes(key.export_private_key("openssh"))
        return file

    def own_key(self, login: str) -> Path:
        """Return the file of a person's key, made at first use."""
        if login not in self.keys:
            self.keys[login] = self.key(login)
        return self.key_file(self.keys[login])

    def options(self, login: str | None = None, *, port: str = "-P") -> list[str]:
        """Return what OpenSSH's programs are told. With a login: its key, and nothing that asks."""
        told = ["-F", "none", "-o", f"UserKnownHostsFile={self.known_hosts()}", "-o", "GlobalKnownHostsFile=none"]
        told += ["-o", "UpdateHostKeys=no", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20"]
        if login is not None:
            told += ["-i", str(self.own_key(login)), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"]
        return [*told, port, str(self.port)]

    def run(self, *command: object, answers: Sequence[str] = (), **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program; `answers` are what it gets when it asks for passwords and codes, in turn."""
        standard: dict[str, Any] = {
            "capture_output": True, "text": True, "timeout": 100, "env": self.asking(*answers),
            "stdin": subprocess.DEVNULL,
        }  # fmt: skip
        if "input" in options:
            del standard["stdin"]
        return subprocess.run([str(each) for each in command], **(standard | options))

    def asking(self, *answers: str) -> dict[str, str]:
        """Return the environment of a program that gets these when it asks."""
        environ = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"}
        environ["LC_ALL"] = "C.UTF-8"
        if answers:
            environ |= {"SSH_ASKPASS": str(_asking(self.folder, answers)), "SSH_ASKPASS_REQUIRE": "force"}
            environ["DISPLAY"] = ":0"
        return environ

    def sftp(self, login: str, *lines: str) -> subprocess.CompletedProcess[str]:
        """Run a batch of OpenSSH's sftp."""
        batch = "\n".join(lines) + "\n"
        address = f"{login}@{self.host}"
        return self.run(need("sftp"), *self.options(login), "-b", "-", address, input=batch)

    def ssh(self, login: str, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run OpenSSH's ssh."""
        return self.run(need("ssh"), *self.options(login, port="-p"), f"{login}@{self.host}", *command, **options)


def _asking(folder: Path, answers: Sequence[str]) -> Path:
    """Return a program that gives one answer each time it is run."""
    place = Path(tempfile.mkdtemp(dir=folder))
    for number, answer in enumerate(answers):
        (place / str(number)).write_text(answer)
    program = place / "ask"
    program.write_text(
        f'#!/bin/sh\nfor n in 0 1 2 3 4; do if [ -f "{place}/$n" ]; then cat "{place}/$n"; rm "{place}/$n"; exit; fi;'
        " done\nexit 1\n"
    )
    program.chmod(0o700)
    return program


@contextmanager
def mounted(door: Door, login: str, path: str, place: Path) -> Iterator[Path]:
    """Mount a folder of the drive by sshfs at `place`, which is made; unmount whatever happens."""
    sshfs = need("sshfs")
    if not Path("/dev/fuse").exists() or os.geteuid() != 0:
        pytest.skip("there is no /dev/fuse to mount with")
    place.mkdir()
    options = _as_options(door.options(login, port="-p"))
    ran = door.run(sshfs, *options, "-o", "reconnect", f"{login}@{door.host}:{path}", place)
    assert ran.returncode == 0, ran.stderr
    try:
        yield place
    finally:
        subprocess.run([str(need("fusermount3")), "-u", str(place)], timeout=60)


def _as_options(told: list[str]) -> list[str]:
    """sshfs knows no -F, -i: it takes all as -o."""
    named = {"-i": "IdentityFile=", "-p": "port="}
    made: list[str] = []
    for name, value in zip(told[::2], told[1::2], strict=False):
        if name == "-o":
            made += ["-o", value]
        elif name in named:
            made += ["-o", f"{named[name]}{value}"]
    return made


@contextmanager
def serving_sftp(folder: Path, *, modules: Sequence[str] = (), **settings: Any) -> Iterator[Door]:
    """Serve the world of `tests.serving` over SFTP too. `modules` as in `tests.serving.start`.

    `anna` (the supplier's, so a code is demanded) has a password and a second factor; `vera` a password that is enough.
    """
    history = {name: value for name, value in settings.items() if name.startswith("history.")}
    world = World.create(folder / "data", **history)
    populate(world)
    directory = world.installation.directory
    for login in ("anna", "vera"):
        directory.set_password(world.people[login].id, PASSWORD)
    directory.enrol_totp(world.people["anna"].id)
    standard = {"sftp.enabled": True, "http.workers": 1, "sftp.workers": 2}
    server = start(folder / "data", world, modules=modules, **(standard | settings))
    try:
        yield Door(server, folder)
    finally:
        server.stop()
        world.installation.close()


def exactly(channel: Any, count: int) -> bytes:
    """Read so many bytes of an SSH channel."""
    held = b""
    while len(held) < count:
        piece = channel.recv(count - len(held))
        assert piece, "the session ended"
        held += piece
    return held
