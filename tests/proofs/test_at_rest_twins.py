"""The same content in two installations shares no 16 bytes at rest, so that who holds both cannot tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auth.roles import Via
from providers.drive import Drive
from tests.proofs.at_rest_search import cells
from tests.proofs.at_rest_sown import Field, compressible, incompressible, sow_people
from tests.worlds import World, fetch, store

RUN_BYTES = 16
#: Of 16 random bytes, fewer differ from one another once in a hundred million runs.
DIFFERENT_MIN = 9
#: Cells in which text of ours, or numbers, stand in the clear.
_OURS = ("checkpoint.note", "alembic_version.", "sqlite_", "device.protocols", "device.spaces", "lease.name")


def _windows(data: bytes) -> set[bytes]:
    """Return all runs of 16 bytes, but those of few different ones: what was never written, magic, lengths, counts."""
    found = {data[at : at + RUN_BYTES] for at in range(len(data) - RUN_BYTES + 1)}
    return {run for run in found if len(set(run)) >= DIFFERENT_MIN}


def _live(folder: Path) -> None:
    """Do the very same, byte for byte, as in the other installation."""
    sown = Field()
    world = World.create(folder, sown.word("supplier"))
    sow_people(world, sown)
    eva, space = _drive(world, sown), sown.needles["space"]
    store(eva, f"/{space}/{sown.word('document')}.txt", compressible(sown))
    store(eva, f"/{space}/{sown.word('other document')}.bin", incompressible(sown))
    store(eva, f"/{space}/{sown.word('third document')}.txt", b"kort")
    fetch(eva, f"/{space}/{sown.needles['document']}.txt")
    world.installation.tick()
    world.installation.close()


def _drive(world: World, sown: Field) -> Drive:
    principal = world.installation.authenticator.basic(
        str(sown.needles["login"]), world.passwords["eva"], via=Via.WEBDAV, address="192.0.2.9"
    )
    return world.installation.drive(principal)


def _files(folder: Path) -> Iterator[bytes]:
    for pattern in ("vault/**/*.pack", "keystore/*", "journal/*", "**/*.draft"):
        for path in folder.glob(pattern):
            if path.is_file():
                yield path.read_bytes()


def _values(folder: Path) -> Iterator[bytes]:
    for name in ("catalogue.db", "transient.db"):
        yield from (value for value, where in cells(folder / name) if not where.startswith(_OURS))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two installations in which the same was done."""
    folders = tmp_path_factory.mktemp("one") / "data", tmp_path_factory.mktemp("two") / "data"
    for folder in folders:
        _live(folder)
    return folders


def _runs(values: Iterator[bytes]) -> set[bytes]:
    return set().union(*map(_windows, values))


def test_the_files_of_two_installations_share_nothing(both: tuple[Path, Path]) -> None:
    one, two = (_runs(_files(folder)) for folder in both)
    assert len(one) > 100_000
    assert one & two == set()


def test_the_rows_of_two_installations_share_nothing(both: tuple[Path, Path]) -> None:
    one, two = (_runs(_values(folder)) for folder in both)
    assert len(one) > 5_000
    assert one & two == set()


def test_shared_content_would_be_seen(both: tuple[Path, Path], tmp_path: Path) -> None:
    """What was packed but not sealed, or sealed with one key in both, is seen."""
    raw = incompressible(Field())
    one = _runs(iter([raw[:5000], *_files(both[0])]))
    assert one & _runs(iter([raw[4900:9000]])) != set()
