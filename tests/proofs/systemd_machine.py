"""A machine of its own on which systemd is at work as it is anywhere, and Mellanrum its service.

systemd-nspawn boots Debian's systemd over this machine's /usr, everything else empty, with a network of its own: the
unit's ports are free there. What stands under /home, /root and /tmp is hidden from the service, as its unit asks
for, so the checkout stands under /opt.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certificates import issue
from tests.proxies import replaced
from tests.tools import ROOT, end, need

SHIPPED = ROOT / "deploy" / "systemd"
USER_ID = 971
CHECKOUT = "/opt/checkout"
PROGRAM, AS_SERVICE = "/opt/bin/mellanrum", "/opt/bin/mellanrum-as-service"
ROOT_KEY = "/etc/mellanrum/root.key"
_BOOT_SECONDS_MAX, _COMMAND_SECONDS_MAX = 60, 180
#: nspawn keeps what it shares with the machine under /run, which must not be on a disk: it has one of its own.
_RUN = 'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/nspawn && exec "$@"'
_PROGRAM = f'#!/bin/sh\nexec env PYTHONPATH={CHECKOUT} {CHECKOUT}/.venv/bin/python -P -m server.cli.main "$@"\n'
_TARGET = "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n"
#: There is no network to wait for, and port 22 is ours.
_MASKED = ("systemd-networkd-wait-online.service", "ssh.socket", "ssh.service")
_SETTINGS = """
[key]
source = "systemd"
[http]
port = 443
tls_certificate_file = "/etc/mellanrum/fullchain.pem"
tls_key_file = "/etc/mellanrum/privkey.pem"
[sftp]
port = 22
"""


@dataclass(frozen=True)
class Machine:
    """A machine that has booted. `leader` is its first process, `home` what stands in its /srv/mellanrum."""

    leader: int
    home: Path
    configuration: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command there as root, and return what it said."""
        return subprocess.run(self.entered(command), capture_output=True, text=True, timeout=_COMMAND_SECONDS_MAX)

    def entered(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs a command there."""
        environ = ["--ignore-environment", "--chdir=/srv/mellanrum", "PATH=/opt/bin:/usr/bin:/usr/sbin", "LANG=C.UTF-8"]
        return ["nsenter", "--target", str(self.leader), "--all", "env", *environ, *command]

    def say(self, *command: str) -> str:
        """Run a command there that must succeed."""
        done = self.run(*command)
        assert done.returncode == 0, (command, done.stdout, done.stderr, self.journal())
        return done.stdout

    def show(self, name: str) -> str:
        """Return a property of the service's."""
        return self.say("systemctl", "show", "--value", "--property", name, "mellanrum").strip()

    def journal(self) -> str:
        """Return what the service has said."""
        return self.run("journalctl", "--no-pager", "--unit", "mellanrum", "--output", "cat").stdout


@contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """Boot a machine with the shipped unit and an installation, its root key where only root can read it."""
    nspawn = need("systemd-nspawn")
    if os.geteuid() != 0:
        pytest.skip("only root boots machines")
    bound = _laid_out(folder)
    bind = [f"--bind={source}:{place}" for place, source in bound.items()]
    machine = [str(nspawn), "--directory=/", "--volatile=yes", "--private-network", "--register=no", "--keep-unit"]
    boot = ["--machine=mellanrum-proof", "--console=pipe", "--boot", *bind, "--", "systemd.unit=proof.target"]
    with (
        (folder / "console").open("wb") as console,
        subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _RUN, "sh", *machine, *boot],
            env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        ) as process,
    ):
        try:
            made = Machine(_leader(process, folder), bound["/srv/mellanrum"], bound["/etc/mellanrum"])
            _wait_until_up(made)
            yield made
        finally:
            end(process)


def _laid_out(folder: Path) -> dict[str, Path]:
    """Write what the machine finds, and return it by its place there."""
    home, configuration, programs, units, users = (folder / name for name in ("srv", "etc", "bin", "units", "users"))
    for each in (home, configuration, programs, units, users):
        each.mkdir(parents=True)
    os.chown(home, USER_ID, USER_ID)
    (users / "mellanrum.conf").write_text(f"u mellanrum {USER_ID} - /srv/mellanrum\n")
    (units / "proof.target").write_text(_TARGET)
    for masked in _MASKED:
        (units / masked).symlink_to("/dev/null")
    program = {"/usr/local/bin/mellanrum": PROGRAM}
    unit = replaced((SHIPPED / "mellanrum.service").read_text(), program | {"#LoadCredential": "LoadCredential"})
    (units / "mellanrum.service").write_text(unit)
    (programs / "mellanrum").write_text(_PROGRAM)
    (programs / "mellanrum-as-service").write_text(replaced((SHIPPED / "mellanrum-as-service").read_text(), program))
    for each in programs.iterdir():
        each.chmod(0o755)
    os.chown(issue(configuration).key, USER_ID, USER_ID)
    return {
        CHECKOUT: ROOT,
        "/srv/mellanrum": home,
        "/etc/mellanrum": configuration,
        "/opt/bin": programs,
        "/etc/systemd/system": units,
        "/etc/sysusers.d": users,
    }


def _leader(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Return the number of the machine's first process. Skip where this kernel lets nobody boot one."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until = time.monotonic() + _BOOT_SECONDS_MAX
    while process.poll() is None and time.monotonic() < until:
        for child in children.read_text().split():
            if b"systemd\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        time.sleep(0.1)
    pytest.skip(f"no machine boots here: {(folder / 'console').read_text(errors='replace')[-500:]}")


def _wait_until_up(machine: Machine) -> None:
    until = time.monotonic() + _BOOT_SECONDS_MAX
    while machine.run("systemctl", "is-active", "proof.target").stdout.strip() != "active":
        assert time.monotonic() < until, machine.run("systemctl", "list-jobs").stdout
        time.sleep(0.2)


def initialise(machine: Machine) -> str:
    """Make an installation as the unit tells one to, with the root key away from it. Return its device password."""
    become = ["setpriv", f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups"]
    data = "/srv/mellanrum/data"
    said = machine.say(*become, PROGRAM, "--data", data, "init", "--supplier", "Lindqvist", "--admin", "helena")
    machine.say("mv", f"{data}.key", ROOT_KEY)
    machine.say("chown", "root:root", ROOT_KEY)
    (machine.home / "data.toml").write_text(_SETTINGS)
    return next(word for word in said.split() if word.startswith("mrd_"))
