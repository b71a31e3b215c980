"""`make bench`, the rows of storage: what versions take in the vault, beside restic with a snapshot for each.

The corpus of `tests.bench.corpus` is saved day by day: each series' next version is PUT to a drive, and backed up by
`restic` from a folder of files, at its default compression and at its greatest. Bytes are those of all files kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from auth.roles import Role
from providers import tables
from providers.installation import Installation
from providers.vault.records import OVERHEAD_BYTES
from tests.bench import corpus
from tests.worlds import World, store

#: What Mellanrum shall take of what restic takes, by restic's compression: the first bar, and the goal.
BAR, GOAL = 1 / 4, 1 / 5
COMPRESSIONS = ("auto", "max")
_SPACE, _CUSTOMER, _LOGIN = "Kept", "Kund AB", "anna"


@dataclass
class Kept:
    """What was given and what was kept, in bytes. `series` has both for each series, by what the vault's packs grew."""

    given: int = 0
    packs: int = 0
    catalogue: int = 0
    around: int = 0  # of `packs`: headers and seals of records, footers of packs
    restic: dict[str, int] = field(default_factory=dict)
    series: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))


def bytes_below(folder: Path) -> int:
    """Return the size of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


class Ours:
    """An installation with one space, into which versions are PUT."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        world = World.create(self._data)
        world.space(_SPACE, _CUSTOMER)
        world.person(_LOGIN, _CUSTOMER)
        world.grant(_LOGIN, _SPACE, Role.EDITOR, history=True)
        world.installation.close()  # so that its file is whole
        self._empty = self._catalogue_bytes()
        self._installation = world.installation = Installation.open(self._data, world.installation.settings)
        self._drive = world.drive(_LOGIN)
        self._space = world.spaces[_SPACE].id

    def save(self, name: str, content: bytes, kept: Kept) -> None:
        """Give a document its next version."""
        before = bytes_below(self._data / "vault")
        store(self._drive, f"/{_SPACE}/{name}", content)
        row = kept.series[name]
        for at, more in enumerate((1, len(content), bytes_below(self._data / "vault") - before)):
            row[at] += more

    def _catalogue_bytes(self) -> int:
        return (self._data / "catalogue.db").stat().st_size

    def close(self, kept: Kept) -> None:
        """End all packs, and tell what everything takes."""
        records = select(func.count()).where(tables.chunk.c.space == self._space)
        sealed = select(tables.head.c.sealed_bytes).where(tables.head.c.space == self._space)
        versions = select(func.count()).where(tables.version.c.space == self._space)
        with self._installation.database.read() as connection:
            count = sum(connection.execute(query).scalar_one() for query in (records, versions))
            of_records = connection.execute(sealed).scalar_one()
        self._installation.tick()
        self._installation.close()
        kept.packs = bytes_below(self._data / "vault")
        kept.around = count * OVERHEAD_BYTES + kept.packs - of_records
        kept.catalogue = self._catalogue_bytes() - self._empty


class Restic:
    """A repository of restic, and the folder that is backed up into it."""

    def __init__(self, folder: Path, compression: str) -> None:
        self._folder, self._compression = folder, compression
        self._files = folder / "files"
        self._files.mkdir(parents=True)
        self._run("init")

    def save(self, saved: dict[str, bytes]) -> None:
        """Write what was saved, and make a snapshot."""
        for name, content in saved.items():
            (self._files / name).write_bytes(content)
        self._run("backup", "--host", "bench", ".")

    def _run(self, *words: str) -> None:
        known = {"RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(self._folder / "repository")}
        command = ["restic", "--quiet", "--no-cache", "--compression", self._compression, *words]
        subprocess.run(command, cwd=self._files, env={**os.environ, **known}, check=True, capture_output=True)

    def bytes(self) -> int:
        """Return what the repository takes."""
        return bytes_below(self._folder / "repository")


def measure(folder: Path, scale: corpus.Scale, seed: int = corpus.SEED) -> Kept:
    """Save the corpus of a seed everywhere."""
    folder.mkdir(parents=True)
    kept = Kept()
    ours = Ours(folder / "ours")
    theirs = {name: Restic(folder / f"restic-{name}", name) for name in COMPRESSIONS if shutil.which("restic")}
    for saved in corpus.rounds(scale, seed):
        for name, content in saved.items():
            kept.given += len(content)
            ours.save(name, content, kept)
        for each in theirs.values():
            each.save(saved)
    ours.close(kept)
    kept.restic = {name: each.bytes() for name, each in theirs.items()}
    return kept


def tables_of(folder: Path, scale: corpus.Scale) -> str:
    """Measure the corpus, and the one held out beside it; return the rows as Markdown."""
    kept = measure(folder / "corpus", scale)
    held_out = measure(folder / "held-out", scale, corpus.HELD_OUT_SEED)
    lines = [table(kept)]
    if held_out.restic:
        stored = held_out.packs + held_out.catalogue
        lines += [
            "",
            f"Another seed, held out, {held_out.given / 1e6:,.0f} MB: {stored / held_out.given:.2%} of the versions. "
            f"{_compared(held_out)}",
        ]
    return "\n".join(lines)


def _compared(kept: Kept) -> str:
    """Say what share of restic's bytes is taken."""
    stored = kept.packs + kept.catalogue
    shares = " ".join(f"{stored / taken:.3f} {'✓' if stored / taken <= BAR else '✗'}" for taken in kept.restic.values())
    return f"Of restic's bytes, {' and '.join(kept.restic)}: {shares} (first bar {BAR}, goal {GOAL})"


def table(kept: Kept) -> str:
    """Return the rows as Markdown."""
    stored = kept.packs + kept.catalogue
    lines = [
        f"### Storage: {sum(row[0] for row in kept.series.values())} versions of {len(kept.series)} documents, "
        f"{kept.given / 1e6:,.0f} MB",
        "",
        "|  | MB | of the versions |",
        "| --- | ---: | ---: |",
        _row("Mellanrum, packs", kept.packs, kept.given),
        _row("– of that headers, seals, footers", kept.around, kept.given),
        _row("Mellanrum, catalogue", kept.catalogue, kept.given),
        _row("Mellanrum, both", stored, kept.given),
        *(_row(f"restic, compression {name}", taken, kept.given) for name, taken in kept.restic.items()),
        "",
    ]
    if kept.restic:
        lines += [_compared(kept), ""]
    lines += ["| Series | versions | MB | in packs, MB | share |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, (count, given, packed) in kept.series.items():
        lines.append(f"| {name} | {count} | {given / 1e6:.1f} | {packed / 1e6:.2f} | {packed / given:.1%} |")
    return "\n".join(lines)


def _row(name: str, taken: int, given: int) -> str:
    return f"| {name} | {taken / 1e6:.2f} | {taken / given:.2%} |"
