"""The unit, and the command beside it, under a systemd that is at work."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.certificates import issue
from tests.proofs.systemd_machine import AS_SERVICE, PROGRAM, ROOT_KEY, Machine, booted, initialise

pytestmark = pytest.mark.proof
_SECONDS_MAX = 60
_ADDRESS = "https://localhost/dav/"
_DOCUMENT = f"{_ADDRESS}Blabar%20%E2%80%93%20Papers/drawing.bin"
_CURL = ("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}")
_CURL += ("--cacert", "/etc/mellanrum/authority.pem")
_DATA = ("--data", "/srv/mellanrum/data")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with booted(tmp_path_factory.mktemp("machine")) as made:
        yield made


@pytest.fixture(scope="module")
def password(machine: Machine) -> str:
    """The device password of an installation that serves."""
    made = initialise(machine)
    machine.say("systemctl", "start", "mellanrum")
    return made


def _asked(machine: Machine, *more: str) -> str:
    """Return the status that a request over TLS meets with, on the port below 1024."""
    return machine.say(*_CURL, *more)


def _wait(met: Callable[[], bool], machine: Machine) -> None:
    until = time.monotonic() + _SECONDS_MAX
    while not met():
        assert time.monotonic() < until, machine.journal()
        time.sleep(0.2)


def test_it_has_started_once_it_serves(machine: Machine, password: str) -> None:
    """The root key is read by nobody but systemd, which hands it over; ports below 1024 need no root either."""
    assert _asked(machine, _ADDRESS) == "401"
    assert (
        _asked(machine, "--user", f"helena:{password}", "--request", "PROPFIND", "--header", "Depth: 0", _ADDRESS)
        == "207"
    )
    main = machine.show("MainPID")
    assert machine.say("ps", "-o", "user=", "-p", main).strip() == "mellanrum"
    scan = machine.say("ssh-keyscan", "-p", "22", "-t", "ed25519", "127.0.0.1")
    assert "ssh-ed25519" in scan


def test_a_reload_takes_a_renewed_certificate_and_ends_nothing(machine: Machine, password: str) -> None:
    main, before = machine.show("MainPID"), _certificate(machine)
    os.chown(issue(machine.configuration).key, machine.home.stat().st_uid, machine.home.stat().st_gid)
    machine.say("systemctl", "reload", "mellanrum")
    _wait(lambda: _certificate(machine) != before, machine)
    assert machine.show("MainPID") == main
    assert _asked(machine, _ADDRESS) == "401"


def _certificate(machine: Machine) -> str:
    shown = machine.say("curl", "--silent", "--insecure", "--output", "/dev/null", "--write-out", "%{certs}", _ADDRESS)
    assert ssl.PEM_HEADER in shown
    return shown


def test_commands_run_as_the_service(machine: Machine, password: str) -> None:
    """Elsewhere nobody has the root key, and the error says where to run it."""
    alone = machine.run("setpriv", "--reuid=mellanrum", "--clear-groups", PROGRAM, *_DATA, "person", "list")
    assert alone.returncode == 30 and "mellanrum-as-service" in alone.stderr
    fit = machine.run("setpriv", "--reuid=mellanrum", "--clear-groups", PROGRAM, *_DATA, "doctor")
    assert fit.stdout.count(" BAD") == 1 and "1 named above" in fit.stderr, fit.stdout
    assert "helena" in machine.say(AS_SERVICE, "person", "list")
    assert machine.run(AS_SERVICE, "person", "list", "--nonsense").returncode == 64
    machine.say(AS_SERVICE, "key", "kit", "kit.txt")
    assert (machine.home / "kit.txt").stat().st_mode & 0o777 == 0o600
    assert machine.say("cat", ROOT_KEY).strip() not in machine.journal()


def test_a_worker_that_dies_is_replaced_and_the_service_stays(machine: Machine, password: str) -> None:
    main = machine.show("MainPID")
    workers = machine.say("pgrep", "--parent", main).split()
    machine.say("kill", f"-{signal.SIGKILL}", workers[0])
    _wait(
        lambda: len(set(machine.run("pgrep", "--parent", main).stdout.split()) - {workers[0]}) == len(workers), machine
    )
    assert machine.show("MainPID") == main and machine.show("NRestarts") == "0"


def test_a_service_that_dies_is_started_again(machine: Machine, password: str) -> None:
    main = machine.show("MainPID")
    machine.say("kill", f"-{signal.SIGKILL}", main)
    _wait(lambda: machine.show("NRestarts") == "1" and machine.show("ActiveState") == "active", machine)
    assert machine.show("MainPID") != main
    assert _asked(machine, _ADDRESS) == "401"


def test_an_upload_under_way_is_let_finish_at_a_restart(machine: Machine, password: str) -> None:
    (machine.home / "drawing.bin").write_bytes(os.urandom(6_000_000))
    machine.say(AS_SERVICE, "org", "add", "Blabar")
    machine.say(AS_SERVICE, "space", "create", "Papers", "--customer", "Blabar")
    machine.say(AS_SERVICE, "grant", "add", "Papers", "editor", "--person", "helena")
    slow = ["--user", f"helena:{password}", "--limit-rate", "1M", "--upload-file", "drawing.bin"]
    with _beside(machine, *slow, _DOCUMENT) as upload:
        time.sleep(2)
        machine.say("systemctl", "restart", "mellanrum")
        assert upload.communicate(timeout=_SECONDS_MAX)[0] == b"201"
    assert _asked(machine, "--user", f"helena:{password}", _DOCUMENT) == "200"


def _beside(machine: Machine, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(machine.entered([*_CURL, *more]), stdout=subprocess.PIPE)


def test_it_ends_in_peace_and_leaves_no_process(machine: Machine, password: str) -> None:
    machine.say("systemctl", "stop", "mellanrum")
    assert machine.show("Result") == "success"
    assert machine.run("pgrep", "--uid", "mellanrum").stdout == ""
