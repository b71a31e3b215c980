"""`make bench`: Mellanrum beside Apache, nginx and `rclone serve webdav`, in interleaved rounds, medians as a table.

Then what versions take beside restic (`storage`), and long histories beside short ones (`scale`).

    python -P tests/bench/run.py [--quick] [--rounds N] [--only WORK ...] [--servers NAME ...] [--no-tls]
        [--only-tls] [--output FILE]

Each round asks each server in turn for the same work; the table shows medians over the rounds. Data stands in a
temporary folder, which is taken away at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.bench import corpus, report, scale, servers, storage, works

#: What needs the folders that are filled beforehand.
LISTED = (works.listings, works.locks)
#: What needs a file of bytes that no server has seen.
SENT = (works.large, works.memory)
#: What is measured by itself, without the servers beside.
ALONE = ("storage", "scale")


def main() -> None:
    """Measure, and print the tables or write them."""
    options = _options()
    sizes = works.QUICK if options.quick else works.FULL
    if options.rounds:
        sizes = replace(sizes, rounds=options.rounds)
    chosen = [work for work in works.WORKS if not options.only or work.__name__ in options.only]
    folder, ours = (
        Path(tempfile.mkdtemp(prefix="mellanrum-bench-", dir=where)) for where in (options.folder, servers.IN_MEMORY)
    )
    folder.chmod(0o755)  # Apache's own user reads below
    try:
        plain, tls = (
            {}
            if leaves_out or not chosen
            else measure(folder / name, ours, sizes, chosen, options.servers, name == "tls")
            for name, leaves_out in (("plain", options.only_tls), ("tls", options.no_tls))
        )
        sections = [_alone(name, folder / name, options.quick) for name in ALONE if name in (options.only or ALONE)]
        text = "\n\n".join([report.text(sizes, plain, tls, folder), *sections])
    finally:
        for each in (folder, ours):
            shutil.rmtree(each, ignore_errors=True)
    print(text)
    if options.output:
        report.write_between_marks(options.output, text)


def measure(
    folder: Path, ours: Path, sizes: works.Sizes, chosen: list[works.Work], names: list[str], is_tls: bool
) -> report.Measured:
    """Start the servers, go through all rounds, stop the servers. `ours` is where the client keeps what it sends."""
    folder.mkdir()
    source = ours / "source.bin"
    tls = servers.certificate(folder) if is_tls else None
    running: list[servers.Server] = []
    measured: report.Measured = {}
    try:
        for kind in servers.KINDS:
            if not names or kind.__name__.lower() in names:
                running.append(kind(folder / kind.__name__.lower(), tls))
        for server in running:
            for children in sizes.listings if set(LISTED) & set(chosen) else ():
                _show(f"{server.name}: a folder of {children:,}")
                servers.fill(server, f"listed-{children}", children, 100)
        _rounds(running, sizes, chosen, source, measured)
    finally:
        for server in running:
            server.stop()
    return measured


def _alone(name: str, folder: Path, is_quick: bool) -> str:
    """Measure what has no servers beside it; return its tables."""
    _show(name)
    if name == "storage":
        return storage.tables_of(folder, corpus.QUICK if is_quick else corpus.FULL)
    return scale.table(folder, scale.QUICK if is_quick else scale.FULL, _show)


def _rounds(
    running: list[servers.Server], sizes: works.Sizes, chosen: list[works.Work], source: Path, measured: report.Measured
) -> None:
    """Go through all rounds; an interrupt ends them, and what was measured so far counts."""
    try:
        for number in range(sizes.rounds):
            for work in chosen:
                _show(f"round {number + 1} of {sizes.rounds}: {work.__name__}")
                if work in SENT and number < sizes.large_rounds:
                    _fresh(source, sizes.large_bytes)
                for server in random.sample(running, len(running)):
                    for name, sample in work(server, sizes, number, source).items():
                        measured.setdefault(name, {}).setdefault(server.name, []).append(sample)
    except KeyboardInterrupt:
        _show("interrupted; what was measured so far follows")


def _fresh(file: Path, size: int) -> None:
    """Fill a file with bytes nobody has seen: a server that stores equal content once gains nothing."""
    with file.open("wb") as stream:
        for _ in range(size >> 20):
            stream.write(os.urandom(1 << 20))


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mellanrum's speed beside Apache, nginx and rclone.")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer rounds, to try")
    parser.add_argument("--rounds", type=int, default=0, help="how many rounds instead of the usual")
    parser.add_argument("--only", nargs="*", default=[], choices=[*(work.__name__ for work in works.WORKS), *ALONE])
    parser.add_argument("--servers", nargs="*", default=[], choices=[kind.__name__.lower() for kind in servers.KINDS])
    parser.add_argument("--no-tls", action="store_true", help="leave TLS out")
    parser.add_argument("--only-tls", action="store_true", help="leave plain HTTP out")
    parser.add_argument("--folder", type=Path, default=None, help="where data stands meanwhile; a disk, not memory")
    parser.add_argument("--output", type=Path, default=None, help="a Markdown file; its part between the marks is set")
    return parser.parse_args()


if __name__ == "__main__":
    main()
