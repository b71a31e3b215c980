"""Disks for proofs: ext4 on a block device that logs what it is told, and on plain images. All need root.

nbdkit (power_device.py, in memory)  ->  nbdfuse (a file)  ->  loop device  ->  ext4
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.proofs.crash_site import need_root
from tests.tools import need

START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 20


def command(*words: str | Path) -> str:
    """Run a program to its end and return what it said; raise if it failed."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout.strip()


def make_file_system(device: Path) -> None:
    """Make an ext4 on a device or image: nothing kept for root, nothing left to be initialised later."""
    options = "lazy_itable_init=0,lazy_journal_init=0"
    command(need("mkfs.ext4"), "-q", "-F", "-m", "0", "-b", "4096", "-E", options, device)


@contextlib.contextmanager
def mounted(device: Path, folder: Path) -> Iterator[Path]:
    """Mount an image or a device with ext4 on it, its journal replayed as after any crash."""
    need_root()
    folder.mkdir(exist_ok=True)
    options = "noatime" if device.is_block_device() else "loop,noatime"
    command(need("mount"), "-t", "ext4", "-o", options, device, folder)
    try:
        yield folder
    finally:
        _patiently(lambda: command(need("umount"), folder))


@contextlib.contextmanager
def logged_device(folder: Path, size: int) -> Iterator[tuple[Path, Path]]:
    """Give (block device, log) of an empty device in memory of `size` bytes that logs writes and flushes."""
    need_root()
    socket, log, shown = folder / "nbd.sock", folder / "device.log", folder / "shown"
    shown.mkdir()
    beside = Path(__file__).parent
    parameters = [f"size={size}", f"log={log}", f"beside={beside}"]
    serve = [need("nbdkit"), "-f", "-U", socket, "python", beside / "power_device.py", *parameters]
    with contextlib.ExitStack() as stack:
        stack.enter_context(_running([str(word) for word in serve], socket.exists))
        image = shown / "disk"
        url = f"nbd+unix:///?socket={socket}"
        show = [str(need("nbdfuse")), str(image), url]
        stack.enter_context(_running(show, image.exists))
        stack.callback(lambda: _patiently(lambda: command(need("fusermount3"), "-u", shown)))
        device = Path(command(need("losetup"), "-f", "--show", image))
        stack.callback(lambda: _patiently(lambda: command(need("losetup"), "-d", device)))
        yield device, log


@contextlib.contextmanager
def _running(words: list[str], is_up: Callable[[], bool]) -> Iterator[None]:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + START_SECONDS_MAX
        while not is_up():
            assert process.poll() is None, f"{words[0]} ended with {process.returncode}"
            assert time.monotonic() < until, f"{words[0]} is not up in time"
            time.sleep(0.02)
        yield
    finally:
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(STOP_SECONDS_MAX)


def _patiently(undo: Callable[[], object]) -> None:
    """Do what fails for as long as something is still being let go of."""
    for _ in range(50):
        try:
            undo()
            return
        except AssertionError:
            time.sleep(0.1)
    undo()


def sync(folder: Path) -> None:
    """Make all that was written to the file system of a folder durable."""
    command(need("sync"), "-f", folder)
