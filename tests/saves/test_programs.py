"""Real programs on real mounts save a document five times: by sshfs, by gvfs, by davfs2, by their own SFTP and WebDAV.

One document before and after, one version for each save, and nothing left lying about.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from providers.errors import NotFound
from providers.paths import parse
from tests.clients.conftest import Desk
from tests.clients.test_davfs import mounted as davfs_mounted
from tests.clients.test_gio import session
from tests.clients.test_libreoffice import flat_text, save
from tests.saves.editors import SETTLING_SECONDS_MAX, nano, vim
from tests.saves.stage import Document, Stage, text
from tests.ssh.doors import mounted
from tests.tools import need
from tests.worlds import fetch

pytestmark = pytest.mark.proof

SAVES = 5


@dataclass
class Bench:
    """A document on a mount, a folder of this machine's beside it, and what programs there see."""

    desk: Desk
    document: Document
    mount: Path

    @property
    def file(self) -> Path:
        """The document, where programs find it."""
        return self.mount / Path(self.document.home).name / self.document.name

    def local(self, content: bytes) -> Path:
        """Return a file of this machine's with what is to be saved."""
        file = self.desk.folder / self.document.name
        file.write_bytes(content)
        return file

    def run(self, *command: object, **options: object) -> None:
        """Run a program in the folder of the document. Fails where it does."""
        done = subprocess.run(
            [str(each) for each in command], cwd=self.file.parent, env=self.desk.environ(), timeout=60,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options},
        )  # type: ignore[call-overload]  # fmt: skip
        assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module", autouse=True)
def trash(stage: Stage) -> Iterator[set[str]]:
    """The folders of this module's tests: after all of them, nothing of theirs is in the trash."""
    homes: set[str] = set()
    yield homes
    assert {home: names for home, names in stage.in_trash().items() if home in homes} == {}


@pytest.fixture(scope="module")
def mount(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The space as a file system, by sshfs."""
    with mounted(stage.door, "anna", stage.root, tmp_path_factory.mktemp("sshfs") / "mount") as place:
        yield place


@pytest.fixture
def desk(stage: Stage, trash: set[str], tmp_path: Path) -> Iterator[Desk]:
    """A computer with an empty home."""
    made = Desk(tmp_path, stage.door.server, stage.home(), stage.door.server.dav("anna"))
    trash.add(made.place)
    yield made
    made.second.close()


@pytest.fixture
def bench(stage: Stage, mount: Path, desk: Desk) -> Bench:
    """A text of a few lines on the mount."""
    return Bench(desk, stage.document("notes.txt", text(0, "line\n"), home=desk.place), mount)


Saves = Callable[[Bench, bytes], None]


def _vim(*commands: str) -> Saves:
    return lambda bench, content: bench.run(*vim(bench.file, bench.local(content), *commands))


def _command(*words: str) -> Saves:
    """Return what runs a command: `FROM` is a local file with the new content, `X` the document."""

    def saves(bench: Bench, content: bytes) -> None:
        named = {"FROM": str(bench.local(content)), "X": str(bench.file)}
        bench.run(need(words[0]), *(named.get(word, word) for word in words[1:]))

    return saves


def _shell(line: str) -> Saves:
    """Return what runs a line of the shell, in which `$1` is a local file and `$2` the document."""
    return lambda bench, content: bench.run("sh", "-ec", line, "sh", bench.local(content), bench.file)


def _changed(*words: str) -> Saves:
    """Return what lets a program change the document's text by an expression of sed's."""

    def saves(bench: Bench, content: bytes) -> None:
        bench.run(need(words[0]), *words[1:], f"1s/^/save of {len(content)} bytes /", bench.file)

    return saves


def _nano(bench: Bench, content: bytes) -> None:
    nano(bench.file, f"save of {len(content)} bytes ".encode(), bench.desk.environ())


#: How to save, and what stays beside the document with what it held before.
PROGRAMS: dict[str, tuple[Saves, str]] = {
    "vim": (_vim(), ""),
    "vim, backupcopy=yes": (_vim("set backupcopy=yes"), ""),
    "vim, backupcopy=no": (_vim("set backupcopy=no"), ""),
    "vim, backup": (_vim("set backup backupcopy=no"), "notes.txt~"),
    "nano": (_nano, ""),
    "sed -i": (_changed("sed", "-i"), ""),
    "sed -i.bak": (_changed("sed", "-i.bak"), "notes.txt.bak"),
    "perl -i": (_shell('perl -pi -e "s/^/$(wc -c < $1) bytes / if 1 .. 1" "$2"'), ""),
    "rsync": (_command("rsync", "FROM", "X"), ""),
    "rsync --inplace": (_command("rsync", "--inplace", "FROM", "X"), ""),
    "rsync --backup": (_command("rsync", "--backup", "FROM", "X"), "notes.txt~"),
    "cp": (_command("cp", "FROM", "X"), ""),
    "cp --remove-destination": (_command("cp", "--remove-destination", "FROM", "X"), ""),
    "cp --backup": (_command("cp", "--backup=simple", "FROM", "X"), "notes.txt~"),
    "mv": (_command("mv", "FROM", "X"), ""),
    "install": (_command("install", "-m", "644", "FROM", "X"), ""),
    "tee": (_shell('tee "$2" < "$1" > /dev/null'), ""),
    "dd": (_shell('dd if="$1" of="$2" bs=700 status=none'), ""),
    "gio save": (_shell('gio save "$2" < "$1"'), ""),
    "gio save --backup": (_shell('gio save --backup "$2" < "$1"'), "notes.txt~"),
    "git checkout": (
        _shell(
            'export GIT_DIR=$(dirname "$1")/git GIT_WORK_TREE=$(dirname "$2"); test -d $GIT_DIR || git init -q;'
            ' cp "$1" "$2.new"; o=$(git hash-object -w "$1"); rm "$2.new"; git update-index --add --cacheinfo'
            ' 100644,$o,notes.txt; git checkout-index -f notes.txt'
        ),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_on_a_mount_by_sshfs(bench: Bench, program: str) -> None:
    how, stays = PROGRAMS[program]
    found = []
    for number in range(1, SAVES + 1):
        how(bench, text(number, "line\n"))
        found += [f"after {number}: {fault}" for fault in _faults(bench.document, stays)]
    assert found == []


def _faults(document: Document, stays: str = "") -> list[str]:
    """Return what does not hold once a program has saved."""
    drive = document.stage.drive()
    content = _settled(document)
    if content is None:
        return ["it was not saved"]
    document.contents.append(content)
    until = time.monotonic() + SETTLING_SECONDS_MAX
    while (found := document.faults({document.name, stays} - {""})) and time.monotonic() < until:
        time.sleep(0.2)
    if stays and fetch(drive, f"{document.home}/{stays}") != document.contents[-2]:
        found.append(f"{stays} does not hold what was there before")
    return found


@pytest.mark.timeout(240)
@pytest.mark.parametrize("way", ["sshfs", "dav"])
def test_libreoffice(stage: Stage, mount: Path, desk: Desk, way: str) -> None:
    """Opened once, edited and stored five times: from the mount, and by its URL."""
    document = stage.document("Avtal.fodt", flat_text("first"), home=desk.place)
    file = mount / Path(desk.place).name / "Avtal.fodt"
    save(desk, file.as_uri() if way == "sshfs" else f"{desk.url}Avtal.fodt", *map(str, range(SAVES)))
    drive = stage.drive()
    shown = [version.sha256 for version in drive.versions(parse(document.path))]
    assert len(shown) == len(set(shown)) == 1 + SAVES
    assert drive.stat(parse(document.path)).id == document.id
    assert document.leftovers({"Avtal.fodt"}) == []


def test_glib_by_gvfs(stage: Stage, desk: Desk) -> None:
    """gio save and gio copy, through a mount of dav://."""
    for name, command in (("a.txt", 'gio save "${IN}a.txt" < %s'), ("b.txt", 'gio copy %s "${IN}b.txt"')):
        document = stage.document(name, home=desk.place)
        for number in range(1, SAVES + 1):
            document.contents.append(text(number, name))
            (desk.folder / f"{number}").write_bytes(document.contents[-1])
        session(desk, *(command % number for number in range(1, SAVES + 1)))
        assert document.faults({"a.txt", name}) == []


DAVFS_PROGRAMS = {"sed -i": _changed("sed", "-i"), "cp": _command("cp", "FROM", "X"), "vim": _vim()}


@pytest.mark.parametrize("program", DAVFS_PROGRAMS)
def test_davfs2(stage: Stage, desk: Desk, program: str) -> None:
    """Through a mount by davfs2, which uploads when a file has been closed, and believes for long what it saw."""
    document = stage.document("a.txt", text(0, "line\n"), home=desk.place)
    with davfs_mounted(desk) as place:
        bench = Bench(desk, document, place.parent)
        for number in range(1, SAVES + 1):
            DAVFS_PROGRAMS[program](bench, text(number, "line\n"))
            assert _faults(document) == []


def _settled(document: Document) -> bytes | None:
    """Return what a program saved, once it is there: sshfs and davfs2 do not wait for the answer to a close."""
    until = time.monotonic() + SETTLING_SECONDS_MAX
    while time.monotonic() < until:
        with suppress(NotFound):
            content = fetch(document.stage.drive(), document.path)
            if content not in (document.contents[-1], b""):
                return content
        time.sleep(0.02)
    return None


# --- programs that speak SFTP or WebDAV themselves


def _scp(*options: str) -> Callable[[Stage, Desk, Path, str], None]:
    def saves(stage: Stage, desk: Desk, file: Path, path: str) -> None:
        door = stage.door
        goal = f"anna@{door.host}:{path}" if "-O" not in options else f"anna@{door.host}:'{path}'"
        ran = door.run(need("scp"), *options, *door.options("anna"), file, goal)
        assert ran.returncode == 0, ran.stderr

    return saves


def _sftp(stage: Stage, desk: Desk, file: Path, path: str) -> None:
    ran = stage.door.sftp("anna", f'put {file} "{path}"')
    assert ran.returncode == 0, ran.stderr


def _sftp_swap(stage: Stage, desk: Desk, file: Path, path: str) -> None:
    ran = stage.door.sftp("anna", f'put {file} "{path}.new"', f'rm "{path}"', f'rename "{path}.new" "{path}"')
    assert ran.returncode == 0, ran.stderr


def _rclone_sftp(stage: Stage, desk: Desk, file: Path, path: str) -> None:
    door = stage.door
    (door.folder / "rclone.conf").touch()
    told = ["--config", door.folder / "rclone.conf", "--sftp-host", door.host, "--sftp-port", door.port]
    told += ["--sftp-user", "anna", "--sftp-key-file", door.own_key("anna")]
    told += ["--sftp-known-hosts-file", door.known_hosts(), "--ignore-times"]
    ran = door.run(need("rclone"), *told, "copyto", file, f":sftp:{path}")
    assert ran.returncode == 0, ran.stderr


def _rclone_dav(stage: Stage, desk: Desk, file: Path, path: str) -> None:
    config = desk.folder / "rclone.conf"
    obscured = desk.run(need("rclone"), "obscure", desk.password).strip()
    url = f"{desk.second.origin}/dav/"
    config.write_text(f"[m]\ntype = webdav\nurl = {url}\nvendor = owncloud\nuser = anna\npass = {obscured}\n")
    desk.run(need("rclone"), "--config", config, "--ignore-times", "copyto", file, f"m:{path}")


def _curl(stage: Stage, desk: Desk, file: Path, path: str) -> None:
    url = f"{desk.second.origin}{desk.second.href(path)}"
    desk.run(need("curl"), "-sSf", "-u", f"anna:{desk.password}", "-T", file, url)


def _lftp_sftp(stage: Stage, desk: Desk, file: Path, path: str) -> None:
    """Through a temporary name."""
    door = stage.door
    connect = f"sftp:connect-program 'ssh -a -x {' '.join(door.options('anna', port='-p'))}'"
    script = f"set {connect}; set net:max-retries 1; set cmd:fail-exit yes; set xfer:use-temp-file yes; "
    script += f"open sftp://anna:x@{door.host}:{door.port}; cd '{os.path.dirname(path)}'; put {file}"
    ran = door.run(need("lftp"), "-c", script)
    assert ran.returncode == 0, ran.stderr


SENDERS = {
    "scp": _scp(),
    "scp -O": _scp("-O"),
    "sftp put": _sftp,
    "sftp put, rm, rename": _sftp_swap,
    "rclone over SFTP": _rclone_sftp,
    "rclone over WebDAV": _rclone_dav,
    "curl": _curl,
    "lftp": _lftp_sftp,
}


@pytest.mark.parametrize("program", SENDERS)
def test_by_a_protocol_of_its_own(stage: Stage, desk: Desk, program: str) -> None:
    document = stage.document("notes.txt", home=desk.place)
    file = desk.folder / "notes.txt"
    found = []
    for number in range(1, SAVES + 1):
        file.write_bytes(text(number, "line\n"))
        SENDERS[program](stage, desk, file, document.path)
        found += [f"after {number}: {fault}" for fault in _faults(document)]
    assert found == []
