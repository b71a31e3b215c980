"""Uploads over SFTP broken off at every 64 KiB: the old version is current, nothing partial is seen, the draft resumes.

Each case is one client, one way to break, one kind of name and one point, in bytes that left the client, at a running
server. After each, both protocols are asked, by the one who uploaded and by another; then the upload is taken up again.
The short form has three points for OpenSSH's sftp, one for rclone; the stock connection has no more in the full one.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import paramiko
import pytest

from providers.paths import parse
from tests.seeds import is_short
from tests.serving import Dav
from tests.ssh.cutting import Break, How, Proxy, cutting, until
from tests.ssh.doors import Door, serving_sftp
from tests.tools import need

pytestmark = [pytest.mark.proof, pytest.mark.timeout(1500)]

PIECE = 64 * 1024
PIECES = 20
FEW = (1, 13, 20)
POINTS: dict[str, Sequence[int]] = {"auto": FEW if is_short() else range(PIECES + 1), "stock": FEW}
HOWS: tuple[How, ...] = ("ended", "reset", "client killed", "worker killed")
CLIENTS = ("sftp",) if is_short() else ("sftp", "scp", "scp -O")
#: How rclone is broken where it is not killed; and where: not before it has begun, nor once it compares checksums.
RCLONE_HOWS: tuple[How, ...] = ("reset",) if is_short() else ("ended", "reset", "worker killed")
RCLONE_POINTS: dict[str, Sequence[int]] = {"auto": (13,) if is_short() else range(1, PIECES), "stock": (13,)}
#: What a client has to say once all is written: the time, the close, the end. No point lies in it.
LAST_WORDS_BYTES = 900
#: What a client writes at once, as `limits@openssh.com` lets it; of a piece that broke off nothing is kept.
REQUEST_BYTES = 255 * 1024
#: What there is of other words before a point.
WORDS_BYTES_MAX = 8192
CHANCE = random.Random(64)
NEW = CHANCE.randbytes(PIECES * PIECE)
_numbers = itertools.count()


class Stage(NamedTuple):
    """Where it plays: the connection, the door, the same through a proxy, who looks on, the upload, an empty one."""

    connection: str
    door: Door
    proxy: Proxy
    through: Door
    olle: Dav
    vera: Dav
    looker: Looker
    local: Path
    empty: Path


@pytest.fixture(scope="module", params=["auto", "stock"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("cuts")
    local, empty = folder / "new.bin", folder / "empty.bin"
    local.write_bytes(NEW)
    empty.touch()
    told = {"sftp.connection": request.param, "sftp.workers": 4}
    with serving_sftp(folder, **told) as door, cutting(door, folder / "through") as (proxy, through):
        door.own_key("olle")
        door.own_key("vera")
        looks = door.server.dav("olle"), door.server.dav("vera"), Looker(door)
        yield Stage(request.param, door, proxy, through, *looks, local, empty)


def rclone(through: Door, local: Path, path: str, *more: str) -> list[object]:
    """Return the command of rclone for an upload."""
    (through.folder / "rclone.conf").touch()
    told = ["--config", through.folder / "rclone.conf", "--sftp-host", through.host, "--sftp-port", through.port]
    told += ["--sftp-user", "olle", "--sftp-key-file", through.own_key("olle"), "--retries-sleep", "1s"]
    told += ["--sftp-known-hosts-file", through.known_hosts(), *more]
    return [need("rclone"), *told, "copyto", local, f":sftp:{path}"]


def begin(stage: Stage, client: str, local: Path, path: str, *more: str) -> subprocess.Popen[str]:
    """Begin an upload through the proxy."""
    through = stage.through
    if client == "rclone":
        command, given = rclone(through, local, path, *more), ""
    elif client == "sftp":
        command = [need("sftp"), *through.options("olle"), "-b", "-", f"olle@{through.host}"]
        given = f'put {local} "{path}"\n'
    else:
        old = ["-O"] if client == "scp -O" else []
        command, given = [need("scp"), *old, *through.options("olle"), local, f"olle@{through.host}:{path}"], ""
    running = subprocess.Popen(
        [str(each) for each in command],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdin is not None
    running.stdin.write(given)
    running.stdin.close()
    return running


def ended(running: subprocess.Popen[str]) -> int:
    assert running.stderr is not None
    with running.stderr:
        running.stderr.read()
    return running.wait(60)


@pytest.fixture(scope="module")
def lengths(stage: Stage) -> dict[str, tuple[int, int]]:
    """How many bytes each client sends at least, for nothing and for the whole: when busy it has more packets."""

    def sent(client: str, local: Path) -> int:
        assert ended(begin(stage, client, local, f"/Sandbox/length-{next(_numbers)}")) == 0
        return stage.proxy.sent

    return {
        client: (min(sent(client, stage.empty) for _ in range(3)), min(sent(client, stage.local) for _ in range(3)))
        for client in (*CLIENTS, "rclone")
    }


# --- what is looked at


class Looker:
    """People who look on over SFTP, each in one session for as long as its worker lives."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._sessions: dict[str, paramiko.SFTPClient] = {}

    def _session(self, login: str) -> paramiko.SFTPClient:
        found = self._sessions.get(login)
        if found is None:
            transport = paramiko.Transport((self._door.host, self._door.port))
            transport.connect(username=login, pkey=paramiko.Ed25519Key(filename=str(self._door.own_key(login))))
            found = paramiko.SFTPClient.from_transport(transport)
            assert found is not None
            self._sessions[login] = found
        return found

    def see(self, login: str, path: str) -> tuple[list[str], bytes | None]:
        """Return what somebody lists in the folder of a document, and reads of it."""
        folder, _, name = path.rpartition("/")
        for _ in range(3):
            try:
                session = self._session(login)
                names = session.listdir(folder)
                if name not in names:
                    return names, None
                with session.open(path, "rb") as file:
                    file.prefetch()
                    return names, file.read()
            except (EOFError, ConnectionError, paramiko.SSHException):
                self._sessions.pop(login, None)  # it was served by a worker that was killed
            except OSError as error:
                if "closed" not in str(error):
                    raise
                self._sessions.pop(login, None)
        raise AssertionError("the door of SFTP does not open")


class Case(NamedTuple):
    """One upload to be broken: its path, in a folder of its own, and what stood there before."""

    path: str
    old: bytes | None

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]


def prepared(stage: Stage, old: bytes | None) -> Case:
    case = Case(f"/Sandbox/case-{next(_numbers)}/x.bin", old)
    assert stage.olle.request("MKCOL", case.folder).status == 201
    if old is not None:
        assert stage.olle.put(case.path, old).status == 201
    return case


def versions(stage: Stage, path: str) -> list[int]:
    return [each.size for each in stage.door.world.drive("anna").versions(parse(f"/Kund AB – {path[1:]}"))]


def shown_to_others(stage: Stage, case: Case) -> bytes | None:
    """Return what another person gets, the same over both protocols, and lists: nothing else."""
    names, content = stage.looker.see("vera", case.path)
    folder = case.folder
    assert len(stage.vera.propfind(folder, depth="1").properties()) - 1 == len(names)
    got = stage.vera.get(case.path)
    assert got.status == (404 if content is None else 200)
    if content is not None:
        assert got.body == content
        assert names == ["x.bin"]
    else:
        assert names == []
    return content


def broken(stage: Stage, client: str, case: Case, planned: Break) -> None:
    """Upload until it breaks."""
    running = planned.client = begin(stage, client, stage.local, case.path)
    assert stage.proxy.broken.wait(60), f"{client} did not send {planned.at} bytes"
    assert ended(running) != 0 or planned.how == "client killed"


def draft_of(stage: Stage, case: Case) -> bytes | None:
    """Return the interrupted upload as its maker sees it, once the server has put it aside."""
    drive, folder = stage.door.world.drive("olle"), parse(case.folder)
    until(lambda: bool(drive.drafts(folder)), 1.0)
    return stage.looker.see("olle", case.path)[1]


@pytest.mark.parametrize("stands", [False, True], ids=["a new name", "over a document"])
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("client", CLIENTS)
def test_broken_at_every_64_kib(
    stage: Stage, lengths: dict[str, tuple[int, int]], client: str, how: How, stands: bool
) -> None:
    none, whole = lengths[client]
    kept = []
    for point in POINTS[stage.connection]:
        case = prepared(stage, CHANCE.randbytes(3 * PIECE) if stands else None)
        planned = stage.proxy.break_next(none - LAST_WORDS_BYTES + (whole - none) * point // PIECES, how)
        broken(stage, client, case, planned)
        seen = shown_to_others(stage, case)
        assert seen == case.old
        draft = b""
        if not stands:
            draft = draft_of(stage, case) or b""
            assert draft == NEW[: len(draft)]
            kept.append(len(draft) / max(1, point * PIECE))
            if how == "ended" and client != "scp -O":
                assert len(draft) >= (point * PIECE - WORDS_BYTES_MAX) // REQUEST_BYTES * REQUEST_BYTES
        word = "reput" if draft else "put"
        taken_up = stage.door.sftp("olle", f'{word} {stage.local} "{case.path}"')
        assert taken_up.returncode == 0, taken_up.stderr
        assert shown_to_others(stage, case) == NEW
        assert stage.olle.get(case.path).body == NEW
        assert versions(stage, case.path) == ([len(case.old)] if case.old else []) + [len(NEW)]
    assert stands or any(kept) or how == "worker killed" or client == "scp -O"  # which resumes nothing
    drafts = f"; {sum(map(bool, kept))} drafts, {min(kept[1:], default=0):.0%} kept at least" if not stands else ""
    where = f"{stage.connection}, {client}, {how}, {'over a document' if stands else 'a new name'}"
    print(f"\n{where}: {len(POINTS[stage.connection])} points{drafts}")


def test_nothing_is_left_of_all_that_was_broken(stage: Stage) -> None:
    """After the table: all that is stored holds, and no version is there that no upload made."""
    assert list(stage.door.world.installation.verify()) == []


# --- other ways to take it up


@pytest.mark.parametrize("how", ["reset", "client killed"])
def test_winscp_takes_up_its_part_file(stage: Stage, lengths: dict[str, tuple[int, int]], how: How) -> None:
    """It finds X.filepart, appends to it, removes X, renames: the document goes on with one version more."""
    none, whole = lengths["sftp"]
    case = prepared(stage, CHANCE.randbytes(PIECE))
    planned = stage.proxy.break_next(none + (whole - none) * 7 // PIECES, how)
    running = planned.client = begin(stage, "sftp", stage.local, f"{case.path}.filepart")
    assert stage.proxy.broken.wait(60)
    ended(running)
    until(lambda: bool(stage.door.world.drive("olle").drafts(parse(case.folder))))
    assert shown_to_others(stage, case) == case.old
    with paramiko.Transport((stage.door.host, stage.door.port)) as transport:
        transport.connect(username="olle", pkey=paramiko.Ed25519Key(filename=str(stage.door.own_key("olle"))))
        sftp = paramiko.SFTPClient.from_transport(transport)
        assert sftp is not None
        size = sftp.stat(f"{case.path}.filepart").st_size
        assert size is not None and 0 < size < len(NEW)
        with sftp.open(f"{case.path}.filepart", "ab") as file:
            file.write(NEW[size:])
        sftp.remove(case.path)
        sftp.rename(f"{case.path}.filepart", case.path)
        sftp.chmod(case.path, 0o644)
    assert shown_to_others(stage, case) == NEW
    assert versions(stage, case.path) == [PIECE, len(NEW)]


def test_lftp_goes_on_by_itself(stage: Stage) -> None:
    """The network breaks once under it, and it takes up its upload where that stopped: nobody notices."""
    case = prepared(stage, None)
    stage.proxy.break_next(9 * PIECE, "reset")
    through = stage.through
    ssh = " ".join(map(str, (need("ssh"), "-a", "-x", *through.options("olle", port="-p"))))
    script = f'set sftp:connect-program "{ssh}"; set net:max-retries 5; set net:reconnect-interval-base 1; '
    script += f'open -u olle, sftp://{through.host}:{through.port}; put -c {stage.local} -o "{case.path}"'
    ran = through.run(need("lftp"), "-c", script)
    assert ran.returncode == 0, ran.stderr
    assert stage.proxy.broken.is_set()
    assert shown_to_others(stage, case) == NEW
    assert versions(stage, case.path) == [len(NEW)]


# --- rclone 1.60 writes to the name itself, resumes nothing, and knows no `--partial`: what it could not write whole it
# removes, if it can, and begins anew, three times if need be


def document(stage: Stage, case: Case) -> bytes:
    return stage.door.world.drive("anna").stat(parse(f"/Kund AB – {case.path[1:]}")).id


def rclone_cases(
    stage: Stage, lengths: dict[str, tuple[int, int]], how: How, stands: bool, points: Sequence[int], *more: str
) -> Iterator[tuple[Case, int]]:
    """Break rclone at each point; yield what it was about, and what it said in the end.

    After each, rclone or its next run must have put the whole, as the one next version of the same document.
    """
    none, whole = lengths["rclone"]
    for point in points:
        case = prepared(stage, CHANCE.randbytes(3 * PIECE) if stands else None)
        known = document(stage, case) if stands else None
        planned = stage.proxy.break_next(none - LAST_WORDS_BYTES + (whole - none) * point // PIECES, how)
        running = planned.client = begin(stage, "rclone", stage.local, case.path, *more)
        assert stage.proxy.broken.wait(60), f"rclone did not send {planned.at} bytes"
        said = ended(running)
        yield case, said
        if said != 0:
            assert ended(begin(stage, "rclone", stage.local, case.path)) == 0
        assert shown_to_others(stage, case) == NEW
        assert versions(stage, case.path) == ([len(case.old)] if case.old else []) + [len(NEW)]
        assert known in (None, document(stage, case))
        assert not stage.door.world.drive("olle").drafts(parse(case.folder))
    print(f"\nrclone {' '.join(more)}, {how}, {'over a document' if stands else 'a new name'}: {len(points)} points")


@pytest.mark.parametrize("stands", [False, True], ids=["a new name", "over a document"])
def test_rclone_that_is_killed(stage: Stage, lengths: dict[str, tuple[int, int]], stands: bool) -> None:
    """Nothing partial is seen, the old version is current; its next run puts the whole."""
    for case, _ in rclone_cases(stage, lengths, "client killed", stands, RCLONE_POINTS[stage.connection]):
        assert shown_to_others(stage, case) == case.old


@pytest.mark.parametrize("stands", [False, True], ids=["a new name", "over a document"])
@pytest.mark.parametrize("how", RCLONE_HOWS)
def test_rclone_begins_anew_by_itself(
    stage: Stage, lengths: dict[str, tuple[int, int]], how: How, stands: bool
) -> None:
    """Nobody notices, not even in the history, although it deletes the document in between."""
    for _, said in rclone_cases(stage, lengths, how, stands, RCLONE_POINTS[stage.connection]):
        assert said == 0


@pytest.mark.parametrize("stands", [False, True], ids=["a new name", "over a document"])
@pytest.mark.parametrize("how", RCLONE_HOWS)
def test_rclone_that_gives_up(stage: Stage, lengths: dict[str, tuple[int, int]], how: How, stands: bool) -> None:
    """What it leaves is nothing: the document that stood there it has deleted itself, and its history goes on with what
    it puts next. Where the worker is gone it may find nobody to ask for that, and the document stands as it was.
    """
    for case, said in rclone_cases(stage, lengths, how, stands, RCLONE_POINTS[stage.connection][::6], "--retries", "1"):
        assert said != 0
        assert shown_to_others(stage, case) in ((None, case.old) if how == "worker killed" else (None,))


# --- long, and many at once


def test_a_worker_killed_late_in_a_long_upload_loses_the_end_of_it(stage: Stage) -> None:
    """Of a long upload under a new name the server makes sure of each 64 MiB, whoever dies, but for the piece, a MiB
    at most, whose end has not been found yet.
    """
    big, case = stage.local.with_name("big.bin"), prepared(stage, None)
    content = CHANCE.randbytes(100 << 20)
    big.write_bytes(content)
    planned = stage.proxy.break_next(96 << 20, "worker killed")
    running = planned.client = begin(stage, "sftp", big, case.path)
    assert stage.proxy.broken.wait(120)
    ended(running)
    assert shown_to_others(stage, case) is None
    draft = draft_of(stage, case)
    assert draft is not None and len(draft) >= (64 - 1) << 20
    assert content.startswith(draft)
    ran = stage.door.sftp("olle", f'reput {big} "{case.path}"')
    assert ran.returncode == 0, ran.stderr
    assert shown_to_others(stage, case) == content
    assert versions(stage, case.path) == [len(content)]


def test_two_uploads_that_come_in_crumbs_at_once(stage: Stage) -> None:
    """Packets arrive in pieces, those of several connections in turn: each is put together with its own."""
    cases = [prepared(stage, None) for _ in range(6)]

    async def all_at_once() -> None:
        async def one(case: Case) -> None:
            async with stage.through.connect("olle", client_keys=[stage.door.keys["olle"]]) as connection:
                async with connection.start_sftp_client() as sftp, sftp.open(case.path, "wb") as file:
                    for start in range(0, len(NEW), 10_007):
                        await file.write(NEW[start : start + 10_007])

        await asyncio.gather(*(one(case) for case in cases))

    asyncio.run(all_at_once())
    for case in cases:
        assert shown_to_others(stage, case) == NEW
