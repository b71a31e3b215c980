"""davfs2: the drive as a folder of Linux, over plain HTTP and over TLS with an authority of one's own.

On some newer kernels it cannot list folders ("Invalid argument"); that part alone is left out there. What stands in a
folder is seen by the second client.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.conftest import Desk
from tests.tools import need

PAST = 1_612_325_106
CONTENT = os.urandom(200_000)


@contextmanager
def mount_room(*lines: str) -> Iterator[Path]:
    """Give a folder with `mount`, `secrets` and a `davfs2.conf` of these lines; unmount whatever happens."""
    need("mount.davfs")
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("mounting takes root and /dev/fuse")
    # davfs2 runs as an account of its own, which cannot enter a folder that only its maker may enter.
    room = Path(tempfile.mkdtemp(prefix="mellanrum-davfs-"))
    room.chmod(0o755)
    mount, cache = room / "mount", room / "cache"
    mount.mkdir()
    cache.mkdir()
    shutil.chown(cache, "root", "davfs2")
    cache.chmod(0o775)
    (room / "davfs2.conf").write_text("\n".join([f"cache_dir {cache}", f"secrets {room}/secrets", *lines, ""]))
    try:
        yield room
    finally:
        if mount.is_mount() and subprocess.run(["umount", mount], timeout=60, capture_output=True).returncode != 0:
            subprocess.run(["umount", "-l", mount], timeout=60, check=True)
        shutil.rmtree(room)


@contextmanager
def mounted(desk: Desk, authority: Path | None = None) -> Iterator[Path]:
    """Mount the whole drive and give the desk's folder in it; when it ends, the last upload is through."""
    trust = [] if authority is None else [f"trust_ca_cert {authority.name}"]
    with mount_room("delay_upload 0", *trust) as room:
        url = f"{desk.second.origin}/dav/"
        (room / "secrets").write_text(f"{url} anna {desk.password}\n")
        (room / "secrets").chmod(0o600)
        if authority is not None:
            shutil.copy(authority, room)
            conf = room / "davfs2.conf"
            conf.write_text(conf.read_text().replace(authority.name, str(room / authority.name)))
        desk.run("mount", "-t", "davfs", "-o", f"conf={room}/davfs2.conf", url, room / "mount")
        yield room / "mount" / desk.place.removeprefix("/")


def test_files_are_written_renamed_and_deleted(desk: Desk) -> None:
    with mounted(desk) as mount:
        (mount / "folder").mkdir()
        (mount / "folder" / "a.txt").write_text("first")
        (mount / "folder" / "a.txt").rename(mount / "b å.txt")
        (mount / "big").write_bytes(CONTENT)
        os.utime(mount / "big", (PAST, PAST))
        (mount / "gone").write_text("x")
        (mount / "gone").unlink()
        assert (mount / "big").read_bytes() == CONTENT
        (mount / "b å.txt").chmod(0o755)
    assert desk.names() == {"folder", "b å.txt", "big"} and desk.names("folder") == set()
    assert (desk.content("b å.txt"), desk.content("big")) == (b"first", CONTENT)
    assert desk.versions("big") == 1
    with mounted(desk) as mount:
        (mount / "b å.txt").write_text("second")
        with (mount / "big").open("r+b") as file:
            file.seek(1000)
            file.write(b"changed")
        assert (mount / "b å.txt").stat().st_mode & 0o100
    assert (desk.content("b å.txt"), desk.versions("b å.txt")) == (b"second", 2)
    assert desk.content("big") == CONTENT[:1000] + b"changed" + CONTENT[1007:]
    assert desk.versions("big") == 2


def test_what_another_has_locked_is_not_written(desk: Desk) -> None:
    desk.second.put(f"{desk.place}/a.txt", b"old")
    assert desk.second.lock(f"{desk.place}/a.txt").status == 200
    with mounted(desk) as mount:
        with pytest.raises(OSError):
            (mount / "a.txt").write_text("new")
        assert (mount / "a.txt").read_text() == "old"
    assert (desk.content("a.txt"), desk.versions("a.txt")) == (b"old", 1)


def test_folders_are_listed(desk: Desk) -> None:
    for name in ("a.txt", "b å.txt"):
        desk.second.put(f"{desk.place}/{name}", b"x")
    with mounted(desk) as mount:
        try:
            found = set(os.listdir(mount))
        except OSError as error:
            pytest.skip(f"davfs2 cannot list folders on kernel {os.uname().release}: {error.strerror}")
    assert found >= {"a.txt", "b å.txt"}


def test_over_tls(secure_desk: Desk) -> None:
    with mounted(secure_desk, secure_desk.server.certificate) as mount:
        (mount / "a.txt").write_text("sealed")
        assert (mount / "a.txt").read_text() == "sealed"
    assert (secure_desk.content("a.txt"), secure_desk.versions("a.txt")) == (b"sealed", 1)
