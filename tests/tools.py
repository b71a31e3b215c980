"""Programs that tests run beside Mellanrum. Where one is missing, CI fails and any other machine skips by name."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "deploy" / "debian-packages.txt"


def is_ci() -> bool:
    """Tell whether this run is held to have every tool."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def listed_packages() -> list[tuple[str, str, str]]:
    """Return (purpose, Debian package, what shows that it is there) of each line of deploy/debian-packages.txt."""
    lines = (line.split("#")[0].split() for line in PACKAGES.read_text().splitlines())
    return [(words[0], words[1], words[2]) for words in lines if words]


def find(tool: str) -> Path | None:
    """Return where the program stands, /usr/sbin and PostgreSQL's own folder included, or None."""
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    found = shutil.which(tool, path=places)
    if found:
        return Path(found)
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{tool}"), key=lambda path: int(path.parts[4]))
    return versions[-1] if versions else None


def need(tool: str) -> Path:
    """Return the program's path. If it is missing, fail in CI and skip elsewhere, saying what to install."""
    found = find(tool)
    if found is None:
        miss(tool)
    return found


def need_file(path: str) -> Path:
    """Return the path of something that a Debian package brings and that is no program, as `need` does."""
    if not Path(path).exists():
        miss(Path(path).name)
    return Path(path)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and kill it where it does not."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)


def miss(tool: str) -> NoReturn:
    """Fail in CI and skip elsewhere, saying which package has what is missing."""
    package = next((name for _, name, shows in listed_packages() if Path(shows).name == tool), tool)
    reason = f"{tool} is missing: apt-get install {package}"
    if is_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
