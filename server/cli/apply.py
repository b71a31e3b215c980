"""`mellanrum apply FILE`: let organisations, people, groups, spaces and grants be as a file says.

The difference is shown first, and done after a yes. Done twice, the second time finds none.
"""

from __future__ import annotations

import argparse
import csv
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

from auth.people import Person
from config.errors import MellanrumError
from server.cli import find
from server.cli.difference import Comparison, Difference, Step
from server.cli.errors import ApplyStopped, OutputTaken
from server.cli.frame import Answer, Desk, Noun, tell
from server.cli.progress import Progress
from server.cli.text import cell, one_line
from server.cli.wanted import read, wrong

#: Steps side by side share commits, so that hundreds of customers cost few syncs of the disk.
THREADS = 16
LABEL = "first device"


def add_to(nouns: Noun) -> None:
    """Add the command."""
    command = nouns.command(
        "apply", apply, "Let organisations, people, groups, spaces and grants be as a TOML or CSV file says."
    )
    command.add_argument("file", metavar="FILE", type=Path, help="TOML, or CSV if its name ends so")
    command.add_argument("--dry-run", action="store_true", help="show the difference, do nothing")
    command.add_argument(
        "--devices", metavar="CSV", type=Path, help="make each new person a device password, and list them here"
    )


def apply(desk: Desk, options: argparse.Namespace) -> Answer:
    """Show the difference, then do it."""
    wanted = read(options.file)
    devices = None
    if options.devices is not None:
        if options.devices.exists():
            raise OutputTaken(file=options.devices)
        find.require_writable(options.devices)
        devices = Devices(desk, options.devices)
    difference = Comparison(desk, wanted, _nothing if devices is None else devices.add).run()
    if difference.problems:
        raise wrong(options.file, difference.problems)
    steps = difference.steps
    document: dict[str, Any] = {
        "steps": [{"sign": step.sign, "what": step.what, "text": step.text} for step in steps],
        "notes": difference.notes,
        "done": False,
    }
    if not options.json:
        tell(Answer(lines=_shown(difference)), as_json=False)
    if not steps or options.dry_run:
        return Answer(document)
    desk.confirm(f"Do these {len(steps)} steps?")
    started = time.monotonic()
    if devices is not None:
        devices.begin()
    try:
        with desk.progress("applying", len(steps)) as bar:
            _do(difference, bar)
    except MellanrumError as error:
        raise ApplyStopped(error=error) from error
    finally:
        if devices is not None:
            devices.end()
    seconds = time.monotonic() - started
    document |= {"done": True, "seconds": round(seconds, 3)}
    return Answer(document, [f"Did {len(steps)} steps in {seconds:.1f} s."])


def _nothing(person: Person) -> None:
    """Nobody asked for device passwords."""


def _shown(difference: Difference) -> list[str]:
    lines = [one_line(f"{step.sign} {step.what} {step.text}") for step in difference.steps]
    lines += [one_line(f"! {note}") for note in difference.notes]
    if not difference.steps:
        return [*lines, "No difference."]
    counts = Counter((step.sign, step.what) for step in difference.steps)
    return [*lines, "", ", ".join(f"{sign}{count} {what}" for (sign, what), count in counts.items())]


def _do(difference: Difference, bar: Progress) -> None:
    """Do each phase, its jobs side by side. What fails ends the work; what was done stands, and is not done again."""
    failed = threading.Event()

    def work(job: list[Step]) -> None:
        for step in job:
            if failed.is_set():
                return
            try:
                step.act()
            except BaseException:
                failed.set()
                raise
            bar.step()

    with ThreadPoolExecutor(THREADS, thread_name_prefix="apply") as pool:
        for phase in difference.phases:
            for future in [pool.submit(work, job) for job in phase]:
                future.result()


class Devices:
    """A file that lists a device password for each new person, and that only its owner may read.

    Each stands there as soon as its person does. Whatever stops the work later, nobody is left without one: the next
    run, which finds them there, would make none.
    """

    def __init__(self, desk: Desk, file: Path) -> None:
        self._directory = desk.installation.directory
        self._actor = desk.actor
        self._guard = threading.Lock()
        self._file = file
        self._stream: TextIO | None = None

    def begin(self) -> None:
        """Make the file. Raises OutputTaken, OutputUnwritable."""
        find.reserve(self._file)
        with find.writing(self._file):
            self._stream = self._file.open("a", encoding="utf-8", newline="")
        self._write(("login", "name", "organisation", "device_password"))

    def add(self, person: Person) -> None:
        """Make a person's device password and write it down."""
        password = self._directory.add_device(person.id, LABEL, actor=self._actor)[1]
        organisation = self._directory.organisation_name(person.organisation)
        self._write((*map(cell, (person.login, person.name, organisation)), password))

    def _write(self, row: tuple[str, ...]) -> None:
        assert self._stream is not None
        with self._guard, find.writing(self._file):
            csv.writer(self._stream).writerow(row)
            self._stream.flush()

    def end(self) -> None:
        """Make all that was written durable."""
        if self._stream is not None:
            with self._stream, find.writing(self._file):
                os.fsync(self._stream.fileno())
