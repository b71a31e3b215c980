"""The tables, and the facts of the machine that they hold for: no names of hosts, no paths."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tests.bench.works import Sample, Sizes

Measured = dict[str, dict[str, list[Sample]]]
MEMORY = "memory"
OURS = "Mellanrum"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def text(sizes: Sizes, plain: Measured, tls: Measured, folder: Path) -> str:
    """Return the tables as Markdown."""
    rounds = max((len(found) for of in plain.values() for found in of.values()), default=0)
    parts = [_facts(folder, rounds), _table("Plain HTTP", sizes, plain)]
    if tls:
        parts.append(_table("TLS", sizes, tls))
    return "\n\n".join(parts)


def write_between_marks(file: Path, made: str) -> None:
    """Set what stands between the marks in a file, or make the file of it."""
    before, mark, rest = file.read_text().partition(BEGIN) if file.exists() else ("", "", "")
    after = rest.partition(END)[2] if mark else "\n"
    file.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}")


def _table(title: str, sizes: Sizes, measured: Measured) -> str:
    names = sorted({name for by_server in measured.values() for name in by_server}, key=lambda name: name == OURS)
    peers = [name for name in names if name != OURS] if OURS in names else []
    head = ["", *names, *(f"× {name.split()[0]}" for name in peers)]
    lines = [f"### {title}", "", _row(head), _row(["---"] + ["---:"] * (len(head) - 1))]
    for work, by_server in measured.items():
        cells = [_named(work, sizes)]
        cells += [_cell(work, by_server[name]) if name in by_server else "–" for name in names]
        for peer in peers:
            cells.append(_ratio(by_server, peer) if work != MEMORY and {peer, OURS} <= set(by_server) else "–")
        lines.append(_row(cells))
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _named(work: str, sizes: Sizes) -> str:
    if work == MEMORY:
        return "memory of the largest process, MB at most"
    unit = "MB/s" if "large" in work else "ms each"
    shown = work.replace("large", _size(sizes.large_bytes))
    shown = shown.replace("small", f"{sizes.small_count:,} × {_size(sizes.small_bytes)}")
    return f"{re.sub(r'[0-9]{4,}', lambda found: f'{int(found[0]):,}', shown)}, {unit} (CPU)"


def _size(count: int) -> str:
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << power:
            return f"{count >> power} {unit}"
    return f"{count} B"


def _cell(work: str, samples: list[Sample]) -> str:
    seconds, cpu, units = (median(getattr(each, field) for each in samples) for field in ("seconds", "cpu", "units"))
    if work == MEMORY:
        return f"{seconds:.0f}"
    if "large" in work:
        return f"{units / seconds:,.0f} ({cpu:.2f} s)"
    return f"{_digits(seconds / units * 1e3)} ({_digits(cpu / units * 1e3)})"


def _digits(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}" if number >= 1 else f"{number:.2f}"


def _ratio(by_server: dict[str, list[Sample]], peer: str) -> str:
    """How many times as fast as the peer: more than 1 is faster."""
    theirs, ours = (median(each.seconds for each in by_server[name]) for name in (peer, OURS))
    return f"{theirs / ours:.2f}"


def _facts(folder: Path, rounds: int) -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    kind = _first(["stat", "-f", "-c", "%T", str(folder)])
    facts = {
        "measured": f"{datetime.now(UTC):%Y-%m-%d}, {rounds} rounds; load of the machine {os.getloadavg()[2]:.1f}",
        "processor": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory[1]) / 1e6:.0f} GB" if memory else "?",
        "kernel": platform.release().split("-")[0],
        "file system": kind,
        "Python": platform.python_version(),
        "Apache": _version(["apache2", "-v"]),
        "rclone": _version(["rclone", "version"]),
        "curl": _version(["curl", "--version"]),
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def _first(command: list[str]) -> str:
    search = f"{os.environ.get('PATH', '')}:/usr/sbin"
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": search})
    except OSError:
        return "?"
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else "?"


def _version(command: list[str]) -> str:
    found = re.search(r"\d+\.\d+[\w.-]*", _first(command))
    return found[0] if found else "?"
