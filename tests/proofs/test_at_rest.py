"""Nothing in the clear: what was typed or uploaded is nowhere in the data folder, nor in what the server logs."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from auth.errors import RootKeyMissing, WrongRootKey
from auth.keyring import RootKey
from providers.installation import Installation
from server.processes import serve
from tests.proofs.at_rest_search import Search
from tests.proofs.at_rest_sown import Field, sow_over_webdav, sow_people, sow_sign_ins
from tests.serving import start
from tests.worlds import World, settings_for

SETTINGS: dict[str, Any] = {"http.workers": 2, "process.log_level": "debug"}


def _settle() -> None:
    time.sleep(1.5)  # the workers number reads and sign checkpoints twice a second


def test_nothing_that_was_sown_is_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """While the server runs, after it was killed, and once another has drained and ended in order."""
    sown, folder = Field(), tmp_path / "data"
    world = World.create(folder, sown.word("supplier"))
    sow_people(world, sown)
    server = start(folder, world, **SETTINGS)
    try:
        sow_over_webdav(server.dav(str(sown.needles["login"]), password=world.passwords["eva"]), sown)
        sow_sign_ins(server, sown)
        _settle()
        search = Search(sown.needles)
        assert search.folder(folder) == []
        server.kill(*server.workers())
    finally:
        server.stop()
    server = start(folder, world, **SETTINGS)
    _settle()
    server.stop()
    world.installation.close()
    logged = capfd.readouterr()
    assert search.folder(folder) == []
    assert "event=request" in logged.err
    assert search.within((logged.out + logged.err).encode(), "logs") == []
    _require_sown(folder, sown)


def _require_sown(folder: Path, sown: Field) -> None:
    """Fail if so little was stored that finding nothing would say nothing."""
    assert len(sown.needles) > 45
    packs = sum(path.stat().st_size for path in folder.rglob("*.pack"))
    assert packs > 120_000
    assert (folder / "catalogue.db").stat().st_size > 100_000
    assert any((folder / "keystore").iterdir())


# --- the search itself


NEEDLE = "Åqhemlig Vårflod"


def _in_sqlite(folder: Path, value: bytes, *, checkpointed: bool = True) -> None:
    with closing(sqlite3.connect(folder / "catalogue.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (a, b)")
        connection.execute("INSERT INTO t VALUES (?, ?)", (1, value))
        connection.commit()
        if not checkpointed:
            for ending in ("", "-wal"):
                shutil.copy(folder / f"catalogue.db{ending}", folder / f"kept.db{ending}")
    if not checkpointed:
        (folder / "catalogue.db").unlink()


def _plain(folder: Path, data: bytes) -> None:
    (folder / "0001.pack").write_bytes(os.urandom(5000) + data + os.urandom(3000))


def _packed(name: str, data: bytes) -> bytes:
    import bz2
    import gzip
    import lzma
    import zlib

    import zstandard

    known: dict[str, Callable[[bytes], bytes]] = {
        "zstd": zstandard.ZstdCompressor().compress,
        "zlib": zlib.compress,
        "gzip": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
    }
    return known[name](data)


def _plants() -> dict[str, Callable[[Path], None]]:
    import base64
    import hashlib
    import unicodedata
    from urllib.parse import quote

    raw, text = NEEDLE.encode(), NEEDLE
    long = b"vad som helst " * 3000 + raw + b" och mer " * 3000
    plants: dict[str, Callable[[Path], None]] = {
        "in a file's name": lambda folder: (folder / f"{text}.lock").touch(),
        "in a key": lambda folder: (folder / "a.key").write_bytes(raw),
        "in a cell of many pages": lambda folder: _in_sqlite(folder, os.urandom(9000) + raw + os.urandom(9000)),
        "packed, in a cell of many pages": lambda folder: _in_sqlite(folder, _packed("zlib", os.urandom(9000) + raw)),
        "in a log written ahead": lambda folder: _in_sqlite(folder, raw, checkpointed=False),
        "packed twice": lambda folder: _plain(folder, _packed("zstd", os.urandom(50) + _packed("zlib", long))),
    }
    forms = {
        "plain": raw,
        "utf-16": text.encode("utf-16-le"),
        "nfd": unicodedata.normalize("NFD", text).encode(),
        "folded": text.casefold().encode(),
        "great letters": text.upper().encode(),
        "latin-1": text.encode("latin-1"),
        "hex": raw.hex().encode(),
        "base64": base64.b64encode(raw),
        "base64, one byte on": base64.b64encode(b"x" + raw + b"yz"),
        "base64, two bytes on": base64.urlsafe_b64encode(b"xy" + raw + b"z"),
        "quoted": quote(text).encode(),
        "json": text.encode("ascii", "backslashreplace"),
        "backwards": raw[::-1],
        "digest": hashlib.sha256(raw).digest(),
    }
    for name, form in forms.items():
        plants[f"as {name}"] = lambda folder, form=form: _plain(folder, form)  # type: ignore[misc]
    for name in ("zstd", "zlib", "gzip", "bz2", "xz"):
        plants[f"packed by {name}"] = lambda folder, name=name: _plain(folder, _packed(name, long))  # type: ignore[misc]
    plants["packed, cut off"] = lambda folder: _plain(folder, _packed("zstd", long)[:-2])
    return plants


@pytest.mark.parametrize("plant", list(_plants()))
def test_what_lies_in_the_clear_is_found(plant: str, tmp_path: Path) -> None:
    _plants()[plant](tmp_path)
    assert Search({"planted": NEEDLE, "other": "Något helt annat"}).folder(tmp_path) != []


def test_noise_is_not_found(tmp_path: Path) -> None:
    _plain(tmp_path, os.urandom(2_000_000))
    assert Search({"planted": NEEDLE}).folder(tmp_path) == []


# --- keys


@pytest.fixture
def keyed(tmp_path: Path) -> Path:
    """A data folder with a document in it, closed; its root key stands beside it."""
    folder = tmp_path / "data"
    world = World.create(folder)
    world.person("eva", "Byrån AB")
    world.installation.close()
    return folder


def test_without_its_key_a_data_folder_does_not_open(keyed: Path) -> None:
    settings = settings_for(keyed)
    settings.key_file.unlink()
    with pytest.raises(RootKeyMissing) as met:
        Installation.open(keyed, settings)
    assert str(settings.key_file) in str(met.value)


def test_with_another_key_a_data_folder_does_not_open_and_says_so(keyed: Path) -> None:
    settings = settings_for(keyed)
    right = RootKey.from_file(settings.key_file, data_folder=keyed)
    settings.key_file.unlink()
    wrong = RootKey.create_file(settings.key_file, data_folder=keyed)
    with pytest.raises(WrongRootKey) as met:
        Installation.open(keyed, settings)
    assert right.id.hex() in str(met.value) and wrong.id.hex() in str(met.value)
    assert right.text() not in str(met.value) and wrong.text() not in str(met.value)


def test_without_its_key_a_data_folder_is_not_served(keyed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = settings_for(keyed, **{"http.port": 0, "http.workers": 2, "sftp.port": 0})
    settings.key_file.unlink()
    announced: list[object] = []
    assert serve(keyed, settings, on_ready=announced.append) == RootKeyMissing.exit_code
    assert announced == []
    assert str(RootKeyMissing(source=settings.key_file)) in capfd.readouterr().err


def test_the_key_is_not_in_the_data_folder(keyed: Path) -> None:
    key = settings_for(keyed).key_file.read_text().strip()
    assert Search({"root key": bytes.fromhex(key), "as text": key}).folder(keyed) == []
