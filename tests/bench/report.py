"""The tables, and the facts of the machine that they hold for: no names of hosts, no paths."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from tests.bench.servers import KINDS
from tests.bench.works import MEMORY, Sample, Sizes

Measured = dict[str, dict[str, list[Sample]]]
OURS = "Mellanrum"
#: How many times as fast as a peer Mellanrum shall be at least, over plain HTTP and over TLS alike...
BARS: dict[str, dict[str, float]] = {
    "PUT large": {"Apache": 0.5, "rclone": 1.3},
    "GET large": {"Apache": 0.7, "rclone": 1.0},
    "PUT small, 8 clients": {"rclone": 1.0},
    "GET small, first, 8 clients": {"rclone": 1.0},
    "GET small, again, 8 clients": {"rclone": 2.0},
    "GET small, over and over, 8 clients": {"rclone": 2.0},
    "PROPFIND 1000": {"Apache": 4.0, "rclone": 4.0},
    "PROPFIND 10000": {"Apache": 4.0, "rclone": 4.0},
    "LOCK + UNLOCK": {"rclone": 1.0},
}
#: ...but for these over TLS.
BARS_TLS: dict[str, dict[str, float]] = {"GET large": {"Apache": 1.2}}
MEMORY_MB_MAX = 200
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def text(sizes: Sizes, plain: Measured, tls: Measured, folder: Path) -> str:
    """Return the tables as Markdown."""
    rounds = max((len(found) for of in plain.values() for found in of.values()), default=0)
    parts = [_facts(folder, rounds)]
    if plain:
        parts.append(_table("Plain HTTP", sizes, plain, BARS))
    if tls:
        parts.append(_table("TLS", sizes, tls, BARS | BARS_TLS))
    return "\n\n".join(parts)


def write_between_marks(file: Path, made: str) -> None:
    """Set what stands between the marks in a file, or make the file of it."""
    before, mark, rest = file.read_text().partition(BEGIN) if file.exists() else ("", "", "")
    after = rest.partition(END)[2] if mark else "\n"
    file.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}")


def _table(title: str, sizes: Sizes, measured: Measured, bars: dict[str, dict[str, float]]) -> str:
    found = {name for by_server in measured.values() for name in by_server}
    names = [kind.name for kind in KINDS if kind.name in found]
    peers = [name for name in names if name != OURS] if OURS in names else []
    head = ["", *names, *(f"× {name.split()[0]}" for name in peers), "first bar"]
    lines = [f"### {title}", "", _row(head), _row(["---"] + ["---:"] * (len(head) - 2) + ["---"])]
    for work, by_server in measured.items():
        cells = [_named(work, sizes)]
        cells += [_cell(work, by_server[name]) if name in by_server else "–" for name in names]
        for peer in peers:
            cells.append(_ratio(by_server, peer) if work != MEMORY and {peer, OURS} <= set(by_server) else "–")
        lines.append(_row([*cells, _bar(work, by_server, bars.get(work, {}))]))
    return "\n".join(lines)


def _bar(work: str, by_server: dict[str, list[Sample]], bars: dict[str, float]) -> str:
    """What DESIGN section 10 asks for first, and whether it is met."""
    if OURS not in by_server:
        return ""
    if work == MEMORY:
        return f"{MEMORY_MB_MAX} MB {_mark(_median(by_server[OURS]) <= MEMORY_MB_MAX)}"
    named = {name.split()[0]: name for name in by_server}
    asked = [(peer, least) for peer, least in bars.items() if peer in named]
    return ", ".join(f"{least:g} × {peer} {_mark(_times(by_server, named[peer]) >= least)}" for peer, least in asked)


def _mark(is_met: bool) -> str:
    return "✓" if is_met else "✗"


def _median(samples: list[Sample]) -> float:
    return median(each.seconds for each in samples)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _named(work: str, sizes: Sizes) -> str:
    if work == MEMORY:
        return f"memory of the largest process, {sizes.crowd} × {_size(sizes.large_bytes)} PUT and GET, MB at most"
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
    return f"{_times(by_server, peer):.2f}"


def _times(by_server: dict[str, list[Sample]], peer: str) -> float:
    """How many times as fast as the peer: more than 1 is faster."""
    return _median(by_server[peer]) / _median(by_server[OURS])


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
        "nginx": _version(["nginx", "-v"]),
        "rclone": _version(["rclone", "version"]),
        "restic": _version(["restic", "version"]),
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def _first(command: list[str]) -> str:
    search = f"{os.environ.get('PATH', '')}:/usr/sbin"
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": search})
    except OSError:
        return "?"
    said = (done.stdout or done.stderr).strip()  # nginx tells its version as an error
    return said.splitlines()[0] if said else "?"


def _version(command: list[str]) -> str:
    found = re.search(r"\d+\.\d+[\w.-]*", _first(command))
    return found[0] if found else "?"
