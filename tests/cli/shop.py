"""One installation in a folder, and the command line at it: in this process, or as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from server.cli.main import main

PROGRAM = Path(sys.executable).with_name("mellanrum")
SUPPLIER = "Byrån Åkesson AB"
ADMIN = "agnes"


@dataclass
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)


@dataclass
class Shop:
    """The command line at one data folder."""

    data: Path
    capture: pytest.CaptureFixture[str]

    @property
    def key(self) -> Path:
        """Where the root key stands."""
        return self.data.with_name(self.data.name + ".key")

    def run(self, *words: object) -> Ran:
        """Run a command in this process."""
        self.capture.readouterr()
        code = main(["--data", str(self.data), *map(str, words)])
        found = self.capture.readouterr()
        return Ran(code, found.out, found.err)

    def ok(self, *words: object) -> Any:
        """Run a command that must succeed, with --json; return its document."""
        ran = self.run(*words, "--json")
        assert ran.code == 0, ran.err
        return ran.json if ran.out else None


def process(*words: object, stdin: str = "", **environ: str) -> Ran:
    """Run the console script without a terminal."""
    ran = subprocess.run(
        [str(PROGRAM), *map(str, words)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        env=os.environ | environ,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


@contextmanager
def serving(*words: object) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """Start something that serves; give what it printed once it answered, and the process."""
    with subprocess.Popen(
        [str(PROGRAM), *map(str, words), "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            assert line, "it ended before it answered"
            yield json.loads(line), running
        finally:
            running.terminate()
            running.wait(60)
