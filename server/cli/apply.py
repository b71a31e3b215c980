"""`mellanrum apply FILE`: let organisations, people, groups, spaces and grants be as a file says.

The difference is shown first, and done after a yes. Done twice, the second time finds none.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from auth.people import Person
from config.errors import MellanrumError
from server.cli import find
from server.cli.difference import Comparison, Difference, Step
from server.cli.errors import ApplyStopped, OutputTaken
from server.cli.frame import Answer, Desk, Noun, tell
from server.cli.progress import Progress
from server.cli.text import one_line
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
    if options.devices is not None and options.devices.exists():
        raise OutputTaken(file=options.devices)
    newcomers: list[Person] = []
    difference = Comparison(desk, wanted, newcomers.append).run()
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
    try:
        with desk.progress("applying", len(steps)) as bar:
            _do(difference, bar)
            if options.devices is not None:
                _write_devices(desk, newcomers, options.devices)
    except MellanrumError as error:
        raise ApplyStopped(error=error) from error
    seconds = time.monotonic() - started
    document |= {"done": True, "seconds": round(seconds, 3)}
    return Answer(document, [f"Did {len(steps)} steps in {seconds:.1f} s."])


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


def _write_devices(desk: Desk, newcomers: list[Person], file: Path) -> None:
    """Make a device password for each new person, and list them in a file that only its owner may read."""
    directory = desk.installation.directory
    find.write_new(file, b"")

    def device(person: Person) -> str:
        return directory.add_device(person.id, LABEL, actor=desk.actor)[1]

    with ThreadPoolExecutor(THREADS, thread_name_prefix="apply") as pool:
        passwords = list(pool.map(device, newcomers))
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(("login", "name", "organisation", "device_password"))
    for person, password in zip(newcomers, passwords, strict=True):
        rows.writerow((person.login, person.name, directory.organisation_name(person.organisation), password))
    with file.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text.getvalue())
        stream.flush()
        os.fsync(stream.fileno())
