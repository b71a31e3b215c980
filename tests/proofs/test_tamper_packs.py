"""Any byte of any pack that was changed, lost or moved is found: `verify` says which pack, and which documents."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from auth.roles import Role
from providers.installation import Installation
from providers.model import Finding
from providers.paths import parse
from providers.vault.errors import DamagedContent
from providers.vault.records import TRAILER_BYTES
from tests.proofs.tamper_world import SPACE, copied, make, verified
from tests.seeds import seeded
from tests.worlds import World, fetch, settings_for, store

#: Every so many bytes the whole of `verify` is run, not the vault's part alone.
WHOLE_EVERY = 97
LARGE_BYTES = 3_000_000
LARGE_TRIED = 60


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation whose space has one small pack: two documents, one of them in two versions."""
    folder = tmp_path_factory.mktemp("small") / "data"
    _live(folder, {"a.txt": b"kort", "b.bin": bytes(range(64))})
    return folder


def _live(folder: Path, contents: dict[str, bytes]) -> None:
    world = World.create(folder)
    world.person("anna", "Byrån AB")
    world.space(SPACE)
    world.grant("anna", SPACE, Role.EDITOR)
    anna = world.drive("anna")
    for name, content in contents.items():
        store(anna, f"/{SPACE}/{name}", content)
    store(anna, f"/{SPACE}/a.txt", b"lite mindre kort")
    world.installation.tick()
    world.installation.close()


def packs(folder: Path) -> list[Path]:
    """Return the packs of an installation, largest first."""
    return sorted(folder.glob("vault/*/packs/*.pack"), key=lambda path: -path.stat().st_size)


def _findings(installation: Installation, *, whole: bool) -> list[Finding]:
    if whole:
        return list(installation.verify())
    spaces = installation.spaces.all()
    return [
        Finding(f"space {space.id.hex()}", str(one)) for space in spaces for one in installation.vault.scrub(space.id)
    ]


def _place(findings: list[Finding], pack: Path) -> list[int]:
    """Return the bytes that findings name in a pack."""
    pattern = re.compile(rf"pack {pack.stem} byte (\d+)")
    return [int(place[1]) for finding in findings if (place := pattern.search(finding.what))]


def _flipped(pack: Path, offset: int, flip: int) -> Callable[[], None]:
    with pack.open("r+b") as file:
        file.seek(offset)
        (before,) = file.read(1)
        file.seek(offset)
        file.write(bytes([before ^ flip]))

    def undo() -> None:
        with pack.open("r+b") as file:
            file.seek(offset)
            file.write(bytes([before]))

    return undo


def _unfound(folder: Path, offsets: Iterator[int] | range, *, whole_every: int, seed: int = 17) -> list[str]:
    """Flip a byte at each offset of the largest pack; return where that was not found, or not named."""
    pack, chance, unfound = packs(folder)[0], random.Random(seed), []
    installation = Installation.open(folder, settings_for(folder))
    try:
        assert _findings(installation, whole=True) == []
        for number, offset in enumerate(offsets):
            undo = _flipped(pack, offset, chance.randrange(1, 256))
            found = _place(_findings(installation, whole=number % whole_every == 0), pack)
            undo()
            if not found or min(found) > offset:
                unfound.append(f"byte {offset}: {found}")
        assert _findings(installation, whole=True) == []
    finally:
        installation.close()
    return unfound


def test_every_flipped_byte_of_a_pack_is_found(small: Path, tmp_path: Path) -> None:
    folder = copied(small, tmp_path / "data")
    size = packs(folder)[0].stat().st_size
    assert 500 < size < 4000
    assert _unfound(folder, range(size), whole_every=WHOLE_EVERY) == []


@pytest.mark.proof
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", seeded([17]))
def test_every_flipped_byte_of_a_pack_is_found_by_verify(small: Path, tmp_path: Path, seed: int) -> None:
    folder = copied(small, tmp_path / "data")
    assert _unfound(folder, range(packs(folder)[0].stat().st_size), whole_every=1, seed=seed) == []


@pytest.mark.parametrize("seed", seeded([18]))
def test_flipped_bytes_of_a_large_pack_are_found(tmp_path: Path, seed: int) -> None:
    folder, chance = tmp_path / "data", random.Random(seed)
    _live(folder, {"stor.bin": chance.randbytes(LARGE_BYTES), "lång.txt": b"en rad text\n" * 200_000})
    size = packs(folder)[0].stat().st_size
    assert size > LARGE_BYTES
    offsets = iter(sorted(chance.randrange(size) for _ in range(LARGE_TRIED)))
    assert _unfound(folder, offsets, whole_every=20, seed=seed) == []


def test_a_flipped_byte_names_the_document_and_its_versions(small: Path, tmp_path: Path) -> None:
    """Each document is named when any byte that it is made of is changed, and reading it is refused."""
    folder = copied(small, tmp_path / "data")
    pack = packs(folder)[0]
    named: set[str] = set()
    for offset in range(0, pack.stat().st_size, 40):
        undo = _flipped(pack, offset, 1)
        wheres = [finding.where for finding in verified(folder)]
        named.update(where for where in wheres if " document " in where)
        undo()
    assert len(named) == 3
    assert len({where.split(" version ")[0] for where in named}) == 2


def _crashed(small: Path, target: Path) -> Path:
    """A copy whose pack has no footer, as after a crash."""
    folder = copied(small, target)
    pack = packs(folder)[0]
    data = pack.read_bytes()
    footer = data.rindex(b"MRFT")
    assert len(data) - footer > TRAILER_BYTES
    pack.write_bytes(data[:footer])
    return folder


def test_flipped_bytes_of_a_pack_without_its_footer_are_found(small: Path, tmp_path: Path) -> None:
    """Of the last record, which a crash may have torn, only what no version relies on may go unnoticed."""
    folder = _crashed(small, tmp_path / "data")
    data = packs(folder)[0].read_bytes()
    last = data.rindex(b"MRRC")
    assert verified(folder) == []
    assert _unfound(folder, iter(range(0, last, 3)), whole_every=1) == []


# --- whole packs


def delete(pack: Path, other: Path) -> None:
    """A pack goes."""
    pack.unlink()


def empty(pack: Path, other: Path) -> None:
    """A pack is there, and empty."""
    pack.write_bytes(b"")


def cut(pack: Path, other: Path) -> None:
    """A pack lost its second half."""
    os.truncate(pack, pack.stat().st_size // 2)


def cut_after_the_head(pack: Path, other: Path) -> None:
    """A pack is as it was when it began."""
    os.truncate(pack, 32)


def swap(pack: Path, other: Path) -> None:
    """Two packs of one space change places."""
    one, two = pack.read_bytes(), other.read_bytes()
    pack.write_bytes(two)
    other.write_bytes(one)


def zero(pack: Path, other: Path) -> None:
    """A pack is all zeros, as a disk may leave it."""
    pack.write_bytes(bytes(pack.stat().st_size))


def swap_records(pack: Path, other: Path) -> None:
    """Two records of a pack change places."""
    data = pack.read_bytes()
    starts = [found.start() for found in re.finditer(b"MRRC", data)][:3]
    first, second = data[starts[0] : starts[1]], data[starts[1] : starts[2]]
    pack.write_bytes(data[: starts[0]] + second + first + data[starts[2] :])


def lose_a_byte(pack: Path, other: Path) -> None:
    """A byte in the middle is gone, and all after it one place too early."""
    data = pack.read_bytes()
    pack.write_bytes(data[: len(data) // 2] + data[len(data) // 2 + 1 :])


def borrow_from_another_space(pack: Path, other: Path) -> None:
    """The pack of another space, under this one's name."""
    foreign = next(each for each in packs(pack.parents[3]) if each.parent != pack.parent)
    shutil.copy(foreign, pack)


LOSSES = [
    delete,
    empty,
    cut,
    cut_after_the_head,
    swap,
    zero,
    swap_records,
    lose_a_byte,
    borrow_from_another_space,
]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with several packs."""
    folder = tmp_path_factory.mktemp("lived") / "data"
    make(folder)
    return folder


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)
def test_what_is_lost_with_a_pack_is_named(loss: Callable[[Path, Path], None], lived: Path, tmp_path: Path) -> None:
    folder = copied(lived, tmp_path / "data")
    pack = next(each for each in packs(folder) if len(list(each.parent.glob("*.pack"))) > 1)
    other = next(each for each in pack.parent.glob("*.pack") if each != pack)
    loss(pack, other)
    wheres = [finding.where for finding in verified(folder)]
    assert any(f"space {pack.parents[1].name} document" in where for where in wheres)


def test_damage_is_never_read_as_content(small: Path, tmp_path: Path) -> None:
    """Whatever byte is changed, a reader gets the true content or an error."""
    folder = copied(small, tmp_path / "data")
    pack = packs(folder)[0]
    world = World(Installation.open(folder, settings_for(folder)))
    directory = world.installation.directory
    _, world.passwords["anna"] = directory.add_device(directory.find_person("anna").id, "ny")
    anna, refused = world.drive("anna"), 0
    true = {name: fetch(anna, parse(f"/{SPACE}/{name}")) for name in ("a.txt", "b.bin")}
    for offset in range(0, pack.stat().st_size, 7):
        undo = _flipped(pack, offset, 0x10)
        for name, content in true.items():
            try:
                assert fetch(anna, parse(f"/{SPACE}/{name}")) == content
            except DamagedContent:
                refused += 1
        undo()
    world.installation.close()
    assert refused > 10
