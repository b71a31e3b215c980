"""The demo as others' scripts use it: one line of JSON once everything answers, then it serves until SIGTERM."""

from __future__ import annotations

import base64
import os
import re
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import paramiko
import pyotp
import pytest

from server.demo import show
from server.demo.plant import Access
from server.processes import ReadyInfo
from tests.cli.shop import PROGRAM, process, serving
from tests.tools import find, need

READY_SECONDS_MAX = 20


def ask(
    url: str,
    person: dict[str, Any],
    method: str,
    body: bytes | None = None,
    *,
    secret: str = "device_password",
    context: ssl.SSLContext | None = None,
) -> tuple[int, bytes]:
    """Return status and body of a request as a person."""
    token = base64.b64encode(f"{person['user']}:{person[secret]}".encode()).decode()
    request = urllib.request.Request(url, body, {"Authorization": f"Basic {token}", "Depth": "1"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as response:
            return int(response.status), response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "data"


@pytest.fixture(scope="module")
def demo(folder: Path) -> Iterator[dict[str, Any]]:
    """What the demo printed; it serves while the tests of this module run."""
    started = time.monotonic()
    with serving("demo", "--data", folder, "--http-port", "0", "--sftp-port", "0", "--workers", "2") as (told, _):
        told["seconds"] = time.monotonic() - started
        yield told


def person(demo: dict[str, Any], user: str) -> dict[str, Any]:
    return next(each for each in demo["people"] if each["user"] == user)


def test_the_line_has_the_shape_that_scripts_expect(demo: dict[str, Any], folder: Path) -> None:
    assert demo.keys() - {"seconds"} == {"http", "dav", "sftp", "data", "people"}
    assert demo["dav"] == demo["http"] + "dav/"
    assert re.fullmatch(r"sftp://127\.0\.0\.1:\d+", demo["sftp"])
    assert Path(demo["data"]) == folder
    for each in demo["people"]:
        assert each.keys() == {"user", "name", "organisation", "password", "totp_secret", "device_password", "spaces"}
        assert all(isinstance(each[key], str) and each[key] for key in ("user", "name", "organisation", "password"))
        assert each["device_password"].startswith("mrd_")
        assert all(space.keys() == {"name", "role"} for space in each["spaces"])
    assert len(demo["people"]) == 90


def test_one_edits_an_empty_sandbox_another_views_it_and_a_third_has_none(demo: dict[str, Any]) -> None:
    roles = {
        each["user"]: space["role"] for each in demo["people"] for space in each["spaces"] if space["name"] == "Sandbox"
    }
    assert roles == {"oskar": "editor", "gunnar": "viewer"}
    url = f"{demo['dav']}Sandbox/"
    status, listed = ask(url, person(demo, "oskar"), "PROPFIND")
    assert (status, listed.count(b"<D:response>")) == (207, 1)
    assert ask(f"{url}a.txt", person(demo, "oskar"), "PUT", b"hej")[0] == 201
    assert ask(f"{url}a.txt", person(demo, "gunnar"), "GET") == (200, b"hej")
    assert ask(f"{url}b.txt", person(demo, "gunnar"), "PUT", b"nej")[0] == 403
    assert ask(f"{url}a.txt", person(demo, "alba"), "GET")[0] == 404
    assert ask(f"{url}a.txt", person(demo, "oskar"), "DELETE")[0] == 204


def test_everybody_sees_the_spaces_that_are_named(demo: dict[str, Any]) -> None:
    for each in [*demo["people"][:10], demo["people"][-1]]:
        status, listed = ask(demo["dav"], each, "PROPFIND")
        assert status == 207
        for space in each["spaces"]:
            assert f"<D:href>/dav/{quote(space['name'])}/</D:href>".encode() in listed, space
        assert listed.count(b"<D:response>") == 1 + len(each["spaces"])


def test_two_buyers_know_nothing_of_each_other(demo: dict[str, Any]) -> None:
    for user, rival in (("alba", b"Watanabe"), ("kenji", b"Ferrer")):
        own = f"{demo['dav']}{quote('Projekt Norrsken')}/Bud/"
        status, listed = ask(own, person(demo, user), "PROPFIND")
        assert status == 207 and b"Bid.docx" in listed
        assert rival not in listed + ask(demo["dav"], person(demo, user), "PROPFIND")[1]
    common = f"{demo['dav']}{quote('Projekt Norrsken – gemensamt')}/"
    assert ask(common, person(demo, "alba"), "PROPFIND")[0] == 207


def test_a_member_sees_their_own_folder_alone(demo: dict[str, Any]) -> None:
    member = person(demo, "lgh07")
    status, listed = ask(f"{demo['dav']}{quote('Föreningen')}/Medlemmar/", member, "PROPFIND")
    assert (status, listed.count(b"<D:response>")) == (207, 2)
    assert quote(member["name"]).encode() in listed


def test_own_passwords_hold_where_no_code_is_demanded(demo: dict[str, Any]) -> None:
    assert ask(demo["dav"], person(demo, "lgh80"), "PROPFIND", secret="password")[0] == 207
    helena = person(demo, "helena")
    assert ask(demo["dav"], helena, "PROPFIND", secret="password")[0] == 401
    assert len(pyotp.TOTP(helena["totp_secret"]).now()) == 6


def test_it_is_ready_soon(demo: dict[str, Any]) -> None:
    crowd = os.getloadavg()[0] / (os.cpu_count() or 1)
    assert demo["seconds"] < READY_SECONDS_MAX * max(1.0, crowd)


def test_a_second_start_goes_on_with_the_first(tmp_path: Path) -> None:
    data = tmp_path / "again"
    with serving("demo", "--data", data, "--http-port", "0", "--sftp-port", "0", "--workers", "1") as (first, running):
        assert ask(f"{first['dav']}Sandbox/kept.txt", person(first, "oskar"), "PUT", b"kept")[0] == 201
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    with serving("demo", "--data", data, "--http-port", "0", "--sftp-port", "0", "--tls", "--workers", "1") as (
        second,
        _,
    ):
        assert second["dav"].startswith("https://")
        assert second["people"] == first["people"]
        context = ssl.create_default_context(cafile=str(data / "tls" / "self-signed.pem"))
        got = ask(f"{second['dav']}Sandbox/kept.txt", person(second, "gunnar"), "GET", context=context)
        assert got == (200, b"kept")
        _mount_with_davfs(printed(ReadyInfo(second["http"], second["dav"], "AB:CD"), second, data)["davfs2"])
    whole = process("--data", data, "verify", "--json")
    assert whole.json == {"whole": True, "findings": []}


def _mount_with_davfs(line: str) -> None:
    """Run the line for davfs2 as it is printed, but for the place: it says yes to a certificate of our own."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists() or find("mount.davfs") is None:
        return
    place = Path(tempfile.mkdtemp(prefix="mellanrum-davfs-"))
    command = line.replace("sudo ", "").removesuffix("/mnt") + str(place)
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    try:
        assert ran.returncode == 0 and place.is_mount(), ran.stderr
    finally:
        subprocess.run(["umount", place], capture_output=True, timeout=60)
        place.rmdir()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    ran = process("demo", "--data", tmp_path / "letters", "--http-port", "0")
    assert ran.code == 3
    assert [each.name for each in (tmp_path / "letters").iterdir()] == ["dear.txt"]


def test_people_are_told_how_to_mount(demo: dict[str, Any], folder: Path) -> None:
    people = [Access(**each, what="…") for each in demo["people"]]
    plain = "\n".join(show.as_text(ReadyInfo(demo["http"], demo["dav"], None, demo["sftp"]), folder, people))
    for each in demo["people"]:
        assert each["user"] in plain and each["device_password"] in plain
    for client in ("osascript -e", "gio mount dav://", "mount -t davfs", "rclone mount", "net use", "BasicAuthLevel"):
        assert client in plain
    secure = "\n".join(show.as_text(ReadyInfo("https://x/", "https://x/dav/", "AB:CD"), folder, people))
    assert "BasicAuthLevel" not in secure
    for part in (
        "AB:CD",
        "FileSizeLimitInBytes",
        "gio takes",
        "ca-certificates",
        "certutil -addstore",
        "davs://",
        "--no-check-certificate",
        "distrusts",
    ):
        assert part in secure


def test_a_start_that_was_cut_off_begins_anew(tmp_path: Path) -> None:
    data = tmp_path / "cut"
    with subprocess.Popen(
        [str(PROGRAM), "demo", "--data", str(data), "--http-port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as running:
        until = time.monotonic() + 60
        while not (data / "catalogue.db").exists() and time.monotonic() < until:
            time.sleep(0.05)
        running.kill()
    assert (data / "demo.begun").exists()
    with serving("demo", "--data", data, "--http-port", "0", "--sftp-port", "0", "--workers", "1") as (told, _):
        assert len(told["people"]) == 90
    assert not (data / "demo.begun").exists()


def test_the_command_for_rclone_leads_in(demo: dict[str, Any]) -> None:
    rclone = need("rclone")
    oskar = Access(**person(demo, "oskar"), what="…")
    command = dict(show.mounts(demo["dav"], oskar))["rclone"].partition("&& ")[2]
    listing = command.replace("rclone mount --vfs-cache-mode writes", f"{rclone} lsf")
    listing = listing.replace("rclone obscure", f"{rclone} obscure")
    ran = subprocess.run(["sh", "-c", listing.removesuffix("~/mellanrum")], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert "Sandbox/" in ran.stdout.splitlines()


# --- the lines for SFTP, as they are printed


@pytest.fixture
def lines(demo: dict[str, Any], folder: Path) -> dict[str, str]:
    """What the demo prints for `oskar`, by client, out of the text as it is printed."""
    return printed(ReadyInfo(demo["http"], demo["dav"], None, demo["sftp"]), demo, folder)


def printed(info: ReadyInfo, demo: dict[str, Any], folder: Path) -> dict[str, str]:
    text = "\n".join(show.as_text(info, folder, [Access(**person(demo, "oskar"), what="…")]))
    return {line[2:18].strip(): line[19:] for line in text.splitlines() if line[18:19] == " " != line[2:3]}


@pytest.fixture
def at_home(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who never was at this server, and says yes to its key."""
    (tmp_path / ".ssh").mkdir(mode=0o700)
    return {"HOME": str(tmp_path), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


def test_the_line_for_sftp_leads_in(demo: dict[str, Any], lines: dict[str, str], at_home: dict[str, str]) -> None:
    """It asks whether the key is right, and for the device password."""
    need("sftp")
    command = lines["sftp"].partition("   (")[0]
    answers = Path(at_home["HOME"]) / "answer"
    secret = person(demo, "oskar")["device_password"]
    answers.write_text(f'#!/bin/sh\ncase "$1" in *"(yes/no"*) echo yes;; *) echo {secret};; esac\n')
    answers.chmod(0o700)
    asks = at_home | {"SSH_ASKPASS": str(answers), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    # OpenSSH takes its home from the account, not from the environment.
    fresh = f"-oUserKnownHostsFile={at_home['HOME']}/.ssh/known_hosts -oIdentityFile=none"
    told = command.replace("sftp ", f"sftp {fresh} ", 1)
    ran = subprocess.run(["sh", "-c", told], input="ls\nbye\n", capture_output=True, text=True, timeout=60, env=asks)
    assert ran.returncode == 0 and "Sandbox" in ran.stdout, ran.stdout + ran.stderr


def test_the_line_for_rclone_over_sftp_leads_in(lines: dict[str, str], at_home: dict[str, str]) -> None:
    need("rclone")
    ran = subprocess.run(["sh", "-c", lines["rclone, SFTP"]], capture_output=True, text=True, timeout=60, env=at_home)
    assert ran.returncode == 0 and "Sandbox" in ran.stdout, ran.stderr


def test_the_address_for_winscp_leads_in(demo: dict[str, Any], lines: dict[str, str]) -> None:
    """Its parts are those of a session: WinSCP itself runs on Windows alone."""
    parts = urlsplit(lines["WinSCP"].partition("   (")[0])
    with paramiko.Transport((parts.hostname or "", parts.port or 0)) as transport:
        transport.connect(username=unquote(parts.username or ""), password=unquote(parts.password or ""))
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None and "Sandbox" in client.listdir(unquote(parts.path))


def test_the_line_for_sshfs_mounts_where_nobody_ever_was(lines: dict[str, str], at_home: dict[str, str]) -> None:
    """It reads the password from its input, and could ask nobody about the key of the server."""
    need("sshfs")
    if not Path("/dev/fuse").exists() or os.geteuid() != 0:
        pytest.skip("there is no /dev/fuse to mount with")
    place = Path(at_home["HOME"]) / "mellanrum"
    ran = subprocess.run(["sh", "-c", lines["sshfs"]], capture_output=True, text=True, timeout=60, env=at_home)
    assert ran.returncode == 0, ran.stderr
    try:
        assert "Sandbox" in {each.name for each in place.iterdir()}
    finally:
        subprocess.run([str(need("fusermount3")), "-u", str(place)], timeout=60)
