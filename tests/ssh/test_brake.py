"""A program that encrypts all it reaches, over each door: stopped soon after its limit, while others go on."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import paramiko
import pytest

from config.database import Database
from providers.brake import BATCH, YOUNG_US
from providers.paths import parse
from tests.cli.shop import process
from tests.serving import space_path
from tests.ssh.doors import Door, serving_sftp
from tests.worlds import fetch, store

pytestmark = pytest.mark.proof

LIMIT = 15
WORKERS = 2
#: Each worker may have a batch that it has not told the others of, and each client one request under way.
DONE_MAX = LIMIT + WORKERS * BATCH + 4
DOCUMENTS = DONE_MAX + 5
FOLDERS = 2
_numbers = itertools.count()


@pytest.fixture(scope="module")
def clock() -> Iterator[None]:
    """In this process, which stores the documents, it is some minutes earlier than in the server."""
    real = Database.now_us
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "now_us", lambda self, connection: real(self, connection) - 3 * YOUNG_US)
        yield


@pytest.fixture(scope="module")
def door(clock: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    settings = {"brake.documents_min": LIMIT, "http.workers": WORKERS, "sftp.workers": WORKERS}
    with serving_sftp(tmp_path_factory.mktemp("brake"), **settings) as found:
        drive = found.world.drive("anna")
        for folder in range(FOLDERS):
            drive.make_folder(parse(f"{space_path('anna')}/{folder}"))
            for path in documents(folder):
                store(drive, space_path("anna") + path, path.encode())
        yield found


def documents(folder: int) -> list[str]:
    """Return the paths of a folder's documents, within the space."""
    return [f"/{folder}/{number}.txt" for number in range(DOCUMENTS)]


@pytest.fixture
def paths(door: Door) -> list[str]:
    """The documents of a folder of this test's own. All were stored before any server wrote to the space."""
    return documents(next(_numbers))


def harmed(door: Door, paths: list[str]) -> int:
    drive = door.world.drive("anna")
    return sum(drive.stat(parse(space_path("anna") + path)).version > 1 for path in paths)


@pytest.mark.timeout(300)
def test_over_webdav_by_several_connections_to_two_workers(door: Door, paths: list[str]) -> None:
    statuses: list[int] = []
    todo = iter(paths)
    guard = threading.Lock()

    def encrypt() -> None:
        dav = door.server.dav("olle")
        while True:
            with guard:
                path = next(todo, None)
            if path is None:
                return
            reply = dav.put(space_path("olle") + path, b"encrypted")
            statuses.append(reply.status)
            if reply.status != 204:
                last.append(reply)
                return

    last: list[Any] = []
    threads = [threading.Thread(target=encrypt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert LIMIT < statuses.count(204) == harmed(door, paths) <= DONE_MAX
    assert [reply.status for reply in last] == [403] * 4
    text = last[0].body.decode()
    assert "paused" in text and "every version from before" in text and "WWW-Authenticate" not in last[0].headers
    # Reading, listing, signing in anew and LOCK are refused alike, on each worker.
    for method in ("GET", "PROPFIND", "LOCK", "DELETE", "PUT"):
        for _ in range(4):
            assert door.server.dav("olle").request(method, space_path("olle") + paths[0]).status == 403
    # Others go on.
    assert door.server.dav("anna").put(space_path("anna") + paths[-1], b"goes on").status == 204
    told = door.world.kinds("Sandbox")
    assert told.count("device_paused") == 1


def connected(door: Door, login: str) -> tuple[paramiko.Transport, Any]:
    transport = paramiko.Transport((door.host, door.port))
    transport.connect(username=login, password=door.password(login))
    return transport, paramiko.SFTPClient.from_transport(transport)


@pytest.mark.timeout(300)
def test_over_sftp_open_sessions_notice_too_and_what_was_half_done_is_kept(door: Door, paths: list[str]) -> None:
    _, password = door.world.installation.directory.add_device(door.world.people["olle"].id, "desktop")
    door.world.passwords["olle"] = password
    home = space_path("olle")
    transports = [connected(door, "olle") for _ in range(3)]
    upload = transports[0][1].open(f"{home}/half.bin", "wb")
    upload.write(b"half of it")
    upload.stat()
    done, refusal = 0, None
    try:
        for number, path in enumerate(paths):
            with transports[number % 3][1].open(home + path, "wb") as file:
                file.write(b"encrypted")
            done += 1
    except (OSError, EOFError, paramiko.SSHException) as error:
        refusal = error
    assert LIMIT <= done <= DONE_MAX and LIMIT < harmed(door, paths) <= DONE_MAX
    assert isinstance(refusal, PermissionError) and "paused" in str(refusal)
    for _, sftp in transports:
        with pytest.raises((OSError, EOFError, paramiko.SSHException)):
            sftp.listdir(home)
        with pytest.raises((OSError, EOFError, paramiko.SSHException)):
            sftp.open(home + paths[0], "rb").read()
    with pytest.raises(paramiko.AuthenticationException):
        connected(door, "olle")
    for transport, _ in transports:
        transport.close()
    assert door.world.installation.alerts.all(resumed=False)[-1].is_device
    _put_back_beside_the_server(door)
    _resume_beside_the_server(door)
    again = connected(door, "olle")
    with again[0], again[1].open(f"{home}/half.bin", "rb") as file:
        assert file.read() == b"half of it"
    with again[0]:
        pass


def _put_back_beside_the_server(door: Door) -> None:
    """Every byte stands as it was the moment before, under its own id; the dry run said so and changed nothing."""
    data, drive = door.world.installation.folder, door.world.drive("anna")
    newest = process("--data", data, "alert", "list", "--json").json[-1]["id"]
    stood = {path: drive.stat(parse(space_path("anna") + path)).version for path in documents(FOLDERS - 1)}
    dry = process("--data", data, "alert", "put-back", newest, "--dry-run", "--json")
    assert dry.code == 0 and dry.json[0]["space"] == "Kund AB/Sandbox" and not dry.json[0]["changed"], dry.err
    assert stood == {path: drive.stat(parse(space_path("anna") + path)).version for path in stood}
    done = process("--data", data, "alert", "put-back", newest, "--json", "--yes")
    assert done.code == 0 and done.json[0]["changed"] and done.json[0]["counts"] == dry.json[0]["counts"], done.err
    for path, version in stood.items():
        assert fetch(drive, space_path("anna") + path) == path.encode()
        assert drive.stat(parse(space_path("anna") + path)).version == version + (version > 1)
    assert process("--data", data, "alert", "show", newest, "--json").json["spaces"][0]["put_back"]


def _resume_beside_the_server(door: Door) -> None:
    data = door.world.installation.folder
    listed = process("--data", data, "alert", "list", "--json").json
    assert listed and all(alert["login"] == "olle" and alert["state"] == "open" for alert in listed)
    shown = process("--data", data, "alert", "show", listed[-1]["id"])
    assert shown.code == 0 and "Kund AB/Sandbox" in shown.out and "desktop" in shown.out
    resumed = process("--data", data, "alert", "resume", listed[-1]["id"], "--json", "--yes")
    assert resumed.code == 0 and resumed.json["resumed"]
    everyone = process("--data", data, "alert", "list", "--all", "--json").json
    assert [alert["state"] == "open" for alert in everyone][-1] is False and len(everyone) == len(listed)
    wrong = process("--data", data, "alert", "show", "0" * 32)
    assert wrong.code == 23 and "no alert" in wrong.err
