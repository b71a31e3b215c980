"""What real programs leave beside documents on a folder mounted over SFTP: no document, and nothing in the trash."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from providers import tables
from providers.model import Item
from providers.paths import parse
from tests.ssh.doors import Door
from tests.tools import need, need_file

SAVE = Path(__file__).parents[1] / "clients" / "libreoffice_save.py"
SECONDS_MAX = 100


def ever(door: Door, home: str, name: str) -> int:
    """Return how often anything that is kept stood, or stands, under a name in a folder."""
    installation = door.world.installation
    folder = found(door, home)
    folded = installation.storage.names.folded(folder.space, folder.id, name)
    with installation.database.read() as connection:
        return sum(
            connection.execute(
                select(func.count()).where(table.c.parent == folder.id, table.c.folded == folded)
            ).scalar_one()
            for table in (tables.entry, tables.closed_entry)
        )


def found(door: Door, path: str) -> Item:
    return door.world.drive("anna").stat(parse(path))


@contextmanager
def watching(door: Door, home: str) -> Iterator[set[str]]:
    """Gather which names are seen in a folder meanwhile."""
    seen: set[str] = set()
    stop = threading.Event()
    drive = door.world.drive("anna")

    def look() -> None:
        while not stop.wait(0.02):
            seen.update(item.name for item in drive.listing(parse(home))[1])

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


@pytest.mark.timeout(240)
def test_libreoffice_leaves_no_document_for_its_lock_file(door: Door, mount: Path, home: str, tmp_path: Path) -> None:
    need_file("/usr/lib/python3/dist-packages/uno.py")
    (mount / "Avtal.fodt").write_bytes(
        b'<?xml version="1.0" encoding="UTF-8"?><office:document '
        b'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        b'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" office:version="1.3" '
        b'office:mimetype="application/vnd.oasis.opendocument.text">'
        b"<office:body><office:text><text:p>first</text:p></office:text></office:body></office:document>"
    )
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    arguments = [f"-env:UserInstallation=file://{tmp_path}/profile", "--headless", "--norestore", "--nologo"]
    arguments.append(f"--accept=pipe,name=noise{os.getpid()};urp;")
    office = subprocess.Popen(
        [need("soffice"), *arguments], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with watching(door, home) as seen:
            told = [f"noise{os.getpid()}", "http://127.0.0.1", f"file://{mount}/Avtal.fodt", "nobody", "none", "second"]
            subprocess.run(["/usr/bin/python3", SAVE, *told], env=environ, check=True, timeout=SECONDS_MAX)
        office.wait(30)
    finally:
        if office.poll() is None:
            office.terminate()
            office.wait(20)
    assert b"second" in (mount / "Avtal.fodt").read_bytes()
    assert ".~lock.Avtal.fodt#" in seen
    assert ever(door, home, ".~lock.Avtal.fodt#") == 0
    assert os.listdir(mount) == ["Avtal.fodt"]


def vim(mount: Path, *commands: str) -> None:
    """Run vim's commands on `a.txt`, as if typed after a colon."""
    lines = [part for command in commands for part in ("-c", command)]
    environ = {"PATH": os.environ["PATH"], "HOME": str(mount.parent), "TERM": "dumb"}
    subprocess.run(
        [need("vim"), "-u", "NONE", "-N", "-es", *lines, "a.txt"],
        cwd=mount, env=environ, check=True, timeout=SECONDS_MAX, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_vim_leaves_no_document_for_its_swap_file(door: Door, mount: Path, home: str) -> None:
    (mount / "a.txt").write_text("first\n")
    vim(mount, "set swapfile updatecount=1", "normal osecond", "preserve", "!ls -A > ../seen", "wq")
    assert ".a.txt.swp" in (mount.parent / "seen").read_text().split()
    assert (mount / "a.txt").read_text() == "first\nsecond\n"
    assert os.listdir(mount) == ["a.txt"] and ever(door, home, ".a.txt.swp") == 0


def test_vim_saves_though_its_swap_file_outgrows_noise(door: Door, mount: Path, home: str) -> None:
    text = "".join(f"line {number} of many\n" for number in range(20_000))
    (mount / "a.txt").write_text(text)
    vim(mount, "set swapfile updatecount=1", "%s/many/all/", "preserve", "wq")
    assert (mount / "a.txt").read_text() == text.replace("many", "all")
    assert os.listdir(mount) == ["a.txt"]
