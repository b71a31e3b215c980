"""FileZilla with its window on a screen that nobody sees: its queue is filled beforehand, and a key sets it going."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from providers.paths import parse
from tests.ssh.doors import Door
from tests.tools import need
from tests.worlds import fetch

CONTENT = os.urandom(20_000_000)
PAST = 1_583_298_367
OVERWRITE, RESUME = 1, 5
UPLOAD, DOWNLOAD = 0, 16
SETTINGS = {"Logging file": "log", "Preserve timestamps": "1", "Greeting version": "99", "Disable update check": "1"}
#: FileZilla's own tables, of which it reads what is named here.
TABLES = """
CREATE TABLE servers (id INTEGER PRIMARY KEY, host TEXT, port INTEGER, user TEXT, password TEXT, account TEXT,
 keyfile TEXT, protocol INTEGER, type INTEGER, logontype INTEGER, timezone_offset INTEGER, transfer_mode TEXT,
 max_connections INTEGER, encoding TEXT, bypass_proxy INTEGER, post_login_commands TEXT, name TEXT, parameters TEXT,
 site_path TEXT);
CREATE TABLE files (id INTEGER PRIMARY KEY, server INTEGER, source_file TEXT, target_file TEXT, local_path INTEGER,
 remote_path INTEGER, size INTEGER, error_count INTEGER, priority INTEGER, flags INTEGER,
 default_exists_action INTEGER, extra_flags TEXT);
CREATE TABLE local_paths (id INTEGER PRIMARY KEY, path TEXT);
CREATE TABLE remote_paths (id INTEGER PRIMARY KEY, path TEXT);
"""
#: The queue is in the window's memory by the time it shows; a key that comes too early is lost, and so pressed again.
SCRIPT = """
filezilla & made=$!
window=$(xdotool search --sync --onlyvisible --name FileZilla | head -n 1)
for n in $(seq 300); do
  if [ $((n % 50)) = 10 ] && ! grep -q Connecting log; then
    xdotool windowfocus --sync $window key ctrl+p
  fi
  if [ $(grep -c "File transfer" log) -ge $ENDED ]; then break; fi
  sleep 0.1
done
kill $made
wait $made
"""


@dataclass
class Transfer:
    """One line of the queue."""

    source: str
    target: str
    what: int
    if_it_stands: int


def filezilla(door: Door, folder: Path, home: str, queue: Sequence[Transfer], ended: int) -> str:
    """Let FileZilla work on its queue, until so many transfers have ended, those it tries again too; return its log."""
    for tool in ("filezilla", "xdotool"):
        need(tool)
    settings = "".join(f'<Setting name="{name}">{value}</Setting>' for name, value in SETTINGS.items())
    rooms = folder / ".config" / "filezilla", folder / ".putty"
    for room in rooms:
        room.mkdir(parents=True, exist_ok=True)
    (rooms[0] / "filezilla.xml").write_text(f"<FileZilla3><Settings>{settings}</Settings></FileZilla3>")
    (rooms[1] / "sshhostkeys").write_text(_host_key(door))
    (folder / "log").touch()
    _fill(door, rooms[0] / "queue.sqlite3", folder, home, queue)
    environ = door.asking() | {"HOME": str(folder), "XDG_CONFIG_HOME": str(rooms[0].parent), "ENDED": str(ended)}
    ran = door.run(need("xvfb-run"), "-a", "sh", "-c", SCRIPT, env=environ, cwd=folder)
    log = (folder / "log").read_text()
    assert log.count("File transfer") >= ended, log + ran.stdout + ran.stderr
    return log


def _fill(door: Door, file: Path, folder: Path, home: str, queue: Sequence[Transfer]) -> None:
    with sqlite3.connect(file) as database:
        database.executescript(TABLES)
        database.execute(
            "INSERT INTO servers (id, host, port, user, password, protocol, type, logontype, timezone_offset,"
            " transfer_mode, max_connections, encoding, bypass_proxy)"
            " VALUES (1, ?, ?, 'anna', ?, 1, 0, 1, 0, 'default', 0, 'UTF-8', 0)",
            (door.host, door.port, door.password("anna")),
        )
        segments = parse(home).segments
        remote = " ".join(["1", "0", *(f"{len(each)} {each}" for each in segments)])
        database.execute("INSERT INTO local_paths VALUES (1, ?)", (f"{folder}/",))
        database.execute("INSERT INTO remote_paths VALUES (1, ?)", (remote,))
        database.executemany(
            "INSERT INTO files (server, source_file, target_file, local_path, remote_path, size, error_count, priority,"
            " flags, default_exists_action) VALUES (1, ?, ?, 1, 1, -1, 0, 2, ?, ?)",
            [astuple(each) for each in queue],
        )
    database.close()


def _host_key(door: Door) -> str:
    """Return the RSA host key as PuTTY remembers it."""
    lines = door.known_hosts().read_text().splitlines()
    key = load_ssh_public_key(next(" ".join(line.split()[1:3]) for line in lines if " ssh-rsa " in line).encode())
    assert isinstance(key, RSAPublicKey)
    numbers = key.public_numbers()
    return f"rsa2@{door.port}:{door.host} {numbers.e:#x},{numbers.n:#x}\n"


def test_a_day_with_filezilla(door: Door, home: str, tmp_path: Path) -> None:
    """Uploads new, over and onto what broke off, downloads, times; and why something is refused is told in its log."""
    drive = door.world.drive("anna")
    for name, content in (("in.bin", CONTENT), ("å ö;1.txt", b"hej"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (PAST, PAST))
    (tmp_path / "half.bin").write_bytes(CONTENT[:5_000_000])
    put = [f'put "{tmp_path}/half.bin" "{home}/{name}"' for name in ("half.bin", "over.bin", "locked.bin", "down.bin")]
    assert door.sftp("anna", *put).returncode == 0
    as_olle = parse(f"{home.replace('/Kund AB – ', '/')}/locked.bin")
    held, _ = door.world.drive("olle").lock(as_olle, is_deep=False, is_shared=False, owner="", seconds=600)
    queue = [
        Transfer("in.bin", "half.bin", UPLOAD, RESUME),
        Transfer("in.bin", "over.bin", UPLOAD, OVERWRITE),
        Transfer("in.bin", "new.bin", UPLOAD, OVERWRITE),
        Transfer("å ö;1.txt", "å ö;1.txt", UPLOAD, OVERWRITE),
        Transfer("empty", "empty", UPLOAD, OVERWRITE),
        Transfer("down.bin", "back.bin", DOWNLOAD, OVERWRITE),
        Transfer("in.bin", "locked.bin", UPLOAD, OVERWRITE),
    ]
    log = filezilla(door, tmp_path, home, queue, ended=6 + 3)
    door.world.drive("olle").unlock(as_olle, held.token)
    assert log.count("File transfer successful") == 6, log
    assert "reput: restarting at file position 5000000" in log
    assert re.search(r"locked\.bin: open for write: .*Somebody else is working on this", log)
    expected = {"half.bin": CONTENT, "over.bin": CONTENT, "new.bin": CONTENT, "å ö;1.txt": b"hej", "empty": b""}
    for name, content in expected.items():
        assert fetch(drive, f"{home}/{name}") == content, name
        assert drive.stat(parse(f"{home}/{name}")).modified == PAST * 1_000_000, name
    assert fetch(drive, f"{home}/locked.bin") == CONTENT[:5_000_000]
    assert [each.size for each in drive.versions(parse(f"{home}/over.bin"))] == [5_000_000, len(CONTENT)]
    assert (tmp_path / "back.bin").read_bytes() == CONTENT[:5_000_000]
