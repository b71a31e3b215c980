"""Set up what a make target needs: Debian packages, and a virtual environment in the checkout. Nothing else is touched.

    python3 deploy/dev/setup.py run|test|proof|bench ...

Packages are listed in deploy/debian-packages.txt. As root, those that are missing are named and installed; otherwise
the exact command is named: `run` cannot go on without its own, tests say which they had to skip. Standard library
only, since it runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "mellanrum-stamp.json"
PACKAGES = ROOT / "deploy" / "debian-packages.txt"
PINS = ROOT / "deploy" / "constraints.txt"
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def main(purposes: set[str]) -> None:
    """Set up for the purposes, or leave with what to do."""
    if sys.version_info < (3, 11):  # noqa: UP036  (whatever python3 is here)
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"Mellanrum needs Python 3.11 or newer; {sys.executable} is {found}. Try: make PYTHON=python3.12 ...")
    lock = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once set up one after the other
    install_packages(purposes | {"run"})
    install_python(is_dev=bool(purposes - {"run"}))
    os.close(lock)


def install_packages(purposes: set[str]) -> None:
    """Install Debian packages that are missing, or say how."""
    lines = [line.split("#")[0].split() for line in PACKAGES.read_text().splitlines()]
    wanted = [words for words in lines if words and words[0] in purposes]
    missing = {package: purpose for purpose, package, shows in reversed(wanted) if not is_there(shows)}
    if not missing:
        return
    names = sorted(missing)
    command = ["apt-get", "install", "-y", "--no-install-recommends", *names]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"Missing Debian packages: {' '.join(names)}\n  sudo apt-get install {' '.join(names)}", flush=True)
        if "run" in missing.values():
            sys.exit("Nothing was set up.")
        return
    print(f"Installing Debian packages: {' '.join(names)}", flush=True)
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run([*command, "--simulate"], env=environ, capture_output=True).returncode != 0:
        subprocess.run(["apt-get", "update", "-q"], env=environ)
    elif subprocess.run([*command, "-q"], env=environ).returncode == 0:
        return
    else:  # lists too old to fetch from: once more with fresh ones
        subprocess.run(["apt-get", "update", "-q"], env=environ)
    if subprocess.run([*command, "-q"], env=environ).returncode != 0:
        sys.exit(f"Packages could not be installed. By hand: {' '.join(command)}")


def is_there(shows: str) -> bool:
    """Tell whether a program, a path with wildcards or `python:MODULE` is on this machine."""
    if shows.startswith("python:"):
        return importlib.util.find_spec(shows.removeprefix("python:")) is not None
    if "/" in shows:
        return bool(glob.glob(shows))
    places = os.pathsep.join([os.environ.get("PATH", ""), *SBIN, *glob.glob("/usr/lib/postgresql/*/bin")])
    return shutil.which(shows, path=places) is not None


def install_python(*, is_dev: bool) -> None:
    """Make the virtual environment, unless the one that stands was made from the same."""
    wanted = {"of": digest(), "is_dev": is_dev}
    found = json.loads(STAMP.read_text()) if STAMP.exists() else {}
    if found.get("of") == wanted["of"] and (found.get("is_dev") or not is_dev):
        return
    if found and found.get("of", [None])[:2] != wanted["of"][:2]:  # another folder or Python: its scripts point there
        shutil.rmtree(VENV)
    print("Setting up .venv (once, and after pyproject.toml has changed)", flush=True)
    STAMP.unlink(missing_ok=True)
    if not (VENV / "bin" / "python").exists():
        venv.create(VENV, with_pip=True, clear=True)
    what = f"{ROOT}[{'dev' if is_dev or found.get('is_dev') else 'postgresql'}]"
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if subprocess.run([*pip, "-c", str(PINS), "-e", what], cwd=ROOT).returncode != 0:
        sys.exit("Python packages could not be installed; the lines above say why. Then run make again.")
    STAMP.write_text(json.dumps(wanted | {"is_dev": is_dev or bool(found.get("is_dev"))}))


def digest() -> list[str]:
    """Return what the virtual environment depends on: folder, Python, dependencies."""
    made_from = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + PINS.read_bytes()).hexdigest()
    return [str(ROOT), sys.version.split()[0], made_from]


if __name__ == "__main__":
    main(set(sys.argv[1:]))
