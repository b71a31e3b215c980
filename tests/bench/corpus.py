"""Thirteen series of successive versions, as programs leave them when people go on working. All is drawn by one seed.

    python -P tests/bench/corpus.py FOLDER [--quick]      writes them out, a folder for each series

Documents and workbooks are edited in a few places and packed anew, PDFs are amended or made anew, a database is
committed to, a log grows and is rotated, media get other tags, drawings are drawn on.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.bench import formats
from tests.bench.formats import Words

SEED = 20261127
#: Another corpus of the same making, on which nothing was ever tried: what was chosen for the first shall hold for it.
HELD_OUT_SEED = 20270314


@dataclass(frozen=True)
class Scale:
    """How much of it: what all versions and all sizes are multiplied by."""

    versions: float
    size: float

    def times(self, versions: int) -> range:
        """Return the numbers of the versions of a series that has so many at full size."""
        return range(1, max(4, round(versions * self.versions)) + 1)

    def of(self, count: int) -> int:
        """Return how many of something a file has that has so many at full size."""
        return max(4, round(count * self.size))


FULL, QUICK = Scale(1.0, 1.0), Scale(0.3, 0.2)
Made = Iterator[bytes]


def _rewritten(drawn: random.Random, words: Words, paragraphs: list[str]) -> None:
    """Edit a text as its writer does: some sentences put another way, a paragraph more, now and then one less."""
    for _ in range(drawn.randint(1, 4)):
        at = drawn.randrange(len(paragraphs))
        kind = drawn.random()
        if kind < 0.5:
            sentences = paragraphs[at].split(". ")
            sentences[drawn.randrange(len(sentences))] = words.sentence().rstrip(".")
            paragraphs[at] = ". ".join(sentences)
        elif kind < 0.85:
            paragraphs.insert(at, words.paragraph())
        elif len(paragraphs) > 5:
            del paragraphs[at]


def contract(drawn: random.Random, scale: Scale) -> Made:
    """A contract in Word, text alone."""
    words = Words(drawn)
    paragraphs = [words.paragraph() for _ in range(scale.of(500))]
    for version in scale.times(30):
        yield formats.docx(paragraphs, (), version)
        _rewritten(drawn, words, paragraphs)


def report(drawn: random.Random, scale: Scale) -> Made:
    """A report in Word with photographs, of which one is added now and then."""
    words = Words(drawn)
    paragraphs = [words.paragraph() for _ in range(scale.of(250))]
    pictures = [drawn.randbytes(drawn.randint(60_000, 400_000)) for _ in range(scale.of(10))]
    for version in scale.times(24):
        yield formats.docx(paragraphs, pictures, version)
        _rewritten(drawn, words, paragraphs)
        if version % 6 == 0:
            pictures.append(drawn.randbytes(drawn.randint(60_000, 400_000)))


def _rows(drawn: random.Random, count: int) -> list[list[float]]:
    return [[float(at), *(round(drawn.lognormvariate(6, 2), 2) for _ in range(9))] for at in range(count)]


def ledger(drawn: random.Random, scale: Scale) -> Made:
    """A workbook of one long sheet: a few cells another, some rows more."""
    words = Words(drawn)
    rows, texts = _rows(drawn, scale.of(12_000)), [words.sentence(4) for _ in range(scale.of(3000))]
    for version in scale.times(20):
        yield formats.xlsx([rows], texts, version)
        for _ in range(drawn.randint(3, 25)):
            drawn.choice(rows)[drawn.randint(1, 9)] = round(drawn.lognormvariate(6, 2), 2)
        rows += _rows(drawn, drawn.randint(0, 40))
        texts += [words.sentence(4) for _ in range(drawn.randint(0, 10))]


def budget(drawn: random.Random, scale: Scale) -> Made:
    """A workbook of many sheets, of which one or two are worked on."""
    words = Words(drawn)
    sheets = [_rows(drawn, scale.of(1500)) for _ in range(16)]
    texts = [words.sentence(4) for _ in range(scale.of(1000))]
    for version in scale.times(20):
        yield formats.xlsx(sheets, texts, version)
        for sheet in drawn.sample(sheets, k=drawn.choice((1, 1, 2))):
            for _ in range(drawn.randint(3, 25)):
                drawn.choice(sheet)[drawn.randint(1, 9)] = round(drawn.lognormvariate(6, 2), 2)


def presentation(drawn: random.Random, scale: Scale) -> Made:
    """A presentation with a photograph on each slide; a slide is edited, a picture exchanged, a slide added."""
    words = Words(drawn)
    slides = [[words.sentence(8) for _ in range(6)] for _ in range(scale.of(30))]
    pictures = [drawn.randbytes(drawn.randint(40_000, 260_000)) for _ in slides]
    for version in scale.times(14):
        yield formats.pptx(slides, pictures, version)
        drawn.choice(slides)[drawn.randrange(6)] = words.sentence(8)
        if version % 4 == 0:
            pictures[drawn.randrange(len(pictures))] = drawn.randbytes(drawn.randint(40_000, 260_000))
        if version % 5 == 0:
            at = drawn.randrange(len(slides))
            slides.insert(at, [words.sentence(8) for _ in range(6)])
            pictures.insert(at, drawn.randbytes(drawn.randint(40_000, 260_000)))


def _identity(drawn: random.Random) -> bytes:
    return drawn.randbytes(32).hex().encode()


def _pages(drawn: random.Random, words: Words, count: int) -> list[list[str]]:
    return [[words.sentence(11) for _ in range(38)] for _ in range(count)]


def form(drawn: random.Random, scale: Scale) -> Made:
    """A PDF that is filled in, noted on and signed: each save appends to what stands."""
    made, words = formats.Pdf(), Words(drawn)
    made.add(1, b"<< /Type /Catalog /Pages 2 0 R >>")
    for number, lines in enumerate(_pages(drawn, words, scale.of(60))):
        picture = drawn.randbytes(drawn.randint(20_000, 60_000)) if number % 2 else None
        made.add(10 + number, b"/Filter /FlateDecode", formats.page(lines, 5000 + number if picture else None))
        if picture:
            made.add(5000 + number, b"/Type /XObject /Filter /DCTDecode", picture)
    identity = _identity(drawn)
    for version in scale.times(20):
        yield made.written(identity)
        for number in range(drawn.randint(1, 6)):
            text = words.sentence(6).encode("cp1252", "replace")
            made.add(10_000 + 10 * version + number, b"<< /Type /Annot /Contents (%s) >>" % text)
        if version % 5 == 0:
            made.add(20_000 + version, b"/Type /Sig", drawn.randbytes(8192).hex().encode())


def brochure(drawn: random.Random, scale: Scale) -> Made:
    """A PDF that is made anew each time from a text that was edited on a page or two."""
    words = Words(drawn)
    pages = _pages(drawn, words, scale.of(60))
    pictures = [drawn.randbytes(drawn.randint(20_000, 60_000)) for _ in pages]
    for version in scale.times(16):
        made = formats.Pdf()
        made.add(1, b"<< /Type /Catalog /Pages 2 0 R /ModDate (D:%010d) >>" % version)
        for number, (lines, picture) in enumerate(zip(pages, pictures, strict=True)):
            made.add(10 + 2 * number, b"/Filter /FlateDecode", formats.page(lines, 11 + 2 * number))
            made.add(11 + 2 * number, b"/Type /XObject /Filter /DCTDecode", picture)
        yield made.written(_identity(drawn))
        for lines in drawn.sample(pages, k=drawn.randint(1, 2)):
            lines[drawn.randrange(len(lines))] = words.sentence(11)


def bookkeeping(drawn: random.Random, scale: Scale) -> Made:
    """A database of SQLite after each day of bookkeeping; once it is vacuumed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "books.db"
        with closing(sqlite3.connect(file, isolation_level=None)) as books:
            yield from _days(file, books, drawn, scale)


def _days(file: Path, books: sqlite3.Connection, drawn: random.Random, scale: Scale) -> Iterator[bytes]:
    words = Words(drawn)
    books.executescript(
        "CREATE TABLE entry(id INTEGER PRIMARY KEY, day TEXT, account INTEGER, amount INTEGER, text TEXT);"
        "CREATE INDEX by_account ON entry(account, day);"
        "CREATE TABLE balance(account INTEGER PRIMARY KEY, amount INTEGER);"
    )

    def add(day: int, count: int) -> None:
        books.execute("BEGIN")
        for _ in range(count):
            account, amount = drawn.randint(1000, 8999), drawn.randint(-900_000, 900_000)
            values = (f"2026-{day // 28 + 1:02}-{day % 28 + 1:02}", account, amount, words.sentence(7))
            books.execute("INSERT INTO entry(day, account, amount, text) VALUES(?, ?, ?, ?)", values)
            books.execute(
                "INSERT INTO balance VALUES(?1, ?2) ON CONFLICT DO UPDATE SET amount = amount + ?2", values[1:3]
            )
        books.execute("COMMIT")

    add(0, scale.of(30_000))
    times = scale.times(24)
    for version in times:
        yield file.read_bytes()
        add(version, drawn.randint(20, 120))
        newest = books.execute("SELECT max(id) FROM entry").fetchone()[0]
        for _ in range(drawn.randint(0, 8)):
            books.execute("UPDATE entry SET text = ? WHERE id = ?", (words.sentence(7), drawn.randint(1, newest)))
        if version == len(times) // 2:
            books.execute("VACUUM")


def log(drawn: random.Random, scale: Scale) -> Made:
    """A log that grows by the hour, and is begun anew when it is large."""
    words, lines, at = Words(drawn), [], 0
    for version in scale.times(30):
        for _ in range(scale.of(drawn.randint(1000, 3000))):
            at += drawn.randint(1, 2_000_000)
            address = f"10.{drawn.randrange(4)}.{drawn.randrange(256)}.{drawn.randrange(256)}"
            moment = f"2026-11-{at // 86_400_000_000 % 28 + 1:02}T{at % 86_400_000_000:011}"
            kind = drawn.choice(("INFO", "INFO", "INFO", "WARN"))
            lines.append(f"{moment} {kind} {address} request={drawn.getrandbits(64):016x} {words.sentence(6)}\n")
        yield "".join(lines).encode()
        if version % 11 == 0:
            lines = []


def plan(drawn: random.Random, scale: Scale) -> Made:
    """A binary drawing: some objects moved, some drawn anew, some taken away."""
    names = [b"LINE", b"ARC", b"INSERT", b"TEXT", b"LWPOLYLINE"]

    def one() -> bytes:
        numbers = b"".join(
            int(drawn.gauss(4000, 900) * 4096).to_bytes(8, "little", signed=True) for _ in range(drawn.randint(2, 9))
        )
        return drawn.choice(names).ljust(16, b"\0") + drawn.randrange(64).to_bytes(8, "little") + numbers

    objects = [one() for _ in range(scale.of(60_000))]
    for version in scale.times(18):
        yield formats.drawing(objects, version)
        for _ in range(drawn.randint(2, 12)):
            at = drawn.randrange(len(objects))
            objects[at] = objects[at][:24] + drawn.randbytes(8) + objects[at][32:]
        objects += [one() for _ in range(drawn.randint(0, 60))]
        if version % 3 == 0:
            start = drawn.randrange(len(objects))
            del objects[start : start + drawn.randint(1, 20)]


def survey(drawn: random.Random, scale: Scale) -> Made:
    """A drawing as text: some lines moved, a group of lines more."""

    def one(handle: int) -> tuple[int, str, list[float]]:
        return handle, f"LAYER-{drawn.randrange(40):02}", [round(drawn.uniform(0, 90_000), 4) for _ in range(6)]

    entities = [one(handle) for handle in range(0x200, 0x200 + scale.of(16_000))]
    for _ in scale.times(16):
        yield formats.dxf(entities)
        for _ in range(drawn.randint(2, 20)):
            at = drawn.randrange(len(entities))
            entities[at] = (*entities[at][:2], [round(number + 12.5, 4) for number in entities[at][2]])
        first = entities[-1][0] + 1
        entities += [one(first + number) for number in range(drawn.randint(5, 120))]


def photograph(drawn: random.Random, scale: Scale) -> Made:
    """A photograph that gets keywords, a place and a rating."""
    words, scan = Words(drawn), drawn.randbytes(scale.of(5_000_000))
    told: list[str] = []
    for _ in scale.times(10):
        listed = "".join(f"<rdf:li>{word}</rdf:li>" for word in told)
        yield formats.jpeg(f"<x:xmpmeta>{listed}</x:xmpmeta>".encode().ljust(2048), scan)
        told += [words.sentence(3) for _ in range(drawn.randint(1, 12))]


def recording(drawn: random.Random, scale: Scale) -> Made:
    """Sound that gets other tags; once they outgrow their room, and all that follows moves."""
    words, frames = Words(drawn), drawn.randbytes(scale.of(6_000_000))
    tags, room = {b"TIT2": b"Intervju"}, 1024
    for version in scale.times(10):
        padding = room - sum(10 + len(text) for text in tags.values())
        if padding < 0:
            room, padding = room + 4096, padding + 4096
        yield formats.mp3(tags, padding, frames)
        tags[b"COMM" if version % 2 else b"TPE1"] = words.sentence(8).encode()
        if version % 3 == 0:
            tags[b"USLT"] = " ".join(words.paragraph() for _ in range(version)).encode()[:4000]


SERIES: dict[str, Callable[[random.Random, Scale], Made]] = {
    "contract.docx": contract,
    "report.docx": report,
    "ledger.xlsx": ledger,
    "budget.xlsx": budget,
    "presentation.pptx": presentation,
    "form.pdf": form,
    "brochure.pdf": brochure,
    "bookkeeping.sqlite": bookkeeping,
    "server.log": log,
    "plan.dwg": plan,
    "survey.dxf": survey,
    "photograph.jpg": photograph,
    "recording.mp3": recording,
}


def versions(name: str, scale: Scale, seed: int = SEED) -> Made:
    """Yield the versions of one series, oldest first; the same ones each time."""
    yield from SERIES[name](random.Random(f"{seed} {name}"), scale)


def rounds(scale: Scale, seed: int = SEED) -> Iterator[dict[str, bytes]]:
    """Yield what is saved day by day: the next version of each series that has one."""
    running = {name: versions(name, scale, seed) for name in SERIES}
    while running:
        saved = {name: content for name, made in running.items() if (content := next(made, None)) is not None}
        running = {name: running[name] for name in saved}
        if saved:
            yield saved


def main() -> None:
    """Write the corpus out."""
    folder, scale = Path(sys.argv[1]), QUICK if "--quick" in sys.argv else FULL
    for name in SERIES:
        (folder / name).mkdir(parents=True, exist_ok=True)
        total = number = 0
        for number, content in enumerate(versions(name, scale), 1):
            (folder / name / f"{number:02}").write_bytes(content)
            total += len(content)
        print(f"{name}: {number} versions, {total / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
