"""The corpus that storage is measured with: the same bytes each time, files that open, and what is kept of them."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import zipfile
from itertools import islice
from pathlib import Path

import pytest

from tests.bench import corpus, storage

SCALE = corpus.Scale(0.15, 0.05)
#: At most so much of each series' bytes is stored at the quick scale, where few versions pay for the first.
SHARE_MAX = 0.55
#: What is mostly new at each save: deflated parts differ from the first edit on, pages once something before them grew.
WHOLLY_NEW = {"contract.docx", "ledger.xlsx", "plan.dwg"}


@pytest.mark.parametrize("name", corpus.SERIES)
def test_a_series_is_the_same_each_time_and_each_version_another(name: str) -> None:
    once, twice = (
        [hashlib.sha256(content).digest() for content in islice(corpus.versions(name, SCALE), 3)] for _ in range(2)
    )
    assert once == twice
    assert len(set(once)) == len(once)


def test_packages_and_databases_open(tmp_path: Path) -> None:
    for name in corpus.SERIES:
        content = list(corpus.versions(name, SCALE))[-1]
        if name.endswith(("docx", "xlsx", "pptx")):
            assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
        elif name.endswith("sqlite"):
            (tmp_path / name).write_bytes(content)
            books = sqlite3.connect(tmp_path / name)
            assert books.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            books.close()
        elif name.endswith("pdf"):
            start = int(content.split(b"startxref\n")[-1].split(b"\n")[0])
            assert content[start : start + 4] == b"xref"


def test_versions_share_what_they_have_in_common(tmp_path: Path) -> None:
    kept = storage.Kept()
    ours = storage.Ours(tmp_path / "ours")
    for saved in corpus.rounds(corpus.QUICK):
        for name, content in saved.items():
            ours.save(name, content, kept)
    ours.close(kept)
    assert sum(packed for _, _, packed in kept.series.values()) <= kept.packs
    assert 0 < kept.around < kept.packs / 20
    over = {
        name: round(packed / given, 3)
        for name, (_, given, packed) in kept.series.items()
        if packed > SHARE_MAX * given and name not in WHOLLY_NEW
    }
    assert over == {}, {name: round(row[2] / row[1], 2) for name, row in kept.series.items()}
